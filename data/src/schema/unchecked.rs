//! A schema as it comes out of a file, and whether it is one: later code believes it. Reads no file itself.

use serde::Deserialize;

use super::{Cells, Scaling, Schema};
use crate::dialect::Dialect;
use crate::error::DataError;
use crate::spec::{Missing, Scale, TargetKind};

/// A schema as it comes out of a file.
#[derive(Deserialize)]
pub(crate) struct Unchecked {
    features: Vec<String>,
    image: Option<Vec<usize>>,
    targets: Vec<String>,
    kind: TargetKind,
    labels: Option<Vec<Vec<String>>>,
    scale: Scale,
    scaling: Option<Vec<Scaling>>,
    missing: Missing,
    fill: Option<Vec<f64>>,
    #[serde(default)]
    cells: Cells,
    #[serde(default)]
    dialect: Dialect,
}

impl Unchecked {
    /// The first version kept numbers as f32.
    fn round(&mut self) {
        let round = |number: &mut f64| *number = f64::from(*number as f32);
        if let Scale::Divide(divisor) = &mut self.scale {
            round(divisor);
        }
        for scaling in self.scaling.iter_mut().flatten() {
            round(&mut scaling.offset);
            round(&mut scaling.divisor);
        }
        self.fill.iter_mut().flatten().for_each(round);
    }
}

impl TryFrom<Unchecked> for Schema {
    type Error = DataError;

    fn try_from(mut found: Unchecked) -> Result<Schema, DataError> {
        let fault = |problem: &str| Err(DataError::Schema(problem.to_owned()));
        if found.cells == Cells::F32 {
            found.round();
        }
        let Unchecked { features, image, targets, kind, labels, .. } = found;
        let Unchecked { scale, scaling, missing, fill, cells, dialect, .. } = found;
        if features.is_empty() || targets.is_empty() {
            return fault("found no feature or no target, wanted at least one of each");
        }
        if dialect.problem().is_some() {
            return fault("no CSV file has this delimiter or quote");
        }
        let counts = match (kind, &labels) {
            (TargetKind::Numbers, None) => true,
            (TargetKind::Numbers, Some(_)) | (_, None) => false,
            (TargetKind::Classes { outputs }, Some(labels)) => {
                targets.len() == 1 && labels.len() == 1 && labels[0].len() == outputs
            }
            (TargetKind::Binary { outputs }, Some(labels)) => {
                targets.len() == outputs
                    && labels.len() == outputs
                    && labels.iter().all(|labels| labels.len() == 2)
            }
        };
        if !counts {
            return fault("the labels do not fit the targets");
        }
        let is_scaling = |scaling: &Scaling| {
            scaling.offset.is_finite() && scaling.divisor.is_finite() && scaling.divisor > 0.0
        };
        let scaling_fits = match &scaling {
            None => scale == Scale::None,
            Some(all) => {
                let fits = |scaling: &Scaling| match scale {
                    Scale::None => false,
                    Scale::Standard | Scale::MinMax => true,
                    Scale::Divide(divisor) => *scaling == Scaling { offset: 0.0, divisor },
                };
                let mut each = all.iter();
                all.len() == features.len() && each.all(|one| is_scaling(one) && fits(one))
            }
        };
        if !scaling_fits {
            return fault("the scaling does not fit the features");
        }
        let fill_fits = match &fill {
            None => missing != Missing::Mean,
            Some(all) => {
                missing == Missing::Mean
                    && all.len() == features.len()
                    && all.iter().all(|value| value.is_finite())
            }
        };
        if !fill_fits {
            return fault("the fill values do not fit the features");
        }
        Ok(Schema {
            features,
            image,
            targets,
            kind,
            labels,
            scale,
            scaling,
            missing,
            fill,
            cells,
            dialect,
        })
    }
}
