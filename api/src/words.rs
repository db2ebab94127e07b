//! From the words of job files and of the command line to those of the Rust API. What is set has the same name in both, so that of a
//! key only its section goes, and what is assigned becomes a call.

/// Sections of a job file, the longest first.
const SECTIONS: [&str; 8] = [
    "data.columns.",
    "data.",
    "train.optimizer.",
    "train.",
    "model.",
    "cluster.",
    "checkpoint.",
    "journal.",
];

/// Advice for those who use the program, and what it is here.
const ADVICE: [(&str, &str); 11] = [
    ("`train.batch_size` is not set, and its default, ", "batch_size, as set or by default, is "),
    (
        ", is more than the training table has: set it to at most ",
        ", wanted at most the rows of the table: ",
    ),
    (": start it with --no-shared-memory", ""),
    (
        "a coordinator that was started with --insecure (then give --coordinator HOST:PORT --insecure), or another program",
        "a coordinator without encryption, or another program",
    ),
    (
        ": if that is a coordinator, it was started with --tls-cert, and workers need --tls-ca with the certificate of its authority",
        ": if that is a coordinator, it is one for workers with certificates, which are started from the command line",
    ),
    (
        ": a coordinator that was started without --tls-cert is joined by its line alone, without --tls-ca",
        "",
    ),
    (
        "workers need a certificate: give --tls-cert and --tls-key",
        "workers need a certificate there: they are started from the command line",
    ),
    (" or --run-id", ""),
    ("; continue with --resume", ""),
    (
        "remove it, or choose another with --out",
        "remove it, choose another run_folder, or resume it",
    ),
    (": --resume continues there", ": a fit that resumes continues there"),
];

/// The text in the words of the Rust API.
pub(crate) fn in_rust(text: &str) -> String {
    let mut text = text.to_string();
    for (theirs, ours) in ADVICE {
        text = text.replace(theirs, ours);
    }
    // Every second part stands in backticks, unless one of them has no partner.
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return text;
    }
    let part = |(place, part): (usize, &&str)| match place % 2 {
        0 => part.to_string(),
        _ => format!("`{}`", code(part)),
    };
    parts.iter().enumerate().map(part).collect()
}

/// What stands in backticks.
fn code(text: &str) -> String {
    match text {
        "--labels" => return "Table::read_pair".to_string(),
        "data.columns" => return "column".to_string(),
        "data.image" => return "take_images".to_string(),
        "data.validation" => return "validation_split".to_string(),
        "train.optimizer.learning_rate" => return "learning_rate".to_string(),
        _ if text.starts_with("lockstep worker") => return "Worker::new(join_line)".to_string(),
        _ => {}
    }
    let key = SECTIONS.iter().find_map(|section| text.strip_prefix(section)).unwrap_or(text);
    let Some((name, value)) = key.split_once(" = ") else { return key.to_string() };
    let plain = value.trim_matches('"');
    match (name, value) {
        ("missing", _) => format!("missing(Missing::{})", capitalized(plain)),
        ("scale", "{ divide = 255 }") => {
            "scale(Scale::with_parameter(\"divide\", 255.0))".to_string()
        }
        ("scale", _) => format!("scale(Scale::named({value}))"),
        ("kind", "\"number\"") => "Column::number()".to_string(),
        ("kind", "\"date\"") => "Column::date()".to_string(),
        ("kind", _) => "Column::one_hot()".to_string(),
        (_, "{ order = \"day_first\" }") => "Column::date().order(DateOrder::DayFirst)".to_string(),
        (_, "{ order = \"month_first\" }") => {
            "Column::date().order(DateOrder::MonthFirst)".to_string()
        }
        ("encoder", _) => "Column::embedding(dimension)".to_string(),
        ("indicator", _) => "indicator()".to_string(),
        (column, "{ kind = \"category\" }") => format!("column({column:?}, Column::one_hot())"),
        (name, value) => format!("{name}({value})"),
    }
}

fn capitalized(word: &str) -> String {
    let (first, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
    first.to_uppercase() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_names_of_methods() {
        for (theirs, ours) in [
            ("`train.class_weights`: found \"2\"", "`class_weights`: found \"2\""),
            ("give another `data.target`", "give another `target`"),
            ("set `data.missing` to \"mean\"", "set `missing` to \"mean\""),
            ("so `data.missing = \"drop\"` leaves none", "so `missing(Missing::Drop)` leaves none"),
            ("leave out `data.stratify = false`", "leave out `stratify(false)`"),
            ("set `kind = \"number\"`", "set `Column::number()`"),
            (
                "set `data.columns.c = { kind = \"category\" }`",
                "set `column(\"c\", Column::one_hot())`",
            ),
            (
                "give the labels' file with `--labels`",
                "give the labels' file with `Table::read_pair`",
            ),
            (
                "`train.batch_size` is not set, and its default, 32, is more than the training table has: set it to at most 9 rows",
                "batch_size, as set or by default, is 32, wanted at most the rows of the table: 9 rows",
            ),
            ("a ` alone", "a ` alone"),
            ("layer 1: `rate`: found 1", "layer 1: `rate`: found 1"),
        ] {
            assert_eq!(in_rust(theirs), ours);
        }
    }
}
