//! Functions: scripts that the server keeps in libraries, by name.
//!
//! A library is its text. The engine keeps it like data: FUNCTION LOAD is a journal entry, and is acknowledged when that
//! is durable. What a text means is known to [`crate::script::functions`].

use std::sync::Arc;

use bytes::Bytes;

use crate::command::base::reach::Stores;
use crate::command::base::table;
use crate::command::base::{Call, Flags, Group, Plan, Spec, control, permission, write};
use crate::command::scripting::run::{end, keys_and_args, run_alone};
use crate::command::scripting::scripts::{READING, WRITING};
use crate::engine::{Seq, Writer};
use crate::error::Error;
use crate::limits::{LIBRARIES_BYTES_MAX, LIBRARIES_MAX};
use crate::rdb;
use crate::resp::Reply;
use crate::script::Runs;
use crate::script::functions::{Function, Known, Library, library_name};
use crate::script::source::{Declared, FLAGS};
use crate::store::Pattern;

pub static COMMANDS: &[Spec] = &[
    Spec {
        name: "fcall",
        syntax: "function numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Calls a function",
        since: "7.0.0",
        complexity: "Depends on the function",
        flags: WRITING.flags.union(Flags::BY_FUNCTION),
        plan: |_| control(|call, engine| call_alone(call, engine, false)),
        ..WRITING
    },
    Spec {
        name: "fcall_ro",
        syntax: "function numkeys [key [key ...]] [arg [arg ...]]",
        summary: "Calls a function that only reads",
        complexity: "Depends on the function",
        flags: READING.flags.union(Flags::BY_FUNCTION),
        plan: |_| control(|call, engine| call_alone(call, engine, true)),
        ..READING
    },
    Spec {
        name: "function",
        summary: "Commands about functions and their libraries",
        group: Group::Scripting,
        since: "7.0.0",
        complexity: "Depends on the subcommand",
        arity: -2,
        subcommands: &[
            Spec {
                name: "function|delete",
                is_harmful: true,
                syntax: "library-name",
                summary: "Removes a library with its functions",
                arity: 3,
                flags: CHANGING.union(Flags::REMOVES),
                tips: EVERYWHERE,
                plan: |call| {
                    let name = Bytes::copy_from_slice(call.arg(2));
                    write(move |txn| match txn.libraries()?.get(&name) {
                        None => Err(Error::other("ERR Library not found")),
                        Some(_) => {
                            txn.remove_library(name);
                            Ok(Reply::OK)
                        }
                    })
                },
                ..ABOUT
            },
            Spec {
                name: "function|dump",
                summary: "Returns all libraries in a form that FUNCTION RESTORE takes, also that of a Redis",
                complexity: "O(N) where N is the length of the code",
                arity: 2,
                flags: ABOUT.flags.union(Flags::LONG),
                plan: dump,
                ..ABOUT
            },
            Spec {
                name: "function|flush",
                is_harmful: true,
                syntax: "[ASYNC | SYNC]",
                summary: "Removes all libraries",
                complexity: "O(N) where N is the number of libraries",
                arity: -2,
                flags: CHANGING.union(Flags::REMOVES),
                tips: EVERYWHERE,
                plan: flush,
                ..ABOUT
            },
            Spec {
                name: "function|help",
                summary: "Returns the subcommands and what they do",
                arity: 2,
                flags: Flags::LOADING.union(Flags::STALE),
                plan: table::help,
                ..ABOUT
            },
            Spec {
                name: "function|kill",
                is_harmful: true,
                summary: "Stops the running function, unless it has written",
                arity: 2,
                flags: ABOUT.flags.union(Flags::ALLOW_BUSY).union(Flags::ENDS_SCRIPTS),
                tips: &["request_policy:all_shards", "response_policy:one_succeeded"],
                plan: |call| end(call, true),
                ..ABOUT
            },
            Spec {
                name: "function|list",
                syntax: "[LIBRARYNAME library-name-pattern] [WITHCODE]",
                summary: "Returns the libraries and their functions",
                complexity: "O(N) where N is the number of functions",
                arity: -2,
                flags: ABOUT.flags.union(Flags::LONG),
                tips: &["nondeterministic_output_order"],
                plan: list,
                ..ABOUT
            },
            Spec {
                name: "function|load",
                syntax: "[REPLACE] function-code",
                summary: "Adds a library of functions, which is kept like data, and returns its name",
                complexity: "O(N) where N is the length of the code",
                arity: -3,
                flags: LOADING,
                tips: EVERYWHERE,
                plan: |_| control(load),
                ..ABOUT
            },
            Spec {
                name: "function|restore",
                is_harmful: true,
                syntax: "serialized-value [FLUSH | APPEND | REPLACE]",
                summary: "Adds the libraries that FUNCTION DUMP of a Larder, a Redis or a Valkey returned",
                complexity: "O(N) where N is the length of the code",
                arity: -3,
                flags: LOADING,
                tips: EVERYWHERE,
                plan: |_| control(restore),
                ..ABOUT
            },
            Spec {
                name: "function|stats",
                summary: "Returns the running function, and how many libraries and functions there are",
                arity: 2,
                flags: ABOUT.flags.union(Flags::ALLOW_BUSY),
                tips: &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"],
                plan: stats,
                ..ABOUT
            },
        ],
        ..Spec::DEFAULT
    },
];

const ABOUT: Spec = Spec {
    group: Group::Scripting,
    since: "7.0.0",
    flags: Flags::NOSCRIPT,
    // libraries belong to none
    stores: Stores::None,
    ..Spec::DEFAULT
};

const CHANGING: Flags = Flags::NOSCRIPT.union(Flags::WRITE);
/// The text of a library is a script.
const LOADING: Flags = CHANGING.union(Flags::DENYOOM).union(Flags::SCRIPT).union(Flags::LONG);

const EVERYWHERE: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];

/// Calls a function while the libraries can't change.
fn call_alone(call: &mut Call<'_>, engine: Writer<'_>, reads_only: bool) -> Result<Plan, Error> {
    let (plan, written) = engine.alone(|engine| call_function(call, engine, reads_only))?;
    let (reply, reflects) = plan?;
    Ok(Plan::Reflecting(reply, reflects.max(written)))
}

fn call_function(call: &mut Call<'_>, engine: Writer<'_>, reads_only: bool) -> Result<(Reply, Seq), Error> {
    let memory_bytes = call.server.config.lua_memory_limit();
    let known = call.server.with(*engine).functions();
    let Some(found) = known.function(call.arg(1)) else { return Err(Error::other("ERR Function not found")) };
    let count = call.integer(2).map_err(|_| Error::other("ERR Bad number of keys provided"))?;
    let (keys, args) = keys_and_args(call, count)?;
    let only_reads = found.flags().contains(Declared::NO_WRITES);
    if reads_only && !only_reads {
        return Err(Error::other("ERR Can not execute a script with write flag using *_ro command."));
    }
    let command = call.args.clone();
    let (reply, reflects) = run_alone(call, engine, reads_only || only_reads, |scripts, host| {
        scripts.functions.run(found, &command, (&keys, &args), memory_bytes, host)
    })?;
    Ok((reply, reflects.max(known.version())))
}

fn load(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    let Some((text, options)) = call.rest(2).split_last() else { return Err(call.arity_error()) };
    if let Some(other) = options.iter().find(|option| !option.eq_ignore_ascii_case(b"replace")) {
        return Err(Error::other(format!("ERR Unknown option given: {}", String::from_utf8_lossy(other))));
    }
    let name = library_name(text)?;
    let (texts, replaces) = ([Bytes::copy_from_slice(text)], !options.is_empty());
    let written = add(call, engine, &texts, |known| match known.library(name.as_bytes()) {
        Some(_) if !replaces => Err(Error::other(format!("ERR Library '{name}' already exists"))),
        _ => Ok(Vec::new()),
    })?;
    Ok(Plan::Reflecting(Reply::text(name), written))
}

/// Loads libraries, and keeps them in the place of those of their names and of those that `removed` gives. Returns the
/// sequence number of the change.
fn add(
    call: &Call<'_>,
    engine: Writer<'_>,
    texts: &[Bytes],
    removed: impl FnOnce(&Known) -> Result<Vec<Bytes>, Error>,
) -> Result<Seq, Error> {
    let (server, now_ms, memory_bytes) = (call.server, call.now_ms, call.server.config.lua_memory_limit());
    // alone, because another library must not take the names of its functions meanwhile
    let (added, written) = engine.alone(|engine| {
        if !engine.takes_libraries() {
            return Err(Error::other(
                "ERR the data directory is in an older format, which has no libraries; make space on the disk and start \
                 the server again, which converts it",
            ));
        }
        let known = server.with(*engine).functions();
        let removed = removed(&known)?;
        let added = server.scripts.functions.load(texts, memory_bytes)?;
        known.check_room(&added, &removed)?;
        engine.write(now_ms, &[], |txn| {
            removed.into_iter().for_each(|name| txn.remove_library(name));
            added.iter().for_each(|library| txn.put_library(library.name.clone(), library.text.clone()));
            Ok::<_, Error>(())
        })?;
        server.scripts.functions.adopt();
        // for those who ask what was known last
        server.with(*engine).functions();
        Ok(())
    })?;
    added.map(|()| written)
}

fn dump(call: &mut Call<'_>) -> Result<Plan, Error> {
    let libraries = call.server.engine.libraries();
    let payload = rdb::encode_libraries(libraries.iter().map(|(_, text)| &text[..]));
    Ok(Plan::Reflecting(Reply::Bulk(payload.into()), libraries.version()))
}

/// What FUNCTION RESTORE does with libraries that are there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    Append,
    Flush,
    Replace,
}

fn restore(call: &mut Call<'_>, engine: Writer<'_>) -> Result<Plan, Error> {
    let policy = match call.args.len() {
        3 => Policy::Append,
        4 if call.is(3, "APPEND") => Policy::Append,
        4 if call.is(3, "FLUSH") => Policy::Flush,
        4 if call.is(3, "REPLACE") => Policy::Replace,
        4 => {
            let why = "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.";
            return Err(Error::other(why));
        }
        _ => return Err(wrong_words(call)),
    };
    let texts = rdb::decode_libraries(call.arg(2), LIBRARIES_MAX, LIBRARIES_BYTES_MAX)
        .map_err(|why| Error::other(format!("ERR {why}")))?;
    let texts: Vec<Bytes> = texts.into_iter().map(Bytes::from).collect();
    let names = texts.iter().map(|text| library_name(text)).collect::<Result<Vec<_>, _>>()?;
    if let Some((_, name)) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        return Err(Error::other(format!("ERR Library '{name}' already exists")));
    }
    let is_there = |known: &Known, name: &String| known.library(name.as_bytes()).is_some();
    let written = add(call, engine, &texts, |known| match policy {
        Policy::Append => match names.iter().find(|name| is_there(known, name)) {
            Some(name) => Err(Error::other(format!("ERR Library {name} already exists"))),
            None => Ok(Vec::new()),
        },
        Policy::Replace => Ok(Vec::new()),
        Policy::Flush => Ok(known.libraries().iter().map(|library| library.name.clone()).collect()),
    })?;
    Ok(Plan::Reflecting(Reply::OK, written))
}

fn flush(call: &mut Call<'_>) -> Result<Plan, Error> {
    match call.args.len() {
        2 => {}
        3 if call.is(2, "SYNC") || call.is(2, "ASYNC") => {}
        3 => return Err(Error::other("ERR FUNCTION FLUSH only supports SYNC|ASYNC option")),
        _ => return Err(wrong_words(call)),
    }
    write(|txn| {
        for (name, _) in txn.libraries()?.iter() {
            txn.remove_library(name.clone());
        }
        Ok(Reply::OK)
    })
}

/// The error for a subcommand with too many words.
fn wrong_words(call: &Call<'_>) -> Error {
    let name = String::from_utf8_lossy(call.arg(1));
    Error::other(format!(
        "ERR unknown subcommand or wrong number of arguments for '{name}'. Try FUNCTION HELP."
    ))
}

fn list(call: &mut Call<'_>) -> Result<Plan, Error> {
    let (mut with_code, mut pattern) = (false, None);
    let mut words = call.rest(2).iter();
    while let Some(word) = words.next() {
        if !with_code && word.eq_ignore_ascii_case(b"withcode") {
            with_code = true;
        } else if pattern.is_none() && word.eq_ignore_ascii_case(b"libraryname") {
            let word = words.next().ok_or(Error::other("ERR library name argument was not given"))?;
            pattern = Some(Pattern::ignoring_case(word)?);
        } else {
            let word = String::from_utf8_lossy(word);
            return Err(Error::other(format!("ERR Unknown argument {word}")));
        }
    }
    let known = call.server.functions();
    let is_wanted =
        |library: &&Arc<Library>| pattern.as_ref().is_none_or(|pattern| pattern.matches(&library.name));
    let libraries = known.libraries().iter().filter(is_wanted).map(|library| {
        let functions = library.functions.iter().map(description).collect();
        let mut fields = vec![
            (Reply::text("library_name"), Reply::Bulk(library.name.clone())),
            (Reply::text("engine"), Reply::text("LUA")),
            (Reply::text("functions"), Reply::Array(functions)),
        ];
        if with_code {
            fields.push((Reply::text("library_code"), Reply::Bulk(library.text.clone())));
        }
        Reply::Map(fields)
    });
    Ok(Plan::Reflecting(Reply::Array(libraries.collect()), known.version()))
}

fn description(function: &Function) -> Reply {
    let flags = FLAGS.iter().filter(|(_, flag)| function.flags.contains(*flag));
    Reply::Map(vec![
        (Reply::text("name"), Reply::Bulk(function.name.clone())),
        (Reply::text("description"), Reply::bulk_or_null(function.description.clone())),
        (Reply::text("flags"), Reply::Set(flags.map(|(name, _)| Reply::Simple(name)).collect())),
    ])
}

fn stats(call: &mut Call<'_>) -> Result<Plan, Error> {
    let functions = &call.server.scripts.functions;
    let running = call.server.scripts.running.now();
    let (known, running, reflects) = match running {
        Some((Runs::Script, _)) => return Err(call.server.busy()),
        // the engine belongs to the function
        Some((Runs::Function { name, command }, age)) => {
            let sees_all = call.session.account.may_see_everything();
            let command = if sees_all { command } else { permission::without_words(command) };
            let fields = vec![
                (Reply::text("name"), Reply::Bulk(name)),
                (Reply::text("command"), Reply::Array(command.into_iter().map(Reply::Bulk).collect())),
                (Reply::text("duration_ms"), Reply::Integer(age.as_millis() as i64)),
            ];
            (functions.last_known(), Reply::Map(fields), 0)
        }
        None => {
            let known = call.server.functions();
            let reflects = known.version();
            (known, Reply::Null, reflects)
        }
    };
    let counts = Reply::Map(vec![
        (Reply::text("libraries_count"), Reply::Integer(known.libraries().len() as i64)),
        (Reply::text("functions_count"), Reply::Integer(known.functions_count() as i64)),
    ]);
    let engines = Reply::Map(vec![(Reply::text("LUA"), counts)]);
    let fields = vec![(Reply::text("running_script"), running), (Reply::text("engines"), engines)];
    Ok(Plan::Reflecting(Reply::Map(fields), reflects))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fmt::Write;

    use crate::command::tests::harness::{Harness, shown};
    use crate::engine::{Error, Options};
    use crate::limits::{
        FUNCTION_NAME_BYTES_MAX, FUNCTIONS_PER_LIBRARY_MAX, LIBRARIES_BYTES_MAX, LIBRARIES_MAX,
    };

    /// The request that loads a library with functions of these names, which return what their code says.
    fn load(library: &str, functions: &[(&str, &str)]) -> String {
        let mut code = format!("FUNCTION LOAD REPLACE \"#!lua name={library}\\n");
        for (name, body) in functions {
            let _ = write!(code, "redis.register_function('{name}', function(keys, args) {body} end) ");
        }
        code + "\""
    }

    const TWO: &[(&str, &str)] = &[
        ("set", "return redis.call('SET', keys[1], args[1])"),
        ("get", "return redis.call('GET', keys[1])"),
    ];

    #[test]
    fn a_library_is_one_journal_entry_and_so_is_a_call() {
        let mut h = Harness::new();
        let before = h.server.engine.reader().last_seq();
        h.expect(&[(&load("a", TWO), "\"a\"")]);
        assert_eq!(h.server.engine.reader().last_seq(), before + 1);
        h.expect(&[
            ("FCALL set 1 k v", "OK"),
            ("FCALL get 1 k", "\"v\""),
            ("FUNCTION DELETE a", "OK"),
            ("FUNCTION FLUSH", "OK"),
        ]);
        assert_eq!(h.server.engine.reader().last_seq(), before + 3);
        h.expect(&[
            (&load("a", TWO), "\"a\""),
            (&load("b", &[("x", "")]), "\"b\""),
            ("FUNCTION FLUSH", "OK"),
        ]);
        assert_eq!(h.server.engine.reader().last_seq(), before + 6);
    }

    #[test]
    fn a_library_goes_with_the_transaction_that_loaded_it() {
        let mut h = Harness::with(|options| Options {
            journal_entry_bytes_max: 3_000,
            default_kind: crate::store::ValueKind::Any,
            ..options
        });
        h.expect(&[(&load("a", &[("f", "return 'old'")]), "\"a\""), ("MULTI", "OK")]);
        h.expect(&[
            (&load("a", &[("f", "return 'new'"), ("g", "return 1")]), "QUEUED"),
            ("FCALL f 0", "QUEUED"),
        ]);
        h.expect(&[(&format!("SET k {}", "x".repeat(3_000)), "QUEUED")]);
        let answer = h.bytes("EXEC");
        assert!(answer.contains("the limit is 3000"), "{answer}");
        h.expect(&[("FCALL f 0", "\"old\""), ("FCALL g 0", "-ERR Function not found")]);
    }

    #[test]
    fn what_a_library_may_be_is_limited() {
        let mut h = Harness::new();
        let name = "n".repeat(FUNCTION_NAME_BYTES_MAX);
        h.expect(&[(&load(&name, &[(&name, "return 1")]), &format!("\"{name}\"")), ("FUNCTION FLUSH", "OK")]);
        let many = "for i = 1, 1025 do redis.register_function('f' .. i, function() end) end";
        let described = "local text = 'x' for i = 1, 16 do text = text .. text end \
                         redis.register_function{function_name='f', callback=function() end, description=text}";
        for (line, why) in [
            (load(&format!("{name}n"), &[("f", "")]), "the name has 257 bytes, and the limit is 256"),
            (load("a", &[(&format!("{name}n"), "")]), "the name has 257 bytes, and the limit is 256"),
            (format!("FUNCTION LOAD \"#!lua name=a\\n{many}\""), "a library has at most 1024 functions"),
            (format!("FUNCTION LOAD \"#!lua name=a\\n{described}\""), "have at most 65536 bytes"),
        ] {
            let answer = h.bytes(&line);
            assert!(answer.starts_with("-ERR ") && answer.contains(why), "{answer}");
        }
        assert_eq!(FUNCTIONS_PER_LIBRARY_MAX, 1_024);
        for at in 0..LIBRARIES_MAX {
            h.expect(&[(
                &load(&format!("l{at}"), &[(&format!("f{at}"), "return 1")]),
                &format!("\"l{at}\""),
            )]);
        }
        let full =
            "-ERR there would be 257 libraries, and the limit is 256; remove some with FUNCTION DELETE";
        h.expect(&[
            (&load("more", &[("more", "return 1")]), full),
            (&load("l0", &[("more", "return 1")]), "\"l0\""),
            ("FCALL more 0", "1"),
            ("FCALL f1 0", "1"),
        ]);
    }

    #[test]
    fn the_code_of_all_libraries_is_limited() {
        let mut h = Harness::new();
        let texts = |bytes: usize, library: &str| {
            let code =
                format!("#!lua name={library}\nredis.register_function('{library}', function() end) --");
            bytes::Bytes::from(format!("{code}{}", "x".repeat(bytes - code.len())))
        };
        let mut load = |text: bytes::Bytes| {
            let args = vec!["FUNCTION".into(), "LOAD".into(), text];
            let request = crate::resp::Request { args };
            format!("{:?}", crate::command::dispatch(&h.server, &mut h.session, request).reply)
        };
        assert!(load(texts(LIBRARIES_BYTES_MAX / 2, "a")).contains("\"a\""));
        assert!(load(texts(LIBRARIES_BYTES_MAX / 2 - 2, "b")).contains("\"b\""));
        let answer = load(texts(100, "c"));
        assert!(
            answer.contains("libraries would take 16777317 bytes, and the limit is 16777216"),
            "{answer}"
        );
        let answer = load(texts(LIBRARIES_BYTES_MAX + 1, "c"));
        assert!(answer.contains("the library has 16777217 bytes, and the limit is 16777216"), "{answer}");
    }

    #[test]
    fn functions_go_on_after_one_ran_out_of_memory() {
        let mut h = Harness::new();
        let hungry = "local t = 'x' while true do t = t .. t end";
        h.expect(&[
            (&load("a", &[("hungry", hungry), ("f", "return 1")]), "\"a\""),
            (
                "FUNCTION LOAD \"#!lua name=b\\nlocal n = 0 redis.register_function('count', function() n = n + 1 return n end)\"",
                "\"b\"",
            ),
            ("FCALL count 0", "1"),
            ("FCALL count 0", "2"),
            ("FCALL hungry 0", "-ERR Error running script hungry, not enough memory"),
            ("FCALL count 0", "1"),
            ("FCALL f 0", "1"),
            (
                "FUNCTION LOAD \"#!lua name=c\\nlocal t = 'x' while true do t = t .. t end\"",
                "-ERR Error registering functions: ERR not enough memory",
            ),
            ("FCALL count 0", "1"),
        ]);
    }

    /// It may have been loaded with more memory than there is now.
    #[test]
    fn a_library_that_cannot_be_loaded_any_more_keeps_no_other_from_being_called() {
        let mut h = Harness::new();
        h.expect(&[(&load("good", &[("f", "return 1")]), "\"good\"")]);
        let engine = h.server.engine.clone();
        let put = |txn: &mut crate::engine::WriteTxn<'_>| {
            txn.put_library("bad".into(), "#!lua name=bad\nnonsense".into());
            Ok::<_, Error>(())
        };
        engine.writer().write(1, &[], put).unwrap();
        h.expect(&[
            ("FCALL f 0", "1"),
            (
                "FUNCTION LIST LIBRARYNAME bad",
                "[{\"library_name\": \"bad\", \"engine\": \"LUA\", \"functions\": []}]",
            ),
            ("FUNCTION DELETE bad", "OK"),
            ("FCALL f 0", "1"),
        ]);
    }

    #[test]
    fn a_call_needs_the_right_to_its_keys_and_a_function_can_do_what_its_caller_can() {
        let mut h = Harness::new();
        h.expect(&[
            (&load("a", TWO), "\"a\""),
            ("SET ab 1", "OK"),
            ("ACL SETUSER bo on >x ~a* +fcall +get", "OK"),
            ("AUTH bo x", "OK"),
            ("FCALL get 1 ab", "\"1\""),
        ]);
        for (line, why) in [
            ("FCALL get 1 b", "-NOPERM No permissions to access a key"),
            ("FCALL set 1 ab 2", "User bo has no permissions to run the 'set' command"),
            ("FCALL_RO get 1 ab", "User bo has no permissions to run the 'fcall_ro' command"),
            ("FUNCTION LIST", "User bo has no permissions to run the 'function|list' command"),
        ] {
            let answer = shown(&h.run(line));
            assert!(answer.starts_with('-') && answer.contains(why), "{line}: {answer}");
        }
        let mut h = Harness::new();
        for (line, why) in [("FUNCTION LOAD x", "function|load"), ("FUNCTION FLUSH", "function|flush")] {
            h.expect(&[("ACL SETUSER default -@write", "OK")]);
            assert!(h.bytes(line).contains(why), "{line}");
            h.expect(&[("ACL SETUSER default +@write -@scripting", "OK")]);
            assert!(h.bytes(line).contains(why), "{line}");
        }
    }
}
