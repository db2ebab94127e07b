//! Models as PyTorch and Keras write them, imported: they predict what those programs do.
//!
//! A folder of `tests/weights` has a job, its table, the weights in one type or several, and the predictions for each. The scripts
//! there made them.

use std::path::Path;

use crate::folder::Folder;

/// Farthest that a number may be from that of the other program.
const DIFFERENCE_MAX: f64 = 2e-6;

#[test]
fn imported_models_predict_what_their_programs_do() {
    let rounded = "F64 values are rounded to F32";
    for (name, kind, note) in [
        ("keras", "float32", ""),
        (
            "pytorch-images",
            "float32",
            "5.layers.3.bias (its pixels in our order) is layers.4.layers.2.bias",
        ),
        ("pytorch-embedding", "float32", "embedding.weight is inputs.letter.embedding"),
        ("pytorch-embedding", "float64", rounded),
        ("pytorch-embedding", "float16", "F16 values are taken as F32"),
        ("pytorch-embedding", "bfloat16", "BF16 values are taken as F32"),
    ] {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/weights").join(name);
        let read = |file: String| std::fs::read(from.join(file)).unwrap();
        let folder = Folder::new(&[]);
        for file in ["job.toml", "train.csv"] {
            folder.write(file, &read(file.to_string()));
        }
        folder.write("w.safetensors", &read(format!("{kind}.safetensors")));
        let import = ["import", "job.toml", "--weights", "w.safetensors", "--out", "run"];
        folder.run(&import).expect_with(0, note);
        let ended = folder.run(&["predict", "run", "--data", "train.csv"]);
        ended.expect(0);
        let wanted = String::from_utf8(read(format!("{kind}.csv"))).unwrap();
        let [found, wanted] = [&ended.stdout, &wanted].map(|text| numbers(text));
        assert_eq!(found.len(), wanted.len(), "{name} {kind}: {ended}");
        let differences = found.iter().zip(&wanted).map(|(found, wanted)| (found - wanted).abs());
        let largest = differences.fold(0.0, f64::max);
        assert!(largest <= DIFFERENCE_MAX, "{name} {kind}: {largest:e}");
        // Shown with `--nocapture`.
        println!("{name} {kind}: {largest:.1e} over {} numbers", wanted.len());
    }
}

/// The numbers of a table, row by row.
fn numbers(table: &str) -> Vec<f64> {
    let cells = table.lines().skip(1).flat_map(|line| line.split(','));
    cells.map(|cell| cell.parse().unwrap()).collect()
}
