//! One set of permissions: commands, and the keys, channels and stores that they may be used on.

use std::collections::BTreeMap;

use bitflags::bitflags;

use super::{CommandId, CommandSet, Grammar, RuleError, Vocabulary};
use crate::limits::ACL_RULES_MAX;
use crate::store::Pattern;

bitflags! {
    /// What a command does with a key.
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct Access: u8 {
        const READ = 1;
        const WRITE = 2;
    }
}

/// What a request does, for checking permissions. Positions are those of its words.
#[derive(Debug, Default)]
pub struct Request<'a> {
    pub command: CommandId,
    /// The command may be used by everyone (AUTH, QUIT); its keys are looked at nonetheless.
    pub is_free: bool,
    /// The first word after the name of the command (for a subcommand: after both names), for rules like `+select|0`.
    pub argument: Option<&'a [u8]>,
    /// The names of the stores that it works on, or the numbers of stores without names.
    pub stores: Vec<(usize, String)>,
    /// Whether it works on all stores.
    pub all_stores: bool,
    pub keys: Vec<(usize, &'a [u8], Access)>,
    /// What it does with every key of its stores; empty: nothing.
    pub all_keys: Access,
    pub channels: Vec<(usize, &'a [u8])>,
    /// The channels are patterns.
    pub channels_are_patterns: bool,
}

/// Why a request is not permitted: what is missing, and the position of the word for which it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    pub reason: Reason,
    pub at: usize,
}

/// What a user lacks, in Redis's order: of the reasons of several selectors, the greatest is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Command = 0,
    Store,
    Key,
    Auth,
    Channel,
}

impl Reason {
    /// How many there are.
    pub const COUNT: usize = Reason::Channel as usize + 1;
}

/// A set of permissions: a request needs one selector that permits all of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    commands: CommandSet,
    /// Whether the set has all commands and none was ever removed.
    all_commands: bool,
    /// Whether the rules began with all commands, including those of later versions.
    began_with_all: bool,
    /// First arguments with which a command may be used that is not in the set.
    first_arguments: BTreeMap<CommandId, Vec<Box<[u8]>>>,
    /// The rules after `+@all` or `-@all`, as they are shown.
    rules: Vec<String>,
    all_keys: bool,
    keys: Vec<(Glob, Access)>,
    channels: Scope,
    stores: Scope,
}

impl Selector {
    /// One that permits no command and no key, but all stores.
    pub fn new(grammar: Grammar) -> Selector {
        Selector {
            commands: CommandSet::new(grammar.vocabulary.len()),
            all_commands: false,
            began_with_all: false,
            first_arguments: BTreeMap::new(),
            rules: Vec::new(),
            all_keys: false,
            keys: Vec::new(),
            channels: if grammar.all_channels { Scope::all() } else { Scope::none() },
            stores: Scope::all(),
        }
    }

    /// Applies one rule. If it is refused, nothing has changed.
    pub fn apply(&mut self, rule: &[u8], grammar: Grammar) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => (self.all_keys, self.keys) = (true, Vec::new()),
            b"resetkeys" => (self.all_keys, self.keys) = (false, Vec::new()),
            b"allchannels" | b"&*" => self.channels = Scope::all(),
            b"resetchannels" => self.channels = Scope::none(),
            b"allstores" | b"store=*" => self.stores = Scope::all(),
            b"resetstores" => self.stores = Scope::none(),
            b"allcommands" | b"+@all" => self.set_all_commands(true),
            b"nocommands" | b"-@all" => self.set_all_commands(false),
            lower => match (rule, lower) {
                ([b'~' | b'%', ..], _) => self.add_keys(rule)?,
                ([b'&', channel @ ..], _) if self.channels.all => {
                    return Err(Glob::new(channel).map_or(RuleError::Syntax, |_| RuleError::ChannelAfterAll));
                }
                ([b'&', channel @ ..], _) => self.channels.add(channel)?,
                ([sign @ (b'+' | b'-'), b'@', category @ ..], _) => {
                    self.set_category(category, *sign == b'+', grammar.vocabulary)?;
                }
                ([sign @ (b'+' | b'-'), command @ ..], _) => {
                    self.set_command(command, *sign == b'+', grammar.vocabulary)?;
                }
                (_, [b's', b't', b'o', b'r', b'e', b'=', ..]) => {
                    let store = &rule["store=".len()..];
                    // it restricts what a user has from the start, so no resetstores is needed before it
                    let mut stores = if self.stores.all { Scope::none() } else { self.stores.clone() };
                    stores.add(store)?;
                    self.stores = stores;
                }
                _ => return Err(RuleError::Syntax),
            },
        }
        Ok(())
    }

    /// Whether every request is permitted.
    pub fn is_unrestricted(&self) -> bool {
        self.all_commands && self.all_keys && self.channels.all && self.stores.all
    }

    pub fn check(&self, request: &Request<'_>) -> Result<(), Denied> {
        let denied = |reason, at| Err(Denied { reason, at });
        if !request.is_free && !self.may_run(request.command, request.argument) {
            return denied(Reason::Command, 0);
        }
        if request.all_stores && !self.stores.all {
            return denied(Reason::Store, 0);
        }
        if let Some((at, _)) = request.stores.iter().find(|(_, store)| !self.may_use_store(store)) {
            return denied(Reason::Store, *at);
        }
        if let Some((at, ..)) = request.keys.iter().find(|(_, key, access)| !self.may_touch(key, *access)) {
            return denied(Reason::Key, *at);
        }
        if !request.all_keys.is_empty() && !self.may_touch_all(request.all_keys) {
            return denied(Reason::Key, 0);
        }
        let literally = request.channels_are_patterns;
        match request.channels.iter().find(|(_, channel)| !self.may_use_channel(channel, literally)) {
            Some((at, _)) => denied(Reason::Channel, *at),
            None => Ok(()),
        }
    }

    /// Whether a channel may be used. A pattern must be named literally by a rule.
    pub fn may_use_channel(&self, channel: &[u8], literally: bool) -> bool {
        self.channels.all
            || self
                .channels
                .globs
                .iter()
                .any(|glob| if literally { *glob.text == *channel } else { glob.pattern.matches(channel) })
    }

    /// Whether a store of this name (or, without one, number) may be used.
    pub fn may_use_store(&self, store: &str) -> bool {
        self.stores.all || self.stores.globs.iter().any(|glob| glob.pattern.matches(store.as_bytes()))
    }

    pub(super) fn may_run(&self, command: CommandId, argument: Option<&[u8]>) -> bool {
        self.commands.contains(command)
            || self.first_arguments.get(&command).zip(argument).is_some_and(|(accepted, argument)| {
                accepted.iter().any(|other| other.eq_ignore_ascii_case(argument))
            })
    }

    pub(super) fn may_touch(&self, key: &[u8], access: Access) -> bool {
        self.all_keys || self.keys.iter().any(|(glob, has)| has.contains(access) && glob.pattern.matches(key))
    }

    /// Whether this may be done with every key.
    fn may_touch_all(&self, access: Access) -> bool {
        self.all_keys || self.keys.iter().any(|(glob, has)| has.contains(access) && glob.pattern.is_all())
    }

    /// The patterns of the keys to which this access is permitted; `None`: every key.
    pub(super) fn key_patterns(&self, access: Access) -> Option<Vec<Pattern>> {
        if self.may_touch_all(access) {
            return None;
        }
        let able = self.keys.iter().filter(|(_, has)| has.contains(access));
        Some(able.map(|(glob, _)| glob.pattern.clone()).collect())
    }

    fn set_all_commands(&mut self, allowed: bool) {
        self.commands.set_all(allowed);
        (self.all_commands, self.began_with_all) = (allowed, allowed);
        self.first_arguments.clear();
        self.rules.clear();
    }

    fn set_category(&mut self, name: &[u8], allowed: bool, words: &Vocabulary) -> Result<(), RuleError> {
        let (name, members) = words.category(name).ok_or(RuleError::UnknownCommand)?;
        members.iter().for_each(|id| self.set_with_subcommands(*id, allowed, words));
        self.remember(&format!("@{name}"), allowed);
        Ok(())
    }

    fn set_command(&mut self, name: &[u8], allowed: bool, words: &Vocabulary) -> Result<(), RuleError> {
        if let Some(id) = words.find(name) {
            self.set_with_subcommands(id, allowed, words);
            self.remember(words.name(id), allowed);
            return Ok(());
        }
        if let Some(absent) = std::str::from_utf8(name).ok().map(str::to_ascii_lowercase)
            && words.is_absent(&absent)
        {
            self.remember(&absent, allowed);
            return Ok(());
        }
        // a first argument, which can only be allowed
        let bar = name.iter().rposition(|&byte| byte == b'|').filter(|_| allowed);
        let (command, argument) = name.split_at(bar.ok_or(RuleError::UnknownCommand)?);
        let id = words.find(command).ok_or(RuleError::UnknownCommand)?;
        let argument = &argument[1..];
        if words.name(id).contains('|') {
            return Err(RuleError::ArgumentOfSubcommand);
        }
        if argument.is_empty() || has_spaces(argument) {
            return Err(RuleError::Syntax);
        }
        let (Ok(shown), None) = (std::str::from_utf8(argument), words.subcommands(id).next()) else {
            return Err(RuleError::UnknownCommand);
        };
        let first_arguments = self.first_arguments.get(&id).map_or(0, Vec::len);
        check_room(first_arguments)?;
        self.remember(&format!("{}|{}", words.name(id), shown.to_ascii_lowercase()), true);
        let accepted = self.first_arguments.entry(id).or_default();
        if !accepted.iter().any(|other| other.eq_ignore_ascii_case(argument)) {
            accepted.push(argument.into());
        }
        Ok(())
    }

    fn set_with_subcommands(&mut self, id: CommandId, allowed: bool, words: &Vocabulary) {
        self.commands.set(id, allowed);
        self.first_arguments.remove(&id);
        words.subcommands(id).for_each(|sub| self.commands.set(sub, allowed));
        self.all_commands &= allowed;
    }

    /// Adds a rule to those that are shown, replacing earlier ones about the same command or its subcommands.
    fn remember(&mut self, name: &str, allowed: bool) {
        self.rules.retain(|rule| {
            let rest = rule.get(1..).and_then(|earlier| earlier.strip_prefix(name));
            !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('|'))
        });
        self.rules.push(format!("{}{name}", if allowed { '+' } else { '-' }));
    }

    fn add_keys(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::KeyAfterAll);
        }
        // as in Redis, `%R` without a pattern is one for the empty key
        let tilde = rule.iter().position(|&byte| byte == b'~').unwrap_or(rule.len());
        let access = match rule[..tilde].to_ascii_lowercase().as_slice() {
            b"%r" => Access::READ,
            b"%w" => Access::WRITE,
            b"" | b"%rw" | b"%wr" => Access::all(),
            _ => return Err(RuleError::Syntax),
        };
        let glob = Glob::new(rule.get(tilde + 1..).unwrap_or_default())?;
        match self.keys.iter_mut().find(|(known, _)| *known == glob) {
            Some((_, has)) => *has |= access,
            None => {
                check_room(self.keys.len())?;
                self.keys.push((glob, access));
            }
        }
        Ok(())
    }
}

/// A selector as it is shown.
impl Selector {
    /// The rules for commands; they always begin with all or none.
    pub fn commands(&self) -> String {
        let first = if self.began_with_all { "+@all" } else { "-@all" };
        self.rules.iter().fold(first.to_owned(), |shown, rule| shown + " " + rule)
    }

    /// The rules for keys, with a space between them.
    pub fn keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        let shown = self.keys.iter().map(|(glob, access)| {
            let sign: &[u8] = match *access {
                Access::READ => b"%R~",
                Access::WRITE => b"%W~",
                _ => b"~",
            };
            [sign, &*glob.text].concat()
        });
        shown.collect::<Vec<_>>().join(&b' ')
    }

    /// The rules for channels, with a space between them.
    pub fn channels(&self) -> Vec<u8> {
        self.channels.shown(b"&")
    }

    /// The rules for stores, with a space between them; empty if it may use all.
    pub fn stores(&self) -> Option<Vec<u8>> {
        (!self.stores.all).then(|| self.stores.shown(b"store="))
    }

    /// The rules that make it from a new one.
    pub fn description(&self) -> Vec<u8> {
        let mut parts = vec![self.keys()];
        if !self.channels.all {
            parts.push(b"resetchannels".to_vec());
        }
        parts.push(self.channels());
        match self.stores() {
            Some(stores) if stores.is_empty() => parts.push(b"resetstores".to_vec()),
            stores => parts.extend(stores),
        }
        parts.push(self.commands().into_bytes());
        parts.retain(|part| !part.is_empty());
        parts.join(&b' ')
    }
}

/// A pattern, and how it was written.
#[derive(Debug, Clone, PartialEq)]
struct Glob {
    text: Box<[u8]>,
    pattern: Pattern,
}

impl Glob {
    fn new(text: &[u8]) -> Result<Glob, RuleError> {
        if has_spaces(text) {
            return Err(RuleError::Syntax);
        }
        let pattern = Pattern::new(text).map_err(|_| RuleError::PatternTooLong)?;
        Ok(Glob { text: text.into(), pattern })
    }
}

/// All of something, or what matches one of the patterns.
#[derive(Debug, Clone, PartialEq)]
struct Scope {
    all: bool,
    globs: Vec<Glob>,
}

impl Scope {
    fn all() -> Scope {
        Scope { all: true, globs: Vec::new() }
    }

    fn none() -> Scope {
        Scope { all: false, globs: Vec::new() }
    }

    fn add(&mut self, text: &[u8]) -> Result<(), RuleError> {
        let glob = Glob::new(text)?;
        if !self.globs.contains(&glob) {
            check_room(self.globs.len())?;
            self.globs.push(glob);
        }
        Ok(())
    }

    fn shown(&self, sign: &[u8]) -> Vec<u8> {
        if self.all {
            return [sign, b"*"].concat();
        }
        self.globs.iter().map(|glob| [sign, &*glob.text].concat()).collect::<Vec<_>>().join(&b' ')
    }
}

/// Refuses one more rule of a kind if there are too many.
pub fn check_room(rules: usize) -> Result<(), RuleError> {
    if rules >= ACL_RULES_MAX { Err(RuleError::TooManyRules) } else { Ok(()) }
}

/// Rules are separated by spaces and have no way to escape one.
pub fn has_spaces(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b' ' | b'\t'..=b'\r' | 0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::vocabulary::tests::SOME;
    use super::*;

    fn grammar() -> Grammar {
        Grammar { vocabulary: &SOME, all_channels: false }
    }

    fn selector(rules: &str) -> Selector {
        let mut selector = Selector::new(grammar());
        rules.split_whitespace().for_each(|rule| selector.apply(rule.as_bytes(), grammar()).unwrap());
        selector
    }

    fn may_run(rules: &str, command: &str, argument: Option<&str>) -> bool {
        let command = SOME.find(command.as_bytes()).unwrap();
        let argument = argument.map(str::as_bytes);
        selector(rules).check(&Request { command, argument, ..Request::default() }).is_ok()
    }

    #[test]
    fn later_rules_about_commands_win() {
        assert!(!may_run("", "get", None));
        assert!(may_run("+get", "get", None) && !may_run("+get", "set", None));
        assert!(may_run("+@all -get +get", "get", None) && !may_run("+get -@read", "get", None));
        assert!(may_run("+config", "config|set", None));
        assert!(may_run("+config -config|set", "config|get", None));
        assert!(!may_run("+config -config|set", "config|set", None));
        assert!(may_run("+config|set", "config|set", None) && !may_run("+config|set", "config|get", None));
    }

    #[test]
    fn a_first_argument_opens_a_closed_command() {
        let rules = "+@all -select +select|0 +select|orders";
        assert!(may_run(rules, "select", Some("0")) && may_run(rules, "select", Some("ORDERS")));
        assert!(!may_run(rules, "select", Some("1")) && !may_run(rules, "select", None));
        assert!(!may_run(&format!("{rules} -select"), "select", Some("0")), "a later rule takes it back");
    }

    #[test]
    fn what_is_shown_makes_the_same_selector() {
        for (rules, shown) in [
            ("", "resetchannels -@all"),
            ("allkeys allchannels allcommands", "~* &* +@all"),
            ("~a %R~b %W~c %RW~d", "~a %R~b %W~c ~d resetchannels -@all"),
            ("%R~a %W~a", "~a resetchannels -@all"),
            ("+@all -@dangerous -GET +get", "resetchannels +@all -@dangerous +get"),
            ("+config|get +config", "resetchannels -@all +config"),
            ("+get -@all +SELECT|A +select|b", "resetchannels -@all +select|a +select|b"),
            ("&a &b &a", "resetchannels &a &b -@all"),
            ("store=a STORE=b* store=a", "resetchannels store=a store=b* -@all"),
            ("store=a allstores", "resetchannels -@all"),
            ("resetstores", "resetchannels resetstores -@all"),
            // commands that only Redis has
            ("+@all -HSET +cluster|info -hset", "resetchannels +@all +cluster|info -hset"),
        ] {
            let made = selector(rules);
            assert_eq!(made.description().escape_ascii().to_string(), shown, "{rules}");
            assert_eq!(selector(shown).description(), made.description(), "{rules}");
            assert_eq!(selector(shown).commands, made.commands, "{rules}");
        }
    }

    #[test]
    fn rules_about_absent_commands_change_nothing_that_there_is() {
        assert!(selector("~* &* +@all -hset").is_unrestricted());
        assert_eq!(selector("+get +hset").commands, selector("+get").commands);
    }

    #[test]
    fn refused_rules_change_nothing() {
        let before = selector("~a &a +get store=a");
        for (rule, why) in [
            ("foo", RuleError::Syntax),
            ("%X~a", RuleError::Syntax),
            ("%~a", RuleError::Syntax),
            ("~a b", RuleError::Syntax),
            ("&a\tb", RuleError::Syntax),
            ("store=a b", RuleError::Syntax),
            ("+get|", RuleError::Syntax),
            ("+foo", RuleError::UnknownCommand),
            ("+@foo", RuleError::UnknownCommand),
            ("+config|foo", RuleError::UnknownCommand),
            ("-get|foo", RuleError::UnknownCommand),
            ("+config|get|foo", RuleError::ArgumentOfSubcommand),
        ] {
            let mut after = before.clone();
            assert_eq!(after.apply(rule.as_bytes(), grammar()), Err(why), "{rule}");
            assert_eq!(after, before, "{rule}");
        }
        assert_eq!(selector("~*").apply(b"~a", grammar()), Err(RuleError::KeyAfterAll));
        assert_eq!(selector("&*").apply(b"&a", grammar()), Err(RuleError::ChannelAfterAll));
    }

    #[test]
    fn keys_channels_and_stores_are_looked_at() {
        let denied = |request: Request<'_>| {
            selector("+@all ~rw:* %R~r:* %W~w:* &news store=orders").check(&request).err()
        };
        let touch = |key: &'static str, access| {
            denied(Request { keys: vec![(1, key.as_bytes(), access)], ..Request::default() })
        };
        let at = |reason, at| Some(Denied { reason, at });
        for (key, read, write) in [("rw:1", true, true), ("r:1", true, false), ("w:1", false, true)] {
            assert_eq!(touch(key, Access::READ).is_none(), read, "{key}");
            assert_eq!(touch(key, Access::WRITE).is_none(), write, "{key}");
            assert_eq!(touch(key, Access::all()).is_none(), read && write, "{key}");
            assert_eq!(touch(key, Access::empty()), None, "{key}");
        }
        assert_eq!(touch("x", Access::empty()), at(Reason::Key, 1));

        let channel = |channel: &'static str, channels_are_patterns| {
            denied(Request {
                channels: vec![(2, channel.as_bytes())],
                channels_are_patterns,
                ..Request::default()
            })
        };
        assert_eq!((channel("news", false), channel("news", true)), (None, None));
        assert_eq!(channel("new*", true), at(Reason::Channel, 2));

        let store = |store: &str| denied(Request { stores: vec![(3, store.into())], ..Request::default() });
        assert_eq!((store("orders"), store("0")), (None, at(Reason::Store, 3)));
        assert_eq!(denied(Request { all_stores: true, ..Request::default() }), at(Reason::Store, 0));
    }
}
