//! Stores and their properties: names and numbers, kinds of values, usage; libraries of functions. Pure data; knows no disk and no sockets.

pub mod catalog;
pub mod cursor;
pub mod definition;
pub mod eviction;
pub mod key;
pub mod libraries;
pub mod pattern;
pub mod quota;
pub mod usage;
pub mod value;

pub use catalog::{Catalog, Store};
pub use definition::Definition;
pub use key::{Key, StoreId};
pub use libraries::Libraries;
pub use pattern::Pattern;
pub use quota::{Quota, ServerQuota};
pub use usage::Usage;
pub use value::{Value, ValueKind};

/// A store's contents between two flushes. Flushing a store moves it to a new generation; the records of the old one
/// are unreachable at once, and their space is reclaimed later. Below 2^48.
pub type Generation = u64;
