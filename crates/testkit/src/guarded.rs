//! Memory that notices what is written beside it.

/// The bits of every guard: a NaN, so that what is computed from one shows too.
const GUARD: u32 = 0x7fc5_a5a5;
/// Guards on either side, more than any vector or padding.
const GUARDS: usize = 256;

/// Some floats, all NaN, with guards before and behind them.
///
/// A kernel that writes beyond its scratch destroys a guard, and one that reads beyond it gets a NaN, which shows in its
/// result.
#[derive(Debug)]
pub struct Guarded {
    data: Vec<f32>,
    start: usize,
    len: usize,
}

impl Guarded {
    /// `len` floats that begin `shift` (at most 64) floats later than they otherwise would, for kernels that align them.
    pub fn new(len: usize, shift: usize) -> Guarded {
        assert!(shift <= 64, "a shift of {shift}");
        Guarded { data: vec![f32::from_bits(GUARD); 2 * GUARDS + len], start: GUARDS - 64 + shift, len }
    }

    /// The floats between the guards.
    pub fn slice(&mut self) -> &mut [f32] {
        &mut self.data[self.start..][..self.len]
    }

    /// Panics where a guard was written.
    #[track_caller]
    pub fn check(&self) {
        let memory = self.start..self.start + self.len;
        for (i, x) in self.data.iter().enumerate().filter(|(i, _)| !memory.contains(i)) {
            let at = i as isize - self.start as isize;
            assert!(x.to_bits() == GUARD, "element {at} of a scratch of {} was written", self.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_beside_is_noticed() {
        let mut memory = Guarded::new(5, 3);
        memory.slice().fill(1.0);
        memory.check();
        for at in [memory.start - 1, memory.start + 5] {
            let before = core::mem::replace(&mut memory.data[at], 0.0);
            assert!(std::panic::catch_unwind(|| memory.check()).is_err());
            memory.data[at] = before;
        }
    }
}
