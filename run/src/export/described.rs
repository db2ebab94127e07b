//! The graph of a whole model: from the columns of a table, or from what the network gets of them, to what `predict` writes.

use lockstep_data::{DescribedRows, TargetKind};
use lockstep_graph::{Element, Graph, Value};

use super::{ExportedModel, GraphInputs};
/// What the numbers of an encoded row are called.
const NUMBERS: &str = "numbers";

/// The operations of a model.
pub(super) fn graph(model: &ExportedModel<'_>, inputs: GraphInputs) -> Graph {
    let mut graph = Graph::new();
    let DescribedRows { numbers, places, refused } = match inputs {
        GraphInputs::Columns => model.schema.describe(&mut graph),
        GraphInputs::Encoded => encoded(model, &mut graph),
    };
    let outputs = model.network.describe(&model.weights, &mut graph, numbers, &places);
    let outputs = match refused {
        // So that a row that `predict` refuses has no prediction.
        Some(refused) => graph.within("outputs", |graph| graph.add(outputs, refused)),
        None => outputs,
    };
    let has_labels = inputs == GraphInputs::Columns;
    graph.within("outputs", |graph| predictions(model, graph, outputs, has_labels));
    graph
}

/// Inputs of a row that is encoded already.
fn encoded(model: &ExportedModel<'_>, graph: &mut Graph) -> DescribedRows {
    let spec = model.network.spec();
    let width = spec.inputs;
    let numbers = (width > 0).then(|| graph.input(NUMBERS, Element::Float, width));
    let embeddings = spec.embeddings.iter();
    let places = embeddings.map(|embedding| graph.input(&embedding.column, Element::Whole, 1));
    DescribedRows { numbers, places: places.collect(), refused: None }
}

/// Adds what `predict` writes of a row: numbers in the targets' own unit, or labels and probabilities.
fn predictions(model: &ExportedModel<'_>, graph: &mut Graph, outputs: Value, has_labels: bool) {
    let (schema, names) = (&model.schema, model.schema.target_names());
    let units = &model.network.spec().units;
    match schema.kind {
        TargetKind::Numbers => {
            for (target, name) in names.iter().enumerate() {
                let output = graph.columns(target, target + 1, outputs);
                let own = match units.get(target) {
                    Some(unit) => unit.describe(graph, output),
                    None => output,
                };
                graph.output(name, own);
            }
        }
        TargetKind::Classes { .. } => {
            if let Some(labels) = labels(model, 0).filter(|_| has_labels) {
                let class = graph.largest_place(outputs);
                let total = graph.row_sum(outputs);
                label(graph, &names[0], labels, class, total);
            }
            graph.output(&format!("{}_probabilities", names[0]), outputs);
        }
        TargetKind::Binary { .. } => {
            for (target, name) in names.iter().enumerate() {
                let probability = graph.columns(target, target + 1, outputs);
                if let Some(labels) = labels(model, target).filter(|_| has_labels) {
                    let class = binary_class(model, graph, probability);
                    label(graph, name, labels, class, probability);
                }
                graph.output(&format!("{name}_probability"), probability);
            }
        }
    }
}

/// The labels of a target; a model of the Rust API has none.
fn labels<'a>(model: &ExportedModel<'a>, target: usize) -> Option<&'a [String]> {
    Some(&model.schema.labels.as_ref()?[target])
}

/// The label of each row's class, and the empty text where the network gives no number.
fn label(graph: &mut Graph, name: &str, labels: &[String], class: Value, number: Value) {
    let none = graph.row(-1_i64);
    let is_none = graph.is_nan(number);
    let class = graph.choose(is_none, none, class);
    let label = graph.text(labels, class);
    graph.output(name, label);
}

/// As [`Threshold::class`](lockstep_model::Threshold::class) has it.
fn binary_class(model: &ExportedModel<'_>, graph: &mut Graph, probability: Value) -> Value {
    let threshold = graph.row(model.threshold.score());
    let is_second = graph.greater(probability, threshold);
    graph.convert(Element::Whole, is_second)
}
