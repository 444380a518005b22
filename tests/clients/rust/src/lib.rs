//! The server under test, as the test driver describes it to a client program.

use std::env;
use std::io::{self, Write};

/// No text in any encoding, and all that a careless protocol trips over.
pub const BINARY_KEY: &[u8] = b"\x00\xff\r\n \"'*\xfe";

pub const COMPARE_AND_DELETE: &str =
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) else return 0 end";

pub fn url() -> String {
    env::var("LARDER_URL").expect("the driver tells where the server is")
}

/// The URL for another login than the right one: a user and a password.
pub fn url_as(login: &str) -> String {
    let url = url();
    let (_, address) = url.split_once('@').expect("the server asks for a password");
    format!("redis://{login}@{address}")
}

pub fn has(feature: &str) -> bool {
    env::var("LARDER_FEATURES").is_ok_and(|features| features.split(' ').any(|name| name == feature))
}

/// Has the driver restart the server; returns when it listens again.
pub fn restart() {
    println!("restart");
    io::stdout().flush().unwrap();
    let mut line = String::new();
    io::stdin().read_line(&mut line).unwrap();
    assert_eq!(line, "\n", "the driver is gone");
}

pub fn done() {
    println!("done");
}
