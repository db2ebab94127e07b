//! That docs/job.md says what the program does: every key, name and default of a job is documented as it is.

use crate::bad_job::{TEST, TRAIN};
use crate::documents::{LEAST, document};
use crate::folder::{Folder, edited};

/// A key or name that is near to none.
const NO_NAME: &str = "qqqqqqqqqqqqqqqq";

/// A table of docs/job.md: the heading above it, without its marks, and the cells of its rows.
struct Table {
    heading: String,
    first_column: String,
    rows: Vec<Vec<String>>,
}

fn tables() -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let (mut heading, mut is_in_table) = (String::new(), false);
    for line in document("docs/job.md").lines() {
        let Some(line) = line.strip_prefix('|') else {
            is_in_table = false;
            if line.starts_with('#') {
                heading = line.replace(['#', '`', '[', ']'], "").trim().to_string();
            }
            continue;
        };
        let cells: Vec<String> =
            line.trim_end_matches('|').split('|').map(|cell| cell.trim().to_string()).collect();
        match tables.last_mut().filter(|_| is_in_table) {
            None => tables.push(Table {
                heading: heading.clone(),
                first_column: cells[0].clone(),
                rows: Vec::new(),
            }),
            Some(_) if cells[0].starts_with("---") => {}
            Some(table) => table.rows.push(cells),
        }
        is_in_table = true;
    }
    tables
}

#[track_caller]
fn table(first_column: &str, heading: &str) -> Table {
    let is_it = |table: &Table| table.first_column == first_column && table.heading == heading;
    let found = tables().into_iter().find(is_it);
    found.unwrap_or_else(|| panic!("docs/job.md has no table {first_column} under {heading}"))
}

impl Table {
    /// The first cells, without their marks.
    fn names(&self) -> Vec<String> {
        self.rows.iter().map(|row| row[0].trim_matches(['`', '"']).to_string()).collect()
    }
}

/// What `check` says of a job.
fn said_of(job: &str) -> String {
    let folder = Folder::new(&[("job.toml", job), ("train.csv", TRAIN)]);
    let ended = folder.run(&["check", "job.toml"]);
    ended.expect(3);
    ended.stderr
}

/// What the program lists instead of a name that there is not, but for `type`.
#[track_caller]
fn listed_for(job: &str) -> Vec<String> {
    let said = said_of(job);
    let (found, listed) = said.split_once(", wanted one of: ").unwrap_or_else(|| panic!("{said}"));
    assert!(found.contains(NO_NAME), "{said}");
    let names = listed.trim().split(", ").filter(|name| *name != "type");
    names.map(str::to_string).collect()
}

#[track_caller]
fn same(mut documented: Vec<String>, mut accepted: Vec<String>, what: &str) {
    documented.sort();
    accepted.sort();
    assert_eq!(documented, accepted, "{what}: documented, and accepted");
}

#[test]
fn every_key_is_documented() {
    let unknown = format!("{NO_NAME} = 1\n");
    same(table("key", "Top level").names(), listed_for(&(unknown.clone() + LEAST)), "Top level");
    for section in ["data", "model", "train", "cluster", "checkpoint", "journal"] {
        let heading = format!("[{section}]\n");
        let job = edited(LEAST, &heading, &(heading.clone() + &unknown));
        same(table("key", section).names(), listed_for(&job), section);
    }
    let columns = format!("[data.columns]\na = {{ {NO_NAME} = 1 }}\n\n[model]");
    let job = edited(LEAST, "[model]", &columns);
    same(table("a column's key", "Columns").names(), listed_for(&job), "Columns");
}

#[test]
fn every_name_is_documented() {
    let quoted = format!("\"{NO_NAME}\"");
    let layer = |key: &str| {
        let job = edited(LEAST, "units = 1", &format!("units = 1, {key} = {quoted}"));
        listed_for(&job)
    };
    let model = |line: String| edited(LEAST, "[model]\n", &format!("[model]\n{line}\n"));
    let data = |line: String| edited(LEAST, "[data]\n", &format!("[data]\n{line}\n"));
    same(table("activation", "Activations").names(), layer("activation"), "activations");
    for key in ["kernel_initializer", "bias_initializer"] {
        same(table("initializer", "Initializers").names(), layer(key), key);
    }
    let losses = listed_for(&edited(LEAST, "\"mse\"", &quoted));
    same(table("loss", "Losses").names(), losses, "losses");
    let metrics = listed_for(&model(format!("metrics = [{quoted}]")));
    same(table("metric", "Metrics").names(), metrics, "metrics");
    let optimizers = listed_for(&edited(LEAST, "\"adam\"", &quoted));
    same(table("optimizer", "Optimizers").names(), optimizers, "optimizers");
    let layers = listed_for(&with_layer(NO_NAME, ""));
    same(table("layer", "Layers").names(), layers, "layers");
    let schedules = listed_for(&with_schedule(NO_NAME, ""));
    same(table("schedule", "Learning rates").names(), schedules, "schedules");
    for (key, heading) in [("scale", "scale"), ("missing", "rule for missing cells")] {
        let mut names = table(heading, "Columns").names();
        names.retain(|name| !name.starts_with('{'));
        same(names, listed_for(&data(format!("{key} = {quoted}"))), key);
    }
}

#[test]
fn what_is_required_is_required_and_nothing_else() {
    let mut required = Vec::new();
    for table in tables().iter().filter(|table| table.first_column == "key") {
        // Sections are named by what they lack.
        if table.heading == "Top level" {
            continue;
        }
        for (name, row) in table.names().iter().zip(&table.rows) {
            if row[2].starts_with("required") {
                required.push(format!("{}.{name}", table.heading));
            }
        }
    }
    same(
        required.clone(),
        [
            "data.train",
            "data.target",
            "model.loss",
            "model.layers",
            "train.optimizer",
            "train.epochs",
        ]
        .map(str::to_string)
        .to_vec(),
        "keys of the least job",
    );
    for name in required {
        let key = name.split('.').next_back().unwrap();
        let start = format!("{key} = ");
        let lines = LEAST.lines().filter(|line| !line.starts_with(&start));
        let said = said_of(&lines.collect::<Vec<_>>().join("\n"));
        assert!(said.contains(&format!("`{name}` is missing")), "{name}: {said}");
    }
}

/// The job as the run folder has it: every default written out.
#[track_caller]
fn resolved(job: &str) -> String {
    let folder = Folder::new(&[("job.toml", job), ("train.csv", TRAIN), ("test.csv", TEST)]);
    folder.run(&["--quiet", "local", "job.toml", "--workers", "1", "--out", "run"]).expect(0);
    folder.read("run/job.toml")
}

/// A section of a job, by its name; the top level has none.
fn section<'a>(job: &'a str, name: &str) -> &'a str {
    let start = match name {
        "" => 0,
        _ => job.find(&format!("[{name}]\n")).unwrap() + name.len() + 3,
    };
    job[start..].split("\n[").next().unwrap()
}

#[test]
fn documented_defaults_hold() {
    let resolved = resolved(LEAST);
    let mut count = 0;
    for table in tables().iter().filter(|table| table.first_column == "key") {
        let lines = match &table.heading[..] {
            "Top level" => section(&resolved, ""),
            name => section(&resolved, name),
        };
        for (name, row) in table.names().iter().zip(&table.rows) {
            // Others have none, or one in words.
            let Some(default) = row[2].strip_prefix('`') else { continue };
            let default = default.trim_end_matches('`');
            // The batches of so small a table are set.
            let default = if name == "batch_size" { "4" } else { default };
            let line = format!("{name} = {default}");
            let found = lines.lines().any(|found| found.trim() == line);
            assert!(found, "{}: no {line:?} in\n{resolved}", table.heading);
            count += 1;
        }
    }
    assert!(count >= 15, "{count} defaults are documented");
}

/// A kind as the resolved job has it: its name, with its parameters at their defaults if it has any.
fn kind(row: &[String]) -> String {
    let (name, parameters) = (row[0].trim_matches('`'), row[1].replace('`', ""));
    match &parameters[..] {
        "" => format!("\"{name}\""),
        _ => format!("{{ type = \"{name}\", {parameters} }}"),
    }
}

#[test]
fn documented_parameters_are_all_and_have_these_defaults() {
    let activations = table("activation", "Activations").rows;
    let layers: String = activations
        .iter()
        .map(|row| {
            format!(
                "{{ type = \"dense\", units = 2, activation = \"{}\" }},\n",
                row[0].trim_matches('`')
            )
        })
        .collect();
    let job = edited(LEAST, "layers = [", &format!("layers = [\n{layers}"));
    let with_layers = resolved(&job);
    for row in &activations {
        let line = format!(", activation = {}, ", kind(row));
        assert!(with_layers.contains(&line), "no {line:?} in\n{with_layers}");
    }
    let huber = table("loss", "Losses").rows.into_iter().find(|row| !row[1].is_empty()).unwrap();
    let loss = resolved(&edited(LEAST, "\"mse\"", "\"huber\""));
    assert!(loss.contains(&format!("loss = {}\n", kind(&huber))), "{loss}");
    for row in &table("optimizer", "Optimizers").rows {
        let name = row[0].trim_matches('`');
        let job = resolved(&edited(LEAST, "\"adam\"", &format!("\"{name}\"")));
        assert!(job.contains(&format!("optimizer = {}\n", kind(row))), "{}: {job}", kind(row));
    }
}

#[test]
fn documented_keys_of_every_optimizer_are_taken_by_each() {
    let names = table("a key of every optimizer", "Optimizers").names();
    assert_eq!(names.len(), 4);
    for row in &table("optimizer", "Optimizers").rows {
        let name = row[0].trim_matches('`');
        let unknown = format!("{{ type = \"{name}\", {NO_NAME} = 1 }}");
        let accepted = listed_for(&edited(LEAST, "\"adam\"", &unknown));
        for name in &names {
            assert!(accepted.contains(name), "{name}: {accepted:?}");
        }
    }
}

/// The least job with a layer of this type before its own, `parameters` each after a comma.
fn with_layer(name: &str, parameters: &str) -> String {
    edited(LEAST, "layers = [", &format!("layers = [{{ type = \"{name}\"{parameters} }}, "))
}

/// The least job with such a layer, resolved, on rows that are images if it takes those. All rows are in one microbatch: some
/// layers learn from no fewer.
fn resolved_layer(name: &str, parameters: &str) -> String {
    let job = edited(&with_layer(name, parameters), "batch_size = 4", "batch_size = 8\nshards = 1");
    let folder = Folder::new(&[("job.toml", &job), ("train.csv", TRAIN)]);
    let ended = folder.run(&["check", "job.toml"]);
    if ended.code() != Some(0) {
        let job = edited(
            &job,
            " }, { type = \"dense\"",
            " }, { type = \"flatten\" }, { type = \"dense\"",
        );
        let pixels: Vec<String> = (0..16).map(|pixel| format!("p{pixel}")).collect();
        let rows = (1..9).map(|row| format!("{}{row}\n", format!("{row},").repeat(16)));
        let table = format!("{},y\n{}", pixels.join(","), rows.collect::<String>());
        folder.write("train.csv", &table);
        folder.write("job.toml", &edited(&job, "[data]\n", "[data]\nimage = [4, 4, 1]\n"));
    }
    folder.run(&["--quiet", "local", "job.toml", "--workers", "1", "--out", "run"]).expect(0);
    folder.read("run/job.toml")
}

#[test]
fn documented_layers_have_these_parameters() {
    for row in &table("layer", "Layers").rows {
        let name = row[0].trim_matches('`');
        let parts = row[1].split(", ").map(|part| part.replace('`', ""));
        let parts: Vec<String> = parts.filter(|part| !part.is_empty()).collect();
        let key = |part: &String| part.split([' ', '=']).next().unwrap().to_string();
        let accepted = listed_for(&with_layer(name, &format!(", {NO_NAME} = 1")));
        same(parts.iter().map(key).collect(), accepted, name);
        let is_required = |part: &&String| !part.contains([' ', '=']);
        let required: Vec<&String> = parts.iter().filter(is_required).collect();
        let all_but = |left_out: Option<&String>| {
            let value = |key: &str| match key {
                "rate" | "height_factor" | "width_factor" => "0.5",
                "layers" => "[{ type = \"layer_norm\" }]",
                _ => "3",
            };
            let given = required.iter().filter(|key| Some(**key) != left_out);
            given.map(|key| format!(", {key} = {}", value(key))).collect::<String>()
        };
        for key in &required {
            let said = said_of(&with_layer(name, &all_but(Some(key))));
            assert!(said.contains(&format!("`model.layers.0.{key}` is missing")), "{name}: {said}");
        }
        let job = resolved_layer(name, &all_but(None));
        // What has no parameters is its name alone.
        let is_of = |line: &&str| {
            line.contains(&format!("type = \"{name}\"")) || line.trim() == format!("\"{name}\",")
        };
        let line = job.lines().find(is_of).unwrap();
        for part in parts.iter().filter(|part| !part.ends_with(" optional")) {
            assert!(line.contains(&format!(", {part}")), "{name}: no {part:?} in\n{line}");
        }
    }
}

/// The least job with a learning rate of this schedule, `parameters` each after a comma.
fn with_schedule(name: &str, parameters: &str) -> String {
    let optimizer =
        format!("{{ type = \"adam\", learning_rate = {{ schedule = \"{name}\"{parameters} }} }}");
    // Some watch the validation table.
    let job = edited(LEAST, "[data]\n", "[data]\nvalidation = \"test.csv\"\n");
    edited(&job, "\"adam\"", &optimizer)
}

#[test]
fn documented_schedules_have_these_parameters() {
    for row in &table("schedule", "Learning rates").rows {
        let name = row[0].trim_matches('`');
        let parts: Vec<String> = row[1].split(", ").map(|part| part.replace('`', "")).collect();
        let key = |part: &String| part.split([' ', '=']).next().unwrap().to_string();
        let mut accepted = listed_for(&with_schedule(name, &format!(", {NO_NAME} = 1")));
        accepted.retain(|key| key != "schedule");
        same(parts.iter().map(key).collect(), accepted, name);
        let is_required = |part: &&String| !part.contains([' ', '=']);
        let required: Vec<&String> = parts.iter().filter(is_required).collect();
        let all_but = |left_out: Option<&String>| {
            let value = |key: &str| match key {
                "boundaries" => "[1]",
                "values" => "[0.5, 0.25]",
                "decay_steps" => "7",
                _ => "0.5",
            };
            let given = required.iter().filter(|key| Some(**key) != left_out);
            given.map(|key| format!(", {key} = {}", value(key))).collect::<String>()
        };
        for key in &required {
            let said = said_of(&with_schedule(name, &all_but(Some(key))));
            let missing = format!("`train.optimizer.learning_rate.{key}` is missing");
            assert!(said.contains(&missing), "{name}: {said}");
        }
        // Where a constant has its defaults it is a number.
        let parameters = all_but(None) + if name == "constant" { ", warmup_steps = 1" } else { "" };
        let job = resolved(&with_schedule(name, &parameters));
        let defaults = parts.iter().filter(|part| part.contains('=') && name != "constant");
        for default in defaults.chain(required.iter().copied()) {
            assert!(job.contains(&format!(", {default}")), "{name}: no {default:?} in\n{job}");
        }
    }
}

#[test]
fn documented_early_stopping_has_these_keys_and_defaults() {
    let with = |keys: &str| {
        let job =
            edited(LEAST, "epochs = 1", &format!("epochs = 1\nearly_stopping = {{ {keys} }}"));
        edited(&job, "[data]\n", "[data]\nvalidation = \"test.csv\"\n")
    };
    let table = table("a key of early stopping", "Early stopping");
    let accepted = listed_for(&with(&format!("{NO_NAME} = 1")));
    same(table.names(), accepted, "early stopping");
    let job = resolved(&with(""));
    for (name, row) in table.names().iter().zip(&table.rows) {
        if let Some(default) = row[2].strip_prefix('`') {
            let default = format!("{name} = {}", default.trim_end_matches('`'));
            assert!(job.contains(&default), "no {default:?} in\n{job}");
        }
    }
}
