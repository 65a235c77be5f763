//! How are a peer's words put into a log line? Printable, and cut to a length.

use std::error::Error;

/// A peer's words, fit for a log line: letters, digits and what is printable in ASCII, at most 300 characters. What is long
/// and looks like base64 is cut out: a server that repeats the line that it did not understand repeats the token.
pub(crate) fn printable(said: &[u8]) -> String {
    const MOST: usize = 300;
    let of_base64 = |octet: &u8| octet.is_ascii_alphanumeric() || b"+/=-_.".contains(octet);
    let mut text = String::new();
    for run in said.chunk_by(|one, next| of_base64(one) == of_base64(next)) {
        if of_base64(&run[0]) && run.len() >= SHORTEST_SECRET {
            text.push_str("[redacted]");
        } else {
            let plain = |c: char| c.is_alphanumeric() || c == ' ' || c.is_ascii_graphic();
            text.extend(String::from_utf8_lossy(run).chars().map(|c| if plain(c) { c } else { '\u{fffd}' }));
        }
        if text.len() > 4 * MOST {
            break;
        }
    }
    text.chars().take(MOST).collect()
}

/// Octets. GUIDs, host names and request ids are shorter, tokens and their parts are longer.
const SHORTEST_SECRET: usize = 48;

/// An error of TLS with what mends the commonest one.
pub(crate) fn with_trust_advice(error: String) -> String {
    if error.contains("UnknownIssuer") {
        return error
            + " -- set ca_file to the issuer's certificate, if a TLS-inspecting proxy or a CA of your own is in between";
    }
    error
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
        assert_eq!(printable(&b"x ".repeat(2500)).len(), 300);
        assert_eq!(printable("a\u{2028}b\u{202e}\u{e9}".as_bytes()), "a\u{fffd}b\u{fffd}\u{e9}");
    }

    #[test]
    fn a_token_that_a_server_repeats_is_cut_out() {
        let echo = format!(
            "P1 BAD Unknown command: AUTHENTICATE XOAUTH2 {} [PROD.OUTLOOK.COM 2026-09-01]",
            "dXNl".repeat(500)
        );
        let shown = "P1 BAD Unknown command: AUTHENTICATE XOAUTH2 [redacted] [PROD.OUTLOOK.COM 2026-09-01]";
        assert_eq!(printable(echo.as_bytes()), shown);
    }
}
