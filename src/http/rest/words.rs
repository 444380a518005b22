//! The words of commands in a body.

use std::cell::Cell;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::http::response::problem::Problem;
use crate::limits::{HTTP_COMMANDS_MAX, HTTP_WORDS_MAX};
use crate::record::json;

/// A command: an array of strings, numbers and booleans.
pub fn command(body: &[u8]) -> Result<Vec<Bytes>, Problem> {
    read(body, Words { left: &Cell::new(HTTP_WORDS_MAX) })
}

/// An array of commands.
pub fn commands(body: &[u8]) -> Result<Vec<Vec<Bytes>>, Problem> {
    read(body, Commands { left: &Cell::new(HTTP_WORDS_MAX) })
}

fn read<'b, S: DeserializeSeed<'b>>(body: &'b [u8], seed: S) -> Result<S::Value, Problem> {
    json::check(body)?;
    let read = seed.deserialize(&mut serde_json::Deserializer::from_slice(body));
    read.map_err(|error| Problem::bad(format!("the body is no command: {error}")))
}

/// Reads commands, while as many words are left.
struct Commands<'a> {
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Commands<'_> {
    type Value = Vec<Vec<Bytes>>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Commands<'_> {
    type Value = Vec<Vec<Bytes>>;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("an array of commands")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut commands = Vec::new();
        while let Some(command) = from.next_element_seed(Words { left: self.left })? {
            if commands.len() == HTTP_COMMANDS_MAX {
                return Err(A::Error::custom(format!("there are more than {HTTP_COMMANDS_MAX} commands")));
            }
            commands.push(command);
        }
        Ok(commands)
    }
}

/// Reads the words of a command, while as many are left.
struct Words<'a> {
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Words<'_> {
    type Value = Vec<Bytes>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Words<'_> {
    type Value = Vec<Bytes>;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("an array of the words of a command")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = from.next_element::<&RawValue>()? {
            let left = self.left.get().checked_sub(1);
            let left =
                left.ok_or_else(|| A::Error::custom(format!("there are more than {HTTP_WORDS_MAX} words")))?;
            self.left.set(left);
            words.push(text(word.get()).map_err(A::Error::custom)?);
        }
        if words.is_empty() {
            return Err(A::Error::custom("a command is empty"));
        }
        Ok(words)
    }
}

/// A word: a string without its quotes, or a number or boolean as it is written.
fn text(json: &str) -> Result<Bytes, String> {
    match json.as_bytes().first() {
        Some(b'"') => {
            serde_json::from_str::<String>(json).map(Bytes::from).map_err(|error| error.to_string())
        }
        Some(b'[' | b'{' | b'n') | None => Err("a word must be a string, a number or a boolean".to_owned()),
        Some(_) => Ok(Bytes::copy_from_slice(json.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(body: &str) -> String {
        match commands(body.as_bytes()) {
            Ok(commands) => format!("{commands:?}"),
            Err(problem) => problem.told().1.to_owned(),
        }
    }

    #[test]
    fn words_are_strings_numbers_and_booleans() {
        assert_eq!(
            shown(r#"[["SET","é\u0000\"",1.50e3,true],[" "]]"#),
            r#"[[b"SET", b"\xc3\xa9\0\"", b"1.50e3", b"true"], [b" "]]"#
        );
        assert_eq!(shown("[]"), "[]");
        for (body, why) in [
            ("[[]]", "a command is empty"),
            ("[[null]]", "a word must be a string"),
            ("[[[1]]]", "a word must be a string"),
            (r#"[[{"a":1}]]"#, "a word must be a string"),
            (r#"["GET"]"#, "the body is no command"),
            ("{}", "the body is no command"),
            (r#"[["\ud800"]]"#, "the body is no command"),
            ("", "line 1"),
            (r#"[["GET","k"]"#, "line 1"),
            (r#"[["GET","k"]] x"#, "line 1"),
            (&"[".repeat(100_000), "line 1"),
        ] {
            assert!(shown(body).contains(why), "{}: {}", &body[..body.len().min(40)], shown(body));
        }
    }

    #[test]
    fn there_are_no_more_commands_and_words_than_allowed() {
        let body = format!("[{}[1]]", "[1],".repeat(HTTP_COMMANDS_MAX));
        assert!(shown(&body).contains("more than"), "{}", shown(&body));
        let body = format!("[{}1]", "1,".repeat(HTTP_WORDS_MAX));
        assert!(command(body.as_bytes()).is_err_and(|problem| problem.told().1.contains("more than")));
    }
}
