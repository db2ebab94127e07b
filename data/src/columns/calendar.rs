//! The calendar: days and times from their parts and back, and as pandas writes them. Knows no table, and no other way to write
//! a date.

use lockstep_graph::{Graph, Value};

/// Days from the beginning of 1970: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
pub(crate) fn days(year: u32, month: u32, day: u32) -> Option<i64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_spelled_as_pandas_does() {
        assert_eq!(spell_clock(45_045_250, 1_000), "12:30:45.250");
        assert_eq!(spell_clock(0, 1), "00:00:00");
    }
}
