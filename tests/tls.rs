//! TLS as clients see it: redis-cli and redis-py, with and without certificates of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use support::{Server, free_port, installed, run, wait_for};
use tempfile::TempDir;

/// A certificate authority, and a folder for what it signs.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Authority { folder: TempDir::new().unwrap(), issuer };
        fs::write(authority.path("ca.crt"), authority.issuer.pem()).unwrap();
        authority.sign("server");
        authority.sign("client");
        authority
    }

    /// Makes `NAME.crt` and `NAME.key`, for this machine.
    fn sign(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path(&format!("{name}.crt")), certificate.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The flags of a server with this authority's certificate.
    fn flags(&self, port: u16, auth_clients: &str) -> Vec<String> {
        let (certificate, key, ca) = (self.text("server.crt"), self.text("server.key"), self.text("ca.crt"));
        let port = port.to_string();
        let pairs = [
            ("--tls-port", port.as_str()),
            ("--tls-cert-file", &certificate),
            ("--tls-key-file", &key),
            ("--tls-ca-cert-file", &ca),
            ("--tls-auth-clients", auth_clients),
        ];
        pairs.iter().flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()]).collect()
    }
}

/// A server with TLS beside its plain port.
fn serve(authority: &Authority, auth_clients: &str) -> (Server, u16) {
    let port = free_port();
    let flags = authority.flags(port, auth_clients);
    (Server::larder(&flags.iter().map(String::as_str).collect::<Vec<_>>()), port)
}

/// redis-cli through TLS, which trusts `ca` and, if told, shows the client certificate of an authority.
fn ask(port: u16, ca: &Authority, shown: Option<&Authority>, words: &[&str]) -> Output {
    let mut command = Command::new("redis-cli");
    command.args(["-p", &port.to_string(), "--tls", "--cacert"]).arg(ca.path("ca.crt"));
    if let Some(authority) = shown {
        command.arg("--cert").arg(authority.path("client.crt"));
        command.arg("--key").arg(authority.path("client.key"));
    }
    command.args(words).output().unwrap()
}

fn is_answered(output: &Output) -> bool {
    output.stdout == b"PONG\n"
}

#[test]
fn a_client_certificate_is_asked_for() {
    let (ours, others) = (Authority::new(), Authority::new());
    let (server, port) = serve(&ours, "yes");
    assert!(is_answered(&ask(port, &ours, Some(&ours), &["PING"])));
    assert!(!is_answered(&ask(port, &ours, None, &["PING"])));
    assert!(!is_answered(&ask(port, &ours, Some(&others), &["PING"])));
    assert!(!is_answered(&ask(port, &others, Some(&ours), &["PING"])), "the server's is checked, too");

    let plain = |words: &[&str]| server.connect().call(words).to_string();
    assert_eq!(plain(&["CONFIG", "SET", "tls-auth-clients", "optional"]), "+OK");
    assert!(is_answered(&ask(port, &ours, None, &["PING"])));
    assert!(!is_answered(&ask(port, &ours, Some(&others), &["PING"])));
    assert_eq!(plain(&["CONFIG", "SET", "tls-auth-clients", "no"]), "+OK");
    assert!(is_answered(&ask(port, &ours, Some(&others), &["PING"])));
}

#[test]
fn large_values_pass_both_ways() {
    let authority = Authority::new();
    let (server, port) = serve(&authority, "no");
    let value = format!("\"{}\"", "x".repeat(8 << 20));
    let mut plain = server.connect();
    assert_eq!(plain.call(&["SET", "k", &value]).to_string(), "+OK");
    let read = ask(port, &authority, None, &["GET", "k"]);
    assert!(read.stdout.strip_suffix(b"\n") == Some(value.as_bytes()), "{} bytes", read.stdout.len());
}

#[test]
fn certificates_are_read_again() {
    let (old, new) = (Authority::new(), Authority::new());
    let (server, port) = serve(&old, "no");
    let replace = |name: &str| fs::copy(new.path(name), old.path(name)).unwrap();
    let (ca_kept, ca) = (Authority::new(), old.path("ca.crt"));
    fs::copy(&ca, ca_kept.path("ca.crt")).unwrap();

    // a key that doesn't belong to the certificate: everything stays as it was
    replace("server.crt");
    server.hang_up();
    assert!(is_answered(&ask(port, &ca_kept, None, &["PING"])), "{}", server.log());
    let refusal = server.connect().call(&["CONFIG", "SET", "tls-cert-file", &old.text("server.crt")]);
    let refusal = refusal.to_string();
    assert!(refusal.contains("does not belong to the certificate"), "{refusal}");

    replace("server.key");
    server.hang_up();
    assert!(is_answered(&ask(port, &new, None, &["PING"])), "{}", server.log());
    assert!(!is_answered(&ask(port, &ca_kept, None, &["PING"])));
}

#[test]
fn redis_py_by_url() {
    let authority = Authority::new();
    let (_server, port) = serve(&authority, "yes");
    let script = format!(
        "import redis\n\
         r = redis.from_url('rediss://localhost:{port}/1', ssl_ca_certs='{ca}', ssl_certfile='{cert}', \
         ssl_keyfile='{key}')\n\
         print(r.set('k', '1'), [p.result() if hasattr(p, 'result') else p for p in \
         r.pipeline().incr('k').get('k').execute()])\n",
        ca = authority.text("ca.crt"),
        cert = authority.text("client.crt"),
        key = authority.text("client.key"),
    );
    let printed = run(Command::new(installed("venv/bin/python")).args(["-c", &script]));
    assert_eq!(printed, "True [2, b'2']\n");
}

/// Larder with nothing but these flags and a folder of its own.
fn larder(folder: &Path, flags: &[String]) -> Command {
    let mut command = support::larder();
    command.arg("--dir").arg(folder).args(["--port", "0", "--http-port", "0"]).args(flags);
    command
}

#[test]
fn the_plain_port_can_be_turned_off() {
    let (authority, folder) = (Authority::new(), TempDir::new().unwrap());
    let port = free_port();
    let log = fs::File::create(folder.path().join("log")).unwrap();
    let mut process =
        larder(&folder.path().join("data"), &authority.flags(port, "no")).stderr(log).spawn().unwrap();
    let answered = wait_for(|| is_answered(&ask(port, &authority, None, &["PING"])).then_some(()));
    let told = ask(port, &authority, None, &["INFO", "server"]);
    process.kill().unwrap();
    process.wait().unwrap();
    answered.expect("an answer");
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    let urls = ["rediss://", "redis://"].map(|scheme| log.matches(scheme).count());
    assert_eq!((log.matches("listening").count(), urls), (1, [1, 0]), "{log}");
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains(&format!("tcp_port:{port}\r\n")), "{told}");
}

#[test]
fn a_bad_file_is_refused_at_the_start() {
    let (authority, other) = (Authority::new(), Authority::new());
    let folder = TempDir::new().unwrap();
    let refusal = |auth_clients: &str, name: &str, value: &str| {
        let mut flags = authority.flags(free_port(), auth_clients);
        let at = flags.iter().position(|flag| flag == name).unwrap();
        flags[at + 1] = value.to_owned();
        let output = larder(folder.path(), &flags).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let missing = authority.text("missing.pem");
    fs::write(authority.path("empty.pem"), "").unwrap();
    let empty = authority.text("empty.pem");
    for (auth_clients, name, value, why) in [
        ("no", "--tls-cert-file", missing.as_str(), "No such file"),
        ("no", "--tls-cert-file", &empty, "it holds no certificate in PEM"),
        ("no", "--tls-cert-file", "", "tls-port and https-port need tls-cert-file"),
        ("no", "--tls-key-file", &missing, "No such file"),
        ("no", "--tls-key-file", &empty, "it holds no private key in PEM"),
        ("no", "--tls-key-file", &other.text("server.key"), "does not belong to the certificate"),
        ("yes", "--tls-ca-cert-file", "", "tls-port and https-port need tls-ca-cert-file"),
        ("optional", "--tls-ca-cert-file", &empty, "it holds no certificate in PEM"),
    ] {
        let told = refusal(auth_clients, name, value);
        assert!(told.starts_with("larder: ") && told.contains(&name[2..]) && told.contains(why), "{told}");
        assert!(told.contains(value), "{told}");
    }
}

/// HTTPS with the certificates of the Redis protocol, the health check included; and a client certificate is asked for there
/// as well.
#[test]
fn the_http_api_is_served_over_tls() {
    let (ours, others) = (Authority::new(), Authority::new());
    let (tls_port, https_port) = (free_port(), free_port());
    let https = https_port.to_string();
    let mut flags = ours.flags(tls_port, "yes");
    flags.extend(["--https-port".to_owned(), https.clone(), "--requirepass".to_owned(), "pw".to_owned()]);
    let server = Server::larder(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let curl = |trusted: &Authority, shown: Option<&Authority>, words: &[&str]| {
        let mut command = Command::new("curl");
        command
            .args(["--silent", "--show-error", "--max-time", "20", "--cacert"])
            .arg(trusted.path("ca.crt"));
        if let Some(authority) = shown {
            command.arg("--cert").arg(authority.path("client.crt"));
            command.arg("--key").arg(authority.path("client.key"));
        }
        let output = command.args(words).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let url = |path: &str| format!("https://localhost:{https_port}{path}");
    assert_eq!(curl(&ours, Some(&ours), &[&url("/healthz")]), "{\"status\":\"ok\"}");
    assert!(curl(&ours, Some(&ours), &[&url("/")]).contains("<html"));
    let record = url("/api/v1/stores/0/records/a");
    assert!(curl(&ours, Some(&ours), &[&record]).contains("NOAUTH"));
    let put = ["--user", ":pw", "-X", "PUT", "-H", "Content-Type: application/json", "-d", "[1]", &record];
    curl(&ours, Some(&ours), &put);
    assert_eq!(curl(&ours, Some(&ours), &["--user", ":pw", &record]), "[1]");
    for (trusted, shown) in [(&ours, None), (&ours, Some(&others)), (&others, Some(&ours))] {
        let told = curl(trusted, shown, &[&url("/healthz")]);
        assert!(told.starts_with("curl: "), "{told}");
    }
    // who speaks plainly there learns nothing, and keeps nobody out
    let plain = curl(&ours, None, &[&format!("http://localhost:{https_port}/healthz")]);
    assert!(plain.starts_with("curl: "), "{plain}");

    let ready = |shows: bool| {
        let mut command = support::larder();
        command.args(["ready", "--http-port", "0"]).env("LARDER_HTTPS_PORT", &https);
        if shows {
            command.env("LARDER_TLS_CERT_FILE", ours.path("server.crt"));
            command.env("LARDER_TLS_KEY_FILE", ours.path("server.key"));
        }
        command.output().unwrap().status.success()
    };
    assert!(ready(true) && !ready(false));
    let mut client = server.connect();
    client.call(&["AUTH", "pw"]);
    assert_eq!(client.ask("CONFIG SET tls-auth-clients no").to_string(), "+OK");
    assert!(ready(false));
    assert!(curl(&ours, None, &[&url("/healthz")]).contains("ok"));
    // certificates are read again for both
    for name in ["server.crt", "server.key"] {
        fs::copy(others.path(name), ours.path(name)).unwrap();
    }
    server.hang_up();
    assert!(curl(&others, None, &[&url("/healthz")]).contains("ok"));
    assert!(curl(&ours, None, &[&url("/healthz")]).starts_with("curl: "));
}

/// The subcommands reach a server as any client does: over TLS, and over a Unix socket.
#[test]
fn records_go_out_and_come_in_over_tls_and_a_unix_socket() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("larder.sock").display().to_string();
    let port = free_port();
    let mut flags = authority.flags(port, "yes");
    flags.extend(["--unixsocket".to_owned(), socket.clone()]);
    let server = Server::larder(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    server.connect().ask("SET a 1");
    let file = folder.path().join("records.jsonl").display().to_string();
    let tls = format!("rediss://localhost:{port}");
    let run_with = |url: &str, trusted: &Authority, shown: Option<&Authority>, words: &[&str]| {
        let mut command = support::larder();
        command.args(words).args(["--url", url, "--cacert"]).arg(trusted.path("ca.crt"));
        if let Some(authority) = shown {
            command.arg("--cert").arg(authority.path("client.crt"));
            command.arg("--key").arg(authority.path("client.key"));
        }
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (url, store) in [(tls.clone(), "5"), (format!("unix://{socket}"), "6")] {
        let known = Some(&authority);
        let exported = run_with(&url, &authority, known, &["export", "--to", &file]);
        assert!(exported.0, "{url}: {}", exported.1);
        let imported = run_with(&url, &authority, known, &["import", &file, "--store", store]);
        assert!(imported.0, "{url}: {}", imported.1);
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 1, "{url}");
        let mut client = server.connect();
        client.ask(&format!("SELECT {store}"));
        assert_eq!(client.ask("GET a").text(), "1", "{url}");
        fs::remove_file(&file).unwrap();
        let backup = folder.path().join(format!("backup-{store}"));
        let copied = run_with(&url, &authority, known, &["backup", "--to", backup.to_str().unwrap()]);
        assert!(copied.0 && backup.join("larder").exists(), "{url}: {}", copied.1);
        let told = run_with(&url, &authority, known, &["stat"]);
        assert!(told.0, "{url}: {}", told.1);
    }
    let from = ["import", "--from", &tls, "--store", "7"];
    let copied = run_with(&format!("unix://{socket}"), &authority, Some(&authority), &from);
    assert!(copied.0, "{}", copied.1);
    for (trusted, shown, why) in [
        (&stranger, Some(&authority), "certificate"),
        (&authority, Some(&stranger), ""),
        (&authority, None, ""),
    ] {
        let (is_done, said) = run_with(&tls, trusted, shown, &["stat"]);
        assert!(!is_done && said.contains(why), "{said}");
    }
    let mut command = support::larder();
    let said = command.args(["stat", "--url", &tls]).output().unwrap().stderr;
    assert!(String::from_utf8_lossy(&said).contains("rediss:// needs --cacert"));
}
