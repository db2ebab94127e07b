//! Reports in words (with a bar on a terminal), or as JSON lines.

use std::io;
use std::time::{Duration, Instant};

use lockstep_run::report::figures::{duration, shown, thousands};
use lockstep_run::report::words::{line_of, result_lines};
use lockstep_run::report::{EpochsShown, Report, Reporter};
use serde::Serialize;

use super::terminal::{Progress, Terminal};

/// Where there is no bar, progress is told when nothing else was for so long.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// How to write what is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// Words: with a progress bar on a terminal, lines with their times elsewhere.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Shows reports.
pub(crate) struct Console {
    format: LogFormat,
    quiet: bool,
    /// Whether the result goes where everything else does.
    one_stream: bool,
    terminal: Terminal,
    shown_at: Option<Instant>,
    epochs: EpochsShown,
}

impl Reporter for Console {
    fn report(&mut self, report: &Report) {
        self.report_from("", report);
    }
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

impl Console {
    /// `quiet` leaves only errors and the result.
    pub(crate) fn new(format: LogFormat, quiet: bool) -> Console {
        let terminal = Terminal::new(format == LogFormat::Text && !quiet);
        Console {
            format,
            quiet,
            one_stream: false,
            terminal,
            shown_at: None,
            epochs: EpochsShown::default(),
        }
    }

    /// Whether what is reported is read by a person and kept nowhere.
    pub(crate) fn is_on_a_terminal(&self) -> bool {
        self.format == LogFormat::Text && !self.terminal.is_log()
    }

    /// The same for a child, whose launcher reads one stream.
    pub(crate) fn on_one_stream(self) -> Console {
        Console { one_stream: true, ..self }
    }

    /// Shows a report of a child; its lines begin with `from`.
    pub(crate) fn report_from(&mut self, from: &str, report: &Report) {
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
            Report::Epoch { epoch, epochs, .. } if !self.epochs.shows(*epoch, *epochs) => {}
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
    pub(crate) fn result(&mut self, lines: &[String], facts: &impl Serialize) -> io::Result<()> {
        match self.format {
            LogFormat::Text => self.terminal.result(lines),
            LogFormat::Json => self.terminal.result_json(&json("", facts)),
        }
    }

    /// Writes a result that is looked at again and again, in the place of the one before, of which `drawn` lines are on the
    /// terminal. How many are there now.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(crate) fn redraw(
        &mut self,
        drawn: usize,
        lines: &[String],
        facts: &impl Serialize,
    ) -> io::Result<usize> {
        match self.format {
            LogFormat::Text => self.terminal.redraw(drawn, lines),
            LogFormat::Json => self.terminal.result_json(&json("", facts)).map(|()| 0),
        }
    }

    /// A line that no report was made of, such as a child's panic.
    pub(crate) fn foreign(&mut self, from: &str, text: &str) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_line_begins_with_its_time() {
        let line = json("process 5", &Report::Note { message: "x".into() });
        let rest = line.strip_prefix("{\"time\":\"").unwrap();
        assert!(rest[..24].parse::<jiff::Timestamp>().is_ok(), "{line}");
        assert_eq!(&rest[23..], "Z\",\"from\":\"process 5\",\"event\":\"note\",\"message\":\"x\"}");
    }
}
