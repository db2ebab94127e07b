//! Workers keep the rows that they are dealt, and let go of what others have taken over.

use nix::sys::signal::Signal;

use crate::faults::JOB;
use crate::folder::{Folder, edited};

/// Rows of the table, and what is trained on, measured each epoch and measured at the end.
const ROWS: u64 = 500;

/// One worker has all rows. When there are four, it keeps twice its share, and so does everybody.
#[test]
fn rows_that_others_have_taken_over_are_let_go() {
    let job = edited(JOB, "epochs = 3", "epochs = 100000000");
    let folder = Folder::with_table(&job, "boston-relu-adam-mse", ROWS as usize);
    let coordinator = folder.coordinator(&[]);
    let address = coordinator.address();
    let join = || {
        let arguments = ["--log-format", "json", "worker", "--threads", "1"];
        folder.start(&[&arguments[..], &["--coordinator", &address]].concat())
    };
    let first = join();
    let ready = first.report("note", |note| note["message"].to_string().contains("ready with"));
    assert!(ready["message"].as_str().unwrap().contains(&format!("{ROWS} rows")), "{ready}");
    let _others = [join(), join(), join()];
    // 6 of 12 shards, whose rows are as many in each table but for one.
    let most = ROWS / 2 + 3 * 6;
    let let_go = first.report("note", |note| {
        let message = note["message"].as_str().unwrap_or_default();
        let kept = message.strip_suffix(" rows are kept").and_then(|rest| rest.rsplit(' ').next());
        message.starts_with("let go of ")
            && kept.is_some_and(|kept| kept.parse::<u64>().unwrap() <= most)
    });
    println!("{let_go}");
    coordinator.signal(Signal::SIGTERM);
    assert_eq!(coordinator.end().code(), Some(130));
}
