//! Which messages SEARCH finds (RFC 3501 6.4.4).

use super::syntax::{Parser, SequenceSet};
use crate::clock;
use crate::mailbox::{Flags, Message};
use crate::mime;

/// A condition.
#[derive(Debug)]
pub(crate) enum Key {
    All,
    None,
    Numbers(SequenceSet),
    Uids(SequenceSet),
    Flag(Flags),
    /// The name in any case, and text within its value; empty text asks whether the field is there.
    Header {
        name: Vec<u8>,
        text: Vec<u8>,
    },
    Body(Vec<u8>),
    Text(Vec<u8>),
    Larger(usize),
    Smaller(usize),
    /// By the internal date. Days since 1970.
    Before(u64),
    On(u64),
    Since(u64),
    Not(Box<Key>),
    Or(Box<Key>, Box<Key>),
    And(Vec<Key>),
}

/// A message as SEARCH looks at it.
pub(crate) struct Candidate<'a> {
    pub(crate) number: u32,
    pub(crate) uid: u32,
    pub(crate) message: &'a Message,
    pub(crate) largest_number: u32,
    pub(crate) largest_uid: u32,
}

impl Key {
    /// `["CHARSET" SP astring] 1*(SP search-key)`, to the end of the command.
    pub(crate) fn parse(parser: &mut Parser<'_>) -> Option<Self> {
        let mut ahead = *parser;
        if ahead.atom().is_some_and(|word| word.eq_ignore_ascii_case("CHARSET")) && ahead.space() {
            ahead.astring()?;
            ahead.space();
            *parser = ahead;
        }
        let mut keys = vec![key(parser, 0)?];
        while !parser.is_done() {
            if !parser.space() {
                return None;
            }
            keys.push(key(parser, 0)?);
        }
        Some(Self::And(keys))
    }

    pub(crate) fn matches(&self, candidate: &Candidate<'_>) -> bool {
        let message = candidate.message;
        let day = message.internal_date / DAY;
        match self {
            Self::All => true,
            Self::None => false,
            Self::Numbers(set) => set.contains(candidate.number, candidate.largest_number),
            Self::Uids(set) => set.contains(candidate.uid, candidate.largest_uid),
            Self::Flag(flag) => message.flags.contains(*flag),
            Self::Header { name, text } => {
                let header = &message.data[..mime::header_end(&message.data)];
                mime::values(header, name).any(|value| holds(&value, text))
            }
            Self::Body(text) => holds(&message.data[mime::header_end(&message.data)..], text),
            Self::Text(text) => holds(&message.data, text),
            Self::Larger(octets) => message.data.len() > *octets,
            Self::Smaller(octets) => message.data.len() < *octets,
            Self::Before(date) => day < *date,
            Self::On(date) => day == *date,
            Self::Since(date) => day >= *date,
            Self::Not(key) => !key.matches(candidate),
            Self::Or(one, other) => one.matches(candidate) || other.matches(candidate),
            Self::And(keys) => keys.iter().all(|key| key.matches(candidate)),
        }
    }
}

fn key(parser: &mut Parser<'_>, depth: usize) -> Option<Key> {
    if depth > DEEPEST {
        return None;
    }
    match parser.peek()? {
        b'(' => return parser.list(|parser| key(parser, depth + 1)).filter(|keys| !keys.is_empty()).map(Key::And),
        b'0'..=b'9' | b'*' => return parser.sequence_set().map(Key::Numbers),
        _ => {}
    }
    let word = parser.atom()?.to_ascii_uppercase();
    let flag = |name: &str| Key::Flag(Flags::named(name));
    let not = |key: Key| Key::Not(Box::new(key));
    Some(match word.as_str() {
        // No message is recent: Exchange does not keep count.
        "ALL" | "OLD" => Key::All,
        "RECENT" | "NEW" => Key::None,
        "ANSWERED" | "DELETED" | "DRAFT" | "FLAGGED" | "SEEN" => flag(&format!("\\{word}")),
        "UNANSWERED" | "UNDELETED" | "UNDRAFT" | "UNFLAGGED" | "UNSEEN" => not(flag(&format!("\\{}", &word[2..]))),
        "KEYWORD" | "UNKEYWORD" => {
            let name = argument(parser)?;
            let known = Flags::named(&String::from_utf8_lossy(&name));
            let has = if known == Flags::default() { Key::None } else { Key::Flag(known) };
            if word == "KEYWORD" { has } else { not(has) }
        }
        "SUBJECT" | "FROM" | "TO" | "CC" | "BCC" => Key::Header { name: word.into_bytes(), text: argument(parser)? },
        "HEADER" => Key::Header { name: argument(parser)?, text: argument(parser)? },
        "BODY" => Key::Body(argument(parser)?),
        "TEXT" => Key::Text(argument(parser)?),
        "LARGER" => Key::Larger(number(parser)?),
        "SMALLER" => Key::Smaller(number(parser)?),
        "BEFORE" | "SENTBEFORE" => Key::Before(date(parser)?),
        "ON" | "SENTON" => Key::On(date(parser)?),
        "SINCE" | "SENTSINCE" => Key::Since(date(parser)?),
        "UID" => {
            parser.space();
            Key::Uids(parser.sequence_set()?)
        }
        "NOT" => {
            parser.space();
            not(key(parser, depth + 1)?)
        }
        "OR" => {
            parser.space();
            let one = key(parser, depth + 1)?;
            parser.space();
            Key::Or(Box::new(one), Box::new(key(parser, depth + 1)?))
        }
        _ => return None,
    })
}

fn argument(parser: &mut Parser<'_>) -> Option<Vec<u8>> {
    parser.space();
    parser.astring()
}

fn number(parser: &mut Parser<'_>) -> Option<usize> {
    parser.space();
    parser.number().map(|number| number as usize)
}

fn date(parser: &mut Parser<'_>) -> Option<u64> {
    let text = argument(parser)?;
    Some(clock::parse_imap(&String::from_utf8_lossy(&text))? / DAY)
}

/// Letters of ASCII are taken for the same in both cases.
fn holds(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

const DAY: u64 = 86_400;

/// Deeper than any client nests, and shallow enough for the stack.
const DEEPEST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(keys: &str) -> Option<bool> {
        let mut message =
            Message::new(b"Subject: Monthly\r\n report\r\nFrom: carol@example.org\r\n\r\nHello\r\n".to_vec());
        message.flags = Flags::SEEN;
        message.internal_date = 1_788_257_472;
        let candidate = Candidate { number: 2, uid: 7, message: &message, largest_number: 2, largest_uid: 7 };
        Some(Key::parse(&mut Parser::new(keys.as_bytes()))?.matches(&candidate))
    }

    #[test]
    fn what_is_found() {
        for keys in [
            "ALL",
            "SEEN UNDELETED",
            "2",
            "1:*",
            "UID 5:7",
            "SUBJECT \"monthly report\"",
            "HEADER from carol",
            "HEADER From \"\"",
            "BODY hello",
            "TEXT CAROL",
            "OR UNSEEN (SEEN LARGER 5)",
            "NOT SMALLER 5",
            "ON 1-Sep-2026 SINCE 01-Sep-2026 BEFORE 2-Sep-2026",
            "CHARSET UTF-8 SUBJECT {6}\r\nreport",
            "UNKEYWORD x",
        ] {
            assert_eq!(finds(keys), Some(true), "{keys}");
        }
    }

    #[test]
    fn what_is_not_found() {
        for keys in ["UNSEEN", "1", "UID 8", "SUBJECT weekly", "BODY carol", "NEW", "HEADER X-None \"\"", "KEYWORD x"] {
            assert_eq!(finds(keys), Some(false), "{keys}");
        }
    }

    #[test]
    fn what_is_malformed() {
        for keys in ["", "NONSENSE", "NOT", "OR SEEN", "(SEEN", "SINCE yesterday", "SUBJECT"] {
            assert_eq!(finds(keys), None, "{keys}");
        }
        assert_eq!(finds(&"NOT ".repeat(1000)), None);
    }
}
