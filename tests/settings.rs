//! Where settings come from and what they do to a whole server: files of Redis, the environment of a container, addresses,
//! a Unix socket.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use support::{Connection, Reply, free_port, wait_for};
use tempfile::TempDir;

/// A server with nothing from this test's environment, and a folder for its files.
struct Run {
    folder: TempDir,
    child: Option<Child>,
}

impl Run {
    fn new() -> Run {
        Run { folder: TempDir::new().unwrap(), child: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn command(&self, words: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = support::larder();
        command.args(words).envs(variables.iter().copied()).current_dir(self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    /// Starts it, and waits for its answer at a port.
    fn serve(&mut self, port: u16, words: &[&str], variables: &[(&str, &str)]) -> Connection {
        let log = fs::File::create(self.path("log")).unwrap();
        self.child = Some(self.command(words, variables).stdout(Stdio::null()).stderr(log).spawn().unwrap());
        wait_for(|| Connection::try_open(port).ok())
            .unwrap_or_else(|| panic!("it does not listen: {}", self.log()))
    }

    /// Runs it, which has to end by itself, in a failure; gives what it says.
    fn fails(&self, words: &[&str], variables: &[(&str, &str)]) -> String {
        let Output { status, stderr, .. } = self.command(words, variables).output().unwrap();
        assert!(!status.success(), "{words:?}");
        String::from_utf8_lossy(&stderr).into_owned()
    }

    /// Waits for a line of the log, which has a thread of its own.
    fn wait_for_log(&self, text: &str) {
        let is_there = wait_for(|| self.log().contains(text).then_some(()));
        assert!(is_there.is_some(), "'{text}' is not in: {}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn contains(text: &str, part: &str) {
    assert!(text.contains(part), "'{part}' is not in: {text}");
}

fn is_open(address: &str, port: u16) -> bool {
    TcpStream::connect((address, port)).is_ok()
}

/// What Kubernetes sets in every container of a namespace with a Service called "larder".
#[test]
fn variables_of_a_service_called_larder_are_no_settings() {
    let (mut run, port) = (Run::new(), free_port());
    fs::write(run.path("larder.toml"), format!("port = {port}\nhttp-port = 0\n")).unwrap();
    let variables = [
        ("LARDER_PORT", "tcp://10.0.0.1:6379"),
        ("LARDER_HTTP_PORT", "tcp://10.0.0.1:8379"),
        ("LARDER_SERVICE_HOST", "10.0.0.1"),
        ("LARDER_SERVICE_PORT_REDIS", "6379"),
        ("LARDER_PORT_6379_TCP_ADDR", "10.0.0.1"),
        ("LARDER_IMAGE", "larder:1"),
        ("LARDER_TIMEOUT", "7"),
    ];
    let mut client = run.serve(port, &["larder.toml"], &variables);
    assert_eq!(
        client.ask("CONFIG GET timeout"),
        Reply::Array(vec![Reply::bulk("timeout"), Reply::bulk("7")])
    );
    run.wait_for_log("enableServiceLinks");
    run.wait_for_log("LARDER_PORT_6379_TCP_ADDR");
    run.wait_for_log("are no settings: LARDER_IMAGE");
}

#[test]
fn what_is_almost_a_setting_is_refused_wherever_it_is() {
    let run = Run::new();
    fs::write(run.path("redis.conf"), "requirepas secret\n").unwrap();
    fs::write(run.path("larder.toml"), "requirepas = \"secret\"\n").unwrap();
    let cases = [
        (&[][..], &[("LARDER_REQUIREPAS", "secret")][..], "LARDER_REQUIREPASS is one"),
        (&["serve"], &[("LARDER_SALVAGE", "yes")], "`larder salvage DIR`"),
        (&["redis.conf"], &[], "redis.conf, line 1: there is no setting 'requirepas'; 'requirepass' is one"),
        (&["serve", "larder.toml"], &[], "there is no setting 'requirepas'; 'requirepass' is one"),
        (&["--salvage", "yes"], &[], "`larder salvage DIR`"),
        (
            &["exprt"],
            &[],
            "'exprt' is neither a subcommand (`larder --help` lists them) nor a file with settings",
        ),
    ];
    for (words, variables, why) in cases {
        contains(&run.fails(words, variables), why);
    }
}

/// The lines of Redis's own file that are not comments, and some that people add.
#[test]
fn a_configuration_file_of_redis_is_read() {
    let (mut run, port) = (Run::new(), free_port());
    let text = "bind 127.0.0.1 -::1\nprotected-mode yes\ntcp-backlog 511\ntimeout 0\ntcp-keepalive 300\ndaemonize no\n\
                pidfile /var/run/redis.pid\nloglevel notice\nlogfile \"\"\ndatabases 16\nsave 3600 1 300 100\n\
                dbfilename dump.rdb\ndir ./data\nappendonly no\nappendfsync everysec\nslowlog-log-slower-than 10000\n\
                notify-keyspace-events \"\"\nhash-max-listpack-entries 512\n\
                client-output-buffer-limit replica 256mb 64mb 60\nmaxmemory 100mb\nmaxmemory-policy allkeys-lru\n\
                requirepass \"a secret\"\nuser ada on >pw ~* +@all\n";
    fs::write(run.path("redis.conf"), text).unwrap();
    let port_text = port.to_string();
    let words = ["redis.conf", "--port", &port_text, "--http-port", "0", "--timeout", "9"];
    let mut client = run.serve(port, &words, &[]);
    assert!(client.ask("PING").is_error("NOAUTH"));
    assert_eq!(client.call(&["AUTH", "a secret"]), Reply::ok());
    assert_eq!(client.call(&["AUTH", "ada", "pw"]), Reply::ok());
    for (name, value) in [
        ("appendfsync", "everysec"),
        ("timeout", "9"),
        ("loglevel", "notice"),
        ("dir", "./data"),
        ("maxmemory", "104857600"),
        ("max-bytes", "104857600"),
        ("maxmemory-policy", "allkeys-lru"),
    ] {
        let told = client.call(&["CONFIG", "GET", name]);
        assert_eq!(told, Reply::Array(vec![Reply::bulk(name), Reply::bulk(value)]));
    }
    assert!(run.path("data/larder").exists());
    run.wait_for_log("do nothing here: pidfile logfile dbfilename");
    run.wait_for_log("save 3600 1 300 100 (it is '')");
}

#[test]
fn http_has_addresses_of_its_own() {
    let (mut run, port, http_port) = (Run::new(), free_port(), free_port());
    let (port_text, http_text) = (port.to_string(), http_port.to_string());
    let bind = "127.0.0.1 127.0.0.2 -192.0.2.1";
    let words = ["--bind", bind, "--port", &port_text, "--http-port", &http_text, "--requirepass", "secret"];
    run.serve(port, &words, &[]);
    assert!(is_open("127.0.0.2", port) && is_open("127.0.0.1", http_port));
    assert!(!is_open("127.0.0.2", http_port), "loopback alone, whatever bind says");
    run.wait_for_log("192.0.2.1");
    drop(run);

    let mut run = Run::new();
    run.serve(port, &[&words[..], &["--http-bind", "127.0.0.2"]].concat(), &[]);
    assert!(is_open("127.0.0.2", http_port) && !is_open("127.0.0.1", http_port));
    let ready = |variables: &[(&str, &str)]| {
        run.command(&["ready"], &[&[("LARDER_HTTP_PORT", &*http_text)], variables].concat()).status().unwrap()
    };
    assert!(ready(&[("LARDER_HTTP_BIND", "127.0.0.2")]).success());
    assert!(!ready(&[]).success());
}

/// Neither door may be open to others without a password.
#[test]
fn a_public_address_needs_a_password_for_http_too() {
    let run = Run::new();
    let (port, http_port) = (free_port().to_string(), free_port().to_string());
    for wide in ["0.0.0.0", "*", "127.0.0.1 -::", "-0.0.0.0"] {
        for setting in ["--bind", "--http-bind"] {
            let told = run.fails(&["--port", &port, "--http-port", &http_port, setting, wide], &[]);
            contains(&told, &format!("{} {wide} would let others than this machine in", &setting[2..]));
        }
    }
}

#[test]
fn a_unix_socket_has_the_permissions_of_its_setting() {
    let (mut run, port) = (Run::new(), free_port());
    let (port_text, socket) = (port.to_string(), run.text("socket"));
    let words =
        ["--port", &port_text, "--http-port", "0", "--unixsocket", &socket, "--unixsocketperm", "700"];
    let mut client = run.serve(port, &words, &[]);
    let told = client.ask("CONFIG GET unixsocketperm");
    assert_eq!(told, Reply::Array(vec![Reply::bulk("unixsocketperm"), Reply::bulk("700")]));
    // the log names it once it is there
    wait_for(|| UnixStream::connect(&socket).ok()).expect("it listens");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o700);
    for (bad, why) in [
        ("rw", "argument couldn't be parsed as an octal number"),
        ("789", "argument couldn't be parsed as an octal number"),
        ("1777", "argument must be between 0 and 777 inclusive"),
    ] {
        contains(&run.fails(&["--unixsocketperm", bad], &[]), why);
    }
}

#[test]
fn a_data_directory_that_leads_nowhere_is_named() {
    let run = Run::new();
    symlink(run.path("nowhere"), run.path("link")).unwrap();
    let (link, port) = (run.text("link"), free_port().to_string());
    let told = run.fails(&["--dir", &link, "--port", &port, "--http-port", "0"], &[]);
    contains(&told, &format!("{link} is a link to {}, which does not exist", run.text("nowhere")));
}

#[test]
fn a_backup_into_the_servers_own_directory_is_refused() {
    let (mut run, port) = (Run::new(), free_port());
    let (port_text, data) = (port.to_string(), run.text("data"));
    let mut client = run.serve(port, &["--port", &port_text, "--http-port", "0", "--dir", &data], &[]);
    symlink(&data, run.path("link")).unwrap();
    let before = fs::read_dir(&data).unwrap().count();
    for inside in ["data", "data/backup", "link", "link/a/b", "other/../data/backup", "data/lmdb/backup"] {
        let told = client.call(&["BACKUP", &run.text(inside)]).text();
        contains(&told, "is inside ");
        contains(&told, "the server's own data directory");
    }
    assert_eq!(fs::read_dir(&data).unwrap().count(), before);
    assert!(!client.call(&["BACKUP", &run.text("data/../backup")]).is_error("ERR"));
    assert!(Path::new(&run.text("backup/larder")).exists());
}
