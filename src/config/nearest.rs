//! Names that are almost the name of a setting.

use super::{SETTINGS, Setting};

/// The setting that is probably meant by an unknown name: at most two letters (in a short name, one) are different,
/// added or missing. Names are compared in lower case, with dashes.
pub fn nearest_setting(name: &str) -> Option<&'static str> {
    let distance_max = if name.len() < 5 { 1 } else { 2 };
    // nobody means one of these by a longer name
    if name.len() > 64 {
        return None;
    }
    SETTINGS
        .iter()
        .flat_map(Setting::names)
        .map(|known| (strsim::levenshtein(name, known), known))
        .filter(|(distance, _)| *distance <= distance_max)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognized_and_another_word_is_not() {
        for (name, meant) in [
            ("appendfysnc", Some("appendfsync")),
            ("log-level", Some("loglevel")),
            ("requirepas", Some("requirepass")),
            ("max-clients", Some("maxclients")),
            ("prot", None),
            ("ports", Some("port")),
            ("bnd", Some("bind")),
            ("host", None),
            ("path", None),
            ("name", None),
            ("password", None),
            ("version", None),
            ("test-seed", None),
            ("", None),
        ] {
            assert_eq!(nearest_setting(name), meant, "{name}");
        }
    }
}
