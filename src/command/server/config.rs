//! CONFIG: the settings of the running server. [`crate::config`] declares the settings and checks their values; here is
//! how a change takes effect.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::command::base::server::text;
use crate::command::base::table::help;
use crate::command::base::{Call, Flags, Plan, Secrets, Shared, Spec, control, reply};
use crate::command::server::info;
use crate::config::{self, Effect, Room, SETTINGS, Setting, Settings, When};
use crate::engine::Writer;
use crate::error::Error;
use crate::resp::Reply;
use crate::store::Pattern;
use crate::telemetry::log;

pub static COMMANDS: &[Spec] = &[Spec {
    name: "config",
    summary: "Commands about settings and statistics",
    since: "2.0.0",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: SUBCOMMANDS,
    ..Spec::DEFAULT
}];

const ADMIN: Flags = Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE);

static SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "config|get",
        syntax: "parameter [parameter ...]",
        summary: "Returns the settings whose names match patterns",
        since: "2.0.0",
        complexity: "O(N) where N is the number of settings",
        arity: -3,
        flags: ADMIN,
        plan: get,
        ..Spec::DEFAULT
    },
    Spec {
        name: "config|set",
        is_harmful: true,
        syntax: "parameter value [parameter value ...]",
        summary: "Changes settings, all or none, until the server stops",
        since: "2.0.0",
        complexity: "O(N) where N is the number of settings",
        arity: -4,
        flags: ADMIN.union(Flags::CONTROL),
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        secrets: Secrets::After(names_a_secret, 1),
        plan: |_| control(set),
        ..Spec::DEFAULT
    },
    Spec {
        name: "config|resetstat",
        is_harmful: true,
        summary: "Resets the counters of INFO",
        since: "2.0.0",
        arity: 2,
        flags: ADMIN,
        plan: reset_statistics,
        ..Spec::DEFAULT
    },
    Spec {
        name: "config|rewrite",
        is_harmful: true,
        summary: "Writes the current settings to the settings file; comments stay",
        since: "2.8.0",
        arity: 2,
        flags: ADMIN,
        plan: rewrite,
        ..Spec::DEFAULT
    },
    Spec {
        name: "config|help",
        summary: "Lists the subcommands of CONFIG",
        since: "5.0.0",
        arity: 2,
        flags: Flags::LOADING.union(Flags::STALE),
        plan: help,
        ..Spec::DEFAULT
    },
];

/// Whether a word is the name of a setting, of Larder or of Redis, whose value is a secret.
fn names_a_secret(word: &Bytes) -> bool {
    const REDIS: &[&[u8]] = &[b"masterauth", b"masteruser", b"tls-key-file-pass"];
    let setting = std::str::from_utf8(word).ok().and_then(Setting::find);
    setting.is_some_and(|setting| setting.is_secret)
        || REDIS.iter().any(|name| word.eq_ignore_ascii_case(name))
}

fn get(call: &mut Call<'_>) -> Result<Plan, Error> {
    let settings = call.server.config.settings();
    call.check_names(2)?;
    let mut answered = BTreeSet::new();
    let mut found = Vec::new();
    for word in call.rest(2) {
        let pattern = Pattern::ignoring_case(word)?;
        let mut answer = |name: &'static str, value: &dyn Fn() -> String| {
            if pattern.matches(name.as_bytes()) && answered.insert(name) {
                // as in Redis, a setting is returned with the name as the client spelled it
                let shown = if pattern.is_literal() { word.clone() } else { text(name) };
                found.push((Reply::Bulk(shown), Reply::text(value())));
            }
        };
        for setting in SETTINGS {
            setting.names().for_each(|name| answer(name, &|| (setting.get)(&settings)));
        }
        for constant in config::constants() {
            let remembered = settings.remembered.get(constant.name);
            answer(constant.name, &|| remembered.map_or(constant.value, String::as_str).to_owned());
        }
    }
    reply(Reply::Map(found))
}

/// A setting that CONFIG SET names: one of Larder, or one of Redis that does nothing here.
enum Target {
    Setting(&'static Setting),
    Constant(config::Constant),
}

fn set(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    let words = call.rest(2);
    if !words.len().is_multiple_of(2) {
        return Err(Error::Syntax);
    }
    let mut changes = Vec::with_capacity(words.len() / 2);
    for pair in words.chunks_exact(2) {
        let name = String::from_utf8_lossy(&pair[0]);
        let target = find(&name)?;
        if changes.iter().any(|(other, ..): &(String, _, _)| other.eq_ignore_ascii_case(&name)) {
            return Err(refused(&name, "duplicate parameter"));
        }
        changes.push((name.into_owned(), target, &pair[1]));
    }
    let server = call.server;
    server.config.try_update(|settings| {
        for (name, target, value) in &changes {
            let value = std::str::from_utf8(value).map_err(|_| refused(name, "argument must be UTF-8"))?;
            change(settings, target, value)
                .and_then(|()| settings.check())
                .map_err(|why| refused(name, &why))?;
        }
        // settings that belong together take effect together
        let mut effects = BTreeMap::new();
        for (name, target, _) in &changes {
            if let Target::Setting(Setting { when: When::Any(effect), .. }) = target {
                effects.entry(*effect).or_insert(name);
            }
        }
        for (effect, name) in effects {
            apply(effect, &server, engine, settings).map_err(|why| refused(name, &why))?;
        }
        Ok::<(), Error>(())
    })?;
    let names: Vec<&str> = changes.iter().map(|(name, ..)| name.as_str()).collect();
    tracing::info!(settings = names.join(" "), client = call.session.client.id, "settings changed");
    reply(Reply::OK)
}

fn find(name: &str) -> Result<Target, Error> {
    if let Some(constant) = config::constant(name) {
        return Ok(Target::Constant(constant));
    }
    match Setting::find(name) {
        Some(Setting { when: When::Start, .. }) => Err(refused(name, "can't set immutable config")),
        Some(setting) => Ok(Target::Setting(setting)),
        None => {
            Err(Error::other(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'")))
        }
    }
}

fn change(settings: &mut Settings, target: &Target, value: &str) -> Result<(), String> {
    match target {
        Target::Setting(setting) => (setting.set)(settings, value),
        // tools set these unconditionally, and suites set what they have read
        Target::Constant(constant) => {
            settings.remembered.insert(constant.name, constant.check(value)?);
            Ok(())
        }
    }
}

/// In Redis's words.
fn too_many_clients(possible: usize) -> String {
    format!("The operating system is not able to handle the specified number of clients, try with {possible}")
}

fn refused(name: &str, why: &str) -> Error {
    Error::other(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"))
}

/// Lets a change take effect. If it can't, nothing has changed, and the error says why.
fn apply(effect: Effect, server: &Shared, engine: Writer<'_>, settings: &Settings) -> Result<(), String> {
    match effect {
        Effect::None => {}
        Effect::Clients => {
            let possible = Room::make(settings)?.clients;
            if possible < settings.maxclients {
                return Err(too_many_clients(possible));
            }
        }
        Effect::Tls => server.reload_tls(settings)?,
        Effect::Fsync => engine.set_fsync(settings.appendfsync),
        Effect::Compression => engine.set_compression(settings.compression),
        Effect::Quota => engine.set_quota(settings.quota()),
        Effect::DefaultValues => engine.set_default_kind(settings.default_values),
        Effect::Thresholds => server.slow.set_thresholds(settings.slow_thresholds()),
        Effect::Latencies => server.stats.track_latency(settings.latency_tracking),
        Effect::Push => server.push.configure(*engine, settings),
        Effect::NewUsers => server.acl.set_all_channels_by_default(settings.acl_pubsub_default),
        Effect::Password => server.acl.set_default_password(settings.requirepass.as_deref()),
        Effect::LogLevel => log::change_filter(settings.log_filter()),
    }
    Ok(())
}

fn rewrite(call: &mut Call<'_>) -> Result<Plan, Error> {
    let config = &call.server.config;
    let file = config.file().ok_or(Error::other("ERR The server is running without a config file"))?;
    let settings = config.settings();
    // with an aclfile, ACL SAVE writes them
    let users = settings.aclfile.is_none().then(|| users(&call.server)).transpose();
    users.and_then(|users| config::rewrite(file, &settings, users.as_deref())).map_err(|why| {
        tracing::warn!(file = %file.display(), why, "CONFIG REWRITE failed");
        Error::other(format!("ERR Rewriting config file: {why}"))
    })?;
    reply(Reply::OK)
}

/// Each user's name and rules.
fn users(server: &Shared) -> Result<Vec<String>, String> {
    let lines = server.acl.lines().into_iter().map(|line| {
        let line =
            String::from_utf8(line).map_err(|_| "the rules of a user are not UTF-8; use an aclfile")?;
        Ok(line.strip_prefix("user ").map(str::to_owned).unwrap_or(line))
    });
    lines.collect()
}

fn reset_statistics(call: &mut Call<'_>) -> Result<Plan, Error> {
    info::reset(call.server, call.session);
    reply(Reply::OK)
}

#[cfg(test)]
mod tests {
    use crate::command::tests::harness::{Harness, not_json, shown};
    use crate::store::ValueKind;

    #[test]
    fn settings_are_found_by_name_and_pattern() {
        Harness::new().expect(&[
            ("CONFIG GET maxclients", r#"{"maxclients": "10000"}"#),
            ("CONFIG GET MAXclients maxclients", r#"{"MAXclients": "10000"}"#),
            ("CONFIG GET save appendonl?", r#"{"save": "", "appendonly": "yes"}"#),
            ("CONFIG GET tcp-*", r#"{"tcp-keepalive": "300", "tcp-backlog": "511"}"#),
            ("CONFIG GET proto-max-bulk-len", r#"{"proto-max-bulk-len": "536870912"}"#),
            ("CONFIG GET nothing", "{}"),
            ("CONFIG GET", "-ERR wrong number of arguments for 'config|get' command"),
        ]);
    }

    #[test]
    fn several_settings_change_together_or_not_at_all() {
        let failed = |name: &str, why: &str| {
            format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - {why}")
        };
        let (no_number, duplicate) = (
            failed("timeout", "argument couldn't be parsed into an integer"),
            failed("timeout", "duplicate parameter"),
        );
        let range = failed("timeout", "argument must be between 0 and 2147483647 inclusive");
        Harness::new().expect(&[
            ("CONFIG SET timeout 10 maxclients 5", "OK"),
            ("CONFIG GET timeout maxclients", r#"{"timeout": "10", "maxclients": "5"}"#),
            ("CONFIG SET maxclients 7 timeout x", &no_number),
            ("CONFIG SET maxclients 7 timeout -1", &range),
            ("CONFIG SET timeout 1 TIMEOUT 2", &duplicate.replace("timeout", "TIMEOUT")),
            ("CONFIG SET maxclients 7 databases 3", &failed("databases", "can't set immutable config")),
            (
                "CONFIG SET maxclients 7 nothing 1",
                "-ERR Unknown option or number of arguments for CONFIG SET - 'nothing'",
            ),
            ("CONFIG SET maxclients", "-ERR wrong number of arguments for 'config|set' command"),
            ("CONFIG SET maxclients 7 timeout", "-ERR syntax error"),
            ("CONFIG GET timeout maxclients", r#"{"timeout": "10", "maxclients": "5"}"#),
        ]);
    }

    #[test]
    fn what_has_one_value_here_may_be_set_to_it() {
        Harness::new().expect(&[
            (r#"CONFIG SET save "" appendonly YES maxmemory 0"#, "OK"),
            (
                r#"CONFIG SET save "900 1""#,
                "-ERR CONFIG SET failed (possibly related to argument 'save') - it can't be changed here from ''",
            ),
        ]);
    }

    #[test]
    fn nobody_takes_the_password_off_an_open_server() {
        let mut harness = Harness::new();
        harness.server.config.update(|settings| {
            settings.bind = vec!["0.0.0.0".into()];
            settings.requirepass = Some("secret".into());
        });
        let answer = shown(&harness.run("CONFIG SET timeout 5 requirepass \"\""));
        assert!(
            answer.contains("related to argument 'requirepass') - bind 0.0.0.0 would let others"),
            "{answer}"
        );
        assert!(harness.server.config.requirepass().is_some());
        harness.expect(&[("CONFIG GET timeout", r#"{"timeout": "0"}"#), ("CONFIG SET requirepass x", "OK")]);
    }

    #[test]
    fn changes_take_effect_at_once() {
        let mut harness = Harness::new();
        harness.server.config.update(|settings| settings.default_values = ValueKind::Any);
        harness.expect(&[
            ("SET k {not", "OK"),
            ("CONFIG SET default-values json appendfsync no requirepass x compression off", "OK"),
            ("SET k {not", &not_json(1, 2)),
            ("AUTH y", "-WRONGPASS invalid username-password pair or user is disabled."),
            ("CONFIG GET compression appendfsync", r#"{"compression": "off", "appendfsync": "no"}"#),
        ]);
        assert_eq!(harness.server.engine.reader().status().journal.fsync, crate::engine::Fsync::No);
    }

    #[test]
    fn statistics_start_again() {
        let mut harness = Harness::new();
        harness
            .expect(&[("GET missing", "nil"), ("GET", "-ERR wrong number of arguments for 'get' command")]);
        assert_eq!(harness.server.stats.by_error().len(), 1);
        harness.run("CONFIG RESETSTAT");
        let stats = harness.server.stats.by_command();
        assert!(stats.iter().all(|(name, _)| *name == "config|resetstat"), "{stats:?}");
        assert!(harness.server.stats.by_error().is_empty());
        harness.expect(&[("CONFIG REWRITE", "-ERR The server is running without a config file")]);
    }

    #[test]
    fn a_former_name_is_answered_as_it_was_asked() {
        Harness::new().expect(&[
            ("CONFIG GET overlay-memory", r#"{"overlay-memory": "134217728"}"#),
            ("CONFIG GET *-memory", r#"{"memtable-memory": "134217728", "overlay-memory": "134217728", "cache-memory": "67108864"}"#),
            ("CONFIG SET lua-time-limit 7", "OK"),
            ("CONFIG GET busy-reply-threshold lua-time-limit", r#"{"busy-reply-threshold": "7", "lua-time-limit": "7"}"#),
        ]);
    }
}
