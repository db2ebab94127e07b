//! Row squares behind the gradients of a chunk: sent up, never down, and no squares if they are below 0.

use super::*;

/// A table of 6 values before a kernel of 2; all share one chunk.
fn squared(precision: Precision) -> Limits {
    let inputs = [TensorShape::new("color.embedding", [2, 3])];
    let layout = Layout::with_inputs(&inputs, &[[TensorShape::new("kernel", [2, 1])]]);
    let layout = Arc::new(layout.with_row_squares(true));
    assert_eq!(layout.chunks()[0].sums_len(), 8 + 6);
    Limits { layout, precision, ..limits() }
}

fn slice(limits: &Limits, values: Bytes) -> Checked<FromWorker> {
    let slices = vec![wire::Slice { index: 4, values, ..Default::default() }];
    let part = wire::ResultPart { slices, ..Default::default() };
    limits.from_worker(worker_message(worker_message::Kind::Part(part)))
}

#[test]
fn sums_have_them_and_weights_have_not() {
    for precision in [Precision::F32, Precision::Bf16] {
        let limits = squared(precision);
        let sums = precision.encode_joined([&[-0.5; 8], &[0.25; 6]]);
        assert!(slice(&limits, sums.clone()).is_ok());
        let wanted = format!("wanted 14 values of {} bytes", precision.width());
        refused(slice(&limits, precision.encode(&[0.5; 8])), &wanted);
        refused(slice(&limits, precision.encode(&[0.5; 15])), &wanted);
        let weights = |values| {
            let weights =
                ToWorker::Weights { step: Step(1), chunk: Chunk(0), values, pass_on: vec![] };
            limits.to_worker(weights.into_wire())
        };
        assert!(weights(precision.encode(&[-0.5; 8])).is_ok());
        refused(weights(sums), &format!("wanted 8 values of {} bytes", precision.width()));
    }
}

#[test]
fn what_is_no_sum_of_squares() {
    for precision in [Precision::F32, Precision::Bf16] {
        let limits = squared(precision);
        for at in 0..6 {
            let spoilt = |bad: f32| {
                let mut squares = [0.0; 6];
                squares[at] = bad;
                slice(&limits, precision.encode_joined([&[-1.0; 8], &squares]))
            };
            assert!(spoilt(1e30).is_ok());
            for bad in [-1e-30, -0.0, -1.0, f32::MIN / 2.0] {
                refused(spoilt(bad), "a sum of squares below 0, for node 0:4 of chunk 0");
            }
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                refused(spoilt(bad), "a gradient that is not finite, for node 0:4 of chunk 0");
            }
        }
    }
}
