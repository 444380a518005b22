//! The text of a script: its name, and what its first line declares.

use std::fmt::Write;

use bitflags::bitflags;
use bytes::Bytes;
use sha1::{Digest, Sha1};

use crate::error::Error;
use crate::limits::SCRIPT_TEXT_BYTES_MAX;
use crate::resp::split_arguments;

bitflags! {
    /// The declarations of a first line like `#!lua flags=no-writes`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Declared: u8 {
        const NO_WRITES = 1;
        const ALLOW_OOM = 1 << 1;
        const ALLOW_STALE = 1 << 2;
        const NO_CLUSTER = 1 << 3;
        const ALLOW_CROSS_SLOT_KEYS = 1 << 4;
    }
}

/// Their names.
pub const FLAGS: [(&str, Declared); 5] = [
    ("no-writes", Declared::NO_WRITES),
    ("allow-oom", Declared::ALLOW_OOM),
    ("allow-stale", Declared::ALLOW_STALE),
    ("no-cluster", Declared::NO_CLUSTER),
    ("allow-cross-slot-keys", Declared::ALLOW_CROSS_SLOT_KEYS),
];

/// A flag of Upstash, whose scripts with other keys may run at the same time. Here they run one after the other.
const KEY_LOCKING: &str = "allow-key-locking";

impl Declared {
    /// The declarations of the first line of a text; `None` if it is no such line, or an invalid one.
    pub fn read(text: &[u8]) -> Option<Declared> {
        first_line(text).ok().flatten()
    }
}

/// A script as it was sent.
#[derive(Debug, Clone)]
pub struct Script {
    /// 40 hexadecimal digits.
    pub sha: String,
    pub text: Bytes,
    /// `None` if it has no first line of this kind; it may then do what scripts could do before there were such lines.
    pub declared: Option<Declared>,
}

impl Script {
    /// Parses a script; copies the text.
    pub fn parse(text: &[u8]) -> Result<Script, Error> {
        if text.len() > SCRIPT_TEXT_BYTES_MAX {
            return Err(Error::other(format!(
                "ERR the script has {} bytes, and the limit is {SCRIPT_TEXT_BYTES_MAX}; pass data as arguments",
                text.len()
            )));
        }
        let declared = first_line(text)?;
        Ok(Script { sha: sha1_hex(text), text: Bytes::copy_from_slice(text), declared })
    }

    /// What is compiled: the text without the first line. Its line end stays, so that lines keep their numbers.
    pub fn code(&self) -> &[u8] {
        match self.declared {
            None => &self.text,
            Some(_) => self.text.get(line_end(&self.text).unwrap_or(self.text.len())..).unwrap_or_default(),
        }
    }

    /// Whether it declares that it only reads.
    pub fn only_reads(&self) -> bool {
        self.declared.is_some_and(|declared| declared.contains(Declared::NO_WRITES))
    }
}

/// 40 hexadecimal digits.
pub fn sha1_hex(text: &[u8]) -> String {
    let mut out = String::with_capacity(40);
    for byte in Sha1::digest(text) {
        // writing to memory can't fail
        let _ = write!(out, "{byte:02x}");
    }
    out
}

pub fn line_end(text: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', text)
}

fn first_line(text: &[u8]) -> Result<Option<Declared>, Error> {
    if !text.starts_with(b"#!") {
        return Ok(None);
    }
    let Some(end) = line_end(text) else { return Err(Error::other("ERR Invalid script shebang")) };
    // words as in an inline request, quoted ones included
    let Some(words) = split_arguments(&text[..end]) else {
        return Err(Error::other("ERR Invalid engine in script shebang"));
    };
    let mut words = words.iter().map(|word| String::from_utf8_lossy(word));
    let engine = words.next().unwrap_or_default();
    if engine != "#!lua" {
        return Err(Error::other(format!("ERR Unexpected engine in script shebang: {engine}")));
    }
    let mut declared = Declared::default();
    for word in words {
        let Some(flags) = word.strip_prefix("flags=") else {
            return Err(Error::other(format!("ERR Unknown lua shebang option: {word}")));
        };
        if flags.is_empty() {
            continue;
        }
        for name in flags.split(',') {
            match FLAGS.iter().find(|(known, _)| *known == name) {
                Some((_, flag)) => declared |= *flag,
                None if name == KEY_LOCKING => {}
                None => return Err(Error::other(format!("ERR Unexpected flag in script shebang: {name}"))),
            }
        }
    }
    Ok(Some(declared))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_declares() {
        let script = Script::parse(b"#!lua flags=no-writes,allow-stale\nreturn 1").unwrap();
        assert_eq!(script.declared, Some(Declared::NO_WRITES | Declared::ALLOW_STALE));
        assert!(script.only_reads());
        assert_eq!(script.code(), b"\nreturn 1");
        let bare = Script::parse(b"return 1").unwrap();
        assert_eq!((bare.declared, bare.code()), (None, &b"return 1"[..]));
        assert_eq!(bare.sha, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_eq!(Script::parse(b"#!lua\n").unwrap().declared, Some(Declared::empty()));
    }

    /// As Redis takes and refuses it.
    #[test]
    fn a_first_line_is_split_into_words_as_a_request_is() {
        const NO_WRITES: Declared = Declared::NO_WRITES;
        for (text, declared) in [
            ("#!lua flags=no-writes\r\nreturn 1", NO_WRITES),
            ("#!lua\tflags=no-writes\nreturn 1", NO_WRITES),
            ("#!lua  flags=no-writes  \nreturn 1", NO_WRITES),
            ("#!lua flags=\"no-writes\"\nreturn 1", NO_WRITES),
            ("#!lua flags='no-writes'\nreturn 1", NO_WRITES),
            ("#!lua \"flags=no-writes\"\nreturn 1", NO_WRITES),
            ("#!\"lua\" flags=no-writes\nreturn 1", NO_WRITES),
            ("#!lua flags=\"no-writes,allow-oom\"\nreturn 1", NO_WRITES.union(Declared::ALLOW_OOM)),
            ("#!lua flags=no-writes flags=allow-oom\nreturn 1", NO_WRITES.union(Declared::ALLOW_OOM)),
            ("#!lua flags=\nreturn 1", Declared::empty()),
            ("#!lua flags=allow-key-locking\nreturn 1", Declared::empty()),
            ("#!lua \nreturn 1", Declared::empty()),
            ("#!lua\r\nreturn 1", Declared::empty()),
        ] {
            let script = Script::parse(text.as_bytes()).unwrap();
            assert_eq!(script.declared, Some(declared), "{text:?}");
            assert_eq!(script.code(), b"\nreturn 1", "{text:?}");
        }
    }

    #[test]
    fn a_first_line_of_another_kind_is_refused() {
        for (text, why) in [
            ("#!python\nx", "ERR Unexpected engine in script shebang: #!python"),
            ("#!LUA\nx", "ERR Unexpected engine in script shebang: #!LUA"),
            ("#! lua\nx", "ERR Unexpected engine in script shebang: #!"),
            ("#!\nx", "ERR Unexpected engine in script shebang: #!"),
            ("#!lua name=x\nx", "ERR Unknown lua shebang option: name=x"),
            ("#!lua Flags=no-writes\nx", "ERR Unknown lua shebang option: Flags=no-writes"),
            ("#!lua flags = no-writes\nx", "ERR Unknown lua shebang option: flags"),
            ("#!lua flags= no-writes\nx", "ERR Unknown lua shebang option: no-writes"),
            ("#!lua flags=no-writes allow-oom\nx", "ERR Unknown lua shebang option: allow-oom"),
            ("#!lua ''\nx", "ERR Unknown lua shebang option: "),
            ("#!lua flags=no-writes\rreturn 1\nx", "ERR Unknown lua shebang option: return"),
            ("#!lua flags=fast\nx", "ERR Unexpected flag in script shebang: fast"),
            ("#!lua flags=NO-WRITES\nx", "ERR Unexpected flag in script shebang: NO-WRITES"),
            ("#!lua flags=no-writes,,allow-oom\nx", "ERR Unexpected flag in script shebang: "),
            ("#!lua flags=no-writes,\nx", "ERR Unexpected flag in script shebang: "),
            ("#!lua flags=,no-writes\nx", "ERR Unexpected flag in script shebang: "),
            ("#!lua flags=\"no-writes\nx", "ERR Invalid engine in script shebang"),
            ("#!lua flags=\"no-writes\"x\nx", "ERR Invalid engine in script shebang"),
            ("#!lua", "ERR Invalid script shebang"),
        ] {
            assert_eq!(Script::parse(text.as_bytes()).unwrap_err().to_string(), why, "{text:?}");
        }
    }
}
