//! `check`: what a job would do, without doing it.

mod facts;

use std::fmt;

use lockstep_coordinator::policy::{EarlyStopping, LearningRate, RateSummary};
use lockstep_data::{
    Column, ColumnKind, ColumnSettings, Detail, Distinct, FeatureSummary, KindFound, Missing,
    NumberSummary, Scale, TargetSummary, TextSummary,
};
use lockstep_model::LayerSize;
use lockstep_proto::ids::Table;
use lockstep_proto::words::{count, nouns};

use super::args::JobFile;
use crate::report::SharedConsole;
use facts::{Facts, Traffic};
use lockstep_run::error::{Error, Result};
use lockstep_run::plan::Plan;
use lockstep_run::report::figures::{side_by_side, thousands};

/// Classes and columns listed before the rest is only counted.
const LISTED_MAX: usize = 40;

pub(super) fn run(job: &JobFile, workers: usize, reporter: &SharedConsole) -> Result<()> {
    let plan = Plan::with_detail(job.load()?, Detail::Full)?;
    let job = &job.job;
    let traffic = Traffic::new(&plan, workers);
    let mut text = Lines::default();
    // Writing to lines in memory cannot fail.
    let _ = writeln!(text, "{}: fine", job.display());
    let _ = layers(&plan, &mut text);
    let _ = data(&plan, &mut text);
    let _ = steps(&plan, &mut text);
    let _ = wire(&traffic, &mut text);
    let facts = Facts::new(job, &plan, &traffic);
    let mut reporter = reporter.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let written = reporter.result(&text.0, &facts);
    written.map_err(|error| Error::file("standard output", "write", &error))
}

/// Lines of text. What one `writeln!` writes is one line, whatever is in its arguments; empty ones may come before it.
#[derive(Default)]
struct Lines(Vec<String>);

impl Lines {
    fn write_fmt(&mut self, text: fmt::Arguments<'_>) -> fmt::Result {
        let text = text.to_string();
        let line = text.trim_start_matches('\n');
        self.0.extend((line.len()..text.len()).map(|_| String::new()));
        self.0.push(line.strip_suffix('\n').unwrap_or(line).to_string());
        Ok(())
    }

    /// A table of rows of equally many cells, those of the columns in `left` to the left.
    fn table(&mut self, rows: &[Vec<String>], left: &[usize]) {
        let columns: Vec<Vec<String>> = (0..rows.first().map_or(0, Vec::len))
            .map(|column| rows.iter().map(|row| row[column].clone()).collect())
            .collect();
        let lines = side_by_side(&columns, left);
        self.0.extend(lines.into_iter().map(|line| format!("  {line}")));
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(String::from).to_vec()
}

fn layers(plan: &Plan, text: &mut Lines) -> fmt::Result {
    let (network, model) = (&plan.network, &plan.job.model);
    let embeddings = &network.spec().embeddings;
    let mut inputs = count(network.spec().inputs as u64, "input");
    if let Some([height, width, channels]) = network.spec().image {
        inputs = format!("{inputs}, an image of {height} x {width} x {channels}");
    }
    if !embeddings.is_empty() {
        inputs = format!("{inputs} and {}", count(embeddings.len() as u64, "embedding"));
    }
    let unit = if network.has_units() { " in units of the scaled targets" } else { "" };
    writeln!(text, "\nnetwork: {inputs}, loss {}{unit}", model.loss)?;
    let mut rows = vec![row(["layer", "output", "parameters", "activation"])];
    let embedded = embeddings.iter().take(LISTED_MAX).map(|embedding| {
        vec![
            format!("embedding of {}", embedding.column),
            format!("[rows, {}]", embedding.dimension),
            thousands(embedding.parameters() as f64),
            String::new(),
        ]
    });
    rows.extend(embedded);
    if let Some(more) = embeddings.len().checked_sub(LISTED_MAX).filter(|&more| more > 0) {
        rows.push(row([&format!("and {more} more"), "", "", ""]));
    }
    for LayerSize { place, layer, shape, parameters, .. } in network.layer_sizes() {
        rows.push(vec![
            format!("{}{place} {}", "  ".repeat(place.depth()), layer.name()),
            rows_of(&shape),
            thousands(parameters as f64),
            layer.summary(),
        ]);
    }
    rows.push(row(["", "", &thousands(network.layout().len() as f64), "in all"]));
    text.table(&rows, &[0, 3]);
    Ok(())
}

/// What comes out of a layer.
fn rows_of(shape: &[usize]) -> String {
    let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("[rows, {}]", sides.join(", "))
}

fn data(plan: &Plan, text: &mut Lines) -> fmt::Result {
    for summary in &plan.summary.tables {
        let rows = count(summary.rows, "row");
        writeln!(text, "\n{} table: {rows}, {}", summary.table, summary.path.display())?;
        if summary.dropped > 0 {
            writeln!(text, "  {} dropped for a missing cell", count(summary.dropped, "row"))?;
        }
        if summary.table != Table::Train {
            continue;
        }
        let mut rows = vec![row([
            "feature",
            "kind",
            "min",
            "max",
            "mean",
            "missing",
            "distinct",
            "becomes",
            "since it has",
        ])];
        let features = summary.features.iter().zip(&plan.schema.features).zip(&plan.summary.kinds);
        let feature = |((seen, column), kind): ((&FeatureSummary, &Column), &KindFound)| {
            let cells = match seen {
                FeatureSummary::Number(seen) => number_row(seen, column),
                FeatureSummary::Text(seen) => text_row(seen, column),
            };
            let [name, rest @ ..] = &cells[..] else { return cells };
            [&[name.clone(), kind.kind.to_string()], rest, std::slice::from_ref(&kind.why)].concat()
        };
        rows.extend(features.take(LISTED_MAX).map(feature));
        text.table(&rows, &[0, 1, 7, 8]);
        if summary.features.len() > LISTED_MAX {
            writeln!(text, "  and {} more", summary.features.len() - LISTED_MAX)?;
        }
        let targets = summary.targets.iter().zip(&plan.schema.targets);
        let mut rows =
            vec![row(["target", "min", "max", "mean", "missing", "distinct", "becomes"])];
        for (target, column) in targets {
            match target {
                TargetSummary::Numbers(seen) => rows.push(number_row(seen, column)),
                TargetSummary::Classes { name, counts } => {
                    writeln!(text, "  target {name}: {}", classes(counts, column))?;
                }
            }
        }
        if rows.len() > 1 {
            text.table(&rows, &[0, 6]);
        }
    }
    let but = if plan.job.data.columns.is_empty() { "" } else { ", unless the column has its own" };
    writeln!(text, "  scale {}, missing {}{but}", plan.job.data.scale, plan.job.data.missing)?;
    for warning in &plan.warnings {
        writeln!(text, "warning: {warning}")?;
    }
    if let Some(hint) = plan.summary.scaling_hint(&plan.schema) {
        writeln!(text, "warning: {hint}")?;
    }
    Ok(())
}

fn number_row(column: &NumberSummary, fitted: &Column) -> Vec<String> {
    let distinct = match column.distinct {
        None => String::new(),
        Some(Distinct { values, kept }) if values == kept => values.to_string(),
        Some(Distinct { values, kept }) => format!("{values} ({kept} in f32)"),
    };
    vec![
        column.name.clone(),
        as_in_file(column.min),
        as_in_file(column.max),
        mean(column.mean),
        column.missing.to_string(),
        distinct,
        becomes(fitted),
    ]
}

/// Longest text of a column that is shown, in characters.
const TEXT_CHARS_MAX: usize = 20;

fn text_row(column: &TextSummary, fitted: &Column) -> Vec<String> {
    let short = |text: &String| match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.clone(),
    };
    vec![
        column.name.clone(),
        short(&column.first),
        short(&column.last),
        String::new(),
        column.missing.to_string(),
        column.distinct.to_string(),
        becomes(fitted),
    ]
}

/// What is done to a column, in a few words.
fn becomes(column: &Column) -> String {
    let ColumnSettings { scale, missing, indicator } = column.settings();
    let scaled = match column.kind() {
        ColumnKind::Number | ColumnKind::Boolean if scale == Scale::NONE => "as it is".to_string(),
        ColumnKind::Number | ColumnKind::Boolean => scale.to_string(),
        ColumnKind::Category | ColumnKind::Date if column.width() == 0 => scale.to_string(),
        ColumnKind::Category | ColumnKind::Date => {
            let inputs = column.width() - usize::from(indicator);
            format!("{scale}, {}", count(inputs as u64, "input"))
        }
    };
    let filled = match (missing, column.fill()) {
        (Missing::Error, _) => String::new(),
        (Missing::Drop, _) => "; missing: row dropped".to_string(),
        (Missing::Category, Some(0.0)) => String::new(),
        (Missing::Category, _) => "; missing: a category".to_string(),
        (Missing::Constant(number), _) => format!("; missing: {number}"),
        (learned, fill) => format!("; missing: {learned} {}", mean(fill.unwrap_or(f64::NAN))),
    };
    let indicated = if indicator { ", and an indicator" } else { "" };
    format!("{scaled}{filled}{indicated}")
}

/// A number to all its digits, in as few characters as people would take.
fn as_in_file<N: Copy + Into<f64> + fmt::Display + fmt::LowerExp>(value: N) -> String {
    match value.into().abs() {
        size if size != 0.0 && !(1e-5..1e16).contains(&size) => format!("{value:e}"),
        _ => value.to_string(),
    }
}

/// A number that is in no file, to six digits.
fn mean(value: f64) -> String {
    match value.abs() {
        size if size != 0.0 && !(1e-3..1e16).contains(&size) => format!("{value:.5e}"),
        size => format!("{value:.*}", if size < 1e5 { 4 } else { 0 }),
    }
}

/// The labels of a target, with the rows of each.
fn classes(counts: &[(String, u64)], fitted: &Column) -> String {
    let label = |(label, rows): &(String, u64)| format!("{label} ({rows})");
    let listed: Vec<String> = counts.iter().take(LISTED_MAX).map(label).collect();
    let more = if counts.len() > LISTED_MAX { ", ..." } else { "" };
    let is_dropping = fitted.settings().missing == Missing::Drop;
    let rule = if is_dropping { "; missing: row dropped" } else { "" };
    format!("{}: {}{more}{rule}", count(counts.len() as u64, "class"), listed.join(", "))
}

fn steps(plan: &Plan, text: &mut Lines) -> fmt::Result {
    let (batches, train) = (plan.batches(), &plan.job.train);
    let last = batches.batch_rows(batches.count() - 1);
    writeln!(
        text,
        "\ntraining: {} of {}, {} in all; batches of {}{}",
        count(train.epochs.into(), "epoch"),
        count(batches.count(), "step"),
        thousands(u64::from(train.epochs) as f64 * batches.count() as f64),
        count(batches.batch_size, "row"),
        if last == batches.batch_size { String::new() } else { format!(", the last of {last}") }
    )?;
    writeln!(text, "  {}", learning_rate(&train.descent.learning_rate, plan.steps()))?;
    if let Some(text_of) = weights(plan) {
        writeln!(text, "  {text_of}")?;
    }
    if let Some(rule) = &train.early_stopping {
        writeln!(text, "  {}", early_stopping(rule))?;
    }
    let rows = count(batches.batch_size.div_ceil(u64::from(batches.shards)), "row");
    let (shards, workers) = (batches.shards.into(), nouns(batches.shards.into(), "worker"));
    writeln!(
        text,
        "  {}: up to {rows} of a batch each, work for at most {shards} {workers}",
        count(shards, "shard")
    )
}

/// The schedule, and what it comes to in a run of so many steps.
fn learning_rate(rate: &LearningRate, steps: u64) -> String {
    let RateSummary { first, largest, largest_at, last } = rate.over(steps);
    if let Some(rule) = rate.watches() {
        let metric = &rule.metric;
        return format!(
            "learning rate {}: {} at step 1, times {} when {metric} has got no better for {}",
            rate.name(),
            as_in_file(first),
            rule.factor,
            count(rule.patience.max(1).into(), "epoch")
        );
    }
    match rate.constant() {
        Some(rate) => format!("learning rate {}", as_in_file(rate)),
        None => format!(
            "learning rate {}: {} at step 1, {} at step {steps}; the largest is {}, at step {largest_at}",
            rate.name(),
            as_in_file(first),
            as_in_file(last),
            as_in_file(largest)
        ),
    }
}

/// How much rows count, if they do not count alike.
fn weights(plan: &Plan) -> Option<String> {
    let column = plan.job.data.sample_weight.as_ref();
    let mut parts: Vec<String> =
        column.map(|column| format!("those of column {column:?}")).into_iter().collect();
    if let Some(classes) = &plan.class_weights {
        let class = |(label, weight): &(String, f32)| format!("{label} {weight}");
        let listed: Vec<String> = classes.iter().take(LISTED_MAX).map(class).collect();
        let more = if classes.len() > LISTED_MAX { ", ..." } else { "" };
        parts.push(format!("by class {}{more}", listed.join(", ")));
    }
    let largest = plan.largest_weight()?;
    Some(format!("weights of rows: {}; at most {largest}", parts.join(", times ")))
}

/// What may end the run before its last epoch.
fn early_stopping(rule: &EarlyStopping) -> String {
    let mut text = format!(
        "early stopping: after {} without a better {}",
        count(rule.patience.max(1).into(), "epoch"),
        rule.metric
    );
    if rule.min_delta > 0.0 {
        text.push_str(&format!(" (by more than {})", rule.min_delta));
    }
    if let Some(baseline) = rule.baseline {
        text.push_str(&format!(" (than {baseline})"));
    }
    if rule.start_from_epoch > 0 {
        text.push_str(&format!(", from epoch {} on", u64::from(rule.start_from_epoch) + 1));
    }
    let kept = if rule.restore_best_weights { "best" } else { "last" };
    text + &format!("; the weights of the {kept} epoch are kept")
}

fn wire(traffic: &Traffic, text: &mut Lines) -> fmt::Result {
    writeln!(
        text,
        "\nwith {}, a step moves for each: {} up ({}), {} down, in {}",
        count(traffic.workers, "worker"),
        bytes(traffic.step_bytes_up),
        count(traffic.tree_nodes, "tree node"),
        bytes(traffic.step_bytes_down),
        traffic.precision
    )?;
    writeln!(text, "  gradients are added up by {}", traffic.adds)?;
    writeln!(
        text,
        "  memory, about: coordinator {}, worker {}",
        bytes(traffic.memory_bytes_coordinator),
        bytes(traffic.memory_bytes_worker)
    )
}

fn bytes(count: u64) -> String {
    match count {
        0..1_024 => format!("{count} B"),
        1_024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", count as f64 / 1_073_741_824.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_once_is_one_line() {
        let mut text = Lines::default();
        let name = "a\nb\n";
        writeln!(text, "\nfirst: {name}").unwrap();
        writeln!(text, "second").unwrap();
        assert_eq!(text.0, ["", "first: a\nb\n", "second"]);
    }
}
