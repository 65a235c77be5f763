"""curl: SASL with and without an initial response, the LOGIN command, and every message."""

import shutil
import subprocess

import case
import corpus

DEADLINE = 120


class Curl(case.Case):
    def curl(self, front, protocol, account, *arguments, username=None, status=0):
        """Runs curl; every `URL...` among the arguments is what follows the host."""
        scheme = f"{protocol}s" if front.tls == "implicit" else protocol
        base = f"{scheme}://localhost:{front.port(protocol)}/"
        words = [a.replace("URL", base, 1) if isinstance(a, str) else a for a in arguments]
        login = (username or account.mailbox).encode() + b":" + account.password
        tls = ["--ssl-reqd"] if front.tls == "starttls" else []
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--cacert", self.world.simulator.ca, *tls, "--user", login, *words],
            capture_output=True,
            timeout=DEADLINE,
        )
        self.assertEqual(done.returncode, status, done.stderr.decode(errors="replace"))
        return done.stdout

    def fetch_all(self, front, protocol, account, url, *options):
        """Every message into a file of its own, over one connection."""
        count = len(self.world.messages(account))
        folder = self.world.root / self.id()
        folder.mkdir()
        self.curl(front, protocol, account, *options, f"URL{url}[1-{count}]", "--output", folder / "#1")
        fetched = [(folder / str(number)).read_bytes() for number in range(1, count + 1)]
        shutil.rmtree(folder)
        return fetched

    @case.everywhere
    def imap_fetches_all(self, front):
        fetched = self.fetch_all(front, "imap", self.world.corpus, "INBOX;MAILINDEX=")
        self.assert_same_messages(fetched, self.world.messages(self.world.corpus))

    @case.everywhere
    def pop3_retrieves_all(self, front):
        fetched = self.fetch_all(front, "pop3", self.world.corpus, "")
        # POP3 ends the last line of a message that IMAP leaves open.
        expected = [m if m.endswith(b"\r\n") else m + b"\r\n" for m in self.world.messages(self.world.corpus)]
        self.assert_same_messages(fetched, expected)

    def imap_options(self):
        """The ways to log in, as far as this curl knows them: 7.88 has no word for the LOGIN command yet."""
        sasl = [["AUTH=PLAIN"], ["AUTH=LOGIN"], ["AUTH=PLAIN", "--sasl-ir"], ["AUTH=LOGIN", "--sasl-ir"]]
        probe = ["curl", "--silent", "--login-options", "AUTH=+LOGIN", f"imap://localhost:{self.front.port('imap')}/"]
        malformed = subprocess.run(probe, capture_output=True, timeout=DEADLINE).returncode == 3
        return sasl if malformed else [*sasl, ["AUTH=+LOGIN"]]

    @case.everywhere
    def imap_login_options(self, front):
        with self.world.direct_imap(self.world.sample) as imap:
            mailboxes = b"".join(parts[0] for parts in imap.command(b'LIST "" *')[:-1])
            uids = sorted(imap.messages().items())
        for options in self.imap_options():
            with self.subTest(options):
                options = ["--login-options", *options]
                listed = self.curl(front, "imap", self.world.sample, *options, "URL")
                self.assert_same_bytes(listed, mailboxes, "LIST")
                for uid, message in uids[:5]:
                    fetched = self.curl(front, "imap", self.world.sample, *options, f"URLINBOX;UID={uid}")
                    self.assert_same_bytes(fetched, message, f"UID {uid}")

    @case.everywhere
    def pop3_login_options(self, front):
        """Whatever the server offers beside SASL, this curl sends USER and PASS only where there is no SASL at all."""
        with self.world.direct_pop3(self.world.sample) as pop3:
            pop3.command(b"LIST")
            listing = pop3.multi_line().removesuffix(b".\r\n")
        for options in (["AUTH=PLAIN"], ["AUTH=LOGIN"], ["AUTH=PLAIN", "--sasl-ir"], ["AUTH=LOGIN", "--sasl-ir"]):
            with self.subTest(options):
                listed = self.curl(front, "pop3", self.world.sample, "--login-options", *options, "URL")
                self.assert_same_bytes(listed, listing, "LIST")

    def test_awkward_passwords(self):
        ways = [("imap", options) for options in self.imap_options()]
        ways += [("pop3", options) for options in (["AUTH=PLAIN"], ["AUTH=LOGIN"])]
        for name, account in self.world.awkward.items():
            for protocol, options in ways:
                with self.subTest(f"{name} by {protocol} {options}"):
                    self.curl(self.front, protocol, account, "--login-options", *options, "URL")

    def test_wrong_password(self):
        account = case.wrong(self.world.sample)
        for protocol in ("imap", "pop3"):
            with self.subTest(protocol):
                # 67: the remote server denied the login.
                self.curl(self.front, protocol, account, "URL", status=67)

    def test_append(self):
        """curl --upload-file over IMAP."""
        account = self.world.new_mailbox()
        message = corpus.attachment(6_000_000)
        path = self.world.root / "upload"
        path.write_bytes(message)
        self.curl(self.front, "imap", account, "--upload-file", path, "URLINBOX")
        self.assert_same_messages(self.world.messages(account), [message])
