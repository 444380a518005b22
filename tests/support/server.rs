//! Server processes: Larder, and a Redis beside it as the reference. Dropping a [`Server`] kills its process.

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::disk::SmallDisk;
use super::wire::{Connection, PATIENCE, Reply};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Larder,
    /// The reference: a real Redis that keeps everything in memory.
    Redis,
}

pub struct Server {
    kind: Kind,
    flags: Vec<String>,
    port: u16,
    process: Option<Child>,
    folder: TempDir,
    data: PathBuf,
    /// What runs the program, if not this process itself.
    launcher: Vec<String>,
}

impl Server {
    /// A Larder with data of its own, listening. It has no HTTP unless the flags ask for it.
    pub fn larder(flags: &[&str]) -> Server {
        Server::of_kind(Kind::Larder, flags)
    }

    pub fn redis(flags: &[&str]) -> Server {
        Server::of_kind(Kind::Redis, flags)
    }

    pub fn of_kind(kind: Kind, flags: &[&str]) -> Server {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        Server::place(kind, flags, folder, data, Vec::new())
    }

    /// A Larder with its data on a disk of its own.
    pub fn larder_on(disk: &SmallDisk, flags: &[&str]) -> Server {
        let data = disk.path().join("data");
        Server::place(Kind::Larder, flags, TempDir::new().unwrap(), data, disk.launcher())
    }

    /// A Larder that is run by something else, which is to become it.
    pub fn larder_by(launcher: Vec<String>, flags: &[&str]) -> Server {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        Server::place(Kind::Larder, flags, folder, data, launcher)
    }

    /// A Larder of which a process may have only so many files and sockets open at once.
    pub fn larder_with_descriptors(limit: &str, flags: &[&str]) -> Server {
        let launcher = ["sh", "-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")].map(str::to_owned);
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        Server::place(Kind::Larder, flags, folder, data, launcher.into())
    }

    fn place(kind: Kind, flags: &[&str], folder: TempDir, data: PathBuf, launcher: Vec<String>) -> Server {
        let flags = flags.iter().map(ToString::to_string).collect();
        let mut server = Server { kind, flags, port: free_port(), process: None, folder, data, launcher };
        server.start();
        server
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where a client finds it, for those that take a URL; with the password, if it asks for one.
    pub fn url(&self) -> String {
        let login = self.password().map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{login}127.0.0.1:{}", self.port)
    }

    /// What `--requirepass` says.
    pub fn password(&self) -> Option<&str> {
        self.flags.iter().skip_while(|flag| *flag != "--requirepass").nth(1).map(String::as_str)
    }

    /// The folder given to `--dir`.
    pub fn data_folder(&self) -> PathBuf {
        self.data.clone()
    }

    /// For the next start.
    pub fn set_flags(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(ToString::to_string).collect();
    }

    /// What runs the program, from the next start on.
    pub fn set_launcher(&mut self, launcher: &[&str]) {
        self.launcher = launcher.iter().map(ToString::to_string).collect();
    }

    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("the server runs").id()
    }

    pub fn connect(&self) -> Connection {
        Connection::open(self.port)
    }

    /// Everything it logged, from its first start on.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// What a power cut does to the process: SIGKILL, with no chance to write anything.
    pub fn kill_hard(&mut self) {
        let mut process = self.process.take().expect("the server runs");
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// SIGTERM, after which it has to end by itself and call it a success.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("the server runs");
        signal(&process, "TERM");
        let status = wait_for(|| process.try_wait().unwrap()).unwrap_or_else(|| {
            process.kill().unwrap();
            panic!("the server did not end after SIGTERM")
        });
        assert!(status.success(), "after SIGTERM the server ended with {status}");
    }

    /// SIGHUP, and waits until the server has said what came of it.
    pub fn hang_up(&self) {
        let said = |server: &Server| server.log().matches("SIGHUP").count();
        let before = said(self);
        signal(self.process.as_ref().expect("the server runs"), "HUP");
        wait_for(|| (said(self) > before).then_some(())).expect("the server heeds SIGHUP");
    }

    /// Starts it again after [`stop`](Self::stop) or [`kill_hard`](Self::kill_hard): same data, flags and port.
    pub fn start(&mut self) {
        self.launch();
        self.wait_until_ready();
    }

    /// Starts it and waits for nothing.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "the server runs already");
        let log = File::options().create(true).append(true).open(self.log_path()).unwrap();
        let process = self
            .command()
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{:?} cannot be started: {error}", self.kind));
        self.process = Some(process);
    }

    /// Starts it, which it has to refuse; gives what it says.
    pub fn start_in_vain(&mut self) -> String {
        let before = self.log().len();
        self.launch();
        let mut process = self.process.take().unwrap();
        let status = wait_for(|| process.try_wait().unwrap()).unwrap_or_else(|| {
            process.kill().unwrap();
            panic!("the server neither ended nor refused to start")
        });
        assert_eq!(status.code(), Some(1), "a refusal is an orderly end");
        self.log().split_off(before)
    }

    /// What `larder check` says of the data, and whether it is sound.
    pub fn check(&self) -> (bool, String) {
        assert!(self.process.is_none(), "a check needs a stopped server");
        let mut command = self.launched();
        let output = command.args(["check", "--dir"]).arg(&self.data).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    /// A graceful stop and a new start.
    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Waits until the log has a text: it has a thread of its own, so it may come after a reply that says the same.
    pub fn wait_for_log(&self, text: &str) {
        let is_there = wait_for(|| self.log().contains(text).then_some(()));
        assert!(is_there.is_some(), "'{text}' is not in: {}", self.log());
    }

    /// Memory that the process really has, in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let id = self.process.as_ref().expect("the server runs").id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("Linux tells the resident size");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    fn command(&self) -> Command {
        let port = self.port.to_string();
        let folder = self.data_folder();
        fs::create_dir_all(&folder).unwrap();
        let mut command = match self.kind {
            Kind::Larder => {
                let mut command = self.launched();
                command.args(["--bind", "127.0.0.1"]);
                if !self.flags.iter().any(|flag| flag == "--http-port") {
                    command.args(["--http-port", "0"]);
                }
                command
            }
            Kind::Redis => {
                let mut command = Command::new("redis-server");
                command.args(["--save", "", "--appendonly", "no"]);
                command
            }
        };
        command.args(["--port", &port, "--dir"]).arg(&folder);
        command.args(&self.flags);
        command
    }

    fn launched(&self) -> Command {
        match self.launcher.split_first() {
            None => larder(),
            Some((launcher, words)) => {
                let mut command = without_settings(Command::new(launcher));
                command.args(words).arg(env!("CARGO_BIN_EXE_larder"));
                command
            }
        }
    }

    /// Waits until a server that was [launched](Self::launch) answers and has loaded its data; a Redis that still loads
    /// says so only to who has said the password.
    pub fn wait_until_ready(&mut self) {
        let port = self.port;
        let greeting = match self.password() {
            Some(password) => format!("AUTH {password}\r\nPING\r\n"),
            None => "PING\r\n".to_owned(),
        };
        let replies = greeting.lines().count();
        let process = self.process.as_mut().unwrap();
        let ready = wait_for(|| {
            let ended = process.try_wait().unwrap().is_some();
            let answers = Connection::try_open(port).is_ok_and(|mut connection| {
                let is_loading =
                    |reply: &Reply| matches!(reply, Reply::Error(error) if error.starts_with(b"LOADING"));
                connection.try_send(greeting.as_bytes()).is_ok()
                    && (0..replies).all(|_| connection.try_read().is_ok_and(|reply| !is_loading(&reply)))
            });
            (ended || answers).then_some(answers && !ended)
        });
        if ready != Some(true) {
            panic!("the server does not answer; its log:\n{}", self.log());
        }
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if thread::panicking() {
            println!("{}", last_lines(&self.log_path(), 40));
        }
    }
}

/// A port that nobody listens on, outside of the range from which the system gives ports to clients.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id().wrapping_mul(101);
    loop {
        let offset = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(20_000 + start.wrapping_add(offset) % 11_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The program under test, to be run without a setting that is meant for the tests.
pub fn larder() -> Command {
    without_settings(Command::new(env!("CARGO_BIN_EXE_larder")))
}

fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LARDER_") {
            command.env_remove(name);
        }
    }
    command
}

/// Tries until there is an answer; `None` when patience ends.
pub fn wait_for<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if let Some(answer) = attempt() {
            return Some(answer);
        }
        thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Through the shell, since the standard library sends no signal but SIGKILL.
fn signal(process: &Child, name: &str) {
    let command = format!("kill -{name} {}", process.id());
    let status = Command::new("sh").args(["-c", &command]).status().unwrap();
    assert!(status.success(), "{command} failed");
}

fn last_lines(path: &Path, count: usize) -> String {
    let mut text = String::new();
    if let Ok(mut file) = File::open(path) {
        let _ = file.read_to_string(&mut text);
    }
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(count)..];
    format!("the server's log, last lines:\n{}", tail.join("\n"))
}
