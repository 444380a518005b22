//! Records as wholes, whatever their values: DEL, RENAME, EXPIRE, KEYS, SCAN, DUMP and their relatives.

/// DUMP and RESTORE.
pub mod dump;
/// EXPIRE, TTL, PERSIST and their relatives.
pub mod expiry;
/// OBJECT.
pub mod object;
/// KEYS, SCAN, and pages of keys for other commands.
pub mod scan;
/// DEL, EXISTS, RENAME, COPY, MOVE and their relatives.
pub mod whole;
