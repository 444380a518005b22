//! Keys chosen at random: RANDOMKEY, and estimates that INFO shows.
//!
//! Keys are sorted, and nothing tells how many there are between two of them. A walk therefore begins with all keys and
//! goes down the tree of their prefixes: where few keys are left it chooses one of them, elsewhere one of the next
//! bytes that occur. Each choice is uniform, so a key in a dense part is reached less often than one in a sparse part.
//! But the walk knows by how much: the numbers of choices on its way multiply to the *weight* of the key where it ends.
//! One of several walks is chosen, in proportion to the weights. The mean of the weights of many walks is the number of
//! keys, which is known: as long as the mean is much smaller, no walk has found the dense parts yet, and more walks are
//! made. This makes the choice nearly uniform, however uneven the tree is.
//!
//! A walk looks at some hundred keys; the first steps of several walks are the same.

use std::collections::HashMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::engine::core::handles::Reader;
use crate::engine::error::Error;
use crate::engine::journal::Seq;
use crate::engine::scan::{Range, successor};
use crate::store::StoreId;

/// The least and the greatest number of walks from which one is chosen.
const WALKS_MIN: usize = 4;
const WALKS_MAX: usize = 64;
/// The fraction of the number of keys that the mean of the weights has to reach to stop before the greatest number.
const CERTAINTY: f64 = 0.75;
/// With at most so many keys left, a walk takes one of them.
const FEW: usize = 64;
/// Keys that are looked at to find the next one that is there.
const LOOKED_AT: usize = 16;

/// A key that a walk ended at.
#[derive(Debug, Clone)]
pub struct Sampled {
    pub key: Bytes,
    pub expires_at_ms: Option<u64>,
    /// How many times less often it is reached than a key that is the only one.
    pub weight: f64,
}

/// A key, and the deadline of its record.
type Expiring = (Bytes, Option<u64>);

/// What is below a prefix.
enum Node {
    /// All the keys.
    Few(Vec<Expiring>),
    /// The longer prefixes that occur, and the key that is no longer than what these begin with.
    Many(Vec<Vec<u8>>, Option<Expiring>),
}

/// One store as its walks see it.
struct Tree<'e> {
    reader: Reader<'e>,
    store: StoreId,
    now_ms: u64,
    nodes: HashMap<Vec<u8>, Node>,
}

impl Reader<'_> {
    /// A random key of a store; each is nearly as likely as any other.
    pub fn random_key(
        &self,
        now_ms: u64,
        store: StoreId,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<(Option<Bytes>, Seq), Error> {
        let reflects = self.last_seq();
        let samples = self.sample(now_ms, store, random)?;
        let total: f64 = samples.iter().map(|sample| sample.weight).sum();
        let mut left = total * (random() as f64 / u64::MAX as f64);
        let chosen = samples.iter().find(|sample| {
            left -= sample.weight;
            left <= 0.0
        });
        Ok((chosen.or(samples.last()).map(|sample| sample.key.clone()), reflects))
    }

    /// The ends of several walks; none in an empty store. Sums over them, weighted, are in proportion to those over all
    /// keys.
    pub fn sample(
        &self,
        now_ms: u64,
        store: StoreId,
        random: &mut dyn FnMut() -> u64,
    ) -> Result<Vec<Sampled>, Error> {
        let records = self.with_catalog(|catalog| catalog.get(store).map_or(0, |store| store.usage.records));
        let mut tree = Tree { reader: *self, store, now_ms, nodes: HashMap::new() };
        let mut samples: Vec<Sampled> = Vec::with_capacity(WALKS_MIN);
        for walks in 1..=WALKS_MAX {
            samples.extend(tree.walk(random)?);
            let mean = samples.iter().map(|sample| sample.weight).sum::<f64>() / walks as f64;
            if walks >= WALKS_MIN && mean >= records as f64 * CERTAINTY {
                break;
            }
        }
        Ok(samples)
    }
}

impl Tree<'_> {
    fn walk(&mut self, random: &mut dyn FnMut() -> u64) -> Result<Option<Sampled>, Error> {
        let (mut prefix, mut weight) = (Vec::new(), 1.0);
        loop {
            if !self.nodes.contains_key(&prefix) {
                let node = self.explore(&prefix)?;
                self.nodes.insert(prefix.clone(), node);
            }
            let Some(node) = self.nodes.get(&prefix) else { return Ok(None) };
            let choices = match node {
                Node::Few(keys) => keys.len(),
                Node::Many(longer, own) => longer.len() + usize::from(own.is_some()),
            };
            if choices == 0 {
                return Ok(None);
            }
            weight *= choices as f64;
            let at = (random() % choices as u64) as usize;
            let end = match node {
                Node::Few(keys) => keys.get(at),
                Node::Many(longer, own) => match longer.get(at) {
                    Some(longer) => {
                        prefix = longer.clone();
                        continue;
                    }
                    None => own.as_ref(),
                },
            };
            return Ok(end.map(|(key, expires_at_ms)| Sampled {
                key: key.clone(),
                expires_at_ms: *expires_at_ms,
                weight,
            }));
        }
    }

    fn explore(&self, prefix: &[u8]) -> Result<Node, Error> {
        let (keys, is_all) = self.keys(prefix, FEW)?;
        if is_all {
            return Ok(Node::Few(keys));
        }
        let first = keys.first().map_or(prefix, |(key, _)| &key[..]);
        let last = keys.last().map_or(prefix, |(key, _)| &key[..]);
        let common = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        // what the first keys have in common is common to all, unless there is a key after all that begin with it
        let is_of_all = match successor(&first[..common]) {
            Some(behind) => self.next(prefix, &behind)?.is_none(),
            None => true,
        };
        let base = if is_of_all && common > prefix.len() { &first[..common] } else { prefix };
        let own = keys.first().filter(|(key, _)| key == base).cloned();

        let mut longer = Vec::new();
        let mut from = Some([base, &[0]].concat());
        while let Some(at) = from.take() {
            let Some(key) = self.next(base, &at)? else { break };
            let child = key[..base.len() + 1].to_vec();
            from = successor(&child).filter(|next| next.starts_with(base));
            longer.push(child);
        }
        Ok(Node::Many(longer, own))
    }

    /// A key with the prefix, at a position or after it: the next one, or one that was removed recently.
    fn next(&self, prefix: &[u8], from: &[u8]) -> Result<Option<Bytes>, Error> {
        let mut found = None;
        let range = Range {
            store: self.store,
            prefix,
            from: Bound::Included(from),
            keys_max: LOOKED_AT,
            absent_free: 0,
        };
        let end = self.reader.scan(self.now_ms, range, &|_| true, &mut |row| {
            found = Some(Bytes::copy_from_slice(row.key()));
            Ok::<_, Error>(ControlFlow::Break(()))
        })?;
        Ok(found.or(end.more_after))
    }

    /// Up to so many keys with the prefix, and whether that is all of them.
    fn keys(&self, prefix: &[u8], keys_max: usize) -> Result<(Vec<Expiring>, bool), Error> {
        let from = Bound::Unbounded;
        let mut keys = Vec::new();
        let range = Range { store: self.store, prefix, from, keys_max, absent_free: 0 };
        let end = self.reader.scan(self.now_ms, range, &|_| true, &mut |row| {
            let expires_at_ms = row.meta().and_then(|meta| meta.expires_at_ms);
            keys.push((Bytes::copy_from_slice(row.key()), expires_at_ms));
            Ok::<_, Error>(ControlFlow::Continue(()))
        })?;
        Ok((keys, end.more_after.is_none()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::engine::scan::sample::*;
    use crate::engine::{Engine, Expiry, Options};
    use crate::store::{Key, Value};

    #[test]
    fn what_follows_a_prefix() {
        assert_eq!(successor(b"a").as_deref(), Some(&b"b"[..]));
        assert_eq!(successor(b"a\xff\xff").as_deref(), Some(&b"b"[..]));
        assert_eq!(successor(b"\xff"), None);
        assert_eq!(successor(b""), None);
    }

    /// How often each of `draws` draws chose a key that `is_rare`.
    fn share_of(keys: &[String], draws: usize, is_rare: impl Fn(&[u8]) -> bool) -> f64 {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(Options::new(dir.path())).unwrap();
        for (at, name) in keys.iter().enumerate() {
            let key = Key { store: 0, name: name.clone().into() };
            engine
                .writer()
                .write(1, std::slice::from_ref(&key), |txn| txn.put(&key, Value::integer(1), Expiry::Never))
                .unwrap();
            // some in LMDB, some in the memtable
            if at == keys.len() / 2 {
                engine.writer().checkpoint().unwrap();
            }
        }
        let mut generator = crate::random::SplitMix(1);
        let mut random = || generator.next();
        let mut rare = 0;
        for _ in 0..draws {
            let key = engine.reader().random_key(1, 0, &mut random).unwrap().0.unwrap();
            assert!(keys.iter().any(|name| name.as_bytes() == key));
            rare += usize::from(is_rare(&key));
        }
        engine.close().unwrap();
        rare as f64 / draws as f64
    }

    #[test]
    fn a_key_that_lies_alone_is_not_preferred() {
        let mut keys: Vec<String> = (0..1_000).map(|number| format!("user:{number:04}")).collect();
        keys.extend(["a".to_owned(), "user".to_owned(), "user:0042:x".to_owned()]);
        let share = share_of(&keys, 150, |key| !key.starts_with(b"user:") || key.len() > 9);
        assert!(share < 0.06, "{share}");
    }

    #[test]
    fn crowds_are_chosen_by_their_size() {
        let crowd = (0..1_800).map(|number| format!("crowd:{number}"));
        let others = (0..200).map(|number| format!("{}", number * 7));
        let keys: Vec<String> = crowd.chain(others).collect();
        let share = share_of(&keys, 200, |key| !key.starts_with(b"crowd:"));
        assert!((0.04..0.2).contains(&share), "{share}");
    }

    #[test]
    fn a_few_keys_are_chosen_evenly() {
        let keys: Vec<String> = ["a", "b", "b:1", "zzzzz"].map(str::to_owned).into();
        let share = share_of(&keys, 400, |key| key == b"a");
        assert!((0.17..0.33).contains(&share), "{share}");
    }
}
