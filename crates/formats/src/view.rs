//! One tensor inside a file: name, type, shape and bytes.

use crate::{Error, ErrorKind};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;
use kernform_tensor::{DType, Element, Shape, Tensor, ToF32, as_bytes, bf16, cast_slice, f16};

/// A stored tensor, borrowed: little-endian elements in row-major order, as many as type and shape say.
#[derive(Clone, Copy)]
pub struct TensorView<'a> {
    name: &'a str,
    file: Option<&'a str>,
    dtype: DType,
    shape: Shape,
    bytes: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// A tensor of little-endian bytes, in row-major order.
    ///
    /// # Errors
    /// When there is no such shape or the bytes are not as many as type and shape say.
    pub fn new(name: &'a str, dtype: DType, dims: &[usize], bytes: &'a [u8]) -> Result<Self, Error> {
        let shape = Shape::new(dims).map_err(|source| ErrorKind::Shape { tensor: name.to_string(), source })?;
        Self::from_parts(name, None, dtype, shape, bytes)
    }

    /// A tensor of native elements, in row-major order; to write, for instance.
    ///
    /// # Errors
    /// As [`new`](Self::new), and [`ErrorKind::ByteOrder`] on a big-endian machine.
    pub fn from_slice<T: Element>(name: &'a str, dims: &[usize], elements: &'a [T]) -> Result<Self, Error> {
        if cfg!(target_endian = "big") && size_of::<T>() > 1 {
            return Err(ErrorKind::ByteOrder.into());
        }
        Self::new(name, T::DTYPE, dims, as_bytes(elements))
    }

    pub(crate) fn from_parts(
        name: &'a str,
        file: Option<&'a str>,
        dtype: DType,
        shape: Shape,
        bytes: &'a [u8],
    ) -> Result<Self, Error> {
        // Both factors are bounded: the element count by `isize`, the size by 8.
        let needed = shape.len() as u64 * dtype.size() as u64;
        if bytes.len() as u64 == needed {
            Ok(Self { name, file, dtype, shape, bytes })
        } else {
            let len = bytes.len() as u64;
            Err(ErrorKind::ByteCount { tensor: name.to_string(), dtype, shape, needed, len }.into())
        }
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &'a str {
        self.name
    }

    /// The type of the elements.
    #[must_use]
    pub const fn dtype(&self) -> DType {
        self.dtype
    }

    /// The shape.
    #[must_use]
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The lengths of the dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        self.shape.dims()
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.len()
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shape.is_empty()
    }

    /// The elements as they are stored, little-endian.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The elements in place, without a copy.
    ///
    /// # Errors
    /// When `T` is not the stored type, the bytes are not aligned for it, or the machine is big-endian.
    pub fn as_slice<T: Element>(&self) -> Result<&'a [T], Error> {
        if T::DTYPE != self.dtype {
            return Err(self.wrong_dtype(T::DTYPE.name()));
        }
        if cfg!(target_endian = "big") && size_of::<T>() > 1 {
            return Err(self.error(ErrorKind::ByteOrder));
        }
        cast_slice(self.bytes).map_err(|source| self.error(ErrorKind::Cast { tensor: self.name.to_string(), source }))
    }

    /// Writes the elements as f32: exactly from F32, F16 and BF16, rounded to nearest from F64.
    ///
    /// # Errors
    /// When the tensor is not of floats or `out` has another length.
    pub fn copy_to_f32(&self, out: &mut [f32]) -> Result<(), Error> {
        if out.len() != self.len() {
            let kind = ErrorKind::BufferLength { tensor: self.name.to_string(), needed: self.len(), len: out.len() };
            return Err(self.error(kind));
        }
        match self.dtype {
            DType::F32 => widen(self.bytes, out, f32::from_le_bytes),
            DType::F16 => widen(self.bytes, out, f16::from_le_bytes),
            DType::BF16 => widen(self.bytes, out, bf16::from_le_bytes),
            DType::F64 => widen(self.bytes, out, f64::from_le_bytes),
            _ => return Err(self.wrong_dtype("F32, F16, BF16 or F64")),
        }
        Ok(())
    }

    /// The elements as f32, as [`copy_to_f32`](Self::copy_to_f32) converts them.
    ///
    /// # Errors
    /// When the tensor is not of floats or there is no memory.
    pub fn to_f32(&self) -> Result<Vec<f32>, Error> {
        if !self.dtype.is_float() {
            return Err(self.wrong_dtype("F32, F16, BF16 or F64"));
        }
        let mut out = self.reserve()?;
        out.resize(self.len(), 0.0);
        self.copy_to_f32(&mut out)?;
        Ok(out)
    }

    /// The elements as f32 in their shape.
    ///
    /// # Errors
    /// As [`to_f32`](Self::to_f32).
    pub fn to_tensor(&self) -> Result<Tensor<f32>, Error> {
        Tensor::from_vec(self.dims(), self.to_f32()?)
            .map_err(|source| self.error(ErrorKind::Shape { tensor: self.name.to_string(), source }))
    }

    /// The elements as i64, from any integer type and from BOOL (0 or 1).
    ///
    /// # Errors
    /// When the tensor is of floats, a U64 element is beyond `i64::MAX`, or there is no memory.
    pub fn to_i64(&self) -> Result<Vec<i64>, Error> {
        let mut out = self.reserve()?;
        match self.dtype {
            DType::Bool => out.extend(self.bytes.iter().map(|&byte| i64::from(byte != 0))),
            DType::U8 => out.extend(self.bytes.iter().copied().map(i64::from)),
            DType::I8 => out.extend(elements(self.bytes, i8::from_le_bytes).map(i64::from)),
            DType::U16 => out.extend(elements(self.bytes, u16::from_le_bytes).map(i64::from)),
            DType::I16 => out.extend(elements(self.bytes, i16::from_le_bytes).map(i64::from)),
            DType::U32 => out.extend(elements(self.bytes, u32::from_le_bytes).map(i64::from)),
            DType::I32 => out.extend(elements(self.bytes, i32::from_le_bytes).map(i64::from)),
            DType::I64 => out.extend(elements(self.bytes, i64::from_le_bytes)),
            DType::U64 => {
                for (index, value) in elements(self.bytes, u64::from_le_bytes).enumerate() {
                    out.push(i64::try_from(value).map_err(|_| {
                        self.error(ErrorKind::ElementOutOfRange { tensor: self.name.to_string(), index, value })
                    })?);
                }
            }
            _ => return Err(self.wrong_dtype("integers or BOOL")),
        }
        Ok(out)
    }

    /// An empty vector with room for all elements, which the bytes at hand bound.
    fn reserve<T>(&self) -> Result<Vec<T>, Error> {
        let mut out = Vec::new();
        out.try_reserve_exact(self.len()).map_err(|_| {
            self.error(ErrorKind::OutOfMemory { bytes: (self.len() as u64).saturating_mul(size_of::<T>() as u64) })
        })?;
        Ok(out)
    }

    fn wrong_dtype(&self, expected: &'static str) -> Error {
        self.error(ErrorKind::WrongDType { tensor: self.name.to_string(), found: self.dtype, expected })
    }

    fn error(&self, kind: ErrorKind) -> Error {
        let error = Error::from(kind);
        match self.file {
            Some(file) => error.in_file(file),
            None => error,
        }
    }
}

impl fmt::Debug for TensorView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TensorView")
            .field("name", &self.name)
            .field("file", &self.file)
            .field("dtype", &self.dtype)
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

fn elements<const N: usize, T>(bytes: &[u8], decode: fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    bytes.as_chunks().0.iter().map(move |&chunk| decode(chunk))
}

fn widen<const N: usize, T: ToF32>(bytes: &[u8], out: &mut [f32], decode: fn([u8; N]) -> T) {
    for (to, from) in out.iter_mut().zip(elements(bytes, decode)) {
        *to = from.to_f32();
    }
}
