//! Responses: JSON, errors, and versions of records.

pub mod json;
pub mod problem;
pub mod version;
