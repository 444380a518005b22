//! Where settings come from: command line before environment before settings file before defaults.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{SETTINGS, Setting, Settings};

/// Settings, and where they came from.
#[derive(Debug)]
pub struct Loaded {
    pub settings: Settings,
    /// The settings file, if there is one.
    pub file: Option<PathBuf>,
}

/// Adds all settings to a subcommand, as options with a value.
pub fn command_line(command: Command) -> Command {
    let file =
        Arg::new("config").long("config").value_name("FILE").help("Settings file, in TOML: name = value");
    SETTINGS.iter().fold(command.arg(file.env("LARDER_CONFIG")), |command, setting| {
        let default = (setting.get)(&Settings::default());
        let shown = if default.is_empty() { "none".to_owned() } else { default };
        let arg = Arg::new(setting.name)
            .long(setting.name)
            .value_name(setting.value)
            .help(format!("{} [default: {shown}]", setting.help))
            .env(setting.variable())
            .hide_env(true)
            .allow_hyphen_values(true)
            .action(ArgAction::Set);
        command.arg(arg)
    })
}

/// Reads the settings. Fails with a sentence that names the setting, its value and what is allowed.
pub fn load(matches: &ArgMatches) -> Result<Loaded, String> {
    let mut settings = Settings::default();
    let file = matches.get_one::<String>("config").map(PathBuf::from);
    if let Some(path) = &file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("settings file {}: {error}", path.display()))?;
        read_file(&text, &mut settings).map_err(|why| format!("settings file {}: {why}", path.display()))?;
    }
    for setting in SETTINGS {
        // clap has put the command line before the environment
        if let Some(text) = matches.get_one::<String>(setting.name) {
            apply(setting, text, &mut settings)?;
        }
    }
    Ok(Loaded { settings, file })
}

/// Puts what a settings file says, in TOML, into `settings`.
pub fn read_file(text: &str, settings: &mut Settings) -> Result<(), String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    for (name, value) in table {
        if name == "user" {
            settings.users = users(value)?;
            continue;
        }
        let setting = Setting::find(&name).ok_or_else(|| format!("there is no setting '{name}'"))?;
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(yes) => super::units::yes_no(yes),
            toml::Value::Array(words) => {
                words.iter().filter_map(|word| word.as_str()).collect::<Vec<_>>().join(" ")
            }
            _ => return Err(format!("'{name}' must be a text, a number, or true or false")),
        };
        apply(setting, &text, settings)?;
    }
    Ok(())
}

/// Users, as Redis's settings file has them: a text for one, a list for several.
fn users(value: toml::Value) -> Result<Vec<String>, String> {
    let lines = match value {
        toml::Value::Array(lines) => lines,
        line => vec![line],
    };
    let text = |line: toml::Value| line.as_str().map(str::to_owned);
    let lines: Option<Vec<String>> = lines.into_iter().map(text).collect();
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
    fn errors_name_setting_value_and_what_is_allowed() {
        assert_eq!(
            loaded(&["larder", "--maxclients", "none"]).unwrap_err(),
            "maxclients 'none': argument couldn't be parsed into an integer"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "prot = 7000\n").unwrap();
        let error = loaded(&["larder", "--config", file.path().to_str().unwrap()]).unwrap_err();
        assert!(error.ends_with("there is no setting 'prot'"), "{error}");
    }
}
