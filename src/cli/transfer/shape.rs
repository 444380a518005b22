//! The JSON that a collection of a Redis becomes: a list or a set an array of strings, a hash an object of strings, and a
//! sorted set an object of scores.

use crate::limits::VALUE_BYTES_MAX;
use crate::record::json;

/// The JSON of one collection, member by member.
pub struct Shape {
    json: Vec<u8>,
    bytes_max: usize,
    close: u8,
    /// The first reason why it can't become a record.
    fault: Option<String>,
}

impl Shape {
    pub fn array() -> Shape {
        Shape::new(b'[', b']')
    }

    pub fn object() -> Shape {
        Shape::new(b'{', b'}')
    }

    fn new(open: u8, close: u8) -> Shape {
        Shape { json: vec![open], bytes_max: VALUE_BYTES_MAX, close, fault: None }
    }

    /// A member of a list or a set.
    pub fn member(&mut self, member: &[u8]) {
        self.begin();
        self.quoted(member);
    }

    /// A field of a hash.
    pub fn field(&mut self, name: &[u8], value: &[u8]) {
        self.member(name);
        self.json.push(b':');
        self.quoted(value);
    }

    /// A member of a sorted set, with its score as Redis writes it: a JSON number, unless it is infinite.
    pub fn scored(&mut self, member: &[u8], score: &[u8]) {
        self.member(member);
        self.json.push(b':');
        match json::check(score) {
            Ok(()) => self.json.extend_from_slice(score),
            Err(_) => self.quoted(score),
        }
    }

    fn begin(&mut self) {
        if self.fault.is_some() {
            // what follows changes nothing
            self.json.truncate(1);
        }
        if self.json.len() > 1 {
            self.json.push(b',');
        }
    }

    fn quoted(&mut self, text: &[u8]) {
        match std::str::from_utf8(text).map(|text| serde_json::to_writer(&mut self.json, text)) {
            Ok(Ok(())) if self.json.len() < self.bytes_max => {}
            Ok(_) => self.fail(format!("as JSON it has more than {} bytes", self.bytes_max)),
            Err(_) => self.fail("a member is not UTF-8".to_owned()),
        }
    }

    fn fail(&mut self, why: String) {
        self.fault.get_or_insert(why);
    }

    /// The JSON; `None` if there are no members.
    pub fn finish(mut self) -> Result<Option<Vec<u8>>, String> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let is_empty = self.json.len() == 1;
        self.json.push(self.close);
        Ok((!is_empty).then_some(self.json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_or_too_long_becomes_no_record() {
        let mut hash = Shape::object();
        hash.field(b"a", b"1");
        hash.field(b"b", b"\xff");
        hash.field(b"c", b"2");
        assert_eq!(hash.finish(), Err("a member is not UTF-8".to_owned()));
        let list = |members| {
            let mut list = Shape { bytes_max: 13, ..Shape::array() };
            (0..members).for_each(|_| list.member(b"abc"));
            // no more than one member beyond the limit
            assert!(list.json.len() <= 13 + 6);
            list.finish()
        };
        assert_eq!(list(0), Ok(None));
        assert_eq!(list(2), Ok(Some(br#"["abc","abc"]"#.to_vec())));
        assert_eq!(list(3), Err("as JSON it has more than 13 bytes".to_owned()));
        assert_eq!(list(100), Err("as JSON it has more than 13 bytes".to_owned()));
    }
}
