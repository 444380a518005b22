//! Conditions as options of commands: `NX`, `XX`, and the comparisons `IFEQ`, `IFNE`, `IFDEQ`, `IFDNE`.

use bytes::Bytes;

use crate::command::base::Call;
use crate::engine::WriteTxn;
use crate::error::Error;
use crate::record::digest::{DIGEST_BYTES, digest};
use crate::store::Key;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// There is no record.
    Nx,
    /// There is one.
    Xx,
    /// There is one, of this value.
    IfEq,
    /// There is none, or one of another value.
    IfNe,
    /// There is one, of a value with this digest.
    IfDeq,
    /// There is none, or one of a value with another digest.
    IfDne,
}

impl Test {
    pub const EXISTENCE: &[Test] = &[Test::Nx, Test::Xx];
    pub const COMPARISONS: &[Test] = &[Test::IfEq, Test::IfNe, Test::IfDeq, Test::IfDne];
    pub const ALL: &[Test] = &[Test::Nx, Test::Xx, Test::IfEq, Test::IfNe, Test::IfDeq, Test::IfDne];

    fn name(self) -> &'static str {
        match self {
            Test::Nx => "NX",
            Test::Xx => "XX",
            Test::IfEq => "IFEQ",
            Test::IfNe => "IFNE",
            Test::IfDeq => "IFDEQ",
            Test::IfDne => "IFDNE",
        }
    }

    fn has_operand(self) -> bool {
        !Test::EXISTENCE.contains(&self)
    }
}

/// The condition under which a command proceeds. The default is no condition.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    test: Option<Test>,
    /// The value or digest to compare with.
    operand: Bytes,
}

impl Condition {
    pub const NX: Condition = Condition { test: Some(Test::Nx), operand: Bytes::new() };

    pub fn if_equal(value: Bytes) -> Condition {
        Condition { test: Some(Test::IfEq), operand: value }
    }

    /// Parses the option at a position, if it is one of `allowed`, and returns how many words it uses after it. Two
    /// options that exclude each other are a syntax error; the same one again replaces the first, as in Redis.
    pub fn take(&mut self, call: &Call<'_>, at: usize, allowed: &[Test]) -> Result<Option<usize>, Error> {
        let Some(test) = allowed.iter().copied().find(|test| call.is(at, test.name())) else {
            return Ok(None);
        };
        if self.test.is_some_and(|other| other != test) {
            return Err(Error::Syntax);
        }
        self.test = Some(test);
        if !test.has_operand() {
            return Ok(Some(0));
        }
        self.operand = call.word(at + 1);
        Ok(Some(1))
    }

    /// Whether the condition holds for a key. As in Redis, a digest is looked at only when there is a record.
    pub fn holds(&self, txn: &mut WriteTxn<'_>, key: &Key) -> Result<bool, Error> {
        let Some(test) = self.test else { return Ok(true) };
        if !test.has_operand() {
            return Ok(txn.peek(key)?.is_some() == (test == Test::Xx));
        }
        let Some(record) = txn.get(key)? else { return Ok(matches!(test, Test::IfNe | Test::IfDne)) };
        Ok(match test {
            Test::IfDeq => self.has_digest_of(&record.value)?,
            Test::IfDne => !self.has_digest_of(&record.value)?,
            Test::IfNe => record.value != self.operand,
            _ => record.value == self.operand,
        })
    }

    /// Only the length is checked: a text with other characters never equals a digest.
    fn has_digest_of(&self, value: &[u8]) -> Result<bool, Error> {
        if self.operand.len() != DIGEST_BYTES {
            return Err(Error::other("ERR must be exactly 16 hexadecimal characters"));
        }
        Ok(self.operand.eq_ignore_ascii_case(&digest(value)))
    }
}
