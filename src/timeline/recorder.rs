//! Notes spans of the steps that are wanted: in memory, as many as it has places for. Writes nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use lockstep_proto::timeline::TARGET;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, filter};

use super::WARM_UP_STEPS;

/// Most spans of a process; those after them are counted and let go.
const SPANS_MAX: usize = 1 << 18;

/// A number that a span has: its name and its value.
type Number = (&'static str, u64);

/// Most numbers of a span.
const NUMBERS_MAX: usize = 4;

/// A span that is over.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Noted {
    pub(crate) name: &'static str,
    /// The thread, or what stands for one.
    pub(crate) track: u32,
    /// From the timeline's beginning.
    pub(crate) start: Duration,
    pub(crate) took: Duration,
    numbers: [Option<Number>; NUMBERS_MAX],
}

impl Noted {
    pub(crate) fn numbers(&self) -> impl Iterator<Item = Number> {
        self.numbers.iter().copied().flatten()
    }
}

/// What was noted.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) spans: Vec<Noted>,
    /// How many there was no place for.
    pub(crate) left_out: u64,
    /// Names of the tracks, by number.
    pub(crate) tracks: BTreeMap<u32, String>,
}

/// What one process does when.
#[derive(Debug)]
pub(crate) struct Timeline {
    begin: Instant,
    pub(crate) begin_unix: Duration,
    steps: u64,
    /// The first step that was seen, and the newest.
    first: AtomicU64,
    newest: AtomicU64,
    next_track: AtomicU32,
    // Std mutexes: held to push a few numbers, never across a wait.
    notes: Mutex<Notes>,
    clock: Mutex<Option<Clock>>,
}

/// The coordinator's clock beside this machine's, by a round trip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Clock {
    /// What it is ahead of this machine's, in nanoseconds.
    pub(crate) ahead: i128,
    /// How much more or less it may be: half of the round trip.
    pub(crate) error: i128,
}

thread_local! {
    /// The number of this thread's track; a process has one timeline.
    static TRACK: std::cell::Cell<Option<u32>> = const { std::cell::Cell::new(None) };
}

impl Timeline {
    /// Of so many steps, from now on.
    pub(crate) fn of_steps(steps: u64) -> Arc<Timeline> {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Arc::new(Timeline {
            begin: Instant::now(),
            begin_unix: unix.unwrap_or_default(),
            steps,
            first: AtomicU64::new(u64::MAX),
            newest: AtomicU64::new(0),
            next_track: AtomicU32::new(1),
            notes: Mutex::default(),
            clock: Mutex::default(),
        })
    }

    /// What was noted; nothing of it is left here.
    pub(crate) fn take(&self) -> Notes {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of the coordinator's clock.
    pub(crate) fn clock(&self) -> Option<Clock> {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer came just now with what the coordinator's clock had said, so long after the question. Of several round trips the
    /// shortest counts.
    fn see_clock(&self, said: Duration, round_trip: Duration) {
        let now = (self.begin_unix + self.begin.elapsed()).as_nanos() as i128;
        let error = round_trip.as_nanos() as i128 / 2;
        let seen = Clock { ahead: said.as_nanos() as i128 - (now - error), error };
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        if clock.is_none_or(|best| error < best.error) {
            *clock = Some(seen);
        }
    }

    /// Whether spans are noted that begin now; `step` is what this one says.
    fn is_open(&self, step: Option<u64>) -> bool {
        if let Some(step) = step {
            self.first.fetch_min(step, Ordering::Relaxed);
            self.newest.fetch_max(step, Ordering::Relaxed);
        }
        let first = self.first.load(Ordering::Relaxed);
        let passed = self.newest.load(Ordering::Relaxed).checked_sub(first);
        passed.is_some_and(|passed| passed >= WARM_UP_STEPS && passed - WARM_UP_STEPS < self.steps)
    }

    fn note(&self, name: &'static str, begun: Begun, now: Instant) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.spans.len() >= SPANS_MAX {
            notes.left_out += 1;
            return;
        }
        let track = match begun.track {
            Some(named) => self.named_track(&mut notes, named),
            None => self.thread_track(&mut notes),
        };
        notes.spans.push(Noted {
            name,
            track,
            start: begun.at.saturating_duration_since(self.begin),
            took: now.saturating_duration_since(begun.at),
            numbers: begun.numbers,
        });
    }

    fn thread_track(&self, notes: &mut Notes) -> u32 {
        TRACK.get().unwrap_or_else(|| {
            let track = self.next_track.fetch_add(1, Ordering::Relaxed);
            let name = std::thread::current().name().unwrap_or("thread").to_string();
            notes.tracks.insert(track, name);
            TRACK.set(Some(track));
            track
        })
    }

    /// Of a task, which goes from thread to thread.
    fn named_track(&self, notes: &mut Notes, name: &'static str) -> u32 {
        let known = notes.tracks.iter().find(|(_, known)| *known == name);
        known.map(|(&track, _)| track).unwrap_or_else(|| {
            let track = self.next_track.fetch_add(1, Ordering::Relaxed);
            notes.tracks.insert(track, name.to_string());
            track
        })
    }
}

/// Takes spans to a timeline.
pub(crate) struct Recorder(pub(crate) Arc<Timeline>);

impl Recorder {
    /// As a part of a subscriber, which sees nothing else.
    pub(crate) fn layer<S>(self) -> filter::Filtered<Recorder, FilterFn, S>
    where
        S: Subscriber + for<'s> LookupSpan<'s>,
    {
        let wanted = FilterFn::new(is_of_a_step as fn(&Metadata<'_>) -> bool);
        self.with_filter(wanted.with_max_level_hint(LevelFilter::TRACE))
    }
}

fn is_of_a_step(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET
}

/// A span that goes on.
struct Begun {
    at: Instant,
    track: Option<&'static str>,
    numbers: [Option<Number>; NUMBERS_MAX],
}

/// The numbers of a span, as they are visited.
#[derive(Default)]
struct Numbers {
    numbers: [Option<Number>; NUMBERS_MAX],
    step: Option<u64>,
    track: Option<&'static str>,
}

impl Visit for Numbers {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "step" {
            self.step = Some(value);
        }
        if let Some(free) = self.numbers.iter_mut().find(|number| number.is_none()) {
            *free = Some((field.name(), value));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        // Only names that this program has: nothing of a peer's.
        self.track = match (field.name(), value) {
            ("track", "run") => Some("run"),
            ("track", "session") => Some("session"),
            _ => self.track,
        };
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut seen = Numbers::default();
        attributes.record(&mut seen);
        if let Some(span) = context.span(id)
            && self.0.is_open(seen.step)
        {
            let Numbers { numbers, track, .. } = seen;
            span.extensions_mut().insert(Begun { at: Instant::now(), track, numbers });
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut seen = Numbers::default();
        event.record(&mut seen);
        let number = |wanted: &str| {
            let mut numbers = seen.numbers.iter().flatten();
            numbers.find(|(name, _)| *name == wanted).map(|&(_, nanos)| Duration::from_nanos(nanos))
        };
        if let Some((said, took)) = number("coordinator_unix_nanos").zip(number("round_trip_nanos"))
        {
            self.0.see_clock(said, took);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let begun = span.extensions_mut().remove::<Begun>();
        if let Some(begun) = begun {
            self.0.note(span.name(), begun, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::trace_span;
    use tracing_subscriber::layer::SubscriberExt as _;

    fn names(timeline: &Timeline) -> Vec<(&'static str, Vec<Number>)> {
        timeline.take().spans.iter().map(|span| (span.name, span.numbers().collect())).collect()
    }

    fn with(steps: u64, work: impl FnOnce()) -> Arc<Timeline> {
        let timeline = Timeline::of_steps(steps);
        let subscriber = tracing_subscriber::registry().with(Recorder(timeline.clone()).layer());
        tracing::subscriber::with_default(subscriber, work);
        timeline
    }

    #[test]
    fn only_the_steps_after_the_warm_up_are_noted() {
        let timeline = with(2, || {
            for step in 5..20_u64 {
                let _step = trace_span!(target: TARGET, "deal", step).entered();
                drop(trace_span!(target: TARGET, "send").entered());
            }
        });
        let wanted: Vec<_> = [8, 9]
            .into_iter()
            .flat_map(|step| [("send", Vec::new()), ("deal", vec![("step", step)])])
            .collect();
        assert_eq!(names(&timeline), wanted);
    }

    /// The shortest round trip says what the other clock is ahead.
    #[test]
    fn the_coordinators_clock_is_seen() {
        let timeline = Timeline::of_steps(1);
        assert_eq!(timeline.clock(), None);
        let subscriber = tracing_subscriber::registry().with(Recorder(timeline.clone()).layer());
        let told = |seconds_ahead: u64, round_trip: Duration| {
            let now = timeline.begin_unix + timeline.begin.elapsed();
            let said = now + Duration::from_secs(seconds_ahead) - round_trip / 2;
            let (coordinator_unix_nanos, round_trip_nanos) =
                (said.as_nanos() as u64, round_trip.as_nanos() as u64);
            tracing::trace!(target: TARGET, coordinator_unix_nanos, round_trip_nanos);
        };
        tracing::subscriber::with_default(subscriber, || {
            told(70, Duration::from_millis(30));
            told(50, Duration::from_millis(2));
            told(90, Duration::from_millis(3));
        });
        let clock = timeline.clock().unwrap();
        assert_eq!(clock.error, 1_000_000);
        // Less what passes from when it is told to when it is seen: nothing here takes a minute.
        assert!(clock.ahead <= 50_000_000_000 && clock.ahead > 0, "{clock:?}");
    }

    #[test]
    fn spans_and_events_of_others_are_none_of_it() {
        let timeline = with(100, || {
            for step in 0..9_u64 {
                let _step = trace_span!("deal", step).entered();
                tracing::error!(target: TARGET, "text");
            }
        });
        assert_eq!(names(&timeline), []);
    }

    #[test]
    fn what_a_thread_does_nests_and_has_its_track() {
        let timeline = with(100, || {
            for step in 0..6_u64 {
                let _step = trace_span!(target: TARGET, "deal", step).entered();
                let _layer = trace_span!(target: TARGET, "forward", step, layer = 1_u64).entered();
            }
            let _waits = trace_span!(target: TARGET, "wait", track = "session");
        });
        let notes = timeline.take();
        assert_eq!(notes.left_out, 0);
        for pair in notes.spans[..6].chunks(2) {
            let [inner, outer] = pair else { panic!("a deal has a layer") };
            assert!(inner.start >= outer.start && inner.track == outer.track);
            assert!(inner.start + inner.took <= outer.start + outer.took);
        }
        let waits = notes.spans.last().unwrap();
        assert_eq!((waits.name, &*notes.tracks[&waits.track]), ("wait", "session"));
    }
}
