//! The table of tokens, in memory of the type that a model's weights have.
//!
//! A row is widened where it is looked up, which rounds nothing in `f16` and `bf16`. A file's own type stays where it is as
//! small as the chosen one: nothing is lost then. In int8 each row has a scale of its own, its largest magnitude over 127.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use kernform_attention::embed;
use kernform_formats::{DType, TensorView};
use kernform_gemm::int8::quantize_rows;
use kernform_simd::Isa;
use kernform_tensor::{MatrixMut, MatrixRef, ToF32, bf16, f16};

use crate::error::ModelError;
use crate::linear::WeightType;

/// Rows of tokens, `[vocabulary, width]`.
pub(crate) struct TokenTable {
    /// The tensor of the file, which a tied output reads once more.
    pub(crate) name: String,
    rows: Rows,
}

enum Rows {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Bf16(Vec<bf16>),
    /// Bytes, with the factor of each row.
    Int8 {
        bytes: Vec<i8>,
        scales: Vec<f32>,
    },
}

/// Elements that are narrowed at a time, so that the whole table never stands in memory as `f32`.
const AT_ONCE: usize = 1 << 14;

impl TokenTable {
    /// Keeps a tensor of floats with rows of `width` as `kind`, or as the file does.
    pub(crate) fn read(
        tensor: &TensorView<'_>,
        name: &str,
        width: usize,
        kind: WeightType,
    ) -> Result<Self, ModelError> {
        let kind = match (tensor.dtype(), kind) {
            (_, WeightType::Int8) => WeightType::Int8,
            (DType::F16, _) => WeightType::F16,
            (DType::BF16, _) => WeightType::Bf16,
            (_, kind) => kind,
        };
        let len = tensor.len();
        let rows = match kind {
            WeightType::F32 => Rows::F32(tensor.to_f32()?),
            WeightType::F16 => Rows::F16(narrowed(tensor, width, f16::from_f32)?),
            WeightType::Bf16 => Rows::Bf16(narrowed(tensor, width, bf16::from_f32)?),
            WeightType::Int8 => {
                let (mut bytes, mut scales) = (alloc::vec![0; len], alloc::vec![0.0; len / width.max(1)]);
                in_blocks(tensor, width, |first, block| {
                    let count = block.len() / width;
                    let out = MatrixMut::new(&mut bytes[first * width..][..block.len()], count, width)?;
                    let scales = &mut scales[first..first + count];
                    Ok(quantize_rows(Isa::best(), MatrixRef::new(block, count, width)?, out, scales)?)
                })?;
                Rows::Int8 { bytes, scales }
            }
        };
        Ok(Self { name: name.to_string(), rows })
    }

    /// Elements of the table.
    pub(crate) fn len(&self) -> usize {
        match &self.rows {
            Rows::F32(rows) => rows.len(),
            Rows::F16(rows) => rows.len(),
            Rows::Bf16(rows) => rows.len(),
            Rows::Int8 { bytes, .. } => bytes.len(),
        }
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        match &self.rows {
            Rows::F32(rows) => size_of_val(rows.as_slice()),
            Rows::F16(rows) => size_of_val(rows.as_slice()),
            Rows::Bf16(rows) => size_of_val(rows.as_slice()),
            Rows::Int8 { bytes, scales } => bytes.len() + size_of_val(scales.as_slice()),
        }
    }

    /// The floats of the file, where the table holds them.
    pub(crate) fn floats(&self) -> Option<&[f32]> {
        match &self.rows {
            Rows::F32(rows) => Some(rows),
            _ => None,
        }
    }

    /// The rows of tokens, all of the vocabulary, times `scale`: `out` is `[ids, width]`.
    ///
    /// An element is widened exactly (a byte times its row's factor is rounded) and its product rounded.
    pub(crate) fn look_up(
        &self,
        isa: Isa,
        width: usize,
        ids: &[u32],
        scale: f32,
        out: &mut [f32],
    ) -> Result<(), ModelError> {
        match &self.rows {
            Rows::F32(rows) => embed(isa, rows, width, ids, scale, out)?,
            Rows::F16(rows) => widen(rows, width, ids, out, |_, x| ToF32::to_f32(x) * scale),
            Rows::Bf16(rows) => widen(rows, width, ids, out, |_, x| ToF32::to_f32(x) * scale),
            Rows::Int8 { bytes, scales } => {
                let factor = |row: usize| scales.get(row).copied().unwrap_or(0.0);
                widen(bytes, width, ids, out, |row, byte| f32::from(byte) * factor(row) * scale);
            }
        }
        Ok(())
    }
}

/// The elements of a tensor, each rounded by `to`.
fn narrowed<T>(tensor: &TensorView<'_>, width: usize, to: impl Fn(f32) -> T) -> Result<Vec<T>, ModelError> {
    let mut rows = Vec::with_capacity(tensor.len());
    in_blocks(tensor, width, |_, block| {
        rows.extend(block.iter().map(|x| to(*x)));
        Ok(())
    })?;
    Ok(rows)
}

/// Calls `each` for blocks of whole rows, widened, with the number of the first.
fn in_blocks(
    tensor: &TensorView<'_>,
    width: usize,
    mut each: impl FnMut(usize, &[f32]) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    let rows = tensor.len().checked_div(width).unwrap_or(0);
    let row_bytes = tensor.bytes().len().checked_div(rows).unwrap_or(0);
    let most = AT_ONCE.checked_div(width).unwrap_or(0).max(1);
    let mut block = alloc::vec![0.0; most.min(rows) * width];
    for first in (0..rows).step_by(most) {
        let count = most.min(rows - first);
        let bytes = &tensor.bytes()[first * row_bytes..(first + count) * row_bytes];
        let block = &mut block[..count * width];
        TensorView::new(tensor.name(), tensor.dtype(), &[count, width], bytes)?.copy_to_f32(block)?;
        each(first, block)?;
    }
    Ok(())
}

/// Writes the rows of tokens, each element as `to` makes it of its row's number and what is stored.
fn widen<T: Copy>(table: &[T], width: usize, ids: &[u32], out: &mut [f32], to: impl Fn(usize, T) -> f32) {
    for (id, out) in ids.iter().zip(out.chunks_exact_mut(width)) {
        let row = *id as usize;
        let stored = table.get(row * width..(row + 1) * width).unwrap_or_default();
        for (out, stored) in out.iter_mut().zip(stored) {
            *out = to(row, *stored);
        }
    }
}

#[cfg(test)]
mod tests {
    use kernform_testkit::assert_same_bits;

    use super::*;

    const ROWS: usize = 300;
    const WIDTH: usize = 129;

    fn numbers() -> Vec<f32> {
        (0..ROWS * WIDTH).map(|i| ((i * 7919 + 13) % 1009) as f32 / 512.0 - 1.0).collect()
    }

    fn looked_up(table: &TokenTable, ids: &[u32]) -> Vec<f32> {
        let mut out = alloc::vec![f32::NAN; ids.len() * WIDTH];
        table.look_up(Isa::best(), WIDTH, ids, 3.0, &mut out).expect("they are of the vocabulary");
        out
    }

    /// What each type makes of floats, and that a file's narrower type is kept.
    #[test]
    fn rows_are_those_of_the_file_rounded_once() {
        let numbers = numbers();
        let ids = [0, 299, 127, 128, 0, 5];
        let rows = |table: &[f32]| -> Vec<f32> {
            ids.iter().flat_map(|id| table[*id as usize * WIDTH..][..WIDTH].iter().map(|x| x * 3.0)).collect()
        };
        let halves: Vec<f16> = numbers.iter().map(|x| f16::from_f32(*x)).collect();
        let brains: Vec<bf16> = numbers.iter().map(|x| bf16::from_f32(*x)).collect();
        let from_halves: Vec<f32> = halves.iter().map(|x| x.to_f32()).collect();
        let from_brains: Vec<f32> = brains.iter().map(|x| x.to_f32()).collect();
        let dims = [ROWS, WIDTH];
        let floats = TensorView::from_slice("a", &dims, &numbers).expect("it fits");
        let halves = TensorView::from_slice("b", &dims, &halves).expect("it fits");
        let brains = TensorView::from_slice("c", &dims, &brains).expect("it fits");
        for (tensor, kind, expected, bytes) in [
            (&floats, WeightType::F32, &numbers, 4),
            (&floats, WeightType::F16, &from_halves, 2),
            (&floats, WeightType::Bf16, &from_brains, 2),
            (&halves, WeightType::F32, &from_halves, 2),
            (&halves, WeightType::Bf16, &from_halves, 2),
            (&brains, WeightType::F32, &from_brains, 2),
            (&brains, WeightType::F16, &from_brains, 2),
        ] {
            let table = TokenTable::read(tensor, "name", WIDTH, kind).expect("it is of floats");
            assert_eq!((table.len(), table.memory()), (ROWS * WIDTH, ROWS * WIDTH * bytes));
            assert_same_bits(kind.name(), &looked_up(&table, &ids), &rows(expected));
        }
    }

    #[test]
    fn bytes_are_within_half_a_step() {
        let numbers = numbers();
        let dims = [ROWS, WIDTH];
        let halves: Vec<f16> = numbers.iter().map(|x| f16::from_f32(*x)).collect();
        let halves = TensorView::from_slice("b", &dims, &halves).expect("it fits");
        let floats = TensorView::from_slice("a", &dims, &numbers).expect("it fits");
        for tensor in [floats, halves] {
            let table = TokenTable::read(&tensor, "name", WIDTH, WeightType::Int8).expect("it is of floats");
            assert_eq!(table.memory(), ROWS * (WIDTH + 4));
            let exact = tensor.to_f32().expect("it is of floats");
            for id in 0..ROWS as u32 {
                let exact = &exact[id as usize * WIDTH..][..WIDTH];
                let step = exact.iter().fold(0.0, |most: f32, x| most.max(x.abs())) / 127.0;
                for (found, exact) in looked_up(&table, &[id]).iter().zip(exact) {
                    assert!((found / 3.0 - exact).abs() <= 0.501 * step, "{found} for {exact}, step {step}");
                }
            }
        }
    }

    #[test]
    fn a_tensor_of_integers_is_no_table() {
        let bytes = [1i8; 12];
        let tensor = TensorView::from_slice("a", &[3, 4], &bytes).expect("it fits");
        for kind in WeightType::ALL {
            assert!(TokenTable::read(&tensor, "name", 4, kind).is_err());
        }
    }
}
