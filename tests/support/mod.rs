//! What the test files share: servers to talk to, a client to talk with, client programs, and chance with a seed.
//!
//! Nothing here knows Larder's source. The tests see what a client sees, and share no code with the server, so that the
//! two cannot be wrong in the same way.

// Every test file is a crate of its own and uses only a part of this; a panic is how a test fails.
#![allow(dead_code, unused_imports, unused_macros)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

mod disk;
mod http;
mod preload;
mod random;
mod server;
mod tools;
mod wire;

pub mod script;

pub use disk::SmallDisk;
pub use http::{connect_http, exchange, larder_with_http};
pub use preload::{Preloaded, Syncs};
pub use random::Random;
pub use server::{Kind, Server, free_port, larder, wait_for};
pub use tools::{
    clients_folder, heed, hold, installed, node_script, program, python_script, redis_cli, run,
    run_with_input, rust_program, script,
};
pub use wire::{Connection, PATIENCE, Reply, printable, request};

/// Makes a test for each kind of server, out of what starts one and of functions that take one.
macro_rules! on_both {
    ($server:ident => $($name:ident),+ $(,)?) => {
        $(mod $name {
            #[test]
            fn larder() {
                super::$name(super::$server(super::Kind::Larder));
            }

            #[test]
            fn redis() {
                super::$name(super::$server(super::Kind::Redis));
            }
        })+
    };
}
pub(crate) use on_both;

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, by the clock that the servers on this machine also read.
pub fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since_epoch.as_millis()).unwrap()
}
