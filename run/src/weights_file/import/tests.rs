use lockstep_proto::layout::TensorShape;
use safetensors::tensor::TensorView;

use super::*;

/// Two dense layers, 2 to 3 to 1.
fn layout() -> Layout {
    let dense = |inputs, units| {
        vec![TensorShape::new("kernel", [inputs, units]), TensorShape::new("bias", [units])]
    };
    Layout::new(&[dense(2, 3), Vec::new(), dense(3, 1)])
}

/// What is read of a file with these tensors, whose values count up from 1.
fn read_of(tensors: &[(&str, &[usize])], dtype: Dtype) -> Result<Imported, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let mut next = 0;
    let mut bytes = |count: usize| -> Vec<u8> {
        let values = (next..next + count).map(|at| at as f32 + 1.0);
        next += count;
        let bytes = values.flat_map(|value| match dtype {
            Dtype::F64 => f64::from(value).to_le_bytes().to_vec(),
            Dtype::BF16 => ((value.to_bits() >> 16) as u16).to_le_bytes().to_vec(),
            // Exact for small whole numbers: exponent and fraction of an `f32`, cut.
            Dtype::F16 => (((value.to_bits() >> 13) - (112 << 10)) as u16).to_le_bytes().to_vec(),
            Dtype::I32 => (value as i32).to_le_bytes().to_vec(),
            _ => value.to_le_bytes().to_vec(),
        });
        bytes.collect()
    };
    let all: Vec<_> = tensors
        .iter()
        .map(|(name, shape)| (*name, shape.to_vec(), bytes(shape.iter().product())))
        .collect();
    let views = all
        .iter()
        .map(|(name, shape, bytes)| (*name, TensorView::new(dtype, shape.clone(), bytes).unwrap()));
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    read(&path, &layout(), &[]).map_err(|error| error.problem)
}

/// A convolution of 2 x 1 pixels with 2 channels and 2 filters, and a dense layer of one unit behind 1 x 2 pixels of these.
#[test]
fn images_of_pytorch_have_their_channels_first() {
    let tensors = [
        vec![TensorShape::new("kernel", [2, 1, 2, 2])],
        Vec::new(),
        vec![TensorShape::new("kernel", [4, 1])],
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let bytes: Vec<Vec<u8>> = [0..8, 8..12]
        .map(|range| range.flat_map(|value: u8| f32::from(value).to_le_bytes()).collect())
        .to_vec();
    let view = |shape: &[usize], at: usize| {
        TensorView::new(Dtype::F32, shape.to_vec(), &bytes[at]).unwrap()
    };
    let views = [("0.weight", view(&[2, 2, 2, 1], 0)), ("3.weight", view(&[1, 4], 1))];
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    let flattened = Flattened { tensor: 1, image: [1, 2, 2], first: true, last: false };
    let found = read(&path, &Layout::new(&tensors), &[flattened]).unwrap();
    // Of [filter, channel, row], row by row, channel by channel, filter by filter; of [channel, column], by columns.
    let wanted = [0, 4, 2, 6, 1, 5, 3, 7, 8, 10, 9, 11].map(|value| value as f32);
    assert_eq!(found.weights, wanted);
    let note = "names as PyTorch has them: 0.weight (turned) is layers.0.kernel, 3.weight (turned, its pixels in our order) is \
                layers.2.kernel";
    assert_eq!(found.notes, [note]);
}

const OURS: &[(&str, &[usize])] = &[
    ("layers.0.kernel", &[2, 3]),
    ("layers.0.bias", &[3]),
    ("layers.2.kernel", &[3, 1]),
    ("layers.2.bias", &[1]),
];
const PYTORCH: &[(&str, &[usize])] =
    &[("2.weight", &[3, 2]), ("2.bias", &[3]), ("10.weight", &[1, 3]), ("10.bias", &[1])];

#[test]
fn every_floating_type_is_taken() {
    let wanted: Vec<f32> = (1..=13).map(|value| value as f32).collect();
    for (dtype, note) in [
        (Dtype::F32, None),
        (Dtype::F64, Some("F64 values are rounded to F32")),
        (Dtype::F16, Some("F16 values are taken as F32")),
        (Dtype::BF16, Some("BF16 values are taken as F32")),
    ] {
        let Imported { weights, notes } = read_of(OURS, dtype).unwrap();
        assert_eq!((weights, notes.first().map(String::as_str)), (wanted.clone(), note));
    }
    let error = read_of(OURS, Dtype::I32).unwrap_err();
    assert_eq!(error, "tensor layers.0.kernel is I32 [2, 3], wanted F32 [2, 3]");
}

#[test]
fn pytorchs_modules_are_taken_in_order_and_turned() {
    let Imported { weights, notes } = read_of(PYTORCH, Dtype::F32).unwrap();
    let wanted = [1, 3, 5, 2, 4, 6, 7, 8, 9, 10, 11, 12, 13].map(|value| value as f32);
    assert_eq!(weights, wanted);
    let note = "names as PyTorch has them: 2.weight (turned) is layers.0.kernel, 2.bias is layers.0.bias, 10.weight \
                (turned) is layers.2.kernel, 10.bias is layers.2.bias";
    assert_eq!(notes, [note]);
}

/// Batch normalization behind a dense layer, without and with what PyTorch counts beside it.
#[test]
fn pytorchs_running_statistics_are_moving_averages() {
    let moving = |name| TensorShape::new(name, [2]).moving(0.9);
    let layout = Layout::new(&[
        vec![TensorShape::new("kernel", [1, 2])],
        vec![
            TensorShape::new("gamma", [2]),
            TensorShape::new("beta", [2]),
            moving("moving_mean"),
            moving("moving_variance"),
        ],
    ]);
    let bytes: Vec<u8> = (1..=10u8).flat_map(|value| f32::from(value).to_le_bytes()).collect();
    let view = |shape: &[usize], at: usize| {
        TensorView::new(Dtype::F32, shape.to_vec(), &bytes[8 * at..8 * at + 8]).unwrap()
    };
    let counter = 7i64.to_le_bytes();
    for counts in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let mut views = vec![
            ("0.weight", view(&[2, 1], 0)),
            ("1.bias", view(&[2], 2)),
            ("1.running_mean", view(&[2], 3)),
            ("1.running_var", view(&[2], 4)),
            ("1.weight", view(&[2], 1)),
        ];
        if counts {
            let counter = TensorView::new(Dtype::I64, Vec::new(), &counter).unwrap();
            views.push(("1.num_batches_tracked", counter));
        }
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        let found = read(&path, &layout, &[]).unwrap();
        let wanted: Vec<f32> = (1..=10u8).map(f32::from).collect();
        assert_eq!(found.weights, wanted);
    }
}

#[test]
fn what_does_not_fit_is_named_on_both_sides() {
    let changed = |place: usize, tensor: (&'static str, &'static [usize])| {
        let mut all = PYTORCH.to_vec();
        all[place] = tensor;
        read_of(&all, Dtype::F32).unwrap_err()
    };
    assert_eq!(
        changed(0, ("2.weight", &[2, 3])),
        "tensor 2.weight is F32 [2, 3], wanted F32 [3, 2] for layers.0.kernel [2, 3]"
    );
    assert_eq!(
        changed(1, ("4.bias", &[3])),
        "found weights of 3 modules (2, 4, 10), wanted those of 2 layers (layers.0, layers.2)"
    );
    let fewer = read_of(&PYTORCH[..3], Dtype::F32).unwrap_err();
    assert_eq!(fewer, "found 10.weight, wanted layers.2.kernel, layers.2.bias");
    let other = read_of(&[("dense.kernel", &[2, 3])], Dtype::F32).unwrap_err();
    assert_eq!(other, "no tensor layers.0.kernel, found dense.kernel");
}

#[test]
fn halves() {
    for (bits, wanted) in
        [(0x3c00, 1.0), (0xc000, -2.0), (1, 2f32.powi(-24)), (0x7c00, f32::INFINITY), (0, 0.0)]
    {
        assert_eq!(half(bits), wanted);
    }
}
