//! What CLIENT PAUSE delays.
//!
//! As in Redis, a request is delayed after it has passed the gate, so one that is wrong or not allowed is answered at
//! once, and a command in MULTI is delayed before it is queued. `ALL` delays every request. `WRITE` delays requests
//! that have an effect on others: commands that write or publish, EXEC of a transaction with such a command, and
//! scripts that don't declare that they only read.

use bytes::Bytes;

use crate::command::base::{Flags, Session, Shared, Spec};
use crate::engine::clock;
use crate::script::Declared;

/// Whether a pause delays a request that has passed the gate. A connection that monitors is never delayed.
pub fn holds_up(server: &Shared, session: &Session, spec: &Spec, args: &[Bytes]) -> bool {
    session.may_be_held
        && !session.monitoring
        && server.clients.holds_up(|| has_effect(server, session, spec, args), clock::steady_ms)
}

/// Whether others may notice that a request ran.
pub fn has_effect(server: &Shared, session: &Session, spec: &Spec, args: &[Bytes]) -> bool {
    if spec.is(Flags::EXECUTES) {
        session.queue.as_ref().is_some_and(|queue| queue.has_effect())
    } else if spec.is(Flags::SCRIPT) {
        script_has_effect(server, spec, args)
    } else {
        spec.has_effect()
    }
}

/// Whether others may notice that the script of this request ran, according to its text or else to the command.
fn script_has_effect(server: &Shared, spec: &Spec, args: &[Bytes]) -> bool {
    let what = args.get(1).map_or(&b""[..], |word| word);
    let declared = if spec.is(Flags::BY_DIGEST) {
        server.scripts.find(what).and_then(|script| script.declared)
    } else if spec.is(Flags::BY_FUNCTION) {
        server.scripts.functions.last_known().function(what).map(|function| function.flags())
    } else {
        Declared::read(what)
    };
    declared.map_or(spec.has_effect(), |declared| !declared.contains(Declared::NO_WRITES))
}

#[cfg(test)]
mod tests {
    use crate::command::tests::harness::{Harness, session};

    const READ_ONLY: &str = "#!lua flags=no-writes\\nreturn 1";

    /// Requests, whether the pauses WRITE and ALL delay them, and their replies if not. As in Redis 8.6.3.
    #[test]
    fn what_pauses_hold_up() {
        let mut h = Harness::new();
        let loaded = h.run(&format!("SCRIPT LOAD \"{READ_ONLY}\""));
        let crate::resp::Reply::Bulk(sha) = loaded else { panic!("{loaded:?}") };
        let sha = String::from_utf8_lossy(&sha).into_owned();
        h.expect(&[
            ("SCRIPT LOAD \"return 1\"", "\"e0e1f9fabfc9d4800c877a703b823ac0578ff8db\""),
            (
                "FUNCTION LOAD \"#!lua name=lib\\nredis.register_function('writes', function() end) \
                 redis.register_function{function_name='reads', callback=function() end, flags={'no-writes'}}\"",
                "\"lib\"",
            ),
            ("ACL SETUSER bob on nopass ~* &* +@all -set -publish", "OK"),
        ]);
        let held_by_both = [
            "SET a 1",
            "DEL a",
            "FLUSHALL",
            "JSON.SET a $ 1",
            "STORE CREATE orders",
            "PUBLISH c m",
            "SPUBLISH c m",
            "EVAL \"return 1\" 0",
            "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
            "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0",
            "EVAL \"#!lua\\nreturn 1\" 0",
            "EVAL_RO \"#!lua\\nreturn 1\" 0",
            "EVAL \"#!nothing\\nreturn 1\" 0",
            "FCALL writes 0",
            "FCALL nothing 0",
            "FUNCTION LOAD x",
            "FUNCTION DELETE x",
            "MULTI; SET a 1",
            "MULTI; EVAL \"return 1\" 0",
        ];
        let evalsha_read_only = format!("EVALSHA {sha} 0");
        let eval_read_only = format!("EVAL \"{READ_ONLY}\" 0");
        let multi_read_only = format!("MULTI; {eval_read_only}; EXEC");
        let held_by_all = [
            "GET a",
            "PING",
            "ECHO a",
            "HELLO 2",
            "AUTH default x",
            "CLIENT LIST",
            "CLIENT ID",
            "CLIENT UNPAUSE",
            "INFO",
            "CONFIG GET port",
            "ACL WHOAMI",
            "SUBSCRIBE c",
            "SCRIPT EXISTS x",
            "FCALL reads 0",
            "FCALL_RO reads 0",
            "FUNCTION LIST",
            "SCRIPT LOAD \"return 1\"",
            "EVAL_RO \"return 1\" 0",
            "EVALSHA_RO e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0",
            &eval_read_only,
            &evalsha_read_only,
            &multi_read_only,
            "MULTI",
            "MULTI; GET a",
            "MULTI; GET a; EXEC",
            "MULTI; DISCARD",
        ];
        let never_held = [
            "SET a",
            "GET",
            "PUBLISH c",
            "NOPE",
            "STORE NOPE",
            "AUTH bob x; SET a 1",
            "AUTH bob x; PUBLISH c m",
            "MONITOR; INFO",
        ];
        let both = held_by_both.iter().map(|line| (*line, true, true));
        let all = held_by_all.iter().map(|line| (*line, false, true));
        let none = never_held.iter().map(|line| (*line, false, false));
        for (lines, by_write, by_all) in both.chain(all).chain(none) {
            for (mode, is_held) in [("WRITE", by_write), ("ALL", by_all)] {
                let mut other = session(&h.server);
                other.may_be_held = true;
                let (before, last) = lines.rsplit_once("; ").map_or((None, lines), |(a, b)| (Some(a), b));
                h.swap(&mut other);
                before.into_iter().flat_map(|lines| lines.split("; ")).for_each(|line| drop(h.send(line)));
                h.swap(&mut other);
                h.expect(&[(&format!("CLIENT PAUSE 100000 {mode}"), "OK")]);
                h.swap(&mut other);
                assert_eq!(h.is_held(last), is_held, "{lines} while {mode} is paused");
                h.swap(&mut other);
                h.expect(&[("CLIENT UNPAUSE", "OK")]);
                other.detach(h.server.view());
                h.server.clients.remove(other.client.id);
            }
        }
    }

    #[test]
    fn a_transaction_is_held_up_if_a_queued_command_has_an_effect() {
        for (queued, is_held) in
            [("SET a 1", true), ("PUBLISH c m", true), ("EVAL \"return 1\" 0", true), ("GET a", false)]
        {
            let mut h = Harness::new();
            let mut other = session(&h.server);
            other.may_be_held = true;
            h.swap(&mut other);
            h.expect(&[("MULTI", "OK"), (queued, "QUEUED")]);
            h.swap(&mut other);
            h.expect(&[("CLIENT PAUSE 100000 WRITE", "OK")]);
            h.swap(&mut other);
            assert_eq!(h.is_held("EXEC"), is_held, "{queued}");
            h.swap(&mut other);
            h.expect(&[("CLIENT UNPAUSE", "OK")]);
            if is_held {
                h.swap(&mut other);
                assert!(!h.is_held("EXEC"), "it is answered once nothing is paused");
            }
        }
    }

    #[test]
    fn a_request_that_was_held_up_is_counted_once() {
        let mut h = Harness::new();
        h.expect(&[("CLIENT PAUSE 100000 ALL", "OK")]);
        h.session.may_be_held = true;
        let before = h.server.stats.commands();
        for _ in 0..3 {
            assert!(h.is_held("PING"));
        }
        assert_eq!(h.server.stats.commands(), before);
        h.server.clients.unpause();
        h.expect(&[("PING", "PONG")]);
        assert_eq!(h.server.stats.commands(), before + 1);
    }

    #[test]
    fn nothing_is_swept_while_a_pause_lasts() {
        let mut h = Harness::new();
        assert!(h.server.engine.may_sweep());
        for mode in ["WRITE", "ALL"] {
            h.expect(&[(&format!("CLIENT PAUSE 100000 {mode}"), "OK")]);
            assert!(!h.server.engine.may_sweep(), "{mode}");
            // what counts records leaves out what is due nevertheless
            assert!(h.server.engine.is_sweeping(), "{mode}");
            h.expect(&[("CLIENT UNPAUSE", "OK")]);
            assert!(h.server.engine.may_sweep(), "{mode}");
        }
    }
}
