//! Safetensors files, read with care: the header first, which says how long the file has to be, and the values only once
//! whoever reads them has found them to be what it wants.
//!
//! What is wanted sets what is allocated, never what a file claims. Knows nothing of networks or runs.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::TensorInfo;
use serde::Deserialize;

use crate::job::plain;
use crate::read_file;

/// Longest header that is read; one of ours has some hundred bytes a layer.
const HEADER_BYTES_MAX: u64 = 16 << 20;

/// The length of the header stands before it.
const PREFIX_BYTES: u64 = 8;

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "__metadata__")]
    metadata: Option<HashMap<String, String>>,
    #[serde(flatten)]
    tensors: BTreeMap<String, TensorInfo>,
}

/// Why a file cannot be used, in words that follow its name.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// It cannot be read.
    Unreadable(String),
    /// It is no whole safetensors file.
    Damaged(String),
}

/// A file of which the header has been read.
pub(crate) struct TensorFile {
    file: File,
    length: u64,
    /// All that was read so far.
    read: Vec<u8>,
    header: Header,
}

impl TensorFile {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// If it cannot be read, or is no whole safetensors file.
    pub(crate) fn open(path: &Path) -> Result<TensorFile, Unusable> {
        let (mut file, length) = read_file::open(path).map_err(unreadable)?;
        let mut read = vec![0; PREFIX_BYTES.min(length) as usize];
        file.read_exact(&mut read).map_err(unreadable)?;
        let Ok(prefix) = <[u8; PREFIX_BYTES as usize]>::try_from(&read[..]) else {
            return Err(Unusable::Damaged(format!("it has {length} bytes")));
        };
        let header_bytes = u64::from_le_bytes(prefix);
        if header_bytes > HEADER_BYTES_MAX.min(length - PREFIX_BYTES) {
            let problem = format!("its header would have {header_bytes} bytes, it has {length}");
            return Err(Unusable::Damaged(problem));
        }
        read.resize((PREFIX_BYTES + header_bytes) as usize, 0);
        file.read_exact(&mut read[PREFIX_BYTES as usize..]).map_err(unreadable)?;
        let header: Header = serde_json::from_slice(&read[PREFIX_BYTES as usize..])
            .map_err(|error| Unusable::Damaged(format!("its header: {error}")))?;
        let ends = header.tensors.values().map(|info| info.data_offsets.1 as u64);
        let wanted = ends.max().unwrap_or(0).saturating_add(read.len() as u64);
        if wanted != length {
            let problem = format!("it has {length} bytes, its header says {wanted}");
            return Err(Unusable::Damaged(problem));
        }
        Ok(TensorFile { file, length, read, header })
    }

    /// A text of its metadata.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.header.metadata.as_ref()?.get(key).map(String::as_str)
    }

    /// What its header says of each tensor, by name.
    pub(crate) fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.header.tensors
    }

    /// The whole file, for [`SafeTensors::deserialize`]. As long as the header says, so what is in that should have been
    /// looked at.
    ///
    /// # Errors
    /// If it cannot be read, or is no whole safetensors file.
    pub(crate) fn bytes(self) -> Result<Vec<u8>, Unusable> {
        let TensorFile { file, length, mut read, .. } = self;
        let rest = length - read.len() as u64;
        read.reserve_exact(rest as usize);
        file.take(rest).read_to_end(&mut read).map_err(unreadable)?;
        match SafeTensors::deserialize(&read) {
            Ok(_) => Ok(read),
            Err(error) => Err(Unusable::Damaged(error.to_string())),
        }
    }
}

fn unreadable(error: io::Error) -> Unusable {
    Unusable::Unreadable(format!("cannot read it: {}", plain(&error)))
}
