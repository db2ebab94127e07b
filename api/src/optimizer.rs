//! Optimizers in the style of Keras: `adam()`, `sgd(0.1)`, `adam().learning_rate(CosineDecay::new(0.01, 4000))`.

use lockstep_coordinator::Optimizer as Rule;
use lockstep_coordinator::policy::LearningRate;

use lockstep_run::job::{self, Average, Descent};

/// How gradients become weights, and the learning rate, a number or a schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    pub(crate) rule: Rule,
    pub(crate) learning_rate: LearningRate,
    pub(crate) exclude_from_weight_decay: Vec<String>,
    pub(crate) average: Average,
    pub(crate) gradient_accumulation_steps: Option<u64>,
}

impl Optimizer {
    /// This rule with this learning rate.
    pub fn new(rule: Rule, learning_rate: impl Into<LearningRate>) -> Optimizer {
        let (exclude_from_weight_decay, average) = (Vec::new(), Average::default());
        Optimizer {
            rule,
            learning_rate: learning_rate.into(),
            exclude_from_weight_decay,
            average,
            gradient_accumulation_steps: None,
        }
    }

    /// Sets the learning rate: a number, or a schedule such as
    /// [`CosineDecay`](lockstep_coordinator::policy::CosineDecay).
    pub fn learning_rate(mut self, learning_rate: impl Into<LearningRate>) -> Optimizer {
        self.learning_rate = learning_rate.into();
        self
    }

    /// Has AdamW decay no tensor in whose name one of these texts is, such as `"bias"` or `"layers.2."`.
    pub fn exclude_from_weight_decay(mut self, names: &[&str]) -> Optimizer {
        self.exclude_from_weight_decay = names.iter().map(|name| name.to_string()).collect();
        self
    }

    /// Averages the weights over the updates, with this share of the old average in the new one (Keras: `use_ema`, where it is
    /// 0.99). A fit ends with the averages, unless early stopping restores the weights of the best epoch.
    pub fn average_weights(mut self, momentum: f32) -> Optimizer {
        self.average.use_ema = Some(true);
        self.average.momentum = Some(momentum);
        self
    }

    /// Has the weights become their averages every so many updates, in mid-run as well (Keras: `ema_overwrite_frequency`).
    pub fn overwrite_with_average_every(mut self, updates: u64) -> Optimizer {
        self.average.overwrite_frequency = Some(updates);
        self
    }

    /// Makes one update of so many steps, by the mean of their gradients (Keras: `gradient_accumulation_steps`).
    pub fn gradient_accumulation_steps(mut self, steps: u64) -> Optimizer {
        self.gradient_accumulation_steps = Some(steps);
        self
    }

    /// What is wrong with it in a fit of so many steps; of which there is at least one, if that is known.
    pub(crate) fn problem(&self, steps: Option<u64>) -> Option<String> {
        let rate = &self.learning_rate;
        match rate.check() {
            Err(wrong) if wrong.parameter == "learning_rate" => {
                return Some(format!("the learning rate: {}", wrong.problem));
            }
            Err(wrong) => {
                return Some(format!(
                    "{} of the learning rate: {}",
                    wrong.parameter, wrong.problem
                ));
            }
            Ok(()) => {}
        }
        if let Err(wrong) = Descent::from(self.clone()).check() {
            return Some(format!("{} of the optimizer: {}", wrong.parameter, wrong.problem));
        }
        let steps = steps?;
        rate.check_over(steps).err().map(|problem| {
            format!("the learning rate over the {steps} steps of this fit: {problem}")
        })
    }
}

/// Adam with Keras' defaults.
pub fn adam() -> Optimizer {
    named("adam")
}

/// AdamW with Keras' defaults.
pub fn adamw() -> Optimizer {
    named("adamw")
}

/// RMSprop with Keras' defaults.
pub fn rmsprop() -> Optimizer {
    named("rmsprop")
}

/// Adagrad with Keras' defaults.
pub fn adagrad() -> Optimizer {
    named("adagrad")
}

/// Plain gradient descent.
pub fn sgd(learning_rate: impl Into<LearningRate>) -> Optimizer {
    Optimizer::new(Rule::Sgd { momentum: 0.0, nesterov: false }, learning_rate)
}

fn named(name: &str) -> Optimizer {
    job::optimizer_named(name).expect("every name here is one of the list").into()
}

impl From<Descent> for Optimizer {
    fn from(descent: Descent) -> Optimizer {
        let Descent { optimizer, learning_rate, .. } = descent;
        Optimizer {
            rule: optimizer,
            learning_rate,
            exclude_from_weight_decay: descent.exclude_from_weight_decay,
            average: descent.average,
            gradient_accumulation_steps: descent.gradient_accumulation_steps,
        }
    }
}

impl From<Optimizer> for Descent {
    fn from(optimizer: Optimizer) -> Descent {
        let Optimizer { rule, learning_rate, .. } = optimizer;
        Descent {
            optimizer: rule,
            learning_rate,
            exclude_from_weight_decay: optimizer.exclude_from_weight_decay,
            average: optimizer.average,
            gradient_accumulation_steps: optimizer.gradient_accumulation_steps,
        }
    }
}
