//! Layers: one file each behind one trait, and the one list of them.
//!
//! A [`Layer`](layer::Layer) says what it is called, which parameters and tensors it has, and, as a [`Stage`](layer::Stage),
//! how it computes forward and backward. To add one, write it and add it to [`LAYERS`]: job files, the JSON form, layout, chunks, checkpoints, initial
//! weights, `check` and the passes follow from what it says. Nothing else knows layers by name.
//!
//! Refuses what would make a row's result depend on a worker, a thread, a call, or which rows of other
//! microbatches were computed with it.

mod batch_norm;
mod dense;
mod dropout;
mod images;
mod layer;
mod layer_norm;
mod residual;
mod spec;

pub use batch_norm::BatchNorm;
pub use dense::Dense;
pub use dropout::Dropout;
pub use images::{
    AvgPool, Conv2d, FillMode, Flatten, FlipMode, GlobalAvgPool, GlobalMaxPool, MaxPool, Padding,
    RandomCrop, RandomFlip, RandomTranslation,
};
pub(crate) use layer::{
    Backward, Described, Forward, Gradient, Layer, Shape, Slopes, Stage, Tensor, TensorPart,
    Tensors, with_scratch,
};
pub use layer_norm::LayerNorm;
pub use residual::Residual;
pub use spec::LayerSpec;

/// Makes a layer whose required parameters are still to be filled in.
type MakeLayer = fn() -> LayerSpec;

/// Every layer by its name in a job, in the order in which messages list them. The first is the one that JSON without a type
/// stands for, as the first version wrote it.
static LAYERS: &[(&str, MakeLayer)] = &[
    ("dense", || Dense::new(0).into()),
    ("dropout", || Dropout::new(0.0).into()),
    ("layer_norm", || LayerNorm::new().into()),
    ("residual", || Residual::new().into()),
    ("batch_norm", || BatchNorm::new().into()),
    ("conv2d", || Conv2d::new(0, [1, 1]).into()),
    ("max_pool", || MaxPool::default().into()),
    ("avg_pool", || AvgPool::default().into()),
    ("global_avg_pool", || GlobalAvgPool::new().into()),
    ("global_max_pool", || GlobalMaxPool::new().into()),
    ("flatten", || Flatten::new().into()),
    ("random_flip", || RandomFlip::default().into()),
    ("random_translation", || RandomTranslation::new(0.0, 0.0).into()),
    ("random_crop", || RandomCrop::default().into()),
];

#[cfg(test)]
mod tests {
    use lockstep_parameters::{Choice, names};

    use super::*;

    #[test]
    fn every_layer_is_listed_under_its_own_name() {
        for (name, make) in LAYERS {
            let mut layer = make();
            assert_eq!(layer.name(), *name);
            assert_eq!(LayerSpec::named(name), Some(make()));
            let names = names(layer.parameters());
            assert!(!names.contains(&"type"), "{names:?}");
        }
        assert_eq!(LayerSpec::named("conv3d"), None);
    }
}
