//! Decides whether a session's user may run a request, and makes the error if not.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::acl::{Access, Account, Context, Denied, Incident, Moment, Reason, Request, Sight};
use crate::command::base::queue::Queue;
use crate::command::base::{Call, Flags, Session, Shared, Spec, View, describe, reach};
use crate::engine::{Fill, clock};
use crate::error::Error;
use crate::store::StoreId;

/// Fails with NOPERM, and logs it, if the session's user may not run a request. The gate calls this for every request;
/// scripts call it for each of theirs.
#[inline]
pub fn check(
    server: View<'_>,
    session: &Session,
    spec: &'static Spec,
    args: &[Bytes],
    context: Context,
) -> Result<(), Error> {
    if session.account.is_unrestricted() {
        return Ok(());
    }
    // for commands in EXEC and scripts, the log shows EXEC or EVAL as the client's command
    session.client.last_command.store(server.commands.index(spec), Ordering::Relaxed);
    match refusal(server, session, spec, args, context) {
        None => Ok(()),
        Some(refusal) => Err(refusal.in_words()),
    }
}

/// Like [`check`], when EXEC runs queued commands: rules may have changed since.
#[inline]
pub fn check_again(
    server: View<'_>,
    session: &Session,
    spec: &'static Spec,
    args: &[Bytes],
) -> Result<(), Error> {
    match refusal(server, session, spec, args, Context::Multi) {
        None => Ok(()),
        Some(refusal) => Err(refusal.since_queued()),
    }
}

/// Like [`check`], for a command that a script of the session's user runs.
pub fn check_in_script(
    server: View<'_>,
    session: &Session,
    spec: &'static Spec,
    args: &[Bytes],
) -> Result<(), Error> {
    match refusal(server, session, spec, args, Context::Lua) {
        None => Ok(()),
        Some(refusal) => Err(refusal.in_script()),
    }
}

/// Whether the session's user may use a channel. A pattern must be allowed literally.
pub fn may_use_channel(session: &Session, channel: &[u8], literally: bool) -> bool {
    session.account.is_unrestricted() || session.account.user().may_use_channel(channel, literally)
}

/// The keys of a store that a command may show if its request names no keys: those to which its user has this access
/// ([`Access::empty`]: any access). The command must have passed the gate.
pub fn sight(call: &Call<'_>, store: StoreId, access: Access) -> Sight {
    let account = &call.session.account;
    if account.is_unrestricted() {
        return Sight::ALL;
    }
    let argument = call.args.get(call.spec.words_of_name()).map(|word| &**word);
    account.user().sight(
        call.server.commands.index(call.spec),
        argument,
        &call.server.store_label(store),
        access,
    )
}

/// Whether the session's user may know about a store, by its name.
pub fn may_use_store(session: &Session, label: &str) -> bool {
    session.account.is_unrestricted() || session.account.user().may_use_store(label)
}

/// Limits that are nearly reached, with the name of the store of each. Limits of stores that the user may not know
/// about are left out.
pub fn nearly_full(server: View<'_>, session: &Session) -> Vec<(Option<String>, Fill)> {
    let fills = server.engine.nearly_full().into_iter();
    let named = fills.map(|fill| (fill.store.map(|id| server.store_label(id)), fill));
    named.filter(|(store, _)| store.as_ref().is_none_or(|label| may_use_store(session, label))).collect()
}

/// Whether the session's user may run a command at all, with whichever keys and stores.
pub fn may_run(server: &Shared, session: &Session, spec: &'static Spec) -> bool {
    let is_free = spec.is(Flags::NO_AUTH);
    let request = Request { command: server.commands.index(spec), is_free, ..Request::default() };
    session.account.is_unrestricted() || session.account.user().check(&request).is_ok()
}

/// Whether the session's user may read a key of a store, by the store's name, with GET.
pub fn may_read(server: &Shared, session: &Session, store: &str, key: Option<&[u8]>) -> bool {
    if session.account.is_unrestricted() {
        return true;
    }
    let Some(get) = server.commands.find(b"get") else { return false };
    let request = Request {
        command: server.commands.index(get),
        stores: vec![(0, store.to_owned())],
        keys: key.into_iter().map(|key| (1, key, Access::READ)).collect(),
        ..Request::default()
    };
    session.account.user().check(&request).is_ok()
}

/// Logs a refusal in ACL LOG.
pub fn log(
    server: View<'_>,
    session: &Session,
    reason: Reason,
    context: Context,
    object: Bytes,
    username: Bytes,
) {
    let now = Moment { now_ms: clock::now_ms(), steady_ms: clock::steady_ms() };
    let client_info = describe::line(&session.client, server, now.steady_ms);
    let incident = Incident { reason, context, object, username, client_info };
    server.acl.log.add(incident, now, server.config.settings().acllog_max_len);
}

/// The context of a request that does not come from a script.
pub fn context(session: &Session) -> Context {
    if session.queue.is_some() { Context::Multi } else { Context::TopLevel }
}

/// Why a user may not run a request with a store selected, in the words of ACL DRYRUN; `None` if the user may.
pub fn dry_run(
    server: View<'_>,
    account: &Account,
    spec: &'static Spec,
    args: &[Bytes],
    selected: StoreId,
) -> Option<String> {
    let request = reach::request(server, spec, args, Some(selected));
    let denied = account.user().check(&request).err()?;
    Some(Refusal::new(account.name(), denied, &request, spec, args).in_detail())
}

fn refusal(
    server: View<'_>,
    session: &Session,
    spec: &'static Spec,
    args: &[Bytes],
    context: Context,
) -> Option<Refusal> {
    if session.account.is_unrestricted() {
        return None;
    }
    // a queued SELECT may change the store; EXEC checks again
    let is_known = !session.queue.as_ref().is_some_and(Queue::selects);
    let request = reach::request(server, spec, args, is_known.then_some(session.store));
    let denied = session.account.user().check(&request).err()?;
    let refusal = Refusal::new(session.account.name(), denied, &request, spec, args);
    let username = Bytes::copy_from_slice(session.account.name().as_bytes());
    log(server, session, refusal.reason, context, refusal.object.clone(), username);
    Some(refusal)
}

/// The kind of the missing permission, and the command, key, channel or store for which it is missing. As in Redis,
/// only ACL DRYRUN names the key or channel.
struct Refusal {
    reason: Reason,
    /// The position of the word in the request that names it; 0 if no word does.
    at: usize,
    object: Bytes,
    user: String,
}

/// The permission that a command on whole stores needs.
const ALL_KEYS: &str = "access all keys, as this command needs";

impl Refusal {
    fn new(
        user: &str,
        denied: Denied,
        request: &Request<'_>,
        spec: &'static Spec,
        args: &[Bytes],
    ) -> Refusal {
        let Denied { reason, at } = denied;
        let object = match reason {
            Reason::Command | Reason::Auth => Bytes::from_static(spec.name.as_bytes()),
            Reason::Key if at == 0 => Bytes::from_static(b"*"),
            Reason::Key | Reason::Channel => args.get(at).cloned().unwrap_or_default(),
            Reason::Store if at == 0 => {
                let selected = request.stores.iter().find(|(position, _)| *position == at);
                selected
                    .map_or(Bytes::from_static(b"*"), |(_, label)| Bytes::copy_from_slice(label.as_bytes()))
            }
            // as the request named it: if it named the store by number, the error must not reveal its name
            Reason::Store => args.get(at).cloned().unwrap_or_default(),
        };
        Refusal { reason, at, object, user: user.to_owned() }
    }

    fn is_of_all_keys(&self) -> bool {
        self.at == 0
    }

    fn in_words(&self) -> Error {
        Error::NoPermission(self.without_names())
    }

    fn in_script(&self) -> Error {
        Error::other(format!("ERR ACL failure in script: {}", self.without_names()))
    }

    fn without_names(&self) -> String {
        match self.reason {
            Reason::Key if self.is_of_all_keys() => format!("No permissions to {ALL_KEYS}"),
            Reason::Key => "No permissions to access a key".to_owned(),
            Reason::Channel => "No permissions to access a channel".to_owned(),
            Reason::Command | Reason::Auth | Reason::Store => self.in_detail(),
        }
    }

    fn in_detail(&self) -> String {
        let (user, object) = (&self.user, String::from_utf8_lossy(&self.object));
        let what = match self.reason {
            Reason::Command | Reason::Auth => format!("run the '{object}' command"),
            Reason::Key if self.is_of_all_keys() => ALL_KEYS.to_owned(),
            Reason::Key => format!("access the '{object}' key"),
            Reason::Channel => format!("access the '{object}' channel"),
            Reason::Store => format!("access the '{object}' store"),
        };
        format!("User {user} has no permissions to {what}")
    }

    fn since_queued(&self) -> Error {
        let reason = match self.reason {
            Reason::Command | Reason::Auth => "no permission to execute the command or subcommand",
            Reason::Key => "no permission to touch the specified keys",
            Reason::Channel => "no permission to access one of the channels used as arguments",
            Reason::Store => "no permission to access the store",
        };
        Error::NoPermission(format!(
            "ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
             command is no longer allowed for the following reason: {reason}"
        ))
    }
}

/// A request of somebody else with the name of its command alone, for users who may not see everything: the other words
/// may be keys and values.
pub fn without_words(mut words: Vec<Bytes>) -> Vec<Bytes> {
    let hidden = words.len().saturating_sub(1);
    if hidden > 0 {
        words.truncate(1);
        words.push(format!("... ({hidden} more arguments)").into());
    }
    words
}
