//! The status as Prometheus takes it, in the text format that all its versions and tools read: names begin with `lockstep_`, units
//! are seconds and rows, totals only grow.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::Status;
use crate::value::State;

/// What the text is called.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

type Gauges<L> = Family<L, Gauge<f64, AtomicU64>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Run {
    name: String,
    id: String,
    version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Worker {
    worker: u64,
    host: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Doing {
    worker: u64,
    host: String,
    state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: String,
}

/// All of it.
pub fn text(status: &Status) -> String {
    let mut registry = Registry::with_prefix("lockstep");
    let Status { run, position, now, counts, .. } = status;
    let info = Gauges::<Run>::default();
    let (name, id, version) = (run.name.clone(), run.id.clone(), status.lockstep.clone());
    info.get_or_create(&Run { name, id, version }).set(1.0);
    registry.register("run_info", "The run that this coordinator leads", info);
    let states = Gauges::<InState>::default();
    for state in STATES {
        let labels = InState { state: state.name().to_string() };
        states.get_or_create(&labels).set(f64::from(u8::from(state == run.state)));
    }
    registry.register("run_state", "1 for the state that the run is in", states);
    let mut gauge = |name: &str, help: &str, value: f64| {
        registry.register(name, help, ConstGauge::new(value));
    };
    gauge("epoch", "The epoch in hand, from 1", f64::from(position.epoch));
    gauge("epochs", "Epochs of the run", f64::from(position.epochs));
    gauge("run_steps", "Steps of the run", position.steps as f64);
    gauge("members", "Workers that take part", status.members.len() as f64);
    for (name, help, value) in [
        ("loss", "Mean loss over the epoch in hand", now.loss),
        ("learning_rate", "Learning rate of the last step", now.learning_rate),
        ("rows_per_second", "Rows trained on in a second, lately", now.rows_per_second),
        ("left_seconds", "Time that is left at that pace", now.seconds_left),
    ] {
        if let Some(value) = value {
            gauge(name, help, value);
        }
    }
    for (name, help, value) in [
        ("steps", "Steps made", position.step),
        ("rows", "Rows trained on", now.rows),
        ("joins", "Workers let in", counts.joined),
        ("losses", "Workers that left, for whatever reason", counts.lost),
        ("refusals", "Workers not let in", counts.refused),
        ("hedged_spans", "Spans that were late and dealt to others as well", counts.hedged),
        ("recomputed_microbatches", "Microbatches computed again", counts.dealt_again),
        ("checkpoints", "Checkpoints written", counts.checkpoints),
        ("warnings", "Warnings", counts.warnings),
    ] {
        registry.register(name, help, ConstCounter::new(value));
    }
    measures(&mut registry, status);
    members(&mut registry, status);
    let mut text = String::new();
    // Writing to a text does not fail.
    let _ = encode(&mut text, &registry);
    plain(&text)
}

/// From the OpenMetrics format, which tools for the older one do not read: there a counter is called by its whole name where it
/// is described as well, and no line says that it is the last.
fn plain(text: &str) -> String {
    let described = |line: &str, what: &str| {
        let (name, rest) = line.strip_prefix(what)?.split_once(' ')?;
        Some((name.to_string(), rest.to_string()))
    };
    let types = text.lines().filter_map(|line| described(line, "# TYPE "));
    let counters: BTreeSet<String> =
        types.filter(|(_, kind)| kind == "counter").map(|(name, _)| name).collect();
    let line = |line: &str| {
        for what in ["# HELP ", "# TYPE "] {
            if let Some((name, rest)) =
                described(line, what).filter(|(name, _)| counters.contains(name))
            {
                return format!("{what}{name}_total {rest}\n");
            }
        }
        format!("{line}\n")
    };
    text.lines().filter(|line| *line != "# EOF").map(line).collect()
}

const STATES: [State; 9] = [
    State::Starting,
    State::Training,
    State::Waiting,
    State::Stopping,
    State::Ending,
    State::Finished,
    State::Stopped,
    State::Failed,
    State::Lost,
];

/// Loss and metrics of the last epoch, and what is waited for.
fn measures(registry: &mut Registry, status: &Status) {
    let values = Gauges::<Named>::default();
    let last = status.epochs.last();
    for (name, value) in last.iter().flat_map(|epoch| &epoch.values) {
        if let Some(value) = value {
            values.get_or_create(&Named { name: name.clone() }).set(*value);
        }
    }
    registry.register("epoch_value", "Loss and metrics of the last epoch that is over", values);
    let waits = Gauges::<Stage>::default();
    for wait in &status.waits {
        let gauge = waits.get_or_create_owned(&Stage { stage: wait.stage.clone() });
        gauge.set(gauge.get().max(wait.seconds));
    }
    registry.register("wait_seconds", "For how long something is waited for", waits);
}

fn members(registry: &mut Registry, status: &Status) {
    let states = Gauges::<Doing>::default();
    let (rows, lag) = (Gauges::<Worker>::default(), Gauges::<Worker>::default());
    let [computing, sending, waiting] = [(); 3].map(|()| Gauges::<Worker>::default());
    for member in &status.members {
        let (worker, host) = (member.worker, member.host.clone());
        let doing = Doing { worker, host: host.clone(), state: member.state.clone() };
        states.get_or_create(&doing).set(1.0);
        let labels = Worker { worker, host };
        for (family, value) in [
            (&rows, member.rows_per_second),
            (&lag, member.lag),
            (&computing, member.computing),
            (&sending, member.sending),
            (&waiting, member.waiting),
        ] {
            if let Some(value) = value {
                family.get_or_create(&labels).set(value);
            }
        }
    }
    registry.register("worker_state", "1 for the state that a worker is in", states);
    registry.register("worker_rows_per_second", "Rows that a worker computes in a second", rows);
    registry.register("worker_lag_ratio", "How long its answers take, against the median", lag);
    let shares = "of the last steps' time";
    registry.register(
        "worker_computing_ratio",
        format!("Share {shares} that it computes"),
        computing,
    );
    registry.register(
        "worker_sending_ratio",
        format!("Share {shares} that its results are on their way"),
        sending,
    );
    registry.register(
        "worker_waiting_ratio",
        format!("Share {shares} that it waits for others"),
        waiting,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Epoch, Member, Wait};

    #[test]
    fn names_have_units_and_labels_are_escaped() {
        let host = "a\"b\\c\nd".to_string();
        let member =
            Member { worker: 3, host, state: "slow".into(), lag: Some(2.5), ..Member::default() };
        let values = [("loss".to_string(), Some(0.5)), ("r2".to_string(), None)].into();
        let wait = Wait { stage: "results".into(), seconds: 7.0, ..Wait::default() };
        let status = Status {
            members: vec![member],
            epochs: vec![Epoch { values, ..Epoch::default() }],
            waits: vec![wait],
            ..Status::default()
        };
        let text = text(&status);
        for line in [
            "lockstep_steps_total 0",
            "lockstep_run_state{state=\"starting\"} 1.0",
            "lockstep_epoch_value{name=\"loss\"} 0.5",
            "lockstep_worker_lag_ratio{worker=\"3\",host=\"a\\\"b\\\\c\\nd\"} 2.5",
            "lockstep_wait_seconds{stage=\"results\"} 7.0",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line}\n{text}");
        }
        assert!(!text.contains("name=\"r2\"") && !text.contains("# EOF"), "{text}");
        assert!(
            text.contains("# TYPE lockstep_steps_total counter\nlockstep_steps_total 0\n"),
            "{text}"
        );
    }
}
