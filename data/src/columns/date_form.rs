//! Dates as texts, in one of the forms in which people and programs write them. An offset from UTC is not applied: what counts
//! is the clock on the wall. Knows no table.

use std::fmt;

use lockstep_parameters::choices;

use super::calendar::days;

/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// How a date is written. A column has one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DateForm {
    order: Order,
    separator: char,
    time: Option<Time>,
}

/// In which order year, month and day stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Order {
    Year,
    Day,
    Month,
    /// The day or the month first: the date does not tell.
    DayOrMonth,
}

/// Whether the day or the month comes first where the year comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateOrder {
    /// The day, as in `31/12/2024`.
    DayFirst,
    /// The month, as in `12/31/2024`.
    MonthFirst,
}

choices!(DateOrder {
    "day_first" => DayFirst,
    "month_first" => MonthFirst,
});

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

/// A date, apart from which of its first two numbers is the day where that cannot be told.
struct Parts {
    form: DateForm,
    numbers: [u32; 3],
    /// Seconds from midnight on.
    seconds: f64,
}

impl DateForm {
    /// The form of a date; `None` for what is no date.
    pub(crate) fn of(text: &str) -> Option<DateForm> {
        parse(text).map(|parts| parts.form)
    }

    /// The seconds from the beginning of 1970 of a date in this form, or in one that is as good; `None` for any other text.
    pub(crate) fn seconds(self, text: &str) -> Option<f64> {
        let Parts { form, numbers: [one, two, three], seconds } = parse(text)?;
        if !self.covers(form) && !self.takes(form, seconds) {
            return None;
        }
        let days = match self.order {
            Order::Year => days(one, two, three),
            Order::Month => days(three, one, two),
            Order::Day | Order::DayOrMonth => days(three, two, one),
        };
        Some(days? as f64 * DAY + seconds)
    }

    /// Whether a date of that form is one of this: it may be both, where it does not tell the day from the month.
    pub(crate) fn covers(self, found: DateForm) -> bool {
        self == found
            || found.is_ambiguous()
                && matches!(self.order, Order::Day | Order::Month)
                && self == DateForm { order: self.order, ..found }
    }

    /// Whether its dates do not tell the day from the month.
    pub(crate) fn is_ambiguous(self) -> bool {
        self.order == Order::DayOrMonth
    }

    /// The same with this order, where it is one of two.
    pub(crate) fn ordered(self, order: DateOrder) -> DateForm {
        let order = match order {
            DateOrder::DayFirst => Order::Day,
            DateOrder::MonthFirst => Order::Month,
        };
        if self.is_ambiguous() { DateForm { order, ..self } } else { self }
    }

    /// Whether the day or the month comes first, where others may have it the other way round.
    pub(crate) fn order(self) -> Option<DateOrder> {
        match self.order {
            Order::Day if self.separator != '.' => Some(DateOrder::DayFirst),
            Order::Month => Some(DateOrder::MonthFirst),
            Order::Year | Order::Day | Order::DayOrMonth => None,
        }
    }

    /// The forms of a column's dates with the cells of each, the most frequent first. Dates that do not tell the day from the
    /// month are of the form of others that do, if these are of one.
    pub(crate) fn together(found: impl Iterator<Item = (DateForm, u64)>) -> Vec<(DateForm, u64)> {
        let mut forms: Vec<(DateForm, u64)> = Vec::new();
        for (form, cells) in found {
            match forms.iter_mut().find(|(other, _)| *other == form) {
                Some((_, all)) => *all += cells,
                None => forms.push((form, cells)),
            }
        }
        let open: Vec<(DateForm, u64)> =
            forms.iter().filter(|(form, _)| form.is_ambiguous()).copied().collect();
        for (form, cells) in open {
            let is_other = |(other, _): &&mut (DateForm, u64)| *other != form && other.covers(form);
            let mut others = forms.iter_mut().filter(is_other);
            if let (Some((_, all)), None) = (others.next(), others.next()) {
                *all += cells;
                forms.retain(|(other, _)| *other != form);
            }
        }
        forms.sort_by_key(|(form, cells)| (std::cmp::Reverse(*cells), form.to_string()));
        forms
    }

    /// Whether a date of another form is as good as one of this: pandas leaves out the time where all of a table's are
    /// midnight, so that a day is as good as its midnight where times are written as pandas does.
    fn takes(self, found: DateForm, seconds: f64) -> bool {
        let pandas = Time { separator: ' ', has_seconds: true, zone: Zone::None };
        let is_pandas = |form: DateForm| form.is_iso() && form.time == Some(pandas);
        let is_day = |form: DateForm| form.is_iso() && form.time.is_none();
        is_pandas(self) && is_day(found) || is_day(self) && is_pandas(found) && seconds == 0.0
    }

    fn is_iso(self) -> bool {
        self.order == Order::Year && self.separator == '-'
    }

    /// The form that is written so; `None` if there is none.
    pub(crate) fn named(name: &str) -> Option<DateForm> {
        let times = ['T', ' '].into_iter().flat_map(|separator| {
            [false, true].into_iter().flat_map(move |has_seconds| {
                [Zone::None, Zone::Utc, Zone::Offset]
                    .map(|zone| Some(Time { separator, has_seconds, zone }))
            })
        });
        let mut forms = std::iter::once(None).chain(times).flat_map(|time| {
            [Order::Year, Order::Day, Order::Month].into_iter().flat_map(move |order| {
                ['-', '/', '.'].map(|separator| DateForm { order, separator, time })
            })
        });
        forms.find(|form| form.to_string() == name)
    }
}

impl fmt::Display for DateForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DateForm { order, separator: s, time } = self;
        match order {
            Order::Year => write!(f, "YYYY{s}MM{s}DD")?,
            Order::Day => write!(f, "DD{s}MM{s}YYYY")?,
            Order::Month => write!(f, "MM{s}DD{s}YYYY")?,
            Order::DayOrMonth => write!(f, "DD{s}MM{s}YYYY or MM{s}DD{s}YYYY")?,
        }
        let Some(Time { separator, has_seconds, zone }) = time else { return Ok(()) };
        let seconds = if *has_seconds { ":SS" } else { "" };
        let zone = match zone {
            Zone::None => "",
            Zone::Utc => "Z",
            Zone::Offset => "+HH:MM",
        };
        write!(f, "{separator}HH:MM{seconds}{zone}")
    }
}

fn parse(text: &str) -> Option<Parts> {
    let (Day { separator, lens, numbers }, rest) = parse_day(text.as_bytes())?;
    let [one, two, three] = numbers;
    let is_short = |len| (1..=2).contains(&len);
    let order = match lens {
        // ISO 8601 has two digits for months and days.
        [4, month, day]
            if month == 2 && day == 2 || separator != '-' && is_short(month) && is_short(day) =>
        {
            days(one, two, three).map(|_| Order::Year)?
        }
        [first, second, 4] if is_short(first) && is_short(second) => {
            let is_day_first = days(three, two, one).is_some();
            // Nobody writes the month first with points.
            let is_month_first = separator != '.' && days(three, one, two).is_some();
            match (is_day_first, is_month_first) {
                (true, true) => Order::DayOrMonth,
                (true, false) => Order::Day,
                (false, true) => Order::Month,
                (false, false) => return None,
            }
        }
        _ => return None,
    };
    let is_iso = order == Order::Year && separator == '-';
    let (time, seconds) = match rest {
        [] => (None, 0.0),
        rest => parse_time(rest, is_iso).map(|(time, seconds)| (Some(time), seconds))?,
    };
    Some(Parts { form: DateForm { order, separator, time }, numbers, seconds })
}

/// Three numbers with a separator between them.
struct Day {
    separator: char,
    /// Digits of each.
    lens: [usize; 3],
    numbers: [u32; 3],
}

/// The day that a text begins with, and what follows.
fn parse_day(text: &[u8]) -> Option<(Day, &[u8])> {
    let (one, first, rest) = number(text)?;
    let (&separator, rest) = rest.split_first().filter(|(byte, _)| b"-/.".contains(byte))?;
    let (two, second, rest) = number(rest)?;
    let (three, third, rest) = number(rest.strip_prefix(&[separator])?)?;
    let (lens, numbers) = ([first, second, third], [one, two, three]);
    Some((Day { separator: char::from(separator), lens, numbers }, rest))
}

/// The whole number of at most four digits that a text begins with, its digits, and what follows.
fn number(text: &[u8]) -> Option<(u32, usize, &[u8])> {
    let len = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(len);
    Some((digits(number).filter(|_| (1..=4).contains(&len))?, len, rest))
}

fn digits(text: &[u8]) -> Option<u32> {
    let digit = |number: u32, byte: &u8| Some(number * 10 + char::from(*byte).to_digit(10)?);
    text.iter().try_fold(0, digit)
}

/// What follows a date, and its seconds from midnight on. An hour has two digits, or where dates are not ISO's, one may do.
fn parse_time(text: &[u8], is_iso: bool) -> Option<(Time, f64)> {
    let (&separator, text) = text.split_first().filter(|(byte, _)| b"T ".contains(byte))?;
    let (hour, len, rest) = number(text).filter(|(_, len, _)| *len == 2 || *len == 1 && !is_iso)?;
    debug_assert!(len <= 2);
    let &[b':', c, d, ref rest @ ..] = rest else { return None };
    let minute = digits(&[c, d])?;
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
    let seconds = f64::from(hour * 3600 + minute * 60) + seconds;
    Some((Time { separator: char::from(separator), has_seconds, zone }, seconds))
}

#[cfg(test)]
mod tests;
