//! Limits: of what stores may hold, and of what waits in memory for a checkpoint.

pub mod fill;
pub mod quota;
pub mod room;
pub mod weigh;
