//! INFO: a report of the server about itself, as text that people read and tools parse. Its fields are declared in
//! [`sections`].

mod absent;
pub mod figure;
pub mod sample;
pub mod sections;

use std::fmt::{Display, Write};

use crate::command::base::{Call, Flags, Plan, Session, Spec, View, reply};
use crate::command::server::info::figure::{Part, Rows, Section, Value};
use crate::command::server::info::sample::Sample;
use crate::command::server::info::sections::{SECTIONS, figures};
use crate::error::Error;
use crate::resp::Reply;

pub static COMMANDS: &[Spec] = &[Spec {
    name: "info",
    syntax: "[section ...]",
    summary: "Returns information and statistics about the server",
    complexity: "O(N) where N is the number of stores",
    arity: -1,
    flags: Flags::LOADING.union(Flags::STALE).union(Flags::DANGEROUS).union(Flags::LONG),
    tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
    plan: info,
    ..Spec::DEFAULT
}];

fn info(call: &mut Call<'_>) -> Result<Plan, Error> {
    let asked = |word: &str| (1..call.args.len()).any(|at| call.is(at, word));
    let all = asked("all") || asked("everything");
    let default = call.args.len() == 1 || asked("default");
    let sample = Sample::new(call.server, call.session);
    let shown = SECTIONS
        .iter()
        .filter(|section| all || (default && section.by_default) || asked(section.title))
        .map(|section| written(&sample, section));
    reply(Reply::Verbatim(shown.collect::<Vec<_>>().join("\r\n").into()))
}

/// CONFIG RESETSTAT.
pub fn reset(server: View<'_>, reader: &Session) {
    let sample = Sample::new(server, reader);
    let resetting = figures().filter(|figure| figure.resets);
    let counts = resetting.filter_map(|figure| match (figure.field?, (figure.read)(&sample)) {
        (field, Value::Count(count)) => Some((field, count)),
        _ => None,
    });
    server.stats.reset(counts.collect());
}

fn written(sample: &Sample<'_>, section: &Section) -> String {
    let mut text = format!("# {}\r\n", section.title);
    for part in section.parts {
        match part {
            Part::Fixed(fields) => fields.iter().for_each(|(field, value)| add(&mut text, field, value)),
            Part::Figures(figures) => {
                for figure in *figures {
                    let Some(field) = figure.field else { continue };
                    let value = figure.value(sample);
                    add(&mut text, field, &value);
                    if let Value::Bytes(bytes) = value {
                        add(&mut text, &format!("{field}_human"), human(bytes));
                    }
                }
            }
            Part::Family(family) => add_family(&mut text, sample, *family),
        }
    }
    text
}

fn add(text: &mut String, field: &str, value: impl Display) {
    // writing to memory can't fail
    let _ = write!(text, "{field}:{value}\r\n");
}

fn add_family(text: &mut String, sample: &Sample<'_>, family: &dyn Rows) {
    for (name, fields) in family.fields_of_rows(sample) {
        let shown = fields.iter().map(|(field, value)| match *field {
            "" => value.to_string(),
            field => format!("{field}={value}"),
        });
        let line = shown.collect::<Vec<_>>().join(",");
        add(text, &format!("{}{}", family.prefix(), plain(&name)), line);
    }
}

/// A name as a part of a field: characters that would end it are percent-encoded.
fn plain(name: &str) -> String {
    name.chars().fold(String::with_capacity(name.len()), |mut out, c| {
        if matches!(c, ':' | '=' | ',' | '%' | ' ') || c.is_control() {
            // writing to memory can't fail
            let _ = write!(out, "%{:02X}", u32::from(c));
        } else {
            out.push(c);
        }
        out
    })
}

/// Bytes in Redis's short form: `512B`, `1.50K`.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["K", "M", "G", "T", "P"];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.2}{}", UNITS[unit])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::command::server::info::*;
    use std::sync::atomic::Ordering::Relaxed;

    use crate::command::tests::harness::{Harness, shown};
    use crate::limits::EVAL_SCRIPTS_MAX;

    fn answer(harness: &mut Harness, line: &str) -> String {
        let Reply::Verbatim(text) = harness.run(line) else { panic!("not a text") };
        String::from_utf8(text.to_vec()).unwrap()
    }

    /// The value of a field in an answer.
    fn field<'a>(text: &'a str, name: &str) -> &'a str {
        let line = text.split("\r\n").find(|line| line.split(':').next() == Some(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).split_once(':').unwrap().1
    }

    fn titles(text: &str) -> Vec<&str> {
        text.split("\r\n").filter_map(|line| line.strip_prefix("# ")).collect()
    }

    #[test]
    fn sections_are_shown_as_asked_for() {
        let mut harness = Harness::new();
        assert_eq!(answer(&mut harness, "INFO keyspace"), "# Keyspace\r\n");
        assert_eq!(answer(&mut harness, "INFO nothing"), "");
        assert_eq!(titles(&answer(&mut harness, "INFO KEYSPACE server nothing")), ["Server", "Keyspace"]);
        let default = answer(&mut harness, "INFO");
        assert_eq!(titles(&default), titles(&answer(&mut harness, "INFO default")));
        assert!(!titles(&default).contains(&"Commandstats"));
        assert!(default.contains("\r\n\r\n# Clients\r\n"));
        for everything in ["INFO all", "INFO everything"] {
            assert_eq!(titles(&answer(&mut harness, everything)).len(), SECTIONS.len());
        }
        assert!(titles(&answer(&mut harness, "INFO default commandstats")).contains(&"Commandstats"));
    }

    #[test]
    fn every_line_is_a_title_or_a_field() {
        let mut harness = Harness::new();
        harness.run("GET k");
        harness.run("GET");
        for line in answer(&mut harness, "INFO everything").split("\r\n").filter(|line| !line.is_empty()) {
            assert!(line.starts_with("# ") || line.contains(':'), "{line}");
        }
    }

    /// Tools look for fields by name, and of two with the same name take the first or the last.
    #[test]
    fn every_field_of_redis_is_there_once() {
        let mut harness = Harness::new();
        let text = answer(&mut harness, "INFO everything");
        let names: Vec<&str> = text.split("\r\n").filter_map(|line| Some(line.split_once(':')?.0)).collect();
        for name in include_str!("redis_7_0_info_fields.txt").lines() {
            assert!(names.contains(&name), "{name}");
        }
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "{name} is there twice");
        }
    }

    #[test]
    fn percentiles_are_those_that_are_set() {
        let mut harness = Harness::new();
        harness.expect(&[
            ("GET k", "nil"),
            ("CONFIG SET latency-tracking-info-percentiles \"50.0 99.9\"", "OK"),
        ]);
        let text = answer(&mut harness, "INFO latencystats");
        let line = field(&text, "latency_percentiles_usec_get");
        assert!(line.starts_with("p50=") && line.contains(",p99.9="), "{line}");
        assert!(!answer(&mut harness, "INFO").contains("latency_percentiles"));
    }

    #[test]
    fn who_watches_is_counted() {
        let mut harness = Harness::new();
        harness.run("WATCH a b");
        let text = answer(&mut harness, "INFO clients");
        assert_eq!((field(&text, "watching_clients"), field(&text, "total_watched_keys")), ("1", "2"));
        let list = shown(&harness.run("CLIENT INFO"));
        assert!(list.contains(" multi=-1 watch=2 "), "{list}");
        harness.expect(&[("MULTI", "OK"), ("PING", "QUEUED"), ("CLIENT ID", "QUEUED")]);
        assert!(shown(&harness.run("EXEC")).starts_with("[PONG"));
        assert_eq!(field(&answer(&mut harness, "INFO clients"), "watching_clients"), "0");
    }

    #[test]
    fn counters_count() {
        let mut harness = Harness::new();
        harness.run("SET k 1 EX 100");
        harness.run("MGET k missing gone");
        harness.run("INCR k x");
        harness.run("SELECT nothing");
        let text = answer(&mut harness, "INFO everything");
        assert_eq!(field(&text, "connected_clients"), "1");
        assert_eq!((field(&text, "keyspace_hits"), field(&text, "keyspace_misses")), ("1", "2"));
        assert_eq!(field(&text, "total_error_replies"), "2");
        assert_eq!(field(&text, "errorstat_ERR"), "count=1");
        assert_eq!(field(&text, "errorstat_NOSTORE"), "count=1");
        assert!(field(&text, "cmdstat_mget").starts_with("calls=1,usec="));
        assert!(
            field(&text, "cmdstat_incr")
                .ends_with("calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0")
        );
        assert!(field(&text, "cmdstat_select").ends_with("rejected_calls=0,failed_calls=1"));
        let line = field(&text, "db0");
        let average =
            line.strip_prefix("keys=1,expires=1,avg_ttl=").unwrap().strip_suffix(",subexpiry=0").unwrap();
        assert!((1..=100_000).contains(&average.parse::<u64>().unwrap()), "{line}");
        assert_eq!(field(&text, "rdb_changes_since_last_save"), "1");
    }

    #[test]
    fn counters_start_again_at_resetstat() {
        let mut harness = Harness::new();
        let mut scripts = 0;
        let mut evaluate = |h: &mut Harness| {
            scripts += 1;
            h.run(&format!("EVAL \"return {scripts}\" 0"));
        };
        (0..EVAL_SCRIPTS_MAX).for_each(|_| evaluate(&mut harness));
        for reset in [true, false] {
            evaluate(&mut harness);
            harness.run("GET missing");
            harness.server.clients.evicted.fetch_add(1, Relaxed);
            harness.server.push.post.overflows.fetch_add(1, Relaxed);
            let expect = |h: &mut Harness, expected| {
                let text = answer(h, "INFO stats");
                let counters = ["keyspace_misses", "evicted_clients", "evicted_scripts"];
                for name in counters.into_iter().chain(["client_output_buffer_limit_disconnections"]) {
                    assert_eq!(field(&text, name), expected, "{name}");
                }
            };
            expect(&mut harness, "1");
            if reset {
                harness.run("CONFIG RESETSTAT");
                expect(&mut harness, "0");
            }
        }
    }

    #[test]
    fn stores_are_told_by_name_and_as_databases() {
        let mut harness = Harness::new();
        harness.run("STORE CREATE \"a=b c\" VALUES json");
        harness.run("SELECT \"a=b c\"");
        harness.run("SET k 12345");
        let text = answer(&mut harness, "INFO keyspace stores");
        assert_eq!(field(&text, "db16"), "keys=1,expires=0,avg_ttl=0,subexpiry=0");
        let line = field(&text, "store_a%3Db%20c");
        assert!(
            line.starts_with("number=16,values=json,records=1,expiring=0,plain_bytes=6,stored_bytes="),
            "{line}"
        );
    }

    #[test]
    fn persistence_follows_the_checkpoint() {
        let mut harness = Harness::new();
        harness.run("SET k 1");
        harness.run("SAVE");
        let text = answer(&mut harness, "INFO persistence");
        assert_eq!(field(&text, "rdb_changes_since_last_save"), "0");
        assert_eq!(field(&text, "checkpoints"), "1");
        assert_eq!(field(&text, "checkpoint_entry"), field(&text, "journal_last_entry"));
        assert_eq!((field(&text, "aof_last_write_status"), field(&text, "journal_failure")), ("ok", ""));
    }

    #[test]
    fn bytes_for_people() {
        for (bytes, shown) in
            [(0, "0B"), (1023, "1023B"), (1536, "1.50K"), (6_975_488, "6.65M"), (1 << 40, "1.00T")]
        {
            assert_eq!(human(bytes), shown);
        }
    }
}
