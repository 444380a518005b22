//! Rules of users: what a user is described as makes the same user.
#![no_main]

use larder::acl::{Grammar, file};
use larder::command::COMMANDS;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let grammar = Grammar { vocabulary: &COMMANDS.vocabulary, all_channels: false };
    let Ok(users) = file::parse(text, "users.acl", grammar) else { return };
    for (name, user) in users {
        let description = user.description();
        let line = [b"user ", name.as_bytes(), b" ", &description].concat();
        let Ok(Some((_, again))) = file::parse_line(&line, grammar) else {
            panic!("refused: {}", line.escape_ascii());
        };
        assert_eq!(again.description().escape_ascii().to_string(), description.escape_ascii().to_string());
    }
});
