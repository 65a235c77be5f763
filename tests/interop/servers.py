"""The servers of the interop tests, each a child process with a directory, a log and an end.

`Simulator` is the project's simulated Entra ID, `Dovecot` a real mail server, `Proxy` what is being tested.
Whatever happens to this program, `run` ends every process whose id stands in a `*.pid` file.
"""

import base64
import contextlib
import itertools
import json
import os
import pathlib
import pwd
import random
import re
import signal
import socket
import ssl
import subprocess
import time
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).parent
START_DEADLINE = 30  # seconds until a server must answer; a loaded CI machine is slow
STOP_DEADLINE = 20
# Dovecot's debug log has this once for each TLS handshake that begins.
HANDSHAKE = "SSL: where=0x10, ret=1"
AUDIENCE = "https://outlook.office365.com"
PROTOCOLS = ("imap", "pop3", "smtp")


# Below those that Linux gives to clients: or a client could take one while its server is away.
_PORTS = iter(random.sample(range(20000, 32000), 12000))


def free_ports(count):
    """Ports that nobody listens on. None comes twice."""
    return list(itertools.islice(filter(bindable, _PORTS), count))


def bindable(port):
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


class Server:
    """A child process. `path` is its directory, `log` what it said."""

    def __init__(self, root, name):
        self.name = name
        self.path = root / name
        self.path.mkdir(exist_ok=True)
        self.log = self.path / "log"
        self.process = None
        self._pid_file = root / f"{name}.pid"

    def spawn(self, command, **options):
        with self.log.open("ab") as log:
            # A group of its own: for Ctrl-C at the terminal, and to end all of Dovecot's processes at once.
            options = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "start_new_session": True, **options}
            self.process = subprocess.Popen([str(word) for word in command], **options)
        self._pid_file.write_text(str(self.process.pid))

    def wait_until(self, ready, what):
        deadline = time.monotonic() + START_DEADLINE
        while not ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with status {self.process.returncode}: {self.tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name}: {what} not within {START_DEADLINE} s: {self.tail()}")
            time.sleep(0.02)

    def tail(self, lines=20):
        return "\n".join(["", *self.text().splitlines()[-lines:]])

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def ended(self):
        """Called once the process is gone."""
        self._pid_file.unlink(missing_ok=True)
        self.process = None

    def stop(self, how=signal.SIGTERM):
        """The exit status; None when it was not running."""
        if self.process is None:
            return None
        self.process.send_signal(how)
        try:
            status = self.process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.ended()
        return status


class Simulator(Server):
    """Entra ID: a token endpoint, the key its tokens are signed with, and a CA for everything that speaks TLS here."""

    def __init__(self, root, binary):
        super().__init__(root, "simulator")
        with self.log.open("ab") as log:
            self.spawn([binary, self.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the simulator said nothing: {self.tail()}")
        self.facts = json.loads(line)
        self.ca = self.path / "ca.pem"

    def secret_file(self):
        return self.path / self.facts["client_secret_file"]

    def issuer(self):
        return jwt_claims(self.token())["iss"]

    def token(self):
        """An app-only token, fetched as any client would."""
        form = {
            "client_id": self.facts["client_id"],
            "client_secret": self.secret_file().read_text().strip(),
            "grant_type": "client_credentials",
            "scope": AUDIENCE + "/.default",
        }
        url = f"{self.facts['authority']}/{self.facts['tenant_id']}/oauth2/v2.0/token"
        request = urllib.request.Request(url, urllib.parse.urlencode(form).encode())
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.trust())
        )
        with opener.open(request, timeout=10) as answer:
            return json.load(answer)["access_token"]

    def trust(self):
        return ssl.create_default_context(cafile=self.ca)

    def stop(self, how=None):
        if self.process is None:
            return None
        self.process.stdin.close()  # the agreed sign
        try:
            status = self.process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process.stdout.close()
        self.ended()
        return status


class Dovecot(Server):
    """IMAP, POP3 and submission, each on a port with TLS from the start and on one where STARTTLS is demanded.

    `passdb` "oauth2" admits app-only tokens by XOAUTH2 and nothing else; "password" admits the accounts' passwords.
    Both look into the same mailboxes, and hand what is submitted to the sink at `sink_port`.
    """

    def __init__(self, root, name, passdb, simulator, users, keys, sink_port):
        super().__init__(root, name)
        arrangements = [(protocol, tls) for protocol in PROTOCOLS for tls in ("implicit", "starttls")]
        self.ports = dict(zip(arrangements, free_ports(len(arrangements))))
        values = {
            "DIR": self.path,
            "USERS": users,
            "PASSDB": f"passdb-{passdb}.conf",
            "MECHANISMS": {"oauth2": "xoauth2", "password": "plain login"}[passdb],
            "CERTIFICATE": simulator.path / "server.pem",
            "PRIVATE_KEY": simulator.path / "server.key",
            "KEYS": keys,
            "ISSUER": simulator.issuer(),
            "SINK_PORT": sink_port,
        }
        values |= {f"{protocol}_{tls}_PORT".upper(): port for (protocol, tls), port in self.ports.items()}
        for template in ("dovecot.conf", f"passdb-{passdb}.conf", "oauth2.conf"):
            text = (HERE / template).read_text()
            for key, value in values.items():
                text = text.replace(f"@{key}@", str(value))
            (self.path / template).write_text(text)
        self.start()

    def start(self):
        self.spawn(["dovecot", "-F", "-c", self.path / "dovecot.conf"])
        self.wait_until(lambda: all(listens(port) for port in self.ports.values()), "its ports")

    def die(self):
        """As in a power cut. After SIGTERM its processes would serve their clients for half a minute more."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.ended()

    def stop(self, how=signal.SIGTERM):
        pid = self.process and self.process.pid
        status = super().stop(how)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        return status

    def port(self, protocol, tls):
        return self.ports[protocol, tls]

    def handshakes(self):
        """How many TLS connections it has seen, once its log has come to rest."""
        text = None
        while text != (text := self.text()):
            time.sleep(0.3)
        return text.count(HANDSHAKE)


class Proxy(Server):
    """The program under test. `settings` is its configuration as a tree of dictionaries."""

    def __init__(self, root, name, binary, settings, environment):
        super().__init__(root, name)
        self.configuration = self.path / "proxy.toml"
        self.configuration.write_text("\n".join(toml({"state_dir": str(self.path / "state"), **settings})) + "\n")
        self._listeners = settings["listeners"]
        # No variable of ours may configure it by chance.
        clean = {key: value for key, value in os.environ.items() if not key.startswith("XOAUTH2_PROXY_")}
        self._environment = clean | environment
        self._binary = binary
        self.start()

    def start(self):
        seen = len(self.text())
        command = [self._binary, "run", "--config", self.configuration, "--log", "trace"]
        self.spawn(command, env=self._environment, cwd=self.path)
        # `already in use` is not it.
        self.wait_until(lambda: re.search(r"\bready\b", self.text()[seen:]), "a line with `ready`")

    def port(self, protocol, tls):
        return int(self._listeners[listener(protocol, tls)]["address"][0].rpartition(":")[2])


def listener(protocol, tls):
    """Its name in the configuration. Those named as a protocol are there in any case, so they are to be used."""
    return protocol if tls == "none" else f"{protocol}-{tls}"


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def mail_owner():
    """Whom the mailboxes belong to: Dovecot does not open them as root."""
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def toml(tree, at=()):
    """The lines of a TOML document. JSON's strings, numbers, booleans and arrays are TOML's too."""
    leaves = {key: value for key, value in tree.items() if not isinstance(value, dict)}
    if at and leaves:
        yield f"[{'.'.join(json.dumps(key) for key in at)}]"
    for key, value in leaves.items():
        yield f"{json.dumps(key)} = {json.dumps(value)}"
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from toml(value, (*at, key))


class Signer:
    """A second key that Dovecot trusts, for tokens that the simulated Entra ID would never issue."""

    def __init__(self, root):
        self._key = root / "signer.key"
        openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", self._key)
        self.public_key = openssl("pkey", "-in", self._key, "-pubout")
        self.key_id = "interop"

    def sign(self, claims):
        header = {"typ": "JWT", "alg": "RS256", "kid": self.key_id}
        signed = ".".join(jwt_part(json.dumps(part).encode()) for part in (header, claims))
        signature = openssl("dgst", "-sha256", "-sign", self._key, input=signed.encode())
        return f"{signed}.{jwt_part(signature)}"


def openssl(*arguments, input=None):
    return subprocess.run(["openssl", *map(str, arguments)], input=input, check=True, capture_output=True).stdout


def jwt_part(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwt_claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
