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
//! | layer | what it does |
//! | --- | --- |
//! | [`Dense`] | a weighted sum of the values for each of its units, and an [`Activation`] |
//! | [`Dropout`] | in training, values become 0 at random |
//! | [`LayerNorm`], [`BatchNorm`] | mean 0 and variance 1, of each row, or of each value over rows |
//! | [`Residual`] | what goes into its layers is added to what comes out |
//! | [`Conv2d`] | a weighted sum of what a window sees, at each of its positions on an image |
//! | [`MaxPool`], [`AvgPool`], [`GlobalMaxPool`], [`GlobalAvgPool`] | the largest value or the mean of a window, or of all pixels |
//! | [`Flatten`] | an image as a row, for what comes behind it |
//! | [`RandomFlip`], [`RandomTranslation`], [`RandomCrop`] | in training, images are moved at random |
//!
//! A layer that is `frozen()` keeps the weights that it begins with: those of
//! [`initial_weights`](crate::sequential::Sequential::initial_weights), for fine-tuning. Columns of categories that are embedded are no
//! layer, but [said of the table](crate::tables::Column::embedding).
//!
//! Layers of images ([`Conv2d`], [`MaxPool`] and so on) need rows that are images: with arrays,
//! [`take_images`](crate::sequential::Sequential::take_images) says of which sides.

pub use lockstep_model::{
    Activation, AvgPool, BatchNorm, Conv2d, Dense, Dropout, FillMode, Flatten, FlipMode,
    GlobalAvgPool, GlobalMaxPool, Initializer, LayerNorm, LayerSpec, Loss, MaxPool, Metric,
    NetworkSpec, Padding, RandomCrop, RandomFlip, RandomTranslation, Residual,
};
