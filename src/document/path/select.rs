//! Evaluation: which values of a text a query finds, in the order of RFC 9535.
//!
//! Segments are applied one after the other to a list of nodes, so nothing here recurses with the path; filters recurse
//! as deep as they nest. What is looked at is counted ([`Work`]), which bounds the cost of a path: filters within
//! filters could otherwise take time exponential in their nesting.
//!
//! Of members with the same name, a name finds the first.

use super::ast::{Query, Segment, Selector};
use super::filter;
use crate::document::compare::is_key;
use crate::document::scan::{self, Entries, JsonType, Member};
use crate::limits::{PATH_REPEATED_NODES_MAX, PATH_WORK_BYTES, PATH_WORK_PER_BYTE};

/// A value that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Where it begins.
    pub start: usize,
    /// Where its entry begins: with the key, for a member.
    pub slot: usize,
    /// Where the container around it begins; None for the whole document.
    pub parent: Option<usize>,
    /// How many containers are around it.
    pub depth: usize,
}

impl Node {
    /// The whole document.
    pub fn root(text: &[u8]) -> Node {
        let start = scan::root(text);
        Node { start, slot: start, parent: None, depth: 0 }
    }

    fn child(&self, entry: &Member) -> Node {
        Node { start: entry.value, slot: entry.slot, parent: Some(self.start), depth: self.depth + 1 }
    }
}

/// A path exceeds its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMuchWork;

/// How much the paths of a command may still look at.
#[derive(Debug)]
pub struct Work {
    bytes_left: u64,
}

impl Work {
    /// For documents of so many bytes together.
    pub fn on(text_bytes: usize) -> Work {
        Work {
            bytes_left: PATH_WORK_BYTES.saturating_add(PATH_WORK_PER_BYTE.saturating_mul(text_bytes as u64)),
        }
    }

    pub fn spend(&mut self, bytes: usize) -> Result<(), TooMuchWork> {
        self.bytes_left = self.bytes_left.checked_sub(bytes as u64).ok_or(TooMuchWork)?;
        Ok(())
    }
}

/// The nodes that a query finds from a node on.
pub fn select(query: &Query, text: &[u8], from: Node, work: &mut Work) -> Result<Vec<Node>, TooMuchWork> {
    let mut nodes = vec![from];
    for segment in &query.segments {
        let mut found = Found { text, nodes: Vec::new(), work };
        for node in nodes {
            found.segment(segment, node)?;
        }
        nodes = found.nodes;
    }
    Ok(nodes)
}

struct Found<'f> {
    text: &'f [u8],
    nodes: Vec<Node>,
    work: &'f mut Work,
}

impl Found<'_> {
    fn segment(&mut self, segment: &Segment, node: Node) -> Result<(), TooMuchWork> {
        if !segment.is_descendant {
            return self.children(segment, node);
        }
        containers(self.text, node, self.work)?.into_iter().try_for_each(|node| self.children(segment, node))
    }

    fn children(&mut self, segment: &Segment, node: Node) -> Result<(), TooMuchWork> {
        if !scan::kind(self.text, node.start).is_container() {
            return self.work.spend(1);
        }
        for selector in &segment.selectors {
            let mut entries = Entries::of(self.text, node.start);
            self.selector(selector, &node, &mut entries)?;
            self.work.spend(entries.seen().saturating_sub(node.start))?;
        }
        Ok(())
    }

    fn selector(
        &mut self,
        selector: &Selector,
        node: &Node,
        entries: &mut Entries<'_>,
    ) -> Result<(), TooMuchWork> {
        let is_array = scan::kind(self.text, node.start) == JsonType::Array;
        match selector {
            Selector::Wildcard => entries.try_for_each(|entry| self.push(node, &entry)),
            Selector::Name(name) => {
                let text = self.text;
                let found = entries.find(|entry| !is_array && is_key(&text[entry.key.clone()], name));
                found.map_or(Ok(()), |entry| self.push(node, &entry))
            }
            Selector::Index(index) if is_array => {
                let found = match usize::try_from(*index) {
                    Ok(index) => entries.nth(index),
                    Err(_) => {
                        let all: Vec<_> = entries.collect();
                        let from_end = usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX);
                        all.len().checked_sub(from_end).and_then(|index| all.get(index).cloned())
                    }
                };
                found.map_or(Ok(()), |entry| self.push(node, &entry))
            }
            Selector::Slice { start, end, step } if is_array => {
                let all: Vec<_> = entries.collect();
                let chosen = Slice::of(*start, *end, *step, all.len());
                chosen.filter_map(|index| all.get(index)).try_for_each(|entry| self.push(node, entry))
            }
            Selector::Index(_) | Selector::Slice { .. } => Ok(()),
            Selector::Filter(filter) => entries.try_for_each(|entry| {
                let child = node.child(&entry);
                if filter::holds(filter, self.text, child, self.work)? {
                    self.push(node, &entry)
                } else {
                    Ok(())
                }
            }),
        }
    }

    fn push(&mut self, node: &Node, entry: &Member) -> Result<(), TooMuchWork> {
        // the shortest value has one byte, and there is something between two values
        if self.nodes.len() > self.text.len() / 2 + PATH_REPEATED_NODES_MAX {
            return Err(TooMuchWork);
        }
        self.nodes.push(node.child(entry));
        Ok(())
    }
}

/// The containers in a node, itself included, each before what is in it.
fn containers(text: &[u8], node: Node, work: &mut Work) -> Result<Vec<Node>, TooMuchWork> {
    let mut found = Vec::new();
    let mut open: Vec<(Node, Entries<'_>)> = Vec::new();
    let mut next = Some(node);
    loop {
        if let Some(node) = next.take().filter(|node| scan::kind(text, node.start).is_container()) {
            found.push(node);
            open.push((node, Entries::of(text, node.start)));
        }
        let Some((node, entries)) = open.last_mut() else { break };
        match entries.next() {
            Some(entry) => next = Some(node.child(&entry)),
            None => {
                let end = entries.closed();
                open.pop();
                match open.last_mut() {
                    Some((_, around)) => around.passed(end),
                    None => work.spend(end.saturating_sub(node_start(&found)))?,
                }
            }
        }
    }
    Ok(found)
}

fn node_start(found: &[Node]) -> usize {
    found.first().map_or(0, |node| node.start)
}

/// The indices that a slice chooses (RFC 9535, 2.3.4.2.2).
struct Slice {
    next: i64,
    end: i64,
    step: i64,
}

impl Slice {
    fn of(start: Option<i64>, end: Option<i64>, step: i64, length: usize) -> Slice {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        let normal = |index: i64| if index < 0 { length + index } else { index };
        if step >= 0 {
            let bound = |index: Option<i64>, missing| normal(index.unwrap_or(missing)).clamp(0, length);
            Slice { next: bound(start, 0), end: if step == 0 { 0 } else { bound(end, length) }, step }
        } else {
            let bound = |index: Option<i64>, missing| index.map_or(missing, normal).clamp(-1, length - 1);
            Slice { next: bound(start, length - 1), end: bound(end, -1), step }
        }
    }
}

impl Iterator for Slice {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let is_over = match self.step {
            0 => true,
            1.. => self.next >= self.end,
            _ => self.next <= self.end,
        };
        if is_over {
            return None;
        }
        let index = usize::try_from(self.next).ok();
        self.next = self.next.saturating_add(self.step);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_as_the_rfc_has_them() {
        let chosen = |start, end, step| Slice::of(start, end, step, 7).collect::<Vec<_>>();
        assert_eq!(chosen(Some(1), Some(3), 1), [1, 2]);
        assert_eq!(chosen(Some(5), None, 1), [5, 6]);
        assert_eq!(chosen(Some(1), Some(5), 2), [1, 3]);
        assert_eq!(chosen(Some(5), Some(1), -2), [5, 3]);
        assert_eq!(chosen(None, None, -1), [6, 5, 4, 3, 2, 1, 0]);
        assert_eq!(chosen(Some(-2), None, 1), [5, 6]);
        assert_eq!(chosen(None, None, 0), [0; 0]);
        assert_eq!(chosen(Some(-100), Some(100), 3), [0, 3, 6]);
        assert_eq!(chosen(Some(i64::MAX), Some(i64::MIN), i64::MIN), [6]);
        assert_eq!(Slice::of(None, None, -1, 0).count(), 0);
    }
}
