//! Servers that see another system than there is: functions of the C library are replaced in them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::Server;
use super::http::larder_with_http_by;

/// A library for servers, and the file that tells it what to do. Its path is in an environment variable of the servers.
pub struct Preloaded {
    folder: TempDir,
    variable: &'static str,
}

impl Preloaded {
    /// Compiles a source in this folder.
    pub fn new(source: &str, variable: &'static str) -> Preloaded {
        let preloaded = Preloaded { folder: TempDir::new().unwrap(), variable };
        let source = format!("{}/tests/support/{source}", env!("CARGO_MANIFEST_DIR"));
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(preloaded.library())
            .arg(&source)
            .status();
        assert!(built.unwrap().success(), "{source} can't be compiled");
        preloaded
    }

    /// Writes the file, which the library sees as a whole or not at all.
    pub fn set(&self, text: &str) {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.file()).unwrap();
    }

    /// Removes the file.
    pub fn unset(&self) {
        fs::remove_file(self.file()).unwrap();
    }

    pub fn server(&self, flags: &[&str]) -> Server {
        Server::larder_by(self.launcher(), flags)
    }

    pub fn server_with_http(&self, flags: &[&str]) -> (Server, u16) {
        larder_with_http_by(self.launcher(), flags)
    }

    fn launcher(&self) -> Vec<String> {
        vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", self.library().display()),
            format!("{}={}", self.variable, self.file().display()),
        ]
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("library.so")
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("told")
    }
}

/// A disk on which syncs of the journal can fail.
pub struct Syncs(Preloaded);

impl Syncs {
    /// What a client reads of the cause.
    pub const FAILURE: &str = "Input/output error";

    pub fn new() -> Syncs {
        Syncs(Preloaded::new("fail_syncs.c", "FAIL_SYNCS"))
    }

    pub fn fail(&self) {
        self.0.set("");
    }

    pub fn succeed(&self) {
        self.0.unset();
    }

    pub fn server(&self, flags: &[&str]) -> Server {
        self.0.server(flags)
    }

    pub fn server_with_http(&self, flags: &[&str]) -> (Server, u16) {
        self.0.server_with_http(flags)
    }
}
