//! What keys mean in a store: names and numbers, kinds of values, usage. Pure data; knows no disk and no sockets.

pub mod catalog;
pub mod cursor;
pub mod key;
pub mod pattern;
pub mod quota;
pub mod usage;
pub mod value;

pub use catalog::{Catalog, Store};
pub use key::{Key, StoreId};
pub use pattern::Pattern;
pub use quota::{Quota, ServerQuota};
pub use usage::Usage;
pub use value::{Kind, Value};

/// A store's contents between two flushes. Flushing or dropping a store moves it to a new generation; what the old one
/// held is unreachable at once and its space is reclaimed later. Below 2^48.
pub type Generation = u64;
