//! What a network's description chooses from by name: activations, losses, metrics and initializers.
//!
//! Names and defaults are Keras 3's, and the JSON forms are stable. Computes nothing, and knows no kind of layer.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Applied to each sum of a layer; `Softmax` to each row of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Activation {
    /// `z`.
    #[default]
    Linear,
    /// `max(z, 0)`.
    Relu,
    /// `z`, or `slope * z` below 0.
    LeakyRelu {
        /// Factor below 0.
        #[serde(default = "default_slope")]
        slope: f32,
    },
    /// `z`, or `alpha * (exp(z) - 1)` below 0.
    Elu {
        /// Minus the limit at minus infinity.
        #[serde(default = "default_one")]
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

impl Activation {
    /// What is wrong with its parameter, if it has one: what was found, and what would do.
    pub(crate) fn problem(self) -> Option<String> {
        let name = self.name();
        let (parameter, value, fits, wanted) = match self {
            Activation::LeakyRelu { slope } => ("slope", slope, slope >= 0.0, "at least 0"),
            Activation::Elu { alpha } => ("alpha", alpha, alpha > 0.0, "above 0"),
            _ => return None,
        };
        let is_fine = value.is_finite() && fits;
        (!is_fine)
            .then(|| format!("{name} has {parameter} {value}, it must be finite and {wanted}"))
    }
}

/// What training makes small. The loss of a row is the mean over its outputs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Loss {
    /// Squared error.
    Mse,
    /// Absolute error.
    Mae,
    /// Half the squared error up to `delta`, linear beyond it.
    Huber {
        /// Where it becomes linear.
        #[serde(default = "default_one")]
        delta: f32,
    },
    /// Minus the log of the label's softmax; the target is one class index.
    CrossEntropy,
    /// Minus the log likelihood of 0/1 targets under sigmoid outputs.
    BinaryCrossEntropy,
}

/// Reported beside the loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// Keras' `k` of `TopKCategoricalAccuracy`.
const K_DEFAULT: u32 = 5;

fn default_slope() -> f32 {
    0.2
}

fn default_one() -> f32 {
    1.0
}

macro_rules! names {
    ($type:ident { $($name:literal => $pattern:pat, $value:expr;)* }) => {
        impl $type {
            /// Every name, as written in jobs.
            pub const NAMES: &[&str] = &[$($name),*];

            /// The name as written in jobs.
            pub fn name(&self) -> &'static str {
                match self {
                    $($pattern => $name,)*
                }
            }

            /// The value of a name, its parameters at their defaults.
            pub fn from_name(name: &str) -> Option<$type> {
                match name {
                    $($name => Some($value),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

names!(Activation {
    "linear" => Activation::Linear, Activation::Linear;
    "relu" => Activation::Relu, Activation::Relu;
    "leaky_relu" => Activation::LeakyRelu { .. }, Activation::LeakyRelu { slope: default_slope() };
    "elu" => Activation::Elu { .. }, Activation::Elu { alpha: default_one() };
    "sigmoid" => Activation::Sigmoid, Activation::Sigmoid;
    "tanh" => Activation::Tanh, Activation::Tanh;
    "gelu" => Activation::Gelu, Activation::Gelu;
    "silu" => Activation::Silu, Activation::Silu;
    "softplus" => Activation::Softplus, Activation::Softplus;
    "softmax" => Activation::Softmax, Activation::Softmax;
});

names!(Loss {
    "mse" => Loss::Mse, Loss::Mse;
    "mae" => Loss::Mae, Loss::Mae;
    "huber" => Loss::Huber { .. }, Loss::Huber { delta: default_one() };
    "cross_entropy" => Loss::CrossEntropy, Loss::CrossEntropy;
    "binary_cross_entropy" => Loss::BinaryCrossEntropy, Loss::BinaryCrossEntropy;
});

names!(Metric {
    "mse" => Metric::Mse, Metric::Mse;
    "rmse" => Metric::Rmse, Metric::Rmse;
    "mae" => Metric::Mae, Metric::Mae;
    "mape" => Metric::Mape, Metric::Mape;
    "r2" => Metric::R2, Metric::R2;
    "accuracy" => Metric::Accuracy, Metric::Accuracy;
    "top_k_accuracy" => Metric::TopKAccuracy { .. }, Metric::TopKAccuracy { k: K_DEFAULT };
    "precision" => Metric::Precision, Metric::Precision;
    "precision_weighted" => Metric::PrecisionWeighted, Metric::PrecisionWeighted;
    "recall" => Metric::Recall, Metric::Recall;
    "recall_weighted" => Metric::RecallWeighted, Metric::RecallWeighted;
    "f1" => Metric::F1, Metric::F1;
    "f1_weighted" => Metric::F1Weighted, Metric::F1Weighted;
    "roc_auc" => Metric::RocAuc, Metric::RocAuc;
    "average_precision" => Metric::AveragePrecision, Metric::AveragePrecision;
    "log_loss" => Metric::LogLoss, Metric::LogLoss;
});

names!(Initializer {
    "glorot_uniform" => Initializer::GlorotUniform, Initializer::GlorotUniform;
    "glorot_normal" => Initializer::GlorotNormal, Initializer::GlorotNormal;
    "he_uniform" => Initializer::HeUniform, Initializer::HeUniform;
    "he_normal" => Initializer::HeNormal, Initializer::HeNormal;
    "lecun_uniform" => Initializer::LecunUniform, Initializer::LecunUniform;
    "lecun_normal" => Initializer::LecunNormal, Initializer::LecunNormal;
    "zeros" => Initializer::Zeros, Initializer::Zeros;
    "ones" => Initializer::Ones, Initializer::Ones;
    "random_normal" => Initializer::RandomNormal, Initializer::RandomNormal;
    "random_uniform" => Initializer::RandomUniform, Initializer::RandomUniform;
});

#[cfg(test)]
mod tests {
    use super::*;

    /// Names, serde names and `Display` agree, and every name has a value.
    macro_rules! check_names {
        ($type:ident) => {
            for &name in $type::NAMES {
                let value = $type::from_name(name).unwrap();
                assert_eq!(value.name(), name);
                assert_eq!(value.to_string(), name);
                let json = serde_json::to_string(&value).unwrap();
                assert!(
                    json == format!("\"{name}\"") || json.starts_with(&format!("{{\"{name}\":")),
                    "{json}"
                );
                assert_eq!(serde_json::from_str::<$type>(&json).unwrap(), value);
            }
            assert_eq!($type::from_name("no such name"), None);
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
