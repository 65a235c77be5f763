//! What FETCH can show of a message (RFC 3501 6.4.5, 7.4.2).

use std::io;
use std::ops::Range;

use super::syntax::{self, Parser};
use crate::clock::Civil;
use crate::mailbox::Message;
use crate::mime::{self, Entity};
use crate::wire::Wire;

/// One data item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Flags,
    Uid,
    Size,
    InternalDate,
    Envelope,
    /// BODY, without the extension data.
    Body,
    BodyStructure,
    Section(Section),
}

/// A piece of the message's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    /// What stands ahead of the data in the response.
    label: String,
    path: Vec<usize>,
    extent: Extent,
    partial: Option<(usize, usize)>,
    peek: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Extent {
    Whole,
    Header,
    Fields { names: Vec<Vec<u8>>, but: bool },
    Text,
    Mime,
}

impl Item {
    pub(crate) fn sets_seen(&self) -> bool {
        matches!(self, Self::Section(Section { peek: false, .. }))
    }
}

/// `"ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")"`.
pub(crate) fn parse(parser: &mut Parser<'_>) -> Option<Vec<Item>> {
    if parser.peek() == Some(b'(') {
        return parser.list(item).filter(|items| !items.is_empty());
    }
    let mut ahead = *parser;
    let fast = vec![Item::Flags, Item::InternalDate, Item::Size];
    let items = match ahead.word()?.to_ascii_uppercase().as_str() {
        "FAST" => fast,
        "ALL" => [fast, vec![Item::Envelope]].concat(),
        "FULL" => [fast, vec![Item::Envelope, Item::Body]].concat(),
        _ => return item(parser).map(|item| vec![item]),
    };
    *parser = ahead;
    Some(items)
}

/// Writes one FETCH response.
pub(crate) async fn write(wire: &mut Wire, number: u32, uid: u32, message: &Message, items: &[Item]) -> io::Result<()> {
    let data: &[u8] = &message.data;
    // Taken apart at most once, and only if somebody asks.
    let mut entity: Option<Entity> = None;
    wire.put(format!("* {number} FETCH ("));
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            wire.put(" ");
        }
        match item {
            Item::Flags => wire.put(format!("FLAGS ({})", message.flags)),
            Item::Uid => wire.put(format!("UID {uid}")),
            Item::Size => wire.put(format!("RFC822.SIZE {}", data.len())),
            Item::InternalDate => {
                wire.put(format!("INTERNALDATE \"{}\"", Civil::at_unix(message.internal_date).imap()));
            }
            Item::Envelope => {
                wire.put("ENVELOPE ");
                wire.put(mime::envelope(&data[..mime::header_end(data)]));
            }
            Item::Body | Item::BodyStructure => {
                let entity = entity.get_or_insert_with(|| Entity::parse(data));
                let extended = *item == Item::BodyStructure;
                wire.put(if extended { "BODYSTRUCTURE " } else { "BODY " });
                wire.put(mime::structure(entity, data, extended));
            }
            Item::Section(section) => {
                wire.put(&section.label);
                match section.find(data, &mut entity) {
                    None => wire.put(" NIL"),
                    Some(Found::Piece(range)) => put_literal(wire, section.cut(&data[range])).await?,
                    Some(Found::Made(text)) => put_literal(wire, section.cut(&text)).await?,
                }
            }
        }
    }
    wire.put(")\r\n");
    Ok(())
}

async fn put_literal(wire: &mut Wire, data: &[u8]) -> io::Result<()> {
    wire.put(format!(" {{{}}}\r\n", data.len()));
    wire.put_long(data).await
}

enum Found {
    Piece(Range<usize>),
    Made(Vec<u8>),
}

impl Section {
    fn whole(label: &str, extent: Extent, peek: bool) -> Self {
        Self { label: label.to_owned(), path: Vec::new(), extent, partial: None, peek }
    }

    fn find(&self, data: &[u8], entity: &mut Option<Entity>) -> Option<Found> {
        if self.path.is_empty() {
            let header = mime::header_end(data);
            return Some(match &self.extent {
                Extent::Whole => Found::Piece(0..data.len()),
                Extent::Header | Extent::Mime => Found::Piece(0..header),
                Extent::Fields { names, but } => Found::Made(mime::fields(&data[..header], names, *but)),
                Extent::Text => Found::Piece(header..data.len()),
            });
        }
        let part = entity.get_or_insert_with(|| Entity::parse(data)).part(&self.path)?;
        match &self.extent {
            Extent::Whole => return Some(Found::Piece(part.body.clone())),
            Extent::Mime => return Some(Found::Piece(part.header.clone())),
            Extent::Header | Extent::Fields { .. } | Extent::Text => {}
        }
        // These are asked of the message that the part holds.
        let message = part.message()?;
        Some(match &self.extent {
            Extent::Fields { names, but } => Found::Made(mime::fields(&data[message.header.clone()], names, *but)),
            Extent::Text => Found::Piece(message.body.clone()),
            _ => Found::Piece(message.header.clone()),
        })
    }

    fn cut<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let Some((offset, count)) = self.partial else { return text };
        let start = offset.min(text.len());
        &text[start..start.saturating_add(count).min(text.len())]
    }
}

fn item(parser: &mut Parser<'_>) -> Option<Item> {
    let name = parser.word()?.to_ascii_uppercase();
    Some(match name.as_str() {
        "FLAGS" => Item::Flags,
        "UID" => Item::Uid,
        "RFC822.SIZE" => Item::Size,
        "INTERNALDATE" => Item::InternalDate,
        "ENVELOPE" => Item::Envelope,
        "BODYSTRUCTURE" => Item::BodyStructure,
        "RFC822" => Item::Section(Section::whole("RFC822", Extent::Whole, false)),
        "RFC822.HEADER" => Item::Section(Section::whole("RFC822.HEADER", Extent::Header, true)),
        "RFC822.TEXT" => Item::Section(Section::whole("RFC822.TEXT", Extent::Text, false)),
        "BODY" if parser.peek() != Some(b'[') => Item::Body,
        "BODY" => Item::Section(section(parser, false)?),
        "BODY.PEEK" => Item::Section(section(parser, true)?),
        _ => return None,
    })
}

/// `"[" [section-spec] "]" ["<" number "." nz-number ">"]`.
fn section(parser: &mut Parser<'_>, peek: bool) -> Option<Section> {
    if !parser.eat(b'[') {
        return None;
    }
    let word = parser.word().unwrap_or_default().to_ascii_uppercase();
    let mut label = format!("BODY[{word}");
    let digits = |part: &&str| part.bytes().all(|octet| octet.is_ascii_digit()) && !part.is_empty();
    let parts: Vec<&str> = word.split('.').collect();
    let path: Vec<usize> = parts.iter().take_while(|part| digits(part)).filter_map(|part| part.parse().ok()).collect();
    let extent = match parts[path.len()..].join(".").as_str() {
        "" => Extent::Whole,
        "HEADER" => Extent::Header,
        "TEXT" => Extent::Text,
        "MIME" if !path.is_empty() => Extent::Mime,
        spec @ ("HEADER.FIELDS" | "HEADER.FIELDS.NOT") => {
            parser.space();
            let names = parser.list(field_name)?;
            let shown: Vec<String> = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            label.push_str(&format!(" ({})", shown.join(" ")));
            Extent::Fields { names, but: spec.ends_with("NOT") }
        }
        _ => return None,
    };
    if !parser.eat(b']') {
        return None;
    }
    label.push(']');
    let partial = if parser.eat(b'<') {
        let range = parser.word()?;
        let (offset, count) = range.split_once('.')?;
        let (offset, count) = (offset.parse().ok()?, count.parse().ok()?);
        if !parser.eat(b'>') {
            return None;
        }
        label.push_str(&format!("<{offset}>"));
        Some((offset, count))
    } else {
        None
    };
    Some(Section { label, path, extent, partial, peek })
}

/// A field's name is an astring; in the label it stands in upper case, as Exchange has it.
fn field_name(parser: &mut Parser<'_>) -> Option<Vec<u8>> {
    parser.astring().map(|name| name.to_ascii_uppercase()).filter(|name| syntax::is_field_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Vec<Item>> {
        let mut parser = Parser::new(text.as_bytes());
        parse(&mut parser).filter(|_| parser.is_done())
    }

    fn shown(text: &str, message: &[u8]) -> (String, Option<Vec<u8>>) {
        let items = parsed(text).unwrap();
        let [Item::Section(section)] = items.as_slice() else { panic!("{items:?}") };
        let found = section.find(message, &mut None).map(|found| match found {
            Found::Piece(range) => section.cut(&message[range]).to_vec(),
            Found::Made(text) => section.cut(&text).to_vec(),
        });
        (section.label.clone(), found)
    }

    const MESSAGE: &[u8] = b"From: a@b\r\nSubject: one\r\n two\r\nTo: c@d\r\n\r\nbody\r\n";

    #[test]
    fn macros_and_lists() {
        assert_eq!(parsed("FAST").unwrap().len(), 3);
        assert_eq!(parsed("full").unwrap().len(), 5);
        assert_eq!(parsed("(UID FLAGS)"), Some(vec![Item::Uid, Item::Flags]));
        assert_eq!(parsed("BODY"), Some(vec![Item::Body]));
        for text in ["", "()", "(UID", "NONSENSE", "BODY[", "BODY[]<0>", "BODY[MIME]", "(UID FLAGS) x"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn sections_of_a_plain_message() {
        let text = |text: &str| shown(text, MESSAGE).1.map(|data| String::from_utf8(data).unwrap());
        assert_eq!(text("BODY[]").unwrap().as_bytes(), MESSAGE);
        assert_eq!(text("BODY.PEEK[TEXT]").unwrap(), "body\r\n");
        assert_eq!(text("BODY[1]").unwrap(), "body\r\n");
        assert_eq!(text("BODY[2]"), None);
        assert_eq!(text("BODY[HEADER.FIELDS (subject)]").unwrap(), "Subject: one\r\n two\r\n\r\n");
        assert_eq!(text("BODY[HEADER.FIELDS.NOT (subject \"TO\")]").unwrap(), "From: a@b\r\n\r\n");
        assert_eq!(text("RFC822.HEADER").unwrap().len(), MESSAGE.len() - 6);
    }

    #[test]
    fn labels_and_parts_of_the_text() {
        assert_eq!(shown("BODY.PEEK[]<2.3>", MESSAGE), ("BODY[]<2>".to_owned(), Some(b"om:".to_vec())));
        assert_eq!(shown("BODY[]<9999.3>", MESSAGE), ("BODY[]<9999>".to_owned(), Some(Vec::new())));
        assert_eq!(shown("body[header.fields (From To)]", MESSAGE).0, "BODY[HEADER.FIELDS (FROM TO)]");
    }

    #[test]
    fn peeking_does_not_mark_a_message() {
        assert!(parsed("BODY[]").unwrap()[0].sets_seen() && parsed("RFC822").unwrap()[0].sets_seen());
        assert!(!parsed("BODY.PEEK[]").unwrap()[0].sets_seen() && !parsed("RFC822.HEADER").unwrap()[0].sets_seen());
    }
}
