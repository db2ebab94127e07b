//! Layers, losses and metrics: what a model is made of, with Keras' names, formulas and defaults.
//!
//! ```
//! use lockstep::prelude::*;
//!
//! let mut model = Sequential::new();
//! model.add(Dense::new(32).activation(Activation::Relu));
//! model.add(Dropout::new(0.2));
//! model.add(LayerNorm::default());
//! model.add(Dense::new(10).activation(Activation::Softmax));
//! model.compile(adam(), Loss::CROSS_ENTROPY, &[Metric::Accuracy]);
//! ```
//!
//! Layers of images ([`Conv2d`], [`MaxPool`] and so on) need rows that are images: with arrays,
//! [`take_images`](crate::sequential::Sequential::take_images) says of which sides.

pub use lockstep_model::{
    Activation, AvgPool, BatchNorm, Conv2d, Dense, Dropout, FillMode, Flatten, FlipMode,
    GlobalAvgPool, GlobalMaxPool, Initializer, LayerNorm, LayerSpec, Loss, MaxPool, Metric,
    NetworkSpec, Padding, RandomCrop, RandomFlip, RandomTranslation, Residual,
};
