"""Runs the tests: `interop.py DIRECTORY BINARIES [NAME...]`. The directory must exist; it is filled, and left as it is.

NAME is a part of a test's name; without one, all run. The last line is `N passed, N failed`.
"""

import signal
import sys
import time
import traceback
import unittest

import case
import world

# Clients may be pointed anywhere; the others are about the proxy itself. `test_secrets` reads the logs of all.
CLIENTS = ["test_relay", "test_dialogue", "test_curl", "test_fetchmail", "test_imaplib", "test_poplib", "test_smtp"]
ALL = ["test_upstream", "test_admission", *CLIENTS, "test_faults", "test_shutdown", "test_secrets"]


class Result(unittest.TestResult):
    """A line for each test, its reason below it when it fails."""

    def __init__(self, everything):
        super().__init__()
        self._everything = everything
        self.passed = 0

    def startTest(self, test):
        super().startTest(test)
        self._began = time.monotonic()
        self._logs = {server: len(server.text()) for server in self._everything}

    def addSuccess(self, test):
        self.passed += 1
        self._report("ok  ", test)

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self._explain(test, self.failures[-1][1])

    def addError(self, test, error):
        super().addError(test, error)
        self._explain(test, self.errors[-1][1])

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error:
            self._explain(subtest, (self.failures + self.errors)[-1][1])

    def _explain(self, test, reason):
        self._report("FAIL", test)
        print("     " + reason.rstrip().replace("\n", "\n     "))
        for server in self._everything:
            text = server.text()
            news = [line for line in text[self._logs.get(server, 0) :].splitlines() if " Debug: " not in line]
            self._logs[server] = len(text)
            if news:
                print(f"     --- {server.name}, the last of {len(news)} lines of log:")
                print("\n".join(f"     {line[:300]}" for line in news[-8:]), flush=True)

    def _report(self, verdict, test):
        # A subtest's name has its parameters behind it.
        name, _, parameters = test.id().partition(" ")
        print(f"{verdict} {name.removeprefix('test_')} {parameters} {time.monotonic() - self._began:.1f} s", flush=True)


def main(root, binaries, names):
    # The one exception that unittest does not take for a failed test.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    here = world.World(root, binaries)
    case.Case.world = here
    try:
        here.start()
        result = Result(here.everything)
        chosen(names).run(result)
        failed = len(result.failures) + len(result.errors)
        passed = result.passed
        if not passed + failed:
            print(f"no test has a name like {' '.join(names)}")
            failed = 1
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except Exception:
        traceback.print_exc(file=sys.stdout)
        passed, failed = 0, 1
    finally:
        here.stop()
    print(f"{passed} passed, {failed} failed", flush=True)
    return bool(failed)


def chosen(names):
    suite = unittest.TestSuite()
    for module in CLIENTS if world.REFERENCE else ALL:
        for test in flat(unittest.defaultTestLoader.loadTestsFromName(module)):
            if not names or any(name in test.id() for name in names):
                suite.addTest(test)
    return suite


def flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        else:
            yield test


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
