//! Reading and writing objects of an archive, so that a lost answer does no harm.

use std::time::Duration;

use bytes::Bytes;

use crate::archive::format::{FormatError, Id, Manifest, Name};
use crate::archive::status::Status;
use crate::archive::stop::Stop;
use crate::archive::store::{Fault, Found, Put, Store};

/// How long a failed request waits before it is repeated: at first, and at most.
const RETRY_AFTER: Duration = Duration::from_millis(200);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(10);

/// No manifest and no lease is longer.
pub const SMALL_BYTES_MAX: u64 = 1024 * 1024;

/// Why the threads of an archive end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The server stops.
    Stopping,
    /// Nothing may be written to the archive any more, for this reason.
    Superseded(String),
}

/// What all requests of a server's archive need.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    pub store: &'a dyn Store,
    pub archive: Id,
    pub status: &'a Status,
    pub stop: &'a Stop,
}

impl Access<'_> {
    /// Repeats a request until it succeeds or the server stops. While the server stops, nothing is repeated.
    pub fn surely<R>(&self, doing: &str, mut request: impl FnMut() -> Result<R, Fault>) -> Result<R, Ended> {
        let mut retry_after = RETRY_AFTER;
        loop {
            match request() {
                Ok(done) => {
                    self.status.recovered();
                    return Ok(done);
                }
                Err(fault) => self.status.failed(doing, fault),
            }
            if self.stop.wait(retry_after) {
                return Err(Ended::Stopping);
            }
            retry_after = (retry_after * 2).min(RETRY_AFTER_MAX);
        }
    }

    /// Creates an object that only this server writes. If there is one, it has to be the same: then an earlier request had
    /// created it, and its answer was lost.
    pub fn create(&self, name: Name, bytes: Bytes) -> Result<(), Ended> {
        let name = name.to_string();
        let count = bytes.len() as u64;
        let is_ours = self.surely(&name, || match self.store.create(&name, bytes.clone())? {
            Put::Done(_) => Ok(true),
            Put::Refused => {
                let found = self.store.get(&name, count.max(SMALL_BYTES_MAX));
                // one that is much longer is not ours, either
                Ok(found?.is_some_and(|found| found.bytes == bytes))
            }
        })?;
        if !is_ours {
            let why = format!(
                "another server has written {name} in {}, so this one may no longer write to the archive",
                self.store.place()
            );
            return Err(Ended::Superseded(why));
        }
        self.status.uploaded(count);
        Ok(())
    }

    /// Changes the manifest. `change` may be called several times, each time with what is there.
    pub fn change_manifest(&self, change: impl Fn(&mut Manifest)) -> Result<Manifest, Ended> {
        let outcome = self.surely("the manifest", || {
            let found = match read_manifest(self.store)? {
                Ok(Some(found)) if found.0.archive == self.archive => found,
                Ok(Some(_)) => return Ok(Err("the manifest is another archive's".to_owned())),
                Ok(None) => return Ok(Err("the manifest is gone".to_owned())),
                Err(error) => return Ok(Err(error.to_string())),
            };
            let (mut manifest, version) = found;
            let before = manifest.clone();
            change(&mut manifest);
            if manifest == before {
                return Ok(Ok(manifest));
            }
            manifest.serial += 1;
            match self.store.replace(&Name::Manifest.to_string(), manifest.encode().into(), &version)? {
                Put::Done(_) => Ok(Ok(manifest)),
                // the next attempt begins with what is there now
                Put::Refused => Err(Fault::new(
                    crate::archive::store::Trouble::Failed,
                    "the manifest was changed by somebody else at the same time",
                )),
            }
        })?;
        outcome.map_err(|why| Ended::Superseded(format!("{} in {}", why, self.store.place())))
    }
}

/// The manifest with its version; `None` if there is none.
#[allow(clippy::type_complexity)]
pub fn read_manifest(
    store: &dyn Store,
) -> Result<Result<Option<(Manifest, crate::archive::store::Version)>, FormatError>, Fault> {
    let Some(Found { bytes, version }) = store.get(&Name::Manifest.to_string(), SMALL_BYTES_MAX)? else {
        return Ok(Ok(None));
    };
    Ok(Manifest::decode(&bytes).map(|manifest| Some((manifest, version))))
}
