//! Files that grow by lines, each written on a thread of its own: whoever has a line never waits for a disk.
//!
//! Lines that cannot be written wait, up to a limit, and are tried again; beyond it the oldest are dropped, and both are
//! said. The file holds whole lines only, in order. Knows nothing of what is in them.

mod tail;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::report::{Report, SharedReporter, report};
use tail::Tail;
pub(crate) use tail::{Written, cut, open};

/// Bytes of lines that may wait for the disk.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// Lines are written once so many bytes wait, or when they are asked for.
const WRITE_BYTES: usize = 8 << 10;

/// Most bytes that are written at once.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// How long after a failure lines are tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// A file and the thread that writes it.
pub(crate) struct LineFile {
    shared: Arc<Shared>,
    waiting_bytes_max: usize,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    name: String,
    reporter: SharedReporter,
    // A std mutex: every section moves a few lines and none waits.
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    entries: VecDeque<Entry>,
    /// Of the lines in it.
    bytes: usize,
    /// Lines that were dropped since it was last said how many.
    dropped: u64,
    /// Whether the thread should look at it at once.
    is_due: bool,
    is_over: bool,
}

enum Entry {
    Line(Vec<u8>),
    /// Tell what the file has once what is before is written, or was tried.
    Mark(SyncSender<Written>),
}

impl LineFile {
    /// Goes on with a file that was opened by [`open`] and has what is `written`.
    pub(crate) fn start(
        path: &Path,
        file: File,
        written: Written,
        reporter: SharedReporter,
    ) -> LineFile {
        LineFile::limited(path, file, written, reporter, WAITING_BYTES_MAX)
    }

    fn limited(
        path: &Path,
        file: File,
        written: Written,
        reporter: SharedReporter,
        waiting_bytes_max: usize,
    ) -> LineFile {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (queue, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { name, reporter, queue, changed });
        let tail = Tail::new(path, file, written);
        let thread = {
            let shared = shared.clone();
            std::thread::spawn(move || shared.work(tail, waiting_bytes_max))
        };
        LineFile { shared, waiting_bytes_max, thread: Some(thread) }
    }

    /// Takes in a line, its end included. Never waits.
    pub(crate) fn push(&self, line: Vec<u8>) {
        let mut queue = self.shared.lock();
        let dropped_before = queue.dropped;
        queue.bytes += line.len();
        queue.entries.push_back(Entry::Line(line));
        queue.limit(self.waiting_bytes_max);
        let drops_first = dropped_before == 0 && queue.dropped > 0;
        if queue.bytes >= WRITE_BYTES && !queue.is_due {
            queue.is_due = true;
            self.shared.changed.notify_one();
        }
        drop(queue);
        if drops_first {
            let max = self.waiting_bytes_max >> 20;
            self.shared.warn(format!("{max} MiB wait to be written, the oldest lines are dropped"));
        }
    }

    /// Has all lines written soon. Never waits.
    pub(crate) fn flush(&self) {
        self.shared.lock().is_due = true;
        self.shared.changed.notify_one();
    }

    /// Tells what the file has once the lines so far are written, or cannot be. Never waits itself.
    pub(crate) fn mark(&self) -> Receiver<Written> {
        let (reached_tx, reached) = sync_channel(1);
        let mut queue = self.shared.lock();
        queue.entries.push_back(Entry::Mark(reached_tx));
        queue.is_due = true;
        self.shared.changed.notify_one();
        reached
    }
}

impl Drop for LineFile {
    /// Waits until everything is written, or was tried for the last time.
    fn drop(&mut self) {
        self.shared.lock().is_over = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed; the training is worth more.
            let _ = thread.join();
        }
    }
}

impl Queue {
    /// Drops the oldest lines until the rest is within a limit.
    fn limit(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let is_line = |entry: &Entry| matches!(entry, Entry::Line(_));
            let oldest = self.entries.iter().position(is_line);
            if let Some(Entry::Line(line)) = oldest.and_then(|at| self.entries.remove(at)) {
                self.bytes -= line.len();
                self.dropped += 1;
            }
        }
    }

    /// Takes out the oldest lines, up to a mark or a batch.
    fn batch(&mut self) -> VecDeque<Vec<u8>> {
        let (mut lines, mut bytes) = (VecDeque::new(), 0);
        while bytes < BATCH_BYTES_MAX {
            match self.entries.pop_front() {
                Some(Entry::Line(line)) => {
                    bytes += line.len();
                    lines.push_back(line);
                }
                Some(mark) => {
                    self.entries.push_front(mark);
                    break;
                }
                None => break,
            }
        }
        self.bytes -= bytes;
        lines
    }

    /// Answers the marks at its front; all of them if what is before them `is_stuck`.
    fn answer(&mut self, written: &Written, is_stuck: bool) {
        let mut kept = VecDeque::new();
        while let Some(entry) = self.entries.pop_front() {
            match entry {
                // Nobody waits any more if the run was torn down meanwhile.
                Entry::Mark(reached) => drop(reached.try_send(written.clone())),
                line if is_stuck => kept.push_back(line),
                line => {
                    self.entries.push_front(line);
                    break;
                }
            }
        }
        kept.append(&mut self.entries);
        self.entries = kept;
    }

    fn lines(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry, Entry::Line(_))).count()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn warn(&self, what: String) {
        let message = format!("{}: {what}; training continues", self.name);
        report(&self.reporter, &Report::Warning { message });
    }

    fn work(&self, mut tail: Tail, bytes_max: usize) {
        let mut retry_at = None;
        loop {
            let is_over = self.wait(retry_at);
            let failed = self.write_all(&mut tail, bytes_max);
            if let Err(error) = &failed
                && retry_at.is_none()
            {
                let plain = crate::job::plain(error);
                self.warn(format!("cannot write it ({plain}): lines wait, and are tried again"));
            }
            if failed.is_ok() && retry_at.is_some() {
                let message = format!("{}: it can be written again", self.name);
                report(&self.reporter, &Report::Note { message });
            }
            retry_at = failed.is_err().then(|| Instant::now() + RETRY_INTERVAL);
            let missing = {
                let mut queue = self.lock();
                // At the end those that still wait are lost as well.
                let waiting = if is_over { queue.lines() as u64 } else { 0 };
                let told = is_over || failed.is_ok();
                if told { std::mem::take(&mut queue.dropped) + waiting } else { 0 }
            };
            match missing {
                0 => {}
                1 => self.warn("1 line is missing in it: it could not be written".to_string()),
                _ => self
                    .warn(format!("{missing} lines are missing in it: they could not be written")),
            }
            if is_over {
                return;
            }
        }
    }

    /// Waits until there is something to do; true when it is the last.
    fn wait(&self, retry_at: Option<Instant>) -> bool {
        let mut queue = self.lock();
        loop {
            let has_mark = queue.entries.iter().any(|entry| matches!(entry, Entry::Mark(_)));
            let left = retry_at.map(|at| at.saturating_duration_since(Instant::now()));
            let may_try = left.is_none_or(|left| left.is_zero()) || has_mark;
            if queue.is_over || queue.is_due && may_try {
                queue.is_due = false;
                return queue.is_over;
            }
            let changed = &self.changed;
            queue = match left.filter(|_| queue.is_due) {
                Some(left) => {
                    changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0
                }
                None => changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    fn write_all(&self, tail: &mut Tail, bytes_max: usize) -> io::Result<()> {
        loop {
            let mut lines = self.lock().batch();
            let written = tail.append(&lines.make_contiguous().concat());
            let mut queue = self.lock();
            match written {
                Ok(()) => {
                    queue.answer(tail.written(), false);
                    if queue.entries.is_empty() {
                        return Ok(());
                    }
                }
                Err((mut bytes, error)) => {
                    while let Some(line) = lines.front().filter(|line| line.len() <= bytes) {
                        bytes -= line.len();
                        lines.pop_front();
                    }
                    for line in lines.into_iter().rev() {
                        queue.bytes += line.len();
                        queue.entries.push_front(Entry::Line(line));
                    }
                    queue.limit(bytes_max);
                    queue.answer(tail.written(), true);
                    queue.is_due = true;
                    return Err(error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use super::*;
    use crate::report::Silent;

    fn silent() -> SharedReporter {
        crate::report::shared(Silent)
    }

    fn line(number: usize) -> Vec<u8> {
        format!("line {number:05}\n").into_bytes()
    }

    #[test]
    fn lines_are_written_in_order_and_marks_tell_how_far() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("lines");
        fs::write(&path, "old\nto").unwrap();
        let mut file = open(&path).unwrap();
        let written = cut(&mut file, 100, Written::hashed()).unwrap();
        assert_eq!(written.bytes(), 4);
        let lines = LineFile::start(&path, file, written, silent());
        (0..500).for_each(|number| lines.push(line(number)));
        let first = lines.mark();
        (500..20_000).for_each(|number| lines.push(line(number)));
        let first = first.recv().unwrap();
        assert_eq!(first.bytes(), 4 + 500 * 11);
        drop(lines);
        let wanted: Vec<u8> = (0..20_000).flat_map(line).collect();
        let wanted = [b"old\n", &wanted[..]].concat();
        assert_eq!(fs::read(&path).unwrap(), wanted);
        let marked = blake3::hash(&wanted[..first.bytes() as usize]);
        assert_eq!(first.blake3(), Some(marked.to_hex().to_string()));
    }

    /// However many lines come, the newest few wait, and nobody who hands one over does.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_device_without_room_costs_the_oldest_lines() {
        let full = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
        let lines = LineFile::limited(Path::new("full"), full, Written::hashed(), silent(), 1000);
        let mark = {
            (0..100_000).for_each(|number| lines.push(line(number)));
            lines.mark()
        };
        assert_eq!(mark.recv().unwrap().bytes(), 0);
        let started = Instant::now();
        loop {
            let queue = lines.shared.lock();
            assert!(queue.bytes <= 1000, "{}", queue.bytes);
            assert_eq!(queue.lines() * 11, queue.bytes);
            let newest = queue.entries.back();
            if newest
                .is_some_and(|entry| matches!(entry, Entry::Line(text) if *text == line(99_999)))
            {
                assert_eq!(queue.dropped as usize + queue.lines(), 100_000);
                return;
            }
            // The thread holds them, to try again.
            assert!(started.elapsed() < Duration::from_secs(60));
        }
    }
}
