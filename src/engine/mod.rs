//! The engine: transactions over an overlay in memory, a journal that makes them durable, and LMDB behind both.

pub mod clock;
pub mod journal;
