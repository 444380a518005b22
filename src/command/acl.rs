//! The ACL commands: users and what they may do. [`crate::acl`] has the rules themselves, and
//! [`permission`] decides whether a request is permitted.
//!
//! The file is read and written on the caller's thread, which is one that may block.

use bytes::Bytes;

use crate::acl::{
    Access, DEFAULT_USER, LogEntry, Reason, RuleError, Selector, User, file, has_spaces, join_selectors,
};
use crate::command::base::reach::Stores;
use crate::command::base::table::{Lookup, help};
use crate::command::base::{Call, Flags, Plan, Secrets, Shared, Spec, login, permission, reply};
use crate::engine::clock;
use crate::error::Error;
use crate::limits::PASSWORD_BITS_MAX;
use crate::record::number;
use crate::resp::Reply;

pub static COMMANDS: &[Spec] = &[Spec {
    name: "acl",
    summary: "Manages users and what they may do",
    since: "6.0.0",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: SUBCOMMANDS,
    ..Spec::DEFAULT
}];

const ANYONE: Flags = Flags::NOSCRIPT.union(Flags::LOADING).union(Flags::STALE);
const ASKING: Spec = Spec { since: "6.0.0", arity: 2, flags: ANYONE, ..Spec::DEFAULT };
const MANAGING: Spec = Spec { flags: ANYONE.union(Flags::ADMIN), ..ASKING };
const WITH_FILE: Spec = Spec { flags: MANAGING.flags.union(Flags::LONG), ..MANAGING };

static SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "acl|cat",
        syntax: "[category]",
        summary: "Lists the categories of commands, or the commands of one",
        complexity: "O(N) where N is the number of commands",
        arity: -2,
        plan: categories,
        ..ASKING
    },
    Spec {
        name: "acl|deluser",
        is_harmful: true,
        syntax: "username [username ...]",
        summary: "Removes users and closes their connections",
        complexity: "O(N) where N is the number of connections",
        arity: -3,
        secrets: Secrets::From(2),
        plan: delete_users,
        ..MANAGING
    },
    Spec {
        name: "acl|dryrun",
        syntax: "username command [arg [arg ...]]",
        summary: "Returns whether a user may run a command in the selected store, without running it",
        since: "7.0.0",
        arity: -4,
        plan: dry_run,
        ..MANAGING
    },
    Spec {
        name: "acl|genpass",
        syntax: "[bits]",
        summary: "Returns a random password, in hexadecimal digits",
        arity: -2,
        plan: generate_password,
        ..ASKING
    },
    Spec {
        name: "acl|getuser",
        syntax: "username",
        summary: "Returns the rules of a user",
        complexity: "O(N) where N is the number of rules",
        arity: 3,
        secrets: Secrets::From(2),
        plan: get_user,
        ..MANAGING
    },
    Spec {
        name: "acl|help",
        summary: "Lists the subcommands",
        flags: Flags::LOADING.union(Flags::STALE),
        plan: help,
        ..ASKING
    },
    Spec {
        name: "acl|list",
        summary: "Returns the rules of all users, as in the aclfile",
        complexity: "O(N) where N is the number of users",
        plan: |call| reply(Reply::Array(call.server.acl.lines().into_iter().map(bulk).collect())),
        ..MANAGING
    },
    Spec {
        name: "acl|load",
        is_harmful: true,
        summary: "Reads users from the aclfile, all or none; connections of users who are gone or changed are closed",
        complexity: "O(N) where N is the number of users",
        plan: load,
        ..WITH_FILE
    },
    Spec {
        name: "acl|log",
        syntax: "[count | RESET]",
        summary: "Returns or clears the log of refused commands and sign-ins",
        complexity: "O(N) where N is the number of entries",
        arity: -2,
        // it shows the keys that others were refused
        stores: Stores::All,
        all_keys: Access::READ,
        plan: tell_log,
        ..MANAGING
    },
    Spec {
        name: "acl|save",
        summary: "Writes all users to the aclfile",
        complexity: "O(N) where N is the number of users",
        plan: save,
        ..WITH_FILE
    },
    Spec {
        name: "acl|setuser",
        is_harmful: true,
        syntax: "username [rule [rule ...]]",
        summary: "Applies rules to a user, all or none; creates the user if necessary",
        complexity: "O(N) where N is the number of rules",
        arity: -3,
        secrets: Secrets::From(2),
        plan: set_user,
        ..MANAGING
    },
    Spec {
        name: "acl|users",
        summary: "Lists the names of all users",
        complexity: "O(N) where N is the number of users",
        plan: |call| {
            let users = call.server.acl.all();
            reply(Reply::Array(users.into_iter().map(|(name, _)| Reply::text(name)).collect()))
        },
        ..MANAGING
    },
    Spec {
        name: "acl|whoami",
        summary: "Returns the name of the connection's user",
        plan: |call| reply(Reply::text(call.session.account.name())),
        ..ASKING
    },
];

/// The number of entries that ACL LOG shows by default.
const LOG_ENTRIES: i64 = 10;

/// Reads users at the start: from the settings file, or from the aclfile.
pub fn load_at_start(server: &Shared) -> Result<(), String> {
    let settings = server.config.settings();
    if let Some(path) = &settings.aclfile {
        load_file(server).map_err(|why| format!("aclfile {}: {why}", path.display()))?;
    }
    for line in &settings.users {
        let words = line.split_ascii_whitespace().map(str::as_bytes);
        let mut words = words.peekable();
        let name = words.next().and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default();
        if name.is_empty() {
            return Err("user '': a name and rules must follow".into());
        }
        let mut rules = vec![b"reset".to_vec()];
        rules.extend(join_selectors(words).map_err(|_| format!("user '{name}': unmatched parenthesis"))?);
        server.acl.set_user(name, &rules).map_err(|(rule, why)| {
            format!("user '{name}': rule '{}': {why}", String::from_utf8_lossy(&rule))
        })?;
    }
    settings.check_door(!server.acl.asks_for_password())
}

fn set_user(call: &mut Call<'_>) -> Result<Plan, Error> {
    let name = std::str::from_utf8(call.arg(2)).ok();
    let name = name.filter(|name| !name.is_empty() && !has_spaces(name.as_bytes()));
    let name = name.ok_or(Error::other("ERR Usernames can't contain spaces or null characters"))?;
    let rules = join_selectors(call.rest(3).iter().map(|word| &**word)).map_err(|start| {
        let start = String::from_utf8_lossy(start);
        Error::other(format!("ERR Unmatched parenthesis in acl selector starting at '{start}'."))
    })?;
    let refused = |(rule, why): (Vec<u8>, RuleError)| {
        let rule = String::from_utf8_lossy(&rule);
        Error::other(format!("ERR Error in ACL SETUSER modifier '{rule}': {why}"))
    };
    if call.server.acl.would_open(name, &rules).map_err(refused)? {
        let settings = call.server.config.settings();
        settings.check_door(true).map_err(|why| Error::other(format!("ERR {why}")))?;
    }
    call.server.acl.set_user(name, &rules).map_err(refused)?;
    let name = name.to_owned();
    tracing::info!(user = name, client = call.session.client.id, "rules of a user changed");
    login::end_subscriptions(&call.server, call.session, &name);
    reply(Reply::OK)
}

fn delete_users(call: &mut Call<'_>) -> Result<Plan, Error> {
    let names = call.rest(2).to_vec();
    if names.iter().any(|name| name == DEFAULT_USER) {
        return Err(Error::other("ERR The 'default' user cannot be removed"));
    }
    let mut deleted = 0;
    for name in names {
        if call.server.acl.delete(&name) {
            let name = String::from_utf8_lossy(&name);
            login::end_sessions(&call.server, call.session, &name);
            tracing::info!(user = &*name, client = call.session.client.id, "user removed");
            deleted += 1;
        }
    }
    reply(Reply::Integer(deleted))
}

fn get_user(call: &mut Call<'_>) -> Result<Plan, Error> {
    let Some(account) = call.server.acl.get(call.arg(2)) else { return reply(Reply::Null) };
    let user = account.user();
    let flags = user.flags().map(Reply::text).collect();
    let passwords = user.passwords().iter().map(|hash| Reply::text(hash.to_string())).collect();
    let mut fields = vec![("flags", Reply::Set(flags)), ("passwords", Reply::Array(passwords))];
    fields.extend(permissions(user.root()));
    let selectors = user.further_selectors().iter().map(|selector| map(permissions(selector))).collect();
    fields.push(("selectors", Reply::Array(selectors)));
    fields.extend(user.default_store().map(|store| ("default-store", Reply::text(store))));
    reply(map(fields))
}

/// Redis's fields, and the stores if not all may be used.
fn permissions(selector: &Selector) -> Vec<(&'static str, Reply)> {
    let mut fields = vec![
        ("commands", Reply::text(selector.commands())),
        ("keys", bulk(selector.keys())),
        ("channels", bulk(selector.channels())),
    ];
    fields.extend(selector.stores().map(|stores| ("stores", bulk(stores))));
    fields
}

fn categories(call: &mut Call<'_>) -> Result<Plan, Error> {
    let vocabulary = call.server.acl.grammar().vocabulary;
    let names: Vec<&'static str> = match call.rest(2) {
        [] => vocabulary.categories().collect(),
        [category] => {
            let (_, members) = vocabulary.category(category).ok_or_else(|| {
                let shown = &category[..category.len().min(128)];
                Error::other(format!("ERR Unknown category '{}'", String::from_utf8_lossy(shown)))
            })?;
            members.iter().map(|id| vocabulary.name(*id)).collect()
        }
        _ => return Err(wrong_subcommand(call)),
    };
    reply(Reply::Array(names.into_iter().map(Reply::text).collect()))
}

fn generate_password(call: &mut Call<'_>) -> Result<Plan, Error> {
    const BITS: usize = 256;
    let bits = match call.rest(2) {
        [] => BITS,
        [_] => usize::try_from(call.integer(2)?).unwrap_or(0),
        _ => return Err(wrong_subcommand(call)),
    };
    if bits == 0 || bits > PASSWORD_BITS_MAX {
        return Err(Error::other(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
             {PASSWORD_BITS_MAX}"
        )));
    }
    let digits = bits.div_ceil(4);
    let mut random = vec![0; digits.div_ceil(2)];
    getrandom::fill(&mut random)
        .map_err(|error| Error::other(format!("ERR the system gives no random numbers: {error}")))?;
    let mut password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    password.truncate(digits);
    reply(Reply::text(password))
}

fn dry_run(call: &mut Call<'_>) -> Result<Plan, Error> {
    let Some(account) = call.server.acl.get(call.arg(2)) else {
        return Err(Error::other(format!("ERR User '{}' not found", call.text(2))));
    };
    let request = call.rest(3);
    let Lookup::Command(spec) = call.server.commands.lookup(request) else {
        return Err(Error::other(format!("ERR Command '{}' not found", call.text(3))));
    };
    if !spec.takes(request.len()) {
        return Err(Error::Arity(spec.name.into()));
    }
    let store = call.session.store;
    reply(match permission::dry_run(call.server, &account, spec, request, store) {
        None => Reply::OK,
        Some(why) => Reply::text(why),
    })
}

fn tell_log(call: &mut Call<'_>) -> Result<Plan, Error> {
    let log = &call.server.acl.log;
    let count = match call.rest(2) {
        [] => LOG_ENTRIES,
        [_] if call.is(2, "reset") => {
            log.clear();
            return reply(Reply::OK);
        }
        [count] => number::parse_i64(count).ok_or(Error::NotInteger)?,
        _ => return Err(wrong_subcommand(call)),
    };
    let entries = log.latest(usize::try_from(count).unwrap_or(0));
    reply(Reply::Array(entries.into_iter().map(|entry| described(entry, clock::steady_ms())).collect()))
}

fn described(entry: LogEntry, steady_ms: u64) -> Reply {
    let reason = match entry.incident.reason {
        Reason::Command => "command",
        Reason::Key => "key",
        Reason::Channel => "channel",
        Reason::Store => "store",
        Reason::Auth => "auth",
    };
    let age_seconds = steady_ms.saturating_sub(entry.updated.steady_ms) as f64 / 1000.0;
    map(vec![
        ("count", Reply::Integer(entry.count as i64)),
        ("reason", Reply::text(reason)),
        ("context", Reply::text(entry.incident.context.as_str())),
        ("object", Reply::Bulk(entry.incident.object)),
        ("username", Reply::Bulk(entry.incident.username)),
        ("age-seconds", Reply::Double(age_seconds)),
        ("client-info", Reply::text(entry.incident.client_info)),
        ("entry-id", Reply::Integer(entry.id as i64)),
        ("timestamp-created", Reply::Integer(entry.created.now_ms as i64)),
        ("timestamp-last-updated", Reply::Integer(entry.updated.now_ms as i64)),
    ])
}

fn load(call: &mut Call<'_>) -> Result<Plan, Error> {
    let changed = load_file(&call.server).map_err(|why| Error::other(format!("ERR {why}")))?;
    for user in &changed {
        login::end_sessions(&call.server, call.session, user);
    }
    tracing::info!(
        changed = changed.join(" "),
        client = call.session.client.id,
        "users were read from the aclfile"
    );
    reply(Reply::OK)
}

/// Returns the names of users who are gone or changed.
fn load_file(server: &Shared) -> Result<Vec<String>, String> {
    let settings = server.config.settings();
    let path = settings.aclfile.as_ref().ok_or(NO_FILE)?;
    let shown = path.display().to_string();
    let text = std::fs::read(path)
        .map_err(|error| format!("Error loading ACLs, opening file '{shown}': {error}"))?;
    let users = file::parse(&text, &shown, server.acl.grammar()).map_err(|errors| {
        format!(
            "{errors}WARNING: ACL errors detected, no change to the previously active ACL rules was performed"
        )
    })?;
    let default = users.get(DEFAULT_USER);
    let opens = default.map_or(settings.requirepass.is_none(), User::needs_no_password);
    if opens && server.acl.asks_for_password() {
        settings.check_door(true)?;
    }
    Ok(server.acl.replace(users, settings.requirepass.as_deref()))
}

fn save(call: &mut Call<'_>) -> Result<Plan, Error> {
    let Some(path) = call.server.config.settings().aclfile else {
        return Err(Error::other(format!("ERR {NO_FILE}")));
    };
    if let Err(error) = file::save(&path, &call.server.acl.lines()) {
        tracing::error!(path = %path.display(), %error, "the aclfile can't be written");
        return Err(Error::other(
            "ERR There was an error trying to save the ACLs. Please check the server logs for more information",
        ));
    }
    reply(Reply::OK)
}

const NO_FILE: &str = "This Redis instance is not configured to use an ACL file. You may want to specify users via the \
                       ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file \
                       set) in order to store users in the Redis configuration.";

/// The error for a known subcommand with a wrong number of words.
fn wrong_subcommand(call: &Call<'_>) -> Error {
    Error::other(format!(
        "ERR unknown subcommand or wrong number of arguments for '{:.128}'. Try ACL HELP.",
        call.text(1)
    ))
}

fn map(fields: Vec<(&'static str, Reply)>) -> Reply {
    Reply::Map(fields.into_iter().map(|(name, value)| (Reply::text(name), value)).collect())
}

fn bulk(bytes: Vec<u8>) -> Reply {
    Reply::Bulk(Bytes::from(bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::command::base::Session;
    use crate::command::tests::harness::{Harness, session, shown};

    /// A server with a user of these rules, whose session the harness has; the other is the administrator's.
    fn with_user(rules: &str) -> (Harness, Session) {
        let mut h = Harness::new();
        h.expect(&[("STORE CREATE orders", "OK"), ("STORE CREATE secret", "OK")]);
        h.expect(&[(&format!("ACL SETUSER ada on >pw {rules}"), "OK")]);
        let mut administrator = session(&h.server);
        h.swap(&mut administrator);
        h.expect(&[("AUTH ada pw", "OK")]);
        (h, administrator)
    }

    fn no_store(store: &str) -> String {
        format!("-NOPERM User ada has no permissions to access the '{store}' store")
    }

    #[test]
    fn a_user_is_kept_to_its_stores() {
        let (mut h, _) = with_user("~* +@all store=orders store=1?");
        let (zero, secret, all) = (no_store("0"), no_store("secret"), no_store("*"));
        h.expect(&[
            ("GET k", &zero),
            ("DBSIZE", &zero),
            ("KEYS *", &zero),
            ("WATCH k", &zero),
            ("STORE INFO", &zero),
            ("SELECT secret", &secret),
            ("SELECT 17", &no_store("17")),
            ("SELECT orders", "OK"),
            ("SET k 1", "OK"),
            ("COPY k l DB secret", &secret),
            ("COPY k l REPLACE db 17", &no_store("17")),
            ("COPY k l DB 12", "1"),
            ("MOVE k 0", &zero),
            ("SWAPDB secret orders", &secret),
            ("SWAPDB orders secret", &secret),
            ("FLUSHALL", &all),
            ("STORE DROP secret FORCE", &secret),
            ("STORE ENTRIES secret", &secret),
            ("STORE INFO secret", &secret),
            ("STORE SET secret values any", &secret),
            ("STORE RENAME orders secret", &secret),
            ("STORE RENAME orders mine", &no_store("mine")),
            ("STORE CREATE mine", &no_store("mine")),
            ("SELECT nothing", &no_store("nothing")),
            ("GET k", r#""1""#),
            ("FLUSHDB", "OK"),
            ("SELECT 16", "OK"),
        ]);
        let list = shown(&h.run("STORE LIST"));
        assert!(list.contains("orders") && list.contains(r#""12""#) && !list.contains("secret"), "{list}");
    }

    #[test]
    fn no_store_is_created_for_who_may_not_use_it() {
        let (mut h, mut administrator) = with_user("~* +@all store=orders");
        h.server.config.update(|settings| settings.auto_create_stores = true);
        h.expect(&[("SELECT mine", &no_store("mine")), ("COPY a b DB mine", &no_store("mine"))]);
        h.swap(&mut administrator);
        assert!(!shown(&h.run("STORE LIST")).contains("mine"));
    }

    #[test]
    fn a_session_begins_in_the_default_store_of_its_user() {
        let (mut h, mut administrator) = with_user("~* +@all store=orders default-store=orders");
        assert_eq!(h.session.store, 16);
        h.expect(&[("SET k 1", "OK"), ("RESET", "RESET")]);
        assert_eq!(h.session.store, 0);
        h.run("HELLO 3 AUTH ada pw");
        h.expect(&[("GET k", r#""1""#)]);

        h.swap(&mut administrator);
        h.expect(&[
            ("ACL SETUSER default default-store=secret", "OK"),
            ("ACL SETUSER eve on nopass default-store=gone", "OK"),
            ("AUTH eve x", "-NOSTORE no store is named 'gone'; create it with STORE CREATE"),
            ("ACL WHOAMI", r#""default""#),
        ]);
        assert_eq!(session(&h.server).store, 17);
        h.expect(&[("STORE DROP secret FORCE", "OK")]);
        h.session = session(&h.server);
        assert!(shown(&h.run("SET k 1")).starts_with("-NOSTORE "), "rather than into store 0");
    }

    #[test]
    fn permissions_change_while_a_session_lasts() {
        let (mut h, mut administrator) = with_user("~* +@all");
        h.expect(&[("MULTI", "OK"), ("SET a 1", "QUEUED"), ("PING", "QUEUED"), ("GET a", "QUEUED")]);
        h.swap(&mut administrator);
        h.expect(&[("ACL SETUSER ada -set resetkeys", "OK")]);
        h.swap(&mut administrator);
        let changed = "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. \
                       This command is no longer allowed for the following reason: no permission to";
        h.expect(&[
            (
                "EXEC",
                &format!(
                    "[-{changed} execute the command or subcommand, PONG, -{changed} touch the specified keys]"
                ),
            ),
            ("SET a 1", "-NOPERM User ada has no permissions to run the 'set' command"),
            ("GET a", "-NOPERM No permissions to access a key"),
        ]);
    }

    #[test]
    fn a_transaction_may_select_a_permitted_store_first() {
        let (mut h, _) = with_user("~* +@all store=orders");
        h.expect(&[
            ("MULTI", "OK"),
            ("SELECT orders", "QUEUED"),
            ("SET k 1", "QUEUED"),
            ("EXEC", "[OK, OK]"),
            ("MULTI", "OK"),
            ("SELECT secret", &no_store("secret")),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
        ]);
    }

    #[test]
    fn a_deleted_user_is_gone_at_once() {
        let (mut h, mut administrator) = with_user("~* +@all");
        h.swap(&mut administrator);
        h.expect(&[("ACL DELUSER ada ada nobody", "1"), ("AUTH ada pw", &wrong_password())]);
        assert!(administrator.client.kill.is_raised());
        h.swap(&mut administrator);
        h.expect(&[("GET a", "-NOPERM User ada has no permissions to run the 'get' command")]);

        let (mut h, _) = with_user("~* +@all");
        h.expect(&[("ACL DELUSER ada", "1")]);
        assert!(h.session.closing && !h.session.client.kill.is_raised(), "after its reply");
    }

    fn wrong_password() -> String {
        format!("-{}", Error::WrongPass)
    }

    #[test]
    fn what_is_refused_is_written_down() {
        let (mut h, mut administrator) = with_user("~a +get +multi +exec store=0 &news");
        for line in ["SET a 1", "GET b", "GET b", "AUTH ada wrong", "MULTI", "GET c"] {
            h.run(line);
        }
        h.swap(&mut administrator);
        let entries = h.server.acl.log.latest(10);
        let told: Vec<_> = entries
            .iter()
            .map(|entry| {
                let incident = &entry.incident;
                let object = String::from_utf8_lossy(&incident.object).into_owned();
                (incident.reason, incident.context.as_str(), object, entry.count)
            })
            .collect();
        assert_eq!(
            told,
            [
                (Reason::Key, "multi", "c".to_owned(), 1),
                (Reason::Auth, "toplevel", "AUTH".to_owned(), 1),
                (Reason::Key, "toplevel", "b".to_owned(), 2),
                (Reason::Command, "toplevel", "set".to_owned(), 1),
            ]
        );
        let log = shown(&h.run("ACL LOG 1"));
        for part in [r#""username": "ada""#, " cmd=get user=ada ", r#""entry-id": 3"#, "timestamp-created"] {
            assert!(log.contains(part), "{part} in {log}");
        }
        h.expect(&[("ACL LOG -1", "[]"), ("CONFIG SET acllog-max-len 0", "OK"), ("ACL LOG RESET", "OK")]);
        h.expect(&[("AUTH ada wrong", &wrong_password()), ("ACL LOG", "[]")]);

        h.swap(&mut administrator);
        for line in ["SUBSCRIBE olds", "SELECT 1", r#"EVAL "return 1" 0"#] {
            h.run(line);
        }
        h.swap(&mut administrator);
        // as in Redis, these count on whatever the log keeps
        h.expect(&[("CONFIG RESETSTAT", "OK")]);
        let info = shown(&h.run("INFO stats"));
        for (reason, count) in [("auth", 2), ("cmd", 4), ("key", 3), ("channel", 0), ("store", 0)] {
            let field = format!("acl_access_denied_{reason}:{count}\\r\\n");
            assert!(info.contains(&field), "{field} in {info}");
        }
    }

    #[test]
    fn the_log_tells_the_command_that_the_client_sent() {
        let (mut h, mut administrator) = with_user("~a +get +multi +exec +eval");
        h.run(r#"EVAL "return redis.call('get', 'b')" 0"#);
        h.expect(&[("MULTI", "OK"), ("GET a", "QUEUED")]);
        h.swap(&mut administrator);
        let log = shown(&h.run("ACL LOG 1"));
        assert!(log.contains(r#""context": "lua""#) && log.contains(" cmd=eval "), "{log}");
        h.expect(&[("ACL SETUSER ada resetkeys", "OK")]);
        h.swap(&mut administrator);
        h.run("EXEC");
        h.swap(&mut administrator);
        let log = shown(&h.run("ACL LOG 1"));
        assert!(log.contains(r#""context": "multi""#) && log.contains(" cmd=exec "), "{log}");
    }

    /// Rules that were written for a Redis.
    #[test]
    fn rules_may_name_commands_that_only_redis_has() {
        let mut h = Harness::new();
        let rules = "on nopass ~* +@all -hset +cluster|info +readonly +fcall -xadd";
        h.expect(&[(&format!("ACL SETUSER ada {rules}"), "OK")]);
        let list = shown(&h.run("ACL LIST"));
        assert!(list.contains("+@all -hset +cluster|info +readonly +fcall -xadd"), "{list}");
        h.expect(&[(
            "ACL SETUSER ada +nonsense",
            "-ERR Error in ACL SETUSER modifier '+nonsense': Unknown command or category name in ACL",
        )]);
    }

    #[test]
    fn dry_runs() {
        let (mut h, mut administrator) = with_user("%R~r +get +set +select store=orders");
        h.swap(&mut administrator);
        h.expect(&[
            ("ACL DRYRUN ada GET r", "\"User ada has no permissions to access the \\'0\\' store\""),
            ("SELECT orders", "OK"),
            ("ACL DRYRUN ada GET r", "OK"),
            ("ACL DRYRUN ada SET r 1", "\"User ada has no permissions to access the \\'r\\' key\""),
            ("ACL DRYRUN ada DEL r", "\"User ada has no permissions to run the \\'del\\' command\""),
            ("ACL DRYRUN ada SELECT 0", "\"User ada has no permissions to access the \\'0\\' store\""),
            ("ACL LOG", "[]"),
        ]);
    }

    #[test]
    fn what_a_user_has_is_told() {
        let (mut h, mut administrator) =
            with_user("~a %R~b &c +@read -get store=o* default-store=orders (store=0 ~x +set)");
        h.swap(&mut administrator);
        let told = shown(&h.run("ACL GETUSER ada"));
        let rest = told.split_once("], \"commands\"").unwrap().1;
        assert_eq!(
            rest,
            r#": "-@all +@read -get", "keys": "~a %R~b", "channels": "&c", "stores": "store=o*", "selectors": [{"commands": "-@all +set", "keys": "~x", "channels": "", "stores": "store=0"}], "default-store": "orders"}"#
        );
        let list = shown(&h.run("ACL LIST"));
        assert!(
            list.contains(
                "default-store=orders ~a %R~b resetchannels &c store=o* -@all +@read -get (~x resetchannels store=0 \
                 -@all +set)\", \"user default on nopass sanitize-payload ~* &* +@all\"]"
            ),
            "{list}"
        );
        h.expect(&[("ACL USERS", r#"["ada", "default"]"#), ("ACL GETUSER nobody", "nil")]);
    }

    #[test]
    fn passwords_are_made_of_random_bits() {
        let mut h = Harness::new();
        let length = |reply: Reply| shown(&reply).len() - 2;
        assert_eq!(length(h.run("ACL GENPASS")), 64);
        assert_eq!(length(h.run("ACL GENPASS 5")), 2);
        assert_eq!(length(h.run("ACL GENPASS 4096")), 1024);
        assert_ne!(h.run("ACL GENPASS"), h.run("ACL GENPASS"));
        assert!(shown(&h.run("ACL GENPASS 4097")).starts_with("-ERR ACL GENPASS argument must be"));
    }

    #[test]
    fn the_password_setting_is_that_of_the_default_user() {
        let mut h = Harness::new();
        h.expect(&[("CONFIG SET requirepass a", "OK"), ("PING", "PONG")]);
        h.session = session(&h.server);
        h.expect(&[
            ("PING", "-NOAUTH Authentication required."),
            ("AUTH a", "OK"),
            ("ACL SETUSER default >b", "OK"),
            ("CONFIG SET timeout 5", "OK"),
            ("AUTH b", "OK"),
        ]);
        let mut stranger = session(&h.server);
        h.expect(&[("CONFIG SET requirepass \"\"", "OK")]);
        h.swap(&mut stranger);
        h.expect(&[("PING", "PONG"), ("ACL WHOAMI", r#""default""#)]);
    }

    /// What CONFIG SET requirepass "" refuses must not be possible in another way.
    #[test]
    fn rules_open_no_server_that_is_reachable_from_outside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.acl");
        std::fs::write(&path, "user default on nopass sanitize-payload ~* &* +@all\n").unwrap();
        let mut h = Harness::new();
        h.expect(&[("CONFIG SET requirepass a", "OK")]);
        h.server.config.update(|settings| {
            settings.bind = vec!["0.0.0.0".into()];
            settings.aclfile = Some(path);
        });
        for line in ["ACL SETUSER default nopass", "ACL SETUSER default reset on nopass", "ACL LOAD"] {
            let told = shown(&h.run(line));
            assert!(told.starts_with("-ERR bind 0.0.0.0 would let others"), "{line}: {told}");
            assert!(h.server.acl.asks_for_password(), "{line}");
        }
        h.expect(&[("ACL SETUSER default off nopass", "OK"), ("ACL SETUSER ada on nopass", "OK")]);
        h.server.config.update(|settings| settings.protected_mode = false);
        h.expect(&[("ACL SETUSER default on", "OK")]);
    }

    #[test]
    fn users_are_saved_and_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.acl");
        let mut h = Harness::new();
        h.expect(&[("ACL SAVE", &format!("-ERR {NO_FILE}")), ("ACL LOAD", &format!("-ERR {NO_FILE}"))]);
        h.server.config.update(|settings| settings.aclfile = Some(path.clone()));
        h.expect(&[("ACL SETUSER ada on nopass +get", "OK"), ("ACL SETUSER bob on nopass +get", "OK")]);
        h.expect(&[("ACL SAVE", "OK"), ("ACL SETUSER bob +set", "OK"), ("ACL SETUSER eve on nopass", "OK")]);
        let clients = ["ada", "bob", "eve"].map(|name| {
            let mut other = session(&h.server);
            h.swap(&mut other);
            h.expect(&[(&format!("AUTH {name} x"), "OK")]);
            h.swap(&mut other);
            other.client
        });
        h.expect(&[("ACL LOAD", "OK")]);
        assert_eq!(clients.map(|client| client.kill.is_raised()), [false, true, true]);
        h.expect(&[("ACL USERS", r#"["ada", "bob", "default"]"#)]);
        std::fs::write(&path, "user ada on +foo\n").unwrap();
        h.expect(&[(
            "ACL LOAD",
            &format!(
                "-ERR {}:1: Error in applying operation '+foo': Unknown command or category name in ACL. WARNING: ACL errors detected, no change to the \
                 previously active ACL rules was performed",
                path.display()
            ),
        )]);
        h.expect(&[("ACL USERS", r#"["ada", "bob", "default"]"#)]);
    }

    #[test]
    fn users_of_the_settings_file_are_there_at_the_start() {
        let mut h = Harness::new();
        let load = |h: &Harness, users: &[&str]| {
            let users = users.iter().map(ToString::to_string).collect();
            h.server.config.update(|settings| settings.users = users);
            load_at_start(&h.server)
        };
        assert_eq!(load(&h, &["ada on >pw (+get ~a store=orders)", "default off"]), Ok(()));
        h.expect(&[
            ("AUTH default x", &wrong_password()),
            ("AUTH ada pw", "OK"),
            ("GET a", "-NOPERM User ada has no permissions to access the '0' store"),
        ]);
        assert_eq!(
            load(&h, &["bob on +foo"]).unwrap_err(),
            "user 'bob': rule '+foo': Unknown command or category name in ACL"
        );
        assert!(load(&h, &["  "]).is_err() && load(&h, &["bob (+get"]).is_err());
    }
}
