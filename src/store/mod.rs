//! What keys mean in a store. Knows no sockets, no protocol and no LMDB.

pub mod pattern;
