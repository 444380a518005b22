//! Documents: reading and changing a part of a JSON text, without parsing it into a tree.
//!
//! ```text
//! path ──▶ select ──▶ positions of values ──▶ what is read: pieces of the text, as they are or laid out
//!                                         └─▶ what is changed: splices, applied together in one copy
//! ```
//!
//! An untouched value keeps its bytes: the order of keys, the digits of numbers, escapes in strings, the whitespace. A
//! change inserts the text that the client gave, and nothing around it is reformatted. Reading one field reads the text
//! up to that field; a change reads the text once and copies it once.
//!
//! The text is trusted to be JSON, see [`scan`]; what is put into it must have been checked.
//!
//! Pure functions of bytes: they know no engine, command or protocol, and run on the caller's thread.

pub mod compare;
pub mod edit;
pub mod layout;
pub mod merge;
pub mod number;
pub mod path;
pub mod scan;

pub use edit::Edits;
pub use layout::Layout;
pub use number::Number;
pub use path::{Node, Path, PathError, TooMuchWork, Work};
pub use scan::{Entries, JsonType};
