//! Weights files, run folders and tables for finished models that cannot be used.

use safetensors::tensor::{Dtype, TensorView, serialize};

use crate::bad_job::{JOB, refused, small};
use crate::folder::{Folder, edited};

type Tensor<'a> = (&'a str, Vec<usize>);

/// The tensors of the job's network.
fn tensors() -> Vec<Tensor<'static>> {
    vec![
        ("layers.0.bias", vec![4]),
        ("layers.0.kernel", vec![2, 4]),
        ("layers.1.bias", vec![1]),
        ("layers.1.kernel", vec![4, 1]),
    ]
}

/// A file with these tensors, every value the same.
fn file(tensors: &[Tensor<'_>], dtype: Dtype, value: f32) -> Vec<u8> {
    let width = dtype.bitsize() / 8;
    let views = tensors.iter().map(|(name, shape)| {
        let count: usize = shape.iter().product();
        let mut bytes = value.to_le_bytes().repeat(count);
        bytes.resize(count * width, 0);
        (*name, shape.clone(), bytes)
    });
    let kept: Vec<_> = views.collect();
    let views = kept
        .iter()
        .map(|(name, shape, bytes)| (*name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    serialize(views, None).unwrap()
}

fn with_weights(bytes: &[u8]) -> Folder {
    let folder = small();
    let key = "loss = \"mse\"";
    let with = format!("{key}\ninitial_weights = \"w.safetensors\"");
    folder.write("job.toml", &edited(JOB, key, &with));
    folder.write("w.safetensors", bytes);
    folder
}

#[test]
fn initial_weights_that_do_not_fit() {
    with_weights(&file(&tensors(), Dtype::F32, 0.5)).run(&["check", "job.toml"]).expect(0);
    let changed = |place: usize, tensor: Tensor<'static>| {
        let mut all = tensors();
        all[place] = tensor;
        file(&all, Dtype::F32, 0.5)
    };
    let whole = file(&tensors(), Dtype::F32, 0.5);
    let more = [tensors(), vec![("layers.2.bias", vec![3])]].concat();
    for (bytes, message) in [
        (
            changed(1, ("layers.0.kernel", vec![4, 2])),
            "w.safetensors: tensor layers.0.kernel is F32 [4, 2], wanted F32 [2, 4]",
        ),
        (
            changed(1, ("layers.0.weight", vec![2, 4])),
            "w.safetensors: no tensor layers.0.kernel, found layers.",
        ),
        (
            file(&more, Dtype::F32, 0.5),
            "w.safetensors: tensor layers.2.bias is not one of the network's",
        ),
        (
            file(&tensors(), Dtype::I32, 0.5),
            "w.safetensors: tensor layers.0.kernel is I32 [2, 4], wanted F32 [2, 4]",
        ),
        (file(&tensors(), Dtype::F32, f32::NAN), "w.safetensors: weight 0 is NaN"),
        (whole[..whole.len() - 1].to_vec(), "w.safetensors: not a whole safetensors file ("),
        (whole[..5].to_vec(), "w.safetensors: not a whole safetensors file ("),
        (Vec::new(), "w.safetensors: not a whole safetensors file ("),
    ] {
        refused(&with_weights(&bytes), message);
    }
    let folder = with_weights(&whole);
    std::fs::remove_file(folder.path().join("w.safetensors")).unwrap();
    refused(&folder, "w.safetensors: cannot read it: No such file or directory");
}

/// A number that `f32` has and the job's precision has not.
#[test]
fn initial_weights_that_workers_would_see_as_infinite() {
    let folder = with_weights(&file(&tensors(), Dtype::F32, f32::MAX));
    folder.run(&["check", "job.toml"]).expect(0);
    let job = folder.read("job.toml");
    folder.write("job.toml", &edited(&job, "shards = 3", "shards = 3\nprecision = \"bf16\""));
    refused(
        &folder,
        "w.safetensors: weight 0 is 340282350000000000000000000000000000000, wanted numbers that are finite in bf16",
    );
}

#[test]
fn a_run_folder_that_is_not_empty() {
    let folder = small();
    std::fs::create_dir(folder.path().join("run")).unwrap();
    folder.write("run/notes.txt", "keep me");
    let before = folder.files();
    for command in [
        &["local", "job.toml", "--out", "run"][..],
        &["coordinator", "job.toml", "--listen", "127.0.0.1:0", "--out", "run"],
    ] {
        let ended = folder.run(command);
        ended.expect_with(3, "error: run: the run folder exists and is not empty");
        assert_eq!(folder.files(), before);
    }
}

#[test]
fn a_folder_without_a_model() {
    let folder = small();
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    for command in [&["evaluate"][..], &["predict", "--output", "out.csv"]] {
        for (run, message) in [
            ("empty", "error: empty: no model in this run folder"),
            ("nowhere", "error: nowhere: cannot read the run folder: No such file or directory"),
        ] {
            let before = folder.files();
            let ended = folder.run(&[command, &[run, "--data", "test.csv"]].concat());
            ended.expect_with(3, message);
            assert_eq!(folder.files(), before, "{ended}");
        }
    }
}

#[test]
fn a_table_that_the_model_cannot_read() {
    let folder = small();
    folder.train_into("run");
    for (command, table, message) in [
        ("evaluate", "a,y\n1,2\n", "new.csv: found no column \"b\", a feature of the model"),
        ("evaluate", "a,b\n1,2\n", "new.csv: found no column \"y\", a target of the model"),
        (
            "predict",
            "a,bb\n1,2\n",
            "new.csv: found no column \"b\", a feature of the model; the nearest is",
        ),
        ("predict", "a,b\n1,2\n1,\n", "new.csv:3: column 2 (b): found an empty cell"),
        (
            "predict",
            "a,b\n1,inf\n",
            "new.csv:2: column 2 (b): found \"inf\", wanted a finite number",
        ),
        ("predict", "a,b\n", "new.csv: no rows below the header"),
        ("predict", "", "new.csv: the file is empty"),
    ] {
        folder.write("new.csv", table);
        folder.write("out.csv", "as it was");
        let mut arguments = vec![command, "run", "--data", "new.csv"];
        if command == "predict" {
            arguments.extend(["--output", "out.csv", "--force"]);
        }
        let ended = folder.run(&arguments);
        ended.expect_with(3, message);
        assert_eq!((ended.stdout.as_str(), &folder.read("out.csv")[..]), ("", "as it was"));
    }
}

#[test]
fn a_damaged_model() {
    for (file, content, message) in [
        ("model/model.json", "{", "run/model/model.json: damaged: "),
        ("model/model.json", "{\"format\": 2}", "run/model/model.json: "),
        ("model/weights.safetensors", "xx", "run/model/weights.safetensors: not a whole"),
    ] {
        let folder = small();
        folder.train_into("run");
        folder.write(&format!("run/{file}"), content);
        folder.run(&["evaluate", "run", "--data", "test.csv"]).expect_with(3, message);
    }
}

/// Said so that it can be done.
#[test]
fn weights_of_other_types_and_programs() {
    for dtype in [Dtype::F64, Dtype::F16] {
        let note = format!("initial weights w.safetensors: {dtype:?} values are ");
        let ended = with_weights(&file(&tensors(), dtype, 0.0)).run(&["check", "job.toml"]);
        ended.expect(0);
        assert!(ended.stdout.contains(&note), "{ended}");
    }
    for (bytes, message) in [
        (
            &b"PK\x03\x04....archive/data.pkl...."[..],
            "it is a PyTorch checkpoint, wanted a safetensors file",
        ),
        (b"PK\x03\x04....arr_0.npy....", "it is a NumPy archive, wanted a safetensors file"),
        (
            b"PK\x03\x04....config.json....",
            "in Python: import keras; w = keras.models.load_model(\"w.safetensors\")",
        ),
        (b"\x89HDF\r\n\x1a\n....", "it is an HDF5 file, as Keras writes them"),
        (b"\x80\x04\x95......", "it is a Python pickle"),
        (
            b"\x93NUMPY\x01\x00",
            "[\"layers.0.kernel\", \"layers.0.bias\", \"layers.1.kernel\", \"layers.1.bias\"]",
        ),
    ] {
        refused(&with_weights(bytes), message);
    }
}

/// A run folder and a checkpoint can be what another run starts from.
#[test]
fn initial_weights_of_a_run() {
    let folder = small();
    folder.write("job.toml", &format!("{JOB}[checkpoint]\nevery_steps = 3\n"));
    folder.train_into("run");
    let hash = folder.hash();
    let key = "loss = \"mse\"";
    let checkpoint = "run/checkpoints/step-000000000004.safetensors";
    for from in ["run", checkpoint, "run/model/weights.safetensors"] {
        let with = format!("{key}\ninitial_weights = \"{from}\"");
        folder.write("next.toml", &edited(JOB, key, &with));
        folder.run(&["--quiet", "local", "next.toml", "--out", "next"]).expect(0);
        let manifest = folder.read("next/manifest.json");
        assert!(manifest.contains(&format!("\"initial_weights_blake3\": \"{hash}\"")), "{from}");
        folder.run(&["verify", "next"]).expect(0);
        // Of as many weights, and of another network.
        let other =
            edited(JOB, key, &with).replace("features = [\"a\", \"b\"]", "features = [\"a\"]");
        let other = other
            .replace("units = 4", "units = 5")
            .replace("units = 1 }", "units = 1, use_bias = false }");
        folder.write("other.toml", &other);
        let message = if from == checkpoint {
            "000004.safetensors: "
        } else {
            "weights.safetensors: tensor "
        };
        folder.run(&["check", "other.toml"]).expect_with(3, message);
        std::fs::remove_dir_all(folder.path().join("next")).unwrap();
    }
    let path = folder.path().join(checkpoint);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    folder.write(
        "next.toml",
        &edited(JOB, key, &format!("{key}\ninitial_weights = \"{checkpoint}\"")),
    );
    folder.run(&["check", "next.toml"]).expect_with(3, "altered: its checksum is wrong");
}
