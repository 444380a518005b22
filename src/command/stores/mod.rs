//! STORE: lists, describes, creates, changes and drops stores.
//!
//! A store may be named by its name or by its number. Numbered stores, as many as the setting `databases` says, always
//! exist: they can be listed, looked into and set up, but not renamed or dropped.
//!
//! A connection that drops a store still has it selected, like all others that had: their next command fails with
//! NOSTORE until they SELECT another. Moving them to another store would let commands that were meant for the dropped
//! store work on that one.
//!
//! Commands that change the list of stores can't be in a MULTI, because a transaction sees the stores as they were when
//! it began.

pub mod backup;
pub mod database;
pub mod links;
pub mod settings;
mod tree;

use std::ops::ControlFlow;

use crate::acl::Access;
use crate::command::base::reach::Stores;
use crate::command::base::table::help;
use crate::command::base::{Call, Flags, Group, Plan, Spec, control, permission, write};
use crate::command::keys::scan::{Page, bulk, with_cursor};
use crate::engine::{Status, WriteTxn, Writer};
use crate::error::Error;
use crate::limits::ENTRIES_PAGE_BYTES;
use crate::resp::Reply;
use crate::store::Definition;
use crate::store::catalog::check_name;
use crate::store::eviction::Order;
use crate::store::{Store, Usage, ValueKind};

pub static COMMANDS: &[Spec] = &[Spec {
    name: "store",
    summary: "Manages stores",
    group: Group::Store,
    since: "0.1.0",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: SUBCOMMANDS,
    ..Spec::DEFAULT
}];

const SUBCOMMAND: Spec = Spec { group: Group::Store, since: "0.1.0", ..Spec::DEFAULT };
const ASKING: Spec = Spec { flags: Flags::READONLY.union(Flags::LONG), ..SUBCOMMAND };
const CHANGING: Spec = Spec { flags: Flags::WRITE.union(Flags::NO_MULTI), ..SUBCOMMAND };
/// The flags of a command that changes a store as a whole, and with it the fate of every record in it.
const MANAGING: Spec =
    Spec { flags: CHANGING.flags.union(Flags::ADMINISTRATION), all_keys: Access::all(), ..CHANGING };

static SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "store|create",
        syntax: "name [setting value ...]",
        summary: "Creates a store, with the settings of STORE SET; without VALUES it takes what default-values says",
        arity: -3,
        stores: Stores::THIRD_WORD,
        plan: create,
        ..CHANGING
    },
    Spec {
        name: "store|drop",
        is_harmful: true,
        syntax: "name [FORCE]",
        summary: "Removes a store with all its records. Without FORCE, fails if workflows are linked to it or other connections have it selected",
        complexity: "O(N) where N is the number of connections",
        arity: -3,
        flags: MANAGING.flags.union(Flags::FLUSHES),
        stores: Stores::THIRD_WORD,
        plan: drop_store,
        ..MANAGING
    },
    Spec {
        name: "store|entries",
        syntax: "name [CURSOR cursor] [MATCH pattern] [COUNT count] [WITHMETA]",
        summary: "Returns a page of records as key, value and remaining milliseconds (-1: forever), and a cursor to go on with; WITHMETA adds version, deadline in milliseconds since 1970 (-1: none), and bytes plain and as stored",
        complexity: "O(count)",
        arity: -3,
        stores: Stores::THIRD_WORD,
        plan: entries,
        ..ASKING
    },
    tree::TREE,
    Spec {
        name: "store|info",
        syntax: "[name]",
        summary: "Describes a store, by default the selected one",
        complexity: "O(N) where N is the number of connections",
        arity: -2,
        stores: Stores::THIRD_WORD,
        plan: info,
        ..ASKING
    },
    Spec {
        name: "store|link",
        syntax: "name workflow",
        summary: "Links a workflow to a store, so that the store isn't dropped by accident; returns whether the link is new",
        arity: 4,
        stores: Stores::THIRD_WORD,
        plan: links::link,
        ..CHANGING
    },
    Spec {
        name: "store|links",
        syntax: "name",
        summary: "Returns the users of a store: linked workflows, and connections that have it selected",
        complexity: "O(N) where N is the number of connections",
        arity: 3,
        stores: Stores::THIRD_WORD,
        plan: links::links,
        ..ASKING
    },
    Spec {
        name: "store|list",
        summary: "Describes all stores in the order of their numbers, except numbered ones that are empty and unchanged",
        complexity: "O(N) where N is the number of stores",
        arity: 2,
        stores: Stores::None,
        plan: list,
        ..ASKING
    },
    Spec {
        name: "store|rename",
        syntax: "name newname",
        summary: "Renames a store; its number and records stay",
        arity: 4,
        stores: Stores::Named { first: 2, last: 3 },
        plan: rename,
        ..MANAGING
    },
    Spec {
        name: "store|set",
        is_harmful: true,
        syntax: "name setting value [setting value ...]",
        summary: "Changes settings of a store: values (json only while it is empty), max-keys, max-bytes, evict, default-ttl, retention, max-keys-per-query (0: any number); none removes a limit",
        arity: -5,
        stores: Stores::THIRD_WORD,
        plan: |_| control(set),
        ..MANAGING
    },
    Spec {
        name: "store|unlink",
        syntax: "name workflow",
        summary: "Removes the link between a workflow and a store; returns whether there was one",
        arity: 4,
        stores: Stores::THIRD_WORD,
        plan: links::unlink,
        ..CHANGING
    },
    Spec { name: "store|help", summary: "Lists the subcommands", arity: 2, plan: help, ..SUBCOMMAND },
];

fn create(call: &mut Call<'_>) -> Result<Plan, Error> {
    let name = check_name(call.arg(2))?.to_owned();
    let changes = settings::parse(call.rest(3))?;
    write(move |txn| {
        refuse_taken(txn, &name)?;
        let mut definition = Definition { name: Some(name), ..Definition::default() };
        settings::apply(&changes, &mut definition);
        txn.define(None, definition)?;
        Ok(Reply::OK)
    })
}

fn rename(call: &mut Call<'_>) -> Result<Plan, Error> {
    let id = call.server.known_store(call.arg(2))?;
    let name = check_name(call.arg(3))?.to_owned();
    write(move |txn| {
        let store = txn.store(id)?;
        match &store.name {
            None => return Err(Error::other("ERR numbered stores have no name to change")),
            Some(current) if **current == *name => return Ok(Reply::OK),
            Some(_) => refuse_taken(txn, &name)?,
        }
        txn.define(Some(id), Definition { name: Some(name), ..store.definition() })?;
        Ok(Reply::OK)
    })
}

fn refuse_taken(txn: &WriteTxn<'_>, name: &str) -> Result<(), Error> {
    match txn.store_named(name) {
        Some(_) => Err(Error::StoreExists(name.to_owned())),
        None => Ok(()),
    }
}

fn drop_store(call: &mut Call<'_>) -> Result<Plan, Error> {
    let force = match call.args.len() {
        3 => false,
        4 if call.is(3, "force") => true,
        _ => return Err(Error::Syntax),
    };
    let id = call.server.known_store(call.arg(2))?;
    let connections = if force { Vec::new() } else { links::other_connections(call, id) };
    write(move |txn| {
        let store = txn.store(id)?;
        if store.name.is_none() {
            return Err(Error::other("ERR numbered stores always exist; use FLUSHDB"));
        }
        if !force {
            links::refuse_used(store, connections)?;
        }
        txn.drop_store(id)?;
        Ok(Reply::OK)
    })
}

fn set(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    let id = call.server.known_store(call.arg(2))?;
    if call.args.len().is_multiple_of(2) {
        return Err(call.arity_error());
    }
    let changes = settings::parse(call.rest(3))?;
    // expired records are no reason to refuse; if they can't be removed now, they count
    let _ = engine.remove_due(call.now_ms);
    write(move |txn| {
        let store = txn.store(id)?;
        let mut definition = store.definition();
        settings::apply(&changes, &mut definition);
        let becomes_json = txn.kind(id)? == ValueKind::Any && txn.kind_of(&definition) == ValueKind::Json;
        if becomes_json && store.usage.records > 0 {
            let (label, records) = (store.label(), store.usage.records);
            return Err(Error::other(format!(
                "ERR store '{label}' holds {records} records that may not be JSON; 'values' becomes json only while it is empty"
            )));
        }
        txn.define(Some(id), definition)?;
        Ok(Reply::OK)
    })
}

fn list(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (engine, defaults) = (&call.server.engine, Defaults::of(call));
    let usages = engine.usages(call.now_ms)?;
    let used = |store: &Store| usages.get(&store.id).copied().unwrap_or_default();
    let stores = engine.with_catalog(|catalog| {
        let shown = catalog
            .iter()
            .filter(|store| used(store).records > 0 || store.definition() != Definition::default())
            .filter(|store| permission::may_use_store(call.session, &store.label()));
        shown.map(|store| Reply::Map(description(store, &used(store), &defaults))).collect()
    });
    Ok(Plan::Reflecting(Reply::Array(stores), engine.last_seq()))
}

fn info(call: &mut Call<'_>) -> Result<Plan, Error> {
    let id = match call.args.len() {
        2 => call.session.store,
        3 => call.server.known_store(call.arg(2))?,
        _ => return Err(Error::Syntax),
    };
    let (engine, defaults) = (&call.server.engine, Defaults::of(call));
    let usages = engine.usages(call.now_ms)?;
    let store = engine.store(id).ok_or_else(|| Error::NoStore(id.to_string()))?;
    let usage = usages.get(&id).copied().unwrap_or_default();
    let mut lines = description(&store, &usage, &defaults);
    let clients = call.server.clients.all().iter().filter(|client| client.store() == id).count();
    lines.push((Reply::text("clients"), Reply::Integer(clients as i64)));
    let Status { file_live_bytes, file_free_bytes, journal, .. } = engine.status();
    // one file holds all stores, so what is free in it is free for each
    let directory = [
        ("directory_live_bytes", file_live_bytes),
        ("directory_free_bytes", file_free_bytes),
        ("directory_journal_bytes", journal.disk_bytes),
    ];
    lines.extend(directory.map(|(name, bytes)| (Reply::text(name), Reply::Integer(bytes as i64))));
    Ok(Plan::Reflecting(Reply::Map(lines), engine.last_seq()))
}

/// What the server says where a store says nothing.
struct Defaults {
    kind: ValueKind,
    keys_per_query: u64,
}

impl Defaults {
    fn of(call: &Call<'_>) -> Defaults {
        Defaults {
            kind: call.server.engine.default_kind(),
            keys_per_query: call.server.config.max_keys_per_query() as u64,
        }
    }
}

/// The description of a store. Its name is what SELECT takes: for a numbered store the number.
fn description(store: &Store, usage: &Usage, defaults: &Defaults) -> Vec<(Reply, Reply)> {
    let count = |number: u64| Reply::Integer(number as i64);
    let lines = [
        ("number", count(store.id.into())),
        ("name", Reply::text(store.label())),
        ("values", Reply::text(store.kind.unwrap_or(defaults.kind).as_str())),
        ("records", count(usage.records)),
        ("expiring", count(usage.expiring)),
        ("plain_bytes", count(usage.plain_bytes)),
        ("stored_bytes", count(usage.stored_bytes)),
        ("ratio", Reply::Double((usage.ratio() * 100.0).round() / 100.0)),
        ("max_keys", settings::limit(store.quota.max_keys)),
        ("max_bytes", settings::limit(store.quota.max_bytes)),
        ("evict", Reply::text(store.quota.evict.map_or("none", Order::as_str))),
        ("default_ttl_ms", settings::limit(store.quota.default_ttl_ms)),
        ("retention_ms", settings::limit(store.quota.retention_ms)),
        (
            "max_keys_per_query",
            settings::limit(store.quota.max_keys_per_query.or(Some(defaults.keys_per_query))),
        ),
        ("links", count(store.links.len() as u64)),
    ];
    lines.into_iter().map(|(name, value)| (Reply::text(name), value)).collect()
}

fn entries(call: &mut Call<'_>) -> Result<Plan, Error> {
    let store = call.server.known_store(call.arg(2))?;
    let mut page = Page::new(b"0")?;
    let (options, with_meta) = match call.rest(3) {
        [options @ .., last] if options.len().is_multiple_of(2) && last.eq_ignore_ascii_case(b"withmeta") => {
            (options, true)
        }
        options => (options, false),
    };
    for option in options.chunks(2) {
        match option {
            [name, cursor] if name.eq_ignore_ascii_case(b"cursor") => page.set_cursor(cursor)?,
            [name, value] => page.set(name, value)?,
            _ => return Err(Error::Syntax),
        }
    }
    let (mut entries, mut bytes) = (Vec::new(), 0);
    let (cursor, reflects) = page.visit(call, store, Access::READ, &mut |row| {
        let Some(record) = row.record()? else { return Ok(ControlFlow::Continue(())) };
        let plain_bytes = row.key().len() + record.value.len();
        bytes += plain_bytes;
        let deadline_ms = record.expires_at_ms.map_or(-1, |deadline| deadline as i64);
        let remaining_ms =
            record.expires_at_ms.map_or(-1, |deadline| deadline.saturating_sub(call.now_ms) as i64);
        let mut entry = vec![bulk(row.key()), Reply::Bulk(record.value), Reply::Integer(remaining_ms)];
        if with_meta {
            let stored_bytes = row.meta().map_or(0, |meta| meta.stored_bytes);
            let meta = [record.version as i64, deadline_ms, plain_bytes as i64, stored_bytes as i64];
            entry.extend(meta.map(Reply::Integer));
        }
        entries.push(Reply::Array(entry));
        Ok(if bytes >= ENTRIES_PAGE_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(Plan::Reflecting(with_cursor(cursor, entries), reflects))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::command::base::Session;
    use crate::command::stores::*;
    use crate::command::tests::harness::{Harness, session, shown};
    use crate::engine::Expiry;
    use crate::store::{Key, StoreId, Value};

    /// A further connection, by that name and with that store selected.
    fn connect(h: &Harness, name: &str, store: StoreId) -> Session {
        let mut session = session(&h.server);
        *session.client.name.lock() = name.into();
        session.select(store);
        session
    }

    #[test]
    fn stores_are_created_by_name_and_reached_by_number() {
        let mut h = Harness::new();
        h.expect(&[
            ("STORE CREATE orders", "OK"),
            ("STORE CREATE orders", "-STOREEXISTS a store named 'orders' exists already"),
            ("STORE CREATE strict VALUES json", "OK"),
            (
                "STORE CREATE odd VALUES foo",
                "-ERR 'values' is json, any, or none for what default-values says, not 'foo'",
            ),
            ("STORE CREATE odd VALUES", "-ERR syntax error"),
        ]);
        assert!(shown(&h.run("STORE CREATE 42")).starts_with("-ERR invalid store name"));
        h.session.select(17);
        assert!(shown(&h.run("STORE INFO")).contains(r#""name": "strict", "values": "json""#));
        assert!(shown(&h.run("STORE INFO 16")).contains(r#""name": "orders", "values": "any""#));
    }

    #[test]
    fn a_renamed_store_keeps_number_settings_and_records() {
        let mut h = Harness::new();
        h.expect(&[("STORE CREATE old VALUES json", "OK"), ("STORE CREATE other", "OK")]);
        h.session.select(16);
        h.expect(&[
            ("SET k 1", "OK"),
            ("STORE RENAME old new", "OK"),
            ("STORE RENAME new new", "OK"),
            ("GET k", r#""1""#),
            ("STORE RENAME new other", "-STOREEXISTS a store named 'other' exists already"),
            ("STORE RENAME old x", "-NOSTORE no store is named 'old'; create it with STORE CREATE"),
            ("STORE RENAME 3 x", "-ERR numbered stores have no name to change"),
        ]);
        let info = shown(&h.run("STORE INFO new"));
        assert!(info.starts_with(r#"{"number": 16, "name": "new", "values": "json""#), "{info}");
        assert!(shown(&h.run("STORE RENAME new 7")).starts_with("-ERR invalid store name"));
    }

    #[test]
    fn asking_for_a_store_does_not_create_it() {
        let mut h = Harness::new();
        h.server.config.update(|settings| settings.auto_create_stores = true);
        for line in
            ["STORE INFO x", "STORE DROP x", "STORE RENAME x y", "STORE ENTRIES x", "STORE SET x values any"]
        {
            assert!(shown(&h.run(line)).starts_with("-NOSTORE "), "{line}");
        }
        h.expect(&[("STORE LIST", "[]")]);
    }

    #[test]
    fn a_store_in_use_is_dropped_only_by_force() {
        let mut h = Harness::new();
        h.expect(&[("STORE CREATE orders", "OK")]);
        let named = connect(&h, "import-job", 16);
        let nameless = connect(&h, "", 16);
        h.session.select(16);
        let refusal = format!(
            "-INUSE store 'orders' is used by client id={} addr={}, import-job; close or unlink them, or drop it with FORCE",
            nameless.client.id, nameless.client.address
        );
        h.expect(&[
            ("STORE DROP orders", &refusal),
            ("STORE DROP orders NOW", "-ERR syntax error"),
            ("STORE DROP orders force", "OK"),
            ("STORE DROP 3", "-ERR numbered stores always exist; use FLUSHDB"),
            ("STORE CREATE orders", "OK"),
        ]);
        assert!(shown(&h.run("SET k 1")).starts_with("-NOSTORE "), "its number is not given again");
        h.session = named;
        assert!(shown(&h.run("GET k")).starts_with("-NOSTORE "));
    }

    #[test]
    fn who_drops_a_store_may_have_it_selected() {
        let mut h = Harness::new();
        h.expect(&[("STORE CREATE orders", "OK")]);
        h.session.select(16);
        h.expect(&[("STORE DROP orders", "OK")]);
        assert_eq!(h.session.store, 16);
    }

    #[test]
    fn a_refusal_names_some_of_many_users() {
        let mut h = Harness::new();
        h.expect(&[("STORE CREATE orders", "OK")]);
        (0..12).for_each(|at| drop(connect(&h, &format!("job-{}", at % 10), 16)));
        let refusal = shown(&h.run("STORE DROP orders"));
        assert!(refusal.contains("job-6, job-7, 2 more; "), "{refusal}");
    }

    #[test]
    fn values_become_json_only_while_there_are_none() {
        let mut h = Harness::new();
        h.expect(&[("STORE CREATE orders VALUES any", "OK")]);
        h.session.select(16);
        h.expect(&[
            ("SET k <html>", "OK"),
            (
                "STORE SET orders values json",
                "-ERR store 'orders' holds 1 records that may not be JSON; 'values' becomes json only while it is empty",
            ),
            ("DEL k", "1"),
            ("STORE SET orders VALUES json", "OK"),
        ]);
        assert!(shown(&h.run("SET k <html>")).starts_with("-NOTJSON "));
        h.expect(&[
            ("STORE SET orders values any", "OK"),
            ("SET k <html>", "OK"),
            ("STORE SET orders values none", "OK"),
            ("STORE SET orders values any values", ARITY_OF_SET),
            ("STORE SET orders values", ARITY_OF_SET),
        ]);
    }

    const ARITY_OF_SET: &str = "-ERR wrong number of arguments for 'store|set' command";

    #[test]
    fn the_list_shows_named_stores_and_what_is_used_of_the_numbered() {
        let mut h = Harness::new();
        h.expect(&[("STORE LIST", "[]"), ("STORE CREATE orders", "OK"), ("STORE SET 7 values json", "OK")]);
        h.session.select(3);
        h.expect(&[("SET a 1", "OK")]);
        let list = shown(&h.run("STORE LIST"));
        let numbers: Vec<_> =
            list.split("\"number\": ").skip(1).filter_map(|line| line.split(',').next()).collect();
        assert_eq!(numbers, ["3", "7", "16"], "{list}");
    }

    #[test]
    fn counters_are_told() {
        let mut h = Harness::new();
        h.expect(&[
            ("SET key 1234567", "OK"),
            ("SET gone 1", "OK"),
            ("PEXPIREAT key 99999999999999", "1"),
            ("PEXPIRE gone 1", "1"),
        ]);
        std::thread::sleep(std::time::Duration::from_millis(5));
        let info = shown(&h.run("STORE INFO 0"));
        assert!(info.contains(r#""records": 1, "expiring": 1, "plain_bytes": 10, "#), "{info}");
        assert!(info.contains(r#", "clients": 1, "directory_live_bytes": "#), "{info}");
        assert!(info.contains(r#", "directory_free_bytes": 0, "directory_journal_bytes": "#), "{info}");
        h.expect(&[("STORE INFO 99", "-ERR DB index is out of range")]);
    }

    #[test]
    fn entries_come_in_pages() {
        let mut h = Harness::new();
        h.expect(&[("STORE CREATE orders", "OK")]);
        h.session.select(16);
        h.expect(&[("MSET a:1 1 a:2 2 b:1 3", "OK")]);
        h.session.select(0);
        h.expect(&[
            ("STORE ENTRIES orders MATCH a:*", r#"["0", [["a:1", "1", -1], ["a:2", "2", -1]]]"#),
            ("STORE ENTRIES orders MATCH b:1", r#"["0", [["b:1", "3", -1]]]"#),
            ("STORE ENTRIES orders CURSOR x", "-ERR invalid cursor"),
            ("STORE ENTRIES orders COUNT", "-ERR syntax error"),
            ("STORE ENTRIES orders WITHMETA COUNT 1", "-ERR syntax error"),
        ]);
        let page = shown(&h.run("STORE ENTRIES 16 COUNT 2"));
        let cursor = page.split('"').nth(1).unwrap();
        h.expect(&[(
            &format!("STORE ENTRIES orders COUNT 2 CURSOR {cursor}"),
            r#"["0", [["b:1", "3", -1]]]"#,
        )]);
    }

    #[test]
    fn entries_tell_what_is_known_of_them() {
        let mut h = Harness::new();
        h.expect(&[("SET k 12 PXAT 99999999999999", "OK")]);
        let meta = h.meta("k").unwrap();
        let told = shown(&h.run("STORE ENTRIES 0 MATCH k WITHMETA"));
        let (version, stored_bytes) = (meta.version, meta.stored_bytes);
        assert!(told.ends_with(&format!(", {version}, 99999999999999, 3, {stored_bytes}]]]")), "{told}");
    }

    #[test]
    fn a_page_of_large_entries_ends_early() {
        let mut h = Harness::new();
        let keys = ["a", "b", "c"].map(|name| Key::new(0, name.into()));
        let large = bytes::Bytes::from(vec![b'x'; ENTRIES_PAGE_BYTES / 2]);
        let put = |txn: &mut WriteTxn<'_>| {
            keys.iter().try_for_each(|key| txn.put(key, Value::unchecked(large.clone()), Expiry::Never))
        };
        h.server.engine.writer().write(0, &keys, put).unwrap();
        match h.run("STORE ENTRIES 0") {
            Reply::Array(parts) => {
                assert_ne!(shown(&parts[0]), r#""0""#);
                assert!(matches!(&parts[1], Reply::Array(entries) if entries.len() == 2));
            }
            other => panic!("{other:?}"),
        }
    }
}
