//! Why a request to a store failed, by what one can do about it.

use std::error::Error;
use std::fmt;
use std::io;

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody answers.
    Unreachable,
    /// There was no answer in time.
    Slow,
    /// There are too many requests.
    Throttled,
    /// The credentials may not do this.
    Refused,
    /// The credentials were valid once.
    Expired,
    /// There is no space left, or the quota is used up.
    Full,
    /// The bucket, or the directory, does not exist.
    Absent,
    /// The store lacks an operation.
    Unsupported,
    /// Anything else.
    Failed,
}

impl Trouble {
    pub fn name(self) -> &'static str {
        match self {
            Trouble::Unreachable => "unreachable",
            Trouble::Slow => "slow",
            Trouble::Throttled => "throttled",
            Trouble::Refused => "refused",
            Trouble::Expired => "expired credentials",
            Trouble::Full => "no space",
            Trouble::Absent => "absent",
            Trouble::Unsupported => "unsupported",
            Trouble::Failed => "failed",
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Trouble::Unreachable => "; check the endpoint and the network",
            Trouble::Refused => "; check the credentials and what they allow",
            Trouble::Expired => "; renew the credentials",
            Trouble::Full => "; make space there",
            Trouble::Absent => "; create the bucket or the directory, or correct the setting",
            Trouble::Unsupported => "; an archive needs conditional writes",
            Trouble::Slow | Trouble::Throttled | Trouble::Failed => "",
        }
    }
}

/// A request that failed.
#[derive(Debug, Clone)]
pub struct Fault {
    pub trouble: Trouble,
    pub why: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({}{})", self.why, self.trouble.name(), self.trouble.advice())
    }
}

impl Fault {
    pub fn new(trouble: Trouble, why: impl Into<String>) -> Fault {
        Fault { trouble, why: why.into() }
    }

    /// A fault of the file system, with what was to be done.
    pub fn of_disk(doing: &str, error: &io::Error) -> Fault {
        use io::ErrorKind::{
            NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull, TimedOut,
        };
        let trouble = match error.kind() {
            StorageFull | QuotaExceeded => Trouble::Full,
            PermissionDenied | ReadOnlyFilesystem => Trouble::Refused,
            TimedOut => Trouble::Slow,
            NotFound => Trouble::Absent,
            _ => Trouble::Failed,
        };
        Fault::new(trouble, format!("{doing}: {error}"))
    }

    /// A fault of an object store. What it answered is known only as text.
    pub fn of_cloud(error: &object_store::Error) -> Fault {
        let (mut text, mut cause) = (error.to_string(), error.source());
        while let Some(source) = cause {
            let more = source.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = source.source();
        }
        let trouble = match error {
            object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => {
                Trouble::Unsupported
            }
            _ => by_words(&text),
        };
        let trouble = match (trouble, error) {
            (Trouble::Failed, object_store::Error::NotFound { .. }) => Trouble::Absent,
            (
                Trouble::Failed,
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. },
            ) => Trouble::Refused,
            (trouble, _) => trouble,
        };
        Fault::new(trouble, shortened(&text))
    }
}

/// Errors of S3, Google Cloud Storage and Azure, and of HTTP.
fn by_words(text: &str) -> Trouble {
    const WORDS: [(Trouble, &[&str]); 7] = [
        (Trouble::Expired, &["ExpiredToken", "RequestExpired", "TokenRefreshRequired", "token has expired"]),
        (
            Trouble::Throttled,
            &[
                "SlowDown",
                "429 ",
                "TooManyRequests",
                "RequestLimitExceeded",
                "ServerBusy",
                "rateLimitExceeded",
            ],
        ),
        (
            Trouble::Full,
            &["507 ", "QuotaExceeded", "StorageFull", "XMinioStorageFull", "EntityTooLarge", "quotaExceeded"],
        ),
        (Trouble::Absent, &["NoSuchBucket", "ContainerNotFound", "The specified bucket does not exist"]),
        (
            Trouble::Refused,
            &[
                "AccessDenied",
                "403 ",
                "401 ",
                "InvalidAccessKeyId",
                "SignatureDoesNotMatch",
                "AuthenticationFailed",
            ],
        ),
        (Trouble::Slow, &["timed out", "timeout", "504 ", "408 ", "RequestTimeout"]),
        (
            Trouble::Unreachable,
            &[
                "error trying to connect",
                "Connection refused",
                "connection refused",
                "dns error",
                "error sending request",
                "connection closed",
                "ConnectionReset",
            ],
        ),
    ];
    let found = WORDS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word)));
    found.map_or(Trouble::Failed, |(trouble, _)| *trouble)
}

/// Answers of servers may be whole pages.
fn shortened(text: &str) -> String {
    const CHARACTERS_MAX: usize = 500;
    let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    match line.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_are_told_by_what_stores_answer() {
        for (text, trouble) in [
            (
                "Server returned non-2xx status code: 403 Forbidden: <Code>ExpiredToken</Code>",
                Trouble::Expired,
            ),
            ("status code: 503 Service Unavailable: <Error><Code>SlowDown</Code>", Trouble::Throttled),
            ("429 Too Many Requests", Trouble::Throttled),
            ("507 Insufficient Storage: XMinioStorageFull", Trouble::Full),
            ("404 Not Found: <Code>NoSuchBucket</Code>", Trouble::Absent),
            ("403 Forbidden: <Code>AccessDenied</Code>", Trouble::Refused),
            ("error sending request: operation timed out", Trouble::Slow),
            ("error sending request for url: tcp connect error: Connection refused", Trouble::Unreachable),
            ("500 Internal Server Error", Trouble::Failed),
        ] {
            assert_eq!(by_words(text), trouble, "{text}");
        }
        assert!(shortened(&"x\n".repeat(9_999)).len() < 600);
    }
}
