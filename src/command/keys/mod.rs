//! Records as wholes, whatever their values: DEL, RENAME, EXPIRE, KEYS, SCAN, DUMP and their relatives.

pub mod dump;
pub mod expiry;
pub mod object;
pub mod scan;
pub mod whole;
