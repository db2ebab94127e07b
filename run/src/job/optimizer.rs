//! `train.optimizer`: an optimizer with the learning rate, which for a job is one of its parameters.

use std::ops::Range;

use lockstep_coordinator::policy::{LearningRate, STEPS_MAX};
use lockstep_coordinator::{Averaging, Optimizer};
use lockstep_parameters::{Choice, Parameter, ParameterError, Range as Numbers, Slot};
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
    /// Whether weights are averaged over the updates, and how.
    pub average: Average,
    /// Steps of one update; 1 where a job does not say.
    pub gradient_accumulation_steps: Option<u64>,
}

/// Averages of the weights, as a job says it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Average {
    /// Whether there are any; not, where a job does not say.
    pub use_ema: Option<bool>,
    /// The share of the old average in the new one. Only with averages.
    pub momentum: Option<f32>,
    /// Updates from one of which the weights become their average to the next. Only with averages.
    pub overwrite_frequency: Option<u64>,
}

impl Average {
    /// What a run does about it.
    pub fn averaging(&self) -> Option<Averaging> {
        let momentum = self.momentum.unwrap_or(Averaging::default().momentum);
        let overwrite_frequency = self.overwrite_frequency;
        let averages = self.use_ema.unwrap_or(false);
        averages.then_some(Averaging { momentum, overwrite_frequency })
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let frequency = Slot::Whole(&mut self.overwrite_frequency, 1, STEPS_MAX);
        vec![
            Parameter::optional("use_ema", Slot::Flag(&mut self.use_ema)),
            Parameter::optional("ema_momentum", Slot::Number32(&mut self.momentum, Numbers::SHARE)),
            Parameter::optional("ema_overwrite_frequency", frequency),
        ]
    }

    fn check_together(&self) -> Result<(), ParameterError> {
        let momentum = self.momentum.map(|_| "ema_momentum");
        let given = momentum.or(self.overwrite_frequency.map(|_| "ema_overwrite_frequency"));
        match given.filter(|_| self.averaging().is_none()) {
            Some(name) => Err(ParameterError::new(name, format!("{name} needs `use_ema = true`"))),
            None => Ok(()),
        }
    }
}

impl Descent {
    /// Steps of one update.
    pub fn steps_per_update(&self) -> u64 {
        self.gradient_accumulation_steps.unwrap_or(1)
    }

    /// Checks its parameters, whoever set them; the learning rate's belong to it.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check(&self) -> Result<(), ParameterError> {
        lockstep_parameters::check(self.clone().parameters())?;
        self.check_together()
    }

    /// Whether sums of the rows' squares are wanted of embeddings. Not where Keras adds gradients up before it squares them.
    pub fn wants_row_squares(&self, clips: bool) -> bool {
        self.steps_per_update() == 1 && self.optimizer.wants_row_squares(clips)
    }

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
        let (exclude_from_weight_decay, average) = (Vec::new(), Average::default());
        Some(Descent {
            optimizer,
            learning_rate,
            exclude_from_weight_decay,
            average,
            gradient_accumulation_steps: None,
        })
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
        parameters.extend(self.average.parameters());
        let steps = Slot::Whole(&mut self.gradient_accumulation_steps, 1, STEPS_MAX);
        parameters.push(Parameter::optional("gradient_accumulation_steps", steps));
        parameters
    }

    fn check_together(&self) -> Result<(), ParameterError> {
        self.optimizer.check_together()?;
        self.average.check_together()?;
        if self.steps_per_update() > 1 && self.average.overwrite_frequency.is_some() {
            let problem = "found it with updates of several steps, between which weights would change: wanted one of \
                           ema_overwrite_frequency and gradient_accumulation_steps";
            return Err(ParameterError::new("ema_overwrite_frequency", problem));
        }
        Ok(())
    }
}

/// The optimizer of that name and its learning rate, with Keras' defaults.
pub fn from_name(name: &str) -> Option<Descent> {
    Descent::named(name)
}
