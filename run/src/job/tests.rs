//! That a resolved job is the same job.

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
