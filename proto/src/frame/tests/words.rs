//! Good messages come through as they are; spoilt ones and random bytes are refused, and never panic.

use super::*;

fn words_of_a_worker() -> Vec<FromWorker> {
    let slice = |node, chunk, len| Slice { node, chunk: Chunk(chunk), values: frame(len) };
    let root = Node { level: 3, index: 0 };
    let part = ResultPart {
        pass: Pass(u64::MAX),
        slices: vec![slice(Node::leaf(4), 1, 100), slice(root, 0, 20_000)],
        sums: vec![NodeSums {
            node: Node { level: 2, index: 1 },
            rows: u64::MAX,
            values: vec![-0.0, 1e300],
        }],
        done: Some(Done {
            span: Span { start: 2, end: 5 },
            busy: Duration::from_nanos(3_000_000_001),
        }),
    };
    let empty = ResultPart { pass: Pass(0), slices: Vec::new(), sums: Vec::new(), done: None };
    let divergence = |layer, in_gradient| {
        FromWorker::Divergence(Divergence { pass: Pass(1), shard: Shard(4), layer, in_gradient })
    };
    vec![
        FromWorker::Prepared(Span { start: 0, end: 5 }),
        FromWorker::Part(part),
        FromWorker::Part(empty),
        divergence(None, false),
        divergence(Some(1), true),
        FromWorker::Goodbye,
    ]
}

fn words_of_a_coordinator() -> Vec<ToWorker> {
    let deal = |task| {
        ToWorker::Deal(Deal {
            pass: Pass(9),
            step: Step(1 << 62),
            task,
            span: Span { start: 4, end: 5 },
        })
    };
    vec![
        ToWorker::Prepare(Span { start: 2, end: 4 }),
        ToWorker::Forget(Vec::new()),
        ToWorker::Forget(vec![Span { start: 0, end: 1 }, Span { start: 3, end: 5 }]),
        deal(Task::Train { epoch: u32::MAX, batch: 4 }),
        deal(Task::Evaluate { table: Table::Validation }),
        deal(Task::Evaluate { table: Table::Test }),
        ToWorker::Weights {
            step: Step(3),
            chunk: Chunk(1),
            values: frame(100),
            pass_on: vec![WorkerId(4)],
        },
        ToWorker::CodedWeights {
            step: Step(3),
            chunk: Chunk(1),
            coded: frame(99),
            pass_on: vec![],
        },
        ToWorker::Code(true),
        ToWorker::Code(false),
        ToWorker::Finish(Ending::Finished),
        ToWorker::Finish(Ending::Failed("the loss is not finite".to_string())),
        ToWorker::Finish(Ending::Stopped),
    ]
}

#[test]
fn good_words_come_through_as_they_are() {
    let limits = limits();
    for word in words_of_a_worker() {
        let bytes = word.clone().into_wire().encode_to_vec();
        let message = wire::WorkerMessage::decode(&bytes[..]).unwrap();
        assert_eq!(limits.from_worker(message), Ok(word));
    }
    for word in words_of_a_coordinator() {
        let bytes = word.clone().into_wire().encode_to_vec();
        let message = wire::CoordinatorMessage::decode(&bytes[..]).unwrap();
        assert_eq!(limits.to_worker(message), Ok(word));
    }
}

/// Decodes and checks bytes in every way there is; whatever passes must pass again unchanged.
fn take_in(limits: &Limits, bytes: &[u8]) -> usize {
    let mut passed = 0;
    let mut same = |again: Vec<u8>, once: Vec<u8>| {
        assert_eq!(again, once);
        passed += 1;
    };
    if let Ok(message) = wire::WorkerMessage::decode(bytes) {
        if let Ok(word) = limits.from_worker(message.clone()) {
            let once = word.into_wire();
            let again = limits.from_worker(once.clone()).unwrap().into_wire();
            same(again.encode_to_vec(), once.encode_to_vec());
        }
        if let Ok(join) = Join::from_wire(message) {
            let once = join.into_wire();
            let again = Join::from_wire(once.clone()).unwrap().into_wire();
            same(again.encode_to_vec(), once.encode_to_vec());
        }
    }
    if let Ok(message) = wire::CoordinatorMessage::decode(bytes) {
        if let Ok(word) = limits.to_worker(message.clone()) {
            let once = word.into_wire();
            let again = limits.to_worker(once.clone()).unwrap().into_wire();
            same(again.encode_to_vec(), once.encode_to_vec());
        }
        if let Ok(welcome) = Welcome::from_wire(message) {
            let once = welcome.into_wire();
            let again = Welcome::from_wire(once.clone()).unwrap().into_wire();
            same(again.encode_to_vec(), once.encode_to_vec());
        }
    }
    if let Ok(Ok(request)) = wire::ShardRequest::decode(bytes).map(ShardRequest::from_wire) {
        let once = request.into_wire();
        let again = ShardRequest::from_wire(once.clone()).unwrap().into_wire();
        same(again.encode_to_vec(), once.encode_to_vec());
    }
    passed
}

#[test]
fn random_bytes_never_panic() {
    let limits = limits();
    let mut random = Random::new(1, Purpose::Split, 0, 0);
    for _ in 0..20_000 {
        let len = random.below(64);
        let bytes: Vec<u8> = (0..len).map(|_| random.below(256) as u8).collect();
        take_in(&limits, &bytes);
    }
}

#[test]
fn spoilt_messages_never_panic() {
    // One small chunk, so that most spoilt bytes are not values.
    let shape = [TensorShape::new("kernel", [2, 1])];
    let limits = Limits { layout: Arc::new(Layout::new(&[shape])), ..limits() };
    let part = ResultPart {
        pass: Pass(300),
        slices: vec![Slice { node: Node::leaf(3), chunk: Chunk(0), values: frame(2) }],
        sums: vec![NodeSums { node: Node::leaf(3), rows: 9, values: vec![1.0, 2.0] }],
        done: Some(Done { span: Span { start: 3, end: 4 }, busy: Duration::from_millis(2) }),
    };
    let weights =
        ToWorker::Weights { step: Step(1), chunk: Chunk(0), values: frame(2), pass_on: vec![] };
    let small = |word: &FromWorker| !matches!(word, FromWorker::Part(_));
    let request = ShardRequest { run_id: "r".to_string(), table: Table::Test, shard: Shard(1) };
    let mut good = vec![
        FromWorker::Part(part).into_wire().encode_to_vec(),
        weights.into_wire().encode_to_vec(),
        join().into_wire().encode_to_vec(),
        welcome().into_wire().encode_to_vec(),
        request.into_wire().encode_to_vec(),
    ];
    let words = words_of_a_worker().into_iter().filter(small);
    good.extend(words.map(|word| word.into_wire().encode_to_vec()));
    let words = words_of_a_coordinator().into_iter().take(4);
    good.extend(words.map(|word| word.into_wire().encode_to_vec()));
    let mut random = Random::new(2, Purpose::Split, 0, 0);
    let (mut passed, tries) = (0, 20_000);
    for at in 0..tries {
        let mut bytes = good[at % good.len()].clone();
        for _ in 0..=random.below(3) {
            match (random.below(4), bytes.len() as u32) {
                (0, len) => bytes.truncate(random.below(len + 1) as usize),
                (1, len) => {
                    bytes.insert(random.below(len + 1) as usize, random.below(256) as u8);
                }
                (_, 0) => {}
                (_, len) => bytes[random.below(len) as usize] = random.below(256) as u8,
            }
        }
        passed += take_in(&limits, &bytes);
    }
    assert!(passed > tries / 20, "only {passed} of {tries} passed: the checks were hardly reached");
}
