//! Values read, written and counted: GET, SET, INCR and their relatives.

pub mod condition;
pub mod counter;
pub mod deadline;
pub mod edit;
pub mod increx;
pub mod record;
pub mod set;
