//! What the int8 product says of errors, of odd shapes, of packed data and of its accuracy.

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "../../simd/tests/avx_vnni/emulator.rs"]
mod emulator;

use kernform_gemm::int8::{MAX_DEPTH, PackedI8, Rows, Scale, gemm_i8, gemm_i8_i32, gemm_i8_scratch_len};
use kernform_gemm::{Epilogue, GemmError, PANEL};
use kernform_simd::{Class, Isa};
use kernform_tensor::{MatrixMut, MatrixRef, Memory, Serial};
use kernform_testkit::{avx_vnni_tests, gamma, isa_tests_integer, up_to};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

fn view<T>(data: &[T], rows: usize, cols: usize) -> MatrixRef<'_, T> {
    MatrixRef::new(data, rows, cols).unwrap()
}

/// `|c - truth| <= gamma_4 (|bias| + |sum * row_scale * col_scale|)`, and half a unit of the smallest denormal for each
/// operation that may underflow.
fn stays_within_its_bound(isa: Isa) {
    let values = (1usize..6, 1usize..40, 1usize..300).prop_flat_map(|(m, n, k)| {
        let bytes = |len| prop::collection::vec(any::<i8>(), len);
        let floats = |len| prop::collection::vec(-2.0f32..2.0, len);
        (Just((m, n, k)), bytes(m * k), bytes(k * n), floats(m), floats(n), floats(n))
    });
    TestRunner::new(up_to(50))
        .run(&values, |((m, n, k), a, b, row_scale, col_scale, bias)| {
            let packed = PackedI8::pack(view(&b, k, n)).unwrap();
            let mut c = vec![0.0; m * n];
            let out = MatrixMut::new(&mut c, m, n).unwrap();
            let rows = Rows::Quantized { values: view(&a, m, k), scale: Scale::Each(&row_scale) };
            let mut scratch = vec![0.0; gemm_i8_scratch_len(1, m, n, k)];
            let epilogue = Epilogue::bias(Some(&bias));
            gemm_i8(isa, &Serial, rows, &packed, Scale::Each(&col_scale), out, &epilogue, &mut scratch).unwrap();
            for (at, c) in c.iter().enumerate() {
                let (i, j) = (at / n, at % n);
                let sum: i64 = (0..k).map(|p| i64::from(a[i * k + p]) * i64::from(b[p * n + j])).sum();
                let product = sum as f64 * (f64::from(row_scale[i]) * f64::from(col_scale[j]));
                let bias = f64::from(bias[j]);
                let roundings = if isa.class() == Class::Fused { 3 } else { 4 };
                let bound = gamma(roundings) * (bias.abs() + product.abs()) + 4.0 * f64::from(f32::from_bits(1));
                let error = (f64::from(*c) - (product + bias)).abs();
                prop_assert!(error <= bound, "{c:e} is {error:e} from {:e}, bound {bound:e}", product + bias);
            }
            Ok(())
        })
        .unwrap();
}

fn rows_that_are_not_finite_give_nan(isa: Isa) {
    let x = [1.0, f32::NAN, 0.0, 1.0, f32::INFINITY, 2.0, 0.5, -1.0];
    let packed = PackedI8::pack(view(&[1, 0, 0, 1], 2, 2)).unwrap();
    let mut c = [0.0; 8];
    let out = MatrixMut::new(&mut c, 4, 2).unwrap();
    let mut scratch = vec![0.0; gemm_i8_scratch_len(1, 4, 2, 2)];
    let rows = Rows::Dynamic(view(&x, 4, 2));
    gemm_i8(isa, &Serial, rows, &packed, Scale::One(1.0), out, &Epilogue::NONE, &mut scratch).unwrap();
    assert!(c[..2].iter().chain(&c[4..6]).all(|c| c.is_nan()), "{c:?}");
    assert!(c[2..4].iter().chain(&c[6..]).all(|c| c.is_finite()), "{c:?}");
}

fn empty_shapes_are_legal(isa: Isa) {
    for (m, n, k) in [(0, 0, 0), (0, 5, 3), (4, 0, 3), (0, 5, 0), (3, 0, 0)] {
        let packed = PackedI8::pack(view(&vec![1; k * n], k, n)).unwrap();
        let x = vec![1.0; m * k];
        let mut scratch = vec![0.0; gemm_i8_scratch_len(1, m, n, k)];
        let out = MatrixMut::new(&mut [], m, n).unwrap();
        let rows = Rows::Dynamic(view(&x, m, k));
        gemm_i8(isa, &Serial, rows, &packed, Scale::One(1.0), out, &Epilogue::NONE, &mut scratch).unwrap();
    }
    // No steps of k leave the bias.
    let packed = PackedI8::pack(view(&[], 0, 3)).unwrap();
    let mut c = [f32::NAN; 6];
    let out = MatrixMut::new(&mut c, 2, 3).unwrap();
    let mut scratch = vec![f32::NAN; gemm_i8_scratch_len(1, 2, 3, 0)];
    let epilogue = Epilogue::bias(Some(&[1.0, 2.0, 3.0]));
    let rows = Rows::Quantized { values: view(&[], 2, 0), scale: Scale::One(5.0) };
    gemm_i8(isa, &Serial, rows, &packed, Scale::One(1.0), out, &epilogue, &mut scratch).unwrap();
    assert_eq!(c, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
}

isa_tests_integer!(stays_within_its_bound, rows_that_are_not_finite_give_nan, empty_shapes_are_legal);
avx_vnni_tests!(stays_within_its_bound, rows_that_are_not_finite_give_nan);

#[test]
fn shapes_that_do_not_fit_are_refused_and_nothing_is_written() {
    let (a, x) = ([1i8; 6], [1.0; 6]);
    let packed = PackedI8::pack(view(&[1; 12], 3, 4)).unwrap();
    let mut c = [7.0; 8];
    let mut scratch = vec![0.0; gemm_i8_scratch_len(1, 2, 4, 3)];
    let needed = scratch.len();
    let mut run = |rows, cols, shape: (usize, usize), epilogue: Epilogue<'_>, scratch: &mut [f32]| {
        let out = MatrixMut::new(&mut c, shape.0, shape.1).unwrap();
        gemm_i8(Isa::best(), &Serial, rows, &packed, cols, out, &epilogue, scratch)
    };
    let (dynamic, one) = (Rows::Dynamic(view(&x, 2, 3)), Scale::One(1.0));
    let bytes = |scale| Rows::Quantized { values: view(&a, 2, 3), scale };
    let inner = GemmError::InnerDimension { a_cols: 2, b_rows: 3 };
    assert_eq!(run(Rows::Dynamic(view(&x, 3, 2)), one, (3, 2), Epilogue::NONE, &mut scratch), Err(inner));
    let shape = GemmError::OutputShape { needed: (2, 4), found: (4, 2) };
    assert_eq!(run(dynamic, one, (4, 2), Epilogue::NONE, &mut scratch), Err(shape));
    let bias = GemmError::BiasLength { needed: 4, found: 5 };
    assert_eq!(run(dynamic, one, (2, 4), Epilogue::bias(Some(&[0.0; 5])), &mut scratch), Err(bias));
    let residual = GemmError::ResidualShape { needed: (2, 4), found: (2, 3) };
    assert_eq!(run(dynamic, one, (2, 4), Epilogue::NONE.with_residual(view(&x, 2, 3)), &mut scratch), Err(residual));
    let rows = GemmError::ScaleLength { needed: 2, found: 3 };
    assert_eq!(run(bytes(Scale::Each(&[1.0; 3])), one, (2, 4), Epilogue::NONE, &mut scratch), Err(rows));
    let cols = GemmError::ScaleLength { needed: 4, found: 3 };
    assert_eq!(run(bytes(one), Scale::Each(&[1.0; 3]), (2, 4), Epilogue::NONE, &mut scratch), Err(cols));
    let short = GemmError::ScratchTooShort { needed, found: needed - 1 };
    assert_eq!(run(dynamic, one, (2, 4), Epilogue::NONE, &mut scratch[1..]), Err(short));
    assert_eq!(c, [7.0; 8]);
    let mut integers = [7; 8];
    let out = MatrixMut::new(&mut integers, 4, 2).unwrap();
    assert_eq!(gemm_i8_i32(Isa::best(), &Serial, view(&a, 2, 3), &packed, out, &mut scratch), Err(shape));
    assert_eq!(integers, [7; 8]);
    let depth = GemmError::Depth { most: MAX_DEPTH, found: MAX_DEPTH + 1 };
    for error in [inner, shape, bias, residual, rows, short, depth] {
        assert!(error.to_string().len() > 20, "{error:?}");
    }
}

#[test]
fn packed_data_travel_as_a_slice() {
    let b: Vec<i8> = (0..7 * 21).map(|i| i as i8).collect();
    let transposed: Vec<i8> = (0..21 * 7).map(|i| b[i % 7 * 21 + i / 7]).collect();
    let owned = PackedI8::pack(view(&b, 7, 21)).unwrap();
    let len = PackedI8::packed_len(7, 21).unwrap();
    assert_eq!((owned.shape(), owned.as_slice().len(), len), ((7, 21), 384, 384));
    let at = |i: usize, j: usize| owned.as_slice()[(j / PANEL * 3 + 1 + i / 4) * 64 + j % PANEL * 4 + i % 4];
    for (i, j) in [(0, 0), (3, 5), (6, 20), (2, 16), (5, 15)] {
        assert_eq!(at(i, j), b[i * 21 + j]);
    }
    assert_eq!((at(7, 3), at(0, 21), at(6, 31)), (0, 0, 0));
    let sum: i32 = (0..7).map(|i| i32::from(b[i * 21 + 18])).sum();
    let stored: [u8; 4] = core::array::from_fn(|i| owned.as_slice()[3 * 64 + 2 * 4 + i].cast_unsigned());
    assert_eq!(i32::from_le_bytes(stored), sum);

    let mut memory = vec![99; len + 3];
    let lent = PackedI8::pack_into(view(&transposed, 21, 7).transpose(), &mut memory).unwrap();
    assert_eq!(lent.as_slice(), owned.as_slice());
    let mapped = PackedI8::from_slice(7, 21, owned.as_slice()).unwrap();
    assert!(mapped.shape() == (7, 21) && mapped.has_right_sums());
    let mut broken = owned.as_slice().to_vec();
    broken[64 * 4] ^= 1;
    assert!(!PackedI8::from_slice(7, 21, &broken).unwrap().has_right_sums());

    let length = |found| Err(GemmError::PackedLength { needed: len, found });
    assert_eq!(PackedI8::from_slice(7, 21, &owned.as_slice()[1..]).map(|_| ()), length(len - 1));
    assert_eq!(PackedI8::pack_into(view(&b, 7, 21), &mut memory[..len - 1]).map(|_| ()), length(len - 1));
    assert_eq!(PackedI8::packed_len(MAX_DEPTH, usize::MAX), Err(GemmError::TooLarge));
    let deep = GemmError::Depth { most: MAX_DEPTH, found: MAX_DEPTH + 1 };
    assert_eq!(PackedI8::packed_len(MAX_DEPTH + 1, 1), Err(deep));
    let endless = MatrixRef::with_strides(&[1], 1, usize::MAX / 16, 0, 0).unwrap();
    assert!(matches!(PackedI8::pack(endless), Err(GemmError::OutOfMemory { .. } | GemmError::TooLarge)));
}

/// Rows chosen in any order and more than once, at any strides, in memory that held another operand.
#[test]
fn chosen_rows_are_packed_as_columns() {
    let mut memory = Memory::default();
    for (rows, k) in [(40, 300), (7, 21), (33, 256), (5, 0), (1, 1030)] {
        let table: Vec<i8> = (0..rows * k).map(|i| (i * 89 % 255) as i8).collect();
        let columns: Vec<i8> = (0..k * rows).map(|i| table[i % rows * k + i / rows]).collect();
        for count in [0, 1, 16, 17, 50] {
            let chosen: Vec<u32> = (0..count).map(|j| (j * 5 + 2) % rows as u32).collect();
            let whole: Vec<i8> = (0..k)
                .flat_map(|i| chosen.iter().map(move |row| (i, *row as usize)))
                .map(|(i, row)| table[row * k + i])
                .collect();
            let expected = PackedI8::pack(view(&whole, k, chosen.len())).unwrap();
            for table in [view(&table, rows, k), view(&columns, k, rows).transpose()] {
                let packed = PackedI8::pack_rows(table, &chosen, memory).unwrap();
                assert_eq!((packed.shape(), packed.as_slice()), ((k, chosen.len()), expected.as_slice()), "{rows} {k}");
                memory = packed.into_memory();
            }
            memory.as_bytes_mut().fill(77);
        }
    }
    let table = [1; 12];
    let none = PackedI8::pack_rows(view(&table, 4, 3), &[3, 4], memory).map(|_| ());
    assert_eq!(none, Err(GemmError::NoSuchRow { row: 4, rows: 4 }));
    assert!(none.unwrap_err().to_string().contains("row 4"));
    assert!(PackedI8::from_slice(0, 0, &[]).unwrap().into_memory().as_bytes().is_empty());
}

/// Bytes from a place that is not trusted change sums, and nothing else: every level reads only what is there.
#[test]
fn wrong_sums_are_no_danger() {
    let data: Vec<i8> = (0..PackedI8::packed_len(10, 20).unwrap()).map(|i| (i * 37) as i8).collect();
    let packed = PackedI8::from_slice(10, 20, &data).unwrap();
    assert!(!packed.has_right_sums());
    let (a, mut c) = ([-128; 30], [0; 60]);
    let mut scratch = vec![0.0; gemm_i8_scratch_len(1, 3, 20, 10)];
    for isa in Isa::available() {
        let out = MatrixMut::new(&mut c, 3, 20).unwrap();
        gemm_i8_i32(isa, &Serial, view(&a, 3, 10), &packed, out, &mut scratch).unwrap();
    }
}

#[test]
fn scratch_never_shrinks_as_a_shape_grows() {
    let sizes = [0, 1, 5, 23, 24, 64, 240, 256, 257, 512, 4096, 5000, 9999, 20_000, 131_071];
    for w in sizes.windows(2) {
        for x in sizes {
            for t in [1, 3] {
                assert!(gemm_i8_scratch_len(t, w[0], x, 300) <= gemm_i8_scratch_len(t, w[1], x, 300));
                assert!(gemm_i8_scratch_len(t, x, w[0], 300) <= gemm_i8_scratch_len(t, x, w[1], 300));
                assert!(gemm_i8_scratch_len(t, x, 300, w[0]) <= gemm_i8_scratch_len(t + 1, x, 300, w[1]));
            }
        }
    }
    assert!(gemm_i8_scratch_len(usize::MAX, usize::MAX, usize::MAX, usize::MAX) > 0);
}
