//! The engine against a simulated cluster, and one decision at a time.

mod case;
mod driver;
mod ledger;
mod network;
mod simulation;
mod worker;
