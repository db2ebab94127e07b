//! What the spans of a step are known by: gather, forward, backward, send, wait, fold, update, commit. They are spans of
//! `tracing`; whoever writes them down says so by taking in this target, and while nobody does they cost one load each and ask no
//! clock.

/// The target of all spans that a timeline is made of. Its fields are numbers: `step` from 1, `layer`, `chunk`, `worker`.
pub const TARGET: &str = "lockstep::timeline";

/// With a request for rows, that the coordinator's clock is wanted; with its answer, what that said: nanoseconds since 1970. A worker whose
/// timeline is taken in asks, and tells by an event of this target: `coordinator_unix_nanos`, and `round_trip_nanos` from the question
/// to the answer.
pub const CLOCK_KEY: &str = "lockstep-clock";
