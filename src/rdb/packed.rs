//! Short collections that Redis keeps in one string: ziplists, listpacks, sets of integers and zipmaps.
//!
//! Each reader yields the elements one after the other; a fault is the last that it yields. All numbers are
//! little-endian, except the lengths in a ziplist.

use std::borrow::Cow;

use super::Fault;

const END: u8 = 0xff;

/// An element: bytes of the string, or a number as text.
pub type Element<'a> = Cow<'a, [u8]>;

/// How the elements lie in the string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Redis before 7.0.
    Ziplist,
    /// Redis since 7.0.
    Listpack,
    Integers,
    /// Redis before 2.6: names and values, one after the other.
    Zipmap,
}

impl Layout {
    pub fn elements(self, bytes: &[u8]) -> Box<dyn Iterator<Item = Result<Element<'_>, Fault>> + '_> {
        match self {
            Layout::Ziplist => Box::new(ziplist(bytes)),
            Layout::Listpack => Box::new(listpack(bytes)),
            Layout::Integers => Box::new(integers(bytes)),
            Layout::Zipmap => Box::new(zipmap(bytes)),
        }
    }
}

/// A part of a string that has been read up to somewhere.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        self.0.split_off(..bytes)
    }

    fn array<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn number<const BYTES: usize>(&mut self) -> Option<i64> {
        let bytes = self.array::<BYTES>()?;
        let mut wide = [if bytes.last()? & 0x80 == 0 { 0 } else { 0xff }; 8];
        wide[..BYTES].copy_from_slice(&bytes);
        Some(i64::from_le_bytes(wide))
    }

    fn length(&mut self) -> Option<usize> {
        self.array().map(|bytes| u32::from_le_bytes(bytes) as usize)
    }

    fn text(&mut self, bytes: usize) -> Option<Element<'a>> {
        self.take(bytes).map(Cow::Borrowed)
    }
}

fn text_of(number: i64) -> Element<'static> {
    Cow::Owned(itoa::Buffer::new().format(number).as_bytes().to_vec())
}

/// Calls `next` until it says that nothing more comes, or that the string is damaged.
fn each<'a>(
    rest: Option<Rest<'a>>,
    damage: &'static str,
    mut next: impl FnMut(&mut Rest<'a>) -> Option<Option<Element<'a>>>,
) -> impl Iterator<Item = Result<Element<'a>, Fault>> {
    let mut state = Some(rest);
    std::iter::from_fn(move || {
        let mut rest = state.take()?;
        match rest.as_mut().and_then(&mut next) {
            None => Some(Err(Fault::Damaged(damage))),
            Some(None) => None,
            Some(Some(element)) => {
                state = Some(rest);
                Some(Ok(element))
            }
        }
    })
}

/// What begins with its own size in four bytes, and ends where that says.
fn sized(bytes: &[u8]) -> Option<Rest<'_>> {
    let mut rest = Rest(bytes);
    (rest.length()? == bytes.len()).then_some(rest)
}

/// Nothing more comes, if that is the end of the string.
fn end<'a>(rest: &Rest<'a>) -> Option<Option<Element<'a>>> {
    rest.0.is_empty().then_some(None)
}

fn ziplist(bytes: &[u8]) -> impl Iterator<Item = Result<Element<'_>, Fault>> {
    let rest = sized(bytes).and_then(|mut rest| rest.take(6).map(|_| rest));
    each(rest, "a ziplist in it is damaged", |rest| {
        match rest.byte()? {
            END => return end(rest),
            0xfe => rest.take(4).map(drop)?,
            _ => {}
        }
        let first = rest.byte()?;
        let number = match first {
            0x00..=0x3f => return rest.text(usize::from(first)).map(Some),
            0x40..=0x7f => {
                let bytes = usize::from(first & 0x3f) << 8 | usize::from(rest.byte()?);
                return rest.text(bytes).map(Some);
            }
            0x80 => {
                let bytes = u32::from_be_bytes(rest.array()?) as usize;
                return rest.text(bytes).map(Some);
            }
            0xc0 => rest.number::<2>()?,
            0xd0 => rest.number::<4>()?,
            0xe0 => rest.number::<8>()?,
            0xf0 => rest.number::<3>()?,
            0xfe => rest.number::<1>()?,
            0xf1..=0xfd => i64::from(first & 0x0f) - 1,
            _ => return None,
        };
        Some(Some(text_of(number)))
    })
}

fn listpack(bytes: &[u8]) -> impl Iterator<Item = Result<Element<'_>, Fault>> {
    let rest = sized(bytes).and_then(|mut rest| rest.take(2).map(|_| rest));
    each(rest, "a listpack in it is damaged", |rest| {
        let before = rest.0.len();
        let first = rest.byte()?;
        let element = match first {
            END => return end(rest),
            0x00..=0x7f => text_of(i64::from(first)),
            0x80..=0xbf => rest.text(usize::from(first & 0x3f))?,
            0xc0..=0xdf => {
                // 13 bits with a sign
                let number = i64::from(first & 0x1f) << 8 | i64::from(rest.byte()?);
                text_of(if number < 1 << 12 { number } else { number - (1 << 13) })
            }
            0xe0..=0xef => {
                let bytes = usize::from(first & 0x0f) << 8 | usize::from(rest.byte()?);
                rest.text(bytes)?
            }
            0xf0 => {
                let bytes = rest.length()?;
                rest.text(bytes)?
            }
            0xf1 => text_of(rest.number::<2>()?),
            0xf2 => text_of(rest.number::<3>()?),
            0xf3 => text_of(rest.number::<4>()?),
            0xf4 => text_of(rest.number::<8>()?),
            _ => return None,
        };
        // each element is followed by its own length, in as many bytes as that takes with 7 bits each
        let back = match before - rest.0.len() {
            0..128 => 1,
            128..16_383 => 2,
            16_383..2_097_151 => 3,
            2_097_151..268_435_455 => 4,
            _ => 5,
        };
        rest.take(back)?;
        Some(Some(element))
    })
}

fn integers(bytes: &[u8]) -> impl Iterator<Item = Result<Element<'_>, Fault>> {
    let mut rest = Rest(bytes);
    let (width, count) = (rest.length(), rest.length());
    let is_whole = width.zip(count).and_then(|(width, count)| width.checked_mul(count)) == Some(rest.0.len());
    each(is_whole.then_some(rest), "a set of integers in it is damaged", move |rest| {
        if rest.0.is_empty() {
            return Some(None);
        }
        let number = match width? {
            2 => rest.number::<2>()?,
            4 => rest.number::<4>()?,
            8 => rest.number::<8>()?,
            _ => return None,
        };
        Some(Some(text_of(number)))
    })
}

fn zipmap(bytes: &[u8]) -> impl Iterator<Item = Result<Element<'_>, Fault>> {
    let mut rest = Rest(bytes);
    let rest = rest.byte().map(|_| rest);
    let mut is_value = false;
    each(rest, "a zipmap in it is damaged", move |rest| {
        let bytes = match rest.byte()? {
            END if !is_value => return end(rest),
            END => return None,
            0xfe => rest.length()?,
            bytes => usize::from(bytes),
        };
        // behind a value there may be unused bytes
        let unused = if is_value { usize::from(rest.byte()?) } else { 0 };
        is_value = !is_value;
        let element = rest.text(bytes)?;
        rest.take(unused)?;
        Some(Some(element))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(layout: Layout, bytes: &[u8]) -> String {
        let elements: Result<Vec<_>, _> = layout.elements(bytes).collect();
        let Ok(elements) = elements else { return "damaged".to_owned() };
        elements.iter().map(|element| element.escape_ascii().to_string()).collect::<Vec<_>>().join(" ")
    }

    /// A string with its size in front, and what else stands in its head.
    fn with_size(head: &[u8], elements: &[u8]) -> Vec<u8> {
        let bytes = 4 + head.len() + elements.len() + 1;
        [&(bytes as u32).to_le_bytes()[..], head, elements, b"\xff"].concat()
    }

    #[test]
    fn every_element_of_a_ziplist_is_read() {
        let long = [&b"\xfe\x00\x01\x00\x00\x80\x00\x00\x40\x00"[..], &[b'y'; 0x4000]].concat();
        for (elements, expected) in [
            (&b"\x00\x03abc\x05\xf1\x02\xfd"[..], "abc 0 12".to_owned()),
            (b"\x00\xfe\x80\x00\xc0\xff\xff\x00\xf0\x00\x00\x80", "-128 -1 -8388608".to_owned()),
            (
                b"\x00\xd0\x00\x00\x01\x00\x00\xe0\xff\xff\xff\xff\xff\xff\xff\x7f",
                format!("65536 {}", i64::MAX),
            ),
            (b"\x00\x40\x02ab", "ab".to_owned()),
            (&long, "y".repeat(0x4000)),
            (b"", String::new()),
        ] {
            assert_eq!(shown(Layout::Ziplist, &with_size(&[0; 6], elements)), expected);
        }
        for damaged in [
            &b"\x00"[..],
            b"\x00\x03ab",
            b"\x00\x80\xff\xff\xff\xff",
            b"\x00\xff",
            b"\x00\xc1",
            b"\x00\xc0\x00",
        ] {
            assert_eq!(shown(Layout::Ziplist, &with_size(&[0; 6], damaged)), "damaged");
        }
    }

    #[test]
    fn every_element_of_a_listpack_is_read() {
        let middle = [&b"\xe1\x00"[..], &[b'y'; 0x100], b"\x02\x82"].concat();
        let long = [&b"\xf0\x00\x40\x00\x00"[..], &[b'y'; 0x4000], b"\x01\x80\x85"].concat();
        for (elements, expected) in [
            (&b"\x7f\x01\x83abc\x04\xc0\x80\x02\xdf\xff\x02"[..], "127 abc 128 -1".to_owned()),
            (
                b"\xf1\x00\x80\x03\xf2\x00\x00\x80\x04\xf3\xff\xff\xff\x7f\x05",
                "-32768 -8388608 2147483647".to_owned(),
            ),
            (b"\xf4\x00\x00\x00\x00\x00\x00\x00\x80\x09", i64::MIN.to_string()),
            (&middle, "y".repeat(0x100)),
            (&long, "y".repeat(0x4000)),
            (b"", String::new()),
        ] {
            assert_eq!(shown(Layout::Listpack, &with_size(&[0; 2], elements)), expected);
        }
        for damaged in [&b"\x7f"[..], b"\x83ab", b"\xf0\xff\xff\xff\xff", b"\xf5\x01", b"\xf1\x00"] {
            assert_eq!(shown(Layout::Listpack, &with_size(&[0; 2], damaged)), "damaged");
        }
    }

    #[test]
    fn integers_and_zipmaps_are_read() {
        for (bytes, expected) in [
            (&b"\x02\x00\x00\x00\x02\x00\x00\x00\xff\xff\x07\x00"[..], "-1 7"),
            (b"\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00", "4294967296"),
            (b"\x02\x00\x00\x00\x00\x00\x00\x00", ""),
            (b"\x03\x00\x00\x00\x01\x00\x00\x00abc", "damaged"),
            (b"\x02\x00\x00\x00\x02\x00\x00\x00ab", "damaged"),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", "damaged"),
            (b"\x02\x00\x00", "damaged"),
        ] {
            assert_eq!(shown(Layout::Integers, bytes), expected, "{}", bytes.escape_ascii());
        }
        for (bytes, expected) in [
            (&b"\x02\x01a\x03\x02xyz..\x01b\xfe\x01\x00\x00\x00\x00z\xff"[..], "a xyz b z"),
            (b"\x00\xff", ""),
            (b"\x01\x01a\xff", "damaged"),
            (b"\x01\x01a\x05\x00xyz\xff", "damaged"),
            (b"\x01\x01a\x01\x00x", "damaged"),
            (b"", "damaged"),
        ] {
            assert_eq!(shown(Layout::Zipmap, bytes), expected, "{}", bytes.escape_ascii());
        }
    }
}
