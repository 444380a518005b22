//! HTTP, as little of it as tests need.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::{PATIENCE, Server, free_port};

/// A Larder with an HTTP port, and that port.
pub fn larder_with_http(flags: &[&str]) -> (Server, u16) {
    larder_with_http_by(Vec::new(), flags)
}

/// The same, run by something else.
pub fn larder_with_http_by(launcher: Vec<String>, flags: &[&str]) -> (Server, u16) {
    let port = free_port();
    (Server::larder_by(launcher, &[&["--http-port", &port.to_string()], flags].concat()), port)
}

/// A connection to a port of this machine.
pub fn connect_http(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// All that is answered to a request, head and body, on a connection of its own.
pub fn exchange(port: u16, request: &str) -> String {
    let mut stream = connect_http(port);
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
