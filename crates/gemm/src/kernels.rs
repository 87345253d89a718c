//! The micro-kernel: a tile of C in registers, one multiply-add an element and step of `k`.
//!
//! Lanes run over columns, registers over rows and further columns, so each element of the tile is one chain over
//! ascending `k`. The tile is as large as the registers allow, since each step loads rows + vectors values for
//! rows x vectors multiply-adds (Goto and van de Geijn 2008, section 4); it holds at least eight chains where the
//! matrix does, which hide the latency of the multiply-add.

use kernform_simd::{Kernel, Simd};

use crate::packed::PANEL;
use crate::weight::Weight;

/// Where a tile reads and writes. Strides are in floats.
pub(crate) struct TileArgs<W> {
    /// Steps of `k`.
    pub(crate) k: usize,
    /// The tile's first row of A; steps of `k` stand next to each other.
    pub(crate) a: *const f32,
    pub(crate) a_row_stride: usize,
    /// The tile's first column of B, in rows of vectors.
    pub(crate) b: *const W,
    pub(crate) b_row_stride: usize,
    /// From a vector to the one [`PANEL`] columns on.
    pub(crate) b_panel_stride: usize,
    /// What is read after this tile: two lines of it are fetched to the second-level cache every [`UNROLL`] steps.
    pub(crate) next: *const W,
    /// Where the chains begin.
    pub(crate) init: *const f32,
    pub(crate) init_row_stride: usize,
    /// Where they end.
    pub(crate) out: *mut f32,
    pub(crate) out_row_stride: usize,
}

/// One tile of `ROWS` rows and `VECTORS` vectors.
struct Tile<'a, W, const ROWS: usize, const VECTORS: usize>(&'a TileArgs<W>);

/// Steps of `k` between two jumps back: so few jumps that the end of the loop is predicted.
const UNROLL: usize = 4;

impl<W: Weight, const ROWS: usize, const VECTORS: usize> Kernel for Tile<'_, W, ROWS, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let t = self.0;
        // SAFETY: whoever calls a `TileFn` vouches for all of the tile's reads and writes: `k` x `VECTORS` vectors of B,
        // `ROWS` x `k` elements of A, `ROWS` x `VECTORS` vectors at `init` and `out`.
        unsafe {
            let mut acc = [[s.splat(0.0); VECTORS]; ROWS];
            for (i, acc) in acc.iter_mut().enumerate() {
                prefetch_row::<S, VECTORS>(t.out.add(i * t.out_row_stride));
                for (v, acc) in acc.iter_mut().enumerate() {
                    *acc = s.load_ptr(t.init.add(i * t.init_row_stride + v * S::LANES));
                }
            }
            let mut rows = [t.a; ROWS];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = t.a.add(i * t.a_row_stride);
            }
            let (mut b, mut step) = (t.b, 0);
            let (k, b_row_stride, b_panel_stride) = (t.k, t.b_row_stride, t.b_panel_stride);
            let mut next = t.next;
            while step < k {
                prefetch_next(next);
                next = next.wrapping_add(PANEL / 2);
                one_step(s, &rows, step, b, b_panel_stride, &mut acc);
                step += 1;
                b = b.add(b_row_stride);
                end_step();
            }
            for (i, acc) in acc.into_iter().enumerate() {
                for (v, acc) in acc.into_iter().enumerate() {
                    s.store_ptr(acc, t.out.add(i * t.out_row_stride + v * S::LANES));
                }
            }
        }
    }
}

/// One step of `k`: what there is less of is kept in registers, the other comes one by one.
///
/// # Safety
/// As for the tile.
#[inline(always)]
unsafe fn one_step<S: Simd, W: Weight, const ROWS: usize, const VECTORS: usize>(
    s: S,
    rows: &[*const f32; ROWS],
    step: usize,
    b: *const W,
    b_panel_stride: usize,
    acc: &mut [[S::F32; VECTORS]; ROWS],
) {
    let load_b = |v: usize| {
        let col = v * S::LANES;
        // SAFETY: a vector of the tile's row of B.
        unsafe { W::load(s, b.add(col / PANEL * b_panel_stride + col % PANEL)) }
    };
    // SAFETY: an element of the tile's rows of A.
    let load_a = |i: usize| unsafe { s.splat(*rows[i].add(step)) };
    if ROWS < VECTORS {
        let mut a = [s.splat(0.0); ROWS];
        for (i, a) in a.iter_mut().enumerate() {
            *a = load_a(i);
        }
        for v in 0..VECTORS {
            let b = load_b(v);
            for (a, acc) in a.iter().zip(acc.iter_mut()) {
                acc[v] = s.mul_add(*a, b, acc[v]);
            }
        }
    } else {
        let mut b_row = [s.splat(0.0); VECTORS];
        for (v, b) in b_row.iter_mut().enumerate() {
            *b = load_b(v);
        }
        for (i, acc) in acc.iter_mut().enumerate() {
            let a = load_a(i);
            for (acc, b) in acc.iter_mut().zip(&b_row) {
                *acc = s.mul_add(a, *b, *acc);
            }
        }
    }
}

/// No instruction: it keeps the compiler from loading for later steps, for which no register is left. (A compiler fence
/// does not: LLVM's scheduler moves loads across it.)
#[inline(always)]
fn end_step() {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    // SAFETY: there is no instruction.
    unsafe {
        core::arch::asm!("", options(nostack, preserves_flags));
    }
}

/// Fetches two cache lines to the second-level cache.
#[inline(always)]
fn prefetch_next<W>(next: *const W) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..1 {
        use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch touches no memory, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(line * PANEL).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = next;
}

/// Fetches a row of the tile of C early: it is written only after the last step.
#[inline(always)]
fn prefetch_row<S: Simd, const VECTORS: usize>(row: *const f32) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..(VECTORS * S::LANES).div_ceil(PANEL) {
        use core::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: a prefetch touches no memory, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(row.wrapping_add(line * PANEL).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (row, S::LANES);
}

/// The tiles of a level.
pub(crate) struct Tiling {
    /// Most rows of a tile.
    pub(crate) max_rows: usize,
    /// Columns by which tiles grow; a tile wider than a panel is whole panels.
    pub(crate) unit: usize,
    /// Width of a narrower tile for the last few columns.
    pub(crate) narrow: usize,
}

/// The largest tile of any level, in floats.
pub(crate) const MAX_TILE: usize = 12 * 2 * 16;

impl Tiling {
    pub(crate) const fn of<S: Simd>() -> Tiling {
        match (S::LANES, S::REGISTERS) {
            (16, _) => Tiling { max_rows: 12, unit: 16, narrow: 16 },
            (8, _) => Tiling { max_rows: 6, unit: 16, narrow: 8 },
            (4, 32..) => Tiling { max_rows: 6, unit: 16, narrow: 8 },
            (4, _) => Tiling { max_rows: 2, unit: 16, narrow: 8 },
            _ => Tiling { max_rows: 2, unit: 4, narrow: 4 },
        }
    }

    /// The most units that a tile of `rows` rows is wide.
    pub(crate) const fn max_units<S: Simd>(rows: usize) -> usize {
        match (S::LANES, S::REGISTERS, rows) {
            (16, _, 1) => 8,
            (16, _, 2..=6) => 4,
            (16, ..) => 2,
            (8, _, 1) => 7,
            (8, _, 2) => 3,
            (4, 32.., 1) => 5,
            (4, 32.., 2) => 3,
            (4, 32.., 3) => 2,
            (4, ..32, 1) => 2,
            _ => 1,
        }
    }
}

/// Multiplies one tile.
///
/// # Safety
/// With the arguments as [`TileArgs`] says and the tile `rows` x `cols`: A must be readable for `rows` x `k`, B for `k` x
/// `cols`, `init` for `rows` x `cols`, and `out` writable for `rows` x `cols`.
pub(crate) type TileFn<S, W> = unsafe fn(S, &TileArgs<W>);

/// Each tile is a function of its own, so that the registers are shared out for its loop alone.
///
/// # Safety
/// See [`TileFn`].
unsafe fn multiply_tile<S: Simd, W: Weight, const ROWS: usize, const VECTORS: usize>(s: S, t: &TileArgs<W>) {
    s.vectorize(Tile::<W, ROWS, VECTORS>(t));
}

macro_rules! choose_tile {
    ($s:ty, $w:ty, $rows:ident, $vectors:ident; $($r:literal: $($v:literal)+;)+) => {
        match ($rows, $vectors) {
            $($(($r, $v) => multiply_tile::<$s, $w, $r, $v>,)+)+
            _ => unreachable!("no tile of {} rows and {} vectors", $rows, $vectors),
        }
    };
}

/// The function for tiles of `rows` rows and `cols` columns, a size that [`Tiling`] names.
#[inline(always)]
pub(crate) fn tile_fn<S: Simd, W: Weight>(rows: usize, cols: usize) -> TileFn<S, W> {
    let vectors = cols / S::LANES;
    if S::LANES == 16 {
        choose_tile!(S, W, rows, vectors; 1: 1 2 3 4 5 6 7 8; 2: 1 2 3 4; 3: 1 2 3 4; 4: 1 2 3 4; 5: 1 2 3 4; 6: 1 2 3 4;
            7: 1 2; 8: 1 2; 9: 1 2; 10: 1 2; 11: 1 2; 12: 1 2;)
    } else if S::LANES == 8 {
        choose_tile!(S, W, rows, vectors; 1: 1 2 4 6 8 10 12 14; 2: 1 2 4 6; 3: 1 2; 4: 1 2; 5: 1 2; 6: 1 2;)
    } else if S::LANES == 4 && S::REGISTERS >= 32 {
        choose_tile!(S, W, rows, vectors; 1: 2 4 8 12 16 20; 2: 2 4 8 12; 3: 2 4 8; 4: 2 4; 5: 2 4; 6: 2 4;)
    } else if S::LANES == 4 {
        choose_tile!(S, W, rows, vectors; 1: 2 4 8; 2: 2 4;)
    } else {
        choose_tile!(S, W, rows, vectors; 1: 4; 2: 4;)
    }
}
