//! What descriptions of networks are refused, and what follows from those that are not.

use super::*;
use crate::kinds::Metric;
use crate::layers::{Dense, Dropout};

fn spec(layers: &[(usize, Activation)], loss: Loss, metrics: &[Metric]) -> NetworkSpec {
    let layers = layers.iter().map(|&(units, act)| Dense::new(units).activation(act).into());
    let layers = layers.collect();
    NetworkSpec {
        inputs: 3,
        image: None,
        embeddings: Vec::new(),
        layers,
        loss,
        metrics: metrics.to_vec(),
        units: Vec::new(),
    }
}

/// Layers, loss, metrics, and the start of the error.
type Case<'a> = (&'a [(usize, Activation)], Loss, &'a [Metric], &'a str);

/// One network per row, and the start of what is said about it.
#[test]
fn refusals() {
    use Activation::*;
    let none: &[Metric] = &[];
    let mse = Loss::Mse;
    let binary = Loss::BINARY_CROSS_ENTROPY;
    let most = 1 << 24;
    let rows: &[Case] = &[
        (&[], mse, none, "a network needs at least one layer"),
        (
            &[(2, Relu), (0, Linear)],
            mse,
            none,
            "layer 1: `units`: found 0, wanted a whole number from 1 to 16777216",
        ),
        (&[(1, Softmax)], Loss::CROSS_ENTROPY, none, "layer 0: softmax over 1 unit"),
        (&[(1, Softmax), (1, Linear)], mse, none, "layer 0: softmax over 1 unit"),
        (&[(2, Linear)], Loss::CROSS_ENTROPY, none, "loss cross_entropy needs activation softmax"),
        (&[(2, Tanh)], binary, none, "loss binary_cross_entropy needs activation sigmoid"),
        (
            &[(most, Relu), (256, Relu)],
            mse,
            none,
            "the network has more than 4294967296 parameters",
        ),
        (&[(most + 1, Relu)], mse, none, "layer 0: `units`: found 16777217, wanted"),
        (&[(usize::MAX, Relu)], mse, none, "layer 0: `units`: found 18446744073709551615"),
        (
            &[(1, Linear)],
            mse,
            &[Metric::Accuracy],
            "metric accuracy does not fit loss mse: it needs",
        ),
        (&[(2, Softmax)], Loss::CROSS_ENTROPY, &[Metric::Mse], "metric mse does not fit"),
        (&[(2, Softmax)], Loss::CROSS_ENTROPY, &[Metric::R2], "metric r2 does not fit"),
        (&[(1, Linear)], mse, &[Metric::Mae, Metric::Mae], "metric mae is listed twice"),
        (
            &[(3, Softmax)],
            Loss::CROSS_ENTROPY,
            &[Metric::TopKAccuracy { k: 2 }, Metric::TopKAccuracy { k: 1 }],
            "metric top_k_accuracy is listed twice",
        ),
        (
            &[(3, Softmax)],
            Loss::CROSS_ENTROPY,
            &[Metric::TopKAccuracy { k: 5 }],
            "metric top_k_accuracy does not fit loss cross_entropy: k is 5 and there are 3 classes, set k to",
        ),
        (
            &[(1, Sigmoid)],
            binary,
            &[Metric::TopKAccuracy { k: 1 }],
            "metric top_k_accuracy does not fit loss binary_cross_entropy: it needs cross_entropy",
        ),
        (&[(1, Sigmoid)], binary, &[Metric::Mape], "metric mape does not fit loss binary_cross"),
        (&[(1, Linear)], mse, &[Metric::RocAuc], "metric roc_auc does not fit loss mse: it needs"),
        (&[(1, Linear)], mse, &[Metric::F1], "metric f1 does not fit loss mse: it needs"),
        (&[(1, Linear)], mse, &[Metric::LogLoss], "metric log_loss does not fit loss mse"),
        (&[(1, LeakyRelu { slope: -0.1 })], mse, none, "layer 0: `activation.slope`: found -0.1"),
        (
            &[(1, LeakyRelu { slope: f32::NAN })],
            mse,
            none,
            "layer 0: `activation.slope`: found NaN",
        ),
        (&[(1, Elu { alpha: 0.0 })], mse, none, "layer 0: `activation.alpha`: found 0,"),
        (&[(1, Elu { alpha: f32::INFINITY })], mse, none, "layer 0: `activation.alpha`: found inf"),
        (&[(1, Linear)], Loss::Huber { delta: 0.0 }, none, "loss huber: `delta`: found 0, wanted"),
    ];
    for &(layers, loss, metrics, want) in rows {
        let error = Network::new(spec(layers, loss, metrics)).unwrap_err().to_string();
        assert!(error.starts_with(want), "{error:?} does not start with {want:?}");
    }
    let mut no_inputs = spec(&[(1, Linear)], mse, none);
    no_inputs.inputs = 0;
    assert_eq!(Network::new(no_inputs).unwrap_err(), SpecError::NoInputs);
}

#[test]
fn refusals_of_dropout() {
    let with = |rates: &[f32], place: usize| {
        let mut spec = spec(&[(2, Activation::Linear)], Loss::Mse, &[]);
        let layers = rates.iter().map(|&rate| Dropout::new(rate).into());
        spec.layers.splice(place..place, layers.collect::<Vec<_>>());
        spec
    };
    for (spec, want) in [
        (with(&[0.5], 1), "layer 1: dropout cannot be the last layer: the network's outputs"),
        (with(&[0.5, 1.0], 0), "layer 1: `rate`: found 1, wanted a number from 0 to below 1"),
        (with(&[-0.1], 0), "layer 0: `rate`: found -0.1, wanted a number from 0 to below 1"),
        (with(&[f32::NAN], 0), "layer 0: `rate`: found NaN, wanted"),
    ] {
        let error = Network::new(spec).unwrap_err().to_string();
        assert!(error.starts_with(want), "{error:?} does not start with {want:?}");
    }
    let plain = Network::new(with(&[], 0)).unwrap();
    let mixed = Network::new(with(&[0.0, 0.5], 0)).unwrap();
    assert_eq!(mixed.layout().len(), plain.layout().len());
    assert_eq!(mixed.layout().tensors()[0].name, "layers.2.kernel");
    assert_eq!(mixed.initial_parameters(3), plain.initial_parameters(3));
    assert_eq!(mixed.kept_per_row(), 3);
    assert!(mixed.widths().eq([3, 3, 2]));
}

#[test]
fn units_that_do_not_go_with_the_outputs() {
    let unit = |factor| Unit::Affine { offset: 0.0, factor };
    let check = |units: Vec<Unit>, loss, output| {
        let spec = NetworkSpec { units, ..spec(&[(2, output)], loss, &[]) };
        Network::new(spec).map(|network| network.has_units()).map_err(|e| e.to_string())
    };
    let (mse, linear) = (Loss::Mse, Activation::Linear);
    assert_eq!(check(Vec::new(), mse, linear), Ok(false));
    assert_eq!(check(vec![unit(1.0), unit(0.5)], mse, linear), Ok(true));
    for (units, loss, output, wanted) in [
        (vec![unit(1.0)], mse, linear, "the network has 2 outputs and the units of 1"),
        (vec![unit(1.0), unit(0.0)], mse, linear, "the unit of output 1: found offset 0e0 and"),
        (
            vec![unit(1.0); 2],
            Loss::CROSS_ENTROPY,
            Activation::Softmax,
            "loss cross_entropy has targets that are labels",
        ),
    ] {
        let error = check(units, loss, output).unwrap_err();
        assert!(error.starts_with(wanted), "{error}");
    }
}

#[test]
fn sizes() {
    let network = Network::new(spec(
        &[(4, Activation::Relu), (2, Activation::Softmax)],
        Loss::CROSS_ENTROPY,
        &[Metric::Accuracy],
    ))
    .unwrap();
    assert_eq!((network.outputs(), network.target_width(), network.sums_len()), (2, 1, 2));
    assert_eq!(network.flops_per_row(), 6 * (12 + 8));
    assert_eq!(network.layout().len(), 12 + 4 + 8 + 2);
    let mse = Network::new(spec(&[(2, Activation::Softmax)], Loss::Mse, &[])).unwrap();
    assert_eq!((mse.target_width(), mse.sums_len()), (2, 1));
}
