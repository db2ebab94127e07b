//! Frozen layers: the others have the same gradients, to the bit, and theirs are not made.

use crate::common::{bits, bits_f64, data, gradient, microbatches, of_layers, parameters};
use lockstep_model::{Activation, Dense, LayerNorm, LayerSpec, Loss, Network, Residual};
use lockstep_proto::tree::Node;

/// Frozen or not, by place: two dense layers, a normalization, one inside a block, the outputs.
fn network(frozen: [bool; 5]) -> Network {
    let dense = |place: usize, units, activation| {
        let layer = Dense::new(units).activation(activation).kernel_l2(0.5);
        if frozen[place] { layer.frozen() } else { layer }
    };
    let norm = LayerNorm::new();
    let layers: Vec<LayerSpec> = vec![
        dense(0, 6, Activation::Tanh).into(),
        dense(1, 5, Activation::Gelu).into(),
        if frozen[2] { norm.frozen() } else { norm }.into(),
        Residual::new().layer(dense(3, 5, Activation::Relu)).into(),
        dense(4, 2, Activation::Linear).into(),
    ];
    of_layers(4, layers, Loss::Mse, &[])
}

#[test]
fn gradients_of_others_are_the_same() {
    let plain = network([false; 5]);
    let (x, y) = data(&plain, 9);
    let params = parameters(&plain);
    let (rows, nodes) = (microbatches(&[(0, 4), (1, 5)]), [Node::leaf(0), Node::leaf(1)]);
    let wanted = gradient(&plain, &params, (&x, &y), &rows, &nodes);
    for set in 1u32..(1 << 5) - 1 {
        let frozen = [0, 1, 2, 3, 4].map(|place| set >> place & 1 == 1);
        let network = network(frozen);
        let found = gradient(&network, &params, (&x, &y), &rows, &nodes);
        for node in 0..nodes.len() {
            assert_eq!(bits_f64(&found.sums[node]), bits_f64(&wanted.sums[node]));
            let layers = network.layout().layers().iter().enumerate();
            for (layer, range) in layers {
                let found = &found.gradients[node][range.clone()];
                if network.layout().is_frozen(layer) {
                    assert!(found.iter().all(|value| value.is_nan()), "{frozen:?}, {layer}");
                } else {
                    assert_eq!(bits(found), bits(&wanted.gradients[node][range.clone()]));
                }
            }
        }
        let trained = network.layout().trained_len();
        assert!(trained > 0 && trained < plain.layout().len());
        let penalties = network.penalties().of(network.layout(), &params);
        assert!(penalties < plain.penalties().of(plain.layout(), &params) || set == 4);
    }
}
