//! A job as a job file again, every default written out: what the run folder keeps.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use lockstep_coordinator::Optimizer;
use lockstep_coordinator::policy::LearningRate;
use lockstep_data::{Source, TableFile, TableSpec};
use lockstep_model::{Loss, Metric};

use super::columns::{self, missing, scale};
use super::reader::quoted;
use super::{Every, Job, class_weights, early_stopping, layers, learning_rate};

/// The job as TOML, with absolute paths.
pub fn to_toml(job: &Job) -> String {
    let mut text = String::new();
    let mut line = |key: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = if value.is_empty() {
            writeln!(text, "\n[{key}]")
        } else {
            writeln!(text, "{key} = {value}")
        };
    };
    let section = String::new;
    line("name", quoted(&job.name));
    line("seed", job.seed.to_string());
    line("data", section());
    line("train", table(&job.data.train));
    if let Some(test) = &job.data.test {
        line("test", source(test));
    }
    if let Some(validation) = &job.data.validation {
        line("validation", source(validation));
    }
    if let Some(format) = format(&job.data) {
        line("format", quoted(&format));
    }
    line("target", list(&job.data.target));
    if let Some(features) = &job.data.features {
        line("features", list(features));
    }
    if let Some(column) = &job.data.sample_weight {
        line("sample_weight", quoted(column));
    }
    line("scale", scale(job.data.scale));
    line("missing", missing(job.data.missing));
    let dialect = &job.data.dialect;
    if let Some(texts) = &dialect.missing_values {
        line("missing_values", list(texts));
    }
    line("stratify", job.data.stratify.to_string());
    if let Some(delimiter) = dialect.delimiter {
        line("delimiter", quoted(&delimiter.to_string()));
    }
    line("quote", quoted(&dialect.quote.map(String::from).unwrap_or_default()));
    if let Some(comment) = dialect.comment {
        line("comment", quoted(&comment.to_string()));
    }
    line("header", dialect.header.to_string());
    if !job.data.columns.is_empty() {
        line("data.columns", section());
    }
    for (name, column) in &job.data.columns {
        // In quotes, whatever it is: no line of a column is like one of a key.
        line(&quoted(name), columns::to_toml(column));
    }
    line("model", section());
    line("loss", loss(job.model.loss));
    line(
        "metrics",
        format!("[{}]", job.model.metrics.iter().map(metric).collect::<Vec<_>>().join(", ")),
    );
    if let Some(weights) = &job.model.initial_weights {
        line("initial_weights", path(weights));
    }
    let layer = |layer| format!("  {},\n", layers::to_toml(layer));
    line("layers", format!("[\n{}]", job.model.layers.iter().map(layer).collect::<String>()));
    line("train", section());
    line("optimizer", optimizer(&job.train.optimizer, &job.train.learning_rate));
    line("epochs", job.train.epochs.to_string());
    if let Some(rule) = &job.train.early_stopping {
        line("early_stopping", early_stopping::to_toml(rule));
    }
    if let Some(weights) = &job.train.class_weights {
        line("class_weights", class_weights::to_toml(weights));
    }
    line("batch_size", job.train.batch_size.to_string());
    line("shuffle", job.train.shuffle.to_string());
    line("shards", job.train.shards.to_string());
    if let Some(norm) = job.train.gradient_clip_norm {
        line("gradient_clip_norm", format!("{norm:?}"));
    }
    line("precision", quoted(job.train.precision.name()));
    line("cluster", section());
    line("workers_min", job.cluster.workers_min.to_string());
    line("audit_fraction", format!("{:?}", job.cluster.audit_fraction));
    line("checkpoint", section());
    match job.checkpoint.every {
        Every::Epochs(epochs) => line("every_epochs", epochs.to_string()),
        Every::Steps(steps) => line("every_steps", steps.to_string()),
        Every::Seconds(seconds) => line("every_seconds", format!("{seconds:?}")),
    }
    line("keep", job.checkpoint.keep.to_string());
    line("journal", section());
    line("every_steps", job.journal.every_steps.to_string());
    text
}

fn metric(metric: &Metric) -> String {
    let name = quoted(metric.name());
    match metric {
        Metric::TopKAccuracy { k } => format!("{{ type = {name}, k = {k} }}"),
        _ => name,
    }
}

fn list(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", quoted.join(", "))
}

fn path(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
    quoted(&absolute.to_string_lossy())
}

fn source(source: &Source) -> String {
    match source {
        Source::File(file) => table(file),
        Source::Fraction(fraction) => format!("{{ fraction = {fraction:?} }}"),
    }
}

/// The format that the job says for the tables that are not in two files.
fn format(data: &TableSpec) -> Option<String> {
    let held_out = [&data.validation, &data.test].into_iter().flatten();
    let held_out = held_out.filter_map(|source| match source {
        Source::File(file) => Some(file),
        Source::Fraction(_) => None,
    });
    std::iter::once(&data.train).chain(held_out).find_map(TableFile::format)
}

fn table(file: &TableFile) -> String {
    let files: Vec<String> = file
        .files()
        .into_iter()
        .map(|(key, file)| match key {
            None => path(file),
            Some(key) => format!("{key} = {}", path(file)),
        })
        .collect();
    match &files[..] {
        [file] => file.clone(),
        files => format!("{{ {} }}", files.join(", ")),
    }
}

fn loss(loss: Loss) -> String {
    match loss {
        Loss::Huber { delta } => format!("{{ type = \"huber\", delta = {delta:?} }}"),
        loss => quoted(loss.name()),
    }
}

fn optimizer(optimizer: &Optimizer, learning_rate: &LearningRate) -> String {
    let rate = learning_rate::to_toml(learning_rate);
    match *optimizer {
        Optimizer::Sgd { momentum, nesterov } => format!(
            "{{ type = \"sgd\", learning_rate = {rate}, momentum = {momentum:?}, nesterov = {nesterov} }}"
        ),
        Optimizer::Adam { beta_1, beta_2, epsilon, weight_decay } => {
            let (kind, decay) = match weight_decay {
                Some(decay) => ("adamw", format!(", weight_decay = {decay:?}")),
                None => ("adam", String::new()),
            };
            format!(
                "{{ type = \"{kind}\", learning_rate = {rate}, beta_1 = {beta_1:?}, \
                 beta_2 = {beta_2:?}, epsilon = {epsilon:?}{decay} }}"
            )
        }
        Optimizer::RmsProp { rho, momentum, epsilon } => format!(
            "{{ type = \"rmsprop\", learning_rate = {rate}, rho = {rho:?}, \
             momentum = {momentum:?}, epsilon = {epsilon:?} }}"
        ),
        Optimizer::Adagrad { initial_accumulator, epsilon } => format!(
            "{{ type = \"adagrad\", learning_rate = {rate}, \
             initial_accumulator = {initial_accumulator:?}, epsilon = {epsilon:?} }}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) {
        let at = Path::new("/jobs/some.toml");
        let job = Job::parse(at, text.to_string(), &[]).unwrap();
        let resolved = to_toml(&job);
        let again = Job::parse(at, resolved.clone(), &[]).unwrap();
        // Places differ, all else is the same.
        assert_eq!(Job { places: job.places.clone(), ..again.clone() }, job, "{resolved}");
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
