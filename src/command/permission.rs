//! Whether a session's user may run a request, and what it is told if not.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::transaction::Queue;
use super::{Call, Server, Session, Spec, client_list, compatibility, reach, table};
use crate::acl::{Access, Account, Context, Denied, Incident, Moment, Reason, Request, Sight, Vocabulary};
use crate::engine::{Fill, clock};
use crate::error::Error;
use crate::store::StoreId;

/// The commands there are, as rules name them.
pub static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let categories =
        |spec: &'static Spec| spec.categories().map(|name| name.trim_start_matches('@')).collect();
    let vocabulary =
        Vocabulary::new((0..).map_while(table::by_index).map(|spec| (spec.name, categories(spec))));
    vocabulary.with_absent(compatibility::absent())
});

/// Fails with NOPERM, and logs it, if the session's user may not run a request. The gate asks this for every request;
/// whoever runs requests within others (scripts) asks it for each of those.
#[inline]
pub fn check(
    server: &Server,
    session: &Session,
    spec: &'static Spec,
    args: &[Bytes],
    context: Context,
) -> Result<(), Error> {
    if session.account.is_unrestricted() {
        return Ok(());
    }
    // of what EXEC and scripts run, the log tells these as the client's command
    session.client.last_command.store(table::index(spec), Ordering::Relaxed);
    match refusal(server, session, spec, args, context) {
        None => Ok(()),
        Some(refusal) => Err(refusal.in_words()),
    }
}

/// As [`check`], when EXEC runs what was queued: rules may have changed since.
#[inline]
pub fn check_again(
    server: &Server,
    session: &Session,
    spec: &'static Spec,
    args: &[Bytes],
) -> Result<(), Error> {
    match refusal(server, session, spec, args, Context::Multi) {
        None => Ok(()),
        Some(refusal) => Err(refusal.since_queued()),
    }
}

/// As [`check`], for a command that a script of the session's user runs.
pub fn check_in_script(
    server: &Server,
    session: &Session,
    spec: &'static Spec,
    args: &[Bytes],
) -> Result<(), Error> {
    match refusal(server, session, spec, args, Context::Lua) {
        None => Ok(()),
        Some(refusal) => Err(refusal.in_script()),
    }
}

/// Whether the session's user may use a channel; a pattern it must be allowed literally.
pub fn may_use_channel(session: &Session, channel: &[u8], literally: bool) -> bool {
    session.account.is_unrestricted() || session.account.user().may_use_channel(channel, literally)
}

/// The keys of a store that a command may show which was given none, and whose request the gate has let in: those with
/// which its user may do this ([`Access::empty`]: know that they exist).
pub fn sight(call: &Call<'_>, store: StoreId, access: Access) -> Sight {
    let account = &call.session.account;
    if account.is_unrestricted() {
        return Sight::ALL;
    }
    let argument = call.args.get(call.spec.words_of_name()).map(|word| &**word);
    account.user().sight(table::index(call.spec), argument, &call.server.store_label(store), access)
}

/// Whether a user may see everything that requests of any user name or hold, in all stores.
pub fn may_see_everything(account: &Account) -> bool {
    account.is_unrestricted() || account.user().may_read_everything()
}

/// Whether the session's user may know of a store, by what it is called.
pub fn may_use_store(session: &Session, label: &str) -> bool {
    session.account.is_unrestricted() || session.account.user().may_use_store(label)
}

/// Limits that are nearly reached, with what the store of each is called: those of stores only if the user may know of
/// the store.
pub fn nearly_full(server: &Server, session: &Session) -> Vec<(Option<String>, Fill)> {
    let fills = server.engine.nearly_full().into_iter();
    let named = fills.map(|fill| (fill.store.map(|id| server.store_label(id)), fill));
    named.filter(|(store, _)| store.as_ref().is_none_or(|label| may_use_store(session, label))).collect()
}

/// Whether the session's user may read a store, by what it is called, and a key in it: with GET.
pub fn may_read(session: &Session, store: &str, key: Option<&[u8]>) -> bool {
    if session.account.is_unrestricted() {
        return true;
    }
    let Some(get) = table::find(b"get") else { return false };
    let request = Request {
        command: table::index(get),
        stores: vec![(0, store.to_owned())],
        keys: key.into_iter().map(|key| (1, key, Access::READ)).collect(),
        ..Request::default()
    };
    session.account.user().check(&request).is_ok()
}

/// Writes down that something was refused.
pub fn log(
    server: &Server,
    session: &Session,
    reason: Reason,
    context: Context,
    object: Bytes,
    username: Bytes,
) {
    let now = Moment { now_ms: clock::now_ms(), steady_ms: clock::steady_ms() };
    let client_info = client_list::line(&session.client, server, now.steady_ms);
    let incident = Incident { reason, context, object, username, client_info };
    server.acl.log.add(incident, now, server.config.settings().acllog_max_len);
}

/// Where a request of a session is, outside of scripts.
pub fn context(session: &Session) -> Context {
    if session.queue.is_some() { Context::Multi } else { Context::TopLevel }
}

/// Why a user may not run a request with a store selected, in the words of ACL DRYRUN; none if it may.
pub fn dry_run(
    server: &Server,
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
    server: &Server,
    session: &Session,
    spec: &'static Spec,
    args: &[Bytes],
    context: Context,
) -> Option<Refusal> {
    if session.account.is_unrestricted() {
        return None;
    }
    // a SELECT that is queued may change the store; EXEC looks again
    let is_known = !session.queue.as_ref().is_some_and(Queue::selects);
    let request = reach::request(server, spec, args, is_known.then_some(session.store));
    let denied = session.account.user().check(&request).err()?;
    let refusal = Refusal::new(session.account.name(), denied, &request, spec, args);
    let username = Bytes::copy_from_slice(session.account.name().as_bytes());
    log(server, session, refusal.reason, context, refusal.object.clone(), username);
    Some(refusal)
}

/// What is missing, and for what: a command, key, channel or store. As in Redis, only ACL DRYRUN tells which key or
/// channel it is.
struct Refusal {
    reason: Reason,
    /// Where the request names what is missing; 0: nowhere.
    at: usize,
    object: Bytes,
    user: String,
}

/// What a command needs that works on whole stores.
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
            // as the request named it: the name of a store that was named by its number is not to be told
            Reason::Store => args.get(at).cloned().unwrap_or_default(),
        };
        Refusal { reason, at, object, user: user.to_owned() }
    }

    fn is_of_all_keys(&self) -> bool {
        self.at == 0
    }

    fn in_words(&self) -> Error {
        Error::other(format!("NOPERM {}", self.without_names()))
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
        Error::other(format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
             command is no longer allowed for the following reason: {reason}"
        ))
    }
}
