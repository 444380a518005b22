//! Gives threads of the engine a lower priority than those that serve clients. If the system does not allow it, they
//! keep the ordinary priority.

use thread_priority::unix::NormalThreadSchedulePolicy as Policy;
use thread_priority::unix::ThreadSchedulePolicy;
use thread_priority::{
    ThreadPriority, ThreadPriorityValue, set_thread_priority_and_policy, thread_native_id,
};

/// Makes this thread run only when a processor would otherwise be idle. For work that nobody waits for and that holds
/// no lock that others need. A low priority is not enough: threads that sleep and wake often, as those of connections
/// do, would still find their processor taken by this one.
pub fn run_only_when_idle() {
    #[cfg(target_os = "linux")]
    const POLICY: Policy = Policy::Idle;
    #[cfg(not(target_os = "linux"))]
    const POLICY: Policy = Policy::Other;
    set(ThreadPriority::Min, POLICY);
}

/// Gives this thread, and those that it starts, a smaller share of a processor that other threads also want. For work
/// that has to progress and may hold a lock for a moment.
pub fn stand_back() {
    /// Of 0 to 99: a niceness of 5.
    const PRIORITY: u8 = 35;
    if let Ok(priority) = ThreadPriorityValue::try_from(PRIORITY) {
        set(ThreadPriority::Crossplatform(priority), Policy::Other);
    }
}

fn set(priority: ThreadPriority, policy: Policy) {
    let policy = ThreadSchedulePolicy::Normal(policy);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), priority, policy) {
        tracing::debug!(%error, "a thread of the engine runs at full priority");
    }
}
