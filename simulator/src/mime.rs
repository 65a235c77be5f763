//! The parts of a message, as IMAP's ENVELOPE, BODYSTRUCTURE and sections show them (RFC 5322, 2045, 2046, 2183).
//!
//! Nothing is decoded. What cannot be understood is taken for plain text, as RFC 2045 5.2 wants it.

use std::ops::Range;

use crate::imap::syntax::{nstring, string};

/// A message, or a part of one. Ranges are of the whole message.
#[derive(Debug)]
pub(crate) struct Entity {
    /// With the blank line.
    pub(crate) header: Range<usize>,
    pub(crate) body: Range<usize>,
    media: Media,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Single,
    Multipart(Vec<Entity>),
    Message(Box<Entity>),
}

/// A type with its parameters, or a disposition. Names are in upper case.
#[derive(Debug, Default, PartialEq, Eq)]
struct Media {
    kind: String,
    subtype: String,
    parameters: Vec<(String, Vec<u8>)>,
}

impl Entity {
    pub(crate) fn parse(data: &[u8]) -> Self {
        Self::within(data, 0..data.len(), 0)
    }

    /// RFC 3501 6.4.5: parts are counted from 1; a message that is not multipart has part 1 only.
    pub(crate) fn part(&self, path: &[usize]) -> Option<&Self> {
        let Some((number, rest)) = path.split_first() else { return Some(self) };
        let chosen = match &self.content {
            Content::Multipart(parts) => parts.get(number.checked_sub(1)?)?,
            _ if *number == 1 => self,
            _ => return None,
        };
        match &chosen.content {
            _ if rest.is_empty() => Some(chosen),
            Content::Multipart(_) => chosen.part(rest),
            Content::Message(message) => message.part(rest),
            Content::Single => None,
        }
    }

    /// The message that a message/rfc822 part holds.
    pub(crate) fn message(&self) -> Option<&Self> {
        match &self.content {
            Content::Message(message) => Some(message),
            _ => None,
        }
    }

    fn within(data: &[u8], range: Range<usize>, depth: usize) -> Self {
        let start = range.start;
        let split = start + header_end(&data[range.clone()]);
        let (header, body) = (start..split, split..range.end);
        let media = values(&data[header.clone()], b"Content-Type").next().and_then(|value| Media::parse(&value));
        let media = media.filter(|media| !media.subtype.is_empty()).unwrap_or_else(Media::plain);
        let content = match (media.kind.as_str(), media.subtype.as_str()) {
            _ if depth >= DEEPEST => Content::Single,
            ("MULTIPART", _) => {
                let boundary = media.parameter("BOUNDARY").unwrap_or_default();
                let parts = split_parts(data, &body, boundary);
                match parts.is_empty() {
                    true => Content::Single,
                    false => {
                        Content::Multipart(parts.into_iter().map(|part| Self::within(data, part, depth + 1)).collect())
                    }
                }
            }
            ("MESSAGE", "RFC822") => Content::Message(Box::new(Self::within(data, body.clone(), depth + 1))),
            _ => Content::Single,
        };
        Self { header, body, media, content }
    }
}

/// Where the body begins: behind the first blank line.
pub(crate) fn header_end(data: &[u8]) -> usize {
    let mut end = 0;
    for line in data.split_inclusive(|octet| *octet == b'\n') {
        end += line.len();
        if line == b"\r\n" || line == b"\n" {
            break;
        }
    }
    end
}

/// The fields of these names, or all but these, as they stand; with a blank line behind them.
pub(crate) fn fields(header: &[u8], names: &[Vec<u8>], but: bool) -> Vec<u8> {
    let mut chosen = Vec::new();
    for field in field_ranges(header) {
        let field = &header[field];
        let listed = names.iter().any(|name| field_name(field).eq_ignore_ascii_case(name));
        if listed != but {
            chosen.extend_from_slice(field);
        }
    }
    chosen.extend_from_slice(b"\r\n");
    chosen
}

/// The values of the fields of this name, unfolded.
pub(crate) fn values<'a>(header: &'a [u8], name: &'a [u8]) -> impl Iterator<Item = Vec<u8>> + 'a {
    field_ranges(header).into_iter().map(|range| &header[range]).filter_map(move |field| {
        let (found, value) = field.split_at(field.iter().position(|octet| *octet == b':')?);
        found.trim_ascii().eq_ignore_ascii_case(name).then(|| {
            let unfolded: Vec<u8> = value[1..].iter().copied().filter(|octet| !b"\r\n".contains(octet)).collect();
            unfolded.trim_ascii().to_vec()
        })
    })
}

/// ENVELOPE of RFC 3501 7.4.2.
pub(crate) fn envelope(header: &[u8]) -> Vec<u8> {
    let value = |name: &str| values(header, name.as_bytes()).next();
    let from = value("From");
    let mut parts = vec![nstring(value("Date").as_deref()), nstring(value("Subject").as_deref())];
    parts.push(addresses(from.as_deref()));
    // Sender and Reply-To default to From.
    for name in ["Sender", "Reply-To"] {
        parts.push(addresses(value(name).or_else(|| from.clone()).as_deref()));
    }
    for name in ["To", "Cc", "Bcc"] {
        parts.push(addresses(value(name).as_deref()));
    }
    parts.push(nstring(value("In-Reply-To").as_deref()));
    parts.push(nstring(value("Message-ID").as_deref()));
    parenthesized(&parts)
}

/// BODYSTRUCTURE of RFC 3501 7.4.2, or BODY without the extension data.
pub(crate) fn structure(entity: &Entity, data: &[u8], extended: bool) -> Vec<u8> {
    let header = &data[entity.header.clone()];
    let value = |name: &str| values(header, name.as_bytes()).next();
    let media = &entity.media;
    let disposition = || match value("Content-Disposition").and_then(|value| Media::parse(&value)) {
        Some(disposition) => parenthesized(&[string(disposition.kind.as_bytes()), disposition.parameters()]),
        None => nstring(None),
    };
    if let Content::Multipart(parts) = &entity.content {
        let mut fields = vec![parts.iter().flat_map(|part| structure(part, data, extended)).collect()];
        fields.push(string(media.subtype.as_bytes()));
        if extended {
            fields.extend([media.parameters(), disposition(), nstring(None), nstring(None)]);
        }
        return parenthesized(&fields);
    }
    let body = &data[entity.body.clone()];
    let lines = || body.iter().filter(|octet| **octet == b'\n').count().to_string().into_bytes();
    let encoding = value("Content-Transfer-Encoding").unwrap_or_else(|| b"7BIT".to_vec());
    let mut fields = vec![
        string(media.kind.as_bytes()),
        string(media.subtype.as_bytes()),
        media.parameters(),
        nstring(value("Content-ID").as_deref()),
        nstring(value("Content-Description").as_deref()),
        string(&encoding.to_ascii_uppercase()),
        body.len().to_string().into_bytes(),
    ];
    match &entity.content {
        Content::Message(message) => {
            fields.extend([envelope(&data[message.header.clone()]), structure(message, data, extended), lines()]);
        }
        _ if media.kind == "TEXT" => fields.push(lines()),
        _ => {}
    }
    if extended {
        fields.extend([nstring(None), disposition(), nstring(None), nstring(None)]);
    }
    parenthesized(&fields)
}

impl Media {
    fn plain() -> Self {
        let charset = ("CHARSET".to_owned(), b"us-ascii".to_vec());
        Self { kind: "TEXT".to_owned(), subtype: "PLAIN".to_owned(), parameters: vec![charset] }
    }

    /// `type ["/" subtype] *(";" attribute "=" value)`, values bare or quoted.
    fn parse(value: &[u8]) -> Option<Self> {
        let mut pieces = split_outside_quotes(value, b';').into_iter();
        let first = String::from_utf8_lossy(pieces.next()?.trim_ascii()).to_ascii_uppercase();
        let (kind, subtype) = first.split_once('/').unwrap_or((&first, ""));
        let token = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic());
        let (kind, subtype) = (kind.trim().to_owned(), subtype.trim().to_owned());
        if !token(&kind) {
            return None;
        }
        let parameters = pieces
            .filter_map(|piece| {
                let at = piece.iter().position(|octet| *octet == b'=')?;
                let name = String::from_utf8_lossy(piece[..at].trim_ascii()).to_ascii_uppercase();
                token(&name).then(|| (name, unquote(piece[at + 1..].trim_ascii())))
            })
            .collect();
        Some(Self { kind, subtype, parameters })
    }

    fn parameter(&self, name: &str) -> Option<&[u8]> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
    }

    /// `body-fld-param`.
    fn parameters(&self) -> Vec<u8> {
        if self.parameters.is_empty() {
            return nstring(None);
        }
        let words: Vec<Vec<u8>> =
            self.parameters.iter().flat_map(|(name, value)| [string(name.as_bytes()), string(value)]).collect();
        parenthesized(&words)
    }
}

/// RFC 2046 5.1.1. The CRLF ahead of a boundary belongs to the boundary.
fn split_parts(data: &[u8], body: &Range<usize>, boundary: &[u8]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    if boundary.is_empty() {
        return parts;
    }
    let mut start = None;
    let mut at = body.start;
    for line in data[body.clone()].split_inclusive(|octet| *octet == b'\n') {
        let delimiter =
            line.strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary)).map(<[u8]>::trim_ascii_end);
        let ends = delimiter == Some(b"--");
        if ends || delimiter == Some(b"") {
            if let Some(start) = start {
                parts.push(start..without_line_end(data, start, at));
            }
            start = Some(at + line.len());
        }
        at += line.len();
        if ends {
            return parts;
        }
    }
    // Cut short: the last part goes to the end.
    if let Some(start) = start {
        parts.push(start..body.end);
    }
    parts
}

fn without_line_end(data: &[u8], start: usize, end: usize) -> usize {
    let part = &data[start..end];
    let part = part.strip_suffix(b"\n").unwrap_or(part);
    start + part.strip_suffix(b"\r").unwrap_or(part).len()
}

/// Each field with its continuation lines.
fn field_ranges(header: &[u8]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    for line in header.split_inclusive(|octet| *octet == b'\n') {
        let end = at + line.len();
        match (line.first(), ranges.last_mut()) {
            (Some(b' ' | b'\t'), Some(field)) => field.end = end,
            _ if line == b"\r\n" || line == b"\n" => break,
            _ => ranges.push(at..end),
        }
        at = end;
    }
    ranges
}

fn field_name(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|octet| *octet == b':').unwrap_or(field.len());
    field[..end].trim_ascii()
}

/// A list of addresses, or NIL. Groups lose their name, and comments are taken for names where there is no other.
fn addresses(value: Option<&[u8]>) -> Vec<u8> {
    let Some(value) = value else { return nstring(None) };
    let list: Vec<u8> = split_outside_quotes(value, b',').into_iter().filter_map(address).flatten().collect();
    if list.is_empty() { nstring(None) } else { parenthesized(&[list]) }
}

/// `(name adl mailbox host)`.
fn address(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii().trim_ascii_end();
    let (name, bare) = match text.iter().rposition(|octet| *octet == b'<') {
        Some(at) => {
            let rest = &text[at + 1..];
            let end = rest.iter().position(|octet| *octet == b'>').unwrap_or(rest.len());
            (unquote(text[..at].trim_ascii()), &rest[..end])
        }
        None => match text.iter().position(|octet| *octet == b'(') {
            Some(at) => {
                let comment = &text[at + 1..];
                let end = comment.iter().rposition(|octet| *octet == b')').unwrap_or(comment.len());
                (comment[..end].to_vec(), text[..at].trim_ascii())
            }
            None => (Vec::new(), text),
        },
    };
    let bare = bare.trim_ascii();
    if bare.is_empty() {
        return None;
    }
    let (local, host) = match bare.iter().rposition(|octet| *octet == b'@') {
        Some(at) => (&bare[..at], &bare[at + 1..]),
        None => (bare, b"".as_slice()),
    };
    let name = (!name.is_empty()).then_some(name);
    Some(parenthesized(&[nstring(name.as_deref()), nstring(None), string(local), string(host)]))
}

/// Splits where the separator stands neither in a quoted string nor in a comment.
fn split_outside_quotes(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let (mut start, mut quoted, mut depth, mut escaped) = (0, false, 0_usize, false);
    for (at, octet) in text.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted || depth > 0 => escaped = true,
            b'"' if depth == 0 => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            octet if *octet == separator && !quoted && depth == 0 => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}

fn unquote(text: &[u8]) -> Vec<u8> {
    let Some(inner) = text.strip_prefix(b"\"") else { return text.to_vec() };
    let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
    let mut plain = Vec::with_capacity(inner.len());
    let mut octets = inner.iter();
    while let Some(octet) = octets.next() {
        match octet {
            b'\\' => plain.extend(octets.next()),
            other => plain.push(*other),
        }
    }
    plain
}

fn parenthesized(words: &[Vec<u8>]) -> Vec<u8> {
    let mut text = vec![b'('];
    text.extend(words.join(&b' '));
    text.push(b')');
    text
}

/// Deeper than any honest message, and shallow enough for the stack.
const DEEPEST: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn structure_of(message: &[u8]) -> String {
        String::from_utf8(structure(&Entity::parse(message), message, true)).unwrap()
    }

    #[test]
    fn an_envelope_has_ten_fields() {
        let header =
            b"Date: Tue, 1 Sep 2026 10:11:10 +0000\r\nSubject: a \"b\"\r\nFrom: \"Carol, A\" <carol@example.org>\r\n\
                       To: bob@example.com (Bob), <alice@example.com>\r\nMessage-ID: <1@x>\r\n\r\n";
        assert_eq!(
            String::from_utf8(envelope(header)).unwrap(),
            "(\"Tue, 1 Sep 2026 10:11:10 +0000\" \"a \\\"b\\\"\" \
             ((\"Carol, A\" NIL \"carol\" \"example.org\")) ((\"Carol, A\" NIL \"carol\" \"example.org\")) \
             ((\"Carol, A\" NIL \"carol\" \"example.org\")) \
             ((\"Bob\" NIL \"bob\" \"example.com\")(NIL NIL \"alice\" \"example.com\")) NIL NIL NIL \"<1@x>\")"
        );
    }

    #[test]
    fn structure_of_plain_text() {
        assert_eq!(
            structure_of(b"Subject: x\r\n\r\none\r\ntwo\r\n"),
            "(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"us-ascii\") NIL NIL \"7BIT\" 10 2 NIL NIL NIL NIL)"
        );
    }

    #[test]
    fn structure_of_a_multipart() {
        let message =
            b"Content-Type: multipart/mixed; boundary=\"b b\"\r\n\r\npreamble\r\n--b b\r\n\r\none\r\n--b b\r\n\
            Content-Type: application/pdf; name=x.pdf\r\nContent-Transfer-Encoding: base64\r\n\
            Content-Disposition: attachment; filename=\"x.pdf\"\r\n\r\nAAAA\r\n--b b--\r\nepilogue\r\n";
        assert_eq!(
            structure_of(message),
            "((\"TEXT\" \"PLAIN\" (\"CHARSET\" \"us-ascii\") NIL NIL \"7BIT\" 3 0 NIL NIL NIL NIL)\
             (\"APPLICATION\" \"PDF\" (\"NAME\" \"x.pdf\") NIL NIL \"BASE64\" 4 NIL \
             (\"ATTACHMENT\" (\"FILENAME\" \"x.pdf\")) NIL NIL) \
             \"MIXED\" (\"BOUNDARY\" \"b b\") NIL NIL NIL)"
        );
        let entity = Entity::parse(message);
        assert_eq!(&message[entity.part(&[2]).unwrap().body.clone()], b"AAAA");
        assert!(entity.part(&[3]).is_none() && entity.part(&[0]).is_none() && entity.part(&[1, 2]).is_none());
    }

    #[test]
    fn a_message_within_a_message() {
        let message = b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntext\r\n";
        let text = structure_of(message);
        assert!(text.starts_with("(\"MESSAGE\" \"RFC822\" NIL NIL NIL \"7BIT\" 24 (NIL \"inner\" "), "{text}");
        let entity = Entity::parse(message);
        assert_eq!(&message[entity.part(&[1]).unwrap().body.clone()], b"Subject: inner\r\n\r\ntext\r\n");
        assert_eq!(&message[entity.part(&[1, 1]).unwrap().body.clone()], b"text\r\n");
    }

    #[test]
    fn rubbish_is_plain_text() {
        for header in ["", "Content-Type: \r\n", "Content-Type: multipart/mixed\r\n", "Content-Type: ;;;=\r\n"] {
            let message = format!("{header}\r\nx");
            assert!(!structure_of(message.as_bytes()).is_empty());
        }
        assert!(structure_of(b"Content-Type: x\r\n\r\n").starts_with("(\"TEXT\" \"PLAIN\""));
    }

    #[test]
    fn nesting_ends_somewhere() {
        let message = "Content-Type: message/rfc822\r\n\r\n".repeat(1000);
        assert!(!structure_of(message.as_bytes()).is_empty());
    }
}
