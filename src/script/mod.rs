//! Lua scripts: an interpreter that can do nothing but compute and ask its host for commands.
//!
//! ```text
//! command::scripting ──▶ Interpreter::run ──▶ the script ──▶ redis.call ──▶ Host ──▶ a command's plan
//!                            │    ▲                                           ▲
//!                prelude.lua ┘    └── Running: is it to stop?                 └── command::scripting
//! ```
//!
//! There are two interpreters, one for scripts and one for functions, each made when it is first needed and again after
//! it ran out of memory ([`workshop`]). What scripts share is read-only, so a script sees nothing of earlier ones;
//! the functions of a library share its local variables. The memory of each interpreter is bounded by
//! `lua-memory-limit`, and time by SCRIPT KILL and FUNCTION KILL, for which a hook checks every few hundred instructions.
//!
//! Knows replies and errors, but no commands, sessions or engine: those belong to the [`Host`]. Runs on the caller's
//! thread, one script at a time.

pub mod api;
pub mod cache;
pub mod convert;
pub mod format;
pub mod functions;
pub mod interpreter;
pub mod library;
pub mod raised;
pub mod register;
pub mod running;
pub mod source;
pub mod turnstile;
pub mod workshop;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use parking_lot::Mutex;

pub use cache::CacheStatus;
pub use functions::Functions;
pub use running::{Kill, Running, Runs};
pub use source::{Declared, Script};
use turnstile::Turnstile;

use crate::error::Error;
use crate::resp::{Protocol, Reply};
use cache::Cache;
use interpreter::Purpose;
use workshop::Workshop;

/// What a script can ask of its server.
pub trait Host {
    /// Runs a command. Its errors come as replies.
    fn call(&mut self, args: Vec<Bytes>) -> Reply;
    /// Whether the user may run a command; fails if there is no such command.
    fn may_run(&mut self, args: &[Bytes]) -> Result<bool, Error>;
    /// The protocol whose types replies have in the script: RESP2 until it asks for RESP3.
    fn protocol(&self) -> Protocol;
    fn set_protocol(&mut self, protocol: Protocol);
}

/// The scripts of a server.
pub struct Scripts {
    cache: Mutex<Cache>,
    interpreter: Workshop<()>,
    pub functions: Functions,
    /// The script or function that runs.
    pub running: Arc<Running>,
    /// Whether scripts may call DEBUG, for tests.
    pub may_debug: AtomicBool,
    /// Keeps others out while a script runs.
    pub turnstile: Turnstile,
}

impl Scripts {
    /// `version` is the version of Redis that scripts see, and `seed` is that of `math.random`.
    pub fn new(version: String, seed: u32) -> Scripts {
        let running = Arc::new(Running::default());
        Scripts {
            cache: Mutex::default(),
            interpreter: Workshop::new(Purpose::Scripts, version.clone(), seed, running.clone()),
            functions: Functions::new(Workshop::new(Purpose::Functions, version, seed, running.clone())),
            running,
            may_debug: AtomicBool::default(),
            turnstile: Turnstile::default(),
        }
    }

    /// A script that was kept, by its name.
    pub fn find(&self, sha: &[u8]) -> Option<Arc<Script>> {
        self.cache.lock().get(sha)
    }

    pub fn has(&self, sha: &[u8]) -> bool {
        self.cache.lock().has(sha)
    }

    /// The script of a text that came with an EVAL, which is kept if it can be compiled.
    pub fn take(&self, text: &[u8], memory_bytes: usize) -> Result<Arc<Script>, Error> {
        if let Some(known) = self.cache.lock().get(source::sha1_hex(text).as_bytes()) {
            return Ok(known);
        }
        let script = self.compiled(text, memory_bytes)?;
        self.cache.lock().add(script.clone());
        Ok(script)
    }

    /// Keeps a script until [`flush`](Scripts::flush).
    pub fn load(&self, text: &[u8], memory_bytes: usize) -> Result<Arc<Script>, Error> {
        let script = self.compiled(text, memory_bytes)?;
        self.cache.lock().load(script.clone())?;
        Ok(script)
    }

    /// Forgets all scripts.
    pub fn flush(&self) {
        self.interpreter.forget(|| self.cache.lock().clear());
    }

    /// Runs a script to its end.
    pub fn run(
        &self,
        script: &Script,
        keys: &[Bytes],
        args: &[Bytes],
        memory_bytes: usize,
        host: &mut dyn Host,
    ) -> Result<Reply, Error> {
        self.interpreter.with(memory_bytes, |interpreter, _| {
            let _run = self.running.begin(Runs::Script);
            interpreter.run(script, keys, args, host)
        })
    }

    pub fn cache_status(&self) -> CacheStatus {
        self.cache.lock().status()
    }

    /// The memory of the interpreter; 0 while a script runs.
    pub fn interpreter_bytes(&self) -> usize {
        self.interpreter.used_bytes()
    }

    fn compiled(&self, text: &[u8], memory_bytes: usize) -> Result<Arc<Script>, Error> {
        let script = Script::parse(text)?;
        self.interpreter.with(memory_bytes, |interpreter, _| interpreter.check(&script))?;
        Ok(Arc::new(script))
    }
}
