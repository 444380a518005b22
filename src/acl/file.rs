//! The file of users: one line each, `user NAME rules…`, as ACL LIST shows them.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::selector::has_spaces;
use super::{Grammar, RuleError, User, join_selectors};
use crate::files;

/// Reads users. Fails with everything that is wrong, in Redis's words, each with `path` and the number of its line.
pub fn parse(text: &[u8], path: &str, grammar: Grammar) -> Result<BTreeMap<String, User>, String> {
    let mut users = BTreeMap::new();
    let mut errors = String::new();
    for (at, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let number = at + 1;
        match parse_line(line, grammar) {
            Ok(None) => {}
            Ok(Some((name, _))) if users.contains_key(&name) => {
                errors += &format!("WARNING: Duplicate user '{name}' found on line {number}. ");
            }
            Ok(Some((name, user))) => drop(users.insert(name, user)),
            Err(whys) => whys.iter().for_each(|why| errors += &format!("{path}:{number}{why}. ")),
        }
    }
    if errors.is_empty() { Ok(users) } else { Err(errors) }
}

/// The user that a line describes; `None` if it is empty.
pub fn parse_line(line: &[u8], grammar: Grammar) -> Result<Option<(String, User)>, Vec<String>> {
    let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
    let (name, rules) = match *words {
        [] => return Ok(None),
        [b"user", name, ref rules @ ..] => (name, rules),
        _ => return Err(vec![" should start with user keyword followed by the username".into()]),
    };
    let name = std::str::from_utf8(name).ok().filter(|name| !has_spaces(name.as_bytes()));
    let name = name.ok_or_else(|| vec![": the username contains invalid characters".to_owned()])?;
    let rules = join_selectors(rules.iter().copied())
        .map_err(|_| vec![": Unmatched parenthesis in selector definition".to_owned()])?;
    let mut user = User::new(grammar);
    let apply = |rule: &Vec<u8>| {
        let why = user.apply(rule, grammar).err()?;
        // as in Redis: of the name of a command alone it is sure that it is no secret
        Some(match why {
            RuleError::UnknownCommand => {
                format!(": Error in applying operation '{}': {why}", String::from_utf8_lossy(rule))
            }
            _ => format!(": {why}"),
        })
    };
    let errors: Vec<String> = rules.iter().filter_map(apply).collect();
    if errors.is_empty() { Ok(Some((name.to_owned(), user))) } else { Err(errors) }
}

/// Replaces the contents of a file by lines.
pub fn save(path: &Path, lines: &[Vec<u8>]) -> io::Result<()> {
    let text: Vec<u8> = lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect();
    files::replace(path, &text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::super::vocabulary::tests::SOME;
    use super::*;

    fn grammar() -> Grammar {
        Grammar { vocabulary: &SOME, all_channels: false }
    }

    #[test]
    fn lines_are_users() {
        let text = b"user ada on >pw ~a (~b +get)\r\n\n   \nuser bob\toff";
        let users = parse(text, "f", grammar()).unwrap();
        assert_eq!(users.keys().collect::<Vec<_>>(), ["ada", "bob"]);
        assert_eq!(users["ada"].further_selectors().len(), 1);
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let text = b"user a +foo bar\n# comment\nuser\nuser b (~x\nuser c\nuser c on";
        assert_eq!(
            parse(text, "f", grammar()).unwrap_err(),
            "f:1: Error in applying operation '+foo': Unknown command or category name in ACL. f:1: Syntax error. \
             f:2 should start with user keyword followed by the username. \
             f:3 should start with user keyword followed by the username. \
             f:4: Unmatched parenthesis in selector definition. \
             WARNING: Duplicate user 'c' found on line 6. "
        );
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.acl");
        save(&path, &[b"user a off".to_vec()]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        save(&path, &[b"user b off".to_vec(), b"user c off".to_vec()]).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"user b off\nuser c off\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(save(&folder.path().join("missing/users.acl"), &[]).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
