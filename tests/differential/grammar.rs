//! What may be typed, read from docs/COMMANDS.md: the reference is made from the command table and a test keeps it so,
//! therefore every command and option of the table is here without being written down again.

use super::support::Random;

/// A command of the reference.
pub struct Command {
    /// In lower case; a subcommand with its container: `client list`.
    pub name: String,
    /// The heading it stands under: String, Generic, …
    pub group: String,
    syntax: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// A word that is typed as it is.
    Literal(String),
    /// A word that stands for a value.
    Value(String),
    Choice(Vec<Vec<Part>>),
    /// May be left out; if it repeats, may be there several times.
    Optional(Vec<Vec<Part>>, Repeats),
}

type Repeats = bool;

impl Command {
    /// Words that the syntax allows. `value` gives the word for each name of a value, several for some.
    pub fn words(
        &self,
        random: &mut Random,
        value: &mut dyn FnMut(&mut Random, &str) -> Vec<Vec<u8>>,
    ) -> Vec<Vec<u8>> {
        let mut words = Vec::new();
        type_sequence(&self.syntax, random, value, &mut words);
        words
    }
}

fn type_sequence(
    parts: &[Part],
    random: &mut Random,
    value: &mut dyn FnMut(&mut Random, &str) -> Vec<Vec<u8>>,
    words: &mut Vec<Vec<u8>>,
) {
    let mut at = 0;
    while at < parts.len() {
        // options that follow each other may be typed in any order
        let options = parts[at..].iter().take_while(|part| matches!(part, Part::Optional(..))).count();
        let mut run: Vec<&Part> = parts[at..at + options.max(1)].iter().collect();
        for last in (1..run.len()).rev() {
            run.swap(last, random.below(last + 1));
        }
        at += run.len();
        for part in run {
            match part {
                Part::Literal(word) => words.push(word.clone().into_bytes()),
                Part::Value(name) => words.extend(value(random, name)),
                Part::Choice(choices) => type_sequence(pick(choices, random), random, value, words),
                Part::Optional(choices, repeats) => {
                    while random.one_in(3) {
                        type_sequence(pick(choices, random), random, value, words);
                        if !repeats {
                            break;
                        }
                    }
                }
            }
        }
    }
}

fn pick<'a>(choices: &'a [Vec<Part>], random: &mut Random) -> &'a [Part] {
    &choices[random.below(choices.len())]
}

/// The commands of the reference, in its order.
pub fn read(reference: &str) -> Vec<Command> {
    let mut commands = Vec::new();
    let (mut group, mut name) = ("", "");
    let mut lines = reference.lines();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            group = heading;
        } else if let Some(heading) = line.strip_prefix("### ") {
            name = heading;
        } else if line == "```text" {
            let line = lines.next().expect("a line of syntax");
            commands.push(Command { name: name.to_lowercase(), group: group.into(), syntax: parse(line) });
        }
    }
    commands
}

fn parse(syntax: &str) -> Vec<Part> {
    let mut spaced = syntax.to_string();
    for mark in ["[", "]", "<", ">", "|"] {
        spaced = spaced.replace(mark, &format!(" {mark} "));
    }
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &tokens[..];
    let mut choices = parse_choices(&mut rest);
    assert!(rest.is_empty() && choices.len() == 1, "{syntax}: brackets");
    choices.remove(0)
}

/// Sequences with `|` between them, up to a closing bracket.
fn parse_choices(rest: &mut &[&str]) -> Vec<Vec<Part>> {
    let mut choices = vec![Vec::new()];
    while let [token, after @ ..] = *rest {
        let sequence = choices.last_mut().expect("never empty");
        match *token {
            "]" | ">" => break,
            "|" => {
                *rest = after;
                choices.push(Vec::new());
            }
            "..." => {
                // inside of the optional part that repeats
                *rest = after;
                sequence.push(Part::Literal("...".into()));
            }
            open @ ("[" | "<") => {
                *rest = after;
                let mut inner = parse_choices(rest);
                *rest = &rest[1..];
                let dots = Part::Literal("...".into());
                let repeats = inner.last().is_some_and(|last| last.last() == Some(&dots));
                if repeats {
                    inner.last_mut().expect("it has dots").pop();
                }
                sequence.push(match open {
                    "[" => Part::Optional(inner, repeats),
                    _ => Part::Choice(inner),
                });
            }
            word => {
                *rest = after;
                let is_literal = !word.chars().any(|letter| letter.is_ascii_lowercase());
                sequence.push(match is_literal {
                    true => Part::Literal(word.into()),
                    false => Part::Value(word.into()),
                });
            }
        }
    }
    choices
}

#[test]
fn the_syntax_is_understood() {
    let word = |name: &str| match name.chars().any(|letter| letter.is_ascii_lowercase()) {
        true => Part::Value(name.into()),
        false => Part::Literal(name.into()),
    };
    assert_eq!(
        parse("A key [key ...] [NX | EX seconds] <ON | OFF>"),
        [
            word("A"),
            word("key"),
            Part::Optional(vec![vec![word("key")]], true),
            Part::Optional(vec![vec![word("NX")], vec![word("EX"), word("seconds")]], false),
            Part::Choice(vec![vec![word("ON")], vec![word("OFF")]]),
        ]
    );
}
