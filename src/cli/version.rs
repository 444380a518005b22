//! What `larder --version` says.

use crate::engine;

/// Version, commit and formats, a line each.
pub fn long() -> String {
    let formats: Vec<_> = engine::FORMATS.iter().map(|(what, format)| format!("{what} {format}")).collect();
    let commit = match env!("LARDER_BUILT_FROM") {
        "" => "unknown",
        commit => commit,
    };
    format!("{}\ncommit: {commit}\nformats: {}", env!("CARGO_PKG_VERSION"), formats.join(", "))
}

#[cfg(test)]
mod tests {
    /// The table in docs/FORMAT.md says how each format is opened, so it has to name the last ones.
    #[test]
    fn the_formats_are_those_of_the_document() {
        let document = include_str!("../../docs/FORMAT.md");
        for (what, format) in crate::engine::FORMATS {
            let (written, beyond) = match what {
                "data directory" => (format!("`larder data directory, format {format}`"), None),
                _ => (format!("| {what} {format} |"), Some(format!("| {what} {} |", format + 1))),
            };
            assert!(document.contains(&written), "{written}");
            assert!(beyond.is_none_or(|beyond| !document.contains(&beyond)), "{what}");
        }
        assert!(super::long().contains(concat!(env!("CARGO_PKG_VERSION"), "\ncommit: ")));
    }
}
