//! How settings are written: numbers with units, yes and no.

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
        _ => return Err("must be a memory value, like 96mb".into()),
    };
    let number: Option<u64> = digits.trim_end().parse().ok();
    number.and_then(|number| number.checked_mul(factor)).ok_or("must be a memory value, like 96mb".into())
}

pub fn parse_yes_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err("must be yes or no".into()),
    }
}

pub fn yes_no(value: bool) -> String {
    if value { "yes".into() } else { "no".into() }
}

/// A whole number between two bounds, both included.
pub fn parse_number<N>(text: &str, min: N, max: N) -> Result<N, String>
where
    N: Copy + std::str::FromStr + PartialOrd + std::fmt::Display,
{
    match text.trim().parse::<N>() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("must be a number between {min} and {max}")),
    }
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
        assert_eq!(parse_number("17", 1, 16), Err("must be a number between 1 and 16".into()));
        assert!(parse_number("x", 1u16, 5).is_err());
    }
}
