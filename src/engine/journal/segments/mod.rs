//! The segments of the journal as files: which there are, which have to exist, and those that are made ahead of need.

pub mod ledger;
pub mod manifest;
pub mod segment;
pub mod stock;
