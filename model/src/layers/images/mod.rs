//! Layers of images: rows of three sides, height, width and channels, of which the last is the fastest, as in Keras.
//!
//! Whatever these compute of a row follows from the row, its identity and the tensors alone.

mod conv2d;
mod flatten;
mod global_pool;
mod grid;
mod moved;
mod pooling;
mod random_crop;
mod random_flip;
mod random_translation;
mod window_pool;

pub use conv2d::Conv2d;
pub use flatten::Flatten;
pub use global_pool::{GlobalAvgPool, GlobalMaxPool};
pub use grid::Padding;
pub use random_crop::RandomCrop;
pub use random_flip::{FlipMode, RandomFlip};
pub use random_translation::{FillMode, RandomTranslation};
pub use window_pool::{AvgPool, MaxPool};

/// Why what comes out cannot be what a network gives.
const LAST: &str =
    "its outputs are images: put a `flatten` or a global pooling layer and a dense one behind it";

/// Most height and width of images that are moved: places are drawn as numbers of 32 bits.
const MOVED_SIDE_MAX: usize = 1 << 24;

/// Why an image cannot be moved.
fn too_large(side: usize, name: &str) -> String {
    format!("found images of {name} {side}, wanted at most {MOVED_SIDE_MAX}")
}

/// Height, width and channels of rows that are images.
fn image(sides: &[usize]) -> Result<[usize; 3], String> {
    <[usize; 3]>::try_from(sides).map_err(|_| {
        let found = match sides {
            [values] => format!("rows of {}", lockstep_proto::words::count(*values as u64, "value")),
            _ => format!("rows of shape {sides:?}"),
        };
        format!(
            "found {found}, wanted images, of shape [height, width, channels]: put it before what makes rows of one side, and \
             where the table does not say that rows are images, set `data.image`"
        )
    })
}
