//! Redis's configuration file, as `larder redis.conf` reads it: a line is a name and its values, blanks and quotes are
//! those of `redis-cli`, and `#` begins a comment.
//!
//! Settings that Larder has are applied, `user` describes a user, and `include` names another file. Redis's other
//! settings mostly control how it keeps its data in memory and files. They have no effect here, and the log lists
//! them. A line is refused if ignoring it would make the server do the wrong thing, or if it looks like a typing
//! error.

use std::path::Path;

use super::nearest::nearest_setting;
use super::settings::RETIRED;
use super::{Setting, Settings, constant};
use crate::resp::split_arguments;

/// Files that include one another.
const INCLUDES_DEEP: usize = 16;

/// Lines that must not be ignored, and the reason.
const NEEDED: &[(&str, &str)] = &[
    (
        "rename-command",
        "commands have one name here; take them away from users with ACL rules, like -flushall",
    ),
    ("replicaof", "there is no replication, and a server of its own would take writes; delete the line"),
    ("slaveof", "there is no replication, and a server of its own would take writes; delete the line"),
];

/// The lines of a file that have no effect.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Neglected {
    /// Names of Redis's settings that Larder doesn't have.
    names: Vec<String>,
    /// Settings that have one value here, and another in the file.
    fixed: Vec<String>,
}

impl Neglected {
    /// Sentences for the log.
    pub fn told(&self, path: &Path) -> Vec<String> {
        let path = path.display();
        let mut told = Vec::new();
        if !self.fixed.is_empty() {
            told.push(format!("{path}: these settings can't be changed here: {}", self.fixed.join(", ")));
        }
        if !self.names.is_empty() {
            told.push(format!("{path}: these settings of Redis do nothing here: {}", self.names.join(" ")));
        }
        told
    }
}

/// Applies a file to `settings`. Fails with a sentence that names file and line.
pub fn read_redis_file(path: &Path, settings: &mut Settings) -> Result<Neglected, String> {
    let mut neglected = Neglected::default();
    read(path, settings, &mut neglected, INCLUDES_DEEP)?;
    if settings.port == 0 && settings.tls_port == 0 {
        return Err(format!(
            "{}: port 0 turns TCP off in Redis, but takes a free port here; name one, and keep others out with bind",
            path.display()
        ));
    }
    Ok(neglected)
}

fn read(path: &Path, settings: &mut Settings, neglected: &mut Neglected, deep: usize) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        read_line(line, settings, neglected, deep)
            .map_err(|why| format!("{}, line {}: {why}", path.display(), at + 1))?;
    }
    Ok(())
}

fn read_line(
    line: &str,
    settings: &mut Settings,
    neglected: &mut Neglected,
    deep: usize,
) -> Result<(), String> {
    let words = split_arguments(line.as_bytes()).ok_or("a quote is not closed")?;
    let words: Result<Vec<&str>, _> = words.iter().map(|word| std::str::from_utf8(word)).collect();
    let words = words.map_err(|_| "the line is not UTF-8")?;
    let Some((name, values)) = words.split_first() else { return Ok(()) };
    if values.is_empty() {
        return Err(format!("{name} has no value"));
    }
    let (name, value) = (name.to_ascii_lowercase(), values.join(" "));
    if name == "include" {
        let deep = deep.checked_sub(1).ok_or("files include one another without end")?;
        return values.iter().try_for_each(|path| read(Path::new(path), settings, neglected, deep));
    }
    if name == "user" {
        settings.users.push(value);
    } else if let Some((_, instead)) = RETIRED.iter().find(|(retired, _)| *retired == name) {
        return Err(format!("{name} {instead}"));
    } else if let Some((_, why)) = NEEDED.iter().find(|(needed, _)| *needed == name) {
        return Err(format!("{name} '{value}': {why}"));
    } else if let Some(setting) = Setting::find(&name) {
        (setting.set)(settings, &value).map_err(|why| format!("{name} '{value}': {why}"))?;
    } else if let Some(constant) = constant(&name) {
        let is_same = value.eq_ignore_ascii_case(constant.value);
        if name == "cluster-enabled" && !is_same {
            return Err(format!("{name} '{value}': there is no cluster; delete the line"));
        }
        if !is_same && constant.is_free && !neglected.names.contains(&name) {
            neglected.names.push(name);
        } else if !is_same && !constant.is_free {
            neglected.fixed.push(format!("{name} {value} (it is '{}')", constant.value));
        }
    } else if let Some(meant) = nearest_setting(&name) {
        return Err(format!("there is no setting '{name}'; '{meant}' is one"));
    } else if !neglected.names.contains(&name) {
        neglected.names.push(name);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<(Settings, Neglected), String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut settings = Settings::default();
        let neglected = read_redis_file(file.path(), &mut settings)?;
        Ok((settings, neglected))
    }

    fn shown(settings: &Settings, name: &str) -> String {
        (Setting::find(name).unwrap().get)(settings)
    }

    #[test]
    fn settings_that_larder_has_are_set() {
        for (line, name, value) in [
            ("bind 127.0.0.1 -::1", "bind", "127.0.0.1 -::1"),
            ("bind * -::*", "bind", "* -::*"),
            ("PORT 7000", "port", "7000"),
            ("requirepass \"a b\\x21\"", "requirepass", "a b!"),
            ("loglevel notice", "loglevel", "notice"),
            ("notify-keyspace-events \"\"", "notify-keyspace-events", ""),
            ("unixsocketperm 770", "unixsocketperm", "770"),
            ("maxmemory-clients 1gb", "maxmemory-clients", "1073741824"),
            (
                "client-output-buffer-limit normal 1 2 3\nclient-output-buffer-limit pubsub 4 5 6",
                "client-output-buffer-limit",
                "normal 1 2 3 slave 268435456 67108864 60 pubsub 4 5 6",
            ),
        ] {
            let (settings, neglected) = read_text(line).unwrap();
            assert_eq!(shown(&settings, name), value, "{line}");
            assert_eq!(neglected, Neglected::default(), "{line}");
        }
        let (settings, _) = read_text("user ada on >pw ~* +@all\nuser bob off\n").unwrap();
        assert_eq!(settings.users, ["ada on >pw ~* +@all", "bob off"]);
    }

    #[test]
    fn the_rest_is_told() {
        let text = "# a comment\n\n  hz 10\nsave 3600 1 300 100\nappendonly no\nrdbchecksum yes\nhash-max-listpack-entries 9\n\
                    rdbchecksum no\ndaemonize NO\n";
        let (_, neglected) = read_text(text).unwrap();
        assert_eq!(neglected.fixed, ["save 3600 1 300 100 (it is '')", "appendonly no (it is 'yes')"]);
        // its first line has the value that Redis begins with
        assert_eq!(neglected.names, ["hash-max-listpack-entries", "rdbchecksum"]);
        let told = neglected.told(Path::new("redis.conf"));
        assert!(told[1].ends_with("do nothing here: hash-max-listpack-entries rdbchecksum"), "{told:?}");
    }

    #[test]
    fn what_would_do_harm_is_refused_by_line() {
        for (line, why) in [
            ("requirepas x", "there is no setting 'requirepas'; 'requirepass' is one"),
            ("rename-command FLUSHALL \"\"", "commands have one name here"),
            ("replicaof 10.0.0.1 6379", "there is no replication"),
            ("cluster-enabled yes", "there is no cluster"),
            ("salvage yes", "larder salvage"),
            ("maxclients many", "maxclients 'many': argument couldn't be parsed into an integer"),
            ("port", "port has no value"),
            ("requirepass \"open", "a quote is not closed"),
        ] {
            let told = read_text(&format!("timeout 0\n{line}\n")).unwrap_err();
            assert!(told.contains(", line 2: ") && told.contains(why), "{line}: {told}");
        }
        assert!(
            read_text("port 0\nunixsocket /tmp/x").unwrap_err().contains("port 0 turns TCP off in Redis")
        );
        assert!(read_text("port 0\ntls-port 6380").is_ok());
    }

    #[test]
    fn files_include_others_but_not_without_end() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (dir.path().join("a.conf"), dir.path().join("b.conf"));
        std::fs::write(&first, format!("port 7000\ninclude {}\n", second.display())).unwrap();
        std::fs::write(&second, "port 7001\n").unwrap();
        let mut settings = Settings::default();
        read_redis_file(&first, &mut settings).unwrap();
        assert_eq!(settings.port, 7001);
        std::fs::write(&second, format!("include {}\n", first.display())).unwrap();
        let why = read_redis_file(&first, &mut settings).unwrap_err();
        assert!(why.ends_with("files include one another without end"), "{why}");
        std::fs::write(&second, "prot 1\nbind 1\nportt 1\n").unwrap();
        let why = read_redis_file(&first, &mut settings).unwrap_err();
        assert!(why.contains("a.conf, line 2: ") && why.contains("b.conf, line 3: "), "{why}");
    }
}
