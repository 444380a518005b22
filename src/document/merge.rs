//! JSON Merge Patch (RFC 7396) on texts: what the patch doesn't name keeps its bytes and its position.

use std::collections::HashMap;

use super::edit::{Edits, TooLong};
use super::path::Node;
use super::scan::{self, Entries, JsonType};

/// The text of `target` after `patch`; both are values without whitespace around them.
///
/// Recurses as deep as the patch nests.
pub fn merged(target: &[u8], patch: &[u8], bytes_max: usize) -> Result<Vec<u8>, TooLong> {
    if scan::kind(patch, 0) != JsonType::Object {
        return Ok(patch.to_vec());
    }
    let target = if scan::kind(target, 0) == JsonType::Object { target } else { b"{}" };
    let mut members = HashMap::new();
    for entry in Entries::of(target, 0) {
        members.entry(scan::unescaped(&target[entry.key])).or_insert((entry.slot, entry.value));
    }
    let mut edits = Edits::of(target, bytes_max);
    let mut doomed = Vec::new();
    // Of members of the same name in the patch, the last counts.
    let changes: Vec<_> = Entries::of(patch, 0).map(|entry| (entry.key, entry.value)).collect();
    let last: HashMap<_, _> =
        changes.iter().enumerate().map(|(at, (key, _))| (scan::unescaped(&patch[key.clone()]), at)).collect();
    let mut added = Vec::new();
    for (at, (key, value)) in changes.iter().enumerate() {
        let name = scan::unescaped(&patch[key.clone()]);
        if last.get(&name) != Some(&at) {
            continue;
        }
        let value = scan::value(patch, *value);
        let is_null = scan::kind(value, 0) == JsonType::Null;
        match members.get(&name) {
            Some((slot, _)) if is_null => doomed.push(*slot),
            None if is_null => {}
            Some((_, old)) => {
                let range = *old..scan::end(target, *old);
                let new = merged(&target[range.clone()], value, bytes_max)?;
                edits.splice(range, new.into())?;
            }
            None => {
                if !added.is_empty() {
                    added.push(b',');
                }
                added.extend_from_slice(&patch[key.clone()]);
                added.push(b':');
                added.extend(merged(b"null", value, bytes_max)?);
            }
        }
    }
    doomed.sort_unstable();
    if !doomed.is_empty() {
        edits.remove_entries(0, |_, slot| doomed.binary_search(&slot).is_ok())?;
    }
    let mut text = edits.apply()?.to_vec();
    if !added.is_empty() {
        let mut edits = Edits::of(&text, bytes_max);
        edits.append(&Node::root(&text), &added)?;
        text = edits.apply()?.to_vec();
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn merge(target: &str, patch: &str) -> String {
        String::from_utf8(merged(target.as_bytes(), patch.as_bytes(), 1 << 20).unwrap()).unwrap()
    }

    #[test]
    fn the_examples_of_the_rfc() {
        for (target, patch, expected) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, "\"bar\"", "\"bar\""),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merge(target, patch), expected, "{target} {patch}");
        }
    }

    #[test]
    fn what_is_not_named_keeps_its_bytes() {
        let target = r#"{ "n" : 1.10, "o": {"x":1e400, "y" :2} , "z":0 }"#;
        let patch = r#"{"o":{"y":null,"w":3},"z":null}"#;
        assert_eq!(merge(target, patch), r#"{ "n" : 1.10, "o": {"x":1e400,"w":3} }"#);
        assert_eq!(merge(r#"{"a":1}"#, r#"{"\u0061":2}"#), r#"{"a":2}"#);
        assert_eq!(merge("{}", r#"{"a":1,"a":2}"#), r#"{"a":2}"#);
    }

    fn by_tree(target: Value, patch: Value) -> Value {
        let Value::Object(patch) = patch else { return patch };
        let mut target = if let Value::Object(target) = target { target } else { serde_json::Map::new() };
        for (key, value) in patch {
            if value.is_null() {
                target.remove(&key);
            } else {
                let old = target.remove(&key).unwrap_or(Value::Null);
                target.insert(key, by_tree(old, value));
            }
        }
        Value::Object(target)
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<i8>().prop_map(Value::from), "[a-c]".prop_map(Value::from)];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec(("[a-d]", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_a_tree(target in json(), patch in json()) {
            let merged = merge(&target.to_string(), &patch.to_string());
            prop_assert_eq!(serde_json::from_str::<Value>(&merged).unwrap(), by_tree(target, patch));
        }
    }
}
