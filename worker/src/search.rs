//! How long a worker looks for a coordinator, and with which pauses. Being let in is not yet success: a coordinator that
//! lets a worker in, gives it nothing to do and ends is looked for no longer than one that is not there.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use crate::WorkerError;
use crate::lost::Lost;

/// First and longest pause between two tries.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// A try that lasts this long is told of, and again after as long.
const TOLD_AFTER: Duration = Duration::from_secs(4);

/// A membership that lasted this long, and as long as a worker looks, was one, even without work: the coordinator may
/// have waited for other workers.
const LASTING: Duration = Duration::from_secs(30);

/// After a membership with work that lasted this long, pauses begin anew; they go on growing where it ended before.
const STEADY: Duration = Duration::from_secs(1);

/// One search: from the start, or from the loss of a coordinator that was of use, to the next one that is.
pub(crate) struct Search {
    /// How long to look.
    wait: Duration,
    /// Looked so far, before this stretch.
    looked: Duration,
    /// Since when it looks; `None` while it is a member.
    since: Option<Instant>,
    pause: Duration,
    /// Memberships without use.
    fruitless: u32,
}

impl Search {
    pub(crate) fn new(wait: Duration) -> Search {
        Search { wait, looked: Duration::ZERO, since: None, pause: PAUSE_MIN, fruitless: 0 }
    }

    /// The worker looks from now on.
    pub(crate) fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// The worker was let in.
    pub(crate) fn found(&mut self) {
        self.looked = self.elapsed();
        self.since = None;
    }

    /// A membership is over, and it is known now whether it was of use. How long to pause.
    ///
    /// # Errors
    /// If it was of none, and the wait is over.
    pub(crate) fn lost(
        &mut self,
        address: &str,
        loss: &Lost,
        worked: bool,
        lasted: Duration,
    ) -> Result<Duration, WorkerError> {
        let waited = lasted >= self.wait.max(LASTING) && !matches!(loss, Lost::NoRows(..));
        if worked || waited {
            let pause = if lasted >= STEADY { PAUSE_MIN } else { self.pause };
            *self = Search { pause, ..Search::new(self.wait) };
            self.begin();
            // There is always one more try.
            return Ok(self.next_pause());
        }
        self.fruitless += 1;
        self.begin();
        self.pause(address, loss).map(|(pause, _)| pause)
    }

    /// How long to pause before the next try, and how long is left.
    ///
    /// # Errors
    /// If the wait is over; `loss` is what the last try met.
    pub(crate) fn pause(
        &mut self,
        address: &str,
        loss: &Lost,
    ) -> Result<(Duration, Duration), WorkerError> {
        let waited = self.elapsed();
        let left = self.wait.saturating_sub(waited);
        if left.is_zero() {
            let (address, loss, fruitless) = (address.to_string(), loss.clone(), self.fruitless);
            return Err(WorkerError::NoCoordinator { address, waited, fruitless, loss });
        }
        Ok((self.next_pause().min(left), left))
    }

    /// How long it has looked, and how long is left.
    pub(crate) fn spent(&self) -> (Duration, Duration) {
        let waited = self.elapsed();
        (waited, self.wait.saturating_sub(waited))
    }

    fn next_pause(&mut self) -> Duration {
        let pause = jittered(self.pause, random());
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        pause
    }

    fn elapsed(&self) -> Duration {
        self.looked + self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// A try to join, that is told of while it lasts: somebody may take a connection and say nothing.
pub(crate) async fn telling<T>(attempt: impl Future<Output = T>, mut tell: impl FnMut()) -> T {
    tokio::pin!(attempt);
    loop {
        tokio::select! {
            biased;
            result = &mut attempt => return result,
            () = tokio::time::sleep(TOLD_AFTER) => tell(),
        }
    }
}

/// Half of a pause to all of it, evenly: workers that lost one coordinator together do not all come back together.
fn jittered(pause: Duration, random: u64) -> Duration {
    let share = 0.5 + 0.5 * (random as f64 / u64::MAX as f64);
    pause.mul_f64(share)
}

/// A number that differs from call to call and from process to process. Nothing but pauses and names may depend on it.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_try_that_lasts_is_told_of_within_five_seconds_and_again() {
        let begun = tokio::time::Instant::now();
        let mut told = Vec::new();
        let attempt = tokio::time::sleep(Duration::from_secs(10));
        telling(attempt, || told.push(begun.elapsed().as_secs())).await;
        assert_eq!(told, [4, 8]);
        let quick = telling(async { 7 }, || panic!("there is nothing to tell"));
        assert_eq!(quick.await, 7);
    }

    #[test]
    fn pauses_are_half_to_all_of_what_they_may_be() {
        let pause = Duration::from_millis(800);
        assert_eq!(jittered(pause, 0), pause / 2);
        assert_eq!(jittered(pause, u64::MAX), pause);
        assert_eq!(jittered(pause, u64::MAX / 2).as_millis(), 600);
        let pauses: Vec<_> = (0..1000).map(|_| jittered(pause, random())).collect();
        assert!(pauses.iter().all(|found| (pause / 2..=pause).contains(found)));
        // All quarters of the range are met.
        for quarter in 0..4 {
            let from = pause / 2 + pause / 8 * quarter;
            assert!(pauses.iter().any(|found| (from..from + pause / 8).contains(found)));
        }
    }

    #[test]
    fn pauses_grow_until_a_membership_was_of_use() {
        let mut search = Search::new(Duration::from_secs(1000));
        let mut next = |worked, lasted| {
            search.lost("there", &Lost::Vanished, worked, lasted).unwrap();
            search.pause
        };
        let short = Duration::from_secs(1);
        assert_eq!(next(false, short), PAUSE_MIN * 2);
        assert_eq!(next(false, short), PAUSE_MIN * 4);
        for _ in 0..9 {
            next(false, short);
        }
        assert_eq!(next(false, short), PAUSE_MAX);
        assert_eq!(next(true, short), PAUSE_MIN * 2);
        assert_eq!(next(false, short), PAUSE_MIN * 4);
        assert_eq!(next(true, Duration::ZERO), PAUSE_MIN * 8, "it was of use, but ended at once");
        assert_eq!(next(false, Duration::from_secs(1000)), PAUSE_MIN * 2);
    }

    #[test]
    fn waiting_for_rows_in_vain_is_of_no_use() {
        let mut search = Search::new(Duration::ZERO);
        let loss = Lost::NoRows("train shard 0".to_string(), LASTING);
        assert!(search.lost("there", &Lost::Vanished, false, LASTING * 2).is_ok());
        assert!(search.lost("there", &loss, false, LASTING * 2).is_err());
    }

    #[test]
    fn memberships_without_use_do_not_add_to_the_wait() {
        let mut search = Search::new(Duration::ZERO);
        let mut lost = |worked| {
            search.begin();
            search.found();
            search.lost("there", &Lost::Vanished, worked, Duration::from_secs(1))
        };
        assert!(lost(true).is_ok(), "one more try");
        let error = lost(false).unwrap_err();
        assert!(matches!(error, WorkerError::NoCoordinator { fruitless: 1, .. }), "{error}");
    }
}
