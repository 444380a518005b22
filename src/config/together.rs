//! Values that come from several settings, and combinations of settings that are not allowed.

use std::time::Duration;

use super::settings::LOG_LEVELS;
use super::units::{parse_word, word};
use super::{Address, Settings};
use crate::archive;
use crate::store::ServerQuota;
use crate::store::eviction::Policy;
use crate::telemetry::slow::Thresholds;

impl Settings {
    /// The limits over all stores.
    pub fn quota(&self) -> ServerQuota {
        ServerQuota {
            max_stores: self.max_stores,
            max_keys: self.max_keys,
            max_bytes: self.max_bytes,
            evict: self.maxmemory_policy,
        }
    }

    /// How the archive is kept, if there is one.
    pub fn archive_options(&self) -> Option<archive::Options> {
        Some(archive::Options {
            place: self.archive.clone()?,
            interval: Duration::from_secs(self.archive_interval_s),
            keep: Duration::from_secs(self.archive_keep_s),
            ack: self.archive_ack,
            timeout: Duration::from_secs(self.archive_timeout_s),
        })
    }

    /// The name of what is evicted when a limit over all stores is reached.
    pub fn maxmemory_policy_name(&self) -> String {
        word(&self.maxmemory_policy, Policy::NAMES)
    }

    /// The thresholds of the slow log and the latency monitor.
    pub fn slow_thresholds(&self) -> Thresholds {
        Thresholds {
            slow_us: self.slowlog_log_slower_than_us,
            entries_max: self.slowlog_max_len,
            spike_ms: self.latency_monitor_threshold_ms,
        }
    }

    /// Checks whether values that are valid one by one are valid together.
    pub fn check(&self) -> Result<(), String> {
        if self.aclfile.is_some() && !self.users.is_empty() {
            return Err("users come from aclfile or from the settings file, not from both; drop one".into());
        }
        // if users are described elsewhere, it is known only after reading them who gets in without a password
        let has_users = self.aclfile.is_some() || !self.users.is_empty();
        self.check_door(self.requirepass.is_none() && !has_users)
    }

    /// Protected mode: if no password is required, the server must not be reachable from other machines.
    pub fn check_door(&self, is_open: bool) -> Result<(), String> {
        if !is_open || !self.protected_mode {
            return Ok(());
        }
        let is_wide = |addresses: &[Address]| !addresses.iter().all(Address::is_local);
        let door = if is_wide(&self.bind) {
            format!("bind {}", Address::show_all(&self.bind))
        } else if self.has_http() && is_wide(&self.http_bind) {
            format!("http-bind {}", Address::show_all(&self.http_bind))
        } else {
            return Ok(());
        };
        Err(format!(
            "{door} would let others than this machine in without a password; set requirepass, or protected-mode no"
        ))
    }

    /// A warning, if other machines can reach plain HTTP while the Redis protocol is served only over TLS.
    pub fn plain_http_beside_tls(&self) -> Option<String> {
        let only_tls = self.tls_port != 0 && self.port == 0;
        let is_wide = self.http_port != 0 && !self.http_bind.iter().all(Address::is_local);
        (only_tls && is_wide).then(|| {
            format!(
                "there is no plain port for the Redis protocol, but http-port serves passwords and records in plain text at \
                 {}; set http-port 0 and https-port, or a local http-bind",
                Address::show_all(&self.http_bind)
            )
        })
    }

    /// The filter of the log.
    pub fn log_filter(&self) -> &'static str {
        parse_word(&self.loglevel, LOG_LEVELS).unwrap_or("info")
    }

    /// Whether there is HTTP at all, plain or over TLS.
    pub fn has_http(&self) -> bool {
        self.http_port != 0 || self.https_port != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bind: &str, requirepass: Option<&str>, protected_mode: bool) -> bool {
        let bind = Address::parse_all(bind).unwrap_or_default();
        let requirepass = requirepass.map(str::to_owned);
        Settings { bind, requirepass, protected_mode, ..Settings::default() }.check().is_err()
    }

    #[test]
    fn an_open_door_needs_a_password_or_a_word() {
        assert!(!refused("127.0.0.1 ::1 localhost", None, true));
        assert!(refused("0.0.0.0", None, true));
        assert!(refused("127.0.0.1 *", None, true));
        assert!(!refused("0.0.0.0", Some("secret"), true));
        assert!(!refused("0.0.0.0", None, false));
    }

    #[test]
    fn http_is_a_door_of_its_own() {
        let refused = |http_port: u16, https_port: u16, http_bind: &str| {
            let http_bind = Address::parse_all(http_bind).unwrap_or_default();
            Settings { http_bind, http_port, https_port, ..Settings::default() }.check().err()
        };
        for (http_port, https_port, http_bind, is_refused) in [
            (8379, 0, "127.0.0.1 -::1 localhost", false),
            (8379, 0, "0.0.0.0", true),
            (0, 8380, "0.0.0.0", true),
            (8379, 0, "127.0.0.1 -::*", true),
            // nobody listens
            (0, 0, "0.0.0.0", false),
        ] {
            let told = refused(http_port, https_port, http_bind);
            assert_eq!(told.is_some(), is_refused, "{http_bind}");
            assert!(told.is_none_or(|told| told.starts_with(&format!("http-bind {http_bind} would"))));
        }
    }

    #[test]
    fn plain_http_beside_tls_alone_is_told() {
        for (port, tls_port, http_port, http_bind, is_told) in [
            (0, 6380, 8379, "0.0.0.0", true),
            (0, 6380, 8379, "127.0.0.1", false),
            (0, 6380, 0, "0.0.0.0", false),
            (6379, 6380, 8379, "0.0.0.0", false),
            (6379, 0, 8379, "0.0.0.0", false),
        ] {
            let http_bind = Address::parse_all(http_bind).unwrap_or_default();
            let settings = Settings { port, tls_port, http_port, http_bind, ..Settings::default() };
            assert_eq!(settings.plain_http_beside_tls().is_some(), is_told, "{port} {tls_port} {http_port}");
        }
    }
}
