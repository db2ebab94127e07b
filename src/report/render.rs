//! Reports on a terminal (a bar), as plain lines, or as JSON lines.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{FaultKind, Report, Values};

/// Plain lines show epochs at most this often, and steps when nothing else was shown for longer.
const EPOCH_INTERVAL: Duration = Duration::from_millis(500);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// How to write reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A progress bar on a terminal, plain lines elsewhere.
    #[default]
    Text,
    /// One JSON object a line, on standard error.
    Json,
}

/// Shows reports.
pub struct Reporter {
    format: LogFormat,
    quiet: bool,
    bar: Option<ProgressBar>,
    shown_at: Option<Instant>,
}

impl Reporter {
    /// `quiet` leaves only errors.
    pub fn new(format: LogFormat, quiet: bool) -> Reporter {
        let bar = (format == LogFormat::Text && !quiet && std::io::stderr().is_terminal())
            .then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10)));
        if let Some(bar) = &bar {
            let template = "{prefix} {wide_bar} {pos}/{len} {msg}";
            let style = ProgressStyle::with_template(template);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        }
        Reporter { format, quiet, bar, shown_at: None }
    }

    /// A reporter that shows nothing.
    pub fn silent() -> Reporter {
        Reporter { format: LogFormat::Text, quiet: true, bar: None, shown_at: None }
    }

    /// Shows a report of this process.
    pub fn report(&mut self, report: &Report) {
        self.report_from("", report);
    }

    /// Shows a report of a child; its lines begin with `from`.
    pub fn report_from(&mut self, from: &str, report: &Report) {
        if self.quiet && !matches!(report, Report::Error { .. }) {
            return;
        }
        if self.format == LogFormat::Json {
            return write_json(from, report);
        }
        match report {
            Report::Progress {
                epoch,
                epochs,
                step,
                steps,
                loss,
                rows_per_second,
                seconds_left,
            } => {
                let message = format!(
                    "loss {loss:.4}, {} rows/s, {} left",
                    thousands(*rows_per_second),
                    duration(*seconds_left)
                );
                if let Some(bar) = &self.bar {
                    bar.set_length(*steps);
                    bar.set_prefix(format!("epoch {epoch}/{epochs}"));
                    bar.set_position(*step);
                    bar.set_message(message);
                } else if self.is_due(PROGRESS_INTERVAL) {
                    self.line(
                        from,
                        &format!("epoch {epoch}/{epochs} step {step}/{steps}: {message}"),
                    );
                }
            }
            Report::Epoch { epoch, epochs, seconds, values } => {
                let due = epoch == epochs || self.is_due(EPOCH_INTERVAL);
                if self.bar.is_none() && due {
                    let values = listed(values);
                    self.line(from, &format!("epoch {epoch}/{epochs}: {values} ({seconds:.1} s)"));
                }
            }
            Report::Ending => {}
            Report::Finished { .. } => {
                if let Some(bar) = &self.bar {
                    bar.finish_and_clear();
                }
                show_result(report);
            }
            Report::Verified { first, last, hashes, .. } => {
                if let Some(bar) = &self.bar {
                    bar.finish_and_clear();
                }
                let steps = match first == last {
                    true => format!("step {first} agrees"),
                    false => format!("steps {first} to {last} agree"),
                };
                let plural = if *hashes == 1 { "" } else { "es" };
                print(&format!("{steps} ({hashes} hash{plural} compared)\n"));
            }
            other => {
                let text = line_of(other);
                self.line(from, &text);
            }
        }
    }

    /// A line that no report was made of, such as a child's panic.
    pub fn foreign(&mut self, from: &str, text: &str) {
        self.line(from, text);
    }

    fn is_due(&self, interval: Duration) -> bool {
        self.shown_at.is_none_or(|shown| shown.elapsed() >= interval)
    }

    fn line(&mut self, from: &str, text: &str) {
        self.shown_at = Some(Instant::now());
        let prefix = if from.is_empty() { String::new() } else { format!("[{from}] ") };
        let write = || {
            // Nobody is left to be told if standard error is gone.
            let _ = writeln!(std::io::stderr().lock(), "{prefix}{text}");
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

fn write_json(from: &str, report: &Report) {
    let Ok(mut value) = serde_json::to_value(report) else { return };
    if !from.is_empty() {
        value["from"] = from.into();
    }
    let _ = writeln!(std::io::stderr().lock(), "{value}");
}

fn line_of(report: &Report) -> String {
    match report {
        Report::Listening { address, run_id, .. } => {
            format!("run {run_id}: listening on {address}")
        }
        Report::WorkerJoined { worker, host, pid, threads } => {
            format!("worker {worker} joined: {host}, process {pid}, {threads} threads")
        }
        Report::WorkerLeft { worker, host, reason, workers } => {
            format!("worker {worker} ({host}) left: {reason}; {workers} left")
        }
        Report::Note { message } => message.clone(),
        Report::Warning { message } => format!("warning: {message}"),
        Report::Error { message, .. } => format!("error: {message}"),
        Report::Chaos { fault, processes, seconds } => fault_text(*fault, processes, *seconds),
        Report::ChaosOver { seed, faults } => {
            let kinds: Vec<String> =
                faults.iter().map(|(kind, count)| format!("{} {count}", kind.name())).collect();
            let all: u64 = faults.values().sum();
            let faults = if all == 1 { "fault" } else { "faults" };
            format!("chaos: {all} {faults} with seed {seed} ({})", kinds.join(", "))
        }
        // Shown in their own way.
        Report::Progress { .. }
        | Report::Epoch { .. }
        | Report::Ending
        | Report::Verified { .. }
        | Report::Finished { .. } => String::new(),
    }
}

fn fault_text(fault: FaultKind, processes: &[u32], seconds: Option<f64>) -> String {
    let done = match fault {
        FaultKind::Kill | FaultKind::Coordinator => "killed",
        FaultKind::Stop => "stopped",
        FaultKind::Slow => "slowed down",
    };
    let whom = match fault {
        FaultKind::Coordinator => "the coordinator, process",
        _ if processes.len() == 1 => "worker process",
        _ => "all workers, processes",
    };
    let processes: Vec<String> = processes.iter().map(u32::to_string).collect();
    let lasting = seconds.map_or(String::new(), |seconds| format!(" for {seconds:.1} s"));
    format!("chaos: {done} {whom} {}{lasting}", processes.join(", "))
}

fn show_result(report: &Report) {
    let Report::Finished {
        name,
        epochs,
        steps,
        seconds,
        rows_per_second,
        values,
        weights_blake3,
        run_folder,
    } = report
    else {
        return;
    };
    let mut text = format!(
        "{name}: {epochs} epochs, {steps} steps in {seconds:.2} s ({} rows/s)\n",
        thousands(*rows_per_second)
    );
    if !values.is_empty() {
        text += &format!("{}\n", listed(values));
    }
    text += &format!("weights_blake3 {weights_blake3}\n");
    if let Some(folder) = run_folder {
        text += &format!("run folder {folder}\n");
    }
    print(&text);
}

/// Writes a result to standard output.
fn print(text: &str) {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        // The reader has seen enough.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let _ =
                write!(std::io::stderr().lock(), "warning: no standard output ({error})\n{text}");
        }
        _ => {}
    }
}

/// `loss 1.2345, mae 0.9`, the loss first.
fn listed(values: &Values) -> String {
    let mut names: Vec<&String> = values.keys().collect();
    names.sort_by_key(|name| (name.starts_with("validation_"), !name.ends_with("loss")));
    let items: Vec<String> = names
        .iter()
        .map(|name| format!("{} {:.4}", name.replace('_', " "), values[*name]))
        .collect();
    items.join(", ")
}

fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..=59 => format!("{whole} s"),
        60..=3599 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A count with a comma every three digits.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(thousands(0.0), "0");
        assert_eq!(thousands(999.4), "999");
        assert_eq!(thousands(1234567.0), "1,234,567");
        assert_eq!(duration(59.4), "59 s");
        assert_eq!(duration(61.0), "1 min 01 s");
        assert_eq!(duration(7261.0), "2 h 01 min");
    }

    #[test]
    fn the_loss_comes_first_and_validation_last() {
        let names = ["accuracy", "loss", "validation_accuracy", "validation_loss"];
        let values: Values = names.iter().map(|name| (name.to_string(), 0.5)).collect();
        assert_eq!(
            listed(&values),
            "loss 0.5000, accuracy 0.5000, validation loss 0.5000, validation accuracy 0.5000"
        );
    }
}
