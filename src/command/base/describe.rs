//! The description of a connection in CLIENT LIST, CLIENT INFO and ACL LOG.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use crate::client::Client;
use crate::command::base::View;
use crate::push::channels::SubscriptionKind;
use crate::push::tracking::Options;

/// The reply of CLIENT GETREDIR and TRACKINGINFO while tracking is off.
pub const NO_REDIRECTION: i64 = -1;

/// The number of the client that gets the invalidations: 0 for the tracking client itself.
pub fn redirects_to(options: Option<&Options>) -> i64 {
    let Some(options) = options else { return NO_REDIRECTION };
    options.redirect.as_ref().map_or(0, |client| client.id as i64)
}

/// The line of CLIENT INFO about a connection, without its line end.
pub fn line(client: &Client, server: View<'_>, steady_ms: u64) -> String {
    let mut line = String::new();
    // writing to memory cannot fail
    let store = server.store_label(client.store());
    let _ = write_line(&mut line, client, server, Some(&store), steady_ms);
    line.truncate(line.trim_end().len());
    line
}

/// One line of CLIENT LIST: Redis's fields in Redis's order. Fields of features that Larder lacks have the value that
/// Redis shows when the feature is not used. The name of the store is at the end, if it is given.
pub fn write_line(
    out: &mut String,
    client: &Client,
    server: View<'_>,
    store: Option<&str>,
    steady_ms: u64,
) -> std::fmt::Result {
    let seconds_since = |ms: u64| steady_ms.saturating_sub(ms) / 1000;
    let query_bytes = client.query_buffer.load(Ordering::Relaxed);
    let (messages, message_bytes) = client.mailbox.size();
    let output_bytes = client.output_buffer.load(Ordering::Relaxed) + message_bytes;
    let subscriptions = |kind: SubscriptionKind| client.subscriptions[kind as usize].load(Ordering::Relaxed);
    let (redirect, letters) = server
        .push
        .tracking
        .with_options(client, |tracking| (redirects_to(tracking), letters(client, server, tracking)));
    write!(
        out,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} watch={} \
         qbuf={query_bytes} qbuf-free={} argv-mem={} multi-mem={} rbs=0 rbp=0 obl=0 oll={messages} omem={output_bytes} tot-mem={} \
         events=r cmd={} user={} redir={} resp={} lib-name={} lib-ver={} io-thread=0 tot-net-in={} \
         tot-net-out={} tot-cmds={}",
        client.id,
        client.address,
        client.local_address,
        client.file_descriptor,
        client.name.lock(),
        seconds_since(client.created_ms),
        seconds_since(client.active_ms.load(Ordering::Relaxed)),
        letters,
        client.store(),
        subscriptions(SubscriptionKind::Channel),
        subscriptions(SubscriptionKind::Pattern),
        subscriptions(SubscriptionKind::Shard),
        client.queued.load(Ordering::Relaxed),
        client.watched.load(Ordering::Relaxed),
        client.query_room.load(Ordering::Relaxed),
        client.argument_bytes.load(Ordering::Relaxed),
        client.session_bytes.load(Ordering::Relaxed),
        client.memory_bytes(),
        server.command_name(client.last_command.load(Ordering::Relaxed)),
        client.user(),
        redirect,
        client.protocol.load(Ordering::Relaxed),
        client.library_name.lock(),
        client.library_version.lock(),
        client.bytes_in.load(Ordering::Relaxed),
        client.bytes_out.load(Ordering::Relaxed),
        client.commands.load(Ordering::Relaxed),
    )?;
    if let Some(label) = store {
        write!(out, " store={}", unspaced(label))?;
    }
    out.push('\n');
    Ok(())
}

/// The field `flags`.
pub fn letters(client: &Client, server: View<'_>, tracking: Option<&Options>) -> String {
    let letters: String = [
        ('O', server.push.monitors.has(client.id)),
        ('P', client.is_subscriber()),
        ('x', client.queued.load(Ordering::Relaxed) >= 0),
        ('b', client.held.load(Ordering::Relaxed)),
        ('t', tracking.is_some()),
        ('R', tracking.is_some_and(|options| options.is_broken)),
        ('B', tracking.is_some_and(|options| options.broadcast)),
        ('A', client.kill.is_raised()),
        ('U', client.unix),
        ('e', client.no_evict.load(Ordering::Relaxed)),
        ('T', client.no_touch.load(Ordering::Relaxed)),
    ]
    .into_iter()
    .filter_map(|(letter, applies)| applies.then_some(letter))
    .collect();
    if letters.is_empty() { "N".into() } else { letters }
}

/// The name of a store may have spaces inside. Spaces and `%` are percent-encoded, because programs split the line at
/// spaces.
fn unspaced(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for char in name.chars() {
        if char == '%' || char.is_whitespace() {
            for byte in char.encode_utf8(&mut [0; 4]).bytes() {
                let _ = write!(out, "%{byte:02X}");
            }
        } else {
            out.push(char);
        }
    }
    out
}
