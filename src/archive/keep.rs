//! The thread that makes snapshots from time to time, and removes what is older than `archive-keep`.

use std::time::{Duration, Instant};

use crate::archive::Archive;
use crate::archive::attach::Attached;
use crate::archive::format::{LOG, Manifest, Name, SNAPSHOTS};
use crate::archive::objects::Ended;
use crate::archive::snapshot;
use crate::engine::clock;

/// How often the thread looks whether there is something to do.
const TICK: Duration = Duration::from_secs(1);
/// Old objects are looked for at least this often.
const REMOVED_EVERY: Duration = Duration::from_secs(60 * 60);
/// A snapshot is made when the segments since the last one are larger than it, but not below this size.
const LOG_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// Or when it is so old, and something has changed.
const SNAPSHOT_AGE_MS: u64 = 24 * 60 * 60 * 1_000;

/// Runs until the server stops, or may no longer write to the archive.
pub fn run(archive: &Archive, attached: &Attached) -> Ended {
    let (mut removed_at, mut not_before): (Option<Instant>, Option<Instant>) = (None, None);
    while !archive.stop.wait(TICK) {
        let now = clock::monotonic();
        let mut has_new = false;
        if not_before.is_none_or(|at| at <= now) && is_due(archive) {
            match make(archive, attached) {
                Ok(()) => has_new = true,
                Err(snapshot::Failed::Ended(ended)) => return ended,
                Err(snapshot::Failed::Here(why)) => {
                    tracing::error!(why, "no snapshot can be made for the archive; the server tries again");
                    not_before = Some(clock::monotonic() + snapshot::RETRY_AFTER);
                }
            }
        }
        if has_new || removed_at.is_none_or(|at| at.elapsed() >= REMOVED_EVERY) {
            removed_at = Some(now);
            if let Err(ended) = remove_old(archive, attached) {
                return ended;
            }
        }
    }
    Ended::Stopping
}

fn is_due(archive: &Archive) -> bool {
    let figures = archive.status.figures(archive.engine.last_entry());
    let is_large = figures.log_bytes > figures.snapshot_bytes.max(LOG_BYTES_MIN);
    let age_ms = clock::now_ms().saturating_sub(figures.snapshot_ms.max(archive.began_ms));
    figures.entry > figures.snapshot_entry && (is_large || age_ms > SNAPSHOT_AGE_MS)
}

fn make(archive: &Archive, attached: &Attached) -> Result<(), snapshot::Failed> {
    // what comes from here on is in this segment or in later ones
    let next_segment = archive.status.figures(0).segment + 1;
    let made = snapshot::make(archive, attached)?;
    while archive.status.figures(0).entry < made.name.entry {
        if archive.stop.wait(Duration::from_millis(50)) {
            return Err(Ended::Stopping.into());
        }
    }
    Ok(snapshot::list(archive, attached, made, next_segment)?)
}

/// Removes what no restore within the time to keep needs: first from the manifest, then the objects.
pub fn remove_old(archive: &Archive, attached: &Attached) -> Result<(), Ended> {
    let until_ms = clock::now_ms().saturating_sub(archive.options.keep.as_millis() as u64);
    let access = archive.access(attached);
    let manifest = access.change_manifest(|manifest| forget(manifest, until_ms))?;
    let segments = access.surely("a listing", || access.store.list(LOG))?;
    let snapshots = access.surely("a listing", || access.store.list(SNAPSHOTS))?;
    // none is being uploaded meanwhile
    let _none = archive.snapshotting.lock();
    let is_listed = |name| manifest.snapshots.iter().any(|listed| listed.name == name);
    for listed in segments.into_iter().chain(snapshots) {
        let is_old = match Name::parse(&listed.name) {
            Some(Name::Segment(number)) => number < manifest.first_segment,
            // one that is newer may be about to be listed
            Some(Name::Part(name, _) | Name::Done(name)) => {
                !is_listed(name) && manifest.snapshots.last().is_some_and(|last| name.entry < last.name.entry)
            }
            _ => false,
        };
        if is_old {
            access.surely("a removal", || access.store.remove(&listed.name))?;
        }
        if archive.stop.is_raised() {
            return Err(Ended::Stopping);
        }
    }
    Ok(())
}

/// Forgets all snapshots before the last one that is at least as old as the time to keep, and the segments before it.
fn forget(manifest: &mut Manifest, until_ms: u64) {
    let Some(oldest) = manifest.snapshots.iter().rposition(|listed| listed.time_ms <= until_ms) else {
        return;
    };
    manifest.snapshots.drain(..oldest);
    if let Some(first) = manifest.snapshots.first() {
        manifest.first_segment = manifest.first_segment.max(first.next_segment);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::archive::format::{Id, Listed, SnapshotName};

    #[test]
    fn what_a_restore_may_need_is_kept() {
        let listed = |time_ms: u64| Listed {
            name: SnapshotName { entry: time_ms, id: 1 },
            next_segment: time_ms,
            time_ms,
            bytes: 1,
        };
        for (until_ms, first, first_segment) in
            [(5, 10, 1), (10, 10, 10), (15, 10, 10), (20, 20, 20), (99, 30, 30)]
        {
            let snapshots = [10, 20, 30].map(listed).to_vec();
            let mut manifest = Manifest { archive: Id(1), serial: 1, first_segment: 1, snapshots };
            forget(&mut manifest, until_ms);
            assert_eq!(manifest.snapshots.first().unwrap().time_ms, first, "{until_ms}");
            assert_eq!(manifest.first_segment, first_segment, "{until_ms}");
        }
    }
}
