//! `simulator DIR [--front-end classic|tcpproxy]`: Exchange Online and Entra ID for programs in any language.
//!
//! Writes into DIR what a client and another server need, prints one line of JSON, and serves until its standard
//! input is closed or it is interrupted.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use simulator::{Entra, Exchange, FrontEnd, Registration, ServerTls, TestCa, sample_messages};

const USAGE: &str = "usage: simulator DIR [--front-end classic|tcpproxy]";

const MAILBOXES: [&str; 2] = ["alice@example.com", "bob@example.com"];

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((directory, front_end)) = options(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(&directory, front_end).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulator: {}: {error}", directory.display());
            ExitCode::FAILURE
        }
    }
}

fn options(arguments: &[String]) -> Option<(PathBuf, FrontEnd)> {
    let (mut directory, mut front_end) = (None, FrontEnd::TcpProxy);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--front-end" => {
                front_end = match words.next()?.as_str() {
                    "classic" => FrontEnd::Classic,
                    "tcpproxy" => FrontEnd::TcpProxy,
                    _ => return None,
                }
            }
            option if option.starts_with('-') => return None,
            _ if directory.is_some() => return None,
            path => directory = Some(PathBuf::from(path)),
        }
    }
    Some((directory?, front_end))
}

async fn run(directory: &Path, front_end: FrontEnd) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let ca = TestCa::new();
    let entra = Entra::start(&ca).await?;
    let app = Registration::example();
    let exchange = Exchange::start(&ca, entra.verifier(), front_end, ServerTls::Implicit).await?;
    for mailbox in MAILBOXES {
        exchange.add_mailbox(mailbox, sample_messages());
        exchange.grant(&app.object_id, mailbox);
    }

    let server = ca.issue(&["localhost", "127.0.0.1"]);
    let ca_file = std::path::absolute(directory.join("ca.pem"))?;
    let secret_file = std::path::absolute(directory.join("client_secret"))?;
    std::fs::write(&ca_file, ca.pem())?;
    std::fs::write(directory.join("server.pem"), &server.certificate_pem)?;
    write_private(&directory.join("server.key"), &server.key_pem)?;
    std::fs::write(directory.join("entra-public-key.pem"), entra.public_key_pem())?;
    write_private(&secret_file, app.secrets.first().map_or("", String::as_str))?;

    let line = serde_json::json!({
        "authority": entra.authority(),
        "tenant_id": app.tenant_id,
        "client_id": app.client_id,
        "client_secret_file": secret_file,
        "object_id": app.object_id,
        "key_id": entra.key_id(),
        "imap": exchange.imap_address(),
        "pop3": exchange.pop3_address(),
        "smtp": exchange.smtp_address(),
        "ca_file": ca_file,
    });
    entra.register(app);
    let mut out = io::stdout();
    writeln!(out, "{line}")?;
    out.flush()?;

    tokio::select! {
        _ = input_closed() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    Ok(())
}

/// A file that nobody else on the machine can read.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    // An old file would keep its permissions.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

/// On a thread of its own: a blocking read would keep the runtime from ending.
async fn input_closed() {
    let (closed, wait) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut input = io::stdin().lock();
        let mut rubbish = [0; 1024];
        while input.read(&mut rubbish).is_ok_and(|count| count > 0) {}
        let _ = closed.send(());
    });
    let _ = wait.await;
}
