//! The compliance test suite of JSONPath (RFC 9535), which the npm package `jsonpath-rfc9535` carries; tests/run
//! installs it.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use larder::document::{Path, Work, scan};
use serde_json::Value;

const SUITE: &str =
    "node/node_modules/jsonpath-rfc9535/src/__tests__/jsonpath-compliance-test-suite/cts.json";

/// What only RedisJSON has a meaning for: a name behind a dot that begins with a digit.
const MORE_THAN_THE_RFC: &[&str] = &["basic, name shorthand, number"];

#[test]
fn the_compliance_suite() {
    let suite: Value = serde_json::from_slice(&std::fs::read(support::installed(SUITE)).unwrap()).unwrap();
    let tests = suite["tests"].as_array().unwrap();
    assert!(tests.len() > 600, "the whole suite has more than {} tests", tests.len());
    let wrong: Vec<_> = tests.iter().filter_map(|test| check(test).err()).collect();
    assert!(wrong.is_empty(), "{} of {} went wrong:\n{}", wrong.len(), tests.len(), wrong.join("\n"));
}

fn check(test: &Value) -> Result<(), String> {
    let (name, selector) = (test["name"].as_str().unwrap(), test["selector"].as_str().unwrap());
    // what doesn't begin with a dollar is a path of the older dialect
    let path = Path::parse(selector).ok().filter(|path| !path.is_legacy());
    if test["invalid_selector"] == true {
        let is_accepted = path.is_some();
        let may_be = MORE_THAN_THE_RFC.contains(&name);
        return if is_accepted == may_be {
            Ok(())
        } else {
            Err(format!("{name}: {selector} accepted: {is_accepted}"))
        };
    }
    let path = path.ok_or_else(|| format!("{name}: {selector} is refused"))?;
    let text = test["document"].to_string();
    let nodes = path.select(text.as_bytes(), &mut Work::on(text.len())).unwrap();
    let value = |start| serde_json::from_slice(scan::value(text.as_bytes(), start)).unwrap();
    let found = Value::Array(nodes.iter().map(|node| value(node.start)).collect());
    let one_of_many = test["results"].as_array().is_some_and(|results| results.contains(&found));
    if one_of_many || test["result"] == found {
        Ok(())
    } else {
        Err(format!("{name}: {selector} found {found}"))
    }
}
