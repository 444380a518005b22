//! CONFIG REWRITE: updates the settings file to the current settings, and leaves the rest of it alone.
//!
//! A setting in the file is changed if its value differs; a setting that is not in the file is added if it is not at
//! its default. Users are described as in ACL LIST. Comments, order and spelling of everything else stay. The new file
//! is complete and on disk before it replaces the old one.

use std::fs;
use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, Key, Value};

use super::load::text_of;
use super::{SETTINGS, Settings};
use crate::files;

/// Rewrites a settings file. `users` are lines for its `user`; `None` if another file has them. If it fails, it returns
/// a sentence, and the file is unchanged.
pub fn rewrite(path: &Path, settings: &Settings, users: Option<&[String]>) -> Result<(), String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let rewritten = updated(&text, settings, users)?;
    if rewritten == text {
        return Ok(());
    }
    files::replace(path, rewritten.as_bytes()).map_err(|error| error.to_string())
}

/// The text of the file with the settings as they are now.
fn updated(text: &str, settings: &Settings, users: Option<&[String]>) -> Result<String, String> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| error.to_string())?;
    let defaults = Settings::default();
    for setting in SETTINGS {
        for former in setting.former_names {
            rename(&mut document, former, setting.name);
        }
        let wanted = (setting.get)(settings);
        let Some(name) = key_of(&document, setting.name) else {
            if wanted != (setting.get)(&defaults) {
                document.insert(setting.name, Item::Value(written(&wanted, None)));
            }
            continue;
        };
        let Some(value) = document.get_mut(&name).and_then(Item::as_value_mut) else { continue };
        let mut in_file = defaults.clone();
        let is_same = text_of(value).is_some_and(|text| (setting.set)(&mut in_file, &text).is_ok())
            && (setting.get)(&in_file) == wanted;
        if !is_same {
            let decor = value.decor().clone();
            *value = written(&wanted, Some(value));
            *value.decor_mut() = decor;
        }
    }
    // the default user alone is what requirepass says
    if let Some(users) = users.filter(|users| document.contains_key("user") || users.len() > 1) {
        let lines: Array = users.iter().map(String::as_str).collect();
        let decor = document.get("user").and_then(Item::as_value).map(|value| value.decor().clone());
        let mut value = Value::Array(lines);
        if let Some(decor) = decor {
            *value.decor_mut() = decor;
        }
        document.insert("user", Item::Value(value));
    }
    Ok(document.to_string())
}

/// The key of a name in the file, which may be written in any case.
fn key_of(document: &DocumentMut, name: &str) -> Option<String> {
    document.iter().find_map(|(key, _)| key.eq_ignore_ascii_case(name).then(|| key.to_owned()))
}

/// Gives a setting its current name, where it is and with its comments. If both names are there, the former one goes.
fn rename(document: &mut DocumentMut, former: &str, name: &str) {
    let Some(former) = key_of(document, former) else { return };
    if key_of(document, name).is_some() {
        document.remove(&former);
        return;
    }
    let keys: Vec<String> = document.iter().map(|(key, _)| key.to_owned()).collect();
    for key in keys {
        let Some((key, item)) = document.remove_entry(&key) else { continue };
        let key =
            if key.get() == former { Key::new(name).with_leaf_decor(key.leaf_decor().clone()) } else { key };
        document.insert_formatted(&key, item);
    }
}

/// A setting as a value for the file: of the same type as before, or of the simplest one.
fn written(text: &str, before: Option<&Value>) -> Value {
    match before {
        Some(Value::Array(_)) => Value::Array(text.split_whitespace().collect::<Array>()),
        Some(Value::Boolean(_)) if text == "yes" || text == "no" => Value::from(text == "yes"),
        _ => match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Value::from(number),
            _ => Value::from(text),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Setting;

    fn set(settings: &mut Settings, name: &str, text: &str) {
        (Setting::find(name).unwrap().set)(settings, text).unwrap();
    }

    const FILE: &str = r#"# our server
port = 7000 # not the usual one
Timeout = 0
bind = [ "127.0.0.1",
  "::1" ]
protected-mode = true   # who knows

# large
proto-max-bulk-len = "1mb"
"#;

    fn settings_of_file() -> Settings {
        let mut settings = Settings::default();
        for (name, text) in [("port", "7000"), ("bind", "127.0.0.1 ::1"), ("proto-max-bulk-len", "1048576")] {
            set(&mut settings, name, text);
        }
        settings
    }

    #[test]
    fn what_is_as_it_was_stays_as_it_is_written() {
        assert_eq!(updated(FILE, &settings_of_file(), None).unwrap(), FILE);
    }

    #[test]
    fn what_changed_is_changed_and_what_is_new_is_added() {
        let mut settings = settings_of_file();
        for (name, text) in [
            ("timeout", "30"),
            ("bind", "::1"),
            ("protected-mode", "no"),
            ("proto-max-bulk-len", "2mb"),
            ("appendfsync", "everysec"),
            ("requirepass", "it's \"007\""),
            ("maxclients", "99"),
        ] {
            set(&mut settings, name, text);
        }
        let text = updated(FILE, &settings, None).unwrap();
        assert_eq!(
            text,
            r##"# our server
port = 7000 # not the usual one
Timeout = 30
bind = ["::1"]
protected-mode = false   # who knows

# large
proto-max-bulk-len = 2097152
requirepass = """it's "007""""
appendfsync = "everysec"
maxclients = 99
"##
        );
        // and a server reads it back
        assert_eq!(updated(&text, &settings, None).unwrap(), text);
    }

    #[test]
    fn users_are_described_where_they_were_or_once_there_are_any() {
        let lines = |lines: &[&str]| -> Vec<String> { lines.iter().map(|line| (*line).to_owned()).collect() };
        let default = lines(&["default on nopass ~* &* +@all"]);
        let settings = settings_of_file();
        assert_eq!(updated(FILE, &settings, Some(&default)).unwrap(), FILE);
        let both = lines(&["a on ~x", "default on"]);
        let added = format!("{FILE}user = [\"a on ~x\", \"default on\"]\n");
        assert_eq!(updated(FILE, &settings, Some(&both)).unwrap(), added);
        let one = "user = \"b off\" # one\n";
        let replaced = updated(one, &Settings::default(), Some(&default)).unwrap();
        assert_eq!(replaced, "user = [\"default on nopass ~* &* +@all\"] # one\n");
    }

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_nothing_is_left_beside_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("larder.toml"), folder.path().join("link.toml"));
        fs::write(&path, FILE).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut settings = settings_of_file();
        set(&mut settings, "timeout", "5");
        rewrite(&link, &settings, None).unwrap();
        assert!(fs::read_to_string(&path).unwrap().contains("Timeout = 5\n"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_file_that_is_gone_or_broken_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("larder.toml");
        assert!(rewrite(&path, &Settings::default(), None).is_err());
        fs::write(&path, "port = = 1").unwrap();
        assert!(rewrite(&path, &settings_of_file(), None).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "port = = 1");
    }

    #[test]
    fn a_former_name_becomes_the_current_one_where_it_is() {
        let mut settings = Settings::default();
        set(&mut settings, "memtable-memory", "64mb");
        set(&mut settings, "port", "7000");
        let file = "# first\nport = 7000\n\n# memory\nOverlay-Memory = \"64mb\" # enough\ntimeout = 0\n";
        let renamed = file.replace("Overlay-Memory", "memtable-memory");
        assert_eq!(updated(file, &settings, None).unwrap(), renamed);
        let both = format!("overlay-memory = \"32mb\"\n{renamed}");
        assert_eq!(updated(&both, &settings, None).unwrap(), renamed);
    }
}
