//! What `examples/` has for those who run a server: a dashboard for Grafana with a configuration of Prometheus, a unit of
//! systemd, a Dockerfile. Each is tried as far as that goes without Grafana, systemd and Docker: the dashboard's queries
//! by a real Prometheus, the unit's command under a socket like systemd's, the image's build and commands on this machine.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use support::{Connection, PATIENCE, Reply, Server, exchange, free_port, installed, run, wait_for};
use tempfile::TempDir;

fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path)
}

fn text_of(path: &str) -> String {
    fs::read_to_string(example(path)).unwrap()
}

/// A process that ends with the test.
struct Running(Child);

impl Running {
    fn of(command: &mut Command) -> Running {
        Running(command.spawn().unwrap_or_else(|error| panic!("{command:?} can't be started: {error}")))
    }

    /// SIGTERM, after which it has to end well by itself.
    fn stop(mut self) {
        run(Command::new("kill").arg(self.0.id().to_string()));
        let status = wait_for(|| self.0.try_wait().unwrap()).expect("an end");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The body of an answer to a GET, without credentials.
fn get(port: u16, path: &str) -> String {
    // of this version, answers come in one piece
    let answer = exchange(port, &format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"));
    answer.split_once("\r\n\r\n").expect("a head").1.to_owned()
}

/// Whether somebody serves a Larder there: PONG.
fn answers(port: u16, password: Option<&str>) -> bool {
    Connection::try_open(port).is_ok_and(|mut connection| {
        if let Some(password) = password {
            assert_eq!(connection.call(&["AUTH", password]), Reply::ok());
        }
        connection.ask("PING") == Reply::Simple(b"PONG".to_vec())
    })
}

// the dashboard

/// Every query of the dashboard, as Prometheus gets it: all servers, all stores, and a short interval.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text_of("grafana/larder.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "panels need ids of their own");
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries: Vec<String> = targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect();
    assert!(queries.len() > 30);
    let filled = |query: String| {
        let known = [("$__rate_interval", "10s"), ("$instance", ".*"), ("$store", ".*")];
        known.iter().fold(query, |query, (variable, value)| query.replace(variable, value))
    };
    queries.into_iter().map(filled).collect()
}

fn metrics_in(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_part(c)).filter(|word| word.starts_with("larder_")).collect()
}

#[test]
fn the_dashboard_shows_metrics_that_exist() {
    let port = free_port();
    let _server = Server::larder(&["--http-port", &port.to_string()]);
    let metrics = get(port, "/metrics");
    let declared = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    // queries name a histogram by its buckets
    let names = declared.map(|(name, kind)| match kind {
        "histogram" => format!("{name}_bucket"),
        _ => name.to_owned(),
    });
    let names: Vec<String> = names.collect();
    let known: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let dashboard = text_of("grafana/larder.json");
    let shown = metrics_in(&dashboard);
    let unknown: Vec<_> = shown.difference(&known).collect();
    assert!(unknown.is_empty(), "the dashboard has {unknown:?}, which /metrics has not");
    let hidden: Vec<_> = known.difference(&shown).collect();
    assert!(hidden.is_empty(), "/metrics has {hidden:?}, which the dashboard does not show");
}

/// Prometheus scrapes a server with a password, by its configuration with the user that this recommends, and answers all
/// that the dashboard asks.
#[test]
fn prometheus_answers_what_the_dashboard_asks() {
    let (http_port, port) = (free_port(), free_port());
    let http = ["--http-port", &http_port.to_string(), "--requirepass", "pw"];
    let limits = ["--max-keys", "1000", "--max-bytes", "1gb", "--max-stores", "10"];
    let server = Server::larder(&[&http[..], &limits].concat());
    let folder = TempDir::new().unwrap();
    let written = text_of("grafana/prometheus.yml");
    let rule = written.lines().find_map(|line| line.strip_prefix("#   ACL ")).expect("a user");
    let mut connection = server.connect();
    connection.call(&["AUTH", "pw"]);
    assert_eq!(connection.ask(&format!("ACL {rule}")), Reply::ok());
    assert_eq!(connection.ask("STORE SET 0 max-keys 1000 max-bytes 1gb"), Reply::ok());
    fs::write(folder.path().join("larder.password"), "secret").unwrap();
    let config = folder.path().join("prometheus.yml");
    let filled = written
        .replace("    #", "    ")
        .replace("8379", &http_port.to_string())
        .replace("scrape_interval: 15s", "scrape_interval: 1s");
    fs::write(&config, filled).unwrap();
    let programs = installed("prometheus/usr/bin");
    run(Command::new(programs.join("promtool")).args(["check", "config"]).arg(&config));
    let _prometheus = Running::of(
        Command::new(programs.join("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    let mut unanswered = queries();
    unanswered.push("up == 1".to_owned());
    let all_answered = wait_for(|| {
        // something of everything that is shown
        for line in ["SET a 1", "SET a [", "GET a", "GET b", "SET a", "INCR a b", "BGSAVE"] {
            connection.ask(line);
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            unanswered.retain(|query| !is_answered(port, query));
        }
        unanswered.is_empty().then_some(())
    });
    assert!(all_answered.is_some(), "no figures for {unanswered:?}");
}

/// Whether Prometheus has figures for a query, which it must understand.
fn is_answered(port: u16, query: &str) -> bool {
    let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = get(port, &format!("/api/v1/query?query={encoded}"));
    let Ok(answer) = serde_json::from_str::<Value>(&answer) else { return false };
    assert_ne!(answer["errorType"], "bad_data", "{query}: {}", answer["error"]);
    answer["data"]["result"].as_array().is_some_and(|result| !result.is_empty())
}

// the unit

/// Settings of the unit's section `[Service]`, the last of each name.
fn unit() -> BTreeMap<String, String> {
    let text = text_of("systemd/larder.service");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}

const UNIT_PROGRAM: &str = "/usr/local/bin/larder";

#[test]
fn systemd_takes_the_unit_and_finds_it_closed_enough() {
    /// Of 100, the most exposed; what is left is the network, which the server is there for.
    const EXPOSURE_MAX: &str = "20";
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("larder.service");
    let text = text_of("systemd/larder.service").replace(UNIT_PROGRAM, env!("CARGO_BIN_EXE_larder"));
    fs::write(&path, text).unwrap();
    let said = Command::new("systemd-analyze").arg("verify").arg(&path).output().expect("systemd-analyze");
    let complaint = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success() && !complaint.contains("larder"), "{complaint}");
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    run(Command::new("systemd-analyze").args(["security", "--offline=true", &threshold]).arg(&path));
}

/// The system calls of a group of systemd's.
fn calls_of(group: &str) -> BTreeSet<String> {
    let shown =
        Command::new("systemd-analyze").args(["syscall-filter", group]).output().expect("systemd-analyze");
    assert!(shown.status.success(), "{group}");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    // the first line is the name of the group
    let names =
        shown.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    names
        .flat_map(|name| if name.starts_with('@') { calls_of(name) } else { [name.to_owned()].into() })
        .collect()
}

/// The system calls that the unit allows: its lines in their order, of which the first says what there is at all.
fn allowed_calls() -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    let text = text_of("systemd/larder.service");
    for filter in text.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (names, is_removed) = match filter.strip_prefix('~') {
            Some(names) => (names, true),
            None => (filter, false),
        };
        for name in names.split(' ') {
            let calls = if name.starts_with('@') { calls_of(name) } else { [name.to_owned()].into() };
            if is_removed {
                allowed.retain(|call| !calls.contains(call));
            } else {
                allowed.extend(calls);
            }
        }
    }
    allowed
}

/// A call that the unit does not allow would fail in the server that it starts.
#[test]
fn the_unit_allows_all_system_calls_of_the_server() {
    let folder = TempDir::new().unwrap();
    let counts = folder.path().join("counts");
    let (port, http_port) = (free_port(), free_port());
    let mut server = Running::of(
        Command::new("strace")
            .args(["-f", "-c", "-U", "name", "-o"])
            .arg(&counts)
            .arg(env!("CARGO_BIN_EXE_larder"))
            .arg("--dir")
            .arg(folder.path().join("data"))
            .args(["--port", &port.to_string(), "--http-port", &http_port.to_string(), "--cache-memory", "0"])
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    wait_for(|| answers(port, None).then_some(())).expect("a server");
    let mut connection = Connection::open(port);
    for round in 0..2 {
        for number in 0..500 {
            connection.call(&["SET", &format!("key:{number}"), &format!("[{round},{number}]")]);
        }
        // then the records are in LMDB alone
        assert_eq!(connection.call(&["SAVE"]), Reply::Simple("OK".into()));
        connection.call(&["GET", "key:7"]);
        connection.call(&["KEYS", "key:1*"]);
        connection.call(&["EVAL", "return redis.call('GET', 'key:8')", "0"]);
    }
    get(http_port, "/metrics");
    let backup = folder.path().join("backup");
    connection.call(&["BACKUP", backup.to_str().unwrap()]);
    connection.call(&["CONFIG", "SET", "loglevel", "warning"]);
    connection.send(b"SHUTDOWN\r\n");
    wait_for(|| server.0.try_wait().unwrap()).expect("an end");
    let counts = fs::read_to_string(counts).unwrap();
    let made: BTreeSet<String> = counts.lines().map(|line| line.trim().to_owned()).collect();
    assert!(made.contains("mincore") && made.contains("fdatasync"), "{counts}");
    let allowed = allowed_calls();
    let refused: Vec<_> = made
        .iter()
        .filter(|name| {
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        })
        .filter(|name| !matches!(name.as_str(), "syscall" | "name" | "total"))
        .filter(|name| !allowed.contains(*name))
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
}

#[test]
fn the_command_of_the_unit_serves_and_tells_systemd() {
    let unit = unit();
    assert_eq!((&*unit["Type"], &*unit["KillSignal"]), ("notify", "SIGTERM"));
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let command = unit["ExecStart"]
        .replace(UNIT_PROGRAM, env!("CARGO_BIN_EXE_larder"))
        .replace("${STATE_DIRECTORY}", data.to_str().unwrap());
    let words: Vec<&str> = command.split(' ').collect();
    let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).expect("a word from the server");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let (port, http_port) = (free_port(), free_port());
    let server = Running::of(
        Command::new(words[0])
            .args(&words[1..])
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .env("LARDER_PORT", port.to_string())
            .env("LARDER_HTTP_PORT", http_port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    );
    assert_eq!(heard(), "READY=1");
    assert!(answers(port, None));
    server.stop();
    assert_eq!(heard(), "STOPPING=1");
    assert!(data.is_dir());
}

// the image

/// The instructions of the Dockerfile, continued lines joined.
fn instructions() -> Vec<(String, String)> {
    let text = text_of("docker/Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let pairs = lines.map(|line| line.split_once(' ').expect("an instruction and what it says"));
    pairs.map(|(name, what)| (name.to_owned(), what.trim().to_owned())).collect()
}

/// What an instruction says, of the last image if it is there several times.
fn instruction(name: &str) -> String {
    let last = instructions().into_iter().rfind(|(of, _)| of == name);
    last.unwrap_or_else(|| panic!("the Dockerfile has no {name}")).1
}

/// The words of a command in JSON, behind options.
fn words(text: &str) -> Vec<String> {
    serde_json::from_str(&text[text.find('[').expect("a list of words")..]).unwrap()
}

#[test]
fn the_dockerfile_is_sound_and_its_image_no_root() {
    let linter = installed("docker/node_modules/.bin/dockerfile-utils");
    run(Command::new(linter).arg("lint").arg(example("docker/Dockerfile")));
    let stages = instructions().iter().filter(|(name, _)| name == "FROM").count();
    assert_eq!(stages, 2, "one that builds, one that runs");
    assert!(!instruction("USER").starts_with("root") && !instruction("USER").starts_with('0'));
    assert_eq!(instruction("EXPOSE"), "6379 8379");
    let data = instruction("VOLUME");
    assert!(instruction("ENV").split(' ').any(|one| one == format!("LARDER_DIR={data}")));
}

/// The first image's build, with this machine's Rust: from what is copied, and nothing else.
#[test]
fn the_image_is_built_from_what_is_copied_into_it() {
    let context = Path::new(env!("CARGO_MANIFEST_DIR"));
    // always the same, so that cargo keeps one result of it
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    let ignored = text_of("docker/Dockerfile.dockerignore");
    for (_, what) in instructions().iter().filter(|(name, of)| name == "COPY" && !of.starts_with("--from")) {
        let paths: Vec<&str> = what.split(' ').collect();
        let (to, from) = paths.split_last().unwrap();
        for path in from {
            assert!(ignored.contains(&format!("\n!{path}\n")), "{path} is left out of the context");
            let to = folder.join(to);
            run(Command::new("cp").arg("--recursive").arg(context.join(path)).arg(to));
        }
    }
    let built = instructions().into_iter().rfind(|(name, what)| name == "RUN" && what.starts_with("cargo"));
    let command = built.expect("a build").1;
    assert!(command.starts_with("cargo build --profile dist --locked"), "{command}");
    // checked, not built, with what was compiled for this project: it need not take minutes
    let words = command.split(' ').skip(2).filter(|word| !["--profile", "dist"].contains(word));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut check = Command::new(env!("CARGO"));
    check.arg("check").args(words).arg("--offline").arg("--target-dir").arg(target);
    run(check.current_dir(folder));
    let (_, copied) = instructions().into_iter().rfind(|(name, _)| name == "COPY").unwrap();
    assert_eq!(copied, "--from=build /larder/target/dist/larder /usr/local/bin/larder");
}

#[test]
fn the_commands_of_the_image_serve_and_see_whether_it_does() {
    let folder = TempDir::new().unwrap();
    let (port, http_port) = (free_port(), free_port());
    let environment = instruction("ENV").replace("/data", folder.path().join("data").to_str().unwrap());
    let larder = |words: &[String], password: Option<&str>| {
        assert_eq!(words[0], "larder");
        let mut command = support::larder();
        command.args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::piped());
        command.envs(environment.split(' ').map(|pair| pair.split_once('=').unwrap()));
        command.envs(password.map(|password| ("LARDER_REQUIREPASS", password)));
        command.env("LARDER_PORT", port.to_string()).env("LARDER_HTTP_PORT", http_port.to_string());
        command
    };
    let serve = [words(&instruction("ENTRYPOINT")), words(&instruction("CMD"))].concat();
    let healthy = words(&instruction("HEALTHCHECK"));
    // open to everyone: refused
    let refused = larder(&serve, None).output().unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("requirepass"));
    let is_healthy = || larder(&healthy, None).status().unwrap().success();
    assert!(!is_healthy());
    let server = Running::of(&mut larder(&serve, Some("secret")));
    assert!(wait_for(|| is_healthy().then_some(())).is_some());
    assert!(answers(port, Some("secret")));
    server.stop();
    assert!(!is_healthy());
}
