//! Whether gradients and weights are coded on their way. Coding takes time and saves bytes; which of the two is worth more depends
//! on links, processors and values, so it is tried by [`Turns`]. No number of a run depends on it.

use std::time::Instant;

use lockstep_proto::frame::ToWorker;

use super::members::Member;
use super::turns::Turns;
use super::{Core, Output};
use crate::spec::{Coding, Homes};

/// See the file's text.
#[derive(Debug)]
pub(super) struct Coder {
    coding: Coding,
    /// Without coding, and with it.
    turns: Turns,
}

impl Coder {
    pub(super) fn new(coding: Coding) -> Coder {
        Coder { coding, turns: Turns::default() }
    }

    /// Whether what is sent is coded.
    pub(super) fn is_on(&self) -> bool {
        match self.coding {
            Coding::Auto => self.turns.is_second(),
            Coding::On => true,
            Coding::Off => false,
        }
    }

    /// See [`Turns::is_trying`].
    pub(super) fn is_trying(&self) -> bool {
        self.turns.is_trying()
    }

    /// See [`Turns::members_changed`].
    pub(super) fn members_changed(&mut self) {
        self.turns.members_changed();
    }

    /// See [`Turns::step_begins`].
    pub(super) fn step_begins(&mut self, now: Instant, pays: bool, may_begin: bool) {
        let is_tried = self.coding == Coding::Auto && pays;
        self.turns.step_begins(now, is_tried, may_begin);
    }

    /// See [`Turns::other_begins`].
    pub(super) fn other_begins(&mut self) {
        self.turns.other_begins();
    }
}

impl Core {
    /// A step begins: tells those whose gradients go over a link whether to code them. Those of a worker on the coordinator's machine
    /// do where others are home to chunks.
    pub(super) fn code(&mut self) {
        let is_sent = |member: &Member| member.gets_weights && !member.shares;
        let pays = !self.reducer.is_small() && self.members.values().any(is_sent);
        // One thing is tried at a time.
        let is_free = !self.home_turns.is_trying() && !self.engine.tries_crews();
        self.coder.step_begins(self.now, pays, is_free);
        self.engine.allow_crew_trials(!self.coder.is_trying() && !self.home_turns.is_trying());
        let is_on = self.coder.is_on();
        let has_homes = self.homes != Homes::Off;
        for (&worker, member) in &mut self.members {
            let is_told = member.gets_weights && (!member.shares || has_homes);
            if is_told && member.codes != is_on {
                member.codes = is_on;
                self.outputs.push_back(Output::Say(worker, ToWorker::Code(is_on)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_job_may_say() {
        for (coding, is_on) in [(Coding::On, true), (Coding::Off, false)] {
            let (mut coder, mut now) = (Coder::new(coding), Instant::now());
            for _ in 0..50 {
                coder.step_begins(now, true, true);
                assert!(coder.is_on() == is_on && !coder.is_trying());
                now += Duration::from_millis(if coder.is_on() { 1 } else { 10 });
            }
        }
    }
}
