//! The command reference, docs/COMMANDS.md. It is generated from the declarations, so that it can't disagree with them.

use std::fmt::Write;

use crate::command::base::Spec;
use crate::command::base::table::Table;

/// The whole reference, as Markdown.
pub fn commands_markdown(commands: &Table) -> String {
    let mut commands: Vec<&'static Spec> =
        commands.everything().filter(|spec| !is_mere_container(spec)).collect();
    commands.sort_by_key(|spec| (spec.group, spec.name));

    let mut out = String::from(INTRODUCTION);
    for group in commands.chunk_by(|a, b| a.group == b.group) {
        let _ = writeln!(out, "\n## {}", capitalized(group[0].group.as_str()));
        for spec in group {
            let name = shown_name(spec);
            let usage = format!("{name} {}", spec.syntax);
            // writing to memory cannot fail
            let _ = writeln!(
                out,
                "\n### {name}\n\n```text\n{}\n```\n\n{}.\n\nSince {}. {}.",
                usage.trim_end(),
                spec.summary,
                spec.since,
                spec.complexity
            );
        }
    }
    out
}

const INTRODUCTION: &str = "# Commands

Made from the declarations in `src/command`; don't edit it by hand. A word in capitals is typed as it is, a small one
stands for a value; `[ ]` may be left out, `< >` is a choice, `...` may be repeated. The version is the one of Redis that
has the command first (of Larder where Redis lacks the command).
";

/// Whether the command itself only reports a missing subcommand.
fn is_mere_container(spec: &Spec) -> bool {
    !spec.subcommands.is_empty() && !spec.takes(1)
}

/// `CONFIG GET` of `config|get`.
fn shown_name(spec: &Spec) -> String {
    spec.name.replace('|', " ").to_uppercase()
}

fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use crate::command::COMMANDS;
    use crate::command::reference::markdown::*;

    #[test]
    fn the_reference_is_up_to_date() {
        crate::generated::check_up_to_date("COMMANDS.md", &commands_markdown(&COMMANDS));
    }

    #[test]
    fn every_command_that_can_be_called_is_in_it() {
        let made = commands_markdown(&COMMANDS);
        for heading in ["### PING", "### CLIENT LIST", "### COMMAND", "### COMMAND DOCS", "## Connection"] {
            assert!(made.lines().any(|line| line == heading), "{heading}");
        }
        assert!(!made.lines().any(|line| line == "### CLIENT"), "it only contains others");
    }
}
