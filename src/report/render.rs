//! Reports in words (with a bar on a terminal), or as JSON lines.

use std::io;
use std::time::{Duration, Instant};

use lockstep_proto::words::{count, nouns};
use serde::Serialize;

use super::escape::peer_name;
use super::figures::{duration, listed, measures, numbered, shown, thousands, verified};
use super::terminal::{Progress, Terminal};
use super::{FaultKind, Report};

/// Where there is no bar, progress is told when nothing else was for so long.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// About how many epochs of a run are shown; the first and the last are.
const EPOCHS_SHOWN: u32 = 20;

/// How to write what is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Words: with a progress bar on a terminal, lines with their times elsewhere.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Shows reports.
pub struct Reporter {
    format: LogFormat,
    quiet: bool,
    /// Whether the result goes where everything else does.
    one_stream: bool,
    terminal: Terminal,
    shown_at: Option<Instant>,
    /// The last epoch that ended; epochs that are repeated after a coordinator was lost are told once.
    epoch: u32,
}

/// A report as a JSON line.
#[derive(Serialize)]
struct Line<'a, T> {
    time: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    from: &'a str,
    #[serde(flatten)]
    report: &'a T,
}

impl Reporter {
    /// `quiet` leaves only errors and the result.
    pub fn new(format: LogFormat, quiet: bool) -> Reporter {
        let terminal = Terminal::new(format == LogFormat::Text && !quiet);
        Reporter { format, quiet, one_stream: false, terminal, shown_at: None, epoch: 0 }
    }

    /// A reporter that shows nothing but errors and writes the result nowhere.
    pub fn silent() -> Reporter {
        let terminal = Terminal::new(false);
        let format = LogFormat::Text;
        Reporter { format, quiet: true, one_stream: true, terminal, shown_at: None, epoch: 0 }
    }

    /// The same for a child, whose launcher reads one stream.
    pub fn on_one_stream(self) -> Reporter {
        Reporter { one_stream: true, ..self }
    }

    /// Shows a report of this process.
    pub fn report(&mut self, report: &Report) {
        self.report_from("", report);
    }

    /// Shows a report of a child; its lines begin with `from`.
    pub fn report_from(&mut self, from: &str, report: &Report) {
        let is_result = report.is_result() || self.format == LogFormat::Json && report.is_receipt();
        let is_kept = matches!(report, Report::Error { .. }) || is_result && !self.one_stream;
        if self.quiet && !is_kept {
            return;
        }
        if is_result && !self.one_stream && from.is_empty() {
            let lines = result_lines(report);
            if let Err(error) = self.result(&lines, report) {
                self.line("", &format!("warning: cannot write to standard output ({error})"));
                lines.iter().for_each(|line| self.line("", line));
            }
            return;
        }
        if self.format == LogFormat::Json {
            return self.terminal.log_json(&json(from, report));
        }
        match report {
            Report::Progress { .. } => self.progress(from, report),
            Report::Epoch { epoch, epochs, values, loss_is_scaled, .. } => {
                if self.shows_epoch(*epoch, *epochs) {
                    let listed = listed(values, *loss_is_scaled);
                    self.line(from, &format!("epoch {epoch}/{epochs}: {listed}"));
                }
            }
            Report::Ending => {}
            Report::Error { message, .. } => {
                // What is left of the bar would look like the end of the work.
                self.terminal.finish();
                self.terminal.log(&prefixed(from, &format!("error: {message}")));
            }
            report if is_result => {
                result_lines(report).iter().for_each(|line| self.line(from, line));
            }
            report => self.line(from, &line_of(report)),
        }
    }

    /// Writes a result to standard output: `lines` for people, `facts` for programs.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub fn result(&mut self, lines: &[String], facts: &impl Serialize) -> io::Result<()> {
        match self.format {
            LogFormat::Text => self.terminal.result(lines),
            LogFormat::Json => self.terminal.result_json(&json("", facts)),
        }
    }

    /// A line that no report was made of, such as a child's panic.
    pub fn foreign(&mut self, from: &str, text: &str) {
        self.line(from, text);
    }

    fn progress(&mut self, from: &str, report: &Report) {
        let Report::Progress {
            epoch,
            epochs,
            step,
            steps,
            loss,
            rows_per_second,
            seconds_left,
            loss_is_scaled,
        } = report
        else {
            return;
        };
        let (pace, left) = (thousands(*rows_per_second), duration(*seconds_left));
        let name = shown("loss", *loss_is_scaled);
        let message = format!("{name} {loss:.4}, {pace} rows/s, {left} left");
        let what = format!("epoch {epoch}/{epochs}");
        let text = format!("{what} step {step}/{steps}: {message}");
        let is_drawn =
            self.terminal.draw(&Progress { what: &what, place: *step, of: *steps, message });
        let is_due = || self.shown_at.is_none_or(|shown| shown.elapsed() >= PROGRESS_INTERVAL);
        if !is_drawn && is_due() {
            self.line(from, &text);
        }
    }

    /// The first epoch that this process sees, every so many, and the last.
    fn shows_epoch(&mut self, epoch: u32, epochs: u32) -> bool {
        let is_first = self.epoch == 0;
        let is_new = epoch > self.epoch;
        self.epoch = self.epoch.max(epoch);
        let every = epochs.div_ceil(EPOCHS_SHOWN).max(1);
        is_new && (is_first || epoch == epochs || epoch.is_multiple_of(every))
    }

    fn line(&mut self, from: &str, text: &str) {
        self.shown_at = Some(Instant::now());
        let text = prefixed(from, text);
        match self.terminal.is_log() {
            true => self.terminal.log(&format!("{} {text}", now())),
            false => self.terminal.log(&text),
        }
    }
}

fn json(from: &str, report: &impl Serialize) -> String {
    // Numbers, names and lists of them can always be written.
    serde_json::to_string(&Line { time: now(), from, report }).unwrap_or_default()
}

/// The time as RFC 3339 has it, in UTC.
fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}

fn prefixed(from: &str, text: &str) -> String {
    match from {
        "" => text.to_string(),
        from => format!("[{from}] {text}"),
    }
}

/// What happens, in words. Progress, epochs and errors are shown in their own way.
fn line_of(report: &Report) -> String {
    match report {
        Report::Listening { address, run_id, .. } => {
            format!("run {run_id}: listening on {address}")
        }
        Report::WorkerJoined { worker, host, address, was, pid, threads } => {
            let machine = machine(host, address.as_deref());
            let threads = count((*threads).into(), "thread");
            format!("worker {worker} joined: {machine}, process {pid}, {threads}{}", before(*was))
        }
        Report::WorkerLeft { worker, host, address, was, reason, workers, cause } => {
            let (machine, before) = (machine(host, address.as_deref()), before(*was));
            let left = if cause == "expelled" { "was expelled" } else { "left" };
            let workers = count(*workers as u64, "worker");
            format!("worker {worker} ({machine}{before}) {left}: {reason}; {workers} remaining")
        }
        Report::Warning { message } => format!("warning: {message}"),
        Report::Chaos { fault, processes, seconds } => fault_text(*fault, processes, *seconds),
        Report::ChaosOver { seed, faults } => {
            let kinds: Vec<String> =
                faults.iter().map(|(kind, count)| format!("{} {count}", kind.name())).collect();
            let all = count(faults.values().sum(), "fault");
            format!("chaos: {all} with seed {seed} ({})", kinds.join(", "))
        }
        Report::Note { message } => message.clone(),
        Report::Predicted { rows, output } => {
            let place = output.as_ref().map_or(String::new(), |output| format!(" in {output}"));
            format!("{}{place}", count(*rows, "prediction"))
        }
        _ => String::new(),
    }
}

/// Where a person finds a worker: `node7, 10.0.0.7`.
pub(crate) fn machine(host: &str, address: Option<&str>) -> String {
    let host = (!host.is_empty()).then(|| peer_name(host));
    match (host, address) {
        (Some(host), Some(address)) => format!("{host}, {address}"),
        (Some(host), None) => host.into_owned(),
        (None, address) => address.unwrap_or("unknown").to_string(),
    }
}

/// What the same process was called before.
fn before(was: Option<u64>) -> String {
    was.map_or(String::new(), |worker| format!(", was worker {worker}"))
}

fn fault_text(fault: FaultKind, processes: &[u32], seconds: Option<f64>) -> String {
    let done = match fault {
        FaultKind::Kill | FaultKind::Coordinator => "killed",
        FaultKind::Stop => "stopped",
        FaultKind::Slow => "slowed down",
    };
    let whom = match fault {
        FaultKind::Coordinator => numbered("the coordinator, process", processes),
        _ if processes.len() == 1 => numbered("worker process", processes),
        _ => numbered("all workers, process", processes),
    };
    let lasting = seconds.map_or(String::new(), |seconds| format!(" for {seconds:.1} s"));
    format!("chaos: {done} {whom}{lasting}")
}

/// A result, in words.
fn result_lines(report: &Report) -> Vec<String> {
    match report {
        Report::Finished { .. } => finished_lines(report),
        Report::Evaluated { rows, left_out, values, loss_is_scaled } => {
            let rows = match left_out {
                0 => count(*rows, "row"),
                _ => format!("{}, and {left_out} left out for a missing cell", count(*rows, "row")),
            };
            let name = |name| shown(name, *loss_is_scaled);
            let values = values.iter().map(|(of, value)| format!("{} {value}", name(of)));
            std::iter::once(rows).chain(values).collect()
        }
        Report::Verified { first, last, hashes, .. } => vec![verified(*first, *last, *hashes)],
        _ => Vec::new(),
    }
}

fn finished_lines(report: &Report) -> Vec<String> {
    let Report::Finished {
        name,
        epochs,
        steps,
        seconds,
        rows_per_second,
        training,
        validation,
        test,
        loss_is_scaled,
        weights_blake3,
        run_folder,
    } = report
    else {
        return Vec::new();
    };
    let (epochs, pace) = (count((*epochs).into(), "epoch"), thousands(*rows_per_second));
    let steps_done = format!("{steps} {}", nouns(*steps, "step"));
    let mut lines =
        vec![format!("{name}: {epochs}, {steps_done} in {seconds:.2} s ({pace} rows/s)")];
    let tables = [("training", training), ("validation", validation), ("test", test)];
    lines.extend(measures(&tables, *loss_is_scaled));
    lines.push(format!("weights_blake3 {weights_blake3}"));
    lines.extend(run_folder.iter().map(|folder| format!("run folder {folder}")));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_twenty_epochs_are_shown() {
        for (epochs, wanted) in [(1, 1), (3, 3), (20, 20), (21, 12), (100, 21), (1000, 21)] {
            let mut reporter = Reporter::silent();
            let shown: Vec<u32> =
                (1..=epochs).filter(|&epoch| reporter.shows_epoch(epoch, epochs)).collect();
            assert_eq!(shown.len(), wanted, "{epochs}: {shown:?}");
            assert_eq!((shown[0], shown[shown.len() - 1]), (1, epochs));
        }
        let mut reporter = Reporter::silent();
        let shown: Vec<u32> = [57, 58, 60, 59, 60, 61, 65, 100]
            .into_iter()
            .filter(|&epoch| reporter.shows_epoch(epoch, 100))
            .collect();
        assert_eq!(shown, [57, 60, 65, 100]);
    }

    #[test]
    fn counts_go_with_their_nouns() {
        let joined = |threads| Report::WorkerJoined {
            worker: 1,
            host: "a".into(),
            address: None,
            was: None,
            pid: 5,
            threads,
        };
        assert_eq!(line_of(&joined(1)), "worker 1 joined: a, process 5, 1 thread");
        assert_eq!(line_of(&joined(2)), "worker 1 joined: a, process 5, 2 threads");
        let left = |workers| Report::WorkerLeft {
            worker: 1,
            host: "a".into(),
            reason: "so".into(),
            address: None,
            was: None,
            cause: "goodbye".into(),
            workers,
        };
        assert_eq!(line_of(&left(0)), "worker 1 (a) left: so; 0 workers remaining");
        assert_eq!(line_of(&left(1)), "worker 1 (a) left: so; 1 worker remaining");
        let killed = |processes: &[u32]| fault_text(FaultKind::Kill, processes, None);
        assert_eq!(killed(&[5]), "chaos: killed worker process 5");
        assert_eq!(killed(&[5, 6]), "chaos: killed all workers, processes 5, 6");
        let evaluated = |loss_is_scaled| Report::Evaluated {
            rows: 1,
            left_out: 0,
            values: [("loss".into(), 2.0), ("mae".into(), 0.5)].into(),
            loss_is_scaled,
        };
        assert_eq!(result_lines(&evaluated(false)), ["1 row", "loss 2", "mae 0.5"]);
        assert_eq!(result_lines(&evaluated(true)), ["1 row", "loss (scaled) 2", "mae 0.5"]);
    }

    #[test]
    fn a_json_line_begins_with_its_time() {
        let line = json("process 5", &Report::Note { message: "x".into() });
        let rest = line.strip_prefix("{\"time\":\"").unwrap();
        assert!(rest[..24].parse::<jiff::Timestamp>().is_ok(), "{line}");
        assert_eq!(&rest[23..], "Z\",\"from\":\"process 5\",\"event\":\"note\",\"message\":\"x\"}");
    }
}
