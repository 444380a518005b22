//! What the server counts. INFO shows it.

pub mod log;
pub mod process;
pub mod stats;

pub use stats::Stats;
