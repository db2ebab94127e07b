//! What a run was asked, as its status shows it.

use std::path::Path;

use lockstep_data::Column as Fitted;
use lockstep_status::value::{Column, Job, Layer, Run};

use crate::job::to_toml;
use crate::plan::Plan;

/// Most columns that are listed.
const COLUMNS_MAX: usize = 256;

/// Longest job file that is shown.
const TOML_BYTES_MAX: usize = 64 << 10;

/// What a plan is.
pub fn asked(plan: &Plan) -> Job {
    let (job, network, schema) = (&plan.job, &plan.network, &plan.schema);
    let train = &job.train;
    let rows = |table: Option<u64>| table.map_or("none".to_string(), |rows| rows.to_string());
    let validation = plan.tables.validation.as_ref().map(|table| table.rows().len() as u64);
    let metrics: Vec<String> = job.model.metrics.iter().map(ToString::to_string).collect();
    let facts = [
        ("training rows", plan.batches().rows.to_string()),
        ("validation rows", rows(validation)),
        ("test rows", rows(plan.test_rows())),
        ("parameters", plan.weights.len().to_string()),
        ("loss", job.model.loss.to_string()),
        ("metrics", if metrics.is_empty() { "none".to_string() } else { metrics.join(", ") }),
        ("learning rate", train.descent.learning_rate.name().to_string()),
        ("epochs", train.epochs.to_string()),
        ("batch size", train.batch_size.to_string()),
        ("shards", train.shards.to_string()),
        ("precision", train.precision.name().to_string()),
        ("seed", job.seed.to_string()),
    ];
    let layers = network.layer_sizes().into_iter().map(|size| Layer {
        name: format!("{} {}", size.place, size.layer.name()),
        output: size.units.to_string(),
        parameters: size.parameters as u64,
    });
    let column = |role: &'static str| {
        move |column: &Fitted| Column {
            name: column.name().to_string(),
            role: role.to_string(),
            encoder: column.settings().scale.to_string(),
            inputs: column.width() as u64,
        }
    };
    let targets = schema.targets.iter().map(column("target"));
    let columns = targets.chain(schema.features.iter().map(column("feature")));
    let mut toml = to_toml(job);
    if toml.len() > TOML_BYTES_MAX {
        let end = (0..=TOML_BYTES_MAX).rev().find(|&end| toml.is_char_boundary(end));
        toml.truncate(end.unwrap_or(0));
        toml.push_str("\n# and more: see job.toml in the run folder\n");
    }
    Job {
        facts: facts.map(|(name, value)| (name.to_string(), value)).into(),
        layers: layers.collect(),
        columns: columns.take(COLUMNS_MAX).collect(),
        columns_left_out: (schema.targets.len() + schema.features.len())
            .saturating_sub(COLUMNS_MAX),
        toml,
    }
}

/// Which run it is.
pub fn run_of(name: &str, id: &str, folder: Option<&Path>, started: Option<f64>) -> Run {
    let folder = folder.map(|folder| folder.display().to_string());
    Run {
        name: name.to_string(),
        id: id.to_string(),
        verify: folder.as_ref().map(|folder| format!("lockstep verify {folder}")),
        folder,
        host: crate::host_name(),
        started,
        ..Run::default()
    }
}
