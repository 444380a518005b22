//! The description of the API: `/openapi.json`, made from the declarations of the routes.

pub mod parameter;
pub mod route;
pub mod schema;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::http::openapi::route::Route;
use crate::http::openapi::schema::Schema;
use crate::http::response::problem;

/// The parts of the document that several routes share.
#[derive(Default)]
pub struct Components {
    pub parameters: Map<String, Value>,
    pub schemas: BTreeMap<&'static str, Value>,
}

impl Components {
    fn content(&mut self, content: Vec<(&str, Schema)>) -> Value {
        let described = content.into_iter().map(|(kind, schema)| {
            (kind.to_owned(), json!({ "schema": schema.into_document(&mut self.schemas) }))
        });
        Value::Object(described.collect())
    }
}

/// The document about routes, which are grouped by subject.
pub fn document(groups: Vec<(&'static str, Vec<Route>)>) -> Value {
    let mut components = Components::default();
    let mut paths: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (subject, routes) in groups {
        for route in routes {
            // a segment that stands for all the rest
            let (path, method) = (route.path.replace("{*", "{"), route.method);
            let described = route.into_document(subject, &mut components);
            paths.entry(path).or_default().insert(method.to_owned(), described);
        }
    }
    let problem = problem::problem_schema().into_document(&mut components.schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Larder",
            "version": "1",
            "description": "Named stores of JSON records. What is written here and what is written over the \
                 Redis protocol is the same.",
        },
        "servers": [{ "url": "/" }],
        "security": [{}, { "bearer": [] }, { "basic": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "base64 of user:password, a user of the ACL; without a user the default one",
                },
                "basic": { "type": "http", "scheme": "basic" },
            },
            "parameters": components.parameters,
            "schemas": components.schemas,
            "responses": {
                "Problem": {
                    "description": "What went wrong; nothing was changed, unless the status is 504",
                    "content": { "application/problem+json": { "schema": problem } },
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::http::openapi::parameter::Place;
    use crate::http::openapi::*;
    use crate::http::routes;
    use crate::http::testing::Api;

    #[test]
    fn the_description_is_up_to_date() {
        crate::generated::check_up_to_date("openapi.json", &format!("{:#}\n", document(routes())));
    }

    /// Generated clients name their functions after operations.
    #[test]
    fn operations_have_names_of_their_own_and_describe_all_segments_of_their_paths() {
        let mut ids = BTreeSet::new();
        for route in routes().into_iter().flat_map(|(_, routes)| routes) {
            assert!(!route.id.is_empty() && ids.insert(route.id.clone()), "{} {}", route.path, route.id);
            let (path, mut components) = (route.path.clone(), Components::default());
            let described = route.into_document("", &mut components);
            let parameters = described["parameters"].as_array().map_or(0, Vec::len);
            assert!(parameters >= path.matches('{').count(), "{path}: {described}");
            assert!(
                described["responses"].as_object().is_some_and(|all| all.len() >= 2),
                "{path}: {described}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_described_is_served_and_takes_the_parameters_that_are_described() {
        let api = Api::new();
        let served = api.run("GET /openapi.json", "").await.json();
        assert_eq!(served, document(routes()));
        for route in routes().into_iter().flat_map(|(_, routes)| routes) {
            let path = route.path.replace(['{', '}'], "");
            let of_query = |place| move |parameter: &&parameter::Parameter| parameter.place == place;
            let (named, others): (Vec<_>, Vec<_>) = route
                .parameters
                .iter()
                .filter(of_query(Place::Query))
                .map(|parameter| parameter.name)
                .partition(|name| ["key", "workflow"].contains(name));
            let query: String = named.iter().map(|name| format!("{name}=x&")).collect();
            let line = format!("{} {path}?{query}unknown=x", route.method.to_uppercase());
            let told = api.run(&line, "").await;
            if ["/healthz", "/readyz"].contains(&&*path) {
                assert_eq!(told.status, 200, "{line}");
                continue;
            }
            if crate::http::rest::is_below(&path) {
                // the query has words of the command
                assert!(told.status == 400 && told.json()["error"].is_string(), "{line}: {}", told.status);
                continue;
            }
            let known = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
            let detail = format!("there is no parameter 'unknown' here; there is: {known}");
            assert_eq!((told.status, &told.json()["detail"]), (400, &detail.into()), "{line}");
        }
    }

    /// Paths that are served without a declaration are not part of the API.
    #[test]
    fn only_pages_and_the_description_are_served_without_a_declaration() {
        let source = include_str!("../mod.rs");
        let undeclared: Vec<&str> =
            source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(undeclared, ["/", "/ui/{name}", "/openapi.json"]);
    }

    /// docs/HTTP.md shows several paths in one row of its table, and shortens them.
    #[test]
    fn the_manual_lists_every_path() {
        const API: &str = "/api/v1/";
        let manual = include_str!("../../../docs/HTTP.md");
        let (_, table) = manual.split_once("| path below `/api/v1` | |").expect("a table of paths");
        let cells = table.lines().skip(2).map_while(|line| line.strip_prefix("| ")?.split('|').next());
        let listed: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        let listed: Vec<&str> = listed.into_iter().filter_map(|path| path.split('?').next()).collect();
        let is_meant = |path: &str, listed: &str| match listed.strip_prefix('…') {
            Some(end) => path.ends_with(end),
            None => path == listed,
        };
        let paths: Vec<String> =
            routes().into_iter().flat_map(|(_, routes)| routes).map(|route| route.path).collect();
        let paths: Vec<&str> = paths.iter().filter_map(|path| path.strip_prefix(API)).collect();
        for path in &paths {
            assert!(
                listed.iter().any(|listed| is_meant(path, listed)),
                "docs/HTTP.md lacks {path}: {listed:?}"
            );
        }
        for listed in listed {
            assert!(
                paths.iter().any(|path| is_meant(path, listed)),
                "docs/HTTP.md has {listed}, which is not served"
            );
        }
    }
}
