//! Weights to start from, as other programs write them into safetensors files: under our names, or under PyTorch's, in any
//! floating-point type. What was done to them is told.
//!
//! PyTorch calls a module's tensors `0.weight`, `0.bias`, `2.weight` and so on, those of batch normalization `running_mean` and
//! `running_var` besides, and counts its batches, which is passed over. Its linear layers have kernels `[out, in]`, and its
//! convolutions `[out, in, height, width]`: those are turned. What is behind a flattened image has its values channel by channel
//! there, and pixel by pixel here; so has what a residual block there adds to it. Modules are taken in the order of the numbers in their names, or of the letters.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::Path;

use lockstep_model::Flattened;
use lockstep_proto::layout::{Layout, Tensor};
use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensors};

use super::{STAMP, WeightsError, check_finite, no_tensor, open, read_stamped, unusable};

/// Weights, and what was done to make them of what was found.
#[derive(Debug)]
pub struct Imported {
    /// In the order of the layout.
    pub weights: Vec<f32>,
    /// What a user may want to know.
    pub notes: Vec<String>,
}

/// Where a tensor of the network is in a file.
struct Found<'a> {
    name: &'a str,
    info: &'a TensorInfo,
    /// Whether it is `[out, in]`, or `[out, in, height, width]`.
    is_turned: bool,
    /// Which of its sides are the values of an image, channel by channel.
    by_channels: Option<Flattened>,
}

/// Reads weights for this layout from a file of ours or of another program.
///
/// # Errors
/// If the file cannot be read, is damaged, or has no tensor of the right shape for each of the network's.
pub fn read(
    path: &Path,
    layout: &Layout,
    flattened: &[Flattened],
) -> Result<Imported, WeightsError> {
    let fail = |problem: String| WeightsError { path: path.to_path_buf(), problem };
    let file = open(path, layout)?;
    if file.metadata(STAMP).is_some() {
        let (weights, _) = read_stamped(path, layout)?;
        return Ok(Imported { weights, notes: Vec::new() });
    }
    let tensors = file.tensors().clone();
    // A bias may have the same name in both, as in modules that are called `layers`; no kernel has.
    let is_of_pytorch = modules(&tensors).is_some();
    let found = match is_of_pytorch {
        true => by_order(&tensors, layout, flattened),
        false => by_name(&tensors, layout),
    };
    let found = found.map_err(fail)?;
    let mut notes = Vec::new();
    let types: BTreeMap<String, Dtype> =
        found.iter().map(|found| (format!("{:?}", found.info.dtype), found.info.dtype)).collect();
    for (name, dtype) in types {
        match dtype {
            Dtype::F32 => {}
            Dtype::F64 => notes.push(format!("{name} values are rounded to F32")),
            _ => notes.push(format!("{name} values are taken as F32")),
        }
    }
    if is_of_pytorch {
        let pair = |(found, tensor): (&Found<'_>, &Tensor)| {
            let turned = match (found.is_turned, found.by_channels) {
                (true, Some(_)) => " (turned, its pixels in our order)",
                (false, Some(_)) => " (its pixels in our order)",
                (true, None) => " (turned)",
                (false, None) => "",
            };
            format!("{}{turned} is {}", found.name, tensor.name)
        };
        let pairs: Vec<String> = found.iter().zip(layout.tensors()).map(pair).collect();
        notes.push(format!("names as PyTorch has them: {}", pairs.join(", ")));
    }
    let bytes = file.bytes().map_err(|why| unusable(path, layout, why))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| fail(error.to_string()))?;
    let mut weights = vec![0.0; layout.len()];
    for (found, tensor) in found.iter().zip(layout.tensors()) {
        let view = file.tensor(found.name).map_err(|error| fail(error.to_string()))?;
        let values = numbers(found.info.dtype, view.data());
        let out = &mut weights[tensor.range.clone()];
        for (at, value) in values.enumerate() {
            out[found.place(at, &tensor.shape)] = value;
        }
    }
    check_finite(&weights).map_err(fail)?;
    Ok(Imported { weights, notes })
}

/// Reads the tensors that the network has under the same name and in the same shape, of a file of ours or in our names, into weights
/// that are fresh; and says which stay so.
///
/// # Errors
/// If the file cannot be read, is damaged, or has no such tensor.
pub fn read_matching(
    path: &Path,
    layout: &Layout,
    mut fresh: Vec<f32>,
) -> Result<Imported, WeightsError> {
    let fail = |problem: String| WeightsError { path: path.to_path_buf(), problem };
    let file = open(path, layout)?;
    let tensors = file.tensors().clone();
    let bytes = file.bytes().map_err(|why| unusable(path, layout, why))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| fail(error.to_string()))?;
    let (mut taken, mut skipped) = (0, Vec::new());
    for tensor in layout.tensors() {
        let info = tensors.get(&tensor.name);
        let found = info.ok_or_else(|| "is not in the file".to_string()).and_then(|info| {
            fits(&tensor.name, info, tensor, &tensor.shape)
                .map(|()| info.dtype)
                .map_err(|_| format!("is {:?} {:?} there", info.dtype, info.shape))
        });
        match found {
            Ok(dtype) => {
                let view = file.tensor(&tensor.name).map_err(|error| fail(error.to_string()))?;
                let out = &mut fresh[tensor.range.clone()];
                out.iter_mut().zip(numbers(dtype, view.data())).for_each(|(out, v)| *out = v);
                taken += 1;
            }
            Err(why) => skipped.push(format!("{} {:?} ({why})", tensor.name, tensor.shape)),
        }
    }
    if taken == 0 {
        let names: Vec<&str> = tensors.keys().take(8).map(String::as_str).collect();
        return Err(fail(format!(
            "none of its tensors ({}) has the name and the shape of one of the network's",
            names.join(", ")
        )));
    }
    check_finite(&fresh).map_err(fail)?;
    let mut notes = vec![format!("{taken} of {} tensors are taken", layout.tensors().len())];
    if !skipped.is_empty() {
        notes.push(format!("from the initializers start {}", skipped.join(", ")));
    }
    Ok(Imported { weights: fresh, notes })
}

impl Found<'_> {
    /// Where the network's tensor, of this shape, has the value at a place of the file's.
    fn place(&self, at: usize, shape: &[usize]) -> usize {
        let side = |place: usize, is_of_image: fn(&Flattened) -> bool| {
            let [height, width, channels] = match self.by_channels.filter(is_of_image) {
                Some(of) => of.image,
                None => return place,
            };
            let pixels = height * width;
            place % pixels * channels + place / pixels
        };
        let first = |place| side(place, |of| of.first);
        match (self.is_turned, shape) {
            (true, &[inputs, units]) => {
                first(at % inputs) * units + side(at / inputs, |of| of.last)
            }
            (true, &[height, width, channels, filters]) => {
                let (pixels, patch) = (height * width, height * width * channels);
                let (filter, channel, pixel) = (at / patch, at % patch / pixels, at % pixels);
                (pixel * channels + channel) * filters + filter
            }
            _ => first(at),
        }
    }
}

/// Each tensor of the network under its own name.
fn by_name<'a>(
    tensors: &'a BTreeMap<String, TensorInfo>,
    layout: &Layout,
) -> Result<Vec<Found<'a>>, String> {
    let mut all = Vec::new();
    for tensor in layout.tensors() {
        let Some((name, info)) = tensors.get_key_value(&tensor.name) else {
            return Err(no_tensor(&tensor.name, tensors));
        };
        fits(name, info, tensor, &tensor.shape)?;
        all.push(Found { name, info, is_turned: false, by_channels: None });
    }
    let is_known = |name: &&String| layout.tensors().iter().any(|tensor| tensor.name == **name);
    match tensors.keys().find(|name| !is_known(name)) {
        Some(name) => Err(format!("tensor {name} is not one of the network's")),
        None => Ok(all),
    }
}

/// The tensors of PyTorch's modules for those of the layers, in their order.
fn by_order<'a>(
    tensors: &'a BTreeMap<String, TensorInfo>,
    layout: &Layout,
    flattened: &[Flattened],
) -> Result<Vec<Found<'a>>, String> {
    let modules = modules(tensors).unwrap_or_default();
    let wanted: Vec<&[Tensor]> =
        layout.tensors().chunk_by(|a, b| module(&a.name) == module(&b.name)).collect();
    if modules.len() != wanted.len() {
        let names = |all: &[&str]| all.join(", ");
        let found: Vec<&str> = modules.iter().map(|(module, _)| *module).collect();
        let layers: Vec<&str> = wanted.iter().map(|tensors| module(&tensors[0].name)).collect();
        return Err(format!(
            "found weights of {} modules ({}), wanted those of {} layers ({})",
            found.len(),
            names(&found),
            layers.len(),
            names(&layers)
        ));
    }
    let mut all = Vec::new();
    for ((_, found), wanted) in modules.iter().zip(wanted) {
        if found.len() != wanted.len() {
            let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
            let layer: Vec<&str> = wanted.iter().map(|tensor| tensor.name.as_str()).collect();
            return Err(format!("found {}, wanted {}", names.join(", "), layer.join(", ")));
        }
        for (&(name, info), tensor) in found.iter().zip(wanted) {
            let is_turned = tensor.name.ends_with(".kernel");
            let shape = match (is_turned, tensor.shape.as_slice()) {
                (true, &[inputs, units]) => vec![units, inputs],
                (true, &[height, width, channels, filters]) => {
                    vec![filters, channels, height, width]
                }
                _ => tensor.shape.clone(),
            };
            fits(name, info, tensor, &shape)?;
            let by_channels = flattened.iter().find(|of| of.tensor == all.len()).copied();
            all.push(Found { name, info, is_turned, by_channels });
        }
    }
    Ok(all)
}

/// What PyTorch calls a module's tensors, in the order of a layer's of ours.
const OWN_NAMES: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// How many batches a module of PyTorch has seen: nothing that a layer needs.
const COUNTER: &str = ".num_batches_tracked";

/// A module and its tensors, in the order of [`OWN_NAMES`].
type Module<'a> = (&'a str, Vec<(&'a str, &'a TensorInfo)>);

/// PyTorch's modules in their order, if the file has nothing but their weights.
fn modules(tensors: &BTreeMap<String, TensorInfo>) -> Option<Vec<Module<'_>>> {
    let mut all: Vec<Module<'_>> = Vec::new();
    let is_weight = |name: &str| !name.ends_with(COUNTER);
    for (name, info) in tensors.iter().filter(|(name, _)| is_weight(name)) {
        let (of, _) = name.rsplit_once('.').filter(|(_, own)| OWN_NAMES.contains(own))?;
        match all.iter_mut().find(|(module, _)| *module == of) {
            Some((_, tensors)) => tensors.push((name.as_str(), info)),
            None => all.push((of, vec![(name.as_str(), info)])),
        }
    }
    for (_, tensors) in &mut all {
        let own = |name: &str| OWN_NAMES.iter().position(|own| name.ends_with(own));
        tensors.sort_by_key(|(name, _)| own(name));
    }
    all.sort_by(|(a, _), (b, _)| order(a, b));
    (!all.is_empty()).then_some(all)
}

/// What a tensor's name begins with.
fn module(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(module, _)| module)
}

/// Part by part, numbers as numbers.
fn order(a: &str, b: &str) -> Ordering {
    let part = |text: &str| (text.parse::<u64>().ok(), text.to_string());
    a.split('.').map(part).cmp(b.split('.').map(part))
}

/// That a tensor of the file is of a type that is taken and of this shape.
fn fits(name: &str, info: &TensorInfo, tensor: &Tensor, shape: &[usize]) -> Result<(), String> {
    let is_float = matches!(info.dtype, Dtype::F32 | Dtype::F64 | Dtype::F16 | Dtype::BF16);
    if is_float && info.shape == shape {
        return Ok(());
    }
    let for_ours = match tensor.name == name {
        true => String::new(),
        false => format!(" for {} {:?}", tensor.name, tensor.shape),
    };
    let wanted = if is_float { format!("{:?}", info.dtype) } else { "F32".to_string() };
    Err(format!(
        "tensor {name} is {:?} {:?}, wanted {wanted} {shape:?}{for_ours}",
        info.dtype, info.shape
    ))
}

/// The values of a tensor.
fn numbers(dtype: Dtype, bytes: &[u8]) -> Box<dyn Iterator<Item = f32> + '_> {
    let halves = || bytes.as_chunks().0.iter().map(|&bytes| u16::from_le_bytes(bytes));
    match dtype {
        Dtype::F64 => {
            let values = bytes.as_chunks().0.iter();
            Box::new(values.map(|&bytes| f64::from_le_bytes(bytes) as f32))
        }
        Dtype::F16 => Box::new(halves().map(half)),
        Dtype::BF16 => Box::new(halves().map(|bits| f32::from_bits(u32::from(bits) << 16))),
        _ => Box::new(bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes))),
    }
}

/// A number of IEEE 754's binary16.
fn half(bits: u16) -> f32 {
    let fraction = f32::from(bits & 0x3ff);
    let size = match bits >> 10 & 0x1f {
        0 => fraction * 2f32.powi(-24),
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        exponent => (fraction + 1024.0) * 2f32.powi(i32::from(exponent) - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

#[cfg(test)]
mod tests;
