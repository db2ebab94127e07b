//! `train.optimizer`: an optimizer with the learning rate, which for a job is one of its parameters.

use lockstep_coordinator::Optimizer;
use lockstep_coordinator::policy::LearningRate;
use lockstep_parameters::{Choice, Parameter, ParameterError, Slot};

/// How gradients become new weights, step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Descent {
    /// The rule.
    pub optimizer: Optimizer,
    /// How far it moves the weights.
    pub learning_rate: LearningRate,
}

impl Choice for Descent {
    fn names() -> Vec<&'static str> {
        Optimizer::names()
    }

    /// With Keras' defaults.
    fn named(name: &str) -> Option<Descent> {
        let learning_rate = if name == "sgd" { 0.01f32 } else { 0.001 };
        Some(Descent { optimizer: Optimizer::named(name)?, learning_rate: learning_rate.into() })
    }

    fn name(&self) -> &'static str {
        self.optimizer.name()
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let rate = Slot::Choice(&mut self.learning_rate);
        let mut parameters = vec![Parameter::optional("learning_rate", rate)];
        parameters.extend(self.optimizer.parameters());
        parameters
    }

    fn check_together(&self) -> Result<(), ParameterError> {
        self.optimizer.check_together()
    }
}

/// The optimizer of that name and its learning rate, with Keras' defaults.
pub fn from_name(name: &str) -> Option<Descent> {
    Descent::named(name)
}
