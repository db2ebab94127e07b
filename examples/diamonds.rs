//! Prices of diamonds, from a table with texts, on a cluster of two processes: one has the table and leads, the other works.
//!
//! Run with: `cargo run --release --example diamonds`, which starts its worker itself. On two machines, listen at `0.0.0.0:7070` instead,
//! and give the other machine the line that is printed: `cargo run --release --example diamonds -- LINE`.

#![allow(clippy::print_stdout)]

use std::process::Command;

use lockstep::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(join_line) = std::env::args().nth(1) {
        // The whole of a worker: rows and weights come from the coordinator.
        return Ok(Worker::new(join_line).threads(2).run()?);
    }
    let cluster = Cluster::listen("127.0.0.1:0")?;
    println!("on another machine: diamonds '{}'", cluster.join_line());
    let mut worker = Command::new(std::env::current_exe()?).arg(cluster.join_line()).spawn()?;
    let trained = train("examples/diamonds/diamonds.csv.gz", &cluster, 10);
    // It ends with the fit; after a fit that did not begin, nobody would have told it to.
    if trained.is_err() {
        worker.kill()?;
    }
    worker.wait()?;
    let (model, table) = trained?;
    let found = model.evaluate_table(&table)?;
    println!("all diamonds: mae {:.0} dollars, r2 {:.4}", found["mae"], found["r2"]);
    let predicted = model.predict_table(&table)?;
    println!("the first one: {:.0} dollars", predicted.values[[0, 0]]);
    Ok(())
}

/// A model of a table of diamonds, trained on the workers that join; and the table as it was read.
pub(crate) fn train(
    path: &str,
    cluster: &Cluster,
    epochs: u32,
) -> lockstep::Result<(Sequential, Table)> {
    let standard = Scale::named("standard").expect("a name of the list");
    let table = Table::read(path)?
        .target("price")
        .scale(standard)
        .column("cut", Column::embedding(3))
        .column("color", Column::embedding(4))
        .column("clarity", Column::embedding(4))
        .column("price", Column::inferred().scale(standard));

    let mut model = Sequential::new();
    model.add(Dense::new(64).activation(Activation::Relu));
    model.add(Dense::new(32).activation(Activation::Relu));
    model.add(Dense::new(1));
    model.compile(adam(), Loss::Mse, &[Metric::Mae, Metric::R2]);

    let fit = Fit::new()
        .epochs(epochs)
        .batch_size(256)
        .validation_split(0.1)
        .cluster(cluster)
        .on_epoch_end(|epoch| {
            println!("epoch {}: mae {:.0}", epoch.number, epoch["validation_mae"])
        });
    model.fit_table(&table, &fit)?;
    Ok((model, table))
}
