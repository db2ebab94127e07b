//! Keeps the status of a run: is told what happens, with the time as an argument, and says what there is to see. Does no I/O,
//! and grows no further than the limits of its lists.

mod members;

use std::collections::{BTreeMap, VecDeque};

use crate::curve::CurveBook;
pub use crate::curve::Point;
use crate::explain::explained;
use crate::gradients::GradientBook;
use crate::learning::Learning;
pub use crate::strip::Share;
use crate::strip::StripBook;
use crate::value::{
    Counts, Epoch, Event, Gone, Job, Member, Now, Outcome, Position, Run, State, Status, Values,
    Wait,
};
pub use members::{Joined, Seen};

/// Most epochs that are listed.
const EPOCHS_MAX: usize = 1024;

/// Most events, and most workers that have left, that are remembered.
const EVENTS_MAX: usize = 200;
const GONE_MAX: usize = 64;

/// What pace and time left are taken from: the last seconds, in pieces of a tenth.
const PACE_SECONDS: f64 = 10.0;
const PACE_PIECE_SECONDS: f64 = 0.1;

/// How far back what happens again and again is looked for.
const EVENTS_BACK: usize = 6;

/// How long a peer that was not let in is shown among the waits.
const REFUSED_SECONDS: f64 = 30.0;

/// See the file's text.
#[derive(Clone, Debug, Default)]
pub struct Book {
    run: Run,
    job: Job,
    position: Position,
    now: Now,
    epochs: Vec<Epoch>,
    epochs_a_place: u32,
    curve: CurveBook,
    gradients: GradientBook,
    /// Run seconds, rows and steps at the end of the last pieces of time.
    pace: VecDeque<(f64, u64, u64)>,
    epoch_loss: (f64, u64),
    members: BTreeMap<u64, Member>,
    /// When each member was late, the last times.
    late_at: BTreeMap<u64, VecDeque<f64>>,
    gone: VecDeque<Gone>,
    adds: Option<String>,
    wait: Option<Wait>,
    refused: VecDeque<(f64, Wait)>,
    /// Since when a file cannot be written.
    disk: Option<(f64, Wait)>,
    strip: StripBook,
    learning: Learning,
    events: VecDeque<Event>,
    counts: Counts,
    result: Option<Outcome>,
}

impl Book {
    /// Of a run that was asked this, of so many epochs of so many steps.
    pub fn new(run: Run, job: Job, epochs: u32, steps_per_epoch: u64) -> Book {
        let steps = steps_per_epoch * u64::from(epochs);
        let position = Position { epochs, steps, ..Position::default() };
        Book { run, job, position, epochs_a_place: 1, ..Book::default() }
    }

    /// Goes on with what was remembered of earlier executions of the run: events, who left, and how often what happened.
    pub fn remember(&mut self, last: &Status) {
        self.events = last.events.iter().take(EVENTS_MAX).cloned().collect();
        self.gone = last.gone.iter().take(GONE_MAX).cloned().collect();
        self.counts = last.counts;
        self.strip.remember(last.spent);
    }

    /// Whether the loss is in units of scaled targets.
    pub fn loss_is_scaled(&mut self, is_scaled: bool) {
        self.now.loss_is_scaled = is_scaled;
    }

    /// A step is made.
    pub fn step(&mut self, epoch: u32, point: Point) {
        let Point { step, loss, learning_rate, rows, seconds } = point;
        if epoch != self.position.epoch {
            self.epoch_loss = (0.0, 0);
        }
        (self.position.epoch, self.position.step) = (epoch, step);
        if !self.run.state.is_over() && self.run.state != State::Stopping {
            self.run.state = State::Training;
        }
        self.epoch_loss.0 += loss * rows as f64;
        self.epoch_loss.1 += rows;
        self.now.rows += rows;
        self.now.seconds = seconds;
        self.now.learning_rate = crate::value::finite(learning_rate);
        self.curve.add(point);
        let now = (seconds, self.now.rows, step);
        let has_first = self.pace.len() > 1;
        match self.pace.back_mut() {
            Some(last) if has_first && seconds - last.0 < PACE_PIECE_SECONDS => *last = now,
            _ => self.pace.push_back(now),
        }
        while self.pace.len() > 2 && seconds - self.pace[1].0 > PACE_SECONDS {
            self.pace.pop_front();
        }
    }

    /// How large the gradient of each layer was in a step: what there is to warn of that was not before. Whoever tells of it for the
    /// first time makes events of it.
    pub fn gradient(&mut self, step: u64, norms: Vec<(String, Option<f64>)>) -> Vec<String> {
        self.gradients.add(step, norms)
    }

    /// Units that gave 0 for every row of an epoch, and how many there are, by layer: what there is to warn of that was not before.
    pub fn silent_units(&mut self, silent: &[(String, [u64; 2])]) -> Vec<String> {
        self.gradients.silent(silent)
    }

    /// An epoch is over: what there is to warn of that was not before. Whoever tells of an epoch for the first time makes events of it.
    pub fn epoch(&mut self, epoch: u32, seconds: f64, values: Values) -> Vec<String> {
        let warnings = self.learning.epoch(epoch, &values);
        let step = self.position.step;
        let epoch = Epoch { epoch, step, seconds, values };
        // The last is always there; of those before it, every so many.
        if self.epochs.last().is_some_and(|last| last.epoch % self.epochs_a_place != 0) {
            self.epochs.pop();
        }
        self.epochs.retain(|before| before.epoch < epoch.epoch);
        if self.epochs.len() == EPOCHS_MAX {
            self.epochs_a_place *= 2;
            let every = self.epochs_a_place;
            self.epochs.retain(|epoch| epoch.epoch.is_multiple_of(every));
        }
        self.epochs.push(epoch);
        warnings
    }

    /// The run has so many epochs, after all.
    pub fn ends_after(&mut self, epochs: u32) {
        let each = self.position.steps / u64::from(self.position.epochs.max(1));
        (self.position.epochs, self.position.steps) = (epochs, each * u64::from(epochs));
    }

    /// A file cannot be written, or, with `None`, can be again.
    pub fn disk(&mut self, at: f64, wait: Option<Wait>) {
        let since = self.disk.take().map_or(at, |(since, _)| since);
        self.disk = wait.map(|wait| (since, wait));
    }

    /// A pass is over.
    pub fn passed(&mut self, name: String, seconds: f64, shares: Vec<Share>) {
        for share in &shares {
            if let Some(member) = self.members.get_mut(&share.worker) {
                member.passes += 1;
            }
        }
        self.strip.add(name, seconds, shares);
    }

    /// What all members are doing, the table that is measured, if one is, and what is waited for.
    pub fn look(&mut self, seen: &[Seen], measures: Option<String>, wait: Option<Wait>) {
        for seen in seen {
            let Some(member) = self.members.get_mut(&seen.worker) else { continue };
            member.state = seen.state.to_string();
            member.reason = seen.reason.clone();
            member.state_seconds = seen.state_seconds;
            member.span = seen.span;
            member.rows_per_second = seen.rows_per_second;
            member.joined_seconds = seen.joined_seconds;
        }
        self.position.measures = measures;
        if !self.run.state.is_over() && self.run.state != State::Stopping {
            let moves = if self.position.step > 0 { State::Training } else { State::Starting };
            self.run.state = if wait.is_some() { State::Waiting } else { moves };
        }
        self.wait = wait;
    }

    /// Who adds up gradients, and why.
    pub fn adds(&mut self, who: &str) {
        self.adds = Some(who.to_string());
    }

    /// Something happened; the same as the last time counts as one more of it.
    pub fn event(&mut self, at: f64, kind: &str, text: String) {
        match kind {
            "warning" => self.counts.warnings += 1,
            "checkpoint" => self.counts.checkpoints += 1,
            _ => {}
        }
        let step = self.position.step;
        // What happens again and again, such as checkpoints, is to push nothing else out.
        let back = if is_frequent(kind) { EVENTS_BACK } else { 1 };
        let repeats =
            |event: &&mut Event| event.kind == kind && (event.text == text || is_frequent(kind));
        if let Some(last) = self.events.iter_mut().rev().take(back).find(repeats) {
            (last.at, last.step, last.text) = (at, step, text);
            last.times += 1;
            return;
        }
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(Event { at, step, kind: kind.to_string(), text, times: 1 });
    }

    /// How the run is now, and why.
    pub fn state(&mut self, state: State, reason: Option<String>) {
        self.run.state = state;
        self.run.reason = reason;
        if state.is_over() {
            self.wait = None;
            self.refused.clear();
        }
    }

    /// What the run has made.
    pub fn result(&mut self, result: Outcome) {
        self.result = Some(result);
    }

    /// All there is to see at this time, in seconds since 1970.
    pub fn status(&self, at: f64) -> Status {
        let mut waits: Vec<Wait> = self.wait.iter().cloned().collect();
        let recent = self.refused.iter().filter(|(since, _)| at - since <= REFUSED_SECONDS);
        let recent = self.disk.iter().chain(recent);
        waits.extend(recent.map(|(since, wait)| Wait { seconds: at - since, ..wait.clone() }));
        let members = self.members(at);
        let host = |worker| {
            let member = self.members.get(&worker).map(|member| &member.host);
            let mut gone = self.gone.iter().rev();
            let gone = || gone.find(|gone| gone.worker == worker).map(|gone| &gone.host);
            member.or_else(gone).cloned().unwrap_or_default()
        };
        let mut status = Status {
            format: 1,
            lockstep: env!("CARGO_PKG_VERSION").to_string(),
            at,
            run: self.run.clone(),
            job: self.job.clone(),
            position: self.position.clone(),
            now: self.now(),
            epochs: self.epochs.clone(),
            curve: self.curve.value(),
            gradients: self.gradients.value(),
            members,
            gone: self.gone.iter().cloned().collect(),
            adds: self.adds.clone(),
            waits,
            strip: self.strip.value(host),
            events: self.events.iter().cloned().collect(),
            counts: self.counts,
            result: self.result.clone(),
            spent: self.strip.spent(),
            ..Status::default()
        };
        status.explanations = explained(&status);
        status
    }

    fn now(&self) -> Now {
        let (sum, rows) = self.epoch_loss;
        let loss = if rows > 0 { crate::value::finite(sum / rows as f64) } else { None };
        let pace = self.pace.front().zip(self.pace.back()).filter(|(one, last)| last.0 > one.0);
        let stands = self.run.state == State::Waiting || self.run.state.is_over();
        let pace = pace.filter(|_| !stands || self.run.state.is_over());
        let rows_per_second = pace
            .map(|(one, last)| (last.1 - one.1) as f64 / (last.0 - one.0))
            .or(stands.then_some(0.0));
        let left = self.position.steps.saturating_sub(self.position.step);
        let seconds_left = pace.filter(|_| !stands).map(|(one, last)| {
            left as f64 * (last.0 - one.0) / last.2.saturating_sub(one.2).max(1) as f64
        });
        Now { loss, rows_per_second, seconds_left, ..self.now.clone() }
    }
}

/// Kinds of events of which only the last of a row is kept.
fn is_frequent(kind: &str) -> bool {
    matches!(kind, "checkpoint" | "hedged" | "dealt_again" | "waiting")
}

#[cfg(test)]
mod tests;
