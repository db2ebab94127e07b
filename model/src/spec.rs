//! What a network is, in words: the part of a job that is stored in run folders and sent to workers.
//!
//! Names and defaults are Keras 3's, and the JSON form is stable. Says nothing about whether a description makes
//! sense: [`Network::new`](crate::Network::new) does.

use serde::{Deserialize, Serialize};

use crate::embeddings::Embedding;
use crate::kinds::{Loss, Metric};
use crate::layers::LayerSpec;
use crate::unit::Unit;

/// A whole network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Numbers of an input row.
    pub inputs: usize,
    /// Height, width and channels of the image that a row's numbers are: pixel by pixel, row by row of it, each with its channels.
    /// Not written where rows are no images, so that the description is what it was before they could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<[usize; 3]>,
    /// Columns of categories that are embedded. In an input row their places come after the numbers, in this order. Not
    /// written where there are none, so that the description is what it was before there were embeddings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub embeddings: Vec<Embedding>,
    /// The layers, first to last.
    pub layers: Vec<LayerSpec>,
    /// What training makes small.
    pub loss: Loss,
    /// What is reported beside the loss, in this order.
    #[serde(default)]
    pub metrics: Vec<Metric>,
    /// The own unit of each output's target where targets are scaled: metrics are reported in it. Empty where none is. Not
    /// written then, so that the description is what it was before there were units.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub units: Vec<Unit>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Activation;
    use crate::layers::{Dense, Dropout, LayerNorm, Residual};

    /// What the first version wrote, dense layers alone, is read and written as ever.
    #[test]
    fn json_is_stable() {
        let last = Dense::new(1).without_bias();
        let mut spec = NetworkSpec {
            inputs: 3,
            image: None,
            embeddings: Vec::new(),
            layers: vec![
                Dense::new(4).activation(Activation::LeakyRelu { slope: 0.1 }).into(),
                last.clone().into(),
            ],
            loss: Loss::Huber { delta: 1.5 },
            metrics: vec![Metric::Mae, Metric::R2],
            units: Vec::new(),
        };
        assert_eq!(serde_json::to_string(&spec).unwrap(), FROZEN);
        assert_eq!(serde_json::from_str::<NetworkSpec>(FROZEN).unwrap(), spec);
        spec.layers.insert(1, Dropout::new(0.1).into());
        let with_dropout = FROZEN.replace("},{", r#"},{"type":"dropout","rate":0.1},{"#);
        assert_eq!(serde_json::to_string(&spec).unwrap(), with_dropout);
        assert_eq!(serde_json::from_str::<NetworkSpec>(&with_dropout).unwrap(), spec);
        spec.units = vec![Unit::Affine { offset: 20.0, factor: 9.5 }];
        let units = r#","units":[{"affine":{"offset":20.0,"factor":9.5}}]}"#;
        let json = serde_json::to_string(&spec).unwrap();
        assert_eq!(json, format!("{}{units}", with_dropout.strip_suffix('}').unwrap()));
        assert_eq!(serde_json::from_str::<NetworkSpec>(&json).unwrap(), spec);
        let with_image = NetworkSpec { image: Some([1, 3, 1]), ..spec.clone() };
        let image = json.replacen(r#""inputs":3,"#, r#""inputs":3,"image":[1,3,1],"#, 1);
        assert_eq!(serde_json::to_string(&with_image).unwrap(), image);
        assert_eq!(serde_json::from_str::<NetworkSpec>(&image).unwrap(), with_image);
        spec.embeddings =
            vec![Embedding { column: "color".to_string(), rows: 8, dimension: 3, trainable: None }];
        let inputs = r#"{"inputs":3,"#;
        let embeddings = r#""embeddings":[{"column":"color","rows":8,"dimension":3}],"#;
        let wanted = json.replacen(inputs, &format!("{inputs}{embeddings}"), 1);
        assert_eq!(serde_json::to_string(&spec).unwrap(), wanted);
        assert_eq!(serde_json::from_str::<NetworkSpec>(&wanted).unwrap(), spec);
    }

    #[test]
    fn inputs_that_are_not_known_fit_a_block_at_the_beginning() {
        let block = |units| Residual::new().layer(LayerNorm::new()).layer(Dense::new(units));
        for (layers, wanted) in [
            (vec![Dense::new(3).into()], 1),
            (vec![block(7).into(), Dense::new(3).into()], 7),
            (vec![LayerNorm::new().into(), Residual::new().layer(block(5)).into()], 5),
            (vec![Residual::new().layer(LayerNorm::new()).into(), Dense::new(3).into()], 1),
            (vec![Dense::new(3).into(), block(3).into()], 1),
        ] {
            assert_eq!(LayerSpec::inputs_for(&layers), wanted, "{layers:?}");
        }
    }

    #[test]
    fn a_layer_without_a_type_is_dense_and_has_keras_defaults() {
        let read = serde_json::from_str::<LayerSpec>;
        assert_eq!(read(r#"{"units":2}"#).unwrap(), Dense::new(2).into());
        assert_eq!(read(r#"{"units":2,"type":"dense"}"#).unwrap(), Dense::new(2).into());
        assert_eq!(read(r#"{"rate":0.5,"type":"dropout"}"#).unwrap(), Dropout::new(0.5).into());
        for (text, wanted) in [
            (r#"{"units":2,"unit":3}"#, "unknown field `unit`, expected one of: units, activation"),
            (r#"{"activation":"relu"}"#, "missing field `units`"),
            (r#"{"type":"dropout"}"#, "missing field `rate`"),
            (
                r#"{"type":"dropout","units":1,"rate":0}"#,
                "unknown field `units`, expected one of: rate",
            ),
            (
                r#"{"type":"conv","units":1}"#,
                "unknown layer type \"conv\", expected one of: dense, dropout, layer_norm, residual",
            ),
            (r#"{"type":1}"#, "unknown layer type 1"),
            (r#"{"units":-1}"#, "invalid value: integer `-1`"),
            (r#"{"units":"4"}"#, "invalid type: string"),
            ("[]", "invalid type: sequence"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{text}: {error}");
        }
    }

    const FROZEN: &str = concat!(
        r#"{"inputs":3,"layers":[{"units":4,"activation":{"leaky_relu":{"slope":0.1}},"use_bias":true,"#,
        r#""kernel_initializer":"glorot_uniform","bias_initializer":"zeros"},"#,
        r#"{"units":1,"activation":"linear","use_bias":false,"#,
        r#""kernel_initializer":"glorot_uniform","bias_initializer":"zeros"}],"#,
        r#""loss":{"huber":{"delta":1.5}},"metrics":["mae","r2"]}"#
    );
}
