//! Scripts, in a process of their own: what goes wrong in the interpreter's C code ends the process.

use std::fs::File;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder::error::Error;
use larder::resp::{Protocol, Reply};
use larder::script::{Host, Kill, Script, Scripts};

use super::seconds;
use super::support::Random;

/// Names the file in which the process that runs the scripts says what it is going to do.
const LOG: &str = "LARDER_FUZZ_SCRIPTS_LOG";
const CALLS: &str = include_str!("scripts.lua");
const CALLS_PER_SCRIPT: &str = "300";
const MEMORY_BYTES: usize = 24 * 1024 * 1024;
/// A script that goes on for so long is killed: many of the calls never end by themselves.
const KILLED_AFTER: Duration = Duration::from_secs(1);
/// A script that goes on for so long after it was killed can't be.
const PATIENCE: Duration = Duration::from_secs(60);

/// Every function that a script can reach, called in every way with arguments at the edges of their ranges, and chunks
/// that are nearly programs: the process goes on, and each script ends when it is killed.
#[test]
fn functions_of_scripts() {
    if let Ok(log) = std::env::var(LOG) {
        return run_scripts(&log);
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("calls");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "scripts::functions_of_scripts", "--nocapture"])
        .env(LOG, &log)
        .env("LARDER_TEST_SEED", Random::from_environment().next_seed().to_string())
        .stdout(Stdio::inherit())
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    let told = std::fs::read_to_string(&log).unwrap_or_default();
    let last = told.lines().next_back().unwrap_or("nothing");
    assert!(status.success(), "{status}; the last call was: {last}");
}

fn run_scripts(log: &str) {
    // a script would go on with a panic as with any error that it can't catch
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::abort();
    }));
    let mut random = Random::from_environment();
    let end = Instant::now() + Duration::from_secs(seconds());
    let scripts = Scripts::new("8.8.0".to_owned(), 1);
    let script = Script::parse(CALLS.as_bytes()).unwrap();
    let (mut count, mut killed) = (0, 0);
    while Instant::now() < end {
        let seed = (random.next() % (1 << 31)).to_string();
        let args = [seed, CALLS_PER_SCRIPT.to_owned()].map(Bytes::from);
        // emptied: only the last calls matter
        let mut host = Telling { log: File::create(log).unwrap(), protocol: Protocol::Resp2 };
        let (ended, wait) = channel::<()>();
        thread::scope(|scope| {
            let scripts = &scripts;
            let watch = scope.spawn(move || {
                if wait.recv_timeout(KILLED_AFTER) != Err(RecvTimeoutError::Timeout) {
                    return false;
                }
                // on a busy machine it may not have begun
                let is_killed = scripts.running.kill(false) == Kill::Done;
                let give_up = Instant::now() + PATIENCE;
                while wait.recv_timeout(KILLED_AFTER) == Err(RecvTimeoutError::Timeout) {
                    let kill = scripts.running.kill(false);
                    if Instant::now() > give_up {
                        println!("a script goes on though it was to be killed: {kill:?}");
                        // the thread that runs it can't be ended otherwise
                        std::process::abort();
                    }
                }
                is_killed
            });
            // on a thread like those of the server, whose stack is smaller than the main thread's
            let runner = thread::Builder::new().stack_size(larder::limits::THREAD_STACK_BYTES);
            let outcome =
                runner.spawn_scoped(scope, || scripts.run(&script, &[], &args, MEMORY_BYTES, &mut host));
            let outcome = outcome.unwrap().join();
            drop(ended);
            killed += usize::from(watch.join().unwrap());
            assert!(outcome.is_ok());
        });
        count += 1;
        assert_eq!(answer(&scripts, "return cjson.decode(cjson.encode({1, 'x'}))[2]"), Ok(Reply::text("x")));
    }
    println!("scripts: {count}, of which {killed} had to be killed");
}

fn answer(scripts: &Scripts, code: &str) -> Result<Reply, Error> {
    let script = Script::parse(code.as_bytes()).unwrap();
    let mut host = Telling { log: tempfile::tempfile().unwrap(), protocol: Protocol::Resp2 };
    scripts.run(&script, &[], &[], MEMORY_BYTES, &mut host)
}

/// Writes down what a script tells. Other commands are answered by their first word.
struct Telling {
    log: File,
    protocol: Protocol,
}

impl Host for Telling {
    fn call(&mut self, args: Vec<Bytes>) -> Reply {
        if &*args[0] == b"tell" && args.len() == 2 {
            self.log.write_all(&args[1]).unwrap();
            self.log.write_all(b"\n").unwrap();
        }
        match args[0].len() % 6 {
            0 => Reply::Error(Error::other("MY failure")),
            1 => Reply::Null,
            2 => Reply::Map(vec![(
                Reply::text("k"),
                Reply::Array(args.into_iter().map(Reply::Bulk).collect()),
            )]),
            3 => Reply::Double(1.5),
            4 => Reply::OK,
            _ => Reply::Set(vec![Reply::Integer(1)]),
        }
    }

    fn may_run(&mut self, args: &[Bytes]) -> Result<bool, Error> {
        if args.len() > 1 { Ok(true) } else { Err(Error::other("ERR unknown")) }
    }

    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }
}
