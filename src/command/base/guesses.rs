//! Counts wrong passwords by origin. After several of them, the next attempt from the same origin has to wait.
//!
//! A wait is bounded, and nobody is locked out, because the right client may share its address with an attacker. The
//! connection does the waiting; commands do not wait.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use parking_lot::Mutex;

use crate::limits::{
    WRONG_PASSWORD_ADDRESSES_MAX, WRONG_PASSWORD_DELAY_MS, WRONG_PASSWORD_DELAY_MS_MAX,
    WRONG_PASSWORDS_FORGOTTEN_MS, WRONG_PASSWORDS_FREE,
};

#[derive(Default)]
pub struct Guesses {
    by_address: Mutex<HashMap<IpAddr, Wrong>>,
}

/// A series of wrong passwords from an address, none of which came long after the one before it.
struct Wrong {
    count: u32,
    last_ms: u64,
}

impl Wrong {
    fn is_forgotten(&self, steady_ms: u64) -> bool {
        steady_ms.saturating_sub(self.last_ms) > WRONG_PASSWORDS_FORGOTTEN_MS
    }
}

impl Guesses {
    /// Records a wrong password of a client, and logs it; if there are many, only some of them.
    pub fn note(&self, client_address: &str, user: &[u8], steady_ms: u64) {
        let count = origin(client_address).map_or(1, |origin| self.count(origin, steady_ms));
        if count <= WRONG_PASSWORDS_FREE || count.is_power_of_two() {
            let user = String::from_utf8_lossy(user);
            tracing::warn!(
                address = client_address,
                user = &*user,
                count,
                "a sign-in failed: wrong user or password"
            );
        }
    }

    fn count(&self, origin: IpAddr, steady_ms: u64) -> u32 {
        let mut all = self.by_address.lock();
        if all.len() >= WRONG_PASSWORD_ADDRESSES_MAX && !all.contains_key(&origin) {
            all.retain(|_, wrong| !wrong.is_forgotten(steady_ms));
            if all.len() >= WRONG_PASSWORD_ADDRESSES_MAX
                && let Some(oldest) =
                    all.iter().min_by_key(|(_, wrong)| wrong.last_ms).map(|(origin, _)| *origin)
            {
                all.remove(&oldest);
            }
        }
        let wrong = all.entry(origin).or_insert(Wrong { count: 0, last_ms: steady_ms });
        if wrong.is_forgotten(steady_ms) {
            wrong.count = 0;
        }
        wrong.count = wrong.count.saturating_add(1);
        wrong.last_ms = steady_ms;
        wrong.count
    }

    /// How long the next attempt of a client has to wait.
    pub fn delay(&self, client_address: &str, steady_ms: u64) -> Duration {
        let Some(origin) = origin(client_address) else { return Duration::ZERO };
        let all = self.by_address.lock();
        let Some(wrong) = all.get(&origin).filter(|wrong| !wrong.is_forgotten(steady_ms)) else {
            return Duration::ZERO;
        };
        let Some(doublings) = wrong.count.checked_sub(WRONG_PASSWORDS_FREE) else { return Duration::ZERO };
        let delay_ms = 1u64
            .checked_shl(doublings)
            .map_or(u64::MAX, |times| times.saturating_mul(WRONG_PASSWORD_DELAY_MS));
        Duration::from_millis(delay_ms.min(WRONG_PASSWORD_DELAY_MS_MAX))
    }
}

/// What counts as one origin: an IPv4 address, or an IPv6 network, because one machine can have all of its addresses.
/// `None` for a Unix socket, whose permissions decide who may connect.
fn origin(client_address: &str) -> Option<IpAddr> {
    let address: SocketAddr = client_address.parse().ok()?;
    Some(match address.ip().to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        address => address,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::command::base::guesses::*;

    fn delays(guesses: &Guesses, address: &str, count: u32) -> Vec<u64> {
        let next = |_| {
            guesses.note(address, b"ada", 0);
            u64::try_from(guesses.delay(address, 0).as_millis()).unwrap_or(u64::MAX)
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn delays_grow_up_to_a_bound_and_are_forgotten() {
        let guesses = Guesses::default();
        assert_eq!(guesses.delay("10.0.0.1:1", 0), Duration::ZERO);
        let grown = delays(&guesses, "10.0.0.1:1", 100);
        assert_eq!(grown[..7], [0, 0, 0, 0, 100, 200, 400]);
        assert_eq!(grown[99], WRONG_PASSWORD_DELAY_MS_MAX);
        assert!(grown.iter().all(|delay_ms| *delay_ms <= WRONG_PASSWORD_DELAY_MS_MAX));
        assert!(!guesses.delay("10.0.0.1:2", 0).is_zero(), "another connection from there");
        assert!(guesses.delay("10.0.0.2:1", 0).is_zero());
        assert!(guesses.delay("10.0.0.1:1", WRONG_PASSWORDS_FORGOTTEN_MS + 1).is_zero());
        guesses.note("10.0.0.1:1", b"ada", WRONG_PASSWORDS_FORGOTTEN_MS + 1);
        assert!(guesses.delay("10.0.0.1:1", WRONG_PASSWORDS_FORGOTTEN_MS + 1).is_zero());
    }

    #[test]
    fn a_network_of_ipv6_is_one_origin_and_a_unix_socket_none() {
        let guesses = Guesses::default();
        for host in 0..9 {
            guesses.note(&format!("[2001:db8::{host}]:1"), b"x", 0);
            guesses.note("/run/larder.sock:0", b"x", 0);
            guesses.note(&format!("[::ffff:10.0.0.{host}]:1"), b"x", 0);
        }
        assert!(!guesses.delay("[2001:db8::ffff]:1", 0).is_zero());
        assert!(guesses.delay("[2001:db8:0:1::1]:1", 0).is_zero());
        assert!(guesses.delay("/run/larder.sock:0", 0).is_zero() && guesses.delay("10.0.0.1:1", 0).is_zero());
    }

    #[test]
    fn origins_are_bounded() {
        let guesses = Guesses::default();
        for n in 0..WRONG_PASSWORD_ADDRESSES_MAX as u32 + 10 {
            guesses.note(&format!("{}:1", std::net::Ipv4Addr::from_bits(n)), b"x", n.into());
        }
        let all = guesses.by_address.lock();
        assert!(all.len() <= WRONG_PASSWORD_ADDRESSES_MAX && !all.contains_key(&"0.0.0.0".parse().unwrap()));
    }
}
