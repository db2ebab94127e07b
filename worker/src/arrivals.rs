//! Weights on their way in: those that another worker passes on, and what has to wait for them.
//!
//! The coordinator tells of all weights in their order, of some only who passes them on, with their digest. Values that do not
//! fit it are as good as none. Nothing of a step is handed on while some of an earlier one is still to come, so that no weights
//! are skipped; of three steps the oldest is given up, as in the coordinator's backlog. What does not come in time, or comes
//! altered, is asked for from the coordinator, once; so is what changed from weights that are not here. Where nothing is passed
//! on, nothing ever waits here.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lockstep_proto::frame::{NamedWeights, digest};
use lockstep_proto::ids::{Chunk, Step, WorkerId};

/// Weights that are passed on are asked for after so long, and so many times as long as they usually take.
const WAIT_MIN: Duration = Duration::from_millis(500);
const WAIT_FACTOR: u32 = 4;

/// Weight of the newest wait in what is usual.
const SMOOTHING: f64 = 0.1;

/// The values of a chunk, as they came.
#[derive(Debug)]
pub(crate) enum Content {
    /// As they are.
    Values(Bytes),
    /// What changed since the step before. Of another worker it is not known before it is decoded whether they are what the
    /// coordinator meant.
    Coded(Bytes, Option<Named>),
    /// In the coordinator's memory.
    Shared,
}

impl Content {
    fn bytes(&self) -> usize {
        match self {
            Content::Values(values) | Content::Coded(values, _) => values.len(),
            Content::Shared => 0,
        }
    }
}

/// What the coordinator says of values that it does not send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Named {
    /// Who passes them on.
    pub(crate) home: WorkerId,
    /// Of the values, coded or not.
    pub(crate) digest: [u8; 32],
}

/// A chunk that can be taken in now.
pub(crate) type Arrived = (Step, Chunk, Content);

/// Weights that are still to come.
#[derive(Debug)]
struct Coming {
    /// `None`: from the coordinator.
    named: Option<Named>,
    told_at: Instant,
    is_asked: bool,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    coming: BTreeMap<(Step, Chunk), Coming>,
    /// What is here, and of a later step than what is still to come.
    held: BTreeMap<(Step, Chunk), Content>,
    /// Values that came before the coordinator told of them.
    early: BTreeMap<(Step, Chunk), (WorkerId, Content)>,
    newest: Step,
    /// When what is to come was told of; the first is still to come and was not asked for.
    told: VecDeque<(Instant, Step, Chunk)>,
    usual_seconds: f64,
    /// Chunks to ask the coordinator for.
    asks: Vec<(Step, Chunk)>,
}

impl Arrivals {
    /// The coordinator sent a chunk, or says where it is.
    pub(crate) fn came(&mut self, step: Step, chunk: Chunk, content: Content) {
        self.see(step);
        self.coming.remove(&(step, chunk));
        self.held.insert((step, chunk), content);
        self.tidy();
    }

    /// The coordinator says who passes a chunk on.
    pub(crate) fn named(&mut self, now: Instant, named: NamedWeights) {
        let NamedWeights { step, chunk, home, digest } = named;
        self.see(step);
        self.held.remove(&(step, chunk));
        let named = Some(Named { home, digest });
        self.coming.insert((step, chunk), Coming { named, told_at: now, is_asked: false });
        self.told.push_back((now, step, chunk));
        if let Some((sender, content)) = self.early.remove(&(step, chunk)) {
            self.passed_on(now, sender, (step, chunk), content, false);
        }
    }

    /// A worker passed a chunk on. `is_home`: by the newest route it is home to it. False if the values are known not to be
    /// what they should be.
    pub(crate) fn passed_on(
        &mut self,
        now: Instant,
        sender: WorkerId,
        place: (Step, Chunk),
        content: Content,
        is_home: bool,
    ) -> bool {
        let Some(coming) = self.coming.get_mut(&place) else {
            // It can only be of the newest step, or the first of the next.
            let is_next = place.0 == self.newest || place.0.0 == self.newest.0.saturating_add(1);
            if is_home && is_next {
                self.early.insert(place, (sender, content));
            }
            return true;
        };
        let Some(named) = coming.named.filter(|named| named.home == sender) else { return true };
        let content = match content {
            Content::Coded(coded, _) => Content::Coded(coded, Some(named)),
            Content::Values(values) if digest(&values) == named.digest => Content::Values(values),
            _ => {
                if !std::mem::replace(&mut coming.is_asked, true) {
                    self.asks.push(place);
                }
                return false;
            }
        };
        let took = now.saturating_duration_since(coming.told_at).as_secs_f64();
        self.usual_seconds += SMOOTHING * (took - self.usual_seconds);
        self.coming.remove(&place);
        self.held.insert(place, content);
        self.tidy();
        true
    }

    /// What can be taken in next: what waits for nothing of an earlier step.
    pub(crate) fn next(&mut self) -> Option<Arrived> {
        let first = self.coming.first_key_value().map(|(&(step, _), _)| step);
        let next = self.held.first_entry()?;
        if first.is_some_and(|first| next.key().0 > first) {
            return None;
        }
        let ((step, chunk), content) = next.remove_entry();
        Some((step, chunk, content))
    }

    /// What came of a chunk is of no use, since what it follows is not here or it is not what it should be: the chunk is asked
    /// for, unless its step is given up by now.
    pub(crate) fn lacks(&mut self, now: Instant, step: Step, chunk: Chunk) {
        if step.0.saturating_add(2) > self.newest.0 {
            self.coming.insert((step, chunk), Coming { named: None, told_at: now, is_asked: true });
            self.asks.push((step, chunk));
        }
    }

    /// A worker cannot be reached: what it was to pass on is asked for.
    pub(crate) fn lost(&mut self, peer: WorkerId) {
        self.early.retain(|_, (sender, _)| *sender != peer);
        self.ask(|coming| coming.named.is_some_and(|named| named.home == peer));
    }

    /// Asks for what took too long.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let patience = self.patience();
        self.ask(|coming| now >= coming.told_at + patience);
    }

    /// When that is.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let patience = self.patience();
        self.told.front().map(|(told_at, ..)| *told_at + patience)
    }

    /// What is to be asked for now.
    pub(crate) fn asks(&mut self) -> Vec<(Step, Chunk)> {
        self.tidy();
        std::mem::take(&mut self.asks)
    }

    /// Values that wait here, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let (held, early) = (self.held.values(), self.early.values().map(|(_, content)| content));
        held.chain(early).map(Content::bytes).sum()
    }

    fn patience(&self) -> Duration {
        let usual = Duration::try_from_secs_f64(self.usual_seconds).unwrap_or_default();
        WAIT_MIN + WAIT_FACTOR * usual
    }

    fn ask(&mut self, is_due: impl Fn(&Coming) -> bool) {
        for (&place, coming) in &mut self.coming {
            if !coming.is_asked && is_due(coming) {
                coming.is_asked = true;
                self.asks.push(place);
            }
        }
    }

    /// Weights of a step are told of: of three steps, the oldest is given up.
    fn see(&mut self, step: Step) {
        if step > self.newest {
            self.newest = step;
            self.early.retain(|&(of, _), _| of >= step);
            self.coming.retain(|&(of, _), _| of.0.saturating_add(2) > step.0);
        }
    }

    fn tidy(&mut self) {
        let waits = |(_, step, chunk): &(Instant, Step, Chunk)| {
            self.coming.get(&(*step, *chunk)).is_some_and(|coming| !coming.is_asked)
        };
        while self.told.front().is_some_and(|told| !waits(told)) {
            self.told.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: WorkerId = WorkerId(7);

    fn values(step: u64, chunk: u32) -> Bytes {
        Bytes::from(vec![step as u8, chunk as u8])
    }

    fn named(step: u64, chunk: u32) -> NamedWeights {
        let digest = digest(&values(step, chunk));
        NamedWeights { step: Step(step), chunk: Chunk(chunk), home: HOME, digest }
    }

    fn sent(arrivals: &mut Arrivals, step: u64, chunk: u32) -> Vec<(u64, u32)> {
        arrivals.came(Step(step), Chunk(chunk), Content::Values(values(step, chunk)));
        taken(arrivals)
    }

    fn told(arrivals: &mut Arrivals, now: Instant, step: u64, chunk: u32) -> Vec<(u64, u32)> {
        arrivals.named(now, named(step, chunk));
        taken(arrivals)
    }

    fn taken(arrivals: &mut Arrivals) -> Vec<(u64, u32)> {
        let next = std::iter::from_fn(|| arrivals.next());
        next.map(|(step, chunk, _)| (step.0, chunk.0)).collect()
    }

    fn passed(arrivals: &mut Arrivals, now: Instant, step: u64, chunk: u32) -> Vec<(u64, u32)> {
        let (place, content) = ((Step(step), Chunk(chunk)), Content::Values(values(step, chunk)));
        assert!(arrivals.passed_on(now, HOME, place, content, true));
        taken(arrivals)
    }

    #[test]
    fn nothing_overtakes_an_earlier_step() {
        let (mut arrivals, now) = (Arrivals::default(), Instant::now());
        assert_eq!(sent(&mut arrivals, 1, 0), [(1, 0)]);
        assert!(told(&mut arrivals, now, 1, 1).is_empty());
        assert_eq!(sent(&mut arrivals, 1, 2), [(1, 2)], "of the same step");
        assert!(sent(&mut arrivals, 2, 0).is_empty());
        assert!(told(&mut arrivals, now, 2, 1).is_empty());
        assert!(passed(&mut arrivals, now, 2, 1).is_empty());
        assert_eq!(passed(&mut arrivals, now, 1, 1), [(1, 1), (2, 0), (2, 1)]);
        assert_eq!((arrivals.poll_timeout(), arrivals.bytes()), (None, 0));
    }

    #[test]
    fn of_three_steps_the_oldest_is_given_up() {
        let (mut arrivals, now) = (Arrivals::default(), Instant::now());
        arrivals.named(now, named(1, 0));
        assert!(sent(&mut arrivals, 2, 0).is_empty());
        assert_eq!(sent(&mut arrivals, 3, 0), [(2, 0), (3, 0)]);
        assert!(passed(&mut arrivals, now, 1, 0).is_empty());
    }

    #[test]
    fn values_may_come_before_their_name_and_only_from_a_home() {
        let (mut arrivals, now) = (Arrivals::default(), Instant::now());
        assert!(passed(&mut arrivals, now, 1, 0).is_empty());
        assert!(passed(&mut arrivals, now, 2, 0).is_empty(), "too early");
        let content = Content::Values(values(1, 1));
        assert!(arrivals.passed_on(now, WorkerId(1), (Step(1), Chunk(1)), content, false));
        assert!(taken(&mut arrivals).is_empty());
        assert_eq!(arrivals.bytes(), 2);
        assert_eq!(told(&mut arrivals, now, 1, 0), [(1, 0)]);
        assert!(told(&mut arrivals, now, 1, 1).is_empty());
    }

    #[test]
    fn what_is_altered_late_or_lost_is_asked_for_once() {
        let (mut arrivals, now) = (Arrivals::default(), Instant::now());
        for chunk in 0..3 {
            arrivals.named(now, named(1, chunk));
        }
        let place = (Step(1), Chunk(0));
        assert!(!arrivals.passed_on(now, HOME, place, Content::Values(values(9, 9)), true));
        assert_eq!(arrivals.asks(), [place]);
        let due = arrivals.poll_timeout().expect("two are to come");
        assert_eq!(due, now + WAIT_MIN);
        arrivals.handle_timeout(now);
        assert!(arrivals.asks().is_empty());
        assert_eq!(passed(&mut arrivals, now, 1, 1), [(1, 1)]);
        arrivals.handle_timeout(due);
        assert_eq!(arrivals.asks(), [(Step(1), Chunk(2))]);
        arrivals.lost(HOME);
        assert!(arrivals.asks().is_empty() && arrivals.poll_timeout().is_none());
        assert_eq!(sent(&mut arrivals, 1, 0), [(1, 0)]);
        assert_eq!(sent(&mut arrivals, 1, 2), [(1, 2)]);
    }

    #[test]
    fn what_follows_on_weights_that_are_not_here_is_asked_for_and_waited_for() {
        let (mut arrivals, now) = (Arrivals::default(), Instant::now());
        let coded = || Content::Coded(values(1, 0), None);
        arrivals.named(now, named(1, 0));
        assert!(arrivals.passed_on(now, HOME, (Step(1), Chunk(0)), coded(), true));
        let Some((step, chunk, Content::Coded(_, Some(Named { home: HOME, .. })))) =
            arrivals.next()
        else {
            panic!("its home and digest go with it")
        };
        arrivals.lacks(now, step, chunk);
        assert_eq!(arrivals.asks(), [(step, chunk)]);
        assert!(sent(&mut arrivals, 2, 0).is_empty(), "it waits");
        assert!(arrivals.passed_on(now, HOME, (step, chunk), coded(), true), "too late");
        assert_eq!(sent(&mut arrivals, 1, 0), [(1, 0), (2, 0)]);
        // Nobody waits for what the coordinator does not have any more.
        arrivals.lacks(now, Step(0), Chunk(0));
        assert!(arrivals.asks().is_empty());
        assert_eq!(sent(&mut arrivals, 2, 1), [(2, 1)]);
    }
}
