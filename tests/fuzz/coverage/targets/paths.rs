//! JSONPath: what a path finds are values of the document, and a refusal names a place in the path.
#![no_main]

use larder::document::{Path, Work, scan};
use larder::record::json;
use libfuzzer_sys::fuzz_target;

/// Holds every kind of value, so that filters and slices have something to find.
const DOCUMENT: &str = r#"{"a":[1,2.5,-3e2,"x\u00e9y",null,true,{"b":{"c":[[]]},"d":"2024-01-01"}],
    "b":{"a":{"a":[0,1,2,3,4,5,6,7,8,9]}},"":{"'":"\"","\\":[{"price":8.95},{"price":12.99}]}}"#;

fuzz_target!(|input: (&str, &str)| {
    let (path, document) = input;
    let path = match Path::parse(path) {
        Ok(path) => path,
        Err(error) => return assert!(error.at <= path.len()),
    };
    let _ = path.split_last();
    let document = if json::check(document.as_bytes()).is_ok() { document } else { DOCUMENT };
    let text = document.as_bytes();
    if let Ok(nodes) = path.select(text, &mut Work::on(text.len())) {
        for node in nodes {
            assert!(json::check(scan::value(text, node.start)).is_ok());
        }
    }
});
