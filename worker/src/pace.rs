//! Keeps a worker from running ahead of the others on a link that they share.
//!
//! A chunk's new weights come back once every worker has sent its part of it: that answers the chunk. Workers whose gradients
//! go faster than others' only make the answers to those wait, and the way back idle, so a worker holds back while too many
//! of its chunks are unanswered. Never for long: where answers stop coming (a worker was lost), nothing is held back. And not
//! at all where none can come yet: with clipping every chunk waits for the norm, which takes all of them.
//! Knows no streams and no clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lockstep_proto::ids::Chunk;
use lockstep_proto::layout::CHUNK_VALUES_MAX;
use lockstep_proto::wire::{self, worker_message::Kind};

/// Most chunks in a row without an answer, if they are of the greatest length: enough for links of 100 ms and 40 MB/s a worker. Of
/// shorter ones there are more.
pub(crate) const UNANSWERED_MAX: usize = 16;

/// Longest pause since the last answer.
pub(crate) const PAUSE_MAX: Duration = Duration::from_millis(100);

/// What was sent and answered.
#[derive(Debug, Default)]
pub struct Pace {
    /// How many chunks are as long as one of the longest.
    times_more: usize,
    pass: u64,
    /// Chunks that were sent after the last one that was answered.
    unanswered: VecDeque<u32>,
    answered_at: Option<Instant>,
    /// Nothing is ever held back.
    is_lifted: bool,
}

impl Pace {
    /// Chunks have so many values at most. Until this is known, they are taken for the longest.
    pub fn of_chunks(&mut self, values_max: usize) {
        self.times_more = CHUNK_VALUES_MAX / values_max.max(1);
    }

    /// Holds nothing back, however much is unanswered.
    pub fn lift(&mut self) {
        (self.is_lifted, self.unanswered) = (true, VecDeque::new());
    }

    /// A message is sent.
    pub fn note(&mut self, message: &wire::WorkerMessage) {
        let Some(Kind::Part(part)) = &message.kind else { return };
        if self.is_lifted {
            return;
        }
        if self.pass != part.pass {
            self.pass = part.pass;
            self.unanswered.clear();
        }
        for slice in &part.slices {
            // Nodes of one chunk follow each other.
            if self.unanswered.back() != Some(&slice.chunk) {
                self.unanswered.push_back(slice.chunk);
            }
        }
    }

    /// New weights of a chunk are here, which answers it and those that were sent before it. Whether that changes anything.
    pub fn answer(&mut self, now: Instant, chunk: Chunk) -> bool {
        let Some(place) = self.unanswered.iter().rposition(|&sent| sent == chunk.0) else {
            return false;
        };
        self.unanswered.drain(..=place);
        self.answered_at = Some(now);
        true
    }

    /// Until when to hold back what comes next, if at all.
    pub fn hold_until(&self, now: Instant) -> Option<Instant> {
        let until = self.answered_at? + PAUSE_MAX;
        let unanswered_max = UNANSWERED_MAX * self.times_more.max(1);
        (self.unanswered.len() >= unanswered_max && now < until).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(pass: u64, chunk: u32) -> wire::WorkerMessage {
        let slices = vec![wire::Slice { chunk, ..Default::default() }; 3];
        wire::WorkerMessage {
            kind: Some(Kind::Part(wire::ResultPart { pass, slices, ..Default::default() })),
        }
    }

    /// Sends parts for as long as they are not held back; how many.
    fn send(pace: &mut Pace, now: Instant, parts: &mut dyn Iterator<Item = (u64, u32)>) -> usize {
        let mut count = 0;
        while pace.hold_until(now).is_none()
            && let Some((pass, chunk)) = parts.next()
        {
            pace.note(&part(pass, chunk));
            count += 1;
        }
        count
    }

    #[test]
    fn unanswered_chunks_are_held_back_for_a_while() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let mut parts = (0..100).rev().map(|chunk| (1, chunk));
        pace.note(&part(1, parts.next().unwrap().1));
        assert!(pace.answer(now, Chunk(99)));
        assert_eq!(send(&mut pace, now, &mut parts), UNANSWERED_MAX);
        assert_eq!(pace.hold_until(now), Some(now + PAUSE_MAX));
        assert!(pace.answer(now, Chunk(98)));
        assert!(!pace.answer(now, Chunk(98)), "it was answered");
        assert_eq!(send(&mut pace, now, &mut parts), 1);
        // Answers what was sent before it, too.
        assert!(pace.answer(now, Chunk(90)));
        assert_eq!(send(&mut pace, now, &mut parts), 8);
        let later = now + PAUSE_MAX;
        assert_eq!(send(&mut pace, later, &mut parts), 100 - 1 - UNANSWERED_MAX - 9);
    }

    #[test]
    fn nothing_is_held_back_before_there_are_answers() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert!(!pace.answer(now, Chunk(5)));
        assert_eq!(send(&mut pace, now, &mut (0..100).map(|chunk| (1, chunk))), 100);
    }

    /// A clipped run: the answers of one step come, and then all chunks of the next are sent before any other.
    #[test]
    fn nothing_is_held_back_where_no_answer_can_come() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.lift();
        for pass in [1, 2] {
            assert_eq!(send(&mut pace, now, &mut (0..100).map(|chunk| (pass, chunk))), 100);
            (0..100).for_each(|chunk| _ = pace.answer(now, Chunk(chunk)));
        }
        // Even in mid-pause.
        let mut pace = Pace::default();
        let mut parts = (0..100).map(|chunk| (1, chunk));
        pace.note(&part(1, parts.next().unwrap().1));
        assert!(pace.answer(now, Chunk(0)));
        assert_eq!(send(&mut pace, now, &mut parts), UNANSWERED_MAX);
        pace.lift();
        assert_eq!(send(&mut pace, now, &mut parts), 100 - 1 - UNANSWERED_MAX);
    }

    #[test]
    fn of_shorter_chunks_more_may_be_unanswered() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.of_chunks(CHUNK_VALUES_MAX / 4);
        let mut parts = (0..100).map(|chunk| (1, chunk));
        pace.note(&part(1, parts.next().unwrap().1));
        assert!(pace.answer(now, Chunk(0)));
        assert_eq!(send(&mut pace, now, &mut parts), 4 * UNANSWERED_MAX);
    }

    #[test]
    fn another_pass_begins_anew() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let first = (0..UNANSWERED_MAX as u32).map(|chunk| (1, chunk));
        let mut parts = first.chain([(2, 0), (2, 1)]);
        pace.note(&part(1, parts.next().unwrap().1));
        assert!(pace.answer(now, Chunk(0)));
        assert_eq!(send(&mut pace, now, &mut parts), UNANSWERED_MAX - 1 + 2);
    }
}
