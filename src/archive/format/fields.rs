//! Fields of objects, one after another.

use xxhash_rust::xxh3::xxh3_64;

use super::{FORMAT, FormatError, Id};

/// Magic number and format.
const PREFIX_BYTES: usize = 12;
pub const CHECKSUM_BYTES: usize = 8;

/// An object that is being encoded.
pub struct Fields(Vec<u8>);

impl Fields {
    pub fn new(magic: &[u8; 8]) -> Fields {
        let mut fields = Fields(magic.to_vec());
        fields.u32(FORMAT);
        fields
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub fn u16(&mut self, number: u16) {
        self.bytes(&number.to_be_bytes());
    }

    pub fn u32(&mut self, number: u32) {
        self.bytes(&number.to_be_bytes());
    }

    pub fn u64(&mut self, number: u64) {
        self.bytes(&number.to_be_bytes());
    }

    pub fn id(&mut self, id: Id) {
        self.bytes(&id.0.to_be_bytes());
    }

    /// Ends the object with the checksum of everything before.
    pub fn seal(mut self) -> Vec<u8> {
        self.u64(xxh3_64(&self.0));
        self.0
    }
}

/// The rest of an object that is being decoded.
pub struct Rest<'b> {
    what: &'static str,
    bytes: &'b [u8],
}

impl<'b> Rest<'b> {
    /// Verifies magic number, format and the checksum in the last 8 bytes of an object, and that it has at least
    /// `bytes_min` bytes.
    pub fn sealed(
        what: &'static str,
        magic: &[u8; 8],
        object: &'b [u8],
        bytes_min: usize,
    ) -> Result<Rest<'b>, FormatError> {
        let mut rest = Rest { what, bytes: object };
        if object.get(..magic.len()) != Some(magic) {
            return Err(FormatError::Foreign { what });
        }
        rest.take(magic.len())?;
        match rest.u32()? {
            FORMAT => {}
            0 => return Err(rest.damaged("there is no format 0")),
            format => return Err(FormatError::Newer { what, format }),
        }
        let Some((content, checksum)) = object.split_last_chunk().filter(|_| object.len() >= bytes_min)
        else {
            return Err(rest.length(object.len(), bytes_min));
        };
        if xxh3_64(content) != u64::from_be_bytes(*checksum) {
            return Err(rest.damaged("its checksum is wrong"));
        }
        rest.bytes = content.get(PREFIX_BYTES..).unwrap_or_default();
        Ok(rest)
    }

    pub fn take(&mut self, count: usize) -> Result<&'b [u8], FormatError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(count) else {
            return Err(self.length(self.bytes.len(), count));
        };
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], FormatError> {
        let Some((taken, rest)) = self.bytes.split_first_chunk() else {
            return Err(self.length(self.bytes.len(), COUNT));
        };
        self.bytes = rest;
        Ok(*taken)
    }

    /// Four bytes that have no meaning yet.
    pub fn reserved(&mut self) -> Result<(), FormatError> {
        if self.u32()? == 0 { Ok(()) } else { Err(self.damaged("a field without a meaning is not zero")) }
    }

    pub fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_be_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_be_bytes)
    }

    /// An epoch, an entry, or any other number that is counted up: far from where counting ends.
    pub fn number(&mut self) -> Result<u64, FormatError> {
        let number = self.u64()?;
        if number > u64::MAX / 2 {
            Err(self.damaged("a number in it is impossibly large"))
        } else {
            Ok(number)
        }
    }

    pub fn id(&mut self) -> Result<Id, FormatError> {
        self.array().map(|bytes| Id(u128::from_be_bytes(bytes)))
    }

    /// Refuses a list that is longer than its limit, or than the bytes that are left.
    pub fn check_list(
        &self,
        count: u64,
        units: &'static str,
        limit: u64,
        bytes_each: usize,
    ) -> Result<(), FormatError> {
        if count > limit {
            return Err(FormatError::TooLarge { what: self.what, number: count, units, limit });
        }
        let expected = count.saturating_mul(bytes_each as u64);
        if self.bytes.len() as u64 != expected {
            return Err(FormatError::Length { what: self.what, bytes: self.bytes.len() as u64, expected });
        }
        Ok(())
    }

    pub fn end(self) -> Result<(), FormatError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.length(self.bytes.len(), 0)) }
    }

    pub fn damaged(&self, why: &'static str) -> FormatError {
        FormatError::Damaged { what: self.what, why }
    }

    fn length(&self, bytes: usize, expected: usize) -> FormatError {
        FormatError::Length { what: self.what, bytes: bytes as u64, expected: expected as u64 }
    }
}

/// Verifies the body of an object against what its header says.
pub fn check_body(what: &'static str, body: &[u8], bytes: u64, checksum: u64) -> Result<(), FormatError> {
    if body.len() as u64 != bytes {
        return Err(FormatError::Length { what, bytes: body.len() as u64, expected: bytes });
    }
    if xxh3_64(body) != checksum {
        return Err(FormatError::Damaged { what, why: "the checksum of its body is wrong" });
    }
    Ok(())
}
