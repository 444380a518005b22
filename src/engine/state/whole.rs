//! Changes of the engine's state that are either completed or end the process.
//!
//! Between a journal entry and the last of its effects in memory, the state is one that never existed. A panic there is
//! a bug of ours. If it only unwound, clients would be served from such a state, and the next checkpoint would write
//! it. Therefore the process ends, and a start recovers from the journal.

use std::time::Duration;

/// How long the process continues after its last lines in the log. Nobody is served meanwhile, because the engine's
/// lock is held.
const LAST_LINES: Duration = Duration::from_millis(200);

/// Runs a change. If it panics, the process ends.
pub fn change<R>(change: impl FnOnce() -> R) -> R {
    let end = EndProcess;
    let result = change();
    std::mem::forget(end);
    result
}

/// Dropped only by a panic.
struct EndProcess;

impl Drop for EndProcess {
    fn drop(&mut self) {
        tracing::error!(
            "a change of the engine's state panicked half way; the process exits, so that no client sees such a state. \
             Start it again, and report this together with the preceding lines of the log"
        );
        // the log has a thread of its own, which needs time to write these lines
        std::thread::sleep(LAST_LINES);
        std::process::abort();
    }
}
