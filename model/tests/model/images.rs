//! Layers of images: an `f64` reference written from Keras' definitions, gradients against its finite differences, and bits that
//! do not depend on what else is computed.

use std::ops::Range;

use crate::common::{
    Identity, SEED, STEP, bits, bits_f64, data, dense, gradient, microbatches, of_images,
    parameters, reference_activation,
};
use crate::gradients::{ACTIVATIONS, check};
use lockstep_model::{
    Activation, AvgPool, BatchNorm, Conv2d, Dense, Dropout, FillMode, Flatten, Flattened, FlipMode,
    GlobalAvgPool, GlobalMaxPool, LayerNorm, LayerSpec, Loss, MaxPool, Network, NetworkSpec,
    Padding, RandomCrop, RandomFlip, RandomTranslation, Residual, Workspace,
};
use lockstep_proto::random::{Purpose, Random};
use lockstep_proto::tree::Node;

/// What the reference makes of a row.
pub(crate) struct Made {
    pub(crate) values: Vec<f64>,
    pub(crate) sides: Vec<usize>,
    /// How many of the parameters it took.
    pub(crate) params: usize,
}

/// What a layer of images makes of a row of these sides; `None` if it is another layer.
pub(crate) fn reference_image(
    layer: &LayerSpec,
    (number, row): (u32, Identity),
    sides: &[usize],
    params: &[f64],
    values: &[f64],
) -> Option<Made> {
    if layer.get::<Flatten>().is_some() {
        return Some(Made { values: values.to_vec(), sides: vec![values.len()], params: 0 });
    }
    let &[height, width, channels] = sides else { return None };
    let image = Image { height, width, channels, values };
    if let Some(conv) = layer.get::<Conv2d>() {
        return Some(reference_conv(conv, &image, params));
    }
    if let Some(moved) = reference_moved(layer, number, row, &image) {
        return Some(moved);
    }
    let valid = Padding::Valid;
    let (size, strides, padding, is_max, is_global) = if let Some(pool) = layer.get::<MaxPool>() {
        (pool.pool_size, pool.strides, pool.padding, true, false)
    } else if let Some(pool) = layer.get::<AvgPool>() {
        (pool.pool_size, pool.strides, pool.padding, false, false)
    } else if layer.get::<GlobalMaxPool>().is_some() {
        ([height, width], None, valid, true, true)
    } else if layer.get::<GlobalAvgPool>().is_some() {
        ([height, width], None, valid, false, true)
    } else {
        return None;
    };
    let rows = positions(height, size[0], strides.unwrap_or(size)[0], padding);
    let columns = positions(width, size[1], strides.unwrap_or(size)[1], padding);
    let mut made = Vec::new();
    for &y in &rows {
        for &x in &columns {
            for channel in 0..channels {
                let seen: Vec<f64> = image.window(y, x, size, channel).flatten().collect();
                made.push(match is_max {
                    true => seen.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    false => seen.iter().sum::<f64>() / seen.len() as f64,
                });
            }
        }
    }
    let sides = match is_global {
        true => vec![channels],
        false => vec![rows.len(), columns.len(), channels],
    };
    Some(Made { values: made, sides, params: 0 })
}

struct Image<'a> {
    height: usize,
    width: usize,
    channels: usize,
    values: &'a [f64],
}

impl Image<'_> {
    /// What a window sees in one channel, row by row; nothing beyond the edge.
    fn window(
        &self,
        y: isize,
        x: isize,
        size: [usize; 2],
        channel: usize,
    ) -> impl Iterator<Item = Option<f64>> {
        let within = |at: isize, len: usize| (0..len as isize).contains(&at).then_some(at as usize);
        (0..size[0] * size[1]).map(move |place| {
            let row = within(y + (place / size[1]) as isize, self.height)?;
            let column = within(x + (place % size[1]) as isize, self.width)?;
            Some(self.values[(row * self.width + column) * self.channels + channel])
        })
    }
}

/// Where a window begins along a side.
fn positions(len: usize, size: usize, stride: usize, padding: Padding) -> Vec<isize> {
    let (count, before) = match padding {
        Padding::Valid => ((len - size) / stride + 1, 0),
        Padding::Same => {
            let count = len.div_ceil(stride);
            (count, ((count - 1) * stride + size).saturating_sub(len) / 2)
        }
    };
    (0..count).map(|at| (at * stride) as isize - before as isize).collect()
}

fn reference_conv(conv: &Conv2d, image: &Image<'_>, params: &[f64]) -> Made {
    let (size, channels, filters) = (conv.kernel_size, image.channels, conv.filters);
    let (kernel, rest) = params.split_at(size[0] * size[1] * channels * filters);
    let bias = &rest[..if conv.use_bias { filters } else { 0 }];
    let rows = positions(image.height, size[0], conv.strides[0], conv.padding);
    let columns = positions(image.width, size[1], conv.strides[1], conv.padding);
    let mut values = Vec::new();
    for &y in &rows {
        for &x in &columns {
            for filter in 0..filters {
                let mut sum = bias.get(filter).copied().unwrap_or(0.0);
                for channel in 0..channels {
                    for (place, value) in image.window(y, x, size, channel).enumerate() {
                        let weight = kernel[(place * channels + channel) * filters + filter];
                        sum += value.unwrap_or(0.0) * weight;
                    }
                }
                values.push(sum);
            }
        }
    }
    let values = reference_activation(conv.activation, &values);
    Made {
        values,
        sides: vec![rows.len(), columns.len(), filters],
        params: kernel.len() + bias.len(),
    }
}

/// As the numerics contract has it.
fn reference_moved(
    layer: &LayerSpec,
    number: u32,
    row: Identity,
    image: &Image<'_>,
) -> Option<Made> {
    let &Image { height, width, channels, values } = image;
    let mut random = row.map(|(shard, place)| {
        let counter = (u64::from(shard) << 32) + place as u64;
        Random::new(SEED, Purpose::Augmentation { layer: number }, STEP, counter)
    });
    let (mut sides, mut fill) = ([height, width], 0.0);
    // From which row and column a row and a column is taken.
    let source: Box<dyn Fn(usize, isize) -> Option<isize>> =
        if let Some(flip) = layer.get::<RandomFlip>() {
            let mut draws = || random.as_mut().is_some_and(|random| random.unit_f32() < 0.5);
            let (horizontal, vertical) = (draws(), draws());
            let flips = [
                vertical && flip.mode != FlipMode::Horizontal,
                horizontal && flip.mode != FlipMode::Vertical,
            ];
            let last = [height as isize - 1, width as isize - 1];
            Box::new(move |side, at| Some(if flips[side] { last[side] - at } else { at }))
        } else if let Some(moved) = layer.get::<RandomTranslation>() {
            fill = f64::from(moved.fill_value);
            let mut shift = |side: usize, factor: f32| {
                let most = (side as f64 * f64::from(factor)).floor() as u32;
                let drawn = random.as_mut().map(|random| random.below(2 * most + 1));
                drawn.map_or(0, |drawn| drawn as isize - most as isize)
            };
            let by = [shift(height, moved.height_factor), shift(width, moved.width_factor)];
            let (sides, mode) = ([height as isize, width as isize], moved.fill_mode);
            Box::new(move |side, at| {
                let (mut from, len) = (at - by[side], sides[side]);
                while !(0..len).contains(&from) {
                    from = match (mode, from < 0) {
                        (FillMode::Constant, _) => return None,
                        (FillMode::Nearest, true) => 0,
                        (FillMode::Nearest, false) => len - 1,
                        (FillMode::Wrap, true) => from + len,
                        (FillMode::Wrap, false) => from - len,
                        (FillMode::Reflect, true) => -1 - from,
                        (FillMode::Reflect, false) => 2 * len - 1 - from,
                    };
                }
                Some(from)
            })
        } else {
            let crop = layer.get::<RandomCrop>()?;
            sides = [crop.height, crop.width];
            let mut place = |left: usize| match &mut random {
                Some(random) => random.below(left as u32 + 1) as isize,
                None => (left / 2) as isize,
            };
            let first = [place(height - crop.height), place(width - crop.width)];
            Box::new(move |side, at| Some(first[side] + at))
        };
    let mut made = Vec::new();
    for (y, x) in (0..sides[0]).flat_map(|y| (0..sides[1]).map(move |x| (y, x))) {
        let from = source(0, y as isize).zip(source(1, x as isize));
        made.extend((0..channels).map(|channel| match from {
            Some((y, x)) => values[(y as usize * width + x as usize) * channels + channel],
            None => fill,
        }));
    }
    Some(Made { values: made, sides: vec![sides[0], sides[1], channels], params: 0 })
}

fn conv(filters: usize, size: [usize; 2]) -> Conv2d {
    Conv2d::new(filters, size).activation(Activation::Tanh)
}

fn linear() -> LayerSpec {
    dense(2, Activation::Linear)
}

#[test]
fn convolutions() {
    for padding in [Padding::Valid, Padding::Same] {
        for (size, strides) in [
            ([1, 1], [1, 1]),
            ([3, 3], [1, 1]),
            ([2, 3], [2, 1]),
            ([3, 2], [1, 3]),
            ([4, 4], [3, 2]),
            ([1, 2], [2, 3]),
        ] {
            for (sides, filters) in [([5, 4, 1], 3), ([4, 5, 2], 1)] {
                let layer = conv(filters, size).strides(strides).padding(padding);
                let below = conv(sides[2], [2, 2]).padding(Padding::Same);
                let what = format!("{sides:?} {layer:?}");
                let layers = vec![below.into(), layer.into(), Flatten::new().into(), linear()];
                check(&of_images(sides, layers, Loss::Mse, &[]), 5, &what);
            }
        }
    }
    // That of a whole row is refused.
    for &activation in ACTIVATIONS.iter().filter(|&&other| other != Activation::Softmax) {
        let layer = conv(2, [2, 2]).activation(activation);
        for layer in [layer.clone(), layer.without_bias()] {
            let layers =
                vec![layer.clone().into(), layer.into(), GlobalAvgPool::new().into(), linear()];
            check(&of_images([4, 4, 1], layers, Loss::Mse, &[]), 5, &format!("{activation}"));
        }
    }
    // Windows that are larger than the image, and more positions than are computed at a time.
    let wide = conv(2, [5, 7]).padding(Padding::Same);
    let layers = vec![wide.clone().into(), wide.into(), Flatten::new().into(), linear()];
    check(&of_images([2, 3, 2], layers, Loss::Mse, &[]), 5, "windows beyond the image");
}

#[test]
fn pooling() {
    for padding in [Padding::Valid, Padding::Same] {
        for (size, strides) in
            [([2, 2], None), ([2, 3], None), ([3, 3], Some([1, 2])), ([1, 2], Some([3, 1]))]
        {
            let (mut max, mut mean) = (MaxPool::new(size), AvgPool::new(size));
            (max.padding, mean.padding, max.strides, mean.strides) =
                (padding, padding, strides, strides);
            for pool in [LayerSpec::from(max), mean.into()] {
                let what = format!("{pool:?}");
                let below = conv(3, [2, 2]).into();
                let layers = vec![pool.clone(), below, pool, Flatten::new().into(), linear()];
                check(&of_images([12, 12, 2], layers, Loss::Mse, &[]), 5, &what);
            }
        }
    }
    // More channels than have their slopes dealt out at a time.
    for pool in [
        vec![MaxPool::default().into(), Flatten::new().into()],
        vec![GlobalMaxPool::new().into()],
        vec![GlobalAvgPool::new().into()],
    ] {
        let layers = [vec![conv(19, [2, 1]).into()], pool, vec![linear()]].concat();
        check(&of_images([5, 3, 2], layers, Loss::Mse, &[]), 5, "19 channels");
    }
}

#[test]
fn with_other_layers() {
    let same = || conv(3, [3, 3]).padding(Padding::Same);
    let layers = vec![
        Dropout::new(0.2).into(),
        same().into(),
        Residual::new().layer(same()).layer(Dropout::new(0.3)).layer(same()).into(),
        MaxPool::default().into(),
        Flatten::new().into(),
        Dropout::new(0.3).into(),
        dense(3, Activation::Softmax),
    ];
    check(&of_images([4, 5, 3], layers, Loss::CROSS_ENTROPY, &[]), 7, "a block");
    // Blocks in blocks, of what mixes pixels, behind strides; and behind the flattened image.
    let inner = Residual::new().layer(conv(3, [1, 2]).padding(Padding::Same).without_bias());
    let narrow =
        Residual::new().layer(LayerNorm::new().epsilon(0.1)).layer(dense(5, Activation::Silu));
    let layers = vec![
        conv(3, [3, 2]).strides([2, 1]).padding(Padding::Same).into(),
        Residual::new()
            .layer(inner)
            .layer(AvgPool::new([3, 1]).strides([1, 1]).padding(Padding::Same))
            .layer(same())
            .into(),
        Flatten::new().into(),
        narrow.layer(dense(36, Activation::Linear)).into(),
        linear(),
    ];
    check(&of_images([5, 4, 2], layers, Loss::Mse, &[]), 7, "blocks in blocks");
    let layers = vec![
        MaxPool::new([2, 1]).into(),
        Flatten::new().into(),
        dense(3, Activation::Tanh),
        linear(),
    ];
    check(&of_images([4, 2, 2], layers, Loss::Mse, &[]), 7, "no convolution");
}

/// First, where no slopes are wanted of it, and behind a convolution.
#[test]
fn augmentation() {
    let shift = || RandomTranslation::new(0.4, 1.0);
    let flip = RandomFlip::new;
    for layer in [
        LayerSpec::from(flip(FlipMode::Horizontal)),
        flip(FlipMode::Vertical).into(),
        flip(FlipMode::HorizontalAndVertical).into(),
        shift().into(),
        shift().fill_mode(FillMode::Wrap).into(),
        shift().fill_mode(FillMode::Nearest).into(),
        shift().fill_value(0.5).into(),
        RandomCrop::new(3, 2).into(),
    ] {
        let what = format!("{layer:?}");
        let first = vec![layer.clone(), Flatten::new().into(), linear()];
        check(&of_images([5, 4, 2], first, Loss::Mse, &[]), 9, &what);
        let layers = vec![
            conv(2, [2, 2]).padding(Padding::Same).into(),
            layer,
            conv(3, [2, 2]).into(),
            Flatten::new().into(),
            linear(),
        ];
        check(&of_images([5, 4, 1], layers, Loss::Mse, &[]), 9, &what);
    }
}

/// Every draw is as likely as the others, and differs between rows and steps.
#[test]
fn draws_of_augmentation() {
    let layers =
        vec![RandomTranslation::new(0.0, 0.5).fill_value(0.0).into(), Flatten::new().into(), {
            Dense::new(4).without_bias().into()
        }];
    let network = of_images([1, 4, 1], layers, Loss::Mse, &[]);
    let rows = 3000;
    let one_each: Vec<(u32, usize)> = (0..rows as u32).map(|shard| (shard, 1)).collect();
    let leaves = microbatches(&one_each);
    let nodes: Vec<Node> = (0..rows as u32).map(Node::leaf).collect();
    // Each pixel is its place; with outputs of 0, the gradient of a row has what each became.
    let x = ndarray::Array2::from_shape_fn((rows, 4), |(_, place)| place as f32 + 1.0);
    let y = ndarray::Array2::from_elem((rows, 4), -2.0);
    let got = gradient(&network, &[0.0; 16], (&x, &y), &leaves, &nodes);
    let mut counts = std::collections::BTreeMap::new();
    for gradient in &got.gradients {
        let moved: Vec<u32> = gradient.iter().step_by(4).map(|&value| value as u32).collect();
        *counts.entry(moved).or_insert(0) += 1;
    }
    let wanted = [[0, 0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 0], [3, 4, 0, 0]];
    assert!(counts.keys().eq(wanted.iter().map(|moved| moved.as_slice())), "{counts:?}");
    assert!(counts.values().all(|&count| (480..720).contains(&count)), "{counts:?}");
}

/// Large enough for several tiles and chains, rows alone and together, in microbatches of any size.
#[test]
fn the_other_rows_of_a_call_do_not_count() {
    let layers = vec![
        RandomTranslation::new(0.2, 0.1).into(),
        RandomFlip::default().into(),
        conv(20, [3, 3]).padding(Padding::Same).into(),
        conv(5, [3, 3]).strides([2, 1]).into(),
        AvgPool::default().into(),
        Flatten::new().into(),
        linear(),
    ];
    let network = of_images([23, 19, 3], layers, Loss::Mse, &[]);
    let (params, (x, y)) = (parameters(&network), data(&network, 7));
    let all = microbatches(&[(0, 1), (1, 4), (2, 2)]);
    let nodes = [Node::leaf(0), Node::leaf(1), Node::leaf(2)];
    let together = gradient(&network, &params, (&x, &y), &all, &nodes);
    let mut ws = Workspace::new(&network);
    let outputs = network.predict(&params, x.view(), &mut ws).to_owned();
    // Columns together: each row is copied.
    let by_column = x.t().as_standard_layout().to_owned();
    assert_eq!(network.predict(&params, by_column.t(), &mut ws), outputs);
    for (leaf, node) in all.iter().zip(nodes) {
        let Range { start, end } = leaf.rows;
        let rows = ndarray::s![start..end, ..];
        let (x, y) = (x.slice(rows).to_owned(), y.slice(rows).to_owned());
        let moved = microbatches(&[(leaf.shard, end - start)]);
        let alone = gradient(&network, &params, (&x, &y), &moved, &[node]);
        let place = node.index as usize;
        assert_eq!(bits(&alone.gradients[0]), bits(&together.gradients[place]));
        assert_eq!(bits_f64(&alone.sums[0]), bits_f64(&together.sums[place]));
        let alone = network.predict(&params, x.view(), &mut ws);
        assert_eq!(alone, outputs.slice(rows));
    }
}

/// A pixel that is not a number is not overlooked by pooling.
#[test]
fn what_is_no_number_stays_so() {
    for pool in [LayerSpec::from(MaxPool::default()), AvgPool::default().into()] {
        let network =
            of_images([2, 2, 1], vec![pool, Flatten::new().into(), linear()], Loss::Mse, &[]);
        let params = parameters(&network);
        for place in 0..4 {
            let mut x = ndarray::Array2::ones((1, 4));
            x[[0, place]] = f32::NAN;
            let mut ws = Workspace::new(&network);
            assert!(network.predict(&params, x.view(), &mut ws).iter().all(|v| v.is_nan()));
        }
    }
}

#[test]
fn layers_that_do_not_fit() {
    let refused = |image: Option<[usize; 3]>, inputs: usize, layers: Vec<LayerSpec>| {
        let (embeddings, metrics, units) = (Vec::new(), Vec::new(), Vec::new());
        let spec =
            NetworkSpec { inputs, image, embeddings, layers, loss: Loss::Mse, metrics, units };
        Network::new(spec).unwrap_err().to_string()
    };
    let image = Some([4, 4, 1]);
    for (found, wanted) in [
        (
            refused(image, 16, vec![Dense::new(1).into()]),
            "layer 0: found rows of shape [4, 4, 1], wanted one side: put a `flatten` layer before it",
        ),
        (
            refused(None, 16, vec![conv(1, [2, 2]).into()]),
            "layer 0: found rows of 16 values, wanted images, of shape [height, width, channels]",
        ),
        (
            refused(image, 17, vec![Dense::new(1).into()]),
            "rows are said to be images of [4, 4, 1]: which are 16 numbers, but rows have 17",
        ),
        (
            refused(image, 16, vec![conv(1, [5, 2]).into()]),
            "layer 0: found images of 4 x 4, wanted at least the window's 5 x 2",
        ),
        (
            refused(image, 16, vec![conv(1, [2, 2]).into()]),
            "layer 0: conv2d cannot be the last layer: its outputs are images",
        ),
        (
            refused(image, 16, vec![Residual::new().layer(conv(1, [2, 2])).into(), linear()]),
            "layer 0: its layers make rows of shape [3, 3, 1] of rows of shape [4, 4, 1]",
        ),
        (
            refused(image, 16, vec![conv(1, [2, 0]).into()]),
            "layer 0: `kernel_size`: found 0, wanted a whole number from 1 to 1024",
        ),
        (
            refused(image, 16, vec![conv(1, [2, 2]).activation(Activation::Softmax).into()]),
            "layer 0: `activation`: found softmax",
        ),
    ] {
        assert!(found.starts_with(wanted), "{found}");
    }
}

/// Where a table is not read yet, any image that fits.
#[test]
fn images_that_are_not_known() {
    let same = conv(6, [3, 3]).padding(Padding::Same);
    for (layers, wanted) in [
        (vec![linear()], None),
        (vec![Flatten::new().into(), linear()], None),
        (vec![conv(2, [3, 3]).into(), conv(2, [3, 3]).into()], Some([8, 8, 1])),
        (vec![Residual::new().layer(same).into()], Some([1, 1, 6])),
        (vec![MaxPool::default().into(); 5], Some([32, 32, 1])),
        // None fits.
        (vec![conv(2, [3, 3]).into(), linear(), conv(2, [1, 1]).into()], Some([4, 4, 1])),
    ] {
        assert_eq!(Network::image_for(&layers), wanted, "{layers:?}");
    }
}

/// Of which tensors a side are an image's values: of the first kernel behind it, or, in a block, of the last one as well.
#[test]
fn what_is_behind_a_flattened_image() {
    let inner = Residual::new().layer(Dense::new(5)).layer(BatchNorm::new());
    let inner = inner.layer(Dense::new(7)).layer(Dropout::new(0.2)).layer(Dense::new(18));
    let layers: Vec<LayerSpec> = vec![
        conv(2, [2, 2]).into(),
        Flatten::new().into(),
        Dropout::new(0.1).into(),
        LayerNorm::new().into(),
        Residual::new().layer(Dense::new(18).without_bias()).layer(inner).into(),
        Residual::new().layer(LayerNorm::new()).into(),
        Dense::new(18).into(),
        Residual::new().layer(Dense::new(18)).into(),
        Dense::new(1).into(),
    ];
    let network = of_images([4, 4, 1], layers, Loss::Mse, &[]);
    let shown = |found: Flattened| {
        assert_eq!(found.image, [3, 3, 2]);
        (network.layout().tensors()[found.tensor].name.clone(), found.first, found.last)
    };
    let found: Vec<_> = network.flattened().into_iter().map(shown).collect();
    let wanted = [
        ("layers.3.gamma", true, false),
        ("layers.3.beta", true, false),
        ("layers.4.layers.0.kernel", true, true),
        ("layers.4.layers.1.layers.0.kernel", true, false),
        ("layers.4.layers.1.layers.4.kernel", false, true),
        ("layers.4.layers.1.layers.4.bias", true, false),
        ("layers.5.layers.0.gamma", true, false),
        ("layers.5.layers.0.beta", true, false),
        ("layers.6.kernel", true, false),
    ];
    assert_eq!(found, wanted.map(|(name, first, last)| (name.to_string(), first, last)));
}
