"""fetchmail: what it delivers through the proxy must be what it delivers from a Dovecot that takes passwords.

It has its own ideas of line ends, so that only two runs of it can be compared.
"""

import os
import subprocess

import case
import corpus
import world

DEADLINE = 200
LONGEST_LINE = 8000
TLS = {"none": "sslproto ''", "starttls": "sslproto 'tls1.2+'", "implicit": "ssl"}
NOTHING_NEW, LOGIN_REFUSED = 1, 3


class Fetchmail(case.Case):
    def fetchmail(self, front, protocol, account, keep, status=0):
        """The messages that it gave to its mail delivery agent."""
        here = self.world.root / "fetchmail"
        delivered = here / "delivered"
        delivered.mkdir(parents=True, exist_ok=True)
        password = "".join(f"\\x{byte:02x}" for byte in account.password)
        control = here / "fetchmailrc"
        control.touch(mode=0o600)
        control.write_text(
            f"""set invisible
            set no bouncemail
            poll localhost service {front.port(protocol)} protocol {protocol} auth password bad-header accept
              username "{account.mailbox}" password "{password}"
              {TLS[front.tls]} sslcertck sslcertfile {self.world.simulator.ca}
              fetchall {keep} no rewrite no mimedecode
              mda "cat > $(mktemp {delivered}/XXXXXXXX)"
            """
        )
        done = subprocess.run(
            ["fetchmail", "--fetchmailrc", control, "--nodetach", "--nosyslog", "--verbose"],
            env=os.environ | {"FETCHMAILHOME": str(here), "LC_ALL": "C"},
            capture_output=True,
            timeout=DEADLINE,
        )
        said = (done.stdout + done.stderr).decode(errors="replace")[-3000:]
        self.assertEqual(done.returncode, status, said)
        files = list(delivered.iterdir())
        messages = sorted(path.read_bytes() for path in files)
        for path in files:
            path.unlink()
        return messages

    def direct(self, protocol, account):
        front = world.Front(self.world.reference, "implicit")
        return self.fetchmail(front, protocol, account, "keep")

    def same_as_direct(self, front, protocol, messages, keep):
        # Into longer lines fetchmail 6.4 puts a NUL and a byte that is another one in each run.
        messages = [m for m in messages if max(map(len, m.split(b"\r\n"))) < LONGEST_LINE]
        account = self.world.new_mailbox(messages)
        expected = self.direct(protocol, account)
        self.assertEqual(len(expected), len(messages))
        self.assert_same_messages(self.fetchmail(front, protocol, account, keep), expected)
        left = 0 if keep == "nokeep" else len(messages)
        self.assertEqual(len(self.world.messages(account)), left, "messages left in the mailbox")

    @case.everywhere
    def imap_nokeep(self, front):
        self.same_as_direct(front, "imap", corpus.sample(), "nokeep")

    @case.everywhere
    def pop3_nokeep(self, front):
        self.same_as_direct(front, "pop3", corpus.sample(), "nokeep")

    def test_imap_whole_corpus(self):
        self.same_as_direct(self.front, "imap", corpus.messages(), "keep")

    def test_pop3_whole_corpus(self):
        self.same_as_direct(self.front, "pop3", corpus.messages(), "keep")

    def test_awkward_passwords(self):
        for name, account in self.world.awkward.items():
            for protocol in ("imap", "pop3"):
                with self.subTest(f"{name} by {protocol}"):
                    self.fetchmail(self.front, protocol, account, "keep", status=NOTHING_NEW)

    def test_wrong_password(self):
        for protocol in ("imap", "pop3"):
            with self.subTest(protocol):
                account = case.wrong(self.world.sample)
                self.assertEqual(self.fetchmail(self.front, protocol, account, "keep", status=LOGIN_REFUSED), [])
