//! The loops around the micro-kernel.
//!
//! C is cut into parts for threads. Inside a part, A is cut into blocks (see [`blocking`](crate::blocking)) that stay in
//! the second-level cache while panels of B pass through the first-level one (Goto and van de Geijn 2008, section 4.2).
//! Blocks over `k` come in ascending order and reload what the one before stored, so that no block size shows in the
//! result.

mod aside;

use core::ops::Range;

use kernform_math::{Activation, vector};
use kernform_simd::{Kernel, Simd};
use kernform_tensor::{MatrixMut, MatrixRef, cast_slice_mut};

use crate::blocking::{NC, a_stride, divide, even_block, row_block, scratch_len};
use crate::kernels::{Fetch, Sweep};
use crate::pack::{copy_rows, pack_columns, pack_rows, whole_rows};
use crate::packed::PANEL;
use crate::tiles::{MAX_COLS, STREAMED_UNITS, Tiling, sweep_fn};
use crate::way::{Way, is_far, is_streamed};
use crate::weight::Weight;

/// Columns that all strips of a block go through before they go on.
const CHUNK: usize = 128;
/// Where chains without a bias begin.
static ZEROS: [f32; MAX_COLS] = [0.0; MAX_COLS];

/// The right operand as the driver sees it.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a, W> {
    Packed(&'a [W]),
    Strided(MatrixRef<'a, W>),
}

/// A product whose shapes were checked.
#[derive(Clone, Copy)]
pub struct Product<'a, W> {
    pub(crate) k: usize,
    pub(crate) a: MatrixRef<'a, f32>,
    pub(crate) pack_a: bool,
    pub(crate) b: Source<'a, W>,
    pub(crate) c: Output,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) activation: Activation,
    pub(crate) residual: Option<MatrixRef<'a, f32>>,
}

/// C, written by several threads at different places.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(crate) data: *mut f32,
    pub(crate) row_stride: usize,
    pub(crate) col_stride: usize,
    /// Elements from `data` on.
    len: usize,
}

impl Output {
    /// A matrix of floats, or of integers of their size that are written as what they are.
    pub(crate) fn new<T>(c: &mut MatrixMut<'_, T>) -> Output {
        const { assert!(size_of::<T>() == size_of::<f32>() && align_of::<T>() == align_of::<f32>()) };
        let (row_stride, col_stride) = (c.row_stride(), c.col_stride());
        let data = c.as_mut_slice();
        Output { data: data.as_mut_ptr().cast(), row_stride, col_stride, len: data.len() }
    }

    /// Panics unless the elements above and left of (`rows`, `cols`), of which there are some, lie inside C: what the
    /// kernels write without a check, checked once a part.
    pub(crate) fn check(&self, rows: usize, cols: usize) {
        assert!((rows - 1) * self.row_stride + (cols - 1) * self.col_stride < self.len, "a part reaches beyond C");
    }
}

/// The place of element (`row`, `col`) of rows that lie `stride` apart in `data`, from which `rows` x `cols` elements are
/// there: what the kernels read without a check, checked once a block.
#[inline(always)]
fn window<T>(data: &[T], (row, col): (usize, usize), (rows, cols): (usize, usize), stride: usize) -> *const T {
    if rows == 0 || cols == 0 {
        // Nothing is read, and the strides of an empty matrix may be anything.
        return data.as_ptr();
    }
    data[row * stride + col..][..(rows - 1) * stride + cols].as_ptr()
}

// SAFETY: the parts of a product write different elements (`MatrixMut` keeps elements apart, parts are disjoint).
unsafe impl Sync for Output {}
// SAFETY: as above.
unsafe impl Send for Output {}

/// The elements of C that one thread computes, and its scratch.
pub struct Part<'s> {
    pub(crate) rows: Range<usize>,
    pub(crate) cols: Range<usize>,
    pub(crate) scratch: &'s mut [f32],
}

/// Computes one part of a product.
pub(crate) struct ComputePart<'a, 's, W> {
    pub(crate) product: &'a Product<'a, W>,
    pub(crate) part: &'a mut Part<'s>,
}

impl<W: Weight> Kernel for ComputePart<'_, '_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (p, rows, cols) = (self.product, self.part.rows.clone(), self.part.cols.clone());
        p.c.check(rows.end, cols.end);
        let (a_len, _) = scratch_len(rows.len(), cols.len(), p.k, p.pack_a, matches!(p.b, Source::Strided(_)));
        let (a_scratch, b_scratch) = self.part.scratch.split_at_mut(a_len);
        // No weight is larger than a float, or more strictly aligned.
        let b_scratch: &mut [W] = cast_slice_mut(b_scratch).unwrap_or_default();
        let tiling = Tiling::of::<S>();
        let way = Way::new(&p.b, &tiling, rows.len());
        let k_block = even_block(p.k, way.most_steps(&p.b, &tiling, rows.len(), p.k, p.pack_a));
        let row_block = row_block(&tiling, rows.len(), k_block);
        let col_block = match p.b {
            Source::Packed(_) => cols.len(),
            Source::Strided(b) if way == Way::InPlace && is_far(&b) => cols.len(),
            Source::Strided(_) => NC,
        };
        let mut col = cols.start;
        while col < cols.end {
            let width = col_block.min(cols.end - col);
            let mut k_from = 0;
            loop {
                let kc = k_block.min(p.k - k_from);
                let mut row = rows.start;
                while row < rows.end {
                    let mc = row_block.min(rows.end - row);
                    let pack = way == Way::Copied && row == rows.start;
                    Block { p, row, rows: mc, col, cols: width, k_from, kc, way, pack }.run(s, a_scratch, b_scratch);
                    row += mc;
                }
                k_from += kc;
                if k_from >= p.k {
                    break;
                }
            }
            col += width;
        }
    }
}

/// One block of rows, columns and `k`.
struct Block<'a, W> {
    p: &'a Product<'a, W>,
    row: usize,
    rows: usize,
    col: usize,
    cols: usize,
    k_from: usize,
    kc: usize,
    way: Way,
    /// Whether B must still be packed.
    pack: bool,
}

/// Columns of B as the kernels read them.
#[derive(Clone, Copy)]
struct Right<W> {
    data: *const W,
    row_stride: usize,
    panel_stride: usize,
    /// The last steps, whose rows stand elsewhere, in rows of `tail_row_stride`: where B lies, whole vectors of them would
    /// reach past its end.
    tail_steps: usize,
    tail: *const W,
    tail_row_stride: usize,
    /// What is fetched meanwhile; the next group where it says nothing.
    fetch: Option<Fetch<W>>,
    /// Whether a sweep of one row reads several streams side by side.
    is_streamed: bool,
}

impl<W> Right<W> {
    fn new(data: *const W, row_stride: usize, panel_stride: usize) -> Right<W> {
        let (tail, fetch) = (core::ptr::null(), None);
        Right { data, row_stride, panel_stride, tail_steps: 0, tail, tail_row_stride: 0, fetch, is_streamed: true }
    }
}

/// Strips of equal height.
#[derive(Clone, Copy)]
struct Strips {
    row: usize,
    count: usize,
    height: usize,
}

impl<W: Weight> Block<'_, W> {
    #[inline(always)]
    fn run<S: Simd>(&self, s: S, a_scratch: &mut [f32], b_scratch: &mut [W]) {
        let p = self.p;
        let (a, a_row_stride) = if p.pack_a {
            let stride = a_stride(self.kc);
            pack_rows(p.a, (self.row, self.rows), (self.k_from, self.kc), stride, a_scratch);
            (window(a_scratch, (0, 0), (self.rows, self.kc), stride), stride)
        } else {
            let stride = if self.kc == 0 { 0 } else { p.a.row_stride() };
            (window(p.a.as_slice(), (self.row, self.k_from), (self.rows, self.kc), stride), stride)
        };
        let strips = Tiling::of::<S>().strips(self.rows);
        let (height, taller) = divide(self.rows, strips);
        // Not a list of the two: written and read back at once, it would cost more than a small tile.
        let tall = Strips { row: 0, count: taller, height: height + 1 };
        let low = Strips { row: taller * (height + 1), count: strips - taller, height };
        let is_last = self.k_from + self.kc == p.k;
        let finishes = is_last && (p.activation != Activation::Identity || p.residual.is_some());
        // A single strip has no use for the columns once more.
        let chunk = if strips == 1 && self.way != Way::Copied { self.cols } else { CHUNK };
        let end = self.col + self.cols;
        let mut col = self.col;
        while col < end {
            let mut width = (end - col).min(chunk);
            if self.way == Way::InPlace && !width.is_multiple_of(PANEL) {
                if strips > 1 && width > PANEL {
                    // The last panel is packed, alone.
                    width -= width % PANEL;
                } else if width > NC {
                    // The scratch has room for the last rows of so many columns.
                    width = (width - NC).next_multiple_of(PANEL);
                }
            }
            let right = self.columns(s, strips, col, width, b_scratch);
            if tall.count > 0 {
                self.sweeps(s, tall, (a, a_row_stride), &right, (col, width));
            }
            if low.count > 0 {
                let a = a.wrapping_add(low.row * a_row_stride);
                self.sweeps(s, low, (a, a_row_stride), &right, (col, width));
            }
            if finishes && p.c.col_stride == 1 {
                let out = p.c.data.wrapping_add(self.row * p.c.row_stride + col);
                let (rows, stride) = (self.rows, p.c.row_stride);
                // SAFETY: the columns of this block, which only this thread touches.
                unsafe { Finish { p, row: self.row, rows, col, cols: width, out, stride }.run(s) };
            }
            col += width;
        }
    }

    /// The `width` columns of B from `col` on, which begins a panel.
    #[inline(always)]
    fn columns<S: Simd>(&self, s: S, strips: usize, col: usize, width: usize, scratch: &mut [W]) -> Right<W> {
        let p = self.p;
        match p.b {
            Source::Packed(data) => {
                let (panel, panels, panel_stride) = (col / PANEL, width.div_ceil(PANEL), p.k * PANEL);
                let data = window(data, (panel, self.k_from * PANEL), (panels, self.kc * PANEL), panel_stride);
                Right::new(data, PANEL, panel_stride)
            }
            Source::Strided(b) if self.way == Way::InPlace && strips > 1 && !width.is_multiple_of(PANEL) => {
                let panel_len = self.kc * PANEL;
                let scratch = &mut scratch[..width.div_ceil(PANEL) * panel_len];
                pack_columns(s, b, self.k_from, (col, width), panel_len, scratch);
                Right::new(scratch.as_ptr(), PANEL, panel_len)
            }
            Source::Strided(b) if self.way == Way::InPlace => {
                let stride = width.next_multiple_of(PANEL);
                let whole = whole_rows(b, self.k_from, self.kc, col + stride);
                let data = window(b.as_slice(), (self.k_from, col), (whole, stride), b.row_stride());
                let right = self.in_place(b, data);
                if whole == self.kc {
                    return right;
                }
                let tail_steps = self.kc - whole;
                let scratch = &mut scratch[..tail_steps * stride];
                copy_rows(b, (self.k_from + whole, tail_steps), (col, width), stride, scratch);
                Right { tail_steps, tail: scratch.as_ptr(), tail_row_stride: stride, ..right }
            }
            Source::Strided(b) => {
                let panel_len = self.kc * PANEL;
                let first = (col - self.col) / PANEL;
                let scratch = &mut scratch[first * panel_len..][..width.div_ceil(PANEL) * panel_len];
                if self.pack && panel_len > 0 {
                    pack_columns(s, b, self.k_from, (col, width), panel_len, scratch);
                }
                let right = Right::new(scratch.as_ptr(), PANEL, panel_len);
                Right { fetch: self.next_to_pack(b, col + width), ..right }
            }
        }
    }

    /// Columns that the kernels read where they lie.
    #[inline(always)]
    fn in_place(&self, b: MatrixRef<'_, W>, data: *const W) -> Right<W> {
        let is_streamed = is_streamed(&b, self.rows);
        let few_rows_steps = if is_streamed { self.kc } else { 0 };
        // The line that a panel ends in: the one that it begins in, where that is another, came with the panel before.
        let from = data.wrapping_add(if is_streamed { 8 * PANEL } else { 4 * PANEL } + PANEL - 1);
        let fetch = Fetch { from, step: row_bytes(&b), strip: 0, panel_stride: PANEL, streams: 0, few_rows_steps };
        Right { fetch: Some(fetch), is_streamed, ..Right::new(data, b.row_stride(), PANEL) }
    }

    /// What of B is packed after the columns before `end`.
    #[inline(always)]
    fn next_to_pack(&self, b: MatrixRef<'_, W>, end: usize) -> Option<Fetch<W>> {
        if !self.pack || b.col_stride() != 1 {
            return None;
        }
        let block_end = self.col + self.cols;
        let (row, col) = match (end < block_end, self.k_from + self.kc < self.p.k) {
            (true, _) => (self.k_from, end),
            (false, true) => (self.k_from + self.kc, self.col),
            (false, false) => (0, block_end),
        };
        // The line that a panel ends in, as above.
        let from = b.as_slice().as_ptr().wrapping_add(row * b.row_stride() + col + PANEL - 1);
        Some(Fetch { from, step: row_bytes(&b), strip: 0, panel_stride: PANEL, streams: 0, few_rows_steps: 0 })
    }

    /// Multiplies strips of equal height by columns of B. One function, since the compiler would make one for each way in
    /// which B comes; the arithmetic is in others.
    #[inline(never)]
    fn sweeps<S: Simd>(
        &self,
        s: S,
        strips: Strips,
        (a, a_row_stride): (*const f32, usize),
        right: &Right<W>,
        (col, width): (usize, usize),
    ) {
        let tiling = Tiling::of::<S>();
        let units = width.div_ceil(tiling.unit);
        let most = match Tiling::max_units::<S>(strips.height) {
            most if strips.height == 1 && right.is_streamed => most.min(STREAMED_UNITS),
            most => most,
        };
        let groups = if units <= most { 1 } else { units.div_ceil(most) };
        let (narrower, wider) = divide(units, groups);
        // Groups of two widths; the last one alone, if not all its columns exist or panels are cut.
        let (mut done, mut wide, mut narrow) = (0, wider, groups - wider);
        while wide + narrow > 0 {
            let (count, units) = if wide > 0 { (wide, narrower + 1) } else { (narrow, narrower) };
            let cols = units * tiling.unit;
            let now = if !cols.is_multiple_of(PANEL) {
                1
            } else if done + count * cols <= width {
                count
            } else {
                (count - 1).max(1)
            };
            let valid = cols.min(width - done);
            let cols = if valid <= tiling.narrow { tiling.narrow } else { cols };
            let from = done / PANEL * right.panel_stride + done % PANEL;
            let group_stride = cols / PANEL * right.panel_stride;
            let b = right.data.wrapping_add(from);
            let fetch = match right.fetch {
                Some(fetch) => Fetch { from: fetch.from.wrapping_add(done / PANEL * fetch.panel_stride), ..fetch },
                None => self.next_group(b, group_stride, right, strips.count),
            };
            let mut sweep = Sweep {
                k: self.kc - right.tail_steps,
                strips: strips.count,
                groups: now,
                valid,
                a,
                a_row_stride,
                b,
                b_row_stride: right.row_stride,
                b_panel_stride: right.panel_stride,
                b_group_stride: group_stride,
                fetch,
                init: ZEROS.as_ptr(),
                init_row_stride: 0,
                init_group_stride: 0,
                out: core::ptr::null_mut(),
                out_row_stride: cols,
            };
            let (rows, columns) = ((self.row + strips.row, strips.height), (col + done, cols));
            let mut k_from = self.k_from;
            loop {
                self.sweep(s, rows, columns, k_from, &mut sweep);
                k_from += sweep.k;
                if k_from == self.k_from + self.kc {
                    break;
                }
                (sweep.a, sweep.b) = (sweep.a.wrapping_add(sweep.k), right.tail.wrapping_add(done));
                (sweep.k, sweep.b_row_stride) = (right.tail_steps, right.tail_row_stride);
            }
            done += now * cols;
            if wide > 0 {
                wide -= now;
            } else {
                narrow -= now;
            }
        }
    }

    /// The group of packed columns after the one at `b`.
    #[inline(always)]
    fn next_group(&self, b: *const W, group_stride: usize, right: &Right<W>, strips: usize) -> Fetch<W> {
        /// Bytes of the smallest page.
        const PAGE: usize = 4096;
        let pages = self.kc * PANEL * size_of::<W>() / PAGE;
        let streams = if strips == 1 && pages > 1 { pages.ilog2() } else { 0 };
        let from = b.wrapping_add(group_stride);
        // Each strip fetches its share: all of it by the first one would be more at once than memory gives.
        let step = (right.row_stride * size_of::<W>()).div_ceil(strips);
        let strip = self.kc * step;
        Fetch { from, step, strip, panel_stride: right.panel_stride, streams, few_rows_steps: 0 }
    }

    /// Runs a sweep: in C where its columns stand next to each other.
    #[inline(always)]
    fn sweep<S: Simd>(
        &self,
        s: S,
        (row, height): (usize, usize),
        (col, cols): (usize, usize),
        k_from: usize,
        sweep: &mut Sweep<W>,
    ) {
        let c = &self.p.c;
        if let Some(bias) = self.p.bias {
            let width = (sweep.groups - 1) * cols + sweep.valid;
            (sweep.init, sweep.init_group_stride) = (bias[col..][..width].as_ptr(), cols);
        }
        let out = c.data.wrapping_add(row * c.row_stride + col * c.col_stride);
        if c.col_stride != 1 {
            return self.sweep_aside(s, (row, height), (col, cols), k_from, sweep, out);
        }
        (sweep.out, sweep.out_row_stride) = (out, c.row_stride);
        if k_from > 0 {
            (sweep.init, sweep.init_row_stride, sweep.init_group_stride) = (out, c.row_stride, cols);
        }
        // SAFETY: A has the rows and `kc` columns from here on, B is filled up to whole tiles, and the sweep's part of C is
        // touched by this thread alone; the bias has a value for each column.
        unsafe { sweep_fn::<S, W>(height, cols)(s, sweep) };
    }
}

/// Bytes from a row to the next; of a matrix whose strides may be anything, in whatever number they become.
fn row_bytes<W>(b: &MatrixRef<'_, W>) -> usize {
    b.row_stride().wrapping_mul(size_of::<W>())
}

/// Applies activation and residual to finished chains that are still in the caches: `rows` x `cols` of them, in rows of
/// `stride` floats at `out`, which are those of C from (`row`, `col`) on.
struct Finish<'a, W> {
    p: &'a Product<'a, W>,
    row: usize,
    rows: usize,
    col: usize,
    cols: usize,
    out: *mut f32,
    stride: usize,
}

impl<W: Weight> Finish<'_, W> {
    /// # Safety
    /// The rows at `out` must be readable and writable, and no other thread may touch them.
    #[inline(always)]
    unsafe fn run<S: Simd>(self, s: S) {
        s.vectorize(self);
    }
}

impl<W: Weight> Kernel for Finish<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let p = self.p;
        for i in 0..self.rows {
            // SAFETY: a row of the block, by the word of whoever called `Finish::run`.
            let out = unsafe { core::slice::from_raw_parts_mut(self.out.add(i * self.stride), self.cols) };
            if p.activation != Activation::Identity {
                for out in out.chunks_mut(S::LANES) {
                    let activated = vector::activate(s, p.activation, s.load_or(out, 0.0));
                    s.store_partial(activated, out);
                }
            }
            if let Some(residual) = p.residual {
                let start = (self.row + i) * residual.row_stride() + self.col * residual.col_stride();
                let from = &residual.as_slice()[start..];
                if residual.col_stride() == 1 {
                    let from = &from[..self.cols];
                    for (out, from) in out.chunks_mut(S::LANES).zip(from.chunks(S::LANES)) {
                        let sum = s.add(s.load_or(out, 0.0), s.load_or(from, 0.0));
                        s.store_partial(sum, out);
                    }
                } else {
                    for (j, out) in out.iter_mut().enumerate() {
                        *out += from[j * residual.col_stride()];
                    }
                }
            }
        }
    }
}
