//! The lease says who leads. It changes by compare-and-swap only.

use super::fields::{CHECKSUM_BYTES, Fields, Rest};
use super::{FormatError, Id};
use crate::limits::ARCHIVE_ADDRESS_BYTES_MAX;

const WHAT: &str = "lease";
const MAGIC: &[u8; 8] = b"LARDERAL";
/// Without the address.
const BYTES_MIN: usize = 94 + CHECKSUM_BYTES;

/// Who leads, and since which change of the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub archive: Id,
    /// Rises with every change of the holder.
    pub epoch: u64,
    /// Rises with every write, so that no content ever comes back: object stores may compare contents only.
    pub counter: u64,
    /// The run of a server that leads, or led when it was released.
    pub holder: Id,
    pub state: LeaseState,
    /// The last entry of the holder's journal when this was written. Followers tell by it how far behind they are.
    pub entry: u64,
    /// How long the holder may lead without a renewal, 0 for ever. Whoever takes the lease waits at least as long.
    pub length_ms: u32,
    /// Where clients reach the holder: `host:port`, at most [`ARCHIVE_ADDRESS_BYTES_MAX`] bytes.
    pub address: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    Held,
    /// The holder has stopped, and everything it had is in the log. The heir, or anybody if there is none, need not wait.
    Released {
        heir: Option<Id>,
    },
}

impl Lease {
    pub fn encode(&self) -> Vec<u8> {
        let (state, heir) = match self.state {
            LeaseState::Held => (1, None),
            LeaseState::Released { heir } => (2, heir),
        };
        let mut fields = Fields::new(MAGIC);
        fields.u32(state);
        fields.id(self.archive);
        fields.u64(self.epoch);
        fields.u64(self.counter);
        fields.id(self.holder);
        fields.id(heir.unwrap_or(Id(0)));
        fields.u64(self.entry);
        fields.u32(self.length_ms);
        fields.u16(self.address.len() as u16);
        fields.bytes(self.address.as_bytes());
        fields.seal()
    }

    pub fn decode(object: &[u8]) -> Result<Lease, FormatError> {
        let mut rest = Rest::sealed(WHAT, MAGIC, object, BYTES_MIN)?;
        let state = rest.u32()?;
        let archive = rest.id()?;
        let (epoch, counter) = (rest.number()?, rest.number()?);
        let (holder, heir) = (rest.id()?, rest.id()?);
        let (entry, length_ms) = (rest.number()?, rest.u32()?);
        let address_bytes = rest.u16()?;
        rest.check_list(address_bytes.into(), "bytes of an address", ARCHIVE_ADDRESS_BYTES_MAX as u64, 1)?;
        let address = str::from_utf8(rest.take(address_bytes.into())?);
        let address = address.map_err(|_| rest.damaged("its address is not UTF-8"))?.to_owned();
        let state = match (state, heir) {
            (1, Id(0)) => LeaseState::Held,
            (2, heir) => LeaseState::Released { heir: Some(heir).filter(|heir| *heir != Id(0)) },
            _ => return Err(rest.damaged("its state is impossible")),
        };
        rest.end()?;
        Ok(Lease { archive, epoch, counter, holder, state, entry, length_ms, address })
    }
}
