"""The smallest clients that can judge a relay: IMAP, POP3, SMTP by hand, every byte kept; XOAUTH2 past the proxy."""

import base64
import re
import socket

LITERAL = re.compile(rb"\{(\d+)\}\r\n\Z")
DEADLINE = 30  # seconds without a byte: then an answer is missing


class Wire:
    """One connection: bytes out; lines, octets or everything in."""

    def __init__(self, port):
        self._socket = socket.create_connection(("localhost", port), timeout=DEADLINE)
        self._read = bytearray()

    def upgrade(self, trust):
        if self._read:
            raise AssertionError(f"bytes in front of the TLS handshake: {bytes(self._read)!r}")
        self._socket = trust.wrap_socket(self._socket, server_hostname="localhost")

    def send(self, data):
        self._socket.sendall(data)

    def line(self):
        while (end := self._read.find(b"\n")) < 0:
            self._more("a line")
        return self._take(end + 1)

    def octets(self, count):
        while len(self._read) < count:
            self._more(f"{count} octets")
        return self._take(count)

    def rest(self):
        """All that comes until the peer closes."""
        while self._fill():
            pass
        return self._take(len(self._read))

    def close(self):
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _take(self, count):
        taken = bytes(self._read[:count])
        del self._read[:count]
        return taken

    def _more(self, what):
        try:
            came = self._fill()
        except TimeoutError:
            raise AssertionError(f"waited {DEADLINE} s for {what}, got {bytes(self._read[:200])!r}") from None
        if not came:
            raise EOFError(f"closed instead of {what}, after {bytes(self._read[:200])!r}")

    def _fill(self):
        came = self._socket.recv(1 << 18)
        self._read += came
        return len(came)


class Imap(Wire):
    """IMAP4rev1, RFC 3501. `tls` is none, starttls or implicit."""

    def __init__(self, port, tls, trust):
        super().__init__(port)
        if tls == "implicit":
            self.upgrade(trust)
        self.greeting = self.line()
        if tls == "starttls":
            self.command(b"STARTTLS")
            self.upgrade(trust)

    def response(self):
        """One response: its line, or line, literal, line, literal, ..., line."""
        parts = [self.line()]
        while size := LITERAL.search(parts[-1]):
            parts += [self.octets(int(size[1])), self.line()]
        return parts

    def responses(self, tag):
        """Up to and with the tagged one."""
        seen = []
        while not seen or not seen[-1][0].startswith((tag + b" ", b"+")):
            seen.append(self.response())
        return seen

    def command(self, text, tag=b"w"):
        """The responses to a command that must succeed."""
        self.send(tag + b" " + text + b"\r\n")
        seen = self.responses(tag)
        if not seen[-1][0].startswith(tag + b" OK"):
            raise AssertionError(f"{text!r} was answered {seen[-1][0]!r}")
        return seen

    def ask_login(self, name, password):
        """The tagged response to LOGIN, in literals: they hold any octet."""
        self.send(b"l LOGIN {%d+}\r\n%s {%d+}\r\n%s\r\n" % (len(name), name, len(password), password))
        return self.responses(b"l")[-1][0]

    def login(self, account):
        answer = self.ask_login(account.mailbox.encode(), account.password)
        if not answer.startswith(b"l OK"):
            raise AssertionError(f"LOGIN as {account.mailbox} was answered {answer!r}")

    def xoauth2(self, mailbox, token):
        """The error challenge (None without) and the tagged response."""
        self.send(b"x AUTHENTICATE XOAUTH2 " + xoauth2(mailbox, token) + b"\r\n")
        verdict, challenge = self.responses(b"x")[-1][0], None
        if verdict.startswith(b"+"):
            challenge = base64.b64decode(verdict[1:])
            self.send(b"\r\n")
            verdict = self.responses(b"x")[-1][0]
        return challenge, verdict

    def messages(self, mailbox=b"INBOX"):
        """UID -> message, without marking any as seen."""
        self.command(b"EXAMINE " + mailbox)
        found = {}
        for parts in self.command(b"UID FETCH 1:* (UID BODY.PEEK[])"):
            if len(parts) > 1:
                found[int(re.search(rb"UID (\d+)", parts[0])[1])] = parts[1]
        return found


class Pop3(Wire):
    """POP3, RFC 1939."""

    def __init__(self, port, tls, trust):
        super().__init__(port)
        if tls == "implicit":
            self.upgrade(trust)
        self.greeting = self.line()
        if tls == "starttls":
            self.command(b"STLS")
            self.upgrade(trust)

    def ask(self, text):
        self.send(text + b"\r\n")
        return self.line()

    def command(self, text):
        answer = self.ask(text)
        if not answer.startswith(b"+OK"):
            raise AssertionError(f"{text!r} was answered {answer!r}")
        return answer

    def multi_line(self):
        """As it stands on the wire, the closing dot included."""
        lines = [self.line()]
        while lines[-1] != b".\r\n":
            lines.append(self.line())
        return b"".join(lines)

    def ask_login(self, name, password):
        """The status line of PASS."""
        self.command(b"USER " + name)
        return self.ask(b"PASS " + password)

    def login(self, account):
        answer = self.ask_login(account.mailbox.encode(), account.password)
        if not answer.startswith(b"+OK"):
            raise AssertionError(f"PASS of {account.mailbox} was answered {answer!r}")

    def xoauth2(self, mailbox, token):
        """The error challenge (None without) and the status line."""
        self.ask(b"AUTH XOAUTH2")
        verdict, challenge = self.ask(xoauth2(mailbox, token)), None
        if verdict.startswith(b"+ "):
            challenge, verdict = base64.b64decode(verdict[2:]), self.ask(b"")
        return challenge, verdict


class Smtp(Wire):
    """Submission, RFC 6409."""

    def __init__(self, port, tls, trust):
        super().__init__(port)
        if tls == "implicit":
            self.upgrade(trust)
        self.greeting = self.reply()
        if tls == "starttls":
            self.ehlo()
            self.command(b"STARTTLS", b"220")
            self.upgrade(trust)
        self.capabilities = self.ehlo()

    def reply(self):
        """The lines of one reply."""
        lines = [self.line()]
        while lines[-1][3:4] == b"-":
            lines.append(self.line())
        return lines

    def ask(self, text):
        """The last line of the reply."""
        self.send(text + b"\r\n")
        return self.reply()[-1]

    def command(self, text, code=b"250"):
        answer = self.ask(text)
        if not answer.startswith(code + b" "):
            raise AssertionError(f"{text!r} was answered {answer!r}")
        return answer

    def ehlo(self):
        """The keywords."""
        self.send(b"EHLO client.example\r\n")
        return [line[4:].rstrip().decode() for line in self.reply()[1:]]

    def ask_login(self, name, password):
        return self.ask(b"AUTH PLAIN " + base64.b64encode(b"\0%s\0%s" % (name, password)))

    def login(self, account):
        answer = self.ask_login(account.mailbox.encode(), account.password)
        if not answer.startswith(b"235 "):
            raise AssertionError(f"AUTH of {account.mailbox} was answered {answer!r}")

    def xoauth2(self, mailbox, token):
        """The error challenge (None without) and the reply."""
        self.ask(b"AUTH XOAUTH2")
        verdict, challenge = self.ask(xoauth2(mailbox, token)), None
        if verdict.startswith(b"334 "):
            challenge, verdict = base64.b64decode(verdict[4:]), self.ask(b"")
        return challenge, verdict

    def envelope(self, sender, recipient):
        return b"MAIL FROM:<%s> BODY=8BITMIME\r\nRCPT TO:<%s>\r\n" % (sender.encode(), recipient.encode())


def stuffed(message):
    """As it goes behind DATA, the closing dot included."""
    text = message if message.endswith(b"\r\n") else message + b"\r\n"
    return re.sub(rb"(?:\A|(?<=\r\n))\.", b"..", text) + b".\r\n"


def xoauth2(mailbox, token):
    return base64.b64encode(f"user={mailbox}\x01auth=Bearer {token}\x01\x01".encode())
