//! What the server counts. INFO shows it.

pub mod counts;
pub mod histogram;
pub mod history;
pub mod log;
pub mod process;
pub mod slow;
pub mod stats;

pub use histogram::Histogram;
pub use history::History;
pub use slow::Slow;
pub use stats::Stats;
