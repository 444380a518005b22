//! All users, by name, and the accounts that sessions hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use super::{Grammar, Log, PasswordHash, RuleError, User, Vocabulary};

/// The user of every connection before it authenticates. It always exists.
pub const DEFAULT_USER: &str = "default";

/// A user as sessions hold it: always has the user's current permissions.
#[derive(Debug)]
pub struct Account {
    name: String,
    /// Whether there is nothing to check, which nearly every request asks.
    unrestricted: AtomicBool,
    user: RwLock<Arc<User>>,
}

impl Account {
    fn new(name: &str, user: User) -> Account {
        let unrestricted = AtomicBool::new(user.is_unrestricted());
        Account { name: name.to_owned(), unrestricted, user: RwLock::new(Arc::new(user)) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this user may do everything.
    pub fn is_unrestricted(&self) -> bool {
        self.unrestricted.load(Ordering::Acquire)
    }

    /// Whether it may see everything in requests of any user, in all stores.
    pub fn may_see_everything(&self) -> bool {
        self.is_unrestricted() || self.user().may_read_everything()
    }

    /// The user's current permissions.
    pub fn user(&self) -> Arc<User> {
        self.user.read().clone()
    }

    /// Whether this user may know that a store has a key.
    pub fn may_know(&self, store: &str, key: &[u8]) -> bool {
        self.is_unrestricted() || self.user().may_know(store, key)
    }

    fn change(&self, user: User) {
        let mut current = self.user.write();
        // a request that still reads the old flag began before the change
        self.unrestricted.store(user.is_unrestricted(), Ordering::Release);
        *current = Arc::new(user);
    }
}

/// All users and the log of what was refused.
pub struct Acl {
    vocabulary: &'static Vocabulary,
    all_channels: AtomicBool,
    accounts: RwLock<BTreeMap<String, Arc<Account>>>,
    default: Arc<Account>,
    /// Whether the default user needs a password, or is off; requests before authentication ask this.
    asks_for_password: AtomicBool,
    pub log: Log,
}

impl Acl {
    /// Has only the default user, who may do everything.
    pub fn new(vocabulary: &'static Vocabulary) -> Acl {
        let grammar = Grammar { vocabulary, all_channels: false };
        let default = Arc::new(Account::new(DEFAULT_USER, User::almighty(grammar)));
        Acl {
            vocabulary,
            all_channels: AtomicBool::new(false),
            accounts: RwLock::new(BTreeMap::from([(DEFAULT_USER.to_owned(), default.clone())])),
            default,
            asks_for_password: AtomicBool::new(false),
            log: Log::default(),
        }
    }

    /// The current context in which rules are parsed.
    pub fn grammar(&self) -> Grammar {
        Grammar { vocabulary: self.vocabulary, all_channels: self.all_channels.load(Ordering::Relaxed) }
    }

    /// Sets which channels new users may use (`acl-pubsub-default`).
    pub fn set_all_channels_by_default(&self, all: bool) {
        self.all_channels.store(all, Ordering::Relaxed);
    }

    pub fn default_account(&self) -> Arc<Account> {
        self.default.clone()
    }

    /// Whether a connection has to authenticate before it may do anything.
    pub fn asks_for_password(&self) -> bool {
        self.asks_for_password.load(Ordering::Acquire)
    }

    pub fn get(&self, name: &[u8]) -> Option<Arc<Account>> {
        let name = std::str::from_utf8(name).ok()?;
        self.accounts.read().get(name).cloned()
    }

    /// All users, by name.
    pub fn all(&self) -> Vec<(String, Arc<User>)> {
        let accounts = self.accounts.read();
        accounts.iter().map(|(name, account)| (name.clone(), account.user())).collect()
    }

    /// The lines of a file that describes all users.
    pub fn lines(&self) -> Vec<Vec<u8>> {
        let line = |(name, user): (String, Arc<User>)| {
            [b"user ", name.as_bytes(), b" ", &*user.description()].concat()
        };
        self.all().into_iter().map(line).collect()
    }

    /// The account of a name and password, if both are right. Takes the same time if there is no such user.
    pub fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<Account>> {
        let hash = PasswordHash::of(password);
        match self.get(name) {
            Some(account) => account.user().accepts(&hash).then_some(account),
            None => {
                let _ = hash.is_among(&[hash]);
                None
            }
        }
    }

    /// Applies rules to a user, who is created if necessary. If a rule is refused, returns the error and changes
    /// nothing.
    pub fn set_user(&self, name: &str, rules: &[Vec<u8>]) -> Result<(), (Vec<u8>, RuleError)> {
        let mut accounts = self.accounts.write();
        let known = accounts.get(name).cloned();
        let user = self.following(known.as_deref(), rules)?;
        match known {
            Some(account) => account.change(user),
            None => drop(accounts.insert(name.to_owned(), Arc::new(Account::new(name, user)))),
        }
        self.look_at_default();
        Ok(())
    }

    /// Whether applying rules to a user would let everybody in without a password who can't get in now. Fails as
    /// [`set_user`](Acl::set_user) would.
    pub fn would_open(&self, name: &str, rules: &[Vec<u8>]) -> Result<bool, (Vec<u8>, RuleError)> {
        if name != DEFAULT_USER || !self.asks_for_password() {
            return Ok(false);
        }
        Ok(self.following(Some(&self.default), rules)?.needs_no_password())
    }

    /// The user that results from applying rules to a user, or to a new one.
    fn following(&self, known: Option<&Account>, rules: &[Vec<u8>]) -> Result<User, (Vec<u8>, RuleError)> {
        let grammar = self.grammar();
        let mut user = known.map_or_else(|| User::new(grammar), |account| (*account.user()).clone());
        for rule in rules {
            user.apply(rule, grammar).map_err(|why| (rule.clone(), why))?;
        }
        Ok(user)
    }

    /// Gives the default user only this password, or none.
    pub fn set_default_password(&self, password: Option<&str>) {
        let _accounts = self.accounts.write();
        let mut user = (*self.default.user()).clone();
        set_password(&mut user, password, self.grammar());
        self.default.change(user);
        self.look_at_default();
    }

    /// Removes a user; false if there is none. Sessions that still have its account may do nothing any more. The default
    /// user can't be removed.
    pub fn delete(&self, name: &[u8]) -> bool {
        let Ok(name) = std::str::from_utf8(name) else { return false };
        if name == DEFAULT_USER {
            return false;
        }
        match self.accounts.write().remove(name) {
            Some(account) => {
                account.change(User::new(self.grammar()));
                true
            }
            None => false,
        }
    }

    /// Replaces all users, and returns the names of those who are gone or changed. If the default user is not among the
    /// new ones, it may do everything, with this password if there is one.
    pub fn replace(&self, mut users: BTreeMap<String, User>, password: Option<&str>) -> Vec<String> {
        let grammar = self.grammar();
        users.entry(DEFAULT_USER.to_owned()).or_insert_with(|| {
            let mut user = User::almighty(grammar);
            set_password(&mut user, password, grammar);
            user
        });
        let mut accounts = self.accounts.write();
        let mut changed = Vec::new();
        accounts.retain(|name, account| {
            let stays = users.contains_key(name);
            if !stays {
                account.change(User::new(grammar));
                changed.push(name.clone());
            }
            stays
        });
        for (name, user) in users {
            match accounts.get(&name) {
                Some(account) if *account.user() == user => {}
                Some(account) => {
                    account.change(user);
                    changed.push(name);
                }
                None => drop(accounts.insert(name.clone(), Arc::new(Account::new(&name, user)))),
            }
        }
        self.look_at_default();
        changed
    }

    /// Called with the accounts locked, whenever the default user may have changed.
    fn look_at_default(&self) {
        let user = self.default.user();
        self.asks_for_password.store(!user.needs_no_password(), Ordering::Release);
    }
}

fn set_password(user: &mut User, password: Option<&str>, grammar: Grammar) {
    // these rules are always understood
    let _ = user.apply(b"resetpass", grammar);
    let _ = match password {
        Some(password) => user.apply(format!(">{password}").as_bytes(), grammar),
        None => user.apply(b"nopass", grammar),
    };
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::vocabulary::tests::SOME;
    use super::*;

    fn rules(text: &str) -> Vec<Vec<u8>> {
        text.split(' ').map(|rule| rule.as_bytes().to_vec()).collect()
    }

    fn users(all: &[(&str, &str)], acl: &Acl) -> BTreeMap<String, User> {
        let made = |(name, text): &(&str, &str)| {
            let mut user = User::new(acl.grammar());
            rules(text).iter().for_each(|rule| user.apply(rule, acl.grammar()).unwrap());
            ((*name).to_owned(), user)
        };
        all.iter().map(made).collect()
    }

    #[test]
    fn sessions_follow_their_user() {
        let acl = Acl::new(&SOME);
        acl.set_user("ada", &rules("on >pw ~* &* +@all")).unwrap();
        let account = acl.authenticate(b"ada", b"pw").unwrap();
        assert!(account.is_unrestricted());
        acl.set_user("ada", &rules("-get")).unwrap();
        assert!(!account.is_unrestricted());
        acl.set_user("ada", &rules("+@all")).unwrap();
        assert!(account.is_unrestricted());
        assert!(acl.delete(b"ada") && !acl.delete(b"ada"));
        assert!(!account.is_unrestricted() && account.user().root().commands() == "-@all");
        assert!(acl.authenticate(b"ada", b"pw").is_none());
    }

    #[test]
    fn refused_rules_make_and_change_nobody() {
        let acl = Acl::new(&SOME);
        let refused = acl.set_user("ada", &rules("on +get +nope")).unwrap_err();
        assert_eq!(refused, (b"+nope".to_vec(), RuleError::UnknownCommand));
        assert!(acl.get(b"ada").is_none());
        assert!(acl.set_user("default", &rules("off foo")).is_err());
        assert!(!acl.asks_for_password());
    }

    #[test]
    fn the_default_user_decides_who_comes_in() {
        let acl = Acl::new(&SOME);
        acl.set_default_password(Some("pw"));
        assert!(acl.asks_for_password() && acl.authenticate(b"default", b"x").is_none());
        acl.set_default_password(None);
        assert!(!acl.asks_for_password() && acl.authenticate(b"default", b"x").is_some());
        acl.set_user("default", &rules("off")).unwrap();
        assert!(acl.asks_for_password() && acl.authenticate(b"default", b"x").is_none());
        assert!(!acl.delete(b"default"));
    }

    #[test]
    fn others_take_the_place_of_all() {
        let acl = Acl::new(&SOME);
        for name in ["kept", "changed", "gone"] {
            acl.set_user(name, &rules("on nopass +get")).unwrap();
        }
        let gone = acl.get(b"gone").unwrap();
        let next = users(&[("kept", "on nopass +get"), ("changed", "on +get"), ("new", "on")], &acl);
        assert_eq!(acl.replace(next, Some("pw")), ["gone", "changed", "default"]);
        assert!(!gone.user().enabled && acl.asks_for_password());
        let names: Vec<String> = acl.all().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["changed", "default", "kept", "new"]);
        let text = acl.lines().join(&b'\n');
        let read = super::super::file::parse(&text, "users.acl", acl.grammar()).unwrap();
        assert!(acl.replace(read, None).is_empty(), "what was written changes nothing when it is read");
    }
}
