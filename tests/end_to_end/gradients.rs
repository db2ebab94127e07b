//! How large the gradient of each layer is: what is written down of it, whoever computed it, and what is warned of.

use serde_json::Value;

use crate::faults::{self, JOB};
use crate::folder::{Folder, edited, metrics, of_kind};
use crate::process::{lockstep, run};

/// The lines of the run in a folder that say how large gradients are.
fn lines(folder: &Folder, run: &str) -> Vec<Value> {
    let lines = metrics(&folder.read(&format!("{run}/metrics.jsonl")));
    of_kind(&lines, "gradient").into_iter().cloned().collect()
}

fn status(folder: &Folder) -> Value {
    let shown = folder.run(&["status", "run", "--json"]);
    shown.expect(0);
    serde_json::from_str(&shown.stdout).unwrap()
}

/// Two runs of one step of plain descent, with other learning rates, end as far apart as the gradient says.
#[test]
fn norms_are_those_of_the_gradient() {
    let ends = ["0.5", "1.5"].map(|rate| {
        let optimizer = format!("optimizer = {{ type = \"sgd\", learning_rate = {rate} }}");
        let job = edited(JOB, "optimizer = \"adam\"", &optimizer);
        let job = edited(&job, "epochs = 3", "epochs = 1");
        let job = edited(&job, "batch_size = 16", "batch_size = 409");
        let folder = Folder::with_table(&job, "boston-relu-adam-mse", 506);
        folder.train_into("run");
        (lines(&folder, "run"), folder.weights())
    });
    let [(found, one), (again, other)] = &ends;
    assert_eq!(found, again);
    assert_eq!((found.len(), &found[0]["step"]), (1, &1.into()));
    for (layer, name) in ["layer 0", "layer 1"].into_iter().enumerate() {
        let of_layer = |(tensor, _): &(&String, &Vec<f32>)| tensor.contains(&format!("{layer}."));
        let mut squares = 0.0;
        for (tensor, values) in one.iter().filter(of_layer) {
            let pairs = values.iter().zip(&other[tensor]);
            squares += pairs.map(|(&a, &b)| f64::from(a - b).powi(2)).sum::<f64>();
        }
        let norm = found[0]["norms"][name].as_f64().unwrap();
        assert!(
            (squares.sqrt() / norm - 1.0).abs() < 1e-4,
            "{name}: {} and {norm}",
            squares.sqrt()
        );
    }
}

/// Whoever adds the gradients up, and in whatever form they travel.
#[test]
fn they_do_not_depend_on_who_computes() {
    let folder = faults::folder();
    let mut first = None;
    for (arguments, avoids) in [
        (&["--workers", "1"][..], "0"),
        (&["--workers", "3", "--threads", "2"], "0"),
        (&["--workers", "3", "--set", "cluster.homes=\"on\""], "1"),
    ] {
        let all = ["--quiet", "local", "job.toml", "--out", "run"];
        let mut command = lockstep(folder.path(), &[&all[..], arguments].concat());
        command.env("LOCKSTEP_NO_SHARED_MEMORY", avoids);
        run(command).expect(0);
        let found = lines(&folder, "run");
        let steps: Vec<_> = found.iter().map(|line| line["step"].as_u64().unwrap()).collect();
        assert_eq!(steps, [1, 26, 52, 78]);
        assert_eq!(*first.get_or_insert(found.clone()), found, "{arguments:?}");
        std::fs::remove_dir_all(folder.path().join("run")).unwrap();
    }
}

/// Twelve layers of an activation whose slope is a quarter at most.
#[test]
fn a_gradient_that_vanishes_is_among_the_events() {
    let layer = "{ type = \"dense\", units = 10, activation = \"sigmoid\" }, ";
    let job =
        edited(JOB, "{ type = \"dense\", units = 10, activation = \"tanh\" }, ", &layer.repeat(12));
    let job = edited(&job, "epochs = 3", "epochs = 8");
    let folder = Folder::with_table(&job, "boston-relu-adam-mse", 506);
    folder.train_into("run");
    let found = status(&folder);
    let events = found["events"].as_array().unwrap();
    let mut warned = events.iter().filter(|event| event["kind"] == "warning");
    let text = warned.next().unwrap_or_else(|| panic!("{events:#?}"))["text"].as_str().unwrap();
    assert!(text.starts_with("the gradient of layer 0 vanishes: its norm is "), "{text}");
    assert_eq!(found["gradients"]["layers"].as_array().unwrap().len(), 13);
    assert_eq!(found["gradients"]["step"][0], 1);
}

/// A run of a version that wrote down no gradients is shown as it ever was.
#[test]
fn lines_without_gradients_are_read() {
    let folder = faults::folder();
    folder.train_into("run");
    let all = folder.read("run/metrics.jsonl");
    let old = all.lines().filter(|line| !line.contains("\"kind\":\"gradient\""));
    folder.write("run/metrics.jsonl", &old.map(|line| format!("{line}\n")).collect::<String>());
    std::fs::remove_file(folder.path().join("run/status.json")).unwrap();
    let shown = status(&folder);
    assert_eq!(shown["gradients"]["layers"], serde_json::json!([]));
    assert_eq!(shown["epochs"].as_array().unwrap().len(), 3);
    for arguments in [
        &["report", "run", "--output", "a.html"][..],
        &["plot", "run", "--output", "a.svg"],
        &["tensorboard", "run", "--logdir", "tb"],
        &["verify", "run"],
    ] {
        folder.run(arguments).expect(0);
    }
}

/// The first step is so long that no row reaches most units any more.
#[test]
fn units_that_are_dead_are_among_the_events() {
    let job = edited(JOB, "tanh", "relu");
    // No feature is below 0: a unit that the first step moves away from one row is away from all.
    let job = edited(&job, "scale = \"standard\"", "scale = \"minmax\"");
    let rate = "{ schedule = \"piecewise\", boundaries = [1], values = [20.0, 0.001] }";
    let long = format!("optimizer = {{ type = \"sgd\", learning_rate = {rate} }}");
    let job = edited(&job, "optimizer = \"adam\"", &long);
    let job = edited(&job, "epochs = 3", "epochs = 5");
    let folder = Folder::with_table(&job, "boston-relu-adam-mse", 506);
    folder.train_into("run");
    let found = status(&folder);
    let mut events = found["events"].as_array().unwrap().iter();
    let is_dead = |text: &str| text.contains(" of 10 units of layer 0 are dead: they gave 0 for ");
    let dead = events.find(|event| is_dead(event["text"].as_str().unwrap()));
    let dead = dead.unwrap_or_else(|| panic!("{:#}", found["events"]));
    assert_eq!((&dead["kind"], &dead["step"]), (&"warning".into(), &104.into()));
}
