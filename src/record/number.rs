//! Numbers as Redis reads and writes them: the rules of INCR, INCRBYFLOAT and related commands.
//!
//! Integers are strict (`string2ll`). Floats are what C's `strtold` takes, in the 80 bits that `long double` has on
//! x86-64, so that INCRBYFLOAT gives the same digits as a Redis there: 0.1 + 0.2 is 0.3, and integers are exact up to
//! 2⁶⁴. On other machines Redis itself has other bits, but Larder has the same.

use std::fmt;
use std::ops::Neg;

use rustc_apfloat::ieee::{Double, X87DoubleExtended};
use rustc_apfloat::{Float, FloatConvert};

/// A text for a long double has to be shorter than this (`MAX_LONG_DOUBLE_CHARS`).
const LONG_DOUBLE_TEXT_BYTES_MAX: usize = 5 * 1024;

/// Reads an integer written the one way in which Redis writes it: no plus, no leading zeros, no spaces, no `-0`.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        // 19 digits can't overflow 64 bits without a sign; 20 can't fit 63.
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut magnitude = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        magnitude = 10 * magnitude + u64::from(digit - b'0');
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { magnitude.try_into().ok() }
}

/// An integer as a value.
pub fn format_i64(number: i64) -> Vec<u8> {
    itoa::Buffer::new().format(number).as_bytes().to_vec()
}

/// Reads a double as `getDoubleFromObject` does; infinity is one, NaN is not.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let double: Double = parse_float(text)?;
    Some(f64::from_bits(double.to_bits() as u64))
}

/// A double in the shortest digits that read back as the same double, in Redis's format (`fpconv_dtoa`).
pub fn format_f64(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let number = number.abs();
    if number == 0.0 || number.is_infinite() {
        return format!("{sign}{number}");
    }
    let scientific = format!("{number:e}");
    let (significand, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let digits = (significand.len() - usize::from(significand.contains('.'))) as i32;
    // The number is `digits` digits, then `zeros` zeros; negative, it has a fraction.
    let zeros = power + 1 - digits;
    let positional = if zeros >= 0 { power < digits + 7 } else { zeros > -7 || power.abs() < 4 };
    if positional {
        format!("{sign}{number}")
    } else if power < 0 {
        format!("{sign}{scientific}")
    } else {
        format!("{sign}{significand}e+{power}")
    }
}

/// A `long double` of x86-64: 64 bits of significand, 15 of exponent. Never NaN.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct LongDouble(X87DoubleExtended);

impl LongDouble {
    pub const ZERO: LongDouble = LongDouble(X87DoubleExtended::ZERO);

    /// The largest finite number; the smallest is its negative.
    pub fn max() -> LongDouble {
        LongDouble(X87DoubleExtended::largest())
    }

    /// Reads a number as `string2ld` does. Infinity is one, as in Redis; it is the addition that refuses it.
    pub fn parse(text: &[u8]) -> Option<LongDouble> {
        if text.len() >= LONG_DOUBLE_TEXT_BYTES_MAX {
            return None;
        }
        parse_float(text).map(LongDouble)
    }

    /// The sum, unless it is not a finite number: "increment would produce NaN or Infinity".
    pub fn checked_add(self, other: LongDouble) -> Option<LongDouble> {
        let sum = (self.0 + other.0).value;
        sum.is_finite().then_some(LongDouble(sum))
    }

    /// The difference, unless it is not a finite number.
    pub fn checked_sub(self, other: LongDouble) -> Option<LongDouble> {
        self.checked_add(-other)
    }

    pub fn is_infinite(self) -> bool {
        self.0.is_infinite()
    }

    /// The nearest double; infinity beyond their range.
    pub fn to_f64(self) -> f64 {
        let double: Double = self.0.convert(&mut false).value;
        f64::from_bits(double.to_bits() as u64)
    }
}

impl Neg for LongDouble {
    type Output = LongDouble;

    fn neg(self) -> LongDouble {
        LongDouble(-self.0)
    }
}

/// As `ld2string` for people: no exponent, up to 17 decimals, no trailing zeros, no `-0`.
impl fmt::Display for LongDouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minus = if self.0.is_negative() { "-" } else { "" };
        if self.0.is_infinite() {
            return write!(f, "{minus}inf");
        }
        let bits = self.0.to_bits();
        let significand = bits as u64;
        // An exponent field of 0 means the same power as one of 1, without the leading bit (which is spelled out).
        let exponent = ((bits >> 64) as i32 & 0x7fff).max(1) - 16_383 - 63;
        if exponent >= 0 {
            return write!(f, "{minus}{}", Shifted { significand, exponent: exponent as u32 });
        }
        let (whole, fraction) = round_to_decimals(significand, exponent.unsigned_abs());
        if whole == 0 && fraction == 0 {
            return f.write_str("0");
        }
        let text = format!("{minus}{whole}.{fraction:017}");
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// `significand / 2^power`, rounded half to even at 17 decimals: what is in front of the point, and the decimals.
fn round_to_decimals(significand: u64, power: u32) -> (u128, u128) {
    const ONE: u128 = 10u128.pow(17);
    // Below 2^121: a power of 128 and more leaves nothing of it, not even half a unit.
    let scaled = u128::from(significand) * ONE;
    let quotient = scaled.checked_shr(power).unwrap_or(0);
    let remainder = scaled - quotient.checked_shl(power).unwrap_or(0);
    let half = 1u128.checked_shl(power - 1).unwrap_or(u128::MAX);
    let up = remainder > half || remainder == half && quotient % 2 == 1;
    let rounded = quotient + u128::from(up);
    (rounded / ONE, rounded % ONE)
}

/// `significand * 2^exponent` in decimal; up to 4,933 digits.
struct Shifted {
    significand: u64,
    exponent: u32,
}

impl fmt::Display for Shifted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LIMB: u64 = 1_000_000_000;
        // Nine decimal digits each, the lowest first, shifted by 32 bits at a time.
        let mut limbs =
            vec![self.significand % LIMB, self.significand / LIMB % LIMB, self.significand / LIMB / LIMB];
        let mut left = self.exponent;
        while left > 0 {
            let step = left.min(32);
            let mut carry = 0;
            for limb in &mut limbs {
                let shifted = (*limb << step) + carry;
                *limb = shifted % LIMB;
                carry = shifted / LIMB;
            }
            while carry > 0 {
                limbs.push(carry % LIMB);
                carry /= LIMB;
            }
            left -= step;
        }
        let highest = limbs.iter().rposition(|&limb| limb > 0).unwrap_or(0);
        write!(f, "{}", limbs[highest])?;
        limbs[..highest].iter().rev().try_for_each(|limb| write!(f, "{limb:09}"))
    }
}

/// Reads the whole of `text` as `strtod` and `strtold` do, in the C locale, but for what Redis refuses: space in front,
/// NaN, and a finite number that becomes infinite or zero for want of exponent.
fn parse_float<F: Float>(text: &[u8]) -> Option<F> {
    let (negative, magnitude) = match text {
        [b'-', magnitude @ ..] => (true, magnitude),
        [b'+', magnitude @ ..] => (false, magnitude),
        magnitude => (false, magnitude),
    };
    let float = if magnitude.eq_ignore_ascii_case(b"inf") || magnitude.eq_ignore_ascii_case(b"infinity") {
        F::INFINITY
    } else {
        parse_finite(magnitude)?
    };
    Some(if negative { -float } else { float })
}

fn parse_finite<F: Float>(magnitude: &[u8]) -> Option<F> {
    let hex = matches!(magnitude, [b'0', b'x' | b'X', ..]);
    let marker = if hex { b'p' } else { b'e' };
    let is_marker = |byte: &u8| byte.eq_ignore_ascii_case(&marker);
    let (significand, exponent) = match magnitude.iter().position(is_marker) {
        Some(at) => (&magnitude[..at], Some(&magnitude[at + 1..])),
        None => (magnitude, None),
    };
    let digits = if hex { &significand[2..] } else { significand };
    let is_digit = |byte: &u8| {
        if hex { byte.is_ascii_hexdigit() } else { byte.is_ascii_digit() }
    };
    let points = digits.iter().filter(|&&byte| byte == b'.').count();
    let well_formed = points <= 1
        && digits.len() > points
        && digits.iter().all(|byte| is_digit(byte) || *byte == b'.')
        && exponent.is_none_or(is_exponent);
    if !well_formed {
        return None;
    }
    let mut text = String::from_utf8(magnitude.to_vec()).ok()?;
    if hex && exponent.is_none() {
        text.push_str("p0"); // C can do without, rustc_apfloat can't
    }
    let float: F = text.parse().ok()?;
    let is_zero = digits.iter().all(|byte| matches!(byte, b'0' | b'.'));
    (float.is_finite() && float.is_zero() == is_zero).then_some(float)
}

fn is_exponent(text: &[u8]) -> bool {
    let digits = match text {
        [b'-' | b'+', digits @ ..] => digits,
        digits => digits,
    };
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_are_strict() {
        for (text, number) in [
            ("0", 0),
            ("1", 1),
            ("-1", -1),
            ("99", 99),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse_i64(text.as_bytes()), Some(number));
            assert_eq!(format_i64(number), text.as_bytes());
        }
        for text in [
            "",
            "-",
            "+1",
            " 1",
            "1 ",
            "01",
            "-0",
            "-01",
            "00",
            "1.0",
            "1e3",
            "0x1",
            "a",
            "1a",
            "9223372036854775808",
            "-9223372036854775809",
            "9999999999999999999",
            "10000000000000000000",
        ] {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn doubles_as_redis_reads_them() {
        for (text, number) in [
            ("3.25", 3.25),
            ("+.5", 0.5),
            ("5.", 5.0),
            ("-1E3", -1000.0),
            ("0x1.8p1", 3.0),
            ("0X10", 16.0),
            ("INF", f64::INFINITY),
            ("-infinity", f64::NEG_INFINITY),
            ("0e999999999999", 0.0),
            ("4.9e-324", 5e-324),
            ("1.7976931348623157e308", f64::MAX),
        ] {
            assert_eq!(parse_f64(text.as_bytes()), Some(number), "{text}");
        }
        assert!(parse_f64(b"-0").unwrap().is_sign_negative());
        for text in NOT_FLOATS.iter().chain(&["1e309", "1e-400"]) {
            assert_eq!(parse_f64(text.as_bytes()), None, "{text}");
        }
    }

    const NOT_FLOATS: &[&str] = &[
        "",
        " 1",
        "1 ",
        "\t1",
        "1\n",
        "1\0",
        "nan",
        "-nan",
        "NaN(1)",
        "snan",
        "abc",
        "1a",
        "1e",
        "1e+",
        "e5",
        ".",
        "-",
        "+",
        "+-1",
        "--1",
        "0x",
        "0x.",
        "0xg",
        "0x1p",
        "1.2.3",
        "1,5",
        "infin",
        "1_000",
        "1p3",
        "1e5000",
        "-1e5000",
        "1e-5000",
        "1e99999999999999999999",
        "١",
    ];

    #[test]
    fn doubles_as_redis_replies_them() {
        for (number, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (3.0, "3"),
            (-3.1, "-3.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e7, "10000000"),
            (1e8, "1e+8"),
            (123e7, "1230000000"),
            (123e8, "1.23e+10"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.25e-7, "1.25e-7"),
            (0.000123456789, "1.23456789e-4"),
            (0.00123456789, "0.00123456789"),
        ] {
            assert_eq!(format_f64(number), text);
        }
    }

    fn incr_by_float(value: &str, increment: &str) -> Option<String> {
        let sum =
            LongDouble::parse(value.as_bytes())?.checked_add(LongDouble::parse(increment.as_bytes())?)?;
        Some(sum.to_string())
    }

    #[test]
    fn sums_as_redis_computes_them() {
        // Asked of Redis 7.0.15 on x86-64: SET k value, INCRBYFLOAT k increment.
        for (value, increment, sum) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3.0e-5", "1", "1.00003"),
            ("100000000000000000", "1", "100000000000000001"),
            ("1e17", "1", "100000000000000001"),
            ("1e18", "1", "1000000000000000001"),
            ("1e19", "1", "10000000000000000001"),
            ("18446744073709551615", "1", "18446744073709551616"),
            ("18446744073709551615", "2", "18446744073709551616"),
            ("18446744073709551616", "0.5", "18446744073709551616"),
            ("9007199254740993", "0.5", "9007199254740993.5"),
            ("-0", "0", "0"),
            ("-0", "-0", "0"),
            ("0", "-0.0", "0"),
            ("1", "-1", "0"),
            ("0.1", "-0.1", "0"),
            ("0.3", "-0.1", "0.2"),
            ("1.1", "2.2", "3.3"),
            ("-1e-20", "0", "0"),
            ("1e-17", "0", "0.00000000000000001"),
            ("5e-18", "0", "0"),
            ("1.5e-17", "0", "0.00000000000000002"),
            ("2.5e-17", "0", "0.00000000000000002"),
            ("4.9e-18", "0", "0"),
            ("-5.1e-18", "0", "-0.00000000000000001"),
            ("3.6e-4951", "1", "1"),
            ("0x10", "0x.8", "16.5"),
            ("0X1.8P1", "1", "4"),
            ("+.5", "5.", "5.5"),
            ("1E2", "1e+2", "200"),
            ("0e99999", "1", "1"),
            ("123456789012345678901234567890", "0", "123456789012345678899921813504"),
            ("1e40", "-1", "9999999999999999999783686092270256259072"),
            ("-1e25", "1", "-10000000000000000000000000"),
            (
                "1e100",
                "1e84",
                "10000000000000000999460863496034706266526457707323089634494442499249604313725945039655851183031975936",
            ),
            ("1.18973149535723176502e4932", "-1.18973149535723176502e4932", "0"),
            ("0.00000000000000001", "0.00000000000000002", "0.00000000000000003"),
            ("999999999999999999.99", "0.01", "1000000000000000000"),
            ("3.14159265358979323846", "0", "3.14159265358979324"),
            ("2.718281828459045235", "-0.000000000000000001", "2.71828182845904523"),
            ("1234567.891", "1000000.009", "2234567.90000000000009095"),
            ("4.35", "0.1", "4.45"),
            ("1.005", "1000", "1001.005"),
            ("0.7", "0.1", "0.8"),
            ("33.333333333333333333", "33.333333333333333333", "66.66666666666666666"),
            ("1e15", "0.3", "1000000000000000.29998779296875"),
            ("1e16", "0.3", "10000000000000000.2998046875"),
            ("12345678901234567.89", "0.11", "12345678901234568"),
            ("0x17b5560f.8p1", ".331324609148", "795520031.33132460917113349"),
            ("5.74915396789745395", "5.19079244259010704999999", "10.939946410487561"),
            ("-16795391912528608E7", "-1567732249.0863636", "-167953919125287647739904"),
            ("-302231454903657293676545", "7868.80", "-302231454903657293676544"),
            ("-84084628655170292289", "+931058233.61801154924997218872", "-84084628654239234056"),
            ("-6167.78", "+6.7465535044644076500000001", "-6161.0334464955355922"),
            ("-41789362920.51491", "+6.22281389294037045", "-41789362914.29209610819816589"),
            ("0x8.", "850489301.99345708358199399085", "850489309.99345708359032869"),
            ("940342.9816367687258701382705898", "8928e+24", "8928000000000000000000000000"),
            ("+5.36819312965070326e-4354", "+2842.85", "2842.85000000000000009"),
            ("10141204801825835211973625643009", "835.256773794084", "10141204801825835211973625643008"),
            ("6138812453537433854901149", "-6431085171216E-30", "6138812453537433854672896"),
            ("683.6880211517978", "-0x2c1af969c79645a66808bc.8p1", "-106640236906197536758300672"),
            ("-4.81343136398979974999999", "-5.256505284246e7", "-52565057.65589136398921255"),
        ] {
            assert_eq!(incr_by_float(value, increment).as_deref(), Some(sum), "{value} + {increment}");
        }
    }

    #[test]
    fn not_long_doubles() {
        assert_eq!(LongDouble::parse(b"1e-4951"), None);
        for text in NOT_FLOATS {
            assert_eq!(LongDouble::parse(text.as_bytes()), None, "{text}");
        }
        assert!(LongDouble::parse(&[b'1'; 4_000]).is_some());
        assert!(LongDouble::parse(&[b'0'; LONG_DOUBLE_TEXT_BYTES_MAX - 1]).is_some());
        assert_eq!(LongDouble::parse(&[b'0'; LONG_DOUBLE_TEXT_BYTES_MAX]), None);
    }

    #[test]
    fn infinity_can_be_read_but_not_added() {
        assert_eq!(LongDouble::parse(b"-inf").unwrap().to_string(), "-inf");
        for (value, increment) in [("inf", "1"), ("1", "-inf"), ("inf", "-inf"), ("1e4932", "1e4932")] {
            assert_eq!(incr_by_float(value, increment), None);
        }
    }

    #[test]
    fn long_doubles_compare_subtract_and_become_doubles() {
        let number = |text: &str| LongDouble::parse(text.as_bytes()).unwrap();
        assert!(number("-inf") < -LongDouble::max() && LongDouble::max() < number("inf"));
        assert!(number("-0.1") < LongDouble::ZERO && number("0.1") > LongDouble::ZERO);
        assert_eq!(number("7.4").checked_sub(number("5")).unwrap().to_string(), "2.4");
        assert_eq!(LongDouble::max().checked_sub(-LongDouble::max()), None);
        assert_eq!(number("inf").checked_sub(number("inf")), None);
        assert_eq!(number("0.1").to_f64(), 0.1);
        assert_eq!(number("-1e308").to_f64(), -1e308);
        assert_eq!(LongDouble::max().to_f64(), f64::INFINITY);
    }

    proptest! {
        #[test]
        fn integers_come_back(number: i64) {
            prop_assert_eq!(parse_i64(&format_i64(number)), Some(number));
        }

        #[test]
        fn doubles_come_back(bits: u64) {
            let number = f64::from_bits(bits);
            prop_assume!(!number.is_nan());
            let text = format_f64(number);
            prop_assert_eq!(parse_f64(text.as_bytes()).map(f64::to_bits), Some(bits), "{}", text);
        }

        #[test]
        fn integers_add_exactly(a in -(1i64 << 62)..1 << 62, b in -(1i64 << 62)..1 << 62) {
            prop_assert_eq!(incr_by_float(&a.to_string(), &b.to_string()), Some((a + b).to_string()));
        }

        #[test]
        fn no_bytes_panic(text in proptest::collection::vec(any::<u8>(), 0..40), digits in r"[-+]?(0x)?[0-9a-f.]{0,30}([ep][-+]?[0-9]{0,6})?") {
            for text in [&*text, digits.as_bytes()] {
                let _ = (parse_i64(text), parse_f64(text));
                let _ = LongDouble::parse(text).map(|number| number.to_string());
            }
        }
    }
}
