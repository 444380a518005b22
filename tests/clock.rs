//! A server whose wall clock is set while it runs, or is wrong at a start.
#![allow(clippy::unwrap_used)]

mod support;

use std::thread;
use std::time::Duration;

use support::{Connection, Preloaded, Server, wait_for};

const DAY_S: i64 = 24 * 60 * 60;
const YEAR_S: i64 = 365 * DAY_S;
/// Long enough for a sweeper to look at the clock and at records many times.
const A_MOMENT: Duration = Duration::from_millis(1_500);

/// A wall clock that is wrong for servers.
struct Clock(Preloaded);

impl Clock {
    fn new() -> Clock {
        let clock = Clock(Preloaded::new("set_clock.c", "WRONG_CLOCK"));
        clock.set(0);
        clock
    }

    /// The wall clock is off by so many seconds from now on.
    fn set(&self, wrong_s: i64) {
        self.0.set(&wrong_s.to_string());
    }

    fn server(&self, flags: &[&str]) -> Server {
        self.0.server(flags)
    }
}

/// The server's own time, in seconds since 1970.
fn time_s(client: &mut Connection) -> i64 {
    client.ask("TIME").elements()[0].text().parse().unwrap()
}

#[test]
fn a_step_that_the_steady_clock_contradicts_removes_nothing() {
    let clock = Clock::new();
    let server = clock.server(&[]);
    let mut client = server.connect();
    let began_s = time_s(&mut client);
    client.ask("SET expiring 1 EX 3600");
    client.ask("STORE CREATE retained retention 3600");
    client.ask("SELECT retained");
    client.ask("SET changed 1");
    for wrong_s in [2 * DAY_S, 0, -2 * DAY_S, 0, 100 * YEAR_S, -200 * YEAR_S, 0] {
        clock.set(wrong_s);
        thread::sleep(A_MOMENT);
        client.ask("SELECT 0");
        assert_eq!(client.ask("GET expiring").text(), "1", "{wrong_s}");
        assert!((3_500..=3_600).contains(&client.ask("TTL expiring").integer()), "{wrong_s}");
        client.ask("SET new 1 PX 200");
        client.ask("CLIENT PAUSE 200 WRITE");
        client.ask("DEL held-up");
        thread::sleep(Duration::from_millis(300));
        assert_eq!(client.ask("EXISTS new").integer(), 0, "{wrong_s}: a time to live is as long as ever");
        let now_s = time_s(&mut client);
        assert!((0..600).contains(&(now_s - began_s)), "{wrong_s}: {now_s}");
        client.ask("SELECT retained");
        assert_eq!(client.ask("GET changed").text(), "1", "{wrong_s}");
    }
    server.wait_for_log("the system's clock was set");
    server.wait_for_log("agrees with the server's time again");
}

#[test]
fn retention_goes_on_after_a_run_in_the_future() {
    let clock = Clock::new();
    clock.set(74 * YEAR_S);
    let mut server = clock.server(&[]);
    server.connect().ask("SET before 1");
    thread::sleep(A_MOMENT);
    server.stop();
    clock.set(0);
    server.start();
    let mut client = server.connect();
    client.ask("SET after 1");
    client.ask("STORE SET 0 retention 1");
    wait_for(|| (client.ask("DBSIZE").integer() == 0).then_some(())).expect("both records go");
}

#[test]
fn a_run_in_the_past_makes_nothing_old() {
    let clock = Clock::new();
    clock.set(-2 * DAY_S);
    let mut server = clock.server(&[]);
    server.connect().ask("STORE SET 0 retention 86400");
    server.connect().ask("SET new 1");
    thread::sleep(A_MOMENT);
    for restart in [Server::stop, Server::kill_hard] {
        restart(&mut server);
        clock.set(0);
        server.start();
        thread::sleep(A_MOMENT);
        assert_eq!(server.connect().ask("GET new").text(), "1");
    }
}
