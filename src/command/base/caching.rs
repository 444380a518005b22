//! The keys that a client caches. The client is told when they change (CLIENT TRACKING).

use crate::command::base::Flags;
use crate::command::base::table::Lookup;
use crate::push::tracking::Options;

/// Decides which of the keys that a client reads are remembered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caching {
    pub mode: Mode,
    /// CLIENT CACHING was sent, and is for the next command or transaction.
    pub is_given: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// No keys: the client does not track keys, or tracks prefixes.
    #[default]
    None,
    All,
    /// Only the keys of the command or transaction after CLIENT CACHING YES.
    OptIn,
    /// All keys, except those of the command or transaction after CLIENT CACHING NO.
    OptOut,
}

impl Caching {
    pub fn of(options: &Options) -> Caching {
        let mode = match options {
            Options { broadcast: true, .. } => Mode::None,
            Options { opt_in: true, .. } => Mode::OptIn,
            Options { opt_out: true, .. } => Mode::OptOut,
            _ => Mode::All,
        };
        Caching { mode, is_given: false }
    }

    /// Whether the keys of a command that reads are remembered.
    pub fn remembers(self) -> bool {
        match self.mode {
            Mode::None => false,
            Mode::All => true,
            Mode::OptIn => self.is_given,
            Mode::OptOut => !self.is_given,
        }
    }

    /// Called when a request was answered. Unless it is CLIENT CACHING itself or belongs to a transaction, CLIENT
    /// CACHING no longer applies.
    pub fn forget_given(&mut self, request: Lookup, in_transaction: bool) {
        let is_client = matches!(request, Lookup::Command(spec) if spec.is(Flags::KEEPS_CACHING));
        self.is_given = is_client || in_transaction;
    }
}
