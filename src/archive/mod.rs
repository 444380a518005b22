//! The archive: a copy of everything in object storage, which other servers follow and a lost one is restored from.
//!
//! | room | what is in it |
//! |---|---|
//! | [`format`] | names and bytes of the objects |
//! | [`protocol`] | who leads, what is in the log, what may be acknowledged; without IO |

pub mod format;
pub mod protocol;
