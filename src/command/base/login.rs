//! The user of a session: at its beginning, after AUTH, after RESET, and when its user is deleted.

use std::sync::Arc;

use crate::acl::Account;
use crate::client::Client;
use crate::command::base::{Server, Session, Shared, View};
use crate::engine::{Writer, clock};
use crate::error::Error;
use crate::push::channels::SubscriptionKind;
use crate::store::StoreId;

/// No store has this number. It is selected if the store in which a session should begin doesn't exist. Commands that
/// need a store then fail with NOSTORE.
const NO_STORE: StoreId = StoreId::MAX;

/// The session of a connection that was just opened.
pub fn begin(server: &Server, client: Arc<Client>) -> Session {
    let account = server.acl.default_account();
    *client.account.lock() = Some(account.clone());
    let mut session = Session::new(client, account, !server.acl.asks_for_password());
    enter_first_store(server.view(), server.engine.writer(), &mut session);
    session
}

/// Whether a session has to authenticate before it may do anything.
pub fn is_stranger(server: &Shared, session: &Session) -> bool {
    !session.authenticated && server.acl.asks_for_password()
}

/// Gives a session another user, and selects that user's first store. If this fails, the session keeps its user.
pub fn authenticate(
    server: View<'_>,
    engine: Writer<'_>,
    session: &mut Session,
    user: &[u8],
    password: &[u8],
) -> Result<(), Error> {
    let Some(account) = server.acl.authenticate(user, password) else {
        server.guesses.note(&session.client.address, user, clock::steady_ms());
        return Err(Error::WrongPass);
    };
    if let Some(store) = first_store(server, engine, &account)? {
        session.select(store);
    }
    session.become_user(account, true);
    Ok(())
}

/// Resets a session to its beginning (RESET).
pub fn reset(server: View<'_>, engine: Writer<'_>, session: &mut Session) {
    session.reset(server.acl.default_account(), !server.acl.asks_for_password());
    enter_first_store(server, engine, session);
}

/// Ends the connections of a user who was deleted or whose rules have changed. The session's own connection ends
/// after its reply.
pub fn end_sessions(server: &Shared, session: &mut Session, user: &str) {
    if server.clients.kill_user(user, session.client.id) {
        session.become_user(server.acl.default_account(), false);
        session.closing = true;
    }
}

/// Ends the connections of a user whose rules have changed, if they subscribe to channels that the user may no longer
/// use.
pub fn end_subscriptions(server: &Shared, session: &mut Session, user: &str) {
    let Some(account) = server.acl.get(user.as_bytes()) else { return };
    let rules = account.user();
    let deaf = server.push.channels.clients_with(|client, kind, name| {
        let is_theirs = client.is_of(user);
        is_theirs && !rules.may_use_channel(name, kind == SubscriptionKind::Pattern)
    });
    for client in deaf.values() {
        if client.id == session.client.id {
            session.closing = true;
        } else {
            server.clients.kill(client);
        }
    }
}

fn enter_first_store(server: View<'_>, engine: Writer<'_>, session: &mut Session) {
    match first_store(server, engine, &session.account.clone()) {
        Ok(None) => {}
        Ok(Some(store)) => session.select(store),
        // store 0 is not what the client means
        Err(_) => session.select(NO_STORE),
    }
}

/// The store that a user begins with (`default-store`), if it has one.
fn first_store(server: View<'_>, engine: Writer<'_>, account: &Account) -> Result<Option<StoreId>, Error> {
    let user = account.user();
    user.default_store().map(|store| server.find_store(store.as_bytes(), engine)).transpose()
}
