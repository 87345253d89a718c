//! Stored elements to f32.

use core::fmt;
use half::{bf16, f16};

/// An element with a nearest f32.
pub trait ToF32: Copy {
    /// Whether every finite value is converted without rounding.
    const EXACT: bool;

    /// The f32 nearest to the value, ties to even; f64 values beyond the range become infinite.
    fn to_f32(self) -> f32;
}

impl ToF32 for f32 {
    const EXACT: bool = true;

    fn to_f32(self) -> f32 {
        self
    }
}

impl ToF32 for f16 {
    const EXACT: bool = true;

    /// Without a branch, so that a loop over a tensor becomes vectors on every target: the exponent is moved by a product,
    /// which is exact and makes normal numbers of denormal ones.
    #[inline]
    fn to_f32(self) -> f32 {
        const TWO_TO_112: f32 = f32::from_bits((112 + 127) << 23);
        const INFINITY: u32 = 0x7f80_0000;
        let bits = u32::from(self.to_bits());
        let (sign, magnitude) = ((bits & 0x8000) << 16, (bits & 0x7fff) << 13);
        let finite = (f32::from_bits(magnitude) * TWO_TO_112).to_bits();
        let is_finite = magnitude < 0x1f << 23;
        f32::from_bits(sign | if is_finite { finite } else { magnitude | INFINITY })
    }
}

impl ToF32 for bf16 {
    const EXACT: bool = true;

    #[inline]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

macro_rules! by_cast {
    ($($rust:ty, $exact:literal);+ $(;)?) => {$(
        impl ToF32 for $rust {
            const EXACT: bool = $exact;

            #[inline]
            fn to_f32(self) -> f32 {
                self as f32
            }
        }
    )+};
}

by_cast! {
    u8, true; i8, true; u16, true; i16, true;
    u32, false; i32, false; u64, false; i64, false; f64, false;
}

/// Source and destination have different lengths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthMismatch {
    /// Elements of the source.
    pub source: usize,
    /// Elements of the destination.
    pub destination: usize,
}

impl fmt::Display for LengthMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the source has {} elements, the destination must have as many and has {}",
            self.source, self.destination
        )
    }
}

impl core::error::Error for LengthMismatch {}

/// Converts each element to the nearest f32 (exactly, where [`ToF32::EXACT`] says so).
///
/// NaN stays NaN; infinities, signed zeros and denormals are kept.
///
/// # Errors
/// [`LengthMismatch`] when the slices have different lengths; nothing is written then.
pub fn convert_to_f32<T: ToF32>(source: &[T], destination: &mut [f32]) -> Result<(), LengthMismatch> {
    if source.len() != destination.len() {
        return Err(LengthMismatch { source: source.len(), destination: destination.len() });
    }
    for (to, from) in destination.iter_mut().zip(source) {
        *to = from.to_f32();
    }
    Ok(())
}
