//! Weights in several files, as an index places them.

use super::{Loading, Places, Shard};
use crate::{Error, ErrorKind, Json};
use alloc::string::ToString;
use alloc::vec::Vec;
use std::path::{Component, Path};

/// Opens all shards of an index and checks that it and they agree: every tensor is in exactly one shard, the one that
/// the index names.
pub(super) fn open(folder: &Path, index: &Json, loading: Loading) -> Result<(Vec<Shard>, Places), Error> {
    let weight_map = index.required("weight_map")?;
    let mut listed: Vec<(&str, &str)> = Vec::new();
    for (tensor, shard) in weight_map.entries()? {
        listed.push((tensor, shard.as_str()?));
    }
    let mut files: Vec<&str> = listed.iter().map(|&(_, shard)| shard).collect();
    files.sort_unstable();
    files.dedup();

    let mut shards = Vec::with_capacity(files.len());
    for file in &files {
        if !is_plain_name(file) {
            return Err(Error::from(ErrorKind::ShardName { shard: (*file).to_string() }).in_file(index.file()));
        }
        shards.push(Shard::open(&folder.join(file), loading)?);
    }
    check_shards(&listed, &files, &shards).map_err(|error| error.in_file(index.file()))?;

    let place = |shard| files.binary_search(&shard).unwrap_or_default();
    // The entries of a JSON object come sorted, so the places are.
    let places = listed.iter().map(|&(tensor, shard)| (tensor.to_string(), place(shard))).collect();
    Ok((shards, places))
}

/// Whether a name stays within the folder: one plain component that ends as the files of weights do.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let single = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    // Separators of other systems are refused everywhere, so that a folder is either good or bad on all of them.
    single && name.ends_with(".safetensors") && !name.contains(['/', '\\', ':', '\0'])
}

fn check_shards(listed: &[(&str, &str)], files: &[&str], shards: &[Shard]) -> Result<(), Error> {
    for (&file, shard) in files.iter().zip(shards) {
        for tensor in shard.header.names() {
            let found = listed.binary_search_by(|&(name, _)| name.cmp(tensor)).ok().map(|place| listed[place].1);
            if found != Some(file) {
                let listed = found.map(str::to_string);
                return Err(
                    ErrorKind::NotInIndex { tensor: tensor.to_string(), shard: file.to_string(), listed }.into()
                );
            }
        }
    }
    for &(tensor, file) in listed {
        let shard = files.binary_search(&file).ok().and_then(|place| shards.get(place));
        if !shard.is_some_and(|shard| shard.header.contains(tensor)) {
            return Err(ErrorKind::NotInShard { tensor: tensor.to_string(), shard: file.to_string() }.into());
        }
    }
    Ok(())
}
