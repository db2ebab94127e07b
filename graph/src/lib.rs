//! What a trained model computes, as a graph of plain operations, for programs that run it elsewhere.
//!
//! Scales, encoders and layers each add their own operations to a [`Graph`]; whoever exports a model writes it out. Every value
//! is a matrix of rows: the first side is the batch, of any size, and the second is fixed. Knows no file format, no layer and
//! no column, and computes nothing.

mod graph;
mod operation;
mod value;

pub use graph::{Constant, Graph, Node, Port};
pub use operation::{OfImages, Operation, Window};
pub use value::{Element, Literal, Value};
