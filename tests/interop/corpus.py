"""Messages that a relay could damage: CPython's own e-mail test messages, and what the grammars make awkward.

Every message is a list of lines that end in CRLF, as a mail server sends it.
"""

import base64
import os
import pathlib
import random
import re
import sysconfig

COPIES = 6
ATTACHMENT = 30_000_000  # octets of base64
LONG_LINE = 100_000


def messages():
    """All of them, in order; well over three hundred."""
    specimens = [*cpython(), *generated()]
    for copy in range(COPIES):
        for message in specimens:
            # A line of another length in front shifts every later byte against segment and buffer borders.
            yield b"X-Copy: %d%s\r\n" % (copy, b"+" * copy * 7) + message if copy else message
    yield attachment(ATTACHMENT)


def sample():
    """One of each kind, for clients that are slow or that are run many times."""
    return [*cpython(), *generated(), attachment(1_000_000)]


def cpython():
    """The messages that Python's `email` package is tested with."""
    folders = [sysconfig.get_path("stdlib"), *map(str, pathlib.Path("/usr/lib").glob("python3.*"))]
    for folder in folders:
        found = sorted(pathlib.Path(folder, "test/test_email/data").glob("msg_*.txt"))
        if found:
            return [crlf(path.read_bytes()) for path in found]
    raise RuntimeError("no e-mail test messages of Python: the package libpython3.N-testsuite has them")


def generated():
    every_byte = bytes(value for value in range(1, 256) if value not in b"\r\n")
    bodies = {
        "empty body": b"",
        "no line end at the end": b"last words",
        "every byte but NUL": every_byte + b"\r\n",
        "every byte as a line": b"".join(bytes([value]) + b"\r\n" for value in every_byte),
        "bare CR": b"one\rtwo\r\rthree\r.\r\n",
        "dots": b".\r\n..\r\n...\r\n.x\r\n..x\r\n. \r\nx.\r\n.\r\n",
        "a lone dot at the end": b"text\r\n.\r\n",
        "nothing but a dot": b".\r\n",
        "blank lines": b"\r\n" * 50,
        "a long line": b"x" * LONG_LINE + b"\r\n",
        "a long line of dots": b"." * LONG_LINE + b"\r\n",
        "a long line of 8-bit bytes": (every_byte[127:] * (LONG_LINE // 128)) + b"\r\n",
        "protocol text": b"w OK done\r\n* BYE\r\n+ go on\r\n+OK\r\n-ERR\r\n{10}\r\n)\r\n* 1 FETCH (BODY[] {3}\r\n",
        "a first line From": b"From here on\r\n>From there\r\n",
    }
    for subject, body in bodies.items():
        yield header(subject) + body
    yield b"Subject: a header and no more\r\n"
    yield b"\r\nno header at all\r\n"
    yield header("nothing after the header").removesuffix(b"\r\n")
    # Sizes about the powers of two that buffers have.
    for size in (4096, 8192, 16384, 65536):
        for more in (-1, 0, 1):
            head = header(f"{size + more} octets")
            yield head + filler(size + more - len(head))


def attachment(size):
    data = random.Random(size).randbytes(size * 3 // 4)
    head = header("an attachment", "Content-Type: application/octet-stream", "Content-Transfer-Encoding: base64")
    return head + base64.encodebytes(data).replace(b"\n", b"\r\n")


def header(subject, *more):
    lines = ["From: a@example.com", "To: b@example.com", f"Subject: {subject}", "Date: Fri, 21 Nov 1997 09:55:06 -0600"]
    return "".join(f"{line}\r\n" for line in (*lines, *more, "")).encode()


def filler(size):
    line = b"0123456789abcdef" * 4 + b"\r\n"
    return (line * (size // len(line) + 1))[: size - 2] + b"\r\n"


def crlf(message):
    return re.sub(rb"\r?\n", b"\r\n", message)


class Maildir:
    """A mailbox as Dovecot keeps it, filled behind its back."""

    def __init__(self, path, owner):
        self._path = path
        self._owner = owner
        self._count = 0
        for folder in (path, path / "cur", path / "new", path / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
            os.chown(folder, *owner)

    def add(self, message):
        self._count += 1
        # Already seen by somebody (`cur`): so that no reader is told that it is the first.
        path = self._path / "cur" / f"{1_700_000_000 + self._count}.M{self._count}.interop:2,"
        path.write_bytes(message.replace(b"\r\n", b"\n"))
        os.chown(path, *self._owner)
        # Python's own date would be today's: INTERNALDATE is the file's time.
        os.utime(path, (1_700_000_000 + self._count,) * 2)
