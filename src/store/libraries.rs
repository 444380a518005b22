//! Libraries of functions as they are kept: texts by name. What a text means is known to `script` alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

/// All libraries of a server, in the order of their names. A clone costs nothing and does not change any more: whoever
/// changes the original gives it another content than the clone's.
#[derive(Debug, Clone, Default)]
pub struct Libraries {
    texts: Arc<BTreeMap<Bytes, Bytes>>,
    /// Bytes of all names and texts.
    bytes: usize,
    /// The journal sequence number of the last change; 0 if there was none since the start.
    version: u64,
}

impl Libraries {
    /// The text of a library.
    pub fn get(&self, name: &[u8]) -> Option<&Bytes> {
        self.texts.get(name)
    }

    /// Names and texts.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        self.texts.iter()
    }

    pub fn len(&self) -> usize {
        self.texts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Bytes of all names and texts.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the other is a clone, and neither has changed since. Takes no time.
    pub fn is_clone_of(&self, other: &Libraries) -> bool {
        Arc::ptr_eq(&self.texts, &other.texts)
    }

    /// What a reply reflects that tells about them.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Adds a library, or replaces the one of that name.
    pub fn put(&mut self, version: u64, name: Bytes, text: Bytes) {
        self.remove(version, &name);
        self.bytes += name.len() + text.len();
        Arc::make_mut(&mut self.texts).insert(name, text);
    }

    pub fn remove(&mut self, version: u64, name: &[u8]) {
        let removed = Arc::make_mut(&mut self.texts).remove(name);
        self.bytes -= removed.map_or(0, |text| name.len() + text.len());
        self.version = version;
    }
}

impl FromIterator<(Bytes, Bytes)> for Libraries {
    fn from_iter<I: IntoIterator<Item = (Bytes, Bytes)>>(libraries: I) -> Libraries {
        let mut all = Libraries::default();
        libraries.into_iter().for_each(|(name, text)| all.put(0, name, text));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_what_it_has() {
        let mut libraries = Libraries::default();
        libraries.put(1, "a".into(), "1".into());
        let clone = libraries.clone();
        assert!(clone.is_clone_of(&libraries));
        libraries.put(2, "b".into(), "2".into());
        libraries.remove(3, b"a");
        assert!(!clone.is_clone_of(&libraries));
        assert_eq!((clone.len(), clone.bytes(), clone.get(b"b"), clone.version()), (1, 2, None, 1));
        assert_eq!(libraries.version(), 3);
        assert_eq!(libraries.iter().collect::<Vec<_>>(), [(&"b".into(), &"2".into())]);
    }
}
