//! Embeddings: gradients of their tables against the plain way to add them, bits of what no row touches, places that are none,
//! and what a network with them is laid out and begins as.

use crate::common::{
    bits, data, dense, embedding, gradient, gradient_in, microbatches, of_layers, parameters,
    training,
};
use lockstep_model::{
    Activation, Batch, Dense, Embedding, Loss, Network, NetworkSpec, NodeGradient, NonFinite,
    NonFiniteKind, Workspace,
};
use lockstep_proto::tree::{Node, ShardTree};
use lockstep_proto::values::Precision;
use ndarray::{Array2, array};

/// Two numbers and two columns.
fn small() -> Network {
    let layers = vec![dense(5, Activation::Tanh), dense(1, Activation::Linear)];
    embedding(2, vec![(4, 3), (7, 2)], layers, Loss::Mse, &[])
}

#[test]
fn tables_come_first_and_start_small() {
    let network = small();
    let tensors = network.layout().tensors();
    let names: Vec<_> = tensors.iter().map(|tensor| (&*tensor.name, &tensor.shape[..])).collect();
    let wanted: [(&str, &[usize]); 6] = [
        ("inputs.c0.embedding", &[4, 3]),
        ("inputs.c1.embedding", &[7, 2]),
        ("layers.0.kernel", &[7, 5]),
        ("layers.0.bias", &[5]),
        ("layers.1.kernel", &[5, 1]),
        ("layers.1.bias", &[1]),
    ];
    assert_eq!(names, wanted);
    assert_eq!((network.inputs(), network.spec().inputs), (4, 2));
    assert!(network.widths().eq([7, 5, 1]));
    let sizes = network.layer_sizes().into_iter().map(|size| (size.units, size.parameters));
    assert!(sizes.eq([(5, 40), (1, 6)]));
    let drawn = network.initial_parameters(3);
    let (tables, layers) = drawn.split_at(12 + 14);
    assert!(tables.iter().all(|value| value.abs() <= 0.05), "{tables:?}");
    assert!(tables[..12].iter().any(|value| value.abs() > 0.03), "{tables:?}");
    assert_ne!(tables[..12], tables[12..24]);
    assert_ne!(tables[..12], network.initial_parameters(4)[..12]);
    // The layers begin as those of the same shape without embeddings do.
    let spec = network.spec();
    let plain = of_layers(7, spec.layers.clone(), Loss::Mse, &[]);
    assert_eq!(layers, plain.initial_parameters(3));
    // A further column changes none before it.
    let more = embedding(2, vec![(4, 3), (7, 2), (2, 2)], spec.layers.clone(), Loss::Mse, &[]);
    assert_eq!(more.initial_parameters(3)[..26], *tables);
}

/// The first two values of each table.
const FROZEN: [f32; 4] = [0.03226135, -0.005029714, -0.019058783, 0.02337237];

#[test]
fn initial_vectors_are_fixed_for_all_time() {
    let drawn = small().initial_parameters(5);
    assert_eq!([drawn[0], drawn[1], drawn[12], drawn[13]], FROZEN);
}

/// A network that hands on what goes in: numbers, then vectors.
#[test]
fn rows_are_numbers_and_then_vectors() {
    let sum = Dense::new(5).without_bias().into();
    let network = embedding(1, vec![(3, 2), (2, 2)], vec![sum], Loss::Mse, &[]);
    let mut params = vec![0.1, 0.2, 1.1, 1.2, 2.1, 2.2, 5.5, 5.6, 6.5, 6.6];
    params.extend((0..25).map(|i| f32::from(u8::from(i % 6 == 0))));
    let x = array![[0.5, 2.0, 0.0], [-1.0, 0.0, 1.0], [0.0, 1.0, -0.0]];
    let mut ws = Workspace::new(&network);
    let by_column = x.t().as_standard_layout().to_owned();
    for x in [x.view(), by_column.t()] {
        let found = network.predict(&params, x, &mut ws);
        let wanted = array![
            [0.5, 2.1, 2.2, 5.5, 5.6],
            [-1.0, 0.1, 0.2, 6.5, 6.6],
            [0.0, 1.1, 1.2, 5.5, 5.6]
        ];
        assert_eq!(found, wanted);
    }
}

/// Tables of few rows and of many, rows that no microbatch touches, that one does and that all do.
/// The same of the squares of each row's slopes, if the layout has them; the gradient does not change for it.
#[test]
fn a_tables_gradient_is_rows_in_order_and_then_the_tree() {
    let lens: Vec<(u32, usize)> = vec![(0, 3), (1, 40), (3, 1), (4, 17), (6, 9)];
    let tree = ShardTree::new(7);
    for (rows, dimension) in [(1, 1), (2, 3), (17, 4), (900, 5)] {
        // A linear chain: the slopes by a vector are the second kernel's, times 2 (output - y).
        let layers = vec![Dense::new(1).without_bias().into()];
        let network = embedding(0, vec![(rows, dimension)], layers, Loss::Mse, &[]);
        let squaring = network.clone().with_row_squares(true);
        let params = parameters(&network);
        let leaves = microbatches(&lens);
        let (x, y) = data(&network, 70);
        let outputs = network.predict(&params, x.view(), &mut Workspace::new(&network)).to_owned();
        let kernel = &params[rows * dimension..];
        for precision in [Precision::F32, Precision::Bf16] {
            let leaf = |place: usize, of: fn(f32) -> f32| {
                let mut sums = vec![0.0f32; rows * dimension];
                for row in leaves[place].rows.clone() {
                    let slope = 2.0 * (outputs[[row, 0]] - y[[row, 0]]);
                    let start = x[[row, 0]] as usize * dimension;
                    for (sum, &weight) in sums[start..].iter_mut().zip(kernel) {
                        *sum += of(slope * weight);
                    }
                }
                precision.round(&mut sums);
                sums
            };
            let add = |left: Vec<f32>, right: Vec<f32>| {
                let mut sums: Vec<f32> = left.iter().zip(&right).map(|(a, b)| a + b).collect();
                precision.round(&mut sums);
                sums
            };
            // Shards 0, 1, 3; then 4 and 6.
            let want = |of| {
                let left = add(add(leaf(0, of), leaf(1, of)), leaf(2, of));
                add(left, add(leaf(3, of), leaf(4, of)))
            };
            let gradient_by = |network| {
                gradient_in(precision, network, &params, (&x, &y), &leaves, &[tree.root()])
            };
            let (got, squared) = (gradient_by(&network), gradient_by(&squaring));
            let case = format!("{rows} x {dimension} in {}", precision.name());
            let table = &got.gradients[0][..rows * dimension];
            assert_eq!(bits(table), bits(&want(|slope| slope)), "{case}");
            assert_eq!(bits(&squared.gradients[0]), bits(&got.gradients[0]), "{case}");
            assert_eq!(bits(&squared.squares[0]), bits(&want(|slope| slope * slope)), "{case}");
            assert_eq!(got.squares, [[0.0; 0]], "{case}");
        }
    }
}

/// However the rows are dealt and cut: the same bits, of every table, next to the gradient's.
#[test]
fn row_squares_do_not_depend_on_spans_or_threads() {
    let network = small().with_row_squares(true);
    let params = parameters(&network);
    let leaves = microbatches(&[(0, 30), (1, 200), (2, 1), (3, 90)]);
    let (x, y) = data(&network, 321);
    let root = [ShardTree::new(4).root()];
    let one = gradient(&network, &params, (&x, &y), &leaves, &root);
    assert_eq!(one.squares[0].len(), 12 + 14);
    assert!(one.squares[0].iter().all(|square| square.is_sign_positive()));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let other = pool.install(|| gradient(&network, &params, (&x, &y), &leaves, &root));
    assert_eq!(bits(&one.squares[0]), bits(&other.squares[0]));
    let nodes = [0, 1].map(|index| Node { level: 1, index });
    let halves = gradient(&network, &params, (&x, &y), &leaves, &nodes);
    let sums = halves.squares[0].iter().zip(&halves.squares[1]).map(|(a, b)| a + b);
    assert_eq!(bits(&one.squares[0]), bits(&sums.collect::<Vec<_>>()));
}

/// A slope whose square is more than an `f32` holds is no gradient that such a layout can have.
#[test]
fn row_squares_that_are_not_finite() {
    let layers = vec![Dense::new(1).without_bias().into(), dense(1, Activation::Tanh)];
    let network = embedding(0, vec![(3, 1)], layers, Loss::Mae, &[]);
    let x = array![[1.0], [2.0], [2.0]];
    let y = Array2::from_elem((3, 1), 1.0);
    let leaves = microbatches(&[(1, 1), (6, 1), (7, 1)]);
    let nodes = [ShardTree::new(8).root()];
    let run = |slope: f32, network: &Network, x: &Array2<f32>| {
        let params = vec![0.0, 0.0, 0.0, 1.0, slope, 0.0];
        let (x, y, rows, precision) = (x.view(), y.view(), training(&leaves), Precision::F32);
        let batch = Batch { x, y, weights: None, rows, nodes: &nodes, precision };
        let mut sink = |_: NodeGradient<'_>| {};
        network.gradient(&params, &batch, &mut Workspace::new(network), &mut sink).map(|_| ())
    };
    let squaring = network.clone().with_row_squares(true);
    let bad = |shard| {
        let (layer, what) = (Some(0), NonFiniteKind::Gradient);
        Err(NonFinite { shard, layer, what })
    };
    assert_eq!(run(1e20, &network, &x), Ok(()));
    assert_eq!(run(1e19, &squaring, &x), Ok(()));
    assert_eq!(run(1e20, &squaring, &x), bad(1));
    // No square by itself, but the last two together.
    assert_eq!(run(1.5e19, &squaring, &x), bad(1));
    assert_eq!(run(1.5e19, &squaring, &array![[0.0], [1.0], [2.0]]), Ok(()));
}

#[test]
fn what_no_row_touches_is_plus_0() {
    let network = small();
    let params = parameters(&network);
    let x = array![[0.5, -1.0, 3.0, 6.0], [1.5, 0.0, 3.0, 0.0], [-0.5, 2.0, 1.0, 6.0]];
    let y = Array2::zeros((3, 1));
    let leaves = microbatches(&[(0, 1), (1, 2)]);
    let got = gradient(&network, &params, (&x, &y), &leaves, &[Node::leaf(0).parent()]);
    let (first, second) = got.gradients[0][..26].split_at(12);
    let touched = |table: &[f32], dimension| -> Vec<usize> {
        let is_touched = |row: &[f32]| {
            let is_zero = row.iter().all(|value| value.to_bits() == 0);
            assert!(is_zero || row.iter().all(|&value| value != 0.0));
            !is_zero
        };
        let rows = table.chunks_exact(dimension).enumerate();
        rows.filter(|(_, row)| is_touched(row)).map(|(place, _)| place).collect()
    };
    assert_eq!(touched(first, 3), [1, 3]);
    assert_eq!(touched(second, 2), [0, 6]);
}

#[test]
fn a_place_that_is_none_is_found_and_read_from_nowhere() {
    let network = small();
    let params = parameters(&network);
    let (x, y) = data(&network, 5);
    let check = |x: &Array2<f32>| {
        let rows = x.rows().into_iter().zip(y.rows());
        let rows = rows.flat_map(|(x, y)| x.iter().chain(y).copied().collect::<Vec<_>>());
        let width = network.inputs() + network.target_width();
        network.check_rows(&rows.collect::<Vec<f32>>(), width)
    };
    assert_eq!(check(&x), Ok(()));
    for (column, found) in [
        (2, 4.0),
        (2, 0.5),
        (2, -1.0),
        (2, f32::NAN),
        (2, f32::INFINITY),
        (3, 7.0),
        (3, 1e30),
        (3, -1e30),
        (3, f32::MIN_POSITIVE),
    ] {
        let mut bad = x.clone();
        bad[[3, column]] = found;
        let error = check(&bad).unwrap_err();
        let (name, most) = if column == 2 { ("c0", 3) } else { ("c1", 6) };
        assert_eq!((error.row, &*error.column, error.place_max), (3, name, most));
        let text = error.to_string();
        let wanted = format!("in column \"{name}\", wanted a whole number from 0 to {most}, a row");
        assert!(text.starts_with("row 3: found ") && text.contains(&wanted), "{text}");
        // Whoever did not check gets no number.
        let mut ws = Workspace::new(&network);
        let outputs = network.predict(&params, bad.view(), &mut ws);
        let is_nan: Vec<bool> = outputs.iter().map(|output| output.is_nan()).collect();
        assert_eq!(is_nan, [false, false, false, true, false]);
        let mut sums = vec![0.0];
        let error = network.evaluate(&params, bad.view(), y.view(), &mut ws, &mut sums);
        let wanted = NonFinite { shard: 0, layer: Some(0), what: NonFiniteKind::Loss };
        assert_eq!(error, Err(wanted));
        let leaves = microbatches(&[(0, 2), (4, 3)]);
        let (x, y) = (bad.view(), y.view());
        let nodes = [ShardTree::new(5).root()];
        let (rows, precision) = (training(&leaves), Precision::F32);
        let batch = Batch { x, y, weights: None, rows, nodes: &nodes, precision };
        let mut sink = |_: NodeGradient<'_>| panic!("nothing is handed over");
        let error = network.gradient(&params, &batch, &mut ws, &mut sink);
        assert_eq!(error, Err(NonFinite { shard: 4, ..wanted }));
    }
}

/// The gradient of a table overflows, and that is said of it.
#[test]
fn a_gradient_that_is_not_finite() {
    let layers = vec![Dense::new(1).without_bias().into(), dense(1, Activation::Tanh)];
    let network = embedding(0, vec![(3, 1)], layers, Loss::Mae, &[]);
    let params = vec![0.0, 0.0, 0.0, 1.0, f32::MAX * 0.75, 0.0];
    let x = array![[1.0], [2.0], [2.0]];
    let y = Array2::from_elem((3, 1), 1.0);
    let leaves = microbatches(&[(1, 1), (6, 1), (7, 1)]);
    let mut layers = Vec::new();
    let nodes = [ShardTree::new(8).root()];
    let (x, y, rows, precision) = (x.view(), y.view(), training(&leaves), Precision::F32);
    let batch = Batch { x, y, weights: None, rows, nodes: &nodes, precision };
    let mut sink = |part: NodeGradient<'_>| layers.push(part.layer);
    let got = network.gradient(&params, &batch, &mut Workspace::new(&network), &mut sink);
    // No microbatch by itself, but the last two together.
    let error = NonFinite { shard: 1, layer: Some(0), what: NonFiniteKind::Gradient };
    assert_eq!((got, layers), (Err(error), vec![2, 1]));
}

#[test]
fn embeddings_that_cannot_be() {
    let table = |column: &str, rows, dimension| Embedding {
        column: column.to_string(),
        rows,
        dimension,
        trainable: None,
    };
    let refused = |inputs, embeddings| {
        let layers = vec![dense(1, Activation::Linear)];
        let (loss, metrics, units) = (Loss::Mse, Vec::new(), Vec::new());
        let spec = NetworkSpec { inputs, image: None, embeddings, layers, loss, metrics, units };
        Network::new(spec).unwrap_err().to_string()
    };
    let most = 1 << 24;
    for (inputs, embeddings, wanted) in [
        (0, vec![], "a network needs at least one input column"),
        (
            1,
            vec![table("a", 0, 1)],
            "the embedding of column \"a\": rows: found 0, wanted 1 to 16777216",
        ),
        (1, vec![table("a", 1, 0)], "the embedding of column \"a\": dimension: found 0"),
        (1, vec![table("a", most + 1, 1)], "the embedding of column \"a\": rows: found 16777217"),
        (1, vec![table("a\n", usize::MAX, 1)], "the embedding of column \"a\\n\": rows: found"),
        (
            1,
            vec![table("a", 2, 1), table("a", 3, 1)],
            "the embedding of column \"a\": it is listed twice",
        ),
        (
            1,
            vec![table("a", most, 257)],
            "the network has more than 4294967296 parameters, reached in its",
        ),
        (
            1,
            vec![table("a", most, most)],
            "the network has more than 4294967296 parameters, reached in its",
        ),
        (
            1,
            vec![table("a", most, 256)],
            "the network has more than 4294967296 parameters, reached at layer 0",
        ),
        (
            usize::MAX,
            vec![table("a", 1, 1)],
            "the embedding of column \"a\": its rows are too long",
        ),
        (usize::MAX - 1, vec![table("a", 1, 1)], "the network has more than 4294967296 parameters"),
    ] {
        let error = refused(inputs, embeddings);
        assert!(error.starts_with(wanted), "{error}");
    }
}
