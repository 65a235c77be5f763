//! The whole proxy over real sockets, in front of a simulated Microsoft 365 that works: what legacy clients get to see,
//! who is let in, what the upstream hears, and how it all ends. What goes wrong around it is in `faults.rs`.

mod common;

use std::time::{Duration, Instant};

use simulator::{ExchangeFault, FrontEnd, Registration, ServerTls, sample_message, sample_messages};
use tokio::task::JoinSet;
use xoauth2_proxy::app::DRAIN_TIMEOUT;
use xoauth2_proxy::profiles::HashedPassword;
use xoauth2_proxy::protocol::Refusal;

use common::{
    ALICE, Client, Door, PASSWORD, PLAIN_PASSWORD, Protocol, Scene, Setup, assert_hidden, base64, is_ok, let_pass,
    plain, quoted, refusal, soon, tokens, without_tokens,
};

// Every way through.

/// By every listener: each message is read as it was put into the mailbox, and the session ends with the upstream's
/// goodbye.
async fn every_message_is_read(front_end: FrontEnd, upstream_tls: ServerTls) {
    let scene = Scene::with(Setup { front_end, upstream_tls, ..Setup::default() }).await;
    for door in Door::ALL {
        let mut client = scene.enter_as_alice(door).await;
        if door.protocol() == Protocol::Imap {
            assert!(is_ok(&client.ask("SELECT INBOX").await));
        }
        for (number, message) in (1..).zip(sample_messages()) {
            assert!(client.message(number).await == message, "{door:?}, message {number}");
        }
        client.leave().await;
    }
    assert_eq!(scene.exchange.logins(), 6);
    assert_eq!(scene.entra.requests(), 1);
    soon("the upstream's connections to be closed", scene.exchange.open_connections_fall_to(0)).await;
}

#[tokio::test]
async fn every_message_is_read_from_classic_by_implicit_tls() {
    every_message_is_read(FrontEnd::Classic, ServerTls::Implicit).await;
}

#[tokio::test]
async fn every_message_is_read_from_classic_by_starttls() {
    every_message_is_read(FrontEnd::Classic, ServerTls::StartTls).await;
}

#[tokio::test]
async fn every_message_is_read_from_tcpproxy_by_implicit_tls() {
    every_message_is_read(FrontEnd::TcpProxy, ServerTls::Implicit).await;
}

#[tokio::test]
async fn every_message_is_read_from_tcpproxy_by_starttls() {
    every_message_is_read(FrontEnd::TcpProxy, ServerTls::StartTls).await;
}

/// A client that says no goodbye leaves no connection behind.
#[tokio::test]
async fn a_client_that_just_goes_is_followed_by_its_upstream_connection() {
    let scene = Scene::new().await;
    for door in Door::ALL {
        drop(scene.enter_as_alice(door).await);
        soon("the upstream's connection to be closed", scene.exchange.open_connections_fall_to(0)).await;
    }
}

// Bytes around the login.

#[tokio::test]
async fn f1_what_the_upstream_says_behind_its_ok_arrives() {
    let behind = b"* 7 EXISTS\r\n* 7 RECENT\r\n";
    for upstream_tls in [ServerTls::Implicit, ServerTls::StartTls] {
        let scene = Scene::with(Setup { upstream_tls, ..Setup::default() }).await;
        scene.exchange.set_fault(Some(ExchangeFault::BehindLogin(behind.to_vec())));
        for door in Door::ALL {
            let mut client = scene.enter_as_alice(door).await;
            assert_eq!(client.octets(behind.len()).await, behind, "{door:?}");
            assert!(is_ok(&client.ask("NOOP").await), "{door:?}");
        }
    }
}

const PIPELINED_IMAP: &str =
    "a1 LOGIN alice open-sesame-4711\r\na2 SELECT INBOX\r\na3 FETCH 2 BODY.PEEK[]\r\na4 LOGOUT\r\n";

const PIPELINED_POP3: &str = "USER alice\r\nPASS open-sesame-4711\r\nSTAT\r\nRETR 2\r\nQUIT\r\n";

/// The answers to either, to the last one.
async fn answers_to_pipelined(client: &mut Client) {
    let messages = sample_messages();
    match client.protocol() {
        Protocol::Imap => {
            assert!(is_ok(&client.status("a1 ").await));
            assert!(client.status("a2 ").await.starts_with("OK [READ-WRITE]"));
            assert_eq!(client.fetched(2).await, messages[1]);
            assert!(is_ok(&client.status("a3 ").await));
            assert!(client.line().await.starts_with("* BYE "));
            assert_eq!(client.line().await, "a4 OK LOGOUT completed.");
        }
        Protocol::Pop3 => {
            assert_eq!(client.line().await, "+OK Send the password.");
            assert_eq!(client.line().await, "+OK User successfully authenticated.");
            let octets: usize = messages.iter().map(Vec::len).sum();
            assert_eq!(client.line().await, format!("+OK {} {octets}", messages.len()));
            assert_eq!(client.line().await, "+OK");
            assert_eq!(client.octets(messages[1].len()).await, messages[1]);
            assert_eq!(client.line().await, ".");
            assert_eq!(client.line().await, "+OK Microsoft Exchange Server POP3 server signing off.");
        }
    }
    client.ended().await;
}

fn pipelined(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => PIPELINED_IMAP,
        Protocol::Pop3 => PIPELINED_POP3,
    }
}

#[tokio::test]
async fn f1_f2_f3_a_whole_session_in_one_write_is_answered_in_order() {
    let scene = Scene::new().await;
    for door in Door::ALL {
        let mut client = scene.enter(door).await;
        client.send(pipelined(door.protocol())).await;
        answers_to_pipelined(&mut client).await;
    }
    assert_hidden(&scene.exchange.heard(), "the password", PLAIN_PASSWORD);
}

#[tokio::test]
async fn f1_a_whole_session_octet_by_octet_is_answered_in_order() {
    let scene = Scene::new().await;
    for door in Door::ALL {
        let mut client = scene.enter(door).await;
        for octet in pipelined(door.protocol()).bytes() {
            client.send([octet]).await;
        }
        answers_to_pipelined(&mut client).await;
    }
}

/// Before the greeting, that is.
#[tokio::test]
async fn f1_a_client_that_does_not_wait_for_the_greeting_is_served() {
    let scene = Scene::new().await;
    for door in Door::PLAIN {
        let mut client = Client::over(door.protocol(), scene.connect(door).await);
        client.send(pipelined(door.protocol())).await;
        client.greeting().await;
        answers_to_pipelined(&mut client).await;
    }
}

/// However a client logs in: what it sends, and the answers that it waits for ahead of the verdict.
struct Spelling {
    door: Door,
    password: &'static str,
    steps: Vec<(String, &'static str)>,
}

fn spellings() -> Vec<Spelling> {
    let imap = |password, steps| Spelling { door: Door::Imap, password, steps };
    let pop3 = |password, steps| Spelling { door: Door::Pop3, password, steps };
    let line = |text: &str| (format!("{text}\r\n"), "");
    let octets = PASSWORD.len();
    vec![
        imap(PLAIN_PASSWORD, vec![line(&format!("a LOGIN alice {PLAIN_PASSWORD}"))]),
        imap(PLAIN_PASSWORD, vec![line(&format!("a login \"alice\"  \"{PLAIN_PASSWORD}\""))]),
        imap(PASSWORD, vec![line(&format!("a LOGIN alice {}", quoted(PASSWORD)))]),
        imap(
            PASSWORD,
            vec![("a LOGIN {5}\r\n".to_owned(), "+ "), (format!("alice {{{octets}}}\r\n"), "+ "), line(PASSWORD)],
        ),
        imap(PASSWORD, vec![line(&format!("a LOGIN {{5+}}\r\nalice {{{octets}+}}\r\n{PASSWORD}"))]),
        imap(PASSWORD, vec![line(&format!("a AUTHENTICATE PLAIN {}", plain("", "alice", PASSWORD)))]),
        imap(PASSWORD, vec![("a AUTHENTICATE PLAIN\r\n".to_owned(), "+ "), line(&plain("", "alice", PASSWORD))]),
        imap(
            PASSWORD,
            vec![
                ("a AUTHENTICATE LOGIN\r\n".to_owned(), "+ VXNlcm5hbWU6"),
                (format!("{}\r\n", base64("alice")), "+ UGFzc3dvcmQ6"),
                line(&base64(PASSWORD)),
            ],
        ),
        pop3(PLAIN_PASSWORD, vec![("user alice\r\n".to_owned(), "+OK"), line(&format!("pass {PLAIN_PASSWORD}"))]),
        pop3(PASSWORD, vec![("USER alice\r\n".to_owned(), "+OK"), line(&format!("PASS {PASSWORD}"))]),
        pop3(PASSWORD, vec![line(&format!("AUTH PLAIN {}", plain("", "alice", PASSWORD)))]),
        pop3(PASSWORD, vec![("AUTH PLAIN\r\n".to_owned(), "+ "), line(&plain("", "alice", PASSWORD))]),
        pop3(
            PASSWORD,
            vec![
                ("AUTH LOGIN\r\n".to_owned(), "+ VXNlcm5hbWU6"),
                (format!("{}\r\n", base64("alice")), "+ UGFzc3dvcmQ6"),
                line(&base64(PASSWORD)),
            ],
        ),
    ]
}

#[tokio::test]
async fn f2_f5_no_spelling_of_a_login_lets_the_password_through() {
    let scene = Scene::new().await;
    for Spelling { door, password, steps } in spellings() {
        let heard_before = scene.exchange.heard().len();
        let mut client = scene.enter(door).await;
        for (send, answer) in &steps {
            client.send(send).await;
            if !answer.is_empty() {
                let line = client.line().await;
                assert!(line.starts_with(answer), "{steps:?}: {line}");
            }
        }
        let status = client.status(if door == Door::Imap { "a " } else { "" }).await;
        assert!(is_ok(&status), "{steps:?}: {status}");
        client.leave().await;

        let heard = &scene.exchange.heard()[heard_before..];
        assert_hidden(heard, "the password", password);
        let commands: &[&str] = match door.protocol() {
            Protocol::Imap => &["P1 AUTHENTICATE XOAUTH2 (token)", "bye LOGOUT"],
            Protocol::Pop3 => &["AUTH XOAUTH2", "(token)", "QUIT"],
        };
        assert_eq!(without_tokens(heard), commands, "{steps:?}");
    }
}

/// In one write, in the order of scanners that do not wait: capabilities, a wrong password, the right one, the mailbox.
#[tokio::test]
async fn f2_commands_pipelined_around_a_refused_login_stay_here() {
    let scene = Scene::new().await;
    let mut client = scene.enter(Door::Pop3).await;
    client
        .send(format!(
            "CAPA\r\nUSER alice\r\nPASS wrong\r\nNOOP\r\nUSER bob\r\nUSER alice\r\nPASS {PASSWORD}\r\nSTAT\r\nQUIT\r\n"
        ))
        .await;
    assert!(is_ok(&client.line().await));
    while client.line().await != "." {}
    for answer in ["+OK", "-ERR [AUTH] ", "+OK", "+OK", "+OK", "+OK User successfully authenticated.", "+OK 5 ", "+OK"]
    {
        let line = client.line().await;
        assert!(line.starts_with(answer), "{answer}: {line}");
    }
    client.ended().await;
    assert_eq!(without_tokens(&scene.exchange.heard()), ["AUTH XOAUTH2", "(token)", "STAT", "QUIT"]);
}

// What is asked of Microsoft, and when.

#[tokio::test]
async fn f27_who_does_not_log_in_reaches_nobody() {
    let scene = Scene::new().await;
    for door in Door::ALL {
        // A port scan, a health probe, and one that speaks another language.
        drop(scene.connect(door).await);
        drop(scene.enter(door).await);
        let mut stranger = Client::over(door.protocol(), scene.connect(door).await);
        stranger.send("GET / HTTP/1.1\r\nHost: mail.example.com\r\n\r\n\0\x01\u{ff}\r\n").await;
        stranger.finish_sending().await;
        // How it is shown out is its own affair: it may have sent more than was read.
        let _ = stranger.whatever_comes().await;

        let mut client = scene.enter(door).await;
        let commands = match door.protocol() {
            Protocol::Imap => ["CAPABILITY", "ID NIL", "NOOP"],
            Protocol::Pop3 => ["NOOP", "NOOP", "NOOP"],
        };
        for command in commands {
            assert!(is_ok(&client.ask(command).await), "{command}");
        }
        client.must_be_refused("alice", "wrong", Refusal::Credentials).await;
        client.must_be_refused("bob", PASSWORD, Refusal::Credentials).await;
    }
    assert_eq!((scene.exchange.connections(), scene.entra.requests()), (0, 0));
}

/// Bob's mailbox, opened by the same application as Alice's.
const BOB: &str = r#"
[profiles.bob]
mailbox = "bob@example.com"
password_env = "PLAIN_PASSWORD"
app = "contoso"
"#;

#[tokio::test]
async fn f33_twenty_logins_at_once_make_one_token_request() {
    let scene = Scene::with(Setup { more: BOB, ..Setup::default() }).await;
    scene.exchange.add_mailbox("bob@example.com", vec![]);
    scene.exchange.grant(&scene.app.object_id, "bob@example.com");
    let mut clients = Vec::new();
    for number in 0..20 {
        clients.push((scene.enter(Door::PLAIN[number % 2]).await, [ALICE, "bob@example.com"][number / 2 % 2]));
    }
    let mut logins = JoinSet::new();
    for (mut client, user) in clients {
        logins.spawn(async move { client.must_log_in(user, PLAIN_PASSWORD).await });
    }
    while let Some(login) = logins.join_next().await {
        login.expect("no panic");
    }
    assert_eq!((scene.exchange.logins(), scene.entra.requests()), (20, 1));
}

#[tokio::test]
async fn f33_a_token_that_the_upstream_no_longer_takes_is_replaced_unnoticed() {
    for door in Door::PLAIN {
        let scene = Scene::new().await;
        scene.enter_as_alice(door).await.leave().await;
        scene.exchange.refuse_next(1);
        scene.enter_as_alice(door).await.leave().await;
        assert_eq!((scene.exchange.refused_logins(), scene.exchange.logins(), scene.entra.requests()), (1, 2, 2));
        let tokens = tokens(&scene.exchange.heard());
        assert!(tokens.len() == 3 && tokens[0] == tokens[1] && tokens[1] != tokens[2]);
    }
}

/// Nor does it cost the others their token.
#[tokio::test]
async fn f33_a_mailbox_that_is_never_granted_does_not_make_each_login_a_token_request() {
    for door in Door::PLAIN {
        let scene = Scene::with(Setup { more: BOB, ..Setup::default() }).await;
        let mut client = scene.enter(door).await;
        for _ in 0..10 {
            client.must_be_refused("bob@example.com", PLAIN_PASSWORD, Refusal::Mailbox).await;
        }
        scene.enter_as_alice(door).await.leave().await;
        assert_eq!(scene.entra.requests(), 2, "one token, and one new one to see whether that helps");
    }
}

#[tokio::test]
async fn the_token_request_says_what_entra_asks_for() {
    let scene = Scene::new().await;
    scene.enter_as_alice(Door::Imap).await.leave().await;
    let mut form: Vec<_> = scene.entra.last_request().expect("one request").into_iter().collect();
    form.sort();
    let expected = [
        ("client_id", scene.app.client_id.as_str()),
        ("client_secret", &scene.app.secrets[0]),
        ("grant_type", "client_credentials"),
        ("scope", "https://outlook.office365.com/.default"),
    ];
    assert_eq!(form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn two_tenants_have_a_token_each() {
    let fabrikam = Registration {
        tenant_id: "0c1f2b3a-77aa-4bcd-9e0f-5a6b7c8d9e0f".into(),
        client_id: "1d2e3f40-88bb-4cde-8f10-6b7c8d9e0f1a".into(),
        object_id: "2e3f4051-99cc-4def-9021-7c8d9e0f1a2b".into(),
        secrets: vec!["the secret of fabrikam".into()],
        roles: Registration::example().roles,
    };
    let more = r#"
[apps.fabrikam]
tenant_id = "0c1f2b3a-77aa-4bcd-9e0f-5a6b7c8d9e0f"
client_id = "1d2e3f40-88bb-4cde-8f10-6b7c8d9e0f1a"
client_secret_env = "FABRIKAM"
authority = "{authority}"
ca_file = "entra-ca.pem"

[profiles.frank]
mailbox = "frank@fabrikam.example"
password_env = "PLAIN_PASSWORD"
app = "fabrikam"
"#;
    let environment = vec![("FABRIKAM", fabrikam.secrets[0].clone())];
    let scene = Scene::with(Setup { more, environment, ..Setup::default() }).await;
    scene.exchange.add_mailbox("frank@fabrikam.example", vec![b"Subject: for Frank\r\n\r\n".to_vec()]);
    scene.exchange.grant(&fabrikam.object_id, "frank@fabrikam.example");
    scene.entra.register(fabrikam.clone());
    for door in [Door::Pop3, Door::Pop3s] {
        let mut alice = scene.enter_as_alice(door).await;
        let mut frank = scene.enter(door).await;
        frank.must_log_in("frank@fabrikam.example", PLAIN_PASSWORD).await;
        assert_eq!(alice.message(1).await, sample_messages()[0]);
        assert_eq!(frank.message(1).await, b"Subject: for Frank\r\n\r\n");
    }
    assert_eq!(scene.entra.requests(), 2, "one for each application");
    assert_eq!(scene.entra.last_request().expect("two requests")["client_id"], fabrikam.client_id);
}

// Who is let in.

/// A domain with one password, and two of its mailboxes with profiles of their own.
const EXAMPLE_COM: &str = r#"
[profiles.everyone]
username = "*@Example.com"
password_env = "EVERYONE"
app = "contoso"

[profiles.scanner]
mailbox = "Scanner@Example.com"
username = ["scanner", "Xerox 7"]
password_file = ["scanner-1", "scanner-2"]
password_hash = "{hash}"
app = "contoso"
"#;

#[tokio::test]
async fn f20_f21_user_name_and_password_decide_which_mailbox_is_opened() {
    let hash = HashedPassword::of(b"hashed one").expect("short enough");
    // A configuration has few hashes and many readers: it is leaked rather than owned by every set-up.
    let more: &'static str = EXAMPLE_COM.replace("{hash}", &hash).leak();
    let scene = Scene::with(Setup {
        more,
        environment: vec![("EVERYONE", "everyone's".into())],
        files: vec![("scanner-1", b"first\r\n".to_vec()), ("scanner-2", b"p\xe4\xdf \n".to_vec())],
        ..Setup::default()
    })
    .await;
    for mailbox in ["bob@example.com", "scanner@example.com"] {
        scene.exchange.add_mailbox(mailbox, vec![format!("To: {mailbox}\r\n\r\n").into_bytes()]);
        scene.exchange.grant(&scene.app.object_id, mailbox);
    }
    let alice = String::from_utf8(sample_messages()[0].clone()).expect("ASCII");
    let in_bobs = "To: bob@example.com\r\n\r\n".to_owned();
    let in_scanners = "To: scanner@example.com\r\n\r\n".to_owned();
    for (username, password, opened) in [
        (ALICE, PASSWORD, Some(&alice)),
        ("ALICE@Example.COM", PASSWORD, Some(&alice)),
        ("Alice", PLAIN_PASSWORD, Some(&alice)),
        // Her own profile goes before her domain's.
        (ALICE, "everyone's", None),
        (ALICE, "Open-Sesame-4711", None),
        (ALICE, PASSWORD.trim_end(), None),
        ("bob@example.com", "everyone's", Some(&in_bobs)),
        ("Bob@EXAMPLE.com", "everyone's", Some(&in_bobs)),
        ("bob@example.com", PASSWORD, None),
        ("bob", "everyone's", None),
        ("bob@example.org", "everyone's", None),
        ("*@example.com", "everyone's", None),
        ("scanner", "first", Some(&in_scanners)),
        ("XEROX 7", "first", Some(&in_scanners)),
        ("scanner", "hashed one", Some(&in_scanners)),
        ("scanner", "second", None),
        ("nobody", "first", None),
    ] {
        let mut client = scene.enter(Door::Pop3).await;
        match opened {
            Some(message) => {
                client.must_log_in(username, password).await;
                assert_eq!(&String::from_utf8_lossy(&client.message(1).await), message, "{username}");
            }
            // Some are refused by Exchange: a mailbox that nobody has.
            None => assert!(!is_ok(&client.log_in(username, password).await), "{username}, {password}"),
        }
    }
    for door in Door::PLAIN {
        let mut client = scene.enter(door).await;
        client.must_be_refused("nobody", "first", Refusal::Credentials).await;
        client.must_be_refused("scanner", "second", Refusal::Credentials).await;
        client.must_log_in("scanner", "hashed one").await;
    }
}

#[tokio::test]
async fn f9_a_password_that_is_no_text_is_taken_octet_for_octet() {
    let password = b"p\xe4\xdf \x07";
    let more = r#"
[profiles.scanner]
mailbox = "alice@example.com"
username = "scanner"
password_file = "scanner"
app = "contoso"
"#;
    let files = vec![("scanner", [&password[..], b"\n"].concat())];
    let scene = Scene::with(Setup { more, files, ..Setup::default() }).await;
    let mut imap = scene.enter(Door::Imap).await;
    imap.send([b"a LOGIN scanner {5+}\r\n", &password[..], b"\r\n"].concat()).await;
    assert!(is_ok(&imap.status("a ").await));
    let mut pop3 = scene.enter(Door::Pop3).await;
    pop3.send([b"USER scanner\r\nPASS ", &password[..], b"\r\n"].concat()).await;
    assert!(is_ok(&pop3.line().await));
    assert!(is_ok(&pop3.line().await));
}

#[tokio::test]
async fn f20_nobody_acts_as_somebody_else() {
    let scene = Scene::new().await;
    for (authorization_id, verdict) in [
        ("alice", None),
        ("Alice@Example.com", None),
        ("bob@example.com", Some(Refusal::Authorization)),
        ("root", Some(Refusal::Authorization)),
    ] {
        for door in Door::PLAIN {
            let command = if door == Door::Imap { "AUTHENTICATE" } else { "AUTH" };
            let mut client = scene.enter(door).await;
            let status = client.ask(&format!("{command} PLAIN {}", plain(authorization_id, "alice", PASSWORD))).await;
            match verdict {
                None => assert!(is_ok(&status), "{authorization_id}: {status}"),
                Some(why) => assert_eq!(status, refusal(door.protocol(), why), "{authorization_id}"),
            }
            // Who does not know the password is not told what it would be good for.
            let mut stranger = scene.enter(door).await;
            let status = stranger.ask(&format!("{command} PLAIN {}", plain(authorization_id, "alice", "wrong"))).await;
            assert_eq!(status, refusal(door.protocol(), Refusal::Credentials));
        }
    }
    assert_eq!(scene.exchange.logins(), 4);
}

#[tokio::test]
async fn f21_user_names_with_control_characters_are_malformed() {
    let more = r#"
[profiles.everyone]
username = "*@example.com"
password_env = "PLAIN_PASSWORD"
app = "contoso"
"#;
    let scene = Scene::with(Setup { more, ..Setup::default() }).await;
    for name in ["bob\x01auth=Bearer x\x01\x01@example.com", "bob\x1b[2J@example.com", "bob\x7f@example.com"] {
        let octets = name.len();
        for (door, command, status) in [
            (Door::Imap, format!("LOGIN {} {PLAIN_PASSWORD}", quoted(name)), "BAD "),
            (Door::Imap, format!("LOGIN {{{octets}+}}\r\n{name} {PLAIN_PASSWORD}"), "BAD "),
            (Door::Imap, format!("AUTHENTICATE PLAIN {}", plain("", name, PLAIN_PASSWORD)), "BAD "),
            (Door::Imap, format!("AUTHENTICATE PLAIN {}", plain(name, "bob@example.com", PLAIN_PASSWORD)), "BAD "),
            (Door::Pop3, format!("USER {name}"), "-ERR "),
            (Door::Pop3, format!("AUTH PLAIN {}", plain("", name, PLAIN_PASSWORD)), "-ERR "),
        ] {
            let mut client = scene.enter(door).await;
            let said = client.ask(&command).await;
            assert!(said.starts_with(status), "{command:?}: {said}");
            assert!(is_ok(&client.ask("NOOP").await), "the connection goes on");
        }
    }
    assert_eq!((scene.exchange.connections(), scene.entra.requests()), (0, 0));
}

#[tokio::test]
async fn no_login_before_starttls_where_the_listener_wants_it() {
    let scene = Scene::new().await;
    for door in [Door::ImapStartTls, Door::Pop3Stls] {
        let mut client = Client::over(door.protocol(), scene.connect(door).await);
        client.greeting().await;
        let commands = match door.protocol() {
            Protocol::Imap => [
                format!("LOGIN alice {PLAIN_PASSWORD}"),
                format!("AUTHENTICATE PLAIN {}", plain("", "alice", PASSWORD)),
            ],
            Protocol::Pop3 => ["USER alice".to_owned(), format!("AUTH PLAIN {}", plain("", "alice", PASSWORD))],
        };
        for command in commands {
            assert!(!is_ok(&client.ask(&command).await), "{command}");
        }
        client.ask_for_tls().await;
        let mut client = client.handshake(scene.trust()).await;
        client.must_log_in(ALICE, PASSWORD).await;
    }
    assert_eq!(scene.exchange.connections(), 2);
}

// Lines, literals, limits.

#[tokio::test]
async fn f9_a_bare_line_feed_ends_a_line() {
    let scene = Scene::new().await;
    let mut imap = scene.enter(Door::Imap).await;
    imap.send(format!("a LOGIN alice {PLAIN_PASSWORD}\n")).await;
    assert!(is_ok(&imap.status("a ").await));
    imap.leave().await;
    let mut pop3 = scene.enter(Door::Pop3).await;
    pop3.send("USER alice\n").await;
    assert!(is_ok(&pop3.line().await));
    pop3.send(format!("PASS {PLAIN_PASSWORD}\n")).await;
    assert!(is_ok(&pop3.line().await));
    pop3.leave().await;
}

#[tokio::test]
async fn f9_a_line_without_end_is_answered_and_ends_the_connection() {
    let scene = Scene::new().await;
    for door in Door::ALL {
        let mut client = scene.enter(door).await;
        // More than is read at a time, so that the last words have to come through in spite of it.
        client.send("x".repeat(40_000)).await;
        let last_words = client.line().await;
        let expected = match door.protocol() {
            Protocol::Imap => "* BYE The line is too long.",
            Protocol::Pop3 => "-ERR The line is too long.",
        };
        assert_eq!(last_words, expected, "{door:?}");
        client.ended().await;
    }
}

#[tokio::test]
async fn f9_a_literal_that_is_too_large_is_answered_before_it_is_read() {
    let scene = Scene::new().await;
    let mut client = scene.enter(Door::Imap).await;
    for octets in ["20000", "4294967295"] {
        let status = client.ask(&format!("LOGIN alice {{{octets}}}")).await;
        assert!(status.starts_with("BAD "), "{octets}: {status}");
    }
    client.must_log_in(ALICE, PASSWORD).await;
    // Without waiting, its octets are on their way: they must not be taken for commands.
    let mut client = scene.enter(Door::Imap).await;
    client.send(format!("a LOGIN alice {{20000+}}\r\nb LOGIN alice {PLAIN_PASSWORD}\r\n")).await;
    assert!(client.line().await.starts_with("* BYE [TOOBIG] "));
    client.ended().await;
    assert_eq!(scene.exchange.logins(), 1);
}

/// A length beyond 32 bits is too large as well: it is no password that happens to look like one.
#[tokio::test]
async fn f9_a_literal_whose_length_is_no_number_is_not_a_password() {
    let scene = Scene::new().await;
    let mut client = scene.enter(Door::Imap).await;
    let status = client.ask("LOGIN alice {99999999999999999999}").await;
    assert!(status.starts_with("BAD "), "{status}");
    let mut client = scene.enter(Door::Imap).await;
    client.send(format!("a LOGIN alice {{99999999999999999999+}}\r\nb LOGIN alice {PLAIN_PASSWORD}\r\n")).await;
    let (said, _) = client.whatever_comes().await;
    assert!(said.starts_with(b"* BYE [TOOBIG] "), "{}", String::from_utf8_lossy(&said));
    assert_eq!(scene.exchange.logins(), 0, "what stood in the literal was taken for a command");
}

#[tokio::test]
async fn f25_a_client_that_never_logs_in_is_shown_out() {
    let scene = Scene::new().await;
    for door in Door::ALL {
        let mut client = scene.enter(door).await;
        assert!(is_ok(&client.ask("NOOP").await));
        let_pass(Duration::from_secs(181)).await;
        // RFC 1939, 3: POP3 ends "without [...] sending any response to the client".
        if door.protocol() == Protocol::Imap {
            assert_eq!(client.line().await, "* BYE No login came in time.", "{door:?}");
        }
        client.ended().await;
    }
}

// After the login.

#[tokio::test]
async fn f40_ten_megabytes_come_through_and_five_go() {
    let large = sample_message(10_000_000);
    let scene = Scene::with(Setup { messages: vec![large.clone()], ..Setup::default() }).await;
    for door in [Door::Imap, Door::Pop3s] {
        let mut client = scene.enter_as_alice(door).await;
        if door == Door::Imap {
            assert!(is_ok(&client.ask("SELECT INBOX").await));
        }
        assert!(client.message(1).await == large, "{door:?}");
        client.leave().await;
    }

    let draft = sample_message(5_000_000);
    let mut client = scene.enter_as_alice(Door::Imaps).await;
    client.send(format!("a APPEND Drafts (\\Seen) {{{}}}\r\n", draft.len())).await;
    assert_eq!(client.line().await, "+ Ready for additional command text.");
    client.send(&draft).await;
    client.send("\r\n").await;
    let status = client.status("a ").await;
    assert!(status.starts_with("OK [APPENDUID "), "{status}");
    assert!(is_ok(&client.ask("SELECT Drafts").await));
    assert!(client.message(1).await == draft);
    client.leave().await;
}

/// As `printf ... | nc` does it.
#[tokio::test]
async fn f40_a_client_that_closes_its_half_behind_quit_gets_all_answers() {
    let scene = Scene::new().await;
    for door in Door::ALL {
        let mut client = scene.enter(door).await;
        client.send(pipelined(door.protocol())).await;
        client.finish_sending().await;
        answers_to_pipelined(&mut client).await;
    }
    soon("the upstream's connections to be closed", scene.exchange.open_connections_fall_to(0)).await;
}

/// New mail is told to a client that waits for it; the proxy holds nothing back.
#[tokio::test]
async fn idle_is_told_of_new_mail_at_once() {
    let scene = Scene::new().await;
    for (arrived, door) in (6..).zip([Door::Imap, Door::ImapStartTls, Door::Imaps]) {
        let mut client = scene.enter_as_alice(door).await;
        assert!(is_ok(&client.ask("SELECT INBOX").await));
        client.send("a IDLE\r\n").await;
        assert_eq!(client.line().await, "+ IDLE accepted, awaiting DONE command.");
        assert!(scene.exchange.deliver(ALICE, sample_message(1_000)));
        assert_eq!(client.line().await, format!("* {arrived} EXISTS"));
        client.send("DONE\r\n").await;
        assert!(is_ok(&client.status("a ").await));
        client.leave().await;
    }
}

// The end.

#[tokio::test]
async fn who_has_not_logged_in_is_told_that_the_proxy_stops() {
    let scene = Scene::new().await;
    let mut clients = Vec::new();
    for door in Door::ALL {
        clients.push(scene.enter(door).await);
    }
    let stopping = scene.stop();
    for mut client in clients {
        let expected = match client.protocol() {
            Protocol::Imap => "* BYE [UNAVAILABLE] The proxy is shutting down.",
            Protocol::Pop3 => "-ERR [SYS/TEMP] The proxy is shutting down.",
        };
        assert_eq!(client.line().await, expected);
        client.ended().await;
    }
    stopping.ended().await;
}

/// A port scan of a TLS listener, say: there is nothing to be said to it, and nothing to wait for.
#[tokio::test]
async fn who_has_not_finished_the_handshake_does_not_hold_up_the_end() {
    let scene = Scene::new().await;
    let mut clients = Vec::new();
    for door in [Door::Imaps, Door::Pop3s] {
        clients.push(Client::over(door.protocol(), scene.connect(door).await));
        // Whoever came before this one has been accepted.
        scene.enter(door).await;
    }
    let begun = Instant::now();
    scene.stop().ended().await;
    assert!(begun.elapsed() < DRAIN_TIMEOUT, "the proxy has waited for them");
    for mut client in clients {
        assert_eq!(client.whatever_comes().await.0, b"");
    }
}

#[tokio::test]
async fn who_has_a_mailbox_open_may_finish() {
    let scene = Scene::new().await;
    let mut clients = Vec::new();
    for door in Door::ALL {
        clients.push(scene.enter_as_alice(door).await);
    }
    let mut stranger = scene.enter(Door::Imap).await;
    let stopping = scene.stop();
    // From its goodbye on, the others know as much as it does.
    assert!(stranger.line().await.starts_with("* BYE "));
    drop(stranger);
    for mut client in clients {
        if client.protocol() == Protocol::Imap {
            assert!(is_ok(&client.ask("SELECT INBOX").await));
        }
        assert_eq!(client.message(2).await, sample_messages()[1]);
        client.leave().await;
    }
    stopping.ended().await;
}

#[tokio::test]
async fn who_does_not_finish_in_time_is_cut_off() {
    let scene = Scene::new().await;
    let mut clients = Vec::new();
    for door in Door::ALL {
        clients.push(scene.enter_as_alice(door).await);
    }
    let mut stranger = scene.enter(Door::Imap).await;
    let stopping = scene.stop();
    assert!(stranger.line().await.starts_with("* BYE "));
    drop(stranger);
    let_pass(DRAIN_TIMEOUT).await;
    stopping.ended().await;
    for mut client in clients {
        assert_eq!(client.whatever_comes().await.0, b"");
    }
}
