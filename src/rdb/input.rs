//! Bytes, lengths, strings and the values of modules, in the order in which they are written.

use std::io::{self, Read};

use crc::{Digest, Table};

use super::{CRC64, Dialect, Fault, lzf};

/// In front of a value: what modules attached to its key (Redis since 8.6).
const KEY_METADATA: u8 = 243;

/// A reader that counts and sums what it has read.
pub struct Summed<R> {
    from: R,
    offset: u64,
    digest: Digest<'static, u64, Table<16>>,
}

impl<R> Summed<R> {
    pub fn new(from: R) -> Summed<R> {
        Summed { from, offset: 0, digest: CRC64.digest() }
    }

    /// The number of bytes that were read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The checksum of all bytes that were read.
    pub fn checksum(&self) -> u64 {
        self.digest.clone().finalize()
    }
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.from.read(into)?;
        self.digest.update(&into[..bytes]);
        self.offset += bytes as u64;
        Ok(bytes)
    }
}

/// Reads what both files and payloads consist of.
pub struct Input<R> {
    from: R,
    string_bytes_max: usize,
    has_skipped: bool,
}

/// A length, or the number of a special encoding of a string.
enum Length {
    Plain(u64),
    Encoded(u8),
}

impl<R: Read> Input<R> {
    /// Strings longer than `string_bytes_max` are skipped.
    pub fn new(from: R, string_bytes_max: usize) -> Input<R> {
        Input { from, string_bytes_max, has_skipped: false }
    }

    pub fn reader(&self) -> &R {
        &self.from
    }

    /// Whether a string was skipped since the last call, because it is too long. It was read as empty.
    pub fn take_skipped(&mut self) -> bool {
        std::mem::take(&mut self.has_skipped)
    }

    /// The same, without forgetting it.
    pub fn has_skipped(&self) -> bool {
        self.has_skipped
    }

    /// Whether there are no more bytes.
    pub fn has_ended(&mut self) -> Result<bool, Fault> {
        match self.byte() {
            Ok(_) => Ok(false),
            Err(Fault::Ends) => Ok(true),
            Err(fault) => Err(fault),
        }
    }

    pub fn array<const BYTES: usize>(&mut self) -> Result<[u8; BYTES], Fault> {
        let mut bytes = [0; BYTES];
        self.from.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub fn byte(&mut self) -> Result<u8, Fault> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A deadline in milliseconds since 1970, at least 1; none if it is "never".
    pub fn deadline(&mut self) -> Result<Option<u64>, Fault> {
        let ms = self.milliseconds()?;
        Ok((ms != -1).then(|| u64::try_from(ms).unwrap_or(0).max(1)))
    }

    pub fn milliseconds(&mut self) -> Result<i64, Fault> {
        self.array().map(i64::from_le_bytes)
    }

    pub fn length(&mut self) -> Result<u64, Fault> {
        match self.length_or_encoding()? {
            Length::Plain(length) => Ok(length),
            Length::Encoded(_) => Err(Fault::Damaged("it has an encoded string where a length should be")),
        }
    }

    fn length_or_encoding(&mut self) -> Result<Length, Fault> {
        let first = self.byte()?;
        Ok(match (first >> 6, first) {
            (0, _) => Length::Plain(u64::from(first)),
            (1, _) => Length::Plain(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            (_, 0x80) => Length::Plain(u64::from(u32::from_be_bytes(self.array()?))),
            (_, 0x81) => Length::Plain(u64::from_be_bytes(self.array()?)),
            (3, _) => Length::Encoded(first & 0x3f),
            _ => return Err(Fault::Damaged("it has an impossible length")),
        })
    }

    /// A string in any encoding; empty if it is too long.
    pub fn string(&mut self) -> Result<Vec<u8>, Fault> {
        let number = |number: i64| Ok(itoa::Buffer::new().format(number).as_bytes().to_vec());
        match self.length_or_encoding()? {
            Length::Plain(bytes) => Ok(self.bytes(bytes)?.unwrap_or_default()),
            Length::Encoded(0) => number(i8::from_le_bytes(self.array()?).into()),
            Length::Encoded(1) => number(i16::from_le_bytes(self.array()?).into()),
            Length::Encoded(2) => number(i32::from_le_bytes(self.array()?).into()),
            Length::Encoded(3) => {
                let (bytes, plain_bytes) = (self.length()?, self.length()?);
                let plain_bytes = usize::try_from(plain_bytes).unwrap_or(usize::MAX);
                if plain_bytes > self.string_bytes_max {
                    self.skip(bytes)?;
                    return Ok(Vec::new());
                }
                let Some(compressed) = self.bytes(bytes)? else { return Ok(Vec::new()) };
                lzf::decompress(&compressed, plain_bytes)
                    .ok_or(Fault::Damaged("a compressed string in it is damaged"))
            }
            Length::Encoded(_) => Err(Fault::Damaged("a string in it has an unknown encoding")),
        }
    }

    /// So many bytes; `None` if they are too many.
    fn bytes(&mut self, count: u64) -> Result<Option<Vec<u8>>, Fault> {
        if count > self.string_bytes_max as u64 {
            self.skip(count)?;
            return Ok(None);
        }
        // it grows with the bytes that are really there
        let mut bytes = Vec::new();
        self.from.by_ref().take(count).read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < count { Err(Fault::Ends) } else { Ok(Some(bytes)) }
    }

    fn skip(&mut self, count: u64) -> Result<(), Fault> {
        self.has_skipped = true;
        let skipped = io::copy(&mut self.from.by_ref().take(count), &mut io::sink())?;
        if skipped < count { Err(Fault::Ends) } else { Ok(()) }
    }

    pub fn skip_lengths(&mut self, count: u64) -> Result<(), Fault> {
        (0..count).try_for_each(|_| self.length().map(drop))
    }

    /// The number of a type or an opcode, behind the data that modules attached to the key.
    pub fn object_type(&mut self, dialect: Dialect) -> Result<u8, Fault> {
        let number = self.byte()?;
        if number != KEY_METADATA || dialect != Dialect::Redis {
            return Ok(number);
        }
        for _ in 0..self.length()? {
            self.array::<4>()?;
            self.skip_module_value()?;
        }
        self.byte()
    }

    /// What a module wrote, which says of each part what it is.
    pub fn skip_module_value(&mut self) -> Result<(), Fault> {
        loop {
            match self.length()? {
                0 => return Ok(()),
                1 | 2 => self.length().map(drop)?,
                3 => self.array::<4>().map(drop)?,
                4 => self.array::<8>().map(drop)?,
                5 => self.string().map(drop)?,
                _ => return Err(Fault::Damaged("the data of a module in it has an unknown part")),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Result<String, Fault> {
        let mut input = Input::new(bytes, 1 << 20);
        let string = input.string()?;
        assert!(input.has_ended().unwrap());
        Ok(string.escape_ascii().to_string())
    }

    #[test]
    fn strings_have_many_encodings() {
        let long = [&b"\x41\x02"[..], &[b'x'; 0x102]].concat();
        for (bytes, expected) in [
            (&b"\x00"[..], ""),
            (b"\x03abc", "abc"),
            (&long, &"x".repeat(0x102)),
            (b"\x80\x00\x00\x00\x01a", "a"),
            (b"\x81\x00\x00\x00\x00\x00\x00\x00\x01a", "a"),
            (b"\xc0\xff", "-1"),
            (b"\xc1\x00\x80", "-32768"),
            (b"\xc2\xff\xff\xff\x7f", "2147483647"),
            (b"\xc3\x05\x0d\x00a\xe0\x03\x00", "aaaaaaaaaaaaa"),
        ] {
            assert_eq!(string(bytes).unwrap(), expected, "{}", bytes.escape_ascii());
        }
        for damaged in [
            &b""[..],
            b"\x03ab",
            b"\x40",
            b"\x80\x00\x00",
            b"\x82\x00",
            b"\xc0",
            b"\xc4",
            b"\xc3\x05\x0c\x00a\xe0\x03\x00",
            b"\xc3\xc0\x01",
            b"\x80\x1f\xff\xff\xffa",
            b"\x81\xff\xff\xff\xff\xff\xff\xff\xffa",
            b"\xc3\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(string(damaged).is_err(), "{}", damaged.escape_ascii());
        }
    }

    #[test]
    fn a_string_that_is_too_long_is_passed_over() {
        let mut input = Input::new(&b"\x03abc\x04abcd\x01y\xc3\x05\x0d\x00a\xe0\x03\x00\x01z"[..], 3);
        let mut string = || (input.string().unwrap(), input.take_skipped());
        for (expected, is_skipped) in
            [(&b"abc"[..], false), (b"", true), (b"y", false), (b"", true), (b"z", false)]
        {
            assert_eq!(string(), (expected.to_vec(), is_skipped));
        }
    }

    #[test]
    fn the_checksum_is_that_of_redis() {
        let mut summed = Summed::new(&b"123456789"[..]);
        let mut read = Vec::new();
        summed.read_to_end(&mut read).unwrap();
        assert_eq!((summed.checksum(), summed.offset()), (0xe9c6_d914_c4b8_d9ca, 9));
    }
}
