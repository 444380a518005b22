//! LATENCY: commands that took longer than `latency-monitor-threshold`, by second, and how long each command takes.
//!
//! The events are `command` and `fast-command`. Nothing else delays a client here, because checkpoints, syncs and
//! expiry run beside the commands.

use std::fmt::Write;

use crate::command::base::table::help;
use crate::command::base::{Call, Flags, Plan, Spec, reply};
use crate::engine::clock;
use crate::error::Error;
use crate::resp::Reply;
use crate::telemetry::Histogram;
use crate::telemetry::slow::Spikes;

pub static COMMANDS: &[Spec] = &[Spec {
    name: "latency",
    summary: "Commands about latency",
    since: "2.8.13",
    complexity: "Depends on subcommand.",
    arity: -2,
    subcommands: SUBCOMMANDS,
    ..Spec::DEFAULT
}];

const SUBCOMMAND: Spec = Spec {
    since: "2.8.13",
    arity: 2,
    flags: Flags::ADMIN.union(Flags::NOSCRIPT).union(Flags::LOADING).union(Flags::STALE),
    ..Spec::DEFAULT
};

static SUBCOMMANDS: &[Spec] = &[
    Spec {
        name: "latency|doctor",
        summary: "Returns a short report about latency",
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        plan: doctor,
        ..SUBCOMMAND
    },
    Spec {
        name: "latency|graph",
        syntax: "event",
        summary: "Draws a graph of the latest spikes of an event",
        arity: 3,
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        plan: graph,
        ..SUBCOMMAND
    },
    Spec {
        name: "latency|histogram",
        syntax: "[command [command ...]]",
        summary: "Returns histograms of the durations of commands, in microseconds",
        since: "7.0.0",
        complexity: "O(N) where N is the number of commands with latency information being retrieved.",
        arity: -2,
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        plan: histograms,
        ..SUBCOMMAND
    },
    Spec {
        name: "latency|history",
        syntax: "event",
        summary: "Returns the spikes of an event: seconds since 1970, milliseconds",
        arity: 3,
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        plan: history,
        ..SUBCOMMAND
    },
    Spec {
        name: "latency|latest",
        summary: "Returns the latest spike of each event: its time and duration, and the longest duration",
        tips: &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"],
        plan: latest,
        ..SUBCOMMAND
    },
    Spec {
        name: "latency|reset",
        is_harmful: true,
        syntax: "[event [event ...]]",
        summary: "Forgets the spikes of all events, or of some, and returns their number",
        arity: -2,
        tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
        plan: reset,
        ..SUBCOMMAND
    },
    Spec {
        name: "latency|help",
        summary: "Lists the subcommands",
        flags: Flags::LOADING.union(Flags::STALE),
        plan: help,
        ..SUBCOMMAND
    },
];

fn latest(call: &mut Call<'_>) -> Result<Plan, Error> {
    let events = call.server.slow.spikes().into_iter().filter_map(|(event, spikes)| {
        let last = spikes.latest.back()?;
        let numbers =
            [last.at_s, last.took_ms, spikes.longest_ms].map(|number| Reply::Integer(number as i64));
        Some(Reply::Array(std::iter::once(Reply::text(event)).chain(numbers).collect()))
    });
    reply(Reply::Array(events.collect()))
}

fn history(call: &mut Call<'_>) -> Result<Plan, Error> {
    let spikes = spikes_of(call).map(|spikes| spikes.latest).unwrap_or_default();
    let pairs = spikes.into_iter().map(|spike| {
        Reply::Array(vec![Reply::Integer(spike.at_s as i64), Reply::Integer(spike.took_ms as i64)])
    });
    reply(Reply::Array(pairs.collect()))
}

fn reset(call: &mut Call<'_>) -> Result<Plan, Error> {
    let named = call.rest(2);
    let is_meant = |event: &str| named.is_empty() || named.iter().any(|name| name == event);
    reply(Reply::Integer(call.server.slow.forget_spikes(is_meant) as i64))
}

/// The spikes of the event that the call names.
fn spikes_of(call: &Call<'_>) -> Option<Spikes> {
    let wanted = call.arg(2);
    call.server
        .slow
        .spikes()
        .into_iter()
        .find(|(event, _)| event.as_bytes() == wanted)
        .map(|(_, spikes)| spikes)
}

fn graph(call: &mut Call<'_>) -> Result<Plan, Error> {
    match spikes_of(call) {
        Some(spikes) => reply(Reply::Verbatim(drawn(&call.text(2), &spikes, call.now_ms / 1_000).into())),
        None => Err(Error::other(format!("ERR No samples available for event '{}'", call.text(2)))),
    }
}

/// A column for each spike, whose height shows its duration, and under it how long ago it was, from top to bottom.
fn drawn(event: &str, spikes: &Spikes, now_s: u64) -> String {
    const ROWS: u64 = 4;
    let lengths = || spikes.latest.iter().map(|spike| spike.took_ms);
    let (high, low) = (lengths().max().unwrap_or(0), lengths().min().unwrap_or(0));
    let mut out = format!(
        "{event} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        spikes.longest_ms,
        "-".repeat(80)
    );
    let mut line = |cells: String| {
        // writing to memory cannot fail
        let _ = writeln!(out, "{}", cells.trim_end());
    };
    for row in (0..ROWS).rev() {
        let cell = |length: u64| {
            let height = if high == low { 0 } else { (length - low) * (ROWS - 1) / (high - low) };
            match height {
                height if height > row => '|',
                height if height == row => '_',
                _ => ' ',
            }
        };
        line(lengths().map(cell).collect());
    }
    line(String::new());
    let ages: Vec<String> = spikes.latest.iter().map(|spike| age(now_s.saturating_sub(spike.at_s))).collect();
    for row in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        line(ages.iter().map(|age| age.chars().nth(row).unwrap_or(' ')).collect());
    }
    out
}

/// `7s`, `5m`, `3h`, `2d`.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn histograms(call: &mut Call<'_>) -> Result<Plan, Error> {
    call.check_names(2)?;
    let stats = &call.server.stats;
    let shown = |name: &str, histogram: &Histogram| {
        let bounds = histogram.doublings().into_iter();
        let bounds =
            bounds.map(|(micros, through)| (Reply::Integer(micros as i64), Reply::Integer(through as i64)));
        let fields = vec![
            (Reply::text("calls"), Reply::Integer(histogram.total() as i64)),
            (Reply::text("histogram_usec"), Reply::Map(bounds.collect())),
        ];
        (Reply::text(name), Reply::Map(fields))
    };
    let pairs = match call.rest(2) {
        [] => stats.all_durations().map(|(name, histogram)| shown(name, &histogram)).collect(),
        names => {
            let specs = names.iter().filter_map(|name| call.server.commands.find_full(name));
            // of a container also its subcommands
            let specs = specs.flat_map(|spec| std::iter::once(spec).chain(spec.subcommands));
            let found = specs
                .filter_map(|spec| Some((spec.name, stats.durations(call.server.commands.index(spec))?)));
            found.map(|(name, histogram)| shown(name, &histogram)).collect()
        }
    };
    reply(Reply::Map(pairs))
}

fn doctor(call: &mut Call<'_>) -> Result<Plan, Error> {
    let threshold_ms = call.server.config.settings().latency_monitor_threshold_ms;
    let events = call.server.slow.spikes();
    let mut report = String::new();
    if threshold_ms == 0 {
        report.push_str(
            "The latency monitor is off. Turn it on with \"CONFIG SET latency-monitor-threshold <milliseconds>\".\n",
        );
    } else if events.is_empty() {
        let _ = writeln!(
            report,
            "No command has taken {threshold_ms} ms or more since the latency monitor is on."
        );
    }
    for (event, spikes) in &events {
        let total_ms: u64 = spikes.latest.iter().map(|spike| spike.took_ms).sum();
        let _ = writeln!(
            report,
            "{event}: {} seconds with spikes, {} ms on average, the longest {} ms.",
            spikes.latest.len(),
            total_ms / (spikes.latest.len() as u64).max(1),
            spikes.longest_ms
        );
    }
    if !events.is_empty() {
        report.push_str("SLOWLOG GET shows the commands.\n");
    }
    let journal = call.server.engine.status().journal;
    if journal.slow_syncs > 0 {
        let _ = writeln!(
            report,
            "The disk took a second or more for {} of {} syncs, the longest {} ms: replies wait for them under \
             \"appendfsync always\".",
            journal.slow_syncs,
            journal.syncs,
            journal.max_sync_us / 1_000
        );
    }
    let paused = call.server.clients.current_pause();
    if paused.until_ms > clock::steady_ms() {
        report.push_str("Clients are paused (CLIENT PAUSE).\n");
    }
    reply(Reply::Verbatim(report.into()))
}

#[cfg(test)]
mod tests {
    use crate::command::server::latency::*;
    use crate::command::tests::harness::{Harness, shown};
    use crate::telemetry::slow::Spike;

    #[test]
    fn spikes_are_kept_and_forgotten() {
        let mut h = Harness::new();
        h.server.config.update(|settings| settings.enable_debug_command = crate::config::DebugAccess::Yes);
        h.expect(&[
            ("LATENCY LATEST", "[]"),
            ("LATENCY GRAPH command", "-ERR No samples available for event 'command'"),
            ("CONFIG SET latency-monitor-threshold 10", "OK"),
            ("DEBUG SLEEP 0.02", "OK"),
        ]);
        let latest = shown(&h.run("LATENCY LATEST"));
        assert!(latest.starts_with(r#"[["command", "#), "{latest}");
        let Reply::Array(history) = h.run("LATENCY HISTORY command") else { panic!("not a list") };
        assert_eq!(history.len(), 1);
        let doctor = shown(&h.run("LATENCY DOCTOR"));
        assert!(doctor.contains("command: 1 seconds with spikes"), "{doctor}");
        h.expect(&[
            ("LATENCY HISTORY fork", "[]"),
            ("LATENCY RESET fork", "0"),
            ("LATENCY RESET command fork", "1"),
            ("LATENCY LATEST", "[]"),
        ]);
    }

    #[test]
    fn a_graph_has_a_column_for_each_spike() {
        let spike = |at_s, took_ms| Spike { at_s, took_ms };
        let latest = [spike(100, 10), spike(7_300, 40), spike(10_840, 20), spike(10_895, 30)].into();
        let drawn = drawn("command", &Spikes { latest, longest_ms: 50 }, 10_900);
        let (head, columns) = drawn.split_once(&"-".repeat(80)).unwrap_or_default();
        assert_eq!(head, "command - high 40 ms, low 10 ms (all time high 50 ms)\n");
        assert_eq!(columns, "\n _\n | _\n |_|\n_|||\n\n3115\nhhms\n");
    }

    #[test]
    fn every_command_has_a_histogram_once_it_was_called() {
        let mut h = Harness::new();
        h.expect(&[
            ("LATENCY HISTOGRAM get nope", "{}"),
            ("GET k", "nil"),
            ("GET k", "nil"),
            ("CLIENT ID", "1"),
        ]);
        let shown = shown(&h.run("LATENCY HISTOGRAM get client nope"));
        assert!(shown.starts_with(r#"{"get": {"calls": 2, "histogram_usec": {"#), "{shown}");
        assert!(shown.contains(r#""client|id": {"calls": 1"#), "{shown}");
        h.expect(&[
            ("CONFIG RESETSTAT", "OK"),
            ("CONFIG SET latency-tracking no", "OK"),
            ("GET k", "nil"),
            ("LATENCY HISTOGRAM get", "{}"),
        ]);
    }
}
