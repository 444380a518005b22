//! Limits of what stores may hold.

pub mod fill;
pub mod quota;
pub mod weigh;
