//! A route: a method, a path, the handler, and the description in the OpenAPI document.

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};
use serde_json::{Map, Value, json};

use crate::http::App;
use crate::http::openapi::Components;
use crate::http::openapi::parameter::{self, Parameter, key_in_query};
use crate::http::openapi::schema::{Schema, any, text};

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";

#[derive(Clone)]
pub struct Route {
    /// In lower case, as in the document.
    pub method: &'static str,
    pub path: String,
    pub handler: MethodRouter<App>,
    pub id: String,
    summary: String,
    description: Option<&'static str>,
    pub parameters: Vec<Parameter>,
    body: Option<Content>,
    responses: Vec<Response>,
    /// Schemas that only its texts mention.
    mentioned: Vec<Schema>,
    is_open: bool,
}

/// Types of content, and their schemas.
type Content = Vec<(&'static str, Schema)>;

#[derive(Clone)]
struct Response {
    status: u16,
    description: &'static str,
    content: Content,
    headers: Vec<(&'static str, &'static str, Schema)>,
}

macro_rules! methods {
    ($($name:ident)*) => {
        $(
            pub fn $name<T: 'static, H: Handler<T, App>>(path: &str, handler: H) -> Route {
                Route::new(stringify!($name), path, routing::$name(handler))
            }
        )*
    };
}

methods! { get post put patch delete }

impl Route {
    fn new(method: &'static str, path: &str, handler: MethodRouter<App>) -> Route {
        Route {
            method,
            path: path.to_owned(),
            handler,
            id: String::new(),
            summary: String::new(),
            description: None,
            parameters: Vec::new(),
            body: None,
            responses: Vec::new(),
            mentioned: Vec::new(),
            is_open: false,
        }
    }

    /// The name of the operation, which generated clients use, and its summary.
    pub fn named(self, id: &str, summary: &str) -> Route {
        Route { id: id.to_owned(), summary: summary.to_owned(), ..self }
    }

    pub fn about(self, description: &'static str) -> Route {
        Route { description: Some(description), ..self }
    }

    /// Everyone may use it, without credentials.
    pub fn open(self) -> Route {
        Route { is_open: true, ..self }
    }

    /// Parameters of the query and headers; those of the path are known by its segments.
    pub fn parameters(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Route {
        self.parameters.extend(parameters);
        self
    }

    /// The body is JSON.
    pub fn takes(self, schema: Schema) -> Route {
        self.takes_content(vec![(JSON, schema)])
    }

    /// The body is the value of a record.
    pub fn takes_value(self) -> Route {
        self.takes_content(vec![(JSON, value_schema()), (BYTES, any())])
    }

    pub fn takes_content(self, content: Content) -> Route {
        Route { body: Some(content), ..self }
    }

    /// The response has no body.
    pub fn returns_nothing(self, status: u16, description: &'static str) -> Route {
        self.returns_content(status, description, Vec::new())
    }

    /// The response is JSON.
    pub fn returns(self, status: u16, description: &'static str, schema: Schema) -> Route {
        self.returns_content(status, description, vec![(JSON, schema)])
    }

    /// The response is the value of a record.
    pub fn returns_value(self, status: u16, description: &'static str) -> Route {
        self.returns_content(status, description, vec![(JSON, value_schema()), (BYTES, any())])
    }

    pub fn returns_content(mut self, status: u16, description: &'static str, content: Content) -> Route {
        self.responses.push(Response { status, description, content, headers: Vec::new() });
        self
    }

    /// The last response has a header.
    pub fn with_header(mut self, name: &'static str, description: &'static str, schema: Schema) -> Route {
        if let Some(response) = self.responses.last_mut() {
            response.headers.push((name, description, schema));
        }
        self
    }

    /// The last response has the version of the record.
    pub fn versioned(self) -> Route {
        let version = text().with("pattern", "^\"[0-9a-f]{8}-[0-9]+(-gzip|-br)?\"$");
        self.with_header("ETag", "The record's version", version)
    }

    /// A schema that is not that of a request or a response, but that the texts mention.
    pub fn mentions(mut self, schema: Schema) -> Route {
        self.mentioned.push(schema);
        self
    }

    /// The same route at another path.
    pub fn at(self, path: String) -> Route {
        Route { path, ..self }
    }

    /// The same route, with the key of its record in the query.
    pub fn with_key_in_query(self) -> Route {
        let (id, summary) =
            (format!("{}ByQuery", self.id), format!("{}, whose key is in the query", self.summary));
        Route { id, summary, ..self }.parameters([key_in_query()])
    }

    /// Its description for the document.
    pub fn into_document(self, tag: &str, components: &mut Components) -> Value {
        let mut document = json!({
            "operationId": self.id,
            "tags": [tag],
            "summary": self.summary,
        });
        if let Some(description) = self.description {
            document["description"] = description.into();
        }
        if self.is_open {
            document["security"] = json!([]);
        }
        let in_path = self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        let in_path = in_path.map(|segment| segment.trim_start_matches('*'));
        let in_path: Vec<Parameter> = in_path.filter_map(parameter::in_path).collect();
        let parameters = in_path.into_iter().chain(self.parameters);
        let parameters: Vec<Value> =
            parameters.map(|parameter| parameter.into_document(&mut components.parameters)).collect();
        if !parameters.is_empty() {
            document["parameters"] = parameters.into();
        }
        if let Some(content) = self.body {
            document["requestBody"] = json!({ "required": true, "content": components.content(content) });
        }
        let mut responses = Map::new();
        for response in self.responses {
            let mut described = json!({ "description": response.description });
            if !response.content.is_empty() {
                described["content"] = components.content(response.content);
            }
            for (name, description, schema) in response.headers {
                let schema = schema.into_document(&mut components.schemas);
                described["headers"][name] = json!({ "description": description, "schema": schema });
            }
            responses.insert(response.status.to_string(), described);
        }
        responses.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Problem" }));
        document["responses"] = responses.into();
        for schema in self.mentioned {
            schema.into_document(&mut components.schemas);
        }
        document
    }
}

/// The value of a record.
pub fn value_schema() -> Schema {
    any().about("Any JSON value").named("Value")
}
