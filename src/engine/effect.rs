//! What a transaction did: the payload of a journal entry.
//!
//! An entry carries resulting records, not commands, so that replaying it needs neither time nor arguments. An effect
//! is one byte for its kind, then its fields in big-endian order:
//!
//! | effect | byte | fields |
//! |---|---|---|
//! | put a record | 1 | generation u48, expires_at_ms u64 (0: never), key length u16, value length u32, key, value |
//! | remove a record | 2 | generation u48, key length u16, key |
//! | define a store | 3 | store u32, generation u48, length u32, definition as JSON |
//! | drop a store | 4 | store u32 |
//! | flush a store | 5 | store u32, new generation u48 |
//! | swap two stores' contents | 6 | store u32, store u32 |
//! | put a library of functions | 7 | name length u16, text length u32, name, text |
//! | remove a library of functions | 8 | name length u16, name |

use bytes::Bytes;

use crate::engine::journal::Claim;
use crate::record::shared;
use crate::store::{Definition, Generation, StoreId};

/// One change of one record, store or library of functions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    Put {
        generation: Generation,
        key: Bytes,
        value: Bytes,
        expires_at_ms: Option<u64>,
    },
    Remove {
        generation: Generation,
        key: Bytes,
    },
    /// Boxed because it is rare and larger than all others.
    Define {
        store: StoreId,
        generation: Generation,
        definition: Box<Definition>,
    },
    Drop {
        store: StoreId,
    },
    Flush {
        store: StoreId,
        generation: Generation,
    },
    Swap {
        a: StoreId,
        b: StoreId,
    },
    PutLibrary {
        name: Bytes,
        text: Bytes,
    },
    RemoveLibrary {
        name: Bytes,
    },
}

/// How much of the last room an entry of these effects may use.
pub fn claim(effects: &[Effect]) -> Claim {
    let removes = |effect: &Effect| matches!(effect, Effect::Remove { .. } | Effect::RemoveLibrary { .. });
    let flushes = |effect: &Effect| matches!(effect, Effect::Drop { .. } | Effect::Flush { .. });
    if effects.is_empty() || !effects.iter().all(|effect| removes(effect) || flushes(effect)) {
        Claim::Ordinary
    } else if effects.iter().any(removes) {
        Claim::Removal
    } else {
        Claim::Flush
    }
}

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const DEFINE: u8 = 3;
const DROP: u8 = 4;
const FLUSH: u8 = 5;
const SWAP: u8 = 6;
const PUT_LIBRARY: u8 = 7;
const REMOVE_LIBRARY: u8 = 8;

/// The fields before the key of a record that is written.
const PUT_FIELDS_BYTES: usize = 21;

/// A journal entry with a correct checksum and invalid content, written by a newer version or because of a bug.
#[derive(Debug, thiserror::Error)]
#[error("journal entry {what} at byte {offset}")]
pub struct Malformed {
    what: &'static str,
    offset: usize,
}

impl Effect {
    /// Appends the effect to a journal entry.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Effect::Put { generation, key, value, expires_at_ms } => {
                // most entries are of this kind, so room in the buffer is reserved once
                let mut fields = [0; PUT_FIELDS_BYTES];
                fields[0] = PUT;
                fields[1..7].copy_from_slice(&generation.to_be_bytes()[2..]);
                fields[7..15].copy_from_slice(&expires_at_ms.unwrap_or(0).to_be_bytes());
                fields[15..17].copy_from_slice(&(key.len() as u16).to_be_bytes());
                fields[17..].copy_from_slice(&(value.len() as u32).to_be_bytes());
                out.reserve(fields.len() + key.len() + value.len());
                out.extend_from_slice(&fields);
                out.extend_from_slice(key);
                out.extend_from_slice(value);
            }
            Effect::Remove { generation, key } => {
                out.push(REMOVE);
                put_generation(*generation, out);
                out.extend_from_slice(&(key.len() as u16).to_be_bytes());
                out.extend_from_slice(key);
            }
            Effect::Define { store, generation, definition } => {
                out.push(DEFINE);
                out.extend_from_slice(&store.to_be_bytes());
                put_generation(*generation, out);
                let text = definition.encode();
                out.extend_from_slice(&(text.len() as u32).to_be_bytes());
                out.extend_from_slice(&text);
            }
            Effect::Drop { store } => {
                out.push(DROP);
                out.extend_from_slice(&store.to_be_bytes());
            }
            Effect::Flush { store, generation } => {
                out.push(FLUSH);
                out.extend_from_slice(&store.to_be_bytes());
                put_generation(*generation, out);
            }
            Effect::Swap { a, b } => {
                out.push(SWAP);
                out.extend_from_slice(&a.to_be_bytes());
                out.extend_from_slice(&b.to_be_bytes());
            }
            Effect::PutLibrary { name, text } => {
                out.push(PUT_LIBRARY);
                out.extend_from_slice(&(name.len() as u16).to_be_bytes());
                out.extend_from_slice(&(text.len() as u32).to_be_bytes());
                out.extend_from_slice(name);
                out.extend_from_slice(text);
            }
            Effect::RemoveLibrary { name } => {
                out.push(REMOVE_LIBRARY);
                out.extend_from_slice(&(name.len() as u16).to_be_bytes());
                out.extend_from_slice(name);
            }
        }
    }

    /// How many bytes [`encode`](Effect::encode) appends.
    pub fn encoded_bytes(&self) -> usize {
        match self {
            Effect::Put { key, value, .. } => PUT_FIELDS_BYTES + key.len() + value.len(),
            Effect::Remove { key, .. } => 9 + key.len(),
            Effect::Define { definition, .. } => 15 + definition.encode().len(),
            Effect::Drop { .. } => 5,
            Effect::Flush { .. } => 11,
            Effect::Swap { .. } => 9,
            Effect::PutLibrary { name, text } => 7 + name.len() + text.len(),
            Effect::RemoveLibrary { name } => 3 + name.len(),
        }
    }

    /// Reads the effects of a journal entry.
    pub fn decode_all(entry: &[u8]) -> Result<Vec<Effect>, Malformed> {
        let mut reader = Reader { entry, offset: 0 };
        let mut effects = Vec::new();
        while reader.offset < entry.len() {
            effects.push(reader.effect()?);
        }
        Ok(effects)
    }
}

fn put_generation(generation: Generation, out: &mut Vec<u8>) {
    out.extend_from_slice(&generation.to_be_bytes()[2..]);
}

struct Reader<'a> {
    entry: &'a [u8],
    offset: usize,
}

impl Reader<'_> {
    fn effect(&mut self) -> Result<Effect, Malformed> {
        let [kind] = self.array()?;
        match kind {
            PUT => {
                let generation = self.generation()?;
                let expires_at_ms = u64::from_be_bytes(self.array()?);
                let key_bytes = u16::from_be_bytes(self.array()?) as usize;
                let value_bytes = u32::from_be_bytes(self.array()?) as usize;
                Ok(Effect::Put {
                    generation,
                    expires_at_ms: (expires_at_ms != 0).then_some(expires_at_ms),
                    key: self.bytes(key_bytes)?,
                    value: self.bytes(value_bytes)?,
                })
            }
            REMOVE => {
                let generation = self.generation()?;
                let key_bytes = u16::from_be_bytes(self.array()?) as usize;
                Ok(Effect::Remove { generation, key: self.bytes(key_bytes)? })
            }
            DEFINE => {
                let store = u32::from_be_bytes(self.array()?);
                let generation = self.generation()?;
                let text_bytes = u32::from_be_bytes(self.array()?) as usize;
                let text = self.bytes(text_bytes)?;
                let definition =
                    Definition::decode(&text).ok_or(self.malformed("has a bad store definition"))?;
                Ok(Effect::Define { store, generation, definition: Box::new(definition) })
            }
            DROP => Ok(Effect::Drop { store: u32::from_be_bytes(self.array()?) }),
            FLUSH => {
                Ok(Effect::Flush { store: u32::from_be_bytes(self.array()?), generation: self.generation()? })
            }
            SWAP => Ok(Effect::Swap {
                a: u32::from_be_bytes(self.array()?),
                b: u32::from_be_bytes(self.array()?),
            }),
            PUT_LIBRARY => {
                let name_bytes = u16::from_be_bytes(self.array()?) as usize;
                let text_bytes = u32::from_be_bytes(self.array()?) as usize;
                Ok(Effect::PutLibrary { name: self.bytes(name_bytes)?, text: self.bytes(text_bytes)? })
            }
            REMOVE_LIBRARY => {
                let name_bytes = u16::from_be_bytes(self.array()?) as usize;
                Ok(Effect::RemoveLibrary { name: self.bytes(name_bytes)? })
            }
            _ => Err(self.malformed("has an unknown effect")),
        }
    }

    fn generation(&mut self) -> Result<Generation, Malformed> {
        let [a, b, c, d, e, f] = self.array()?;
        Ok(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.slice(N)?.try_into().map_err(|_| self.malformed("is cut short"))
    }

    fn bytes(&mut self, length: usize) -> Result<Bytes, Malformed> {
        self.slice(length).map(shared::copy)
    }

    fn slice(&mut self, length: usize) -> Result<&[u8], Malformed> {
        let end = self.offset.checked_add(length).filter(|end| *end <= self.entry.len());
        let Some(end) = end else { return Err(self.malformed("is cut short")) };
        let slice = &self.entry[self.offset..end];
        self.offset = end;
        Ok(slice)
    }

    fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { what, offset: self.offset }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use crate::engine::effect::*;
    use crate::store::{Quota, ValueKind};

    fn effects() -> Vec<Effect> {
        let key = Bytes::from_static(b"key");
        vec![
            Effect::Put {
                generation: 1,
                key: key.clone(),
                value: Bytes::from_static(b"{}"),
                expires_at_ms: None,
            },
            Effect::Put {
                generation: (1 << 48) - 1,
                key: Bytes::new(),
                value: Bytes::new(),
                expires_at_ms: Some(u64::MAX),
            },
            Effect::Remove { generation: 9, key },
            Effect::Define {
                store: 16,
                generation: 3,
                definition: Box::new(Definition {
                    name: Some("orders".into()),
                    kind: Some(ValueKind::Any),
                    quota: Quota { max_keys: Some(7), default_ttl_ms: Some(u64::MAX), ..Quota::default() },
                    links: ["nightly import".to_owned()].into(),
                }),
            },
            Effect::Drop { store: 16 },
            Effect::Flush { store: 0, generation: 4 },
            Effect::Swap { a: 0, b: 1 },
            Effect::PutLibrary { name: "lib".into(), text: "#!lua name=lib".into() },
            Effect::RemoveLibrary { name: "lib".into() },
        ]
    }

    #[test]
    fn effects_survive_the_journal() {
        let mut entry = Vec::new();
        for effect in effects() {
            let before = entry.len();
            effect.encode(&mut entry);
            assert_eq!(entry.len() - before, effect.encoded_bytes());
        }
        assert_eq!(Effect::decode_all(&entry).unwrap(), effects());
    }

    #[test]
    fn an_entry_cut_anywhere_is_refused_or_shorter() {
        let mut entry = Vec::new();
        effects().iter().for_each(|effect| effect.encode(&mut entry));
        for length in 0..entry.len() {
            if let Ok(some) = Effect::decode_all(&entry[..length]) {
                assert!(effects().starts_with(&some) && some.len() < effects().len());
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(entry: Vec<u8>) {
            let _ = Effect::decode_all(&entry);
        }
    }
}
