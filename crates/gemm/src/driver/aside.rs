//! Tiles that are computed in a place of their own: where the columns of C do not stand next to each other.

use kernform_simd::Simd;

use super::{Block, Finish};
use crate::kernels::Sweep;
use crate::tiles::{MAX_TILE, sweep_fn};
use crate::weight::Weight;

impl<W: Weight> Block<'_, W> {
    /// Runs a sweep tile by tile in a place of its own, for C in columns.
    #[inline(never)]
    pub(super) fn sweep_aside<S: Simd>(
        &self,
        s: S,
        (row, height): (usize, usize),
        (col, cols): (usize, usize),
        k_from: usize,
        sweep: &Sweep<W>,
        out: *mut f32,
    ) {
        let (p, c) = (self.p, &self.p.c);
        let mut edge = [0.0; MAX_TILE];
        for (strip, group) in (0..sweep.strips).flat_map(|strip| (0..sweep.groups).map(move |group| (strip, group))) {
            let place = Place { rows: height, cols, valid: sweep.valid };
            let out = out.wrapping_add(strip * height * c.row_stride + group * cols * c.col_stride);
            let mut tile = Sweep {
                strips: 1,
                groups: 1,
                a: sweep.a.wrapping_add(strip * height * sweep.a_row_stride),
                b: sweep.b.wrapping_add(group * sweep.b_group_stride),
                init: sweep.init.wrapping_add(group * sweep.init_group_stride),
                out: edge.as_mut_ptr(),
                ..*sweep
            };
            // SAFETY: `edge` holds the largest tile; the `valid` columns lie inside C, and only this thread touches them; A,
            // B and the bias as for any sweep.
            unsafe {
                if k_from > 0 {
                    self.load_edge(place, out, &mut edge);
                    (tile.init, tile.init_row_stride) = (edge.as_ptr(), cols);
                }
                tile.out = edge.as_mut_ptr();
                sweep_fn::<S, W>(height, cols)(s, &tile);
                if k_from + sweep.k == p.k {
                    let (row, col) = (row + strip * height, col + group * cols);
                    let out = edge.as_mut_ptr();
                    Finish { p, row, rows: height, col, cols: sweep.valid, out, stride: cols }.run(s);
                }
                self.store_edge(place, out, &edge);
            }
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

/// A tile aside: `valid` of its `cols` columns exist.
#[derive(Clone, Copy)]
struct Place {
    rows: usize,
    cols: usize,
    valid: usize,
}
