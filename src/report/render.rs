//! Reports in words (with a bar on a terminal), or as JSON lines.

use std::io;
use std::time::{Duration, Instant};

use lockstep_run::report::figures::{duration, shown, thousands};
use lockstep_run::report::words::{line_of, result_lines};
use lockstep_run::report::{EpochsShown, Level, Report, Reporter};
use serde::Serialize;

use super::collapse::{Collapsing, Shown};
use super::origin::Origin;
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
    /// The most that is shown; the result is, in any case.
    level: Level,
    origin: Origin,
    /// Whether the result goes where everything else does.
    one_stream: bool,
    terminal: Terminal,
    shown_at: Option<Instant>,
    epochs: EpochsShown,
    /// What children say, in words.
    collapsing: Collapsing,
}

impl Reporter for Console {
    fn report(&mut self, report: &Report) {
        self.origin.learn(report);
        let origin = self.origin.clone();
        self.report_from("", &origin, report);
    }
}

/// A report as a JSON line.
#[derive(Serialize)]
struct Line<'a, T> {
    time: String,
    #[serde(flatten)]
    beside: Beside<'a>,
    #[serde(flatten)]
    report: &'a T,
}

/// What a line says beside its report.
#[derive(Default, Serialize)]
struct Beside<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    level: Option<Level>,
    #[serde(skip_serializing_if = "str::is_empty")]
    from: &'a str,
    #[serde(flatten)]
    origin: Origin,
    /// In words, where the report has none of its own.
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
}

impl<'a> Beside<'a> {
    fn of(from: &'a str, origin: &Origin, report: &Report) -> Beside<'a> {
        use Report::{Error, Log, Note, Warning};
        let message = match report {
            Note { .. } | Warning { .. } | Error { .. } | Log { .. } => String::new(),
            report => line_of(report),
        };
        let level = (!matches!(report, Log { .. })).then(|| report.level());
        Beside { level, from, origin: origin.beside(report), message }
    }
}

impl Console {
    /// Shows what is of this level at most, and the result.
    pub(crate) fn new(format: LogFormat, level: Level) -> Console {
        let terminal = Terminal::new(format == LogFormat::Text && level >= Level::Info);
        Console {
            format,
            level,
            origin: Origin { host: Some(lockstep_run::host_name()), ..Origin::default() },
            one_stream: false,
            terminal,
            shown_at: None,
            epochs: EpochsShown::default(),
            collapsing: Collapsing::default(),
        }
    }

    /// From now on its lines are those of a worker.
    pub(crate) fn set_worker(&mut self, run: &str, worker: u64) {
        (self.origin.run, self.origin.worker) = (Some(run.to_string()), Some(worker));
    }

    /// The most that is shown besides the result.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// Whose lines these are.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Whether what is reported is read by a person and kept nowhere.
    pub(crate) fn is_on_a_terminal(&self) -> bool {
        self.format == LogFormat::Text && !self.terminal.is_log()
    }

    /// The same for a child, whose launcher reads one stream.
    pub(crate) fn on_one_stream(self) -> Console {
        Console { one_stream: true, ..self }
    }

    /// Shows a report of a child, which says of itself what `origin` says; its lines begin with `from`. In words, what
    /// several children say alike becomes one line: see [`due`](Console::due).
    pub(crate) fn report_from(&mut self, from: &str, origin: &Origin, report: &Report) {
        let is_result = report.is_result() || self.format == LogFormat::Json && report.is_receipt();
        // A child's launcher decides what is shown.
        if report.level() > self.level && !is_result && !self.one_stream {
            return;
        }
        if is_result && !self.one_stream && from.is_empty() {
            let lines = result_lines(report);
            self.flush();
            if let Err(error) = self.result(&lines, report) {
                self.line("", &format!("warning: cannot write to standard output ({error})"));
                lines.iter().for_each(|line| self.line("", line));
            }
            return;
        }
        if self.format == LogFormat::Json {
            return self.terminal.log_json(&json(Beside::of(from, origin, report), report));
        }
        match report {
            Report::Progress { .. } => self.progress(from, report),
            Report::Working { what, place, of } => self.working(from, what, *place, *of),
            Report::Epoch { epoch, epochs, .. } if !self.epochs.shows(*epoch, *epochs) => {}
            Report::Ending => {}
            Report::Error { message, .. } => {
                // What is left of the bar would look like the end of the work.
                self.terminal.finish();
                self.flush();
                self.terminal.log(&prefixed(from, &format!("error: {message}")));
            }
            report if is_result => {
                result_lines(report).iter().for_each(|line| self.line(from, line));
            }
            report if from.is_empty() => self.line(from, &line_of(report)),
            report => {
                let over = self.collapsing.take(Instant::now(), from, line_of(report));
                over.into_iter().for_each(|shown| self.shown(shown));
            }
        }
    }

    /// When a line of children is to be shown by [`show_due`](Console::show_due), if one is held.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.collapsing.due()
    }

    /// Shows lines of children that have been held for long enough.
    pub(crate) fn show_due(&mut self, now: Instant) {
        while let Some(shown) = self.collapsing.next(now) {
            self.shown(shown);
        }
    }

    /// Shows all lines of children that are held.
    pub(crate) fn flush(&mut self) {
        self.collapsing.rest().into_iter().for_each(|shown| self.shown(shown));
    }

    fn shown(&mut self, (from, text): Shown) {
        self.line(&from, &text);
    }

    /// Writes a result to standard output: `lines` for people, `facts` for programs.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(crate) fn result(&mut self, lines: &[String], facts: &impl Serialize) -> io::Result<()> {
        match self.format {
            LogFormat::Text => self.terminal.result(lines),
            LogFormat::Json => self.terminal.result_json(&json(Beside::default(), facts)),
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
            LogFormat::Json => {
                self.terminal.result_json(&json(Beside::default(), facts)).map(|()| 0)
            }
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
        let drawn = Progress { what: &what, place: *step, of: *steps, message };
        self.draw(from, &drawn, &text);
    }

    fn working(&mut self, from: &str, what: &str, place: u64, of: u64) {
        let drawn = Progress { what, place, of, message: String::new() };
        self.draw(from, &drawn, &format!("{what}: {place} of {of}"));
    }

    /// Draws a bar or, where there is none, now and then a line.
    fn draw(&mut self, from: &str, progress: &Progress<'_>, text: &str) {
        let is_drawn = self.terminal.draw(progress);
        let is_due = || self.shown_at.is_none_or(|shown| shown.elapsed() >= PROGRESS_INTERVAL);
        if !is_drawn && is_due() {
            self.line(from, text);
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

fn json(beside: Beside<'_>, report: &impl Serialize) -> String {
    // Numbers, names and lists of them can always be written.
    serde_json::to_string(&Line { time: now(), beside, report }).unwrap_or_default()
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
    fn a_json_line_begins_with_its_time_and_says_nothing_twice() {
        let origin = Origin { worker: Some(3), step: Some(7), ..Origin::default() };
        let text = |report: &Report| json(Beside::of("process 5", &origin, report), report);
        let line = text(&Report::Note { message: "x".into() });
        let rest = line.strip_prefix("{\"time\":\"").unwrap();
        assert!(rest[..24].parse::<jiff::Timestamp>().is_ok(), "{line}");
        assert_eq!(
            &rest[23..],
            "Z\",\"level\":\"info\",\"from\":\"process 5\",\"worker\":3,\"step\":7,\"event\":\"note\",\"message\":\"x\"}"
        );
        let left = Report::WorkerLeft {
            worker: 9,
            host: "node1".into(),
            address: None,
            was: None,
            cause: "vanished".into(),
            reason: "gone".into(),
            workers: 2,
        };
        let log = Report::Log {
            level: Level::Debug,
            target: "lockstep".into(),
            message: "m".into(),
            fields: Default::default(),
        };
        for (report, once) in [(left, "worker"), (log, "level")] {
            let line = text(&report);
            assert_eq!(line.matches(&format!("\"{once}\":")).count(), 1, "{line}");
            assert_eq!(line.matches("\"message\":").count(), 1, "{line}");
        }
    }
}
