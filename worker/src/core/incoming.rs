//! Weights as they come: taken in when it is their turn, as they are or as what changed, and passed on where that is wanted.

use lockstep_proto::buffer::Buffer;
use lockstep_proto::coding;
use lockstep_proto::ids::{Chunk, Step, WorkerId};

use super::{Core, Output};
use crate::WorkerError;
use crate::arrivals::{Arrived, Content};
use crate::weights::Found;

impl Core {
    /// A chunk of the weights is here, or where it can be read.
    pub(super) fn came(
        &mut self,
        step: Step,
        chunk: Chunk,
        content: Content,
    ) -> Result<(), WorkerError> {
        self.outputs.push_back(Output::Answered(chunk));
        self.outlet.answered(step, chunk);
        let arrived = self.arrivals.came(step, chunk, content);
        self.take_in(arrived)
    }

    /// Takes in chunks, whose turn it is.
    pub(super) fn take_in(&mut self, arrived: Vec<Arrived>) -> Result<(), WorkerError> {
        for (step, chunk, content) in arrived {
            match content {
                Content::Values(values) => self.values_of(step, chunk, &values),
                Content::Coded(coded, pass_on) => {
                    self.coded_weights(step, chunk, &coded, pass_on)?;
                }
                Content::Shared => {
                    let shared = self.shared.as_ref();
                    let copy =
                        |into: &mut _| shared.is_some_and(|s| s.weights.copy(step, chunk, into));
                    self.weights.receive(step, chunk, copy);
                }
            }
        }
        Ok(())
    }

    fn values_of(&mut self, step: Step, chunk: Chunk, values: &[u8]) {
        let precision = self.limits.precision;
        self.weights.receive(step, chunk, |into| {
            precision.copy(values, into);
            true
        });
    }

    /// Takes in a chunk as what changed from the step before, of which all is here.
    fn coded_weights(
        &mut self,
        step: Step,
        chunk: Chunk,
        coded: &[u8],
        pass_on: Vec<WorkerId>,
    ) -> Result<(), WorkerError> {
        let before = Step(step.0 - 1);
        let Found::Here(base) = self.weights.at(before) else {
            let problem = format!("coded weights of {step}, but {before} is not here");
            return Err(WorkerError::Protocol(problem));
        };
        let (layout, precision) = (&self.limits.layout, self.limits.precision);
        let base = base.frame(layout, chunk, precision);
        let mut frame = Buffer::new(base.len());
        coding::decode(precision, coded, Some(&base), &mut frame)
            .map_err(|error| WorkerError::Protocol(format!("broken message: {error}")))?;
        let frame = frame.into_bytes();
        self.values_of(step, chunk, &frame);
        self.pass_on(step, chunk, &frame, pass_on)
    }
}
