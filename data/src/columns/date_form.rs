//! Dates as texts: ISO 8601 as people and programs write it, in one of a few forms. An offset from UTC is not applied: what
//! counts is the clock on the wall. Knows no table.

use std::fmt;

use lockstep_graph::{Graph, Value};

/// How a date is written. A column has one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DateForm {
    time: Option<Time>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Time {
    /// `T` or a space.
    separator: char,
    /// A fraction of them may follow, in some cells or all.
    has_seconds: bool,
    zone: Zone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Zone {
    None,
    Utc,
    /// `+01:00` or `+0100`.
    Offset,
}

impl DateForm {
    /// The form of a date, and the date in seconds from the beginning of 1970; `None` for what is no date.
    pub(crate) fn parse(text: &str) -> Option<(DateForm, f64)> {
        let (date, rest) = text.as_bytes().split_at_checked(10)?;
        let &[a, b, c, d, b'-', e, f, b'-', g, h] = date else { return None };
        let (year, month, day) = (digits(&[a, b, c, d])?, digits(&[e, f])?, digits(&[g, h])?);
        let days = days(year, month, day)? as f64 * 86_400.0;
        if rest.is_empty() {
            return Some((DateForm { time: None }, days));
        }
        let (time, seconds) = parse_time(rest)?;
        Some((DateForm { time: Some(time) }, days + seconds))
    }

    /// Whether a date of another form is as good as one of this: pandas leaves out the time where all of a table's are
    /// midnight, so that a day is as good as its midnight where times are written as pandas does.
    pub(crate) fn takes(self, found: DateForm, seconds: f64) -> bool {
        let pandas = Time { separator: ' ', has_seconds: true, zone: Zone::None };
        let is_pandas = |time: Time| time == pandas;
        self == found
            || match (self.time, found.time) {
                (Some(own), None) => is_pandas(own),
                (None, Some(time)) => is_pandas(time) && seconds.rem_euclid(86_400.0) == 0.0,
                _ => false,
            }
    }

    /// The form that is written so; `None` if there is none.
    pub(crate) fn named(name: &str) -> Option<DateForm> {
        let times = ['T', ' '].into_iter().flat_map(|separator| {
            [false, true].into_iter().flat_map(move |has_seconds| {
                [Zone::None, Zone::Utc, Zone::Offset]
                    .map(|zone| Some(Time { separator, has_seconds, zone }))
            })
        });
        let mut forms = std::iter::once(None).chain(times).map(|time| DateForm { time });
        forms.find(|form| form.to_string() == name)
    }
}

impl fmt::Display for DateForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YYYY-MM-DD")?;
        let Some(Time { separator, has_seconds, zone }) = self.time else { return Ok(()) };
        let seconds = if has_seconds { ":SS" } else { "" };
        let zone = match zone {
            Zone::None => "",
            Zone::Utc => "Z",
            Zone::Offset => "+HH:MM",
        };
        write!(f, "{separator}HH:MM{seconds}{zone}")
    }
}

fn digits(text: &[u8]) -> Option<u32> {
    let digit = |number: u32, byte: &u8| Some(number * 10 + char::from(*byte).to_digit(10)?);
    text.iter().try_fold(0, digit)
}

/// Days from the beginning of 1970: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
fn days(year: u32, month: u32, day: u32) -> Option<i64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || !(1..=last).contains(&day) {
        return None;
    }
    let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

/// Year, month and day of the day that is so many days from the beginning of 1970 on, in the proleptic Gregorian calendar:
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March on.
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The operations of [`civil`]; all numbers are whole.
pub(crate) fn describe_civil(graph: &mut Graph, days: Value) -> (Value, Value, Value) {
    let number = |graph: &mut Graph, number: i32| graph.row(f64::from(number));
    // The floor of a quotient.
    let div = |graph: &mut Graph, a: Value, by: i32| {
        let by = number(graph, by);
        let quotient = graph.divide(a, by);
        graph.floor(quotient)
    };
    let times = |graph: &mut Graph, a: Value, by: i32| {
        let by = number(graph, by);
        graph.multiply(a, by)
    };
    let plus = |graph: &mut Graph, a: Value, b: i32| {
        let b = number(graph, b);
        graph.add(a, b)
    };
    let days = plus(graph, days, 719_468);
    let era = div(graph, days, 146_097);
    let before = times(graph, era, 146_097);
    let of_era = graph.subtract(days, before);
    let [fours, hundreds, last] = [1_460, 36_524, 146_096].map(|by| div(graph, of_era, by));
    let corrected = graph.subtract(of_era, fours);
    let corrected = graph.add(corrected, hundreds);
    let corrected = graph.subtract(corrected, last);
    let year_of_era = div(graph, corrected, 365);
    let years = times(graph, year_of_era, 365);
    let (leap, centuries) = (div(graph, year_of_era, 4), div(graph, year_of_era, 100));
    let before = graph.add(years, leap);
    let before = graph.subtract(before, centuries);
    let of_year = graph.subtract(of_era, before);
    let months = times(graph, of_year, 5);
    let months = plus(graph, months, 2);
    let shifted = div(graph, months, 153);
    let before = times(graph, shifted, 153);
    let before = plus(graph, before, 2);
    let before = div(graph, before, 5);
    let day = graph.subtract(of_year, before);
    let day = plus(graph, day, 1);
    let ten = number(graph, 10);
    let is_this_year = graph.less(shifted, ten);
    let (this, next) = (plus(graph, shifted, 3), plus(graph, shifted, -9));
    let month = graph.choose(is_this_year, this, next);
    let year = times(graph, era, 400);
    let year = graph.add(year_of_era, year);
    let next = plus(graph, year, 1);
    let year = graph.choose(is_this_year, year, next);
    (year, month, day)
}

/// A day as pandas writes it into a CSV file.
pub(crate) fn spell_day(days: i64) -> String {
    // Far beyond what any date is parsed from, and no sum overflows.
    let (year, month, day) = civil(days.clamp(-(1 << 40), 1 << 40));
    format!("{year:04}-{month:02}-{day:02}")
}

/// What [`spell_time`] ends with at midnight.
pub(crate) const MIDNIGHT: &str = " 00:00:00";

/// A point in time, so many ticks from the beginning of 1970 on, as pandas writes it into a CSV file, with three, six or nine
/// digits behind the seconds where these are not whole; `is_utc`: with the offset of UTC.
pub(crate) fn spell_time(ticks: i128, ticks_per_second: i64, is_utc: bool) -> String {
    let per_second = i128::from(ticks_per_second);
    let (seconds, rest) = (ticks.div_euclid(per_second), ticks.rem_euclid(per_second));
    let (day, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let day = spell_day(day.clamp(i64::MIN.into(), i64::MAX.into()) as i64);
    let time = spell_clock(of_day * per_second + rest, ticks_per_second);
    format!("{day} {time}{}", if is_utc { "+00:00" } else { "" })
}

/// A time of a day, so many ticks from midnight on.
pub(crate) fn spell_clock(ticks: i128, ticks_per_second: i64) -> String {
    let per_second = i128::from(ticks_per_second);
    let (seconds, rest) = (ticks.div_euclid(per_second), ticks.rem_euclid(per_second));
    let nanoseconds = rest * 1_000_000_000 / per_second;
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = match nanoseconds {
        0 => String::new(),
        _ if nanoseconds % 1_000_000 == 0 => format!(".{:03}", nanoseconds / 1_000_000),
        _ if nanoseconds % 1_000 == 0 => format!(".{:06}", nanoseconds / 1_000),
        _ => format!(".{nanoseconds:09}"),
    };
    format!("{hours:02}:{minutes:02}:{seconds:02}{fraction}")
}

/// What follows a date, and its seconds from midnight on.
fn parse_time(text: &[u8]) -> Option<(Time, f64)> {
    let &[separator @ (b'T' | b' '), a, b, b':', c, d, ref rest @ ..] = text else { return None };
    let (hour, minute) = (digits(&[a, b])?, digits(&[c, d])?);
    let (seconds, has_seconds, zone) = match rest {
        &[b':', a, b, ref rest @ ..] => {
            let whole = digits(&[a, b])?;
            let (fraction, rest) = match rest {
                [b'.', rest @ ..] => {
                    let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    let (digits, rest) = rest.split_at(len);
                    let text = format!("0.{}", str::from_utf8(digits).ok()?);
                    (text.parse::<f64>().ok().filter(|_| (1..=9).contains(&len))?, rest)
                }
                rest => (0.0, rest),
            };
            (f64::from(whole) + fraction, true, rest)
        }
        rest => (0.0, false, rest),
    };
    let zone = match zone {
        [] => Zone::None,
        [b'Z'] => Zone::Utc,
        &[b'+' | b'-', a, b, b':', c, d] | &[b'+' | b'-', a, b, c, d] => {
            (digits(&[a, b])? < 24 && digits(&[c, d])? < 60).then_some(Zone::Offset)?
        }
        _ => return None,
    };
    if hour > 23 || minute > 59 || seconds >= 60.0 {
        return None;
    }
    let separator = char::from(separator);
    let seconds = f64::from(hour * 3600 + minute * 60) + seconds;
    Some((Time { separator, has_seconds, zone }, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_its_midnight_in_either_form() {
        for (form, text, wanted) in [
            ("YYYY-MM-DD", "2024-03-01", true),
            ("YYYY-MM-DD", "2024-03-01 00:00:00", true),
            ("YYYY-MM-DD", "2024-03-01 00:00:01", false),
            ("YYYY-MM-DD", "2024-03-01 00:00:00+00:00", false),
            ("YYYY-MM-DD HH:MM:SS", "2024-03-01", true),
            ("YYYY-MM-DD HH:MM:SS", "2024-03-01T00:00:00", false),
            ("YYYY-MM-DD HH:MM:SS+HH:MM", "2024-03-01", false),
            ("YYYY-MM-DD HH:MM", "2024-03-01", false),
            ("YYYY-MM-DD", "2024-03-01T00:00:00", false),
        ] {
            let (found, seconds) = DateForm::parse(text).unwrap();
            assert_eq!(DateForm::named(form).unwrap().takes(found, seconds), wanted, "{text}");
        }
    }

    /// What `to_csv` of pandas writes.
    #[test]
    fn what_is_spelled_is_parsed_as_the_same() {
        for (ticks, per_second, is_utc, wanted) in [
            (0, 1, false, "1970-01-01 00:00:00"),
            (-1, 1_000, false, "1969-12-31 23:59:59.999"),
            (1_709_296_245_500_000, 1_000_000, false, "2024-03-01 12:30:45.500"),
            (1_709_296_245_000_001, 1_000_000, true, "2024-03-01 12:30:45.000001+00:00"),
            (951_782_400_000_000_001, 1_000_000_000, false, "2000-02-29 00:00:00.000000001"),
            (253_402_300_799, 1, true, "9999-12-31 23:59:59+00:00"),
        ] {
            let spelled = spell_time(ticks, per_second, is_utc);
            assert_eq!(spelled, wanted);
            let (_, seconds) = DateForm::parse(&spelled).unwrap();
            let at = ticks as f64 / per_second as f64;
            assert!((seconds - at).abs() < 1e-6, "{wanted}: {seconds}");
        }
        for (days, wanted) in [(-719_162, "0001-01-01"), (19_783, "2024-03-01")] {
            assert_eq!(spell_day(days), wanted);
            assert_eq!(DateForm::parse(wanted).unwrap().1, days as f64 * 86_400.0);
        }
        for days in [i64::MIN, i64::MAX] {
            assert_eq!(DateForm::parse(&spell_day(days)), None);
        }
        assert_eq!(spell_clock(45_045_250, 1_000), "12:30:45.250");
    }

    #[test]
    fn forms_of_dates_go_both_ways() {
        for (text, form, seconds) in [
            ("1970-01-02", "YYYY-MM-DD", 86_400.0),
            ("1970-01-01T00:01", "YYYY-MM-DDTHH:MM", 60.0),
            ("1970-01-01 01:00:02", "YYYY-MM-DD HH:MM:SS", 3602.0),
            ("1970-01-01 00:00:02.5", "YYYY-MM-DD HH:MM:SS", 2.5),
            ("2000-02-29T12:00:00Z", "YYYY-MM-DDTHH:MM:SSZ", 951_825_600.0),
            ("2000-02-29T12:00:00.000001Z", "YYYY-MM-DDTHH:MM:SSZ", 951_825_600.000_001),
            ("1969-12-31T23:00-05:00", "YYYY-MM-DDTHH:MM+HH:MM", -3600.0),
            ("1969-12-31 23:00:00+0100", "YYYY-MM-DD HH:MM:SS+HH:MM", -3600.0),
        ] {
            let (found, at) = DateForm::parse(text).unwrap();
            assert_eq!((found.to_string().as_str(), at), (form, seconds), "{text}");
            assert_eq!(DateForm::named(form), Some(found));
        }
        for text in [
            "",
            "2024",
            "2024-03",
            "20240301",
            "2024-3-1",
            "2024-13-01",
            "2023-02-29",
            "1900-02-29",
            "2024-04-31",
            "2024-00-01",
            "0000-01-01",
            "2024-01-01T",
            "2024-01-01T24:00",
            "2024-01-01T10:60",
            "2024-01-01T10:00:60",
            "2024-01-01T10",
            "2024-01-01T10:00:00.",
            "2024-01-01x10:00",
            "2024-01-01T10:00+1",
            "2024-01-01T10:00+25:00",
            "2024/01/01",
            "01.02.2024",
            "2024-01-0é",
            "+024-01-01",
        ] {
            assert_eq!(DateForm::parse(text), None, "{text}");
        }
        assert_eq!(DateForm::named("YYYY"), None);
    }
}
