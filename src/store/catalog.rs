//! The catalog of stores.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Generation, Quota, StoreId, Usage, ValueKind};
use crate::limits::{DATABASES_MAX, STORE_NAME_BYTES_MAX};
use crate::text;

/// A store: a namespace with its own records, counters and settings.
#[derive(Debug, Clone)]
pub struct Store {
    pub id: StoreId,
    /// None for a numbered store.
    pub name: Option<Arc<str>>,
    /// None: what `default-values` says.
    pub kind: Option<ValueKind>,
    pub quota: Quota,
    /// Workflows that use the store, whether they are connected or not.
    pub links: Arc<BTreeSet<String>>,
    pub generation: Generation,
    /// The journal sequence number that gave the store its generation; an absent key reflects it.
    pub born: u64,
    pub usage: Usage,
}

impl Store {
    /// The name, or the number of a store without a name: the label for people.
    pub fn label(&self) -> String {
        self.name.as_ref().map_or_else(|| self.id.to_string(), |name| name.to_string())
    }
}

/// All stores, by number, name and generation. Numbered stores always exist. A named store gets the next number from
/// [`DATABASES_MAX`] up, and numbers are never reused.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    by_id: BTreeMap<StoreId, Store>,
    by_name: HashMap<Arc<str>, StoreId>,
    /// Looked up with every change, so it uses a fast hash.
    by_generation: HashMap<Generation, StoreId, foldhash::fast::RandomState>,
    next_id: StoreId,
    total: Total,
}

/// What all stores hold together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    pub records: u64,
    pub stored_bytes: u64,
    /// Stores with a name.
    pub named: u64,
}

impl Total {
    fn add(&mut self, usage: &Usage) {
        self.records += usage.records;
        self.stored_bytes += usage.stored_bytes;
    }

    fn subtract(&mut self, usage: &Usage) {
        self.records -= usage.records;
        self.stored_bytes -= usage.stored_bytes;
    }
}

impl Catalog {
    pub fn get(&self, id: StoreId) -> Option<&Store> {
        self.by_id.get(&id)
    }

    pub fn named(&self, name: &str) -> Option<&Store> {
        self.by_name.get(name).and_then(|id| self.by_id.get(id))
    }

    /// The store that holds a generation; `None` if it was flushed or dropped since.
    pub fn holding(&self, generation: Generation) -> Option<&Store> {
        self.by_generation.get(&generation).and_then(|id| self.by_id.get(id))
    }

    /// Changes the counters of the store that holds a generation, if it was not flushed or dropped since.
    pub fn change_usage(&mut self, generation: Generation, change: impl FnOnce(&mut Usage)) {
        let id = self.by_generation.get(&generation);
        if let Some(store) = id.and_then(|id| self.by_id.get_mut(id)) {
            self.total.subtract(&store.usage);
            change(&mut store.usage);
            self.total.add(&store.usage);
        }
    }

    /// What all stores hold together.
    pub fn total(&self) -> Total {
        self.total
    }

    /// All stores, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Store> {
        self.by_id.values()
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The number that the next named store gets.
    pub fn next_id(&self) -> StoreId {
        self.next_id.max(DATABASES_MAX)
    }

    /// Numbers below this are never assigned again, whatever happened to their stores.
    pub fn reserve_ids_below(&mut self, next_id: StoreId) {
        self.next_id = self.next_id.max(next_id);
    }

    /// Undoes the assignment of numbers to named stores; the stores that had got one since were undone, too.
    pub fn restore_next_id(&mut self, next_id: StoreId) {
        self.next_id = next_id;
    }

    /// Adds a store or replaces the one of that number.
    pub fn insert(&mut self, store: Store) {
        self.remove(store.id);
        if let Some(name) = &store.name {
            self.by_name.insert(name.clone(), store.id);
            self.total.named += 1;
        }
        self.total.add(&store.usage);
        self.by_generation.insert(store.generation, store.id);
        self.reserve_ids_below(store.id.saturating_add(1));
        self.by_id.insert(store.id, store);
    }

    pub fn remove(&mut self, id: StoreId) -> Option<Store> {
        let store = self.by_id.remove(&id)?;
        if let Some(name) = &store.name {
            self.by_name.remove(name);
            self.total.named -= 1;
        }
        self.total.subtract(&store.usage);
        // after a swap another store may hold this generation by now
        if self.by_generation.get(&store.generation) == Some(&id) {
            self.by_generation.remove(&store.generation);
        }
        Some(store)
    }
}

/// Why no store can have a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid store name: {0}")]
pub struct InvalidName(String);

/// Checks a name for a new store: 1 to [`STORE_NAME_BYTES_MAX`] bytes of printable UTF-8, without a space at either
/// end, not a number, and with at least one visible character. Stores to which earlier versions gave other names are
/// still found by them.
pub fn check_name(name: &[u8]) -> Result<&str, InvalidName> {
    let refuse = |why: &str| Err(InvalidName(why.to_owned()));
    let Ok(text) = std::str::from_utf8(name) else { return refuse("it is not UTF-8") };
    if text.is_empty() || text.len() > STORE_NAME_BYTES_MAX {
        return refuse(&format!("it has {} bytes, allowed are 1 to {STORE_NAME_BYTES_MAX}", text.len()));
    }
    if text.chars().any(text::is_control) {
        return refuse("it has a character that can't be printed, or that changes the direction of writing");
    }
    if !text::is_visible(text) {
        return refuse("none of its characters can be seen");
    }
    if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
        return refuse("it begins or ends with a space");
    }
    if text.bytes().all(|b| b.is_ascii_digit()) || text.parse::<i64>().is_ok() {
        return refuse("it is a number; numbers name the numbered stores");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(id: StoreId, name: Option<&str>, generation: Generation) -> Store {
        Store {
            id,
            name: name.map(Arc::from),
            kind: None,
            quota: Quota::default(),
            links: Arc::default(),
            generation,
            born: 0,
            usage: Usage { records: generation, stored_bytes: 10 * generation, ..Usage::default() },
        }
    }

    #[test]
    fn a_store_is_found_by_number_name_and_generation_until_it_goes() {
        let mut catalog = Catalog::default();
        catalog.insert(store(16, Some("orders"), 7));
        assert_eq!(catalog.named("orders").map(|s| s.id), Some(16));
        assert_eq!(catalog.holding(7).map(|s| s.id), Some(16));
        catalog.insert(store(16, Some("sales"), 8));
        assert!(catalog.named("orders").is_none() && catalog.holding(7).is_none());
        catalog.remove(16);
        assert!(catalog.named("sales").is_none() && catalog.holding(8).is_none());
        assert_eq!(catalog.next_id(), 17, "a number is not given twice");
    }

    #[test]
    fn the_total_follows() {
        let mut catalog = Catalog::default();
        catalog.insert(store(0, None, 1));
        catalog.insert(store(16, Some("orders"), 7));
        assert_eq!(catalog.total(), Total { records: 8, stored_bytes: 80, named: 1 });
        catalog.change_usage(7, |usage| usage.records = 2);
        catalog.change_usage(99, |usage| usage.records = 1_000);
        assert_eq!(catalog.total().records, 3);
        catalog.insert(store(16, Some("sales"), 8));
        assert_eq!(catalog.total(), Total { records: 9, stored_bytes: 90, named: 1 });
        catalog.remove(16);
        assert_eq!(catalog.total(), Total { records: 1, stored_bytes: 10, named: 0 });
    }

    #[test]
    fn a_swap_of_generations_in_two_steps_loses_none() {
        let mut catalog = Catalog::default();
        catalog.insert(store(0, None, 1));
        catalog.insert(store(1, None, 2));
        catalog.insert(store(0, None, 2));
        catalog.insert(store(1, None, 1));
        assert_eq!(catalog.holding(1).map(|s| s.id), Some(1));
        assert_eq!(catalog.holding(2).map(|s| s.id), Some(0));
    }

    #[test]
    fn names() {
        for good in ["orders", "\u{200b}a", "a b", "größe", "17x", "_"] {
            assert!(check_name(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in [
            &b""[..],
            b"17",
            b"-3",
            b"+3",
            b" a",
            b"a ",
            b"a\n",
            b"\xff",
            &[b'x'; 129],
            "a\u{202e}b".as_bytes(),
            "\u{200b}\u{200d}".as_bytes(),
            "\u{2028}".as_bytes(),
            "\u{2066}a".as_bytes(),
        ] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
