//! Text of others made harmless for a terminal.
//!
//! Whatever a zone or another user wrote may hold escape sequences that move the cursor, rewrite what stands
//! above or answer as if typed, and bidirectional controls that show a text in another order than it has.

/// Whether a terminal or a reader would be led astray by this character.
fn deceives(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'               // C0, DEL, C1
        | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' // soft hyphen, Arabic letter mark, invisible joiners
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// One line: every control character is written as an escape, line feeds and tabs too.
pub(crate) fn line(text: &str) -> String {
    escaped(text, |_| false)
}

/// Several lines: line feeds and tabs stay.
pub(crate) fn text(text: &str) -> String {
    escaped(text, |c| c == '\n' || c == '\t')
}

/// A message: what follows a line feed is indented, so that it cannot pass for a message of its own.
pub(crate) fn message(message: &str) -> String {
    text(message.trim_end()).replace('\n', "\n  ")
}

/// JSON: what its writer leaves as it is (C1, bidirectional controls) as `\u` escapes, which mean the same.
pub(crate) fn json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c != '\n' && deceives(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if deceives(c) && !keep(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_steers_it() {
        assert_eq!(line("a\x1b[2Jb\r\n\u{9b}31m"), "a\\u{1b}[2Jb\\r\\n\\u{9b}31m");
        assert_eq!(line("abc\u{202e}txt.exe"), "abc\\u{202e}txt.exe");
        assert_eq!(line("Zürich 東京"), "Zürich 東京");
    }

    #[test]
    fn a_line_of_anothers_message_is_no_message_of_ours() {
        assert_eq!(message("no\nzonectl: zone a: halted\n"), "no\n  zonectl: zone a: halted");
    }

    #[test]
    fn json_stays_the_same_document() {
        let value = serde_json::json!({ "name": "a\u{202e}\u{9b}\u{e0041}\x1b" });
        let text = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.contains(|c: char| deceives(c) && c != '\n'), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
