//! Messages of the kinds that mail software stumbles over. All lines end in CRLF.

/// A plain message, an 8-bit one, one with an attachment, one with lines that start with a dot, and one with a line
/// of 5,000 octets.
pub fn sample_messages() -> Vec<Vec<u8>> {
    vec![plain(), eight_bit(), with_attachment(), dotted(), long_line()]
}

/// A plain message of exactly so many octets, or of the least possible number if that is more.
pub fn sample_message(octets: usize) -> Vec<u8> {
    let mut message = header("Measured", "Content-Type: text/plain; charset=us-ascii\r\n").into_bytes();
    let line = b"The quick brown fox jumps over the lazy dog, and again it does so, 72.\r\n";
    while message.len() + line.len() <= octets {
        message.extend_from_slice(line);
    }
    // A rest of one octet cannot be a line by itself.
    let rest = octets.saturating_sub(message.len());
    if rest > 0 {
        let text = rest.saturating_sub(2);
        message.extend(std::iter::repeat_n(b'x', text));
        message.extend_from_slice(&b"\r\n"[2 - rest.min(2)..]);
    }
    message
}

fn header(subject: &str, mime: &str) -> String {
    let id: String = subject.chars().filter(char::is_ascii_alphanumeric).collect();
    format!(
        "Received: from mail.example.org (192.0.2.25) by FR3P281CA0157.outlook.office365.com\r\n\
         \twith Microsoft SMTP Server; Tue, 1 Sep 2026 10:11:12 +0000\r\n\
         From: \"Carol, Accounts\" <carol@example.org>\r\n\
         To: Alice <alice@example.com>\r\n\
         Subject: {subject}\r\n\
         Date: Tue, 1 Sep 2026 10:11:10 +0000\r\n\
         Message-ID: <{id}.20260901@example.org>\r\n\
         MIME-Version: 1.0\r\n\
         {mime}\r\n"
    )
}

fn plain() -> Vec<u8> {
    let header =
        header("Monthly report", "Content-Type: text/plain; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n");
    format!("{header}Hello Alice,\r\n\r\nthe report is ready.\r\n\r\n-- \r\nCarol\r\n").into_bytes()
}

/// ISO 8859-1: not valid UTF-8.
fn eight_bit() -> Vec<u8> {
    let mime = "Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n";
    let mut message = header("=?iso-8859-1?Q?Gr=FC=DFe_aus_K=F6ln?=", mime).into_bytes();
    message.extend_from_slice(b"Sch\xf6ne Gr\xfc\xdfe aus K\xf6ln.\r\n");
    message
}

fn with_attachment() -> Vec<u8> {
    use base64::Engine as _;

    let octets: Vec<u8> = (0..2_000_u32).map(|n| u8::try_from(n * 7 % 256).unwrap_or(0)).collect();
    let encoded = base64::engine::general_purpose::STANDARD.encode(octets);
    let wrapped: String =
        encoded.as_bytes().chunks(76).map(|line| format!("{}\r\n", String::from_utf8_lossy(line))).collect();
    let header = header("Invoice 4711", "Content-Type: multipart/mixed; boundary=\"=_part_4711\"\r\n");
    format!(
        "{header}This is a multi-part message in MIME format.\r\n\
         --=_part_4711\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\
         \r\n\
         Please find the invoice over 1.200 € attached.\r\n\
         --=_part_4711\r\n\
         Content-Type: application/pdf; name=\"invoice.pdf\"\r\n\
         Content-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"invoice.pdf\"\r\n\
         \r\n\
         {wrapped}\
         --=_part_4711--\r\n"
    )
    .into_bytes()
}

fn dotted() -> Vec<u8> {
    let header = header("Dots", "Content-Type: text/plain; charset=us-ascii\r\n");
    format!("{header}.\r\n..\r\n.hidden\r\n...\r\nthe end.\r\n.\r\n").into_bytes()
}

/// Longer than the 998 octets of RFC 5322, as scanners and newsletters send it.
fn long_line() -> Vec<u8> {
    let header = header("Long line", "Content-Type: text/html; charset=us-ascii\r\n");
    format!("{header}<p>\r\n{}\r\n</p>\r\n", "0123456789".repeat(500)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_ends_in_crlf() {
        for message in sample_messages() {
            assert!(message.ends_with(b"\r\n"));
            for line in message.split_inclusive(|octet| *octet == b'\n') {
                assert!(line.ends_with(b"\r\n"));
                assert!(!line[..line.len() - 2].contains(&b'\r'));
            }
        }
    }

    #[test]
    fn the_kinds_are_there() {
        let messages = sample_messages();
        let has = |needle: &[u8]| messages.iter().any(|m| m.windows(needle.len()).any(|window| window == needle));
        assert!(has(b"\r\n.\r\n") && has(b"\r\n..\r\n") && has(b"base64\r\n"));
        assert!(messages.iter().any(|message| std::str::from_utf8(message).is_err()));
        let line = messages.iter().flat_map(|message| message.split(|octet| *octet == b'\n')).map(<[u8]>::len).max();
        assert_eq!(line, Some(5_001));
    }

    #[test]
    fn a_measured_message_has_its_size() {
        for octets in [1_000, 1_001, 1_002, 1_073, 30_000] {
            assert_eq!(sample_message(octets).len(), octets);
        }
    }
}
