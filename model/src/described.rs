//! The operations of a whole network where nothing is learned, for programs that run a model elsewhere: stage by stage, as each
//! describes itself.

use std::any::Any;

use lockstep_graph::{Graph, Value};

use crate::embeddings::Embeddings;
use crate::layers::{Described, Layer, LayerSpec, Tensors};
use crate::network::Network;
use crate::parameters::Parameters;

impl Network {
    /// Adds the network's operations to a graph: of its numbers, `f32`, and the place of each embedded category, one column of
    /// `i64` each, to its outputs, in the unit that it computes in.
    ///
    /// # Panics
    /// If these or the parameters are of another network.
    pub fn describe(
        &self,
        params: &dyn Parameters,
        graph: &mut Graph,
        numbers: Option<Value>,
        places: &[Value],
    ) -> Value {
        let stage = |at: usize| {
            let built = &self.layers()[at];
            (built.tensors(params.layer(self.layout(), at)), built.sides.as_slice())
        };
        let embeddings = self.layers().first().and_then(|built| {
            let stage: &dyn Any = &*built.stage;
            stage.downcast_ref::<Embeddings>()
        });
        let (rows, first) = match embeddings {
            Some(embeddings) => {
                let describe =
                    |graph: &mut Graph| embeddings.describe(graph, numbers, places, stage(0).0);
                (graph.within("inputs", describe), 1)
            }
            None => (numbers.expect("a network without embeddings has numbers"), 0),
        };
        let layers = self.spec().layers.iter().map(LayerSpec::layer);
        stack(layers, &mut (first..).map(stage), graph, rows)
    }
}

/// Adds layers on top of each other. Told are tensors and sides of an input row of all stages from here on: of a block's layers
/// before its own.
fn stack<'a>(
    layers: impl Iterator<Item = &'a dyn Layer>,
    stages: &mut dyn Iterator<Item = (Tensors<'a>, &'a [usize])>,
    graph: &mut Graph,
    mut rows: Value,
) -> Value {
    for (place, layer) in layers.enumerate() {
        rows = graph.within(&format!("layers.{place}"), |graph| {
            let inside = layer.inside();
            let beside = (!inside.is_empty()).then_some(rows);
            let input = stack(inside.into_iter(), stages, graph, rows);
            let (tensors, sides) = stages.next().expect("every layer is a stage");
            layer.describe(graph, Described { input, sides, beside, tensors })
        });
    }
    rows
}
