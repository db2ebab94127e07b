//! `train.optimizer`: an optimizer with the learning rate, which for a job is one of its parameters.

use std::ops::Range;

use lockstep_coordinator::Optimizer;
use lockstep_coordinator::policy::LearningRate;
use lockstep_parameters::{Choice, Parameter, ParameterError, Slot};
use lockstep_proto::layout::{Layout, Tensor};

/// Names of tensors that are listed in a message.
const NAMES_SHOWN_MAX: usize = 12;

/// How gradients become new weights, step by step.
#[derive(Clone, Debug, PartialEq)]
pub struct Descent {
    /// The rule.
    pub optimizer: Optimizer,
    /// How far it moves the weights.
    pub learning_rate: LearningRate,
    /// Parts of the names of tensors that AdamW does not decay.
    pub exclude_from_weight_decay: Vec<String>,
}

impl Descent {
    /// The places of the tensors whose weights are not decayed, in their order.
    ///
    /// # Errors
    /// If a text is part of no name.
    pub fn undecayed(&self, layout: &Layout) -> Result<Vec<Range<usize>>, String> {
        let is_in = |tensor: &Tensor, text: &String| tensor.name.contains(&**text);
        let texts = &self.exclude_from_weight_decay;
        let nobodys = |text: &&String| !layout.tensors().iter().any(|tensor| is_in(tensor, text));
        if let Some(text) = texts.iter().find(nobodys) {
            let names: Vec<&str> = layout.tensors().iter().map(|tensor| &*tensor.name).collect();
            let (more, shown) = (names.len() > NAMES_SHOWN_MAX, names.iter().take(NAMES_SHOWN_MAX));
            let shown: Vec<&str> = shown.copied().collect();
            return Err(format!(
                "found \"{text}\", which is in no name of a tensor, wanted a part of one: {}{}",
                shown.join(", "),
                if more { ", ..." } else { "" }
            ));
        }
        let excluded = |tensor: &&Tensor| texts.iter().any(|text| is_in(tensor, text));
        Ok(layout.tensors().iter().filter(excluded).map(|tensor| tensor.range.clone()).collect())
    }
}

impl Choice for Descent {
    fn names() -> Vec<&'static str> {
        Optimizer::names()
    }

    /// With Keras' defaults.
    fn named(name: &str) -> Option<Descent> {
        let learning_rate = if name == "sgd" { 0.01f32 } else { 0.001 };
        let (optimizer, learning_rate) = (Optimizer::named(name)?, learning_rate.into());
        Some(Descent { optimizer, learning_rate, exclude_from_weight_decay: Vec::new() })
    }

    fn name(&self) -> &'static str {
        self.optimizer.name()
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let rate = Slot::Choice(&mut self.learning_rate);
        let mut parameters = vec![Parameter::optional("learning_rate", rate)];
        let decays = self.optimizer.decays();
        parameters.extend(self.optimizer.parameters());
        if decays {
            let excluded = Slot::Texts(&mut self.exclude_from_weight_decay);
            parameters.push(Parameter::optional("exclude_from_weight_decay", excluded));
        }
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
