//! The micro-kernel: a tile of C in registers, one multiply-add an element and step of `k`; and the sweep of such a tile
//! over a block of C.
//!
//! Lanes run over columns, registers over rows and further columns, so each element of the tile is one chain over
//! ascending `k`. The tile is as large as the registers allow, since each step loads rows + vectors values for
//! rows x vectors multiply-adds (Goto and van de Geijn 2008, section 4); it holds at least eight chains where the
//! matrix does, which hide the latency of the multiply-add. A sweep goes through all strips of rows before it moves to the
//! next columns, so that these columns of B stay in the nearest cache.

use kernform_simd::{Kernel, Simd};

use crate::packed::PANEL;
use crate::tiles::Tiling;
use crate::weight::Weight;

/// Where a sweep reads and writes. Strides are in elements.
#[derive(Clone, Copy)]
pub struct Sweep<W> {
    /// Steps of `k`.
    pub(crate) k: usize,
    /// Strips of rows, one below the other.
    pub(crate) strips: usize,
    /// Groups of columns, side by side.
    pub(crate) groups: usize,
    /// The columns of each group that exist in C; less than the tile's width only where there is one group.
    pub(crate) valid: usize,
    /// The first row of A; steps of `k` stand next to each other.
    pub(crate) a: *const f32,
    pub(crate) a_row_stride: usize,
    /// The first column of B, in rows of vectors.
    pub(crate) b: *const W,
    pub(crate) b_row_stride: usize,
    /// From a vector to the one [`PANEL`] columns on.
    pub(crate) b_panel_stride: usize,
    /// From a group to the next.
    pub(crate) b_group_stride: usize,
    /// What is fetched to the second-level cache meanwhile, laid out as B is.
    pub(crate) fetch: Fetch<W>,
    /// Where the chains begin.
    pub(crate) init: *const f32,
    pub(crate) init_row_stride: usize,
    pub(crate) init_group_stride: usize,
    /// Where they end.
    pub(crate) out: *mut f32,
    pub(crate) out_row_stride: usize,
}

/// Columns that are fetched while others are multiplied, a row or a part of one a step.
#[derive(Clone, Copy)]
pub(crate) struct Fetch<W> {
    pub(crate) from: *const W,
    /// Bytes from what a step fetches to what the next one does.
    pub(crate) step: usize,
    /// Bytes from where a strip begins to where the one below does.
    pub(crate) strip: usize,
    pub(crate) panel_stride: usize,
    /// The rows are fetched as `1 << streams` runs side by side: each keeps a prefetcher of the machine going.
    pub(crate) streams: u32,
    /// Rows that tiles of few rows fetch, before they begin: none unless B comes from memory, since they have no time to
    /// spare. (A count and not a flag, for which the compiler would make every loop twice.)
    pub(crate) few_rows_steps: usize,
}

/// Multiplies all tiles of a sweep.
///
/// # Safety
/// With the arguments as [`Sweep`] says and the tiles `rows` x `cols`: A must be readable for `strips * rows` x `k`, B for
/// `k` x `cols` a group, `init` and `out` readable and writable for `strips * rows` x `valid` a group; `init` may be `out`.
pub(crate) type SweepFn<S, W> = unsafe fn(S, &Sweep<W>);

/// Each tile is a function of its own, so that the registers are shared out for its loop alone.
///
/// # Safety
/// See [`SweepFn`].
pub(crate) unsafe fn sweep<S: Simd, W: Weight, const ROWS: usize, const VECTORS: usize>(s: S, t: &Sweep<W>) {
    s.vectorize(Tiles::<W, ROWS, VECTORS>(t));
}

/// Tiles of `ROWS` rows and `VECTORS` vectors.
struct Tiles<'a, W, const ROWS: usize, const VECTORS: usize>(&'a Sweep<W>);

impl<W: Weight, const ROWS: usize, const VECTORS: usize> Kernel for Tiles<'_, W, ROWS, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let t = self.0;
        let width = VECTORS * S::LANES;
        for group in 0..t.groups {
            let b = t.b.wrapping_add(group * t.b_group_stride);
            let fetch = t.fetch.from.wrapping_add(group * VECTORS * S::LANES / PANEL * t.fetch.panel_stride);
            let beside = t.out.wrapping_add((group + 1) * width);
            for strip in 0..t.strips {
                let row = strip * ROWS;
                let a = t.a.wrapping_add(row * t.a_row_stride);
                let init = t.init.wrapping_add(row * t.init_row_stride + group * t.init_group_stride);
                let out = t.out.wrapping_add(row * t.out_row_stride + group * width);
                let next = if strip + 1 < t.strips { out.wrapping_add(ROWS * t.out_row_stride) } else { beside };
                let fetch = fetch.wrapping_byte_add(strip * t.fetch.strip);
                let at = Tile { a, b, fetch, init, out, next };
                // SAFETY: the caller of the sweep vouches for the reads and writes of every tile.
                unsafe { tile::<S, W, ROWS, VECTORS>(s, t, at) };
            }
        }
    }
}

/// Where one tile of a sweep reads and writes.
#[derive(Clone, Copy)]
struct Tile<W> {
    a: *const f32,
    b: *const W,
    fetch: *const W,
    init: *const f32,
    out: *mut f32,
    /// The tile of C that comes next.
    next: *mut f32,
}

/// Steps from which on a tile is worth fetching the next one's place in C.
const FETCH_FROM: usize = 64;
/// Rows from which on a tile of one panel fetches in several runs: steps of fewer have no time for it.
const STREAMS_FROM: usize = 12;

/// # Safety
/// As for the sweep, of which this is one tile.
#[inline(always)]
unsafe fn tile<S: Simd, W: Weight, const ROWS: usize, const VECTORS: usize>(s: S, t: &Sweep<W>, at: Tile<W>) {
    let Tile { a, mut b, mut fetch, init, out, next } = at;
    let mut acc = [[s.splat(0.0); VECTORS]; ROWS];
    let is_whole = t.valid == VECTORS * S::LANES;
    // The columns of vector `v` that exist.
    let lanes = |v: usize| t.valid.saturating_sub(v * S::LANES).min(S::LANES);
    let load_init = |i: usize, v: usize| {
        let from = init.wrapping_add(i * t.init_row_stride + v * S::LANES);
        // SAFETY: the first `valid` elements of the row are readable.
        unsafe { if is_whole { s.load_ptr(from) } else { s.load_or(core::slice::from_raw_parts(from, lanes(v)), 0.0) } }
    };
    if S::LANES >= 16 && t.init_row_stride == 0 {
        // A bias or zeros: the same for all rows, and so loaded once. (With the registers of narrower levels LLVM pays for the
        // second way in every step.)
        for v in 0..VECTORS {
            let begin = load_init(0, v);
            for acc in &mut acc {
                acc[v] = begin;
            }
        }
    } else {
        for (i, acc) in acc.iter_mut().enumerate() {
            for (v, acc) in acc.iter_mut().enumerate() {
                *acc = load_init(i, v);
            }
        }
    }
    if ROWS >= Tiling::PREFETCH_FROM && t.k >= FETCH_FROM {
        for i in 0..ROWS {
            prefetch_row::<S, VECTORS>(next.wrapping_add(i * t.out_row_stride));
        }
    }
    let rows: [*const f32; ROWS] = core::array::from_fn(|i| a.wrapping_add(i * t.a_row_stride));
    let (k, b_panel_stride, fetched) = (t.k, t.b_panel_stride, t.fetch);
    let panels = (0..VECTORS).step_by(PANEL / S::LANES).map(|v| v * S::LANES / PANEL);
    if ROWS < Tiling::PREFETCH_FROM {
        for step in 0..fetched.few_rows_steps {
            for panel in panels.clone() {
                prefetch(fetch.wrapping_byte_add(step * fetched.step).wrapping_add(panel * fetched.panel_stride));
            }
            end_step();
        }
    }
    // Of tiles that are wider the panels are runs side by side already, and no register is left.
    let streams = if ROWS >= STREAMS_FROM && VECTORS * S::LANES == PANEL { fetched.streams } else { 0 };
    let (mask, run) = ((1 << streams) - 1, k >> streams);
    let b_row_stride = t.b_row_stride;
    for step in 0..k {
        if ROWS >= Tiling::PREFETCH_FROM {
            for panel in panels.clone() {
                prefetch(fetch.wrapping_add(panel * fetched.panel_stride));
            }
            if ROWS >= STREAMS_FROM && VECTORS * S::LANES == PANEL {
                let next = step + 1;
                let row = (next & mask) * run + (next >> streams);
                fetch = at.fetch.wrapping_byte_add(row * fetched.step);
            } else {
                fetch = fetch.wrapping_byte_add(fetched.step);
            }
        }
        // SAFETY: a step of the tile.
        unsafe { one_step(s, &rows, step, b, b_panel_stride, &mut acc) };
        b = b.wrapping_add(b_row_stride);
        end_step();
    }
    for (i, acc) in acc.into_iter().enumerate() {
        for (v, acc) in acc.into_iter().enumerate() {
            let to = out.wrapping_add(i * t.out_row_stride + v * S::LANES);
            // SAFETY: the first `valid` elements of the row are writable.
            unsafe {
                if is_whole {
                    s.store_ptr(acc, to);
                } else {
                    s.store_partial(acc, core::slice::from_raw_parts_mut(to, lanes(v)));
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

/// Fetches a cache line to the second-level cache.
#[inline(always)]
fn prefetch<W>(line: *const W) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch touches no memory, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Fetches a row of a tile of C early, while the tile before it is computed.
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
