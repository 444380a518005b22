//! How far the sweeper got.

/// How far the walk through LMDB's index got: records that are due up to there have been removed, or a memtable knows
/// their keys.
#[derive(Default)]
pub struct Position {
    pub epoch: u64,
    pub after: Option<Vec<u8>>,
}

impl Position {
    /// The beginning of what has not been swept; `None` for the beginning of the index.
    pub fn swept(&self, epoch: u64) -> Option<Vec<u8>> {
        self.after.clone().filter(|_| self.epoch == epoch)
    }
}
