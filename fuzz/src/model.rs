//! `model.json`, schema and network: a model that loads can be used on a table with its columns, and nothing else is ever
//! tried with it. The network's part is also what a worker is told in a welcome.

use std::path::Path;

use lockstep_data::{OutputFormat, Schema, Sink, TableFile};
use lockstep_model::{Network, NetworkSpec};
use lockstep_run::inference::{Request, evaluate, predict};
use lockstep_run::run_folder::{Model, ModelDescription};
use lockstep_run::weights_file::{Stamp, to_bytes, weights_hash};

use crate::budget::Budget;
use crate::scratch;

/// A network of 2^32 parameters has a layout of 2^16 chunks; a table is read in blocks.
const BUDGET: Budget = Budget { fixed: 16 << 20, per_byte: 1024 };

/// Weights of larger networks are not written: it is their description that is tested.
const WEIGHTS_MAX: usize = 1 << 12;

/// A manifest as the first version wrote it, which names no files.
const MANIFEST: &str = r#"{"format":1,"lockstep":"0.1.0","run_id":"one","name":"job","numeric_profile":"fma","shards":1,
    "train_rows":1,"parameters":1,"data_blake3":"","initial_weights_blake3":"","started_unix":0,"status":"finished",
    "weights_blake3":null}"#;

/// Reads a description, and uses its model.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let description = BUDGET.hold(text.len(), || serde_json::from_str::<ModelDescription>(text));
    if let Ok(spec) = serde_json::from_str::<NetworkSpec>(text) {
        check_network(spec, text.len());
    }
    scratch::write("manifest.json", MANIFEST.as_bytes());
    scratch::write("model/model.json", data);
    let _ = std::fs::remove_file(scratch::path("model/weights.safetensors"));
    let Ok(ModelDescription { network, schema, .. }) = description else {
        assert!(Model::load(&scratch::run()).is_err());
        return;
    };
    let json = serde_json::to_string(&schema).expect("a schema is JSON");
    assert_eq!(serde_json::from_str::<Schema>(&json).expect("what was written"), schema);
    let Some(network) = check_network(network, text.len()) else { return };
    let layout = network.layout();
    if layout.len() > WEIGHTS_MAX {
        return;
    }
    let weights = vec![0.5; layout.len()];
    let weights_blake3 = weights_hash(&weights);
    let stamp = Stamp { format: 1, step: 3, weights_blake3, origin_blake3: None };
    let bytes = to_bytes(layout, &weights, &stamp).expect("a layout's tensors can be written");
    scratch::write("model/weights.safetensors", &bytes);
    let Ok(model) = Model::load(&scratch::run()) else { return };
    let table = table(&schema);
    let file = TableFile::at(scratch::write("table.csv", table.as_bytes()));
    BUDGET.hold(text.len() + table.len(), || {
        let (format, output) = (OutputFormat::CSV, Path::new("output"));
        let request = Request { data: &file, keep: &[], format, output };
        if let Ok(found) = predict(&model, &request, Sink::Stream(Box::new(std::io::sink()))) {
            assert!(found.rows > 0);
        }
        if let Ok(found) = evaluate(&model, &file) {
            assert!(found.rows > 0 && found.values.contains_key("loss"));
        }
    });
}

/// A network, if it is one: its layout is its own length, and described again it is the same.
fn check_network(spec: NetworkSpec, len: usize) -> Option<Network> {
    let network = BUDGET.hold(len, || Network::new(spec)).ok()?;
    let layout = network.layout();
    assert_eq!(layout.chunks().last().map(|chunk| chunk.range.end), Some(layout.len()));
    assert_eq!(network.sum_bounds().len(), network.table_sums_len());
    let json = serde_json::to_string(network.spec()).expect("a network is JSON");
    let again: NetworkSpec = serde_json::from_str(&json).expect("what was written");
    assert_eq!(again, *network.spec());
    Some(network)
}

/// Two rows with a cell for each column of a schema, as its dialect writes them.
fn table(schema: &Schema) -> String {
    let dialect = &schema.dialect;
    let delimiter = dialect.delimiter.unwrap_or(',').to_string();
    let quoted = |text: &str| match dialect.quote {
        Some(quote) => format!("{quote}{}{quote}", text.replace(quote, &format!("{quote}{quote}"))),
        None => text.to_owned(),
    };
    let names = schema.features.iter().chain(&schema.targets);
    let names: Vec<String> = names.map(|column| quoted(column.name())).collect();
    let cells = |row: usize| {
        let features = schema.features.iter().map(|_| "0.5".to_owned());
        let targets = schema.targets.iter().enumerate().map(|(target, _)| match &schema.labels {
            Some(labels) => labels[target].get(row).map_or_else(String::new, |label| quoted(label)),
            None => "0.25".to_owned(),
        });
        features.chain(targets).collect::<Vec<_>>().join(&delimiter)
    };
    let header = if dialect.header { names.join(&delimiter) + "\n" } else { String::new() };
    format!("{header}{}\n{}\n", cells(0), cells(1))
}
