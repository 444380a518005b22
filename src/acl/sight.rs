//! Which keys of one store a user may be shown.
//!
//! Commands that return keys without naming any (KEYS, SCAN, STORE ENTRIES) are permitted by the gate because of their
//! name and store alone, so they check every key that they are about to show.

use crate::store::Pattern;

/// The keys of one store that may be shown: all of them, or those that match a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// `None`: every key.
    patterns: Option<Vec<Pattern>>,
}

impl Sight {
    pub const ALL: Sight = Sight { patterns: None };

    /// What several sets of permissions allow together; each has patterns, or `None` for every key.
    pub(super) fn of(permissions: impl Iterator<Item = Option<Vec<Pattern>>>) -> Sight {
        let patterns: Option<Vec<Vec<Pattern>>> = permissions.collect();
        Sight { patterns: patterns.map(|patterns| patterns.concat()) }
    }

    /// Whether this key may be shown.
    #[inline]
    pub fn shows(&self, key: &[u8]) -> bool {
        match &self.patterns {
            None => true,
            Some(patterns) => patterns.iter().any(|pattern| pattern.matches(key)),
        }
    }

    pub fn is_all(&self) -> bool {
        self.patterns.is_none()
    }

    /// Whether every key that begins with this prefix may be shown.
    pub fn shows_all_with(&self, prefix: &[u8]) -> bool {
        self.patterns.as_ref().is_none_or(|patterns| {
            patterns.iter().any(|pattern| pattern.is_prefix() && prefix.starts_with(pattern.literal_prefix()))
        })
    }

    /// The common prefix of all keys that may be shown.
    pub fn prefix(&self) -> &[u8] {
        let mut prefixes = self.patterns.iter().flatten().map(Pattern::literal_prefix);
        let first = prefixes.next().unwrap_or_default();
        prefixes.fold(first, |common, other| {
            let length = common.iter().zip(other).take_while(|(a, b)| a == b).count();
            &common[..length]
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sight(patterns: &[&str]) -> Sight {
        Sight::of(std::iter::once(Some(
            patterns.iter().map(|text| Pattern::new(text.as_bytes()).unwrap()).collect(),
        )))
    }

    #[test]
    fn one_set_of_permissions_for_every_key_is_enough() {
        let some = || Some(vec![Pattern::new(b"a*").unwrap()]);
        assert!(Sight::of([some(), None].into_iter()).is_all());
        assert!(!Sight::of([some(), some()].into_iter()).is_all());
        let none = Sight::of(std::iter::empty());
        assert!(!none.is_all() && !none.shows(b"") && !none.shows_all_with(b"a") && none.prefix().is_empty());
    }

    #[test]
    fn what_all_shown_keys_begin_with() {
        for (patterns, prefix) in [
            (&["app:*"][..], "app:"),
            (&["app:a*", "app:b*"], "app:"),
            (&["app:*", "*"], ""),
            (&["a?c", "abd"], "a"),
            (&["abc"], "abc"),
        ] {
            assert_eq!(sight(patterns).prefix(), prefix.as_bytes(), "{patterns:?}");
        }
    }

    #[test]
    fn whole_prefixes_are_known() {
        let some = sight(&["app:*", "x?*", "y"]);
        for (prefix, all) in [("app:", true), ("app:1", true), ("app", false), ("xa", false), ("y", false)] {
            assert_eq!(some.shows_all_with(prefix.as_bytes()), all, "{prefix}");
        }
        assert!(some.shows(b"app:1") && some.shows(b"y") && !some.shows(b"yy") && !some.shows(b"other"));
        assert!(Sight::ALL.shows_all_with(b"") && Sight::ALL.shows(b"x"));
    }
}
