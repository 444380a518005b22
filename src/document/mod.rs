//! Documents: reading and changing a part of a JSON text, without taking the text apart.
//!
//! ```text
//! path ──▶ select ──▶ positions of values ──▶ what is read: pieces of the text, as they are or laid out
//!                                         └─▶ what is changed: splices, applied together in one copy
//! ```
//!
//! There is no tree. A value that nobody touches keeps its bytes: the order of keys, the digits of numbers, escapes in
//! strings, the whitespace. What a change puts in is the text that the client gave, and around it nothing is laid out
//! anew. Reading one field reads the text up to that field; a change reads the text once and copies it once.
//!
//! The text is trusted to be JSON, see [`scan`]; what is put into it must have been checked.
//!
//! Pure functions of bytes: they know no engine, no command and no protocol, and run on whatever thread calls them.

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
pub use scan::{Entries, Kind};
