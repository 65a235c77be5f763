"""Everything that the tests share: servers, mailboxes, accounts, and the ways that lead from a client to a mailbox."""

import dataclasses
import os
import pathlib
import shutil
import subprocess

import corpus
import servers
import sink
import wire

# REFERENCE=1 sends the clients to a Dovecot that takes their passwords: what fails then is the test's own fault.
REFERENCE = bool(os.environ.get("REFERENCE"))
CLIENT_TLS = ("implicit", "starttls") if REFERENCE else ("none", "starttls", "implicit")
UPSTREAM_TLS = ("reference",) if REFERENCE else ("implicit", "starttls")
SPARE_MAILBOXES = 60
# What Dovecot offers after login, unlike Exchange: no BINARYMIME, no SMTPUTF8, and another SIZE. (BURL, which it offers
# too, is left out: no client here has use for it.)
SMTP_CAPABILITIES = ["8BITMIME", "CHUNKING", "DSN", "ENHANCEDSTATUSCODES", "PIPELINING", "SIZE 200000000"]

AWKWARD_PASSWORDS = {
    "quotes": b'say "friend" and "enter',
    "backslashes": b"\\one \\\\two \\",
    "both": b'\\"\\\\"',
    "spaces": b"  in front,  between and behind  ",
    "latin-1": b"gr\xfc\xdfe an \xe4lle \xff\xa0",
    "utf-8": "pässwörd €uro ☃".encode(),
    "literals": b"{12}",
    "nonsync": b"{3+}",
    "specials": b"(%*)]{ !#$&'+,-./:;<=>?@[^_`|}~",
    "asterisk": b"*",
    "long": b"0123456789" * 20,
}


@dataclasses.dataclass(frozen=True)
class Account:
    """What a client types, and the mailbox that it stands for."""

    mailbox: str
    password: bytes

    @property
    def name(self):
        """The profile's, unlike what a client types."""
        return self.mailbox.partition("@")[0]

    @property
    def text(self):
        """The password for interfaces that want ASCII text."""
        return self.password.decode("ascii")


@dataclasses.dataclass(frozen=True)
class Front:
    """A way in: which server, and TLS as the client sees it."""

    server: servers.Server
    tls: str

    def port(self, protocol):
        return self.server.port(protocol, self.tls)


class World:
    def __init__(self, root, binaries):
        self.root = pathlib.Path(root)
        self.binaries = pathlib.Path(binaries)
        self.everything = []  # every server that ever ran: their logs are searched at the end
        self.sink = None
        self.corpus = Account("corpus@example.com", b"correct horse battery staple")
        self.sample = Account("sample@example.com", b"Tr0ub4dor&3, they said")
        self.stranger = Account("stranger@example.com", b"nobody upstream knows me")
        self.several = Account("several@example.com", b"the first password of several")
        self.several_more = Account("several@example.com", b"the second password of several")
        self.awkward = {name: Account(f"{name}@example.com", password) for name, password in AWKWARD_PASSWORDS.items()}
        self.hashed = Account("hashed@example.com", b"kept as nothing but a hash")
        self.variable = Account("variable@example.com", b"kept in the environment")
        self.wild = [Account(f"{name}@wild.example", b"one password for the domain") for name in ("one", "two")]
        self._spare = [
            Account(f"spare{n}@example.com", b"%02d is a spare password" % n) for n in range(SPARE_MAILBOXES)
        ]
        self._unused = iter(self._spare)

    def start(self):
        self.simulator = self._keep(servers.Simulator(self.root, self.binaries / "simulator"))
        self.trust = self.simulator.trust()
        self.signer = servers.Signer(self.root)
        self._write_keys()
        self._write_mailboxes()
        (port,) = servers.free_ports(1)
        self.sink = sink.Sink(port)
        self.dovecot = self.new_dovecot("dovecot", "oauth2")
        self.reference = self.new_dovecot("reference", "password")
        if REFERENCE:
            self._ways = {("reference", tls): Front(self.reference, tls) for tls in CLIENT_TLS}
            return
        self._write_profiles()
        # The one has its secret from a file, the other from the environment.
        secret = {"XOAUTH2_PROXY_APPS__INTEROP__CLIENT_SECRET": self.simulator.secret_file().read_text().strip()}
        without_file = self.settings(self.dovecot, "starttls")
        del without_file["apps"]["interop"]["client_secret_file"]
        proxies = {
            "implicit": self.new_proxy("proxy-implicit", self.settings(self.dovecot, "implicit")),
            "starttls": self.new_proxy("proxy-starttls", without_file, secret),
        }
        self._ways = {(up, tls): Front(proxies[up], tls) for up in UPSTREAM_TLS for tls in CLIENT_TLS}

    def stop(self):
        for server in reversed(self.everything):
            server.stop()
        if self.sink:
            self.sink.close()

    def front(self, tls, upstream):
        return self._ways[upstream, tls]

    @property
    def accounts(self):
        fixed = [self.corpus, self.sample, self.stranger, self.several, self.several_more, self.hashed, self.variable]
        return [*fixed, *self.wild, *self.awkward.values(), *self._spare]

    def new_mailbox(self, messages=()):
        """A mailbox that no other test uses."""
        account = next(self._unused)
        self.add_messages(account, messages)
        return account

    def add_messages(self, account, messages):
        maildir = corpus.Maildir(self.root / "mail" / account.mailbox, servers.mail_owner())
        for message in messages:
            maildir.add(message)

    def new_dovecot(self, name, passdb):
        users = self._users[passdb]
        return self._keep(servers.Dovecot(self.root, name, passdb, self.simulator, users, self._keys, self.sink.port))

    def new_proxy(self, name, settings, environment=None):
        environment = {"INTEROP_PASSWORD": self.variable.text, **(environment or {})}
        return self._keep(servers.Proxy(self.root, name, self.binaries / "xoauth2-proxy", settings, environment))

    def settings(self, dovecot, upstream_tls):
        """A configuration with a listener for each protocol and kind of TLS."""
        names = [(protocol, tls) for protocol in servers.PROTOCOLS for tls in ("none", "starttls", "implicit")]
        return {
            "apps": {
                "interop": {
                    "tenant_id": self.simulator.facts["tenant_id"],
                    "client_id": self.simulator.facts["client_id"],
                    "client_secret_file": str(self.simulator.secret_file()),
                    "authority": self.simulator.facts["authority"],
                    "ca_file": str(self.simulator.ca),
                }
            },
            "profiles": self._profiles,
            "listeners": {
                servers.listener(protocol, tls): {
                    "protocol": protocol,
                    "address": [f"127.0.0.1:{port}"],
                    "tls": tls,
                    **({} if tls == "none" else self.certificate()),
                }
                for (protocol, tls), port in zip(names, servers.free_ports(len(names)))
            },
            "upstreams": {
                protocol: {
                    "address": f"localhost:{dovecot.port(protocol, upstream_tls)}",
                    "tls": upstream_tls,
                    "ca_file": str(self.simulator.ca),
                    **({"capabilities": SMTP_CAPABILITIES} if protocol == "smtp" else {}),
                }
                for protocol in servers.PROTOCOLS
            },
        }

    def certificate(self):
        path = self.simulator.path
        return {"certificate_file": str(path / "server.pem"), "private_key_file": str(path / "server.key")}

    def direct_imap(self, account, tls="implicit"):
        """Past the proxy, with a token."""
        return self._direct(wire.Imap, "imap", account, tls)

    def direct_pop3(self, account, tls="implicit"):
        return self._direct(wire.Pop3, "pop3", account, tls)

    def direct_smtp(self, account, tls="implicit"):
        return self._direct(wire.Smtp, "smtp", account, tls)

    def _direct(self, kind, protocol, account, tls):
        connection = kind(self.dovecot.port(protocol, tls), tls, self.trust)
        _, verdict = connection.xoauth2(account.mailbox, self.simulator.token())
        if not verdict.startswith((b"x OK", b"+OK", b"235")):
            raise AssertionError(f"Dovecot refused {account.mailbox}: {verdict!r}")
        return connection

    def messages(self, account):
        """What the mailbox holds, in order, as Dovecot says it to a client without a proxy."""
        with self.direct_imap(account) as imap:
            return [message for _, message in sorted(imap.messages().items())]

    def _keep(self, server):
        self.everything.append(server)
        return server

    def _write_keys(self):
        """Dovecot looks a key up as <azp>/<alg>/<kid>."""
        self._keys = self.root / "keys"
        folder = self._keys / self.simulator.facts["client_id"] / "RS256"
        folder.mkdir(parents=True)
        shutil.copy(self.simulator.path / "entra-public-key.pem", folder / self.simulator.facts["key_id"])
        (folder / self.signer.key_id).write_bytes(self.signer.public_key)

    def _write_mailboxes(self):
        """The maildirs, and who may open them: Dovecot's two lists of users."""
        uid, gid = servers.mail_owner()
        self._users = {passdb: self.root / f"users-{passdb}" for passdb in ("oauth2", "password")}
        users = {account.mailbox: account for account in self.accounts if account is not self.stranger}
        entries = {name: f"{uid}:{gid}::{self.root}/mail/{name}:" for name in users}
        self._users["password"].write_text(
            "".join(f"{name}:{{PLAIN.HEX}}{users[name].password.hex()}:{entry}:\n" for name, entry in entries.items())
        )
        # This one is never to know a password.
        self._users["oauth2"].write_text("".join(f"{name}::{entry}:nopassword\n" for name, entry in entries.items()))
        contents = {self.corpus: corpus.messages(), self.sample: corpus.sample()}
        for account in users.values():
            self.add_messages(account, contents.get(account, []))

    def _write_profiles(self):
        """The same accounts for the proxy, with every way to state a name or a password."""
        folder = self.root / "passwords"
        folder.mkdir(mode=0o700)
        self._profiles = {}
        for number, account in enumerate(self.accounts):
            path = folder / str(number)
            # With and without the one line end that is not part of the password.
            path.write_bytes(account.password + b"\n" * (number % 2))
            profile = self._profiles.setdefault(account.name, {"mailbox": account.mailbox, "password_file": []})
            profile["password_file"].append(str(path))
        for profile in self._profiles.values():
            if len(profile["password_file"]) == 1:
                (profile["password_file"],) = profile["password_file"]
        self._profiles[self.sample.name]["username"] = ["sample@example.com", "sample", "OFFICE\\sample"]
        one, _ = (self._profiles.pop(account.name) for account in self.wild)
        self._profiles["wild"] = {"username": "*@wild.example", "password_file": one["password_file"]}
        self._profiles[self.hashed.name] = {"mailbox": self.hashed.mailbox, "password_hash": self._hash(self.hashed)}
        self._profiles[self.variable.name] = {"mailbox": self.variable.mailbox, "password_env": "INTEROP_PASSWORD"}

    def _hash(self, account):
        command = [self.binaries / "xoauth2-proxy", "hash-password"]
        done = subprocess.run(command, input=account.password, stdout=subprocess.PIPE, check=True)
        return done.stdout.decode().strip()
