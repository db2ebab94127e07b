//! A proposal as a job file with comments. Decides nothing.

use std::fmt::{self, Write as _};

use lockstep_data::{ColumnOverride, Missing, Scale};
use lockstep_proto::words::count;

use super::training::Training;
use super::words;
use super::{Feature, Proposal, Request, Task};
use crate::job::{column_to_toml, quoted, written_key};

/// Width from which on a comment goes on the line above.
const LINE_CHARS_MAX: usize = 110;

/// What a missing cell says where nothing else does: the texts of the default list, as they are mostly written.
const MISSING_SPELLINGS: [&str; 12] =
    ["?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null", "None", "-"];

/// Writes the job file.
pub(super) fn write(proposal: &Proposal, request: &Request, is_image: bool) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = head(proposal, request, &mut text);
    let _ = data(proposal, request, is_image, &mut text);
    let _ = columns(proposal, is_image, &mut text);
    let _ = model(proposal, &mut text);
    let _ = train(&proposal.training, &mut text);
    text
}

fn head(proposal: &Proposal, request: &Request, text: &mut String) -> fmt::Result {
    let names: Vec<&str> = proposal.targets.iter().map(|target| target.name.as_str()).collect();
    writeln!(
        text,
        "# Written by `lockstep init`: predicts {} from a table of {}.",
        comment(&words::listed(&names)),
        count(proposal.rows, "row")
    )?;
    writeln!(
        text,
        "# Every key and its default is in docs/job.md. `lockstep check` says what this job does."
    )?;
    for note in &proposal.notes {
        writeln!(text, "# Note: {}.", comment(note))?;
    }
    match &request.name {
        Some(name) => writeln!(text, "\nname = {}", quoted(name)),
        None => Ok(()),
    }
}

fn data(proposal: &Proposal, request: &Request, is_image: bool, text: &mut String) -> fmt::Result {
    let training = &proposal.training;
    writeln!(text, "\n[data]\ntrain = {}", request.table_as_toml)?;
    let is_stratified = proposal.task != Task::Regression;
    let share = if is_stratified { ", with the same share of every class" } else { "" };
    match (&request.test_as_toml, training.test) {
        (Some(table), _) => writeln!(text, "test = {table}")?,
        (None, Some(fraction)) => {
            line(
                text,
                &format!("test = {{ fraction = {fraction} }}"),
                &format!("held back and measured once, at the end{share}"),
            )?;
        }
        (None, None) => {}
    }
    line(
        text,
        &format!("validation = {{ fraction = {} }}", training.validation),
        "measured after every epoch; early stopping watches it",
    )?;
    let targets: Vec<String> = proposal.targets.iter().map(|target| quoted(&target.name)).collect();
    let targets = match &targets[..] {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    let why = format!("{}; {}", proposal.why_targets, proposal.why_task);
    line(text, &format!("target = {targets}"), &why)?;
    if proposal.decimal == ',' {
        line(text, "decimal = \",\"", "numbers have a comma for the point, as in 1,5")?;
    }
    if is_image {
        return line(text, "scale = { divide = 255 }", "pixels from 0 to 1");
    }
    line(text, "scale = \"standard\"", "every number: mean 0, deviation 1 in the training rows")?;
    if proposal.features.iter().any(Feature::is_filled) {
        line(text, "missing = \"median\"", "a missing number becomes the training rows' median")?;
    }
    let mut strays: Vec<&String> = Vec::new();
    for text in proposal.features.iter().flat_map(|feature| &feature.missing_values) {
        if !strays.contains(&text) {
            strays.push(text);
        }
    }
    if !strays.is_empty() {
        let spelled = |text: &&&str| !strays.iter().any(|stray| stray == *text);
        let known = MISSING_SPELLINGS.iter().filter(spelled).map(|text| quoted(text));
        let all: Vec<String> = strays.iter().map(|text| quoted(text)).chain(known).collect();
        line(text, &format!("missing_values = [{}]", all.join(", ")), "what a missing cell says")?;
    }
    Ok(())
}

/// What single columns are told.
fn columns(proposal: &Proposal, is_image: bool, text: &mut String) -> fmt::Result {
    let targets = proposal.targets.iter().filter_map(|target| {
        let said = ColumnOverride {
            scale: target.is_scaled.then(|| Scale::named("standard")).flatten(),
            missing: (target.missing > 0).then_some(Missing::Drop),
            ..ColumnOverride::default()
        };
        let missing = match target.missing {
            0 => String::new(),
            cells => format!("; rows without it are left out: {cells}"),
        };
        let unit =
            if target.is_scaled { "; metrics and predictions stay in its own unit" } else { "" };
        let why = format!("the target: {}{unit}{missing}", target.seen);
        (said != ColumnOverride::default()).then_some((&target.name, said, why))
    });
    let features = proposal.features.iter().filter_map(|feature| {
        let why = feature.why.clone().unwrap_or_default();
        (feature.said != ColumnOverride::default()).then_some((&feature.name, feature.said, why))
    });
    let said: Vec<_> = targets.chain(features).collect();
    if !is_image {
        let seen =
            proposal.features.iter().filter(|feature| feature.said == ColumnOverride::default());
        let others = seen.count();
        if others > 0 {
            let them = if said.is_empty() { "All columns" } else { "Other columns" };
            writeln!(
                text,
                "# {them} are what they look like: numbers, truth values, categories or dates."
            )?;
        }
    }
    if said.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n[data.columns]")?;
    for (name, said, why) in said {
        line(text, &format!("{} = {}", written_key(name), column_to_toml(said)), &why)?;
    }
    Ok(())
}

fn model(proposal: &Proposal, text: &mut String) -> fmt::Result {
    let training = &proposal.training;
    writeln!(text, "\n[model]\nloss = {}", quoted(training.loss))?;
    let metrics: Vec<String> = training.metrics.iter().map(|name| quoted(name)).collect();
    writeln!(text, "metrics = [{}]", metrics.join(", "))?;
    writeln!(text, "layers = [")?;
    for units in &training.hidden {
        writeln!(
            text,
            "  {{ type = \"dense\", units = {units}, activation = {} }},",
            quoted(training.activation)
        )?;
        if training.dropout > 0.0 {
            writeln!(text, "  {{ type = \"dropout\", rate = {} }},", training.dropout)?;
        }
    }
    let activation = training
        .output_activation
        .map(|name| format!(", activation = {}", quoted(name)))
        .unwrap_or_default();
    let output = match proposal.task {
        Task::Regression => "a number for each target",
        Task::Binary => "the probability of the second label",
        Task::Classes(_) => "a probability for each class",
    };
    line(
        text,
        &format!("  {{ type = \"dense\", units = {}{activation} }},", training.outputs),
        output,
    )?;
    writeln!(text, "]")
}

fn train(training: &Training, text: &mut String) -> fmt::Result {
    let Training { learning_rate, warmup_steps, decay_steps, .. } = training;
    writeln!(text, "\n[train]")?;
    writeln!(
        text,
        "# {} to learn from are {} an epoch.",
        count(training.rows, "row"),
        count(training.rows.div_ceil(training.batch_size), "step")
    )?;
    writeln!(text, "batch_size = {}", training.batch_size)?;
    line(
        text,
        &format!("epochs = {}", training.epochs),
        "at most; with more or fewer, change decay_steps too",
    )?;
    writeln!(
        text,
        "early_stopping = {{ metric = \"validation_loss\", patience = {} }}",
        training.patience
    )?;
    writeln!(
        text,
        "# The learning rate rises over the first {}, then falls to 0 at the last.",
        count(*warmup_steps, "step")
    )?;
    writeln!(
        text,
        "optimizer = {{ type = \"adam\", learning_rate = {{ schedule = \"cosine\", initial_learning_rate = 0.0, warmup_target = \
         {learning_rate}, warmup_steps = {warmup_steps}, decay_steps = {decay_steps} }} }}"
    )?;
    writeln!(text, "gradient_clip_norm = {:?}", training.clip_norm)
}

/// A line with a comment behind it, or above it if that would be long.
fn line(text: &mut String, key: &str, why: &str) -> fmt::Result {
    let why = comment(why);
    match key.chars().count() + why.chars().count() + 4 {
        _ if why.is_empty() => writeln!(text, "{key}"),
        0..=LINE_CHARS_MAX => writeln!(text, "{key}  # {why}"),
        _ => writeln!(text, "# {why}\n{key}"),
    }
}

/// A text with nothing in it that ends a comment, or that TOML refuses there.
fn comment(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}
