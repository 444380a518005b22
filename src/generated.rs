//! Documents that are generated from declarations.

/// Fails if a document in `docs` does not agree with the declarations. With `LARDER_UPDATE_DOCS`, the document is
/// written first.
pub fn check_up_to_date(name: &str, made: &str) {
    let path = format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("LARDER_UPDATE_DOCS").is_some() {
        assert!(std::fs::write(&path, made).is_ok(), "{path} can't be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/{name} is not what the declarations say; run LARDER_UPDATE_DOCS=1 cargo test --lib up_to_date"
    );
}
