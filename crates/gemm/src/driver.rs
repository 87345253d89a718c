//! The loops around the micro-kernel.
//!
//! C is cut into parts for threads. Inside a part, A is cut into blocks of [`MC`] rows by [`KC`] columns that stay in the
//! second-level cache while panels of B pass through the first-level one (Goto and van de Geijn 2008, section 4.2). Blocks
//! over `k` come in ascending order and reload what the one before stored, so that no block size shows in the result.

use core::ops::Range;

use kernform_math::{Activation, vector};
use kernform_simd::{Kernel, Simd};
use kernform_tensor::{MatrixRef, cast_slice_mut};

use crate::kernels::{MAX_TILE, TileArgs, TileFn, Tiling, tile_fn};
use crate::pack::{pack_panel, pack_rows};
use crate::packed::PANEL;
use crate::weight::Weight;

/// Steps of `k` in a block: a panel of B, 16 KiB, takes half of a first-level cache.
pub(crate) const KC: usize = 256;
/// Rows of A in a block: 240 KiB, half of a second-level cache.
pub(crate) const MC: usize = 240;
/// Columns of B that are packed at once where more than one block of rows uses them.
pub(crate) const NC: usize = 512;
/// Extra floats in a row of packed A, so that rows do not fall into the same cache sets.
const A_PAD: usize = 16;
/// Most columns of a tile.
const MAX_COLS: usize = 128;
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
pub(crate) struct Product<'a, W> {
    pub(crate) n: usize,
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
}

// SAFETY: the parts of a product write different elements (`MatrixMut` keeps elements apart, parts are disjoint).
unsafe impl Sync for Output {}
// SAFETY: as above.
unsafe impl Send for Output {}

/// The elements of C that one thread computes, and its scratch.
pub(crate) struct Part<'s> {
    pub(crate) rows: Range<usize>,
    pub(crate) cols: Range<usize>,
    pub(crate) scratch: &'s mut [f32],
}

/// Floats of scratch for the blocks of A and of B in a part of `rows` x `cols`: whole cache lines, and never less for
/// larger numbers.
pub(crate) fn scratch_len(rows: usize, cols: usize, k: usize, pack_a: bool, pack_b: bool) -> (usize, usize) {
    let kc = k.min(KC);
    let a = if pack_a { rows.min(MC) * a_stride(kc) } else { 0 };
    let b = if pack_b { kc * cols.min(NC).next_multiple_of(PANEL) } else { 0 };
    (a, b)
}

/// Floats from a row of packed A to the next.
const fn a_stride(kc: usize) -> usize {
    kc.next_multiple_of(PANEL) + A_PAD
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
        let pack_b = matches!(p.b, Source::Strided(_));
        let (a_len, _) = scratch_len(rows.len(), cols.len(), p.k, p.pack_a, pack_b);
        let (a_scratch, b_scratch) = self.part.scratch.split_at_mut(a_len);
        // No weight is larger than a float, or more strictly aligned.
        let b_scratch = cast_slice_mut(b_scratch).unwrap_or_default();
        let row_block = even_block(rows.len(), MC).next_multiple_of(Tiling::of::<S>().max_rows);
        let in_place = is_read_in_place(p.b, rows.len().div_ceil(Tiling::of::<S>().max_rows));
        let k_block = even_block(p.k, if in_place { in_place_steps(p.b) } else { KC });
        for col in cols.clone().step_by(NC) {
            let width = NC.min(cols.end - col);
            let mut k_from = 0;
            loop {
                let kc = k_block.min(p.k - k_from);
                for row in rows.clone().step_by(row_block) {
                    let mc = row_block.min(rows.end - row);
                    let block =
                        Block { p, row, rows: mc, col, cols: width, k_from, kc, in_place, pack: row == rows.start };
                    block.run(s, a_scratch, b_scratch);
                }
                k_from += kc;
                if k_from >= p.k {
                    break;
                }
            }
        }
    }
}

/// The least block length that cuts `len` into as many blocks as `most` does.
const fn even_block(len: usize, most: usize) -> usize {
    if len == 0 { 1 } else { len.div_ceil(len.div_ceil(most)) }
}

/// Whether B is used so few times that it is not worth packing, and can be loaded by vectors.
fn is_read_in_place<W>(b: Source<'_, W>, strips: usize) -> bool {
    matches!(b, Source::Strided(b) if b.col_stride() == 1 && strips <= 2)
}

/// Steps of `k` in a block that is read in place: few where rows are far apart, since each is then a stream of its own.
fn in_place_steps<W>(b: Source<'_, W>) -> usize {
    match b {
        Source::Strided(b) if b.row_stride() >= 1024 => 32,
        _ => KC,
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
    /// Whether B is read where it lies.
    in_place: bool,
    /// Whether B must still be packed.
    pack: bool,
}

impl<W: Weight> Block<'_, W> {
    #[inline(always)]
    fn run<S: Simd>(&self, s: S, a_scratch: &mut [f32], b_scratch: &mut [W]) {
        let p = self.p;
        let tiling = Tiling::of::<S>();
        let (a, a_row_stride) = if p.pack_a {
            let stride = a_stride(self.kc);
            pack_rows(p.a, (self.row, self.rows), (self.k_from, self.kc), stride, a_scratch);
            (a_scratch.as_ptr(), stride)
        } else {
            let start = self.row * p.a.row_stride() + self.k_from;
            (p.a.as_slice().get(start..).unwrap_or_default().as_ptr(), p.a.row_stride())
        };
        let strips = self.rows.div_ceil(tiling.max_rows);
        let mut max_units = Tiling::max_units::<S>(self.rows.div_ceil(strips));
        if !self.in_place && matches!(p.b, Source::Strided(_)) {
            // Packed panels should still be in the first-level cache when they are multiplied.
            max_units = max_units.min((2 * PANEL).div_ceil(tiling.unit));
        }
        let mut units = self.cols.div_ceil(tiling.unit);
        let mut groups = units.div_ceil(max_units);
        let mut col = self.col;
        while groups > 0 {
            let mut wide = units.div_ceil(groups);
            groups -= 1;
            if self.in_place && wide > 1 && col + wide * tiling.unit > self.col + self.cols {
                // Whole vectors cannot be loaded there: the last unit goes alone, through the scratch.
                wide -= 1;
                groups += 1;
            }
            units -= wide;
            let valid = (wide * tiling.unit).min(self.col + self.cols - col);
            let cols = if valid <= tiling.narrow { tiling.narrow } else { wide * tiling.unit };
            let (b, b_row_stride, b_panel_stride) = self.right_operand(s, col, (cols, valid), b_scratch);
            let least_rows = self.rows / strips;
            let multiply = [tile_fn::<S, W>(least_rows, cols), tile_fn::<S, W>(self.rows.div_ceil(strips), cols)];
            let mut edge;
            let bias = match p.bias {
                Some(bias) if valid == cols => bias[col..].as_ptr(),
                Some(bias) => {
                    edge = [0.0; MAX_COLS];
                    edge[..valid].copy_from_slice(&bias[col..col + valid]);
                    edge.as_ptr()
                }
                None => ZEROS.as_ptr(),
            };
            // The first two strips fetch a half each of the next panel.
            let half_panel = self.kc / 2 * PANEL;
            let next = b.wrapping_add(b_panel_stride * cols.div_ceil(PANEL));
            let mut row = 0;
            for strip in 0..strips {
                let is_taller = strip < self.rows % strips;
                let rows = least_rows + usize::from(is_taller);
                let place = Place { row: self.row + row, rows, col, cols, valid };
                let args = TileArgs {
                    k: self.kc,
                    a: a.wrapping_add(row * a_row_stride),
                    a_row_stride,
                    b,
                    b_row_stride,
                    b_panel_stride,
                    next: if strip < 2 { next.wrapping_add(strip * half_panel) } else { b },
                    init: bias,
                    init_row_stride: 0,
                    out: core::ptr::null_mut(),
                    out_row_stride: cols,
                };
                self.tile(s, multiply[usize::from(is_taller)], place, args);
                row += rows;
            }
            col += valid;
        }
    }

    /// The columns of B from `col` on, the distance of their rows and of their panels.
    #[inline(always)]
    fn right_operand<S: Simd>(
        &self,
        s: S,
        col: usize,
        (cols, valid): (usize, usize),
        scratch: &mut [W],
    ) -> (*const W, usize, usize) {
        let p = self.p;
        match p.b {
            Source::Packed(data) => {
                let start = (col / PANEL * p.k + self.k_from) * PANEL + col % PANEL;
                (data.get(start..).unwrap_or_default().as_ptr(), PANEL, p.k * PANEL)
            }
            Source::Strided(b) if self.in_place && cols == valid => {
                let start = self.k_from * b.row_stride() + col;
                (b.as_slice().get(start..).unwrap_or_default().as_ptr(), b.row_stride(), PANEL)
            }
            Source::Strided(b) if self.in_place => {
                let into = &mut scratch[..self.kc * PANEL];
                pack_panel(s, b, self.k_from, col, valid, into);
                (into.as_ptr(), PANEL, 0)
            }
            Source::Strided(b) => {
                let panel_len = self.kc * PANEL;
                let first = (col - self.col) / PANEL;
                let scratch = &mut scratch[first * panel_len..];
                if self.pack && col.is_multiple_of(PANEL) && panel_len > 0 {
                    let panels = cols.div_ceil(PANEL);
                    for (i, into) in scratch.chunks_exact_mut(panel_len).take(panels).enumerate() {
                        let col = col + i * PANEL;
                        pack_panel(s, b, self.k_from, col, PANEL.min(p.n - col), into);
                    }
                }
                (scratch.as_ptr().wrapping_add(col % PANEL), PANEL, panel_len)
            }
        }
    }

    /// Multiplies a tile: in C where all its columns exist and stand next to each other.
    #[inline(always)]
    fn tile<S: Simd>(&self, s: S, multiply: TileFn<S, W>, place: Place, mut args: TileArgs<W>) {
        let c = &self.p.c;
        let origin = c.data.wrapping_add(place.row * c.row_stride + place.col * c.col_stride);
        if c.col_stride == 1 && place.valid == place.cols {
            (args.out, args.out_row_stride) = (origin, c.row_stride);
            // SAFETY: the tile lies inside C, and only this thread touches it.
            unsafe { self.multiply(s, multiply, place, args) };
        } else {
            self.tile_aside(s, multiply, place, args, origin);
        }
    }

    /// Multiplies a tile in a place of its own, with columns that do not exist in C.
    #[inline(never)]
    fn tile_aside<S: Simd>(&self, s: S, multiply: TileFn<S, W>, place: Place, mut args: TileArgs<W>, origin: *mut f32) {
        let mut edge = [0.0; MAX_TILE];
        (args.out, args.out_row_stride) = (edge.as_mut_ptr(), place.cols);
        // SAFETY: `edge` holds the largest tile; the `valid` columns lie inside C, and only this thread touches them.
        unsafe {
            if self.k_from > 0 {
                self.load_edge(place, origin, &mut edge);
            }
            self.multiply(s, multiply, place, args);
            self.store_edge(place, origin, &edge);
        }
    }

    /// Multiplies a tile and finishes it after the last step of `k`.
    ///
    /// # Safety
    /// `args.out` must be readable and writable for the tile.
    #[inline(always)]
    unsafe fn multiply<S: Simd>(&self, s: S, multiply: TileFn<S, W>, place: Place, mut args: TileArgs<W>) {
        if self.k_from > 0 {
            (args.init, args.init_row_stride) = (args.out, args.out_row_stride);
        }
        // SAFETY: A has `rows` rows and `kc` columns from here on, B and the bias are filled up to `cols` columns, and
        // `out` is as the caller says.
        unsafe { multiply(s, &args) };
        let is_last = self.k_from + self.kc == self.p.k;
        if is_last && (self.p.activation != Activation::Identity || self.p.residual.is_some()) {
            s.vectorize(Finish { p: self.p, place, out: args.out, stride: args.out_row_stride });
        }
    }

    /// # Safety
    /// The `place.rows` x `place.valid` elements of C from `origin` on must be readable.
    unsafe fn load_edge(&self, place: Place, origin: *const f32, edge: &mut [f32; MAX_TILE]) {
        for (i, edge) in edge.chunks_mut(place.cols).take(place.rows).enumerate() {
            for (j, edge) in edge[..place.valid].iter_mut().enumerate() {
                // SAFETY: element (i, j) of the tile, by the caller's word.
                *edge = unsafe { *origin.add(i * self.p.c.row_stride + j * self.p.c.col_stride) };
            }
        }
    }

    /// # Safety
    /// The `place.rows` x `place.valid` elements of C from `origin` on must be writable.
    unsafe fn store_edge(&self, place: Place, origin: *mut f32, edge: &[f32; MAX_TILE]) {
        for (i, edge) in edge.chunks(place.cols).take(place.rows).enumerate() {
            // SAFETY: row i of the tile, by the caller's word.
            let row = unsafe { origin.add(i * self.p.c.row_stride) };
            for (j, edge) in edge[..place.valid].iter().enumerate() {
                // SAFETY: element (i, j) of the tile, by the caller's word.
                unsafe { *row.add(j * self.p.c.col_stride) = *edge };
            }
        }
    }
}

/// Where a tile lies in C: `valid` of its `cols` columns exist.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    rows: usize,
    col: usize,
    cols: usize,
    valid: usize,
}

/// Applies activation and residual to a tile that is still in the first-level cache.
struct Finish<'a, W> {
    p: &'a Product<'a, W>,
    place: Place,
    out: *mut f32,
    stride: usize,
}

impl<W: Weight> Kernel for Finish<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for i in 0..self.place.rows {
            // SAFETY: the tile's row, `cols` floats that only this thread touches.
            let out = unsafe { core::slice::from_raw_parts_mut(self.out.add(i * self.stride), self.place.cols) };
            for out in out.chunks_exact_mut(S::LANES) {
                let activated = vector::activate(s, self.p.activation, s.load(out));
                s.store(activated, out);
            }
            if let Some(residual) = self.p.residual {
                let start = (self.place.row + i) * residual.row_stride() + self.place.col * residual.col_stride();
                let residual_row = residual.as_slice().get(start..).unwrap_or_default();
                for (j, out) in out[..self.place.valid].iter_mut().enumerate() {
                    *out += residual_row[j * residual.col_stride()];
                }
            }
        }
    }
}
