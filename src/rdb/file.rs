//! An RDB file, from its first to its last byte.
//!
//! `REDIS` or `VALKEY`, the version as four or three digits, and then parts of which each begins with a number: that of an
//! opcode, or that of a type, after which a key and its value follow. Behind the last part is the checksum of all bytes.

use std::borrow::Cow;
use std::io::Read;

use super::input::{Input, Summed};
use super::object::{self, Collect, Kind, MODULE, STRING};
use super::payload::{FUNCTION, FUNCTION_CANDIDATE};
use super::{Dialect, Fault};
use crate::limits::VALUE_BYTES_MAX;

const SLOT_IMPORT: u8 = 243;
const SLOT_INFO: u8 = 244;
const MODULE_DATA: u8 = 247;
const IDLE: u8 = 248;
const FREQUENCY: u8 = 249;
const INFORMATION: u8 = 250;
const SIZES: u8 = 251;
const EXPIRY_MS: u8 = 252;
const EXPIRY_S: u8 = 253;
const DATABASE: u8 = 254;
const END: u8 = 255;

/// The first version with a checksum at the end.
const SUMMED_VERSION: u64 = 5;

/// Reads a file part by part.
pub struct File<R> {
    input: Input<Summed<R>>,
    version: u64,
    dialect: Dialect,
    database: u64,
    /// The type of the value that comes next, behind its key.
    pending: Option<u8>,
    now_ms: u64,
}

/// What a file has.
#[derive(Debug, PartialEq, Eq)]
pub enum Item {
    /// Its value comes next. It is skipped if nobody reads it.
    Key(Key),
    /// The code of a library of functions.
    Functions(Vec<u8>),
    /// What the module of this name keeps besides its keys.
    ModuleData(String),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    pub database: u64,
    pub name: Vec<u8>,
    pub expires_at_ms: Option<u64>,
    pub kind: Kind,
    /// What TYPE says.
    pub type_name: Cow<'static, str>,
}

impl<R: Read> File<R> {
    /// Reads the head of the file. Fields of hashes that have expired by now are left out.
    pub fn open(from: R, now_ms: u64) -> Result<File<R>, Fault> {
        let mut input = Input::new(Summed::new(from), VALUE_BYTES_MAX);
        let head: [u8; 9] = input.array()?;
        let (dialect, digits) = match head.strip_prefix(b"VALKEY") {
            Some(digits) => (Dialect::Valkey, digits),
            None => (Dialect::Redis, head.strip_prefix(b"REDIS").ok_or(Fault::Damaged("it is no RDB file"))?),
        };
        let version = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        let version = version.ok_or(Fault::Damaged("its version is no number"))?;
        if Dialect::of_version(version) != Some(dialect) {
            return Err(Fault::UnknownVersion(version));
        }
        Ok(File { input, version, dialect, database: 0, pending: None, now_ms })
    }

    /// The number of bytes that were read.
    pub fn offset(&self) -> u64 {
        self.input.reader().offset()
    }

    /// The next part that has something to say; `None` at the end of the file.
    pub fn next_item(&mut self) -> Result<Option<Item>, Fault> {
        self.read_value(&mut ())?;
        let mut expires_at_ms = None;
        loop {
            let number = self.input.object_type(self.dialect)?;
            match number {
                DATABASE => self.database = self.input.length()?,
                EXPIRY_S => {
                    let seconds = u32::from_le_bytes(self.input.array()?);
                    expires_at_ms = Some(u64::from(seconds) * 1000);
                }
                EXPIRY_MS => expires_at_ms = self.input.deadline()?,
                SIZES => self.input.skip_lengths(2)?,
                SLOT_INFO => self.input.skip_lengths(3)?,
                INFORMATION => {
                    self.input.string()?;
                    self.input.string()?;
                }
                FREQUENCY => self.input.byte().map(drop)?,
                IDLE => self.input.length().map(drop)?,
                FUNCTION => {
                    let code = self.input.string()?;
                    return Ok(Some(Item::Functions(code)));
                }
                FUNCTION_CANDIDATE => {
                    return Err(Fault::Damaged("it has a function of a release candidate of Redis 7.0"));
                }
                MODULE_DATA => {
                    let name = module_name(self.input.length()?);
                    // when it is to be loaded
                    self.input.skip_lengths(2)?;
                    self.input.skip_module_value()?;
                    return Ok(Some(Item::ModuleData(name)));
                }
                SLOT_IMPORT if self.dialect == Dialect::Valkey => {
                    self.input.string()?;
                    let ranges = self.input.length()?;
                    self.input.skip_lengths(ranges.saturating_mul(2))?;
                }
                END => return self.end().map(|()| None),
                _ => return self.key(number, expires_at_ms).map(Some),
            }
        }
    }

    fn key(&mut self, number: u8, expires_at_ms: Option<u64>) -> Result<Item, Fault> {
        let kind = Kind::of(number, self.dialect).ok_or(Fault::UnknownType(number))?;
        let name = self.input.string()?;
        let type_name = match number {
            MODULE => Cow::Owned(module_name(self.input.length()?)),
            _ => Cow::Borrowed(kind.name()),
        };
        self.pending = Some(number);
        Ok(Item::Key(Key { database: self.database, name, expires_at_ms, kind, type_name }))
    }

    /// The string that belongs to the key; `None` if it is longer than a value may be.
    pub fn text(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        if self.pending.take_if(|number| *number == STRING).is_none() {
            return Ok(None);
        }
        let text = self.input.string()?;
        Ok((!self.input.take_skipped()).then_some(text))
    }

    /// Reads the members of the value that belongs to the key; false if one was longer than a value may be.
    pub fn read_value(&mut self, into: &mut dyn Collect) -> Result<bool, Fault> {
        match self.pending.take() {
            None => {}
            Some(MODULE) => self.input.skip_module_value()?,
            Some(number) => object::read(&mut self.input, number, self.dialect, self.now_ms, into)?,
        }
        Ok(!self.input.take_skipped())
    }

    fn end(&mut self) -> Result<(), Fault> {
        if self.version >= SUMMED_VERSION {
            let sum = self.input.reader().checksum();
            let written = u64::from_le_bytes(self.input.array()?);
            // a server that is told not to sum writes zero
            if written != 0 && written != sum {
                return Err(Fault::Checksum);
            }
        }
        match self.input.has_ended()? {
            true => Ok(()),
            false => Err(Fault::Damaged("more follows behind its end")),
        }
    }
}

/// The name in the number of a module's type: nine letters of six bits each, above its version.
fn module_name(number: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).map(|at| char::from(LETTERS[(number >> (58 - 6 * at)) as usize & 63])).collect()
}
