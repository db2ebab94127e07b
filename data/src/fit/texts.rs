//! What the training rows teach columns of categories and of dates. Reads no file.

use crate::columns::{
    Column, ColumnEncoder, ColumnKind, ColumnOverride, ColumnSettings, Missing, Reading, Scale,
    Seen, one_hot,
};
use crate::error::{DataError, column_key, count, quote};
use crate::infer::Found;
use crate::raw::RawTable;
use crate::spec::TableSpec;
use crate::summary::TextSummary;

/// Most categories that become an input each where the job does not say.
pub(crate) const ONE_HOT_MAX: usize = 16;

/// Greatest dimension of an embedding where the job does not say.
const DIMENSION_MAX: usize = 50;

/// Fits a feature of texts.
pub(crate) fn fit(
    raw: &RawTable,
    seen: &TextSummary,
    found: Found,
    spec: &TableSpec,
) -> Result<Column, DataError> {
    let said = spec.columns.get(&seen.name).copied().unwrap_or_default();
    let missing = spec.missing_of_text(&seen.name, found.kind);
    let fault = |problem: String| Err(DataError::Column { name: seen.name.clone(), problem });
    if said.indicator && !missing.fills() && missing != Missing::Category {
        return fault(format!(
            "found `indicator = true` with `missing = \"{missing}\"`, wanted a rule that fills; take one of them out"
        ));
    }
    match found.reading {
        Reading::Categories(ref categories) => {
            if let Some(rule) = said.missing.filter(|rule| rule.fills()) {
                return fault(format!(
                    "found `missing = \"{rule}\"` for a column of categories, wanted \"category\", \"error\" or \"drop\""
                ));
            }
            let places =
                categories.len() + usize::from(found.missing > 0 && missing == Missing::Category);
            let scale = encoder(&said, places);
            if scale == Scale::ONE_HOT && places > one_hot::OUTPUTS_MAX {
                return fault(format!(
                    "found {}, wanted at most {} for \"one_hot\"; set `encoder = \"embedding\"`",
                    count(places as u64, "category"),
                    one_hot::OUTPUTS_MAX
                ));
            }
            let is_own = places > categories.len();
            let fill =
                (missing == Missing::Category).then_some(if is_own { places as f64 } else { 0.0 });
            let settings = ColumnSettings { scale, missing, indicator: said.indicator };
            let ends = Seen { min: 1.0, max: places as f64, values: &[] };
            let column = Column::new(seen.name.clone(), settings, fill, scale.fit(&ends));
            Ok(column.reading(found.reading))
        }
        Reading::Dates(_) | Reading::Numbers => date(raw, seen, found, missing, said.indicator),
    }
}

/// What categories become.
fn encoder(said: &ColumnOverride, places: usize) -> Scale {
    let dimension = said.dimension;
    let is_embedded = match said.encoder {
        Some(ColumnEncoder::OneHot) => false,
        Some(ColumnEncoder::Embedding) => true,
        _ => dimension.is_some() || said.trainable.is_some() || places > ONE_HOT_MAX,
    };
    match is_embedded {
        true => Scale::embedding(dimension.unwrap_or(DIMENSION_MAX.min(places.div_ceil(2)))),
        false => Scale::ONE_HOT,
    }
}

fn date(
    raw: &RawTable,
    seen: &TextSummary,
    found: Found,
    missing: Missing,
    indicator: bool,
) -> Result<Column, DataError> {
    let mut seconds = found.seconds;
    if seconds.is_empty() {
        let problem = format!(
            "feature {} has no date in any training row; leave it out of `data.features`",
            quote(seen.name.as_bytes())
        );
        return Err(DataError::table(raw.path(), problem));
    }
    if let Missing::Constant(number) = missing
        && !(-LATEST..LATEST).contains(&number)
    {
        let problem = format!(
            "found a constant of {number}, wanted seconds from 1970 on, of a year up to 9999"
        );
        return Err(DataError::Column {
            name: format!("{}.missing", column_key(&seen.name)),
            problem,
        });
    }
    let mean = seconds.iter().fold(0.0, |sum, at| sum + at) / seconds.len() as f64;
    let fill = missing.fill(mean, || seconds.clone());
    if let Some(fill) = fill {
        seconds.extend(std::iter::repeat_n(fill, found.missing as usize));
    }
    let settings = ColumnSettings { scale: Scale::DATE, missing, indicator };
    let fitted = Scale::DATE.fit(&Seen::of(&seconds));
    debug_assert_eq!(found.kind, ColumnKind::Date);
    Ok(Column::new(seen.name.clone(), settings, fill, fitted).reading(found.reading))
}

/// The end of the year 9999, in seconds from 1970 on.
const LATEST: f64 = 253_402_300_800.0;
