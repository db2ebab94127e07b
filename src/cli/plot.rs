//! A metric of one run or several, by epoch, as one picture.

use std::collections::BTreeSet;
use std::path::PathBuf;

use lockstep_run::error::{Error, Result};
use lockstep_run::report::{Report, report};
use lockstep_status::Status;

use super::args::Plot;
use super::{output as file, status};
use crate::picture::{Curve, Picture};
use crate::report::SharedConsole;

/// Writes the picture.
///
/// # Errors
/// If a folder is that of no run, no run has the metric, or the output is one that must not or cannot be written.
pub(super) fn write(options: Plot, reporter: &SharedConsole) -> Result<()> {
    let Plot { runs, metric, output, force } = options;
    status::check_together(&runs)?;
    let end = output.extension().and_then(|end| end.to_str()).unwrap_or_default();
    let draw = match end.to_ascii_lowercase().as_str() {
        "svg" => Picture::svg,
        "png" => Picture::png,
        _ => {
            let problem =
                format!("--output {}: wanted a name that ends in .svg or .png", output.display());
            return Err(Error::Arguments(problem));
        }
    };
    for run in &runs {
        file::check(run, None, &output, force)?;
    }
    let found = status::of_folders(&runs)?;
    let picture = picture(&runs, &found, &metric)?;
    let failed = |problem| Error::Internal(format!("cannot draw the picture: {problem}"));
    let bytes = draw(&picture).map_err(failed)?;
    file::write(&output, &bytes, force)?;
    let (output, bytes) = (output.display().to_string(), bytes.len() as u64);
    report(reporter, &Report::Plotted { output, bytes });
    Ok(())
}

fn picture(runs: &[PathBuf], found: &[Status], metric: &str) -> Result<Picture> {
    let points = |status: &Status, metric: &str| -> Vec<(f64, f64)> {
        let value = |epoch: &lockstep_status::value::Epoch| {
            Some((f64::from(epoch.epoch), epoch.values.get(metric).copied().flatten()?))
        };
        status.epochs.iter().filter_map(value).collect()
    };
    let curves: Vec<Curve> = match (runs, found) {
        ([_], [status]) => [metric.to_string(), format!("validation_{metric}")]
            .into_iter()
            .map(|name| Curve { points: points(status, &name), name })
            .filter(|curve| curve.name == metric || !curve.points.is_empty())
            .collect(),
        _ => {
            let all = runs.iter().zip(found);
            all.map(|(run, status)| Curve {
                name: run.display().to_string(),
                points: points(status, metric),
            })
            .collect()
        }
    };
    if curves.iter().all(|curve| curve.points.is_empty()) {
        let epochs = found.iter().flat_map(|status| &status.epochs);
        let names: BTreeSet<&str> =
            epochs.flat_map(|epoch| epoch.values.keys()).map(String::as_str).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let there = match names.is_empty() {
            true => "no epoch is over yet".to_string(),
            false => format!("wanted one of {}", names.join(", ")),
        };
        return Err(Error::Arguments(format!("--metric {metric}: found no values of it; {there}")));
    }
    let title = match found {
        [status] => status.run.name.clone(),
        _ => metric.to_string(),
    };
    Ok(Picture { title, x: "epoch".to_string(), y: metric.to_string(), curves })
}
