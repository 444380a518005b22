//! Parsing of the texts of settings: numbers with units, yes and no, one of several words. The errors are in Redis's
//! words.

use std::fmt::Display;

use crate::record::number;

const NOT_MEMORY: &str = "argument must be a memory value";

/// Bytes, as Redis writes them: a number, or one with `b`, `k`, `kb`, `m`, `mb`, `g`, `gb` (`kb` is 1,024, `k` 1,000).
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor: u64 = match &lower[digits.len()..] {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return Err(NOT_MEMORY.into()),
    };
    let number: Option<u64> = digits.trim_end().parse().ok();
    number.and_then(|number| number.checked_mul(factor)).ok_or(NOT_MEMORY.into())
}

pub fn parse_yes_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err("argument must be 'yes' or 'no'".into()),
    }
}

pub fn yes_no(value: bool) -> String {
    if value { "yes".into() } else { "no".into() }
}

/// Bytes between two bounds, both included.
pub fn parse_bytes_between(text: &str, min: u64, max: u64) -> Result<u64, String> {
    between(parse_bytes(text)?, min, max)
}

/// A whole number between two bounds, both included.
pub fn parse_number<N>(text: &str, min: N, max: N) -> Result<N, String>
where
    N: TryFrom<i64> + PartialOrd + Display,
{
    let number = number::parse_i64(text.as_bytes()).ok_or("argument couldn't be parsed into an integer")?;
    match N::try_from(number) {
        Ok(number) => between(number, min, max),
        Err(_) => Err(not_between(&min, &max)),
    }
}

fn between<N: PartialOrd + Display>(number: N, min: N, max: N) -> Result<N, String> {
    if (&min..=&max).contains(&&number) { Ok(number) } else { Err(not_between(&min, &max)) }
}

fn not_between(min: &impl Display, max: &impl Display) -> String {
    format!("argument must be between {min} and {max} inclusive")
}

/// One of several values, by its name in any case.
pub fn parse_word<T: Copy>(text: &str, all: &[(&str, T)]) -> Result<T, String> {
    let found = all.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        format!("argument(s) must be one of the following: {}", names.join(", "))
    })
}

/// The name of a value for [`parse_word`].
pub fn word<T: PartialEq>(value: &T, all: &[(&str, T)]) -> String {
    all.iter().find(|(_, other)| other == value).map_or("", |(name, _)| name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_redis_units() {
        assert_eq!(parse_bytes("100"), Ok(100));
        assert_eq!(parse_bytes("1k"), Ok(1000));
        assert_eq!(parse_bytes("2KB"), Ok(2048));
        assert_eq!(parse_bytes("96mb"), Ok(96 << 20));
        for bad in ["", "mb", "-1", "1tb", "1.5gb", "99999999999999999999", "18446744073709551615gb"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(parse_number("16", 1, 16), Ok(16));
        for outside in ["17", "0", "-1", "99999999999"] {
            let refusal = "argument must be between 1 and 16 inclusive";
            assert_eq!(parse_number(outside, 1u16, 16), Err(refusal.into()), "{outside}");
        }
        let refusal = "argument couldn't be parsed into an integer";
        assert_eq!(parse_number("x", 1u16, 5), Err(refusal.into()));
        assert_eq!(
            parse_bytes_between("1kb", 2_000, 3_000),
            Err("argument must be between 2000 and 3000 inclusive".into())
        );
    }

    #[test]
    fn words_are_listed_when_one_is_wrong() {
        let all = [("json", 1), ("any", 2)];
        assert_eq!(parse_word("ANY", &all), Ok(2));
        assert_eq!(word(&2, &all), "any");
        assert_eq!(parse_word("x", &all), Err("argument(s) must be one of the following: json, any".into()));
    }
}
