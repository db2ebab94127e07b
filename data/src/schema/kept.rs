//! A schema as a model keeps it, in one of two forms, and whether what comes out of a file is one: later code believes it.
//! Reads no file itself.
//!
//! The first form says once for all features what is done to them, as all versions read it, and is written wherever it says
//! enough. The other, of columns, says it of each.

use serde::{Deserialize, Serialize};

use super::{Cells, Schema};
use crate::columns::{
    Back, Column, ColumnKind, KeptColumn, Missing, Scale, Scaling, State, StateValue,
};
use crate::dialect::Dialect;
use crate::error::DataError;
use crate::spec::TargetKind;

/// Scales that the first form knows.
const FIRST_SCALES: [&str; 4] = ["none", "standard", "minmax", "divide"];

/// A schema on its way into a file.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Kept {
    First(FirstForm),
    Columns(ColumnsForm),
}

#[derive(Serialize)]
pub(crate) struct FirstForm {
    features: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Vec<usize>>,
    targets: Vec<String>,
    kind: TargetKind,
    labels: Option<Vec<Vec<String>>>,
    scale: Scale,
    scaling: Option<Vec<Scaling>>,
    missing: Missing,
    fill: Option<Vec<f64>>,
    cells: Cells,
    #[serde(skip_serializing_if = "is_default")]
    dialect: Dialect,
}

#[derive(Serialize)]
pub(crate) struct ColumnsForm {
    columns: Vec<KeptColumn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Vec<usize>>,
    target_columns: Vec<KeptColumn>,
    kind: TargetKind,
    labels: Option<Vec<Vec<String>>>,
    cells: Cells,
    #[serde(skip_serializing_if = "is_default")]
    dialect: Dialect,
}

fn is_default(dialect: &Dialect) -> bool {
    *dialect == Dialect::default()
}

fn names(columns: &[Column]) -> Vec<String> {
    columns.iter().map(|column| column.name().to_owned()).collect()
}

/// The first form of a schema, if that says enough.
pub(crate) fn first_form(schema: &Schema) -> Option<FirstForm> {
    let common = schema.features.first()?.settings();
    let (scale, missing) = (common.scale, common.missing);
    let is_common = |column: &Column| column.settings() == common;
    let is_known = FIRST_SCALES.contains(&scale.name())
        && matches!(missing, Missing::Error | Missing::Mean | Missing::Drop)
        && !common.indicator;
    let missing_target = if missing == Missing::Drop { Missing::Drop } else { Missing::Error };
    let is_plain = |target: &Column| *target == Column::as_it_is(target.name(), missing_target);
    let says_enough =
        is_known && schema.features.iter().all(is_common) && schema.targets.iter().all(is_plain);
    if !says_enough {
        return None;
    }
    let scaling = |column: &Column| match column.back()? {
        Back::Affine(scaling) => Some(scaling),
        Back::Expm1 => None,
    };
    let scaling = match scale == Scale::NONE {
        true => None,
        false => Some(schema.features.iter().map(scaling).collect::<Option<_>>()?),
    };
    let fill = match missing {
        Missing::Mean => Some(schema.features.iter().map(Column::fill).collect::<Option<_>>()?),
        _ => None,
    };
    Some(FirstForm {
        features: names(&schema.features),
        image: schema.image.clone(),
        targets: names(&schema.targets),
        kind: schema.kind,
        labels: schema.labels.clone(),
        scale,
        scaling,
        missing,
        fill,
        cells: schema.cells,
        dialect: schema.dialect.clone(),
    })
}

impl From<Schema> for Kept {
    fn from(schema: Schema) -> Kept {
        if let Some(first) = first_form(&schema) {
            return Kept::First(first);
        }
        let Schema { features, image, targets, kind, labels, cells, dialect } = schema;
        let columns = |all: Vec<Column>| all.iter().map(KeptColumn::from).collect();
        let (columns, target_columns) = (columns(features), columns(targets));
        Kept::Columns(ColumnsForm { columns, image, target_columns, kind, labels, cells, dialect })
    }
}

/// A schema of either form as it comes out of a file.
#[derive(Deserialize)]
pub(crate) struct Found {
    columns: Option<Vec<KeptColumn>>,
    target_columns: Option<Vec<KeptColumn>>,
    features: Option<Vec<String>>,
    targets: Option<Vec<String>>,
    image: Option<Vec<usize>>,
    kind: TargetKind,
    labels: Option<Vec<Vec<String>>>,
    scale: Option<Scale>,
    scaling: Option<Vec<Scaling>>,
    missing: Option<Missing>,
    fill: Option<Vec<f64>>,
    #[serde(default)]
    cells: Cells,
    #[serde(default)]
    dialect: Dialect,
}

impl TryFrom<Found> for Schema {
    type Error = DataError;

    fn try_from(found: Found) -> Result<Schema, DataError> {
        let (kind, labels, image) = (found.kind, found.labels.clone(), found.image.clone());
        let (cells, dialect) = (found.cells, found.dialect.clone());
        let (features, targets) = match (&found.columns, &found.target_columns) {
            (None, None) => found.first_columns(),
            _ => found.columns(),
        }
        .map_err(DataError::Schema)?;
        let fault = |problem: &str| Err(DataError::Schema(problem.to_owned()));
        if features.is_empty() || targets.is_empty() {
            return fault("found no feature or no target, wanted at least one of each");
        }
        if dialect.problem().is_some() {
            return fault("no CSV file has this delimiter or quote");
        }
        if !labels_fit(kind, labels.as_deref(), targets.len()) {
            return fault("the labels do not fit the targets");
        }
        let is_target = |target: &Column| {
            let settings = target.settings();
            let is_scaled = settings.scale != Scale::NONE;
            !settings.missing.fills()
                && target.kind() == ColumnKind::Number
                && target.width() == 1
                && target.back().is_some()
                && !(is_scaled && kind != TargetKind::Numbers)
        };
        if !targets.iter().all(is_target) {
            return fault("found a target that is filled, or scaled as no target can be");
        }
        Ok(Schema { features, image, targets, kind, labels, cells, dialect })
    }
}

fn labels_fit(kind: TargetKind, labels: Option<&[Vec<String>]>, targets: usize) -> bool {
    match (kind, labels) {
        (TargetKind::Numbers, None) => true,
        (TargetKind::Numbers, Some(_)) | (_, None) => false,
        (TargetKind::Classes { outputs }, Some(labels)) => {
            targets == 1 && labels.len() == 1 && labels[0].len() == outputs
        }
        (TargetKind::Binary { outputs }, Some(labels)) => {
            targets == outputs
                && labels.len() == outputs
                && labels.iter().all(|labels| labels.len() == 2)
        }
    }
}

type Columns = (Vec<Column>, Vec<Column>);

impl Found {
    /// Features and targets of the form of columns.
    fn columns(self) -> Result<Columns, String> {
        let is_mixed = self.features.is_some()
            || self.targets.is_some()
            || self.scale.is_some()
            || self.missing.is_some();
        let (Some(features), Some(targets), false) = (self.columns, self.target_columns, is_mixed)
        else {
            return Err("found parts of two forms, wanted one".to_owned());
        };
        let restore = |all: Vec<KeptColumn>| -> Result<Vec<Column>, String> {
            all.into_iter().map(KeptColumn::restore).collect()
        };
        Ok((restore(features)?, restore(targets)?))
    }

    /// Features and targets of the first form.
    fn first_columns(mut self) -> Result<Columns, String> {
        if self.cells == Cells::F32 {
            self.round();
        }
        let (Some(features), Some(targets), Some(scale), Some(missing)) =
            (self.features, self.targets, self.scale, self.missing)
        else {
            return Err("found no features, targets, scale or rule for missing cells".to_owned());
        };
        let (scaling, fill) = (self.scaling, self.fill);
        let scaling_fits = match &scaling {
            None => scale == Scale::NONE,
            Some(all) => scale != Scale::NONE && all.len() == features.len(),
        };
        if !scaling_fits {
            return Err("the scaling does not fit the features".to_owned());
        }
        let fill_fits = fill.as_ref().map_or(missing != Missing::Mean, |all| {
            missing == Missing::Mean && all.len() == features.len()
        });
        if !fill_fits {
            return Err("the fill values do not fit the features".to_owned());
        }
        let feature = |(at, name): (usize, String)| {
            let state = |Scaling { offset, divisor }| -> State {
                let number =
                    |(name, number): (&str, f64)| (name.to_owned(), StateValue::Number(number));
                [("offset", offset), ("divisor", divisor)].map(number).into()
            };
            let fitted = scaling.as_ref().map_or_else(State::new, |all| state(all[at]));
            let fill = fill.as_ref().map(|all| all[at]);
            let (kind, categories, form, indicator) = (None, None, None, false);
            let kept = KeptColumn {
                name,
                kind,
                categories,
                form,
                scale,
                fitted,
                missing,
                fill,
                indicator,
            };
            kept.restore()
        };
        let features = features.into_iter().enumerate().map(feature).collect::<Result<_, _>>()?;
        let missing_target = if missing == Missing::Drop { Missing::Drop } else { Missing::Error };
        let target = |name: String| Column::as_it_is(name, missing_target);
        Ok((features, targets.into_iter().map(target).collect()))
    }

    /// The first version kept numbers as f32.
    fn round(&mut self) {
        let round = |number: &mut f64| *number = f64::from(*number as f32);
        if let Some(scale) = &mut self.scale
            && let Some(number) = scale.parameter()
        {
            // What does not fit when it is rounded does not fit its scaling either.
            let rounded = f64::from(number as f32);
            *scale = Scale::with_parameter(scale.name(), rounded).unwrap_or(Scale::NONE);
        }
        for scaling in self.scaling.iter_mut().flatten() {
            round(&mut scaling.offset);
            round(&mut scaling.divisor);
        }
        self.fill.iter_mut().flatten().for_each(round);
    }
}
