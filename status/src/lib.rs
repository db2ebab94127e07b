//! What people see of a run: one value, [`Status`], and what shows it to them.
//!
//! The value is kept by a [`Book`], which is told what happens and does no I/O: a run that goes on and the records of one that
//! is over make the same value. The page, its JSON, the metrics and the report show it and know nothing else. Refuses to
//! know how a run decides, and offers nothing by which one could be changed.

pub mod address;
pub mod book;
pub mod client;
mod curve;
mod explain;
mod gradients;
mod learning;
pub mod metrics;
pub mod page;
mod recent;
pub mod report;
mod strip;
pub mod value;

pub use book::Book;
pub use value::Status;
