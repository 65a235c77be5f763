"""Ctrl-C in the middle of things, and what a restart must keep."""

import signal
import ssl
import stat
import threading
import time

import case
import wire
import world

DRAIN_DEADLINE = 10  # seconds that the proxy gives its sessions
SLACK = 2


class Shutdown(case.Case):
    def test_ctrl_c_in_the_middle_of_downloads(self):
        """One client reads on, one has stopped reading, one is in IDLE, one has not logged in."""
        proxy = self.world.new_proxy("proxy-interrupted", self.world.settings(self.world.dovecot, "implicit"))
        self.addCleanup(proxy.stop)
        expected = self.world.messages(self.world.corpus)[-1]
        reader, stalled, idle = (self.logged_in(world.Front(proxy, tls)) for tls in ("implicit", "none", "starttls"))
        self.imap(world.Front(proxy, "none"))
        for imap in (reader, stalled):
            imap.send(b"b FETCH * (BODY.PEEK[])\r\n")
            self.assertIn(b"{%d}" % len(expected), imap.line())
        idle.send(b"b IDLE\r\n")
        self.assertTrue(idle.line().startswith(b"+"))
        got = bytearray(reader.octets(1_000_000))
        reading = threading.Thread(target=lambda: got.extend(reader.rest()))
        began = time.monotonic()
        proxy.process.send_signal(signal.SIGINT)
        reading.start()
        status = proxy.process.wait(DRAIN_DEADLINE + SLACK)
        took = time.monotonic() - began
        proxy.ended()
        reading.join()
        self.assertEqual(status, 0)
        self.assertLessEqual(took, DRAIN_DEADLINE + 1)
        # What came until then is the message, as far as it goes.
        self.assert_same_bytes(bytes(got[: len(expected)]), expected[: len(got)], "the download")

    def logged_in(self, front):
        imap = self.imap(front)
        imap.login(self.world.corpus)
        imap.command(b"EXAMINE INBOX")
        return imap

    def test_its_own_certificate_is_kept(self):
        """Where none is configured it makes one. A client that has pinned it must find it again after a restart."""
        settings = self.world.settings(self.world.dovecot, "implicit")
        for listener in settings["listeners"].values():
            listener.pop("certificate_file", None)
            listener.pop("private_key_file", None)
        proxy = self.world.new_proxy("proxy-own-certificate", settings)
        self.addCleanup(proxy.stop)
        address = ("localhost", proxy.port("imap", "implicit"))
        pinned = ssl.get_server_certificate(address)
        self.assertEqual(proxy.stop(), 0)
        secret = [path for path in (proxy.path / "state").rglob("*") if b"PRIVATE KEY" in read(path)]
        self.assertTrue(secret)
        for path in secret:
            self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, f"{path} is open to others")
        proxy.start()
        self.assertEqual(ssl.get_server_certificate(address), pinned)
        # And a client that trusts just this certificate gets through.
        pin = self.world.root / "pinned.pem"
        pin.write_text(pinned)
        with wire.Imap(address[1], "implicit", ssl.create_default_context(cafile=pin)) as imap:
            imap.login(self.world.sample)


def read(path):
    return path.read_bytes() if path.is_file() else b""
