//! The version of what a run folder holds.

/// Version of a run folder's format. Later versions read every earlier one.
pub const FORMAT: u32 = 1;

/// What to say of a file of a later format.
pub(crate) fn newer(format: u32) -> String {
    format!("written in format {format}, this program reads up to {FORMAT}: use a newer lockstep")
}
