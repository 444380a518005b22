//! What is measured. docs/BENCHMARKS.md describes each group.

mod documents;
mod engine;
mod eviction;
mod larger_than_memory;
mod records;
mod requests;
mod rest;
mod values;

use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use fastrand::Rng;

use crate::client::{Crew, Observed, Outcome, Span, push_request, run};
use crate::results::Figures;
use crate::server::{Kind, Program, Server};

/// Measures a program once, in a new folder below the one that is given.
type Measure = dyn Fn(&Program, &Path) -> Result<Figures, String> + Send + Sync;

/// One load, which has the same figures for every server.
pub struct Load {
    pub name: String,
    pub title: String,
    pub group: Group,
    subject: Subject,
    /// Whether it takes so long, or differs so little, that one round is enough.
    once: bool,
    measure: Box<Measure>,
}

/// What a load measures.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Subject {
    Servers,
    /// Something that other servers don't do.
    LarderServers,
    /// The engine in this program.
    Engine,
}

/// Loads with the same figures. The report has a table for each group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    Requests,
    Mixed,
    Threads,
    Engine,
    Records,
    LargerThanMemory,
    Eviction,
    Burst,
    Rest,
    Documents,
}

static ALL: LazyLock<Vec<Load>> = LazyLock::new(|| {
    let groups = [
        requests::loads(),
        engine::loads(),
        records::loads(),
        larger_than_memory::loads(),
        eviction::loads(),
        rest::loads(),
        documents::loads(),
    ];
    groups.into_iter().flatten().collect()
});

impl Load {
    /// A load for all servers.
    fn new(
        group: Group,
        name: impl Into<String>,
        title: impl Into<String>,
        measure: impl Fn(&Program, &Path) -> Result<Figures, String> + Send + Sync + 'static,
    ) -> Load {
        let (name, title, measure) = (name.into(), title.into(), Box::new(measure));
        Load { name, title, group, subject: Subject::Servers, once: false, measure }
    }

    fn of(self, subject: Subject) -> Load {
        Load { subject, ..self }
    }

    fn once(self) -> Load {
        Load { once: true, ..self }
    }

    pub fn is_for(&self, program: &Program) -> bool {
        match self.subject {
            Subject::Servers => true,
            Subject::LarderServers => program.kind == Kind::Larder,
            Subject::Engine => program.is_own,
        }
    }

    /// How many of the wanted rounds it takes part in.
    pub fn rounds(&self, wanted: usize) -> usize {
        if self.once { 1 } else { wanted }
    }

    /// Measures it once, in a new folder below this one.
    pub fn run(&self, program: &Program, folder: &Path) -> Result<Figures, String> {
        (self.measure)(program, folder)
    }
}

pub fn all() -> &'static [Load] {
    &ALL
}

/// The loads that have one of these names, or whose names continue one of them after a hyphen; all for no names.
pub fn chosen(names: &[String]) -> Result<Vec<&'static Load>, String> {
    let is_meant = |load: &Load, name: &str| {
        load.name.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    if let Some(name) = names.iter().find(|name| !all().iter().any(|load| is_meant(load, name))) {
        let known: Vec<&str> = all().iter().map(|load| load.name.as_str()).collect();
        return Err(format!("there is no load '{name}'; there are {}", known.join(", ")));
    }
    let is_chosen = |load: &&Load| names.is_empty() || names.iter().any(|name| is_meant(load, name));
    Ok(all().iter().filter(is_chosen).collect())
}

/// A key of 16 B.
fn key(at: usize) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut rest = at;
    for digit in key[4..].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    key
}

/// What a crew saw, with a prefix for the names.
fn describe(figures: &mut Figures, prefix: &str, outcome: &Outcome, seconds: f64) {
    let mut add = |name: &str, figure: f64| figures.insert(format!("{prefix}{name}"), figure);
    add("per_s", outcome.requests as f64 / seconds);
    add("p50_us", outcome.latency_us(0.5));
    add("p99_us", outcome.latency_us(0.99));
    add("longest_us", outcome.latency_us(1.0));
}

/// Requests that set so many records, each once, whoever sends them.
fn sets_in_order(
    next: &AtomicUsize,
    count: usize,
    record: impl Fn(usize) -> (Vec<u8>, Vec<u8>) + Sync,
) -> impl Fn(&mut Rng, &mut Vec<u8>) -> bool + Sync {
    move |_, bytes| {
        let at = next.fetch_add(1, Ordering::Relaxed);
        if at < count {
            let (key, value) = record(at);
            push_request(bytes, &[b"SET", &key, &value]);
        }
        at < count
    }
}

/// Sets so many records, by 8 clients with a pipeline of 64.
fn write_in_order(
    server: &Server,
    count: usize,
    record: impl Fn(usize) -> (Vec<u8>, Vec<u8>) + Sync,
) -> Result<Observed, String> {
    let next = AtomicUsize::new(0);
    let set = sets_in_order(&next, count, record);
    let crew = Crew { connections: 8, threads: 1, pipeline: 64, rate: None, request: &set };
    run(server, &[crew], Span::ToTheEnd)
}
