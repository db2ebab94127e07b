//! What TensorBoard reads of a run, by its own reader.

use std::process::Command;

use serde_json::Value;

use crate::faults::folder;
use crate::folder::{Folder, metrics, of_kind};
use crate::tools::{python, skip};

/// Prints scalars, histograms and texts of a folder of events as one object.
const READ: &str = r#"
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
read = EventAccumulator(sys.argv[1], {"scalars": 0, "histograms": 0, "tensors": 0})
read.Reload()
scalars = {tag: [[e.step, e.value] for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
histograms = {tag: [[e.step, sum(e.histogram_value.bucket)] for e in read.Histograms(tag)] for tag in read.Tags()["histograms"]}
job = read.Tensors("job")[0].tensor_proto.string_val[0].decode()
content = read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
hparams = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
print(json.dumps({"scalars": scalars, "histograms": histograms, "job": job, "hparams": hparams}))
"#;

/// What the reader says, if it is there.
#[track_caller]
fn read(folder: &Folder, events: &str) -> Option<Value> {
    let python = python("tensorboard")?;
    let read = Command::new(python).args(["-c", READ, events]).current_dir(folder.path()).output();
    let read = read.unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    Some(serde_json::from_slice(&read.stdout).unwrap())
}

/// Steps and values as the reader says them: `f32`.
fn pairs(seen: &Value) -> Vec<(u64, f32)> {
    let pair = |pair: &Value| (pair[0].as_u64().unwrap(), pair[1].as_f64().unwrap() as f32);
    seen.as_array().unwrap_or_else(|| panic!("{seen}")).iter().map(pair).collect()
}

#[test]
fn every_value_of_a_run_is_read_back() {
    let folder = folder();
    folder.train_into("run");
    folder.run(&["tensorboard", "run", "--logdir", "tb", "--histograms"]).expect(0);
    folder.run(&["tensorboard", "run", "--logdir", "tb"]).expect_with(3, "it is there already");
    folder.run(&["tensorboard", "run", "--logdir", "run/tb"]).expect_with(3, "run folder");
    folder.run(&["tensorboard", "tb"]).expect_with(3, "is this a run folder?");
    folder.run(&["tensorboard", "run", "--logdir", "tb", "--histograms", "--force"]).expect(0);
    let Some(seen) = read(&folder, "tb/run") else { return skip("tensorboard") };
    let lines = metrics(&folder.read("run/metrics.jsonl"));
    let steps = of_kind(&lines, "step");
    for name in ["loss", "learning_rate"] {
        let wanted = steps
            .iter()
            .map(|line| (line["step"].as_u64().unwrap(), line[name].as_f64().unwrap() as f32));
        assert_eq!(pairs(&seen["scalars"][name]), wanted.collect::<Vec<_>>(), "{name}");
    }
    assert!(!pairs(&seen["scalars"]["rows_per_second"]).is_empty());
    let epochs = of_kind(&lines, "epoch");
    let per_epoch = steps.len() as u64 / epochs.len() as u64;
    for (name, _) in epochs[0].as_object().unwrap() {
        if ["kind", "epoch", "seconds"].contains(&name.as_str()) {
            continue;
        }
        let wanted = epochs.iter().map(|line| {
            let epoch = line["epoch"].as_u64().unwrap();
            (epoch * per_epoch, line[name].as_f64().unwrap() as f32)
        });
        let found = pairs(&seen["scalars"][format!("epoch/{name}")]);
        assert_eq!(found, wanted.collect::<Vec<_>>(), "{name}");
    }
    for name in ["layer 0", "layer 1"] {
        let wanted = of_kind(&lines, "gradient").into_iter().map(|line| {
            (line["step"].as_u64().unwrap(), line["norms"][name].as_f64().unwrap() as f32)
        });
        let found = pairs(&seen["scalars"][format!("gradient_norm/{name}")]);
        assert_eq!(found, wanted.collect::<Vec<_>>(), "{name}");
    }
    let last = of_kind(&lines, "final")[0]["test_loss"].as_f64().unwrap() as f32;
    assert_eq!(pairs(&seen["scalars"]["final/test_loss"])[0].1, last);
    // The tensors of the network, each with all of its values.
    let histograms = seen["histograms"].as_object().unwrap();
    assert_eq!(histograms.len(), 4, "{histograms:?}");
    let values = histograms.values().map(|of| pairs(of).last().unwrap().1).sum::<f32>();
    assert_eq!(values, (13 * 10 + 10 + 10 + 1) as f32);
    assert!(
        seen["job"].as_str().unwrap().contains("optimizer = { type = \"adam\""),
        "{}",
        seen["job"]
    );
    assert_eq!(seen["hparams"]["train.batch_size"], 16.0);
    assert_eq!(seen["hparams"]["model.layers.0.activation"], "tanh");
}

/// A run that goes on is followed to its end.
#[test]
fn a_run_is_followed_until_it_is_over() {
    let folder = folder();
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    let following = folder.start(&["tensorboard", "run", "--logdir", "tb", "--follow"]);
    following.line("following the run into ");
    let worker = folder.worker(&address, &[]);
    for process in [coordinator, worker, following] {
        process.end().expect(0);
    }
    let Some(seen) = read(&folder, "tb/run") else { return skip("tensorboard") };
    assert_eq!(pairs(&seen["scalars"]["loss"]).len(), 78);
    assert_eq!(pairs(&seen["scalars"]["final/test_loss"]).len(), 1);
}
