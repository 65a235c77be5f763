"""Python's poplib: awkward passwords, RETR, TOP, UIDL, LIST, and what QUIT and RSET make of DELE."""

import poplib

import case
import corpus

# poplib takes longer lines for an attack.
poplib._MAXLINE = 2 * corpus.LONG_LINE


class Poplib(case.Case):
    def connect(self, front):
        trust, port = self.world.trust, front.port("pop3")
        if front.tls == "implicit":
            pop3 = poplib.POP3_SSL("localhost", port, context=trust, timeout=30)
        else:
            pop3 = poplib.POP3("localhost", port, timeout=30)
        if front.tls == "starttls":
            pop3.stls(trust)
        self.addCleanup(pop3.close)
        # So that a password's bytes go out as they are.
        pop3.encoding = "latin-1"
        return pop3

    def login(self, front, account):
        pop3 = self.connect(front)
        pop3.user(account.mailbox)
        pop3.pass_(account.password.decode("latin-1"))
        return pop3

    @case.everywhere
    def retrieves_all(self, front):
        pop3 = self.login(front, self.world.corpus)
        count, size = pop3.stat()
        expected = self.world.messages(self.world.corpus)
        self.assertEqual((count, size), (len(expected), sum(map(len, expected))))
        got = [b"\r\n".join([*pop3.retr(number)[1], b""]) for number in range(1, count + 1)]
        self.assert_same_messages(got, [m if m.endswith(b"\r\n") else m + b"\r\n" for m in expected])
        pop3.quit()

    @case.everywhere
    def lists_and_tops(self, front):
        """TOP's every length, and the same unique ids as without the proxy."""
        pop3 = self.login(front, self.world.sample)
        with self.world.direct_pop3(self.world.sample) as direct:
            for command, listing in ((b"UIDL", pop3.uidl()[1]), (b"LIST", pop3.list()[1])):
                direct.command(command)
                self.assertEqual(b"\r\n".join([*listing, b".", b""]), direct.multi_line())
        message = self.world.messages(self.world.sample)[0]
        head, _, body = message.partition(b"\r\n\r\n")
        lines = body.split(b"\r\n")[:-1]
        for count in (0, 1, len(lines), 1000):
            self.assertEqual(pop3.top(1, count)[1], [*head.split(b"\r\n"), b"", *lines[:count]])
        self.assertEqual(pop3.uidl(1), b"+OK " + pop3.uidl()[1][0])
        with self.assertRaises(poplib.error_proto):
            pop3.retr(100_000)
        pop3.noop()
        pop3.quit()

    @case.everywhere
    def deletes(self, front):
        account = self.world.new_mailbox(corpus.generated())
        before = self.world.messages(account)
        pop3 = self.login(front, account)
        pop3.dele(1)
        pop3.rset()
        pop3.quit()
        self.assertEqual(self.world.messages(account), before)
        pop3 = self.login(front, account)
        pop3.dele(2)
        pop3.dele(5)
        pop3.quit()
        self.assertEqual(self.world.messages(account), [before[0], *before[2:4], *before[5:]])

    def test_awkward_passwords(self):
        for name, account in self.world.awkward.items():
            with self.subTest(name):
                self.login(self.front, account).quit()

    def test_wrong_password_and_again(self):
        pop3 = self.connect(self.front)
        pop3.user(self.world.sample.mailbox)
        with self.assertRaisesRegex(poplib.error_proto, r"\[AUTH\]"):
            pop3.pass_("wrong")
        pop3.user(self.world.sample.mailbox)
        pop3.pass_(self.world.sample.text)
        self.assertGreater(pop3.stat()[0], 0)
        pop3.quit()
