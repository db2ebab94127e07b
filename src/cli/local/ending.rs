//! How a local cluster ends: whom it waits for, in which order, and how long.

use std::time::{Duration, Instant};

use super::children::{From, Heard, Stage, until};
use super::{END_WAIT_MAX, LocalCluster};

/// How long a coordinator is waited for where faults are injected: it has told those that it had.
const FAREWELL_WAIT_MAX: Duration = Duration::from_millis(300);

/// A coordinator that is asked to stop ends its step however long that takes, and says every few seconds what it waits
/// for. One that says nothing for so long is killed; one that writes what there is to keep gets longer.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const WRITING_MAX: Duration = Duration::from_secs(600);

impl LocalCluster<'_> {
    /// Sees every child end: the coordinator, when it was asked to and has ended its step; workers by themselves where it
    /// tells them, then asked to, killed at last.
    pub(super) async fn end(&mut self, told: bool) {
        if self.is_stopping {
            self.children.enter(Stage::Coordinator);
            self.coordinator_ended().await;
        } else if told {
            self.children.enter(Stage::Coordinator);
            let _ = tokio::time::timeout(END_WAIT_MAX, self.ended(Stage::Coordinator)).await;
        }
        self.children.enter(Stage::Everybody);
        let _ = tokio::time::timeout(END_WAIT_MAX, self.ended(Stage::Everybody)).await;
        self.children.kill().await;
    }

    /// Ready when the coordinator has ended, or has said nothing for so long that it will not.
    async fn coordinator_ended(&mut self) {
        let mut patience = Instant::now() + SILENCE_MAX;
        while self.coordinator.is_some() {
            let heard = tokio::select! {
                heard = self.children.hear_the_last() => heard,
                () = until(Some(patience)) => return,
            };
            match heard {
                Some(Heard::Line(from, line)) => {
                    self.show(from, &line);
                    if from == From::Coordinator {
                        let max = if self.ending_by_itself { WRITING_MAX } else { SILENCE_MAX };
                        patience = Instant::now() + max;
                    }
                }
                Some(Heard::Ended(From::Coordinator, _)) => self.coordinator = None,
                Some(Heard::Ended(From::Worker(_), _)) => {}
                None => return,
            }
        }
    }

    /// Ready when everybody has ended, or nobody is left who would tell the others to.
    async fn ended(&mut self, stage: Stage) {
        let mut patience = None;
        loop {
            // Workers that still look for a killed coordinator are told nothing by the last one.
            if self.disturber.is_some() && stage < Stage::Everybody && self.coordinator.is_none() {
                patience.get_or_insert_with(|| Instant::now() + FAREWELL_WAIT_MAX);
            }
            let heard = tokio::select! {
                heard = self.children.hear_the_last() => heard,
                () = until(patience) => return,
            };
            match heard {
                Some(Heard::Line(from, line)) => drop(self.show(from, &line)),
                Some(Heard::Ended(From::Coordinator, _)) => self.coordinator = None,
                Some(Heard::Ended(From::Worker(_), _)) => {}
                None => return,
            }
        }
    }
}
