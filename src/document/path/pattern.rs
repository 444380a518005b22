//! Regular expressions in filters: I-Regexp (RFC 9485) for `match` and `search`, Rust's for what goes beyond it.
//!
//! The crate `regex` takes time linear in the text, whatever the pattern is; the size of the compiled pattern is
//! bounded here.

use regex::{Regex, RegexBuilder};

use super::ast::{Pattern, Term};
use crate::document::scan;
use crate::limits::PATTERN_BYTES_MAX;

/// The pattern that a term gives: compiled at once where it is a literal.
pub fn of_term(term: Term, is_whole: bool) -> Pattern {
    match &term {
        Term::Literal(text) => match text.first() {
            Some(b'"') => {
                compile(&scan::unescaped(text), is_whole).map_or(Pattern::Invalid, Pattern::Compiled)
            }
            _ => Pattern::Invalid,
        },
        _ => Pattern::Term(term),
    }
}

/// Compiles a pattern; None if it isn't one, or a huge one. One that has to match the whole text is anchored.
pub fn compile(pattern: &str, is_whole: bool) -> Option<Regex> {
    let pattern = dots_without_line_ends(pattern);
    let pattern = if is_whole { format!(r"\A(?:{pattern})\z") } else { pattern };
    RegexBuilder::new(&pattern).size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build().ok()
}

/// In an I-Regexp a dot matches neither line feed nor carriage return; in Rust only not the former.
fn dots_without_line_ends(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let (mut is_escaped, mut in_class) = (false, false);
    for c in pattern.chars() {
        match c {
            '.' if !is_escaped && !in_class => out.push_str(r"[^\n\r]"),
            _ => out.push(c),
        }
        match c {
            _ if is_escaped => {}
            '[' => in_class = true,
            ']' => in_class = false,
            _ => {}
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whole_or_part() {
        let matches =
            |pattern: &str, is_whole, text: &str| compile(pattern, is_whole).unwrap().is_match(text);
        assert!(matches("b", false, "abc") && !matches("b", true, "abc"));
        assert!(matches("a|abc", true, "abc"));
        assert!(matches("^a", false, "abc"));
        assert!(!matches("a.c", true, "a\rc") && !matches("a.c", true, "a\nc"));
        assert!(matches(r"a[.b]\.", true, "a..") && matches(r"a\\.", true, "a\\x"));
    }

    #[test]
    fn what_is_none_or_too_big_matches_nothing() {
        assert!(compile("(", false).is_none());
        assert!(compile("((a{1000}){1000}){1000}", false).is_none());
    }
}
