//! `larder completions` and `larder man`: what shells and `man` know of the command line, made from its declaration.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use clap_mangen::Man;

pub fn completions_command() -> Command {
    Command::new("completions")
        .about("Print the completions of the command line for a shell")
        .after_help(
            "For bash:  larder completions bash >~/.local/share/bash-completion/completions/larder\n\
             For zsh:   larder completions zsh >DIR/_larder, where DIR is in $fpath\n\
             For fish:  larder completions fish >~/.config/fish/completions/larder.fish",
        )
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(["bash", "zsh", "fish"])
                .help("The shell"),
        )
}

pub fn man_command() -> Command {
    Command::new("man").about("Print the manual page, or write one for each subcommand").arg(
        Arg::new("to")
            .long("to")
            .value_name("DIR")
            .value_parser(value_parser!(std::path::PathBuf))
            .help("Write larder.1, larder-export.1 and so on into this directory [default: larder.1 to standard output]"),
    )
}

/// Prints completions for `command`, the whole command line.
pub fn print_completions(mut command: Command, arguments: &ArgMatches) -> Result<ExitCode, String> {
    let shell = match arguments.get_one::<String>("shell").map(String::as_str) {
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        _ => Shell::Bash,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "larder", &mut script);
    print(&script)
}

/// Prints or writes the pages for `command`, the whole command line.
pub fn write_pages(command: Command, arguments: &ArgMatches) -> Result<ExitCode, String> {
    let failed = |error: io::Error| format!("the manual can't be written: {error}");
    let Some(dir) = arguments.get_one::<std::path::PathBuf>("to") else {
        let (_, page) = pages(command).map_err(failed)?.swap_remove(0);
        return print(&page);
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    for (name, page) in pages(command).map_err(failed)? {
        std::fs::write(Path::new(dir).join(name), page).map_err(failed)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The page of the program and those of its subcommands, with the names of their files.
fn pages(mut command: Command) -> io::Result<Vec<(String, Vec<u8>)>> {
    command = command.disable_help_subcommand(true);
    command.build();
    let subcommands: Vec<Command> = command.get_subcommands().cloned().collect();
    let mut pages = vec![("larder.1".to_owned(), page(command)?)];
    for subcommand in subcommands {
        let name = format!("larder-{}", subcommand.get_name());
        // `man` shows pages by the name in them
        pages.push((format!("{name}.1"), page(subcommand.name(name))?));
    }
    Ok(pages)
}

fn page(command: Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    // of what `-h` leaves out, a page would show the name alone
    Man::new(command.mut_args(|arg| arg.hide_short_help(false))).render(&mut page)?;
    Ok(page)
}

/// A reader that goes away, such as `head`, is no failure.
fn print(text: &[u8]) -> Result<ExitCode, String> {
    match io::stdout().lock().write_all(text) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("the output can't be written: {error}"))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_has_a_page_that_names_its_options() {
        let pages = pages(crate::cli::command()).unwrap();
        let mut whole = crate::cli::command();
        whole.build();
        for subcommand in whole.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
            let name = format!("larder-{}.1", subcommand.get_name());
            let (_, page) = pages.iter().find(|(known, _)| *known == name).unwrap();
            let page = String::from_utf8(page.clone()).unwrap().replace("\\-", "-");
            for long in subcommand.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(Arg::get_long)
            {
                let (_, described) = page.split_once(&format!("\\fB--{long}\\fR \\fI")).unwrap_or_default();
                let described = described.lines().nth(1).unwrap_or("a flag");
                assert!(page.contains(&format!("--{long}")) && !described.is_empty(), "{name}: --{long}");
            }
        }
        let (_, page) = &pages[0];
        let page = String::from_utf8(page.clone()).unwrap();
        assert!(
            page.contains("larder\\-export(1)") && page.contains("SETTINGS THAT YOU NEED FIRST"),
            "{page}"
        );
    }
}
