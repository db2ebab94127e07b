//! Keeps the status of a run that goes on: turns what the run and its reports tell into entries of a [`Book`], and publishes
//! what there is to see. Changes nothing in the run. The page that shows it is started here as well.

mod job;
mod machine;
mod page;
mod told;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lockstep_coordinator::Peer;
use lockstep_coordinator::RunEvent;
use lockstep_coordinator::engine::{MemberState, MemberView, Planned, Wait, WaitReason};
use lockstep_proto::ids::{Table, Task, WorkerId};
use lockstep_status::book::{Book, Point, Seen, Share};
use lockstep_status::value::{self, State, Status};
use tokio::sync::watch;

use crate::report::words::machine;
use crate::report::{Report, Values};
pub use job::{asked, run_of};
pub(crate) use machine::Shortages;
pub use page::{PAGE_DEFAULT, Served, page_key};
pub(crate) use page::{bind, names};
pub use told::{Tee, outcome_of};

/// How often what is seen is brought up to date.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The status of a run that goes on, for whoever has something to tell; or nothing, where nobody looks.
#[derive(Clone, Debug, Default)]
pub struct Watch(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    // A std mutex: every section writes a few numbers, or copies the book, and none waits.
    book: Mutex<Book>,
    published: watch::Sender<Arc<Status>>,
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

impl Watch {
    /// Of a run that this book is of.
    pub fn of(book: Book) -> Watch {
        let status = Arc::new(book.status(now()));
        let published = watch::Sender::new(status);
        Watch(Some(Arc::new(Shared { book: Mutex::new(book), published })))
    }

    /// How often a run is to tell who does what.
    pub(crate) fn look_interval(&self) -> Option<Duration> {
        self.0.as_ref().map(|_| LOOK_INTERVAL)
    }

    /// What is published, now and later; `None` where nothing is.
    pub(crate) fn subscribe(&self) -> Option<watch::Receiver<Arc<Status>>> {
        self.0.as_ref().map(|shared| shared.published.subscribe())
    }

    /// Writes something into the book, if there is one.
    pub(crate) fn note(&self, write: impl FnOnce(&mut Book, f64)) {
        if let Some(shared) = &self.0 {
            write(&mut shared.book.lock().unwrap_or_else(PoisonError::into_inner), now());
        }
    }

    /// Shows what there is to see now; it, if there is a book.
    pub(crate) fn publish(&self) -> Option<Arc<Status>> {
        let shared = self.0.as_ref()?;
        let status = shared.book.lock().unwrap_or_else(PoisonError::into_inner).status(now());
        let status = Arc::new(status);
        shared.published.send_replace(status.clone());
        Some(status)
    }

    /// Writes that the run is in another state, and shows it.
    pub(crate) fn state(&self, state: State, reason: Option<String>) -> Option<Arc<Status>> {
        self.note(|book, _| book.state(state, reason));
        self.publish()
    }

    /// Takes in what a run tells, but for what comes as a report as well. `remedy` says what there is to do about a wait;
    /// `seconds_before` are those of executions before this one.
    pub(crate) fn observe(
        &self,
        event: &RunEvent<'_>,
        seconds_before: f64,
        remedy: impl Fn(&Wait) -> String,
    ) {
        match *event {
            RunEvent::Refused { peer, reason } => self.refused(peer, reason),
            RunEvent::Stopping => drop(self.state(State::Stopping, None)),
            RunEvent::Step {
                epoch,
                step,
                rows,
                sums,
                learning_rate,
                seconds,
                norms,
                silent,
                ..
            } => {
                let (loss, rate) = (sums[0] / rows as f64, as_written(learning_rate));
                let seconds = seconds_before + seconds;
                let point = Point { step, loss, learning_rate: rate, rows, seconds };
                self.note(|book, at| {
                    book.step(epoch, point);
                    if !norms.is_empty() {
                        let norm = |(name, norm): &(String, f64)| (name.clone(), Some(*norm));
                        for warning in book.gradient(step, norms.iter().map(norm).collect()) {
                            book.event(at, "warning", warning);
                        }
                    }
                    for warning in book.silent_units(silent) {
                        book.event(at, "warning", warning);
                    }
                });
            }
            RunEvent::Passed { planned, took, shares } => {
                let share = |share: &lockstep_coordinator::PassShare| Share {
                    worker: share.worker.0,
                    busy: share.busy.as_secs_f64(),
                    answered: share.answered.map(|answered| answered.as_secs_f64()),
                };
                let shares = shares.iter().map(share).collect();
                self.note(|book, _| book.passed(name_of(&planned), took.as_secs_f64(), shares));
            }
            RunEvent::Members { members, planned, wait, adds } => {
                let seen: Vec<Seen> = members.iter().map(seen).collect();
                let measures = planned.and_then(|planned| match planned.task {
                    Task::Train { .. } => None,
                    Task::Evaluate { table } => Some(table.to_string()),
                });
                let wait = wait.map(|wait| shown(wait, remedy(wait)));
                self.note(|book, _| {
                    book.adds(adds);
                    book.look(&seen, measures, wait);
                });
                self.publish();
            }
            RunEvent::Hedged { worker, span } => {
                let text = format!(
                    "{worker} is late with {span}: others compute the same, and the first answer counts"
                );
                self.note(|book, at| book.hedged(at, worker.0, text));
            }
            RunEvent::DealtAgain { worker, span, microbatches } => {
                let text = format!("{worker} computes {span} again");
                self.note(|book, at| book.dealt_again(at, microbatches, text));
            }
            _ => {}
        }
    }

    /// An epoch is over, and shown.
    pub(crate) fn epoch(&self, epoch: u32, seconds: f64, values: &Values, stops: Option<&str>) {
        let shown = values.iter().map(|(name, &value)| (name.clone(), value::finite(value)));
        self.note(|book, at| {
            for warning in book.epoch(epoch, seconds, shown.collect()) {
                book.event(at, "warning", warning);
            }
            if let Some(why) = stops {
                book.event(at, "policy", why.to_string());
                book.ends_after(epoch);
            }
        });
    }

    /// A checkpoint is written, and this is what the machine is short of since.
    pub(crate) fn checkpoint(&self, step: u64, warnings: Vec<String>) {
        self.note(|book, at| {
            book.event(at, "checkpoint", format!("checkpoint of step {step}"));
            warnings.into_iter().for_each(|warning| book.event(at, "warning", warning));
        });
    }

    fn refused(&self, peer: &Peer, reason: &str) {
        let place = machine(&peer.host, peer.ip().as_deref());
        let name = format!("{place}, process {}", peer.pid);
        let text = format!("refused a worker ({name}): {reason}");
        self.note(|book, at| book.refused(at, name, text));
        self.publish();
    }

    /// Takes in a report.
    pub(crate) fn told(&self, report: &Report) {
        self.note(|book, at| told::tell(book, at, report));
        // Rare, and nothing may come after them for long.
        if !matches!(report, Report::Progress { .. } | Report::Epoch { .. }) {
            self.publish();
        }
    }
}

/// The number that people read where a record has it: 0.1, and not the `f32` next to it.
fn as_written(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

fn name_of(planned: &Planned) -> String {
    match planned.task {
        Task::Train { .. } => format!("step {}", planned.step.0 + 1),
        Task::Evaluate { table: Table::Validation } => "validation".to_string(),
        Task::Evaluate { table } => table.to_string(),
    }
}

/// A wait as people see it, with what can be done about it.
pub(crate) fn shown(wait: &Wait, remedy: String) -> value::Wait {
    value::Wait {
        what: wait.to_string(),
        stage: stage_of(&wait.reason).to_string(),
        peer: listed(&wait.workers()),
        seconds: wait.waited.as_secs_f64(),
        limit_seconds: wait.limit.map(|limit| limit.as_secs_f64()),
        remedy,
    }
}

/// Who they are, if there is anybody.
fn listed(workers: &[WorkerId]) -> Option<String> {
    let names: Vec<String> = workers.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// What is waited for, in one word.
fn stage_of(reason: &WaitReason) -> &'static str {
    match reason {
        WaitReason::Workers { .. } => "workers",
        WaitReason::Shards { .. } => "rows",
        WaitReason::Adding | WaitReason::Sum { .. } => "adding",
        WaitReason::Results { .. } => "results",
        WaitReason::Audit { .. } | WaitReason::Dispute { .. } => "audit",
    }
}

fn seen(view: &MemberView) -> Seen {
    let (state, reason) = match view.state {
        MemberState::Waiting => ("waiting", "it waits until enough others have joined"),
        MemberState::Fetching => ("fetching", "it fetches its rows"),
        MemberState::Computing => ("computing", ""),
        MemberState::Late => ("late", "its answer is late: others compute the same as well"),
        MemberState::Silent => ("silent", "an answer of it was waited for in vain"),
        MemberState::Idle => ("idle", ""),
        MemberState::Spare => {
            ("spare", "a step is too short to share: it is over sooner without this worker")
        }
    };
    Seen {
        worker: view.worker.0,
        state,
        reason: reason.to_string(),
        state_seconds: view.state_for.map(|since| since.as_secs_f64()),
        span: view.span.map(|span| (span.start, span.end)),
        rows_per_second: view.rows_per_second,
        joined_seconds: view.joined_for.as_secs_f64(),
    }
}
