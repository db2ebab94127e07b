//! Standard output and standard error: the only place that writes to them (`clippy.toml` sees to it), so that text from
//! elsewhere cannot get past the escaping. Knows nothing of what is said.

#![allow(clippy::disallowed_methods)]

use std::io::{self, ErrorKind, IsTerminal as _, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use lockstep_run::report::escape::{line, visible, visible_json};

/// Narrower terminals get words without a bar.
const BAR_WIDTH_MIN: u16 = 72;

/// Where everything is shown.
pub(super) struct Terminal {
    has_bar: bool,
    /// There from the first progress on: a bar without a length would be drawn below every line.
    bar: Option<ProgressBar>,
    /// Whether standard error is no terminal, but a file, a pipe or a journal.
    is_log: bool,
}

/// How far something is.
pub(super) struct Progress<'a> {
    /// What is being done.
    pub(super) what: &'a str,
    pub(super) place: u64,
    pub(super) of: u64,
    pub(super) message: String,
}

impl Terminal {
    /// With a bar, if there is a terminal to draw it on.
    pub(super) fn new(with_bar: bool) -> Terminal {
        let is_log = !io::stderr().is_terminal();
        Terminal { has_bar: with_bar && !is_log, bar: None, is_log }
    }

    pub(super) fn is_log(&self) -> bool {
        self.is_log
    }

    /// Draws the bar anew; false if there is none.
    pub(super) fn draw(&mut self, progress: &Progress<'_>) -> bool {
        if !self.has_bar {
            return false;
        }
        let target = || ProgressDrawTarget::stderr_with_hz(10);
        let bar = self
            .bar
            .get_or_insert_with(|| ProgressBar::with_draw_target(Some(progress.of), target()));
        let is_wide = console::Term::stderr()
            .size_checked()
            .is_none_or(|(_, columns)| columns >= BAR_WIDTH_MIN);
        let template = match is_wide {
            true => "{prefix} {wide_bar} {pos}/{len} {msg}",
            // Cut to the width of the terminal.
            false => "{wide_msg}",
        };
        let message = match is_wide {
            true => progress.message.clone(),
            false => format!("{} {}", progress.what, progress.message),
        };
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_length(progress.of);
        bar.set_prefix(visible(progress.what).into_owned());
        bar.set_message(visible(&message).into_owned());
        bar.set_position(progress.place);
        true
    }

    /// Takes the bar away, for good.
    pub(super) fn finish(&mut self) {
        self.has_bar = false;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// A line for people, above the bar.
    pub(super) fn log(&self, text: &str) {
        self.log_line(&line(text));
    }

    /// The same for programs.
    pub(super) fn log_json(&self, json: &str) {
        self.log_line(&visible_json(json));
    }

    fn log_line(&self, shown: &str) {
        let write = || {
            // In one piece: others may write there too. Nobody is left to be told if standard error is gone.
            let _ = io::stderr().lock().write_all(format!("{shown}\n").as_bytes());
        };
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// A result for people, line by line.
    pub(super) fn result(&mut self, lines: &[String]) -> io::Result<()> {
        self.finish();
        let lines = lines.iter().map(|text| format!("{}\n", line(text)));
        write_result(&lines.collect::<String>())
    }

    /// A result in the place of the one before, where standard output is a terminal: after it, elsewhere. How many lines are
    /// there.
    pub(super) fn redraw(&mut self, drawn: usize, lines: &[String]) -> io::Result<usize> {
        let out = console::Term::stdout();
        if !out.is_term() {
            return self.result(lines).map(|()| 0);
        }
        let (rows, columns) = out.size();
        // What is beyond the terminal's edge could not be taken back.
        let fitting = lines.iter().take(usize::from(rows).saturating_sub(1).max(1));
        let cut = |text: &String| {
            console::truncate_str(&line(text), usize::from(columns), "…").into_owned()
        };
        let lines: Vec<String> = fitting.map(cut).collect();
        out.clear_last_lines(drawn)?;
        lines.iter().try_for_each(|line| out.write_line(line))?;
        Ok(lines.len())
    }

    /// The same for programs.
    pub(super) fn result_json(&mut self, json: &str) -> io::Result<()> {
        self.finish();
        write_result(&format!("{}\n", visible_json(json)))
    }
}

fn write_result(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // The reader has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Standard output for data and scripts: as they are for a file or a program, line by line and escaped on a terminal.
pub(crate) fn data_output() -> Box<dyn Write + Send> {
    let out = io::stdout();
    match out.is_terminal() {
        true => Box::new(Escaping { out, rest: Vec::new() }),
        false => Box::new(out),
    }
}

/// Lets through only what a terminal shows, and the ends of lines.
struct Escaping<W: Write> {
    out: W,
    /// A line that is not whole yet.
    rest: Vec<u8>,
}

impl<W: Write> Escaping<W> {
    fn show(&mut self, bytes: usize) -> io::Result<()> {
        let rest = self.rest.split_off(bytes);
        let lines = std::mem::replace(&mut self.rest, rest);
        let lines = String::from_utf8_lossy(&lines).replace("\r\n", "\n");
        let shown: Vec<_> = lines
            .split('\n')
            .map(|line| line.split('\t').map(visible).collect::<Vec<_>>().join("\t"))
            .collect();
        self.out.write_all(shown.join("\n").as_bytes())
    }
}

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        if let Some(end) = self.rest.iter().rposition(|&byte| byte == b'\n') {
            self.show(end + 1)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.show(self.rest.len())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_keeps_its_lines_on_a_terminal() {
        let mut escaping = Escaping { out: Vec::new(), rest: Vec::new() };
        for piece in [&b"a,\x1b[2Jb\r\nc\xc3"[..], b"\xa9,d\te\n\xff", b"f"] {
            escaping.write_all(piece).unwrap();
        }
        escaping.flush().unwrap();
        let shown = String::from_utf8(escaping.out).unwrap();
        assert_eq!(shown, "a,\\u{1b}[2Jb\ncé,d\te\n\u{fffd}f");
    }
}
