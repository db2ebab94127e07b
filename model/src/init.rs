//! Parameters before the first step: Keras' formulas over keyed random streams.
//!
//! Uses only operations that IEEE 754 makes exact and this crate's own logarithm.

use lockstep_proto::random::{Purpose, Random};

use crate::kinds::Initializer;
use crate::layers::Shape;
use crate::math;

/// Standard deviation of a standard normal cut off at 2, which Keras divides out.
const TRUNCATED_STD: f32 = 0.879_625_7;

/// The values of every tensor: those of the embeddings, if there are any, and then layer by layer. Embeddings and layers
/// without tensors do not count among the layers: with them or without, a layer of the same shape starts from the same values.
pub(crate) fn initial_parameters<'a>(
    embeddings: Option<&Shape>,
    layers: impl Iterator<Item = &'a Shape>,
    seed: u64,
) -> Vec<f32> {
    let mut parameters = Vec::new();
    let mut draw = |purpose, layer, shape: &Shape| {
        for (place, tensor) in shape.tensors.iter().enumerate() {
            let random = Random::new(seed, purpose, layer, place as u64);
            let len = tensor.shape.shape.iter().product();
            extend(&mut parameters, tensor.initializer, random, tensor.fans, len);
        }
    };
    embeddings.into_iter().for_each(|shape| draw(Purpose::InitialEmbeddings, 0, shape));
    let layers = layers.filter(|shape| !shape.tensors.is_empty());
    layers.zip(0..).for_each(|(shape, layer)| draw(Purpose::InitialWeights, layer, shape));
    parameters
}

fn extend(
    parameters: &mut Vec<f32>,
    initializer: Initializer,
    mut random: Random,
    (fan_in, fan_out): (usize, usize),
    len: usize,
) {
    let glorot = 1.0 / ((fan_in + fan_out) as f32 / 2.0).max(1.0);
    let he = 2.0 / fan_in as f32;
    let lecun = 1.0 / fan_in as f32;
    let mut uniform = |limit: f32| {
        parameters.extend((0..len).map(|_| limit * (2.0 * random.unit_f32() - 1.0)));
    };
    match initializer {
        Initializer::GlorotUniform => return uniform((3.0 * glorot).sqrt()),
        Initializer::HeUniform => return uniform((3.0 * he).sqrt()),
        Initializer::LecunUniform => return uniform((3.0 * lecun).sqrt()),
        Initializer::RandomUniform => return uniform(0.05),
        _ => {}
    }
    let mut normal = Normal { random, spare: None };
    let mut truncated = |variance: f32| {
        let std = variance.sqrt() / TRUNCATED_STD;
        parameters.extend((0..len).map(|_| std * normal.next_truncated()));
    };
    match initializer {
        Initializer::GlorotNormal => truncated(glorot),
        Initializer::HeNormal => truncated(he),
        Initializer::LecunNormal => truncated(lecun),
        Initializer::RandomNormal => parameters.extend((0..len).map(|_| 0.05 * normal.next())),
        Initializer::Ones => parameters.extend((0..len).map(|_| 1.0)),
        _ => parameters.extend((0..len).map(|_| 0.0)),
    }
}

/// Standard normal numbers by Marsaglia's polar method, two from each accepted point.
struct Normal {
    random: Random,
    spare: Option<f32>,
}

impl Normal {
    fn next(&mut self) -> f32 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let u = 2.0 * self.random.unit_f32() - 1.0;
            let v = 2.0 * self.random.unit_f32() - 1.0;
            let s = u * u + v * v;
            if s > 0.0 && s < 1.0 {
                let factor = (-2.0 * math::ln(s) / s).sqrt();
                self.spare = Some(v * factor);
                return u * factor;
            }
        }
    }

    fn next_truncated(&mut self) -> f32 {
        loop {
            let value = self.next();
            if value.abs() <= 2.0 {
                return value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::{Dense, Dropout, LayerSpec};

    /// The values of layers on top of `inputs` columns.
    fn values(inputs: usize, layers: &[LayerSpec], seed: u64) -> Vec<f32> {
        let mut input = vec![inputs];
        let mut shapes = Vec::new();
        for layer in layers {
            let shape = layer.layer().shape(&input).unwrap();
            input = shape.output.clone();
            shapes.push(shape);
        }
        initial_parameters(None, shapes.iter(), seed)
    }

    fn kernel(initializer: Initializer) -> Vec<f32> {
        let layer = Dense::new(100).kernel_initializer(initializer).without_bias();
        values(300, &[layer.into()], 5)
    }

    /// Standard deviation and largest value of each, for fans of 300 and 100.
    #[test]
    fn spread_is_keras() {
        use Initializer::*;
        let uniform = |variance: f64| (variance.sqrt(), (3.0 * variance).sqrt());
        let normal = |variance: f64| (variance.sqrt(), 2.0 * variance.sqrt() / 0.879_625_66);
        for (initializer, (std, limit)) in [
            (GlorotUniform, uniform(2.0 / 400.0)),
            (GlorotNormal, normal(2.0 / 400.0)),
            (HeUniform, uniform(2.0 / 300.0)),
            (HeNormal, normal(2.0 / 300.0)),
            (LecunUniform, uniform(1.0 / 300.0)),
            (LecunNormal, normal(1.0 / 300.0)),
            (RandomUniform, (0.05 / 3f64.sqrt(), 0.05)),
            (RandomNormal, (0.05, 0.05 * 5.5)),
            (Zeros, (0.0, 0.0)),
        ] {
            let values = kernel(initializer);
            let wide = || values.iter().map(|&value| f64::from(value));
            let got = (wide().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
            let mean = wide().sum::<f64>() / values.len() as f64;
            let largest = wide().fold(0.0, |largest: f64, v| largest.max(v.abs()));
            assert!((got - std).abs() <= 0.02 * std, "{initializer}: {got} is not {std}");
            assert!(mean.abs() <= 0.03 * std, "{initializer}: mean {mean}");
            assert!(largest <= limit * 1.000_001, "{initializer}: {largest} is over {limit}");
            assert!(largest >= limit * 0.7, "{initializer}: {largest} is far under {limit}");
        }
        assert!(kernel(Ones).iter().all(|&value| value == 1.0));
    }

    #[test]
    fn values_are_fixed_for_all_time() {
        use Initializer::{GlorotUniform, HeNormal, RandomNormal};
        let first = [GlorotUniform, HeNormal, RandomNormal].map(|how| kernel(how)[..3].to_vec());
        assert_eq!(first, FROZEN);
    }

    const FROZEN: [[f32; 3]; 3] = [
        [0.014594621, 0.053420074, -0.080003954],
        [0.04358907, 0.15954722, -0.1207533],
        [0.023479624, 0.08594147, -0.06504479],
    ];

    /// A layer's values do not depend on the layers before it, kernel and bias draw apart, and a bias has fans.
    #[test]
    fn each_tensor_has_its_own_stream() {
        let mut layer = Dense::new(4);
        layer.bias_initializer = Initializer::GlorotUniform;
        let layers = [LayerSpec::from(layer.clone()), layer.into()];
        let drawn = values(4, &layers, 1);
        let (first, second) = drawn.split_at(20);
        assert_ne!(first[..16], second[..16]);
        assert_ne!(first[..4], first[16..]);
        assert!(first[16..].iter().all(|bias| bias.abs() <= (3.0f32 / 4.0).sqrt()));
        assert_ne!(drawn, values(4, &layers, 2));
        let [below, above] = layers;
        let dropout = || Dropout::new(0.5).into();
        assert_eq!(drawn, values(4, &[dropout(), below, dropout(), above], 1));
    }
}
