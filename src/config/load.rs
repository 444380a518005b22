//! Where settings come from. The command line takes precedence over the environment, that over the settings file, and
//! that over the defaults, which a profile may change.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use toml_edit::{DocumentMut, Item, TomlError, Value};

use super::nearest::nearest_setting;
use super::profile::settings_of;
use super::redis_file::read_redis_file;
use super::settings::RETIRED;
use super::units::yes_no;
use super::{SETTINGS, Setting, Settings, environment};

/// The heading of the settings that one needs first.
const FIRST: &str = "Settings that you need first";

/// Settings, and where they came from.
#[derive(Debug)]
pub struct Loaded {
    pub settings: Settings,
    /// The settings file in TOML, if there is one.
    pub file: Option<PathBuf>,
    /// Sentences for the log about input that has no effect.
    pub warnings: Vec<String>,
}

/// Adds all settings to a subcommand, as options with a value.
pub fn command_line(command: Command) -> Command {
    let file =
        Arg::new("config").long("config").value_name("FILE").help("Settings file, in TOML: name = value");
    let by_itself = Arg::new("file")
        .value_name("FILE")
        .help("Settings file: in TOML if its name ends with .toml, else a configuration file of Redis")
        .conflicts_with("config");
    let profile = Arg::new("profile")
        .long("profile")
        .value_name("NAME")
        .env("LARDER_PROFILE")
        .help("Other defaults of settings; cache: any values, everysec, and at most 1 GB from which the least used records are evicted");
    // known, so that whoever uses them is told what to do instead
    let retired = RETIRED.iter().map(|(name, _)| Arg::new(*name).long(*name).num_args(0..=1).hide(true));
    let command = command.arg(by_itself).arg(file.env("LARDER_CONFIG")).arg(profile).args(retired);
    SETTINGS.iter().fold(command, |command, setting| {
        let default = (setting.get)(&Settings::default());
        let shown = if default.is_empty() { "none".to_owned() } else { default };
        let arg = Arg::new(setting.name)
            .long(setting.name)
            .aliases(setting.former_names)
            .value_name(setting.value)
            .help(format!("{} [default: {shown}]", setting.help))
            .help_heading(if setting.is_first { FIRST } else { setting.group })
            .hide_short_help(!setting.is_first)
            .allow_hyphen_values(true)
            .action(ArgAction::Set);
        command.arg(arg)
    })
}

/// Reads the settings. Fails with a sentence that names the setting, its value and what is allowed.
pub fn load(matches: &ArgMatches) -> Result<Loaded, String> {
    for (name, instead) in RETIRED {
        if matches.contains_id(name) {
            return Err(format!("{name} {instead}"));
        }
    }
    let environment = environment::read(std::env::vars_os())?;
    let mut warnings = environment.warnings;
    let mut settings = matches
        .get_one::<String>("profile")
        .map_or_else(|| Ok(Settings::default()), |name| settings_of(name))?;
    let mut file = matches.get_one::<String>("config").map(PathBuf::from);
    if let Some(path) = matches.get_one::<String>("file").map(PathBuf::from) {
        if path.extension().is_some_and(|extension| extension == "toml") {
            file = Some(path);
        } else {
            warnings.extend(read_given(&path, &mut settings)?);
        }
    }
    if let Some(path) = &file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("settings file {}: {error}", path.display()))?;
        read_file(&text, &mut settings).map_err(|why| format!("settings file {}: {why}", path.display()))?;
    }
    for setting in SETTINGS {
        let given = matches.get_one(setting.name).or_else(|| environment.settings.get(setting.name));
        if let Some(text) = given {
            apply(setting, text, &mut settings)?;
        }
    }
    Ok(Loaded { settings, file, warnings })
}

/// Reads a configuration file of Redis. Returns sentences about what has no effect in it.
fn read_given(path: &Path, settings: &mut Settings) -> Result<Vec<String>, String> {
    if !path.exists() {
        return Err(format!(
            "'{}' is neither a subcommand (`larder --help` lists them) nor a file with settings",
            path.display()
        ));
    }
    Ok(read_redis_file(path, settings)?.told(path))
}

/// Applies a settings file in TOML to `settings`.
pub fn read_file(text: &str, settings: &mut Settings) -> Result<(), String> {
    let document: DocumentMut = text.parse().map_err(|error: TomlError| {
        format!("{error}(it has to be TOML: name = value; a file of Redis is given by itself: larder FILE)")
    })?;
    for (name, item) in document.iter() {
        if name == "user" {
            settings.users = users(item)?;
            continue;
        }
        if let Some((name, instead)) = RETIRED.iter().find(|(retired, _)| name.eq_ignore_ascii_case(retired))
        {
            return Err(format!("{name} {instead}"));
        }
        let setting =
            Setting::find(name).ok_or_else(|| match nearest_setting(&name.to_ascii_lowercase()) {
                Some(meant) => format!("there is no setting '{name}'; '{meant}' is one"),
                None => format!("there is no setting '{name}'"),
            })?;
        let text = item.as_value().and_then(text_of);
        let text = text.ok_or_else(|| format!("'{name}' must be a text, a number, or true or false"))?;
        apply(setting, &text, settings)?;
    }
    Ok(())
}

/// A value of the file as the text that settings parse. `None` if no setting has such values.
pub fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.value().clone()),
        Value::Integer(number) => Some(number.value().to_string()),
        Value::Boolean(yes) => Some(yes_no(*yes.value())),
        Value::Array(words) => {
            words.iter().map(text_of).collect::<Option<Vec<_>>>().map(|words| words.join(" "))
        }
        _ => None,
    }
}

/// Users, as Redis's settings file has them: a text for one, a list for several.
fn users(item: &Item) -> Result<Vec<String>, String> {
    let text = |line: &Value| line.as_str().map(str::to_owned);
    let lines: Option<Vec<String>> = match item.as_array() {
        Some(lines) => lines.iter().map(text).collect(),
        None => item.as_value().and_then(text).map(|line| vec![line]),
    };
    lines.ok_or_else(|| "'user' must be a text or a list of texts: a name and rules".to_owned())
}

fn apply(setting: &Setting, text: &str, settings: &mut Settings) -> Result<(), String> {
    (setting.set)(settings, text).map_err(|why| format!("{} '{text}': {why}", setting.name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn loaded(args: &[&str]) -> Result<Settings, String> {
        let matches = command_line(Command::new("larder")).try_get_matches_from(args).unwrap();
        load(&matches).map(|loaded| loaded.settings)
    }

    #[test]
    fn the_command_line_comes_before_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "port = 7000\nbind = [\"::1\", \"127.0.0.1\"]\nprotected-mode = false\n")
            .unwrap();
        let path = file.path().to_str().unwrap();
        let settings = loaded(&["larder", "--config", path, "--port", "7001"]).unwrap();
        assert_eq!((settings.port, settings.bind.len(), settings.protected_mode), (7001, 2, false));
    }

    #[test]
    fn a_profile_comes_before_nothing_but_the_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let toml = dir.path().join("larder.toml");
        std::fs::write(&toml, "appendfsync = \"no\"\n").unwrap();
        let toml = toml.to_str().unwrap();
        let told = |args: &[&str]| {
            let settings = loaded(&[&["larder", "--profile", "cache"], args].concat()).unwrap();
            let names =
                ["default-values", "appendfsync", "max-keys-per-query", "max-bytes", "maxmemory-policy"];
            names.map(|name| (Setting::find(name).unwrap().get)(&settings)).join(" ")
        };
        assert_eq!(told(&[]), "any everysec 0 1073741824 allkeys-lfu");
        assert_eq!(told(&[toml, "--maxmemory", "2mb"]), "any no 0 2097152 allkeys-lfu");
        assert!(loaded(&["larder", "--profile", "store"]).unwrap_err().ends_with("there is: cache"));
    }

    #[test]
    fn a_file_by_itself_is_redis_s_or_in_toml_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (toml, redis) = (dir.path().join("larder.toml"), dir.path().join("redis.conf"));
        std::fs::write(&toml, "port = 7000\ntimeout = 5\n").unwrap();
        std::fs::write(&redis, "port 7000\ntimeout 5\nhz 10\nrdbchecksum yes\n").unwrap();
        for path in [&toml, &redis] {
            let settings = loaded(&["larder", path.to_str().unwrap(), "--port", "7001"]).unwrap();
            assert_eq!((settings.port, settings.timeout_s), (7001, 5), "{}", path.display());
        }
        for (path, why) in [
            (
                "exprt",
                "'exprt' is neither a subcommand (`larder --help` lists them) nor a file with settings",
            ),
            (dir.path().to_str().unwrap(), "directory"),
        ] {
            let told = loaded(&["larder", path]).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        let told = loaded(&["larder", "--config", redis.to_str().unwrap()]).unwrap_err();
        assert!(told.contains("larder FILE"), "{told}");
    }

    #[test]
    fn what_is_no_setting_any_longer_says_what_to_do() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "salvage = false\n").unwrap();
        let path = file.path().to_str().unwrap();
        for args in [
            &["larder", "--salvage", "yes"][..],
            &["larder", "--salvage"],
            &["larder", "--salvage", "no"],
            &["larder", "--config", path],
        ] {
            let told = loaded(args).unwrap_err();
            assert!(told.contains("`larder salvage DIR`"), "{args:?}: {told}");
        }
    }

    #[test]
    fn errors_name_setting_value_and_what_is_allowed() {
        assert_eq!(
            loaded(&["larder", "--maxclients", "none"]).unwrap_err(),
            "maxclients 'none': argument couldn't be parsed into an integer"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "prot = 7000\n").unwrap();
        let error = loaded(&["larder", "--config", file.path().to_str().unwrap()]).unwrap_err();
        assert!(error.ends_with("there is no setting 'prot'"), "{error}");
        std::fs::write(file.path(), "max-client = 7\n").unwrap();
        let error = loaded(&["larder", "--config", file.path().to_str().unwrap()]).unwrap_err();
        assert!(error.ends_with("there is no setting 'max-client'; 'maxclients' is one"), "{error}");
    }

    #[test]
    fn a_former_name_is_as_good_as_the_current_one() {
        for setting in SETTINGS {
            for former in setting.former_names {
                let text = (setting.get)(&Settings::default()).replace(|c: char| c.is_ascii_digit(), "9");
                let dir = tempfile::tempdir().unwrap();
                let (toml, redis) = (dir.path().join("larder.toml"), dir.path().join("redis.conf"));
                std::fs::write(&toml, format!("{former} = \"{text}\"\n")).unwrap();
                std::fs::write(&redis, format!("{former} {text}\n")).unwrap();
                let (toml, redis) = (toml.display().to_string(), redis.display().to_string());
                for args in
                    [&["larder", &format!("--{former}"), &text][..], &["larder", &toml], &["larder", &redis]]
                {
                    let settings = loaded(args).unwrap();
                    assert_eq!((setting.get)(&settings), text, "{args:?}");
                }
            }
        }
    }
}
