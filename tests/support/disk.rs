//! A small disk of a test's own, which can be filled up and made free again.
//!
//! It is a tmpfs in a mount namespace, which takes no rights where a user may have a namespace of his own, and otherwise
//! takes root. Where neither is to be had, the test fails: a fault that was never met is not a fault survived. The
//! namespace lasts as long as the process that holds it, so a server on the disk can be killed and started again.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// Namespaces to try, and how to join them.
const WAYS: &[(&[&str], &[&str])] = &[
    (&["--user", "--map-root-user", "--mount"], &["--user", "--preserve-credentials", "--mount"]),
    (&["--mount"], &["--mount"]),
];

pub struct SmallDisk {
    /// Ends, and the disk with it, when its input is closed.
    holder: Child,
    join: &'static [&'static str],
    folder: TempDir,
}

impl SmallDisk {
    pub fn new(megabytes: u64) -> SmallDisk {
        let folder = TempDir::new().unwrap();
        let mut refusals = Vec::new();
        for (enter, join) in WAYS {
            let mut holder = Command::new("unshare")
                .args(*enter)
                .args(["sh", "-c", r#"mount -t tmpfs -o size="$1"m larder "$2" && echo ready && cat"#, "sh"])
                .arg(megabytes.to_string())
                .arg(folder.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("util-linux has unshare");
            let mut line = String::new();
            BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
            if line == "ready\n" {
                return SmallDisk { holder, join, folder };
            }
            let output = holder.wait_with_output().unwrap();
            refusals.push(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        panic!(
            "a small disk takes a user namespace (kernel.unprivileged_userns_clone) or root: {refusals:?}"
        );
    }

    /// Where it is mounted, for processes on it.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What starts a program that sees the disk.
    pub fn launcher(&self) -> Vec<String> {
        let target = self.holder.id().to_string();
        let words = ["nsenter", "--target", &target].into_iter().chain(self.join.iter().copied());
        words.map(str::to_owned).chain(["--".to_owned()]).collect()
    }

    /// Takes all space that is left.
    pub fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).unwrap();
        for step in [64 * 1024, 4096] {
            loop {
                match ballast.write_all(&vec![1; step]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("the disk cannot be filled: {error}"),
                }
            }
        }
    }

    /// Gives back what [`fill`](Self::fill) took.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    /// As this process sees it, which is outside of the namespace.
    fn ballast(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.path().strip_prefix("/").unwrap()).join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
