//! Changes of a text: splices, collected first and applied together in one copy.
//!
//! A splice replaces others within its range. A change of a value inside another changed value is therefore made first;
//! the outer change then uses [`Edits::text_of`], the text as it is by then.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use super::path::Node;
use super::scan::{self, Entries};

/// The result would be longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// A text and what is going to be changed in it.
#[derive(Debug)]
pub struct Edits<'t> {
    text: &'t [u8],
    /// By their beginning: the end of the replaced range, and the replacement.
    splices: BTreeMap<usize, (usize, Bytes)>,
    added_bytes: usize,
    bytes_max: usize,
}

impl<'t> Edits<'t> {
    /// None yet, of a text that may grow up to `bytes_max`.
    pub fn of(text: &'t [u8], bytes_max: usize) -> Edits<'t> {
        Edits { text, splices: BTreeMap::new(), added_bytes: 0, bytes_max }
    }

    pub fn is_empty(&self) -> bool {
        self.splices.is_empty()
    }

    /// Replaces a range by `with`.
    pub fn splice(&mut self, range: Range<usize>, with: Bytes) -> Result<(), TooLong> {
        while let Some((&start, _)) = self.splices.range(range.clone()).next() {
            if let Some((_, gone)) = self.splices.remove(&start) {
                self.added_bytes -= gone.len();
            }
        }
        // Removals elsewhere are not deducted, so this refuses only what is far beyond the limit, before it takes
        // memory; `apply` is exact.
        self.added_bytes += with.len();
        if self.added_bytes > self.bytes_max.saturating_add(self.text.len()) {
            return Err(TooLong);
        }
        self.splices.insert(range.start, (range.end, with));
        Ok(())
    }

    /// Replaces a value by `with`.
    pub fn replace(&mut self, node: &Node, with: Bytes) -> Result<(), TooLong> {
        self.splice(node.start..scan::end(self.text, node.start), with)
    }

    /// A part of the text as it is after the splices within it.
    pub fn text_of(&self, range: Range<usize>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = range.start;
        for (start, (end, with)) in self.splices.range(range.clone()) {
            out.extend_from_slice(&self.text[at..*start]);
            out.extend_from_slice(with);
            at = *end;
        }
        out.extend_from_slice(&self.text[at..range.end.max(at)]);
        out
    }

    /// The whole text after all splices.
    pub fn apply(self) -> Result<Bytes, TooLong> {
        let removed: usize = self.splices.iter().map(|(start, (end, _))| end - start).sum();
        let length = (self.text.len() + self.added_bytes).saturating_sub(removed);
        if length > self.bytes_max {
            return Err(TooLong);
        }
        let mut out = Vec::with_capacity(length);
        let mut at = 0;
        for (start, (end, with)) in &self.splices {
            out.extend_from_slice(&self.text[at..*start]);
            out.extend_from_slice(with);
            at = *end;
        }
        out.extend_from_slice(&self.text[at..]);
        Ok(out.into())
    }

    /// Adds a member at the end of an object.
    pub fn add_member(&mut self, object: &Node, name: &str, value: &[u8]) -> Result<(), TooLong> {
        let key = serde_json::Value::from(name).to_string();
        let member = [key.as_bytes(), b":", value].concat();
        self.append(object, &member)
    }

    /// Inserts entries, separated by commas, after the last one of a container.
    pub fn append(&mut self, container: &Node, entries: &[u8]) -> Result<(), TooLong> {
        let mut there = Entries::of(self.text, container.start);
        let is_empty = there.by_ref().count() == 0;
        let at = there.position();
        let comma: &[u8] = if is_empty { b"" } else { b"," };
        self.splice(at..at, [comma, entries].concat().into())
    }

    /// Inserts elements, separated by commas, before the one at an existing index.
    pub fn insert(&mut self, array: &Node, index: usize, elements: &[u8]) -> Result<(), TooLong> {
        match Entries::of(self.text, array.start).nth(index) {
            Some(entry) => self.splice(entry.slot..entry.slot, [elements, b","].concat().into()),
            None => self.append(array, elements),
        }
    }

    /// Removes the entries of a container for which `goes` returns true, with their commas.
    pub fn remove_entries(
        &mut self,
        container: usize,
        mut goes: impl FnMut(usize, usize) -> bool,
    ) -> Result<(), TooLong> {
        let mut entries = Entries::of(self.text, container);
        // the end of the last entry that stays, and the beginning of the run of those that are removed
        let (mut stays_until, mut run) = (None, None);
        let mut ranges = Vec::new();
        let mut index = 0;
        loop {
            let before = entries.position();
            let Some(entry) = entries.next() else { break };
            if goes(index, entry.slot) {
                if run.is_none() {
                    stays_until = (index > 0).then_some(before);
                    run = Some(entry.slot);
                }
            } else if let Some(start) = run.take() {
                ranges.push(start..entry.slot);
            }
            index += 1;
        }
        if let Some(start) = run {
            let end = entries.position();
            // If the last entry is removed, so is the comma before the run. An empty container has no blanks left.
            ranges.push(match stays_until {
                Some(until) => until..end,
                None => (container + 1).min(start)..entries.closed().saturating_sub(1).max(end),
            });
        }
        ranges.into_iter().try_for_each(|range| self.splice(range, Bytes::new()))
    }
}

/// Sorts nodes by their position in the text, without duplicates.
pub fn in_text_order(nodes: &mut Vec<Node>) {
    nodes.sort_unstable_by_key(|node| node.start);
    nodes.dedup_by_key(|node| node.start);
}

/// Sorts nodes by their position in the text, and leaves out those inside of another.
pub fn outermost(text: &[u8], nodes: &mut Vec<Node>) {
    in_text_order(nodes);
    let mut covered = 0;
    nodes.retain(|node| {
        let is_outer = node.start >= covered;
        if is_outer {
            covered = scan::end(text, node.start);
        }
        is_outer
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::document::{Path, Work};

    const MAX: usize = 1 << 20;

    fn nodes(text: &str, path: &str) -> Vec<Node> {
        Path::parse(path).unwrap().select(text.as_bytes(), &mut Work::on(text.len())).unwrap()
    }

    fn after(text: &str, edit: impl FnOnce(&mut Edits<'_>)) -> String {
        let mut edits = Edits::of(text.as_bytes(), MAX);
        edit(&mut edits);
        String::from_utf8(edits.apply().unwrap().to_vec()).unwrap()
    }

    fn without(text: &str, goes: impl Fn(usize) -> bool) -> String {
        after(text, |edits| edits.remove_entries(0, |index, _| goes(index)).unwrap())
    }

    #[test]
    fn entries_go_with_their_commas() {
        let text = "[ 1.10 , 2, [3] ,4 ]";
        assert_eq!(without(text, |index| index == 0), "[ 2, [3] ,4 ]");
        assert_eq!(without(text, |index| index == 1), "[ 1.10 , [3] ,4 ]");
        assert_eq!(without(text, |index| index == 3), "[ 1.10 , 2, [3] ]");
        assert_eq!(without(text, |index| index >= 2), "[ 1.10 , 2 ]");
        assert_eq!(without(text, |index| index < 2), "[ [3] ,4 ]");
        assert_eq!(without(text, |index| index % 2 == 0), "[ 2, 4 ]");
        assert_eq!(without(text, |_| true), "[]");
        assert_eq!(without(text, |_| false), text);
        assert_eq!(without(r#"{"a": 1, "b": 2}"#, |index| index == 0), r#"{"b": 2}"#);
        assert_eq!(without(r#"{"a": 1, "b": 2}"#, |index| index == 1), r#"{"a": 1}"#);
    }

    #[test]
    fn what_stays_keeps_its_bytes() {
        let text = r#"{ "n": 1.10, "big":12345678901234567890123,"e":1e400, "a": [ 1 ] }"#;
        let path = |path| nodes(text, path)[0];
        let changed = after(text, |edits| {
            edits.replace(&path("$.big"), "7".into()).unwrap();
            edits.append(&path("$.a"), b"2,3").unwrap();
            edits.add_member(&Node::root(text.as_bytes()), "new\"", b"null").unwrap();
        });
        assert_eq!(changed, r#"{ "n": 1.10, "big":7,"e":1e400, "a": [ 1,2,3 ],"new\"":null }"#);
    }

    #[test]
    fn elements_come_where_they_should() {
        let array = "[1, 2]";
        let root = Node::root(array.as_bytes());
        for (index, expected) in [(0, "[9,1, 2]"), (1, "[1, 9,2]"), (2, "[1, 2,9]")] {
            assert_eq!(after(array, |edits| edits.insert(&root, index, b"9").unwrap()), expected);
        }
        assert_eq!(after("[ ]", |edits| edits.insert(&Node::root(b"[ ]"), 0, b"9").unwrap()), "[9 ]");
    }

    #[test]
    fn an_outer_change_takes_the_place_of_inner_ones() {
        let text = r#"{"a":[1,[2]],"b":3}"#;
        let (inner, outer) = (nodes(text, "$.a[1][0]")[0], nodes(text, "$.a")[0]);
        let mut edits = Edits::of(text.as_bytes(), MAX);
        edits.replace(&inner, "20".into()).unwrap();
        assert_eq!(edits.text_of(outer.start..scan::end(text.as_bytes(), outer.start)), b"[1,[20]]");
        edits.replace(&outer, "[]".into()).unwrap();
        assert_eq!(edits.apply().unwrap(), r#"{"a":[],"b":3}"#);
    }

    #[test]
    fn growth_is_bounded() {
        let text = "[1,2,3]";
        let mut edits = Edits::of(text.as_bytes(), 10);
        for node in nodes(text, "$[*]") {
            edits.replace(&node, "333".into()).unwrap();
        }
        assert_eq!(edits.apply(), Err(TooLong));
        let mut edits = Edits::of(text.as_bytes(), 10);
        assert_eq!(edits.append(&Node::root(text.as_bytes()), &[b'1'; 30]), Err(TooLong));
    }

    #[test]
    fn nodes_within_others_are_left_out() {
        let text = r#"{"a":{"a":1},"b":{"a":2}}"#;
        let mut found = nodes(text, "$..a");
        found.extend(nodes(text, "$..a"));
        outermost(text.as_bytes(), &mut found);
        let left: Vec<_> = found.iter().map(|node| scan::value(text.as_bytes(), node.start)).collect();
        assert_eq!(left, [&br#"{"a":1}"#[..], b"2"]);
    }

    proptest! {
        #[test]
        fn removal_agrees_with_a_tree(
            values in prop::collection::vec("[0-9]|\\[\\]|\"x\"|\\{\"a\":\\[1\\]\\}", 0..8),
            goes in prop::collection::vec(any::<bool>(), 8),
        ) {
            let text = format!("[{}]", values.join(" , "));
            let left = without(&text, |index| goes[index]);
            let expected: Vec<serde_json::Value> = values
                .iter()
                .zip(&goes)
                .filter(|(_, goes)| !**goes)
                .map(|(value, _)| serde_json::from_str(value).unwrap())
                .collect();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&left).unwrap(), serde_json::json!(expected));
        }
    }
}
