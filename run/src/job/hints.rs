//! What to say of a key or a name that there is not: the one that was probably meant, or the place where it belongs. Knows the
//! keys of a job, and what other programs call them; reads nothing.

use std::sync::LazyLock;

use super::Job;
use super::keys::all_keys;
use super::reader::full_name;

/// Keys by what Keras, scikit-learn and PyTorch call them, or people do.
const ALIASES: &[(&str, &str)] = &[
    ("lr", "learning_rate"),
    ("learning_rate_init", "learning_rate"),
    ("num_warmup_steps", "warmup_steps"),
    ("lr_warmup_steps", "warmup_steps"),
    ("milestones", "boundaries"),
    ("gamma", "decay_rate"),
    ("T_max", "decay_steps"),
    ("num_training_steps", "decay_steps"),
    ("eps", "epsilon"),
    ("n_epochs", "epochs"),
    ("num_epochs", "epochs"),
    ("max_iter", "epochs"),
    ("max_epochs", "epochs"),
    ("batchsize", "batch_size"),
    ("batch", "batch_size"),
    ("random_state", "seed"),
    ("random_seed", "seed"),
    ("hidden_layer_sizes", "layers"),
    ("hidden_layers", "layers"),
    ("p", "rate"),
    ("drop_rate", "rate"),
    ("dropout_rate", "rate"),
    ("neurons", "units"),
    ("out_features", "units"),
    ("out_channels", "filters"),
    ("kernel", "kernel_size"),
    ("stride", "strides"),
    ("input_shape", "image"),
    ("image_size", "image"),
    ("bias", "use_bias"),
    ("kernel_regularizer", "kernel_l2"),
    ("l1", "kernel_l1"),
    ("l2", "kernel_l2"),
    ("weights", "initial_weights"),
    ("clipnorm", "gradient_clip_norm"),
    ("global_clipnorm", "gradient_clip_norm"),
    ("max_grad_norm", "gradient_clip_norm"),
    ("validation_split", "validation"),
    ("validation_data", "validation"),
    ("validation_fraction", "validation"),
    ("label", "target"),
    ("y", "target"),
    ("x", "features"),
    ("imputer", "missing"),
    ("fillna", "missing"),
    ("add_indicator", "indicator"),
    ("dayfirst", "order"),
    ("date_format", "order"),
    ("normalize", "scale"),
    ("class_weight", "class_weights"),
    ("pos_weight", "class_weights"),
    ("sample_weights", "sample_weight"),
    ("weight_column", "sample_weight"),
    ("monitor", "metric"),
    ("min_lr", "min_learning_rate"),
    ("ema_decay", "ema_momentum"),
    ("accumulation_steps", "gradient_accumulation_steps"),
    ("n_iter_no_change", "patience"),
    ("tol", "min_delta"),
    ("criterion", "loss"),
    ("solver", "optimizer"),
    ("num_workers", "workers_min"),
];

/// Tables that are no sections: where they stand, in words with the line around an example, and the example.
const TABLES: &[(&str, &str, &str)] = &[
    (
        "data.columns",
        "a column, as in [data.columns] `{}`",
        "price = { scale = \"robust\", missing = \"mean\", indicator = true }",
    ),
    (
        LAYERS,
        "a layer, as in [model] `layers = [{}]`",
        "{ type = \"dense\", units = 10, activation = \"relu\" }",
    ),
    (
        "train.optimizer",
        "the optimizer, as in [train] `optimizer = {}`",
        "{ type = \"adam\", learning_rate = 0.001 }",
    ),
    (
        LEARNING_RATE,
        "the learning rate, as in [train] `optimizer = { type = \"adam\", learning_rate = {} }`",
        "{ schedule = \"cosine\", initial_learning_rate = 0.001, decay_steps = 4000 }",
    ),
    (
        "train.early_stopping",
        "early stopping, as in [train] `{}`",
        "early_stopping = { metric = \"validation_loss\", patience = 10 }",
    ),
];

const LAYERS: &str = "model.layers";
const LEARNING_RATE: &str = "train.optimizer.learning_rate";

/// The keys of every section, and of every one of [`TABLES`].
static KEYS: LazyLock<Vec<(String, Vec<&'static str>)>> = LazyLock::new(|| {
    let mut keys = all_keys("", &mut Job::blank());
    let is_table = |name: &str| TABLES.iter().any(|(table, ..)| *table == name);
    keys.retain(|(name, _)| !name.contains('.') || is_table(name));
    // What a number stands for otherwise.
    keys.push((LEARNING_RATE.to_string(), vec!["schedule"]));
    keys
});

/// What a table in this place looks like.
pub(super) fn example(name: &str) -> &'static str {
    let is_in = |table: &&str| {
        name.strip_prefix(*table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let tables = TABLES.iter().filter(|(table, ..)| is_in(table));
    tables.max_by_key(|(table, ..)| table.len()).map_or("key = value", |(.., example)| example)
}

/// The complaint about a key that a section does not have.
pub(super) fn unknown_key(section: &str, key: &str, known: &[&str]) -> String {
    let found = format!("unknown key `{}`", full_name(section, key));
    let meant = ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, meant)| meant);
    if known.contains(&meant) {
        return format!("{found}, did you mean `{meant}`?");
    }
    if let Some(near) = known.iter().find(|name| name.strip_suffix('s') == Some(key)) {
        return format!("{found}, did you mean `{near}`?");
    }
    // A schedule's own parameters are nearer to what was meant than any other section's.
    if section != LEARNING_RATE
        && let Some(home) = home(section, meant)
    {
        return format!("{found}: wanted {}", at_home(home, meant));
    }
    match nearest(key, known) {
        Some(near) => format!("{found}, did you mean `{near}`?"),
        None => format!("{found}, wanted one of: {}", known.join(", ")),
    }
}

/// The other section or table that has a key. Of layers the keys are known where one is read.
fn home(section: &str, key: &str) -> Option<&'static str> {
    let is_other = |name: &str| name != section && !(name == LAYERS && section.starts_with(LAYERS));
    let has = |(name, keys): &&(String, Vec<&str>)| is_other(name) && keys.contains(&key);
    // Schedules come last: one of them has keys of early stopping.
    let homes = || KEYS.iter().filter(has).map(|(name, _)| &name[..]);
    homes().find(|name| *name != LEARNING_RATE).or_else(|| homes().next())
}

/// The complaint about a name that nothing has.
pub(super) fn unknown_name(found: &str, names: &[&str]) -> String {
    let listed = names.join(", ");
    match nearest(found, names) {
        Some(near) => format!("found \"{found}\", did you mean `{near}`? There are: {listed}"),
        None => format!("found \"{found}\", wanted one of: {listed}"),
    }
}

/// A key where it belongs, in words.
fn at_home(section: &str, key: &str) -> String {
    if section.is_empty() {
        return format!("`{key}` at the top of the file, before the first section");
    }
    match TABLES.iter().find(|(name, ..)| *name == section) {
        Some((_, inside, example)) => {
            format!("`{key}` inside {}", inside.replace("{}", example))
        }
        None => format!("`{key}` in [{section}]"),
    }
}

/// The known name that a mistyped one is nearest to, if it is near at all: one slip in a short name, more in a long one.
fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    let found = found.to_lowercase().replace('-', "_");
    let slips = |name: &str| strsim::damerau_levenshtein(&found, name);
    let allowed = |name: &str| match found.chars().count().max(name.len()) {
        0..=2 => 0,
        3..=4 => 1,
        5..=8 => 2,
        length => length / 3,
    };
    let near = known.iter().copied().filter(|name| slips(name) <= allowed(name));
    near.min_by_key(|name| slips(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_meant() {
        let metrics = ["mse", "rmse", "mae", "r2", "accuracy"];
        for (found, near) in [
            ("f1", None),
            ("r3", None),
            ("R2", Some("r2")),
            ("rsme", Some("rmse")),
            ("acuracy", Some("accuracy")),
            ("auc", None),
            ("precision", None),
        ] {
            assert_eq!(nearest(found, &metrics), near, "{found}");
        }
    }

    #[test]
    fn every_alias_stands_for_a_key() {
        let is_key = |key: &str| KEYS.iter().any(|(_, keys)| keys.contains(&key));
        for (alias, key) in ALIASES {
            assert!(is_key(key), "{alias}: {key}");
            assert!(!is_key(alias), "{alias} is a key");
        }
    }
}
