//! What `.ci/package/build` makes, from the program under test: the Debian package is installed, run, upgraded, removed and
//! purged by this machine's dpkg in a copy of its root that is thrown away, and the installer verifies what it installs.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use support::{Connection, Reply, free_port, larder, run, wait_for};
use tempfile::TempDir;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder with all packages; made once, since it takes seconds.
fn packages() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
        let mut build = Command::new(repository().join(".ci/package/build"));
        build.args(["--quick", "--binary", env!("CARGO_BIN_EXE_larder"), "--to"]).arg(&to);
        run(build.args(["--url", "https://example.com/larder"]));
        to
    })
}

/// The one package whose name ends like this.
fn package(end: &str) -> PathBuf {
    let names = fs::read_dir(packages()).unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = names.filter(|path| path.to_str().unwrap().ends_with(end)).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[test]
fn the_packages_are_whole_and_have_the_right_checksums() {
    let checked = run(Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(packages()));
    let names: Vec<_> = fs::read_dir(packages()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(checked.matches(": OK").count(), names.len() - 1, "{names:?}: {checked}");
    let listed = run(Command::new("tar").arg("--list").arg("--file").arg(package(".tar.gz")));
    for name in [
        "/larder\n",
        "/man/larder-export.1\n",
        "/completions/_larder\n",
        "/larder.service\n",
        "/LICENSE-MIT\n",
    ] {
        assert!(listed.contains(name), "{name}: {listed}");
    }
    for script in ["build", "debian/build", "debian/postinst", "debian/prerm", "debian/postrm", "install"] {
        let path = repository().join(".ci/package").join(script);
        let shell = if script.ends_with("build") { "bash" } else { "sh" };
        run(Command::new(shell).arg("-n").arg(path));
    }
}

/// A root file system like this machine's, which takes changes and forgets them. `script` runs in it, as root.
fn in_a_copy_of_the_root(script: &str, shared: &Path) -> Command {
    let is_root = run(Command::new("id").arg("-u")).trim() == "0";
    let mut command = if is_root { Command::new("unshare") } else { Command::new("sudo") };
    if !is_root {
        command.args(["-n", "unshare"]);
    }
    let enter = r#"set -e
        mount -t tmpfs tmpfs "$1/mount"
        mkdir "$1/mount/upper" "$1/mount/work" "$1/mount/root"
        mount -t overlay overlay -o "lowerdir=/,upperdir=$1/mount/upper,workdir=$1/mount/work" "$1/mount/root"
        mount -t proc proc "$1/mount/root/proc"
        mount -t tmpfs tmpfs "$1/mount/root/run"
        mount --bind /dev "$1/mount/root/dev"
        mkdir "$1/mount/root/larder-test"
        mount --bind "$1/shared" "$1/mount/root/larder-test"
        exec chroot "$1/mount/root" /bin/sh -euc "$2""#;
    command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", enter, "sh"]);
    command.arg(shared).arg(script).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    command
}

#[test]
fn the_debian_package_is_installed_upgraded_removed_and_purged() {
    let folder = TempDir::new().unwrap();
    for name in ["mount", "shared"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    fs::copy(package(".deb"), folder.path().join("shared/larder.deb")).unwrap();
    let port = free_port();
    let script = r#"
        export DEBIAN_FRONTEND=noninteractive
        dpkg --install /larder-test/larder.deb
        dpkg --verify larder
        echo "user: $(getent passwd larder | cut -d : -f 6)"
        echo "settings: $(stat -c '%a %U' /etc/larder/larder.env)"
        echo "unit: $(grep ^ExecStart= /lib/systemd/system/larder.service)"
        echo "version: $(larder -V)"
        ls /usr/share/man/man1/larder-export.1.gz /usr/share/bash-completion/completions/larder

        # as the unit does it: its user, its directory, its settings
        install -d -m 700 -o larder -g larder /var/lib/larder
        echo "LARDER_PORT=PORT" >>/etc/larder/larder.env
        serve() {
            (set -a; . /etc/larder/larder.env; exec setpriv --reuid larder --regid larder --clear-groups \
                larder serve --dir /var/lib/larder --http-port 0 2>/larder-test/log) &
            server=$!
            until redis-cli -p PORT PING >/dev/null 2>&1; do sleep 0.05; kill -0 $server; done
        }
        serve
        redis-cli -p PORT SET kept 1
        kill $server && wait $server

        echo "upgrade"
        dpkg --install /larder-test/larder.deb
        serve
        echo "after the upgrade: $(redis-cli -p PORT GET kept)"
        kill $server && wait $server

        dpkg --remove larder
        [ ! -e /usr/bin/larder ] && [ ! -e /lib/systemd/system/larder.service ]
        grep -q LARDER_PORT=PORT /etc/larder/larder.env && echo "the settings stay"
        dpkg --purge larder
        [ ! -e /etc/larder ] && echo "the settings are gone"
        [ -e /var/lib/larder/larder ] && echo "the data is there"
        dpkg --status larder 2>&1 | grep -q 'not installed' && echo "purged"
    "#;
    let script =
        script.replace("PORT=PORT", &format!("PORT={port}")).replace("-p PORT", &format!("-p {port}"));
    let Output { status, stdout, stderr } = in_a_copy_of_the_root(&script, folder.path()).output().unwrap();
    let said = format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{said}");
    for line in [
        "user: /var/lib/larder",
        "settings: 600 root",
        "unit: ExecStart=/usr/bin/larder serve --dir ${STATE_DIRECTORY}",
        concat!("version: larder ", env!("CARGO_PKG_VERSION")),
        "/usr/share/man/man1/larder-export.1.gz",
        "after the upgrade: 1",
        "the settings stay",
        "The data of Larder stays in /var/lib/larder.",
        "the settings are gone",
        "the data is there",
        "purged",
    ] {
        assert!(said.contains(line), "'{line}' is not in: {said}");
    }
}

#[test]
fn systemd_takes_the_packaged_unit() {
    let folder = TempDir::new().unwrap();
    run(Command::new("dpkg-deb").arg("--extract").arg(package(".deb")).arg(folder.path()));
    let unit = folder.path().join("lib/systemd/system/larder.service");
    let text = fs::read_to_string(&unit).unwrap();
    assert!(
        text.contains("\nUser=larder\n")
            && text.contains("\nGroup=larder\n")
            && !text.contains("DynamicUser")
    );
    let program = folder.path().join("usr/bin/larder");
    fs::write(&unit, text.replace("/usr/bin/larder", program.to_str().unwrap())).unwrap();
    let said = Command::new("systemd-analyze").arg("verify").arg(&unit).output().expect("systemd-analyze");
    let complaint = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success() && !complaint.contains("larder.service"), "{complaint}");
    run(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=20"]).arg(&unit));
}

/// What the installer says, and whether it succeeded.
fn install(from: &Path, prefix: &Path) -> (bool, String) {
    let mut command = Command::new("sh");
    command.arg(package("install.sh")).arg("--prefix").arg(prefix);
    let output = command.arg("--from").arg(format!("file://{}", from.display())).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn the_installer_installs_what_the_checksum_vouches_for_and_nothing_else() {
    let folder = TempDir::new().unwrap();
    let prefix = folder.path().join("prefix");
    // twice: the second one replaces
    for _ in 0..2 {
        let (is_done, said) = install(packages(), &prefix);
        assert!(is_done && said.contains("is not in PATH"), "{said}");
    }
    let program = prefix.join("bin/larder");
    assert_eq!(run(Command::new(&program).arg("-V")), run(larder().arg("-V")));
    assert!(prefix.join("share/man/man1/larder.1").exists());
    let text = fs::read_to_string(package("install.sh")).unwrap();
    assert!(text.contains("from='https://example.com/larder'"));

    let (port, data) = (free_port(), folder.path().join("data"));
    let mut server = Command::new(&program)
        .arg("--dir")
        .arg(data)
        .args(["--port", &port.to_string(), "--http-port", "0"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let answer = wait_for(|| Connection::try_open(port).ok().map(|mut connection| connection.ask("SET a 1")));
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(answer, Some(Reply::ok()));

    let archive = package(".tar.gz");
    let sums = fs::read_to_string(packages().join("SHA256SUMS")).unwrap();
    let name = archive.file_name().unwrap().to_str().unwrap();
    let mut changed = fs::read(&archive).unwrap();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let without: String =
        sums.lines().filter(|line| !line.ends_with(name)).map(|line| format!("{line}\n")).collect();
    let evil = sums.replace(name, &format!("../{name}"));
    let cases: [(&str, Option<&[u8]>, &str); 5] = [
        (&sums, Some(&changed), "is wrong; nothing was installed"),
        (&sums, None, "can't be fetched"),
        (&without, Some(&changed), "there is no package for"),
        (&evil, Some(&changed), "there is no package for"),
        ("", Some(&changed), "there is no package for"),
    ];
    for (at, (sums, archive, why)) in cases.into_iter().enumerate() {
        let (from, prefix) =
            (folder.path().join(format!("from-{at}")), folder.path().join(format!("to-{at}")));
        fs::create_dir(&from).unwrap();
        fs::write(from.join("SHA256SUMS"), sums).unwrap();
        if let Some(bytes) = archive {
            fs::write(from.join(name), bytes).unwrap();
        }
        let (is_done, said) = install(&from, &prefix);
        assert!(!is_done && said.contains(why), "{why}: {said}");
        assert!(!prefix.exists(), "{why}: something was installed");
    }
}

/// With what was compiled for this test run, so that it takes no minutes.
#[test]
fn cargo_installs_it() {
    let folder = TempDir::new().unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut install = Command::new(env!("CARGO"));
    install.args(["install", "--path", ".", "--locked", "--offline", "--debug", "--no-track", "--quiet"]);
    run(install.arg("--root").arg(folder.path()).arg("--target-dir").arg(target).current_dir(repository()));
    assert_eq!(run(Command::new(folder.path().join("bin/larder")).arg("-V")), run(larder().arg("-V")));
}

#[test]
fn the_workflow_runs_the_command_of_this_repository() {
    let text = fs::read_to_string(repository().join(".github/workflows/release.yml")).unwrap();
    let build = fs::read_to_string(repository().join(".ci/package/build")).unwrap();
    let command = text.split_once("run: >-").expect("the command").1.split_once("- uses").unwrap().0;
    assert!(command.contains(" .ci/package/build "), "{command}");
    let options: Vec<_> = command.split_whitespace().filter(|word| word.starts_with("--")).collect();
    assert!(options.len() == 3 && options.iter().all(|option| build.contains(&format!("        {option})"))));
    // a release has the tag's version, and cargo's
    let version = r#"sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1"#;
    assert!(text.contains(version));
    let found = run(Command::new("sh").args(["-c", version]).current_dir(repository()));
    assert_eq!(found.trim(), env!("CARGO_PKG_VERSION"));
}

/// What the build script says, run in a folder as cargo would.
fn built_from(script: &Path, folder: &Path, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new(script);
    command.current_dir(folder).env_remove("LARDER_COMMIT").env("PROFILE", "release");
    let said = run(command.envs(variables.iter().copied()));
    let line = said.lines().find_map(|line| line.strip_prefix("cargo::rustc-env=LARDER_BUILT_FROM="));
    line.expect("the commit, or nothing").to_owned()
}

#[test]
fn a_build_knows_its_commit_from_a_repository_a_package_or_a_variable() {
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("script");
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let source = repository().join("src/build.rs");
    run(Command::new(rustc).args(["--edition", "2024", "-o"]).arg(&script).arg(source));

    let sources = folder.path().join("sources");
    fs::create_dir_all(sources.join("src")).unwrap();
    for file in ["Cargo.toml", "Cargo.lock", "src/main.rs"] {
        fs::write(sources.join(file), "").unwrap();
    }
    assert_eq!(built_from(&script, &sources, &[]), "", "nobody knows");
    let noted = r#"{"git": {"sha1": "0123456789abcdef0123456789abcdef01234567"}, "path_in_vcs": ""}"#;
    fs::write(sources.join(".cargo_vcs_info.json"), noted).unwrap();
    assert_eq!(built_from(&script, &sources, &[]), "0123456789ab");
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=t", "-c", "user.email=t@localhost"]).args(words);
        run(command.current_dir(&sources)).trim().to_owned()
    };
    // a copy inside of another repository is not of its commit
    run(Command::new("git").args(["init", "--quiet"]).arg(folder.path()));
    assert_eq!(built_from(&script, &sources, &[]), "0123456789ab");
    git(&["init", "--quiet"]);
    git(&["add", "src", "Cargo.toml", "Cargo.lock"]);
    git(&["commit", "--quiet", "--message", "all"]);
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    assert_eq!(built_from(&script, &sources, &[]), commit);
    fs::write(sources.join("src/main.rs"), "fn main() {}").unwrap();
    assert_eq!(built_from(&script, &sources, &[]), commit + "+", "the sources differ");
    assert_eq!(built_from(&script, &sources, &[("LARDER_COMMIT", "given")]), "given");
    assert_eq!(
        built_from(&script, &sources, &[("PROFILE", "debug")]),
        "",
        "so that a commit compiles nothing"
    );
}
