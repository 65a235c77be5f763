//! How is a transcript written? The files, their lines and their escapes, as `transcripts.rs` describes them.

use std::fs;
use std::path::{Path, PathBuf};

use xoauth2_proxy::protocol::Protocol;

/// Every transcript, with the protocol that its folder is named after.
pub(crate) fn files() -> Vec<(Protocol, PathBuf, String)> {
    let mut files = Vec::new();
    for protocol in Protocol::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(protocol.name());
        for entry in fs::read_dir(folder).expect("a folder for each protocol") {
            let path = entry.expect("a readable folder").path();
            let text = fs::read_to_string(&path).expect("a readable transcript");
            files.push((protocol, path, text));
        }
    }
    files.sort_by(|(_, one, _), (_, other, _)| one.cmp(other));
    files
}

/// A line's mark, and the name and the rest of its directive.
pub(crate) fn parts(line: &str) -> (&str, &str, &str) {
    let (mark, text) = line.split_once(' ').unwrap_or((line, ""));
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    (mark, name, rest)
}

/// The octets that a text stands for, with the line end unless it ends in `\c`.
pub(crate) fn unescape(text: &str, line_end: &str) -> Result<Vec<u8>, String> {
    let (mut octets, mut rest) = (Vec::new(), text);
    while let Some((plain, escape)) = rest.split_once('\\') {
        octets.extend(plain.as_bytes());
        let unknown = || format!("unknown escape \\{escape}");
        let length = match escape.chars().next().ok_or_else(unknown)? {
            'c' if escape == "c" => return Ok(octets),
            'x' => {
                let digits = escape.get(1..3).and_then(|digits| u8::from_str_radix(digits, 16).ok());
                octets.push(digits.ok_or_else(unknown)?);
                3
            }
            '(' => {
                let (repeated, _) = escape[1..].split_once(')').ok_or_else(unknown)?;
                let (times, what) = repeated.split_once(' ').ok_or_else(unknown)?;
                octets.extend(what.repeat(times.parse().map_err(|_| unknown())?).as_bytes());
                repeated.len() + 2
            }
            known => {
                let (_, octet) = ESCAPES.iter().find(|(letter, _)| *letter == known).ok_or_else(unknown)?;
                octets.extend(*octet);
                1
            }
        };
        rest = &escape[length..];
    }
    octets.extend(rest.as_bytes());
    octets.extend(line_end.as_bytes());
    Ok(octets)
}

const ESCAPES: [(char, &[u8]); 6] =
    [('r', b"\r"), ('n', b"\n"), ('t', b"\t"), ('\\', b"\\"), ('0', b"\0"), ('"', b"\\\"")];

/// A space at the end is not left invisible.
pub(crate) fn escaped(octets: &[u8]) -> String {
    let text = octets.iter().enumerate().map(|(at, &octet)| match octet {
        b' '..=b'~' if octet != b'\\' && (octet != b' ' || at + 1 < octets.len()) => char::from(octet).to_string(),
        _ => match ESCAPES.iter().find(|(_, known)| *known == [octet]) {
            Some((letter, _)) => format!("\\{letter}"),
            None => format!("\\x{octet:02x}"),
        },
    });
    text.collect()
}

/// As in [`escaped`], in quotes where it holds spaces, is empty or begins with a quote.
pub(crate) fn word(octets: &[u8]) -> String {
    match escaped(octets) {
        text if text.is_empty() || text.contains(' ') || text.starts_with('"') => {
            format!("\"{}\"", text.replace('"', "\\\""))
        }
        text => text,
    }
}
