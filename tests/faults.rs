//! The whole proxy over real sockets, while something around it fails or is hostile: what the client is told, what the
//! log says, what nobody gets to hear, and that a login succeeds as soon as the trouble is over.

mod common;

use std::net::Ipv4Addr;
use std::time::Duration;

use simulator::{Entra, EntraFault, ExchangeFault, FrontEnd, ServerTls, TestCa, sample_message};
use tokio::net::TcpSocket;
use xoauth2_proxy::app::{self, App};
use xoauth2_proxy::protocol::sasl::XOAuth2;
use xoauth2_proxy::protocol::{ClientAction, Credential, Mailbox, Refusal, UpstreamAction, UpstreamTls, Username};
use xoauth2_proxy::secret::Secret;

use common::{
    ALICE, Client, Door, Log, PASSWORD, PLAIN_PASSWORD, Protocol, Scene, Setup, assert_hidden, base64, contains, is_ok,
    let_pass, plain, refusal, soon, tokens, until,
};

// Refusals, one by one.

/// An application whose secret is wrong, and a mailbox that Exchange does not have.
const TROUBLED: &str = r#"
[apps.fabrikam]
tenant_id = "9f0c3a1e-5b7d-4c28-8e46-1d2a7b90c5f3"
client_id = "4b1d6f70-92c8-4e35-a7d4-c86e05b3f219"
client_secret_env = "WRONG_SECRET"
authority = "{authority}"
ca_file = "entra-ca.pem"

[profiles.frank]
mailbox = "frank@fabrikam.example"
password_env = "PASSWORD"
app = "fabrikam"

[profiles.ghost]
mailbox = "ghost@example.com"
password_env = "PASSWORD"
app = "contoso"
"#;

const GHOST: &str = "ghost@example.com";

const WRONG_SECRET: &str = "b2c5ad3f-the-id-of-the-secret";

async fn troubled(front_end: FrontEnd) -> Scene {
    let environment = vec![("WRONG_SECRET", WRONG_SECRET.to_owned())];
    Scene::with(Setup { front_end, more: TROUBLED, environment, ..Setup::default() }).await
}

/// One connection on which everything is refused that can be, until nothing is left in the way.
async fn f10_each_refusal_says_why_and_the_connection_goes_on(door: Door, front_end: FrontEnd) {
    let log = Log::capture();
    let scene = troubled(front_end).await;
    let mut client = scene.enter(door).await;

    client.must_be_refused(ALICE, "wrong", Refusal::Credentials).await;
    client.must_be_refused("nobody@example.com", PASSWORD, Refusal::Credentials).await;
    client.must_be_refused("frank@fabrikam.example", PASSWORD, Refusal::Application).await;
    // What Entra refused for good is not asked for again so soon.
    client.must_be_refused("frank@fabrikam.example", PASSWORD, Refusal::Application).await;
    assert_eq!(scene.entra.requests(), 1);
    let faults = [
        (EntraFault::Status { status: 503, retry_after: Some("120".into()) }, "status 503, retry after 120"),
        (EntraFault::Status { status: 429, retry_after: None }, "status 429"),
        (EntraFault::Html, "does not answer like a token endpoint"),
        (EntraFault::Truncated, "cannot be reached"),
        (EntraFault::Reset, "cannot be reached"),
        (EntraFault::Aadsts(90_033), "AADSTS90033"),
    ];
    for (fault, _) in &faults {
        scene.entra.set_fault(Some(fault.clone()));
        client.must_be_refused(ALICE, PASSWORD, Refusal::TokenUnavailable).await;
    }
    scene.entra.set_fault(None);
    scene.exchange.set_reachable(false);
    client.must_be_refused(ALICE, PASSWORD, Refusal::UpstreamUnavailable).await;
    scene.exchange.set_reachable(true);
    client.must_be_refused(GHOST, PASSWORD, Refusal::Mailbox).await;

    // Frank's application is none of Alice's concern, and ghost is there as soon as it is made.
    scene.enter_as_alice(door).await.leave().await;
    scene.exchange.add_mailbox(GHOST, vec![sample_message(1_000)]);
    scene.exchange.grant(&scene.app.object_id, GHOST);
    client.must_log_in(GHOST, PASSWORD).await;
    client.leave().await;

    let mut causes =
        vec!["wrong password for profile alice", "no profile has this user name", "AADSTS7000215", "AADSTS7000215"];
    causes.extend(faults.map(|(_, cause)| cause));
    causes.extend(["cannot be connected", "to mailbox ghost@example.com"]);
    let lines = log.refused_logins();
    assert_eq!(lines.len(), causes.len(), "{lines:#?}");
    for (line, cause) in lines.iter().zip(causes) {
        assert!(line.contains(cause) && line.contains("user=") && line.contains("peer=127.0.0.1:"), "{cause}: {line}");
    }
    assert!(lines.last().is_some_and(|line| line.contains("FullAccess")), "the remedy is named");
}

#[tokio::test]
async fn f10_imap_classic_each_refusal_says_why_and_the_connection_goes_on() {
    f10_each_refusal_says_why_and_the_connection_goes_on(Door::Imap, FrontEnd::Classic).await;
}

#[tokio::test]
async fn f10_imap_tcpproxy_each_refusal_says_why_and_the_connection_goes_on() {
    f10_each_refusal_says_why_and_the_connection_goes_on(Door::ImapStartTls, FrontEnd::TcpProxy).await;
}

#[tokio::test]
async fn f10_pop3_classic_each_refusal_says_why_and_the_connection_goes_on() {
    f10_each_refusal_says_why_and_the_connection_goes_on(Door::Pop3s, FrontEnd::Classic).await;
}

#[tokio::test]
async fn f10_pop3_tcpproxy_each_refusal_says_why_and_the_connection_goes_on() {
    f10_each_refusal_says_why_and_the_connection_goes_on(Door::Pop3, FrontEnd::TcpProxy).await;
}

/// "Not connected" means several things, and the log names them.
#[tokio::test]
async fn a_mailbox_that_is_not_connected_is_logged_with_what_mends_it() {
    let log = Log::capture();
    let scene = Scene::new().await;
    scene.exchange.set_fault(Some(ExchangeFault::NotConnected));
    scene.enter(Door::Imap).await.must_be_refused(ALICE, PASSWORD, Refusal::UpstreamUnavailable).await;
    let lines = log.refused_logins();
    assert!(matches!(&lines[..], [line] if line.contains("Set-CASMailbox -ImapEnabled $true")), "{lines:?}");
}

/// Clients and their users go by the text where they do not know the codes. That a user name exists is not told.
#[tokio::test]
async fn f10_refusals_are_told_apart_by_their_texts() {
    let reasons = [
        Refusal::Credentials,
        Refusal::Authorization,
        Refusal::Application,
        Refusal::TokenUnavailable,
        Refusal::UpstreamUnavailable,
        Refusal::MailboxInUse,
        Refusal::Mailbox,
    ];
    for protocol in [Protocol::Imap, Protocol::Pop3] {
        let mut texts = reasons.map(|why| refusal(protocol, why)).to_vec();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), reasons.len());
    }
}

/// The permission was taken away. IMAP calls that "authenticated but not connected", as it does a mailbox that is new
/// or has too many connections, so it may pass; POP3 says that the authentication failed.
#[tokio::test]
async fn f10_a_mailbox_whose_permission_was_taken_away_is_refused_until_it_is_back() {
    for (door, why) in [(Door::Imap, Refusal::UpstreamUnavailable), (Door::Pop3, Refusal::Mailbox)] {
        let scene = Scene::new().await;
        scene.enter_as_alice(door).await.leave().await;
        scene.exchange.revoke(&scene.app.object_id, ALICE);
        let mut client = scene.enter(door).await;
        client.must_be_refused(ALICE, PASSWORD, why).await;
        scene.exchange.grant(&scene.app.object_id, ALICE);
        client.must_log_in(ALICE, PASSWORD).await;
        client.leave().await;
    }
}

// What Exchange does.

/// How a login ends.
#[derive(Clone, Copy)]
enum Ends {
    In,
    Refused(Refusal),
}

/// The login meets the fault, and on the same connection the one after it does not.
async fn login_meets(scene: &Scene, door: Door, fault: &ExchangeFault, ends: Ends) {
    let log = Log::capture();
    scene.exchange.set_fault(Some(fault.clone()));
    let mut client = scene.enter(door).await;
    let status = client.log_in(ALICE, PASSWORD).await;
    match ends {
        Ends::In => assert!(is_ok(&status), "{fault:?}: {status}"),
        Ends::Refused(why) => {
            assert_eq!(status, refusal(door.protocol(), why), "{fault:?}");
            assert_eq!(log.refused_logins().len(), 1, "{fault:?}");
            // The upstream connection is of no further use, whatever the upstream thinks.
            soon("the upstream's connection to be closed", scene.exchange.open_connections_fall_to(0)).await;
            scene.exchange.set_fault(None);
            client.must_log_in(ALICE, PASSWORD).await;
        }
    }
    client.leave().await;
}

#[tokio::test]
async fn what_exchange_does_to_a_login_decides_how_it_ends() {
    let backoff = Duration::from_secs(300);
    for door in Door::PLAIN {
        let scene = Scene::new().await;
        for (fault, ends) in [
            (ExchangeFault::BarePlus, Ends::In),
            (ExchangeFault::GreetingPadding(8_000), Ends::In),
            (ExchangeFault::ByeAtGreeting, Ends::Refused(Refusal::UpstreamUnavailable)),
            (ExchangeFault::CloseAfterGreeting, Ends::Refused(Refusal::UpstreamUnavailable)),
            (ExchangeFault::CloseDuringAuth, Ends::Refused(Refusal::UpstreamUnavailable)),
            (ExchangeFault::Throttled(backoff), Ends::Refused(Refusal::UpstreamUnavailable)),
            (ExchangeFault::ThrottledThenBye(backoff), Ends::Refused(Refusal::UpstreamUnavailable)),
            (ExchangeFault::NotConnected, Ends::Refused(Refusal::UpstreamUnavailable)),
            (ExchangeFault::ServerUnavailable, Ends::Refused(Refusal::UpstreamUnavailable)),
            (ExchangeFault::EndlessGreeting, Ends::Refused(Refusal::UpstreamUnavailable)),
            (ExchangeFault::ResetAfter(0), Ends::Refused(Refusal::UpstreamUnavailable)),
            (ExchangeFault::ResetAfter(20), Ends::Refused(Refusal::UpstreamUnavailable)),
            (ExchangeFault::AuthFailed, Ends::Refused(Refusal::Mailbox)),
            (ExchangeFault::AuthFailedVerbose, Ends::Refused(Refusal::Mailbox)),
            // F8: the challenge is answered for the client, which knows nothing of SASL.
            (ExchangeFault::ErrorChallenge, Ends::Refused(Refusal::Mailbox)),
        ] {
            login_meets(&scene, door, &fault, ends).await;
        }
    }
}

#[tokio::test]
async fn f8_an_error_challenge_is_answered_with_an_empty_line_and_not_passed_on() {
    for door in Door::PLAIN {
        let scene = Scene::new().await;
        scene.exchange.set_fault(Some(ExchangeFault::ErrorChallenge));
        let mut client = scene.enter(door).await;
        // The next line is the verdict, which `must_be_refused` insists on.
        client.must_be_refused(ALICE, PASSWORD, Refusal::Mailbox).await;
        assert!(scene.exchange.heard().ends_with(b"\r\n\r\n"), "{door:?}");
    }
}

/// Nobody has asked for a mailbox that is open already, and somebody else may have opened it.
#[tokio::test]
async fn f23_a_preauthenticated_session_is_not_taken() {
    for upstream_tls in [ServerTls::Implicit, ServerTls::StartTls] {
        let scene = Scene::with(Setup { upstream_tls, ..Setup::default() }).await;
        scene.exchange.set_fault(Some(ExchangeFault::PreauthGreeting));
        let mut client = scene.enter(Door::Imap).await;
        client.must_be_refused(ALICE, PASSWORD, Refusal::UpstreamUnavailable).await;
        assert_eq!(scene.exchange.heard(), b"");
    }
}

/// Exchange holds refusals back: they are waited for, and others are served meanwhile.
#[tokio::test]
async fn a_late_refusal_is_waited_for_and_delays_nobody_else() {
    for door in Door::PLAIN {
        let scene = troubled(FrontEnd::TcpProxy).await;
        scene.exchange.set_fault(Some(ExchangeFault::Tarpit(Duration::from_millis(300))));
        let mut late = scene.enter(door).await;
        let refused = tokio::spawn(async move {
            late.must_be_refused(GHOST, PASSWORD, Refusal::Mailbox).await;
        });
        soon("the other login's connection", scene.exchange.connections_reach(1)).await;
        scene.enter_as_alice(door).await.leave().await;
        assert!(!refused.is_finished());
        soon("the refusal", refused).await.expect("no panic");
    }
}

#[tokio::test]
async fn an_upstream_that_never_gives_its_verdict_is_given_up() {
    for (door, login) in [
        (Door::Imap, format!("a LOGIN alice {PLAIN_PASSWORD}\r\n")),
        (Door::Pop3, format!("AUTH PLAIN {}\r\n", plain("", "alice", PASSWORD))),
    ] {
        let log = Log::capture();
        let scene = Scene::new().await;
        scene.exchange.set_fault(Some(ExchangeFault::SilentAuth));
        let mut client = scene.enter(door).await;
        client.send(login).await;
        until("the token that is not answered", || !tokens(&scene.exchange.heard()).is_empty()).await;
        let_pass(Duration::from_secs(91)).await;
        let status = client.status(if door == Door::Imap { "a " } else { "" }).await;
        assert_eq!(status, refusal(door.protocol(), Refusal::UpstreamUnavailable));
        assert!(log.refused_logins()[0].contains("did not finish the login within 90 s"));
        scene.exchange.set_fault(None);
        client.must_log_in(ALICE, PASSWORD).await;
    }
}

// What Entra does.

/// While the token endpoint hangs, a wrong password is told so at once.
#[tokio::test]
async fn f43_a_token_endpoint_that_hangs_holds_up_only_who_needs_it() {
    let scene = troubled(FrontEnd::TcpProxy).await;
    scene.enter_as_alice(Door::Imap).await.leave().await;
    scene.entra.set_fault(Some(EntraFault::Hang));
    let mut waiting = scene.enter(Door::Imap).await;
    let waiting = tokio::spawn(async move { waiting.log_in("frank@fabrikam.example", PASSWORD).await });
    soon("the request that is not answered", scene.entra.requests_reach(2)).await;
    let mut client = scene.enter(Door::Imap).await;
    client.must_be_refused(ALICE, "wrong", Refusal::Credentials).await;
    client.must_log_in(ALICE, PASSWORD).await;
    client.leave().await;
    assert!(!waiting.is_finished());
    waiting.abort();
}

#[tokio::test]
async fn f43_a_token_endpoint_that_never_answers_is_given_up() {
    let scene = Scene::new().await;
    scene.entra.set_fault(Some(EntraFault::Hang));
    let mut client = scene.enter(Door::Imap).await;
    client.send(format!("a LOGIN alice {PLAIN_PASSWORD}\r\n")).await;
    soon("the request that is not answered", scene.entra.requests_reach(1)).await;
    let_pass(Duration::from_secs(11)).await;
    assert_eq!(client.status("a ").await, refusal(Protocol::Imap, Refusal::TokenUnavailable));
    scene.entra.set_fault(None);
    client.must_log_in(ALICE, PASSWORD).await;
}

/// The secret would follow.
#[tokio::test]
async fn a_token_endpoint_that_redirects_is_not_followed() {
    let scene = Scene::new().await;
    let elsewhere = Entra::start(&scene.ca).await.expect("a free port");
    scene.entra.set_fault(Some(EntraFault::Redirect(format!("{}/x/oauth2/v2.0/token", elsewhere.authority()))));
    let mut client = scene.enter(Door::Imap).await;
    client.must_be_refused(ALICE, PASSWORD, Refusal::TokenUnavailable).await;
    assert_eq!((scene.entra.requests(), elsewhere.requests()), (1, 0));
}

// A man in the middle.

fn assert_no_token(heard: &[u8]) {
    assert!(tokens(heard).is_empty());
    let user = base64(&format!("user={ALICE}\x01auth=Bearer eyJ"));
    for trace in ["XOAUTH2", &user[..20], "Bearer", "eyJ"] {
        assert!(!contains(heard, trace.as_bytes()), "{}", String::from_utf8_lossy(heard));
    }
}

#[tokio::test]
async fn f22_f23_no_token_goes_where_starttls_is_tampered_with() {
    for door in Door::PLAIN {
        let (command, injected) = match door.protocol() {
            Protocol::Imap => ("P0 STARTTLS\r\n", "P1 OK AUTHENTICATE completed.\r\n"),
            Protocol::Pop3 => ("STLS\r\n", "+ \r\n+OK User successfully authenticated.\r\n"),
        };
        for fault in [
            ExchangeFault::StripStartTls,
            ExchangeFault::InjectBehindStartTls(injected.into()),
            ExchangeFault::EarlyContinuation,
            ExchangeFault::RefuseStartTls,
        ] {
            let scene = Scene::with(Setup { upstream_tls: ServerTls::StartTls, ..Setup::default() }).await;
            scene.exchange.set_fault(Some(fault.clone()));
            let mut client = scene.enter(door).await;
            client.must_be_refused(ALICE, PASSWORD, Refusal::UpstreamUnavailable).await;
            assert_eq!(scene.exchange.connections(), 1, "{fault:?}");
            // Where that is not even waited for, it may not have been heard yet.
            let heard = scene.exchange.heard();
            assert!(command.as_bytes().starts_with(&heard), "{fault:?}: {}", String::from_utf8_lossy(&heard));
            // It was not given up for good.
            scene.exchange.set_fault(None);
            client.must_log_in(ALICE, PASSWORD).await;
        }
    }
}

#[tokio::test]
async fn f23_no_token_goes_to_a_server_with_a_certificate_of_an_unknown_ca() {
    for upstream_tls in [ServerTls::Implicit, ServerTls::StartTls] {
        let log = Log::capture();
        let trusted_upstream = Some(TestCa::new());
        let scene = Scene::with(Setup { upstream_tls, trusted_upstream, ..Setup::default() }).await;
        for door in Door::PLAIN {
            let mut client = scene.enter(door).await;
            client.must_be_refused(ALICE, PASSWORD, Refusal::UpstreamUnavailable).await;
        }
        assert_eq!(scene.exchange.connections(), 2);
        assert_no_token(&scene.exchange.heard());
        let lines = log.refused_logins();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.contains("certificate")), "{lines:#?}");
    }
}

/// macOS has no other loopback address than the one that the certificate is for.
#[cfg(not(target_os = "macos"))]
#[tokio::test]
async fn f23_no_token_goes_to_a_server_with_a_certificate_for_another_name() {
    for upstream_tls in [ServerTls::Implicit, ServerTls::StartTls] {
        let log = Log::capture();
        let upstream_ip = Ipv4Addr::new(127, 0, 0, 2);
        let scene = Scene::with(Setup { upstream_tls, upstream_ip, ..Setup::default() }).await;
        for door in Door::PLAIN {
            let mut client = scene.enter(door).await;
            client.must_be_refused(ALICE, PASSWORD, Refusal::UpstreamUnavailable).await;
        }
        assert_eq!(scene.exchange.connections(), 2);
        assert_no_token(&scene.exchange.heard());
        let lines = log.refused_logins();
        assert!(lines.len() == 2 && lines.iter().all(|line| line.contains("certificate")), "{lines:#?}");
    }
}

#[tokio::test]
async fn f23_no_secret_goes_to_a_token_endpoint_with_a_certificate_of_an_unknown_ca() {
    let log = Log::capture();
    let scene = Scene::with(Setup { trusted_entra: Some(TestCa::new()), ..Setup::default() }).await;
    let mut client = scene.enter(Door::Imap).await;
    client.must_be_refused(ALICE, PASSWORD, Refusal::TokenUnavailable).await;
    assert_eq!(scene.entra.requests(), 0);
    let lines = log.refused_logins();
    assert!(lines.len() == 1 && lines[0].contains("certificate"), "{lines:#?}");
}

/// The other side of it: what stands behind a client's STARTTLS in the same write may be somebody else's.
#[tokio::test]
async fn f22_plaintext_behind_a_clients_starttls_is_not_heard() {
    let scene = Scene::new().await;
    for (door, injected) in [
        (Door::ImapStartTls, format!("a STARTTLS\r\nb LOGIN alice {PLAIN_PASSWORD}\r\nc NOOP\r\n")),
        (Door::Pop3Stls, format!("STLS\r\nUSER alice\r\nPASS {PLAIN_PASSWORD}\r\n")),
    ] {
        let mut client = Client::over(door.protocol(), scene.connect(door).await);
        client.greeting().await;
        client.send(injected).await;
        assert!(is_ok(&client.status(if door == Door::ImapStartTls { "a " } else { "" }).await));
        let mut client = client.handshake(scene.trust()).await;
        // `ask` takes nothing else for an answer than the one to its own command.
        match door.protocol() {
            Protocol::Imap => assert_eq!(client.ask("NOOP").await, "OK NOOP completed."),
            Protocol::Pop3 => assert_eq!(client.ask(&format!("PASS {PASSWORD}")).await, "-ERR USER comes before PASS."),
        }
        assert_eq!((scene.exchange.connections(), scene.entra.requests()), (0, 0));
    }
}

// Connections that break.

/// The client does not read before the upstream is gone.
#[tokio::test]
async fn f40_all_that_the_upstream_sent_before_it_closed_arrives() {
    const SENT: usize = 700_000;
    let scene = Scene::with(Setup { messages: vec![sample_message(1_000_000)], ..Setup::default() }).await;
    for door in [Door::Imap, Door::Imaps, Door::Pop3, Door::Pop3s] {
        let commands = match door.protocol() {
            Protocol::Imap => "a SELECT INBOX\r\nb FETCH 1 BODY.PEEK[]\r\nc LOGOUT\r\n",
            Protocol::Pop3 => "RETR 1\r\nQUIT\r\n",
        };
        let mut client = scene.enter_as_alice(door).await;
        client.send(commands).await;
        let whole = client.rest().await;
        assert!(whole.len() > 1_000_000);

        // Little room, so that the proxy has to wait for the client.
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(8 << 10).expect("a new socket");
        let stream = soon("connecting", socket.connect(scene.address(door))).await.expect("the proxy listens");
        let mut late = scene.enter_over(door, stream).await;
        late.must_log_in(ALICE, PASSWORD).await;
        scene.exchange.set_fault(Some(ExchangeFault::CloseAfter(SENT)));
        late.send(commands).await;
        // Somebody else's whole session goes by.
        scene.enter_as_alice(door).await.leave().await;
        let arrived = late.rest().await;
        assert_eq!(arrived.len(), SENT, "{door:?}");
        assert!(arrived == whole[..SENT], "{door:?}");
        scene.exchange.set_fault(None);
    }
    soon("the upstream's connections to be closed", scene.exchange.open_connections_fall_to(0)).await;
}

#[tokio::test]
async fn f40_an_upstream_that_closes_at_any_octet_ends_the_session_in_order() {
    let message = sample_message(2_000);
    let scene = Scene::with(Setup { messages: vec![message.clone()], ..Setup::default() }).await;
    for sent in [0, 1, 4, 5, 6, 1_000, 2_004] {
        scene.exchange.set_fault(Some(ExchangeFault::CloseAfter(sent)));
        for door in [Door::Pop3, Door::Pop3s] {
            let mut client = scene.enter_as_alice(door).await;
            client.send("RETR 1\r\n").await;
            let expected = [b"+OK\r\n", &message[..]].concat();
            assert_eq!(client.rest().await, &expected[..sent], "{door:?}, {sent} octets");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_resets_the_connection_ends_the_session() {
    let message = sample_message(200_000);
    let scene = Scene::with(Setup { messages: vec![message.clone()], ..Setup::default() }).await;
    scene.exchange.set_fault(Some(ExchangeFault::ResetAfter(100_000)));
    for door in Door::ALL {
        let mut client = scene.enter_as_alice(door).await;
        client
            .send(match door.protocol() {
                Protocol::Imap => "a SELECT INBOX\r\nb FETCH 1 BODY.PEEK[]\r\n",
                Protocol::Pop3 => "RETR 1\r\n",
            })
            .await;
        // Some of it may be lost, as resets do; what arrives is right, and then it is over.
        let (arrived, _) = client.whatever_comes().await;
        assert!(arrived.len() <= 100_000, "{door:?}");
    }
    soon("the upstream's connections to be closed", scene.exchange.open_connections_fall_to(0)).await;
}

/// `* BYE Connection is closed. 13`, in POP3 nothing at all.
#[tokio::test]
async fn an_idle_timeout_of_the_upstream_is_passed_on() {
    let scene = Scene::new().await;
    scene.exchange.set_fault(Some(ExchangeFault::IdleTimeout(Duration::from_millis(50))));
    for door in Door::ALL {
        let mut client = scene.enter_as_alice(door).await;
        let last_words = String::from_utf8(client.rest().await).expect("ASCII");
        match door.protocol() {
            Protocol::Imap => assert_eq!(last_words, "* BYE Connection is closed. 13\r\n"),
            Protocol::Pop3 => assert_eq!(last_words, ""),
        }
    }
}

// Secrets.

/// Everything that has a secret in it, done once each with all levels logged.
#[tokio::test]
async fn f24_no_log_line_of_any_level_shows_a_secret() {
    let log = Log::capture();
    let mut heard = Vec::new();
    for upstream_tls in [ServerTls::Implicit, ServerTls::StartTls] {
        let scene = Scene::with(Setup {
            upstream_tls,
            more: TROUBLED,
            environment: vec![("WRONG_SECRET", WRONG_SECRET.to_owned())],
            ..Setup::default()
        })
        .await;
        for fault in [EntraFault::Truncated, EntraFault::Html, EntraFault::ExpiresIn("soon".into())] {
            scene.entra.set_fault(Some(fault));
            let mut client = scene.enter(Door::Imap).await;
            client.must_be_refused(ALICE, PASSWORD, Refusal::TokenUnavailable).await;
        }
        scene.entra.set_fault(None);
        scene.enter_as_alice(Door::Imap).await.leave().await;
        scene.exchange.refuse_next(1);
        scene.enter_as_alice(Door::Imap).await.leave().await;
        for door in Door::ALL {
            let mut client = scene.enter(door).await;
            client.must_be_refused(ALICE, WRONG_PASSWORD, Refusal::Credentials).await;
            client.must_be_refused("frank@fabrikam.example", PASSWORD, Refusal::Application).await;
            client.must_be_refused(GHOST, PASSWORD, Refusal::Mailbox).await;
            let sasl = plain("bob", ALICE, PASSWORD);
            let malformed = plain("", "control\x01", PASSWORD);
            let commands = match door.protocol() {
                Protocol::Imap => [
                    format!("LOGIN alice {PASSWORD} more"),
                    format!("AUTHENTICATE PLAIN {sasl}"),
                    format!("AUTHENTICATE PLAIN {malformed}"),
                    format!("AUTHENTICATE PLAIN {sasl} {sasl}"),
                    format!("{PLAIN_PASSWORD} LOGIN"),
                ],
                Protocol::Pop3 => [
                    format!("PASS {PASSWORD}"),
                    format!("AUTH PLAIN {sasl}"),
                    format!("AUTH PLAIN {malformed}"),
                    format!("AUTH PLAIN {sasl} {sasl}"),
                    format!("{PLAIN_PASSWORD} USER"),
                ],
            };
            for command in commands {
                assert!(!is_ok(&client.ask(&command).await), "{command}");
            }
            client.must_log_in(ALICE, PASSWORD).await;
            client.leave().await;
        }
        heard.extend(scene.exchange.heard());
    }

    let logged = log.octets();
    assert!(contains(&logged, b"TRACE") && contains(&logged, b"XOAUTH2"), "all levels are logged");
    for (what, secret) in
        [("the password", PASSWORD), ("the other password", PLAIN_PASSWORD), ("the guess", WRONG_PASSWORD)]
    {
        assert_hidden(&logged, what, secret);
    }
    let secret = simulator::Registration::example().secrets.remove(0);
    assert_hidden(&logged, "the client secret", &secret);
    assert_hidden(&logged, "the wrong client secret", WRONG_SECRET);
    // By which every token begins.
    assert!(!contains(&logged, b"eyJ"), "an access token is shown");
    let mut tokens = tokens(&heard);
    tokens.sort();
    tokens.dedup();
    assert!(tokens.len() >= 2, "there were tokens");
    for token in &tokens {
        for part in token.split('.') {
            assert_hidden(&logged, "a part of an access token", part);
        }
    }
}

const WRONG_PASSWORD: &str = "guessed (\"wrongly\")";

/// The search itself: whoever looks for secrets must be able to find one.
#[test]
fn f24_a_secret_that_is_shown_is_found() {
    for shown in [
        format!("user=alice password={PASSWORD}"),
        format!("{:?}", format!("PASS {PASSWORD}\r\n")),
        format!("{:?}", format!("PASS {PASSWORD}\r\n").as_bytes()),
        plain("", "alice", PASSWORD),
        plain("", "alicia", PASSWORD),
        plain("", "albert", PASSWORD),
        base64(PASSWORD),
    ] {
        let found = std::panic::catch_unwind(|| assert_hidden(shown.as_bytes(), "the password", PASSWORD));
        assert!(found.is_err(), "{shown}");
    }
    assert_hidden(b"user=alice password=[redacted]", "the password", PASSWORD);
}

#[tokio::test]
async fn f24_nothing_that_can_be_formatted_shows_a_secret() {
    let scene = troubled(FrontEnd::TcpProxy).await;
    let secret = &scene.app.secrets[0];
    let token = "eyJ0eXAiOiJKV1QifQ.eyJvaWQiOiIxIn0.c2lnbmF0dXJl";

    let config = app::parse(&scene.sources).expect("it was good before");
    let mut shown = format!("{config:?} {config:#?}");
    // It holds every service, profile and token source.
    let proxy = App::bind(config).expect("port 0 is always to be had");
    shown += &format!("{proxy:?} {proxy:#?}");

    let credential = Credential {
        username: Username::parse(ALICE).expect("well-formed"),
        password: Secret::new(PASSWORD.into()),
        authorization_id: None,
    };
    let mailbox = Mailbox::parse(ALICE).expect("well-formed");
    let login = XOAuth2::new(&mailbox, &Secret::new(token.to_owned()));
    shown += &format!("{credential:#?} {:?} {login:?}", ClientAction::Authenticate(credential.clone()));
    let mut actions = Vec::new();
    xoauth2_proxy::protocol::Protocol::Imap
        .upstream_dialogue(UpstreamTls::Active, login)
        .hear("* OK ready".into(), &mut actions);
    assert!(matches!(actions[..], [UpstreamAction::SendSecret(_)]));
    shown += &format!("{actions:?}");
    let expires = std::time::SystemTime::now();
    shown += &format!("{:?}", xoauth2_proxy::token::AccessToken::new(token.to_owned(), expires));

    assert!(shown.contains("alice@example.com") && shown.contains("[redacted]"));
    for (what, secret) in [
        ("the password", PASSWORD),
        ("the other password", PLAIN_PASSWORD),
        ("the client secret", secret),
        ("the wrong client secret", WRONG_SECRET),
        ("the token", token),
    ] {
        assert_hidden(shown.as_bytes(), what, secret);
    }
}
