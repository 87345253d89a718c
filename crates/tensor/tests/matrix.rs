//! Views keep their promises: every element inside the storage, none twice where it can be written.
#![cfg(feature = "std")]

use kernform_tensor::{MatrixMut, MatrixRef, Shape, ShapeError, Tensor, TensorRef};
use proptest::prelude::*;
use std::collections::HashSet;

/// Offsets by brute force, in wide arithmetic.
fn offsets(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Vec<u128> {
    let place = |i, j| i as u128 * row_stride as u128 + j as u128 * col_stride as u128;
    (0..rows).flat_map(|i| (0..cols).map(move |j| place(i, j))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn constructors_check_exactly_what_they_promise(
        rows in 0_usize..7, cols in 0_usize..7, row_stride in 0_usize..12, col_stride in 0_usize..12, len in 0_usize..90,
    ) {
        let mut data: Vec<usize> = (0..len).collect();
        let offsets = offsets(rows, cols, row_stride, col_stride);
        let inside = offsets.iter().all(|&offset| offset < len as u128);
        let distinct = offsets.iter().collect::<HashSet<_>>().len() == offsets.len();

        let view = MatrixRef::with_strides(&data, rows, cols, row_stride, col_stride);
        prop_assert_eq!(view.is_ok(), inside);
        if let Ok(view) = view {
            for i in 0..rows + 1 {
                for j in 0..cols + 1 {
                    let expected = (i < rows && j < cols).then(|| i * row_stride + j * col_stride);
                    prop_assert_eq!(view.get(i, j).copied(), expected);
                    prop_assert_eq!(view.transpose().get(j, i).copied(), expected);
                }
                let row = (i < rows && (col_stride == 1 || cols <= 1))
                    .then(|| (0..cols).map(|j| i * row_stride + j * col_stride).collect::<Vec<_>>());
                prop_assert_eq!(view.row(i).map(<[_]>::to_vec), row);
            }
            if let Some(all) = view.as_contiguous() {
                prop_assert!(all.iter().map(|&place| place as u128).eq(offsets.iter().copied()));
            }
        }
        let view = MatrixMut::with_strides(&mut data, rows, cols, row_stride, col_stride);
        prop_assert_eq!(view.is_ok(), inside && distinct);
    }

    #[test]
    fn blocks_are_parts(
        rows in 0_usize..6, cols in 0_usize..6, gap in 0_usize..3,
        row in 0_usize..7, take_rows in 0_usize..7, col in 0_usize..7, take_cols in 0_usize..7, flip in any::<bool>(),
    ) {
        let mut data: Vec<usize> = (0..rows * (cols + gap)).collect();
        let copy = data.clone();
        let whole = MatrixRef::with_strides(&copy, rows, cols, cols + gap, 1).unwrap();
        let whole = if flip { whole.transpose() } else { whole };
        let fits = row + take_rows <= whole.rows() && col + take_cols <= whole.cols();
        let block = whole.block(row, take_rows, col, take_cols);
        prop_assert_eq!(block.is_ok(), fits);
        if let Ok(block) = block {
            prop_assert_eq!((block.rows(), block.cols()), (take_rows, take_cols));
            for i in 0..take_rows {
                for j in 0..take_cols {
                    prop_assert_eq!(block.get(i, j), whole.get(row + i, col + j));
                }
            }
        }
        let whole = MatrixMut::with_strides(&mut data, rows, cols, cols + gap, 1).unwrap();
        let whole = if flip { whole.transpose() } else { whole };
        let block = whole.block(row, take_rows, col, take_cols);
        prop_assert_eq!(block.is_ok(), fits);
        if let Ok(mut block) = block {
            block.fill(usize::MAX);
        }
        let written = data.iter().filter(|&&value| value == usize::MAX).count();
        prop_assert_eq!(written, if fits { take_rows * take_cols } else { 0 });
    }

    #[test]
    fn split_rows_share_nothing(
        rows in 0_usize..6, cols in 0_usize..6, row_stride in 0_usize..9, col_stride in 0_usize..9, at in 0_usize..8,
    ) {
        let mut data = vec![0_usize; 100];
        let Ok(view) = MatrixMut::with_strides(&mut data, rows, cols, row_stride, col_stride) else { return Ok(()) };
        match view.split_at_row(at) {
            Ok((mut above, mut below)) => {
                prop_assert_eq!((above.rows(), below.rows()), (at, rows - at));
                prop_assert_eq!((above.cols(), below.cols()), (cols, cols));
                above.fill(1);
                below.fill(2);
                let view = MatrixRef::with_strides(&data, rows, cols, row_stride, col_stride).unwrap();
                for i in 0..rows {
                    for j in 0..cols {
                        prop_assert_eq!(view.get(i, j), Some(&(1 + usize::from(i >= at))));
                    }
                }
                prop_assert_eq!(data.iter().filter(|&&value| value != 0).count(), rows * cols);
            }
            Err(ShapeError::OutOfBounds { end, len }) => {
                prop_assert!(at > rows);
                prop_assert_eq!((end, len), (at, rows));
            }
            // Only refused where the last element above stands past the first below.
            Err(error) => {
                let interleaved = matches!(error, ShapeError::Interleaved { .. });
                prop_assert!(interleaved && at <= rows && (cols - 1) * col_stride >= row_stride);
            }
        }
    }
}

#[test]
fn sizes_that_overflow_are_errors() {
    let mut data = [0.0_f32; 4];
    for (rows, cols, row_stride, col_stride) in [
        (usize::MAX, usize::MAX, 1, 1),
        (2, 2, usize::MAX, usize::MAX),
        (3, 1, usize::MAX / 2 + 1, 1),
        (2, 2, usize::MAX, 1),
        (1 << (usize::BITS / 2 + 1), 1 << (usize::BITS / 2 + 1), 1 << (usize::BITS / 2 + 1), 1),
    ] {
        assert!(MatrixRef::with_strides(&data, rows, cols, row_stride, col_stride).is_err());
        assert!(MatrixMut::with_strides(&mut data, rows, cols, row_stride, col_stride).is_err());
    }
    assert_eq!(MatrixRef::new(&data, usize::MAX, 2).unwrap_err(), ShapeError::Overflow);
    assert!(matches!(MatrixRef::new(&data, 3, 2), Err(ShapeError::TooShort { needed: 6, len: 4 })));
    // No element, no offset: huge empty matrices are legal, and so are their parts.
    let empty = MatrixRef::with_strides(&data[..0], usize::MAX, 0, usize::MAX, usize::MAX).unwrap();
    assert!(empty.block(usize::MAX, 0, 0, 0).unwrap().is_empty());
    assert!(empty.block(usize::MAX, 1, 0, 0).is_err());
    assert_eq!((empty.transpose().row(0), empty.row(usize::MAX)), (None, None));
    assert_eq!(MatrixRef::new(&data[..0], 3, 0).unwrap().row(2), Some(&[][..]));
    let mut empty = MatrixMut::<f32>::new(&mut [], 3, 0).unwrap();
    assert_eq!(empty.row_mut(2), Some(&mut [][..]));
    assert!(empty.split_at_row(2).is_ok());
}

#[test]
fn columns_split_where_rows_do_not() {
    let mut data = [0; 12];
    let row_major = MatrixMut::new(&mut data, 3, 4).unwrap();
    assert!(matches!(row_major.split_at_col(2), Err(ShapeError::Interleaved { .. })));
    let col_major = MatrixMut::with_strides(&mut data, 3, 4, 1, 3).unwrap();
    let (mut left, mut right) = col_major.split_at_col(1).unwrap();
    left.fill(1);
    right.fill(2);
    assert_eq!(data, [1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
}

#[test]
fn shapes_and_tensors() {
    assert!(matches!(Shape::new(&[1; 7]), Err(ShapeError::TooManyDims { rank: 7 })));
    assert!(matches!(Shape::new(&[usize::MAX]), Err(ShapeError::Overflow)));
    assert!(matches!(Shape::new(&[usize::MAX, 2, 0]), Err(ShapeError::Overflow)));
    assert_eq!(Shape::new(&[]).unwrap().len(), 1);
    assert_eq!(Shape::new(&[3, 0, 2]).unwrap().len(), 0);
    assert_eq!(Shape::new(&[2, 3, 4]).unwrap().as_matrix(), (6, 4));
    assert_eq!(Shape::new(&[4]).unwrap().as_matrix(), (1, 4));
    assert_eq!(Shape::new(&[]).unwrap().as_matrix(), (1, 1));
    assert_eq!(Shape::new(&[2, 3]).unwrap().to_string(), "[2, 3]");

    let mut tensor = Tensor::from_vec(&[2, 3, 4], (0..24).collect()).unwrap();
    assert_eq!(tensor.matrix().get(5, 3), Some(&23));
    assert_eq!(tensor.view().index(1).unwrap().index(2).unwrap().as_slice(), [20, 21, 22, 23]);
    assert!(tensor.view().index(2).is_err());
    let scalar = TensorRef::new(&[], &[1]).unwrap();
    assert!(scalar.index(0).is_err());
    *tensor.matrix_mut().get_mut(0, 0).unwrap() = 100;
    assert_eq!(tensor.as_slice()[0], 100);
    assert_eq!(tensor.view().reshape(&[24]).unwrap().dims(), [24]);
    assert!(tensor.clone().reshape(&[5, 5]).is_err());
    assert_eq!(tensor.reshape(&[6, 4]).unwrap().into_vec().len(), 24);
    assert!(Tensor::from_vec(&[2], vec![0.0_f32]).is_err());
    assert_eq!(Tensor::<f32>::zeros(&[2, 2]).unwrap().as_slice(), [0.0; 4]);
    assert!(matches!(Tensor::<f32>::zeros(&[1 << (usize::BITS - 3)]), Err(ShapeError::OutOfMemory { .. })));
}
