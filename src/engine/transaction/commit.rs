//! Commits a transaction: its effects go to the journal, and then become visible.

use crate::engine::core::Engine;
use crate::engine::effect;
use crate::engine::effect::Effect;
use crate::engine::error::{Error, Fault};
use crate::engine::journal;
use crate::engine::journal::{Claim, Seq};
use crate::engine::state::changes::Changes;
use crate::engine::state::{Leftovers, State, whole};
#[cfg(test)]
use crate::engine::tests;

impl Engine {
    /// Appends the effects to the journal, and then makes them visible.
    pub(super) fn commit(
        &self,
        state: &mut State,
        changes: &mut Changes,
        leftovers: &mut Leftovers,
        may_wait: bool,
    ) -> Result<Committed, Error> {
        if changes.effects.is_empty() {
            self.tell_or_keep(state, 0, std::mem::take(&mut changes.news));
            return Ok(Committed::Done(None));
        }
        let seq = match &mut state.group {
            Some(group) => {
                group.admit(&changes.effects)?;
                self.journal.last() + 1
            }
            None if may_wait => self.append(&changes.effects)?,
            None => match self.append_at_once(&changes.effects) {
                Err(Fault::Journal(journal::Fault::NoRoomYet)) => {
                    return Ok(Committed::NoRoom(
                        encoded_bytes(&changes.effects),
                        effect::claim(&changes.effects),
                    ));
                }
                taken => taken?,
            },
        };
        if state.evicts {
            self.note_uses(state, changes, seq);
        }
        let stored_sizes = changes.take_stored_sizes();
        let mut news = std::mem::take(&mut changes.news);
        news.add_changes(&state.catalog, &changes.effects);
        whole::change(|| {
            #[cfg(test)]
            tests::atomicity::half_way();
            self.tell_or_keep(state, seq, news);
            for (effect, replaced) in changes.effects.drain(..).zip(changes.replaced.drain(..)) {
                state.apply(seq, effect, replaced, leftovers);
            }
            changes.swapped.drain(..).for_each(|noted| state.note_for_watchers(noted));
            for (generation, key, stored_bytes) in stored_sizes {
                state.note_stored_bytes(generation, &key, seq, stored_bytes);
            }
            self.note_memtable_bytes(state);
        });
        Ok(Committed::Done(Some(seq)))
    }

    /// Appends a journal entry, and waits for room if there is none yet. Callers have made sure that there is room for
    /// the request ([`Engine::poll_room`]), but an entry that is much longer than its request (the copy of a large
    /// value) may find none.
    pub(super) fn append(&self, effects: &[Effect]) -> Result<Seq, Fault> {
        loop {
            match self.append_at_once(effects) {
                Err(Fault::Journal(journal::Fault::NoRoomYet)) => {
                    self.journal.wait_room(encoded_bytes(effects), effect::claim(effects))?;
                }
                taken => return taken,
            }
        }
    }

    /// Appends a journal entry if there is room for it.
    fn append_at_once(&self, effects: &[Effect]) -> Result<Seq, Fault> {
        self.journal.check_entry(encoded_bytes(effects))?;
        Ok(self.journal.append(effect::claim(effects), |_, entry| {
            effects.iter().for_each(|effect| effect.encode(entry))
        })?)
    }
}

/// The size of the journal entry in bytes.
fn encoded_bytes(effects: &[Effect]) -> usize {
    effects.iter().map(Effect::encoded_bytes).sum()
}

/// How a commit ended.
pub(super) enum Committed {
    /// With its sequence number, if anything changed.
    Done(Option<Seq>),
    /// Nothing has happened; the journal has to make room for so many bytes first.
    NoRoom(usize, Claim),
}
