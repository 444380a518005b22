//! Every parser against bytes that nobody meant: valid inputs, changed by chance, and what has been found before.
//!
//! A target names what must hold for any input; that nothing panics and nothing hangs goes without saying. An input that
//! breaks it is shrunk and printed, and belongs into the target's seeds from then on.
//!
//! `LARDER_FUZZ_SECONDS` is the time for each target. By default 8 seconds, so that all of them together take about half a
//! minute on two cores; a debug build tries 10,000 to 60,000 inputs of each in it. `LARDER_TEST_SEED` repeats a run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, clippy::disallowed_methods)]

mod support;

#[path = "fuzz/arguments.rs"]
mod arguments;
#[path = "fuzz/bytes.rs"]
mod bytes;
#[path = "fuzz/mutation.rs"]
mod mutation;
#[path = "fuzz/scripts.rs"]
mod scripts;

use std::cell::Cell;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};
use support::Random;

const SECONDS: u64 = 8;
/// Inputs between two looks at the clock.
const BATCH: u32 = 500;

/// How long each target takes.
fn seconds() -> u64 {
    let seconds = std::env::var("LARDER_FUZZ_SECONDS");
    seconds.map_or(SECONDS, |text| text.parse().expect("LARDER_FUZZ_SECONDS is a number"))
}

/// Tries inputs until the time is up.
fn fuzz<S: Strategy>(target: &str, inputs: &S, holds: impl Fn(S::Value) -> TestCaseResult)
where
    S::Value: Debug,
{
    let seconds = seconds();
    let mut random = Random::from_environment();
    let begin = Instant::now();
    let tried = Cell::new(0);
    while begin.elapsed() < Duration::from_secs(seconds) {
        let seed: Vec<u8> = (0..4).flat_map(|_| random.next().to_be_bytes()).collect();
        let config = Config { cases: BATCH, failure_persistence: None, ..Config::default() };
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let outcome = TestRunner::new_with_rng(config, rng).run(inputs, |input| {
            tried.set(tried.get() + 1);
            holds(input)
        });
        if let Err(failure) = outcome {
            panic!("{target}: {failure}");
        }
    }
    println!("{target}: {} inputs", tried.get());
}
