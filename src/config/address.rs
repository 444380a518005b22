//! Addresses to listen on, as Redis writes them.

use std::fmt::{self, Display};
use std::net::IpAddr;

/// An address to listen on: an IP address or a host name, `*` for all of IPv4, `::*` for all of IPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub host: String,
    /// Written with a leading `-`: it is not an error if the machine doesn't have this address.
    pub is_optional: bool,
}

impl Address {
    /// The name or address for a resolver.
    pub fn name(&self) -> &str {
        match self.host.as_str() {
            "*" => "0.0.0.0",
            "::*" => "::",
            host => host,
        }
    }

    /// Whether only this machine reaches it.
    pub fn is_local(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Addresses separated by blanks, at least one.
    pub fn parse_all(text: &str) -> Result<Vec<Address>, String> {
        let addresses: Vec<Address> = text.split_whitespace().map(Address::from).collect();
        if addresses.is_empty() || addresses.iter().any(|address| address.host.is_empty()) {
            return Err("argument must be one address or more".into());
        }
        Ok(addresses)
    }

    pub fn show_all(addresses: &[Address]) -> String {
        addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(" ")
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Address {
        let host = text.strip_prefix('-');
        Address { host: host.unwrap_or(text).to_owned(), is_optional: host.is_some() }
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.is_optional { "-" } else { "" };
        write!(f, "{mark}{}", self.host)
    }
}
