"""After the login the proxy is to be a wire: what comes through it is, octet for octet, what Dovecot has said."""

import re

import case
import corpus

# Dovecot tells how long a command took, in tagged responses only.
TIMING = re.compile(rb" \([0-9. +]+ secs\)\.\r\n\Z")
IMAP = [
    b'LIST "" "*"',
    b"EXAMINE INBOX",
    b"UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)",
    b"UID FETCH 1:* (BODY.PEEK[])",
    b"FETCH 1:20 (BODY.PEEK[HEADER] BODY.PEEK[TEXT]<3.70>)",
    b"UID SEARCH SUBJECT dots",
    b"UID SEARCH SUBJECT {4+}\r\ndots",
    b"NONSENSE",
    b"LOGOUT",
]


class Relay(case.Case):
    @case.everywhere
    def imap_stream(self, front):
        proxied = self.imap(front)
        proxied.login(self.world.corpus)
        with self.world.direct_imap(self.world.corpus) as direct:
            self.assert_same_bytes(imap_session(proxied), imap_session(direct), "the stream")

    @case.everywhere
    def pop3_stream(self, front):
        proxied = self.pop3(front)
        proxied.login(self.world.corpus)
        through = pop3_session(proxied)
        self.assertGreater(len(through), corpus.ATTACHMENT)
        with self.world.direct_pop3(self.world.corpus) as direct:
            self.assert_same_bytes(through, pop3_session(direct), "the stream")

    def test_the_corpus_is_what_was_stored(self):
        """Or else the comparisons would compare less than they seem to."""
        self.assert_same_messages(self.world.messages(self.world.corpus), list(corpus.messages()))


def imap_session(imap):
    """One command after another: Dovecot treats pipelined FETCHes one way or another, as its time allows."""
    stream = []
    for command in IMAP:
        imap.send(b"t " + command + b"\r\n")
        for parts in imap.responses(b"t"):
            stream += [*parts[:-1], TIMING.sub(b"\r\n", parts[-1])]
    return b"".join([*stream, imap.rest()])


def pop3_session(pop3):
    """All commands in one segment, but for the last.

    With a QUIT behind them Dovecot 2.3 itself, at the end of a TLS connection, now and then forgets its last 2 KiB.
    """
    count = len(list(corpus.messages()))
    listings = [b"LIST", b"UIDL", b"TOP 3 2", *(b"RETR %d" % number for number in range(1, count + 1))]
    pop3.send(b"\r\n".join([b"STAT", b"NONSENSE", *listings, b""]))
    stream = [pop3.line(), pop3.line()]
    for _ in listings:
        stream += [pop3.line(), pop3.multi_line()]
    pop3.send(b"QUIT\r\n")
    return b"".join([*stream, pop3.rest()])
