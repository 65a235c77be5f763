"""Who comes in: every name and password of a profile, and nobody else as far as the mail server."""

import case
import corpus


class Admission(case.Case):
    def log_in(self, front, account, username=None):
        """The tagged response, and the status line of PASS."""
        name = (username or account.mailbox).encode()
        return [way(front).ask_login(name, account.password) for way in (self.imap, self.pop3)]

    def assert_admitted(self, account, username=None):
        by_imap, by_pop3 = self.log_in(self.front, account, username)
        self.assertTrue(by_imap.startswith(b"l OK"), by_imap)
        self.assertTrue(by_pop3.startswith(b"+OK"), by_pop3)

    def test_every_name(self):
        for name in ("sample@example.com", "sample", "OFFICE\\sample"):
            for spelled in (name, name.upper(), name.lower()):
                with self.subTest(spelled):
                    self.assert_admitted(self.world.sample, spelled)

    def test_every_password(self):
        """Two for one mailbox, one as a hash, one from the environment; the other tests have theirs in files."""
        for account in (self.world.several, self.world.several_more, self.world.hashed, self.world.variable):
            with self.subTest(account.password):
                self.assert_admitted(account)

    def test_a_domain_in_one_profile(self):
        """Each name opens its own mailbox."""
        for account in self.world.wild:
            self.world.add_messages(account, [corpus.header(account.mailbox)])
        for account in self.world.wild:
            self.assert_admitted(account)
            imap = self.imap(self.front)
            imap.login(account)
            self.assertEqual(list(imap.messages().values()), [corpus.header(account.mailbox)])

    @case.everywhere
    def refused_clients_do_not_reach_the_mail_server(self, front):
        sample, other = self.world.sample, self.world.corpus
        before = self.world.dovecot.handshakes()
        refused = [
            (case.wrong(sample), None),
            (sample, "nobody@example.com"),
            (sample, other.mailbox),
            (other, sample.mailbox),
            (case.wrong(self.world.hashed), None),
            (case.wrong(self.world.wild[0]), None),
            (self.world.wild[0], "one@wilderness.example"),
        ]
        for account, username in refused:
            by_imap, by_pop3 = self.log_in(front, account, username)
            self.assertTrue(by_imap.startswith(b"l NO [AUTHENTICATIONFAILED]"), by_imap)
            self.assertTrue(by_pop3.startswith(b"-ERR [AUTH]"), by_pop3)
        self.assertEqual(self.world.dovecot.handshakes(), before)
        # And that this would have been seen: one connection by each protocol.
        self.log_in(front, sample)
        self.assertEqual(self.world.dovecot.handshakes(), before + 2)
