//! Libraries of functions: what their texts declare, and their functions in an interpreter.
//!
//! The engine keeps the texts, and what it has is what counts: a library can come and go there without a word to this
//! module, when a transaction is undone or at a start. Everything here follows from the texts. [`Functions::known`]
//! compares the libraries that it knows with those of the engine, which is one comparison of pointers if nothing has
//! changed, and learns what it lacks by running the text. [`Functions::run`] runs a text again if the interpreter has
//! lost it.
//!
//! The functions of a library share its local variables, as in Redis. These are lost when the interpreter is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mlua::Function as Callback;
use parking_lot::Mutex;

use super::interpreter::Interpreter;
use super::register::{Registered, check_name};
use super::source::{Declared, line_end};
use super::workshop::Workshop;
use super::{Host, Runs};
use crate::engine::clock;
use crate::error::Error;
use crate::limits::{
    LIBRARIES_BYTES_MAX, LIBRARIES_LOAD_MS_MAX, LIBRARIES_MAX, LIBRARY_LOAD_MS_MAX, LIBRARY_RELOAD_MS_MAX,
};
use crate::resp::{Reply, split_arguments};
use crate::store::Libraries;

/// How long a new library may take, and one that was loaded before.
const ONE_LOAD: Duration = Duration::from_millis(LIBRARY_LOAD_MS_MAX);
const RELOAD: Duration = Duration::from_millis(LIBRARY_RELOAD_MS_MAX);

/// The libraries of a server.
pub struct Functions {
    interpreter: Workshop<Shelf>,
    known: Mutex<Arc<Known>>,
}

/// A library, as its text describes it.
#[derive(Debug)]
pub struct Library {
    pub name: Bytes,
    pub text: Bytes,
    /// In the order in which they were registered.
    pub functions: Vec<Function>,
}

/// A function, as it was registered.
#[derive(Debug)]
pub struct Function {
    pub name: Bytes,
    pub description: Option<Bytes>,
    pub flags: Declared,
}

/// What a set of texts means.
#[derive(Debug, Default)]
pub struct Known {
    texts: Libraries,
    libraries: Vec<Arc<Library>>,
    /// By names in lower case: functions are found in any case, as in Redis.
    functions: HashMap<Vec<u8>, Found>,
}

/// A function of a library.
#[derive(Debug, Clone)]
pub struct Found {
    pub library: Arc<Library>,
    at: usize,
}

/// The libraries in an interpreter.
#[derive(Default)]
pub struct Shelf {
    loaded: HashMap<Bytes, Loaded>,
    /// Libraries that may be going to be loaded, if the engine takes them.
    candidates: Vec<Loaded>,
}

struct Loaded {
    library: Arc<Library>,
    /// In the order of the library's functions.
    callbacks: Vec<Callback>,
}

impl Functions {
    pub fn new(interpreter: Workshop<Shelf>) -> Functions {
        Functions { interpreter, known: Mutex::default() }
    }

    /// What the texts of the engine mean. A library that can't be loaded has no functions; that is logged.
    pub fn known(&self, texts: &Libraries, memory_bytes: usize) -> Arc<Known> {
        let known = self.known.lock().clone();
        if known.texts.is_clone_of(texts) {
            return known;
        }
        let libraries = texts.iter().map(|(name, text)| {
            let in_use = self.interpreter.with_known(|shelf| shelf.library(name, text)).flatten();
            let learned = in_use.or_else(|| known.library(name).filter(|known| known.text == *text).cloned());
            learned.unwrap_or_else(|| self.learn(name, text, memory_bytes))
        });
        let known = Arc::new(Known::new(texts.clone(), libraries.collect()));
        self.interpreter.with_known(|shelf| {
            shelf.loaded.retain(|name, loaded| texts.get(name) == Some(&loaded.library.text));
        });
        *self.known.lock() = known.clone();
        known
    }

    /// What was known the last time that anybody asked. Does not wait, also while a function runs.
    pub fn last_known(&self) -> Arc<Known> {
        self.known.lock().clone()
    }

    /// Runs the texts of libraries to learn which functions they register. Nothing is replaced before the libraries are
    /// [adopted](Functions::adopt).
    pub fn load(&self, texts: &[Bytes], memory_bytes: usize) -> Result<Vec<Arc<Library>>, Error> {
        self.interpreter.with(memory_bytes, |interpreter, shelf| {
            shelf.candidates.clear();
            let ends_at = clock::monotonic() + Duration::from_millis(LIBRARIES_LOAD_MS_MAX);
            for text in texts {
                let left = ends_at.saturating_duration_since(clock::monotonic());
                shelf.candidates.push(Loaded::from_text(interpreter, text, left.min(ONE_LOAD))?);
            }
            Ok(shelf.candidates.iter().map(|candidate| candidate.library.clone()).collect())
        })
    }

    /// The libraries that were loaded last are in the engine now. If the interpreter was lost meanwhile, they are loaded
    /// again when they are called.
    pub fn adopt(&self) {
        self.interpreter.with_known(|shelf| {
            let candidates = std::mem::take(&mut shelf.candidates);
            shelf.loaded.extend(candidates.into_iter().map(|it| (it.library.name.clone(), it)));
        });
    }

    /// Runs a function to its end. `command` is the request that calls it.
    pub fn run(
        &self,
        Found { library, at }: &Found,
        command: &[Bytes],
        (keys, args): (&[Bytes], &[Bytes]),
        memory_bytes: usize,
        host: &mut dyn Host,
    ) -> Result<Reply, Error> {
        self.interpreter.with(memory_bytes, |interpreter, shelf| {
            let callback = shelf.callback(interpreter, library, *at)?;
            let name = library.functions.get(*at).map_or_else(Bytes::new, |function| function.name.clone());
            let label = String::from_utf8_lossy(&name).into_owned();
            let _run = self.interpreter.running().begin(Runs::Function { name, command: command.to_vec() });
            interpreter.run_function(&label, &callback, keys, args, host)
        })
    }

    /// The memory of the interpreter; 0 while a function runs.
    pub fn interpreter_bytes(&self) -> usize {
        self.interpreter.used_bytes()
    }

    /// A library of which only the text is known.
    fn learn(&self, name: &Bytes, text: &Bytes, memory_bytes: usize) -> Arc<Library> {
        let loaded = self.interpreter.with(memory_bytes, |interpreter, shelf| {
            let loaded = Loaded::from_text(interpreter, text, RELOAD)?;
            let library = loaded.library.clone();
            shelf.loaded.insert(name.clone(), loaded);
            Ok(library)
        });
        loaded.unwrap_or_else(|error| {
            let label = String::from_utf8_lossy(name);
            tracing::error!(%error, "the library '{label}' can't be loaded, and its functions can't be called");
            Arc::new(Library { name: name.clone(), text: text.clone(), functions: Vec::new() })
        })
    }
}

impl Known {
    fn new(texts: Libraries, libraries: Vec<Arc<Library>>) -> Known {
        let mut functions = HashMap::new();
        for library in &libraries {
            for (at, function) in library.functions.iter().enumerate() {
                let found = Found { library: library.clone(), at };
                functions.insert(function.name.to_ascii_lowercase(), found);
            }
        }
        Known { texts, libraries, functions }
    }

    /// In the order of their names.
    pub fn libraries(&self) -> &[Arc<Library>] {
        &self.libraries
    }

    pub fn library(&self, name: &[u8]) -> Option<&Arc<Library>> {
        self.libraries.iter().find(|library| library.name == name)
    }

    /// A function by its name, in any case.
    pub fn function(&self, name: &[u8]) -> Option<&Found> {
        self.functions.get(&name.to_ascii_lowercase())
    }

    pub fn functions_count(&self) -> usize {
        self.functions.len()
    }

    /// What a reply reflects that tells about them.
    pub fn version(&self) -> u64 {
        self.texts.version()
    }

    /// Bytes of all names and texts.
    pub fn bytes(&self) -> usize {
        self.texts.bytes()
    }

    /// Checks whether libraries can be added when others have been removed. They replace those of their names.
    pub fn check_room(&self, added: &[Arc<Library>], removed: &[Bytes]) -> Result<(), Error> {
        let stays = |library: &&Arc<Library>| {
            added.iter().all(|new| new.name != library.name) && !removed.contains(&library.name)
        };
        let all = || self.libraries.iter().filter(stays).chain(added);
        let (count, bytes) = (all().count(), all().map(|it| it.name.len() + it.text.len()).sum::<usize>());
        if count > LIBRARIES_MAX {
            return Err(Error::other(format!(
                "ERR there would be {count} libraries, and the limit is {LIBRARIES_MAX}; remove some with FUNCTION DELETE"
            )));
        }
        if bytes > LIBRARIES_BYTES_MAX {
            return Err(Error::other(format!(
                "ERR libraries would take {bytes} bytes, and the limit is {LIBRARIES_BYTES_MAX}; remove some with FUNCTION DELETE"
            )));
        }
        let mut names: HashMap<Vec<u8>, &Bytes> = HashMap::new();
        for library in all() {
            for function in &library.functions {
                if names
                    .insert(function.name.to_ascii_lowercase(), &library.name)
                    .is_some_and(|of| *of != library.name)
                {
                    let name = String::from_utf8_lossy(&function.name);
                    return Err(Error::other(format!("ERR Function {name} already exists")));
                }
            }
        }
        Ok(())
    }
}

impl Found {
    pub fn flags(&self) -> Declared {
        self.library.functions.get(self.at).map(|function| function.flags).unwrap_or_default()
    }
}

impl Shelf {
    fn library(&self, name: &Bytes, text: &Bytes) -> Option<Arc<Library>> {
        self.loaded.get(name).map(|loaded| &loaded.library).filter(|library| library.text == *text).cloned()
    }

    /// A function of a library, which is loaded again if it is not the one that is loaded.
    fn callback(
        &mut self,
        interpreter: &mut Interpreter,
        library: &Arc<Library>,
        at: usize,
    ) -> Result<Callback, Error> {
        let known = self.loaded.get(&library.name).filter(|loaded| Arc::ptr_eq(&loaded.library, library));
        if let Some(callback) = known.and_then(|loaded| loaded.callbacks.get(at)) {
            return Ok(callback.clone());
        }
        let mut loaded = Loaded::from_text(interpreter, &library.text, RELOAD)?;
        let names =
            |library: &Library| library.functions.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
        let callback = loaded.callbacks.get(at).cloned();
        let (Some(callback), true) = (callback, names(&loaded.library) == names(library)) else {
            return Err(Error::other(
                "ERR the library does not register the same functions whenever it is loaded",
            ));
        };
        loaded.library = library.clone();
        self.loaded.insert(library.name.clone(), loaded);
        Ok(callback)
    }
}

impl Loaded {
    fn from_text(interpreter: &mut Interpreter, text: &Bytes, time: Duration) -> Result<Loaded, Error> {
        let name = library_name(text)?;
        let registered = interpreter.load(&text[line_end(text).unwrap_or(text.len())..], time)?;
        if registered.is_empty() {
            return Err(Error::other("ERR No functions registered"));
        }
        let (functions, callbacks) = registered.into_iter().map(described).unzip();
        let library = Arc::new(Library { name: Bytes::from(name), text: text.clone(), functions });
        Ok(Loaded { library, callbacks })
    }
}

fn described(registered: Registered) -> (Function, Callback) {
    let Registered { name, description, flags, callback } = registered;
    (Function { name: name.into(), description: description.map(Bytes::from), flags }, callback)
}

/// The name of a library, from the first line of its text: `#!lua name=mylib`.
pub fn library_name(text: &[u8]) -> Result<String, Error> {
    let refused = |why: &str| Error::other(format!("ERR {why}"));
    if text.len() > LIBRARIES_BYTES_MAX {
        let bytes = text.len();
        return Err(refused(&format!(
            "the library has {bytes} bytes, and the limit is {LIBRARIES_BYTES_MAX}"
        )));
    }
    if !text.starts_with(b"#!") {
        return Err(refused("Missing library metadata"));
    }
    let invalid = || refused("Invalid library metadata");
    let line = &text[..line_end(text).ok_or_else(invalid)?];
    let words = split_arguments(line).ok_or_else(invalid)?;
    let mut words = words.iter();
    let engine = words.next().and_then(|word| word.get(2..)).unwrap_or_default();
    let mut name = None;
    for word in words {
        let key = word.get(..5).filter(|key| key.eq_ignore_ascii_case(b"name="));
        match key {
            Some(_) if name.is_some() => {
                return Err(refused("Invalid metadata value, name argument was given multiple times"));
            }
            Some(_) => name = word.get(5..),
            None => {
                let word = String::from_utf8_lossy(word);
                return Err(refused(&format!("Invalid metadata value given: {word}")));
            }
        }
    }
    let name = name.ok_or_else(|| refused("Library name was not given"))?;
    let name = check_name(name).map_err(|why| refused(&why))?;
    if !engine.eq_ignore_ascii_case(b"lua") {
        let engine = String::from_utf8_lossy(engine);
        return Err(refused(&format!("Engine '{engine}' not found")));
    }
    Ok(name)
}
