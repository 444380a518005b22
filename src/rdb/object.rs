//! Values: what type they have, and what their members are, in every encoding.

use std::array;
use std::io::Read;

use super::input::Input;
use super::packed::{Element, Layout};
use super::{Dialect, Fault};
use crate::record::number::parse_f64;

pub const STRING: u8 = 0;
const LIST: u8 = 1;
const SET: u8 = 2;
/// Scores are text.
const ZSET: u8 = 3;
const HASH: u8 = 4;
/// Scores are binary.
const ZSET_2: u8 = 5;
pub const MODULE: u8 = 7;
const HASH_ZIPMAP: u8 = 9;
const LIST_ZIPLIST: u8 = 10;
const SET_INTEGERS: u8 = 11;
const ZSET_ZIPLIST: u8 = 12;
const HASH_ZIPLIST: u8 = 13;
/// Several ziplists.
const LIST_QUICKLIST: u8 = 14;
const STREAM: u8 = 15;
const HASH_LISTPACK: u8 = 16;
const ZSET_LISTPACK: u8 = 17;
/// Several listpacks, and long members on their own.
const LIST_QUICKLIST_2: u8 = 18;
const STREAM_2: u8 = 19;
const SET_LISTPACK: u8 = 20;
const STREAM_3: u8 = 21;

// Fields with an expiry of their own, in Redis. The first two were those of a release candidate.
const HASH_EXPIRING_CANDIDATE: u8 = 22;
const HASH_EXPIRING_LISTPACK_CANDIDATE: u8 = 23;
const HASH_EXPIRING: u8 = 24;
const HASH_EXPIRING_LISTPACK: u8 = 25;
const STREAM_4: u8 = 26;

/// Fields with an expiry of their own, in Valkey.
const HASH_EXPIRING_VALKEY: u8 = 22;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    String,
    List,
    Set,
    SortedSet,
    Hash,
    Stream,
    Module,
}

impl Kind {
    /// `None` if the number is unknown.
    pub(super) fn of(number: u8, dialect: Dialect) -> Option<Kind> {
        Some(match (number, dialect) {
            (STRING, _) => Kind::String,
            (LIST | LIST_ZIPLIST | LIST_QUICKLIST | LIST_QUICKLIST_2, _) => Kind::List,
            (SET | SET_INTEGERS | SET_LISTPACK, _) => Kind::Set,
            (ZSET | ZSET_2 | ZSET_ZIPLIST | ZSET_LISTPACK, _) => Kind::SortedSet,
            (HASH | HASH_ZIPMAP | HASH_ZIPLIST | HASH_LISTPACK, _) => Kind::Hash,
            (HASH_EXPIRING_VALKEY, Dialect::Valkey) => Kind::Hash,
            (HASH_EXPIRING_CANDIDATE..=HASH_EXPIRING_LISTPACK, Dialect::Redis) => Kind::Hash,
            (STREAM | STREAM_2 | STREAM_3, _) | (STREAM_4, Dialect::Redis) => Kind::Stream,
            (MODULE, _) => Kind::Module,
            _ => return None,
        })
    }

    /// What TYPE says of it; the type of a module's value has a name of its own.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::SortedSet => "zset",
            Kind::Hash => "hash",
            Kind::Stream => "stream",
            Kind::Module => "value of a module",
        }
    }
}

/// Takes the members of a value, in the order in which they are written.
pub trait Collect {
    /// Of a list or a set.
    fn member(&mut self, member: &[u8]);
    /// Of a sorted set. The order is no order of scores.
    fn scored(&mut self, member: &[u8], score: f64);
    /// Of a hash.
    fn field(&mut self, name: &[u8], value: &[u8]);
}

/// Takes nothing.
impl Collect for () {
    fn member(&mut self, _: &[u8]) {}
    fn scored(&mut self, _: &[u8], _: f64) {}
    fn field(&mut self, _: &[u8], _: &[u8]) {}
}

/// Reads a value of this type. Fields of a hash that have expired by now are left out.
pub fn read<R: Read>(
    input: &mut Input<R>,
    number: u8,
    dialect: Dialect,
    now_ms: u64,
    into: &mut dyn Collect,
) -> Result<(), Fault> {
    // 0 is "never"
    let is_expired = |deadline_ms: u64| deadline_ms != 0 && deadline_ms <= now_ms;
    match (number, dialect) {
        (STRING, _) => input.string().map(drop)?,
        (LIST | SET, _) => {
            for _ in 0..input.length()? {
                into.member(&input.string()?);
            }
        }
        (ZSET, _) => {
            for _ in 0..input.length()? {
                let member = input.string()?;
                into.scored(&member, written_score(input)?);
            }
        }
        (ZSET_2, _) => {
            for _ in 0..input.length()? {
                let member = input.string()?;
                into.scored(&member, number_of(f64::from_le_bytes(input.array()?))?);
            }
        }
        (HASH, _) => {
            for _ in 0..input.length()? {
                let name = input.string()?;
                into.field(&name, &input.string()?);
            }
        }
        (HASH_EXPIRING_VALKEY, Dialect::Valkey) => {
            for _ in 0..input.length()? {
                let (name, value) = (input.string()?, input.string()?);
                if !is_expired(input.deadline()?.unwrap_or(0)) {
                    into.field(&name, &value);
                }
            }
        }
        (HASH_EXPIRING_CANDIDATE | HASH_EXPIRING, _) => {
            // deadlines are written as their distance from the earliest one, and one more
            let base = if number == HASH_EXPIRING { input.milliseconds()?.saturating_sub(1) } else { 0 };
            for _ in 0..input.length()? {
                let deadline_ms = match input.length()? {
                    0 => 0,
                    deadline => deadline.saturating_add_signed(base),
                };
                let (name, value) = (input.string()?, input.string()?);
                if !is_expired(deadline_ms) {
                    into.field(&name, &value);
                }
            }
        }
        (HASH_EXPIRING_LISTPACK_CANDIDATE | HASH_EXPIRING_LISTPACK, _) => {
            if number == HASH_EXPIRING_LISTPACK {
                input.milliseconds()?;
            }
            packed(input, Layout::Listpack, |[name, value, deadline]| {
                let deadline = parse_f64(&deadline).ok_or(Fault::Damaged("an expiry in it is no number"))?;
                if !is_expired(deadline as u64) {
                    into.field(&name, &value);
                }
                Ok(())
            })?;
        }
        (LIST_QUICKLIST, _) => {
            for _ in 0..input.length()? {
                members(input, Layout::Ziplist, into)?;
            }
        }
        (LIST_QUICKLIST_2, _) => {
            for _ in 0..input.length()? {
                match input.length()? {
                    1 => into.member(&input.string()?),
                    2 => members(input, Layout::Listpack, into)?,
                    _ => return Err(Fault::Damaged("a list in it has an unknown part")),
                }
            }
        }
        (LIST_ZIPLIST, _) => members(input, Layout::Ziplist, into)?,
        (SET_INTEGERS, _) => members(input, Layout::Integers, into)?,
        (SET_LISTPACK, _) => members(input, Layout::Listpack, into)?,
        (ZSET_ZIPLIST, _) => scores(input, Layout::Ziplist, into)?,
        (ZSET_LISTPACK, _) => scores(input, Layout::Listpack, into)?,
        (HASH_ZIPMAP, _) => fields(input, Layout::Zipmap, into)?,
        (HASH_ZIPLIST, _) => fields(input, Layout::Ziplist, into)?,
        (HASH_LISTPACK, _) => fields(input, Layout::Listpack, into)?,
        (STREAM | STREAM_2 | STREAM_3 | STREAM_4, _) => skip_stream(input, number)?,
        _ => return Err(Fault::UnknownType(number)),
    }
    Ok(())
}

fn members<R: Read>(input: &mut Input<R>, layout: Layout, into: &mut dyn Collect) -> Result<(), Fault> {
    packed(input, layout, |[member]| {
        into.member(&member);
        Ok(())
    })
}

fn scores<R: Read>(input: &mut Input<R>, layout: Layout, into: &mut dyn Collect) -> Result<(), Fault> {
    packed(input, layout, |[member, score]| {
        into.scored(&member, score_of(&score)?);
        Ok(())
    })
}

fn fields<R: Read>(input: &mut Input<R>, layout: Layout, into: &mut dyn Collect) -> Result<(), Fault> {
    packed(input, layout, |[name, value]| {
        into.field(&name, &value);
        Ok(())
    })
}

/// The elements of a string, so many at a time.
fn packed<R: Read, const GROUP: usize>(
    input: &mut Input<R>,
    layout: Layout,
    mut take: impl FnMut([Element<'_>; GROUP]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let bytes = input.string()?;
    if input.has_skipped() {
        return Ok(());
    }
    let mut elements = layout.elements(&bytes);
    while let Some(first) = elements.next() {
        let mut group = array::from_fn(|_| Element::default());
        group[0] = first?;
        for element in &mut group[1..] {
            *element = elements.next().ok_or(Fault::Damaged("a value in it lacks its last part"))??;
        }
        take(group)?;
    }
    Ok(())
}

/// A score as text behind its length, which is another number for what has no digits.
fn written_score<R: Read>(input: &mut Input<R>) -> Result<f64, Fault> {
    match input.byte()? {
        255 => Ok(f64::NEG_INFINITY),
        254 => Ok(f64::INFINITY),
        253 => number_of(f64::NAN),
        length => {
            let mut text = [0; 252];
            let text = &mut text[..usize::from(length)];
            for byte in text.iter_mut() {
                *byte = input.byte()?;
            }
            score_of(text)
        }
    }
}

fn score_of(text: &[u8]) -> Result<f64, Fault> {
    number_of(parse_f64(text).unwrap_or(f64::NAN))
}

fn number_of(score: f64) -> Result<f64, Fault> {
    if score.is_nan() { Err(Fault::Damaged("a score in it is no number")) } else { Ok(score) }
}

fn skip_stream<R: Read>(input: &mut Input<R>, number: u8) -> Result<(), Fault> {
    for _ in 0..input.length()? {
        input.string()?;
        input.string()?;
    }
    // the number of entries and the last ID; the first ID, the highest one that was deleted, and all that were added
    input.skip_lengths(if number == STREAM { 3 } else { 8 })?;
    for _ in 0..input.length()? {
        // a group: its last ID and what it has read, entries that it waits for, and its consumers
        input.string()?;
        input.skip_lengths(if number == STREAM { 2 } else { 3 })?;
        for _ in 0..input.length()? {
            input.array::<{ 16 + 8 }>()?;
            input.length()?;
        }
        for _ in 0..input.length()? {
            input.string()?;
            input.milliseconds()?;
            if number >= STREAM_3 {
                input.milliseconds()?;
            }
            for _ in 0..input.length()? {
                input.array::<16>()?;
            }
        }
    }
    if number == STREAM_4 {
        // what producers have sent before, so that it is not added twice
        input.skip_lengths(2)?;
        for _ in 0..input.length()? {
            input.string()?;
            for _ in 0..input.length()? {
                input.string()?;
                input.skip_lengths(2)?;
            }
        }
        input.skip_lengths(2)?;
    }
    Ok(())
}
