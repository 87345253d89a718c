//! The tiles of each level: how many rows and vectors, and the functions that multiply them.

use kernform_simd::Simd;

use crate::blocking::{DEEP_KC, KC};
use crate::kernels::{SweepFn, sweep};
use crate::weight::Weight;

/// The tiles of a level.
pub(crate) struct Tiling {
    /// Most rows of a tile, where a matrix has more than `lone_rows`.
    pub(crate) max_rows: usize,
    /// Most rows of a tile in a matrix of one strip: more rows of one vector each, so that B is read once.
    pub(crate) lone_rows: usize,
    /// Columns by which tiles grow; a tile wider than a panel is whole panels.
    pub(crate) unit: usize,
    /// Most steps of `k` in a block that several strips go through, where B is read in place.
    pub(crate) steps: usize,
    /// The same where B is packed.
    pub(crate) packed_steps: usize,
    /// Width of a narrower tile for the last few columns.
    pub(crate) narrow: usize,
}

/// Most columns of a tile of any level.
pub(crate) const MAX_COLS: usize = 128;
/// The largest tile of any level, in floats.
pub(crate) const MAX_TILE: usize = 14 * 2 * 16;

/// The most units of a tile of one row where every panel, or row, is a stream of its own: enough chains to hide the latency
/// of the multiply-add, and no more streams than that.
pub(crate) const STREAMED_UNITS: usize = 4;

impl Tiling {
    /// Rows from which on a step has time to fetch ahead.
    pub(crate) const PREFETCH_FROM: usize = 4;

    pub(crate) const fn of<S: Simd>() -> Tiling {
        match (S::LANES, S::REGISTERS) {
            (16, _) => Tiling { max_rows: 14, lone_rows: 16, unit: 16, steps: KC, packed_steps: DEEP_KC, narrow: 16 },
            (8, _) => Tiling { max_rows: 6, lone_rows: 6, unit: 16, steps: 256, packed_steps: 256, narrow: 8 },
            (4, 32..) => Tiling { max_rows: 6, lone_rows: 6, unit: 16, steps: 256, packed_steps: 256, narrow: 8 },
            (4, _) => Tiling { max_rows: 2, lone_rows: 2, unit: 16, steps: 256, packed_steps: 256, narrow: 8 },
            // A fused multiply-add whose operands stay in registers; see `crate::vfma`.
            (1, _) if cfg!(kernform_vfma) => {
                Tiling { max_rows: 4, lone_rows: 4, unit: 4, steps: 256, packed_steps: 256, narrow: 4 }
            }
            _ => Tiling { max_rows: 2, lone_rows: 2, unit: 4, steps: 256, packed_steps: 256, narrow: 4 },
        }
    }

    /// The strips into which `rows` rows are cut.
    pub(crate) const fn strips(&self, rows: usize) -> usize {
        if rows <= self.lone_rows { 1 } else { rows.div_ceil(self.max_rows) }
    }

    /// The most units that a tile of `rows` rows is wide.
    pub(crate) const fn max_units<S: Simd>(rows: usize) -> usize {
        match (S::LANES, S::REGISTERS, rows) {
            (16, _, 1) => 8,
            (16, _, 2..=5) => 4,
            (16, _, 6..=8) => 3,
            (16, _, 9..=14) => 2,
            (16, ..) => 1,
            (8, _, 1) => 7,
            (8, _, 2) => 3,
            (4, 32.., 1) => 5,
            (4, 32.., 2) => 3,
            (4, 32.., 3) => 2,
            (4, ..32, 1) => 2,
            // No tile may reach from one panel into the next, so 3 is none that is chosen.
            (1, _, 1 | 2) if cfg!(kernform_vfma) => 2,
            _ => 1,
        }
    }
}

macro_rules! choose {
    ($s:ty, $w:ty, $rows:ident, $vectors:ident; $($r:literal: $($v:literal)+;)+) => {
        match ($rows, $vectors) {
            $($(($r, $v) => sweep::<$s, $w, $r, $v>,)+)+
            _ => unreachable!("no tile of {} rows and {} vectors", $rows, $vectors),
        }
    };
}

/// The function for tiles of `rows` rows and `cols` columns, a size that [`Tiling`] names.
#[inline(always)]
pub(crate) fn sweep_fn<S: Simd, W: Weight>(rows: usize, cols: usize) -> SweepFn<S, W> {
    if let Some(sweep) = W::own_sweep(rows, cols) {
        return sweep;
    }
    let vectors = cols / S::LANES;
    if S::LANES == 16 {
        choose!(S, W, rows, vectors; 1: 1 2 3 4 5 6 7 8; 2: 1 2 3 4; 3: 1 2 3 4; 4: 1 2 3 4; 5: 1 2 3 4; 6: 1 2 3;
            7: 1 2 3; 8: 1 2 3; 9: 1 2; 10: 1 2; 11: 1 2; 12: 1 2; 13: 1 2; 14: 1 2; 15: 1; 16: 1;)
    } else if S::LANES == 8 {
        choose!(S, W, rows, vectors; 1: 1 2 4 6 8 10 12 14; 2: 1 2 4 6; 3: 1 2; 4: 1 2; 5: 1 2; 6: 1 2;)
    } else if S::LANES == 4 && S::REGISTERS >= 32 {
        choose!(S, W, rows, vectors; 1: 2 4 8 12 16 20; 2: 2 4 8 12; 3: 2 4 8; 4: 2 4; 5: 2 4; 6: 2 4;)
    } else if S::LANES == 4 {
        choose!(S, W, rows, vectors; 1: 2 4 8; 2: 2 4;)
    } else if cfg!(kernform_vfma) {
        choose!(S, W, rows, vectors; 1: 4 8; 2: 4 8; 3: 4; 4: 4;)
    } else {
        choose!(S, W, rows, vectors; 1: 4; 2: 4;)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernform_simd::{Isa, Kernel};
    use kernform_tensor::{bf16, f16};
    use kernform_testkit::isa_tests;

    /// Most rows of a tile of any level.
    const MAX_ROWS: usize = 16;

    struct Tiles;

    impl Kernel for Tiles {
        type Output = ();

        fn run<S: Simd>(self, _: S) {
            let tiling = Tiling::of::<S>();
            assert!(tiling.max_rows <= tiling.lone_rows && tiling.lone_rows <= MAX_ROWS);
            for rows in 1..=tiling.lone_rows {
                let widths = (1..=Tiling::max_units::<S>(rows)).map(|units| units * tiling.unit);
                for cols in widths.chain([tiling.narrow]) {
                    assert!(cols <= MAX_COLS && rows * cols <= MAX_TILE, "{rows} x {cols} has no room aside");
                    // Those that there are not panic here.
                    let _ = (sweep_fn::<S, f32>(rows, cols), sweep_fn::<S, f16>(rows, cols));
                    let _ = sweep_fn::<S, bf16>(rows, cols);
                }
            }
        }
    }

    fn every_tile_is_there_and_has_room(isa: Isa) {
        isa.dispatch(Tiles);
    }

    isa_tests!(every_tile_is_there_and_has_room);
}
