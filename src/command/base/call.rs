//! One request while its command runs, with its words, its session and the server.

use std::borrow::Cow;

use bytes::Bytes;

use crate::command::base::{Session, Spec, View};
use crate::engine::Writer;
use crate::error::Error;
use crate::limits::NAMES_PER_QUESTION;
use crate::record::{number, shared};
use crate::store::{Key, StoreId, Value};

/// A request that passed the gate.
pub struct Call<'a> {
    pub server: View<'a>,
    pub session: &'a mut Session,
    pub spec: &'static Spec,
    /// The words of the request, name first. Their number fits the arity. They share the connection's read buffer, so
    /// whatever is kept beyond the command must be copied ([`Call::value`] does that).
    pub args: Vec<Bytes>,
    /// The time that the whole command uses, in milliseconds since 1970.
    pub now_ms: u64,
}

impl Call<'_> {
    /// The word at a position; empty if there is none, which the arity check rules out.
    pub fn arg(&self, at: usize) -> &[u8] {
        self.args.get(at).map_or(b"", |word| word)
    }

    /// The word at a position, shared with the read buffer: for comparing, not for keeping.
    pub fn word(&self, at: usize) -> Bytes {
        self.args.get(at).cloned().unwrap_or_default()
    }

    /// The words from a position on.
    pub fn rest(&self, from: usize) -> &[Bytes] {
        self.args.get(from..).unwrap_or_default()
    }

    /// Whether the word at a position is this option, in any case.
    pub fn is(&self, at: usize, option: &str) -> bool {
        self.arg(at).eq_ignore_ascii_case(option.as_bytes())
    }

    /// The key at a position, in the selected store; shared with the read buffer.
    pub fn key(&self, at: usize) -> Key {
        self.key_in(self.session.store, at)
    }

    /// The key at a position, in a store.
    pub fn key_in(&self, store: StoreId, at: usize) -> Key {
        Key::new(store, self.word(at))
    }

    /// The keys from a position on, in the selected store.
    pub fn keys(&self, from: usize) -> Vec<Key> {
        (from..self.args.len()).map(|at| self.key(at)).collect()
    }

    /// The value at a position, after a check that the selected store accepts it.
    pub fn value(&self, at: usize) -> Result<Value, Error> {
        let bytes = self.arg(at);
        let store = self.session.store;
        let value = Value::unchecked(shared::copy(bytes)).admit(self.server.engine.kind(store)?);
        value.map_err(|why| Error::not_for_store(self.server.store_label(store), &why))
    }

    /// The integer at a position.
    pub fn integer(&self, at: usize) -> Result<i64, Error> {
        number::parse_i64(self.arg(at)).ok_or(Error::NotInteger)
    }

    /// The word at a position as text, for error messages and names.
    pub fn text(&self, at: usize) -> Cow<'_, str> {
        String::from_utf8_lossy(self.arg(at))
    }

    pub fn arity_error(&self) -> Error {
        Error::Arity(Cow::Borrowed(self.spec.name))
    }

    /// Refuses a request that asks about more names, from a position on, than are allowed.
    pub fn check_names(&self, from: usize) -> Result<(), Error> {
        let names = self.rest(from).len();
        if names > NAMES_PER_QUESTION {
            return Err(Error::other(format!(
                "ERR {names} names in one request are more than the limit of {NAMES_PER_QUESTION}"
            )));
        }
        Ok(())
    }

    /// Calls `option` with the position of each word from `from` on. It returns how many words it used after that one,
    /// or fails with a syntax error of its own.
    pub fn options(
        &self,
        from: usize,
        mut option: impl FnMut(usize) -> Result<usize, Error>,
    ) -> Result<(), Error> {
        let mut at = from;
        while at < self.args.len() {
            at += 1 + option(at)?;
            if at > self.args.len() {
                return Err(Error::Syntax);
            }
        }
        Ok(())
    }

    /// The number of the store that a word names: a number, or the name of a store, which is created if
    /// `auto-create-stores` is on.
    pub fn store(&self, at: usize, engine: Writer<'_>) -> Result<StoreId, Error> {
        self.server.find_store(self.arg(at), engine)
    }
}
