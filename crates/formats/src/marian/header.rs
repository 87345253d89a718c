//! The front of a Marian model: what tensors there are, and where.

use crate::bytes::Reader;
use crate::{Error, ErrorKind, TensorView};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::Range;
use kernform_tensor::{DType, Shape};

/// The only version that there is.
const VERSION: u64 = 1;
/// Bytes of the four lengths of a tensor.
const LENGTHS: u64 = 32;
/// Type of int8 matrices of intgemm.
const INTGEMM8: u64 = 0x4101;

#[derive(Clone, Debug)]
pub(super) struct Entry {
    name: String,
    dtype: DType,
    shape: Shape,
    /// In the whole file.
    data: Range<usize>,
    pub(super) multiplier: Option<f32>,
}

#[derive(Clone, Debug)]
pub(super) struct Header {
    /// In the order of the file.
    entries: Vec<Entry>,
    /// Numbers of entries, by name.
    sorted: Vec<usize>,
}

/// The lengths of a tensor, as they are declared.
struct Lengths {
    name: u64,
    dtype: u64,
    dims: u64,
    data: u64,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes);
        let found = reader.u64("the version")?;
        if found != VERSION {
            return Err(
                ErrorKind::Unsupported { what: "the version of the Marian model", found, expected: VERSION }.into()
            );
        }
        let count = reader.u64("the number of tensors")?;
        let mut lengths = Reader::new(reader.array("the lengths of the tensors", count, LENGTHS)?);
        let mut declared = Vec::new();
        reserve(&mut declared, count, LENGTHS)?;
        for _ in 0..count {
            let mut next = || lengths.u64("the lengths of the tensors");
            declared.push(Lengths { name: next()?, dtype: next()?, dims: next()?, data: next()? });
        }
        let mut names = Vec::new();
        reserve(&mut names, count, size_of::<String>() as u64)?;
        for lengths in &declared {
            names.push(name(reader.take("a tensor's name", lengths.name)?)?);
        }
        let mut shapes = Vec::new();
        reserve(&mut shapes, count, size_of::<Shape>() as u64)?;
        for (lengths, name) in declared.iter().zip(&names) {
            shapes.push(shape(name, reader.array("a tensor's shape", lengths.dims, 4)?)?);
        }
        let padding = reader.u64("the length of the padding")?;
        reader.take("the padding", padding)?;
        let mut entries = Vec::new();
        reserve(&mut entries, count, size_of::<Entry>() as u64)?;
        for ((lengths, name), shape) in declared.iter().zip(names).zip(shapes) {
            let start = reader.place();
            let data = reader.take("a tensor's data", lengths.data)?;
            entries.push(entry(name, lengths.dtype, shape, start, data)?);
        }
        if reader.left() > 0 {
            return Err(ErrorKind::TrailingBytes { used: reader.place() as u64, len: bytes.len() as u64 }.into());
        }
        let mut sorted: Vec<usize> = (0..entries.len()).collect();
        sorted.sort_unstable_by(|&a, &b| entries[a].name.cmp(&entries[b].name));
        if let Some(pair) = sorted.windows(2).find(|pair| entries[pair[0]].name == entries[pair[1]].name) {
            return Err(ErrorKind::Duplicate { name: entries[pair[0]].name.clone() }.into());
        }
        Ok(Self { entries, sorted })
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    pub(super) fn find(&self, name: &str) -> Option<&Entry> {
        let place = self.sorted.binary_search_by(|&number| self.entries[number].name.as_str().cmp(name)).ok()?;
        self.entries.get(self.sorted[place])
    }

    pub(super) fn tensor<'a>(
        &'a self,
        name: &str,
        file: Option<&'a str>,
        bytes: &'a [u8],
    ) -> Result<TensorView<'a>, Error> {
        let tensor = || {
            let missing = || ErrorKind::MissingTensor { tensor: name.to_string() };
            let entry = self.find(name).ok_or_else(missing)?;
            let data = bytes.get(entry.data.clone()).unwrap_or_default();
            TensorView::from_parts(&entry.name, file, entry.dtype, entry.shape, data)
        };
        tensor().map_err(|error: Error| match file {
            Some(file) => error.in_file(file),
            None => error,
        })
    }
}

/// A name, which ends in the only NUL of its bytes. They are copied before they are looked at, since mapped bytes may change.
fn name(bytes: &[u8]) -> Result<String, Error> {
    let mut bytes = bytes.to_vec();
    let ends = bytes.pop() == Some(0) && !bytes.contains(&0);
    let name = if ends { String::from_utf8(bytes).ok() } else { None };
    name.ok_or_else(|| ErrorKind::Text { what: "a tensor's name" }.into())
}

fn shape(name: &str, bytes: &[u8]) -> Result<Shape, Error> {
    let mut dims = Vec::new();
    for dim in bytes.as_chunks().0 {
        let dim = i32::from_le_bytes(*dim);
        let dim = usize::try_from(dim).map_err(|_| ErrorKind::NumberOutOfRange {
            key: name.to_string(),
            value: dim.to_string(),
            expected: "a length of a dimension",
        })?;
        dims.push(dim);
    }
    Shape::new(&dims).map_err(|source| ErrorKind::Shape { tensor: name.to_string(), source }.into())
}

/// Marian rounds lengths up, so data may be longer than the elements need; what follows them is not read.
fn entry(name: String, code: u64, shape: Shape, start: usize, data: &[u8]) -> Result<Entry, Error> {
    let dtype =
        dtype(code).ok_or_else(|| ErrorKind::UnknownDType { tensor: name.clone(), dtype: format!("{code:#x}") })?;
    let quantised = code == INTGEMM8;
    let elements = shape.len() as u64 * dtype.size() as u64;
    let needed = elements + if quantised { 4 } else { 0 };
    let len = data.len() as u64;
    if len < needed {
        return Err(ErrorKind::ByteCount { tensor: name, dtype, shape, needed, len }.into());
    }
    // Not larger than the slice at hand.
    let elements = elements as usize;
    let multiplier = data.get(elements..).and_then(|rest| rest.first_chunk()).map(|bytes| f32::from_le_bytes(*bytes));
    let multiplier = if quantised { multiplier } else { None };
    Ok(Entry { name, dtype, shape, data: start..start + elements, multiplier })
}

/// The type of a code: its class in the upper byte, the size of an element in the lower one.
fn dtype(code: u64) -> Option<DType> {
    Some(match code {
        0x0101 | INTGEMM8 => DType::I8,
        0x0102 => DType::I16,
        0x0104 => DType::I32,
        0x0108 => DType::I64,
        0x0201 => DType::U8,
        0x0202 => DType::U16,
        0x0204 => DType::U32,
        0x0208 => DType::U64,
        0x0402 => DType::F16,
        0x0404 => DType::F32,
        0x0408 => DType::F64,
        _ => return None,
    })
}

/// Room for `count` items, which were held against the bytes at hand.
fn reserve<T>(items: &mut Vec<T>, count: u64, size: u64) -> Result<(), Error> {
    let room = usize::try_from(count).unwrap_or(usize::MAX);
    items.try_reserve_exact(room).map_err(|_| ErrorKind::OutOfMemory { bytes: count.saturating_mul(size) }.into())
}
