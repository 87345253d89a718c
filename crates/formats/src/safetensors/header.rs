//! Reading and checking a header.

use super::METADATA_KEY;
use crate::{Error, ErrorKind, TensorView};
use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use kernform_tensor::{DType, MAX_RANK, Shape};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Longest header that is read, in bytes; the limit of the format's reference implementation.
pub const MAX_HEADER_LEN: u64 = 100_000_000;

const LENGTH_BYTES: usize = size_of::<u64>();

/// A checked header: where each tensor lies in the data after it.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    entries: Vec<Entry>,
    /// Places in `entries`, sorted by name.
    by_name: Vec<usize>,
    metadata: Vec<(String, String)>,
    data_start: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    name: String,
    dtype: DType,
    shape: Shape,
    range: Range<usize>,
}

impl Header {
    /// Reads and checks the header of a whole file.
    pub(crate) fn parse(file: &[u8]) -> Result<Self, Error> {
        let data_start = data_start(file)?;
        Self::parse_json(&file[LENGTH_BYTES..data_start], data_start, file.len() - data_start)
    }

    /// [`parse`](Self::parse) from bytes that others may change: everything is read once, into memory of our own.
    #[cfg(feature = "std")]
    pub(crate) fn parse_copied(file: &[u8]) -> Result<Self, Error> {
        let data_start = data_start(file)?;
        let mut json = Vec::new();
        json.try_reserve_exact(data_start).map_err(|_| ErrorKind::OutOfMemory { bytes: data_start as u64 })?;
        json.extend_from_slice(&file[LENGTH_BYTES..data_start]);
        Self::parse_json(&json, data_start, file.len() - data_start)
    }

    fn parse_json(json: &[u8], data_start: usize, data_len: usize) -> Result<Self, Error> {
        let raw = serde_json::from_slice(json).map_err(|error| ErrorKind::Json { message: error.to_string() })?;
        Self::check(raw, data_start, data_len)
    }

    fn check(raw: RawHeader<'_>, data_start: usize, data_len: usize) -> Result<Self, Error> {
        let mut metadata = raw.metadata;
        metadata.sort();
        if let Some(twice) = metadata.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(ErrorKind::Duplicate { name: twice[0].0.clone() }.into());
        }
        let entries = raw
            .tensors
            .into_iter()
            .map(|(name, tensor)| tensor.check(name, data_len as u64))
            .collect::<Result<Vec<_>, _>>()?;
        check_tiling(&entries, data_len)?;
        let mut by_name: Vec<usize> = (0..entries.len()).collect();
        by_name.sort_by(|&a, &b| entries[a].name.cmp(&entries[b].name));
        if let Some(twice) = by_name.windows(2).find(|pair| entries[pair[0]].name == entries[pair[1]].name) {
            return Err(ErrorKind::Duplicate { name: entries[twice[0]].name.clone() }.into());
        }
        Ok(Self { entries, by_name, metadata, data_start })
    }

    /// Where the tensors' bytes begin in the file.
    pub(crate) const fn data_start(&self) -> usize {
        self.data_start
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.name.as_str())
    }

    #[cfg(feature = "std")]
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub(crate) fn metadata(&self) -> &[(String, String)] {
        &self.metadata
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        let place = self.by_name.binary_search_by(|&entry| self.entries[entry].name.as_str().cmp(name)).ok()?;
        self.entries.get(self.by_name[place])
    }

    /// The tensor of that name in `data`, which begins at [`data_start`](Self::data_start).
    pub(crate) fn tensor<'s>(
        &'s self,
        name: &str,
        file: Option<&'s str>,
        data: &'s [u8],
    ) -> Result<TensorView<'s>, Error> {
        let found = match self.find(name) {
            Some(entry) => {
                let bytes = data.get(entry.range.clone()).unwrap_or_default();
                TensorView::from_parts(&entry.name, file, entry.dtype, entry.shape, bytes)
            }
            None => Err(ErrorKind::MissingTensor { tensor: name.to_string() }.into()),
        };
        found.map_err(|error| match file {
            Some(file) => error.in_file(file),
            None => error,
        })
    }
}

/// Where the header ends, checked against the length of the file.
fn data_start(file: &[u8]) -> Result<usize, Error> {
    let len = file.len() as u64;
    let Some(&length) = file.first_chunk::<LENGTH_BYTES>() else {
        let needed = LENGTH_BYTES as u64;
        return Err(ErrorKind::Truncated { what: "the length of the header", needed, len }.into());
    };
    let header_len = u64::from_le_bytes(length);
    if header_len > MAX_HEADER_LEN {
        return Err(ErrorKind::TooLarge { what: "the header", len: header_len, limit: MAX_HEADER_LEN }.into());
    }
    let needed = header_len + LENGTH_BYTES as u64;
    if needed > len {
        return Err(ErrorKind::Truncated { what: "the header", needed, len }.into());
    }
    // At most the length of a slice, so it fits.
    Ok(needed as usize)
}

/// Checks that the tensors lie one after the other and account for all of the data.
fn check_tiling(entries: &[Entry], data_len: usize) -> Result<(), Error> {
    let mut by_place: Vec<&Entry> = entries.iter().collect();
    by_place.sort_by_key(|entry| (entry.range.start, entry.range.end));
    let mut expected = 0;
    for entry in by_place {
        if entry.range.start != expected {
            return Err(ErrorKind::NotAdjacent {
                tensor: entry.name.clone(),
                begin: entry.range.start as u64,
                expected: expected as u64,
            }
            .into());
        }
        expected = entry.range.end;
    }
    if expected == data_len {
        Ok(())
    } else {
        Err(ErrorKind::TrailingBytes { used: expected as u64, len: data_len as u64 }.into())
    }
}

/// A header as it is written, nothing checked but its form.
#[derive(Default)]
struct RawHeader<'a> {
    tensors: Vec<(String, RawTensor<'a>)>,
    metadata: Vec<(String, String)>,
}

struct RawTensor<'a> {
    dtype: Cow<'a, str>,
    dims: RawDims,
    begin: u64,
    end: u64,
}

impl RawTensor<'_> {
    fn check(self, name: String, data_len: u64) -> Result<Entry, Error> {
        let Some(dtype) = DType::from_name(&self.dtype) else {
            return Err(ErrorKind::UnknownDType { tensor: name, dtype: self.dtype.into_owned() }.into());
        };
        let shape = match self.dims.shape() {
            Ok(shape) => shape,
            Err(source) => return Err(ErrorKind::Shape { tensor: name, source }.into()),
        };
        let (begin, end) = (self.begin, self.end);
        if begin > end || end > data_len {
            return Err(ErrorKind::Offsets { tensor: name, begin, end, len: data_len }.into());
        }
        // The element count is at most `isize::MAX` and a size at most 8, so only the product needs care.
        let needed = (shape.len() as u64).saturating_mul(dtype.size() as u64);
        if needed != end - begin {
            return Err(ErrorKind::ByteCount { tensor: name, dtype, shape, needed, len: end - begin }.into());
        }
        // Both bounds are at most the length of a slice, so they fit.
        Ok(Entry { name, dtype, shape, range: begin as usize..end as usize })
    }
}

/// The dimensions of a header, without an allocation that the header's length would not bound.
struct RawDims {
    dims: [u64; MAX_RANK],
    rank: usize,
}

impl RawDims {
    fn shape(&self) -> Result<Shape, kernform_tensor::ShapeError> {
        use kernform_tensor::ShapeError;

        let mut dims = [0; MAX_RANK];
        let used = dims.get_mut(..self.rank).ok_or(ShapeError::TooManyDims { rank: self.rank })?;
        for (to, &from) in used.iter_mut().zip(&self.dims) {
            *to = usize::try_from(from).map_err(|_| ShapeError::Overflow)?;
        }
        Shape::new(used)
    }
}

impl<'de> Deserialize<'de> for RawDims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Dims;

        impl<'de> Visitor<'de> for Dims {
            type Value = RawDims;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<RawDims, A::Error> {
                let mut raw = RawDims { dims: [0; MAX_RANK], rank: 0 };
                while let Some(dim) = list.next_element()? {
                    // More are counted, and refused when the shape is made.
                    if let Some(place) = raw.dims.get_mut(raw.rank) {
                        *place = dim;
                    }
                    raw.rank += 1;
                }
                Ok(raw)
            }
        }

        deserializer.deserialize_seq(Dims)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawTensor<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        struct Fields<'f> {
            #[serde(borrow)]
            dtype: Cow<'f, str>,
            shape: RawDims,
            data_offsets: (u64, u64),
        }

        let Fields { dtype, shape, data_offsets: (begin, end) } = Fields::deserialize(deserializer)?;
        Ok(Self { dtype, dims: shape, begin, end })
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawHeader<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tensors;

        impl<'de> Visitor<'de> for Tensors {
            type Value = RawHeader<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object that describes a tensor under each name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader<'de>, A::Error> {
                let mut raw = RawHeader::default();
                let mut has_metadata = false;
                while let Some(name) = map.next_key::<String>()? {
                    if name != METADATA_KEY {
                        raw.tensors.push((name, map.next_value()?));
                    } else if core::mem::replace(&mut has_metadata, true) {
                        map.next_value::<IgnoredAny>()?;
                        return Err(A::Error::custom("`__metadata__` is there twice"));
                    } else {
                        raw.metadata = map.next_value::<Texts>()?.0;
                    }
                }
                Ok(raw)
            }
        }

        deserializer.deserialize_map(Tensors)
    }
}

/// The free texts of a header.
struct Texts(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Texts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_unit<E>(self) -> Result<Texts, E> {
                Ok(Texts(Vec::new()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
                let mut texts = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    texts.push(pair);
                }
                Ok(Texts(texts))
            }
        }

        deserializer.deserialize_any(Pairs)
    }
}
