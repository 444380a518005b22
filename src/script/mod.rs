//! Lua scripts: an interpreter that can do nothing but compute and ask its host for commands.
//!
//! ```text
//! command::scripting ──▶ Interpreter::run ──▶ the script ──▶ redis.call ──▶ Host ──▶ a command's plan
//!                            │    ▲                                           ▲
//!                prelude.lua ┘    └── Running: is it to stop?                 └── command::scripting
//! ```
//!
//! There is one interpreter, made for the first script and again after one that ran out of memory. What scripts share
//! in it is read-only, so a script sees nothing of earlier ones. Memory is bounded by `lua-memory-limit`, and time by
//! SCRIPT KILL, for which a hook checks every few hundred instructions.
//!
//! Knows replies and errors, but no commands, sessions or engine: those belong to the [`Host`]. Runs on the caller's
//! thread, one script at a time.

pub mod api;
pub mod cache;
pub mod convert;
pub mod format;
pub mod interpreter;
pub mod library;
pub mod raised;
pub mod running;
pub mod source;
pub mod turnstile;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use parking_lot::Mutex;

pub use cache::CacheStatus;
pub use running::{Kill, Running};
pub use source::{Declared, Script};
use turnstile::Turnstile;

use crate::error::Error;
use crate::resp::{Protocol, Reply};
use cache::Cache;
use interpreter::Interpreter;

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
    /// The version of Redis that scripts see.
    version: String,
    /// The seed of `math.random`.
    seed: u32,
    cache: Mutex<Cache>,
    interpreter: Mutex<Option<Interpreter>>,
    pub running: Arc<Running>,
    /// Whether scripts may call DEBUG, for tests.
    pub may_debug: AtomicBool,
    /// Keeps others out while a script runs.
    pub turnstile: Turnstile,
}

impl Scripts {
    pub fn new(version: String, seed: u32) -> Scripts {
        Scripts {
            version,
            seed,
            cache: Mutex::default(),
            interpreter: Mutex::default(),
            running: Arc::default(),
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
        let mut interpreter = self.interpreter.lock();
        self.cache.lock().clear();
        *interpreter = None;
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
        self.with_interpreter(memory_bytes, |interpreter| {
            let _run = self.running.begin();
            interpreter.run(script, keys, args, host)
        })
    }

    pub fn cache_status(&self) -> CacheStatus {
        self.cache.lock().status()
    }

    /// The memory of the interpreter; 0 while a script runs.
    pub fn interpreter_bytes(&self) -> usize {
        let interpreter = self.interpreter.try_lock();
        interpreter.and_then(|it| it.as_ref().map(Interpreter::used_bytes)).unwrap_or(0)
    }

    fn compiled(&self, text: &[u8], memory_bytes: usize) -> Result<Arc<Script>, Error> {
        let script = Script::parse(text)?;
        self.with_interpreter(memory_bytes, |interpreter| interpreter.check(&script))?;
        Ok(Arc::new(script))
    }

    /// An interpreter that reached its limit is not used again.
    fn with_interpreter<R>(
        &self,
        memory_bytes: usize,
        work: impl FnOnce(&mut Interpreter) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let mut slot = self.interpreter.lock();
        let mut interpreter = match slot.take() {
            Some(interpreter) => interpreter,
            None => Interpreter::new(&self.version, self.seed, memory_bytes, self.running.clone())?,
        };
        let outcome = interpreter.prepare(memory_bytes).and_then(|()| work(&mut interpreter));
        if interpreter.is_usable() {
            *slot = Some(interpreter);
        }
        outcome
    }
}
