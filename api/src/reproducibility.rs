//! Reproducibility: the same bits, and what changes them.
//!
//! Rows are divided into a fixed number of shards. Each shard's gradient sum is computed in one order, and the sums are added up a fixed
//! binary tree over the shards. Workers, threads, machines and what fails decide who computes a part, never its value.
//!
//! What changes the weights: the rows and their order, the layers, the loss, the optimizer, and of a [`Fit`](crate::training::Fit) the
//! epochs, the batch size, the seed, shuffling, the shards, the precision, clipping, and what is held out or weighs more. What does not:
//! [`workers`](crate::training::Fit::workers), [`threads`](crate::training::Fit::threads), the
//! [`cluster`](crate::training::Fit::cluster), what is shown, and callbacks, unless they end the fit; and whether a fit was interrupted and
//! [resumed](crate::training::Fit::resume).
//!
//! The command line's run of the same job has the same weights, and so the same hash.
//!
//! ```
//! use lockstep::prelude::*;
//! use lockstep::ndarray::Array2;
//!
//! let x = Array2::from_shape_fn((40, 3), |(row, column)| ((row + 2 * column) % 9) as f32);
//! let y = Array2::from_shape_fn((40, 1), |(row, _)| (row % 4) as f32);
//! let hash = |workers, threads| {
//!     let mut model = Sequential::new();
//!     model.add(Dense::new(5).activation(Activation::Tanh));
//!     model.add(Dense::new(1));
//!     model.compile(adam(), Loss::Mse, &[]);
//!     let fit = Fit::new().epochs(2).batch_size(8).workers(workers).threads(threads);
//!     model.fit(x.view(), y.view(), &fit)?;
//!     Ok::<_, lockstep::Error>(model.weights_hash().unwrap())
//! };
//! assert_eq!(hash(1, 1)?, hash(3, 2)?);
//! # Ok::<(), lockstep::Error>(())
//! ```
//!
//! Equal bits are promised between equal versions of this crate.
