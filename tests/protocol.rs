//! The protocol byte for byte, over raw sockets: what is well formed, what is not, and what is too much.
//!
//! Where Redis has to answer the same, the same bytes go to both; `cargo test --test protocol ::redis` asks it alone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod support;

use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use support::{Connection, Kind, Reply, Server, printable, request};

/// Makes a test for each kind of server out of a function that takes one.
macro_rules! on_both {
    ($($name:ident($($flag:literal),*)),+ $(,)?) => {
        $(mod $name {
            use super::{Kind, Server};

            #[test]
            fn larder() {
                super::$name(&Server::of_kind(Kind::Larder, &[$($flag),*]));
            }

            #[test]
            fn redis() {
                super::$name(&Server::of_kind(Kind::Redis, &[$($flag),*]));
            }
        })+
    };
}

on_both! {
    well_formed_requests(),
    malformed_requests_close(),
    lines_without_an_end(),
    limits_before_authentication("--requirepass", "secret"),
    one_byte_at_a_time(),
    a_pipeline_is_answered_in_order(),
    a_half_sent_request_is_not_executed(),
    too_many_clients("--maxclients", "3"),
    replies_turned_off(),
    resp2_and_resp3(),
    a_pause_of_writes_holds_up_what_has_an_effect(),
    what_a_connection_holds_is_told(),
}

/// What a server does after its replies.
enum Then {
    LivesOn,
    Closes,
}
use Then::{Closes, LivesOn};

/// Sends bytes on a connection of their own and compares everything that comes back.
fn exchange(server: &Server, sent: &[u8], expected: &[u8], then: &Then) {
    let mut connection = server.connect();
    connection.send(sent);
    exchange_on(&mut connection, sent, expected, then);
}

fn exchange_on(connection: &mut Connection, sent: &[u8], expected: &[u8], then: &Then) {
    let received = match then {
        Closes => connection.read_to_close(),
        LivesOn => {
            // the marker shows that nothing came behind the reply
            connection.send(b"*2\r\n$4\r\nECHO\r\n$6\r\nmarker\r\n");
            let mut received = connection.read_bytes(expected.len() + b"$6\r\nmarker\r\n".len());
            let marker_at = received.len().saturating_sub(b"$6\r\nmarker\r\n".len());
            assert_eq!(printable(&received[marker_at..]), r"$6\r\nmarker\r\n", "after {}", start_of(sent));
            received.truncate(marker_at);
            received
        }
    };
    assert_eq!(printable(&received), printable(expected), "after {}", start_of(sent));
}

fn start_of(bytes: &[u8]) -> String {
    printable(&bytes[..bytes.len().min(100)])
}

fn well_formed_requests(server: &Server) {
    let cases: &[(&[u8], &[u8])] = &[
        // inline
        (b"PING\r\n", b"+PONG\r\n"),
        (b"PING\n", b"+PONG\r\n"),
        (b"  PING \t hello \r\n", b"$5\r\nhello\r\n"),
        (b"\r\n\n\r\nPING\r\n", b"+PONG\r\n"),
        (b"ECHO \"a b\"\r\n", b"$3\r\na b\r\n"),
        (b"ECHO 'it\\'s'\r\n", b"$4\r\nit's\r\n"),
        (b"ECHO \"\\x41\\n\\t\\q\\\"\"\r\n", b"$5\r\nA\n\tq\"\r\n"),
        (b"ECHO \"\"\r\n", b"$0\r\n\r\n"),
        // arrays
        (b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"),
        (b"*0\r\n*-1\r\n*-5\r\nPING\r\n", b"+PONG\r\n"),
        (b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", b"$0\r\n\r\n"),
        (b"*2\r\n$4\r\nECHO\r\n$4\r\na\r\nb\r\n", b"$4\r\na\r\nb\r\n"),
        (b"*2\r\n$4\r\nEcHo\r\n$3\r\n\x00\xff\x80\r\n", b"$3\r\n\x00\xff\x80\r\n"),
        (b"*2\r\n$0\r\n\r\n$1\r\nx\r\n", b"-ERR unknown command '', with args beginning with: 'x' \r\n"),
        // one after the other, of both kinds
        (b"PING\r\n*1\r\n$4\r\nPING\r\nPING x\r\n", b"+PONG\r\n+PONG\r\n$1\r\nx\r\n"),
    ];
    for (sent, expected) in cases {
        exchange(server, sent, expected, &LivesOn);
    }
}

fn malformed_requests_close(server: &Server) {
    let cases: &[(&[u8], &str)] = &[
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"* 1\r\n", "invalid multibulk length"),
        (b"*01\r\n", "invalid multibulk length"),
        (b"*1\n$4\r\nPING\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\nPING\r\n", "expected '$', got 'P'"),
        (b"*1\r\n\r\n", "expected '$', got ' '"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\n*1\r\n$4\r\nPING\r\n", "expected '$', got '*'"),
        (b"*2\r\n$4\r\nECHO\r\n*1\r\n", "expected '$', got '*'"),
        (b"*1\r\n$abc\r\n", "invalid bulk length"),
        (b"*1\r\n$\r\n", "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$+4\r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$4\nPING\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$99999999999999999999\r\n", "invalid bulk length"),
        (b"SET k \"abc\r\n", "unbalanced quotes in request"),
        (b"GET 'k\r\n", "unbalanced quotes in request"),
        (b"GET \"k\"x\r\n", "unbalanced quotes in request"),
    ];
    for (sent, what) in cases {
        let error = format!("-ERR Protocol error: {what}\r\n");
        exchange(server, sent, error.as_bytes(), &Closes);
        // what came before has its answer, what comes behind has none
        let pipeline = [b"PING\r\n", *sent, b"\r\nPING\r\n"].concat();
        exchange(server, &pipeline, format!("+PONG\r\n{error}").as_bytes(), &Closes);
    }
    // a web browser that was tricked into talking to this port is not listened to
    exchange(server, b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nPING\r\n", b"", &Closes);
}

fn lines_without_an_end(server: &Server) {
    let long = 70_000;
    let cases = [
        (vec![b'x'; long], "too big inline request"),
        ([b"*".as_slice(), &vec![b'1'; long]].concat(), "too big mbulk count string"),
        ([b"*1\r\n$".as_slice(), &vec![b'1'; long]].concat(), "too big bulk count string"),
    ];
    for (sent, what) in cases {
        let error = format!("-ERR Protocol error: {what}\r\n");
        exchange(server, &sent, error.as_bytes(), &Closes);
    }
}

fn limits_before_authentication(server: &Server) {
    let cases: &[(&[u8], &str)] = &[
        (b"*11\r\n", "unauthenticated multibulk length"),
        (b"*1\r\n$16385\r\n", "unauthenticated bulk length"),
    ];
    for (sent, what) in cases {
        let error = format!("-ERR Protocol error: {what}\r\n");
        exchange(server, sent, error.as_bytes(), &Closes);
    }
    let largest = request(&[b"ECHO".to_vec(), vec![b'x'; 16_384]]);
    let mut connection = server.connect();
    connection.send(&largest);
    assert!(connection.read().is_error("NOAUTH"));

    // with the password they are gone
    let mut connection = server.connect();
    assert_eq!(connection.ask("AUTH secret"), Reply::ok());
    let large = vec![b'x'; 100_000];
    assert_eq!(connection.call(&[b"ECHO".as_slice(), &large]), Reply::Bulk(large.clone()));
    let many: Vec<String> = (0..100).map(|index| format!("key:{index}")).collect();
    let mut exists = vec!["EXISTS"];
    exists.extend(many.iter().map(String::as_str));
    assert_eq!(connection.call(&exists), Reply::Integer(0));
}

fn one_byte_at_a_time(server: &Server) {
    let requests = [
        request(&["SET", "key", "\"a value\""]),
        b"GET key\r\n".to_vec(),
        request(&["MGET", "key", "other"]),
        b"\r\nPING \"x y\"\n".to_vec(),
    ]
    .concat();
    let mut connection = server.connect();
    for byte in requests {
        connection.send(&[byte]);
    }
    let expected = b"+OK\r\n$9\r\n\"a value\"\r\n*2\r\n$9\r\n\"a value\"\r\n$-1\r\n$3\r\nx y\r\n";
    assert_eq!(printable(&connection.read_bytes(expected.len())), printable(expected));
}

fn a_pipeline_is_answered_in_order(server: &Server) {
    let count = 10_000;
    let mut connection = server.connect();
    let mut socket = connection.socket();
    let writer = thread::spawn(move || {
        let mut pipeline = Vec::new();
        for index in 0..count {
            pipeline.extend(request(&["SET", &format!("key:{index}"), &index.to_string()]));
            pipeline.extend(request(&["GET", &format!("key:{index}")]));
            pipeline.extend(request(&["NONSENSE"]));
        }
        socket.write_all(&pipeline).unwrap();
    });
    for index in 0..count {
        assert_eq!(connection.read(), Reply::ok());
        assert_eq!(connection.read(), Reply::bulk(index.to_string()));
        assert!(connection.read().is_error("ERR unknown command"));
    }
    writer.join().unwrap();
}

fn a_half_sent_request_is_not_executed(server: &Server) {
    let whole = request(&["SET", "half", "1"]);
    for cut in 1..whole.len() {
        let mut connection = server.connect();
        connection.send(&whole[..cut]);
        connection.socket().shutdown(Shutdown::Write).unwrap();
        assert_eq!(printable(&connection.read_to_close()), "");
    }
    assert_eq!(server.connect().ask("EXISTS half"), Reply::Integer(0));
}

fn too_many_clients(server: &Server) {
    let mut clients: Vec<Connection> = Vec::new();
    // connections that were closed before may not have been noticed yet
    while clients.len() < 3 {
        let mut client = server.connect();
        if client.try_send(b"PING\r\n").is_ok()
            && client.try_read().is_ok_and(|reply| reply.bytes() == b"PONG")
        {
            clients.push(client);
        }
    }
    let refusal = server.connect().read_to_close();
    assert_eq!(printable(&refusal), r"-ERR max number of clients reached\r\n");
    for client in &mut clients {
        assert_eq!(client.ask("ECHO 1"), Reply::bulk("1"));
    }
    // and when one leaves there is room for another
    clients.pop();
    loop {
        let mut client = server.connect();
        if client.try_send(b"PING\r\n").is_ok()
            && client.try_read().is_ok_and(|reply| reply.bytes() == b"PONG")
        {
            break;
        }
    }
}

fn replies_turned_off(server: &Server) {
    let cases: &[(&[u8], &[u8])] = &[
        (b"CLIENT REPLY OFF\r\nPING\r\nGET\r\nNONSENSE\r\nCLIENT REPLY ON\r\nPING\r\n", b"+OK\r\n+PONG\r\n"),
        (b"CLIENT REPLY SKIP\r\nPING\r\nPING x\r\n", b"$1\r\nx\r\n"),
        (b"CLIENT REPLY SKIP\r\nCLIENT REPLY SKIP\r\nPING\r\nPING x\r\n", b"$1\r\nx\r\n"),
        (b"CLIENT REPLY OFF\r\nCLIENT REPLY SKIP\r\nPING\r\nCLIENT REPLY ON\r\n", b"+OK\r\n"),
    ];
    for (sent, expected) in cases {
        exchange(server, sent, expected, &LivesOn);
    }
}

fn resp2_and_resp3(server: &Server) {
    let mut connection = server.connect();
    connection.send(b"HELLO 3\r\n");
    let greeting = connection.read_raw();
    assert!(greeting.starts_with(b"%7\r\n$6\r\nserver\r\n"), "{}", printable(&greeting));
    exchange_on_sending(&mut connection, b"GET missing\r\n", b"_\r\n");
    exchange_on_sending(&mut connection, b"MGET missing\r\n", b"*1\r\n_\r\n");
    exchange_on_sending(&mut connection, b"CONFIG GET timeout\r\n", b"%1\r\n$7\r\ntimeout\r\n$1\r\n0\r\n");
    connection.send(b"HELLO 2\r\n");
    let greeting = connection.read_raw();
    assert!(greeting.starts_with(b"*14\r\n$6\r\nserver\r\n"), "{}", printable(&greeting));
    exchange_on_sending(&mut connection, b"GET missing\r\n", b"$-1\r\n");
    exchange_on_sending(&mut connection, b"CONFIG GET timeout\r\n", b"*2\r\n$7\r\ntimeout\r\n$1\r\n0\r\n");
    // a refused version changes nothing
    exchange_on_sending(&mut connection, b"HELLO 4\r\n", b"-NOPROTO unsupported protocol version\r\n");
    exchange_on_sending(&mut connection, b"GET missing\r\n", b"$-1\r\n");
}

fn exchange_on_sending(connection: &mut Connection, sent: &[u8], expected: &[u8]) {
    connection.send(sent);
    exchange_on(connection, sent, expected, &LivesOn);
}

/// 64 MB in one command, in pieces of the size of a packet.
#[test]
fn a_large_request_in_small_pieces() {
    let server = Server::larder(&[]);
    let count = 64;
    let mut args = vec![b"MSET".to_vec()];
    for index in 0..count {
        args.push(format!("large:{index}").into_bytes());
        args.push(json_text(index, 1 << 20));
    }
    let mut connection = server.connect();
    for piece in request(&args).chunks(1400) {
        connection.send(piece);
    }
    assert_eq!(connection.read(), Reply::ok());
    for index in [0, 31, 63] {
        let value = connection.ask(&format!("GET large:{index}"));
        assert!(value == Reply::Bulk(json_text(index, 1 << 20)), "large:{index} differs");
    }
    assert_eq!(connection.ask("DBSIZE"), Reply::Integer(count));
}

/// What a client announces and does not send costs next to nothing.
#[test]
fn announcements_are_cheap() {
    let server = Server::larder(&[]);
    let before = server.resident_bytes();
    let announcements: [&[u8]; 4] = [
        b"*1000000\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n",
        b"*2\r\n$536870912\r\n",
        b"*1000000\r\n$3\r\nSET\r\n$536870912\r\n{",
    ];
    let mut silent = Vec::new();
    for index in 0..100 {
        let mut connection = server.connect();
        connection.send(announcements[index % announcements.len()]);
        silent.push(connection);
    }
    // the server has read them all once it has answered someone who came later
    assert_eq!(server.connect().ask("ECHO 1"), Reply::bulk("1"));
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "100 silent connections cost {grown} bytes");
}

/// A client that asks and never reads is made to wait; it costs a bounded amount of memory, and nobody else waits.
#[test]
fn a_client_that_does_not_read_is_held_back() {
    // large replies leave one by one, small ones together
    for (value_bytes, replies) in [(1 << 20, 1_000), (4 << 10, 100_000)] {
        hold_back(value_bytes, replies);
    }
}

fn hold_back(value_bytes: usize, replies: usize) {
    let server = Server::larder(&[]);
    let mut other = server.connect();
    let value = json_text(1, value_bytes);
    assert_eq!(other.call(&[b"SET".as_slice(), b"large", &value]), Reply::ok());
    let before = server.resident_bytes();

    let mut greedy = server.connect();
    let mut socket = greedy.socket();
    let writer = thread::spawn(move || {
        let pipeline = request(&["GET", "large"]).repeat(replies);
        socket.write_all(&pipeline).unwrap();
    });
    // the others are served, and give the server time to do what it should not
    for index in 0..200 {
        assert_eq!(other.ask(&format!("SET key:{index} {index}")), Reply::ok());
        thread::sleep(Duration::from_millis(5));
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 200 << 20, "a client that does not read costs {grown} bytes");

    // nothing was lost meanwhile
    for index in 0..replies {
        assert!(greedy.read() == Reply::Bulk(value.clone()), "reply {index} differs");
    }
    writer.join().unwrap();
}

/// Replies that nobody reads keep no connection from being killed, and no server from stopping.
#[test]
fn replies_that_nobody_reads_stop_nobody() {
    let mut server = Server::larder(&[]);
    let mut other = server.connect();
    other.call(&[b"SET".as_slice(), b"k", &json_text(1, 2_000)]);
    let pipeline = request(&["GET", "k"]).repeat(32);
    let greedy = || {
        let mut greedy = server.connect();
        let id = greedy.ask("CLIENT ID").integer();
        let socket = greedy.socket();
        socket.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        while greedy.try_send(&pipeline).is_ok() {}
        (greedy, id)
    };
    let (mut killed, id) = greedy();
    let (stopped, _) = greedy();
    assert_eq!(other.ask(&format!("CLIENT KILL ID {id}")), Reply::Integer(1));
    let is_gone = || (!other.ask("CLIENT LIST").text().contains(&format!("id={id} "))).then_some(());
    support::wait_for(is_gone).expect("the connection ends");
    assert!(killed.read_to_close().len() > 2_000);
    server.stop();
    drop(stopped);
}

/// Who says that nothing more will come still gets all replies.
#[test]
fn a_pipeline_is_answered_after_its_sender_has_closed_its_side() {
    let server = Server::larder(&[]);
    for count in [1, 100, 10_000] {
        let mut connection = server.connect();
        connection.send(&b"INCR n\r\n".repeat(count));
        connection.socket().shutdown(std::net::Shutdown::Write).unwrap();
        let replies = connection.read_to_close();
        assert_eq!(replies.iter().filter(|byte| **byte == b'\n').count(), count);
    }
}

/// A server that is told to stop answers what it has received, and refuses who comes later.
#[test]
fn a_stop_answers_what_was_received() {
    let mut server = Server::larder(&[]);
    let mut connection = server.connect();
    assert_eq!(connection.ask("SET k 1"), Reply::ok());
    let mut idle = server.connect();
    assert_eq!(idle.ask("PING"), Reply::Simple(b"PONG".to_vec()));
    server.stop();
    assert_eq!(printable(&idle.read_to_close()), "");
    server.start();
    assert_eq!(server.connect().ask("GET k"), Reply::bulk("1"));
}

/// A JSON string of about this many bytes that does not compress well, different for every seed.
fn json_text(seed: i64, size: usize) -> Vec<u8> {
    let mut text = vec![b'"'];
    let mut state = u64::try_from(seed).unwrap() + 1;
    while text.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        text.extend_from_slice(format!("{:016x}", state).as_bytes());
    }
    text.push(b'"');
    text
}

/// A field of INFO.
fn field(connection: &mut Connection, name: &str) -> u64 {
    let text = connection.ask("INFO everything").to_string();
    let (_, rest) = text.split_once(&format!("{name}:")).expect(name);
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

/// Waits until a field of INFO has a value.
fn wait_for_field(connection: &mut Connection, name: &str, value: u64) {
    for _ in 0..3_000 {
        if field(connection, name) == value {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("{name} is not {value} but {}", field(connection, name));
}

fn a_pause_of_writes_holds_up_what_has_an_effect(server: &Server) {
    let mut administrator = server.connect();
    let mut listener = server.connect();
    let mut queued = server.connect();
    listener.ask("SUBSCRIBE c");
    queued.ask("MULTI");
    queued.ask("SET b 1");
    administrator.ask("SET short 1 PX 300");
    assert_eq!(administrator.ask("CLIENT PAUSE 100000 WRITE"), Reply::ok());
    let expired = field(&mut administrator, "expired_keys");

    let mut held = Vec::new();
    for line in ["SET a 1", "PUBLISH c m", "SPUBLISH c m", "EVAL \"return 1\" 0"] {
        let mut connection = server.connect();
        connection.send(&request(&support::script::arguments(line)));
        held.push(connection);
        wait_for_field(&mut administrator, "blocked_clients", held.len() as u64);
    }
    queued.send(&request(&support::script::arguments("EXEC")));
    wait_for_field(&mut administrator, "blocked_clients", held.len() as u64 + 1);
    assert!(administrator.ask("CLIENT LIST").to_string().contains(" flags=b "));

    let mut other = server.connect();
    for line in
        ["GET a", "PING", "HELLO", "EVAL_RO \"return 1\" 0", "SET a", "NOPE", "MULTI", "GET a", "EXEC"]
    {
        other.send(&request(&support::script::arguments(line)));
        other.try_read().expect(line);
    }
    while administrator.ask("EXISTS short") != Reply::Integer(0) {
        thread::sleep(Duration::from_millis(10));
    }
    // what is due is absent, and stays where it is
    thread::sleep(Duration::from_millis(400));
    assert_eq!(field(&mut administrator, "expired_keys"), expired);

    // one who is held up is sent what others have for him, and may leave
    drop(held.pop());
    wait_for_field(&mut administrator, "blocked_clients", held.len() as u64 + 1);
    assert_eq!(administrator.ask("CLIENT UNPAUSE"), Reply::ok());
    for connection in held.iter_mut().chain([&mut queued]) {
        connection.try_read().expect("an answer");
    }
    assert_eq!(listener.try_read().unwrap().to_string().matches("message").count(), 1);
    wait_for_field(&mut administrator, "blocked_clients", 0);
    wait_for_field(&mut administrator, "expired_keys", expired + 1);
}

/// A number in the line of CLIENT LIST of a connection.
fn told(administrator: &mut Connection, id: &str, field: &str) -> i64 {
    let line = administrator.ask(&format!("CLIENT LIST ID {id}")).text();
    let (_, rest) = line.split_once(&format!(" {field}=")).expect(field);
    rest.split(' ').next().unwrap().parse().unwrap()
}

fn what_a_connection_holds_is_told(server: &Server) {
    let mut administrator = server.connect();
    let Reply::Integer(own) = administrator.ask("CLIENT ID") else { panic!("no id") };
    let request = request(&support::script::arguments(&format!("CLIENT LIST ID {own}")));
    let own = own.to_string();
    assert!(told(&mut administrator, &own, "fd") > 2);
    assert_eq!(told(&mut administrator, &own, "qbuf"), request.len() as i64);
    assert!(told(&mut administrator, &own, "qbuf-free") > 0);
    assert_eq!(told(&mut administrator, &own, "argv-mem"), ("CLIENTLISTID".len() + own.len()) as i64);

    let mut other = server.connect();
    let Reply::Integer(id) = other.ask("CLIENT ID") else { panic!("no id") };
    let id = id.to_string();
    assert_ne!(told(&mut administrator, &id, "fd"), told(&mut administrator, &own, "fd"));
    assert_eq!(told(&mut administrator, &id, "qbuf"), 0);
    other.send(b"*2\r\n$3\r\nGET\r\n$5\r\nab");
    for _ in 0..3_000 {
        if told(&mut administrator, &id, "qbuf") > 0 {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("half a request is not told of");
}

#[test]
fn connections_hold_no_buffers_while_they_are_idle() {
    const CONNECTIONS: i64 = 500;
    let server = Server::of_kind(Kind::Larder, &[]);
    let mut administrator = server.connect();
    let used = |administrator: &mut Connection| {
        let info = administrator.ask("INFO memory").text();
        let (_, rest) = info.split_once("used_memory:").unwrap();
        rest.lines().next().unwrap().parse::<i64>().unwrap()
    };
    let before = used(&mut administrator);
    let mut idle: Vec<Connection> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    idle.iter_mut().for_each(|connection| assert_eq!(connection.ask("PING"), Reply::Simple("PONG".into())));
    let bytes = (used(&mut administrator) - before) / CONNECTIONS;
    assert!(bytes < 10 * 1024, "{bytes} bytes for each");
    let Reply::Integer(id) = idle[0].ask("CLIENT ID") else { panic!("no id") };
    assert_eq!(told(&mut administrator, &id.to_string(), "qbuf-free"), 0);
}

/// How often the threads of a server have waited for something so far, by name.
fn waits(process: u32) -> Vec<(String, u64)> {
    let threads =
        std::fs::read_dir(format!("/proc/{process}/task")).unwrap().map(|thread| thread.unwrap().path());
    threads
        .map(|thread| {
            let name = std::fs::read_to_string(thread.join("comm")).unwrap().trim().to_owned();
            let status = std::fs::read_to_string(thread.join("status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            (name, line.unwrap().trim().parse().unwrap())
        })
        .collect()
}

#[test]
fn only_threads_that_look_after_something_wake_up_without_requests() {
    let server = Server::of_kind(Kind::Larder, &[]);
    let mut client = server.connect();
    assert_eq!(client.ask("SET some 1"), Reply::ok());
    let look_after_something = ["sampler", "sweeper", "checkpoint", "journal-stock", "jemalloc_bg_thd"];
    let mut woken = Vec::new();
    // what the request has caused ends in the first rounds
    for _ in 0..20 {
        let before = waits(server.process_id());
        thread::sleep(Duration::from_millis(500));
        woken = waits(server.process_id());
        woken.retain(|waits| !before.contains(waits) && !look_after_something.contains(&waits.0.as_str()));
        if woken.is_empty() {
            return;
        }
    }
    panic!("{woken:?}");
}

#[test]
fn a_request_beyond_the_query_buffer_is_counted() {
    let server = Server::of_kind(Kind::Larder, &["--client-query-buffer-limit", "1mb"]);
    let mut administrator = server.connect();
    let mut other = server.connect();
    other.send(b"*2\r\n$3\r\nGET\r\n$2000000\r\n");
    other.try_read().expect("an error");
    wait_for_field(&mut administrator, "client_query_buffer_limit_disconnections", 1);
    assert_eq!(administrator.ask("CONFIG RESETSTAT"), Reply::ok());
    assert_eq!(field(&mut administrator, "client_query_buffer_limit_disconnections"), 0);
}
