//! Evaluation of filters: whether one holds for a node.

use std::borrow::Cow;

use super::ast::{Comparison, Filter, Pattern, Query, Scope, Term};
use super::pattern;
use super::select::{Node, TooMuchWork, Work, select};
use crate::document::compare::{self, Numbers};
use crate::document::scan::{self, Entries, JsonType};
use crate::limits::PATTERN_BYTES_MAX;

/// Whether the filter holds for a node.
pub fn holds(filter: &Filter, text: &[u8], node: Node, work: &mut Work) -> Result<bool, TooMuchWork> {
    Evaluation { text, node, work }.holds(filter)
}

struct Evaluation<'e> {
    text: &'e [u8],
    /// The node of `@`.
    node: Node,
    work: &'e mut Work,
}

/// A value: the text from its first byte on. `None` is what RFC 9535 calls Nothing, which equals only itself.
type Value<'v> = Option<Cow<'v, [u8]>>;

impl<'e> Evaluation<'e> {
    fn holds(&mut self, filter: &Filter) -> Result<bool, TooMuchWork> {
        self.work.spend(1)?;
        match filter {
            Filter::Any(filters) => {
                for filter in filters {
                    if self.holds(filter)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Filter::All(filters) => {
                for filter in filters {
                    if !self.holds(filter)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Filter::Not(filter) => Ok(!self.holds(filter)?),
            Filter::Exists(scope, query) => Ok(!self.nodes(*scope, query)?.is_empty()),
            Filter::Compare(left, comparison, right) => {
                let (left, right) = (self.value(left)?, self.value(right)?);
                self.spend_on(&left)?;
                self.spend_on(&right)?;
                Ok(compares(left.as_deref(), *comparison, right.as_deref()))
            }
            Filter::Matches { text, pattern, is_whole } => self.matches(text, pattern, *is_whole),
        }
    }

    fn matches(&mut self, text: &Term, pattern: &Pattern, is_whole: bool) -> Result<bool, TooMuchWork> {
        let Some(text) = self.string(text)? else { return Ok(false) };
        match pattern {
            Pattern::Compiled(regex) => {
                self.spend_on_search(&text, regex.as_str())?;
                Ok(regex.is_match(&text))
            }
            Pattern::Invalid => Ok(false),
            Pattern::Term(term) => {
                let Some(pattern) = self.string(term)? else { return Ok(false) };
                // the cost of compiling depends little on the length of the pattern
                self.work.spend(PATTERN_BYTES_MAX)?;
                self.spend_on_search(&text, &pattern)?;
                Ok(pattern::compile(&pattern, is_whole).is_some_and(|regex| regex.is_match(&text)))
            }
        }
    }

    /// A search may take time proportional to the text and to the pattern.
    fn spend_on_search(&mut self, text: &str, pattern: &str) -> Result<(), TooMuchWork> {
        self.work.spend(text.len().saturating_mul(pattern.len()))
    }

    fn string(&mut self, term: &Term) -> Result<Option<String>, TooMuchWork> {
        let value = self.value(term)?;
        self.spend_on(&value)?;
        let quoted = value.filter(|text| scan::kind(text, 0) == JsonType::String);
        Ok(quoted.map(|text| scan::unescaped(scan::value(&text, 0)).into_owned()))
    }

    fn nodes(&mut self, scope: Scope, query: &Query) -> Result<Vec<Node>, TooMuchWork> {
        let from = match scope {
            Scope::Current => self.node,
            Scope::Root => Node::root(self.text),
        };
        select(query, self.text, from, self.work)
    }

    fn value<'v>(&mut self, term: &'v Term) -> Result<Value<'v>, TooMuchWork>
    where
        'e: 'v,
    {
        let text = self.text;
        let number = |number: usize| Cow::Owned(number.to_string().into_bytes());
        Ok(match term {
            Term::Literal(text) => Some(Cow::Borrowed(&text[..])),
            Term::Value(scope, query) => match self.nodes(*scope, query)?[..] {
                [node] => text.get(node.start..).map(Cow::Borrowed),
                _ => None,
            },
            Term::Count(scope, query) => Some(number(self.nodes(*scope, query)?.len())),
            Term::Length(term) => {
                let value = self.value(term)?;
                self.spend_on(&value)?;
                value.as_deref().and_then(length).map(number)
            }
        })
    }

    /// A value that is compared or measured is read as a whole.
    fn spend_on(&mut self, value: &Value<'_>) -> Result<(), TooMuchWork> {
        let bytes = value.as_deref().map_or(0, |text| scan::end(text, 0));
        self.work.spend(bytes)
    }
}

/// Characters of a string, entries of a container.
fn length(text: &[u8]) -> Option<usize> {
    match scan::kind(text, 0) {
        JsonType::String => Some(scan::unescaped(scan::value(text, 0)).chars().count()),
        JsonType::Array | JsonType::Object => Some(Entries::of(text, 0).count()),
        _ => None,
    }
}

fn compares(left: Option<&[u8]>, comparison: Comparison, right: Option<&[u8]>) -> bool {
    let equal = || match (left, right) {
        (None, None) => true,
        (Some(left), Some(right)) => compare::equal(left, right, Numbers::ByValue),
        _ => false,
    };
    let order = || left.zip(right).and_then(|(left, right)| compare::order(left, right));
    let is_element = || {
        left.zip(right).is_some_and(|(left, right)| {
            scan::kind(right, 0) == JsonType::Array
                && Entries::of(right, 0)
                    .any(|entry| compare::equal(left, &right[entry.value..], Numbers::ByValue))
        })
    };
    match comparison {
        Comparison::Equal => equal(),
        Comparison::NotEqual => !equal(),
        Comparison::Less => order().is_some_and(std::cmp::Ordering::is_lt),
        Comparison::Greater => order().is_some_and(std::cmp::Ordering::is_gt),
        Comparison::LessOrEqual => order().is_some_and(std::cmp::Ordering::is_lt) || equal(),
        Comparison::GreaterOrEqual => order().is_some_and(std::cmp::Ordering::is_gt) || equal(),
        Comparison::In => is_element(),
        Comparison::NotIn => !is_element(),
    }
}
