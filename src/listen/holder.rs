//! Who holds a port that is taken, for the error that a start then ends with.
//!
//! Linux tells in `/proc` which process has a socket, but only of one's own processes, except to root. What a server is
//! that belongs to somebody else, such as the Redis of this machine, is found out by asking it.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How long a server may take to say what it is.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(300);
/// The most that is read of what it says.
const ANSWER_BYTES_MAX: usize = 8 * 1024;
/// How many ports are tried for one to recommend.
const PORTS_TRIED: u16 = 20;

/// What to tell somebody whose port is taken, and what to do. `setting` is the name of the port's setting.
pub fn describe(address: SocketAddr, setting: &str) -> String {
    let process = process_at(address);
    let who = match &process {
        Some((id, _)) if *id == std::process::id() => {
            return format!(
                "this server itself listens there for another setting; set {setting} to another port"
            );
        }
        Some((id, name)) => format!(" (process {id}, {name})"),
        None => String::new(),
    };
    let what = kind_at(address).unwrap_or("another program");
    let free = (1..=PORTS_TRIED)
        .filter_map(|step| address.port().checked_add(step))
        .find(|port| TcpListener::bind((address.ip(), *port)).is_ok());
    let instead = free.map(|port| format!(", such as --{setting} {port}")).unwrap_or_default();
    format!("{what}{who} listens there already; stop it, or choose another port{instead}")
}

/// The id and the name of the process that listens at an address, as far as `/proc` tells.
fn process_at(address: SocketAddr) -> Option<(u32, String)> {
    let table = |name: &str| fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    let sockets: HashSet<String> =
        listening(&table("tcp"), address).chain(listening(&table("tcp6"), address)).collect();
    if sockets.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let id = ids.find(|id| {
        let files = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
        let mut targets = files.filter_map(|file| fs::read_link(file.path()).ok());
        targets.any(|target| target.to_str().is_some_and(|target| sockets.contains(target)))
    })?;
    let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
    Some((id, name.trim().to_owned()))
}

/// The sockets of a table of `/proc/net` that keep others from an address, as the links of their descriptors.
fn listening(table: &str, address: SocketAddr) -> impl Iterator<Item = String> {
    const LISTEN: &str = "0A";
    table.lines().skip(1).filter_map(move |line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (ip, port) = fields.get(1)?.split_once(':')?;
        let is_there = *fields.get(3)? == LISTEN && u16::from_str_radix(port, 16).ok()? == address.port();
        let (ip, wanted) = (parse_ip(ip)?, address.ip());
        let overlaps = ip == wanted || ip.is_unspecified() || wanted.is_unspecified();
        (is_there && overlaps).then(|| format!("socket:[{}]", fields.get(9).unwrap_or(&"")))
    })
}

/// An address as the kernel prints it: words of four bytes, as they are in memory.
fn parse_ip(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok().map(|word| u128::from(u32::from_be(word)))
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from_bits(u32::from_be(u32::from_str_radix(hex, 16).ok()?)).into()),
        32 => Some(
            Ipv6Addr::from_bits(word(0)? << 96 | word(1)? << 64 | word(2)? << 32 | word(3)?).to_canonical(),
        ),
        _ => None,
    }
}

/// What the server at an address says that it is, if it speaks the Redis protocol.
fn kind_at(mut address: SocketAddr) -> Option<&'static str> {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_TIMEOUT).ok()?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT)).ok()?;
    stream.write_all(b"PING\r\nINFO server\r\nQUIT\r\n").ok()?;
    let (mut said, mut buffer) = (Vec::new(), [0; 1024]);
    while said.len() < ANSWER_BYTES_MAX {
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => said.extend_from_slice(&buffer[..length]),
            _ => break,
        }
    }
    kind_of(&String::from_utf8_lossy(&said))
}

/// What a server is, by its answers to PING and INFO.
fn kind_of(said: &str) -> Option<&'static str> {
    const GREETINGS: [&str; 5] = ["+PONG", "-NOAUTH", "-NOPERM", "-DENIED", "-LOADING"];
    if !GREETINGS.iter().any(|greeting| said.starts_with(greeting)) {
        return None;
    }
    let kinds =
        [("\nlarder_version:", "another Larder"), ("valkey", "a Valkey"), ("\nredis_version:", "a Redis")];
    let known = kinds.iter().find(|(mark, _)| said.contains(mark));
    Some(known.map_or("a server that speaks the Redis protocol, such as a Redis,", |(_, kind)| kind))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_in_the_tables_of_the_kernel() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:18EB 00000000:0000 0A 00000000:00000000 00:00000000 00000000   103        0 22 1 0 100 0 0 10 0\n\
            1: 0100007F:18EB 0100007F:9999 01 00000000:00000000 00:00000000 00000000   103        0 23 1 0 100 0 0 10 0\n\
            2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 24 1 0 100 0 0 10 0\n\
            3: 00000000000000000000000001000000:18EB 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 25 1 0 1 0 0 10 0\n\
            4: garbage\n";
        let found = |address: &str| listening(table, address.parse().unwrap()).collect::<Vec<_>>();
        for (address, sockets) in [
            ("127.0.0.1:6379", &["socket:[22]"][..]),
            ("127.0.0.2:6379", &[]),
            ("0.0.0.0:6379", &["socket:[22]", "socket:[25]"]),
            ("127.0.0.2:8080", &["socket:[24]"]),
            ("[::1]:6379", &["socket:[25]"]),
            ("127.0.0.1:1", &[]),
        ] {
            assert_eq!(found(address), sockets, "{address}");
        }
    }

    #[test]
    fn a_server_says_what_it_is() {
        for (said, kind) in [
            ("+PONG\r\n$9\r\n# Server\r\nredis_version:7.0.15\r\n", Some("a Redis")),
            ("+PONG\r\n$9\r\n# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\n", Some("a Valkey")),
            (
                "+PONG\r\n$9\r\n# Server\r\nredis_version:8.6\r\nlarder_version:0.1.0\r\n",
                Some("another Larder"),
            ),
            (
                "-NOAUTH Authentication required.\r\n",
                Some("a server that speaks the Redis protocol, such as a Redis,"),
            ),
            ("HTTP/1.1 400 Bad Request\r\n", None),
            ("", None),
        ] {
            assert_eq!(kind_of(said), kind, "{said}");
        }
    }
}
