//! Which rows a job's fractions take: each class its share where targets are classes. Says which classes have too few
//! rows for that. The drawing itself is in `split`.

use std::collections::{BTreeMap, HashMap};

use crate::error::{DataError, count, list, quote};
use crate::labels;
use crate::raw::RawTable;
use crate::spec::{TableSource, TableSpec};
use crate::split::{Pool, SplitPart};

/// The rows of each table, all of them the training file's.
pub(crate) struct Split {
    pub(crate) train: Vec<u32>,
    pub(crate) validation: Option<Vec<u32>>,
    pub(crate) test: Option<Vec<u32>>,
    pub(crate) warnings: Vec<String>,
}

/// Takes the rows of fractions out of the usable ones: the test table's first.
pub(crate) fn split(
    spec: &TableSpec,
    raw: &RawTable,
    usable: Vec<u32>,
    seed: u64,
) -> Result<Split, DataError> {
    let fractions = [(&spec.test, SplitPart::Test), (&spec.validation, SplitPart::Validation)];
    let is_split =
        fractions.iter().any(|(source, _)| matches!(source, Some(TableSource::Fraction(_))));
    let targets = if is_split { raw.selection.target_labels() } else { 0..0 };
    let targets: Vec<Target> = targets.map(|column| Target::new(raw, column, &usable)).collect();
    let strata = (spec.stratify && !targets.is_empty()).then(|| strata(raw, &targets, &usable));
    let mut pool = Pool { rows: usable, strata };
    let mut parts = [None, None];
    let mut warnings = Vec::new();
    for ((source, part), taken) in fractions.into_iter().zip(&mut parts) {
        if let Some(TableSource::Fraction(fraction)) = source {
            let rows = pool.take(*fraction, part, seed)?;
            let too_few = targets.iter().find_map(|target| target.lacking(raw, &rows));
            warnings.extend(too_few.map(|Lacking { class, others }| {
                let advice = match spec.stratify {
                    true => "add rows of it, join it with another class, or take a larger fraction",
                    false => "leave out `data.stratify = false`, or add rows of it",
                };
                let (path, key) = (raw.table.target_path().display(), part.key());
                format!("{path}: {class}, and `{key}` takes none of them{others}: {advice}")
            }));
            *taken = Some(rows);
        }
    }
    // Whether a class had a row to learn from would change with the seed.
    if let Some(Lacking { class, others }) =
        targets.iter().find_map(|target| target.lacking(raw, &pool.rows))
    {
        let advice = match spec.stratify {
            true => "add rows of it, or take it out of the table",
            false => {
                "leave out `data.stratify = false`, add rows of it, or take it out of the table"
            }
        };
        let problem = format!(
            "{class}, and the fractions leave none of them to learn from{others}; {advice}"
        );
        return Err(DataError::table(raw.table.target_path(), problem));
    }
    let [test, validation] = parts;
    Ok(Split { train: pool.rows, validation, test, warnings })
}

/// A target column of labels.
struct Target {
    /// Its place among the labels of a row.
    column: usize,
    /// In class order.
    classes: Vec<String>,
    /// The class of each label id.
    class_of: Vec<u32>,
    /// The usable rows of each class.
    rows: Vec<u64>,
}

/// A class of which some table has no row, in words, and how many more there are.
struct Lacking {
    class: String,
    others: String,
}

impl Target {
    fn new(raw: &RawTable, column: usize, rows: &[u32]) -> Target {
        let names = &raw.label_names[column];
        let classes = labels::classes(names.clone());
        let find = labels::Classes::new(&classes);
        let class_of = names.iter().map(|name| find.find(name).unwrap_or_default()).collect();
        let mut target = Target { column, classes, class_of, rows: Vec::new() };
        target.rows = target.count(raw, rows);
        target
    }

    /// These rows of each class.
    fn count(&self, raw: &RawTable, rows: &[u32]) -> Vec<u64> {
        let mut counts = vec![0; self.classes.len()];
        self.visit(raw, rows, |_, class| counts[class as usize] += 1);
        counts
    }

    fn visit(&self, raw: &RawTable, rows: &[u32], mut see: impl FnMut(usize, u32)) {
        raw.visit_labels(rows, self.column, |at, id| see(at, self.class_of[id as usize]));
    }

    /// The first class that these rows lack.
    fn lacking(&self, raw: &RawTable, rows: &[u32]) -> Option<Lacking> {
        let here = self.count(raw, rows);
        let is_lacking = |class: &usize| here[*class] == 0 && self.rows[*class] > 0;
        let lacking: Vec<usize> = (0..here.len()).filter(is_lacking).collect();
        let (first, others) = lacking.split_first()?;
        let name = quote(raw.label_column_name(self.column).as_bytes());
        let label = quote(self.classes[*first].as_bytes());
        let class =
            format!("class {label} of target {name} has {}", count(self.rows[*first], "row"));
        let names: Vec<&String> = others.iter().map(|&class| &self.classes[class]).collect();
        let others = match names.is_empty() {
            true => String::new(),
            false => format!(" (nor of {})", list(&names)),
        };
        Some(Lacking { class, others })
    }
}

/// The stratum of each row: the class of its one target, in class order, or the combination of its targets' classes;
/// combinations of one row share a stratum.
fn strata(raw: &RawTable, targets: &[Target], rows: &[u32]) -> Vec<u32> {
    if let [target] = targets {
        let mut strata = Vec::with_capacity(rows.len());
        target.visit(raw, rows, |_, class| strata.push(class));
        return strata;
    }
    let mut combinations = vec![Vec::with_capacity(targets.len()); rows.len()];
    for target in targets {
        target.visit(raw, rows, |at, class| combinations[at].push(class));
    }
    let mut sizes: BTreeMap<&[u32], u32> = BTreeMap::new();
    combinations.iter().for_each(|combination| *sizes.entry(combination).or_default() += 1);
    let common = sizes.iter().filter(|(_, size)| **size > 1).map(|(combination, _)| *combination);
    let places: HashMap<&[u32], u32> = common.zip(1..).collect();
    let place = |combination: &Vec<u32>| places.get(&combination[..]).copied().unwrap_or(0);
    combinations.iter().map(place).collect()
}
