//! The binary: see [`larder::cli`].

use std::process::ExitCode;

// The allocator of Redis: it fragments little with values of all sizes, and reports how much is in use.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    larder::cli::run()
}
