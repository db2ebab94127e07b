//! The versions of what a run folder holds.

/// Version of a run folder's format. Later versions read every earlier one.
pub const FORMAT: u32 = 1;

/// Version of a `model.json` that says what is done to each column, or has units of targets. Where it has to say no more than
/// before there were such, it is of [`FORMAT`], which all versions read.
pub const FORMAT_OF_COLUMNS: u32 = 2;

/// Version of a `model.json` that has, or is to have once the run is finished, the threshold that was chosen for the model.
pub const FORMAT_OF_THRESHOLDS: u32 = 3;

/// What to say of a file of a later format than the program reads of its kind.
pub(crate) fn newer(format: u32, known: u32) -> String {
    format!("written in format {format}, this program reads up to {known}: use a newer lockstep")
}
