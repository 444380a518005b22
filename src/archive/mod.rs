//! The archive: a copy of everything in object storage, which other servers follow and a lost one is restored from.
//!
//! | room | what is in it |
//! |---|---|
//! | [`format`] | names and bytes of the objects |

pub mod format;
