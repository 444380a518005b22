//! Errors, as `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::engine::error::QuotaExceeded;
use crate::error::Error;
use crate::http::openapi::schema::{Schema, integer, object, text};

/// An error in HTTP: a status for programs that know HTTP, a code for those that know Larder, and a sentence.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    code: String,
    detail: String,
    /// The error of a command that it stands for.
    cause: Option<Error>,
}

pub type Answer = Result<Response, Problem>;

pub fn problem_schema() -> Schema {
    object([
        ("type", text()),
        ("title", text()),
        ("status", integer()),
        ("code", text().about("The first word of the error as the Redis protocol tells it")),
        ("detail", text()),
    ])
    .named("Problem")
}

impl Problem {
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Problem {
        Problem { status, code: code.to_owned(), detail: detail.into(), cause: None }
    }

    /// The request is malformed.
    pub fn bad(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "ERR", detail)
    }

    /// Code and sentence, for a response that reports several errors.
    pub fn told(&self) -> (&str, &str) {
        (&self.code, &self.detail)
    }

    pub fn no_record() -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "NORECORD", "there is no record at this key")
    }

    pub fn record_exists() -> Problem {
        Problem::new(StatusCode::CONFLICT, "RECORDEXISTS", "there is a record at this key")
    }

    pub fn wrong_type(detail: &str) -> Problem {
        Problem::new(StatusCode::CONFLICT, "WRONGTYPE", detail)
    }

    /// Whether it stands for this error of a command.
    pub fn is(&self, error: &Error) -> bool {
        self.cause.as_ref() == Some(error)
    }

    /// A header asked for another version than there is.
    pub fn failed_precondition() -> Problem {
        let detail = "the record is not at a version that If-Match or If-None-Match allows";
        Problem::new(StatusCode::PRECONDITION_FAILED, "ERR", detail)
    }

    pub fn ours(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "ERR", detail)
    }
}

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Problem {
        let error: Error = error.into();
        let line = error.to_string();
        let (code, detail) = line.split_once(' ').unwrap_or((&line, ""));
        // the Redis protocol has no code of its own for that
        let code = if error == Error::NoStoreNumber { "NOSTORE" } else { code };
        let detail = in_words_of_http(&error).unwrap_or_else(|| detail.to_owned());
        Problem { status: status(&error), code: code.to_owned(), detail, cause: Some(error) }
    }
}

/// The sentence that replaces the one for Redis clients, if that names commands.
fn in_words_of_http(error: &Error) -> Option<String> {
    Some(match error {
        Error::NoStoreNumber => "no store has this number".to_owned(),
        Error::TooManyKeys { store, limit } => format!(
            "more than {limit} keys match in store '{store}' (max-keys-per-query is {limit}); ask for pages, with 'cursor'"
        ),
        Error::NoStore(name) => format!("no store is named '{name}'; create it with POST /api/v1/stores"),
        Error::InUse { store, users } => {
            format!("store '{store}' is used by {users}; close or unlink them, or drop it with ?force=true")
        }
        Error::NotForStore { store, line, column } => format!(
            "this store takes JSON and the value is not (line {line}, column {column}): quote text as \"bar\", or let the store take \
             anything with the setting values of store {store}, which can be any"
        ),
        Error::ExpireTime(_) => "the time to live is too long".to_owned(),
        Error::Quota(exceeded @ QuotaExceeded { store: Some(store), counted, eviction: None, .. }) => {
            format!("{exceeded}; delete some or raise the setting {} of store {store}", counted.setting())
        }
        Error::Arity(_) => "there is nothing to do in this request".to_owned(),
        Error::Busy | Error::BusyFunction => {
            "a script has been running for too long; try again later, or have it ended".to_owned()
        }
        _ => return None,
    })
}

/// The status of an error of a command.
fn status(error: &Error) -> StatusCode {
    match error {
        Error::NoAuth | Error::WrongPass => StatusCode::UNAUTHORIZED,
        Error::NoPermission(_) => StatusCode::FORBIDDEN,
        Error::NoStore(_) | Error::NoStoreNumber | Error::NoSuchKey => StatusCode::NOT_FOUND,
        Error::StoreExists(_) | Error::InUse { .. } => StatusCode::CONFLICT,
        Error::ValueTooLong => StatusCode::PAYLOAD_TOO_LARGE,
        Error::NotJson(_) | Error::NotForStore { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Error::TooManyKeys { .. } => StatusCode::UPGRADE_REQUIRED,
        Error::Quota(_) => StatusCode::INSUFFICIENT_STORAGE,
        Error::Damaged(_) | Error::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Error::Storage(_)
        | Error::Unarchived(_)
        | Error::Crowded(_)
        | Error::Stopping
        | Error::Busy
        | Error::BusyFunction => StatusCode::SERVICE_UNAVAILABLE,
        Error::Syntax
        | Error::NotInteger
        | Error::NotFloat
        | Error::Arity(_)
        | Error::ExpireTime(_)
        | Error::KeyTooLong { .. }
        | Error::PatternTooLong { .. }
        | Error::ReplyTooLong
        | Error::ScriptWrites { .. }
        | Error::Other(_)
        | Error::Counted(_) => StatusCode::BAD_REQUEST,
    }
}

/// The error of a response as one line, as the Redis protocol tells it.
#[derive(Debug, Clone)]
pub struct Line(pub String);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let line = match &self.cause {
            Some(error) => error.to_string(),
            None => format!("{} {}", self.code, self.detail),
        };
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status, kind, body.to_string()).into_response();
        response.extensions_mut().insert(Line(line));
        if self.status == StatusCode::UNAUTHORIZED {
            // not Basic, because a browser would then ask for a password by itself and send it with every request of a
            // page
            let challenge = HeaderValue::from_static("Bearer realm=\"larder\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::error::Counted;
    use crate::http::response::problem::*;
    use crate::record::json::NotJson;

    #[test]
    fn errors_of_commands_have_the_documented_status() {
        let long = Error::KeyTooLong { bytes: 2_000, limit: 1_920 };
        let exceeded = QuotaExceeded {
            store: None,
            scope: None,
            counted: Counted::Keys,
            used: 1,
            after: 2,
            max: 1,
            eviction: None,
        };
        let table = [
            (Error::TooManyKeys { store: "0".into(), limit: 3 }, 426),
            (NotJson { what: "x".into(), line: 1, column: 1 }.into(), 422),
            (Error::NoStore("x".into()), 404),
            (Error::NoStoreNumber, 404),
            (Error::StoreExists("x".into()), 409),
            (Error::InUse { store: "x".into(), users: "y".into() }, 409),
            (Error::Quota(exceeded), 507),
            (Error::NoAuth, 401),
            (Error::WrongPass, 401),
            (Error::NoPermission("no".into()), 403),
            (Error::Storage("disk".into()), 503),
            (Error::Disk("LMDB".into()), 500),
            (Error::Crowded("readers".into()), 503),
            (Error::Stopping, 503),
            (Error::Damaged("crc".into()), 500),
            (Error::ValueTooLong, 413),
            (Error::Syntax, 400),
            (long, 400),
        ];
        for (error, status) in table {
            let shown = error.to_string();
            let problem = Problem::from(error);
            assert_eq!(problem.status.as_u16(), status, "{shown}");
            assert_eq!(problem.code == "NOSTORE", shown.starts_with("NOSTORE") || shown.contains("DB index"));
        }
    }
}
