//! A kernel under test.

use core::ops::AddAssign;

use kernform_simd::Isa;

use super::data::Random;

/// What a kernel's speed is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// 10^9 floating-point operations a second, against the multiply-adds of the machine.
    Gflops,
    /// 10^9 bytes read and written a second, against the first-level cache.
    GbPerSecond,
}

impl Unit {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gflops => "GFLOP/s",
            Self::GbPerSecond => "GB/s",
        }
    }
}

/// A run of fixed size, and what it does in units of one (operations or bytes).
pub(crate) struct Workload {
    pub(crate) amount: f64,
    pub(crate) run: Box<dyn FnMut(Isa)>,
}

/// A kernel with its reference.
pub(crate) struct Probe {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    /// Compares one level with the reference on inputs drawn from `Random`, on as many shapes as `Effort` says.
    pub(crate) check: fn(Isa, &mut Random, Effort) -> Outcome,
    pub(crate) workload: fn(Effort) -> Workload,
}

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    Quick,
    Full,
}

impl Effort {
    /// Every shape, or one in four.
    pub(crate) fn shapes<T>(self, shapes: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
        shapes.into_iter().step_by(if self == Self::Quick { 4 } else { 1 })
    }
}

/// What a comparison found.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Values compared.
    pub(crate) values: usize,
    /// The first difference.
    pub(crate) difference: Option<String>,
}

impl Outcome {
    /// Compares results with the reference's by their bits; NaN of any payload are equal.
    pub(crate) fn compare(shape: impl core::fmt::Display, found: &[f32], expected: &[f32]) -> Self {
        let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        let difference = if found.len() != expected.len() {
            Some(format!("{shape}: {} values instead of {}", found.len(), expected.len()))
        } else {
            let pairs = found.iter().zip(expected).enumerate();
            pairs.into_iter().find(|(_, (a, b))| !same(**a, **b)).map(|(i, (a, b))| {
                format!("{shape}: value {i} is {a:e} ({:08x}), the reference {b:e} ({:08x})", a.to_bits(), b.to_bits())
            })
        };
        Self { values: found.len(), difference }
    }

    /// A kernel that refused its input.
    pub(crate) fn refused(shape: impl core::fmt::Display, error: impl core::fmt::Display) -> Self {
        Self { values: 0, difference: Some(format!("{shape}: {error}")) }
    }
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.values += other.values;
        self.difference = self.difference.take().or(other.difference);
    }
}

/// Evaluates an expression with `$class` as the type of the token's arithmetic class.
macro_rules! in_class {
    ($isa:expr, $class:ident => $body:expr) => {
        match $isa.class() {
            kernform_simd::Class::Fused => {
                type $class = kernform_simd::Fused;
                $body
            }
            kernform_simd::Class::Unfused => {
                type $class = kernform_simd::Unfused;
                $body
            }
        }
    };
}
pub(crate) use in_class;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_bit_is_a_difference_and_another_nan_is_none() {
        let equal = Outcome::compare("x", &[1.0, f32::NAN], &[1.0, -f32::NAN]);
        assert_eq!((equal.values, equal.difference), (2, None));
        for (a, b) in [(1.0, 1.0 + f32::EPSILON), (0.0, -0.0), (f32::NAN, 0.0)] {
            assert!(Outcome::compare("x", &[a], &[b]).difference.is_some_and(|text| text.starts_with("x: value 0")));
        }
        assert!(Outcome::compare("x", &[], &[1.0]).difference.is_some());
    }
}
