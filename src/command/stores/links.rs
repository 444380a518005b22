//! STORE LINK, UNLINK and LINKS: who uses a store.
//!
//! A linked workflow uses the store whether it is connected or not, and across restarts; a connection uses the store
//! that it has selected. Both keep STORE DROP from dropping it.

use std::collections::BTreeSet;

use crate::command::base::{Call, Plan, write};
use crate::engine::WriteTxn;
use crate::error::Error;
use crate::limits::{STORE_LINKS_MAX, STORE_NAME_BYTES_MAX};
use crate::resp::Reply;
use crate::store::Definition;
use crate::store::{Store, StoreId};
use crate::text;

/// A refusal names so many users of a store, and counts the others.
const USERS_NAMED_MAX: usize = 8;

pub fn link(call: &mut Call<'_>) -> Result<Plan, Error> {
    let id = call.server.known_store(call.arg(2))?;
    let workflow = check_workflow(call.arg(3))?;
    write(move |txn| {
        let store = txn.store(id)?;
        if store.links.contains(&workflow) {
            return Ok(Reply::Integer(0));
        }
        if store.links.len() >= STORE_LINKS_MAX {
            let label = store.label();
            return Err(Error::other(format!(
                "ERR store '{label}' has {STORE_LINKS_MAX} linked workflows, which is the most it can have"
            )));
        }
        change(txn, id, |links| links.insert(workflow))
    })
}

pub fn unlink(call: &mut Call<'_>) -> Result<Plan, Error> {
    let id = call.server.known_store(call.arg(2))?;
    let workflow = check_workflow(call.arg(3))?;
    write(move |txn| {
        if !txn.store(id)?.links.contains(&workflow) {
            return Ok(Reply::Integer(0));
        }
        change(txn, id, |links| links.remove(&workflow))
    })
}

fn change(
    txn: &mut WriteTxn<'_>,
    id: StoreId,
    change: impl FnOnce(&mut BTreeSet<String>) -> bool,
) -> Result<Reply, Error> {
    let mut definition: Definition = txn.store(id)?.definition();
    let changed = change(&mut definition.links);
    txn.define(Some(id), definition)?;
    Ok(Reply::Integer(i64::from(changed)))
}

pub fn links(call: &mut Call<'_>) -> Result<Plan, Error> {
    let id = call.server.known_store(call.arg(2))?;
    let clients = connections(call, |client| client.store() == id);
    let engine = &call.server.engine;
    let store = engine.store(id).ok_or_else(|| Error::NoStore(id.to_string()))?;
    let texts = |names: Vec<String>| Reply::Array(names.into_iter().map(Reply::text).collect());
    let lines = vec![
        (Reply::text("workflows"), texts(store.links.iter().cloned().collect())),
        (Reply::text("clients"), texts(clients)),
    ];
    Ok(Plan::Reflecting(Reply::Map(lines), engine.last_seq()))
}

/// The other connections that have a store selected.
pub fn other_connections(call: &Call<'_>, store: StoreId) -> Vec<String> {
    let own = call.session.client.id;
    connections(call, |client| client.store() == store && client.id != own)
}

/// Fails with INUSE if a store has linked workflows, or these connections.
pub fn refuse_used(store: &Store, connections: Vec<String>) -> Result<(), Error> {
    let workflows = store.links.iter().map(|workflow| format!("workflow {workflow}"));
    let mut users: Vec<String> = workflows.chain(connections).collect();
    if users.is_empty() {
        return Ok(());
    }
    if users.len() > USERS_NAMED_MAX {
        let more = users.split_off(USERS_NAMED_MAX).len();
        users.push(format!("{more} more"));
    }
    Err(Error::InUse { store: store.label(), users: users.join(", ") })
}

/// The names or addresses of connections, sorted and without duplicates.
fn connections(call: &Call<'_>, wanted: impl Fn(&crate::client::Client) -> bool) -> Vec<String> {
    let clients = call.server.clients.all();
    let names = clients.iter().filter(|client| wanted(client)).map(|client| {
        let name = client.name.lock();
        if name.is_empty() {
            format!("client id={} addr={}", client.id, client.address)
        } else {
            name.clone()
        }
    });
    BTreeSet::from_iter(names).into_iter().collect()
}

/// A workflow is named by 1 to [`STORE_NAME_BYTES_MAX`] bytes of printable UTF-8.
fn check_workflow(name: &[u8]) -> Result<String, Error> {
    match std::str::from_utf8(name) {
        Ok(text)
            if text.len() <= STORE_NAME_BYTES_MAX
                && !text.chars().any(text::is_control)
                && text::is_visible(text) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(Error::other(format!(
            "ERR invalid workflow name: it must have 1 to {STORE_NAME_BYTES_MAX} bytes of printable UTF-8"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use crate::command::tests::harness::{Harness, session, shown};

    #[test]
    fn workflows_are_linked_and_in_the_way_of_a_drop() {
        let mut h = Harness::new();
        h.expect(&[
            ("STORE CREATE orders", "OK"),
            ("STORE LINK orders billing", "1"),
            ("STORE LINK orders billing", "0"),
            ("STORE LINK orders 'nightly import'", "1"),
            ("STORE UNLINK orders other", "0"),
            ("STORE LINKS orders", r#"{"workflows": ["billing", "nightly import"], "clients": []}"#),
            (
                "STORE DROP orders",
                "-INUSE store 'orders' is used by workflow billing, workflow nightly import; close or unlink them, or drop it with FORCE",
            ),
            ("STORE RENAME orders sales", "OK"),
            ("STORE UNLINK sales billing", "1"),
            ("STORE UNLINK sales 'nightly import'", "1"),
            ("STORE DROP sales", "OK"),
            ("STORE LINK sales x", "-NOSTORE no store is named 'sales'; create it with STORE CREATE"),
            ("STORE CREATE again", "OK"),
            ("STORE LINK again billing", "1"),
            ("STORE DROP again FORCE", "OK"),
        ]);
        for name in ["''", &"x".repeat(129), r#""a\nb""#, r#""\xff""#, "\u{200b}", "a\u{202e}"] {
            h.expect(&[(
                &format!("STORE LINK 0 {name}"),
                "-ERR invalid workflow name: it must have 1 to 128 bytes of printable UTF-8",
            )]);
        }
    }

    #[test]
    fn links_tell_of_connections() {
        let mut h = Harness::new();
        let mut other = session(&h.server);
        other.select(3);
        *other.client.name.lock() = "worker".into();
        h.session.select(3);
        let address = h.session.client.address.clone();
        let id = h.session.client.id;
        let expected =
            format!(r#"{{"workflows": [], "clients": ["client id={id} addr={address}", "worker"]}}"#);
        assert_eq!(shown(&h.run("STORE LINKS 3")), expected);
    }

    #[test]
    fn links_are_bounded() {
        let mut h = Harness::new();
        for at in 0..crate::limits::STORE_LINKS_MAX {
            h.expect(&[(&format!("STORE LINK 0 w{at}"), "1")]);
        }
        assert!(
            shown(&h.run("STORE LINK 0 another")).starts_with("-ERR store '0' has 1024 linked workflows")
        );
        h.expect(&[("STORE LINK 0 w7", "0")]);
    }
}
