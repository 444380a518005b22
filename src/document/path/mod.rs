//! Paths into a document: RFC 9535's, which begin with `$`, and the older ones of RedisJSON 1, which don't.
//!
//! ```text
//! text ──▶ parse ──▶ Query ──▶ select ──▶ nodes: positions in the document's text
//! ```
//!
//! A legacy path is the other kind with the `$` left out: `.` is `$`, `a.b` is `$.a.b`, `..x` is `$..x`. What differs is
//! how commands answer.
//!
//! No crate evaluates paths on text: the existing ones need a tree, or their parser accepts less than RedisJSON's.

mod ast;
mod filter;
mod parse;
mod pattern;
mod select;

pub use parse::PathError;
pub use select::{Node, TooMuchWork, Work};

use ast::{Query, Selector};

/// A path from a client.
#[derive(Debug, Clone)]
pub struct Path {
    given: String,
    is_legacy: bool,
    query: Query,
}

/// The last step of a path that names one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last<'p> {
    Name(&'p str),
    Index,
}

impl Path {
    /// Reads a path of either kind.
    pub fn parse(given: &str) -> Result<Path, PathError> {
        let behind_root =
            given.strip_prefix('$').map(|rest| rest.trim_start_matches([' ', '\t', '\n', '\r']));
        let is_legacy = given != "$" && !behind_root.is_some_and(|rest| rest.starts_with(['.', '[']));
        let (prefix, rest) = match given {
            _ if !is_legacy => ("", given),
            "." => ("$", ""),
            _ if given.starts_with('.') => ("$", given),
            _ => ("$.", given),
        };
        // positions refer to the text of the client
        let place = |error: PathError| PathError { at: error.at.saturating_sub(prefix.len()), ..error };
        let query = parse::parse(&format!("{prefix}{rest}")).map_err(place)?;
        Ok(Path { given: given.to_owned(), is_legacy, query })
    }

    /// The whole document, for commands without a path.
    pub fn legacy_root() -> Path {
        Path { given: ".".to_owned(), is_legacy: true, query: Query { segments: Vec::new() } }
    }

    pub fn as_str(&self) -> &str {
        &self.given
    }

    pub fn is_legacy(&self) -> bool {
        self.is_legacy
    }

    /// Whether it is the whole document.
    pub fn is_root(&self) -> bool {
        self.query.segments.is_empty()
    }

    /// Whether it names exactly one place, at which a value could be inserted.
    pub fn is_static(&self) -> bool {
        self.query.is_singular()
    }

    /// The path without its last step, and that step, if it names one place.
    pub fn split_last(&self) -> Option<(Path, Last<'_>)> {
        if !self.is_static() {
            return None;
        }
        let (last, segments) = self.query.segments.split_last()?;
        let last = match last.selectors.first()? {
            Selector::Name(name) => Last::Name(name),
            _ => Last::Index,
        };
        Some((Path { query: Query { segments: segments.to_vec() }, ..self.clone() }, last))
    }

    /// What the path finds in a text, in the path's order; a value that is found twice is in it twice.
    pub fn select(&self, text: &[u8], work: &mut Work) -> Result<Vec<Node>, TooMuchWork> {
        select::select(&self.query, text, Node::root(text), work)
    }
}

#[cfg(test)]
mod tests;
