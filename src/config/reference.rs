//! The reference of settings, docs/SETTINGS.md. It is generated from the declarations, so that it can't disagree with them.

use std::fmt::Write;

use super::{SETTINGS, Settings, When, constants};

/// The whole reference, as Markdown.
pub fn settings_markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    let defaults = Settings::default();
    for setting in SETTINGS {
        let default = match (setting.get)(&defaults) {
            // one that depends on the machine is described in words
            _ if setting.help.contains("The default is") => "see there".to_owned(),
            text if text.is_empty() => "none".to_owned(),
            text => format!("`{}`", text.replace('|', "\\|")),
        };
        let when = match setting.when {
            When::Start => "start",
            When::Any(_) => "any time",
        };
        let mut help = setting.help.replace('|', "\\|");
        for former in setting.former_names {
            help.push_str(&format!(". The name `{former}` is accepted, too"));
        }
        // writing to memory cannot fail
        let _ = writeln!(out, "| `{}` | {default} | {when} | {help} |", setting.name);
    }
    out.push_str(WITHOUT_EFFECT);
    for constant in constants().filter(|constant| constant.is_free) {
        let _ = writeln!(out, "| `{}` | `{}` |", constant.name, constant.value);
    }
    out
}

const WITHOUT_EFFECT: &str = "
## Settings of Redis that do nothing

Programs set these settings of a Redis, and test suites set them to what they were before. They are about the inside of a Redis
(encodings in memory, snapshots, replicas), so Larder does nothing with them. `CONFIG SET` takes a value of the same form as the default,
and `CONFIG GET` answers it until the server stops. A setting that would promise something that Larder doesn't do, such as
`min-replicas-to-write`, is refused.

| setting | value after the start |
|---|---|
";

const INTRODUCTION: &str = "# Settings

Generated from `src/config/settings.rs`; don't edit it by hand.

A setting is taken from the command line (`--name value`), the environment (`LARDER_NAME`), or a file (`larder FILE`); the first of
these that has the setting counts. The file is in TOML if its name ends with `.toml` (`--config FILE` takes TOML by any name), otherwise
it is a [configuration file of Redis](COMING_FROM_REDIS.md#the-configuration-file). Settings that Redis also has keep Redis's names, and `CONFIG GET` and `CONFIG SET` know
them. *Changes* says when a setting can be changed: only before the start, or at any time with `CONFIG SET`. `CONFIG REWRITE` writes the
current settings to the file, and leaves its comments alone.

A name that is almost that of a setting is refused, also in the environment; other variables `LARDER_…` that are no settings are named
in the log. Variables that Kubernetes makes of a Service called `larder` (`LARDER_PORT=tcp://10.0.0.1:6379`) are recognized and ignored.

Sizes have units, such as `64mb`; `mb` means 1,048,576 bytes.

| setting | default | changes | meaning |
|---|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_of_settings_is_up_to_date() {
        crate::generated::check_up_to_date("SETTINGS.md", &settings_markdown());
    }
}
