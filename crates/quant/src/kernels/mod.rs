//! The kernel: a tile of C, some rows by some vectors of columns of one panel.
//!
//! Lanes run over columns. A step takes four codes of each column and four bytes of each row, and adds their products to
//! an `i32` a column; so the dot product of bytes fills its vector, and nothing is summed across lanes. Codes are taken
//! out of their words once for all rows of the tile. After a block its integer sums become floats in the order that
//! [`reference`](crate::reference) defines.
//!
//! Codes are unsigned, since that is what `vpdpbusd` and `vpmaddubsw` want. Formats with negative values subtract a constant, so
//! the kernel subtracts that constant times the sum of the activations, which it does by beginning from there.

pub(crate) mod formats;
mod tile;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod narrow;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(target_arch = "x86_64")]
use core::sync::atomic::{Ordering, compiler_fence};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use kernform_simd::Level;
use kernform_simd::{Isa, Kernel, Simd};

use crate::Format;
pub(crate) use tile::TileArgs;

/// Rows of the largest tile of any level.
pub(crate) const MAX_ROWS: usize = if cfg!(target_arch = "aarch64") { 16 } else { 12 };

/// The operations of a level. A value of the type is the proof that the CPU has it.
///
/// Every operation is one for all lanes and exact, but for the floats', which round once.
///
/// # Safety
/// What the unsafe functions ask: pointers must be readable (writable) for what is loaded (stored).
pub(crate) trait Vector: Copy {
    /// Four bytes a lane.
    type Bytes: Copy;
    /// An `i32` a lane, or two `i16`.
    type Ints: Copy;
    /// An `f32` a lane.
    type Floats: Copy;
    /// Four bytes of a row, for all lanes.
    type Step: Copy;
    /// The sums of a dot product on their way.
    type Dot: Copy;

    /// Lanes; divides [`PANEL`](crate::layout::PANEL).
    const LANES: usize;
    /// Whether codes of eight bits are signed here; else they are as stored, with 128 added.
    const SIGNED: bool;

    /// Runs `job`, compiled for the level.
    fn vectorize<J: Job>(self, job: J) -> J::Output;

    /// The tile of this level for `rows` rows of C, one of [`Vector::HEIGHTS`].
    fn tile(format: Format, rows: usize) -> Tile<Self>;
    /// The tile for one row and several panels, each a stream of its own from memory; `None` where one panel is enough.
    fn panels(format: Format) -> Option<Tile<Self>>;
    /// The rows of its tiles: 1, perhaps 2 and 3, then whole groups; 1 alone is for rows in groups too.
    const HEIGHTS: &[usize];

    /// Begins to fetch so many lines, in ascending order and before the loads that follow; nothing on levels where that
    /// has not been measured. The memory need not be readable.
    ///
    /// The order in which a row's product first reads the lines of a panel decides how fast they come from memory: a CPU
    /// that sees them ascend fetches ahead. The compiler orders loads as it likes, and the words of high bits, which stand
    /// behind the low ones, are needed first.
    #[inline(always)]
    fn touch(self, from: *const u8, lines: usize) {
        let _ = (from, lines);
    }

    unsafe fn load_bytes(self, from: *const u8) -> Self::Bytes;
    fn and(self, a: Self::Bytes, mask: u8) -> Self::Bytes;
    /// `low` and those bits of `high` that `mask` has, where `low` has none.
    fn merge(self, low: Self::Bytes, high: Self::Bytes, mask: u8) -> Self::Bytes;
    /// Shifts to the right; bits cross from byte to byte.
    fn shr(self, a: Self::Bytes, bits: u32) -> Self::Bytes;
    /// Shifts to the left; bits cross from byte to byte.
    fn shl(self, a: Self::Bytes, bits: u32) -> Self::Bytes;
    /// A stored code of eight bits in the form of the level.
    fn full(self, a: Self::Bytes) -> Self::Bytes;
    /// The values of the non-linear formats for indices below 16, in the form of the level.
    fn lookup(self, a: Self::Bytes) -> Self::Bytes;

    /// Begins a dot product with what it shall be added to.
    fn begin(self, sum: Self::Ints) -> Self::Dot;
    /// The four bytes of word `at` of four. A level that reads all four has tiles of one row only.
    unsafe fn load_step(self, words: *const i32, at: usize) -> Self::Step;
    /// `dot` plus the four products of each lane's codes, none above `MAX`, with the four bytes of `a` (-127 to 127); so
    /// many more such steps follow. `MAX` 255 stands for codes of eight bits in the form of the level.
    fn dot<const MAX: u8>(self, dot: Self::Dot, codes: Self::Bytes, a: Self::Step, left: usize) -> Self::Dot;
    /// The sum after the last step.
    fn end(self, dot: Self::Dot) -> Self::Ints;
    /// `acc` plus the two products of each lane's `i16` with those of `a`.
    fn dot_pairs(self, acc: Self::Ints, pairs: Self::Ints, a: i32) -> Self::Ints;
    fn splat_int(self, value: i32) -> Self::Ints;
    fn add_int(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    fn mul_int(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    fn shl_int(self, a: Self::Ints, bits: u32) -> Self::Ints;
    /// The lower (`false`) or upper (`true`) `i16` of each lane.
    fn half(self, a: Self::Ints, upper: bool) -> Self::Ints;
    /// Both `i16` of each lane, each shifted to the right by `bits` and cut to its four lowest bits.
    fn nibbles(self, a: Self::Ints, bits: u32) -> Self::Ints;
    /// Two bytes a lane as `i16`.
    unsafe fn load_pairs(self, from: *const u8, signed: bool) -> Self::Ints;

    fn to_floats(self, a: Self::Ints) -> Self::Floats;
    /// A half-precision number a lane.
    unsafe fn load_half(self, from: *const u8) -> Self::Floats;
    unsafe fn load_float(self, from: *const u8) -> Self::Floats;
    fn splat(self, value: f32) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    unsafe fn store(self, a: Self::Floats, to: *mut f32);
}

/// [`Vector::touch`] of x86-64.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn touch(from: *const u8, lines: usize) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    for line in 0..lines {
        // SAFETY: SSE is in the baseline, and whatever the address, the instruction does nothing that the program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(64 * line).cast()) }
    }
    // Else the compiler moves loads in front.
    compiler_fence(Ordering::SeqCst);
}

/// Work that is compiled for a level.
pub(crate) trait Job {
    type Output;
    fn run<V: Vector>(self, v: V) -> Self::Output;
}

/// A tile's function, its rows and its columns.
pub(crate) struct Tile<V> {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) run: unsafe fn(V, &TileArgs),
}

/// Runs `job` with the vectors of a level.
pub(crate) fn dispatch<J: Job>(isa: Isa, job: J) -> J::Output {
    match isa.level() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: an `Isa` of a level exists only where the CPU has it.
        Level::Avx512Vnni => job.run(unsafe { avx512::Avx512::<true>::new() }),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx512 => job.run(unsafe { avx512::Avx512::<false>::new() }),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::AvxVnni => job.run(unsafe { avx2::Avx2::<true>::new() }),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Level::Avx2 => job.run(unsafe { avx2::Avx2::<false>::new() }),
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Level::NeonI8mm => job.run(unsafe { neon::Neon::<neon::I8mm>::new() }),
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Level::NeonDotprod => job.run(unsafe { neon::Neon::<neon::Dotprod>::new() }),
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        Level::Neon => job.run(unsafe { neon::Neon::<neon::Plain>::new() }),
        _ => isa.dispatch(Narrow(job)),
    }
}

/// The levels whose floats are those of `kernform-simd`.
struct Narrow<J>(J);

impl<J: Job> Kernel for Narrow<J> {
    type Output = J::Output;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> J::Output {
        if S::LANES == 1 { self.0.run(narrow::One(s)) } else { self.0.run(narrow::Four(s)) }
    }
}

/// Chooses the tile among those that a level lists as `rows: vectors`, the largest first, each for every format.
macro_rules! choose_tile {
    ($v:ty, $format:expr, $rows:expr; $last:literal: $last_vectors:literal $(, $n:literal: $vectors:literal)*) => {{
        use $crate::Format::*;
        use $crate::kernels::formats as f;
        macro_rules! of {
            ($code:ty) => {
                match $rows {
                    $($n => $crate::kernels::tile::new::<$v, $code, $n, $vectors>(),)*
                    _ => $crate::kernels::tile::new::<$v, $code, $last, $last_vectors>(),
                }
            };
        }
        match $format {
            Q4_0 => of!(f::Q4_0),
            Q4_1 => of!(f::Q4_1),
            Q5_0 => of!(f::Q5_0),
            Q5_1 => of!(f::Q5_1),
            Q8_0 => of!(f::Q8_0),
            Q2K => of!(f::Q2K),
            Q3K => of!(f::Q3K),
            Q4K => of!(f::Q4K),
            Q5K => of!(f::Q5K),
            Q6K => of!(f::Q6K),
            Q8K => of!(f::Q8K),
            Iq4Nl => of!(f::Iq4Nl),
            Iq4Xs => of!(f::Iq4Xs),
        }
    }};
}
pub(crate) use choose_tile;

/// The tile of one row and several panels, for the formats whose blocks have one scale: with parts, one
/// panel has enough to do.
#[cfg(target_arch = "x86_64")]
macro_rules! choose_panels {
    ($v:ty, $format:expr, $vectors:literal) => {{
        use $crate::kernels::{formats as f, tile::new};
        match $format {
            Format::Q4_0 => Some(new::<$v, f::Q4_0, 1, $vectors>()),
            Format::Q4_1 => Some(new::<$v, f::Q4_1, 1, $vectors>()),
            Format::Q5_0 => Some(new::<$v, f::Q5_0, 1, $vectors>()),
            Format::Q5_1 => Some(new::<$v, f::Q5_1, 1, $vectors>()),
            Format::Q8_0 => Some(new::<$v, f::Q8_0, 1, $vectors>()),
            Format::Q8K => Some(new::<$v, f::Q8K, 1, $vectors>()),
            Format::Iq4Nl => Some(new::<$v, f::Iq4Nl, 1, $vectors>()),
            _ => None,
        }
    }};
}
#[cfg(target_arch = "x86_64")]
pub(crate) use choose_panels;

/// Implements operations as intrinsics of the level.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! operations {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty = $body:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($arg: $type),*) -> $result {
            // SAFETY: the token exists only after detection.
            unsafe { $body }
        }
    )*};
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use operations;

/// Implements loads and stores.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! memory {
    ($($name:ident($($arg:ident: $type:ty),*) $(-> $result:ty)? = $body:expr;)*) => {$(
        #[inline(always)]
        unsafe fn $name(self, $($arg: $type),*) $(-> $result)? {
            // SAFETY: the token exists only after detection, and the caller vouches for the memory.
            unsafe { $body }
        }
    )*};
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) use memory;
