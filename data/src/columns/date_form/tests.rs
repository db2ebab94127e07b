//! Texts to dates, and which of several forms a column has.

use super::*;
use crate::columns::calendar::{spell_day, spell_time};

/// The form of a date, and its seconds by that form.
fn read(text: &str) -> Option<(DateForm, f64)> {
    let form = DateForm::of(text)?;
    Some((form, form.seconds(text)?))
}

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
        ("YYYY-MM-DD", "2024/03/01", false),
        ("YYYY/MM/DD", "2024/03/01 00:00:00", false),
        ("DD/MM/YYYY", "01/03/2024", true),
        ("MM/DD/YYYY", "03/01/2024", true),
        ("MM/DD/YYYY", "03-01-2024", false),
    ] {
        let found = DateForm::named(form).unwrap().seconds(text);
        assert_eq!(found, wanted.then_some(1_709_251_200.0), "{form}: {text}");
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
        let (_, seconds) = read(&spelled).unwrap();
        let at = ticks as f64 / per_second as f64;
        assert!((seconds - at).abs() < 1e-6, "{wanted}: {seconds}");
    }
    for (days, wanted) in [(-719_162, "0001-01-01"), (19_783, "2024-03-01")] {
        assert_eq!(spell_day(days), wanted);
        assert_eq!(read(wanted).unwrap().1, days as f64 * DAY);
    }
    for days in [i64::MIN, i64::MAX] {
        assert_eq!(read(&spell_day(days)), None);
    }
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
        ("1970/01/02", "YYYY/MM/DD", 86_400.0),
        ("1970/1/2", "YYYY/MM/DD", 86_400.0),
        ("1970.01.02", "YYYY.MM.DD", 86_400.0),
        ("1970/01/01 00:01", "YYYY/MM/DD HH:MM", 60.0),
        ("14.01.1970", "DD.MM.YYYY", 13.0 * DAY),
        ("1.1.1970 7:30", "DD.MM.YYYY HH:MM", 27_000.0),
        ("14/01/1970", "DD/MM/YYYY", 13.0 * DAY),
        ("1/14/1970", "MM/DD/YYYY", 13.0 * DAY),
        ("01-14-1970", "MM-DD-YYYY", 13.0 * DAY),
        ("01/14/1970 00:00:01.5Z", "MM/DD/YYYY HH:MM:SSZ", 13.0 * DAY + 1.5),
    ] {
        let (found, at) = read(text).unwrap();
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
        "2024-01-01T1:00",
        "2024-01-01T10:00:00.",
        "2024-01-01x10:00",
        "2024-01-01T10:00+1",
        "2024-01-01T10:00+25:00",
        "2024-01/01",
        "2024/13/01",
        "13/13/2024",
        "30.02.2024",
        "01.13.2024",
        "1/2/24",
        "01/02/20245",
        "1/2/2024 123:00",
        "1.2.3",
        "2024-01-0é",
        "+024-01-01",
    ] {
        assert_eq!(read(text), None, "{text}");
    }
    assert_eq!(DateForm::named("YYYY"), None);
}

#[test]
fn a_column_tells_the_day_from_the_month_or_does_not() {
    let of = |texts: &[&str]| {
        let forms = texts.iter().map(|text| (DateForm::of(text).unwrap(), 1));
        let together = DateForm::together(forms).into_iter();
        together.map(|(form, cells)| (form.to_string(), cells)).collect::<Vec<_>>()
    };
    let form = |name: &str, cells| (name.to_owned(), cells);
    assert_eq!(of(&["01/02/2024", "13/02/2024"]), [form("DD/MM/YYYY", 2)]);
    assert_eq!(of(&["01/02/2024", "2/13/2024"]), [form("MM/DD/YYYY", 2)]);
    assert_eq!(of(&["01/02/2024", "3/4/2024"]), [form("DD/MM/YYYY or MM/DD/YYYY", 2)]);
    assert_eq!(of(&["01.02.2024", "3.4.2024"]), [form("DD.MM.YYYY", 2)]);
    assert_eq!(of(&["01/02/2024", "13-02-2024"]).len(), 2);
    assert_eq!(of(&["01/02/2024", "13/02/2024", "2/13/2024"]).len(), 3);
    assert_eq!(of(&["01/02/2024 10:00", "13/02/2024"]).len(), 2);
    let open = DateForm::of("01/02/2024").unwrap();
    let (day, month) = (open.ordered(DateOrder::DayFirst), open.ordered(DateOrder::MonthFirst));
    assert_eq!(day.seconds("01/02/2024"), read("2024-02-01").map(|(_, at)| at));
    assert_eq!(month.seconds("01/02/2024"), read("2024-01-02").map(|(_, at)| at));
    assert_eq!((day.seconds("02/13/2024"), month.seconds("13/02/2024")), (None, None));
    assert_eq!(
        (day.order(), month.order()),
        (Some(DateOrder::DayFirst), Some(DateOrder::MonthFirst))
    );
}
