"""Python's imaplib: awkward passwords, SASL, APPEND, IDLE, and the commands of a working day."""

import imaplib
import re

import case
import corpus


class Imaplib(case.Case):
    def connect(self, front):
        trust, port = self.world.trust, front.port("imap")
        if front.tls == "implicit":
            imap = imaplib.IMAP4_SSL("localhost", port, ssl_context=trust, timeout=30)
        else:
            imap = imaplib.IMAP4("localhost", port, timeout=30)
        if front.tls == "starttls":
            imap.starttls(trust)
        self.addCleanup(lambda: imap.sock.close())
        # So that a password's bytes go out as they are.
        imap._encoding = "latin-1"
        return imap

    def login(self, front, account, username=None):
        imap = self.connect(front)
        imap.login(username or account.mailbox, account.password.decode("latin-1"))
        return imap

    def ok(self, answer):
        self.assertEqual(answer[0], "OK", answer)
        return answer[1]

    @case.everywhere
    def fetches_all(self, front):
        imap = self.login(front, self.world.corpus)
        self.ok(imap.select("INBOX", readonly=True))
        answer = self.ok(imap.uid("FETCH", "1:*", "(UID BODY.PEEK[])"))
        messages = {int(re.search(rb"UID (\d+)", part[0])[1]): part[1] for part in answer if isinstance(part, tuple)}
        self.assert_same_messages([messages[uid] for uid in sorted(messages)], self.world.messages(self.world.corpus))
        self.assertEqual(imap.logout()[0], "BYE")

    @case.everywhere
    def a_working_day(self, front):
        """SELECT, SEARCH, STORE, COPY, EXPUNGE, NOOP, CHECK, CREATE, STATUS, CLOSE."""
        account = self.world.new_mailbox(corpus.sample())
        imap = self.login(front, account)
        (count,) = self.ok(imap.select())
        self.ok(imap.create("Archive"))
        for command in (imap.noop, imap.check):
            self.ok(command())
        (found,) = self.ok(imap.search(None, "SUBJECT", "dots"))
        dots = found.split()
        self.assertGreater(len(dots), 1)
        self.ok(imap.copy(b",".join(dots).decode(), "Archive"))
        self.ok(imap.store(b",".join(dots).decode(), "+FLAGS", "\\Deleted"))
        self.assertEqual(len(self.ok(imap.expunge())), len(dots))
        self.ok(imap.close())
        (status,) = self.ok(imap.status("INBOX", "(MESSAGES)"))
        self.assertIn(b"MESSAGES %d" % (int(count) - len(dots)), status)
        imap.logout()
        with self.world.direct_imap(account) as direct:
            self.assertEqual(len(direct.messages(b"Archive")), len(dots))

    @case.everywhere
    def append(self, front):
        account = self.world.new_mailbox()
        imap = self.login(front, account)
        messages = [corpus.attachment(6_000_000), *corpus.generated()]
        for message in messages:
            self.ok(imap.append("INBOX", "(\\Seen)", '"21-Nov-1997 09:55:06 -0600"', message))
        imap.logout()
        # imaplib makes every CR and LF of its own accord a CRLF.
        expected = [imaplib.MapCRLF.sub(b"\r\n", message) for message in messages]
        self.assert_same_messages(self.world.messages(account), expected)

    @case.everywhere
    def idle(self, front):
        """A message that arrives over another connection is told while the client waits."""
        account = self.world.new_mailbox(corpus.generated())
        imap, other = self.login(front, account), self.login(front, account)
        (count,) = self.ok(imap.select())
        for number in range(int(count) + 1, int(count) + 3):
            imap.send(b"idle1 IDLE\r\n")
            self.assertTrue(imap.readline().startswith(b"+"))
            self.ok(other.append("INBOX", None, None, corpus.header("news") + b"news\r\n"))
            self.assertEqual(imap.readline(), b"* %d EXISTS\r\n" % number)
            imap.send(b"DONE\r\n")
            while not (line := imap.readline()).startswith(b"idle1 "):
                self.assertTrue(line.startswith(b"* "), line)
            self.assertTrue(line.startswith(b"idle1 OK"), line)
        other.logout()
        imap.logout()

    @case.everywhere
    def sasl(self, front):
        account = self.world.sample
        name = account.mailbox.encode()
        responses = {
            "PLAIN": [b"\0%s\0%s" % (name, account.password)],
            "LOGIN": [name, account.password],
        }
        for mechanism, said in responses.items():
            with self.subTest(mechanism):
                imap, said = self.connect(front), iter(said)
                self.assertIn(f"AUTH={mechanism}", imap.capabilities)
                self.ok(imap.authenticate(mechanism, lambda challenge: next(said)))
                self.ok(imap.select(readonly=True))
                imap.logout()

    def test_sasl_cancelled(self):
        imap = self.connect(self.front)
        with self.assertRaises(imap.error):
            imap.authenticate("PLAIN", lambda challenge: None)
        self.ok(imap.login(self.world.sample.mailbox, self.world.sample.text))

    def test_awkward_passwords(self):
        for name, account in self.world.awkward.items():
            with self.subTest(name):
                self.login(self.front, account).logout()

    def test_wrong_password_and_again(self):
        imap = self.connect(self.front)
        with self.assertRaisesRegex(imap.error, "AUTHENTICATIONFAILED"):
            imap.login(self.world.sample.mailbox, "wrong")
        self.ok(imap.login(self.world.sample.mailbox, self.world.sample.text))
        self.ok(imap.select(readonly=True))
