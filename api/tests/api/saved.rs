//! Models that are saved, loaded, exported, and begun from weights of others.

use lockstep::prelude::*;
use ndarray::Array2;

/// Only a fitted model goes to other programs.
#[test]
fn a_fitted_model_is_an_onnx_graph() {
    let mut model = Sequential::new();
    model.add(Dense::new(1));
    model.compile(adam(), Loss::Mse, &[]);
    assert!(
        model.export(ExportFormat::Onnx).unwrap_err().to_string().contains("export before fit")
    );
    let x = Array2::from_shape_fn((8, 2), |(row, column)| (row * 2 + column) as f32);
    let y = Array2::from_shape_fn((8, 1), |(row, _)| row as f32);
    model.fit(x.view(), y.view(), &Fit::new().batch_size(4)).unwrap();
    let bytes = model.export(ExportFormat::Onnx).unwrap();
    for name in ["numbers", "layers.0.kernel", "y0"] {
        assert!(bytes.windows(name.len()).any(|part| part == name.as_bytes()), "{name}");
    }
}

/// A model of two classes, fitted with something to watch, and rows of it.
fn of_classes() -> (Sequential, Array2<f32>, Array2<f32>) {
    let x = Array2::from_shape_fn((200, 2), |(row, column)| {
        ((row * (37 + column)) % 100) as f32 / 50.0 - 1.0
    });
    let y = Array2::from_shape_fn((200, 1), |(row, _)| f32::from(x[[row, 0]] > 0.79));
    let mut model = Sequential::new();
    model.add(Dense::new(1).activation(Activation::Sigmoid));
    let metrics = [Metric::Accuracy, Metric::RocAuc];
    model.compile(adam().learning_rate(0.05), Loss::BINARY_CROSS_ENTROPY, &metrics);
    let fit = Fit::new().epochs(3).batch_size(20).validation_data(x.view(), y.view());
    model.fit(x.view(), y.view(), &fit).unwrap();
    (model, x, y)
}

#[test]
fn a_model_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let (mut model, x, y) = of_classes();
    model.save(&path).unwrap();
    let mut loaded = Sequential::load(&path).unwrap();
    assert_eq!(loaded.weights_hash(), model.weights_hash());
    assert_eq!((loaded.threshold(), loaded.spec()), (model.threshold(), model.spec()));
    assert!(model.threshold().is_some_and(|threshold| threshold != 0.5));
    assert_eq!(loaded.predict(x.view()).unwrap(), model.predict(x.view()).unwrap());
    let [one, other] = [&model, &loaded].map(|of| of.evaluate(x.view(), y.view()).unwrap());
    assert_eq!((&one.values, &one.classes), (&other.values, &other.classes));
    // It goes on like the other, once it is said with which optimizer.
    let fit = Fit::new().batch_size(20);
    let error = loaded.fit(x.view(), y.view(), &fit).unwrap_err().to_string();
    assert_eq!(error, "fit before compile");
    for model in [&mut model, &mut loaded] {
        model.compile(sgd(0.1), Loss::BINARY_CROSS_ENTROPY, &[]);
        model.fit(x.view(), y.view(), &fit).unwrap();
    }
    assert_eq!(loaded.weights_hash(), model.weights_hash());
    // No folder with something in it is written over.
    let error = model.save(&path).unwrap_err();
    assert_eq!(error.kind(), lockstep::ErrorKind::File);
    assert!(error.to_string().contains("there is something in it already"), "{error}");
    let error = Sequential::load(folder.path().join("none")).unwrap_err();
    assert!(error.to_string().contains("none: cannot read the run folder"), "{error}");
}

#[test]
fn files_for_other_programs() {
    let (model, ..) = of_classes();
    let json = String::from_utf8(model.export(ExportFormat::Json).unwrap()).unwrap();
    assert!(json.contains("layers.0.kernel"), "{json}");
    assert!(!model.export(ExportFormat::Safetensors).unwrap().is_empty());
}

/// What a model exports, another starts from, or takes as it is; of a wider network, what fits.
#[test]
fn weights_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let (model, x, y) = of_classes();
    std::fs::write(&path, model.export(ExportFormat::Safetensors).unwrap()).unwrap();
    let like_it = || {
        let mut model = Sequential::new();
        model.add(Dense::new(1).activation(Activation::Sigmoid));
        model.compile(sgd(1e-30), Loss::BINARY_CROSS_ENTROPY, &[]);
        model
    };
    let mut other = like_it();
    other.initial_weights(&path);
    other.build(2).unwrap();
    assert_eq!(other.weights(), model.weights());
    assert_eq!(other.predict(x.view()).unwrap(), model.predict(x.view()).unwrap());
    let mut other = like_it();
    other.initial_weights(&path);
    other.fit(x.view(), y.view(), &Fit::new().batch_size(200)).unwrap();
    assert_eq!(other.weights(), model.weights());
    let mut drawn = like_it();
    drawn.build(2).unwrap();
    assert_ne!(drawn.weights(), model.weights());
    let mut wider = like_it();
    wider.matching_initial_weights(&path);
    wider.build(3).unwrap();
    let bias = |model: &Sequential| model.weights().unwrap().last().copied();
    assert_eq!(bias(&wider), bias(&model));
    let mut wider = like_it();
    wider.initial_weights(&path);
    let error = wider.build(3).unwrap_err().to_string();
    assert!(error.contains("tensor layers.0.kernel is F32 [2, 1], wanted F32 [3, 1]"), "{error}");
}

/// Where nothing is learned, no batch is too small.
#[test]
fn what_measures_batches_is_built_without_any() {
    let (folder, table) = crate::tables::flights();
    let mut model = Sequential::new();
    model.add(BatchNorm::new());
    model.add(Dense::new(1));
    model.compile(sgd(0.1), Loss::Mse, &[]);
    let mut of_table = model.clone();
    model.build(3).unwrap();
    let x = Array2::from_shape_fn((5, 3), |(row, column)| (row * 3 + column) as f32);
    assert_eq!(model.predict(x.view()).unwrap().dim(), (5, 1));
    let table = table.target("delay").missing(Missing::Mean);
    of_table.build_table(&table).unwrap();
    assert_eq!(of_table.predict_table(&table).unwrap().values.dim(), (90, 1));
    drop(folder);
}
