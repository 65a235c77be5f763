//! The pieces that IMAP commands are made of (RFC 3501 9).

use std::ops::RangeInclusive;

/// Reads a command's arguments from left to right. What returns `None` or false has consumed nothing that matters: the
/// command is malformed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parser<'a> {
    rest: &'a [u8],
}

impl<'a> Parser<'a> {
    pub(crate) fn new(arguments: &'a [u8]) -> Self {
        Self { rest: arguments }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(crate) fn eat(&mut self, octet: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if *first == octet => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// One space or more: clients are not that exact.
    pub(crate) fn space(&mut self) -> bool {
        let found = self.eat(b' ');
        while self.eat(b' ') {}
        found
    }

    /// Octets up to the next that ends a word. `]` is a part of it: in the keywords of FETCH it is looked for by name.
    pub(crate) fn atom(&mut self) -> Option<&'a str> {
        self.take(|octet| octet > b' ' && octet < 0x7f && !b"(){\"\\".contains(&octet))
    }

    /// A keyword or number of FETCH, up to the bracket.
    pub(crate) fn word(&mut self) -> Option<&'a str> {
        self.take(|octet| octet.is_ascii_alphanumeric() || octet == b'.')
    }

    /// `flag = "\" atom / atom`.
    pub(crate) fn flag(&mut self) -> Option<&'a str> {
        self.take(|octet| octet > b' ' && octet < 0x7f && !b"(){\"".contains(&octet))
    }

    /// `astring = 1*ASTRING-CHAR / string`. A pattern of LIST passes for one.
    pub(crate) fn astring(&mut self) -> Option<Vec<u8>> {
        match self.peek()? {
            b'"' => self.quoted(),
            b'{' => self.literal().map(<[u8]>::to_vec),
            _ => self.atom().map(|atom| atom.as_bytes().to_vec()),
        }
    }

    /// An [`astring`](Self::astring) that names a folder.
    pub(crate) fn mailbox(&mut self) -> Option<String> {
        self.astring().map(|name| String::from_utf8_lossy(&name).into_owned())
    }

    /// `quoted = DQUOTE *QUOTED-CHAR DQUOTE`, in which only `\"` and `\\` are escaped.
    pub(crate) fn quoted(&mut self) -> Option<Vec<u8>> {
        if !self.eat(b'"') {
            return None;
        }
        let mut text = Vec::new();
        loop {
            let (first, rest) = self.rest.split_first()?;
            self.rest = rest;
            match first {
                b'"' => return Some(text),
                b'\\' => {
                    let (escaped, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    text.push(*escaped);
                }
                other => text.push(*other),
            }
        }
    }

    /// `{n}` or `{n+}`, CRLF, n octets.
    pub(crate) fn literal(&mut self) -> Option<&'a [u8]> {
        let end = self.rest.iter().position(|octet| *octet == b'\n')?;
        let literal = Literal::at_end_of(self.rest.get(..end)?.strip_suffix(b"\r")?)?;
        let start = end + 1;
        let data = self.rest.get(start..start.checked_add(literal.octets)?)?;
        self.rest = &self.rest[start + literal.octets..];
        Some(data)
    }

    pub(crate) fn number(&mut self) -> Option<u32> {
        self.take(|octet| octet.is_ascii_digit())?.parse().ok()
    }

    /// `sequence-set = (seq-number / seq-range) *("," sequence-set)`.
    pub(crate) fn sequence_set(&mut self) -> Option<SequenceSet> {
        let text = self.take(|octet| octet.is_ascii_digit() || b"*:,".contains(&octet))?;
        let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().filter(|n| *n > 0).map(Some) };
        let range = |text: &str| match text.split_once(':') {
            Some((from, to)) => Some((number(from)?, number(to)?)),
            None => number(text).map(|one| (one, one)),
        };
        text.split(',').map(range).collect::<Option<_>>().map(SequenceSet)
    }

    /// `"(" [item *(SP item)] ")"`.
    pub(crate) fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        if !self.eat(b'(') {
            return None;
        }
        let mut items = Vec::new();
        self.space();
        while !self.eat(b')') {
            items.push(item(self)?);
            if !self.space() && self.peek() != Some(b')') {
                return None;
            }
        }
        Some(items)
    }

    fn take(&mut self, belongs: impl Fn(u8) -> bool) -> Option<&'a str> {
        let end = self.rest.iter().position(|octet| !belongs(*octet)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        std::str::from_utf8(taken).ok().filter(|text| !text.is_empty())
    }
}

/// The announcement of a literal: RFC 3501 4.3, RFC 7888.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Literal {
    pub(crate) octets: usize,
    pub(crate) synchronizing: bool,
}

impl Literal {
    /// Looks for `{n}` or `{n+}` at the end of a line.
    pub(crate) fn at_end_of(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"}")?;
        let start = line.iter().rposition(|octet| *octet == b'{')? + 1;
        let digits = &line[start..];
        let (digits, synchronizing) = match digits.strip_suffix(b"+") {
            Some(digits) => (digits, false),
            None => (digits, true),
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let octets = std::str::from_utf8(digits).ok()?.parse().unwrap_or(usize::MAX);
        Some(Self { octets, synchronizing })
    }
}

/// Ranges of numbers, in which `None` is `*`: the largest in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SequenceSet(Vec<(Option<u32>, Option<u32>)>);

impl SequenceSet {
    pub(crate) fn contains(&self, number: u32, largest: u32) -> bool {
        self.ranges(largest).any(|range| range.contains(&number))
    }

    /// With `*` put in place, and the smaller end first.
    fn ranges(&self, largest: u32) -> impl Iterator<Item = RangeInclusive<u32>> {
        self.0.iter().map(move |(from, to)| {
            let (from, to) = (from.unwrap_or(largest), to.unwrap_or(largest));
            from.min(to)..=from.max(to)
        })
    }
}

/// `nstring`: NIL, quoted, or a literal where quoting does not do.
pub(crate) fn nstring(text: Option<&[u8]>) -> Vec<u8> {
    match text {
        None => b"NIL".to_vec(),
        Some(text) => string(text),
    }
}

/// `string`, as above.
pub(crate) fn string(text: &[u8]) -> Vec<u8> {
    if !text.iter().all(|octet| (b' '..0x7f).contains(octet)) {
        let mut literal = format!("{{{}}}\r\n", text.len()).into_bytes();
        literal.extend_from_slice(text);
        return literal;
    }
    let mut quoted = vec![b'"'];
    for octet in text {
        if b"\"\\".contains(octet) {
            quoted.push(b'\\');
        }
        quoted.push(*octet);
    }
    quoted.push(b'"');
    quoted
}

/// A folder's name, quoted only where it must be, as Exchange does.
pub(crate) fn mailbox(name: &str) -> String {
    let plain =
        !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"/.-_&+,".contains(&octet));
    if plain { name.to_owned() } else { String::from_utf8_lossy(&string(name.as_bytes())).into_owned() }
}

/// RFC 5322 `field-name`: printable, without the colon; and nothing that would have to be quoted in a label.
pub(crate) fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|octet| octet.is_ascii_graphic() && !b":()\"\\[]{}".contains(octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_in_their_three_forms() {
        let mut parser = Parser::new(b"atom \"a \\\"quoted\\\" \\\\ one\" {4}\r\nx\r\ny {2+}\r\nok");
        assert_eq!(parser.astring().unwrap(), b"atom");
        assert!(parser.space());
        assert_eq!(parser.astring().unwrap(), b"a \"quoted\" \\ one");
        assert!(parser.space());
        assert_eq!(parser.astring().unwrap(), b"x\r\ny");
        assert!(parser.space());
        assert_eq!(parser.astring().unwrap(), b"ok");
        assert!(parser.is_done());
    }

    #[test]
    fn literals_are_announced_at_the_end_of_a_line() {
        assert_eq!(Literal::at_end_of(b"a LOGIN {5}"), Some(Literal { octets: 5, synchronizing: true }));
        assert_eq!(Literal::at_end_of(b"a LOGIN {5+}"), Some(Literal { octets: 5, synchronizing: false }));
        for line in ["a LOGIN {5} x", "a LOGIN {}", "a LOGIN {+}", "a LOGIN {x}", "}", ""] {
            assert_eq!(Literal::at_end_of(line.as_bytes()), None, "{line}");
        }
        assert_eq!(Literal::at_end_of(b"{99999999999999999999}").unwrap().octets, usize::MAX);
    }

    #[test]
    fn sequence_sets() {
        let set = Parser::new(b"1,4:3,7:*").sequence_set().unwrap();
        let members: Vec<u32> = (1..=9).filter(|number| set.contains(*number, 9)).collect();
        assert_eq!(members, [1, 3, 4, 7, 8, 9]);
        // RFC 3501 6.4.8: `559:*` always includes the last one.
        assert!(Parser::new(b"559:*").sequence_set().unwrap().contains(9, 9));
        assert_eq!(Parser::new(b"0").sequence_set(), None);
        assert_eq!(Parser::new(b"1:").sequence_set(), None);
    }

    #[test]
    fn strings_are_quoted_or_counted() {
        assert_eq!(string(b"a \"b\" \\"), b"\"a \\\"b\\\" \\\\\"");
        assert_eq!(string(b"\xfc"), b"{1}\r\n\xfc");
        assert_eq!(nstring(None), b"NIL");
        assert_eq!(mailbox("Sent Items"), "\"Sent Items\"");
        assert_eq!(mailbox("INBOX"), "INBOX");
    }

    #[test]
    fn lists() {
        let mut parser = Parser::new(b"(\\Seen  $MDNSent) rest");
        assert_eq!(parser.list(Parser::flag), Some(vec!["\\Seen", "$MDNSent"]));
        assert!(parser.space());
        assert_eq!(parser.atom(), Some("rest"));
        assert_eq!(Parser::new(b"()").list(Parser::flag), Some(vec![]));
        assert_eq!(Parser::new(b"(a").list(Parser::flag), None);
    }
}
