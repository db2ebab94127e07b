//! What to say of a key or a name that there is not: the one that was probably meant, or the place where it belongs. Knows the
//! keys of a job, and what other programs call them; reads nothing.

use super::reader::full_name;
use super::sections::SECTIONS;
use super::{columns, early_stopping, layers, learning_rate};

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
    ("bias", "use_bias"),
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
    ("normalize", "scale"),
    ("class_weight", "class_weights"),
    ("pos_weight", "class_weights"),
    ("sample_weights", "sample_weight"),
    ("weight_column", "sample_weight"),
    ("monitor", "metric"),
    ("n_iter_no_change", "patience"),
    ("tol", "min_delta"),
    ("criterion", "loss"),
    ("solver", "optimizer"),
    ("num_workers", "workers_min"),
];

/// Where the parameters of layers and of schedules belong.
const LAYERS: &str = "model.layers";
const LEARNING_RATE: &str = "train.optimizer.learning_rate";

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

/// The other section that has a key.
fn home(section: &str, key: &str) -> Option<&'static str> {
    let has = |(name, keys): &&(&'static str, &[&str])| *name != section && keys.contains(&key);
    let home = SECTIONS.iter().find(has).map(|(name, _)| *name);
    let is_layers = || (!section.starts_with(LAYERS)).then_some(LAYERS);
    let home = home.or_else(|| is_layers().filter(|_| layers::is_parameter(key)));
    home.or_else(|| learning_rate::is_parameter(key).then_some(LEARNING_RATE))
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
    match section {
        "" => format!("`{key}` at the top of the file, before the first section"),
        "train.optimizer" => format!(
            "`{key}` inside the optimizer, as in [train] `optimizer = {{ type = \"adam\", learning_rate = 0.001 }}`"
        ),
        LEARNING_RATE => format!(
            "`{key}` inside the learning rate, as in [train] `optimizer = {{ type = \"adam\", learning_rate = {} }}`",
            learning_rate::EXAMPLE
        ),
        "train.early_stopping" => {
            format!("`{key}` inside early stopping, as in [train] `{}`", early_stopping::EXAMPLE)
        }
        LAYERS => format!("`{key}` inside a layer, as in [model] `layers = [{}]`", layers::EXAMPLE),
        "data.columns" => {
            format!("`{key}` inside a column, as in [data.columns] `{}`", columns::EXAMPLE)
        }
        section => format!("`{key}` in [{section}]"),
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
        for (alias, key) in ALIASES {
            let is_parameter =
                |key: &str| layers::is_parameter(key) || learning_rate::is_parameter(key);
            let is_key = SECTIONS.iter().any(|(_, keys)| keys.contains(key));
            assert!(is_key || is_parameter(key), "{alias}: {key}");
            assert!(!is_parameter(alias), "{alias} is a parameter");
            assert!(SECTIONS.iter().all(|(_, keys)| !keys.contains(alias)), "{alias} is a key");
        }
    }
}
