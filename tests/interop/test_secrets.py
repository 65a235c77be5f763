"""What all the other tests have left in the logs, at the loudest setting: no password, no token, no client secret."""

import base64
import re

import case
import servers

SHORTEST = 8  # octets; anything shorter may stand in a log by chance


class Secrets(case.Case):
    def setUp(self):
        """At least one login by each protocol, should this be the only test that runs."""
        for connect in (self.imap, self.pop3, self.smtp):
            connect(self.front).login(self.world.sample)

    def logs(self, *kinds):
        found = [server for server in self.world.everything if isinstance(server, kinds)]
        self.assertTrue(found)
        for server in found:
            yield server, server.log.read_bytes()

    def assert_absent(self, text, what, server, log):
        """`assertNotIn` would print the log."""
        at = log.find(text)
        if at >= 0:
            line = log[log.rfind(b"\n", 0, at) + 1 : log.find(b"\n", at)]
            self.fail(f"{what} in the log of {server.name}: {line[:500]!r}")

    def assert_secret(self, secret, what, server, log):
        for spelling, text in spellings(secret).items():
            self.assert_absent(text, f"{what}, {spelling},", server, log)

    def test_no_password(self):
        for server, log in self.logs(servers.Proxy, servers.Dovecot):
            if server is self.world.reference:
                continue
            with self.subTest(server=server.name):
                for account in self.world.accounts:
                    # Without the last octet: so that the wrong passwords of other tests count too.
                    password = account.password[:-1]
                    if len(password) >= SHORTEST:
                        self.assert_secret(password, "a password", server, log)

    def test_no_token(self):
        """Neither bare, as a JWT, nor inside an XOAUTH2 response, which is the base64 of `user=...`."""
        for server, log in self.logs(servers.Proxy):
            with self.subTest(server=server.name):
                self.assert_absent(b"dXNlcj", "an XOAUTH2 response", server, log)
                for encoded in re.findall(rb"eyJ[\w+/-]*", log):
                    text = base64.urlsafe_b64decode(encoded[: len(encoded) & ~3])
                    # JSON in base64 it is, but only Dovecot's reason for a refusal.
                    self.assertTrue(text.startswith(b'{"status"'), text)

    def test_no_client_secret(self):
        secret = self.world.simulator.secret_file().read_bytes().strip()
        for server, log in self.logs(servers.Proxy):
            for known in (secret, b"not-the-secret"):
                self.assert_secret(known, "a client secret", server, log)

    def test_no_panic(self):
        for server, log in self.logs(servers.Proxy):
            self.assert_absent(b"panicked", "a panic", server, log)

    def test_tokens_only_over_tls_and_nothing_but_xoauth2(self):
        """Dovecot's own account of every login."""
        for server, log in self.logs(servers.Dovecot):
            if server is not self.world.reference:
                for login in re.findall(rb"login: Info: Login: .*", log):
                    self.assertRegex(login, rb"method=XOAUTH2, .*, TLS, ")


def spellings(secret):
    """How a log might have it."""
    found = {
        "as it is": secret,
        "escaped": repr(secret)[2:-1].encode(),
        "escaped as Rust does": secret.replace(b"\\", b"\\\\").replace(b'"', b'\\"'),
        "in hexadecimal": secret.hex().encode(),
        "as numbers": ", ".join(map(str, secret)).encode(),
        "percent-encoded": "".join(chr(b) if chr(b).isalnum() and b < 128 else f"%{b:02X}" for b in secret).encode(),
    }
    # Base64 of whatever stands in front of it: three ways, less the characters that depend on the neighbours.
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret)
        found[f"in base64, {before} octets on"] = encoded[(0, 2, 3)[before] : len(encoded) - 4]
    return found
