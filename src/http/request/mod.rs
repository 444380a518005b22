//! Requests: who sends them, what is in them, and the commands that they become.

pub mod ask;
pub mod door;
pub mod gate;
