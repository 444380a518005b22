//! Tests over whole kinds of commands, and what the tests of single commands share.

#[cfg(test)]
pub mod declarations;
#[cfg(test)]
pub mod harness;
#[cfg(test)]
pub mod limits;
#[cfg(test)]
pub mod preflight;
#[cfg(test)]
pub mod visibility;
