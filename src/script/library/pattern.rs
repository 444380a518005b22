//! Patterns of Lua 5.1: what `find`, `match`, `gmatch` and `gsub` of its string library look for.
//!
//! Lua's own matcher can't be stopped, takes stack for every repetition, and with some short patterns runs for years.
//! This one tries the same in the same order, counts its steps, checks from time to time whether the script should end,
//! and nests no deeper than that of later versions of Lua. Pure otherwise.

use crate::limits::PATTERN_DEPTH_MAX;

/// Most captures of a pattern, as in Lua.
const CAPTURES_MAX: usize = 32;
/// After how many steps it is checked whether to continue.
const STEPS_BETWEEN_LOOKS: u32 = 16 * 1024;

/// Why matching failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// The pattern is wrong.
    Wrong(&'static str),
    /// The script should end.
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    Open {
        start: usize,
    },
    Text {
        start: usize,
        end: usize,
    },
    /// `()`
    Position {
        start: usize,
    },
}

/// A match, and its captures. Positions count from 0, and the end is exclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    pub start: usize,
    pub end: usize,
    pub captures: Vec<Capture>,
}

/// The first match from `start` on; with `is_anchored` only one at it.
pub fn search(
    text: &[u8],
    pattern: &[u8],
    start: usize,
    is_anchored: bool,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Option<Match>, Stop> {
    let mut matcher = Matcher { text, pattern, captures: Vec::new(), depth: 0, steps: 0, is_stopped };
    for start in start..=text.len() {
        matcher.captures.clear();
        if let Some(end) = matcher.run(start, 0)? {
            return Ok(Some(Match { start, end, captures: matcher.captures }));
        }
        if is_anchored {
            break;
        }
    }
    Ok(None)
}

struct Matcher<'m> {
    text: &'m [u8],
    pattern: &'m [u8],
    captures: Vec<Capture>,
    depth: usize,
    steps: u32,
    is_stopped: &'m dyn Fn() -> bool,
}

/// Where a match ends, if there is one.
type Found = Result<Option<usize>, Stop>;

impl Matcher<'_> {
    fn step(&mut self) -> Result<(), Stop> {
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS_BETWEEN_LOOKS) && (self.is_stopped)() {
            return Err(Stop::Stopped);
        }
        Ok(())
    }

    /// Matches the pattern from `p` on at `s`.
    fn run(&mut self, s: usize, p: usize) -> Found {
        if self.depth >= PATTERN_DEPTH_MAX {
            return Err(Stop::Wrong("pattern too complex"));
        }
        self.depth += 1;
        let found = self.items(s, p);
        self.depth -= 1;
        found
    }

    fn items(&mut self, mut s: usize, mut p: usize) -> Found {
        loop {
            self.step()?;
            let next = self.pattern.get(p + 1).copied();
            match self.pattern.get(p).copied() {
                None => return Ok(Some(s)),
                Some(b'(') if next == Some(b')') => {
                    return self.begin(Capture::Position { start: s }, s, p + 2);
                }
                Some(b'(') => return self.begin(Capture::Open { start: s }, s, p + 1),
                Some(b')') => return self.close(s, p + 1),
                Some(b'$') if next.is_none() => return Ok((s == self.text.len()).then_some(s)),
                Some(b'%') if next == Some(b'b') => match self.balance(s, p + 2)? {
                    Some(end) => (s, p) = (end, p + 4),
                    None => return Ok(None),
                },
                Some(b'%') if next == Some(b'f') => match self.frontier(s, p + 2)? {
                    Some(behind) => p = behind,
                    None => return Ok(None),
                },
                Some(b'%') if next.is_some_and(|byte| byte.is_ascii_digit()) => {
                    match self.again(s, next.unwrap_or_default())? {
                        Some(end) => (s, p) = (end, p + 2),
                        None => return Ok(None),
                    }
                }
                Some(_) => {
                    let end = self.class_end(p)?;
                    let is_match = self.is_single(s, p, end);
                    match self.pattern.get(end) {
                        Some(b'?') => {
                            if is_match && let Some(found) = self.run(s + 1, end + 1)? {
                                return Ok(Some(found));
                            }
                            p = end + 1;
                        }
                        Some(b'*') => return self.most(s, p, end),
                        Some(b'+') if is_match => return self.most(s + 1, p, end),
                        Some(b'-') => return self.least(s, p, end),
                        Some(b'+') => return Ok(None),
                        _ if !is_match => return Ok(None),
                        _ => (s, p) = (s + 1, end),
                    }
                }
            }
        }
    }

    /// As many repetitions as there can be, then fewer.
    fn most(&mut self, s: usize, p: usize, end: usize) -> Found {
        let mut count = 0;
        while self.is_single(s + count, p, end) {
            self.step()?;
            count += 1;
        }
        for count in (0..=count).rev() {
            if let Some(found) = self.run(s + count, end + 1)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// As few repetitions as there can be, then more.
    fn least(&mut self, mut s: usize, p: usize, end: usize) -> Found {
        loop {
            if let Some(found) = self.run(s, end + 1)? {
                return Ok(Some(found));
            }
            if !self.is_single(s, p, end) {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn begin(&mut self, capture: Capture, s: usize, p: usize) -> Found {
        if self.captures.len() >= CAPTURES_MAX {
            return Err(Stop::Wrong("too many captures"));
        }
        self.captures.push(capture);
        let found = self.run(s, p)?;
        if found.is_none() {
            self.captures.pop();
        }
        Ok(found)
    }

    fn close(&mut self, s: usize, p: usize) -> Found {
        let is_open = |capture: &Capture| matches!(capture, Capture::Open { .. });
        let Some(at) = self.captures.iter().rposition(is_open) else {
            return Err(Stop::Wrong("invalid pattern capture"));
        };
        let open = self.captures[at];
        if let Capture::Open { start } = open {
            self.captures[at] = Capture::Text { start, end: s };
        }
        let found = self.run(s, p)?;
        if found.is_none() {
            self.captures[at] = open;
        }
        Ok(found)
    }

    /// `%1`: a repetition of a capture.
    fn again(&mut self, s: usize, digit: u8) -> Found {
        let capture = (digit as usize).checked_sub(b'1' as usize).and_then(|at| self.captures.get(at));
        match capture {
            Some(Capture::Text { start, end }) => {
                let captured = &self.text[*start..*end];
                Ok(self.text[s..].starts_with(captured).then_some(s + captured.len()))
            }
            // as Lua, for which the length of a position is none that fits
            Some(Capture::Position { .. }) => Ok(None),
            _ => Err(Stop::Wrong("invalid capture index")),
        }
    }

    /// `%bxy`
    fn balance(&mut self, s: usize, p: usize) -> Found {
        let (Some(&open), Some(&close)) = (self.pattern.get(p), self.pattern.get(p + 1)) else {
            return Err(Stop::Wrong("unbalanced pattern"));
        };
        if self.text.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1_usize;
        for at in s + 1..self.text.len() {
            self.step()?;
            if self.text[at] == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(at + 1));
                }
            } else if self.text[at] == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    /// `%f[set]`: the position in the pattern behind it, if `s` is where the set begins to match.
    fn frontier(&mut self, s: usize, p: usize) -> Found {
        if self.pattern.get(p) != Some(&b'[') {
            return Err(Stop::Wrong("missing '[' after '%f' in pattern"));
        }
        let end = self.class_end(p)?;
        let before = s.checked_sub(1).and_then(|at| self.text.get(at)).copied().unwrap_or(0);
        let here = self.text.get(s).copied().unwrap_or(0);
        let is_frontier = !self.is_in_set(before, p, end - 1) && self.is_in_set(here, p, end - 1);
        Ok(is_frontier.then_some(end))
    }

    /// Where the single item that begins at `p` ends.
    fn class_end(&self, p: usize) -> Result<usize, Stop> {
        let at = |p: usize| self.pattern.get(p).copied();
        match at(p) {
            Some(b'%') if at(p + 1).is_none() => Err(Stop::Wrong("malformed pattern (ends with '%')")),
            Some(b'%') => Ok(p + 2),
            Some(b'[') => {
                let mut p = p + 1;
                if at(p) == Some(b'^') {
                    p += 1;
                }
                loop {
                    // the first one stands for itself, even if it is a bracket
                    match at(p) {
                        None => return Err(Stop::Wrong("malformed pattern (missing ']')")),
                        Some(b'%') if at(p + 1).is_some() => p += 2,
                        Some(_) => p += 1,
                    }
                    if at(p) == Some(b']') {
                        return Ok(p + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    /// Whether the byte at `s` matches the item from `p` to `end`.
    fn is_single(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&byte) = self.text.get(s) else { return false };
        match self.pattern[p] {
            b'.' => true,
            b'%' => is_in_class(byte, self.pattern[p + 1]),
            b'[' => self.is_in_set(byte, p, end - 1),
            literal => literal == byte,
        }
    }

    /// Whether a byte is in the set between the brackets at `p` and `last`.
    fn is_in_set(&self, byte: u8, p: usize, last: usize) -> bool {
        let is_negated = self.pattern[p + 1] == b'^';
        let mut p = p + 1 + usize::from(is_negated);
        while p < last {
            let (item, next) = (self.pattern[p], self.pattern[p + 1]);
            let is_in;
            if item == b'%' {
                is_in = is_in_class(byte, next);
                p += 2;
            } else if next == b'-' && p + 2 < last {
                is_in = (item..=self.pattern[p + 2]).contains(&byte);
                p += 3;
            } else {
                is_in = item == byte;
                p += 1;
            }
            if is_in {
                return !is_negated;
            }
        }
        is_negated
    }
}

/// `%a` and so on; in capitals the opposite.
fn is_in_class(byte: u8, class: u8) -> bool {
    let is_in = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        // with the vertical tab, which Rust leaves out
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is_in != class.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn find(text: &str, pattern: &str) -> Result<Option<Match>, Stop> {
        search(text.as_bytes(), pattern.as_bytes(), 0, false, &|| false)
    }

    #[test]
    fn a_pattern_that_would_take_years_is_stopped() {
        let text = "a".repeat(5000);
        let pattern = format!("{}b", ".?".repeat(100));
        let outcome = search(text.as_bytes(), pattern.as_bytes(), 0, false, &|| true);
        assert_eq!(outcome, Err(Stop::Stopped));
    }

    #[test]
    fn a_pattern_of_many_repetitions_is_refused() {
        assert_eq!(find(&"a".repeat(1000), &"a?".repeat(1000)), Err(Stop::Wrong("pattern too complex")));
    }

    proptest! {
        /// Lua's own matcher says what is right. Its errors are ours, so none of them is of Rust.
        #[test]
        fn it_finds_what_lua_finds(
            text in "[ab1 (),%]{0,12}",
            pattern in prop::collection::vec(
                prop::sample::select(vec![
                    "a", "b", ".", "%a", "%d", "%S", "[ab]", "[^a]", "[a-b%d]", "[]a]", "(", ")", "()", "%1", "%b()",
                    "%f[%a]", "*", "+", "-", "?", "$", "^", "%", "[", "%%", ",",
                ]),
                0..8,
            ),
        ) {
            let pattern = pattern.concat();
            // others are no patterns to `find`
            prop_assume!(pattern.contains(['^', '$', '*', '+', '?', '.', '(', '[', '%', '-']));
            let lua = mlua::Lua::new();
            let code = "local text, pattern = ...
                local ok, first, last = pcall(string.find, text .. 'x', pattern)
                return ok, first, last";
            let (ok, first, last): (bool, mlua::Value, Option<usize>) =
                lua.load(code).call((text.as_str(), pattern.as_str())).map_err(|error| {
                    TestCaseError::fail(error.to_string())
                })?;
            let text = format!("{text}x");
            let (is_anchored, rest) = match pattern.strip_prefix('^') {
                Some(rest) => (true, rest),
                None => (false, pattern.as_str()),
            };
            match search(text.as_bytes(), rest.as_bytes(), 0, is_anchored, &|| false) {
                Ok(Some(found)) => {
                    // captures that were not closed are found when captures are returned
                    let is_open = found.captures.iter().any(|capture| matches!(capture, Capture::Open { .. }));
                    prop_assert_eq!(ok, !is_open);
                    if ok {
                        prop_assert_eq!(first.as_usize(), Some(found.start + 1));
                        prop_assert_eq!(last, Some(found.end));
                    }
                }
                Ok(None) => prop_assert!(ok && first.is_nil()),
                Err(stop) => prop_assert!(!ok, "{:?}", stop),
            }
        }
    }
}
