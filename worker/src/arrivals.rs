//! Weights on their way in: those that another worker passes on, and what has to wait for them.
//!
//! The coordinator tells of all weights in their order, of some only who passes them on, with their digest. Values that do not
//! fit it are as good as none. Nothing of a step is handed on while some of an earlier one is still to come, so that no weights
//! are skipped; of three steps the oldest is given up, as in the coordinator's backlog. What does not come in time, or comes
//! altered, is asked for from the coordinator, once. Where nothing is passed on, nothing ever waits here.

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
    /// What changed, and whom to pass the values on to.
    Coded(Bytes, Vec<WorkerId>),
    /// In the coordinator's memory.
    Shared,
}

/// A chunk that can be taken in now.
pub(crate) type Arrived = (Step, Chunk, Content);

/// Weights that a worker passes on.
#[derive(Debug)]
struct Coming {
    home: WorkerId,
    digest: [u8; 32],
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
    early: BTreeMap<(Step, Chunk), (WorkerId, Bytes)>,
    newest: Step,
    /// When what is to come was told of; the first is still to come and was not asked for.
    told: VecDeque<(Instant, Step, Chunk)>,
    usual_seconds: f64,
    /// Chunks to ask the coordinator for.
    asks: Vec<(Step, Chunk)>,
}

impl Arrivals {
    /// The coordinator sent a chunk, or says where it is. What can be taken in now, in this order.
    pub(crate) fn came(&mut self, step: Step, chunk: Chunk, content: Content) -> Vec<Arrived> {
        self.see(step);
        self.coming.remove(&(step, chunk));
        self.held.insert((step, chunk), content);
        self.release()
    }

    /// The coordinator says who passes a chunk on.
    pub(crate) fn named(&mut self, now: Instant, named: NamedWeights) -> Vec<Arrived> {
        let NamedWeights { step, chunk, home, digest } = named;
        self.see(step);
        self.held.remove(&(step, chunk));
        let coming = Coming { home, digest, told_at: now, is_asked: false };
        self.coming.insert((step, chunk), coming);
        self.told.push_back((now, step, chunk));
        match self.early.remove(&(step, chunk)) {
            Some((sender, values)) => {
                self.passed_on(now, sender, (step, chunk), values, false).unwrap_or_default()
            }
            None => self.release(),
        }
    }

    /// A worker passed values on. `is_home`: by the newest route it is home to them. `None` if they are not what they should be.
    pub(crate) fn passed_on(
        &mut self,
        now: Instant,
        sender: WorkerId,
        place: (Step, Chunk),
        values: Bytes,
        is_home: bool,
    ) -> Option<Vec<Arrived>> {
        let Some(coming) = self.coming.get_mut(&place) else {
            // It can only be of the newest step, or the first of the next.
            let is_next = place.0 == self.newest || place.0.0 == self.newest.0.saturating_add(1);
            if is_home && is_next {
                self.early.insert(place, (sender, values));
            }
            return Some(Vec::new());
        };
        if coming.home != sender {
            return Some(Vec::new());
        }
        if digest(&values) != coming.digest {
            if !std::mem::replace(&mut coming.is_asked, true) {
                self.asks.push(place);
            }
            return None;
        }
        let took = now.saturating_duration_since(coming.told_at).as_secs_f64();
        self.usual_seconds += SMOOTHING * (took - self.usual_seconds);
        self.coming.remove(&place);
        self.held.insert(place, Content::Values(values));
        Some(self.release())
    }

    /// A worker cannot be reached: what it was to pass on is asked for.
    pub(crate) fn lost(&mut self, peer: WorkerId) {
        self.early.retain(|_, (sender, _)| *sender != peer);
        self.ask(|coming| coming.home == peer);
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
        let held = self.held.values().map(|content| match content {
            Content::Values(values) | Content::Coded(values, _) => values.len(),
            Content::Shared => 0,
        });
        held.sum::<usize>() + self.early.values().map(|(_, values)| values.len()).sum::<usize>()
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

    /// What waits for nothing of an earlier step any more.
    fn release(&mut self) -> Vec<Arrived> {
        let waiting = match self.coming.first_key_value() {
            Some((&(first, _), _)) => {
                self.held.split_off(&(Step(first.0.saturating_add(1)), Chunk(0)))
            }
            None => BTreeMap::new(),
        };
        let arrived = std::mem::replace(&mut self.held, waiting);
        self.tidy();
        arrived.into_iter().map(|((step, chunk), content)| (step, chunk, content)).collect()
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
        let content = Content::Values(values(step, chunk));
        places(arrivals.came(Step(step), Chunk(chunk), content))
    }

    fn places(arrived: Vec<Arrived>) -> Vec<(u64, u32)> {
        arrived.into_iter().map(|(step, chunk, _)| (step.0, chunk.0)).collect()
    }

    fn passed(arrivals: &mut Arrivals, now: Instant, step: u64, chunk: u32) -> Vec<(u64, u32)> {
        let place = (Step(step), Chunk(chunk));
        let arrived = arrivals.passed_on(now, HOME, place, values(step, chunk), true);
        places(arrived.expect("they are as they should be"))
    }

    #[test]
    fn nothing_overtakes_an_earlier_step() {
        let (mut arrivals, now) = (Arrivals::default(), Instant::now());
        assert_eq!(sent(&mut arrivals, 1, 0), [(1, 0)]);
        assert!(arrivals.named(now, named(1, 1)).is_empty());
        assert_eq!(sent(&mut arrivals, 1, 2), [(1, 2)], "of the same step");
        assert!(sent(&mut arrivals, 2, 0).is_empty());
        assert!(arrivals.named(now, named(2, 1)).is_empty());
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
        let stranger =
            arrivals.passed_on(now, WorkerId(1), (Step(1), Chunk(1)), values(1, 1), false);
        assert!(stranger.is_some_and(|arrived| arrived.is_empty()));
        assert_eq!(arrivals.bytes(), 2);
        assert_eq!(places(arrivals.named(now, named(1, 0))), [(1, 0)]);
        assert!(arrivals.named(now, named(1, 1)).is_empty());
    }

    #[test]
    fn what_is_altered_late_or_lost_is_asked_for_once() {
        let (mut arrivals, now) = (Arrivals::default(), Instant::now());
        for chunk in 0..3 {
            arrivals.named(now, named(1, chunk));
        }
        let place = (Step(1), Chunk(0));
        assert!(arrivals.passed_on(now, HOME, place, values(9, 9), true).is_none());
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
}
