//! The scripts that EVALSHA knows.
//!
//! As in Redis, scripts of SCRIPT LOAD stay until SCRIPT FLUSH, and of those that only came with an EVAL, the least
//! recently used are evicted. Both are bounded in bytes: a SCRIPT LOAD that finds no room is refused.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::source::Script;
use crate::error::Error;
use crate::limits::{EVAL_SCRIPTS_MAX, SCRIPT_CACHE_BYTES_MAX};

/// What a script costs in addition to its text.
const OVERHEAD_BYTES: usize = 256;

#[derive(Default)]
pub struct Cache {
    by_sha: HashMap<String, Cached>,
    /// Scripts that may be evicted, the least recently used first.
    evictable: BTreeMap<u64, String>,
    uses: u64,
    bytes: usize,
    evicted: u64,
}

struct Cached {
    script: Arc<Script>,
    /// When it was last used, if it may be evicted.
    used: Option<u64>,
}

/// Figures for INFO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStatus {
    pub scripts: usize,
    pub bytes: usize,
    pub evicted: u64,
}

impl Cache {
    /// The script of a name, in any case, which counts as a use.
    pub fn get(&mut self, sha: &[u8]) -> Option<Arc<Script>> {
        let sha = String::from_utf8_lossy(sha).to_ascii_lowercase();
        let cached = self.by_sha.get_mut(&sha)?;
        if let Some(used) = &mut cached.used {
            self.evictable.remove(used);
            self.uses += 1;
            *used = self.uses;
            self.evictable.insert(self.uses, sha);
        }
        Some(cached.script.clone())
    }

    pub fn has(&self, sha: &[u8]) -> bool {
        self.by_sha.contains_key(&String::from_utf8_lossy(sha).to_ascii_lowercase())
    }

    /// Keeps a script that came with an EVAL, unless it is too long.
    pub fn add(&mut self, script: Arc<Script>) {
        if self.by_sha.contains_key(&script.sha) || !self.make_room(&script) {
            return;
        }
        while self.evictable.len() >= EVAL_SCRIPTS_MAX {
            self.evict();
        }
        self.uses += 1;
        self.evictable.insert(self.uses, script.sha.clone());
        let used = Some(self.uses);
        self.insert(script, used);
    }

    /// Keeps a script until [`clear`](Cache::clear).
    pub fn load(&mut self, script: Arc<Script>) -> Result<(), Error> {
        if let Some(cached) = self.by_sha.get_mut(&script.sha) {
            if let Some(used) = cached.used.take() {
                self.evictable.remove(&used);
            }
            return Ok(());
        }
        if !self.make_room(&script) {
            let why = format!(
                "ERR scripts would take more than {SCRIPT_CACHE_BYTES_MAX} bytes; remove them with SCRIPT FLUSH"
            );
            return Err(Error::other(why));
        }
        self.insert(script, None);
        Ok(())
    }

    pub fn clear(&mut self) {
        *self = Cache { uses: self.uses, evicted: self.evicted, ..Cache::default() };
    }

    pub fn status(&self) -> CacheStatus {
        CacheStatus { scripts: self.by_sha.len(), bytes: self.bytes, evicted: self.evicted }
    }

    fn insert(&mut self, script: Arc<Script>, used: Option<u64>) {
        self.bytes += cost(&script);
        self.by_sha.insert(script.sha.clone(), Cached { script, used });
    }

    /// Makes room by evicting scripts. Returns whether there is room.
    fn make_room(&mut self, script: &Script) -> bool {
        while self.bytes + cost(script) > SCRIPT_CACHE_BYTES_MAX {
            if !self.evict() {
                return false;
            }
        }
        true
    }

    fn evict(&mut self) -> bool {
        let Some((_, sha)) = self.evictable.pop_first() else { return false };
        if let Some(cached) = self.by_sha.remove(&sha) {
            self.bytes -= cost(&cached.script);
            self.evicted += 1;
        }
        true
    }
}

fn cost(script: &Script) -> usize {
    script.text.len() + OVERHEAD_BYTES
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn script(text: &str) -> Arc<Script> {
        Arc::new(Script::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn scripts_of_eval_give_way_and_loaded_ones_stay() {
        let mut cache = Cache::default();
        let (loaded, used, unused) = (script("loaded"), script("used"), script("unused"));
        cache.load(loaded.clone()).unwrap();
        cache.add(used.clone());
        cache.add(unused.clone());
        for number in 2..EVAL_SCRIPTS_MAX {
            cache.add(script(&number.to_string()));
        }
        assert!(cache.get(used.sha.to_uppercase().as_bytes()).is_some());
        cache.add(script("one more"));
        assert!(cache.has(loaded.sha.as_bytes()) && cache.has(used.sha.as_bytes()));
        assert!(!cache.has(unused.sha.as_bytes()));
        assert_eq!(cache.status().scripts, EVAL_SCRIPTS_MAX + 1);
        assert_eq!(cache.status().evicted, 1);
        cache.clear();
        assert_eq!(cache.status(), CacheStatus { scripts: 0, bytes: 0, evicted: 1 });
    }

    #[test]
    fn a_script_of_eval_that_is_loaded_stays() {
        let mut cache = Cache::default();
        let text = script("both");
        cache.add(text.clone());
        cache.load(text.clone()).unwrap();
        for number in 0..=EVAL_SCRIPTS_MAX {
            cache.add(script(&number.to_string()));
        }
        assert!(cache.has(text.sha.as_bytes()));
    }

    #[test]
    fn the_cache_is_bounded_in_bytes() {
        let mut cache = Cache::default();
        let large = |digit: &str| script(&digit.repeat(SCRIPT_CACHE_BYTES_MAX / 2));
        cache.load(large("1")).unwrap();
        cache.add(script("small"));
        cache.add(large("2"));
        assert_eq!(cache.status().scripts, 1, "the small one had to go, and the large one found no room");
        assert!(cache.load(large("3")).is_err());
        assert!(cache.status().bytes <= SCRIPT_CACHE_BYTES_MAX);
    }
}
