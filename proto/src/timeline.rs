//! What the spans of a step are known by: gather, forward, backward, send, wait, fold, update, commit. They are spans of
//! `tracing`; whoever writes them down says so by taking in this target, and while nobody does they cost one load each and ask no
//! clock.

/// The target of all spans that a timeline is made of. Its fields are numbers: `step` from 1, `layer`, `chunk`, `worker`.
pub const TARGET: &str = "lockstep::timeline";
