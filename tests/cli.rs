//! What does the person at the terminal get? The binary itself: its output, its exit status, and a real run from the file
//! to an opened mailbox.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use simulator::{Entra, Exchange, FrontEnd, Registration, ServerTls, TestCa, sample_messages};

/// The binary in an environment that holds none of our variables.
fn proxy(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xoauth2-proxy"));
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

struct Said {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

fn run(mut command: Command, input: &[u8]) -> Said {
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
    child.stdin.take().expect("piped").write_all(input).expect("taken");
    let output = child.wait_with_output().expect("it ends");
    let text = |octets: Vec<u8>| String::from_utf8(octets).expect("text");
    Said { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn a_hash_from_standard_input_is_taken_by_the_configuration() {
    let said = run(proxy(&["hash-password"]), b"p\xe4ss word \r\n");
    assert!(said.status.success(), "{}", said.stderr);
    let hash = said.stdout.trim_end();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    let again = run(proxy(&["hash-password"]), b"p\xe4ss word \n");
    assert_ne!(said.stdout, again.stdout, "the salt is not random");

    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("proxy.toml");
    let text = format!(
        "[apps.a]\ntenant_id = \"t\"\nclient_id = \"c\"\nclient_secret = \"s\"\n\
         [profiles.p]\nmailbox = \"p@example.org\"\npassword_hash = \"{hash}\"\n"
    );
    std::fs::write(&file, text).expect("written");
    let said = run(proxy(&["check", "--config", &file.display().to_string()]), b"");
    assert!(said.status.success(), "{}", said.stderr);
    assert!(said.stdout.contains("no fault found: 1 app(s), 1 profile(s), 3 listener(s)"), "{}", said.stdout);
}

#[test]
fn an_empty_password_makes_no_hash() {
    let said = run(proxy(&["hash-password"]), b"\n");
    assert_eq!((said.status.code(), said.stdout.as_str()), (Some(65), ""), "{}", said.stderr);
}

#[test]
fn check_tells_every_fault_and_run_refuses_the_same() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("proxy.toml");
    std::fs::write(&file, "[apps.a]\ntenant_id = \"t\"\n[profiles.p]\nmailbox = \"p\"\nclient_sekret = \"hunter2\"\n")
        .expect("written");
    let path = file.display().to_string();
    for command in ["check", "run"] {
        let said = run(proxy(&[command, "--config", &path]), b"");
        assert_eq!(said.status.code(), Some(78), "{}", said.stderr);
        for fault in [
            format!("xoauth2-proxy: {path}:1: apps.a: client_id is missing"),
            format!("xoauth2-proxy: {path}:1: apps.a: client_secret_file is missing"),
            format!("xoauth2-proxy: {path}:3: profiles.p: password_hash is missing"),
            format!("xoauth2-proxy: {path}:4: profiles.p.mailbox: \"p\" is no mail address"),
            format!("xoauth2-proxy: {path}:5: profiles.p.client_sekret: unknown key"),
        ] {
            assert!(said.stderr.contains(&fault), "{fault}\nis not in\n{}", said.stderr);
        }
        assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
    }
}

#[test]
fn misuse_has_the_statuses_of_sysexits() {
    let nowhere = tempfile::tempdir().expect("a directory");
    let status = |arguments: &[&str]| {
        let mut command = proxy(arguments);
        command.current_dir(nowhere.path());
        let said = run(command, b"");
        assert!(
            !said.status.success() && !said.stderr.is_empty() && !said.stderr.contains("panicked"),
            "{}",
            said.stderr
        );
        said.status.code()
    };
    assert_eq!(status(&["fly"]), Some(64));
    assert_eq!(status(&[]), Some(64));
    assert_eq!(status(&["run", "--log", "x=y=z"]), Some(64));
    assert_eq!(status(&["run", "--config", "no-such-file.toml"]), Some(78));
    // Somebody's own file in /etc would be found.
    if !Path::new("/etc/xoauth2-proxy/proxy.toml").exists() {
        assert_eq!(status(&["check"]), Some(78));
    }
    let help = run(proxy(&["--help"]), b"");
    assert!(help.status.success() && help.stdout.contains("hash-password"), "{}", help.stdout);
}

#[test]
fn the_demonstration_demonstrates() {
    let said = run(proxy(&["demo", "--once"]), b"");
    assert!(said.status.success(), "{}", said.stderr);
    for part in ["a1 OK AUTHENTICATE completed.", "C: P1 AUTHENTICATE XOAUTH2", "Self-check passed"] {
        assert!(said.stdout.contains(part), "{part} is not in\n{}", said.stdout);
    }
    assert!(!said.stdout.contains("eyJ") && !said.stderr.contains("eyJ"), "it shows the token");
}

/// A simulated Microsoft 365 and a proxy process in front of it.
struct World {
    child: Child,
    stderr: BufReader<ChildStderr>,
    imap: String,
    /// Held for their servers.
    _services: (Entra, Exchange, tempfile::TempDir, tokio::runtime::Runtime),
}

impl World {
    fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (ca, app) = (TestCa::new(), Registration::example());
        let (entra, exchange) = runtime.block_on(async {
            let entra = Entra::start(&ca).await.expect("a port");
            let trust = entra.verifier();
            let exchange = Exchange::start(&ca, trust, FrontEnd::TcpProxy, ServerTls::Implicit).await.expect("a port");
            (entra, exchange)
        });
        exchange.add_mailbox("alice@example.com", sample_messages());
        exchange.grant(&app.object_id, "alice@example.com");
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("ca.pem"), ca.pem()).expect("written");
        std::fs::write(directory.path().join("secret"), format!("{}\n", app.secrets[0])).expect("written");
        std::fs::write(directory.path().join("password"), "open sesame\n").expect("written");
        // The file as an administrator writes it; what differs from Microsoft's own comes from the environment.
        let text = format!(
            "[apps.contoso]\ntenant_id = \"{}\"\nclient_id = \"{}\"\nclient_secret_file = \"secret\"\nca_file = \"ca.pem\"\n\n\
             [profiles.scanner]\nmailbox = \"alice@example.com\"\nusername = \"scanner\"\npassword_file = \"password\"\n",
            app.tenant_id, app.client_id
        );
        let file = directory.path().join("proxy.toml");
        std::fs::write(&file, text).expect("written");
        let authority = entra.authority();
        entra.register(app);
        let path = file.display().to_string();
        let mut command = proxy(&["run", "--config", &path]);
        let ca_file = directory.path().join("ca.pem").display().to_string();
        command.envs([
            ("XOAUTH2_PROXY_APPS__CONTOSO__AUTHORITY", authority.as_str()),
            ("XOAUTH2_PROXY_UPSTREAMS__IMAP__ADDRESS", &exchange.imap_address()),
            ("XOAUTH2_PROXY_UPSTREAMS__IMAP__CA_FILE", &ca_file),
            ("XOAUTH2_PROXY_LISTENERS__IMAP__ADDRESS", "127.0.0.1:0"),
            ("XOAUTH2_PROXY_LISTENERS__POP3__ADDRESS", "127.0.0.1:0"),
            ("XOAUTH2_PROXY_LISTENERS__SMTP__ADDRESS", "127.0.0.1:0"),
        ]);
        let mut child = command.spawn().expect("it starts");
        let (stderr, imap) = wait_until_ready(&mut child);
        Self { child, stderr, imap, _services: (entra, exchange, directory, runtime) }
    }

    fn client(&self) -> BufReader<TcpStream> {
        BufReader::new(TcpStream::connect(&self.imap).expect("it listens"))
    }

    /// Tells the process to end.
    fn interrupt(&self) {
        let killed = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(killed.expect("there is kill").success());
    }

    fn end(mut self) -> (ExitStatus, String) {
        let mut log = String::new();
        self.stderr.read_to_string(&mut log).expect("text");
        (self.child.wait().expect("it ends"), log)
    }
}

/// The log behind the line that says so, and the address of the IMAP listener.
fn wait_until_ready(child: &mut Child) -> (BufReader<ChildStderr>, String) {
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut imap = String::new();
    loop {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).expect("text") > 0, "it ended before it was ready");
        if line.contains("protocol=imap") {
            imap = line.split("address=").nth(1).and_then(|rest| rest.split(' ').next()).expect("named").to_owned();
        }
        if line.contains("ready") {
            return (stderr, imap);
        }
    }
}

fn ask(client: &mut BufReader<TcpStream>, command: &str, until: &str) -> String {
    client.get_mut().write_all(command.as_bytes()).expect("taken");
    let mut heard = String::new();
    loop {
        let start = heard.len();
        assert!(client.read_line(&mut heard).expect("text") > 0, "closed after {heard:?}");
        if heard[start..].starts_with(until) {
            return heard;
        }
    }
}

/// From the file to a mailbox, with a wrong password on the way and Ctrl-C in the middle.
#[test]
#[cfg(unix)]
fn a_run_from_the_file_to_the_end() {
    let world = World::start();
    let mut client = world.client();
    ask(&mut client, "", "* OK");
    ask(&mut client, "a LOGIN scanner wrong\r\n", "a NO [AUTHENTICATIONFAILED]");
    ask(&mut client, "b LOGIN Scanner \"open sesame\"\r\n", "b OK");
    assert!(ask(&mut client, "c STATUS INBOX (MESSAGES)\r\n", "c OK").contains("MESSAGES 5"));
    let mut waiting = world.client();
    ask(&mut waiting, "", "* OK");
    world.interrupt();
    // Who has not logged in is told so; who reads may go on.
    ask(&mut waiting, "", "* BYE [UNAVAILABLE]");
    drop(waiting);
    ask(&mut client, "d NOOP\r\n", "d OK");
    ask(&mut client, "e LOGOUT\r\n", "e OK");
    drop(client);
    let (status, log) = world.end();
    assert!(status.success(), "{status}\n{log}");
    assert!(log.contains("told to stop") && log.trim_end().ends_with("stopped"), "{log}");
    assert!(log.contains("login refused: wrong password for profile scanner"), "{log}");
    assert!(log.contains("session ended") && log.contains("mailbox=alice@example.com"), "{log}");
    for secret in ["open sesame", "simulated-client-secret-value", "eyJ"] {
        assert!(!log.contains(secret), "the log shows {secret}:\n{log}");
    }
}

/// A log collector that dies must not take the proxy with it.
#[test]
#[cfg(unix)]
fn closed_standard_error_is_not_the_end() {
    let World { mut child, stderr, imap, _services } = World::start();
    drop(stderr);
    for _ in 0..2 {
        let mut client = BufReader::new(TcpStream::connect(&imap).expect("it listens"));
        ask(&mut client, "", "* OK");
        ask(&mut client, "a LOGIN scanner wrong\r\n", "a NO [AUTHENTICATIONFAILED]");
        ask(&mut client, "b LOGIN scanner \"open sesame\"\r\n", "b OK");
        ask(&mut client, "c LOGOUT\r\n", "c OK");
    }
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(killed.expect("there is kill").success());
    assert!(child.wait().expect("it ends").success());
}

/// In clear, the secret may go to this machine only because it stays there.
#[test]
fn a_secret_in_clear_goes_by_no_http_proxy() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let mut command = proxy(&["run"]);
    command.envs([
        ("XOAUTH2_PROXY_APPS__A__TOKEN_ENDPOINT", format!("http://{nobody}/token").as_str()),
        ("XOAUTH2_PROXY_APPS__A__CLIENT_ID", "c"),
        ("XOAUTH2_PROXY_APPS__A__CLIENT_SECRET", "s"),
        ("XOAUTH2_PROXY_PROFILES__P__MAILBOX", "p@example.org"),
        ("XOAUTH2_PROXY_PROFILES__P__PASSWORD_ENV", "PASSWORD"),
        ("XOAUTH2_PROXY_LISTENERS__IMAP__ADDRESS", "127.0.0.1:0"),
        ("XOAUTH2_PROXY_LISTENERS__POP3__ENABLED", "false"),
        ("XOAUTH2_PROXY_LISTENERS__SMTP__ENABLED", "false"),
        ("XOAUTH2_PROXY_UPSTREAMS__IMAP__ADDRESS", &nobody.to_string()),
        ("PASSWORD", "hunter2"),
        ("http_proxy", &format!("http://{}", other.local_addr().expect("bound"))),
    ]);
    let mut child = command.spawn().expect("it starts");
    let (mut stderr, imap) = wait_until_ready(&mut child);
    let mut client = BufReader::new(TcpStream::connect(imap).expect("it listens"));
    ask(&mut client, "", "* OK");
    ask(&mut client, "a LOGIN p@example.org hunter2\r\n", "a NO [UNAVAILABLE]");
    other.set_nonblocking(true).expect("a socket");
    assert!(other.accept().is_err(), "the secret was sent to the HTTP proxy");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    stderr.read_to_string(&mut String::new()).expect("text");
}

#[test]
#[cfg(unix)]
fn a_second_signal_ends_at_once() {
    let world = World::start();
    let mut client = world.client();
    ask(&mut client, "", "* OK");
    ask(&mut client, "b LOGIN scanner \"open sesame\"\r\n", "b OK");
    world.interrupt();
    let mut waiting_for = String::new();
    let mut world = world;
    while !waiting_for.contains("stopping") {
        assert!(world.stderr.read_line(&mut waiting_for).expect("text") > 0, "{waiting_for}");
    }
    world.interrupt();
    let (status, log) = world.end();
    assert!(status.success() && log.contains("told twice"), "{status}\n{log}");
    drop(client);
}

#[test]
fn json_logs_are_one_object_a_line() {
    let said = run(proxy(&["demo", "--once", "--log-format", "json"]), b"");
    let lines: Vec<serde_json::Value> =
        said.stderr.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let ended = lines.iter().find(|line| line["message"] == "session ended").expect("a session ended");
    assert_eq!((&ended["mailbox"], &ended["profile"]), (&"alice@example.com".into(), &"alice".into()));
    assert!(ended["bytes_to_client"].as_u64().is_some_and(|octets| octets > 0), "{ended}");
}

/// F26: the default is loopback, and an address that is taken is said by name.
#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let mut command = proxy(&["run"]);
    command.envs([
        ("XOAUTH2_PROXY_APPS__A__TENANT_ID", "t"),
        ("XOAUTH2_PROXY_APPS__A__CLIENT_ID", "c"),
        ("XOAUTH2_PROXY_APPS__A__CLIENT_SECRET", "s"),
        ("XOAUTH2_PROXY_PROFILES__P__MAILBOX", "p@example.org"),
        ("XOAUTH2_PROXY_PROFILES__P__PASSWORD_ENV", "PASSWORD"),
        ("XOAUTH2_PROXY_LISTENERS__IMAP__ADDRESS", &address),
        ("PASSWORD", "hunter2"),
    ]);
    let said = run(command, b"");
    assert_eq!(said.status.code(), Some(69), "{}", said.stderr);
    assert!(said.stderr.contains(&format!("listener imap: cannot listen on {address}")), "{}", said.stderr);
}
