//! Weights as they come: taken in when it is their turn, as they are or as what changed since the step before. What changed is of
//! no use where the step before is not here, or if another worker altered it: then the coordinator is asked for the values.

use std::time::Instant;

use lockstep_proto::buffer::Buffer;
use lockstep_proto::coding;
use lockstep_proto::frame::digest;
use lockstep_proto::ids::{Chunk, Step};

use super::{Core, Output};
use crate::WorkerError;
use crate::arrivals::{Content, Named};
use crate::weights::Found;

impl Core {
    /// A chunk of the weights is here, or where it can be read.
    pub(super) fn came(
        &mut self,
        now: Instant,
        step: Step,
        chunk: Chunk,
        content: Content,
    ) -> Result<(), WorkerError> {
        self.outputs.push_back(Output::Answered(chunk));
        self.outlet.answered(step, chunk);
        self.arrivals.came(step, chunk, content);
        self.take_in(now)
    }

    /// Takes in chunks whose turn it is, and asks for what is missing.
    pub(super) fn take_in(&mut self, now: Instant) -> Result<(), WorkerError> {
        while let Some((step, chunk, content)) = self.arrivals.next() {
            match content {
                Content::Values(values) => self.values_of(step, chunk, &values),
                Content::Coded(coded, named) => {
                    self.coded_weights(now, (step, chunk), &coded, named)?;
                }
                Content::Shared => {
                    let shared = self.shared.as_ref();
                    let copy =
                        |into: &mut _| shared.is_some_and(|s| s.weights.copy(step, chunk, into));
                    self.weights.receive(step, chunk, copy);
                }
            }
        }
        self.ask();
        Ok(())
    }

    fn values_of(&mut self, step: Step, chunk: Chunk, values: &[u8]) {
        let precision = self.limits.precision;
        self.weights.receive(step, chunk, |into| {
            precision.copy(values, into);
            true
        });
    }

    /// Takes in a chunk as what changed from the step before. `named`: another worker passed it on.
    fn coded_weights(
        &mut self,
        now: Instant,
        (step, chunk): (Step, Chunk),
        coded: &[u8],
        named: Option<Named>,
    ) -> Result<(), WorkerError> {
        let before = Step(step.0 - 1);
        let base = match self.weights.at(before) {
            Found::Here(base) => base,
            // Those of the step, or newer ones, are whole.
            Found::Gone => return Ok(()),
            // Some of it was given up.
            Found::Coming if self.peers.are_there() => {
                self.arrivals.lacks(now, step, chunk);
                return Ok(());
            }
            Found::Coming => {
                let problem = format!("coded weights of {step}, but {before} is not here");
                return Err(WorkerError::Protocol(problem));
            }
        };
        let (layout, precision) = (&self.limits.layout, self.limits.precision);
        let base = base.frame(layout, chunk, precision);
        let mut frame = Buffer::new(base.len());
        let decoded = coding::decode(precision, coded, Some(&base), &mut frame);
        let frame = frame.into_bytes();
        match (decoded, named) {
            (Ok(()), None) => self.values_of(step, chunk, &frame),
            (Ok(()), Some(named)) if digest(&frame) == named.digest => {
                self.values_of(step, chunk, &frame);
            }
            (_, Some(named)) => {
                // Altered: nothing of whoever did that is good for anything.
                self.arrivals.lacks(now, step, chunk);
                self.peer_down(named.home);
            }
            (Err(error), None) => {
                return Err(WorkerError::Protocol(format!("broken message: {error}")));
            }
        }
        Ok(())
    }
}
