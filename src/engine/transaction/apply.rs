//! Applies entries that come from an archive: what the server that made them has done, with the same numbers.

use std::collections::HashMap;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::engine::core::Engine;
use crate::engine::core::handles::Writer;
use crate::engine::effect;
use crate::engine::effect::{Effect, Malformed};
use crate::engine::error::{Error, Fault};
use crate::engine::journal;
use crate::engine::journal::Seq;
use crate::engine::lmdb::residence::Wait;
use crate::engine::state::{Leftovers, State, whole};
use crate::store::Generation;
use crate::store::usage::Weight;

/// Why an entry is not applied. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("entry {seq} does not follow entry {last}")]
    Order { seq: Seq, last: Seq },
    #[error("entry {seq} can't be read: {why}; it was written by another version, or by a bug")]
    Malformed { seq: Seq, why: Malformed },
    #[error("{0}")]
    Engine(#[from] Error),
}

impl Engine {
    /// Ready once there is room for an entry of so many bytes.
    pub fn poll_room_for_entry(&self, bytes: usize, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_room(bytes, journal::Claim::Ordinary, cx)
    }
}

impl Writer<'_> {
    /// Applies the entry that follows the last one, after [room](Engine::poll_room_for_entry) was made for it.
    pub fn apply_entry(&self, seq: Seq, entry: &[u8]) -> Result<(), ApplyError> {
        let effects = Effect::decode_all(entry).map_err(|why| ApplyError::Malformed { seq, why })?;
        let claim = effect::claim(&effects);
        let mut leftovers = Leftovers::default();
        loop {
            let mut state = self.engine.state.write();
            let last = self.engine.journal.last();
            if seq != last + 1 {
                return Err(ApplyError::Order { seq, last });
            }
            let replaced = self.engine.replaced(&state, &effects).map_err(Error::from)?;
            match self.engine.journal.append(claim, |_, out| out.extend_from_slice(entry)) {
                Err(journal::Fault::NoRoomYet) => {
                    drop(state);
                    self.engine.journal.wait_room(entry.len(), claim).map_err(Error::from)?;
                    continue;
                }
                taken => taken.map_err(Error::from)?,
            };
            whole::change(|| {
                for (effect, replaced) in effects.into_iter().zip(replaced) {
                    state.apply(seq, effect, replaced, &mut leftovers);
                }
                self.engine.note_memtable_bytes(&state);
            });
            return Ok(());
        }
    }
}

impl Engine {
    /// For each effect, the size of the record that it replaces or removes.
    fn replaced(&self, state: &State, effects: &[Effect]) -> Result<Vec<Option<Weight>>, Fault> {
        // what earlier effects of the same entry leave
        let mut own: HashMap<(Generation, &Bytes), Option<Weight>> = HashMap::new();
        let snapshot = self.tables.snapshot()?;
        let mut replaced = Vec::with_capacity(effects.len());
        for effect in effects {
            let (generation, key, after) = match effect {
                Effect::Put { generation, key, value, expires_at_ms } => {
                    (*generation, key, Some(Weight::plain(key, value.len(), expires_at_ms.is_some())))
                }
                Effect::Remove { generation, key } => (*generation, key, None),
                _ => {
                    replaced.push(None);
                    continue;
                }
            };
            let before = match own.get(&(generation, key)) {
                Some(before) => *before,
                None => match state.entry(generation, key) {
                    Some(entry) => entry.live.as_ref().map(|live| live.weight(key)),
                    None => {
                        let record = self.tables.record(&snapshot, generation, key, Wait::ForDisk)?;
                        record.map(|record| record.weight(key))
                    }
                },
            };
            if effects.len() > 1 {
                own.insert((generation, key), after);
            }
            replaced.push(before);
        }
        Ok(replaced)
    }
}
