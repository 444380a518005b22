//! Larder against Debian's redis-server: the same sequences of commands, by chance, on several connections. The replies
//! have to be equal byte for byte, in RESP2 and RESP3, but for the differences in `tests/differential/differences.rs`.
//!
//! The commands and their options are read from docs/COMMANDS.md; what is new there is sent at once. A sequence that
//! makes a difference is shrunk to the steps that it takes, and its seed is printed.
//!
//! `LARDER_DIFFERENTIAL_SEQUENCES=100000` plays so many sequences for each protocol. `LARDER_TEST_SEED` is the seed of
//! the first sequence; the next ones have the numbers after it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

mod support;

#[path = "differential/differences.rs"]
mod differences;
#[path = "differential/grammar.rs"]
mod grammar;
#[path = "differential/sequence.rs"]
mod sequence;
#[path = "differential/stage.rs"]
mod stage;

use grammar::Command;
use sequence::{Step, Writer};
use stage::Stage;
use support::Random;

/// After so many differences the run is over.
const DIFFERENCES_MAX: usize = 8;

/// About half a minute for each protocol.
const SEQUENCES: u64 = 800;

#[test]
fn replies_are_equal_in_resp2() {
    compare(2);
}

#[test]
fn replies_are_equal_in_resp3() {
    compare(3);
}

fn compare(protocol: u8) {
    let reference = grammar::read(include_str!("../docs/COMMANDS.md"));
    let stage = Stage::new(protocol, reference.iter().map(|command| command.name.clone()).collect());
    let known = stage.reference_has();
    let is_sent = |command: &&Command| known.contains(&command.name) && differences::is_sent(&command.name);
    let sent: Vec<&Command> = reference.iter().filter(is_sent).collect();
    assert!(sent.len() > 90, "only {} commands of docs/COMMANDS.md can be compared", sent.len());

    let writer = Writer::new(sent);
    let first_seed = Random::from_environment().next_seed();
    let count = std::env::var("LARDER_DIFFERENTIAL_SEQUENCES");
    let count =
        count.map_or(SEQUENCES, |text| text.parse().expect("LARDER_DIFFERENTIAL_SEQUENCES is a number"));
    let mut steps = 0;
    let mut differences = Vec::new();
    for at in 0..count {
        let seed = first_seed.wrapping_add(at);
        let sequence = writer.sequence(&mut Random::new(seed));
        steps += sequence.len();
        if stage.play(&sequence).is_err() {
            differences.push(described(&stage, sequence, protocol, seed));
        }
        if differences.len() == DIFFERENCES_MAX {
            break;
        }
    }
    println!("RESP{protocol}: {count} sequences, {steps} commands");
    assert!(differences.is_empty(), "\n\n{}\n", differences.join("\n\n"));
}

/// The shortest sequence that still makes a difference, and the difference.
fn described(stage: &Stage, sequence: Vec<Step>, protocol: u8, seed: u64) -> String {
    let shortest = shrunk(sequence, &|steps| stage.play(steps).is_err());
    let difference = match stage.play(&shortest) {
        Err(difference) => difference.to_string(),
        Ok(()) => "none in a second run: it depends on time".into(),
    };
    let lines: Vec<String> = shortest.iter().map(ToString::to_string).collect();
    format!(
        "RESP{protocol}; LARDER_TEST_SEED={seed} LARDER_DIFFERENTIAL_SEQUENCES=1 repeats it\n{}\n{difference}",
        lines.join("\n")
    )
}

/// Delta debugging: leaves out larger and smaller pieces as long as the rest still fails.
fn shrunk<T: Clone>(mut sequence: Vec<T>, fails: &dyn Fn(&[T]) -> bool) -> Vec<T> {
    let mut piece = sequence.len().div_ceil(2);
    loop {
        let before = sequence.len();
        let mut at = 0;
        while at < sequence.len() {
            let end = (at + piece).min(sequence.len());
            let rest = [&sequence[..at], &sequence[end..]].concat();
            if fails(&rest) {
                sequence = rest;
            } else {
                at = end;
            }
        }
        if piece == 1 && sequence.len() == before {
            return sequence;
        }
        piece = (piece / 2).max(1);
    }
}

#[test]
fn a_sequence_is_shrunk_to_what_it_takes() {
    let fails = |steps: &[u32]| steps.contains(&7) && steps.contains(&31);
    assert_eq!(shrunk((0..50).collect(), &fails), [7, 31]);
    assert_eq!(shrunk(vec![31, 7], &fails), [31, 7]);
}
