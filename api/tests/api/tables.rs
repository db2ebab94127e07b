//! Tables with texts: fitted on, predicted from, and refused.

use lockstep::prelude::*;
use tempfile::TempDir;

/// Ninety flights: a carrier, a distance with missing cells, and what there is to predict.
pub(crate) fn flights() -> (TempDir, Table) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flights.csv");
    let mut text = "carrier,distance,delay,late\n".to_string();
    for row in 0..90 {
        let carrier = ["AA", "UA", "DL"][row * row % 7 % 3];
        let distance =
            if row % 11 == 3 { String::new() } else { (row * 37 % 100 * 10).to_string() };
        let delay = row * 37 % 100 / 4 + carrier.len() * (row % 3);
        text +=
            &format!("{carrier},{distance},{delay},{}\n", if delay > 12 { "yes" } else { "no" });
    }
    std::fs::write(&path, text).unwrap();
    let table = Table::read(&path).unwrap();
    (folder, table)
}

/// With an embedded carrier.
fn of_delays(table: Table) -> Table {
    let scale = Scale::named("standard").unwrap();
    table
        .target("delay")
        .features(&["carrier", "distance"])
        .scale(scale)
        .missing(Missing::Median)
        .column("carrier", Column::embedding(2))
        .column("distance", Column::inferred().indicator())
        .column("delay", Column::inferred().scale(scale).missing(Missing::Error))
}

fn model_of_delays() -> Sequential {
    let mut model = Sequential::new();
    model.add(Dense::new(6).activation(Activation::Tanh));
    model.add(Dense::new(1));
    model.compile(adam().learning_rate(0.02), Loss::Mse, &[Metric::Mae]);
    model
}

#[test]
fn a_table_with_texts() {
    let (folder, table) = flights();
    assert_eq!(table.columns(), ["carrier", "distance", "delay", "late"]);
    let table = of_delays(table);
    let fitted = |workers, threads| {
        let mut model = model_of_delays();
        let fit = Fit::new().epochs(4).batch_size(10).validation_split(0.2);
        let fit = fit.workers(workers).threads(threads);
        let history = model.fit_table(&table, &fit).unwrap();
        (history, model)
    };
    let (history, model) = fitted(1, 1);
    for (workers, threads) in [(3, 1), (8, 2)] {
        let (other, same) = fitted(workers, threads);
        assert_eq!((&other, same.weights_hash()), (&history, model.weights_hash()));
    }
    assert!(history.epochs[3].contains_key("validation_mae"));
    let predicted = model.predict_table(&table).unwrap();
    assert_eq!((predicted.values.dim(), predicted.classes.is_none()), ((90, 1), true));
    let found = model.evaluate_table(&table).unwrap();
    assert!(found["mae"] < 12.0 && found.loss_is_scaled, "{found:?}");
    // A new carrier is one that training never saw.
    let path = folder.path().join("new.csv");
    std::fs::write(&path, "distance,carrier\n100,AA\n100,XX\n").unwrap();
    let predicted = model.predict_table(&Table::read(&path).unwrap()).unwrap();
    assert_eq!((predicted.values.nrows(), predicted.unseen[0].feature.as_str()), (2, "carrier"));
    // Saved, loaded, gone on with.
    let saved = folder.path().join("model");
    model.save(&saved).unwrap();
    let mut loaded = Sequential::load(&saved).unwrap();
    assert_eq!(loaded.predict_table(&table).unwrap(), model.predict_table(&table).unwrap());
    loaded.compile(adam().learning_rate(0.02), Loss::Mse, &[Metric::Mae]);
    let fit = Fit::new().batch_size(10).validation_split(0.2);
    loaded.fit_table(&table, &fit).unwrap();
    let mut model = model;
    model.fit_table(&table, &fit).unwrap();
    assert_eq!(loaded.weights_hash(), model.weights_hash());
    // Fewer rows have another mean.
    let error = model.fit_table(&table, &Fit::new()).unwrap_err().to_string();
    assert!(error.contains("other inputs than in the fit before"), "{error}");
}

#[test]
fn labels_come_back() {
    let (folder, table) = flights();
    let table = table.target("late").features(&["carrier", "distance"]).missing(Missing::Mean);
    let path = folder.path().join("flights.csv");
    let watched = Table::read(&path).unwrap();
    for (loss, units, activation) in [
        (Loss::BINARY_CROSS_ENTROPY, 1, Activation::Sigmoid),
        (Loss::CROSS_ENTROPY, 2, Activation::Softmax),
    ] {
        let mut model = Sequential::new();
        model.add(Dense::new(units).activation(activation));
        model.compile(adam(), loss, &[Metric::Accuracy]);
        let fit = Fit::new().epochs(2).batch_size(10).validation_table(&watched);
        let fit = fit.class_weights(ClassWeights::Balanced);
        let history = model.fit_table(&table, &fit).unwrap();
        assert!(history.epochs[1].contains_key("validation_accuracy"));
        let predicted = model.predict_table(&table).unwrap();
        assert_eq!(predicted.labels, [["no", "yes"]]);
        assert!(["no", "yes"].contains(&predicted.label(89, 0)));
        let found = model.evaluate_table(&table).unwrap();
        let right = (0..90).filter(|&row| {
            let delays = std::fs::read_to_string(&path).unwrap();
            delays.lines().nth(row + 1).unwrap().ends_with(predicted.label(row, 0))
        });
        assert_eq!(found["accuracy"], right.count() as f64 / 90.0);
        assert_eq!(found.classes[0].classes[1].label, "yes");
    }
}

/// The same rows as arrays and as a table: the same split, and the same bits.
#[test]
fn arrays_are_split_as_tables_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("numbers.csv");
    let cell = |row: usize, column: usize| (row * (7 + column) % 23) as f32 / 4.0;
    let lines = (0..60).map(|row| format!("{},{},{}\n", cell(row, 0), cell(row, 1), row % 3));
    std::fs::write(&path, "a,b,class\n".to_string() + &lines.collect::<String>()).unwrap();
    let x = ndarray::Array2::from_shape_fn((60, 2), |(row, column)| cell(row, column));
    let y = ndarray::Array2::from_shape_fn((60, 1), |(row, _)| (row % 3) as f32);
    for (loss, units, activation) in
        [(Loss::CROSS_ENTROPY, 3, Activation::Softmax), (Loss::Mse, 1, Activation::Linear)]
    {
        let model = || {
            let mut model = Sequential::new();
            model.add(Dense::new(units).activation(activation));
            model.compile(adam(), loss, &[]);
            model
        };
        let fit = Fit::new().epochs(3).batch_size(8).seed(7).validation_split(0.25);
        let (mut of_table, mut of_arrays) = (model(), model());
        let table = Table::read(&path).unwrap().target("class");
        let histories = [
            of_table.fit_table(&table, &fit).unwrap(),
            of_arrays.fit(x.view(), y.view(), &fit).unwrap(),
        ];
        assert_eq!(histories[0], histories[1]);
        assert_eq!(of_table.weights_hash(), of_arrays.weights_hash());
        // A model of a table of numbers takes arrays of its features.
        assert_eq!(of_table.predict(x.view()).unwrap(), of_arrays.predict(x.view()).unwrap());
    }
}

/// No number goes in, only places of categories.
#[test]
fn a_table_of_texts_alone() {
    let (_folder, table) = flights();
    let table =
        table.target("delay").features(&["carrier"]).column("carrier", Column::embedding(3));
    let mut model = model_of_delays();
    model.fit_table(&table, &Fit::new().batch_size(30).workers(2)).unwrap();
    let predicted = model.predict_table(&table).unwrap();
    assert_eq!(predicted.values.dim(), (90, 1));
}

/// Cells in memory are what they are in a file, to the bit; and a model of either predicts from both.
#[test]
fn a_table_in_memory() {
    let (_folder, file) = flights();
    let rows = 0..90usize;
    let carriers: Vec<&str> =
        rows.clone().map(|row| ["AA", "UA", "DL"][row * row % 7 % 3]).collect();
    let delays: Vec<i64> =
        rows.clone().map(|row| (row * 37 % 100 / 4 + 2 * (row % 3)) as i64).collect();
    let distances: Vec<Option<f64>> =
        rows.map(|row| (row % 11 != 3).then_some((row * 37 % 100 * 10) as f64)).collect();
    let late: Vec<String> =
        delays.iter().map(|&delay| if delay > 12 { "yes" } else { "no" }.to_string()).collect();
    let columns = [
        ("carrier", Cells::from(carriers)),
        ("distance", distances.into()),
        ("delay", delays.into()),
        ("late", late.into()),
    ];
    let memory = Table::of_columns(columns).unwrap();
    assert_eq!(memory.columns(), file.columns());
    let tables = [of_delays(file), of_delays(memory)];
    let fit = |table: &Table| {
        let mut model = model_of_delays();
        let fit = Fit::new().epochs(2).batch_size(10).workers(2).validation_table(table);
        (model.fit_table(table, &fit).unwrap(), model)
    };
    let [(history, of_file), (same, of_memory)] = [fit(&tables[0]), fit(&tables[1])];
    assert_eq!((history, of_file.weights_hash()), (same, of_memory.weights_hash()));
    for table in &tables {
        let [one, other] = [&of_file, &of_memory].map(|model| model.predict_table(table).unwrap());
        assert_eq!(one, other);
        assert_eq!(
            of_file.evaluate_table(table).unwrap().values,
            of_memory.evaluate_table(table).unwrap().values
        );
    }
}

#[test]
fn tables_in_memory_that_cannot_be() {
    let none: [(&str, Cells); 0] = [];
    let text = |cells: Cells| Table::of_columns([("a", Cells::from([true, false])), ("b", cells)]);
    let wrong = |found: Result<Table, lockstep::Error>| found.unwrap_err().to_string();
    assert_eq!(wrong(Table::of_columns(none)), "found no columns, wanted at least one");
    let error = wrong(text(Cells::from([1.0_f32])));
    assert_eq!(error, "column \"b\" has 1 cell, and \"a\" has 2: wanted as many of each");
    let twice = [("a", Cells::from([1.0])), ("a ", Cells::from([2.0]))];
    assert!(wrong(Table::of_columns(twice)).contains("is there twice"));
    // What is wrong with a cell is told with its place.
    let table = text(Cells::from([Some(1.5), None])).unwrap().target("a").missing(Missing::Error);
    let mut model = Sequential::new();
    model.add(Dense::new(1).activation(Activation::Sigmoid));
    model.compile(adam(), Loss::BINARY_CROSS_ENTROPY, &[]);
    let error = wrong(model.fit_table(&table, &Fit::new().batch_size(1)).map(|_| table.clone()));
    assert!(error.contains("table in memory"), "{error}");
}
