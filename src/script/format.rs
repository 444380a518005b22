//! Numbers as C writes and reads them.

/// As `printf("%.*g")`: so many significant digits, without zeros at the end.
pub fn format_g(number: f64, digits: usize) -> String {
    if number.is_nan() {
        return if number.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    if number.is_infinite() {
        return if number < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let digits = digits.max(1);
    let scientific = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", without_zeros(mantissa), exponent.unsigned_abs());
    }
    let decimals = usize::try_from(digits as i32 - 1 - exponent).unwrap_or(0);
    without_zeros(&format!("{number:.decimals$}")).to_owned()
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// A text that Lua takes for a number as a whole, with blanks around it allowed.
pub fn parse_number(text: &[u8]) -> Option<f64> {
    let text = text.trim_ascii();
    let (number, length) = parse_prefix(text)?;
    (length == text.len()).then_some(number)
}

/// Like `strtod`: the number at the beginning of a text, and its length in bytes.
pub fn parse_prefix(text: &[u8]) -> Option<(f64, usize)> {
    let (is_negative, sign) = match text.first() {
        Some(b'-') => (true, 1),
        Some(b'+') => (false, 1),
        _ => (false, 0),
    };
    let digits = &text[sign..];
    let (number, length) =
        parse_word(digits).or_else(|| parse_hexadecimal(digits)).or_else(|| parse_decimal(digits))?;
    Some((if is_negative { -number } else { number }, sign + length))
}

fn parse_word(text: &[u8]) -> Option<(f64, usize)> {
    let begins =
        |word: &str| text.get(..word.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(word.as_bytes()));
    let word = ["infinity", "inf"].into_iter().find(|word| begins(word));
    if let Some(word) = word {
        return Some((f64::INFINITY, word.len()));
    }
    if !begins("nan") {
        return None;
    }
    // a payload, which nobody looks at
    let payload = text[3..].strip_prefix(b"(").and_then(|rest| {
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        (rest.get(length) == Some(&b')')).then_some(length + 2)
    });
    Some((f64::NAN, 3 + payload.unwrap_or(0)))
}

/// `0x` with hexadecimal digits, perhaps a point among them, and perhaps an exponent of two.
fn parse_hexadecimal(text: &[u8]) -> Option<(f64, usize)> {
    const EXPONENT_MAX: i64 = 20_000;
    if !text.get(..2)?.eq_ignore_ascii_case(b"0x") {
        return None;
    }
    let (mut mantissa, mut exponent, mut digits, mut is_behind_point, mut at) = (0_u64, 0_i64, 0, false, 2);
    while let Some(&byte) = text.get(at) {
        if byte == b'.' && !is_behind_point {
            is_behind_point = true;
        } else if let Some(digit) = char::from(byte).to_digit(16) {
            digits += 1;
            if mantissa >> 60 == 0 {
                mantissa = mantissa << 4 | u64::from(digit);
                exponent -= if is_behind_point { 4 } else { 0 };
            } else {
                // beyond the precision, but it may decide the rounding
                mantissa |= u64::from(digit != 0);
                exponent += if is_behind_point { 0 } else { 4 };
            }
        } else {
            break;
        }
        at += 1;
    }
    if digits == 0 {
        return None;
    }
    if text.get(at).is_some_and(|byte| byte.eq_ignore_ascii_case(&b'p'))
        && let Some((power, length)) = parse_exponent(&text[at + 1..])
    {
        exponent = exponent.saturating_add(power);
        at += 1 + length;
    }
    // in two steps, since the power alone may be out of range
    let exponent = exponent.clamp(-EXPONENT_MAX, EXPONENT_MAX) as i32;
    let number = mantissa as f64 * 2_f64.powi(exponent / 2) * 2_f64.powi(exponent - exponent / 2);
    Some((if mantissa == 0 { 0.0 } else { number }, at))
}

fn parse_decimal(text: &[u8]) -> Option<(f64, usize)> {
    let count = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = count(0);
    let mut at = whole;
    if text.get(at) == Some(&b'.') {
        let fraction = count(at + 1);
        if whole + fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if at == 0 {
        return None;
    }
    if text.get(at).is_some_and(|byte| byte.eq_ignore_ascii_case(&b'e'))
        && let Some((_, length)) = parse_exponent(&text[at + 1..])
    {
        at += 1 + length;
    }
    let number = std::str::from_utf8(&text[..at]).ok()?.parse().ok()?;
    Some((number, at))
}

/// Digits, perhaps after a sign; saturates.
fn parse_exponent(text: &[u8]) -> Option<(i64, usize)> {
    let (sign, at) = match text.first() {
        Some(b'-') => (-1, 1),
        Some(b'+') => (1, 1),
        _ => (1, 0),
    };
    let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit());
    let (value, count) = digits.fold((0_i64, 0), |(value, count), byte| {
        (value.saturating_mul(10).saturating_add(i64::from(byte - b'0')), count + 1)
    });
    (count > 0).then_some((sign * value, at + count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_in_c() {
        for (text, number, length) in [
            ("12", 12.0, 2),
            ("-1.5e3x", -1500.0, 6),
            ("+1", 1.0, 2),
            ("1.", 1.0, 2),
            (".5", 0.5, 2),
            ("1e", 1.0, 1),
            ("1e+", 1.0, 1),
            ("0x10", 16.0, 4),
            ("-0X1f,", -31.0, 5),
            ("0x1p4", 16.0, 5),
            ("0xfFp-1", 127.5, 7),
            ("0x.8", 0.5, 4),
            ("0x", 0.0, 1),
            ("0x1p", 1.0, 3),
            ("0x10000000000000001", 18_446_744_073_709_551_616.0, 19),
            ("0x1p-1074", 5e-324, 9),
            ("0x1p99999999999999999999", f64::INFINITY, 24),
            ("0x0p99999", 0.0, 9),
            ("1e999", f64::INFINITY, 5),
            ("inf", f64::INFINITY, 3),
            ("-Infinity", f64::NEG_INFINITY, 9),
        ] {
            assert_eq!(parse_prefix(text.as_bytes()), Some((number, length)), "{text}");
        }
        for (text, length) in [("nan", 3), ("-NaN", 4), ("nan(12)", 7), ("nan(", 3)] {
            let (number, end) = parse_prefix(text.as_bytes()).unwrap_or_default();
            assert!(number.is_nan() && end == length, "{text}");
        }
        for text in ["", "-", ".", "x", "e5", "+-1", "-.e1"] {
            assert_eq!(parse_prefix(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_number(b" 0x10\n"), Some(16.0));
        assert_eq!(parse_number(b"1 2"), None);
    }

    #[test]
    fn numbers_are_written_as_in_c() {
        for (number, digits, text) in [
            (0.0, 17, "0"),
            (-0.0, 17, "-0"),
            (3.3, 17, "3.2999999999999998"),
            (1.0 / 3.0, 14, "0.33333333333333"),
            (9_007_199_254_740_992.0, 17, "9007199254740992"),
            (1e17, 17, "1e+17"),
            (1e16, 17, "10000000000000000"),
            (1.5e300, 17, "1.5000000000000001e+300"),
            (0.0001, 14, "0.0001"),
            (0.00001, 14, "1e-05"),
            (100_000.0, 3, "1e+05"),
            (99_999.5, 5, "1e+05"),
            (f64::INFINITY, 17, "inf"),
            (f64::NEG_INFINITY, 17, "-inf"),
            (f64::NAN, 17, "nan"),
        ] {
            assert_eq!(format_g(number, digits), text);
        }
    }
}
