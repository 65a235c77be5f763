//! The program that other languages' tests start.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

#[test]
fn it_says_where_it_is_and_ends_with_its_input() {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("simulator");
    let mut simulator = Command::new(env!("CARGO_BIN_EXE_simulator"))
        .arg(&directory)
        .args(["--front-end", "classic"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(simulator.stdout.take().unwrap()).lines();
    let line: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let text = |name: &str| line[name].as_str().unwrap().to_owned();
    assert!(text("authority").starts_with("https://localhost:"));
    for name in ["imap", "pop3", "smtp"] {
        assert!(std::net::TcpStream::connect(text(name)).is_ok(), "{name}");
    }
    for name in ["tenant_id", "client_id", "object_id", "key_id"] {
        assert!(!text(name).is_empty(), "{name}");
    }
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    assert_eq!(std::fs::read_to_string(text("ca_file")).unwrap(), read("ca.pem"));
    assert_eq!(std::fs::read_to_string(text("client_secret_file")).unwrap(), read("client_secret"));
    assert!(read("server.pem").contains("CERTIFICATE") && read("server.key").contains("PRIVATE KEY"));
    assert!(read("entra-public-key.pem").contains("PUBLIC KEY"));
    #[cfg(unix)]
    for name in ["client_secret", "server.key"] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&directory.join(name).metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }

    drop(simulator.stdin.take());
    assert!(simulator.wait().unwrap().success());
    assert!(lines.next().is_none());
}

#[test]
fn what_it_does_not_know_it_says() {
    for arguments in [&[][..], &["dir", "--front-end", "newest"], &["--help"], &["a", "b"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_simulator")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stderr.starts_with(b"usage: simulator DIR"));
    }
}
