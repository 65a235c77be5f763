"""What every test case stands on: the world, and one test made into one for each way through the proxy."""

import dataclasses
import unittest

import wire
import world


def everywhere(test):
    """Marks `def name(self, front)`: it becomes one test for each kind of TLS on either side."""
    test.everywhere = True
    return test


class Case(unittest.TestCase):
    world = None  # set before the first test
    maxDiff = 2000

    def __init_subclass__(cls):
        for name, test in list(vars(cls).items()):
            if getattr(test, "everywhere", False):
                delattr(cls, name)
                for upstream in world.UPSTREAM_TLS:
                    for tls in world.CLIENT_TLS:
                        setattr(cls, f"test_{name}_{tls}_to_{upstream}", _through(test, tls, upstream))

    @property
    def front(self):
        """One way in, for what does not depend on it."""
        return self.world.front(world.CLIENT_TLS[-1], world.UPSTREAM_TLS[0])

    def imap(self, front):
        """A connection by hand, greeted and behind TLS."""
        return self._closed_later(wire.Imap(front.port("imap"), front.tls, self.world.trust))

    def pop3(self, front):
        return self._closed_later(wire.Pop3(front.port("pop3"), front.tls, self.world.trust))

    def smtp(self, front):
        return self._closed_later(wire.Smtp(front.port("smtp"), front.tls, self.world.trust))

    def _closed_later(self, connection):
        self.addCleanup(connection.close)
        return connection

    def assert_same_messages(self, got, expected):
        self.assertEqual(len(got), len(expected), "number of messages")
        for number, (one, other) in enumerate(zip(got, expected), 1):
            self.assert_same_bytes(one, other, f"message {number}")

    def assert_same_bytes(self, got, expected, what):
        """`assertEqual` would print megabytes."""
        if got == expected:
            return
        at = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b), min(len(got), len(expected)))
        around = slice(max(0, at - 40), at + 40)
        self.fail(
            f"{what} differs from octet {at} on ({len(got)} octets instead of {len(expected)}):\n"
            f"  got      {got[around]!r}\n  expected {expected[around]!r}"
        )


def _through(test, tls, upstream):
    def method(self):
        test(self, self.world.front(tls, upstream))

    method.__doc__ = test.__doc__
    return method


def wrong(account):
    """The same account with a password that is not its own."""
    return dataclasses.replace(account, password=account.password[:-1] + b"!")
