//! Formats a value: without whitespace, or with the requested layout. Strings and numbers keep their bytes.

use bytes::Bytes;

use super::edit::TooLong;
use super::scan::{self, Entries, JsonType};

/// The text between the parts of a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Before a line, once for each level.
    pub indent: Bytes,
    pub newline: Bytes,
    /// After the colon of a member.
    pub space: Bytes,
    /// Longest text that is written.
    pub bytes_max: usize,
}

impl Layout {
    pub fn is_compact(&self) -> bool {
        self.indent.is_empty() && self.newline.is_empty() && self.space.is_empty()
    }

    /// Writes the value that begins at `start`, as one at this level of what is written.
    pub fn write(&self, text: &[u8], start: usize, level: usize, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let kind = scan::kind(text, start);
        if self.is_compact() || !kind.is_container() {
            let value = scan::value(text, start);
            self.room(out, value.len())?;
            compact(value, out);
            return Ok(());
        }
        let mut list = self.list(if kind == JsonType::Array { b"[]" } else { b"{}" }, level, out);
        for entry in Entries::of(text, start) {
            list.entry()?;
            if kind == JsonType::Object {
                list.key(&text[entry.key]);
            }
            self.write(text, entry.value, level + 1, list.out)?;
        }
        list.end();
        Ok(())
    }

    /// Begins a list in these brackets at a level.
    pub fn list<'l>(&'l self, brackets: &'l [u8; 2], level: usize, out: &'l mut Vec<u8>) -> List<'l> {
        out.push(brackets[0]);
        List { layout: self, brackets, level, is_empty: true, out }
    }

    fn room(&self, out: &[u8], bytes: usize) -> Result<(), TooLong> {
        if out.len() + bytes > self.bytes_max { Err(TooLong) } else { Ok(()) }
    }

    fn line(&self, level: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.newline);
        for _ in 0..level {
            out.extend_from_slice(&self.indent);
        }
    }
}

/// An array or object that is being written.
pub struct List<'l> {
    layout: &'l Layout,
    brackets: &'l [u8; 2],
    level: usize,
    is_empty: bool,
    pub out: &'l mut Vec<u8>,
}

impl List<'_> {
    /// Makes room for an entry.
    pub fn entry(&mut self) -> Result<(), TooLong> {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        self.layout.line(self.level + 1, self.out);
        self.layout.room(self.out, 0)
    }

    pub fn key(&mut self, quoted: &[u8]) {
        self.out.extend_from_slice(quoted);
        self.out.push(b':');
        self.out.extend_from_slice(&self.layout.space);
    }

    pub fn end(self) {
        if !self.is_empty {
            self.layout.line(self.level, self.out);
        }
        self.out.push(self.brackets[1]);
    }
}

/// Copies a value without the whitespace between its parts.
fn compact(value: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < value.len() {
        let start = at;
        at = next_space(value, at);
        out.extend_from_slice(&value[start..at]);
        at = scan::skip_space(value, at);
    }
}

/// The first whitespace outside strings from `at` on.
fn next_space(value: &[u8], mut at: usize) -> usize {
    while let Some(byte) = value.get(at).filter(|byte| !scan::is_space(**byte)) {
        at = if *byte == b'"' { scan::end(value, at) } else { at + 1 };
    }
    at
}

/// The value that begins at `start`, without whitespace; shares the text where it has none anyway.
pub fn compacted(text: &Bytes, start: usize) -> Bytes {
    let end = scan::end(text, start);
    if next_space(text, start) >= end {
        return text.slice(start..end);
    }
    let mut out = Vec::with_capacity(end - start);
    compact(&text[start..end], &mut out);
    out.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn laid_out(text: &str, indent: &'static str, newline: &'static str, space: &'static str) -> String {
        let layout = Layout {
            indent: indent.into(),
            newline: newline.into(),
            space: space.into(),
            bytes_max: 1 << 20,
        };
        let mut out = Vec::new();
        layout.write(text.as_bytes(), scan::root(text.as_bytes()), 0, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn compact_takes_whitespace_out_and_nothing_else() {
        let text = " { \"a b\" : [ 1.10 , \"x \\\" y\",{ } , [ ] ] ,\n\"c\":null } ";
        assert_eq!(laid_out(text, "", "", ""), r#"{"a b":[1.10,"x \" y",{},[]],"c":null}"#);
        assert_eq!(compacted(&Bytes::from_static(b" [1,  2] "), 1), "[1,2]");
    }

    #[test]
    fn laid_out_as_asked() {
        let text = r#"{"o":{"f":"v"},"a":[0,1],"e":[],"n":{}}"#;
        let expected = "{\n  \"o\": {\n    \"f\": \"v\"\n  },\n  \"a\": [\n    0,\n    1\n  ],\n  \"e\": [],\n  \"n\": {}\n}";
        assert_eq!(laid_out(text, "  ", "\n", " "), expected);
        assert_eq!(laid_out("[0,[1]]", "_", "", ""), "[_0,_[__1_]]");
        assert_eq!(laid_out("[0,{\"a\":1}]", "", "", "s"), "[0,{\"a\":s1}]");
        assert_eq!(laid_out("[0, 1]", "", "n", ""), "[n0,n1n]");
        assert_eq!(laid_out("\"x\"", " ", "\n", " "), "\"x\"");
    }

    #[test]
    fn what_is_written_is_bounded() {
        let layout = Layout { indent: " ".repeat(50).into(), bytes_max: 100, ..Layout::default() };
        assert_eq!(layout.write(b"[[1],2,3]", 0, 0, &mut Vec::new()), Err(TooLong));
        let layout = Layout { bytes_max: 8, ..Layout::default() };
        assert_eq!(layout.write(b"[[1],2,3]", 0, 0, &mut Vec::new()), Err(TooLong));
    }
}
