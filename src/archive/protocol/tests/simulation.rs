//! Many worlds, sound ones and broken ones.

use super::chance::Chance;
use super::world::{Broken, LEASE_MS, Setting, Tally, Trouble, World};
use crate::archive::protocol::Ack;

/// Events in one world, before everything is healed.
const STEPS_OF_A_WORLD: u64 = 10_000;
/// The slowest holder stops after `(10 - 3) / 0.85 = 8.2` s, before the fastest taker begins after `10 / 1.15 = 8.7` s.
const SOUND: Setting =
    Setting { ack: Ack::Archived, servers: 3, margin_ms: 3_000, drift: 150, is_endless: false, broken: None };
/// Clocks for which the margin is by far too small.
const SKEWED: Setting = Setting { drift: 400, servers: 4, ..SOUND };

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn steps() -> u64 {
    from_environment("LARDER_SIM_STEPS").unwrap_or(100_000)
}

/// Runs worlds until there were so many steps, or something is wrong; says with which seed.
fn simulate(setting: Setting, steps: u64, seed: u64) -> (Tally, Option<String>) {
    let (mut sum, mut seeds) = (Tally::default(), seed..);
    while sum.steps < steps {
        let seed = seeds.next().expect("a seed");
        let (tally, violation) = World::new(setting, Chance::new(seed).number()).run(STEPS_OF_A_WORLD);
        sum += tally;
        if let Some(violation) = violation {
            return (sum, Some(format!("{violation}; {setting:?}, LARDER_SIM_SEED={seed}")));
        }
    }
    (sum, None)
}

fn holds(setting: Setting) {
    let seed = from_environment("LARDER_SIM_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 32);
    let (tally, violation) = simulate(setting, steps(), seed);
    println!("{setting:?}: {tally:?}");
    assert!(violation.is_none(), "{}", violation.unwrap_or_default());
    assert!(tally.epochs > tally.worlds && tally.acknowledged > 0, "nothing happened: {tally:?}");
}

#[test]
fn what_the_archive_has_acknowledged_is_never_lost() {
    holds(SOUND);
}

#[test]
fn one_node_at_a_time_acknowledges_what_it_has_only_itself() {
    holds(Setting { ack: Ack::Local, ..SOUND });
}

/// Without the lease, the fence alone keeps what was archived.
#[test]
fn clocks_beyond_the_margin_lose_nothing_that_the_archive_has() {
    holds(SKEWED);
}

/// Without failover, a server serves on while the archive is out of reach, and nobody minds the clocks.
#[test]
fn endless_leases_are_handed_over_only() {
    holds(Setting { ack: Ack::Local, is_endless: true, ..SKEWED });
}

/// In simulated time: requests take 6 to 10 ms, and servers look at the archive every 200 ms.
#[test]
fn how_long_nobody_leads() {
    for (what, at_most_ms, trouble) in [
        ("a planned failover", 1_000, Trouble::FailOver),
        ("a crash", LEASE_MS + 3_000, Trouble::Crash),
        ("a shutdown", 1_000, Trouble::ShutDown),
    ] {
        let calm = Setting { drift: 0, margin_ms: 1_000, ..SOUND };
        let longest_ms = (0..50).map(|seed| World::new(calm, seed).takeover_ms(trouble)).max();
        println!("{what}: {longest_ms:?} ms");
        assert!(longest_ms.is_some_and(|ms| ms <= at_most_ms), "{what} takes {longest_ms:?} ms");
    }
}

#[test]
fn whatever_is_broken_is_found() {
    let local = Setting { ack: Ack::Local, ..SOUND };
    let broken = |broken, setting: Setting| Setting { broken: Some(broken), ..setting };
    let cases = [
        ("clocks beyond the margin", Setting { ack: Ack::Local, ..SKEWED }),
        ("no margin", Setting { margin_ms: 0, ..local }),
        ("a margin that is too small", Setting { margin_ms: 1_000, ..local }),
        ("no fence", broken(Broken::Fence, SKEWED)),
        ("a segment that exists is overlooked", broken(Broken::Conflict, SKEWED)),
        ("an upload is not read back", broken(Broken::LostUpload, SOUND)),
        ("a renewal is not read back", broken(Broken::LostRenewal, local)),
        ("the lease is overwritten", broken(Broken::BlindLease, local)),
        ("acknowledgements after the lease", broken(Broken::Overtime, local)),
        ("forgotten epochs", broken(Broken::Mark, local)),
        ("nothing is kept aside", broken(Broken::Aside, local)),
        ("segments are deleted too early", broken(Broken::Prune, local)),
    ];
    for (what, setting) in cases {
        let (tally, violation) = simulate(setting, 10_000_000, 1);
        println!("{what}: found after {} steps: {violation:?}", tally.steps);
        assert!(violation.is_some(), "{what} is not found: {tally:?}");
    }
}
