//! Inline requests: a line of words, as a person types it into a bare connection. The first line of a script is split in
//! the same way.
//!
//! Pure. The rules are those of Redis's `sdssplitargs`: words are separated by blanks; a word may be quoted, whole or
//! from somewhere inside it to its end. In double quotes `\n \r \t \b \a` and `\xHH` mean a byte, and any other escaped
//! byte itself; in single quotes only `\'` is an escape. Unlike there, a zero byte is a byte like any other.

use bytes::Bytes;

/// The words of `line`; `None` if a quote is not closed, or is closed in the middle of a word.
pub fn split_arguments(line: &[u8]) -> Option<Vec<Bytes>> {
    let mut args = Vec::new();
    let mut rest = line;
    loop {
        while let [blank, tail @ ..] = rest
            && is_blank(*blank)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Some(args);
        }
        let mut arg = Vec::new();
        rest = read_word(rest, &mut arg)?;
        args.push(Bytes::from(arg));
    }
}

/// Appends the word at the start of `rest` to `arg`; returns what is behind it.
fn read_word<'a>(mut rest: &'a [u8], arg: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [] | [b' ' | b'\t' | b'\r' | b'\n', ..] => return Some(rest),
            [b'"', tail @ ..] => return read_double_quoted(tail, arg),
            [b'\'', tail @ ..] => return read_single_quoted(tail, arg),
            [byte, tail @ ..] => push(arg, *byte, tail),
        };
    }
}

fn read_double_quoted<'a>(mut rest: &'a [u8], arg: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [b'\\', tail @ ..] => {
                let (byte, tail) = read_escape(tail)?;
                push(arg, byte, tail)
            }
            [b'"', tail @ ..] => return end_word(tail),
            [byte, tail @ ..] => push(arg, *byte, tail),
            [] => return None,
        };
    }
}

fn read_single_quoted<'a>(mut rest: &'a [u8], arg: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        rest = match rest {
            [b'\\', b'\'', tail @ ..] => push(arg, b'\'', tail),
            [b'\'', tail @ ..] => return end_word(tail),
            [byte, tail @ ..] => push(arg, *byte, tail),
            [] => return None,
        };
    }
}

fn push<'a>(arg: &mut Vec<u8>, byte: u8, tail: &'a [u8]) -> &'a [u8] {
    arg.push(byte);
    tail
}

/// After a closing quote there may be a blank or nothing.
fn end_word(rest: &[u8]) -> Option<&[u8]> {
    rest.first().is_none_or(|&byte| is_blank(byte)).then_some(rest)
}

/// The byte that an escape after a backslash means. `\x` without two digits is just an `x`.
fn read_escape(rest: &[u8]) -> Option<(u8, &[u8])> {
    let (&escaped, tail) = rest.split_first()?;
    let hex = if escaped == b'x' { read_hex(tail) } else { None };
    hex.or(Some((unescape(escaped), tail)))
}

fn read_hex(rest: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, tail) = rest.split_first_chunk::<2>()?;
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    let byte = u8::try_from(high? * 16 + low?).ok()?;
    Some((byte, tail))
}

fn unescape(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// C's `isspace`.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_words(line: &[u8], expected: &[&[u8]]) {
        let words = split_arguments(line).expect("balanced quotes");
        assert_eq!(words, expected, "line {:?}", line.escape_ascii().to_string());
    }

    #[test]
    fn blanks_separate_words() {
        assert_words(b"", &[]);
        assert_words(b" \t\r\n", &[]);
        assert_words(b"PING\r\n", &[b"PING"]);
        assert_words(b"  SET  key\tvalue \n", &[b"SET", b"key", b"value"]);
        // What isspace() skips in front of a word is not all that ends one.
        assert_words(b"\x0b\x0cSET a\x0bb", &[b"SET", b"a\x0bb"]);
        assert_words(b"a\rb", &[b"a", b"b"]);
    }

    #[test]
    fn double_quotes_know_escapes() {
        assert_words(br#""a b" "" x"#, &[b"a b", b"", b"x"]);
        assert_words(br#""\n\r\t\b\a\"\\\q""#, &[b"\n\r\t\x08\x07\"\\q"]);
        assert_words(br#""\x00\xfF\xg1\x1""#, &[b"\0\xffxg1x1"]);
        assert_words(br#"pre"fix ed""#, &[b"prefix ed"]);
    }

    #[test]
    fn single_quotes_know_one_escape() {
        assert_words(br#"'a "b"' '\n' '\''"#, &[br#"a "b""#, br"\n", b"'"]);
        assert_words(br"\n\x41", &[br"\n\x41"]);
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        let lines: [&[u8]; 8] =
            [br#""a"#, br#"""#, br#""a\"#, br#""a\""#, br#""a"b"#, b"'a", b"'a'b", br"'a\'"];
        for line in lines {
            assert_eq!(split_arguments(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn zero_bytes_are_plain_bytes() {
        assert_words(b"a\0b c", &[b"a\0b", b"c"]);
    }
}
