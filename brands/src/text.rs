//! Text that comes from a root or a zone, made fit for a terminal.

/// Longest text kept, in characters.
const MAX_CHARS: usize = 256;

/// The text with everything a terminal would act on (control, direction, invisible characters) written as an
/// escape, cut after 256 characters.
pub fn escape(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(MAX_CHARS) {
        match c {
            // escape_debug writes these its own way too, but a terminal does nothing with them.
            '"' | '\'' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    if text.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal() {
        assert_eq!(escape("Debian \"é\" \\ 'x'"), "Debian \"é\" \\ 'x'");
        assert_eq!(escape("a\x1b[2J\r\n\u{202e}\u{85}"), "a\\u{1b}[2J\\r\\n\\u{202e}\\u{85}");
        assert_eq!(escape(&"x".repeat(300)).chars().count(), 257);
    }
}
