//! A job as a job file again, every default written out: what the run folder keeps. Knows no key by name.

use std::fmt::Write as _;

use lockstep_data::ColumnOverride;
use lockstep_parameters::{AnyTable, Chosen, Form, Value, Values};

use super::Job;
use super::keys::{Bound, Keys};
use super::reader::{full_name, quoted};

/// The job as TOML, with absolute paths.
pub fn to_toml(job: &Job) -> String {
    let mut text = String::new();
    write("", &mut job.clone(), &mut text);
    text
}

/// Writes the keys of a section, by its name, as TOML, every default written out.
fn write(name: &str, keys: &mut dyn Keys, text: &mut String) {
    for key in keys.keys() {
        let value = match key.value {
            Bound::Slot(slot) => slot.value().map(|value| inline(&value)),
            Bound::Lines(slot) => slot.value().map(|value| lines(&value)),
            Bound::Own(own) => own.write(),
            Bound::OneOf(choice) => {
                if let Some(Value::Chosen(Chosen { values, .. })) = choice.value() {
                    for (name, value) in values {
                        line(text, name, &inline(&value));
                    }
                }
                None
            }
            Bound::Section(mut keys) => {
                let name = full_name(name, key.name);
                let _ = writeln!(text, "\n[{name}]");
                write(&name, &mut *keys, text);
                None
            }
            Bound::Columns(columns) => {
                if !columns.is_empty() {
                    let _ = writeln!(text, "\n[{}]", full_name(name, key.name));
                }
                for (name, column) in columns {
                    // In quotes, whatever it is: no line of a column is like one of a key.
                    line(text, &quoted(name), &column_to_toml(*column));
                }
                None
            }
        };
        if let Some(value) = value {
            line(text, key.name, &value);
        }
    }
}

/// Writing to a String cannot fail.
fn line(text: &mut String, key: &str, value: &str) {
    let _ = writeln!(text, "{key} = {value}");
}

/// A value as TOML has it, on one line.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::Flag(flag) => flag.to_string(),
        Value::Whole(number) => number.to_string(),
        Value::Number(number) => format!("{number:?}"),
        Value::Number32(number) => format!("{number:?}"),
        Value::Text(text) => quoted(text),
        Value::List(items) => format!("[{}]", joined(items.iter().map(inline))),
        Value::Chosen(Chosen { name, values, .. }) if values.is_empty() => quoted(name),
        Value::Chosen(Chosen { form: Form::Key, values, .. }) => table(None, values),
        Value::Chosen(Chosen { form: Form::Tag(tag), name, values }) => {
            table(Some(format!("{tag} = {}", quoted(name))), values)
        }
        Value::Table(values) => table(None, values),
    }
}

fn lines(value: &Value) -> String {
    let Value::List(items) = value else { return inline(value) };
    format!("[\n{}]", items.iter().map(|item| format!("  {},\n", inline(item))).collect::<String>())
}

fn table(first: Option<String>, values: &Values) -> String {
    let rest = values.iter().map(|(name, value)| format!("{name} = {}", inline(value)));
    match first.is_none() && values.is_empty() {
        true => "{}".to_string(),
        false => format!("{{ {} }}", joined(first.into_iter().chain(rest))),
    }
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// What is said of a column, and nothing of what is not.
pub(crate) fn column_to_toml(mut column: ColumnOverride) -> String {
    let mut values = column.values().unwrap_or_default();
    let nothing = ColumnOverride::default().values().unwrap_or_default();
    values.retain(|said| !nothing.contains(said));
    table(None, &values)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn round_trip(text: &str) {
        let at = Path::new("/jobs/some.toml");
        let job = Job::parse(at, text.to_string(), &[]).unwrap();
        let resolved = to_toml(&job);
        let again = Job::parse(at, resolved.clone(), &[]).unwrap();
        // Places differ, all else is the same.
        assert_eq!(Job { document: job.document.clone(), ..again.clone() }, job, "{resolved}");
        assert_eq!(to_toml(&again), resolved);
    }

    #[test]
    fn a_resolved_job_is_the_same_job() {
        round_trip(
            "[data]\ntrain = \"t.csv\"\ntarget = \"y\"\n[model]\nloss = \"mse\"\n\
             layers = [{ type = \"dense\", units = 1 }]\n[train]\noptimizer = \"adam\"\nepochs = 1\n",
        );
        round_trip(
            "[data]\ntrain = { images = \"a.gz\", labels = \"b\" }\ntest = { labels = \"d\", images = \"c\" }\n\
             validation = { fraction = 0.1 }\nscale = { divide = 255 }\n[model]\nloss = \"cross_entropy\"\n\
             layers = [{ type = \"dense\", units = 3, activation = \"softmax\" }]\n[train]\n\
             optimizer = \"adam\"\nepochs = 1\n",
        );
        round_trip(
            "[data]\ntrain = { features = \"x.npy\", target = \"y.npy\" }\ntest = \"t.gz\"\nformat = \"npy\"\n[model]\nloss = \"mse\"\n\
             layers = [{ type = \"dense\", units = 3 }]\n[train]\noptimizer = \"adam\"\nepochs = 1\n",
        );
        round_trip(
            "[data]\ntrain = \"t.csv\"\ntarget = \"y\"\nscale = \"robust\"\nmissing = { constant = -1 }\n\
             [data.columns]\na = { scale = { divide = 0.5 } }\n\"net \\\"price\\\" = 3\" = { missing = \"median\", \
             indicator = true }\ntrain = {}\ncut = { kind = \"category\", \
             encoder = \"embedding\", dimension = 3, missing = \"category\" }\nold = { encoder = \"ignore\" }\ny = { scale = \"standard\", missing = \"drop\" }\n[model]\nloss = \"mse\"\n\
             layers = [{ type = \"dense\", units = 1 }]\n[train]\noptimizer = \"adam\"\nepochs = 1\n",
        );
        for optimizer in [
            "{ type = \"sgd\", learning_rate = 0.1, momentum = 0.9, nesterov = true }",
            "{ type = \"adamw\", weight_decay = 0.01 }",
            "{ type = \"adam\", learning_rate = { schedule = \"constant\", learning_rate = 0.1234567891 } }",
            "{ type = \"adam\", learning_rate = { schedule = \"constant\", learning_rate = 0.1234567891, warmup_steps = 3 } }",
            "{ type = \"adam\", learning_rate = { schedule = \"piecewise\", boundaries = [3, 7], values = [1, 0.1, 1e-7] } }",
            "{ type = \"sgd\", learning_rate = { schedule = \"exponential\", initial_learning_rate = 0.1, decay_steps = 9, \
             decay_rate = 0.96, staircase = true, warmup_steps = 2 } }",
            "{ type = \"sgd\", learning_rate = { schedule = \"cosine\", initial_learning_rate = 0.1, decay_steps = 9 } }",
            "{ type = \"sgd\", learning_rate = { schedule = \"cosine\", initial_learning_rate = 0, decay_steps = 9, alpha = 0.5, \
             warmup_target = 0.1234567891, warmup_steps = 4 } }",
            "{ type = \"rmsprop\", momentum = 0.5 }",
            "\"adagrad\"",
        ] {
            round_trip(&format!(
                "name = \"x\"\nseed = 7\n[data]\ntrain = \"a \\\"b\\\".csv\"\ntest = {{ fraction = 0.25 }}\n\
                 validation = \"v.csv\"\ntarget = [\"y\", \"z\"]\nfeatures = [\"a\"]\nscale = \"minmax\"\n\
                 missing = \"mean\"\nmissing_values = [\"-\", \"x \\\" y\"]\nstratify = false\n\
                 delimiter = \"\\t\"\nquote = \"\"\ncomment = \"#\"\nheader = false\n[model]\nloss = {{ type = \"huber\", delta = 2.0 }}\nmetrics = [\"mae\", \"r2\"]\n\
                 initial_weights = \"w.safetensors\"\nlayers = [{{ type = \"dense\", units = 3, activation = \
                 {{ type = \"elu\", alpha = 0.5 }}, use_bias = false }}, {{ type = \"dropout\", rate = 0.1 }}, \
                 {{ type = \"dense\", units = 2, \
                 kernel_initializer = \"he_normal\", activation = \"leaky_relu\" }}]\n[train]\noptimizer = {optimizer}\n\
                 epochs = 3\nbatch_size = 5\nshuffle = false\nshards = 4\ngradient_clip_norm = 0.5\n\
                 precision = \"bf16\"\n\
                 [cluster]\nworkers_min = 2\n[checkpoint]\nevery_steps = 7\nkeep = 2\n\
                 [journal]\nevery_steps = 3\n"
            ));
        }
    }
}
