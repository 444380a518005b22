//! Floating point numbers as text, as Redis writes them in replies. Pure.

/// The shortest digits that read back as `value`, laid out as Redis does since 7.2 (`d2string`, `fpconv_dtoa`): whole
/// numbers up to 2⁶² in full; else a decimal fraction as long as few zeros are needed for it, else `1.5e+300`.
/// Earlier versions printed all 17 digits: `0.10000000000000001`.
pub fn format_double(value: f64) -> String {
    const WHOLE_MAX: f64 = (i64::MAX / 2) as f64;

    if value.is_nan() {
        // Rust would write "NaN".
        return "nan".into();
    }
    if value.is_infinite() || value == 0.0 {
        // "inf", "-inf", "0", "-0"
        return value.to_string();
    }
    if value.abs() <= WHOLE_MAX && value.trunc() == value {
        return (value as i64).to_string();
    }
    let scientific = format!("{:e}", value.abs());
    let Some((mantissa, Ok(exponent))) =
        scientific.split_once('e').map(|(mantissa, exponent)| (mantissa, exponent.parse::<i32>()))
    else {
        return scientific;
    };
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", lay_out(&mantissa.replace('.', ""), exponent))
}

/// Writes `digits`, of which the first has the weight 10 to the `exponent`.
fn lay_out(digits: &str, exponent: i32) -> String {
    let count = digits.len() as i32;
    let last_exponent = exponent - (count - 1);
    let magnitude = exponent.abs();

    if last_exponent >= 0 && magnitude < count + 7 {
        format!("{digits}{}", "0".repeat(last_exponent as usize))
    } else if last_exponent < 0 && (last_exponent > -7 || magnitude < 4) {
        if exponent < 0 {
            format!("0.{}{digits}", "0".repeat((magnitude - 1) as usize))
        } else {
            let (whole, fraction) = digits.split_at((exponent + 1) as usize);
            format!("{whole}.{fraction}")
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        let (first, others) = digits.split_at(1);
        let point = if others.is_empty() { "" } else { "." };
        format!("{first}{point}{others}e{sign}{magnitude}")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_values() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-3.0, "-3"),
            (1.1, "1.1"),
            (-0.1, "-0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1.5e15, "1500000000000000"),
            (1e18, "1000000000000000000"),
            (4611686018427387904.0, "4611686018427387904"),
            (1e19, "1e+19"),
            (-1.5e300, "-1.5e+300"),
            (12345678901234567e3, "12345678901234567000"),
            (0.000001, "0.000001"),
            (0.0000001, "1e-7"),
            (0.0001234567, "1.234567e-4"),
            (0.001234567, "0.001234567"),
            (123456.789, "123456.789"),
            (12345.67890123, "1.234567890123e+4"),
            (1234.567890123, "1234.567890123"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(format_double(value), expected);
        }
    }

    proptest! {
        #[test]
        fn reads_back_as_the_same_number(value in any::<f64>()) {
            let text = format_double(value);
            let read: f64 = text.parse().unwrap();
            prop_assert!(read == value || (read.is_nan() && value.is_nan()), "{value:e} became {text}");
            prop_assert!(text.len() <= 26, "{text}");
        }
    }
}
