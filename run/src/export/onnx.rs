//! A graph as an ONNX file. The only code that knows ONNX: names of operators, attributes, and the messages of `onnx.proto`.
//!
//! Written for old runtimes: operator set 11 of ONNX 1.6, and 2 of `ai.onnx.ml`, of which only `LabelEncoder` is used, for texts
//! and whole numbers. `Scaler` is not: it multiplies by the inverse, in `f32`.

use lockstep_graph::{
    Constant, Element, Graph, Literal, Node, OfImages, Operation, Port, Value, Window,
};
use prost::Message as _;

use wire::attribute_proto::AttributeType;
use wire::tensor_proto::DataType;
use wire::tensor_shape_proto::{Dimension, dimension};
use wire::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};

/// The generated messages.
mod wire {
    #![allow(missing_docs, unreachable_pub, dead_code, clippy::all)]
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}

/// That of ONNX 1.6, which brought operator set 11.
const IR_VERSION: i64 = 6;
const OPERATORS: i64 = 11;
const ML_OPERATORS: i64 = 2;
const ML_DOMAIN: &str = "ai.onnx.ml";

/// What the first side of every input and output is called.
const BATCH: &str = "batch";

/// The bytes of a file with this graph and these texts as metadata.
pub(super) fn to_bytes(graph: &Graph, metadata: &[(String, String)]) -> Vec<u8> {
    let mut written = Written { graph, nodes: Vec::new(), tensors: Vec::new() };
    graph.constants().iter().for_each(|constant| written.constant(constant));
    graph.nodes().iter().for_each(|node| written.node(node));
    let Written { nodes, tensors, .. } = written;
    let graph = GraphProto {
        node: nodes,
        name: Some("lockstep".to_string()),
        initializer: tensors,
        input: graph.inputs().iter().map(port).collect(),
        output: graph.outputs().iter().map(port).collect(),
        ..GraphProto::default()
    };
    let operators = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_string()),
        version: Some(version),
    };
    let entry = |(key, value): &(String, String)| StringStringEntryProto {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    let model = ModelProto {
        ir_version: Some(IR_VERSION),
        opset_import: vec![operators("", OPERATORS), operators(ML_DOMAIN, ML_OPERATORS)],
        producer_name: Some("lockstep".to_string()),
        producer_version: Some(lockstep_proto::VERSION.to_string()),
        graph: Some(graph),
        metadata_props: metadata.iter().map(entry).collect(),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

fn data_type(element: Element) -> DataType {
    match element {
        Element::Float => DataType::Float,
        Element::Double => DataType::Double,
        Element::Whole => DataType::Int64,
        Element::Truth => DataType::Bool,
        Element::Text => DataType::String,
    }
}

/// An input or output: `[batch, width]`.
fn port(port: &Port) -> ValueInfoProto {
    let side = |value| Dimension { value: Some(value), ..Dimension::default() };
    let batch = side(dimension::Value::DimParam(BATCH.to_string()));
    let width = side(dimension::Value::DimValue(port.value.width() as i64));
    let tensor = type_proto::Tensor {
        elem_type: Some(data_type(port.value.element()) as i32),
        shape: Some(TensorShapeProto { dim: vec![batch, width] }),
    };
    let value = Some(type_proto::Value::TensorType(tensor));
    ValueInfoProto {
        name: Some(port.name.clone()),
        r#type: Some(TypeProto { value, ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}

fn tensor(name: &str, shape: &[usize], literal: &Literal) -> TensorProto {
    let raw: Vec<u8> = match literal {
        Literal::Floats(all) => all.iter().flat_map(|one| one.to_le_bytes()).collect(),
        Literal::Doubles(all) => all.iter().flat_map(|one| one.to_le_bytes()).collect(),
        Literal::Wholes(all) => all.iter().flat_map(|one| one.to_le_bytes()).collect(),
    };
    TensorProto {
        dims: shape.iter().map(|&side| side as i64).collect(),
        data_type: Some(data_type(literal.element()) as i32),
        name: Some(name.to_string()),
        raw_data: Some(raw),
        ..TensorProto::default()
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_string()),
        r#type: Some(kind as i32),
        ..AttributeProto::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::Int) }
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto { ints: values.to_vec(), ..attribute(name, AttributeType::Ints) }
}

fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

fn texts(name: &str, values: &[String]) -> AttributeProto {
    let strings = values.iter().map(|value| value.clone().into_bytes()).collect();
    AttributeProto { strings, ..attribute(name, AttributeType::Strings) }
}

fn text(name: &str, value: &str) -> AttributeProto {
    let s = Some(value.as_bytes().to_vec());
    AttributeProto { s, ..attribute(name, AttributeType::String) }
}

/// What is written of a graph.
struct Written<'a> {
    graph: &'a Graph,
    nodes: Vec<NodeProto>,
    tensors: Vec<TensorProto>,
}

impl Written<'_> {
    fn constant(&mut self, constant: &Constant) {
        let Constant { name, shape, literal } = constant;
        self.tensors.push(tensor(name, shape, literal));
    }

    fn name(&self, value: Value) -> String {
        self.graph.name(value).to_string()
    }

    fn add(
        &mut self,
        operator: &str,
        inputs: Vec<String>,
        output: String,
        attributes: Vec<AttributeProto>,
    ) {
        let domain = if operator == "LabelEncoder" { ML_DOMAIN } else { "" };
        self.nodes.push(NodeProto {
            input: inputs,
            name: Some(output.clone()),
            output: vec![output],
            op_type: Some(operator.to_string()),
            domain: Some(domain.to_string()),
            attribute: attributes,
            ..NodeProto::default()
        });
    }

    /// A helper of an operation: a constant of one side.
    fn wholes(&mut self, name: String, values: &[i64]) -> String {
        self.tensors.push(tensor(&name, &[values.len()], &Literal::Wholes(values.to_vec())));
        name
    }

    fn node(&mut self, node: &Node) {
        let Node { operation, inputs, output } = node;
        let inputs: Vec<String> = inputs.iter().map(|&value| self.name(value)).collect();
        let output = self.name(*output);
        if let Some(operator) = plain(operation) {
            return self.add(operator, inputs, output, Vec::new());
        }
        match operation {
            Operation::LeakyRelu { slope } => {
                self.add("LeakyRelu", inputs, output, vec![float("alpha", *slope)]);
            }
            Operation::Elu { alpha } => {
                self.add("Elu", inputs, output, vec![float("alpha", *alpha)]);
            }
            Operation::Softmax => self.add("Softmax", inputs, output, vec![int("axis", 1)]),
            Operation::Convert(element) => {
                let to = int("to", data_type(*element) as i64);
                self.add("Cast", inputs, output, vec![to]);
            }
            Operation::Convolution(made) => {
                let [_, _, channels] = made.image;
                self.convolution(inputs, output, made, channels);
            }
            Operation::MaxPool(made) => self.pool("MaxPool", inputs, output, made),
            Operation::MeanPool(made) => self.pool("AveragePool", inputs, output, made),
            Operation::Join => self.add("Concat", inputs, output, vec![int("axis", 1)]),
            Operation::Columns { from, to } => {
                let from = self.wholes(format!("{output}/from"), &[*from as i64]);
                let to = self.wholes(format!("{output}/to"), &[*to as i64]);
                let axis = self.wholes(format!("{output}/axis"), &[1]);
                let inputs = inputs.into_iter().chain([from, to, axis]).collect();
                self.add("Slice", inputs, output, Vec::new());
            }
            Operation::RowSum | Operation::RowMean => {
                let is_sum = *operation == Operation::RowSum;
                let operator = if is_sum { "ReduceSum" } else { "ReduceMean" };
                let attributes = vec![ints("axes", &[1]), int("keepdims", 1)];
                self.add(operator, inputs, output, attributes);
            }
            Operation::LargestPlace => {
                let attributes = vec![int("axis", 1), int("keepdims", 1)];
                self.add("ArgMax", inputs, output, attributes);
            }
            Operation::Rows => self.rows(inputs, output),
            Operation::FindText { texts: keys, places, other } => {
                let keys = texts("keys_strings", keys);
                self.find(inputs, output, keys, places, *other);
            }
            Operation::FindWhole { numbers, places, other } => {
                let keys = ints("keys_int64s", numbers);
                self.find(inputs, output, keys, places, *other);
            }
            Operation::Text { texts: all } => {
                let places: Vec<i64> = (0..all.len() as i64).collect();
                let attributes = vec![
                    ints("keys_int64s", &places),
                    texts("values_strings", all),
                    text("default_string", ""),
                ];
                self.add("LabelEncoder", inputs, output, attributes);
            }
            plain => unreachable!("{plain:?} has an operator without attributes"),
        }
    }

    /// Rows as images, channels first as ONNX has them.
    fn images(&mut self, rows: String, output: &str, sides: [usize; 3]) -> String {
        let [height, width, channels] = sides.map(|side| side as i64);
        let shape = self.wholes(format!("{output}/sides"), &[-1, height, width, channels]);
        let (last, first) = (format!("{output}/channels_last"), format!("{output}/channels_first"));
        self.add("Reshape", vec![rows, shape], last.clone(), Vec::new());
        self.add("Transpose", vec![last], first.clone(), vec![ints("perm", &[0, 3, 1, 2])]);
        first
    }

    /// Images, channels first, as rows.
    fn of_images(&mut self, images: String, output: String, sides: [usize; 3]) {
        let len = sides.iter().product::<usize>() as i64;
        let shape = self.wholes(format!("{output}/len"), &[-1, len]);
        let last = format!("{output}/made_channels_last");
        self.add("Transpose", vec![images], last.clone(), vec![ints("perm", &[0, 2, 3, 1])]);
        self.add("Reshape", vec![last, shape], output, Vec::new());
    }

    fn pool(&mut self, operator: &str, inputs: Vec<String>, output: String, made: &OfImages) {
        let images = self.images(inputs[0].clone(), &output, made.image);
        let pooled = format!("{output}/made");
        self.add(operator, vec![images], pooled.clone(), window(&made.window));
        self.of_images(pooled, output, made.output);
    }

    fn convolution(
        &mut self,
        inputs: Vec<String>,
        output: String,
        made: &OfImages,
        channels: usize,
    ) {
        let images = self.images(inputs[0].clone(), &output, made.image);
        // The kernel as [filters, channels, height, width], the bias of one side.
        let ([height, width], filters) = (made.window.size, made.output[2]);
        let sides = [height, width, channels, filters].map(|side| side as i64);
        let shape = self.wholes(format!("{output}/kernel_sides"), &sides);
        let (whole, kernel) = (format!("{output}/kernel"), format!("{output}/kernel_turned"));
        self.add("Reshape", vec![inputs[1].clone(), shape], whole.clone(), Vec::new());
        self.add("Transpose", vec![whole], kernel.clone(), vec![ints("perm", &[3, 2, 0, 1])]);
        let mut operands = vec![images, kernel];
        if let Some(bias) = inputs.get(2) {
            let shape = self.wholes(format!("{output}/bias_len"), &[-1]);
            let flat = format!("{output}/bias");
            self.add("Reshape", vec![bias.clone(), shape], flat.clone(), Vec::new());
            operands.push(flat);
        }
        let sums = format!("{output}/made");
        self.add("Conv", operands, sums.clone(), window(&made.window));
        self.of_images(sums, output, made.output);
    }

    /// Rows of a table: the places lose their second side, or each row would get one more.
    fn rows(&mut self, inputs: Vec<String>, output: String) {
        let [table, places] = <[String; 2]>::try_from(inputs).expect("a table and places");
        let shape = self.wholes(format!("{output}/shape"), &[-1]);
        let flat = format!("{output}/places");
        self.add("Reshape", vec![places, shape], flat.clone(), Vec::new());
        self.add("Gather", vec![table, flat], output, vec![int("axis", 0)]);
    }

    fn find(
        &mut self,
        inputs: Vec<String>,
        output: String,
        keys: AttributeProto,
        places: &[i64],
        other: i64,
    ) {
        let attributes = vec![keys, ints("values_int64s", places), int("default_int64", other)];
        self.add("LabelEncoder", inputs, output, attributes);
    }
}

/// Attributes of a window.
fn window(window: &Window) -> Vec<AttributeProto> {
    let both = |sides: [usize; 2]| sides.map(|side| side as i64);
    let pads = [both(window.before), both(window.after)].concat();
    vec![
        ints("kernel_shape", &both(window.size)),
        ints("strides", &both(window.strides)),
        ints("pads", &pads),
    ]
}

/// The operator of an operation that needs no more than its inputs.
fn plain(operation: &Operation) -> Option<&'static str> {
    Some(match operation {
        Operation::Same => "Identity",
        Operation::Add => "Add",
        Operation::Subtract => "Sub",
        Operation::Multiply => "Mul",
        Operation::Divide => "Div",
        Operation::Power => "Pow",
        Operation::Equal => "Equal",
        Operation::Less => "Less",
        Operation::Greater => "Greater",
        Operation::And => "And",
        Operation::Or => "Or",
        Operation::Not => "Not",
        Operation::IsNan => "IsNaN",
        Operation::Absolute => "Abs",
        Operation::Floor => "Floor",
        Operation::Exp => "Exp",
        Operation::Log => "Log",
        Operation::SquareRoot => "Sqrt",
        Operation::Erf => "Erf",
        Operation::Tanh => "Tanh",
        Operation::Sigmoid => "Sigmoid",
        Operation::Softplus => "Softplus",
        Operation::Relu => "Relu",
        Operation::Choose => "Where",
        Operation::Product => "MatMul",
        Operation::LeakyRelu { .. }
        | Operation::Elu { .. }
        | Operation::Softmax
        | Operation::Convert(_)
        | Operation::Convolution(_)
        | Operation::MaxPool(_)
        | Operation::MeanPool(_)
        | Operation::Join
        | Operation::Columns { .. }
        | Operation::RowSum
        | Operation::RowMean
        | Operation::LargestPlace
        | Operation::Rows
        | Operation::FindText { .. }
        | Operation::FindWhole { .. }
        | Operation::Text { .. } => return None,
    })
}
