//! Characters that deceive readers: they are invisible, or make a text look like another one.

/// Whether a character controls the layout of a text instead of being a part of it: control characters, line and
/// paragraph separators, and those that reverse the direction of writing. In a log, it could forge lines, and in a
/// name, another name.
pub fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether at least one character is visible. Characters that renderers ignore (`Default_Ignorable_Code_Point`) may be
/// within a name, because scripts and emoji need some of them, but a name can't consist of them alone.
pub fn is_visible(text: &str) -> bool {
    text.chars().any(|c| !c.is_whitespace() && !is_control(c) && !is_ignorable(c))
}

fn is_ignorable(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200d}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The text with its control characters escaped as in Rust (`\n`, `\u{202e}`), except those for which `kept` returns
/// true.
pub fn escaped(text: &str, kept: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_control(c) && !kept(c) {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_character_has_to_be_seen() {
        for seen in ["a", "größe", "\u{200b}a", "می\u{200c}خواهم", "👩\u{200d}💻"] {
            assert!(is_visible(seen), "{seen}");
        }
        for unseen in
            ["", " ", "\u{200b}", "\u{feff}\u{200d}", "\u{3164}", "\u{2800}", "\u{e0061}", "\u{202e}"]
        {
            assert!(!is_visible(unseen), "{unseen:?}");
        }
    }

    #[test]
    fn controls_are_escaped() {
        assert_eq!(
            escaped("a\nb\r\u{1b}[1m\u{202e}c\u{2028}ä", |_| false),
            r"a\nb\r\u{1b}[1m\u{202e}c\u{2028}ä"
        );
        assert_eq!(escaped("a\tb\n", |c| c == '\t'), "a\tb\\n");
    }
}
