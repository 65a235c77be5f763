"""The login by hand: in one segment with what follows it, in every spelling of the grammars, and a second try."""

import base64

import case
import corpus


class Dialogue(case.Case):
    @case.everywhere
    def imap_in_one_segment(self, front):
        messages = corpus.sample()
        account = self.world.new_mailbox(messages)
        imap = self.imap(front)
        imap.send(
            b'a LOGIN "%s" "%s"\r\nb SELECT INBOX\r\nc UID FETCH 1:* (BODY.PEEK[])\r\n'
            % (account.mailbox.encode(), account.password)
        )
        seen = {}
        for tag in (b"a", b"b", b"c"):
            seen[tag] = imap.responses(tag)
            self.assertTrue(seen[tag][-1][0].startswith(tag + b" OK"), seen[tag][-1])
        self.assert_same_messages([parts[1] for parts in seen[b"c"] if len(parts) > 1], messages)

    @case.everywhere
    def pop3_in_one_segment(self, front):
        account = self.world.sample
        pop3 = self.pop3(front)
        pop3.send(b"USER %s\r\nPASS %s\r\nSTAT\r\nRETR 1\r\nQUIT\r\n" % (account.mailbox.encode(), account.password))
        for command in ("USER", "PASS"):
            self.assertTrue(pop3.line().startswith(b"+OK"), command)
        messages = self.world.messages(account)
        self.assertEqual(pop3.line(), b"+OK %d %d\r\n" % (len(messages), sum(map(len, messages))))
        self.assertTrue(pop3.line().startswith(b"+OK"), "RETR")
        self.assertEqual(pop3.multi_line(), messages[0] + b".\r\n")
        self.assertTrue(pop3.line().startswith(b"+OK"), "QUIT")
        self.assertEqual(pop3.rest(), b"")

    @case.everywhere
    def imap_wrong_password_then_right(self, front):
        imap, name = self.imap(front), self.world.sample.mailbox.encode()
        imap.send(b"a1 LOGIN %s wrong\r\n" % name)
        self.assertTrue(imap.line().startswith(b"a1 NO [AUTHENTICATIONFAILED]"))
        imap.send(b"a2 AUTHENTICATE PLAIN %s\r\n" % base64.b64encode(b"\0%s\0wrong" % name))
        self.assertTrue(imap.line().startswith(b"a2 NO [AUTHENTICATIONFAILED]"))
        imap.login(self.world.sample)
        self.assert_same_messages(list(imap.messages().values()), self.world.messages(self.world.sample))

    @case.everywhere
    def pop3_wrong_password_then_right(self, front):
        pop3, name = self.pop3(front), self.world.sample.mailbox.encode()
        pop3.command(b"USER " + name)
        self.assertTrue(pop3.ask(b"PASS wrong").startswith(b"-ERR [AUTH]"))
        self.assertTrue(pop3.ask(b"AUTH PLAIN " + base64.b64encode(b"\0%s\0wrong" % name)).startswith(b"-ERR [AUTH]"))
        pop3.login(self.world.sample)
        pop3.command(b"STAT")

    def test_spellings_of_imap_login(self):
        account = self.world.sample
        name, password = account.mailbox.encode(), account.password
        quoted = b'"%s"' % password
        spellings = {
            "atom and string": b"LOGIN %s %s\r\n" % (name, quoted),
            "lower case": b'login "%s" %s\r\n' % (name, quoted),
            "synchronizing literals": b"LOGIN {%d}\r\n|%s {%d}\r\n|%s\r\n" % (len(name), name, len(password), password),
            "a literal that does not wait": b"LOGIN %s {%d+}\r\n%s\r\n" % (name, len(password), password),
            "a string, then a literal": b'LOGIN "%s" {%d}\r\n|%s\r\n' % (name, len(password), password),
        }
        for spelling, command in spellings.items():
            with self.subTest(spelling):
                imap = self.imap(self.front)
                pieces = (b"A1.b-2 " + command).split(b"|")
                for piece in pieces[:-1]:
                    imap.send(piece)
                    self.assertTrue(imap.line().startswith(b"+"))
                imap.send(pieces[-1])
                self.assertTrue(imap.responses(b"A1.b-2")[-1][0].startswith(b"A1.b-2 OK"))
                imap.command(b"EXAMINE INBOX")

    def test_spellings_of_sasl(self):
        """With and without an initial response, in both protocols."""
        account = self.world.sample
        name, password = account.mailbox.encode(), account.password
        plain = base64.b64encode(b"\0%s\0%s" % (name, password))
        same_authzid = base64.b64encode(b"%s\0%s\0%s" % (name, name, password))
        encoded_name, encoded_password = base64.b64encode(name), base64.b64encode(password)
        dialogues = {
            "PLAIN": [b"PLAIN", plain],
            "PLAIN, initial response": [b"PLAIN " + plain],
            "PLAIN, authorization identity": [b"PLAIN", same_authzid],
            "LOGIN": [b"LOGIN", encoded_name, encoded_password],
            "LOGIN, initial response": [b"LOGIN " + encoded_name, encoded_password],
            "lower case": [b"plain", plain],
        }
        for spelling, lines in dialogues.items():
            with self.subTest(f"{spelling} by imap"):
                imap = self.imap(self.front)
                self.converse(imap, b"a AUTHENTICATE ", lines)
                self.assertTrue(imap.responses(b"a")[-1][0].startswith(b"a OK"))
                imap.command(b"EXAMINE INBOX")
            with self.subTest(f"{spelling} by pop3"):
                pop3 = self.pop3(self.front)
                self.converse(pop3, b"AUTH ", lines)
                self.assertTrue(pop3.line().startswith(b"+OK"))
                pop3.command(b"STAT")

    def converse(self, connection, command, lines):
        connection.send(command + lines[0] + b"\r\n")
        for line in lines[1:]:
            challenge = connection.line()
            self.assertTrue(challenge.startswith(b"+ "), challenge)
            connection.send(line + b"\r\n")

    def test_pop3_asks_first(self):
        """CAPA before and between USER and PASS, and USER a second time."""
        pop3, account = self.pop3(self.front), self.world.sample
        for name in (b"nobody", account.mailbox.encode()):
            pop3.command(b"CAPA")
            self.assertIn(b"\r\nUIDL\r\n", b"\r\n" + pop3.multi_line())
            pop3.command(b"USER " + name)
        pop3.command(b"CAPA")
        pop3.multi_line()
        pop3.command(b"PASS " + account.password)
        pop3.command(b"STAT")

    def test_imap_asks_first(self):
        """What clients do before they log in."""
        imap = self.imap(self.front)
        self.assertIn(b"[CAPABILITY IMAP4", imap.greeting)
        for command in (b"CAPABILITY", b'ID ("name" "interop")', b"NOOP", b"CAPABILITY"):
            imap.command(command)
        imap.login(self.world.sample)
        imap.command(b"CAPABILITY")

    def test_logout_without_login(self):
        imap, pop3 = self.imap(self.front), self.pop3(self.front)
        self.assertTrue(imap.command(b"LOGOUT")[0][0].startswith(b"* BYE"))
        self.assertEqual(imap.rest(), b"")
        pop3.command(b"QUIT")
        self.assertEqual(pop3.rest(), b"")
