//! `check`: what a job would do, without doing it.

use std::fmt::Write as _;

use lockstep_data::{NumberSummary, TargetSummary};
use lockstep_proto::ids::{Span, Table};
use lockstep_proto::tree::ShardTree;

use super::args::JobFile;
use crate::error::Result;
use crate::plan::Plan;
use crate::report::thousands;

/// Classes and columns listed before the rest is only counted.
const LISTED_MAX: usize = 40;

pub(super) fn run(job: &JobFile, workers: usize) -> Result<()> {
    let plan = Plan::new(job.load()?)?;
    let mut text = format!("{}: fine\n", job.job.display());
    let sections: [fn(&Plan, usize, &mut String) -> std::fmt::Result; 4] =
        [layers, data, steps, traffic];
    for section in sections {
        // Writing to a String cannot fail.
        let _ = section(&plan, workers, &mut text);
    }
    super::print(&text)
}

fn layers(plan: &Plan, _: usize, text: &mut String) -> std::fmt::Result {
    let (network, model) = (&plan.network, &plan.job.model);
    writeln!(text, "\nnetwork: {} inputs, loss {}", network.inputs(), model.loss)?;
    let mut rows = vec![["layer", "output", "parameters", "activation"].map(String::from)];
    for (i, (layer, range)) in model.layers.iter().zip(network.layout().layers()).enumerate() {
        rows.push([
            format!("{i} dense"),
            format!("[rows, {}]", layer.units),
            thousands(range.len() as f64),
            layer.activation.to_string(),
        ]);
    }
    rows.push([
        String::new(),
        String::new(),
        thousands(network.layout().len() as f64),
        "in all".to_string(),
    ]);
    table(&rows, text)
}

fn data(plan: &Plan, _: usize, text: &mut String) -> std::fmt::Result {
    for summary in &plan.summary.tables {
        writeln!(
            text,
            "\n{} table: {} rows, {}",
            summary.table,
            summary.rows,
            summary.path.display()
        )?;
        if summary.dropped > 0 {
            writeln!(text, "  {} rows dropped for a missing cell", summary.dropped)?;
        }
        if summary.table != Table::Train {
            continue;
        }
        let mut rows = vec![["feature", "min", "max", "mean", "missing"].map(String::from)];
        rows.extend(summary.features.iter().take(LISTED_MAX).map(number_row));
        table(&rows, text)?;
        if summary.features.len() > LISTED_MAX {
            writeln!(text, "  and {} more", summary.features.len() - LISTED_MAX)?;
        }
        for target in &summary.targets {
            target_lines(target, text)?;
        }
    }
    writeln!(text, "  scale {}, missing {}", plan.job.data.scale, plan.job.data.missing.name())?;
    for warning in &plan.warnings {
        writeln!(text, "warning: {warning}")?;
    }
    if let Some(hint) = plan.summary.scaling_hint() {
        writeln!(text, "hint: {hint}")?;
    }
    Ok(())
}

fn number_row(column: &NumberSummary) -> [String; 5] {
    let number = |value: f64| format!("{value:.4}");
    [
        column.name.clone(),
        number(column.min.into()),
        number(column.max.into()),
        number(column.mean),
        column.missing.to_string(),
    ]
}

fn target_lines(target: &TargetSummary, text: &mut String) -> std::fmt::Result {
    match target {
        TargetSummary::Numbers(column) => writeln!(
            text,
            "  target {}: {} to {}, mean {:.4}",
            column.name, column.min, column.max, column.mean
        ),
        TargetSummary::Classes { name, counts } => {
            let listed: Vec<String> = counts
                .iter()
                .take(LISTED_MAX)
                .map(|(label, rows)| format!("{label} ({rows})"))
                .collect();
            let more = if counts.len() > LISTED_MAX { ", ..." } else { "" };
            writeln!(text, "  target {name}: {} classes: {}{more}", counts.len(), listed.join(", "))
        }
    }
}

fn steps(plan: &Plan, _: usize, text: &mut String) -> std::fmt::Result {
    let (batches, train) = (plan.batches(), &plan.job.train);
    let last = batches.batch_rows(batches.count() - 1);
    writeln!(
        text,
        "\ntraining: {} epochs of {} steps, {} in all; batches of {} rows{}",
        train.epochs,
        batches.count(),
        thousands(u64::from(train.epochs) as f64 * batches.count() as f64),
        batches.batch_size,
        if last == batches.batch_size { String::new() } else { format!(", the last of {last}") }
    )?;
    let rows = batches.batch_size.div_ceil(u64::from(batches.shards));
    writeln!(
        text,
        "  {} shards: up to {rows} rows of a batch each, work for at most {} workers",
        batches.shards, batches.shards
    )
}

fn traffic(plan: &Plan, workers: usize, text: &mut String) -> std::fmt::Result {
    let batches = plan.batches();
    let tree = ShardTree::new(batches.shards);
    let workers = workers.min(batches.shards as usize);
    let share = batches.shards.div_ceil(workers as u32);
    let nodes = tree.nodes(Span { start: 0, end: share }).len() as u64;
    let parameters = plan.weights.len() as u64;
    let (tables, width) = (&plan.tables, plan.tables.train.rows().width() as u64);
    let all_rows = batches.rows
        + tables.validation.as_ref().map_or(0, |table| table.rows().len() as u64)
        + plan.test_rows().unwrap_or(0);
    let moments = plan.job.train.optimizer.moment_count() as u64;
    let precision = plan.job.train.precision;
    let moved = precision.width() as u64 * parameters;
    // Weights, gradient, one partial sum; published weights of two steps.
    let coordinator = 4 * (all_rows * width + parameters * (3 + moments)) + 2 * moved;
    let units: u64 = plan.job.model.layers.iter().map(|layer| layer.units as u64).sum();
    let batch_rows = batches.batch_size.div_ceil(workers as u64);
    // Two weight buffers, one layer's gradient and its frame; activations and deltas of its rows.
    let worker = 4
        * (all_rows.div_ceil(workers as u64) * width
            + parameters * 3
            + batch_rows * (width + 2 * units))
        + moved;
    writeln!(
        text,
        "\nwith {workers} workers, a step moves for each: {} up ({nodes} tree nodes), {} down, in {}",
        bytes(moved * nodes),
        bytes(moved),
        precision.name()
    )?;
    writeln!(text, "  memory, about: coordinator {}, worker {}", bytes(coordinator), bytes(worker))
}

/// Columns side by side: the first to the left, numbers to the right.
fn table<const N: usize>(rows: &[[String; N]], text: &mut String) -> std::fmt::Result {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let mut line = String::from(" ");
        for (column, cell) in row.iter().enumerate() {
            if column == 0 || column == N - 1 && N == 4 {
                write!(line, " {cell:<width$}", width = widths[column])?;
            } else {
                write!(line, "  {cell:>width$}", width = widths[column])?;
            }
        }
        writeln!(text, "{}", line.trim_end())?;
    }
    Ok(())
}

fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}
