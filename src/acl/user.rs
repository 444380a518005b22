//! The permissions of a user, as the result of its rules.

use super::selector::{check_room, has_spaces};
use super::{Access, CommandId, Denied, Grammar, PasswordHash, Reason, Request, RuleError, Selector, Sight};

/// A user's passwords and permissions. A new user has neither, and is off.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    pub enabled: bool,
    /// Whether every password is right.
    pub nopass: bool,
    /// Whether DUMP payloads of this user are to be checked; they always are, but what was said is shown.
    sanitize: bool,
    passwords: Vec<PasswordHash>,
    /// The store to begin with: its name or number.
    default_store: Option<String>,
    root: Selector,
    more: Vec<Selector>,
}

impl User {
    pub fn new(grammar: Grammar) -> User {
        User {
            enabled: false,
            nopass: false,
            sanitize: true,
            passwords: Vec::new(),
            default_store: None,
            root: Selector::new(grammar),
            more: Vec::new(),
        }
    }

    /// A user who may do everything without a password: the default user, unless configured otherwise.
    pub fn almighty(grammar: Grammar) -> User {
        let mut user = User { enabled: true, nopass: true, ..User::new(grammar) };
        for rule in [&b"allcommands"[..], b"allkeys", b"allchannels"] {
            // these three are always understood
            let _ = user.root.apply(rule, grammar);
        }
        user
    }

    /// Applies one rule. If it is refused, nothing has changed.
    pub fn apply(&mut self, rule: &[u8], grammar: Grammar) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"sanitize-payload" => self.sanitize = true,
            b"skip-sanitize-payload" => self.sanitize = false,
            b"nopass" => (self.nopass, self.passwords) = (true, Vec::new()),
            b"resetpass" => (self.nopass, self.passwords) = (false, Vec::new()),
            b"clearselectors" => self.more.clear(),
            b"reset" => *self = User::new(grammar),
            lower if lower.starts_with(b"default-store=") => {
                let store = &rule["default-store=".len()..];
                let store = std::str::from_utf8(store).map_err(|_| RuleError::Syntax)?;
                if has_spaces(store.as_bytes()) {
                    return Err(RuleError::Syntax);
                }
                self.default_store = (!store.is_empty()).then(|| store.to_owned());
            }
            _ => return self.apply_signed(rule, grammar),
        }
        Ok(())
    }

    fn apply_signed(&mut self, rule: &[u8], grammar: Grammar) -> Result<(), RuleError> {
        match rule {
            [b'>', password @ ..] => self.add_password(PasswordHash::of(password))?,
            [b'#', hex @ ..] => self.add_password(PasswordHash::parse(hex).ok_or(RuleError::BadHash)?)?,
            [b'<', password @ ..] => self.remove_password(PasswordHash::of(password))?,
            [b'!', hex @ ..] => self.remove_password(PasswordHash::parse(hex).ok_or(RuleError::BadHash)?)?,
            [b'(', rules @ .., b')'] => {
                check_room(self.more.len())?;
                let mut selector = Selector::new(grammar);
                for rule in rules.split(u8::is_ascii_whitespace).filter(|rule| !rule.is_empty()) {
                    selector.apply(rule, grammar)?;
                }
                self.more.push(selector);
            }
            _ => self.root.apply(rule, grammar)?,
        }
        Ok(())
    }

    fn add_password(&mut self, hash: PasswordHash) -> Result<(), RuleError> {
        if !self.passwords.contains(&hash) {
            check_room(self.passwords.len())?;
            self.passwords.push(hash);
        }
        self.nopass = false;
        Ok(())
    }

    fn remove_password(&mut self, hash: PasswordHash) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|other| *other == hash).ok_or(RuleError::NoSuchPassword)?;
        self.passwords.remove(at);
        Ok(())
    }

    /// Whether someone who knows this password may be this user.
    pub fn accepts(&self, password: &PasswordHash) -> bool {
        // compared unconditionally, so that the time reveals nothing
        let is_right = password.is_among(&self.passwords);
        self.enabled && (self.nopass || is_right)
    }

    /// Whether everybody may be this user.
    pub fn needs_no_password(&self) -> bool {
        self.enabled && self.nopass
    }

    /// Whether a request is permitted: if one of the selectors permits all of it.
    pub fn check(&self, request: &Request<'_>) -> Result<(), Denied> {
        let mut told = Denied { reason: Reason::Command, at: 0 };
        for selector in self.selectors() {
            match selector.check(request) {
                Ok(()) => return Ok(()),
                Err(denied) => told = told.max(denied),
            }
        }
        Err(told)
    }

    pub fn may_use_channel(&self, channel: &[u8], literally: bool) -> bool {
        self.selectors().any(|selector| selector.may_use_channel(channel, literally))
    }

    pub fn may_use_store(&self, store: &str) -> bool {
        self.selectors().any(|selector| selector.may_use_store(store))
    }

    /// Whether the user may know that a store has a key. As in Redis, any right to a key is enough, because EXISTS and
    /// TYPE need no more.
    pub fn may_know(&self, store: &str, key: &[u8]) -> bool {
        self.selectors()
            .any(|selector| selector.may_use_store(store) && selector.may_touch(key, Access::empty()))
    }

    /// Whether every key of every store may be read.
    pub fn may_read_everything(&self) -> bool {
        let everything =
            Request { all_stores: true, all_keys: Access::READ, is_free: true, ..Request::default() };
        self.check(&everything).is_ok()
    }

    /// The keys of a store that a command may show: those to which the user has this access with this command.
    pub fn sight(&self, command: CommandId, argument: Option<&[u8]>, store: &str, access: Access) -> Sight {
        let able = self
            .selectors()
            .filter(|selector| selector.may_run(command, argument) && selector.may_use_store(store));
        Sight::of(able.map(|selector| selector.key_patterns(access)))
    }

    pub fn is_unrestricted(&self) -> bool {
        self.selectors().any(Selector::is_unrestricted)
    }

    pub fn default_store(&self) -> Option<&str> {
        self.default_store.as_deref()
    }

    fn selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.more)
    }
}

/// A user as it is shown.
impl User {
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let sanitize = if self.sanitize { "sanitize-payload" } else { "skip-sanitize-payload" };
        let switch = if self.enabled { "on" } else { "off" };
        [Some(switch), self.nopass.then_some("nopass"), Some(sanitize)].into_iter().flatten()
    }

    pub fn passwords(&self) -> &[PasswordHash] {
        &self.passwords
    }

    /// The permissions outside of parentheses.
    pub fn root(&self) -> &Selector {
        &self.root
    }

    /// The permissions inside of parentheses, one set each.
    pub fn further_selectors(&self) -> &[Selector] {
        &self.more
    }

    /// The rules that make this user from a new one.
    pub fn description(&self) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = self.flags().map(|flag| flag.as_bytes().to_vec()).collect();
        parts.extend(self.passwords.iter().map(|hash| format!("#{hash}").into_bytes()));
        parts.extend(self.default_store.iter().map(|store| format!("default-store={store}").into_bytes()));
        parts.push(self.root.description());
        parts.extend(self.more.iter().map(|selector| [b"(", &*selector.description(), b")"].concat()));
        parts.join(&b' ')
    }
}

/// Joins the words of each rule in parentheses. If a parenthesis isn't closed, returns the word with it as the error.
pub fn join_selectors<'a>(words: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Vec<u8>>, &'a [u8]> {
    let mut joined: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<(&'a [u8], Vec<u8>)> = None;
    for word in words {
        match &mut open {
            None if word.starts_with(b"(") && !word.ends_with(b")") => open = Some((word, word.to_vec())),
            None => joined.push(word.to_vec()),
            Some((_, selector)) => {
                selector.push(b' ');
                selector.extend_from_slice(word);
                if word.ends_with(b")") {
                    joined.extend(open.take().map(|(_, selector)| selector));
                }
            }
        }
    }
    match open {
        Some((start, _)) => Err(start),
        None => Ok(joined),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::vocabulary::tests::SOME;
    use super::*;

    fn grammar() -> Grammar {
        Grammar { vocabulary: &SOME, all_channels: false }
    }

    fn user(rules: &str) -> User {
        let mut user = User::new(grammar());
        for rule in join_selectors(rules.split(' ').map(str::as_bytes)).unwrap() {
            user.apply(&rule, grammar()).unwrap();
        }
        user
    }

    fn shown(user: &User) -> String {
        user.description().escape_ascii().to_string()
    }

    #[test]
    fn the_almighty_can_be_written_down() {
        let almighty = User::almighty(grammar());
        assert!(almighty.is_unrestricted());
        assert_eq!(shown(&almighty), "on nopass sanitize-payload ~* &* +@all");
        assert_eq!(user(&shown(&almighty)), almighty);
        assert!(!user("on nopass ~* &* +@all store=orders").is_unrestricted());
        assert!(user("off ( ~* &* +@all )").is_unrestricted());
    }

    #[test]
    fn passwords_come_and_go() {
        let hash = PasswordHash::of(b"a").to_string();
        let right = |user: &User, password: &str| user.accepts(&PasswordHash::of(password.as_bytes()));
        let mut two = user("on >a >b >a");
        assert_eq!(two.passwords().len(), 2);
        assert!(right(&two, "a") && right(&two, "b") && !right(&two, "c"));
        assert_eq!(two.apply(b"<c", grammar()), Err(RuleError::NoSuchPassword));
        two.apply(format!("!{hash}").as_bytes(), grammar()).unwrap();
        assert!(!right(&two, "a") && right(&two, "b"));
        assert!(!right(&user("off >a"), "a") && !right(&user("off nopass"), "a"));
        assert!(right(&user("on nopass"), "anything") && !right(&user("on nopass >a"), "anything"));
        assert!(!right(&user("on nopass resetpass"), ""));
        for bad in ["#zz", "!zz"] {
            assert_eq!(two.apply(bad.as_bytes(), grammar()), Err(RuleError::BadHash));
        }
    }

    #[test]
    fn what_is_shown_makes_the_same_user() {
        for rules in [
            "on >pw ~a %R~b &c +@read -get",
            "skip-sanitize-payload nopass (~x +get) (~y store=a +set)",
            "on default-store=orders store=orders ~* +@all",
        ] {
            let made = user(rules);
            assert_eq!(user(&shown(&made)), made, "{rules}");
        }
        assert_eq!(
            shown(&user("on default-store=orders store=orders ~* (~y  +set)")),
            "on sanitize-payload default-store=orders ~* resetchannels store=orders -@all (~y resetchannels -@all +set)"
        );
        assert_eq!(
            shown(&user("default-store=orders default-store=")),
            "off sanitize-payload resetchannels -@all"
        );
        let reset = user("on >pw ~a +get default-store=x (~x) reset");
        assert_eq!(shown(&reset), "off sanitize-payload resetchannels -@all");
    }

    #[test]
    fn one_selector_has_to_have_it_all() {
        let user = user("+get ~a (+set ~b)");
        let request = |command: &str, key: &'static str| Request {
            command: SOME.find(command.as_bytes()).unwrap(),
            keys: vec![(1, key.as_bytes(), Access::READ)],
            ..Request::default()
        };
        assert_eq!(user.check(&request("get", "a")), Ok(()));
        assert_eq!(user.check(&request("set", "b")), Ok(()));
        assert_eq!(user.check(&request("set", "a")), Err(Denied { reason: Reason::Key, at: 1 }));
        assert_eq!(user.check(&request("getdel", "a")), Err(Denied { reason: Reason::Command, at: 0 }));
    }

    #[test]
    fn selectors_may_come_in_several_words() {
        let join = |text: &'static str| join_selectors(text.split(' ').map(str::as_bytes));
        assert_eq!(join("on (~a +get) off").unwrap(), [&b"on"[..], b"(~a +get)", b"off"]);
        assert_eq!(join("(~a) on").unwrap(), [&b"(~a)"[..], b"on"]);
        assert_eq!(join("on (~a +get").unwrap_err(), b"(~a");
    }
}
