//! Forms: conversions between the text of a setting and its value.

use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use super::units::{parse_bytes_between, parse_number, parse_word, parse_yes_no, word, yes_no};
use super::{Address, BufferLimits};

/// Parses and shows values of one type.
pub trait Form<T> {
    /// Parses a text; `before` is the current value. The error says what is allowed, in Redis's words.
    fn parse(&self, text: &str, before: &T) -> Result<T, String>;
    /// The text from which [`parse`](Form::parse) makes this value.
    fn show(&self, value: &T) -> String;
}

/// A whole number between two bounds, both included.
pub struct Number<N>(pub N, pub N);

impl<N: TryFrom<i64> + PartialOrd + Display + Copy> Form<N> for Number<N> {
    fn parse(&self, text: &str, _: &N) -> Result<N, String> {
        parse_number(text, self.0, self.1)
    }

    fn show(&self, value: &N) -> String {
        value.to_string()
    }
}

/// A number of bytes between two bounds, both included, with or without a unit.
pub struct Bytes(pub u64, pub u64);

impl<N: TryFrom<u64> + Display> Form<N> for Bytes {
    fn parse(&self, text: &str, _: &N) -> Result<N, String> {
        let bytes = parse_bytes_between(text, self.0, self.1)?;
        N::try_from(bytes).map_err(|_| "argument is more than this machine can address".into())
    }

    fn show(&self, value: &N) -> String {
        value.to_string()
    }
}

/// A limit of another form, or 0 for none.
pub struct Limit<F>(pub F);

impl<F: Form<u64>> Form<Option<u64>> for Limit<F> {
    fn parse(&self, text: &str, _: &Option<u64>) -> Result<Option<u64>, String> {
        self.0.parse(text, &0).map(|limit| (limit > 0).then_some(limit))
    }

    fn show(&self, value: &Option<u64>) -> String {
        self.0.show(&value.unwrap_or(0))
    }
}

/// `yes` or `no`.
pub struct YesNo;

impl Form<bool> for YesNo {
    fn parse(&self, text: &str, _: &bool) -> Result<bool, String> {
        parse_yes_no(text)
    }

    fn show(&self, value: &bool) -> String {
        yes_no(*value)
    }
}

/// One of several values, each with its name.
pub struct OneOf<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Form<T> for OneOf<T> {
    fn parse(&self, text: &str, _: &T) -> Result<T, String> {
        parse_word(text, self.0)
    }

    fn show(&self, value: &T) -> String {
        word(value, self.0)
    }
}

/// A text, or nothing.
pub struct Text;

impl Form<Option<String>> for Text {
    fn parse(&self, text: &str, _: &Option<String>) -> Result<Option<String>, String> {
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    fn show(&self, value: &Option<String>) -> String {
        value.clone().unwrap_or_default()
    }
}

/// The path of a file, or nothing.
pub struct File;

impl Form<Option<PathBuf>> for File {
    fn parse(&self, text: &str, _: &Option<PathBuf>) -> Result<Option<PathBuf>, String> {
        Ok((!text.is_empty()).then(|| PathBuf::from(text)))
    }

    fn show(&self, value: &Option<PathBuf>) -> String {
        value.as_ref().map_or_else(String::new, |path| path.display().to_string())
    }
}

/// Addresses, separated by spaces.
pub struct Addresses;

impl Form<Vec<Address>> for Addresses {
    fn parse(&self, text: &str, _: &Vec<Address>) -> Result<Vec<Address>, String> {
        Address::parse_all(text)
    }

    fn show(&self, value: &Vec<Address>) -> String {
        Address::show_all(value)
    }
}

/// Limits by class of client. Classes that the text doesn't name keep theirs.
pub struct ByClass;

impl Form<BufferLimits> for ByClass {
    fn parse(&self, text: &str, before: &BufferLimits) -> Result<BufferLimits, String> {
        let mut limits = *before;
        limits.change(text).map(|()| limits)
    }

    fn show(&self, value: &BufferLimits) -> String {
        value.to_string()
    }
}

/// A type that parses and shows itself.
pub struct Itself;

impl<T: FromStr<Err: Display> + Display> Form<T> for Itself {
    fn parse(&self, text: &str, _: &T) -> Result<T, String> {
        text.parse().map_err(|error: T::Err| error.to_string())
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }
}

/// A value that one function parses and another one shows.
pub struct Custom<T>(pub fn(&str) -> Result<T, String>, pub fn(&T) -> String);

impl<T> Form<T> for Custom<T> {
    fn parse(&self, text: &str, _: &T) -> Result<T, String> {
        (self.0)(text)
    }

    fn show(&self, value: &T) -> String {
        (self.1)(value)
    }
}
