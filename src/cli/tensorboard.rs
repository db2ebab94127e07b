//! A run for TensorBoard, now or until it is over.

use std::time::Duration;

use lockstep_run::error::{Error, Result, STOPPED};
use lockstep_run::report::{Report, report};
use lockstep_run::tensorboard::EventFile;

use super::args::TensorBoard;
use super::{output, process};
use crate::report::SharedConsole;

/// How often a run that goes on is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Writes what there is of a run; with `--follow`, until the run is over.
///
/// # Errors
/// If the folder is that of no run, or the events are there already or cannot be written.
pub(super) fn write(options: &TensorBoard, reporter: &SharedConsole) -> Result<()> {
    let TensorBoard { run, logdir, follow, histograms, force } = options;
    output::check_folder(run, logdir)?;
    let mut events = EventFile::begin(run, logdir, *force)?;
    let followed = match follow {
        false => events.follow().map(drop),
        true => process::runtime()?.block_on(async {
            tokio::select! {
                followed = to_its_end(&mut events, reporter) => followed,
                () = process::stop_signal() => Err(Error::Stopped(STOPPED.to_string())),
            }
        }),
    };
    followed?;
    if *histograms {
        events.histograms()?;
    }
    let bytes = std::fs::metadata(events.path()).map_or(0, |found| found.len());
    let output = events.path().display().to_string();
    report(reporter, &Report::Reported { output, bytes });
    Ok(())
}

async fn to_its_end(events: &mut EventFile, reporter: &SharedConsole) -> Result<()> {
    let message = format!("following the run into {}: until it is over", events.path().display());
    report(reporter, &Report::Note { message });
    while !events.follow()? {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}
