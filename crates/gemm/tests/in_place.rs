//! B that is read where it lies: rows far apart, from memory, and a last panel that is not whole.

use kernform_gemm::{Epilogue, Layout, Operand, gemm, gemm_scratch_len, reference};
use kernform_simd::{Class, Fused, Isa, Unfused};
use kernform_tensor::{MatrixMut, MatrixRef, Serial};
use kernform_testkit::{assert_same_bits, isa_tests};

/// C `[m, n]` row-major or column-major, with exactly as much scratch and B as there must be.
fn check(isa: Isa, (m, n, k): (usize, usize, usize), c_in_columns: bool) {
    let values = |len: usize| (0..len).map(|i| (i % 1009 * 7919 % 1009) as f32 / 1009.0 - 0.5).collect::<Vec<f32>>();
    let (a, b, bias) = (values(m * k), values(k * n), values(n));
    let (a, b) = (MatrixRef::new(&a, m, k).unwrap(), MatrixRef::new(&b, k, n).unwrap());
    let (row_stride, col_stride) = if c_in_columns { (1, m) } else { (n, 1) };
    let product = |of: &dyn Fn(MatrixMut<'_, f32>)| {
        let mut c = vec![f32::NAN; m * n];
        of(MatrixMut::with_strides(&mut c, m, n, row_stride, col_stride).unwrap());
        c
    };
    let expected = product(&|c| {
        match isa.class() {
            Class::Fused => reference::gemm::<f32, Fused>(a, b, c, Some(&bias), |x| x, None),
            Class::Unfused => reference::gemm::<f32, Unfused>(a, b, c, Some(&bias), |x| x, None),
        }
        .unwrap();
    });
    let actual = product(&|c| {
        let len = gemm_scratch_len(1, m, n, k, Layout::of(&a), Layout::of(&b));
        let epilogue = Epilogue::bias(Some(&bias));
        gemm(isa, &Serial, a, Operand::Strided(b), c, &epilogue, &mut vec![f32::NAN; len]).unwrap();
    });
    assert_same_bits(&format!("[{m},{k}] x [{k},{n}]"), &actual, &expected);
}

/// Fewer rows, and more, than have time to wait for memory; whole panels, and not.
fn rows_far_apart(isa: Isa) {
    for m in [1, 2, 3, 4, 9, 16, 20] {
        for (n, k) in [(1024, 30), (1029, 1), (1100, 259), (1700, 12)] {
            check(isa, (m, n, k), m == 2);
        }
    }
}

/// Whole vectors of the last rows would reach past the end of B: of one row, of several, of all.
fn last_panels(isa: Isa) {
    for m in [1, 2, 5, 13, 16, 17, 30] {
        for (n, k) in [(1, 1), (1, 40), (3, 7), (5, 300), (15, 2), (17, 17), (101, 128), (127, 3), (600, 5), (900, 1)] {
            check(isa, (m, n, k), m == 5);
        }
    }
}

/// More than any cache holds.
fn one_row_from_memory(isa: Isa) {
    check(isa, (1, 4101, 1030), false);
    check(isa, (3, 4112, 1027), false);
}

isa_tests!(rows_far_apart, last_panels, one_row_from_memory);
