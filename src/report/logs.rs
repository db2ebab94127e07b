//! From `tracing`'s events to lines of the log: reports like all others, so that there is one way out of the program, with its
//! escaping. Only this program's own events: what libraries say may hold what nobody is to see.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use lockstep_proto::timeline::TARGET;
use lockstep_run::report::{Level, Report, report};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use super::SharedConsole;
use crate::timeline::{Recorder, Timeline};

/// What the names of this program's own modules begin with.
const OWN: &str = "lockstep";

/// Longest text of a field, in characters.
const TEXT_CHARS_MAX: usize = 2000;

/// From now on what is logged goes to the console, up to this level, and spans of steps to the timeline, if there is one. Once in a
/// process: later calls change nothing.
pub(crate) fn subscribe(console: &SharedConsole, level: Level, timeline: Option<Arc<Timeline>>) {
    let logs = Logs(console.clone()).with_filter(wanted(level));
    let registry = tracing_subscriber::registry().with(logs);
    // Fails only if it was done before.
    let _ = match timeline {
        None => tracing::subscriber::set_global_default(registry),
        Some(timeline) => {
            tracing::subscriber::set_global_default(registry.with(Recorder(timeline).layer()))
        }
    };
}

fn wanted(level: Level) -> FilterFn<impl Fn(&Metadata<'_>) -> bool> {
    let max = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let is_wanted = move |metadata: &Metadata<'_>| {
        let is_own = metadata.target().starts_with(OWN) && metadata.target() != TARGET;
        metadata.is_event() && *metadata.level() <= max && is_own
    };
    FilterFn::new(is_wanted).with_max_level_hint(max)
}

/// Takes events to the console. Whoever has locked that logs nothing.
struct Logs(SharedConsole);

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Logs {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        report(&self.0, &line(event));
    }
}

fn line(event: &Event<'_>) -> Report {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let metadata = event.metadata();
    let level = match *metadata.level() {
        tracing::Level::ERROR => Level::Error,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::INFO => Level::Info,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::TRACE => Level::Trace,
    };
    let message = match fields.0.remove("message") {
        Some(Value::String(message)) => message,
        _ => String::new(),
    };
    Report::Log { level, target: metadata.target().to_string(), message, fields: fields.0 }
}

#[derive(Default)]
struct Fields(BTreeMap<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_string(), value.into());
    }
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.chars().take(TEXT_CHARS_MAX).collect::<String>());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Keeps what it is told.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Report>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(line(event));
        }
    }

    fn logged(level: Level, work: impl FnOnce()) -> Vec<Report> {
        let kept = Kept::default();
        let layer = kept.clone().with_filter(wanted(level));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let kept = kept.0.lock().unwrap();
        kept.clone()
    }

    #[test]
    fn an_event_is_a_line_with_its_fields() {
        let lines = logged(Level::Debug, || {
            let who = "a\u{1b}[2J";
            tracing::debug!(target: "lockstep_worker", step = 3_u64, who, "dialed {}", 7);
            tracing::trace!(target: "lockstep_worker", "not wanted");
        });
        let [Report::Log { level, target, message, fields }] = &lines[..] else {
            panic!("{lines:?}")
        };
        assert_eq!((*level, &**target, &**message), (Level::Debug, "lockstep_worker", "dialed 7"));
        assert_eq!(fields["step"], 3);
        assert_eq!(fields["who"], "a\u{1b}[2J", "it is escaped where it is written");
    }

    #[test]
    fn what_libraries_say_and_long_texts_stay_out() {
        let lines = logged(Level::Trace, || {
            tracing::error!(target: "h2::codec", "header: secret");
            tracing::info!(text = "x".repeat(9 * TEXT_CHARS_MAX), "long");
        });
        let [Report::Log { fields, .. }] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(fields["text"].as_str().unwrap().len(), TEXT_CHARS_MAX);
    }
}
