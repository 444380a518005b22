//! CLIENT TRACKING, CACHING, TRACKINGINFO and GETREDIR: which keys a client caches.
//!
//! [`push::tracking`](crate::push::tracking) delivers the invalidations. Here are the commands. What decides for
//! every request whether its keys are remembered is [`Caching`].

use bytes::Bytes;

use crate::command::base::caching::{Caching, Mode};
use crate::command::base::describe::redirects_to;
use crate::command::base::{Call, Plan, reply};
use crate::error::Error;
use crate::limits::KEY_BYTES_MAX;
use crate::push::tracking::Options;
use crate::resp::Reply;

pub fn tracking(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (mut options, prefixes) = parse(call)?;
    let (engine, push) = (call.server.engine, &call.server.push);
    if call.is(2, "off") {
        push.tracking.stop(engine, &call.session.client);
        call.session.caching = Caching::default();
        return reply(Reply::OK);
    }
    if !call.is(2, "on") {
        return Err(Error::Syntax);
    }
    push.tracking.with_options(&call.session.client, |before| check(&options, &prefixes, before))?;
    options.prefixes = prefixes.into_iter().collect();
    if options.broadcast && options.prefixes.is_empty() {
        options.prefixes.insert(Bytes::new());
    }
    let caching = Caching::of(&options);
    let is_given = call.session.caching.is_given;
    push.tracking.start(engine, &call.session.client, options);
    call.session.caching = Caching { is_given, ..caching };
    reply(Reply::OK)
}

/// The options, and the prefixes in the order in which they were given.
fn parse(call: &Call<'_>) -> Result<(Options, Vec<Bytes>), Error> {
    let mut options = Options::default();
    let mut prefixes: Vec<Bytes> = Vec::new();
    call.options(3, |at| {
        let has_more = at + 1 < call.args.len();
        if call.is(at, "redirect") && has_more {
            if options.redirect.is_some() {
                return Err(Error::other("ERR A client can only redirect to a single other client"));
            }
            let client = u64::try_from(call.integer(at + 1)?).ok().and_then(|id| call.server.clients.get(id));
            let missing = || Error::other("ERR The client ID you want redirect to does not exist");
            options.redirect = Some(client.ok_or_else(missing)?);
            return Ok(1);
        }
        if call.is(at, "prefix") && has_more {
            let bytes = call.arg(at + 1).len();
            if bytes > KEY_BYTES_MAX {
                // no key begins with it
                return Err(Error::KeyTooLong { bytes, limit: KEY_BYTES_MAX });
            }
            prefixes.push(Bytes::copy_from_slice(call.arg(at + 1)));
            return Ok(1);
        }
        let flags = [
            ("bcast", &mut options.broadcast),
            ("optin", &mut options.opt_in),
            ("optout", &mut options.opt_out),
            ("noloop", &mut options.no_loop),
        ];
        let (_, flag) = flags.into_iter().find(|(name, _)| call.is(at, name)).ok_or(Error::Syntax)?;
        *flag = true;
        Ok(0)
    })?;
    Ok((options, prefixes))
}

/// Whether the options are compatible with each other, and with how the client tracks already. In Redis's order.
fn check(options: &Options, prefixes: &[Bytes], before: Option<&Options>) -> Result<(), Error> {
    let Options { broadcast, opt_in, opt_out, .. } = *options;
    let switches = |is: fn(&Options) -> bool| before.is_some_and(is);
    let error = if !broadcast && !prefixes.is_empty() {
        "ERR PREFIX option requires BCAST mode to be enabled"
    } else if before.is_some_and(|before| before.broadcast != broadcast) {
        "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with \
         a different mode."
    } else if broadcast && (opt_in || opt_out) {
        "ERR OPTIN and OPTOUT are not compatible with BCAST"
    } else if opt_in && opt_out {
        "ERR You can't specify both OPTIN mode and OPTOUT mode"
    } else if opt_in && switches(|before| before.opt_out) || opt_out && switches(|before| before.opt_in) {
        "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with \
         a different mode."
    } else {
        return refuse_overlaps(prefixes, before);
    };
    Err(Error::other(error))
}

/// A key with two of a client's prefixes would be invalidated twice.
fn refuse_overlaps(prefixes: &[Bytes], before: Option<&Options>) -> Result<(), Error> {
    let overlap = |a: &Bytes, b: &Bytes| a.starts_with(b) || b.starts_with(a);
    let error = |prefix: &Bytes, kind: &str, other: &Bytes| {
        let (prefix, other) = (String::from_utf8_lossy(prefix), String::from_utf8_lossy(other));
        Err(Error::other(format!(
            "ERR Prefix '{prefix}' overlaps with {kind} prefix '{other}'. Prefixes for a single client must not overlap."
        )))
    };
    if let Some(before) = before {
        for prefix in prefixes {
            // the existing ones don't overlap, so only a neighbour can be a prefix of this one
            let shorter = before.prefixes.range::<Bytes, _>(..=prefix).next_back();
            let longer = before.prefixes.range::<Bytes, _>(prefix..).next();
            if let Some(other) = shorter.into_iter().chain(longer).find(|other| overlap(prefix, other)) {
                return error(prefix, "an existing", other);
            }
        }
    }
    // in sorted order, what begins with a prefix follows right after it
    let mut sorted: Vec<(&Bytes, usize)> = prefixes.iter().zip(0..).collect();
    sorted.sort_unstable();
    let pairs = sorted.windows(2).filter(|pair| overlap(pair[0].0, pair[1].0));
    let first = pairs.map(|pair| (pair[0].1.min(pair[1].1), pair[0].1.max(pair[1].1))).min();
    match first {
        Some((at, other)) => error(&prefixes[at], "another provided", &prefixes[other]),
        None => Ok(()),
    }
}

pub fn caching(call: &mut Call<'_>) -> Result<Plan, Error> {
    if !call.server.push.tracking.with_options(&call.session.client, |options| options.is_some()) {
        return Err(Error::other(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        ));
    }
    let mode = call.session.caching.mode;
    if call.is(2, "yes") {
        if mode != Mode::OptIn {
            return Err(Error::other(
                "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.",
            ));
        }
    } else if call.is(2, "no") {
        if mode != Mode::OptOut {
            return Err(Error::other(
                "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.",
            ));
        }
    } else {
        return Err(Error::Syntax);
    }
    call.session.caching.is_given = true;
    reply(Reply::OK)
}

pub fn redirection(call: &mut Call<'_>) -> Result<Plan, Error> {
    let redirect = call.server.push.tracking.with_options(&call.session.client, redirects_to);
    reply(Reply::Integer(redirect))
}

pub fn tracking_info(call: &mut Call<'_>) -> Result<Plan, Error> {
    let options = call.server.push.tracking.options(&call.session.client);
    let redirect = redirects_to(options.as_ref());
    let is_on = options.is_some();
    let options = options.unwrap_or_default();
    let is_given = call.session.caching.is_given;
    let flags = [
        ("off", !is_on),
        ("on", is_on),
        ("bcast", options.broadcast),
        ("optin", options.opt_in),
        ("caching-yes", options.opt_in && is_given),
        ("optout", options.opt_out),
        ("caching-no", options.opt_out && is_given),
        ("noloop", options.no_loop),
        ("broken_redirect", options.is_broken),
    ];
    let flags = flags.into_iter().filter(|(_, applies)| *applies).map(|(flag, _)| Reply::text(flag));
    let fields = [
        ("flags", Reply::Set(flags.collect())),
        ("redirect", Reply::Integer(redirect)),
        ("prefixes", Reply::Array(options.prefixes.into_iter().map(Reply::Bulk).collect())),
    ];
    reply(Reply::Map(fields.map(|(name, value)| (Reply::text(name), value)).into()))
}

#[cfg(test)]
mod tests {
    use crate::command::base::Session;
    use crate::command::tests::harness::{Harness, mail, session};

    /// A client in RESP3 that has sent these lines.
    fn client(harness: &mut Harness, lines: &[&str]) -> Session {
        let mut client = session(&harness.server);
        say(harness, &mut client, &["HELLO 3"]);
        say(harness, &mut client, lines);
        client
    }

    fn say(harness: &mut Harness, client: &mut Session, lines: &[&str]) {
        harness.swap(client);
        lines.iter().for_each(|line| drop(harness.run(line)));
        harness.swap(client);
    }

    fn invalidation(keys: &[&str]) -> String {
        let keys = keys.iter().map(|key| format!("${}\r\n{key}\r\n", key.len())).collect::<Vec<_>>();
        format!(">2\r\n$10\r\ninvalidate\r\n*{}\r\n{}", keys.len(), keys.concat())
    }

    #[test]
    fn a_key_that_was_read_is_told_of_once() {
        let mut harness = Harness::new();
        let mut reader = client(&mut harness, &["CLIENT TRACKING ON", "MGET a b", "SELECT 3", "GET c"]);
        harness.expect(&[("MSET a 1 b 1 x 1", "OK"), ("SET a 2", "OK")]);
        assert_eq!(mail(&reader.client), invalidation(&["a"]) + &invalidation(&["b"]));
        harness.expect(&[("SET c 1", "OK")]);
        assert_eq!(mail(&reader.client), invalidation(&["c"]), "stores make no difference");
        say(&mut harness, &mut reader, &["SELECT 0", "GET a", "SET a 3"]);
        assert_eq!(mail(&reader.client), invalidation(&["a"]), "also what it changed itself");
        say(&mut harness, &mut reader, &["CLIENT TRACKING ON NOLOOP", "GET a", "SET a 4"]);
        assert_eq!(mail(&reader.client), "");
        harness.expect(&[("FLUSHALL", "OK")]);
        assert_eq!(mail(&reader.client), ">2\r\n$10\r\ninvalidate\r\n_\r\n");
        say(&mut harness, &mut reader, &["GET a", "CLIENT TRACKING OFF"]);
        harness.expect(&[("SET a 2", "OK")]);
        assert_eq!(mail(&reader.client), "");
    }

    #[test]
    fn broadcasting_is_by_prefix_and_together() {
        let mut harness = Harness::new();
        let reader = client(&mut harness, &["CLIENT TRACKING ON BCAST PREFIX a PREFIX b"]);
        harness.expect(&[("MSET b1 1 a2 1 a1 1 x 1", "OK")]);
        assert_eq!(mail(&reader.client), invalidation(&["a1", "a2"]) + &invalidation(&["b1"]));
        harness.expect(&[("MULTI", "OK"), ("SET a2 1", "QUEUED"), ("SET a1 1", "QUEUED")]);
        harness.run("EXEC");
        assert_eq!(mail(&reader.client), invalidation(&["a1", "a2"]));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut harness = Harness::new();
        harness.expect(&[("CONFIG SET tracking-table-max-keys 2", "OK")]);
        let reader = client(&mut harness, &["CLIENT TRACKING ON", "GET a", "GET b", "GET a", "GET c"]);
        assert_eq!(mail(&reader.client), invalidation(&["a"]));
        let figures = harness.server.push.tracking.figures();
        assert_eq!((figures.clients, figures.keys, figures.items), (1, 2, 2));
    }

    #[test]
    fn clients_that_are_gone_leave_nothing_that_grows() {
        let mut harness = Harness::new();
        let _stays = client(&mut harness, &["CLIENT TRACKING ON", "GET a"]);
        for _ in 0..20 {
            let mut goes = client(&mut harness, &["CLIENT TRACKING ON", "GET a"]);
            goes.detach(harness.server.view());
        }
        assert!(harness.server.push.tracking.figures().items <= 4);
    }

    #[test]
    fn caching_is_for_the_next_command() {
        let mut harness = Harness::new();
        let mut reader = client(&mut harness, &["CLIENT TRACKING ON OPTIN", "GET a"]);
        say(&mut harness, &mut reader, &["CLIENT CACHING YES", "CLIENT ID", "GET b", "GET c"]);
        harness.expect(&[("MSET a 1 b 1 c 1", "OK")]);
        assert_eq!(mail(&reader.client), invalidation(&["b"]));
        say(&mut harness, &mut reader, &["CLIENT CACHING YES", "MULTI", "GET a", "GET b", "EXEC", "GET c"]);
        harness.expect(&[("MSET a 1 b 1 c 1", "OK")]);
        assert_eq!(mail(&reader.client), invalidation(&["a"]) + &invalidation(&["b"]));
    }

    #[test]
    fn of_a_script_the_keys_that_it_reads_are_tracked() {
        let mut harness = Harness::new();
        let script = r#"EVAL_RO "return redis.call('GET', KEYS[2])" 2 a b"#;
        let reader = client(&mut harness, &["CLIENT TRACKING ON", script]);
        harness.expect(&[("MSET a 1 b 1", "OK")]);
        assert_eq!(mail(&reader.client), invalidation(&["b"]));
    }

    #[test]
    fn somebody_else_can_be_told() {
        let mut harness = Harness::new();
        let mut told = session(&harness.server);
        say(&mut harness, &mut told, &["SUBSCRIBE __redis__:invalidate"]);
        let id = told.client.id;
        let reader = client(&mut harness, &[&format!("CLIENT TRACKING ON REDIRECT {id}"), "GET a"]);
        harness.expect(&[("SET a 1", "OK")]);
        let message = "*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\na\r\n";
        assert_eq!(mail(&told.client), message);
        harness.server.clients.remove(id);
        harness.expect(&[("FLUSHDB", "OK")]);
        assert_eq!(mail(&reader.client), format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n"));
        assert_eq!(mail(&told.client), "");
    }
}
