//! Clusters that others join, over real sockets.

use std::thread;
use std::time::Duration;

use lockstep::ErrorKind;
use lockstep::prelude::*;
use ndarray::Array2;

fn rows() -> (Array2<f32>, Array2<f32>) {
    let x = Array2::from_shape_fn((64, 3), |(row, column)| ((3 * row + column) % 7) as f32 / 7.0);
    let y = Array2::from_shape_fn((64, 1), |(row, _)| (row % 5) as f32 / 5.0);
    (x, y)
}

fn model() -> Sequential {
    let mut model = Sequential::new();
    model.add(Dense::new(8).activation(Activation::Tanh));
    model.add(Dense::new(1));
    model.compile(adam(), Loss::Mse, &[]);
    model
}

/// Two fits, each on two workers that join; and one that is ended by a callback.
#[test]
fn workers_join_by_the_line() {
    let (x, y) = rows();
    let mut here = model();
    let fit = Fit::new().epochs(5).batch_size(8);
    here.fit(x.view(), y.view(), &fit).unwrap();
    let cluster = Cluster::listen("127.0.0.1:0").unwrap().workers_min(2).workers_start(2);
    assert!(cluster.join_line().starts_with(&format!("{}#lk1-", cluster.address())));
    assert!(!format!("{cluster:?}").contains("lk1-"));
    for ends_early in [false, false, true] {
        let mut there = model();
        thread::scope(|scope| {
            let worker = Worker::new(cluster.join_line()).threads(2);
            let workers = [worker.clone(), worker].map(|worker| scope.spawn(move || worker.run()));
            let fit = match ends_early {
                false => fit.clone(),
                true => fit.clone().epochs(1_000_000).on_epoch_end(|epoch| match epoch.number {
                    5 => std::ops::ControlFlow::Break(()),
                    _ => std::ops::ControlFlow::Continue(()),
                }),
            };
            there.fit(x.view(), y.view(), &fit.cluster(&cluster)).unwrap();
            for worker in workers {
                worker.join().unwrap().unwrap();
            }
        });
        assert_eq!(there.weights_hash(), here.weights_hash());
    }
}

#[test]
fn clusters_that_cannot_be() {
    let cluster = Cluster::listen("127.0.0.1:0").unwrap();
    let taken = Cluster::listen(&cluster.address().to_string()).unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Cluster);
    let (x, y) = rows();
    let line = cluster.join_line();
    let cut = Worker::new(&line[..line.len() - 3]).run().unwrap_err().to_string();
    assert!(cut.starts_with("the join line: its code has"), "{cut}");
    let no_line = Worker::new("127.0.0.1:1").run().unwrap_err().to_string();
    assert!(no_line.starts_with("the join line: found no `#lk1-...` in it"), "{no_line}");
    let gone = {
        let cluster = Cluster::listen("127.0.0.1:0").unwrap();
        cluster.join_line().to_string()
    };
    let nobody = Worker::new(gone).patience(Duration::ZERO).run().unwrap_err();
    assert_eq!(nobody.kind(), ErrorKind::Cluster);
    assert!(nobody.to_string().starts_with("no coordinator at 127.0.0.1:"), "{nobody}");
    for (fit, message) in [
        (Fit::new().workers(2).cluster(&cluster), "set one of them"),
        (Fit::new().cluster(&cluster.clone().workers_min(0)), "workers_min is 0"),
        (Fit::new().cluster(&cluster.clone().workers_start(0)), "workers_start is 0"),
    ] {
        let error = model().fit(x.view(), y.view(), &fit).unwrap_err().to_string();
        assert!(error.contains(message), "no {message:?} in {error}");
    }
}
