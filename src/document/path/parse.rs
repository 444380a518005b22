//! From the text of a path to a [`Query`].
//!
//! The grammar is that of RFC 9535, and a little more, so that paths written for RedisJSON work:
//!
//! * names behind a dot may begin with a digit and hold ``- ` ~ + # % $ ^ / :``,
//! * a dot may stand in front of a bracket: `$.[0]`,
//! * filters know `=~` (a search for a regular expression), `in` and `nin`, and arrays and objects as literals.
//!
//! Parsing recurses only where filters and parentheses nest, and that is bounded.

use super::ast::{Comparison, Filter, Query, Scope, Segment, Selector, Term};
use super::pattern;
use crate::document::scan;
use crate::limits::{JSON_INTEGER_MAX, PATH_NESTING_MAX};
use crate::record::json;

/// The position at which a path can't be parsed, and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathError {
    pub at: usize,
    pub expected: &'static str,
}

/// Reads a path that begins with `$`.
pub fn parse(path: &str) -> Result<Query, PathError> {
    let mut parser = Parser { path, at: 0, nesting: 0 };
    parser.sign("$", "'$'")?;
    let query = parser.segments()?;
    if parser.at < path.len() {
        return Err(parser.expected("'.', '..', '[' or the end"));
    }
    Ok(query)
}

struct Parser<'p> {
    path: &'p str,
    at: usize,
    /// Filters and parentheses that are open.
    nesting: usize,
}

type Parsed<T> = Result<T, PathError>;

impl<'p> Parser<'p> {
    fn expected(&self, expected: &'static str) -> PathError {
        PathError { at: self.at, expected }
    }

    fn rest(&self) -> &'p str {
        self.path.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.path.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        self.at = scan::skip_space(self.path.as_bytes(), self.at);
    }

    /// Consumes these characters, if they come next.
    fn take(&mut self, sign: &str) -> bool {
        let is_next = self.rest().starts_with(sign);
        if is_next {
            self.at += sign.len();
        }
        is_next
    }

    fn sign(&mut self, sign: &str, expected: &'static str) -> Parsed<()> {
        if self.take(sign) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting == PATH_NESTING_MAX {
            return Err(self.expected("fewer filters and parentheses within each other"));
        }
        self.nesting += 1;
        let result = inner(self);
        self.nesting -= 1;
        result
    }

    fn segments(&mut self) -> Parsed<Query> {
        let mut segments = Vec::new();
        loop {
            let before = self.at;
            self.blank();
            let is_descendant = self.take("..");
            let selectors = if is_descendant || self.take(".") {
                match self.peek() {
                    Some(b'[') => self.bracket()?,
                    Some(b'*') => {
                        self.at += 1;
                        vec![Selector::Wildcard]
                    }
                    _ => vec![Selector::Name(self.name()?)],
                }
            } else if self.peek() == Some(b'[') {
                self.bracket()?
            } else {
                self.at = before;
                return Ok(Query { segments });
            };
            segments.push(Segment { is_descendant, selectors });
        }
    }

    fn name(&mut self) -> Parsed<String> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || !c.is_ascii() || "_-`~+#%$^/:".contains(c);
        let rest = self.rest();
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.expected("a name, '*' or '['"));
        }
        self.at += length;
        Ok(rest[..length].to_owned())
    }

    fn bracket(&mut self) -> Parsed<Vec<Selector>> {
        self.sign("[", "'['")?;
        let mut selectors = Vec::new();
        loop {
            self.blank();
            selectors.push(self.selector()?);
            self.blank();
            if !self.take(",") {
                break;
            }
        }
        self.sign("]", "',' or ']'")?;
        Ok(selectors)
    }

    fn selector(&mut self) -> Parsed<Selector> {
        match self.peek() {
            Some(b'"' | b'\'') => Ok(Selector::Name(self.string()?)),
            Some(b'*') => {
                self.at += 1;
                Ok(Selector::Wildcard)
            }
            Some(b'?') => {
                self.at += 1;
                self.blank();
                Ok(Selector::Filter(self.nested(Self::filter)?))
            }
            _ => self.index_or_slice(),
        }
    }

    fn index_or_slice(&mut self) -> Parsed<Selector> {
        let start = self.integer()?;
        let behind = self.at;
        self.blank();
        if !self.take(":") {
            self.at = behind;
            let expected = "a quoted name, a number, a slice, '*' or '?'";
            return start.map(Selector::Index).ok_or_else(|| self.expected(expected));
        }
        self.blank();
        let end = self.integer()?;
        let behind = self.at;
        self.blank();
        let mut step = None;
        if self.take(":") {
            self.blank();
            step = self.integer()?;
        } else {
            self.at = behind;
        }
        Ok(Selector::Slice { start, end, step: step.unwrap_or(1) })
    }

    /// An integer of at most 53 bits, if there is one.
    fn integer(&mut self) -> Parsed<Option<i64>> {
        let rest = self.rest().as_bytes();
        let sign = usize::from(rest.first() == Some(&b'-'));
        let digits = rest[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if sign + digits == 0 {
            return Ok(None);
        }
        let text = &self.rest()[..sign + digits];
        let is_canonical = text == "0" || digits > 0 && !text[sign..].starts_with('0');
        let number = text.parse().ok().filter(|number: &i64| number.abs() <= JSON_INTEGER_MAX);
        let number =
            number.filter(|_| is_canonical).ok_or_else(|| self.expected("an integer of at most 53 bits"))?;
        self.at += text.len();
        Ok(Some(number))
    }

    fn string(&mut self) -> Parsed<String> {
        let quote = if self.take("'") { '\'' } else { '"' };
        if quote == '"' {
            self.sign("\"", "a quote")?;
        }
        let mut string = String::new();
        loop {
            let Some(c) = self.rest().chars().next() else { return Err(self.expected("a closing quote")) };
            match c {
                _ if c == quote => break,
                '\\' => string.push(self.escape(quote)?),
                c if c < ' ' => return Err(self.expected("no control character")),
                c => {
                    string.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
        self.at += 1;
        Ok(string)
    }

    /// The character that an escape stands for. Which escapes there are depends on the quote around.
    fn escape(&mut self, quote: char) -> Parsed<char> {
        let bytes = self.rest().as_bytes();
        let (length, character) = match bytes.get(1) {
            Some(&byte) if char::from(byte) == quote => (2, quote),
            Some(&byte @ (b'\\' | b'/')) => (2, char::from(byte)),
            Some(b'b') => (2, '\u{8}'),
            Some(b'f') => (2, '\u{c}'),
            Some(b'n') => (2, '\n'),
            Some(b'r') => (2, '\r'),
            Some(b't') => (2, '\t'),
            Some(b'u') => self.unicode_escape()?,
            _ => return Err(self.expected("an escape that JSON knows")),
        };
        self.at += length;
        Ok(character)
    }

    fn unicode_escape(&self) -> Parsed<(usize, char)> {
        let bytes = self.rest().as_bytes();
        let unit = |at: usize| {
            let digits = bytes.get(at..at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
            u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
        };
        let character = match (unit(2), bytes.get(6..8), unit(8)) {
            (Some(high @ 0xd800..=0xdbff), Some(b"\\u"), Some(low @ 0xdc00..=0xdfff)) => {
                char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)).map(|c| (12, c))
            }
            (Some(code), _, _) => char::from_u32(code).map(|c| (6, c)),
            _ => None,
        };
        character.ok_or_else(|| self.expected("four hexadecimal digits that make a character"))
    }

    fn filter(&mut self) -> Parsed<Filter> {
        let mut any = vec![self.all()?];
        loop {
            let before = self.at;
            self.blank();
            if !self.take("||") {
                self.at = before;
                return Ok(if any.len() == 1 { any.remove(0) } else { Filter::Any(any) });
            }
            self.blank();
            any.push(self.all()?);
        }
    }

    fn all(&mut self) -> Parsed<Filter> {
        let mut all = vec![self.basic()?];
        loop {
            let before = self.at;
            self.blank();
            if !self.take("&&") {
                self.at = before;
                return Ok(if all.len() == 1 { all.remove(0) } else { Filter::All(all) });
            }
            self.blank();
            all.push(self.basic()?);
        }
    }

    fn basic(&mut self) -> Parsed<Filter> {
        if self.take("!") {
            self.blank();
            let inner = if self.peek() == Some(b'(') { self.parenthesis()? } else { self.test()? };
            return Ok(Filter::Not(Box::new(inner)));
        }
        if self.peek() == Some(b'(') {
            return self.parenthesis();
        }
        let before = self.at;
        if self.is_logical_call() {
            return self.test();
        }
        let left = self.operand()?;
        self.blank();
        let Some(comparison) = self.comparison() else {
            self.at = before;
            return self.test();
        };
        self.blank();
        let right_at = self.at;
        match comparison {
            Compared::By(comparison) => {
                let left = self.comparable(left, before)?;
                let right = self.operand()?;
                Ok(Filter::Compare(left, comparison, self.comparable(right, right_at)?))
            }
            Compared::Search => {
                let text = self.comparable(left, before)?;
                let right = self.operand()?;
                let pattern = pattern::of_term(self.comparable(right, right_at)?, false);
                Ok(Filter::Matches { text, pattern, is_whole: false })
            }
        }
    }

    fn parenthesis(&mut self) -> Parsed<Filter> {
        self.sign("(", "'('")?;
        self.blank();
        let inner = self.nested(Self::filter)?;
        self.blank();
        self.sign(")", "'&&', '||' or ')'")?;
        Ok(inner)
    }

    /// A query, which is true if it finds anything, or a function that is true or false.
    fn test(&mut self) -> Parsed<Filter> {
        if self.is_logical_call() {
            let is_whole = self.take("match(");
            if !is_whole {
                self.sign("search(", "a function")?;
            }
            let (text, pattern) = self.nested(|parser| {
                let text = parser.value_argument()?;
                parser.sign(",", "','")?;
                Ok((text, parser.value_argument()?))
            })?;
            self.sign(")", "')'")?;
            return Ok(Filter::Matches { text, pattern: pattern::of_term(pattern, is_whole), is_whole });
        }
        let (scope, query) =
            self.query()?.ok_or_else(|| self.expected("'@', '$', a comparison or a test"))?;
        Ok(Filter::Exists(scope, query))
    }

    fn is_logical_call(&self) -> bool {
        ["match(", "search("].iter().any(|call| self.rest().starts_with(call))
    }

    /// `@…` or `$…`, if that comes next.
    fn query(&mut self) -> Parsed<Option<(Scope, Query)>> {
        let scope = match self.peek() {
            Some(b'@') => Scope::Current,
            Some(b'$') => Scope::Root,
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some((scope, self.segments()?)))
    }

    fn comparison(&mut self) -> Option<Compared> {
        const SIGNS: [(&str, Compared); 7] = [
            ("==", Compared::By(Comparison::Equal)),
            ("!=", Compared::By(Comparison::NotEqual)),
            ("<=", Compared::By(Comparison::LessOrEqual)),
            (">=", Compared::By(Comparison::GreaterOrEqual)),
            ("=~", Compared::Search),
            ("<", Compared::By(Comparison::Less)),
            (">", Compared::By(Comparison::Greater)),
        ];
        const WORDS: [(&str, Compared); 2] =
            [("nin", Compared::By(Comparison::NotIn)), ("in", Compared::By(Comparison::In))];
        let words = WORDS.into_iter().filter(|(word, _)| {
            let behind = self.rest().strip_prefix(word).unwrap_or_default();
            behind.starts_with([' ', '[', '@', '$'])
        });
        let (sign, compared) =
            SIGNS.into_iter().chain(words).find(|(sign, _)| self.rest().starts_with(sign))?;
        self.at += sign.len();
        Some(compared)
    }

    fn operand(&mut self) -> Parsed<Operand> {
        if let Some((scope, query)) = self.query()? {
            return Ok(Operand::Query(scope, query));
        }
        for (call, is_nodes) in [("length(", false), ("count(", true), ("value(", true)] {
            if self.take(call) {
                let term = self.nested(|parser| {
                    if !is_nodes {
                        return Ok(Term::Length(Box::new(parser.value_argument()?)));
                    }
                    parser.blank();
                    let (scope, query) = parser.query()?.ok_or_else(|| parser.expected("a query"))?;
                    parser.blank();
                    Ok(if call == "count(" { Term::Count(scope, query) } else { Term::Value(scope, query) })
                })?;
                self.sign(")", "')'")?;
                return Ok(Operand::Term(term));
            }
        }
        self.literal().map(Operand::Term)
    }

    fn value_argument(&mut self) -> Parsed<Term> {
        self.blank();
        let at = self.at;
        let operand = self.operand()?;
        let term = self.comparable(operand, at)?;
        self.blank();
        Ok(term)
    }

    /// A query can be compared only if it finds one node at most.
    fn comparable(&self, operand: Operand, at: usize) -> Parsed<Term> {
        match operand {
            Operand::Term(term) => Ok(term),
            Operand::Query(scope, query) if query.is_singular() => Ok(Term::Value(scope, query)),
            Operand::Query(..) => Err(PathError { at, expected: "a query that finds one value at most" }),
        }
    }

    fn literal(&mut self) -> Parsed<Term> {
        let bytes = self.path.as_bytes();
        let text = match self.peek() {
            Some(b'"' | b'\'') => serde_json::Value::String(self.string()?).to_string().into_bytes(),
            Some(b'[' | b'{') => self.json(scan::end(bytes, self.at))?,
            Some(b'-' | b'0'..=b'9') => {
                let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                let length = bytes[self.at..].iter().take_while(|byte| is_part(byte)).count();
                self.json(self.at + length)?
            }
            _ => {
                let word = ["true", "false", "null"].into_iter().find(|word| self.take(word));
                word.ok_or_else(|| self.expected("'@', '$', a literal or a function"))?.as_bytes().to_vec()
            }
        };
        Ok(Term::Literal(text))
    }

    /// The JSON text up to a position.
    fn json(&mut self, end: usize) -> Parsed<Vec<u8>> {
        let text = self.path.as_bytes().get(self.at..end).unwrap_or_default();
        json::check(text).map_err(|_| self.expected("JSON"))?;
        self.at = end;
        Ok(text.to_vec())
    }
}

enum Operand {
    Query(Scope, Query),
    Term(Term),
}

enum Compared {
    By(Comparison),
    Search,
}
