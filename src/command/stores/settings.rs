//! The settings of a store, as STORE CREATE and STORE SET take them and STORE INFO shows them.

use bytes::Bytes;

use crate::config::units::parse_bytes;
use crate::error::Error;
use crate::limits::STORE_LIFETIME_MS_MAX;
use crate::record::number;
use crate::resp::Reply;
use crate::store::Definition;
use crate::store::ValueKind;
use crate::store::eviction::Order;

/// A setting, and how to change it.
struct Setting {
    name: &'static str,
    /// The allowed values, as a text for people.
    takes: &'static str,
    /// None: the value is not allowed.
    set: fn(&mut Definition, &str) -> Option<()>,
}

static SETTINGS: &[Setting] = &[
    Setting {
        name: "values",
        takes: "json, any, or none for what default-values says",
        set: |definition, text| {
            let is_none = text.eq_ignore_ascii_case("none");
            definition.kind = if is_none { None } else { Some(ValueKind::parse(text.as_bytes())?) };
            Some(())
        },
    },
    Setting {
        name: "max-keys",
        takes: "a number, or none",
        set: |definition, text| {
            definition.quota.max_keys = unless_none(text, |text| {
                number::parse_i64(text.as_bytes()).and_then(|number| u64::try_from(number).ok())
            })?;
            Some(())
        },
    },
    Setting {
        name: "max-bytes",
        takes: "a number of bytes like 1000000, 64mb or 2gb, or none",
        set: |definition, text| {
            definition.quota.max_bytes = unless_none(text, |text| parse_bytes(text).ok())?;
            Some(())
        },
    },
    Setting {
        name: "evict",
        takes: "lru, lfu, ttl or random, or none to refuse writes when a limit is reached",
        set: |definition, text| {
            let is_none = text.eq_ignore_ascii_case("none");
            definition.quota.evict = if is_none { None } else { Some(Order::parse(text)?) };
            Some(())
        },
    },
    Setting {
        name: "default-ttl",
        takes: LIFETIME,
        set: |definition, text| {
            definition.quota.default_ttl_ms = unless_none(text, parse_lifetime)?;
            Some(())
        },
    },
    Setting {
        name: "retention",
        takes: LIFETIME,
        set: |definition, text| {
            definition.quota.retention_ms = unless_none(text, parse_lifetime)?;
            Some(())
        },
    },
    Setting {
        name: "max-keys-per-query",
        takes: "a number, 0 for no limit, or none for what the server's max-keys-per-query says",
        set: |definition, text| {
            let is_none = text.eq_ignore_ascii_case("none");
            let number = || number::parse_i64(text.as_bytes()).and_then(|number| u64::try_from(number).ok());
            definition.quota.max_keys_per_query = if is_none { None } else { Some(number()?) };
            Some(())
        },
    },
];

const LIFETIME: &str = "seconds, or a time like 30s, 15m, 12h or 90d up to 36500d, or none";

/// What a request changes in a store's settings.
pub type Changes = Vec<(&'static str, fn(&mut Definition, &str) -> Option<()>, String)>;

/// Parses pairs of setting and value.
pub fn parse(words: &[Bytes]) -> Result<Changes, Error> {
    let mut changes = Changes::new();
    for pair in words.chunks(2) {
        let [name, value] = pair else { return Err(Error::Syntax) };
        let found = SETTINGS.iter().find(|setting| name.eq_ignore_ascii_case(setting.name.as_bytes()));
        let Some(setting) = found else { return Err(unknown(name)) };
        let text = String::from_utf8_lossy(value).into_owned();
        if (setting.set)(&mut Definition::default(), &text).is_none() {
            let Setting { name, takes, .. } = setting;
            return Err(Error::other(format!("ERR '{name}' is {takes}, not '{text}'")));
        }
        changes.push((setting.name, setting.set, text));
    }
    Ok(changes)
}

/// Applies changes that were parsed before.
pub fn apply(changes: &Changes, definition: &mut Definition) {
    for (_, set, value) in changes {
        let _ = set(definition, value);
    }
}

/// A limit as it is shown: 0 if there is none.
pub fn limit(bound: Option<u64>) -> Reply {
    Reply::Integer(i64::try_from(bound.unwrap_or(0)).unwrap_or(i64::MAX))
}

fn unknown(name: &[u8]) -> Error {
    let names: Vec<String> = SETTINGS.iter().map(|setting| format!("'{}'", setting.name)).collect();
    Error::other(format!(
        "ERR stores have no setting '{}'; they have {}",
        String::from_utf8_lossy(name),
        names.join(", ")
    ))
}

/// `0` and `none` remove a limit.
fn unless_none(text: &str, parse: impl FnOnce(&str) -> Option<u64>) -> Option<Option<u64>> {
    if text.eq_ignore_ascii_case("none") {
        return Some(None);
    }
    let value = parse(text)?;
    Some((value > 0).then_some(value))
}

/// Milliseconds: seconds without a unit, or `ms`, `s`, `m`, `h`, `d`.
fn parse_lifetime(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60 * 1_000,
        "h" => 60 * 60 * 1_000,
        "d" => 24 * 60 * 60 * 1_000,
        _ => return None,
    };
    let number = number::parse_i64(digits.as_bytes()).and_then(|number| u64::try_from(number).ok())?;
    number.checked_mul(unit_ms).filter(|ms| *ms <= STORE_LIFETIME_MS_MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::command::stores::settings::*;
    use crate::store::Quota;

    fn set(line: &str) -> Result<Definition, String> {
        let words: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
        let changes = parse(&words).map_err(|error| error.to_string())?;
        let mut definition = Definition {
            kind: Some(ValueKind::Any),
            quota: Quota {
                max_keys: Some(1),
                max_bytes: Some(1),
                evict: Some(Order::Ttl),
                default_ttl_ms: Some(1),
                retention_ms: Some(1),
                max_keys_per_query: Some(1),
            },
            ..Definition::default()
        };
        apply(&changes, &mut definition);
        Ok(definition)
    }

    #[test]
    fn settings_are_understood() {
        let quota = |line: &str| set(line).unwrap().quota;
        assert_eq!(quota("MAX-KEYS 1000").max_keys, Some(1_000));
        assert_eq!(quota("max-bytes 2kb").max_bytes, Some(2_048));
        for (text, ms) in [("5", 5_000), ("250ms", 250), ("30S", 30_000), ("2m", 120_000), ("1h", 3_600_000)]
        {
            assert_eq!(quota(&format!("default-ttl {text}")).default_ttl_ms, Some(ms), "{text}");
        }
        assert_eq!(quota("retention 90d").retention_ms, Some(90 * 24 * 3_600_000));
        assert_eq!(quota("evict LFU").evict, Some(Order::Lfu));
        assert_eq!(quota("max-keys-per-query 0").max_keys_per_query, Some(0));
        let gone = quota(
            "max-keys 0 max-bytes none evict none default-ttl 0 retention NONE max-keys-per-query none",
        );
        assert_eq!(gone, Quota::default());
        assert_eq!(set("values none").unwrap().kind, None);
        assert_eq!(set("values JSON").unwrap().kind, Some(ValueKind::Json));
    }

    #[test]
    fn nonsense_is_refused_with_what_is_allowed() {
        for line in [
            "max-keys -1",
            "max-keys many",
            "max-keys 9223372036854775808",
            "max-bytes 1tb",
            "default-ttl 1w",
            "default-ttl -5",
            "default-ttl 36501d",
            "retention 99999999999999999999",
            "retention d",
            "values 0",
            "evict allkeys-lru",
            "evict 0",
            "max-keys-per-query -1",
            "max-keys-per-query all",
        ] {
            let name = line.split(' ').next().unwrap();
            assert!(set(line).unwrap_err().starts_with(&format!("ERR '{name}' is ")), "{line}");
        }
        assert!(set("colour red").unwrap_err().ends_with(
            "'values', 'max-keys', 'max-bytes', 'evict', 'default-ttl', 'retention', 'max-keys-per-query'"
        ));
        assert_eq!(set("values").unwrap_err(), "ERR syntax error");
    }
}
