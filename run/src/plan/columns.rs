//! What a job and the fitted schema say of columns, as the network and the written job have it.

use std::collections::BTreeMap;

use lockstep_data::{Back, Column, ColumnEncoder, ColumnOverride, EmbeddedColumn, Scaling, Schema};
use lockstep_model::{Embedding, Unit};

/// What the network makes of columns of categories.
pub(crate) fn embeddings(schema: &Schema) -> Vec<Embedding> {
    let embedding = |EmbeddedColumn { name: column, rows, dimension }| Embedding {
        column,
        rows,
        dimension,
        trainable: None,
    };
    schema.embeddings().into_iter().map(embedding).collect()
}

/// The same, each as trainable as is said of its column.
pub(super) fn embeddings_said(
    schema: &Schema,
    said: &BTreeMap<String, ColumnOverride>,
) -> Vec<Embedding> {
    let mut all = embeddings(schema);
    for embedding in &mut all {
        embedding.trainable = said.get(&embedding.column).and_then(|said| said.trainable);
    }
    all
}

/// The own units of targets, where some are scaled.
pub fn units(schema: &Schema) -> Vec<Unit> {
    let unit = |target: &Column| match target.back() {
        Some(Back::Affine(Scaling { offset, divisor })) => Unit::Affine { offset, factor: divisor },
        Some(Back::Expm1) => Unit::Expm1,
        None => Unit::SAME,
    };
    match schema.has_scaled_targets() {
        true => schema.targets.iter().map(unit).collect(),
        false => Vec::new(),
    }
}

/// What is done to every column, and what is said of it that is not for the schema.
pub(super) fn settled(
    said: BTreeMap<String, ColumnOverride>,
    schema: &Schema,
) -> BTreeMap<String, ColumnOverride> {
    let mut settled = schema.settings();
    for (name, said) in said {
        if said.encoder == Some(ColumnEncoder::Ignore) {
            settled.insert(name, said);
        } else if let Some(column) = settled.get_mut(&name) {
            column.trainable = said.trainable;
        }
    }
    settled
}
