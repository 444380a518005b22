//! A local file of a server: how its data directory relates to an archive.

use super::fields::{CHECKSUM_BYTES, Fields, Rest};
use super::{FormatError, Id};
use crate::limits::ARCHIVE_OWN_EPOCHS_MAX;

const WHAT: &str = "mark of an archive";
const MAGIC: &[u8; 8] = b"LARDERAK";
/// Without epochs.
const BYTES_MIN: usize = 48 + CHECKSUM_BYTES;

/// How far the data directory and the archive are known to agree.
///
/// Entries of the local journal after `entry` are also in the archive if `own` is empty. Otherwise they were written
/// here, by the leader of one of these epochs, and the archive may lack them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub archive: Id,
    /// Everything in the log up to this segment is in the data directory.
    pub segment: u64,
    /// The log's last entry at the end of that segment.
    pub entry: u64,
    /// Epochs that this directory has led, or was about to lead, since; rising, at most [`ARCHIVE_OWN_EPOCHS_MAX`].
    /// Epoch 0 is the time before there was an archive.
    pub own: Vec<u64>,
}

impl Mark {
    pub fn encode(&self) -> Vec<u8> {
        let mut fields = Fields::new(MAGIC);
        fields.u32(self.own.len() as u32);
        fields.id(self.archive);
        fields.u64(self.segment);
        fields.u64(self.entry);
        self.own.iter().for_each(|epoch| fields.u64(*epoch));
        fields.seal()
    }

    pub fn decode(object: &[u8]) -> Result<Mark, FormatError> {
        let mut rest = Rest::sealed(WHAT, MAGIC, object, BYTES_MIN)?;
        let count = rest.u32()?;
        let archive = rest.id()?;
        let (segment, entry) = (rest.number()?, rest.number()?);
        rest.check_list(count.into(), "epochs", ARCHIVE_OWN_EPOCHS_MAX as u64, 8)?;
        let own = (0..count).map(|_| rest.number()).collect::<Result<Vec<u64>, _>>()?;
        if !own.is_sorted_by(|one, next| one < next) {
            return Err(rest.damaged("its epochs are not in order"));
        }
        rest.end()?;
        Ok(Mark { archive, segment, entry, own })
    }
}
