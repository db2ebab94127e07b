//! What a cluster's processes log and note of when they do what.

use lockstep_run::error::Result;
use lockstep_run::report::{Report, report};
use tokio::process::Command;

use super::LocalCluster;

impl LocalCluster<'_> {
    /// Has a child on this machine say and note what this process is to.
    pub(super) fn observe(&mut self, command: &mut Command) {
        command.args(["--log-level", self.console().level().name()]);
        if let Some(traces) = &mut self.traces {
            command.arg("--trace").arg(traces.next_part());
            command.args(["--trace-steps", &self.options.trace.trace_steps.to_string()]);
        }
    }

    /// Makes one timeline of those of its processes.
    pub(super) fn join_traces(&mut self) -> Result<()> {
        let Some(traces) = self.traces.take() else { return Ok(()) };
        let missing = traces.finish()?;
        if missing > 0 {
            let message = format!(
                "the trace has nothing of {missing} of the processes, which were killed before they wrote it"
            );
            report(self.reporter, &Report::Warning { message });
        }
        Ok(())
    }
}
