//! Parses the notation of [`Spec::syntax`](crate::command::Spec) into what COMMAND DOCS says about a command's arguments, from
//! which `redis-cli` makes its hints.
//!
//! Pure. The notation is the one of Redis's documentation:
//!
//! ```text
//! sequence:  item item …
//! item:      NAME        a word to type as it is; what follows it, up to the next such word, belongs to it
//!            name        a value
//!            [ … ]       may be left out
//!            < … >       one of several
//!            [x ...]     behind x: x may be repeated
//! in brackets:  sequence | sequence | …
//! ```

/// One argument of a command, as COMMAND DOCS describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument {
    pub name: String,
    pub kind: Kind,
    /// A word before the value, or by itself.
    pub token: Option<&'static str>,
    pub optional: bool,
    /// Whether and how it may be repeated.
    pub repeats: Option<Repeats>,
    /// Of [`Kind::OneOf`] and [`Kind::Block`].
    pub members: Vec<Argument>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    String,
    Integer,
    Key,
    Pattern,
    UnixTime,
    PureToken,
    OneOf,
    Block,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// The value alone.
    Value,
    /// The token with it.
    WithToken,
}

impl Kind {
    /// As COMMAND DOCS says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Key => "key",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::PureToken => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
        }
    }

    /// The customary type of a value with this name.
    fn of_value(name: &str) -> Kind {
        match name {
            "pattern" => Kind::Pattern,
            "client-id" | "count" | "cursor" | "decrement" | "end" | "len" | "milliseconds" | "numkeys"
            | "offset" | "protover" | "seconds" | "start" | "timeout" => Kind::Integer,
            "destination" | "key1" | "key2" | "source" => Kind::Key,
            _ if name.ends_with("key") => Kind::Key,
            _ if name.starts_with("unix-time") => Kind::UnixTime,
            _ => Kind::String,
        }
    }
}

/// The arguments that a syntax describes. None if its brackets don't match.
pub fn parse(syntax: &'static str) -> Option<Vec<Argument>> {
    let mut parser = Parser { rest: syntax };
    let arguments = parser.sequence()?.arguments;
    parser.rest.is_empty().then_some(arguments)
}

struct Parser {
    rest: &'static str,
}

/// The text between brackets and bars.
struct Sequence {
    arguments: Vec<Argument>,
    /// Ended with `...`.
    repeated: bool,
}

impl Parser {
    /// The next word or sign.
    fn next(&mut self) -> Option<&'static str> {
        let word = self.peek()?;
        self.rest = self.rest.trim_start()[word.len()..].trim_start();
        Some(word)
    }

    fn peek(&self) -> Option<&'static str> {
        const SIGNS: [char; 5] = ['[', ']', '<', '>', '|'];
        let rest = self.rest.trim_start();
        let end = match rest.chars().next()? {
            first if SIGNS.contains(&first) => 1,
            _ => rest.find(|c: char| c.is_whitespace() || SIGNS.contains(&c)).unwrap_or(rest.len()),
        };
        Some(&rest[..end])
    }

    /// Up to a closing bracket, a bar, or the end.
    fn sequence(&mut self) -> Option<Sequence> {
        let mut arguments = Vec::new();
        let mut repeated = false;
        while let Some(word) = self.peek() {
            match word {
                "]" | ">" | "|" => break,
                "[" => {
                    self.next();
                    let mut alternatives = self.alternatives("]")?;
                    match alternatives.pop() {
                        Some(last) if alternatives.is_empty() && last.repeated => {
                            repeat(&mut arguments, last.arguments);
                        }
                        last => {
                            alternatives.extend(last);
                            arguments.push(Argument { optional: true, ..one_of(alternatives) });
                        }
                    }
                }
                "<" => {
                    self.next();
                    arguments.push(one_of(self.alternatives(">")?));
                }
                "..." => {
                    self.next();
                    repeated = true;
                }
                word => {
                    self.next();
                    arguments.push(single(word));
                }
            }
        }
        attach_tokens(&mut arguments);
        Some(Sequence { arguments, repeated })
    }

    /// Up to and with the closing bracket.
    fn alternatives(&mut self, close: &str) -> Option<Vec<Sequence>> {
        let mut alternatives = vec![self.sequence()?];
        loop {
            match self.next()? {
                "|" => alternatives.push(self.sequence()?),
                word => return (word == close).then_some(alternatives),
            }
        }
    }
}

fn single(word: &'static str) -> Argument {
    let is_token = word.chars().any(char::is_uppercase) && !word.chars().any(char::is_lowercase);
    Argument {
        name: word.to_lowercase(),
        kind: if is_token { Kind::PureToken } else { Kind::of_value(word) },
        token: is_token.then_some(word),
        optional: false,
        repeats: None,
        members: Vec::new(),
    }
}

fn one_of(alternatives: Vec<Sequence>) -> Argument {
    let mut members: Vec<Argument> =
        alternatives.into_iter().map(|sequence| block(sequence.arguments)).collect();
    if members.len() == 1 { members.remove(0) } else { group(Kind::OneOf, members) }
}

fn block(mut members: Vec<Argument>) -> Argument {
    if members.len() == 1 { members.remove(0) } else { group(Kind::Block, members) }
}

fn group(kind: Kind, members: Vec<Argument>) -> Argument {
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let name = names.join(if kind == Kind::OneOf { "-or-" } else { "-" });
    Argument { name, kind, token: None, optional: false, repeats: None, members }
}

/// Handles `[x ...]`: after `x` it makes that one repeatable; elsewhere it is an optional, repeatable `x`.
fn repeat(arguments: &mut Vec<Argument>, repeated: Vec<Argument>) {
    attach_tokens(arguments);
    let first = arguments.len().saturating_sub(repeated.len());
    let is_behind = arguments[first..].iter().map(|a| &a.name).eq(repeated.iter().map(|a| &a.name));
    let repeated = block(repeated);
    let with_token = repeated.token.is_some();
    let mut argument =
        if is_behind { block(arguments.split_off(first)) } else { Argument { optional: true, ..repeated } };
    argument.repeats = Some(if with_token { Repeats::WithToken } else { Repeats::Value });
    arguments.push(argument);
}

/// Attaches to each token the values after it.
fn attach_tokens(arguments: &mut Vec<Argument>) {
    let mut attached: Vec<Argument> = Vec::with_capacity(arguments.len());
    let mut rest = std::mem::take(arguments).into_iter().peekable();
    while let Some(argument) = rest.next() {
        let is_token = argument.kind == Kind::PureToken && !argument.optional;
        let mut values = Vec::new();
        if is_token {
            while let Some(value) = rest.next_if(|next| next.token.is_none() && !next.optional) {
                values.push(value);
            }
        }
        attached.push(match values.as_slice() {
            [] => argument,
            _ => Argument {
                token: argument.token,
                name: if values.len() > 1 { argument.name } else { values[0].name.clone() },
                ..block(values)
            },
        });
    }
    *arguments = attached;
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use crate::command::COMMANDS;
    use crate::command::base::syntax::*;

    /// Writes arguments in an explicit notation for the tests.
    fn shown(arguments: &[Argument]) -> String {
        let one = |argument: &Argument| {
            let mut text = match argument.token {
                Some(token) if argument.kind != Kind::PureToken => format!("{token}="),
                _ => String::new(),
            };
            match argument.kind {
                Kind::PureToken => text.push_str(argument.token.unwrap()),
                Kind::OneOf => text.push_str(&format!("any{{{}}}", shown(&argument.members))),
                Kind::Block => text.push_str(&format!("all{{{}}}", shown(&argument.members))),
                kind => text.push_str(&format!("{}:{}", argument.name, kind.as_str())),
            }
            match argument.repeats {
                None => {}
                Some(Repeats::Value) => text.push('+'),
                Some(Repeats::WithToken) => text.push('*'),
            }
            if argument.optional {
                text.push('?');
            }
            text
        };
        arguments.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn notation() {
        for (syntax, expected) in [
            ("", ""),
            ("key value", "key:key value:string"),
            ("[message]", "message:string?"),
            ("[username] password", "username:string? password:string"),
            ("key [key ...]", "key:key+"),
            ("key value [key value ...]", "all{key:key value:string}+"),
            ("[section [section ...]]", "section:string+?"),
            ("[command-name ...]", "command-name:string+?"),
            ("<ON | OFF>", "any{ON OFF}"),
            (
                "key value [NX | XX] [GET] [EX seconds | EXAT unix-time-seconds | KEEPTTL]",
                "key:key value:string any{NX XX}? GET? any{EX=seconds:integer EXAT=unix-time-seconds:unix-time \
                 KEEPTTL}?",
            ),
            (
                "[protover [AUTH username password] [SETNAME clientname]]",
                "all{protover:integer AUTH=all{username:string password:string}? SETNAME=clientname:string?}?",
            ),
            (
                "[FILTERBY <MODULE module-name | PATTERN pattern>]",
                "FILTERBY=any{MODULE=module-name:string PATTERN=pattern:pattern}?",
            ),
            ("[ID client-id [client-id ...]]", "ID=client-id:integer+?"),
            ("key [GET pattern [GET pattern ...]]", "key:key GET=pattern:pattern*?"),
        ] {
            assert_eq!(shown(&parse(syntax).unwrap()), expected, "{syntax}");
        }
    }

    #[test]
    fn brackets_that_do_not_match() {
        for syntax in ["[", "]", "<a]", "a |", "[a [b ...]", "a>"] {
            assert_eq!(parse(syntax), None, "{syntax}");
        }
    }

    #[test]
    fn every_command_can_be_read() {
        for spec in COMMANDS.everything() {
            let arguments = parse(spec.syntax).expect(spec.name);
            let required = arguments.iter().filter(|argument| !argument.optional).count();
            let words = 1 + spec.name.matches('|').count();
            let arity = spec.arity.unsigned_abs() as usize;
            assert!(words + required <= arity, "{}: more required arguments than words", spec.name);
        }
    }
}
