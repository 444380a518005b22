//! Programs of either kind, and servers that run in a folder of their own.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::{Replies, push_request};

/// How long a server may take to start or to stop, and to answer a single request.
const PATIENCE: Duration = Duration::from_secs(120);
/// The server that cargo has built together with this program.
pub const OWN: &str = env!("CARGO_BIN_EXE_larder");
/// More than any load opens.
pub const CONNECTIONS_MAX: usize = 10_100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Larder,
    /// A Redis or one of its descendants.
    Redis,
}

/// A program that can be measured.
pub struct Program {
    path: PathBuf,
    pub kind: Kind,
    /// Whether it was built together with this program.
    pub is_own: bool,
    /// Like `Valkey 9.1.2`.
    pub name: String,
    /// All that it says about itself and, for Larder, the profile that it was built with.
    pub version: String,
}

impl Program {
    /// Asks a program what it is.
    pub fn of(path: &Path) -> Result<Program, String> {
        let output = Command::new(path).arg("--version").output();
        let output = output.map_err(|error| format!("{} can't be run: {error}", path.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        // what follows in further lines says nothing about speed
        let text = text.lines().next().unwrap_or_default();
        let (kind, name) = identify(text).ok_or_else(|| {
            format!("{} is neither Larder nor like Redis: '{}'", path.display(), text.trim())
        })?;
        let profile = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let version = match kind {
            Kind::Larder => format!("{}, profile {profile}", text.trim()),
            Kind::Redis => text.trim().to_owned(),
        };
        Ok(Program { path: path.to_owned(), kind, is_own: path == Path::new(OWN), name, version })
    }

    fn command(&self, setup: &Setup, folder: &Path, port: u16) -> Command {
        let mut command = Command::new(if setup.memory.is_some() { Path::new("sh") } else { &self.path });
        if let Some(cage) = &setup.memory {
            // the shell puts itself into the group, and then becomes the server
            command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(cage.processes()).arg(&self.path);
        }
        command.arg("--dir").arg(folder).args(["--port", &port.to_string()]);
        command.args(["--appendfsync", setup.fsync, "--maxclients", &CONNECTIONS_MAX.to_string()]);
        match self.kind {
            Kind::Larder => command.args(["--http-port", "0"]).args(setup.of_larder),
            Kind::Redis => command.args(["--save", "", "--appendonly", "yes"]),
        };
        if let Some(threads) = setup.io_threads {
            command.args(["--io-threads", &threads.to_string()]);
        }
        if let Some(slow) = &setup.slow_syncs {
            command.env("LD_PRELOAD", slow.library()).env("SLOW_SYNC_US", slow.delay.as_micros().to_string());
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

/// What `--version` tells.
pub fn identify(text: &str) -> Option<(Kind, String)> {
    if let Some(version) = text.strip_prefix("larder ") {
        return Some((Kind::Larder, format!("Larder {}", version.trim())));
    }
    let (name, rest) = text.split_once(" server v=")?;
    Some((Kind::Redis, format!("{name} {}", rest.split_whitespace().next()?)))
}

/// How a server is started.
#[derive(Default)]
pub struct Setup {
    pub fsync: &'static str,
    /// `None`: the server's default.
    pub io_threads: Option<usize>,
    pub slow_syncs: Option<SlowSyncs>,
    pub memory: Option<Cage>,
    /// More options, for Larder only.
    pub of_larder: &'static [&'static str],
}

impl Setup {
    pub fn with_fsync(fsync: &'static str) -> Setup {
        Setup { fsync, ..Setup::default() }
    }
}

/// A server that runs. It ends when this is dropped, and its data is removed.
pub struct Server {
    process: Child,
    pub kind: Kind,
    port: u16,
    folder: TempDir,
}

impl Server {
    pub fn start(program: &Program, setup: &Setup, parent: &Path) -> Result<Server, String> {
        let folder = tempfile::Builder::new().prefix("compare-").tempdir_in(parent);
        Server::start_in(program, setup, folder.map_err(|error| format!("{}: {error}", parent.display()))?)
    }

    /// Starts a server on what is in a folder.
    pub fn start_in(program: &Program, setup: &Setup, folder: TempDir) -> Result<Server, String> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let port = port.map_err(|error| format!("there is no free port: {error}"))?.port();
        let process = program.command(setup, folder.path(), port).spawn();
        let process = process.map_err(|error| format!("{}: {error}", program.path.display()))?;
        let mut server = Server { process, kind: program.kind, port, folder };
        let began = Instant::now();
        while server.ask(&["PING"]).as_deref() != Ok("PONG") {
            if let Ok(Some(status)) = server.process.try_wait() {
                return Err(format!("the server ended at its start: {status}"));
            }
            if began.elapsed() > PATIENCE {
                return Err("the server does not answer after its start".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if let Some(slow) = &setup.slow_syncs {
            server.expect_delay(slow.delay)?;
        }
        Ok(server)
    }

    /// Fails if a write is acknowledged before a sync with this delay can have ended.
    fn expect_delay(&self, delay: Duration) -> Result<(), String> {
        let began = Instant::now();
        self.ask(&["SET", "probe", "1"])?;
        let took = began.elapsed();
        if took < delay {
            return Err(format!("syncs can't be delayed in this server: a SET took {} µs", took.as_micros()));
        }
        Ok(())
    }

    pub fn connect(&self) -> Result<TcpStream, String> {
        let stream = TcpStream::connect(("127.0.0.1", self.port));
        let stream = stream.map_err(|error| format!("a connection is refused: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        Ok(stream)
    }

    /// The reply to one request, without its type and length.
    pub fn ask(&self, words: &[&str]) -> Result<String, String> {
        let mut stream = self.connect()?;
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        push_request(&mut bytes, &words);
        stream.write_all(&bytes).map_err(|error| error.to_string())?;
        let (mut replies, mut reply, mut piece) = (Replies::default(), Vec::new(), [0; 4096]);
        loop {
            let length = stream.read(&mut piece).map_err(|error| error.to_string())?;
            reply.extend_from_slice(&piece[..length]);
            if length == 0 {
                return Err("the server closed the connection".into());
            }
            if replies.feed(&piece[..length])? > 0 {
                break;
            }
        }
        let text = String::from_utf8_lossy(&reply);
        let (first, rest) = text.split_once("\r\n").unwrap_or((&text, ""));
        Ok(if first.starts_with('$') { rest.trim_end().to_owned() } else { first[1..].to_owned() })
    }

    /// Waits until everything is in the form that the server keeps for long: the tables of Larder, the rewritten file of
    /// Redis.
    pub fn settle(&self) -> Result<(), String> {
        match self.kind {
            Kind::Larder => self.ask(&["SAVE"]).map(drop),
            Kind::Redis => {
                while self.ask(&["BGREWRITEAOF"]).is_err_and(|why| why.contains("in progress")) {
                    std::thread::sleep(Duration::from_millis(10));
                }
                while self.ask(&["INFO", "persistence"])?.contains("aof_rewrite_in_progress:1")
                    || self.ask(&["INFO", "persistence"])?.contains("aof_rewrite_scheduled:1")
                {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Ok(())
            }
        }
    }

    /// Stops the server in order, and leaves its folder.
    pub fn shut_down(self) -> Result<TempDir, String> {
        // the connection ends without a reply
        let _ = self.ask(&["SHUTDOWN"]);
        self.wait()
    }

    /// Kills the server, and leaves its folder.
    pub fn kill(mut self) -> Result<TempDir, String> {
        self.process.kill().map_err(|error| error.to_string())?;
        self.wait()
    }

    fn wait(mut self) -> Result<TempDir, String> {
        self.process.wait().map_err(|error| error.to_string())?;
        let empty = TempDir::new().map_err(|error| error.to_string())?;
        Ok(std::mem::replace(&mut self.folder, empty))
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The processor time of each of its threads so far.
    pub fn processor_time(&self) -> ProcessorTime {
        let threads =
            fs::read_dir(format!("/proc/{}/task", self.process.id())).into_iter().flatten().flatten();
        let ran = threads.filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            Some((thread.file_name(), text.split(' ').next()?.parse().ok()?))
        });
        ProcessorTime(ran.collect())
    }

    /// Memory of its own. Pages of files that the system keeps in memory are not counted.
    pub fn memory_bytes(&self) -> f64 {
        self.proc_number("status", "RssAnon:") * 1024.0
    }

    /// What it has read from disks so far.
    pub fn read_bytes(&self) -> f64 {
        self.proc_number("io", "read_bytes:")
    }

    fn proc_number(&self, file: &str, name: &str) -> f64 {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Nanoseconds by thread. The sum alone would shrink when a thread ends.
pub struct ProcessorTime(HashMap<OsString, u64>);

impl ProcessorTime {
    /// What the threads that still run have used since an earlier time.
    pub fn seconds_since(&self, earlier: &ProcessorTime) -> f64 {
        let used = self.0.iter().map(|(thread, ran_ns)| ran_ns - earlier.0.get(thread).unwrap_or(&0));
        used.sum::<u64>() as f64 / 1e9
    }
}

/// Space that a folder takes on its disk.
pub fn disk_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;

    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| Some((entry.path(), entry.metadata().ok()?)))
        .map(|(path, meta)| if meta.is_dir() { disk_bytes(&path) } else { meta.blocks() * 512 })
        .sum()
}

/// A library that makes syncs take longer. Compiled with `cc`.
pub struct SlowSyncs {
    folder: TempDir,
    delay: Duration,
}

impl SlowSyncs {
    pub fn of(delay: Duration) -> Result<SlowSyncs, String> {
        let folder = TempDir::new().map_err(|error| error.to_string())?;
        let slow = SlowSyncs { folder, delay };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/compare/slow_sync.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(slow.library())
            .arg(source)
            .status();
        match built {
            Ok(status) if status.success() => Ok(slow),
            Ok(status) => Err(format!("cc can't compile slow_sync.c: {status}")),
            Err(error) => Err(format!("slow disks need a C compiler: cc: {error}")),
        }
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("slow_sync.so")
    }
}

/// A control group that limits memory, including pages of files.
pub struct Cage(PathBuf);

impl Cage {
    /// Needs root.
    pub fn new(bytes: u64) -> Result<Cage, String> {
        let (root, limit, swap) = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            ("/sys/fs/cgroup", "memory.max", ("memory.swap.max", 0))
        } else {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", bytes))
        };
        let cage = Cage(Path::new(root).join(format!("larder-compare-{}", std::process::id())));
        let failed = |error| {
            format!("a memory cgroup needs root and the memory controller: {}: {error}", cage.0.display())
        };
        fs::create_dir(&cage.0).map_err(failed)?;
        fs::write(cage.0.join(limit), bytes.to_string()).map_err(failed)?;
        // kernels without swap accounting have no such file
        let _ = fs::write(cage.0.join(swap.0), swap.1.to_string());
        Ok(cage)
    }

    fn processes(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // it can be removed when the last process is gone
        let _ = fs::remove_dir(&self.0);
    }
}
