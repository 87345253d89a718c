//! Cortex-M4F and its like: tiles of C in the single-precision registers, a whole chain of steps in one piece of assembly.
//!
//! Stable compilers emit the fused multiply-add of these cores only by way of assembly, and its operands come through
//! core registers when it stands alone: five moves an element. Here all of B's row and of A's column are loaded straight
//! into the registers of the multiplier. The chain is that of the other tiles.

use core::arch::asm;

use kernform_simd::Simd;

use crate::kernels::{Sweep, SweepFn};

/// Columns that a step loads at once.
pub(crate) const UNIT: usize = 4;
/// Elements of the largest tile.
const MAX_TILE: usize = 16;

/// The sweep of tiles of `rows` rows and `cols` columns, in `f32`.
#[inline(always)]
pub(crate) fn sweep_fn<S: Simd>(rows: usize, cols: usize) -> SweepFn<S, f32> {
    match (rows, cols / UNIT) {
        (1, 1) => sweep::<S, 1, 1>,
        (1, 2) => sweep::<S, 1, 2>,
        (2, 1) => sweep::<S, 2, 1>,
        (2, 2) => sweep::<S, 2, 2>,
        (3, 1) => sweep::<S, 3, 1>,
        (4, 1) => sweep::<S, 4, 1>,
        _ => unreachable!("no tile of {rows} rows and {cols} columns"),
    }
}

/// # Safety
/// See [`SweepFn`].
unsafe fn sweep<S: Simd, const ROWS: usize, const UNITS: usize>(_: S, t: &Sweep<f32>) {
    let width = UNITS * UNIT;
    for (group, strip) in (0..t.groups).flat_map(|group| (0..t.strips).map(move |strip| (group, strip))) {
        let row = strip * ROWS;
        let mut init = t.init.wrapping_add(row * t.init_row_stride + group * t.init_group_stride);
        let mut out = t.out.wrapping_add(row * t.out_row_stride + group * width);
        let mut acc = [0.0; MAX_TILE];
        for acc in acc.chunks_exact_mut(width).take(ROWS) {
            for (j, acc) in acc.iter_mut().enumerate().take(t.valid) {
                // SAFETY: one of the `valid` columns of a row of the tile, by the caller's word.
                *acc = unsafe { *init.add(j) };
            }
            init = init.wrapping_add(t.init_row_stride);
        }
        let a = core::array::from_fn(|i| t.a.wrapping_add((row + i.min(ROWS - 1)) * t.a_row_stride));
        let b = t.b.wrapping_add(group * t.b_group_stride);
        if t.k > 0 {
            // SAFETY: `k` elements in each of the rows of A, `k` rows of `width` columns of B, by the caller's word.
            unsafe { steps::<ROWS, UNITS>(&mut acc, a, b, t.b_row_stride, t.k) };
        }
        for acc in acc.chunks_exact(width).take(ROWS) {
            for (j, acc) in acc.iter().enumerate().take(t.valid) {
                // SAFETY: as for the loads.
                unsafe { *out.add(j) = *acc };
            }
            out = out.wrapping_add(t.out_row_stride);
        }
    }
}

/// Four multiply-adds: registers of sums, and the one that holds an element of A.
macro_rules! fma {
    ($s0:literal $s1:literal $s2:literal $s3:literal, $a:literal) => {
        concat!(
            "vfma.f32 s",
            $s0,
            ", s",
            $a,
            ", s0\n",
            "vfma.f32 s",
            $s1,
            ", s",
            $a,
            ", s1\n",
            "vfma.f32 s",
            $s2,
            ", s",
            $a,
            ", s2\n",
            "vfma.f32 s",
            $s3,
            ", s",
            $a,
            ", s3"
        )
    };
}

/// The loop over `k` with s16 to `$last` as sums, four columns of B at a time in s0 to s3, and A in s4 to s7.
macro_rules! chain {
    ($acc:ident $b:ident $step:ident $k:ident; $last:literal; $($load:literal)+; ($($operand:tt)+); $($template:expr),+) => {
        asm!(
            concat!("vldmia {acc}, {{s16-s", $last, "}}"),
            "2:",
            "vldmia {b}!, {{s0-s3}}",
            $($load,)+
            $($template,)+
            "subs {k}, #1",
            "add {b}, {step}",
            "bne 2b",
            concat!("vstmia {acc}, {{s16-s", $last, "}}"),
            acc = in(reg) $acc, b = inout(reg) $b => _, step = in(reg) $step, k = inout(reg) $k => _,
            $($operand)+
            out("s0") _, out("s1") _, out("s2") _, out("s3") _, out("s4") _, out("s5") _, out("s6") _, out("s7") _,
            out("s16") _, out("s17") _, out("s18") _, out("s19") _, out("s20") _, out("s21") _, out("s22") _,
            out("s23") _, out("s24") _, out("s25") _, out("s26") _, out("s27") _, out("s28") _, out("s29") _,
            out("s30") _, out("s31") _,
            options(nostack)
        )
    };
}

/// `k` steps of a tile whose sums are in `acc`, row by row.
///
/// # Safety
/// `k` must not be 0; A must be readable for `k` elements from each of the first `ROWS` pointers on, B for `k` rows of
/// `UNITS * UNIT` elements, `row_stride` apart.
#[inline(always)]
unsafe fn steps<const ROWS: usize, const UNITS: usize>(
    acc: &mut [f32; MAX_TILE],
    a: [*const f32; 4],
    b: *const f32,
    row_stride: usize,
    k: usize,
) {
    let acc = acc.as_mut_ptr();
    // What is left of the step after the loads.
    let step = row_stride.wrapping_sub(UNITS * UNIT).wrapping_mul(size_of::<f32>());
    // SAFETY: the loads are those that the caller vouches for, sums are loaded from and stored to `acc`, which is as large
    // as all of them, and every register that is written is named.
    unsafe {
        match (ROWS, UNITS) {
            (1, 1) => chain!(acc b step k; "19"; "vldmia {a4}!, {{s4}}"; (a4 = inout(reg) a[0] => _,);
                fma!("16" "17" "18" "19", "4")),
            (1, 2) => chain!(acc b step k; "23"; "vldmia {a4}!, {{s4}}"; (a4 = inout(reg) a[0] => _,);
                fma!("16" "17" "18" "19", "4"), "vldmia {b}!, {{s0-s3}}", fma!("20" "21" "22" "23", "4")),
            (2, 1) => chain!(acc b step k; "23"; "vldmia {a4}!, {{s4}}" "vldmia {a5}!, {{s5}}";
                (a4 = inout(reg) a[0] => _, a5 = inout(reg) a[1] => _,);
                fma!("16" "17" "18" "19", "4"), fma!("20" "21" "22" "23", "5")),
            (2, 2) => chain!(acc b step k; "31"; "vldmia {a4}!, {{s4}}" "vldmia {a5}!, {{s5}}";
                (a4 = inout(reg) a[0] => _, a5 = inout(reg) a[1] => _,);
                fma!("16" "17" "18" "19", "4"), fma!("24" "25" "26" "27", "5"), "vldmia {b}!, {{s0-s3}}",
                fma!("20" "21" "22" "23", "4"), fma!("28" "29" "30" "31", "5")),
            (3, 1) => chain!(acc b step k; "27";
                "vldmia {a4}!, {{s4}}" "vldmia {a5}!, {{s5}}" "vldmia {a6}!, {{s6}}";
                (a4 = inout(reg) a[0] => _, a5 = inout(reg) a[1] => _, a6 = inout(reg) a[2] => _,);
                fma!("16" "17" "18" "19", "4"), fma!("20" "21" "22" "23", "5"), fma!("24" "25" "26" "27", "6")),
            _ => chain!(acc b step k; "31";
                "vldmia {a4}!, {{s4}}" "vldmia {a5}!, {{s5}}" "vldmia {a6}!, {{s6}}" "vldmia {a7}!, {{s7}}";
                (a4 = inout(reg) a[0] => _, a5 = inout(reg) a[1] => _, a6 = inout(reg) a[2] => _,
                a7 = inout(reg) a[3] => _,);
                fma!("16" "17" "18" "19", "4"), fma!("20" "21" "22" "23", "5"), fma!("24" "25" "26" "27", "6"),
                fma!("28" "29" "30" "31", "7")),
        }
    }
}
