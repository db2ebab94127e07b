//! `worker`: works for a coordinator, and tells people what comes of it.

use std::sync::PoisonError;
use std::time::Duration;

use lockstep_proto::words::count;
use lockstep_run::error::{Error, Result, STOPPED};
use lockstep_run::report::escape::peer_name;
use lockstep_run::report::{Report, report};
use lockstep_worker::{ADDRESSES_MAX, Ended, PeerOptions, WorkerConfig, WorkerEvent};

use super::args::Worker;
use super::{cores, joining, process};
use crate::report::SharedConsole;

pub(super) fn run(options: Worker, reporter: &SharedConsole) -> Result<()> {
    process::end_with_parent(options.child.child_of);
    let coordinator = joining::guide(&options, reporter)?;
    if options.end_with_input {
        process::end_with_input();
    }
    if options.advertise.len() > ADDRESSES_MAX {
        let found = options.advertise.len();
        return Err(Error::Arguments(format!(
            "found {found} addresses after --advertise, wanted {ADDRESSES_MAX} at most"
        )));
    }
    let config = WorkerConfig {
        coordinator,
        threads: options.threads.map_or_else(cores, usize::from),
        run_id: options.run_id,
        connect_wait: Duration::from_secs_f64(options.wait),
        host: lockstep_run::host_name(),
        share: !options.no_shared_memory,
        peers: PeerOptions { listen: options.listen, advertise: options.advertise },
    };
    work(config, reporter)
}

/// Works for a coordinator until the run ends or this process is asked to stop.
pub(super) fn work(config: WorkerConfig, reporter: &SharedConsole) -> Result<()> {
    let mut teller =
        Teller { coordinator: config.coordinator.shown(), retry_told: false, reporter };
    let mut tell = |event: WorkerEvent<'_>| {
        if let Some(told) = teller.told(event) {
            report(reporter, &told);
        }
    };
    let work = lockstep_worker::run(config, process::stop_signal(), &mut tell);
    match process::runtime()?.block_on(work)? {
        Ended::Finished => {
            report(reporter, &Report::Note { message: "the run is finished".to_string() });
            Ok(())
        }
        Ended::SaidGoodbye => {
            Err(Error::Stopped("stopped: said goodbye to the coordinator".to_string()))
        }
        Ended::Stopped => Err(Error::Stopped(STOPPED.to_string())),
    }
}

/// Puts what happens to a worker into words.
struct Teller<'a> {
    /// Where its coordinator is, as people see it.
    coordinator: String,
    /// Whether it was said that there is no coordinator yet: once is enough until one was found.
    retry_told: bool,
    reporter: &'a SharedConsole,
}

impl Teller<'_> {
    fn told(&mut self, event: WorkerEvent<'_>) -> Option<Report> {
        Some(match event {
            WorkerEvent::Retrying { error, waited, left, .. } if !self.retry_told => {
                self.retry_told = true;
                let what = format!("no coordinator at {} yet ({error})", self.coordinator);
                self.looking(what, waited, left)
            }
            WorkerEvent::StillTrying { waited, left } => {
                let seconds = waited.as_secs_f64();
                self.looking(format!("waiting for an answer for {seconds:.1} s"), waited, left)
            }
            WorkerEvent::Retrying { .. } => return None,
            WorkerEvent::Joined { run_id, worker } => {
                self.retry_told = false;
                let mut console = self.reporter.lock().unwrap_or_else(PoisonError::into_inner);
                console.set_worker(run_id, worker.0);
                drop(console);
                let run = peer_name(run_id);
                Report::Note { message: format!("joined run {run} as {worker}") }
            }
            WorkerEvent::Prepared { span, rows } => {
                let rows = count(rows, "row");
                Report::Note { message: format!("ready with {span}: {rows}") }
            }
            WorkerEvent::Forgot { spans, rows } => {
                let spans: Vec<String> = spans.iter().map(ToString::to_string).collect();
                let message = format!("let go of {}: {rows} rows are kept", spans.join(", "));
                Report::Note { message }
            }
            WorkerEvent::Lost { error } => Report::Warning {
                message: format!("lost the coordinator ({error}): looking for it again"),
            },
        })
    }

    /// The worker looks for its coordinator.
    fn looking(&self, what: String, waited: Duration, left: Duration) -> Report {
        Report::Waiting {
            what,
            stage: "joining".to_string(),
            peer: Some(format!("coordinator: {}", self.coordinator)),
            seconds: waited.as_secs_f64(),
            limit_seconds: Some((waited + left).as_secs_f64().ceil()),
            remedy: "start the coordinator, or check where it is and what is between".to_string(),
        }
    }
}
