//! What commands write while they run as one.

use crate::engine::effect::Effect;
use crate::engine::error::Error;
use crate::engine::events::Untold;
use crate::engine::journal;
use crate::engine::state::undo::Undo;
use crate::engine::state::watch::Noted;

/// What is going to be one journal entry.
pub struct Group {
    pub effects: Vec<Effect>,
    /// Bytes of the entry so far.
    pub bytes: usize,
    pub bytes_max: usize,
    /// What a part of the group may still write, and how much it was allowed in all.
    pub allowance: Option<(usize, usize)>,
    /// Why the group will be refused as a whole. Nothing more is written after that.
    pub refusal: Option<journal::Fault>,
    pub undo: Undo,
    /// What listeners are told when the group ends.
    pub untold: Vec<Untold>,
    /// What watchers of keys are told when it ends.
    pub noted: Vec<Noted>,
}

impl Group {
    /// Collects the effects of a command before they are applied. If the entry would become too large, the group is
    /// refused as a whole; if only the allowance is exceeded, this command is refused.
    pub fn admit(&mut self, effects: &[Effect]) -> Result<(), Error> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone().into());
        }
        let added: usize = effects.iter().map(Effect::encoded_bytes).sum();
        if let Some((left, limit)) = &mut self.allowance {
            *left = left.checked_sub(added).ok_or(Error::AllowanceExceeded { limit: *limit })?;
        }
        let bytes = self.bytes.saturating_add(added);
        if bytes > self.bytes_max {
            let refusal = journal::Fault::TooLarge { bytes, limit: self.bytes_max };
            self.refusal = Some(refusal.clone());
            return Err(refusal.into());
        }
        self.bytes = bytes;
        self.effects.extend_from_slice(effects);
        Ok(())
    }
}
