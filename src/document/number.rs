//! Numbers: the values of their texts, and arithmetic.
//!
//! A number without fraction and exponent is an integer of any size. Arithmetic on integers is exact: a result that does
//! not fit is refused rather than rounded. The result of two signed 64-bit integers has to be one again, as in RedisJSON.
//! Where an operand lies between 2⁶³ and 2⁶⁴ − 1, which RedisJSON computes as a double, the result may be any signed or
//! unsigned 64-bit integer. Where either operand has a fraction or an exponent, both are doubles.

use std::cmp::Ordering;

/// The value of a JSON number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    Integer(i64),
    /// An integer from 2⁶³ to 2⁶⁴ − 1.
    Unsigned(u64),
    /// An integer beyond 64 bits, as the double nearest to it.
    BigInteger(f64),
    /// One with a fraction or an exponent; infinite where it is beyond all doubles.
    Double(f64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Add,
    Multiply,
    Power,
}

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// An integer beyond 64 bits.
    Overflow,
    /// Infinite or undefined.
    NotANumber,
}

impl Number {
    /// The meaning of a number's text; None if it isn't one.
    pub fn parse(text: &[u8]) -> Option<Number> {
        if !matches!(text.first(), Some(b'-' | b'0'..=b'9')) {
            return None;
        }
        let text = std::str::from_utf8(text).ok()?;
        // as in RedisJSON, minus zero is a double, because no integer can represent it
        if text.contains(['.', 'e', 'E']) || text == "-0" {
            return text.parse().ok().map(Number::Double);
        }
        if let Ok(integer) = text.parse() {
            return Some(Number::Integer(integer));
        }
        match text.parse() {
            Ok(unsigned) => Some(Number::Unsigned(unsigned)),
            Err(_) => text.parse().ok().map(Number::BigInteger),
        }
    }

    pub fn as_f64(self) -> f64 {
        match self {
            Number::Integer(integer) => integer as f64,
            Number::Unsigned(unsigned) => unsigned as f64,
            Number::BigInteger(double) | Number::Double(double) => double,
        }
    }

    pub fn is_integer(self) -> bool {
        !matches!(self, Number::Double(_))
    }

    /// The value of an integer of 64 bits.
    fn exact(self) -> Option<i128> {
        match self {
            Number::Integer(integer) => Some(integer.into()),
            Number::Unsigned(unsigned) => Some(unsigned.into()),
            Number::BigInteger(_) | Number::Double(_) => None,
        }
    }

    /// An integer that fits into 64 bits, only with a sign if `signed`.
    fn fitting(integer: i128, signed: bool) -> Option<Number> {
        match i64::try_from(integer) {
            Ok(integer) => Some(Number::Integer(integer)),
            Err(_) if signed => None,
            Err(_) => u64::try_from(integer).ok().map(Number::Unsigned),
        }
    }

    pub fn is_zero(self) -> bool {
        self.as_f64() == 0.0
    }

    pub fn apply(self, operation: Operation, operand: Number) -> Result<Number, Refusal> {
        if let (Some(a), Some(b)) = (self.exact(), operand.exact()) {
            let result = match operation {
                Operation::Add => a.checked_add(b),
                Operation::Multiply => a.checked_mul(b),
                Operation::Power => u32::try_from(b).ok().and_then(|exponent| a.checked_pow(exponent)),
            };
            let signed = matches!((self, operand), (Number::Integer(_), Number::Integer(_)));
            return result.and_then(|result| Number::fitting(result, signed)).ok_or(Refusal::Overflow);
        }
        match (self, operand) {
            (a, b) if a.is_integer() && b.is_integer() => Err(Refusal::Overflow),
            (a, b) => {
                let (a, b) = (a.as_f64(), b.as_f64());
                let result = match operation {
                    Operation::Add => a + b,
                    Operation::Multiply => a * b,
                    Operation::Power => a.powf(b),
                };
                if result.is_finite() { Ok(Number::Double(result)) } else { Err(Refusal::NotANumber) }
            }
        }
    }

    /// The text of a result: of a double in the shortest digits that give it back, with a fraction or an exponent.
    pub fn to_text(self) -> String {
        match self {
            Number::Integer(integer) => integer.to_string(),
            Number::Unsigned(unsigned) => unsigned.to_string(),
            Number::BigInteger(double) | Number::Double(double) => {
                let text = serde_json::Number::from_f64(double).map(|number| number.to_string());
                // RedisJSON writes no plus
                text.map_or_else(|| "null".to_owned(), |text| text.replace("e+", "e"))
            }
        }
    }
}

/// Whether two numbers are equal by value, whatever their texts: 1, 1.0 and 10e-1 are.
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a == b || order(a, b) == Some(Ordering::Equal)
}

/// Whether two numbers are equal and both integers or both not: 1 and 1.0 aren't.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    let is_double = |text| matches!(Number::parse(text), Some(Number::Double(_)));
    equal(a, b) && is_double(a) == is_double(b)
}

/// How two numbers compare by value; integers of up to 38 digits exactly.
pub fn order(a: &[u8], b: &[u8]) -> Option<Ordering> {
    let exact = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<i128>().ok();
    match (exact(a), exact(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => Number::parse(a)?.as_f64().partial_cmp(&Number::parse(b)?.as_f64()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_result(a: &str, operation: Operation, b: &str, expected: Result<&str, Refusal>) {
        let number = |text: &str| Number::parse(text.as_bytes()).unwrap();
        let result = number(a).apply(operation, number(b)).map(Number::to_text);
        assert_eq!(result, expected.map(str::to_owned), "{a} {operation:?} {b}");
    }

    #[test]
    fn integers_stay_integers_and_doubles_doubles() {
        use Operation::*;
        assert_result("2", Add, "3", Ok("5"));
        assert_result("2", Add, "0.5", Ok("2.5"));
        assert_result("9.5", Add, "2", Ok("11.5"));
        assert_result("1.5", Add, "1.5", Ok("3.0"));
        assert_result("5.0", Multiply, "2", Ok("10.0"));
        assert_result("4", Power, "2", Ok("16"));
        assert_result("390625.0", Power, "3", Ok("5.960464477539062e16"));
        assert_result("1e2", Multiply, "1", Ok("100.0"));
        assert_result("9007199254740993", Add, "1", Ok("9007199254740994"));
        assert_result("18446744073709551614", Add, "1", Ok("18446744073709551615"));
        assert_result("9223372036854775808", Add, "-1", Ok("9223372036854775807"));
        assert_result("9223372036854775808", Multiply, "-1", Ok("-9223372036854775808"));
        assert_result("0", Add, "18446744073709551615", Ok("18446744073709551615"));
        assert_result("18446744073709551615", Power, "1", Ok("18446744073709551615"));
        assert_result("18446744073709551615", Add, "0.5", Ok("1.8446744073709552e19"));
    }

    #[test]
    fn what_can_not_be_told_exactly_is_refused() {
        use Operation::*;
        let max = "9223372036854775807";
        assert_result(max, Add, "0", Ok(max));
        assert_result(max, Add, "1", Err(Refusal::Overflow));
        assert_result("-9223372036854775808", Multiply, "-1", Err(Refusal::Overflow));
        assert_result("18446744073709551615", Add, "1", Err(Refusal::Overflow));
        assert_result("18446744073709551615", Multiply, "-1", Err(Refusal::Overflow));
        assert_result("18446744073709551615", Power, "2", Err(Refusal::Overflow));
        assert_result("18446744073709551615", Power, "3", Err(Refusal::Overflow));
        assert_result("12345678901234567890123", Add, "1", Err(Refusal::Overflow));
        assert_result("1", Add, "12345678901234567890123", Err(Refusal::Overflow));
        assert_result("2", Power, "-1", Err(Refusal::Overflow));
        assert_result("2", Power, "99999999999", Err(Refusal::Overflow));
        assert_result("1.6e308", Add, "1.6e308", Err(Refusal::NotANumber));
        assert_result("1e400", Add, "1", Err(Refusal::NotANumber));
        assert_result("-1.0", Power, "0.5", Err(Refusal::NotANumber));
    }

    #[test]
    fn equality_by_value_and_by_kind() {
        let by_value = |a: &str, b: &str| equal(a.as_bytes(), b.as_bytes());
        assert!(by_value("1", "1.0") && by_value("100", "1e2") && by_value("-0", "0"));
        assert!(by_value("1e400", "1e400"));
        assert!(!by_value("12345678901234567890123", "12345678901234567890124"));
        assert!(!same(b"1", b"1.0"));
        assert!(same(b"1.0", b"1.00") && same(b"3", b"3"));
        assert_eq!(order(b"-2", b"1.5"), Some(Ordering::Less));
        assert_eq!(order(b"x", b"1"), None);
    }
}
