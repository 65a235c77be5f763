//! What does it look like at work? The real proxy in front of a simulated Microsoft 365, all in this process: it shows one
//! legacy login from both sides, checks what it shows, and stays for the visitor's own clients.

use std::error::Error;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use simulator::{Entra, Exchange, FrontEnd, Registration, ServerTls, TestCa, sample_messages};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::app::{self, App, StartError};
use crate::platform;

/// Runs the demonstration until Ctrl-C, or with `once` until its self-check has ended.
///
/// # Errors
/// Something could not be started, or the self-check saw something else than it should.
pub(crate) async fn demo(once: bool) -> Result<(), Box<dyn Error>> {
    let ca = TestCa::new();
    let registration = Registration::example();
    let entra = Entra::start(&ca).await?;
    let exchange = Exchange::start(&ca, entra.verifier(), FrontEnd::TcpProxy, ServerTls::Implicit).await?;
    exchange.add_mailbox(MAILBOX, sample_messages());
    exchange.grant(&registration.object_id, MAILBOX);
    entra.register(registration.clone());

    let directory = Directory::create()?;
    platform::write_private(&directory.0.join("ca.pem"), ca.pem().as_bytes())?;
    // A self-check must not fail because somebody else has the usual ports.
    let proxy = if once { None } else { bind(&directory, &registration, &entra, &exchange, true).ok() };
    let proxy = match proxy {
        Some(proxy) => proxy,
        None => bind(&directory, &registration, &entra, &exchange, false)?,
    };
    let addresses = proxy.addresses();
    let address = |name: &str| addresses.iter().find(|(listener, _)| listener == name).map(|(_, address)| *address);
    let (Some(imap), Some(pop3), Some(smtp), Some(imap_starttls), Some(pop3_implicit)) =
        (address("imap"), address("pop3"), address("smtp"), address("imap-starttls"), address("pop3s"))
    else {
        return Err("a listener is missing".into());
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(proxy.serve(async {
        // Gone or sent: either way it is time.
        let _ = stopped.await;
    }));

    let mut out = io::stdout();
    writeln!(out, "\nEverything runs in this process; nothing leaves this machine.\n")?;
    writeln!(out, "  Entra ID (simulated)         {}", entra.authority())?;
    let (upstream_imap, upstream_pop3) = (exchange.imap_address(), exchange.pop3_address());
    let upstream_smtp = exchange.smtp_address();
    writeln!(
        out,
        "  Exchange Online (simulated)  imaps://{upstream_imap}  pop3s://{upstream_pop3}  smtps://{upstream_smtp}"
    )?;
    writeln!(out, "  xoauth2-proxy, in clear      imap://{imap}  pop3://{pop3}  smtp://{smtp}")?;
    writeln!(out, "  xoauth2-proxy, with TLS      imap://{imap_starttls} (STARTTLS)  pop3s://{pop3_implicit}")?;
    writeln!(out, "  user name                    {MAILBOX}")?;
    writeln!(out, "  password                     {PASSWORD}\n")?;

    let checked = self_check([imap, pop3, smtp], &exchange, &mut out).await;
    if checked.is_ok() && !once {
        let user = format!("{MAILBOX}:{PASSWORD}");
        writeln!(out, "Try it:\n")?;
        writeln!(out, "  curl -u '{user}' 'imap://{imap}/INBOX;MAILINDEX=1'")?;
        writeln!(out, "  curl -u '{user}' 'pop3://{pop3}/1'")?;
        writeln!(
            out,
            "  curl -u '{user}' 'smtp://{smtp}' --mail-from {MAILBOX} --mail-rcpt bob@example.org -T README.md"
        )?;
        writeln!(out, "  curl -u '{user}' --ssl-reqd -k 'imap://{imap_starttls}/'")?;
        writeln!(out, "  curl -u '{MAILBOX}:wrong' 'imap://{imap}/'")?;
        writeln!(out, "  openssl s_client -quiet -crlf -connect {pop3_implicit}")?;
        writeln!(out, "  openssl s_client -quiet -crlf -starttls imap -connect {imap_starttls}\n")?;
        writeln!(out, "Ctrl-C ends it.")?;
        platform::StopSignals::listen()?.next().await;
    }
    drop(stop);
    serving.await?;
    checked.map_err(Into::into)
}

const MAILBOX: &str = "alice@example.com";
const PASSWORD: &str = "open-sesame";

fn bind(
    directory: &Directory,
    registration: &Registration,
    entra: &Entra,
    exchange: &Exchange,
    usual_ports: bool,
) -> Result<App, StartError> {
    let port = |usual: u16| if usual_ports { usual } else { 0 };
    let text = format!(
        r#"
state_dir = "."

[apps.demo]
tenant_id = "{tenant}"
client_id = "{client}"
client_secret_env = "DEMO_CLIENT_SECRET"
authority = "{authority}"
ca_file = "ca.pem"

[profiles.alice]
mailbox = "{MAILBOX}"
password_env = "DEMO_PASSWORD"

[listeners.imap]
address = "127.0.0.1:{imap}"

[listeners.pop3]
address = "127.0.0.1:{pop3}"

[listeners.imap-starttls]
protocol = "imap"
address = "127.0.0.1:{imap_starttls}"
tls = "starttls"

[listeners.pop3s]
protocol = "pop3"
address = "127.0.0.1:{pop3s}"
tls = "implicit"

[upstreams.imap]
address = "{upstream_imap}"
ca_file = "ca.pem"

[upstreams.pop3]
address = "{upstream_pop3}"
ca_file = "ca.pem"

[listeners.smtp]
address = "127.0.0.1:{smtp}"

[upstreams.smtp]
address = "{upstream_smtp}"
tls = "implicit"
ca_file = "ca.pem"
"#,
        tenant = registration.tenant_id,
        client = registration.client_id,
        authority = entra.authority(),
        imap = port(1143),
        pop3 = port(1110),
        smtp = port(1587),
        imap_starttls = port(1144),
        pop3s = port(1995),
        upstream_imap = exchange.imap_address(),
        upstream_pop3 = exchange.pop3_address(),
        upstream_smtp = exchange.smtp_address(),
    );
    let environment = [("DEMO_CLIENT_SECRET", registration.secrets[0].as_str()), ("DEMO_PASSWORD", PASSWORD)];
    App::bind(app::parse(&app::Sources {
        file: Some((directory.0.join("demo.toml"), text)),
        environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    })?)
}

/// A directory of our own, gone with the demonstration.
struct Directory(PathBuf);

impl Directory {
    fn create() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("xoauth2-proxy-demo-{}", std::process::id()));
        platform::create_private_directory(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Left behind at the worst: a certificate and the key of a demonstration.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What a client says, and how the last line of the answer begins.
type Script<'a> = &'a [(&'a str, &'a str)];

/// Reads by IMAP, with a wrong password first, and by POP3, sends by SMTP, and shows all of it as transcripts.
async fn self_check(
    [imap, pop3, smtp]: [SocketAddr; 3],
    exchange: &Exchange,
    out: &mut impl io::Write,
) -> Result<(), String> {
    let good = format!("a1 LOGIN {MAILBOX} {PASSWORD}");
    let script: Script<'_> = &[
        ("", "* OK"),
        ("a0 LOGIN alice@example.com guessed", "a0 NO [AUTHENTICATIONFAILED]"),
        (&good, "a1 OK"),
        ("a2 STATUS INBOX (MESSAGES)", "a2 OK"),
        ("a3 LOGOUT", "a3 OK"),
    ];
    converse("IMAP", imap, script, exchange, out).await?;
    let login = format!("PASS {PASSWORD}");
    let script: Script<'_> =
        &[("", "+OK"), ("USER alice@example.com", "+OK"), (&login, "+OK"), ("STAT", "+OK"), ("QUIT", "+OK")];
    converse("POP3", pop3, script, exchange, out).await?;
    // `alice@example.com` and `open-sesame` in base64, as devices say them.
    let script: Script<'_> = &[
        ("", "220"),
        ("HELO scanner", "250"),
        ("AUTH LOGIN", "334"),
        ("YWxpY2VAZXhhbXBsZS5jb20=", "334"),
        ("b3Blbi1zZXNhbWU=", "235"),
        ("MAIL FROM:<alice@example.com>", "250"),
        ("RCPT TO:<bob@example.org>", "250"),
        ("DATA", "354"),
        ("Subject: scan\r\n\r\n.", "250"),
        ("QUIT", "221"),
    ];
    converse("SMTP", smtp, script, exchange, out).await?;
    if exchange.sent().len() != 1 {
        return Err("the message did not arrive".into());
    }
    if contains(&exchange.heard(), PASSWORD) {
        return Err("Exchange heard the client's password".into());
    }
    writeln!(out, "Self-check passed: the wrong password reached nobody, the right one opened the mailbox each time.\n")
        .map_err(|error| error.to_string())
}

async fn converse(
    protocol: &str,
    address: SocketAddr,
    script: Script<'_>,
    exchange: &Exchange,
    out: &mut impl io::Write,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("{address}: {error}");
    let head = format!("{:COLUMN$}  What Exchange hears", format!("What the client says and hears ({protocol})"));
    writeln!(out, "{head}\n{}", "-".repeat(2 * COLUMN)).map_err(failed)?;
    let mut stream = BufReader::new(TcpStream::connect(address).await.map_err(failed)?);
    for (say, expect) in script {
        let heard_before = exchange.heard().len();
        let mut left = Vec::new();
        if !say.is_empty() {
            left.extend(say.lines().map(|line| format!("C: {line}")));
            stream.write_all(format!("{say}\r\n").as_bytes()).await.map_err(failed)?;
        }
        loop {
            let mut line = String::new();
            let read =
                timeout(PATIENCE, stream.read_line(&mut line)).await.map_err(|_| format!("no answer to {say:?}"))?;
            if read.map_err(failed)? == 0 {
                return Err(format!("closed instead of an answer to {say:?}"));
            }
            left.push(format!("S: {}", line.trim_end()));
            let last = !line.starts_with("* ") || expect.starts_with('*');
            if last && !line.starts_with(expect) {
                return Err(format!("{say:?} was answered {line:?}"));
            }
            if last {
                break;
            }
        }
        let right: Vec<String> =
            String::from_utf8_lossy(&exchange.heard()[heard_before..]).lines().map(without_token).collect();
        for row in 0..left.len().max(right.len()) {
            let cell = |column: &[String]| column.get(row).map_or(String::new(), |text| cut(text));
            writeln!(out, "{:COLUMN$}  {}", cell(&left), cell(&right)).map_err(failed)?;
        }
    }
    writeln!(out).map_err(failed)
}

/// A line as Exchange hears it; in place of XOAUTH2's message stands what it says, without the token.
fn without_token(line: &str) -> String {
    const BEGIN: &str = "dXNlcj"; // "user=" in base64, but for its last bits
    match line.find(BEGIN) {
        None => format!("C: {line}"),
        Some(start) => format!("C: {}(user={MAILBOX}, token)", &line[..start]),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= COLUMN {
        text.to_owned()
    } else {
        text.chars().take(COLUMN - 3).chain("...".chars()).collect()
    }
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// Characters.
const COLUMN: usize = 60;

const PATIENCE: Duration = Duration::from_secs(10);
