"""Submission: smtplib, curl, msmtp, swaks and a client by hand.

What arrives is what was sent, byte for byte, but for one `Received` header that Dovecot's submission service puts in
front, and for a line end where the last line had none. (It hands on by BDAT, so dot-stuffing is undone once.)
"""

import base64
import itertools
import re
import smtplib
import subprocess

import case
import corpus
import servers
import wire
import world

DEADLINE = 120
# The base64 of an attachment of 30 MB.
LARGE = 40_000_000
TRACE = re.compile(
    rb"Received: from (\S+) \(\S* ?\[127\.0\.0\.1\]\)\r\n"
    rb"\tby localhost with ESMTPSA\r\n"
    rb"\tid \S+\r\n"
    rb"\t\(envelope-from <([^>]*)>\)\r\n"
    rb"\tfor <([^>]*)>; [^\r]*\r\n"
)
_numbers = itertools.count()


def new_recipient():
    """One for each message: so that no test takes another's."""
    return f"recipient{next(_numbers)}@elsewhere.example"


class Submission(case.Case):
    def assert_arrived(self, sender, recipient, message):
        """Hands back the message as the sink has it."""
        (arrived,) = self.world.sink.take(recipient)
        self.assertEqual((arrived.sender, arrived.recipients), (sender.encode(), (recipient.encode(),)))
        trace = TRACE.match(arrived.content)
        self.assertTrue(trace, arrived.content[:300])
        self.assertEqual(trace.groups()[1:], (sender.encode(), recipient.encode()))
        expected = message if message.endswith(b"\r\n") else message + b"\r\n"
        self.assert_same_bytes(arrived.content[trace.end() :], expected, f"the message to {recipient}")
        return arrived


class Smtplib(Submission):
    def connect(self, front):
        trust, port = self.world.trust, front.port("smtp")
        if front.tls == "implicit":
            smtp = smtplib.SMTP_SSL("localhost", port, context=trust, timeout=60)
        else:
            smtp = smtplib.SMTP("localhost", port, timeout=60)
        self.addCleanup(smtp.close)
        if front.tls == "starttls":
            smtp.ehlo()
            self.assertFalse(smtp.has_extn("auth") and not world.REFERENCE)
            smtp.starttls(context=trust)
        return smtp

    def login(self, front, account, **options):
        smtp = self.connect(front)
        code, _ = smtp.login(account.mailbox, account.text, **options)
        self.assertEqual(code, 235)
        return smtp

    def submit(self, smtp, account, message, *options):
        recipient = new_recipient()
        self.assertEqual(smtp.sendmail(account.mailbox, recipient, message, options), {})
        return self.assert_arrived(account.mailbox, recipient, message)

    @case.everywhere
    def submits_all(self, front):
        """8-bit bytes, dots, lines of 100 kB, empty bodies, sizes about the powers of two; over one connection."""
        account = self.world.sample
        smtp = self.login(front, account)
        for message in corpus.sample():
            arrived = self.submit(smtp, account, message, "BODY=8BITMIME")
            self.assertTrue(arrived.parameters.startswith(b"BODY=8BITMIME"), arrived.parameters)
        self.assertEqual(smtp.quit()[0], 221)

    @case.everywhere
    def mechanisms(self, front):
        account = self.world.sample
        for mechanism in ("PLAIN", "LOGIN"):
            for initial_response in (True, False):
                with self.subTest(mechanism, initial_response=initial_response):
                    smtp = self.connect(front)
                    smtp.ehlo()
                    self.assertIn(mechanism, smtp.esmtp_features["auth"].split())
                    smtp.esmtp_features["auth"] = mechanism
                    smtp.login(account.mailbox, account.text, initial_response_ok=initial_response)
                    self.submit(smtp, account, corpus.header(mechanism) + b"text\r\n")
                    smtp.quit()

    def test_a_large_attachment(self):
        account = self.world.sample
        smtp = self.login(self.front, account)
        self.submit(smtp, account, corpus.attachment(LARGE))

    def test_wrong_password_and_again(self):
        account = self.world.sample
        smtp = self.connect(self.front)
        with self.assertRaises(smtplib.SMTPAuthenticationError) as refused:
            smtp.login(account.mailbox, "a wrong password")
        self.assertEqual(refused.exception.smtp_code, 535)
        smtp.login(account.mailbox, account.text)
        self.submit(smtp, account, corpus.header("again") + b"text\r\n")


class Program(Submission):
    """Clients that are started once for each message."""

    def setUp(self):
        self.folder = self.world.root / self.id()
        self.folder.mkdir()

    def file(self, name, content):
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    def run_program(self, command, status=0, **options):
        done = subprocess.run(list(map(str, command)), capture_output=True, timeout=DEADLINE, **options)
        said = (done.stdout[-2000:] + done.stderr[-2000:]).decode(errors="replace")
        self.assertEqual(done.returncode, status, said)
        return done.stdout + done.stderr


class CurlSmtp(Program):
    def submit(self, front, account, message, *options, status=0):
        recipient = new_recipient()
        scheme = "smtps" if front.tls == "implicit" else "smtp"
        command = ["curl", "--silent", "--show-error", "--cacert", self.world.simulator.ca]
        command += ["--ssl-reqd"] if front.tls == "starttls" else []
        command += ["--config", self.file("login", b'user = "%s"\n' % quoted(account)), *options]
        command += ["--mail-from", account.mailbox, "--mail-rcpt", recipient]
        command += ["--upload-file", self.file("message", message)]
        said = self.run_program([*command, f"{scheme}://localhost:{front.port('smtp')}/client.example"], status)
        if status == 0:
            self.assert_arrived(account.mailbox, recipient, message)
        return said

    @case.everywhere
    def submits_all(self, front):
        for message in [*corpus.generated(), corpus.attachment(3_000_000)]:
            self.submit(front, self.world.sample, message)

    @case.everywhere
    def login_options(self, front):
        for options in (["AUTH=PLAIN"], ["AUTH=LOGIN"], ["AUTH=PLAIN", "--sasl-ir"], ["AUTH=LOGIN", "--sasl-ir"]):
            with self.subTest(options):
                self.submit(front, self.world.sample, corpus.header("text"), "--login-options", *options)

    def test_awkward_passwords(self):
        for name, account in self.world.awkward.items():
            for mechanism in ("PLAIN", "LOGIN"):
                with self.subTest(f"{name} by {mechanism}"):
                    options = ["--login-options", f"AUTH={mechanism}"]
                    self.submit(self.front, account, corpus.header("text"), *options)

    def test_wrong_password(self):
        options = ["--write-out", "%{response_code}"]
        said = self.submit(self.front, case.wrong(self.world.sample), b"text\r\n", *options, status=67)
        self.assertTrue(said.startswith(b"535"), said)


class Msmtp(Program):
    def submit(self, front, account, message, mechanism, status=0):
        recipient = new_recipient()
        control = f"""
            host localhost
            port {front.port("smtp")}
            tls {"off" if front.tls == "none" else "on"}
            tls_starttls {"on" if front.tls == "starttls" else "off"}
            tls_trust_file {self.world.simulator.ca}
            auth {mechanism}
            user {account.mailbox}
            passwordeval cat {self.file("password", account.password)}
            from {account.mailbox}
            set_from_header off
            set_date_header off
            set_msgid_header off
        """
        if front.tls == "none":
            control = control.replace(f"tls_trust_file {self.world.simulator.ca}", "")
        control = "account default\n" + "\n".join(map(str.strip, control.strip().splitlines())) + "\n"
        command = ["msmtp", "--file", self.file("msmtprc", control.encode()), "--", recipient]
        said = self.run_program(command, status, input=message.replace(b"\r\n", b"\n"))
        if status == 0:
            self.assert_arrived(account.mailbox, recipient, message)
        return said

    @case.everywhere
    def submits_all(self, front):
        mechanisms = itertools.cycle(("plain", "login"))
        for message in [*corpus.generated(), corpus.attachment(3_000_000)]:
            # Where there is no blank line behind the header, msmtp puts one.
            if b"\r\n\r\n" in message:
                self.submit(front, self.world.sample, message, next(mechanisms))

    def test_wrong_password(self):
        said = self.submit(self.front, case.wrong(self.world.sample), b"text\r\n", "plain", status=77)
        self.assertIn(b"535", said)


class Swaks(Program):
    def submit(self, front, account, message, mechanism, status=0):
        recipient = new_recipient()
        command = ["swaks", "--server", "localhost", "--port", front.port("smtp"), "--helo", "client.example"]
        if front.tls != "none":
            command.append("--tls" if front.tls == "starttls" else "--tls-on-connect")
            command += ["--tls-verify", "--tls-ca-path", self.world.simulator.ca]
        command += ["--auth", mechanism, "--auth-user", account.mailbox, "--auth-password", account.text]
        command += ["--from", account.mailbox, "--to", recipient, "--no-data-fixup"]
        # What stands behind DATA is given as it is.
        command += ["--data", f"@{self.file('message', wire.stuffed(message))}"]
        said = self.run_program(command, status)
        if status == 0:
            self.assert_arrived(account.mailbox, recipient, message)
        return said

    @case.everywhere
    def submits(self, front):
        chosen = ("empty body", "every byte but NUL", "dots", "nothing but a dot", "a long line", "65536 octets")
        headers = tuple(corpus.header(subject) for subject in chosen)
        messages = [message for message in corpus.generated() if message.startswith(headers)]
        self.assertEqual(len(messages), len(chosen))
        for mechanism in ("PLAIN", "LOGIN"):
            for message in messages:
                self.submit(front, self.world.sample, message, mechanism)

    def test_wrong_password(self):
        said = self.submit(self.front, case.wrong(self.world.sample), b"text\r\n", "PLAIN", status=28)
        self.assertIn(b"535", said)


class ByHand(Submission):
    @case.everywhere
    def pipelined(self, front):
        """From EHLO to QUIT, the message between them, in one segment: every reply in its place."""
        account, recipient = self.world.sample, new_recipient()
        message = corpus.header("in one go") + b".\r\n..\r\n.x\r\n" + bytes(range(128, 256)) + b"\r\n"
        smtp = self.smtp(front)
        credential = base64.b64encode(b"\0%s\0%s" % (account.mailbox.encode(), account.password))
        smtp.send(
            b"EHLO client.example\r\nAUTH PLAIN %s\r\n" % credential
            + smtp.envelope(account.mailbox, recipient)
            + b"DATA\r\n"
            + wire.stuffed(message)
            + b"NOOP\r\nQUIT\r\n"
        )
        codes = [smtp.reply()[-1][:4] for _ in range(8)]
        self.assertEqual(codes, [b"250 ", b"235 ", b"250 ", b"250 ", b"354 ", b"250 ", b"250 ", b"221 "])
        self.assertEqual(smtp.rest(), b"")
        self.assert_arrived(account.mailbox, recipient, message)

    @case.everywhere
    def chunks(self, front):
        """BDAT, with octets that look like the end of DATA at the end of a chunk."""
        account, recipient = self.world.sample, new_recipient()
        parts = [corpus.header("chunks"), b"one\r\n.\r\n", b"..two\r\n.", b"\r\nthree\r\n"]
        smtp = self.smtp(front)
        smtp.login(account)
        smtp.send(smtp.envelope(account.mailbox, recipient))
        smtp.send(b"".join(b"BDAT %d\r\n%s" % (len(part), part) for part in parts) + b"BDAT 0 LAST\r\n")
        codes = [smtp.reply()[-1][:4] for _ in range(2 + len(parts) + 1)]
        self.assertEqual(codes, [b"250 "] * len(codes))
        self.assert_arrived(account.mailbox, recipient, b"".join(parts))

    @case.everywhere
    def capabilities(self, front):
        """Before login they are as after it, but for AUTH, and for BURL, which the configuration leaves out."""
        smtp = self.smtp(front)
        offered = {word for word in smtp.capabilities if not word.startswith("BURL")}
        smtp.login(self.world.sample)
        after = {word for word in smtp.ehlo() if not word.startswith("BURL")}
        self.assertEqual(after, {*world.SMTP_CAPABILITIES, "AUTH"})
        if not world.REFERENCE:
            self.assertEqual(offered, {*world.SMTP_CAPABILITIES, "AUTH PLAIN LOGIN"})

    @case.everywhere
    def the_name_of_the_client(self, front):
        """Dovecot takes the name of the last EHLO for its trace header: the proxy's, unless the client says another."""
        for again, name in ((False, b"client.example" if world.REFERENCE else b"localhost"), (True, b"client.example")):
            account, recipient = self.world.sample, new_recipient()
            smtp = self.smtp(front)
            smtp.login(account)
            if again:
                smtp.ehlo()
            message = corpus.header("name")
            smtp.send(smtp.envelope(account.mailbox, recipient) + b"DATA\r\n")
            self.assertEqual([smtp.reply()[-1][:3] for _ in range(3)], [b"250", b"250", b"354"])
            smtp.send(wire.stuffed(message))
            self.assertEqual(smtp.reply()[-1][:3], b"250")
            arrived = self.assert_arrived(account.mailbox, recipient, message)
            self.assertEqual(TRACE.match(arrived.content)[1], name)


class SmtpRefusals(Submission):
    def refused(self, front, account, code, username=None):
        """Twice on one connection, which outlives it and is handed back."""
        smtp = self.smtp(front)
        for _ in range(2):
            verdict = smtp.ask_login((username or account.mailbox).encode(), account.password)
            self.assertTrue(verdict.startswith(code + b" "), verdict)
        return smtp

    def proxy(self, name, settings):
        proxy = self.world.new_proxy(name, settings)
        self.addCleanup(proxy.stop)
        return world.Front(proxy, "implicit")

    def without_proxy(self):
        if world.REFERENCE:
            self.skipTest("is about the proxy")

    @case.everywhere
    def wrong_passwords_do_not_reach_the_mail_server(self, front):
        self.without_proxy()
        sample = self.world.sample
        before = self.world.dovecot.handshakes()
        self.refused(front, case.wrong(sample), b"535 5.7.8")
        self.refused(front, sample, b"535 5.7.8", "nobody@example.com")
        smtp = self.refused(front, sample, b"535 5.7.8", self.world.corpus.mailbox)
        self.assertEqual(self.world.dovecot.handshakes(), before)
        smtp.login(sample)
        self.assertEqual(self.world.dovecot.handshakes(), before + 1)

    @case.everywhere
    def mail_before_login(self, front):
        smtp = self.smtp(front)
        self.assertTrue(smtp.ask(b"MAIL FROM:<a@example.com>").startswith(b"530 5.7.0 "))
        smtp.login(self.world.sample)

    def test_no_login_in_clear(self):
        self.without_proxy()
        for upstream in world.UPSTREAM_TLS:
            front = world.Front(self.world.front("starttls", upstream).server, "starttls")
            with wire.Smtp(front.port("smtp"), "none", self.world.trust) as smtp:
                self.assertIn("STARTTLS", smtp.capabilities)
                self.assertFalse([word for word in smtp.capabilities if word.startswith("AUTH")])
                verdict = smtp.ask_login(self.world.sample.mailbox.encode(), self.world.sample.password)
                self.assertTrue(verdict.startswith(b"538 5.7.11 "), verdict)

    @case.everywhere
    def mailbox_that_the_server_refuses(self, front):
        """Dovecot sends its reason as a SASL challenge, waits for an empty line, and only then says no."""
        smtp = self.refused(front, self.world.stranger, b"535")
        smtp.login(self.world.sample)

    def test_wrong_client_secret(self):
        self.without_proxy()
        settings = self.world.settings(self.world.dovecot, "implicit")
        secret = self.world.root / "wrong-secret-smtp"
        secret.write_text("not-the-secret")
        settings["apps"]["interop"]["client_secret_file"] = str(secret)
        front = self.proxy("proxy-wrong-secret-smtp", settings)
        self.refused(front, self.world.sample, b"454 4.7.0")

    def test_entra_id_is_away(self):
        self.without_proxy()
        settings = self.world.settings(self.world.dovecot, "implicit")
        (port,) = servers.free_ports(1)
        settings["apps"]["interop"]["authority"] = f"https://localhost:{port}"
        self.refused(self.proxy("proxy-no-entra-smtp", settings), self.world.sample, b"454 4.7.0")

    def test_mail_server_dies_and_comes_back(self):
        self.without_proxy()
        account = self.world.sample
        doomed = self.world.new_dovecot("doomed-smtp", "oauth2")
        self.addCleanup(doomed.stop)
        front = self.proxy("proxy-doomed-smtp", self.world.settings(doomed, "starttls"))
        smtp = self.smtp(front)
        smtp.login(account)
        doomed.die()
        smtp.rest()
        smtp = self.refused(front, account, b"454 4.7.0")
        doomed.start()
        smtp.login(account)
        smtp.command(b"NOOP")


def quoted(account):
    """Name and password as curl's configuration file wants them."""
    login = account.mailbox.encode() + b":" + account.password
    return login.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
