//! The arguments of EHLO, MAIL, RCPT and BDAT (RFC 5321 4.1.2, with the parameters of 1870, 3030, 3461, 4954 and 6531).

use std::net::{Ipv4Addr, Ipv6Addr};

/// What is wrong with an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Address,
    Arguments,
    Parameter,
}

/// MAIL's argument.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mail {
    /// Empty for the null reverse-path.
    pub(super) from: String,
    pub(super) size: Option<u64>,
    pub(super) binary: bool,
    pub(super) utf8: bool,
}

impl Mail {
    pub(super) fn parse(argument: &[u8]) -> Result<Self, Fault> {
        let (from, parameters) = path(argument, "FROM:")?;
        let mut mail = Self { from, ..Self::default() };
        for (name, value) in parameters {
            match (name.as_str(), value.as_deref()) {
                ("SIZE", Some(size)) => mail.size = Some(number(size).ok_or(Fault::Arguments)?),
                ("BODY", Some(body)) => match body.to_ascii_uppercase().as_str() {
                    "7BIT" | "8BITMIME" => {}
                    "BINARYMIME" => mail.binary = true,
                    _ => return Err(Fault::Arguments),
                },
                ("SMTPUTF8", None) => mail.utf8 = true,
                ("RET", Some(what)) if one_of(&["FULL", "HDRS"], what) => {}
                ("ENVID", Some(text)) if is_xtext(text) => {}
                ("AUTH", Some(text)) if text == "<>" || is_xtext(text) => {}
                ("SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID" | "AUTH", _) => return Err(Fault::Arguments),
                _ => return Err(Fault::Parameter),
            }
        }
        if mail.from.is_empty() || is_mailbox(&mail.from, mail.utf8) { Ok(mail) } else { Err(Fault::Address) }
    }
}

/// RCPT's argument: the address. `utf8` tells whether MAIL had SMTPUTF8.
pub(super) fn recipient(argument: &[u8], utf8: bool) -> Result<String, Fault> {
    let (to, parameters) = path(argument, "TO:")?;
    for (name, value) in parameters {
        match (name.as_str(), value.as_deref()) {
            ("NOTIFY", Some(when)) if is_notify(when) => {}
            ("ORCPT", Some(original)) if original.split_once(';').is_some_and(|(kind, _)| !kind.is_empty()) => {}
            ("NOTIFY" | "ORCPT", _) => return Err(Fault::Arguments),
            _ => return Err(Fault::Parameter),
        }
    }
    if is_mailbox(&to, utf8) { Ok(to) } else { Err(Fault::Address) }
}

/// BDAT's argument (RFC 3030 2): the chunk's length, and whether it is the last.
pub(super) fn chunk(argument: &[u8]) -> Option<(u64, bool)> {
    let mut words = std::str::from_utf8(argument).ok()?.split_ascii_whitespace();
    let size = number(words.next()?)?;
    let last = match words.next() {
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
        None => false,
    };
    words.next().is_none().then_some((size, last))
}

/// Whether EHLO's or HELO's argument is a domain or an address literal. Exchange is known to refuse odd ones; where it
/// draws the line is not, so that the line here is RFC 5321's.
pub(super) fn is_domain(argument: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(argument) else { return false };
    if let Some(literal) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return match literal.split_once(':') {
            Some((kind, address)) if kind.eq_ignore_ascii_case("IPv6") => address.parse::<Ipv6Addr>().is_ok(),
            _ => literal.parse::<Ipv4Addr>().is_ok(),
        };
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
    };
    name.len() <= 255 && name.split('.').all(is_label)
}

type Parameters = Vec<(String, Option<String>)>;

/// The address of a path, and the parameters behind it, with names in upper case. As Exchange, it also takes a space
/// ahead of the address, and an address without angle brackets.
fn path(argument: &[u8], keyword: &str) -> Result<(String, Parameters), Fault> {
    let text = std::str::from_utf8(argument).map_err(|_| Fault::Address)?;
    let start = text.get(..keyword.len()).filter(|start| start.eq_ignore_ascii_case(keyword));
    let text = text[start.ok_or(Fault::Arguments)?.len()..].trim_start_matches(' ');
    let (address, rest) = match text.strip_prefix('<') {
        Some(text) => {
            let end = closing(text).ok_or(Fault::Address)?;
            (&text[..end], &text[end + 1..])
        }
        None if text.is_empty() => return Err(Fault::Address),
        None => text.split_at(text.find(' ').unwrap_or(text.len())),
    };
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(Fault::Address);
    }
    let parameter = |word: &str| match word.split_once('=') {
        Some((name, value)) => (name.to_ascii_uppercase(), Some(value.to_owned())),
        None => (word.to_ascii_uppercase(), None),
    };
    Ok((address.to_owned(), rest.split(' ').filter(|word| !word.is_empty()).map(parameter).collect()))
}

/// Where the angle bracket is that closes a path. In a quoted string it stands for itself.
fn closing(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|octet| {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' => return !quoted,
            _ => {}
        }
        false
    })
}

/// A local part and a domain. What stands in them is not looked at closely.
fn is_mailbox(address: &str, utf8: bool) -> bool {
    let parts = address.rsplit_once('@');
    parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        && (utf8 || address.is_ascii())
        && !address.contains(char::is_control)
}

fn one_of(values: &[&str], value: &str) -> bool {
    values.iter().any(|known| known.eq_ignore_ascii_case(value))
}

/// RFC 3461 4.1: NEVER stands alone.
fn is_notify(when: &str) -> bool {
    one_of(&["NEVER"], when) || when.split(',').all(|when| one_of(&["SUCCESS", "FAILURE", "DELAY"], when))
}

/// RFC 3461 4: printable, without `=`; `+` stands ahead of two hexadecimal digits in upper case.
fn is_xtext(text: &str) -> bool {
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        let mut digit = || octets.next().is_some_and(|octet| matches!(octet, b'0'..=b'9' | b'A'..=b'F'));
        if !matches!(octet, b'!'..=b'~') || octet == b'=' || octet == b'+' && !(digit() && digit()) {
            return false;
        }
    }
    !text.is_empty()
}

/// Digits only: `parse` alone would take a plus sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(argument: &str) -> Result<Mail, Fault> {
        Mail::parse(argument.as_bytes())
    }

    #[test]
    fn reverse_paths() {
        for argument in ["FROM:<a@b.c>", "from: <a@b.c>", "FROM:a@b.c", "FROM:<a@b.c> "] {
            assert_eq!(mail(argument).unwrap().from, "a@b.c", "{argument}");
        }
        assert_eq!(mail("FROM:<>").unwrap().from, "");
        assert_eq!(mail("FROM:<\"a> \\\"b\"@c> SIZE=1").unwrap().from, "\"a> \\\"b\"@c");
        for argument in ["FROM:", "FROM:<a@b.c", "FROM:<a>", "FROM:<a@>", "FROM:<@b>", "FROM:<a@b>SIZE=1"] {
            assert_eq!(mail(argument), Err(Fault::Address), "{argument}");
        }
        assert_eq!(mail("TO:<a@b.c>"), Err(Fault::Arguments));
    }

    #[test]
    fn parameters_of_mail() {
        let argument = "FROM:<ü@b.c> SIZE=5 body=BinaryMime SMTPUTF8 RET=HDRS ENVID=QQ+2B314159 AUTH=a+40b";
        let expected = Mail { from: "ü@b.c".to_owned(), size: Some(5), binary: true, utf8: true };
        assert_eq!(mail(argument), Ok(expected));
        assert!(mail("FROM:<a@b> AUTH=<> BODY=8BITMIME RET=full").is_ok());
        assert_eq!(mail("FROM:<ü@b.c>"), Err(Fault::Address));
        for parameter in
            ["SIZE", "SIZE=+1", "SIZE=", "BODY=9BIT", "SMTPUTF8=1", "RET=ALL", "ENVID=+4", "ENVID==", "AUTH"]
        {
            assert_eq!(mail(&format!("FROM:<a@b> {parameter}")), Err(Fault::Arguments), "{parameter}");
        }
        assert_eq!(mail("FROM:<a@b> BY=1;R"), Err(Fault::Parameter));
    }

    #[test]
    fn forward_paths() {
        let to = |argument: &str| recipient(argument.as_bytes(), false);
        assert_eq!(to("TO:<a@b.c> NOTIFY=SUCCESS,delay ORCPT=rfc822;a@b.c").as_deref(), Ok("a@b.c"));
        assert_eq!(to("to:<a@b.c> NOTIFY=never").as_deref(), Ok("a@b.c"));
        assert_eq!(to("TO:<>"), Err(Fault::Address));
        assert_eq!(to("TO:<ü@b.c>"), Err(Fault::Address));
        assert_eq!(recipient("TO:<ü@b.c>".as_bytes(), true).as_deref(), Ok("ü@b.c"));
        assert_eq!(to("TO:<a@b.c> NOTIFY=NEVER,DELAY"), Err(Fault::Arguments));
        assert_eq!(to("TO:<a@b.c> ORCPT=a"), Err(Fault::Arguments));
        assert_eq!(to("TO:<a@b.c> SIZE=1"), Err(Fault::Parameter));
    }

    #[test]
    fn chunks() {
        assert_eq!(chunk(b"12"), Some((12, false)));
        assert_eq!(chunk(b"0 last"), Some((0, true)));
        for argument in [&b""[..], b"x", b"-1", b"1 FIRST", b"1 LAST 2", b"99999999999999999999"] {
            assert_eq!(chunk(argument), None);
        }
    }

    #[test]
    fn names_of_clients() {
        for name in ["host", "a-1.example.com", "[127.0.0.1]", "[IPv6:::1]"] {
            assert!(is_domain(name.as_bytes()), "{name}");
        }
        for name in ["", "my_host", "two words", "a..b", "-a", "a-", "[1.2.3]", "[::1]", "grün"] {
            assert!(!is_domain(name.as_bytes()), "{name}");
        }
    }
}
