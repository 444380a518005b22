//! A parsed path.

use regex::Regex;

/// A query: a list of segments.
#[derive(Debug, Clone)]
pub struct Query {
    pub segments: Vec<Segment>,
}

#[derive(Debug, Clone)]
pub struct Segment {
    /// `..`: of the node and of everything in it.
    pub is_descendant: bool,
    pub selectors: Vec<Selector>,
}

#[derive(Debug, Clone)]
pub enum Selector {
    Name(String),
    /// Negative ones count from the end.
    Index(i64),
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: i64,
    },
    Wildcard,
    Filter(Filter),
}

/// A condition on a node.
#[derive(Debug, Clone)]
pub enum Filter {
    Any(Vec<Filter>),
    All(Vec<Filter>),
    Not(Box<Filter>),
    Compare(Term, Comparison, Term),
    /// Whether the query finds anything.
    Exists(Scope, Query),
    /// `match` and `search`, and RedisJSON's `=~`, which is a search.
    Matches {
        text: Term,
        pattern: Pattern,
        is_whole: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// The left value is an element of the array on the right.
    In,
    NotIn,
}

/// Where a query within a filter begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `@`
    Current,
    /// `$`
    Root,
}

/// An expression that has a value, or none.
#[derive(Debug, Clone)]
pub enum Term {
    /// A JSON text.
    Literal(Vec<u8>),
    /// The node that the query finds, if it is one.
    Value(Scope, Query),
    Length(Box<Term>),
    Count(Scope, Query),
}

/// A regular expression.
#[derive(Debug, Clone)]
pub enum Pattern {
    Compiled(Regex),
    /// One that can't be: it matches nothing.
    Invalid,
    /// One that is found in the document.
    Term(Term),
}

impl Query {
    /// The name or index of each step, if the query can find one node at most.
    pub fn is_singular(&self) -> bool {
        self.segments.iter().all(|segment| {
            let one = matches!(segment.selectors[..], [Selector::Name(_) | Selector::Index(_)]);
            one && !segment.is_descendant
        })
    }
}
