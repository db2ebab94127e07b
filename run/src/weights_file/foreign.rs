//! Weights files of other programs, told apart by what is in them, and how each becomes one of ours.
//!
//! Reads none of them: that is for the programs that wrote them.

use std::io::Read as _;
use std::path::Path;

use lockstep_proto::layout::Layout;

use crate::read_file;

/// Bytes at the beginning of a file that are looked at.
const LOOK_BYTES: u64 = 64 << 10;

/// How a safetensors file of another type is converted.
pub(super) const CONVERT: &str = "from safetensors.numpy import load_file, save_file; t = load_file(\"IN\"); \
     save_file({k: v.astype(\"float32\") for k, v in t.items()}, \"OUT.safetensors\")";

/// Where such a file's weights come from, as lines of Python that end with a list of arrays.
struct Kind {
    what: &'static str,
    load: &'static str,
}

const PYTORCH: Kind = Kind {
    what: "a PyTorch checkpoint",
    load: "import torch; w = [(t.T if t.ndim == 2 else t).numpy() for t in torch.load(\"IN\", \
           map_location=\"cpu\").values()]",
};
const KERAS: Kind = Kind {
    what: "a Keras model",
    load: "import keras; w = keras.models.load_model(\"IN\").get_weights()",
};
const HDF5: Kind = Kind {
    what: "an HDF5 file, as Keras writes them",
    load: "import keras; w = keras.models.load_model(\"IN\").get_weights()",
};
const NPZ: Kind =
    Kind { what: "a NumPy archive", load: "import numpy; w = list(numpy.load(\"IN\").values())" };
const NPY: Kind = Kind { what: "a NumPy array", load: "import numpy; w = [numpy.load(\"IN\")]" };
const PICKLE: Kind = Kind {
    what: "a Python pickle",
    load: "import torch; w = [(t.T if t.ndim == 2 else t).numpy() for t in torch.load(\"IN\", \
           map_location=\"cpu\").values()]",
};

/// What to say of a file that is none of ours, if it is a known one of another program.
pub(super) fn advice(path: &Path, layout: &Layout) -> Option<String> {
    let mut head = Vec::new();
    read_file::open(path).ok()?.0.take(LOOK_BYTES).read_to_end(&mut head).ok()?;
    let Kind { what, load } = kind(&head)?;
    let names: Vec<String> =
        layout.tensors().iter().map(|tensor| format!("\"{}\"", tensor.name)).collect();
    let load = load.replace("IN", &path.file_name()?.to_string_lossy());
    Some(format!(
        "it is {what}, wanted a safetensors file with the tensors of this network; in Python: {load}; \
         import numpy, safetensors.numpy as s; s.save_file(dict(zip([{}], [numpy.ascontiguousarray(a, \"float32\") for a \
         in w])), \"weights.safetensors\")",
        names.join(", ")
    ))
}

fn kind(head: &[u8]) -> Option<Kind> {
    let has = |text: &str| head.windows(text.len()).any(|window| window == text.as_bytes());
    match head {
        // Zip archives: the names in them say whose.
        [b'P', b'K', 3, 4, ..] if has("data.pkl") => Some(PYTORCH),
        [b'P', b'K', 3, 4, ..] if has("model.weights.h5") || has("config.json") => Some(KERAS),
        [b'P', b'K', 3, 4, ..] if has(".npy") => Some(NPZ),
        [0x89, b'H', b'D', b'F', ..] => Some(HDF5),
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some(NPY),
        [0x80, 2..=5, ..] if has("torch") => Some(PYTORCH),
        [0x80, 2..=5, ..] => Some(PICKLE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_content() {
        for (head, what) in [
            (&b"PK\x03\x04..archive/data.pkl"[..], Some("a PyTorch checkpoint")),
            (b"PK\x03\x04..metadata.json..config.json", Some("a Keras model")),
            (b"PK\x03\x04..arr_0.npy", Some("a NumPy archive")),
            (b"\x89HDF\r\n\x1a\n", Some("an HDF5 file, as Keras writes them")),
            (b"\x93NUMPY\x01\x00", Some("a NumPy array")),
            (b"\x80\x02ctorch._utils", Some("a PyTorch checkpoint")),
            (b"\x80\x04\x95", Some("a Python pickle")),
            (b"PK\x03\x04..word/document.xml", None),
            (b"a,b,c\n", None),
            (b"", None),
        ] {
            assert_eq!(kind(head).map(|kind| kind.what), what, "{head:?}");
        }
    }
}
