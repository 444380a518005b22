//! Glob patterns, as KEYS, SCAN and subscriptions take them: Redis's `stringmatchlen`.
//!
//! Pure. A pattern is read where it is used, not compiled: it costs its own bytes, whatever a client puts in it.
//!
//! | in a pattern | stands for |
//! |---|---|
//! | `*` | any bytes, or none |
//! | `?` | one byte |
//! | `[abc]`, `[a-z]`, `[^a]` | one byte that is in the class, or with `^` one that is not |
//! | `\x` | `x` itself, also in a class |
//! | anything else | itself |
//!
//! The corners are Redis's: a range may be the wrong way round; a class without its `]` ends with the pattern; `[]` is
//! empty and matches nothing, `[^]` any byte; a backslash at the end is a plain one; and of the patterns of stars only a
//! single `*` matches the empty string. Ignoring case means ASCII letters; an escaped byte in a class keeps its case,
//! and a range is put in order before its ends are lowered, so `[Z-a]` matches nothing. Unlike there, bytes are unsigned
//! on every machine, which shows only in ranges with one end in ASCII and one beyond it.
//!
//! # Why it is linear in memory and quadratic at worst
//!
//! Everything but a star matches exactly one byte. So when the part behind a star fails, only the latest star is worth
//! trying with one byte more: if an earlier star took more, the part between the two would match later, and whatever
//! the latest star can reach from there it could reach before. One remembered place replaces the recursion, which in
//! Redis before 7.0.9 took exponential time for `a*a*a*a*b` (CVE-2022-36021).

/// A pattern, and what is known of it before any key is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// What every match starts with, escapes resolved.
    literal_prefix: Box<[u8]>,
    /// The pattern from its first special character on; empty if it has none.
    rest: Box<[u8]>,
}

#[derive(Clone, Copy)]
enum Case {
    Sensitive,
    Ignored,
}

impl Pattern {
    pub fn new(pattern: &[u8]) -> Pattern {
        let mut literal_prefix = Vec::new();
        let mut rest = pattern;
        loop {
            rest = match rest {
                [] | [b'*' | b'?' | b'[', ..] => break,
                [b'\\', byte, tail @ ..] | [byte, tail @ ..] => {
                    literal_prefix.push(*byte);
                    tail
                }
            };
        }
        Pattern { literal_prefix: literal_prefix.into(), rest: rest.into() }
    }

    pub fn matches(&self, string: &[u8]) -> bool {
        self.matches_with(string, Case::Sensitive)
    }

    /// Like [`matches`](Self::matches), with ASCII letters in either case. For names of settings, not for keys.
    pub fn matches_ignoring_case(&self, string: &[u8]) -> bool {
        self.matches_with(string, Case::Ignored)
    }

    /// What every match starts with: all of the pattern before its first special character, escapes resolved.
    pub fn literal_prefix(&self) -> &[u8] {
        &self.literal_prefix
    }

    /// Whether this is `*`, which matches everything.
    pub fn is_all(&self) -> bool {
        self.literal_prefix.is_empty() && *self.rest == *b"*"
    }

    /// Whether nothing in the pattern is special: only its literal prefix matches.
    pub fn is_literal(&self) -> bool {
        self.rest.is_empty()
    }

    fn matches_with(&self, string: &[u8], case: Case) -> bool {
        if string.is_empty() {
            return self.is_all() || (self.literal_prefix.is_empty() && self.rest.is_empty());
        }
        match string.split_at_checked(self.literal_prefix.len()) {
            Some((start, end)) => {
                case.equal_slices(start, &self.literal_prefix) && glob(&self.rest, end, case)
            }
            None => false,
        }
    }
}

impl Case {
    fn equal(self, a: u8, b: u8) -> bool {
        self.fold(a) == self.fold(b)
    }

    fn equal_slices(self, a: &[u8], b: &[u8]) -> bool {
        match self {
            Case::Sensitive => a == b,
            Case::Ignored => a.eq_ignore_ascii_case(b),
        }
    }

    fn fold(self, byte: u8) -> u8 {
        match self {
            Case::Sensitive => byte,
            Case::Ignored => byte.to_ascii_lowercase(),
        }
    }
}

/// Whether `pattern` matches all of `string`; see the module's head for why one star to go back to is enough.
fn glob(pattern: &[u8], string: &[u8], case: Case) -> bool {
    let (mut pattern, mut string) = (pattern, string);
    // The pattern behind the latest star, and the string from where that star ends for now.
    let mut latest_star: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', behind @ ..] = pattern {
            if behind.is_empty() {
                return true;
            }
            pattern = behind;
            latest_star = Some((behind, string));
            continue;
        }
        let Some((&byte, string_tail)) = string.split_first() else {
            return pattern.is_empty();
        };
        if let Some(pattern_tail) = match_one(pattern, byte, case) {
            (pattern, string) = (pattern_tail, string_tail);
            continue;
        }
        let Some((behind, [_, longer @ ..])) = latest_star else {
            return false;
        };
        (pattern, string) = (behind, longer);
        latest_star = Some((behind, longer));
    }
}

/// If what `pattern` starts with, no star, matches `byte`: the pattern behind it.
fn match_one(pattern: &[u8], byte: u8, case: Case) -> Option<&[u8]> {
    match pattern {
        [] => None,
        [b'?', tail @ ..] => Some(tail),
        [b'[', b'^', members @ ..] => {
            let (found, tail) = match_class(members, byte, case);
            (!found).then_some(tail)
        }
        [b'[', members @ ..] => {
            let (found, tail) = match_class(members, byte, case);
            found.then_some(tail)
        }
        [b'\\', literal, tail @ ..] | [literal, tail @ ..] => case.equal(*literal, byte).then_some(tail),
    }
}

/// Whether `byte` is among `members`, and the pattern behind the class.
fn match_class(members: &[u8], byte: u8, case: Case) -> (bool, &[u8]) {
    let mut found = false;
    let mut rest = members;
    loop {
        rest = match rest {
            [] => return (found, rest),
            [b'\\', member, tail @ ..] => {
                found |= *member == byte;
                tail
            }
            [b']', tail @ ..] => return (found, tail),
            [from, b'-', to, tail @ ..] => {
                let (from, to) = (*from.min(to), *from.max(to));
                found |= (case.fold(from)..=case.fold(to)).contains(&case.fold(byte));
                tail
            }
            [member, tail @ ..] => {
                found |= case.equal(*member, byte);
                tail
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn assert_matches(pattern: &str, matching: &[&str], others: &[&str]) {
        let compiled = Pattern::new(pattern.as_bytes());
        for string in matching {
            assert!(compiled.matches(string.as_bytes()), "{pattern} should match {string:?}");
        }
        for string in others {
            assert!(!compiled.matches(string.as_bytes()), "{pattern} should not match {string:?}");
        }
    }

    #[test]
    fn what_the_manual_of_keys_promises() {
        assert_matches("h?llo", &["hello", "hallo", "hxllo"], &["hllo", "heello"]);
        assert_matches("h*llo", &["hllo", "heeeello"], &["hell", "xhello"]);
        assert_matches("h[ae]llo", &["hello", "hallo"], &["hillo", "hllo"]);
        assert_matches("h[^e]llo", &["hallo", "hbllo"], &["hello", "hllo"]);
        assert_matches("h[a-b]llo", &["hallo", "hbllo"], &["hcllo", "h-llo"]);
        assert_matches(r"h\*llo\?", &["h*llo?"], &["hello!", r"h\*llo\?"]);
    }

    #[test]
    fn stars_take_as_much_as_they_need() {
        assert_matches("*", &["", "a", "abc"], &[]);
        assert_matches("**", &["a", "abc"], &[""]);
        assert_matches("a**", &["a", "ab"], &["", "ba"]);
        assert_matches("*a", &["a", "ba", "aaa"], &["", "ab"]);
        assert_matches("*ab*ab", &["abab", "xabxabab"], &["ab", "xab", "ababx"]);
        assert_matches("a*?", &["ab", "abc"], &["a"]);
        assert_matches("", &[""], &["a"]);
        assert_matches("?", &["a"], &["", "ab"]);
    }

    #[test]
    fn corners_of_classes() {
        assert_matches("[z-a]", &["a", "m", "z"], &["A", "-"]);
        assert_matches("[a-z-9]", &["q", "-", "9"], &["5"]);
        assert_matches(r"[\]x]", &["]", "x"], &[r"\", r"\]"]);
        assert_matches(r"[a\-z]", &["a", "-", "z"], &["m", r"\"]);
        assert_matches("[]", &[], &["]", "a", ""]);
        assert_matches("[]a]", &[], &["]", "a", "]a]"]);
        assert_matches("[^]", &["a", "]", "^"], &["", "ab"]);
        assert_matches("[a^]", &["a", "^"], &["b"]);
        assert_matches("[^^]", &["a"], &["^"]);
        // The end of a range is taken as it is, even if it is a bracket.
        assert_matches("[+-]", &["+", ",", "[", "]"], &["a", "*"]);
    }

    #[test]
    fn unfinished_patterns() {
        assert_matches("[abc", &["a", "b", "c"], &["d", "[abc"]);
        assert_matches("[^abc", &["d"], &["a", "dd"]);
        assert_matches("[", &[], &["[", "a", ""]);
        assert_matches("[^", &["a", "["], &["", "ab"]);
        assert_matches("[a-", &["a", "-"], &["b"]);
        assert_matches(r"[a\", &["a", r"\"], &["b"]);
        assert_matches(r"a\", &[r"a\"], &["a", r"a\\"]);
    }

    #[test]
    fn case_is_ignored_on_request() {
        let matches = |pattern: &str, string: &str| {
            Pattern::new(pattern.as_bytes()).matches_ignoring_case(string.as_bytes())
        };
        assert!(matches("MaxMem*", "maxmemory"));
        assert!(matches("*[A-C]x", "1bX"));
        assert!(matches("[q]", "Q"));
        assert!(!matches("maxmem", "maxmemo"));
        assert!(!matches(r"[\q]", "Q"));
        assert!(!matches("[Z-a]", "z"));
        assert!(matches("[A-z]", "Q"));
    }

    #[test]
    fn literal_prefixes() {
        for (pattern, prefix, is_literal) in [
            ("user:12345*", "user:12345", false),
            (r"a\*b*", "a*b", false),
            ("a?b", "a", false),
            ("a[bc]", "a", false),
            ("*a", "", false),
            ("*", "", false),
            ("", "", true),
            ("plain]^-", "plain]^-", true),
            (r"a\[b\?\\", r"a[b?\", true),
            (r"a\", r"a\", true),
        ] {
            let compiled = Pattern::new(pattern.as_bytes());
            assert_eq!(compiled.literal_prefix(), prefix.as_bytes(), "{pattern}");
            assert_eq!(compiled.is_literal(), is_literal, "{pattern}");
            assert_eq!(compiled.is_all(), pattern == "*", "{pattern}");
        }
    }

    #[test]
    fn abusive_patterns_end() {
        let pattern = Pattern::new("a*".repeat(500).as_bytes());
        let mut string = vec![b'a'; 20_000];
        assert!(pattern.matches(&string));
        string.push(b'b');
        let never = Pattern::new(["a*".repeat(500).as_bytes(), b"bb"].concat().as_slice());
        assert!(!never.matches(&string));
        assert!(!Pattern::new("*".repeat(100_000).as_bytes()).matches(b""));
    }

    /// The definition, with the recursion that the real one avoids.
    fn reference(pattern: &[u8], string: &[u8], case: Case) -> bool {
        match (pattern, string) {
            ([b'*', behind @ ..], _) => {
                (0..=string.len()).any(|taken| reference(behind, &string[taken..], case))
            }
            (_, [byte, string_tail @ ..]) => match_one(pattern, *byte, case)
                .is_some_and(|pattern_tail| reference(pattern_tail, string_tail, case)),
            (_, []) => pattern.is_empty(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn agrees_with_the_reference(
            pattern in r"[ab*?\[\]^\\-]{0,10}",
            string in r"[abAB*\]\\-]{1,10}",
        ) {
            let compiled = Pattern::new(pattern.as_bytes());
            let (pattern, string) = (pattern.as_bytes(), string.as_bytes());
            prop_assert_eq!(compiled.matches(string), reference(pattern, string, Case::Sensitive));
            prop_assert_eq!(compiled.matches_ignoring_case(string), reference(pattern, string, Case::Ignored));
        }

        #[test]
        fn matches_start_with_the_prefix(pattern in r"[ab*?\\]{0,6}", string in r"[ab*?\\]{0,6}") {
            let compiled = Pattern::new(pattern.as_bytes());
            if compiled.matches(string.as_bytes()) {
                prop_assert!(string.as_bytes().starts_with(compiled.literal_prefix()));
                prop_assert!(!compiled.is_literal() || string.as_bytes() == compiled.literal_prefix());
            }
        }

        #[test]
        fn everything_matches_itself_escaped(string in prop::collection::vec(any::<u8>(), 0..20)) {
            let escaped: Vec<u8> = string.iter().flat_map(|&byte| [b'\\', byte]).collect();
            let compiled = Pattern::new(&escaped);
            prop_assert!(compiled.is_literal());
            prop_assert_eq!(compiled.literal_prefix(), &string[..]);
            prop_assert!(compiled.matches(&string));
        }
    }
}
