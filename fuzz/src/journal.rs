//! `journal.jsonl`: lines that are accepted are in order and within the job, and written again they are the same.

use lockstep_run::journal::{path, read};

use crate::budget::Budget;
use crate::scratch;

/// A span of `[0,0,0]` is three numbers, while its vector grows.
const BUDGET: Budget = Budget { fixed: 64 << 10, per_byte: 64 };

/// The job's last step.
const LAST: u64 = 1000;

/// Reads a journal.
pub fn check(data: &[u8]) {
    let run = scratch::run();
    let name = path(&run);
    std::fs::write(&name, data).expect("a writable folder");
    let Ok(lines) = BUDGET.hold(data.len(), || read(&run, LAST)) else { return };
    assert!(lines.is_sorted_by(|line, next| line.step < next.step));
    assert!(lines.iter().all(|line| (1..=LAST).contains(&line.step)));
    let text: String = lines
        .iter()
        .map(|line| serde_json::to_string(line).expect("a line is JSON") + "\n")
        .collect();
    std::fs::write(&name, &text).expect("a writable folder");
    assert_eq!(read(&run, LAST).expect("lines that were written"), lines);
    // What was cut short is no line.
    let last = text[..text.len().saturating_sub(1)].rfind('\n').map_or(0, |end| end + 1);
    let cut = (last + text.len()) / 2;
    if text.is_char_boundary(cut) {
        std::fs::write(&name, &text[..cut]).expect("a writable folder");
        let kept = lines.len().saturating_sub(1);
        assert_eq!(read(&run, LAST).expect("lines and a torn end"), lines[..kept]);
    }
}
