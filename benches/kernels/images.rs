//! Convolutions beside the plain product of their patches: as many rows as there are positions.

use lockstep_model::{Conv2d, GlobalAvgPool, LayerSpec, Loss, NetworkSpec};

use crate::{Plain, Subject, least, print};

/// Height, width and channels, filters of 3 x 3, and rows.
const CONVOLUTIONS: [([usize; 3], usize, usize); 4] = [
    ([28, 28, 1], 32, 32),
    ([26, 26, 32], 32, 16),
    ([13, 13, 32], 64, 32),
    ([14, 14, 128], 128, 8),
];

pub(crate) fn measure(is_wanted: impl Fn(&str) -> bool) {
    for (sides, filters, rows) in CONVOLUTIONS {
        let [height, width, channels] = sides;
        let name = format!("conv2d {height}x{width}x{channels}-{filters}");
        if is_wanted(&name) {
            convolution(&name, sides, filters, rows);
        }
    }
}

/// The mean of each channel goes with ours, in all but the slopes by the inputs: what it adds is small.
fn convolution(name: &str, sides: [usize; 3], filters: usize, rows: usize) {
    let [height, width, channels] = sides;
    let (positions, patch) = (rows * (height - 2) * (width - 2), 9 * channels);
    let flops = 2.0 * (patch * filters * positions) as f64;
    let pooled = || LayerSpec::from(GlobalAvgPool::new());
    let conv = |filters: usize, size: [usize; 2]| LayerSpec::from(Conv2d::new(filters, size));
    let mut subject = images(sides, vec![conv(filters, [3, 3]), pooled()], rows);
    // One behind another that is cheap, for the slopes before.
    let cheap = || conv(channels, [1, 1]);
    let mut both = images(sides, vec![cheap(), conv(filters, [3, 3]), pooled()], rows);
    let mut first = images(sides, vec![cheap(), pooled()], rows);
    let mut plain = Plain::new(patch, filters, positions);
    let [forward, ours] = least(|| [plain.forward(), subject.forward()]);
    print("forward", name, rows, None, flops, [forward, ours]);
    for leaf in [16, usize::MAX] {
        let [dw, all, forward] = least(|| [plain.dw(), subject.gradient(leaf), subject.forward()]);
        print("dW (by difference)", name, rows, Some(leaf), flops, [dw, all - forward]);
    }
    let [dx, both, rest, first] =
        least(|| [plain.dx(), both.gradient(rows), subject.gradient(rows), first.gradient(rows)]);
    print("dX (by difference)", name, rows, None, flops, [dx, both - rest - first]);
}

fn images(sides: [usize; 3], layers: Vec<LayerSpec>, rows: usize) -> Subject {
    let (inputs, image) = (sides.iter().product(), Some(sides));
    let (loss, embeddings, metrics, units) = (Loss::Mse, Vec::new(), Vec::new(), Vec::new());
    Subject::new_of(NetworkSpec { inputs, image, embeddings, layers, loss, metrics, units }, rows)
}
