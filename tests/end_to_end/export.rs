//! Models that go to other programs and come from them: what a run leaves, `export` and `import`.

use std::fs;

use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::bad_job::{JOB, small};
use crate::folder::{Folder, edited};

fn bytes(folder: &Folder, name: &str) -> Vec<u8> {
    fs::read(folder.path().join(name)).unwrap()
}

#[test]
fn a_run_leaves_its_model_for_other_programs() {
    let folder = small();
    folder.train_into("run");
    let left = bytes(&folder, "run/model/model.onnx");
    folder.run(&["export", "run", "--output", "one.onnx"]).expect(0);
    assert_eq!(bytes(&folder, "one.onnx"), left);
    folder.run(&["export", "run", "--encoded"]).expect(0);
    assert_ne!(bytes(&folder, "model.onnx"), left);
    for format in ["safetensors", "json"] {
        folder.run(&["export", "run", "--format", format]).expect(0);
        assert!(!bytes(&folder, &format!("model.{format}")).is_empty());
    }
    let standard = folder.run(&["export", "run", "--format", "json", "--output", "-"]);
    standard.expect(0);
    assert_eq!(standard.stdout, folder.read("model.json"));
    folder.run(&["verify", "run"]).expect(0);
    for (arguments, message) in [
        (&["--output", "one.onnx"][..], "one.onnx: it is there already"),
        (&["--output", "run/model.onnx"], "it lies in the run folder"),
        (&["--format", "json", "--encoded"], "--encoded is for --format onnx"),
    ] {
        let ended = folder.run(&[&["export", "run"], arguments].concat());
        assert!(ended.stderr.contains(message) && ended.code() != Some(0), "{ended}");
    }
    // A graph that is gone is none that is wrong.
    fs::write(folder.path().join("run/model/model.onnx"), [&left[..], b"x"].concat()).unwrap();
    folder.run(&["verify", "run"]).expect_with(3, "run/model/model.onnx: altered");
    fs::remove_file(folder.path().join("run/model/model.onnx")).unwrap();
    folder.run(&["verify", "run"]).expect(0);
    folder.run(&["evaluate", "run", "--data", "test.csv"]).expect(0);
}

/// A finished run that goes on has no graph of weights that are no longer its own.
#[test]
fn a_run_that_goes_on_has_the_graph_of_its_end_alone() {
    let folder = small();
    folder.train_into("run");
    let first = bytes(&folder, "run/model/model.onnx");
    folder.write("job.toml", &edited(JOB, "epochs = 2", "epochs = 4"));
    folder.run(&["--quiet", "local", "job.toml", "--out", "run", "--resume"]).expect(0);
    assert_ne!(bytes(&folder, "run/model/model.onnx"), first);
    folder.run(&["verify", "run"]).expect(0);
}

/// Weights of a run under PyTorch's names, kernels turned, predict what the run does.
#[test]
fn weights_come_from_other_programs() {
    let folder = small();
    folder.train_into("run");
    let found = bytes(&folder, "run/model/weights.safetensors");
    let found = safetensors::SafeTensors::deserialize(&found).unwrap();
    let tensor = |ours: &str, name: &str| {
        let tensor = found.tensor(ours).unwrap();
        let values: Vec<[u8; 4]> = tensor.data().as_chunks().0.to_vec();
        let mut shape = tensor.shape().to_vec();
        let values = match *shape {
            [inputs, units] => {
                shape.reverse();
                (0..inputs * units).map(|at| values[at % inputs * units + at / inputs]).collect()
            }
            _ => values,
        };
        (name.to_string(), shape, values.concat())
    };
    let tensors = [
        tensor("layers.0.kernel", "0.weight"),
        tensor("layers.0.bias", "0.bias"),
        tensor("layers.1.kernel", "2.weight"),
        tensor("layers.1.bias", "2.bias"),
    ];
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    folder.write("pytorch.safetensors", &serialize(views, None).unwrap());
    let import = ["import", "job.toml", "--weights", "pytorch.safetensors", "--out", "imported"];
    folder.run(&import).expect_with(0, "0.weight (turned) is layers.0.kernel");
    assert_eq!(folder.hash_of("imported"), folder.hash_of("run"));
    let predict = |run: &str| {
        let ended = folder.run(&["predict", run, "--data", "test.csv"]);
        ended.expect(0);
        ended.stdout
    };
    assert_eq!(predict("imported"), predict("run"));
    for run in ["imported", "run"] {
        let output = format!("{run}.onnx");
        folder.run(&["export", run, "--output", &output]).expect(0);
    }
    assert_eq!(bytes(&folder, "imported.onnx"), bytes(&folder, "run.onnx"));
    folder.run(&["verify", "imported"]).expect_with(3, "its weights were imported");
    folder.run(&import).expect_with(3, "the run folder exists and is not empty");
    folder.run(&["import", "job.toml"]).expect_with(2, "found no weights, wanted --weights FILE");
}
