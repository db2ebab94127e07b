//! The operations of a whole network where nothing is learned, for programs that run a model elsewhere: stage by stage, as each
//! describes itself.

use std::any::Any;

use lockstep_graph::{Graph, Value};

use crate::embeddings::Embeddings;
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
        let before = self.layers().len() - self.spec().layers.len();
        let tensors = |at: usize| self.layers()[at].tensors(params.layer(self.layout(), at));
        let embeddings = self.layers()[..before].first().and_then(|built| {
            let stage: &dyn Any = &*built.stage;
            stage.downcast_ref::<Embeddings>()
        });
        let mut rows = match embeddings {
            Some(embeddings) => graph
                .within("inputs", |graph| embeddings.describe(graph, numbers, places, tensors(0))),
            None => numbers.expect("a network without embeddings has numbers"),
        };
        for (layer, described) in self.spec().layers.iter().enumerate() {
            rows = graph.within(&format!("layers.{layer}"), |graph| {
                described.layer().describe(graph, rows, tensors(before + layer))
            });
        }
        rows
    }
}
