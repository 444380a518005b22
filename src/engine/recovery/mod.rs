//! Opening a data directory, recovering what it holds, and closing it; checking and salvaging one that no server uses.

pub mod check;
pub mod open;
pub mod replay;
pub mod salvage;
