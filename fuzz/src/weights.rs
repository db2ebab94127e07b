//! Weights files: what is accepted is finite and of the layout, and written again it is read again.

use lockstep_proto::layout::{Layout, TensorShape};
use lockstep_run::weights_file::{Stamp, read_stamped, to_bytes, weights_hash};

use crate::budget::Budget;
use crate::{input, scratch, seal};

/// The header is read whole, as JSON.
const BUDGET: Budget = Budget { fixed: 64 << 10, per_byte: 128 };

/// Small networks, chosen by an input's first choice.
pub(crate) fn layout(inputs: usize) -> Layout {
    let shape = |inputs: usize, units: usize, bias: bool| {
        let mut tensors = vec![TensorShape::new("kernel", [inputs, units])];
        if bias {
            tensors.push(TensorShape::new("bias", [units]));
        }
        tensors
    };
    Layout::new(&[shape(inputs, 2, true), shape(2, 1, false)])
}

/// Reads a file as it is, and with a right hash in its stamp.
pub fn check(data: &[u8]) {
    let (mut choose, file) = input::split(data);
    let layout = layout(choose.of(&[2, 1, 3]));
    read(file, &layout);
    let names = layout.tensors().iter().map(|tensor| tensor.name.as_str());
    if let Some(sealed) = seal::weights(file, names) {
        read(&sealed, &layout);
    }
}

fn read(file: &[u8], layout: &Layout) {
    let path = scratch::write("weights.safetensors", file);
    let found = BUDGET.hold(file.len(), || read_stamped(&path, layout));
    let Ok((weights, stamp)) = found else { return };
    assert_eq!(weights.len(), layout.len());
    assert!(weights.iter().all(|weight| weight.is_finite()));
    let hash = weights_hash(&weights);
    let stamp = match stamp {
        Some(stamp) => stamp,
        None => Stamp { format: 1, step: 0, weights_blake3: hash.clone(), origin_blake3: None },
    };
    assert_eq!(stamp.weights_blake3, hash);
    let bytes = to_bytes(layout, &weights, &stamp).expect("a layout's tensors can be written");
    let path = scratch::write("weights.safetensors", &bytes);
    let (again, found) = read_stamped(&path, layout).expect("what was written");
    let bits = |weights: &[f32]| weights.iter().map(|weight| weight.to_bits()).collect::<Vec<_>>();
    assert_eq!((bits(&again), found), (bits(&weights), Some(stamp)));
}
