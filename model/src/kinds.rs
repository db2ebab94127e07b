//! What a network's description chooses from by name: activations, losses, metrics and initializers.
//!
//! Names and defaults are Keras 3's, and the JSON forms are stable. Computes nothing, and knows no kind of layer.

use lockstep_parameters::{AnyChoice, Range, choices};
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use crate::json::{Json, choose};

/// Applied to each sum of a layer; `Softmax` to each row of them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// `z`.
    #[default]
    Linear,
    /// `max(z, 0)`.
    Relu,
    /// `z`, or `slope * z` below 0.
    LeakyRelu {
        /// Factor below 0.
        slope: f32,
    },
    /// `z`, or `alpha * (exp(z) - 1)` below 0.
    Elu {
        /// Minus the limit at minus infinity.
        alpha: f32,
    },
    /// `1 / (1 + exp(-z))`.
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
    /// `z` times the normal distribution function of `z`, exact (not the tanh form).
    Gelu,
    /// `z * sigmoid(z)`.
    Silu,
    /// `log(1 + exp(z))`.
    Softplus,
    /// `exp(z)` over the row's sum of them.
    Softmax,
}

/// What training makes small. The loss of a row is the mean over its outputs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// Squared error.
    Mse,
    /// Absolute error.
    Mae,
    /// Half the squared error up to `delta`, linear beyond it.
    Huber {
        /// Where it becomes linear.
        delta: f32,
    },
    /// Minus the log of the label's softmax; the target is one class index.
    CrossEntropy {
        /// The share of a label that is dealt to all classes alike, if one is.
        label_smoothing: Option<f32>,
    },
    /// Minus the log likelihood of 0/1 targets under sigmoid outputs.
    BinaryCrossEntropy {
        /// How far 0 and 1 are moved, each by half of this, toward each other, if they are.
        label_smoothing: Option<f32>,
    },
    /// Of counts under the outputs as their rates: minus the log likelihood of a Poisson distribution, up to a constant.
    Poisson,
    /// The pinball loss, which is least where outputs are the quantile of the targets.
    Quantile {
        /// Share of the targets that are to be below the outputs, above 0 and below 1.
        quantile: f32,
    },
}

impl Loss {
    /// Cross entropy of labels as they are.
    pub const CROSS_ENTROPY: Loss = Loss::CrossEntropy { label_smoothing: None };

    /// Binary cross entropy of labels as they are.
    pub const BINARY_CROSS_ENTROPY: Loss = Loss::BinaryCrossEntropy { label_smoothing: None };

    /// Whether targets are labels, and the loss computed together with the output activation.
    pub fn is_of_labels(&self) -> bool {
        matches!(self, Loss::CrossEntropy { .. } | Loss::BinaryCrossEntropy { .. })
    }
}

/// Between 0 and 1, also after rounding to a 32-bit float.
const QUANTILE: Range = Range::new("a number above 0 and below 1, as a 32-bit float", |number| {
    number as f32 > 0.0 && (number as f32) < 1.0
});

/// Reported beside the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Mean squared error.
    Mse,
    /// Its square root.
    Rmse,
    /// Mean absolute error.
    Mae,
    /// Mean absolute error in percent of the target.
    Mape,
    /// Coefficient of determination, averaged over the outputs.
    R2,
    /// Share of right classes.
    Accuracy,
    /// Share of rows whose label is among the largest outputs.
    TopKAccuracy {
        /// How many of them.
        k: u32,
    },
    /// Share of hits among what is predicted of a class: class 1 of two, the mean over more.
    Precision,
    /// The mean over all classes, weighted with their rows.
    PrecisionWeighted,
    /// Share of hits among the rows of a class: class 1 of two, the mean over more.
    Recall,
    /// The mean over all classes, weighted with their rows.
    RecallWeighted,
    /// Harmonic mean of precision and recall: of class 1 of two, the mean over more.
    F1,
    /// The mean over all classes, weighted with their rows.
    F1Weighted,
    /// Area under the ROC curve; the mean over classes, if more than two.
    RocAuc,
    /// Area under the steps of precision over recall; the mean over classes, if more than two.
    AveragePrecision,
    /// Minus the mean log of the right class' probability.
    LogLoss,
}

/// How a tensor starts. Fans are Keras': `[in, out]` for a kernel, the length twice for a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Initializer {
    /// Uniform with variance `2 / (fan_in + fan_out)`.
    GlorotUniform,
    /// Truncated normal with variance `2 / (fan_in + fan_out)`.
    GlorotNormal,
    /// Uniform with variance `2 / fan_in`.
    HeUniform,
    /// Truncated normal with variance `2 / fan_in`.
    HeNormal,
    /// Uniform with variance `1 / fan_in`.
    LecunUniform,
    /// Truncated normal with variance `1 / fan_in`.
    LecunNormal,
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// Normal with standard deviation 0.05.
    RandomNormal,
    /// Uniform over -0.05..0.05.
    RandomUniform,
}

choices!(Activation {
    "linear" => Linear,
    "relu" => Relu,
    "leaky_relu" => LeakyRelu { slope = 0.2 => Number32(Range::AT_LEAST_0_F32) },
    "elu" => Elu { alpha = 1.0 => Number32(Range::ABOVE_0_F32) },
    "sigmoid" => Sigmoid,
    "tanh" => Tanh,
    "gelu" => Gelu,
    "silu" => Silu,
    "softplus" => Softplus,
    "softmax" => Softmax,
});

choices!(Loss {
    "mse" => Mse,
    "mae" => Mae,
    "huber" => Huber { delta = 1.0 => Number32(Range::ABOVE_0_F32) },
    "cross_entropy" => CrossEntropy {
        label_smoothing = None => Number32(Range::BELOW_1_F32)
    },
    "binary_cross_entropy" => BinaryCrossEntropy {
        label_smoothing = None => Number32(Range::BELOW_1_F32)
    },
    "poisson" => Poisson,
    "quantile" => Quantile { quantile = 0.5 => Number32(QUANTILE) },
});

choices!(Metric {
    "mse" => Mse,
    "rmse" => Rmse,
    "mae" => Mae,
    "mape" => Mape,
    "r2" => R2,
    "accuracy" => Accuracy,
    "top_k_accuracy" => TopKAccuracy { k = 5 => Whole(1, u32::MAX.into()) },
    "precision" => Precision,
    "precision_weighted" => PrecisionWeighted,
    "recall" => Recall,
    "recall_weighted" => RecallWeighted,
    "f1" => F1,
    "f1_weighted" => F1Weighted,
    "roc_auc" => RocAuc,
    "average_precision" => AveragePrecision,
    "log_loss" => LogLoss,
});

choices!(Initializer {
    "glorot_uniform" => GlorotUniform,
    "glorot_normal" => GlorotNormal,
    "he_uniform" => HeUniform,
    "he_normal" => HeNormal,
    "lecun_uniform" => LecunUniform,
    "lecun_normal" => LecunNormal,
    "zeros" => Zeros,
    "ones" => Ones,
    "random_normal" => RandomNormal,
    "random_uniform" => RandomUniform,
});

macro_rules! json {
    ($($type:ident),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let value = { *self }.value();
                value.as_ref().map(Json).serialize(serializer)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let mut found = None::<$type>;
                choose(&mut found, Deserialize::deserialize(deserializer)?)
                    .map_err(D::Error::custom)?;
                found.ok_or_else(|| D::Error::custom("nothing is chosen"))
            }
        }
    )*};
}

json!(Activation, Loss, Metric, Initializer);

#[cfg(test)]
mod tests {
    use lockstep_parameters::Choice;

    use super::*;

    /// Names, serde names and `Display` agree, and every name has a value.
    macro_rules! check_names {
        ($type:ident) => {
            for name in <$type as Choice>::names() {
                let value = $type::named(name).unwrap();
                assert_eq!(value.name(), name);
                assert_eq!(value.to_string(), name);
                let json = serde_json::to_string(&value).unwrap();
                assert!(
                    json == format!("\"{name}\"") || json.starts_with(&format!("{{\"{name}\":")),
                    "{json}"
                );
                assert_eq!(serde_json::from_str::<$type>(&json).unwrap(), value);
            }
            assert_eq!($type::named("no such name"), None);
        };
    }

    #[test]
    fn names_agree_everywhere() {
        check_names!(Activation);
        check_names!(Loss);
        check_names!(Metric);
        check_names!(Initializer);
    }

    #[test]
    fn defaults_are_keras() {
        let leaky: Activation = serde_json::from_str(r#"{"leaky_relu":{}}"#).unwrap();
        assert_eq!(leaky, Activation::LeakyRelu { slope: 0.2 });
    }
}
