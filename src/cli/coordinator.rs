//! `coordinator`: leads a run in this process, for workers that come by themselves.

use std::net::SocketAddr;
use std::sync::Arc;

use lockstep_coordinator::Stop;
use lockstep_run::error::Result;
use lockstep_run::plan::Plan;
use lockstep_run::train::{self, Lead, Listen, Listening};

use super::args::Coordinator;
use super::{cores, default_out, joining, process};
use crate::report::SharedConsole;

/// Threads that carry messages, at most: they encrypt and copy, and decide and compute nothing.
const CARRIERS_MAX: usize = 4;

pub(super) fn run(options: Coordinator, reporter: &SharedConsole) -> Result<()> {
    process::end_with_parent(options.child.child_of);
    process::open_many();
    let job = options.job.load()?;
    let threads = options.threads.map_or_else(cores, usize::from);
    let carriers = carriers(&options.listen, threads);
    let admission = joining::admission(&options, reporter)?;
    let lead = Lead {
        admission,
        listen: Listen::At(options.listen),
        out: Some(options.out.unwrap_or_else(|| default_out(&job))),
        resume: options.resume,
        workers_start: usize::from(options.workers_start),
        checkpoint_seconds: options.checkpoint_seconds,
        threads,
        http: options.http.address(),
        epoch_end: None,
    };
    let plan = Arc::new(Plan::new(job)?);
    let reporter = reporter.clone();
    let is_child = options.child.child_of.is_some();
    let teller = reporter.clone();
    let listening = move |listening: Listening| {
        if !is_child {
            joining::tell(&listening, &teller);
        }
    };
    // The run lives on the runtime's own threads: see `Coordinator::run`.
    process::runtime_of(carriers)?.block_on(process::stop_or_end(is_child, async |stop| {
        let stop = async {
            let _ = stop.await;
            Stop::AfterPass
        };
        train::lead(plan, lead, reporter, stop, listening).await.map(drop)
    }))
}

/// How many threads carry messages. On loopback one: nothing is encrypted there, and several spend more on waking each other
/// than they share, a fifth of a small network's step.
fn carriers(listen: &str, threads: usize) -> usize {
    let is_loopback = match listen.parse::<SocketAddr>() {
        Ok(address) => address.ip().is_loopback(),
        Err(_) => listen.rsplit_once(':').is_some_and(|(host, _)| host == "localhost"),
    };
    if is_loopback { 1 } else { threads.clamp(1, CARRIERS_MAX) }
}

#[cfg(test)]
mod tests {
    use super::carriers;

    #[test]
    fn one_thread_carries_what_stays_on_this_machine() {
        for listen in ["127.0.0.1:7070", "127.1.2.3:0", "[::1]:0", "localhost:7070"] {
            assert_eq!(carriers(listen, 8), 1, "{listen}");
        }
    }

    #[test]
    fn threads_carry_what_is_encrypted_up_to_a_limit() {
        for listen in ["0.0.0.0:7070", "10.0.0.1:0", "[::]:0", "node1:7070"] {
            assert_eq!([1, 2, 16].map(|threads| carriers(listen, threads)), [1, 2, 4], "{listen}");
        }
    }
}
