//! MONITOR: shows every request as it runs to the connections that monitor.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::client::Client;
use crate::engine::clock;
use crate::push::{Post, Receivers};
use crate::store::StoreId;

#[derive(Default)]
pub struct Monitors {
    /// Whether there is one. Every request checks this.
    any: AtomicBool,
    watching: Mutex<Receivers>,
}

impl Monitors {
    pub fn are_any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    pub fn add(&self, client: &Arc<Client>) {
        self.watching.lock().insert(client.id, client.clone());
        self.any.store(true, Ordering::Relaxed);
    }

    pub fn remove(&self, id: u64) {
        let mut watching = self.watching.lock();
        watching.remove(&id);
        self.any.store(!watching.is_empty(), Ordering::Relaxed);
    }

    /// Whether a client watches.
    pub fn has(&self, id: u64) -> bool {
        self.are_any() && self.watching.lock().contains_key(&id)
    }

    /// Shows a request: its sender or `lua`, its store, and its words without the secrets, which it names by position.
    pub fn show(
        &self,
        post: &Post,
        source: &str,
        store: StoreId,
        args: &[Bytes],
        is_secret: impl Fn(usize) -> bool,
    ) {
        let line = Bytes::from(line(clock::now_us(), source, store, args, is_secret));
        let watching = self.watching.lock();
        // their rules may have changed since they began to monitor
        let allowed = watching.values().filter(|client| client.may_see_everything());
        allowed.for_each(|client| post.send(client, line.clone(), 0));
    }
}

/// As Redis writes it: `+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"`.
fn line(
    now_us: u64,
    source: &str,
    store: StoreId,
    args: &[Bytes],
    is_secret: impl Fn(usize) -> bool,
) -> String {
    let mut line = format!("+{}.{:06} [{store} {source}]", now_us / 1_000_000, now_us % 1_000_000);
    for (at, word) in args.iter().enumerate() {
        line.push(' ');
        if is_secret(at) {
            line.push_str("\"(redacted)\"");
        } else {
            quote(word, &mut line);
        }
    }
    line.push_str("\r\n");
    line
}

/// A word in quotes, with what can't be read escaped.
fn quote(word: &[u8], out: &mut String) {
    out.push('"');
    for &byte in word {
        match byte {
            b'\\' | b'"' => out.extend(['\\', char::from(byte)]),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x07 => out.push_str("\\a"),
            0x08 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(byte)),
            // writing to memory can't fail
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use crate::command::COMMANDS;
    use crate::command::base::table::Lookup;
    use crate::push::monitors::*;

    fn shown(words: &[&str]) -> String {
        let args: Vec<Bytes> = words.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let Lookup::Command(spec) = COMMANDS.lookup(&args) else { panic!("{words:?}") };
        line(1_339_518_083_007_412, "127.0.0.1:60866", 3, &args, |at| spec.secrets.has(&args, at))
    }

    #[test]
    fn a_line_is_as_redis_writes_it() {
        let expected = "+1339518083.007412 [3 127.0.0.1:60866] \"keys\" \"*\"\r\n";
        assert_eq!(shown(&["keys", "*"]), expected);
        let line = shown(&["SET", "a", "x\"y\\\r\n\t\u{1}\u{e4}"]);
        assert!(line.ends_with(" \"SET\" \"a\" \"x\\\"y\\\\\\r\\n\\t\\x01\\xc3\\xa4\"\r\n"), "{line}");
    }

    #[test]
    fn passwords_are_not_shown() {
        assert!(shown(&["auth", "secret"]).ends_with("\"auth\" \"(redacted)\"\r\n"));
        assert!(shown(&["AUTH", "me", "secret"]).ends_with("\"AUTH\" \"(redacted)\" \"(redacted)\"\r\n"));
        let hello = shown(&["hello", "3", "auth", "me", "secret", "setname", "auth"]);
        assert!(
            hello
                .ends_with("\"hello\" \"3\" \"auth\" \"(redacted)\" \"(redacted)\" \"setname\" \"auth\"\r\n"),
            "{hello}"
        );
    }
}
