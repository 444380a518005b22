//! Tables of what was measured, in Markdown.

use std::fmt::Write as _;

use crate::loads::{self, Group, Load};
use crate::results::{Results, median};

/// The tables are between these lines of docs/BENCHMARKS.md.
const BEGIN: &str = "<!-- tables: begin -->\n";
const END: &str = "<!-- tables: end -->";
/// Ratios that differ less from 1 are not called a win or a loss.
const NOTABLE: f64 = 0.05;

/// A row of a table.
struct Figure {
    /// As in the results.
    name: &'static str,
    title: &'static str,
    better: Better,
    /// What the number is divided by, to get the unit of the title.
    divisor: f64,
    decimals: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    More,
    Less,
    /// A fact about the measurement.
    Neither,
}

const fn figure(
    name: &'static str,
    title: &'static str,
    better: Better,
    divisor: f64,
    decimals: usize,
) -> Figure {
    Figure { name, title, better, divisor, decimals }
}

use Better::{Less, More, Neither};

/// The headings of the tables, and their rows.
const GROUPS: [(Group, &str, &[Figure]); 10] = [
    (
        Group::Requests,
        "Single commands",
        &[
            figure("per_s", "requests/s", More, 1.0, 0),
            figure("p99_us", "p99, ms", Less, 1e3, 2),
            figure("cpu_us", "CPU of the server per request, µs", Less, 1.0, 2),
            figure("clients_share", "cores that the clients used", Neither, 1.0, 2),
        ],
    ),
    (
        Group::Mixed,
        "50 clients with GET beside 8 clients with SET",
        &[
            figure("get_per_s", "GET/s", More, 1.0, 0),
            figure("get_p99_us", "GET p99, ms", Less, 1e3, 2),
            figure("set_per_s", "SET/s", More, 1.0, 0),
            figure("set_p99_us", "SET p99, ms", Less, 1e3, 2),
        ],
    ),
    (
        Group::Threads,
        "Several network threads",
        &[
            figure("per_s", "requests/s", More, 1.0, 0),
            figure("cpu_us", "CPU of the server per request, µs", Less, 1.0, 2),
            figure("clients_share", "cores that the clients used", Neither, 1.0, 2),
        ],
    ),
    (Group::Engine, "The engine without a server", &[figure("per_s", "transactions/s", More, 1.0, 0)]),
    (
        Group::Records,
        "Different records",
        &[
            figure("set_per_s", "records/s acknowledged", More, 1.0, 0),
            figure("kept_per_s", "records/s until all are in their final form", More, 1.0, 0),
            figure("cpu_us", "CPU of the server per record, µs", Less, 1.0, 1),
            figure("set_longest_us", "longest wait of a writer, ms", Less, 1e3, 0),
            figure("get_p99_us", "GET p99 meanwhile, ms", Less, 1e3, 2),
            figure("memory_bytes", "memory when all are acknowledged, MB", Less, 1048576.0, 0),
            figure("disk_bytes_per_record", "bytes on disk per record", Less, 1.0, 0),
            figure("start_ms", "start after a shutdown, ms", Less, 1.0, 0),
            figure(
                "start_after_kill_ms",
                "start after `kill -9` at the end of overwriting all, ms",
                Less,
                1.0,
                0,
            ),
        ],
    ),
    (
        Group::LargerThanMemory,
        "Data larger than memory",
        &[
            figure("disk_1_thread_per_s", "direct reads of 4 KB/s, 1 thread", Neither, 1.0, 0),
            figure("disk_16_threads_per_s", "direct reads of 4 KB/s, 16 threads", Neither, 1.0, 0),
            figure("get_per_s", "GET/s", More, 1.0, 0),
            figure("get_p50_us", "GET p50, ms", Less, 1e3, 2),
            figure("get_p99_us", "GET p99, ms", Less, 1e3, 2),
            figure("get_read_bytes", "bytes read per GET", Less, 1.0, 0),
            figure("hot_get_per_s", "hot GET/s of 5 clients beside them", More, 1.0, 0),
            figure("hot_get_p50_us", "hot GET p50, ms", Less, 1e3, 2),
            figure("hot_get_p99_us", "hot GET p99, ms", Less, 1e3, 2),
            figure("set_per_s", "SET/s beside 50 readers (50,000 offered)", More, 1.0, 0),
            figure("set_longest_us", "longest wait of such a SET, its queue included, ms", Less, 1e3, 0),
            figure("beside_set_get_per_s", "GET/s beside these SETs", More, 1.0, 0),
            figure("beside_set_get_p99_us", "GET p99 beside these SETs, ms", Less, 1e3, 2),
            figure("beside_set_get_longest_us", "longest wait of a GET, ms", Less, 1e3, 0),
            figure("calm_set_per_s", "SET/s beside 50 readers (5,000 offered)", More, 1.0, 0),
            figure("calm_set_longest_us", "longest wait of such a SET, ms", Less, 1e3, 0),
            figure("beside_calm_set_get_per_s", "GET/s beside such SETs", More, 1.0, 0),
            figure("beside_calm_set_get_p99_us", "GET p99 beside such SETs, ms", Less, 1e3, 2),
        ],
    ),
    (
        Group::Eviction,
        "Hits of full caches",
        &[
            figure("same_records_hit_percent", "hits of 100, same number of records", More, 1.0, 1),
            figure("same_records_held", "records", Neither, 1.0, 0),
            figure("same_bytes_hit_percent", "hits of 100, same number of bytes", More, 1.0, 1),
            figure("same_bytes_held", "records in these bytes", More, 1.0, 0),
        ],
    ),
    (
        Group::Burst,
        "Bursts of new records",
        &[
            figure("per_s", "SET/s", More, 1.0, 0),
            figure("p99_us", "p99, ms", Less, 1e3, 2),
            figure("longest_us", "longest wait, ms", Less, 1e3, 1),
            figure("cpu_us", "CPU of the server per SET, µs", Less, 1.0, 2),
        ],
    ),
    (
        Group::Rest,
        "At rest",
        &[
            figure("core_percent", "% of a core", Less, 1.0, 3),
            figure("memory_bytes", "memory, MB", Less, 1048576.0, 1),
            figure("bytes_per_connection", "memory per connection, bytes", Less, 1.0, 0),
        ],
    ),
    (
        Group::Documents,
        "Documents",
        &[figure("per_s", "requests/s", More, 1.0, 0), figure("p99_us", "p99, ms", Less, 1e3, 2)],
    ),
];

/// A figure of Larder and of another server in the same load.
struct Comparison {
    load: &'static str,
    figure: &'static str,
    server: String,
    ratio: Ratio,
}

/// How many times better Larder is: the median of all rounds, the least and the most.
#[derive(Clone, Copy)]
struct Ratio {
    median: f64,
    range: (f64, f64),
}

/// The whole report. Fails if the results are not from loads of this program.
pub fn markdown(results: &Results) -> Result<String, String> {
    if let Some(unknown) =
        results.measured.iter().find(|found| loads::all().iter().all(|load| load.name != found.load))
    {
        return Err(format!("there is no load '{}'", unknown.load));
    }
    let mut comparisons = Vec::new();
    let tables: String = GROUPS
        .iter()
        .map(|(group, title, figures)| table(results, *group, title, figures, &mut comparisons))
        .collect();
    let mut text = conditions(results);
    text += &verdicts("What Larder loses", "slower or larger", &comparisons, |ratio| ratio < 1.0 - NOTABLE);
    text += &verdicts("What Larder wins", "faster or smaller", &comparisons, |ratio| ratio > 1.0 + NOTABLE);
    text += &tables;
    text += &gaps(results);
    Ok(text)
}

/// The document with new tables.
pub fn replace(document: &str, tables: &str) -> Result<String, String> {
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = parts.ok_or_else(|| format!("the document has no lines {BEGIN}{END}"))?;
    Ok(format!("{before}{BEGIN}\n{}\n\n{END}{after}", tables.trim()))
}

fn conditions(results: &Results) -> String {
    let machine = &results.machine;
    let mut text = format!(
        "Measured on {}: {}, {} cores, {:.0} GB of memory, Linux {}, {}; a synced write of 4 KB takes {:.0} µs. Medians of {} rounds.\n\n",
        results.date,
        machine.processor,
        machine.cores,
        machine.memory_bytes as f64 / 1e9,
        machine.kernel,
        machine.disk,
        machine.sync_us,
        results.rounds
    );
    for server in &results.servers {
        let _ = writeln!(text, "* {}: `{}`", server.name, server.version);
    }
    text
}

fn table(
    results: &Results,
    group: Group,
    title: &str,
    figures: &[Figure],
    comparisons: &mut Vec<Comparison>,
) -> String {
    let loads: Vec<&'static Load> = loads::all().iter().filter(|load| load.group == group).collect();
    let is_in = |server: &str| {
        results
            .measured
            .iter()
            .any(|found| found.server == server && loads.iter().any(|load| load.name == found.load))
    };
    let names = results.servers.iter().map(|server| server.name.as_str()).filter(|name| is_in(name));
    let servers: Vec<&str> = names.collect();
    let Some((larder, others)) = servers.split_first() else { return String::new() };
    let ratios: String = others.iter().map(|other| format!(" ratio to {other} |")).collect();
    let mut text = format!("\n### {title}\n\n| | | {} |{ratios}\n", servers.join(" | "));
    text += &format!("|{}\n", "---|".repeat(2 + servers.len() + others.len()));
    for load in loads {
        let mut heading = load.title.as_str();
        for figure in figures {
            let medians: Vec<Option<f64>> =
                servers.iter().map(|server| median(values(results, load, server, figure))).collect();
            if medians.iter().all(Option::is_none) {
                continue;
            }
            let _ = write!(text, "| {heading} | {} |", figure.title);
            heading = "";
            for median in medians {
                let _ = write!(text, " {} |", median.map_or("–".into(), |number| in_unit(number, figure)));
            }
            for other in others {
                let ratio = ratio(results, load, figure, larder, other);
                let cell = ratio.map_or("–".to_owned(), |ratio| format!("{:.2}", ratio.median));
                let _ = write!(text, " {} |", if figure.better == Neither { "" } else { &cell });
                comparisons.extend(ratio.map(|ratio| Comparison {
                    load: &load.title,
                    figure: figure.title,
                    server: (*other).to_owned(),
                    ratio,
                }));
            }
            text.push('\n');
        }
    }
    text
}

fn values(results: &Results, load: &Load, server: &str, figure: &Figure) -> Vec<f64> {
    results.figure(&load.name, server, figure.name).into_iter().map(|(_, number)| number).collect()
}

/// Of the rounds that both have.
fn ratio(results: &Results, load: &Load, figure: &Figure, larder: &str, other: &str) -> Option<Ratio> {
    let theirs = results.figure(&load.name, other, figure.name);
    let ours = results.figure(&load.name, larder, figure.name).into_iter();
    let pairs =
        ours.filter_map(|(round, ours)| Some((ours, theirs.iter().find(|(other, _)| *other == round)?.1)));
    let ratios: Vec<f64> = pairs
        .map(|(ours, theirs)| match figure.better {
            More => ours / theirs,
            Less | Neither => theirs / ours,
        })
        .filter(|ratio| ratio.is_finite() && *ratio > 0.0 && figure.better != Neither)
        .collect();
    let least = ratios.iter().copied().min_by(f64::total_cmp)?;
    let most = ratios.iter().copied().max_by(f64::total_cmp)?;
    Some(Ratio { median: median(ratios)?, range: (least, most) })
}

/// The comparisons whose ratio is like this, the most distinct first.
fn verdicts(
    title: &str,
    meaning: &str,
    comparisons: &[Comparison],
    is_meant: impl Fn(f64) -> bool,
) -> String {
    let mut meant: Vec<&Comparison> =
        comparisons.iter().filter(|found| is_meant(found.ratio.median)).collect();
    if comparisons.is_empty() {
        return String::new();
    }
    let distance = |found: &Comparison| -found.ratio.median.ln().abs();
    meant.sort_by(|one, other| distance(one).total_cmp(&distance(other)));
    let mut text = format!("\n### {title}\n\n");
    if meant.is_empty() {
        text += "Nothing in these measurements.\n";
        return text;
    }
    let _ = writeln!(text, "| load | figure | {meaning} than | ratio | range |\n|---|---|---|---|---|");
    for Comparison { load, figure, server, ratio } in meant {
        let (least, most) = ratio.range;
        let _ =
            writeln!(text, "| {load} | {figure} | {server} | {:.2} | {least:.2}–{most:.2} |", ratio.median);
    }
    text
}

/// What was not measured, and why.
fn gaps(results: &Results) -> String {
    if results.skipped.is_empty() {
        return String::new();
    }
    let mut text = "\n### Not measured\n\n".to_owned();
    for skipped in &results.skipped {
        let _ = writeln!(
            text,
            "* `{}`, round {}, {}: {}",
            skipped.load,
            skipped.round + 1,
            skipped.server,
            skipped.why
        );
    }
    text
}

/// With the digits of whole numbers in groups of three.
fn in_unit(number: f64, figure: &Figure) -> String {
    let text = format!("{:.*}", figure.decimals, number / figure.divisor);
    let (whole, fraction) =
        text.split_once('.').map_or((text.as_str(), ""), |(whole, fraction)| (whole, fraction));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}
