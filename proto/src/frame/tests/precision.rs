//! What a welcome says of the precision, and frames of another than the run's.

use super::*;

#[test]
fn frames_of_another_precision() {
    let limits = Limits { precision: Precision::Bf16, ..limits() };
    let slice = |values: Bytes| {
        let slices = vec![wire::Slice { index: 4, chunk: 1, values, ..Default::default() }];
        let part = wire::ResultPart { slices, ..Default::default() };
        limits.from_worker(worker_message(worker_message::Kind::Part(part)))
    };
    assert!(slice(Precision::Bf16.encode(&[0.5; 100])).is_ok());
    refused(slice(frame(100)), "chunk 1 with 400 bytes, wanted 100 values of 2 bytes");
    let large = Precision::Bf16.encode(&[f32::MAX; 100]);
    refused(slice(large), "a gradient that is not finite, for node 0:4 of chunk 1");
    let weights =
        ToWorker::Weights { step: Step(1), chunk: Chunk(1), values: frame(100), pass_on: vec![] };
    refused(limits.to_worker(weights.into_wire()), "wanted 100 values of 2 bytes");
}

#[test]
fn the_precision_of_a_welcome() {
    let bf16 = Welcome { precision: Precision::Bf16, ..welcome() };
    assert_eq!(Welcome::from_wire(bf16.clone().into_wire()), Ok(bf16));
    for precision in [0, 3, -1] {
        let mut message = welcome().into_wire();
        let Some(coordinator_message::Kind::Welcome(welcome)) = &mut message.kind else { panic!() };
        welcome.precision = precision;
        let wanted = format!("precision {precision} is unknown");
        refused(Welcome::from_wire(message), &wanted);
    }
}
