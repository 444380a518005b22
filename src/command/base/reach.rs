//! The stores, keys and channels that a request uses, for access control.

use bytes::Bytes;

use crate::acl;
use crate::command::base::{Flags, Keys, Spec, View};
use crate::store::StoreId;

/// The stores on which a command works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stores {
    /// The selected store, if the command reads, writes or names keys; otherwise none.
    ByFlags,
    None,
    Selected,
    /// All stores.
    All,
    /// The stores named by the words from `first` to `last`; if the request has none of these, the selected one.
    Named {
        first: usize,
        last: usize,
    },
    /// The selected store and the store that a word names.
    SelectedAnd(usize),
    /// The selected store, and stores that are named after an option. The option may be anywhere from this word on.
    SelectedAndOption {
        from: usize,
        option: &'static str,
    },
}

impl Stores {
    /// The word behind the name of a subcommand.
    pub const THIRD_WORD: Stores = Stores::Named { first: 2, last: 2 };

    fn is_selected_in(self, spec: &Spec, words: usize) -> bool {
        match self {
            Stores::None | Stores::All => false,
            Stores::Selected | Stores::SelectedAnd(_) | Stores::SelectedAndOption { .. } => true,
            Stores::ByFlags => {
                spec.flags.intersects(Flags::READONLY | Flags::WRITE) || spec.keys != Keys::None
            }
            Stores::Named { first, .. } => words <= first,
        }
    }

    /// The positions of the words that name stores.
    fn positions(self, request: &[Bytes]) -> Vec<usize> {
        let is_in = |at: &usize| *at < request.len();
        match self {
            Stores::ByFlags | Stores::None | Stores::Selected | Stores::All => Vec::new(),
            Stores::Named { first, last } => (first..=last).filter(is_in).collect(),
            Stores::SelectedAnd(at) => Some(at).into_iter().filter(is_in).collect(),
            Stores::SelectedAndOption { from, option } => (from..request.len())
                .filter(|at| request[*at].eq_ignore_ascii_case(option.as_bytes()))
                .map(|at| at + 1)
                .filter(is_in)
                .collect(),
        }
    }
}

/// The positions of the channels in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    None,
    /// The first word after the name.
    One,
    /// All words after the name.
    All,
    /// All words behind the name, which are patterns.
    Patterns,
}

/// What a request does, as access control sees it. The selected store is `None` if it is not known yet.
pub fn request<'a>(
    server: View<'_>,
    spec: &'static Spec,
    args: &'a [Bytes],
    selected: Option<StoreId>,
) -> acl::Request<'a> {
    let mut stores: Vec<(usize, String)> = spec
        .stores
        .positions(args)
        .into_iter()
        .map(|at| (at, server.label_of_named_store(&args[at])))
        .collect();
    if spec.stores.is_selected_in(spec, args.len()) {
        stores.extend(selected.map(|id| (0, server.store_label(id))));
    }
    let last_channel = match spec.channels {
        Channels::None => 0,
        Channels::One => 1,
        Channels::All | Channels::Patterns => args.len().saturating_sub(1),
    };
    let keys = spec.keys.positions(args).enumerate();
    acl::Request {
        command: server.commands.index(spec),
        is_free: spec.is(Flags::NO_AUTH),
        argument: args.get(spec.words_of_name()).map(|word| &**word),
        stores,
        all_stores: spec.stores == Stores::All,
        keys: keys
            .filter_map(|(nth, at)| Some((at, &**args.get(at)?, spec.key_use(args, nth).access())))
            .collect(),
        all_keys: spec.all_keys,
        channels: (1..=last_channel).filter_map(|at| Some((at, &**args.get(at)?))).collect(),
        channels_are_patterns: spec.channels == Channels::Patterns,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use crate::acl::Access;
    use crate::command::COMMANDS;
    use crate::command::base::reach::*;
    use crate::command::base::table::Lookup;
    use crate::command::tests::harness::Harness;

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    /// What a line reaches with store 3 selected: `3 orders, key r, key rw`.
    fn reached(h: &Harness, line: &str) -> String {
        let args = words(line);
        let Lookup::Command(spec) = h.server.commands.lookup(&args) else { panic!("{line}") };
        let request = request(h.server.view(), spec, &args, Some(3));
        let mut stores: Vec<String> = request.stores.into_iter().map(|(_, store)| store).collect();
        stores.sort();
        if request.all_stores {
            stores.push("all".into());
        }
        let keys = request.keys.into_iter().map(|(_, key, access)| {
            let letters = access.iter_names().map(|(name, _)| &name[..1]).collect::<String>();
            format!("{} {}", String::from_utf8_lossy(key), letters.to_lowercase()).trim_end().to_owned()
        });
        std::iter::once(stores.join(" ")).chain(keys).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn stores_and_keys_of_requests() {
        let mut h = Harness::new();
        h.expect(&[("STORE CREATE orders", "OK")]);
        for (line, expected) in [
            ("PING", ""),
            ("AUTH a b", ""),
            ("GET a", "3, a r"),
            ("DBSIZE", "3"),
            ("WATCH a", "3, a"),
            ("SET a 1", "3, a w"),
            ("SET a get", "3, a w"),
            ("SET a 1 XX gEt", "3, a rw"),
            ("SET a 1 IFEQ 2", "3, a rw"),
            ("DELEX a", "3, a w"),
            ("DELEX a IFEQ 1", "3, a rw"),
            ("INCR a", "3, a rw"),
            ("RENAME a b", "3, a rw, b w"),
            ("SELECT orders", "orders"),
            ("SELECT 16", "orders"),
            ("SELECT nothing", "nothing"),
            ("MOVE a orders", "3 orders, a rw"),
            ("COPY a b", "3, a r, b w"),
            ("COPY a b REPLACE db orders DB 1", "1 3 orders, a r, b w"),
            ("COPY a db 1", "3, a r, db w"),
            ("SWAPDB 0 16", "0 orders"),
            ("FLUSHALL", "all"),
            ("FLUSHDB", "3"),
            ("STORE LIST", ""),
            ("STORE HELP", ""),
            ("STORE INFO", "3"),
            ("STORE INFO 1", "1"),
            ("STORE RENAME 16 new", "new orders"),
            ("STORE DROP orders FORCE", "orders"),
        ] {
            assert_eq!(reached(&h, line), expected, "{line}");
        }
    }

    #[test]
    fn every_command_that_names_a_store_says_where() {
        for spec in COMMANDS.everything() {
            let names_one = ["db", "index", "store", "newname", "destination-db"]
                .iter()
                .any(|word| spec.syntax.split(&[' ', '[', ']'][..]).any(|part| part.contains(word)));
            let is_of_stores = spec.name.starts_with("store|") && !spec.syntax.is_empty();
            if names_one || is_of_stores {
                assert_ne!(spec.stores, Stores::ByFlags, "{}", spec.name);
            }
        }
    }

    /// Redis 7.0's flags of keys, in our terms: `access` is reading; `insert`, `update` and `delete` are writing.
    #[test]
    fn keys_are_used_as_redis_says() {
        const REDIS: &str = "append w|copy r w|decr rw|decrby rw|del w|dump r|exists -|expire w|expireat w|expiretime r|\
            get r|getdel rw|getex rw|getrange r|getset rw|incr rw|incrby rw|incrbyfloat rw|lcs r|memory|usage -|mget r|\
            move rw|mset w|msetnx w|object|encoding -|object|freq -|object|idletime -|object|refcount -|persist w|\
            pexpire w|pexpireat w|pexpiretime r|psetex w|pttl r|rename rw w|renamenx rw w|restore w|set w|setex w|\
            setnx w|setrange w|strlen -|substr r|touch -|ttl r|type -|unlink w|watch -";
        let entries = REDIS.replace("memory|", "memory,").replace("object|", "object,");
        let mut compared = 0;
        for entry in entries.split('|') {
            let (name, accesses) = entry.trim().split_once(' ').expect(entry);
            let Some(spec) = COMMANDS.find_full(name.replace(',', "|").as_bytes()) else { continue };
            for (nth, expected) in accesses.split(' ').enumerate() {
                let access = spec.key_use(&[], nth).access();
                let shown: String = [(Access::READ, 'r'), (Access::WRITE, 'w')]
                    .into_iter()
                    .filter_map(|(flag, letter)| access.contains(flag).then_some(letter))
                    .collect();
                let shown = if shown.is_empty() { "-" } else { &shown };
                assert_eq!(shown, expected, "{name}");
                compared += 1;
            }
        }
        assert!(compared > 40, "{compared}");
    }
}
