//! IMAP with an open mailbox: the authenticated and the selected state (RFC 3501 3.2, 3.3).

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use super::fetch::{self, Item};
use super::search::{Candidate, Key};
use super::syntax::{self, Parser, SequenceSet};
use super::{Framed, ID, log_out, read_command, split};
use crate::clock;
use crate::exchange::{ExchangeFault, FrontEnd};
use crate::mailbox::{Flags, Folder, Mailbox, Message, canonical};
use crate::wire::{Input, Wire};

/// Serves one client until it leaves.
pub(crate) async fn serve(wire: &mut Wire, mailbox: Arc<Mailbox>) -> io::Result<()> {
    let changes = mailbox.changes();
    let mut session = Session { mailbox, changes, selected: None };
    loop {
        let command = match next(wire).await? {
            Some(Framed::Command(command)) => command,
            Some(Framed::Malformed) => {
                wire.put("* BAD Command Error. 12\r\n");
                continue;
            }
            Some(Framed::TooLong) => {
                wire.put("* BAD Command Error. 12\r\n");
                return Ok(());
            }
            Some(Framed::End) => return Ok(()),
            None => {
                wire.put("* BYE Connection is closed. 13\r\n");
                return Ok(());
            }
        };
        let (tag, name, arguments) = split(&command);
        if name == "LOGOUT" {
            log_out(wire, &tag);
            return Ok(());
        }
        let done = Box::pin(session.run(wire, &name, arguments)).await?;
        if session.may_announce_expunges(&name) {
            session.announce(wire, Expunges::Told);
        } else {
            session.announce(wire, Expunges::Kept);
        }
        wire.put(match done {
            Done::Ok(text) => format!("{tag} OK {text} completed.\r\n"),
            Done::No(text) => format!("{tag} NO {text}\r\n"),
            Done::Bad => format!("{tag} BAD Command Error. 12\r\n"),
            Done::InvalidState => format!("{tag} BAD Command received in Invalid state.\r\n"),
        });
    }
}

/// What Exchange offers once somebody is logged in.
pub(crate) fn capabilities(front_end: FrontEnd) -> &'static str {
    match front_end {
        FrontEnd::Classic => {
            "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CLIENTACCESSRULES \
             CLIENTNETWORKPRESENCELOCATION BACKENDAUTHENTICATE CHILDREN IDLE NAMESPACE LITERAL+"
        }
        FrontEnd::TcpProxy => {
            "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CLIENTACCESSRULES \
             CLIENTNETWORKPRESENCELOCATION BACKENDAUTHENTICATE BACKENDAUTHENTICATE-IR CHILDREN IDLE NAMESPACE LITERAL+"
        }
    }
}

/// The commands that need a login.
pub(crate) const COMMANDS: [&str; 26] = [
    "APPEND",
    "CHECK",
    "CLOSE",
    "COPY",
    "CREATE",
    "DELETE",
    "EXAMINE",
    "EXPUNGE",
    "FETCH",
    "IDLE",
    "LIST",
    "LSUB",
    "MOVE",
    "NAMESPACE",
    "RENAME",
    "SEARCH",
    "SELECT",
    "STATUS",
    "STORE",
    "SUBSCRIBE",
    "UID",
    "UNSELECT",
    "UNSUBSCRIBE",
    "SORT",
    "THREAD",
    "ENABLE",
];

struct Session {
    mailbox: Arc<Mailbox>,
    changes: watch::Receiver<u64>,
    selected: Option<Selected>,
}

struct Selected {
    name: String,
    /// The state of the mailbox that the client knows in full.
    told: u64,
    read_only: bool,
    /// The UIDs in order: a message's sequence number is its place here. It changes only when the client is told.
    view: Vec<u32>,
}

/// How a command ends.
enum Done {
    /// The text ahead of "completed."
    Ok(String),
    No(&'static str),
    Bad,
    InvalidState,
}

enum Expunges {
    Told,
    /// RFC 3501 7.4.1: not during FETCH, STORE and SEARCH, whose numbers they would shift.
    Kept,
}

/// Whether a command counts in sequence numbers or in UIDs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Sequence,
    Uid,
}

impl Session {
    async fn run(&mut self, wire: &mut Wire, name: &str, arguments: &[u8]) -> io::Result<Done> {
        let mut parser = Parser::new(arguments);
        let parser = &mut parser;
        let simple = |text: &str| Done::Ok(text.to_owned());
        Ok(match name {
            "CAPABILITY" => {
                wire.put(format!("* CAPABILITY {}\r\n", capabilities(wire.service().front_end)));
                simple("CAPABILITY")
            }
            "ID" => {
                wire.put(ID);
                simple("ID")
            }
            "NOOP" | "CHECK" | "SUBSCRIBE" | "UNSUBSCRIBE" => simple(name),
            "NAMESPACE" => {
                wire.put("* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
                simple(name)
            }
            "LIST" | "LSUB" => self.list(wire, name, parser),
            "STATUS" => self.status(wire, parser),
            "SELECT" | "EXAMINE" => self.select(wire, name, parser),
            "CREATE" | "DELETE" | "RENAME" => self.edit_folders(name, parser),
            "APPEND" => self.append(parser),
            "IDLE" => return self.idle(wire).await,
            "AUTHENTICATE" | "LOGIN" | "STARTTLS" => Done::InvalidState,
            _ => return self.run_selected(wire, name, parser).await,
        })
    }

    async fn run_selected(&mut self, wire: &mut Wire, name: &str, parser: &mut Parser<'_>) -> io::Result<Done> {
        if !COMMANDS.contains(&name) {
            return Ok(Done::Bad);
        }
        let Some(selected) = &mut self.selected else { return Ok(Done::InvalidState) };
        let (name, by) = match name {
            "UID" => {
                let Some(word) = parser.atom() else { return Ok(Done::Bad) };
                parser.space();
                (word.to_ascii_uppercase(), By::Uid)
            }
            _ => (name.to_owned(), By::Sequence),
        };
        Ok(match (name.as_str(), by) {
            ("FETCH", _) => return selected.fetch(wire, &self.mailbox, parser, by).await,
            ("SEARCH", _) => selected.search(wire, &self.mailbox, parser, by),
            ("STORE", _) => selected.store(wire, &self.mailbox, parser, by),
            ("COPY" | "MOVE", _) => selected.copy(wire, &self.mailbox, parser, by, &name),
            ("EXPUNGE", _) => {
                let only = match by {
                    By::Uid => match parser.sequence_set() {
                        Some(set) => Some(set),
                        None => return Ok(Done::Bad),
                    },
                    By::Sequence => None,
                };
                selected.expunge(&self.mailbox, only.as_ref());
                Done::Ok(name)
            }
            ("CLOSE", By::Sequence) => {
                selected.expunge(&self.mailbox, None);
                self.selected = None;
                Done::Ok(name)
            }
            ("UNSELECT", By::Sequence) => {
                self.selected = None;
                Done::Ok(name)
            }
            _ => Done::Bad,
        })
    }

    /// RFC 3501 6.3.8, 6.3.9; every folder is subscribed.
    fn list(&self, wire: &mut Wire, name: &str, parser: &mut Parser<'_>) -> Done {
        let Some(reference) = parser.mailbox() else { return Done::Bad };
        parser.space();
        let Some(pattern) = parser.mailbox() else { return Done::Bad };
        if pattern.is_empty() {
            wire.put(format!("* {name} (\\Noselect) \"/\" \"\"\r\n"));
            return Done::Ok(name.to_owned());
        }
        let pattern = format!("{reference}{pattern}");
        self.mailbox.read(|folders| {
            for folder in folders.names().filter(|folder| matches(folder, &pattern)) {
                let below = format!("{folder}/");
                let children = if folders.names().any(|other| other.starts_with(&below)) { "Has" } else { "HasNo" };
                wire.put(format!("* {name} (\\{children}Children) \"/\" {}\r\n", syntax::mailbox(folder)));
            }
        });
        Done::Ok(name.to_owned())
    }

    /// RFC 3501 6.3.10.
    fn status(&self, wire: &mut Wire, parser: &mut Parser<'_>) -> Done {
        let Some(name) = parser.mailbox() else { return Done::Bad };
        parser.space();
        let Some(items) = parser.list(|parser| parser.atom().map(str::to_ascii_uppercase)) else { return Done::Bad };
        self.mailbox.read(|folders| {
            let Some(folder) = folders.get(&name) else { return MISSING };
            let values: Option<Vec<String>> = items
                .iter()
                .map(|item| {
                    let value = match item.as_str() {
                        "MESSAGES" => folder.messages.len(),
                        "RECENT" => 0,
                        "UIDNEXT" => folder.uid_next as usize,
                        "UIDVALIDITY" => folder.uid_validity as usize,
                        "UNSEEN" => folder.messages.values().filter(|m| !m.flags.contains(Flags::SEEN)).count(),
                        _ => return None,
                    };
                    Some(format!("{item} {value}"))
                })
                .collect();
            let Some(values) = values else { return Done::Bad };
            wire.put(format!("* STATUS {} ({})\r\n", syntax::mailbox(&canonical(&name)), values.join(" ")));
            Done::Ok("STATUS".to_owned())
        })
    }

    /// RFC 3501 6.3.1, 6.3.2, in Exchange's order.
    fn select(&mut self, wire: &mut Wire, name: &str, parser: &mut Parser<'_>) -> Done {
        let Some(folder_name) = parser.mailbox() else { return Done::Bad };
        // Even an attempt that fails leaves the folder that was selected.
        self.selected = None;
        let read_only = name == "EXAMINE";
        let told = *self.changes.borrow();
        let selected = self.mailbox.read(|folders| {
            let folder = folders.get(&folder_name)?;
            wire.put(describe(folder, read_only));
            let view = folder.messages.keys().copied().collect();
            Some(Selected { name: canonical(&folder_name), told, read_only, view })
        });
        self.selected = selected;
        match self.selected {
            Some(_) if read_only => Done::Ok("[READ-ONLY] EXAMINE".to_owned()),
            Some(_) => Done::Ok("[READ-WRITE] SELECT".to_owned()),
            None => MISSING,
        }
    }

    /// RFC 3501 6.3.3 to 6.3.5.
    fn edit_folders(&self, name: &str, parser: &mut Parser<'_>) -> Done {
        let Some(folder) = parser.mailbox() else { return Done::Bad };
        let edited = match name {
            "CREATE" => self.mailbox.change(|folders| folders.create(&folder)),
            "DELETE" => self.mailbox.change(|folders| folders.delete(&folder)),
            _ => {
                parser.space();
                let Some(to) = parser.mailbox() else { return Done::Bad };
                self.mailbox.change(|folders| folders.rename(&folder, &to))
            }
        };
        if edited { Done::Ok(name.to_owned()) } else { Done::No("The folder cannot be created, deleted or renamed.") }
    }

    /// RFC 3501 6.3.11, RFC 4315 3.
    fn append(&self, parser: &mut Parser<'_>) -> Done {
        let Some(name) = parser.mailbox() else { return Done::Bad };
        parser.space();
        let mut flags = Flags::default();
        if parser.peek() == Some(b'(') {
            let Some(names) = parser.list(Parser::flag) else { return Done::Bad };
            flags = names.into_iter().fold(flags, |flags, name| flags.with(Flags::named(name)));
            parser.space();
        }
        let mut internal_date = clock::now();
        if parser.peek() == Some(b'"') {
            let date = parser.quoted().and_then(|text| clock::parse_imap(&String::from_utf8_lossy(&text)));
            let Some(date) = date else { return Done::Bad };
            internal_date = date;
            parser.space();
        }
        let Some(data) = parser.literal() else { return Done::Bad };
        if !parser.is_done() {
            return Done::Bad;
        }
        let message = Message { flags, internal_date, ..Message::new(data.to_vec()) };
        let added = self.mailbox.change(|folders| {
            let folder = folders.get_mut(&name)?;
            Some((folder.uid_validity, folder.append(message)))
        });
        match added {
            Some((validity, uid)) => Done::Ok(format!("[APPENDUID {validity} {uid}] APPEND")),
            None => Done::No("[TRYCREATE] The folder does not exist."),
        }
    }

    /// RFC 2177.
    async fn idle(&mut self, wire: &mut Wire) -> io::Result<Done> {
        wire.put("+ IDLE accepted, awaiting DONE command.\r\n");
        loop {
            self.changes.mark_unchanged();
            self.announce(wire, Expunges::Told);
            // Flushed here, so that `line` may be cancelled.
            wire.flush().await?;
            tokio::select! {
                input = wire.line() => return Ok(match input? {
                    Input::Line(line) if line.eq_ignore_ascii_case(b"DONE") => Done::Ok("IDLE".to_owned()),
                    Input::TooLong | Input::End => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Input::Line(_) | Input::Malformed => Done::Bad,
                }),
                changed = self.changes.changed() => changed.expect("the mailbox is held by this session"),
            }
        }
    }

    fn may_announce_expunges(&self, command: &str) -> bool {
        !matches!(command, "FETCH" | "STORE" | "SEARCH")
    }

    /// Tells what other sessions, or this one, have changed in the selected folder.
    fn announce(&mut self, wire: &mut Wire, expunges: Expunges) {
        let Some(selected) = &mut self.selected else { return };
        let now = *self.changes.borrow();
        if selected.told == now {
            return;
        }
        let view = &mut selected.view;
        self.mailbox.read(|folders| {
            let Some(folder) = folders.get(&selected.name) else { return };
            if let Expunges::Told = expunges {
                selected.told = now;
                let mut number = 1;
                view.retain(|uid| {
                    let there = folder.messages.contains_key(uid);
                    if there {
                        number += 1;
                    } else {
                        wire.put(format!("* {number} EXPUNGE\r\n"));
                    }
                    there
                });
            }
            let newest = view.last().copied().unwrap_or(0);
            let before = view.len();
            view.extend(folder.messages.range(newest + 1..).map(|(uid, _)| *uid));
            if view.len() > before {
                wire.put(format!("* {} EXISTS\r\n* 0 RECENT\r\n", view.len()));
            }
        });
    }
}

impl Selected {
    /// RFC 3501 6.4.5.
    async fn fetch(&self, wire: &mut Wire, mailbox: &Mailbox, parser: &mut Parser<'_>, by: By) -> io::Result<Done> {
        let Some(set) = parser.sequence_set() else { return Ok(Done::Bad) };
        parser.space();
        let Some(mut items) = fetch::parse(parser) else { return Ok(Done::Bad) };
        if !parser.is_done() {
            return Ok(Done::Bad);
        }
        if by == By::Uid && !items.contains(&Item::Uid) {
            items.push(Item::Uid);
        }
        for (number, uid) in self.members(&set, by) {
            let Some(mut message) = mailbox.read(|folders| folders.get(&self.name)?.messages.get(&uid).cloned()) else {
                continue;
            };
            let mut shown = items.clone();
            let sees = !self.read_only && items.iter().any(Item::sets_seen) && !message.flags.contains(Flags::SEEN);
            if sees {
                message.flags = message.flags.with(Flags::SEEN);
                mailbox.set_flags(&self.name, uid, message.flags);
                if !shown.contains(&Item::Flags) {
                    shown.push(Item::Flags);
                }
            }
            fetch::write(wire, number, uid, &message, &shown).await?;
        }
        Ok(Done::Ok("FETCH".to_owned()))
    }

    /// RFC 3501 6.4.4.
    fn search(&self, wire: &mut Wire, mailbox: &Mailbox, parser: &mut Parser<'_>, by: By) -> Done {
        let Some(key) = Key::parse(parser) else { return Done::Bad };
        let largest_number = number_of(self.view.len());
        let largest_uid = self.view.last().copied().unwrap_or(0);
        let mut found = "* SEARCH".to_owned();
        mailbox.read(|folders| {
            let Some(folder) = folders.get(&self.name) else { return };
            for (index, uid) in self.view.iter().enumerate() {
                let Some(message) = folder.messages.get(uid) else { continue };
                let number = number_of(index + 1);
                let candidate = Candidate { number, uid: *uid, message, largest_number, largest_uid };
                if key.matches(&candidate) {
                    let _ = write!(found, " {}", if by == By::Uid { *uid } else { number });
                }
            }
        });
        wire.put(found + "\r\n");
        Done::Ok("SEARCH".to_owned())
    }

    /// RFC 3501 6.4.6.
    fn store(&self, wire: &mut Wire, mailbox: &Mailbox, parser: &mut Parser<'_>, by: By) -> Done {
        let Some(set) = parser.sequence_set() else { return Done::Bad };
        parser.space();
        let sign = parser.peek().filter(|sign| b"+-".contains(sign));
        if let Some(sign) = sign {
            parser.eat(sign);
        }
        let Some(what) = parser.word().map(str::to_ascii_uppercase) else { return Done::Bad };
        parser.space();
        let names = if parser.peek() == Some(b'(') {
            parser.list(Parser::flag)
        } else {
            parser.flag().map(|first| {
                std::iter::once(first)
                    .chain(std::iter::from_fn(|| {
                        parser.space();
                        parser.flag()
                    }))
                    .collect()
            })
        };
        let Some(names) = names.filter(|_| matches!(what.as_str(), "FLAGS" | "FLAGS.SILENT")) else { return Done::Bad };
        if self.read_only {
            return Done::No("The folder is read-only.");
        }
        let flags = names.into_iter().fold(Flags::default(), |flags, name| flags.with(Flags::named(name)));
        for (number, uid) in self.members(&set, by) {
            let known = mailbox.read(|folders| Some(folders.get(&self.name)?.messages.get(&uid)?.flags));
            let Some(known) = known else { continue };
            let stored = match sign {
                Some(b'+') => known.with(flags),
                Some(_) => known.without(flags),
                None => flags,
            };
            mailbox.set_flags(&self.name, uid, stored);
            if what == "FLAGS" {
                let uid = if by == By::Uid { format!(" UID {uid}") } else { String::new() };
                wire.put(format!("* {number} FETCH (FLAGS ({stored}){uid})\r\n"));
            }
        }
        Done::Ok("STORE".to_owned())
    }

    /// RFC 3501 6.4.7 and RFC 6851, with the response codes of RFC 4315.
    fn copy(&self, wire: &mut Wire, mailbox: &Mailbox, parser: &mut Parser<'_>, by: By, name: &str) -> Done {
        let Some(set) = parser.sequence_set() else { return Done::Bad };
        parser.space();
        let Some(target) = parser.mailbox() else { return Done::Bad };
        let moves = name == "MOVE";
        if moves && self.read_only {
            return Done::No("The folder is read-only.");
        }
        let uids: Vec<u32> = self.members(&set, by).map(|(_, uid)| uid).collect();
        let copied = mailbox.change(|folders| {
            let source = folders.get(&self.name)?;
            let messages: Vec<(u32, Message)> =
                uids.iter().filter_map(|uid| Some((*uid, source.messages.get(uid)?.clone()))).collect();
            let folder = folders.get_mut(&target)?;
            let (mut from, mut to) = (Vec::new(), Vec::new());
            for (uid, message) in messages {
                from.push(uid.to_string());
                to.push(folder.append(message).to_string());
            }
            let validity = folder.uid_validity;
            if moves && let Some(source) = folders.get_mut(&self.name) {
                for uid in &uids {
                    source.messages.remove(uid);
                }
            }
            Some((validity, from, to))
        });
        match copied {
            None => Done::No("[TRYCREATE] The folder does not exist."),
            Some((_, from, _)) if from.is_empty() => Done::Ok(name.to_owned()),
            Some((validity, from, to)) => {
                let code = format!("[COPYUID {validity} {} {}]", from.join(","), to.join(","));
                if moves {
                    // Ahead of the EXPUNGE responses (RFC 6851 4.3).
                    wire.put(format!("* OK {code}\r\n"));
                    return Done::Ok(name.to_owned());
                }
                Done::Ok(format!("{code} {name}"))
            }
        }
    }

    /// RFC 3501 6.4.3, RFC 4315 2.1. What is gone is announced behind the command.
    fn expunge(&self, mailbox: &Mailbox, only: Option<&SequenceSet>) {
        if self.read_only {
            return;
        }
        let largest = self.view.last().copied().unwrap_or(0);
        mailbox.change(|folders| {
            if let Some(folder) = folders.get_mut(&self.name) {
                let goes = |uid: u32| only.is_none_or(|set| set.contains(uid, largest));
                folder.messages.retain(|uid, message| !(message.flags.contains(Flags::DELETED) && goes(*uid)));
            }
        });
    }

    /// Sequence number and UID of each message that the set names.
    fn members<'a>(&'a self, set: &'a SequenceSet, by: By) -> impl Iterator<Item = (u32, u32)> + 'a {
        let largest = match by {
            By::Sequence => number_of(self.view.len()),
            By::Uid => self.view.last().copied().unwrap_or(0),
        };
        let numbered = (1_u32..).zip(self.view.iter().copied());
        numbered.filter(move |(number, uid)| set.contains(if by == By::Uid { *uid } else { *number }, largest))
    }
}

/// The next command; `None` after the silence that [`ExchangeFault::IdleTimeout`] allows.
async fn next(wire: &mut Wire) -> io::Result<Option<Framed>> {
    let limit = wire.service().with_fault(|fault| match fault {
        Some(ExchangeFault::IdleTimeout(time)) => Some(*time),
        _ => None,
    });
    let Some(limit) = limit else { return read_command(wire).await.map(Some) };
    tokio::time::timeout(limit, read_command(wire)).await.ok().transpose()
}

fn describe(folder: &Folder, read_only: bool) -> String {
    let names = Flags::NAMES;
    let flags = names.join(" ");
    let permanent = if read_only { "" } else { &flags };
    let mut text = format!(
        "* {} EXISTS\r\n* 0 RECENT\r\n* FLAGS ({flags})\r\n* OK [PERMANENTFLAGS ({permanent})] Permanent flags\r\n",
        folder.messages.len()
    );
    let unseen = folder.messages.values().position(|message| !message.flags.contains(Flags::SEEN));
    if let Some(index) = unseen {
        let _ = write!(text, "* OK [UNSEEN {}] Is the first unseen message\r\n", index + 1);
    }
    let (validity, next) = (folder.uid_validity, folder.uid_next);
    let _ = write!(
        text,
        "* OK [UIDVALIDITY {validity}] UIDVALIDITY value\r\n* OK [UIDNEXT {next}] The next unique identifier value\r\n"
    );
    text
}

/// RFC 3501 6.3.8: `*` is anything, `%` is anything but the delimiter. INBOX is matched in any case.
fn matches(name: &str, pattern: &str) -> bool {
    fn rest(name: &[u8], pattern: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', tail)) => (0..=name.len()).any(|skip| rest(&name[skip..], tail)),
            Some((b'%', tail)) => {
                let level = name.iter().position(|octet| *octet == b'/').unwrap_or(name.len());
                (0..=level).any(|skip| rest(&name[skip..], tail))
            }
            Some((first, tail)) => name.split_first().is_some_and(|(octet, name)| octet == first && rest(name, tail)),
        }
    }
    // Runs of wildcards would try every split of the name among them.
    let mut short = String::new();
    for letter in pattern.chars().take(1000) {
        if !(letter == '*' && short.ends_with('*')) {
            short.push(letter);
        }
    }
    if short.matches(['*', '%']).count() > 8 {
        return false;
    }
    let inbox = name == "INBOX" && short.eq_ignore_ascii_case("INBOX");
    inbox || rest(name.as_bytes(), short.as_bytes())
}

fn number_of(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Exchange's words for this are not known.
const MISSING: Done = Done::No("The folder does not exist.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_list() {
        for (name, pattern, expected) in [
            ("INBOX", "*", true),
            ("INBOX", "inbox", true),
            ("Reports/2026", "*", true),
            ("Reports/2026", "%", false),
            ("Reports/2026", "Reports/%", true),
            ("Sent Items", "Sent*", true),
            ("Sent Items", "sent*", false),
            ("Sent Items", "Sent", false),
        ] {
            assert_eq!(matches(name, pattern), expected, "{name} {pattern}");
        }
    }

    #[test]
    fn a_folder_is_described_as_exchange_does() {
        let mailbox = Mailbox::new(vec![b"A: b\r\n\r\n".to_vec()]);
        let text = mailbox.read(|folders| describe(folders.get("INBOX").unwrap(), false));
        assert_eq!(
            text,
            "* 1 EXISTS\r\n\
             * 0 RECENT\r\n\
             * FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $MDNSent)\r\n\
             * OK [PERMANENTFLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $MDNSent)] Permanent flags\r\n\
             * OK [UNSEEN 1] Is the first unseen message\r\n\
             * OK [UIDVALIDITY 14] UIDVALIDITY value\r\n\
             * OK [UIDNEXT 2] The next unique identifier value\r\n"
        );
    }
}
