//! Versions of records as clients know them, and requests that depend on one (RFC 9110, sections 8.8.3 and 13).
//!
//! A record's version is the journal sequence number of its last change. After a power cut at `everysec`, or in a
//! restored backup, numbers are used again for other changes, so the version that a client sees also identifies the run
//! of the server. A version from an earlier run matches nothing, and its client reads again.
//!
//! A compressed response is another representation than an uncompressed one, and must not have the same strong tag. Its
//! tag therefore ends with the name of its coding ([`mark_coding`]). All tags of a version stand for the same record,
//! so a precondition accepts any of them.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;

use crate::command::Server;
use crate::engine::Seq;
use crate::http::api::records;
use crate::http::request::gate::{Talk, words};
use crate::http::response::problem::Problem;
use crate::resp::Reply;

/// Codings that answers are compressed with.
const CODINGS: [&str; 2] = ["gzip", "br"];

/// A version as clients know it.
pub fn version(server: &Server, seq: Seq) -> String {
    const RUN_DIGITS: usize = 8;
    format!("{:.RUN_DIGITS$}-{seq}", server.run_id)
}

/// The strong entity tag of a version.
pub fn tag(server: &Server, seq: Seq) -> HeaderValue {
    quoted(version(server, seq).as_bytes())
}

fn quoted(opaque: &[u8]) -> HeaderValue {
    // what was an entity tag, or is digits, is a good header
    HeaderValue::from_bytes(&[b"\"", opaque, b"\""].concat()).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Has the strong tag of a compressed answer say so.
pub async fn mark_coding(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let coding = headers.get(header::CONTENT_ENCODING).and_then(|coding| coding.to_str().ok());
    if let Some(coding) = coding
        && let Some(tag) = headers.get(header::ETAG)
        && let Some(opaque) = tag.as_bytes().strip_prefix(b"\"").and_then(|tag| tag.strip_suffix(b"\""))
    {
        let marked = quoted(&[opaque, b"-", coding.as_bytes()].concat());
        headers.insert(header::ETAG, marked);
    }
    response
}

/// `If-Match` and `If-None-Match` of a request.
pub struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

enum Tags {
    Any,
    Listed(Vec<Tag>),
}

struct Tag {
    is_weak: bool,
    opaque: Vec<u8>,
}

/// What a command needs to find, apart from preconditions. If it doesn't find it, that decides the response:
/// preconditions count only for requests that would succeed without them (RFC 9110, section 13.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    Record,
    NoRecord,
}

impl Preconditions {
    pub fn of(headers: &HeaderMap) -> Result<Preconditions, Problem> {
        let if_match = Tags::of(headers, header::IF_MATCH)?;
        Ok(Preconditions { if_match, if_none_match: Tags::of(headers, header::IF_NONE_MATCH)? })
    }

    /// Where a version makes no sense.
    pub fn refuse(headers: &HeaderMap) -> Result<(), Problem> {
        match Preconditions::of(headers)? {
            Preconditions { if_match: None, if_none_match: None } => Ok(()),
            _ => Err(Problem::bad("If-Match and If-None-Match are not taken here")),
        }
    }

    /// For reading an existing record: the tag with which the client has it already, if any.
    pub fn of_read(&self, server: &Server, seq: Seq) -> Result<Option<HeaderValue>, Problem> {
        let version = version(server, seq);
        if self.if_match.as_ref().is_some_and(|tags| !tags.match_strongly(Some(&version))) {
            return Err(Problem::failed_precondition());
        }
        Ok(match &self.if_none_match {
            None => None,
            Some(Tags::Any) => Some(tag(server, seq)),
            Some(Tags::Listed(tags)) => {
                tags.iter().find(|tag| tag.is_of(&version)).map(|tag| quoted(&tag.opaque))
            }
        })
    }

    /// Runs a command on a key if the preconditions hold for it.
    pub fn run(
        &self,
        talk: &mut Talk,
        key: &Bytes,
        needs: Needs,
        command: Vec<Bytes>,
    ) -> Result<(Reply, Seq), Problem> {
        if self.if_match.is_none() && self.if_none_match.is_none() {
            return talk.versioned(command);
        }
        talk.command(words([b"WATCH", key]))?;
        let found = records::look_up(talk, key)?.map(|record| version(&talk.server, record.version));
        match needs {
            Needs::Record if found.is_none() => return Err(Problem::no_record()),
            Needs::NoRecord if found.is_some() => return Err(Problem::record_exists()),
            _ => {}
        }
        let is_met = self.if_match.as_ref().is_none_or(|tags| tags.match_strongly(found.as_deref()))
            && self.if_none_match.as_ref().is_none_or(|tags| !tags.match_weakly(found.as_deref()));
        if !is_met {
            return Err(Problem::failed_precondition());
        }
        let (mut replies, seq) = talk.together(vec![command])?.ok_or_else(Problem::failed_precondition)?;
        let reply = replies.pop().ok_or_else(|| Problem::ours("a transaction gave no reply"))?;
        Ok((reply, seq))
    }
}

impl Tags {
    /// `*`, or a list of tags, which may be spread over several headers.
    fn of(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, Problem> {
        let lines: Vec<&[u8]> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
        if lines.is_empty() {
            return Ok(None);
        }
        let text = lines.join(&b","[..]);
        if text.trim_ascii() == b"*" {
            return Ok(Some(Tags::Any));
        }
        match listed(&text) {
            Some(tags) if !tags.is_empty() => Ok(Some(Tags::Listed(tags))),
            _ => {
                Err(Problem::bad(format!("{name} must be * or a list of tags as ETag gives them, in quotes")))
            }
        }
    }

    /// Weak tags never match in this comparison (RFC 9110, section 13.1.1).
    fn match_strongly(&self, version: Option<&str>) -> bool {
        self.have(version, |tag| !tag.is_weak)
    }

    fn match_weakly(&self, version: Option<&str>) -> bool {
        self.have(version, |_| true)
    }

    fn have(&self, version: Option<&str>, counts: impl Fn(&Tag) -> bool) -> bool {
        match (self, version) {
            (_, None) => false,
            (Tags::Any, Some(_)) => true,
            (Tags::Listed(tags), Some(version)) => tags.iter().any(|tag| counts(tag) && tag.is_of(version)),
        }
    }
}

impl Tag {
    /// Whether it is the tag of this version, in whichever coding.
    fn is_of(&self, version: &str) -> bool {
        let Some(rest) = self.opaque.strip_prefix(version.as_bytes()) else { return false };
        rest.is_empty()
            || rest
                .strip_prefix(b"-")
                .is_some_and(|coding| CODINGS.iter().any(|known| known.as_bytes() == coding))
    }
}

/// `#entity-tag` of RFC 9110: tags with commas between them, some of which may have nothing in front. None: it is no such
/// list.
fn listed(mut text: &[u8]) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    loop {
        text = text.trim_ascii_start();
        if text.is_empty() {
            return Some(tags);
        }
        if let Some(rest) = text.strip_prefix(b",") {
            text = rest;
            continue;
        }
        let is_weak = text.starts_with(b"W/");
        let inner = text.strip_prefix(b"W/").unwrap_or(text).strip_prefix(b"\"")?;
        let length = inner.iter().position(|byte| *byte == b'"')?;
        // no blanks and no control characters; a comma is a part of the tag
        if !inner[..length].iter().all(|byte| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..)) {
            return None;
        }
        tags.push(Tag { is_weak, opaque: inner[..length].to_vec() });
        text = inner[length + 1..].trim_ascii_start();
        if !text.is_empty() && !text.starts_with(b",") {
            return None;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::http::testing::{Api, Told};

    const RECORD: &str = "/api/v1/stores/0/records/a";

    async fn put(api: &Api, value: &str) -> Told {
        api.run(&format!("PUT {RECORD}"), value).await
    }

    #[tokio::test]
    async fn a_tag_names_the_run_and_so_is_that_of_no_other() {
        let api = Api::new();
        let other = Api::new();
        let (tag, same_change) = (put(&api, "1").await, put(&other, "2").await);
        assert_ne!(tag.header("etag"), same_change.header("etag"), "both are the first change of all");
        let stale = [("if-match", tag.header("etag"))];
        assert_eq!(other.send(&format!("PUT {RECORD}"), &stale, "3").await.status, 412);
    }

    /// Each precondition with `$` for the current version: what GET and PUT answer where there is a record, and PUT and
    /// DELETE where there is none.
    #[tokio::test]
    async fn preconditions_are_those_of_rfc_9110() {
        let cases = [
            ("if-match", "\"$\"", [200, 204, 412, 404]),
            ("if-match", "*", [200, 204, 412, 404]),
            ("if-match", " * ", [200, 204, 412, 404]),
            ("if-match", "\"x\"", [412, 412, 412, 404]),
            ("if-match", "\"x\", \"$\"", [200, 204, 412, 404]),
            ("if-match", ",\"x\" ,, \"$\",", [200, 204, 412, 404]),
            ("if-match", "\"$-gzip\"", [200, 204, 412, 404]),
            ("if-match", "\"$-br\"", [200, 204, 412, 404]),
            ("if-match", "\"$-x\"", [412, 412, 412, 404]),
            ("if-match", "\"a,$\"", [412, 412, 412, 404]),
            ("if-match", "W/\"$\"", [412, 412, 412, 404]),
            ("if-match", "W/\"$\", \"$\"", [200, 204, 412, 404]),
            ("if-none-match", "\"$\"", [304, 412, 201, 404]),
            ("if-none-match", "*", [304, 412, 201, 404]),
            ("if-none-match", "W/\"$\"", [304, 412, 201, 404]),
            ("if-none-match", "\"x\", W/\"$-gzip\"", [304, 412, 201, 404]),
            ("if-none-match", "\"x\"", [200, 204, 201, 404]),
            ("if-none-match", "\"a,$\"", [200, 204, 201, 404]),
            ("if-match", "$", [400; 4]),
            ("if-match", "\"$", [400; 4]),
            ("if-match", "\"$\"\"x\"", [400; 4]),
            ("if-match", "\"x\" \"$\"", [400; 4]),
            ("if-match", "\"a b\"", [400; 4]),
            ("if-match", "w/\"$\"", [400; 4]),
            ("if-match", "*, \"$\"", [400; 4]),
            ("if-none-match", "\"$\", *", [400; 4]),
            ("if-match", "", [400; 4]),
            ("if-none-match", ",", [400; 4]),
        ];
        let api = Api::new();
        for (name, text, expected) in cases {
            let mut told = Vec::new();
            for (request, is_there) in [("GET", true), ("PUT", true), ("PUT", false), ("DELETE", false)] {
                let tag = put(&api, "1").await.header("etag").to_owned();
                if !is_there {
                    api.run(&format!("DELETE {RECORD}"), "").await;
                }
                let value = text.replace('$', tag.trim_matches('"'));
                let body = if request == "PUT" { "2" } else { "" };
                let line = format!("{request} {RECORD}");
                told.push(api.send(&line, &[(name, &value)], body).await.status);
            }
            assert_eq!(told, expected, "{name}: {text}");
        }
    }

    #[tokio::test]
    async fn a_list_may_be_spread_and_both_headers_count() {
        let api = Api::new();
        let tag = put(&api, "1").await.header("etag").to_owned();
        let get = format!("GET {RECORD}");
        for (headers, status) in [
            (vec![("if-match", "\"x\""), ("if-match", &tag)], 200),
            (vec![("if-match", &tag), ("if-none-match", &tag)], 304),
            (vec![("if-match", "\"x\""), ("if-none-match", &tag)], 412),
        ] {
            assert_eq!(api.send(&get, &headers, "").await.status, status, "{headers:?}");
        }
    }

    /// Without the precondition these would fail for another reason, and that is what is told.
    #[tokio::test]
    async fn what_fails_anyway_says_why() {
        let api = Api::new();
        let stale = [("if-match", "\"x\"")];
        for (line, body, status) in [
            (format!("PUT {RECORD}?xx=true"), "1", 404),
            (format!("PUT {RECORD}/ttl"), r#"{"ttl_ms": 5}"#, 404),
            (format!("DELETE {RECORD}"), "", 404),
            (format!("GET {RECORD}"), "", 404),
        ] {
            assert_eq!(api.send(&line, &stale, body).await.status, status, "{line}");
        }
        put(&api, "1").await;
        assert_eq!(api.send(&format!("PUT {RECORD}?nx=true"), &stale, "2").await.status, 409);
    }

    #[tokio::test]
    async fn a_compressed_answer_has_a_tag_of_its_own() {
        let api = Api::new();
        let value = format!("[{}1]", "1,".repeat(4_000));
        let plain = put(&api, &value).await.header("etag").to_owned();
        for coding in super::CODINGS {
            let headers = [("accept-encoding", coding)];
            let told = api.send(&format!("GET {RECORD}"), &headers, "").await;
            let tag = told.header("etag").to_owned();
            assert_eq!(told.header("content-encoding"), coding);
            assert_eq!(tag, format!("{}-{coding}\"", plain.trim_end_matches('"')));
            let again = [headers[0], ("if-none-match", &tag)];
            let again = api.send(&format!("GET {RECORD}"), &again, "").await;
            assert_eq!((again.status, again.header("etag")), (304, &tag[..]));
        }
        let tag = api.send(&format!("GET {RECORD}"), &[("accept-encoding", "gzip")], "").await;
        let headers = [("if-match", tag.header("etag"))];
        assert_eq!(api.send(&format!("PUT {RECORD}"), &headers, "2").await.status, 204);
    }
}
