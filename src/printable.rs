//! How are a peer's words put into a log line? Printable, and cut to a length.

use std::error::Error;

/// A peer's words, fit for a log line: control characters replaced, at most 300 characters.
pub(crate) fn printable(said: &[u8]) -> String {
    const MOST: usize = 300;
    // Four octets a character at most: what is cut off is not looked at.
    let said = &said[..said.len().min(4 * MOST)];
    String::from_utf8_lossy(said).chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat the source in their own text.
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn control_characters_and_length() {
        assert_eq!(printable(b"NO\x1b[2J failed\r\n\xff"), "NO\u{fffd}[2J failed\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(printable(&[b'x'; 5000]).len(), 300);
    }
}
