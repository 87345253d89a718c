//! The micro-kernels: a tile of sums in registers, one file an instruction set.
//!
//! Lanes run over columns, as in the float product. A step takes four values of `k`: those of a row of A are copied to
//! all columns' lanes, those of the columns come side by side from a line of packed B ([`super::packed`]).

use kernform_simd::{Isa, Level};

use super::packed::{GROUP, LINE};
use crate::PANEL;

#[cfg(kernform_dsp)]
mod dsp;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(not(kernform_dsp))]
mod scalar;
#[cfg(target_arch = "x86_64")]
mod vnni;
#[cfg(target_arch = "x86_64")]
mod x86;

/// The largest tile of any level, in sums; it lies on the stack.
pub(super) const MAX_TILE: usize =
    if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) { 12 * 64 } else { 64 };
/// Most columns of a tile.
pub(super) const MAX_COLS: usize = if cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) { 128 } else { 32 };

/// How rows of A lie in the scratch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// As they are.
    Signed,
    /// With 128 added, as unsigned bytes.
    Unsigned,
    /// As 16-bit integers.
    Wide,
}

impl Format {
    /// Bytes of an element.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Format::Wide => 2,
            _ => 1,
        }
    }
}

/// Where a tile reads and writes.
#[derive(Clone, Copy)]
pub(super) struct TileArgs {
    /// Steps of four values of `k`.
    pub(super) groups: usize,
    /// How many times as wide as its sums in registers the tile is.
    pub(super) passes: usize,
    /// The tile's first row of A, in the kernels' format and filled up to whole groups.
    pub(super) a: *const u8,
    /// Bytes from a row to the next.
    pub(super) a_stride: usize,
    /// The sum of the tile's first column, in its panel of packed B; the column's groups follow, a line after the other.
    pub(super) b: *const i8,
    /// Bytes from a panel to the next.
    pub(super) panel_stride: usize,
    /// The tile's sums, row by row.
    pub(super) out: *mut i32,
}

/// Multiplies one tile.
///
/// # Safety
/// With the arguments as [`TileArgs`] says, and `rows`, `cols` those for which the function was asked: A must be readable
/// for `rows` rows, B for all panels of `passes` times `cols` columns, and `out` writable for `rows` x `passes` x `cols`.
/// The CPU must have the level of the kernels.
pub(super) type TileFn = unsafe fn(&TileArgs);

/// How wide tiles are.
#[derive(Clone, Copy)]
pub(super) struct Widths {
    /// Columns by which they grow: whole panels, or a part of one.
    pub(super) unit: usize,
    /// Most units whose sums fit the registers; 1 where the unit is less than a panel.
    pub(super) in_registers: usize,
    /// How many times as wide a tile may be, computed one part after the other: its sums are finished together.
    pub(super) passes: usize,
}

impl Widths {
    const fn new(unit: usize, in_registers: usize, passes: usize) -> Widths {
        Widths { unit, in_registers, passes }
    }
}

/// The micro-kernels of a level.
pub(super) struct Kernels {
    /// How they want A.
    pub(super) format: Format,
    /// Most rows of a tile.
    pub(super) max_rows: usize,
    /// The widths of tiles of so many rows.
    pub(super) widths: fn(rows: usize) -> Widths,
    /// The function for so many rows and columns in registers, a size that `max_rows` and `widths` allow, or one row less.
    pub(super) tile: fn(rows: usize, cols: usize) -> TileFn,
}

impl Kernels {
    pub(super) fn of(isa: Isa) -> &'static Kernels {
        match isa.level() {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => &vnni::ZMM,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => &x86::AVX512,
            #[cfg(target_arch = "x86_64")]
            Level::AvxVnni => &vnni::YMM,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => &x86::AVX2,
            #[cfg(target_arch = "aarch64")]
            Level::NeonI8mm => &neon::I8MM,
            #[cfg(target_arch = "aarch64")]
            Level::NeonDotprod => &neon::DOTPROD,
            #[cfg(target_arch = "aarch64")]
            Level::Neon => &neon::NEON,
            Level::Portable | Level::Simd128 => &portable::PORTABLE,
            #[cfg(kernform_dsp)]
            _ => &dsp::DSP,
            #[cfg(not(kernform_dsp))]
            _ => &scalar::SCALAR,
        }
    }
}

/// The operations of which a tile is made.
///
/// # Safety
/// Each may only be called where the CPU has the instructions, and with pointers to as much as it says.
trait Dot: Sized {
    /// Running sums of [`Dot::COLS`] columns.
    type Sums: Copy;
    /// Four values of a row of A.
    type A: Copy;
    /// Four values of each of [`Dot::COLS`] columns.
    type B: Copy;

    /// Columns of a vector; divides [`PANEL`].
    const COLS: usize;
    /// The format of A.
    const FORMAT: Format;
    /// Steps between two jumps back. More than one only where [`Dot::dot`] is one instruction: the compiler reorders the
    /// additions of several steps, and runs out of registers.
    const UNROLL: usize;

    /// Where the sums begin, with the sums of the columns of B at `sums`.
    unsafe fn begin(sums: *const i8) -> Self::Sums;
    /// Four values at `a`, for all columns.
    unsafe fn load_a(a: *const u8) -> Self::A;
    /// Four values of each column at `b`.
    unsafe fn load_b(b: *const i8) -> Self::B;
    /// Adds the products.
    unsafe fn dot(sums: Self::Sums, a: Self::A, b: Self::B) -> Self::Sums;
    /// Writes [`Dot::COLS`] sums.
    unsafe fn store(sums: Self::Sums, out: *mut i32);
    /// [`multiply`], compiled with the instructions of the level.
    unsafe fn tile<const ROWS: usize, const VECTORS: usize>(t: &TileArgs);
}

/// One tile of `ROWS` rows and `VECTORS` vectors.
///
/// # Safety
/// See [`TileFn`].
#[inline(always)]
unsafe fn multiply<D: Dot, const ROWS: usize, const VECTORS: usize>(t: &TileArgs) {
    let step = GROUP * D::FORMAT.bytes();
    // SAFETY: by the caller's word, A and B are readable for all groups and columns, `out` is writable for the tile, and
    // the CPU has the instructions.
    unsafe {
        let mut rows = [t.a; ROWS];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = t.a.add(i * t.a_stride);
        }
        for pass in 0..t.passes {
            let first = t.b.add(offset::<D>(pass * VECTORS, t.panel_stride));
            let mut sums = [[D::begin(first); VECTORS]; ROWS];
            for v in 0..VECTORS {
                let begin = D::begin(first.add(offset::<D>(v, t.panel_stride)));
                for sums in &mut sums {
                    sums[v] = begin;
                }
            }
            let (mut b, mut at, mut left) = (first.add(LINE), 0, t.groups);
            while left >= D::UNROLL {
                for _ in 0..D::UNROLL {
                    one_step::<D, ROWS, VECTORS>(t.panel_stride, &rows, at, b, &mut sums);
                    b = b.add(LINE);
                    at += step;
                }
                left -= D::UNROLL;
            }
            while left > 0 {
                one_step::<D, ROWS, VECTORS>(t.panel_stride, &rows, at, b, &mut sums);
                b = b.add(LINE);
                at += step;
                left -= 1;
            }
            for (i, sums) in sums.into_iter().enumerate() {
                for (v, sums) in sums.into_iter().enumerate() {
                    D::store(sums, t.out.add(((i * t.passes + pass) * VECTORS + v) * D::COLS));
                }
            }
        }
    }
}

/// Bytes from the first column of a tile to those of vector `v`, in the same line of all panels.
#[inline(always)]
fn offset<D: Dot>(v: usize, panel_stride: usize) -> usize {
    let col = v * D::COLS;
    col / PANEL * panel_stride + col % PANEL * GROUP
}

/// Four values of `k`.
///
/// # Safety
/// As for the tile.
#[inline(always)]
unsafe fn one_step<D: Dot, const ROWS: usize, const VECTORS: usize>(
    panel_stride: usize,
    rows: &[*const u8; ROWS],
    at: usize,
    b: *const i8,
    sums: &mut [[D::Sums; VECTORS]; ROWS],
) {
    // SAFETY: by the caller's word.
    unsafe {
        let mut columns = [D::load_b(b); VECTORS];
        for (v, column) in columns.iter_mut().enumerate() {
            *column = D::load_b(b.add(offset::<D>(v, panel_stride)));
        }
        for (row, sums) in rows.iter().zip(sums) {
            let a = D::load_a(row.add(at));
            for (sums, column) in sums.iter_mut().zip(columns) {
                *sums = D::dot(*sums, a, column);
            }
        }
    }
}

/// The function that chooses among the tiles of a [`Dot`], given as rows and numbers of vectors.
macro_rules! tiles {
    ($dot:ty; $($r:literal: $($v:literal)+;)+) => {
        |rows, cols| match (rows, cols / <$dot>::COLS) {
            $($(($r, $v) => <$dot>::tile::<$r, $v>,)+)+
            // Asked for beside the one that is needed, where no strip is so tall.
            _ => $crate::int8::kernels::no_tile,
        }
    };
}
use tiles;

/// Stands where no tile is.
unsafe fn no_tile(_: &TileArgs) {
    unreachable!("no tile of this size");
}

/// [`Dot::tile`], with or without target features.
macro_rules! compiled_with {
    ($($features:literal)?) => {
        $(#[target_feature(enable = $features)])?
        unsafe fn tile<const ROWS: usize, const VECTORS: usize>(t: &TileArgs) {
            // SAFETY: by the caller's word.
            unsafe { multiply::<Self, ROWS, VECTORS>(t) }
        }
    };
}
use compiled_with;
