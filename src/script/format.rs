//! Numbers as C writes them.

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

#[cfg(test)]
mod tests {
    use super::*;

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
