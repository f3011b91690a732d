//! Text that the guest chose, made harmless: bounded, and free of what a terminal or an editor would obey. Pure.
//!
//! Data comes from events and from servers; it goes into the log (as JSON) and onto terminals (as plain text).

use std::fmt::Write as _;

/// Longest string that is kept in a log line, bytes as JSON writes them. A host name has at most 253; rules and
/// reasons stay well below. More is a guest that wants to fill the disk.
pub const MAX_STRING: usize = 512;

/// Whether a character can move the cursor, change colours, reorder the text around it or hide itself.
pub fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// `text` for a terminal: hostile characters as `\u{..}`, at most `most` characters, with an ellipsis where it
/// was cut.
pub fn printable(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(most.saturating_mul(4)));
    let mut used = 0;
    for c in text.chars() {
        let piece = if is_hostile(c) { c.escape_unicode().to_string() } else { c.to_string() };
        let width = piece.chars().count();
        if used + width > most {
            while used + 1 > most && out.pop().is_some() {
                used -= 1;
            }
            out.push('…');
            return out;
        }
        used += width;
        out.push_str(&piece);
    }
    out
}

/// The same, and never cut: for what somebody agrees to.
pub fn harmless(text: &str) -> String {
    printable(text, usize::MAX)
}

/// A JSON text with every string in it cut at [`MAX_STRING`] bytes (marked `…[+N]`, N being the bytes left out)
/// and hostile characters written as `\u` escapes. `json` must be valid JSON, as `serde_json` writes it.
pub fn bounded_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut in_string = false;
    let mut kept = 0;
    let mut dropped = 0;
    let mut chars = json.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if !in_string {
            in_string = c == '"';
            (kept, dropped) = (0, 0);
            out.push(c);
            continue;
        }
        if c == '"' {
            if dropped > 0 {
                let _ = write!(out, "…[+{dropped}]");
            }
            out.push(c);
            in_string = false;
            continue;
        }
        // One unit: a character, or an escape with everything that belongs to it.
        let mut end = at + c.len_utf8();
        if c == '\\' {
            let digits = match chars.next() {
                Some((_, 'u')) => 4,
                Some(_) | None => 0,
            };
            end += 1 + digits;
            while chars.peek().is_some_and(|(next, _)| *next < end) {
                chars.next();
            }
        }
        let unit = json.get(at..end).unwrap_or("");
        let mut units = [0; 2];
        let escaped: String = if c != '\\' && is_hostile(c) {
            c.encode_utf16(&mut units).iter().fold(String::new(), |mut all, unit| {
                let _ = write!(all, "\\u{unit:04x}");
                all
            })
        } else {
            unit.to_owned()
        };
        if dropped > 0 || kept + escaped.len() > MAX_STRING {
            dropped += unit.len();
        } else {
            kept += escaped.len();
            out.push_str(&escaped);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn through(text: &str) -> String {
        let json = serde_json::to_string(&serde_json::json!({ "a": text })).unwrap();
        let value: serde_json::Value = serde_json::from_str(&bounded_json(&json)).unwrap();
        value["a"].as_str().unwrap().to_owned()
    }

    #[test]
    fn json_strings_keep_their_meaning() {
        for text in
            ["", "plain", "a\"b\\c", "\r\n\t\0", "\u{1b}[31mred", "ümlaut 💥", "a\u{202e}b\u{9b}c\u{7f}"]
        {
            assert_eq!(through(text), text);
        }
    }

    #[test]
    fn nothing_hostile_is_left_in_json() {
        let json =
            bounded_json(&serde_json::to_string("\u{9b}31m\u{202e}\u{7f}\u{e0041}\r\n\u{1b}[0m").unwrap());
        assert!(json.is_ascii(), "{json}");
        assert!(!json.chars().any(is_hostile));
    }

    #[test]
    fn long_strings_are_cut_between_characters_and_say_so() {
        let cut = through(&"é".repeat(1000));
        assert_eq!(cut, format!("{}…[+{}]", "é".repeat(256), 2000 - 512));
        let cut = through(&"\u{1}".repeat(1000));
        assert!(cut.starts_with('\u{1}') && cut.contains("…[+"), "{cut}");
        assert_eq!(through(&"a".repeat(MAX_STRING)), "a".repeat(MAX_STRING));
    }

    #[test]
    fn terminals_get_plain_text() {
        assert_eq!(printable("a\u{1b}[2Jb", 80), "a\\u{1b}[2Jb");
        assert_eq!(printable("one two three", 7), "one tw…");
        assert_eq!(printable("exactly", 7), "exactly");
        assert_eq!(printable("a\nb", 80), "a\\u{a}b");
    }
}
