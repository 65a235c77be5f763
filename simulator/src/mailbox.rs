//! A mailbox: folders of messages with UIDs and flags (RFC 3501 2.3). It knows no protocol.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::clock;

/// All sessions of a mailbox share it.
#[derive(Debug)]
pub(crate) struct Mailbox {
    folders: Mutex<Folders>,
    /// Counts what came and went, for those who IDLE.
    changes: watch::Sender<u64>,
}

/// By name. INBOX is upper case, whatever the client wrote.
#[derive(Debug)]
pub(crate) struct Folders {
    by_name: BTreeMap<String, Folder>,
    next_validity: u32,
}

#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) uid_validity: u32,
    pub(crate) uid_next: u32,
    /// By UID.
    pub(crate) messages: BTreeMap<u32, Message>,
}

#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// As it was added, octet for octet.
    pub(crate) data: Bytes,
    pub(crate) flags: Flags,
    /// Seconds since 1970.
    pub(crate) internal_date: u64,
}

/// The flags that Exchange keeps; others are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags(u8);

impl Mailbox {
    pub(crate) fn new(messages: Vec<Vec<u8>>) -> Self {
        let mut folders = Folders { by_name: BTreeMap::new(), next_validity: 14 };
        for name in ["INBOX", "Archive", "Deleted Items", "Drafts", "Junk Email", "Sent Items"] {
            folders.create(name);
        }
        if let Some(inbox) = folders.get_mut("INBOX") {
            for message in messages {
                inbox.append(Message::new(message));
            }
        }
        Self { folders: Mutex::new(folders), changes: watch::Sender::new(0) }
    }

    pub(crate) fn deliver(&self, message: Vec<u8>) {
        self.change(|folders| {
            if let Some(inbox) = folders.get_mut("INBOX") {
                inbox.append(Message::new(message));
            }
        });
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&Folders) -> T) -> T {
        look(&self.lock())
    }

    /// As [`read`](Self::read); those who wait for changes are woken.
    pub(crate) fn change<T>(&self, edit: impl FnOnce(&mut Folders) -> T) -> T {
        let outcome = edit(&mut self.lock());
        self.changes.send_modify(|count| *count += 1);
        outcome
    }

    /// Flags are set quietly: other sessions are told only of messages that come and go.
    pub(crate) fn set_flags(&self, folder: &str, uid: u32, flags: Flags) {
        let mut folders = self.lock();
        if let Some(message) = folders.get_mut(folder).and_then(|folder| folder.messages.get_mut(&uid)) {
            message.flags = flags;
        }
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Folders> {
        self.folders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Folders {
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Folder> {
        self.by_name.get(&canonical(name))
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Folder> {
        self.by_name.get_mut(&canonical(name))
    }

    /// False if there is one of that name.
    pub(crate) fn create(&mut self, name: &str) -> bool {
        let name = canonical(name);
        if name.is_empty() || self.by_name.contains_key(&name) {
            return false;
        }
        let folder = Folder { uid_validity: self.next_validity, uid_next: 1, messages: BTreeMap::new() };
        self.next_validity += 1;
        self.by_name.insert(name, folder);
        true
    }

    /// False for INBOX, and if there is none of that name.
    pub(crate) fn delete(&mut self, name: &str) -> bool {
        let name = canonical(name);
        name != "INBOX" && self.by_name.remove(&name).is_some()
    }

    /// False for INBOX, if there is none of the old name, and if there is one of the new name.
    pub(crate) fn rename(&mut self, from: &str, to: &str) -> bool {
        let (from, to) = (canonical(from), canonical(to));
        if from == "INBOX" || to.is_empty() || self.by_name.contains_key(&to) {
            return false;
        }
        match self.by_name.remove(&from) {
            Some(folder) => self.by_name.insert(to, folder).is_none(),
            None => false,
        }
    }
}

impl Folder {
    /// Returns the message's UID.
    pub(crate) fn append(&mut self, message: Message) -> u32 {
        let uid = self.uid_next;
        self.uid_next += 1;
        self.messages.insert(uid, message);
        uid
    }
}

impl Message {
    pub(crate) fn new(data: Vec<u8>) -> Self {
        Self { data: data.into(), flags: Flags::default(), internal_date: clock::now() }
    }
}

impl Flags {
    pub(crate) const SEEN: Self = Self(1);
    pub(crate) const DELETED: Self = Self(8);

    /// In the order of Exchange's FLAGS response.
    pub(crate) const NAMES: [&'static str; 6] =
        ["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$MDNSent"];

    /// No flags for a name that Exchange does not keep.
    pub(crate) fn named(name: &str) -> Self {
        let position = Self::NAMES.iter().position(|known| known.eq_ignore_ascii_case(name));
        Self(position.map_or(0, |position| 1 << position))
    }

    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// As in a FLAGS list, without the parentheses.
impl std::fmt::Display for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set = (0..).zip(Self::NAMES).filter(|(bit, _)| self.0 & 1 << bit != 0).map(|(_, name)| name);
        f.write_str(&set.collect::<Vec<_>>().join(" "))
    }
}

/// RFC 3501 5.1: INBOX in any case is INBOX. A trailing delimiter says that children are to come.
pub(crate) fn canonical(name: &str) -> String {
    let name = name.strip_suffix('/').unwrap_or(name);
    if name.eq_ignore_ascii_case("INBOX") { "INBOX".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_are_never_given_twice() {
        let mailbox = Mailbox::new(vec![b"a".to_vec(), b"b".to_vec()]);
        mailbox.change(|folders| {
            let inbox = folders.get_mut("inbox").unwrap();
            inbox.messages.remove(&2);
            assert_eq!(inbox.append(Message::new(b"c".to_vec())), 3);
        });
    }

    #[test]
    fn inbox_stays() {
        let mailbox = Mailbox::new(vec![]);
        mailbox.change(|folders| {
            assert!(!folders.delete("Inbox") && !folders.rename("INBOX", "x") && !folders.create("inbox"));
            assert!(folders.create("Reports/2026") && folders.rename("Reports/2026", "Old") && folders.delete("Old"));
        });
    }

    #[test]
    fn flags_by_name() {
        let flags = Flags::named("\\seen").with(Flags::named("$MDNSent")).with(Flags::named("custom"));
        assert_eq!(flags.to_string(), "\\Seen $MDNSent");
        assert!(flags.contains(Flags::SEEN) && !flags.contains(Flags::DELETED));
        assert_eq!(flags.without(Flags::SEEN).to_string(), "$MDNSent");
    }
}
