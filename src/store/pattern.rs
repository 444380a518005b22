//! Glob patterns, as KEYS, SCAN and subscriptions take them: Redis's `stringmatchlen`.
//!
//! Pure.
//!
//! | in a pattern | stands for |
//! |---|---|
//! | `*` | any bytes, or none |
//! | `?` | one byte |
//! | `[abc]`, `[a-z]`, `[^a]` | one byte that is in the class, or with `^` one that is not |
//! | `\x` | `x` itself, also in a class |
//! | anything else | itself |
//!
//! Edge cases are those of Redis: a range may be reversed; a class without its `]` ends with the pattern; `[]` is empty
//! and matches nothing, `[^]` any byte; a backslash at the end is a plain one; and of the patterns of stars only a
//! single `*` matches the empty string. Ignoring case means ASCII letters; an escaped byte in a class keeps its case,
//! and a range is put in order before its ends are lowered, so `[Z-a]` matches nothing. Unlike there, bytes are
//! unsigned on every machine, which shows only in ranges with one end in ASCII and one beyond it.
//!
//! # How it is matched, and at what cost
//!
//! A pattern is compiled once. Everything but a star matches exactly one byte, so the pattern is a list of *parts* with
//! stars between them. The first part must match at the start of the string and the last at its end. Each part in
//! between is searched for from left to right, and its first occurrence is as good as any: if a star took more, the
//! parts behind it would only have less room. So there is no backtracking to an earlier star, which Redis before 7.0.9
//! did, and which took exponential time for `a*a*a*a*b` (CVE-2022-36021).
//!
//! Short parts are searched for by comparing at each position. For longer ones, that would be quadratic; they are
//! searched for with the Shift-And algorithm, which keeps one bit for each element of the part that could match up to
//! here, so that a byte of the string costs one step for 64 elements. Matching takes at most
//! `string bytes * max(32, longest part / 64)` steps, whatever the pattern is; compiled, it takes at most some forty times
//! the bytes of its text, which is bounded by [`GLOB_BYTES_MAX`].

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::limits::GLOB_BYTES_MAX;

/// The pattern is longer than [`GLOB_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("pattern is {bytes} bytes, longer than the limit of {GLOB_BYTES_MAX}")]
pub struct PatternTooLong {
    pub bytes: usize,
}

/// A compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// What every match starts with, escapes resolved.
    literal_prefix: Box<[u8]>,
    /// The pattern from its first special character on; empty if it has none.
    rest: Box<[u8]>,
    case: Case,
    /// `rest`, split at its stars: one part more than there are stars.
    parts: Box<[Part]>,
    /// The least number of bytes that a match has after the literal prefix.
    rest_bytes_min: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    Sensitive,
    Ignored,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.case == other.case && self.literal_prefix == other.literal_prefix && self.rest == other.rest
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// The pattern `*`.
    pub fn all() -> Pattern {
        Pattern::compile(b"*", Case::Sensitive)
    }

    /// Fails over [`GLOB_BYTES_MAX`].
    pub fn new(pattern: &[u8]) -> Result<Pattern, PatternTooLong> {
        Pattern::bounded(pattern, Case::Sensitive)
    }

    /// Like [`new`](Self::new), with ASCII letters in either case. For names of settings, not for keys.
    pub fn ignoring_case(pattern: &[u8]) -> Result<Pattern, PatternTooLong> {
        Pattern::bounded(pattern, Case::Ignored)
    }

    pub fn matches(&self, string: &[u8]) -> bool {
        if string.is_empty() {
            return self.is_all() || (self.literal_prefix.is_empty() && self.rest.is_empty());
        }
        match string.split_at_checked(self.literal_prefix.len()) {
            Some((start, end)) => {
                self.case.equal_slices(start, &self.literal_prefix) && self.rest_matches(end)
            }
            None => false,
        }
    }

    /// What every match starts with: all of the pattern before its first special character, escapes resolved.
    pub fn literal_prefix(&self) -> &[u8] {
        &self.literal_prefix
    }

    /// Whether this is `*`, which matches everything.
    pub fn is_all(&self) -> bool {
        self.literal_prefix.is_empty() && *self.rest == *b"*"
    }

    /// Whether everything that starts with its literal prefix matches.
    pub fn is_prefix(&self) -> bool {
        *self.rest == *b"*"
    }

    /// Whether nothing in the pattern is special: only its literal prefix matches.
    pub fn is_literal(&self) -> bool {
        self.rest.is_empty()
    }

    fn bounded(pattern: &[u8], case: Case) -> Result<Pattern, PatternTooLong> {
        if pattern.len() > GLOB_BYTES_MAX {
            return Err(PatternTooLong { bytes: pattern.len() });
        }
        Ok(Pattern::compile(pattern, case))
    }

    fn compile(pattern: &[u8], case: Case) -> Pattern {
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
        let (mut parts, mut elements) = (Vec::new(), Vec::new());
        let mut text = rest;
        while !text.is_empty() {
            if let [b'*', behind @ ..] = text {
                parts.push(Part::new(std::mem::take(&mut elements)));
                text = behind;
            } else {
                let (element, behind) = element(text, case);
                elements.push(element);
                text = behind;
            }
        }
        parts.push(Part::new(elements));
        let rest_bytes_min = parts.iter().map(|part| part.elements.len()).sum();
        Pattern {
            literal_prefix: literal_prefix.into(),
            rest: rest.into(),
            case,
            parts: parts.into(),
            rest_bytes_min,
        }
    }

    /// Whether the rest after the literal prefix matches all of `string`.
    fn rest_matches(&self, string: &[u8]) -> bool {
        if string.len() < self.rest_bytes_min {
            return false;
        }
        let [first, between @ .., last] = &*self.parts else {
            // without a star
            return self.parts.iter().all(|part| part.elements.len() == string.len() && part.is_at(string));
        };
        // both fit, since all parts do
        let (head, string) = string.split_at(first.elements.len());
        let (mut string, tail) = string.split_at(string.len() - last.elements.len());
        if !first.is_at(head) || !last.is_at(tail) {
            return false;
        }
        for part in between {
            match part.find_end(string) {
                Some(end) => string = &string[end..],
                None => return false,
            }
        }
        true
    }
}

impl Case {
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

/// What matches exactly one byte.
#[derive(Debug, Clone)]
enum Element {
    Byte(u8),
    Any,
    Set(Box<ByteSet>),
}

impl Element {
    fn matches(&self, byte: u8) -> bool {
        match self {
            Element::Byte(one) => *one == byte,
            Element::Any => true,
            Element::Set(set) => set.has(byte),
        }
    }
}

#[derive(Debug, Clone, Default)]
struct ByteSet([u64; 4]);

impl ByteSet {
    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    fn invert(&mut self) {
        self.0.iter_mut().for_each(|word| *word = !*word);
    }
}

/// The element that a pattern starts with, which is no star, and the pattern after it.
fn element(pattern: &[u8], case: Case) -> (Element, &[u8]) {
    match pattern {
        [b'?', tail @ ..] => (Element::Any, tail),
        [b'[', b'^', members @ ..] => {
            let (mut set, tail) = class(members, case);
            set.invert();
            (Element::Set(Box::new(set)), tail)
        }
        [b'[', members @ ..] => {
            let (set, tail) = class(members, case);
            (Element::Set(Box::new(set)), tail)
        }
        [b'\\', literal, tail @ ..] | [literal, tail @ ..] => {
            if case == Case::Sensitive || !literal.is_ascii_alphabetic() {
                return (Element::Byte(*literal), tail);
            }
            let mut set = ByteSet::default();
            set.add(literal.to_ascii_lowercase());
            set.add(literal.to_ascii_uppercase());
            (Element::Set(Box::new(set)), tail)
        }
        // the caller has more to read
        [] => (Element::Set(Box::default()), pattern),
    }
}

/// The members of a class, and the pattern behind it.
fn class(members: &[u8], case: Case) -> (ByteSet, &[u8]) {
    let mut set = ByteSet::default();
    let mut rest = members;
    loop {
        rest = match rest {
            [] => return (set, rest),
            [b'\\', member, tail @ ..] => {
                set.add(*member);
                tail
            }
            [b']', tail @ ..] => return (set, tail),
            [from, b'-', to, tail @ ..] => {
                let (from, to) = (*from.min(to), *from.max(to));
                // after case folding, the ends may be reversed; then the range is empty
                let folded = case.fold(from)..=case.fold(to);
                (0..=u8::MAX)
                    .filter(|byte| folded.contains(&case.fold(*byte)))
                    .for_each(|byte| set.add(byte));
                tail
            }
            [member, tail @ ..] => {
                set.add(*member);
                if case == Case::Ignored {
                    set.add(member.to_ascii_lowercase());
                    set.add(member.to_ascii_uppercase());
                }
                tail
            }
        };
    }
}

/// Elements between two stars.
#[derive(Debug, Clone)]
struct Part {
    elements: Box<[Element]>,
    /// Only of a long part.
    table: Option<Box<Table>>,
}

/// Parts of so many elements are searched for by comparing at each position.
const COMPARED_ELEMENTS_MAX: usize = 32;

impl Part {
    fn new(elements: Vec<Element>) -> Part {
        let table = (elements.len() > COMPARED_ELEMENTS_MAX).then(|| Box::new(Table::new(&elements)));
        Part { elements: elements.into(), table }
    }

    /// Whether the part matches at the start of a string, which is long enough.
    fn is_at(&self, string: &[u8]) -> bool {
        self.elements.iter().zip(string).all(|(element, byte)| element.matches(*byte))
    }

    /// Where the first occurrence of the part ends.
    fn find_end(&self, string: &[u8]) -> Option<usize> {
        let length = self.elements.len();
        if let Some(table) = &self.table {
            return table.find_end(string, length);
        }
        if length == 0 {
            return Some(0);
        }
        string.windows(length).position(|window| self.is_at(window)).map(|at| at + length)
    }
}

/// For each byte, which elements of a part match it: bit `n` is that of element `n`. Bytes that no element tells apart
/// share a row.
#[derive(Debug, Clone)]
struct Table {
    row_of: [u8; 256],
    /// The rows, one behind the other.
    rows: Box<[u64]>,
    row_words: usize,
}

impl Table {
    fn new(elements: &[Element]) -> Table {
        let row_words = elements.len().div_ceil(64);
        let mut row_of = [0; 256];
        let mut known: HashMap<Vec<u64>, u8> = HashMap::new();
        let mut rows = Vec::new();
        for byte in 0..=u8::MAX {
            let mut row = vec![0; row_words];
            for (at, element) in elements.iter().enumerate() {
                row[at / 64] |= u64::from(element.matches(byte)) << (at % 64);
            }
            // there are at most as many rows as bytes
            let next = known.len() as u8;
            row_of[usize::from(byte)] = *known.entry(row).or_insert_with_key(|row| {
                rows.extend_from_slice(row);
                next
            });
        }
        Table { row_of, rows: rows.into(), row_words }
    }

    /// Shift-And: where the first occurrence ends. `length` is the number of elements.
    fn find_end(&self, string: &[u8], length: usize) -> Option<usize> {
        let (last_word, last_bit) = ((length - 1) / 64, (length - 1) % 64);
        // bit `n`: the string up to here ends with what the elements up to `n` match
        let mut state: SmallVec<[u64; 8]> = SmallVec::from_elem(0, self.row_words);
        for (at, byte) in string.iter().enumerate() {
            let row = usize::from(self.row_of[usize::from(*byte)]) * self.row_words;
            let row = &self.rows[row..row + self.row_words];
            let mut carry = 1;
            for (word, mask) in state.iter_mut().zip(row) {
                let carried = carry;
                carry = *word >> 63;
                *word = (*word << 1 | carried) & mask;
            }
            if state[last_word] >> last_bit & 1 == 1 {
                return Some(at + 1);
            }
        }
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn assert_matches(pattern: &str, matching: &[&str], others: &[&str]) {
        let compiled = Pattern::new(pattern.as_bytes()).unwrap();
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
            Pattern::ignoring_case(pattern.as_bytes()).unwrap().matches(string.as_bytes())
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
            let compiled = Pattern::new(pattern.as_bytes()).unwrap();
            assert_eq!(compiled.literal_prefix(), prefix.as_bytes(), "{pattern}");
            assert_eq!(compiled.is_literal(), is_literal, "{pattern}");
            assert_eq!(compiled.is_all(), pattern == "*", "{pattern}");
        }
    }

    #[test]
    fn abusive_patterns_end() {
        let long = |text: &str, times| text.repeat(times).into_bytes();
        let string = |tail: &[u8]| [&long("a", 60_000), tail].concat();
        for (pattern, tail, matches) in [
            (long("a*", 500), &b""[..], true),
            ([long("a*", 500), b"bb".to_vec()].concat(), b"b", false),
            // parts of ten thousand elements, at sixty thousand positions
            ([b"*".to_vec(), long("a", 10_000), b"b*".to_vec()].concat(), b"", false),
            ([b"*".to_vec(), long("a", 10_000), b"b*".to_vec()].concat(), b"b", true),
            ([b"*".to_vec(), long("?", 10_000), b"b*".to_vec()].concat(), b"b", true),
            ([b"*".to_vec(), long("[^b]", 10_000), b"c*".to_vec()].concat(), b"b", false),
            // a class that has to be read for every byte
            ([b"*[".to_vec(), long("c", 60_000), b"]a*".to_vec()].concat(), b"b", false),
            (long("*", 60_000), b"", true),
        ] {
            let shown = String::from_utf8_lossy(&pattern[..20]).into_owned();
            assert_eq!(Pattern::new(&pattern).unwrap().matches(&string(tail)), matches, "{shown}...");
        }
        assert!(!Pattern::new(&long("*", 60_000)).unwrap().matches(b""));
        let too_long = Pattern::new(&long("a", GLOB_BYTES_MAX + 1));
        assert!(matches!(too_long, Err(PatternTooLong { .. })));
    }

    /// The definition: what Redis does, with its recursion and without anything compiled.
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

    /// If what `pattern` starts with, no star, matches `byte`: the pattern behind it.
    fn match_one(pattern: &[u8], byte: u8, case: Case) -> Option<&[u8]> {
        let equal = |a: u8, b: u8| case.fold(a) == case.fold(b);
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
            [b'\\', literal, tail @ ..] | [literal, tail @ ..] => equal(*literal, byte).then_some(tail),
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
                    found |= case.fold(*member) == case.fold(byte);
                    tail
                }
            };
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn agrees_with_the_reference(
            pattern in r"[abZ*?\[\]^\\-]{0,10}",
            string in r"[abABZ*\]\\-]{1,10}",
        ) {
            let (pattern, string) = (pattern.as_bytes(), string.as_bytes());
            for case in [Case::Sensitive, Case::Ignored] {
                let compiled = Pattern::compile(pattern, case);
                prop_assert_eq!(compiled.matches(string), reference(pattern, string, case));
            }
        }

        /// Parts of up to some hundred elements, which are searched for with the table.
        #[test]
        fn agrees_with_the_reference_on_long_parts(
            part in r"([ab]|\?|\[\^a\]|\[ab\]){30,200}",
            head in r"[ab]{0,150}",
            tail in r"[ab]{0,80}",
            hit in any::<bool>(),
        ) {
            // what the part matches, or a random string
            let inner = part.replace("[^a]", "b").replace("[ab]", "a").replace('?', "b");
            let string = if hit { format!("{head}{inner}{tail}") } else { format!("{head}{tail}{head}{tail}x") };
            let pattern = format!("*{part}*");
            let compiled = Pattern::compile(pattern.as_bytes(), Case::Sensitive);
            let expected = reference(pattern.as_bytes(), string.as_bytes(), Case::Sensitive);
            prop_assert_eq!(compiled.matches(string.as_bytes()), expected);
            prop_assert!(expected || !hit);
        }

        #[test]
        fn matches_start_with_the_prefix(pattern in r"[ab*?\\]{0,6}", string in r"[ab*?\\]{0,6}") {
            let compiled = Pattern::new(pattern.as_bytes()).unwrap();
            if compiled.matches(string.as_bytes()) {
                prop_assert!(string.as_bytes().starts_with(compiled.literal_prefix()));
                prop_assert!(!compiled.is_literal() || string.as_bytes() == compiled.literal_prefix());
            }
        }

        #[test]
        fn everything_matches_itself_escaped(string in prop::collection::vec(any::<u8>(), 0..20)) {
            let escaped: Vec<u8> = string.iter().flat_map(|&byte| [b'\\', byte]).collect();
            let compiled = Pattern::new(&escaped).unwrap();
            prop_assert!(compiled.is_literal());
            prop_assert_eq!(compiled.literal_prefix(), &string[..]);
            prop_assert!(compiled.matches(&string));
        }
    }
}
