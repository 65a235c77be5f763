"""Where submitted mail ends: an SMTP server that takes whatever comes and keeps envelope and content byte for byte.

For Dovecot alone, so it is as simple as RFC 5321 lets it be, with SIZE, 8BITMIME (RFC 6152) and CHUNKING (RFC 3030).
"""

import dataclasses
import re
import socket
import socketserver
import threading

DEADLINE = 30  # seconds until a message that Dovecot has taken must be here
CAPABILITIES = ("PIPELINING", "SIZE 200000000", "8BITMIME", "ENHANCEDSTATUSCODES", "CHUNKING", "DSN")


@dataclasses.dataclass(frozen=True)
class Message:
    sender: bytes
    recipients: tuple
    parameters: bytes  # what stood behind the sender
    content: bytes
    by: str  # DATA or BDAT


class Sink:
    def __init__(self, port):
        self.port = port
        self._messages = []
        self._came = threading.Condition()
        sink = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self):
                self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                serve(self.rfile, self.wfile, sink.keep)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request, client_address):
                """A Dovecot that is killed ends its connections as it likes."""

        self._server = Server(("127.0.0.1", port), Session)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def keep(self, message):
        with self._came:
            self._messages.append(message)
            self._came.notify_all()

    def take(self, recipient, count=1):
        """The `count` messages to `recipient`, in order of arrival. None of them is kept any longer."""
        with self._came:
            self._came.wait_for(lambda: len(self._to(recipient)) >= count, DEADLINE)
            found = self._to(recipient)
            self._messages = [message for message in self._messages if message not in found]
        if len(found) != count:
            raise AssertionError(f"{len(found)} messages to {recipient!r} instead of {count}")
        return found

    def _to(self, recipient):
        return [message for message in self._messages if recipient.encode() in message.recipients]

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def serve(lines, out, keep):
    def say(*replies):
        out.write("".join(f"{reply}\r\n" for reply in replies).encode())
        out.flush()

    def path():
        return re.search(rb"<(.*?)>(.*)", line).groups()

    sender, parameters, recipients, chunks = None, b"", [], []
    say("220 sink ESMTP")
    while line := lines.readline().rstrip(b"\r\n"):
        verb = line.split()[0].upper()
        done = None
        if verb == b"EHLO":
            say("250-sink", *(f"250-{name}" for name in CAPABILITIES[:-1]), f"250 {CAPABILITIES[-1]}")
        elif verb == b"MAIL":
            sender, parameters = path()
            say("250 2.1.0 OK")
        elif verb == b"RCPT":
            recipients.append(path()[0])
            say("250 2.1.5 OK")
        elif verb == b"DATA":
            say("354 Go on")
            while (part := lines.readline()) not in (b".\r\n", b""):
                chunks.append(part[1:] if part.startswith(b".") else part)
            done = "DATA"
        elif verb == b"BDAT":
            words = line.upper().split()
            chunks.append(lines.read(int(words[1])))
            if words[-1] == b"LAST":
                done = "BDAT"
            else:
                say("250 2.0.0 OK")
        elif verb == b"QUIT":
            say("221 2.0.0 Bye")
            return
        else:  # RSET, NOOP, VRFY
            say("250 2.0.0 OK")
        if done:
            keep(Message(sender, tuple(recipients), parameters.strip(), b"".join(chunks), done))
            say("250 2.0.0 Kept")
        if done or verb == b"RSET":
            sender, parameters, recipients, chunks = None, b"", [], []
