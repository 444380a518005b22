//! What removes records without being asked: deadlines and retention.

pub mod retention;
pub mod sweep;
