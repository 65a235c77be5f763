"""What the client is told when the password is right and yet there is no mailbox. It must know whether to try again."""

import case
import servers
import world


class Fault(case.Case):
    def refused(self, front, account, imap_code, pop3_code):
        """The refusals, twice on one connection: it must outlive them. Hands back the two connections."""
        imap, pop3 = self.imap(front), self.pop3(front)
        name = account.mailbox.encode()
        for _ in range(2):
            verdict = imap.ask_login(name, account.password)
            self.assertTrue(verdict.startswith(b"l NO [%s]" % imap_code), verdict)
            verdict = pop3.ask_login(name, account.password)
            self.assertTrue(verdict.startswith(b"-ERR [%s]" % pop3_code), verdict)
        return imap, pop3

    def admitted(self, imap, pop3, account):
        imap.login(account)
        imap.command(b"EXAMINE INBOX")
        pop3.login(account)
        pop3.command(b"STAT")

    def proxy(self, name, settings):
        proxy = self.world.new_proxy(name, settings)
        self.addCleanup(proxy.stop)
        return world.Front(proxy, "implicit")

    @case.everywhere
    def mailbox_that_the_server_refuses(self, front):
        """Dovecot sends its reason as a SASL challenge, waits for an empty line, and only then says no."""
        connections = self.refused(front, self.world.stranger, b"CONTACTADMIN", b"SYS/PERM")
        self.admitted(*connections, self.world.sample)

    def test_wrong_client_secret(self):
        settings = self.world.settings(self.world.dovecot, "implicit")
        secret = self.world.root / "wrong-secret"
        secret.write_text("not-the-secret")
        settings["apps"]["interop"]["client_secret_file"] = str(secret)
        front = self.proxy("proxy-wrong-secret", settings)
        self.refused(front, self.world.sample, b"CONTACTADMIN", b"SYS/PERM")

    def test_entra_id_is_away(self):
        settings = self.world.settings(self.world.dovecot, "implicit")
        (port,) = servers.free_ports(1)
        settings["apps"]["interop"]["authority"] = f"https://localhost:{port}"
        front = self.proxy("proxy-no-entra", settings)
        self.refused(front, self.world.sample, b"UNAVAILABLE", b"SYS/TEMP")

    def test_mail_server_dies_and_comes_back(self):
        account = self.world.new_mailbox()
        doomed = self.world.new_dovecot("doomed", "oauth2")
        self.addCleanup(doomed.stop)
        front = self.proxy("proxy-doomed", self.world.settings(doomed, "starttls"))
        imap, pop3 = self.imap(front), self.pop3(front)
        self.admitted(imap, pop3, account)
        doomed.die()
        # Whoever was connected learns that it is over,
        imap.rest()
        pop3.rest()
        # whoever comes now is to try later,
        connections = self.refused(front, account, b"UNAVAILABLE", b"SYS/TEMP")
        doomed.start()
        # and then is let in, on the same connection even.
        self.admitted(*connections, account)
