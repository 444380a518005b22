//! Parameters of requests, in the path, in the query and in headers.

use serde_json::{Map, Value, json};

use crate::http::openapi::schema::{Schema, count, integer, text};

#[derive(Debug, Clone)]
pub struct Parameter {
    pub name: &'static str,
    pub place: Place,
    description: &'static str,
    schema: Schema,
    is_required: bool,
    example: Option<&'static str>,
    /// The name under which the document has it once, if several routes share it.
    shared_as: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Path,
    Query,
    Header,
}

pub fn query(name: &'static str, schema: Schema, description: &'static str) -> Parameter {
    Parameter {
        name,
        place: Place::Query,
        description,
        schema,
        is_required: false,
        example: None,
        shared_as: None,
    }
}

pub fn header(name: &'static str, description: &'static str) -> Parameter {
    Parameter { place: Place::Header, ..query(name, text(), description) }
}

/// A segment of the path, `{name}`, which is never empty.
pub fn path(name: &'static str, description: &'static str) -> Parameter {
    let schema = text().with("minLength", 1);
    Parameter { place: Place::Path, is_required: true, ..query(name, schema, description) }
}

impl Parameter {
    pub fn required(self) -> Parameter {
        Parameter { is_required: true, ..self }
    }

    pub fn example(self, example: &'static str) -> Parameter {
        Parameter { example: Some(example), ..self }
    }

    pub fn shared_as(self, name: &'static str) -> Parameter {
        Parameter { shared_as: Some(name), ..self }
    }

    /// Its description for the document. A shared parameter is added to `shared`, and the description refers to it.
    pub fn into_document(self, shared: &mut Map<String, Value>) -> Value {
        let place = match self.place {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
        };
        let mut document = json!({
            "name": self.name,
            "in": place,
            "description": self.description,
            "schema": self.schema.into_document(&mut Default::default()),
        });
        if self.is_required {
            document["required"] = true.into();
        }
        if let Some(example) = self.example {
            document["example"] = example.into();
        }
        let Some(name) = self.shared_as else { return document };
        shared.insert(name.to_owned(), document);
        json!({ "$ref": format!("#/components/parameters/{name}") })
    }
}

/// The parameter for the segment `{name}` of a path.
pub fn in_path(segment: &str) -> Option<Parameter> {
    Some(match segment {
        "store" => {
            path("store", "Name or number of a store, percent-encoded").example("0").shared_as("store")
        }
        "other" => path("other", "Name or number of another store").example("1"),
        "key" => {
            path("key", "Key of a record: any bytes, percent-encoded").example("user%3A1").shared_as("key")
        }
        "command" => path("command", "Words of a command, percent-encoded, with slashes in between")
            .example("get/user%3A1"),
        "workflow" => path("workflow", "Name of a workflow, percent-encoded").example("nightly"),
        _ => return None,
    })
}

pub fn key_in_query() -> Parameter {
    let description = "Key of a record: any bytes, percent-encoded, also those that can't stand in a path";
    query("key", text(), description).required().example("user:1").shared_as("key-in-query")
}

pub fn workflow_in_query() -> Parameter {
    let name = text().with("minLength", 1);
    query("workflow", name, "Name of a workflow, percent-encoded").required().example("nightly")
}

pub fn ttl() -> Parameter {
    query("ttl", integer().at_least(1), "Seconds until the record expires").shared_as("ttl")
}

pub fn ttl_ms() -> Parameter {
    query("ttl_ms", integer().at_least(1), "Milliseconds until the record expires").shared_as("ttl_ms")
}

pub fn prefix() -> Parameter {
    query("prefix", text(), "Only keys that begin with these bytes").shared_as("prefix")
}

pub fn cursor() -> Parameter {
    query(
        "cursor",
        text(),
        "0 for the first page, then what the last page of the same list gave: with the \
                 same stores and prefix",
    )
    .shared_as("cursor")
}

pub fn limit() -> Parameter {
    query("limit", integer().at_least(1).at_most(1024), "Size of a page, at most max-keys-per-query")
        .shared_as("limit")
}

pub fn preview() -> Parameter {
    query(
        "preview",
        count(),
        "Only so many bytes of each value: entries have preview (text) or preview_base64 instead of it",
    )
    .shared_as("preview")
}

pub fn if_match() -> Parameter {
    header("If-Match", "Versions, as ETag gives them, one of which the record must have; * for any")
        .shared_as("if-match")
}

pub fn if_none_match() -> Parameter {
    header("If-None-Match", "Versions that the record must not have; * for any").shared_as("if-none-match")
}
