"""Dovecot must be a fair judge of tokens, or the other tests prove nothing. The proxy has no part in these."""

import time

import case
import servers
import world


class Tokens(case.Case):
    def verdict(self, token, mailbox=None):
        """What IMAP, POP3 and SMTP say to it: the error challenges and the verdicts."""
        past_the_proxy = world.Front(self.world.dovecot, "implicit")
        mailbox = mailbox or self.world.sample.mailbox
        return [way(past_the_proxy).xoauth2(mailbox, token) for way in (self.imap, self.pop3, self.smtp)]

    def claims(self, **changed):
        return servers.jwt_claims(self.world.simulator.token()) | changed

    def assert_refused(self, said):
        for (challenge, verdict), refusal in zip(said, (b"x NO", b"-ERR", b"535 ")):
            self.assertIn(b'"status"', challenge or b"")
            self.assertTrue(verdict.startswith(refusal), verdict)

    def assert_admitted(self, said):
        for (challenge, verdict), success in zip(said, (b"x OK", b"+OK", b"235 ")):
            self.assertIsNone(challenge)
            self.assertTrue(verdict.startswith(success), verdict)

    def test_one_token_opens_every_mailbox(self):
        token = self.world.simulator.token()
        for account in (self.world.sample, self.world.corpus):
            self.assert_admitted(self.verdict(token, account.mailbox))

    def test_an_unknown_mailbox_is_refused(self):
        self.assert_refused(self.verdict(self.world.simulator.token(), self.world.stranger.mailbox))

    def test_a_wrong_signature_is_refused(self):
        head, body, signature = self.world.simulator.token().split(".")
        forged = signature[:9] + ("A" if signature[9] != "A" else "B") + signature[10:]
        self.assert_refused(self.verdict(f"{head}.{body}.{forged}"))

    def test_only_an_unexpired_app_token_of_the_tenant_is_taken(self):
        self.assert_admitted(self.verdict(self.world.signer.sign(self.claims())))
        faults = {
            "expired": {"exp": int(time.time()) - 60},
            "issuer": {"iss": "https://localhost/elsewhere"},
            "person": {"idtyp": "user"},
        }
        for fault, claims in faults.items():
            with self.subTest(fault):
                self.assert_refused(self.verdict(self.world.signer.sign(self.claims(**claims))))

    def test_a_password_is_not_a_token(self):
        self.assert_refused(self.verdict("as if it were a password"))
