//! Opening a data directory, recovering what it holds, and closing it.

pub mod directory;
pub mod open;
pub mod replay;
pub mod salvage;
