//! Writing safetensors files.

use crate::{Error, ErrorKind, TensorView};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write as _;

/// The header's key for free texts, which no tensor can be named.
pub const METADATA_KEY: &str = "__metadata__";

const HEADER_ALIGNMENT: usize = 8;

/// A whole file in memory, from tensors and free texts.
///
/// Wider elements come first and the header is padded, so that every tensor is aligned in a mapped file; the same
/// tensors in the same order always give the same bytes.
///
/// # Errors
/// When a name is there twice or reserved, or there is no memory.
pub fn to_bytes(tensors: &[TensorView<'_>], metadata: &[(&str, &str)]) -> Result<Vec<u8>, Error> {
    let plan = Plan::new(tensors, metadata)?;
    let mut out = Vec::new();
    let len = plan.data_len.saturating_add(plan.header.len());
    out.try_reserve_exact(len).map_err(|_| ErrorKind::OutOfMemory { bytes: len as u64 })?;
    out.extend_from_slice(&plan.header);
    plan.order.iter().for_each(|tensor| out.extend_from_slice(tensor.bytes()));
    Ok(out)
}

/// Writes a file as [`to_bytes`] would, whole or not at all.
///
/// The bytes go to a new file beside `path`, which takes its name when it is complete and on the disk; a file that was
/// there before, perhaps mapped, is never seen half written.
///
/// # Errors
/// As [`to_bytes`], and when the file cannot be written.
#[cfg(feature = "std")]
pub fn write_file(path: &std::path::Path, tensors: &[TensorView<'_>], metadata: &[(&str, &str)]) -> Result<(), Error> {
    let plan = Plan::new(tensors, metadata)?;
    atomic::replace(path, |file| {
        use std::io::Write;

        let mut file = std::io::BufWriter::new(file);
        file.write_all(&plan.header)?;
        plan.order.iter().try_for_each(|tensor| file.write_all(tensor.bytes()))?;
        file.flush()
    })
    .map_err(|source| Error::from(ErrorKind::Io { action: "write the file", source }).in_file(&path.to_string_lossy()))
}

/// The header, with its length, and the order of the data.
struct Plan<'p, 'a> {
    header: Vec<u8>,
    order: Vec<&'p TensorView<'a>>,
    data_len: usize,
}

impl<'p, 'a> Plan<'p, 'a> {
    fn new(tensors: &'p [TensorView<'a>], metadata: &[(&str, &str)]) -> Result<Self, Error> {
        check_names(tensors.iter().map(TensorView::name))?;
        check_names(metadata.iter().map(|&(key, _)| key))?;
        if tensors.iter().any(|tensor| tensor.name() == METADATA_KEY) {
            return Err(ErrorKind::ReservedName { name: METADATA_KEY }.into());
        }
        let mut order: Vec<_> = tensors.iter().collect();
        order.sort_by_key(|tensor| core::cmp::Reverse(tensor.dtype().size()));

        let mut json = String::from("{");
        if !metadata.is_empty() {
            let texts: Vec<_> =
                metadata.iter().map(|(key, text)| alloc::format!("{}:{}", quoted(key), quoted(text))).collect();
            let _ = write!(json, "\"{METADATA_KEY}\":{{{}}}", texts.join(","));
        }
        let mut data_len = 0_usize;
        for tensor in &order {
            let begin = data_len;
            data_len = begin.checked_add(tensor.bytes().len()).ok_or(ErrorKind::OutOfMemory { bytes: u64::MAX })?;
            // Writing to a string cannot fail.
            let _ = write!(
                json,
                "{}{}:{{\"dtype\":\"{}\",\"shape\":{:?},\"data_offsets\":[{begin},{data_len}]}}",
                if json.len() > 1 { "," } else { "" },
                quoted(tensor.name()),
                tensor.dtype(),
                tensor.dims(),
            );
        }
        json.push('}');
        while !json.len().is_multiple_of(HEADER_ALIGNMENT) {
            json.push(' ');
        }
        let mut header = (json.len() as u64).to_le_bytes().to_vec();
        header.extend_from_slice(json.as_bytes());
        Ok(Self { header, order, data_len })
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn check_names<'n>(names: impl Iterator<Item = &'n str>) -> Result<(), Error> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(ErrorKind::Duplicate { name: twice[0].to_string() }.into()),
        None => Ok(()),
    }
}

#[cfg(feature = "std")]
mod atomic {
    use core::sync::atomic::{AtomicU32, Ordering};
    use std::ffi::OsString;
    use std::fs::{self, File};
    use std::io::{Error, ErrorKind, Result};
    use std::path::{Path, PathBuf};

    /// Puts a file that `write` has filled in the place of `path`, or leaves everything as it was.
    pub(super) fn replace(path: &Path, write: impl FnOnce(&File) -> Result<()>) -> Result<()> {
        let (temporary, file) = create_beside(path)?;
        let result = write(&file).and_then(|()| file.sync_all());
        drop(file);
        let result = result.and_then(|()| fs::rename(&temporary, path));
        if result.is_err() {
            // The first failure is the one to report.
            let _ = fs::remove_file(&temporary);
        }
        result
    }

    fn create_beside(path: &Path) -> Result<(PathBuf, File)> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);

        let name = path.file_name().ok_or_else(|| Error::from(ErrorKind::InvalidFilename))?;
        loop {
            let mut temporary = OsString::from(".");
            temporary.push(name);
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            temporary.push(std::format!(".{}-{number}.tmp", std::process::id()));
            let temporary = path.with_file_name(temporary);
            match File::create_new(&temporary) {
                Ok(file) => return Ok((temporary, file)),
                // Left by a process of the same number that was killed.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
}
