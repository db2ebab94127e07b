//! Lines that several children say alike become one: held for a moment, so that the others can say it too. A pure rule: the time is
//! given. Holds few lines, and none for long.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long a line is held.
const HELD_FOR: Duration = Duration::from_millis(250);

/// Most lines that are held; the oldest goes when there are more.
const LINES_MAX: usize = 64;

/// A line, and who said it.
#[derive(Debug)]
struct Held {
    text: String,
    from: Vec<String>,
    since: Instant,
}

/// A line to be shown: what it begins with, and the rest.
pub(super) type Shown = (String, String);

/// The lines that are held.
#[derive(Debug, Default)]
pub(super) struct Collapsing {
    /// Oldest first.
    lines: VecDeque<Held>,
}

impl Collapsing {
    /// Takes a line in. What has to be shown for want of room, if there is no more.
    pub(super) fn take(&mut self, now: Instant, from: &str, text: String) -> Option<Shown> {
        let is_alike =
            |held: &&mut Held| held.text == text && !held.from.iter().any(|known| known == from);
        if let Some(held) = self.lines.iter_mut().find(is_alike) {
            held.from.push(from.to_string());
            return None;
        }
        let oldest = (self.lines.len() >= LINES_MAX).then(|| self.lines.pop_front()).flatten();
        self.lines.push_back(Held { text, from: vec![from.to_string()], since: now });
        oldest.map(shown)
    }

    /// When the next line has been held for long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.lines.front().map(|held| held.since + HELD_FOR)
    }

    /// The next line that has.
    pub(super) fn next(&mut self, now: Instant) -> Option<Shown> {
        self.due().filter(|&due| due <= now).and_then(|_| self.lines.pop_front()).map(shown)
    }

    /// All that are held, in order.
    pub(super) fn rest(&mut self) -> Vec<Shown> {
        self.lines.drain(..).map(shown).collect()
    }
}

fn shown(held: Held) -> Shown {
    let from = match &held.from[..] {
        [from] => from.clone(),
        several => format!("{} workers", several.len()),
    };
    (from, held.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(from: &str, text: &str) -> Shown {
        (from.to_string(), text.to_string())
    }

    #[test]
    fn what_several_say_is_said_once_and_nothing_is_lost() {
        let (mut lines, now) = (Collapsing::default(), Instant::now());
        for (from, text) in [("a", "x"), ("b", "x"), ("a", "y"), ("c", "x"), ("a", "x")] {
            assert_eq!(lines.take(now, from, text.to_string()), None);
        }
        assert_eq!(lines.due(), Some(now + HELD_FOR));
        assert_eq!(lines.next(now), None);
        let later = now + HELD_FOR;
        let all: Vec<_> = std::iter::from_fn(|| lines.next(later)).collect();
        assert_eq!(all, [pair("3 workers", "x"), pair("a", "y"), pair("a", "x")]);
        assert_eq!(lines.due(), None);
    }

    #[test]
    fn no_more_lines_are_held_than_there_is_room_for() {
        let (mut lines, now) = (Collapsing::default(), Instant::now());
        let said = (0..LINES_MAX + 2).filter_map(|line| lines.take(now, "a", line.to_string()));
        assert_eq!(said.collect::<Vec<_>>(), [pair("a", "0"), pair("a", "1")]);
        assert_eq!(lines.rest().len(), LINES_MAX);
    }
}
