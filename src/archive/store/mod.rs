//! Where an archive is kept: object storage, or a directory.
//!
//! An archive needs few operations, but two of them have to be atomic for all servers: creating an object only if it is
//! absent, and replacing one only if nobody else has. Object stores have both; [`directory`] says how a directory does.
//!
//! All of this blocks, so it runs on threads of the archive only.

mod cloud;
mod directory;
mod fault;
#[cfg(test)]
pub mod faulty;
mod place;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use self::fault::{Fault, Trouble};
pub use self::place::Place;

/// An object, and which version of it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub bytes: Bytes,
    pub version: Version,
}

/// Tells two contents of an object from each other. Each store has its own text for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Version {
    tag: Option<String>,
    number: Option<String>,
}

/// Whether a write that depends on what was there has taken place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    Done(Version),
    /// There is another object, or another version of it. Nothing was written.
    Refused,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Relative to the archive's prefix.
    pub name: String,
    pub bytes: u64,
}

/// The place of an archive. Names are relative to its prefix.
///
/// After an error, a write may have taken place or not.
pub trait Store: Debug + Send + Sync {
    /// Where it is, for people.
    fn place(&self) -> String;

    /// An object of at most `bytes_max` bytes; `None` if there is none.
    fn get(&self, name: &str, bytes_max: u64) -> Result<Option<Found>, Fault>;

    /// The first bytes of an object, or all of it if it is shorter; `None` if there is none.
    fn start(&self, name: &str, bytes: u64) -> Result<Option<Bytes>, Fault>;

    /// Writes an object only if there is none of this name.
    fn create(&self, name: &str, bytes: Bytes) -> Result<Put, Fault>;

    /// Replaces an object only if it is still of this version.
    fn replace(&self, name: &str, bytes: Bytes, version: &Version) -> Result<Put, Fault>;

    /// All objects whose names begin with `folder`, which ends with `/` or is empty, in the order of their names.
    fn list(&self, folder: &str) -> Result<Vec<Listed>, Fault>;

    /// Removes an object, if it is there.
    fn remove(&self, name: &str) -> Result<(), Fault>;
}

/// Opens the store at a place. Nothing is read or written yet. Requests that take longer than `timeout` fail.
pub fn open(place: &Place, timeout: Duration) -> Result<Arc<dyn Store>, String> {
    Ok(match place {
        Place::Directory(dir) => Arc::new(directory::Directory::new(dir.clone())),
        Place::Cloud { url, .. } => Arc::new(cloud::Cloud::open(url, timeout)?),
    })
}

/// A store in memory.
#[cfg(test)]
pub fn in_memory() -> Arc<dyn Store> {
    Arc::new(cloud::Cloud::in_memory())
}
