//! The check of JSON texts against a parser that builds a tree; what passes can be walked, laid out and merged.
#![no_main]

use bytes::Bytes;
use larder::document::{Layout, compare, layout, merge, scan};
use larder::record::json;
use libfuzzer_sys::fuzz_target;

const BYTES_MAX: usize = 1 << 20;

fuzz_target!(|text: &[u8]| {
    let tree = serde_json::from_slice::<serde_json::Value>(text);
    if json::check(text).is_err() {
        assert!(tree.is_err(), "refused, and is {tree:?}");
        return;
    }
    let root = scan::root(text);
    assert!(scan::end(text, root) <= text.len());
    let _ = scan::nesting(text);
    let compact = layout::compacted(&Bytes::copy_from_slice(text), root);
    assert!(json::check(&compact).is_ok());
    let indented = Layout {
        indent: Bytes::from_static(b" "),
        newline: Bytes::from_static(b"\n"),
        bytes_max: BYTES_MAX,
        ..Layout::default()
    };
    let mut laid_out = Vec::new();
    if indented.write(text, root, 0, &mut laid_out).is_ok() {
        assert!(json::check(&laid_out).is_ok());
    }
    assert!(compare::equal(scan::value(text, root), &compact, compare::Numbers::ByKind));
    if let Ok(merged) = merge::merged(text, text, BYTES_MAX) {
        assert!(json::check(&merged).is_ok());
    }
});
