//! Values read, written and counted: GET, SET, INCR and their relatives.

/// `NX`, `XX`, and comparisons with the old value.
pub mod condition;
/// INCR and its relatives.
pub mod counter;
/// `EX`, `PX`, `KEEPTTL` and other options for the expiry.
pub mod deadline;
/// GET, APPEND and others that read a value or change a part of it.
pub mod edit;
/// INCREX: a counter with bounds and an expiry.
pub mod increx;
/// GETRECORD: a value with its metadata.
pub mod record;
/// SET, MSET and others that write or remove values as a whole.
pub mod set;
