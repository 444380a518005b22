//! What defines a store: everything about it but its contents.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Quota, Store, ValueKind};

/// The definition of a store, without its contents. Written as JSON, so that settings can be added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ValueKind>,
    #[serde(flatten)]
    pub quota: Quota,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub links: BTreeSet<String>,
}

impl Definition {
    /// The JSON text of the definition.
    pub fn encode(&self) -> Vec<u8> {
        // a struct of plain fields always serializes
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub fn decode(text: &[u8]) -> Option<Definition> {
        serde_json::from_slice(text).ok()
    }
}

impl Store {
    /// The definition of the store, without its contents.
    pub fn definition(&self) -> Definition {
        Definition {
            name: self.name.as_ref().map(|name| name.to_string()),
            kind: self.kind,
            quota: self.quota,
            links: BTreeSet::clone(&self.links),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_from_before_limits_has_none() {
        let old = Definition::decode(br#"{"name":"orders","kind":"json"}"#).unwrap();
        let expected =
            Definition { name: Some("orders".into()), kind: Some(ValueKind::Json), ..Definition::default() };
        assert_eq!(old, expected);
        assert_eq!(old.encode(), br#"{"name":"orders","kind":"json"}"#, "and is written as it was");
    }
}
