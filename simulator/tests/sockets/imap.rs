//! IMAP over real TLS: the texts of both generations, work in the mailbox, and the faults.

use std::time::Duration;

use crate::common::{Client, World, sasl};
use serde_json::json;
use simulator::{ExchangeFault, FrontEnd, ServerTls, sample_message, sample_messages};

const ALICE: &str = "alice@example.com";

#[tokio::test]
async fn the_older_front_end_as_it_was() {
    let world = World::new(FrontEnd::Classic).await;
    let mut client = world.imap().await;
    client
        .talk(&format!(
            "S: * OK The Microsoft Exchange IMAP4 service is ready. [RgBSADMAUAAyADgAMQBDAEEAMAAxADUANwAuAEQARQBVAFAAMgA4ADEALgBQAFIATwBEAC4ATwBVAFQATABPAE8ASwAuAEMATwBNAA==]
             C: A CAPABILITY
             S: * CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+
             S: A OK CAPABILITY completed.
             C: B login alice@example.com \"hunter2\"
             S: B NO LOGIN failed.
             C: C AUTHENTICATE PLAIN AGEAYg==
             S: C NO AUTHENTICATE failed.
             C: A01 AUTHENTICATE XOAUTH2
             S: + \n\
             C: {}
             S: A01 OK AUTHENTICATE completed.
             C: D CAPABILITY
             S: * CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CLIENTACCESSRULES CLIENTNETWORKPRESENCELOCATION BACKENDAUTHENTICATE CHILDREN IDLE NAMESPACE LITERAL+
             S: D OK CAPABILITY completed.
             C: E LOGOUT
             S: * BYE Microsoft Exchange Server IMAP4 server signing off.
             S: E OK LOGOUT completed.
             =",
            world.sasl(ALICE)
        ))
        .await;
    assert_eq!(world.exchange.logins(), 1);
}

#[tokio::test]
async fn the_newer_front_end_as_it_is() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.imap().await;
    let greeting = client.line().await;
    assert!(greeting.starts_with("* OK Microsoft Exchange IMAP4 service ready. "), "{greeting}");
    assert!(greeting.contains(" (tcpproxy/15.21.0406.000 BACKENDAUTHENTICATE) [") && !greeting.contains('<'));
    client
        .talk(&format!(
            "C: A CAPABILITY
             S: * CAPABILITY IMAP4 IMAP4rev1 AUTH=XOAUTH2 LOGINDISABLED SASL-IR UIDPLUS MOVE ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+
             S: A OK CAPABILITY completed.
             C: B LOGIN alice@example.com hunter2
             S: B NO Basic authentication is disabled.
             C: C AUTHENTICATE PLAIN
             S: C NO Basic authentication is disabled.
             C: A01 AUTHENTICATE XOAUTH2 {}
             S: A01 OK AUTHENTICATE completed.
             C: D CAPABILITY
             S: * CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CLIENTACCESSRULES CLIENTNETWORKPRESENCELOCATION BACKENDAUTHENTICATE BACKENDAUTHENTICATE-IR CHILDREN IDLE NAMESPACE LITERAL+
             S: D OK CAPABILITY completed.",
            world.sasl("Alice@EXAMPLE.com")
        ))
        .await;
}

#[tokio::test]
async fn a_refused_token_is_refused_at_once() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let claims = world.entra.claims(&world.app);
    let bent = |name: &str, value: serde_json::Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        sasl(ALICE, &world.entra.mint(claims))
    };
    let refused = [
        bent("aud", json!("https://graph.microsoft.com")),
        bent("exp", json!(1)),
        bent("roles", json!(["POP.AccessAsApp"])),
        bent("oid", json!(world.app.client_id)),
        sasl("nobody@example.com", &world.token()),
        sasl(ALICE, "opaque"),
        "!".to_owned(),
    ];
    let mut client = world.imap().await;
    client.line().await;
    for (index, response) in refused.iter().enumerate() {
        client.talk(&format!("C: {index} AUTHENTICATE XOAUTH2 {response}\nS: {index} NO AUTHENTICATE failed.")).await;
    }
    client.talk("C: \nS: * BAD Command Error. 12").await;
    assert_eq!((world.exchange.logins(), world.exchange.refused_logins()), (0, 7));
}

#[tokio::test]
async fn without_full_access_the_older_front_end_says_ok_first() {
    let world = World::new(FrontEnd::Classic).await;
    world.exchange.revoke(&world.app.object_id, ALICE);
    let mut client = world.imap().await;
    client.line().await;
    client
        .talk(&format!(
            "C: A01 AUTHENTICATE XOAUTH2 {}
             S: A01 OK AUTHENTICATE completed.
             C: A02 SELECT INBOX
             S: A02 BAD User is authenticated but not connected.
             C: A03 SELECT INBOX
             S: A03 BAD User is authenticated but not connected.
             C: A04 SELECT INBOX
             S: * BYE Connection closed. 14
             =",
            world.sasl(ALICE)
        ))
        .await;
}

#[tokio::test]
async fn without_full_access_the_newer_front_end_says_no() {
    let world = World::new(FrontEnd::TcpProxy).await;
    world.exchange.revoke(&world.app.object_id, ALICE);
    let mut client = world.imap().await;
    client.line().await;
    let (alice, bob) = (world.sasl(ALICE), world.sasl("bob@example.com"));
    client
        .talk(&format!(
            "C: A01 AUTHENTICATE XOAUTH2 {alice}
             S: A01 NO User is authenticated but not connected.
             C: A02 AUTHENTICATE XOAUTH2 {bob}
             S: A02 OK AUTHENTICATE completed."
        ))
        .await;
}

#[tokio::test]
async fn before_the_login() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.imap().await;
    client.line().await;
    client
        .talk(
            "C: a ID NIL
             S: * ID (\"name\" \"Microsoft.Exchange.Imap4.Imap4Server\" \"version\" \"15.21\")
             S: a OK ID completed.
             C: b NOOP
             S: b OK NOOP completed.
             C: c SELECT INBOX
             S: c BAD Command received in Invalid state.
             C: d NONSENSE
             S: d BAD Command Error. 12
             C: e STARTTLS
             S: * BYE Connection closed. 14
             =",
        )
        .await;
}

#[tokio::test]
async fn a_bare_line_feed_is_no_line_end() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.imap().await;
    client.line().await;
    client.send("a NOOP\nb NOOP\r\n").await;
    client.talk("S: * BAD Command Error. 12\nS: b OK NOOP completed.").await;
}

#[tokio::test]
async fn a_line_without_end_is_cut_off() {
    let world = World::new(FrontEnd::TcpProxy).await;
    for login in [false, true] {
        let mut client = if login { world.imap_as(ALICE).await } else { world.imap().await };
        if !login {
            client.line().await;
        }
        client.send("x".repeat(70_000)).await;
        client.talk("S: * BAD Command Error. 12\n=").await;
    }
}

#[tokio::test]
async fn a_literal_without_measure_is_cut_off() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.imap_as(ALICE).await;
    client.talk("C: a APPEND INBOX {99999999999999999999}\nS: * BAD Command Error. 12\n=").await;
    let mut client = world.imap().await;
    client.line().await;
    client.talk("C: a LOGIN {100000}\nS: * BAD Command Error. 12\n=").await;
}

#[tokio::test]
async fn a_literal_user_name_is_waited_for() {
    let world = World::new(FrontEnd::Classic).await;
    let mut client = world.imap().await;
    client.line().await;
    client
        .talk(
            "C: a LOGIN {17}
             S: + Ready for additional command text.
             C: alice@example.com {8+}
             C: pass wrd
             S: a NO LOGIN failed.",
        )
        .await;
}

#[tokio::test]
async fn select_as_exchange_says_it() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.imap_as(ALICE).await;
    client
        .talk(
            "C: TAG3 SELECT inbox
             S: * 5 EXISTS
             S: * 0 RECENT
             S: * FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $MDNSent)
             S: * OK [PERMANENTFLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $MDNSent)] Permanent flags
             S: * OK [UNSEEN 1] Is the first unseen message
             S: * OK [UIDVALIDITY 14] UIDVALIDITY value
             S: * OK [UIDNEXT 6] The next unique identifier value
             S: TAG3 OK [READ-WRITE] SELECT completed.
             C: b STATUS \"Sent Items\" (MESSAGES UIDNEXT)
             S: * STATUS \"Sent Items\" (MESSAGES 0 UIDNEXT 1)
             S: b OK STATUS completed.
             C: c LIST \"\" \"\"
             S: * LIST (\\Noselect) \"/\" \"\"
             S: c OK LIST completed.
             C: d list \"\" IN%
             S: * LIST (\\HasNoChildren) \"/\" INBOX
             S: d OK LIST completed.
             C: e NAMESPACE
             S: * NAMESPACE ((\"\" \"/\")) NIL NIL
             S: e OK NAMESPACE completed.
             C: f SELECT Nowhere
             S< f NO
             C: g FETCH 1 FLAGS
             S: g BAD Command received in Invalid state.
             C: h LOGIN a b
             S: h BAD Command received in Invalid state.",
        )
        .await;
}

/// Reads `* n FETCH (...BODY[] {size}`, the literal and the closing line.
async fn body(client: &mut Client) -> Vec<u8> {
    let line = client.line().await;
    let size = line.rsplit_once('{').and_then(|(_, size)| size.strip_suffix('}')).unwrap_or_else(|| panic!("{line}"));
    let data = client.octets(size.parse().unwrap()).await;
    assert!(client.line().await.ends_with(')'));
    data
}

#[tokio::test]
async fn messages_come_as_they_were_added() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.imap_as(ALICE).await;
    client.send("b SELECT INBOX\r\n").await;
    client.until("b OK").await;
    client.send("c FETCH 1:* BODY.PEEK[]\r\n").await;
    for message in sample_messages() {
        assert_eq!(body(&mut client).await, message);
    }
    client
        .talk(
            "S: c OK FETCH completed.
             C: d SEARCH UNSEEN
             S: * SEARCH 1 2 3 4 5
             S: d OK SEARCH completed.
             C: e UID SEARCH SUBJECT report
             S: * SEARCH 1
             S: e OK SEARCH completed.",
        )
        .await;
}

#[tokio::test]
async fn work_in_the_mailbox() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.imap_as(ALICE).await;
    client.send("b SELECT INBOX\r\n").await;
    client.until("b OK").await;
    client
        .talk(
            "C: c FETCH 2 (UID BODY[TEXT]<0.5>)
             S: * 2 FETCH (UID 2 BODY[TEXT]<0> {5}
             S< Sch\u{fffd}n FLAGS (\\Seen))
             S: c OK FETCH completed.
             C: d STORE 1 +FLAGS (\\Deleted custom)
             S: * 1 FETCH (FLAGS (\\Deleted))
             S: d OK STORE completed.
             C: e UID STORE 2 -FLAGS.SILENT \\Seen
             S: e OK STORE completed.
             C: f EXPUNGE
             S: * 1 EXPUNGE
             S: f OK EXPUNGE completed.
             C: g UID FETCH 2:* FLAGS
             S: * 1 FETCH (FLAGS () UID 2)
             S: * 2 FETCH (FLAGS () UID 3)
             S: * 3 FETCH (FLAGS () UID 4)
             S: * 4 FETCH (FLAGS () UID 5)
             S: g OK FETCH completed.
             C: h COPY 1:2 Archive
             S: h OK [COPYUID 15 2,3 1,2] COPY completed.
             C: i UID MOVE 5 Archive
             S: * OK [COPYUID 15 5 3]
             S: * 4 EXPUNGE
             S: i OK MOVE completed.
             C: j COPY 1 Nowhere
             S: j NO [TRYCREATE] The folder does not exist.
             C: k CREATE Reports/2026
             S: k OK CREATE completed.
             C: l DELETE Reports/2026
             S: l OK DELETE completed.
             C: m FETCH 9 FLAGS
             S: m OK FETCH completed.
             C: n FETCH 1 NONSENSE
             S: n BAD Command Error. 12
             C: o UNSELECT
             S: o OK UNSELECT completed.",
        )
        .await;
}

#[tokio::test]
async fn append_takes_both_kinds_of_literal() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.imap_as(ALICE).await;
    client
        .talk(
            "C: b APPEND Drafts (\\Draft \\Seen) \"01-Sep-2026 10:11:12 +0000\" {10}
             S: + Ready for additional command text.
             C: A: b\n\
             C: \n\
             C: hi
             S: b OK [APPENDUID 17 1] APPEND completed.
             C: c APPEND Drafts {10+}
             C: A: c\n\
             C: \n\
             C: hi
             S: c OK [APPENDUID 17 2] APPEND completed.
             C: d APPEND Nowhere {2+}
             C: hi
             S: d NO [TRYCREATE] The folder does not exist.
             C: e EXAMINE Drafts
             S: * 2 EXISTS
             S: * 0 RECENT
             S: * FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $MDNSent)
             S: * OK [PERMANENTFLAGS ()] Permanent flags
             S: * OK [UNSEEN 2] Is the first unseen message
             S: * OK [UIDVALIDITY 17] UIDVALIDITY value
             S: * OK [UIDNEXT 3] The next unique identifier value
             S: e OK [READ-ONLY] EXAMINE completed.
             C: f FETCH 1 (INTERNALDATE FLAGS RFC822.SIZE)
             S: * 1 FETCH (INTERNALDATE \"01-Sep-2026 10:11:12 +0000\" FLAGS (\\Seen \\Draft) RFC822.SIZE 10)
             S: f OK FETCH completed.
             C: g STORE 1 FLAGS ()
             S< g NO",
        )
        .await;
}

#[tokio::test]
async fn idle_tells_what_arrives() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.imap_as(ALICE).await;
    client.send("b SELECT INBOX\r\n").await;
    client.until("b OK").await;
    client.talk("C: c IDLE\nS: + IDLE accepted, awaiting DONE command.").await;
    assert!(world.exchange.deliver(ALICE, b"A: b\r\n\r\n".to_vec()));
    client.talk("S: * 6 EXISTS\nS: * 0 RECENT\nC: DONE\nS: c OK IDLE completed.").await;
    assert!(!world.exchange.deliver("nobody@example.com", Vec::new()));
}

#[tokio::test]
async fn pipelined_commands_are_all_answered() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.imap().await;
    client.line().await;
    client.send(format!("a AUTHENTICATE XOAUTH2 {}\r\nb SELECT INBOX\r\nc NOOP\r\n", world.sasl(ALICE))).await;
    client.until("a OK AUTHENTICATE completed.").await;
    client.until("b OK").await;
    client.talk("S: c OK NOOP completed.").await;
}

#[tokio::test]
async fn thirty_megabytes_come_through() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let message = sample_message(30 << 20);
    world.exchange.add_mailbox(ALICE, vec![message.clone()]);
    let mut client = world.imap_as(ALICE).await;
    client.send("b SELECT INBOX\r\n").await;
    client.until("b OK").await;
    client.send("c UID FETCH 1 (UID BODY[])\r\n").await;
    assert!(body(&mut client).await == message);
    client.talk("S: c OK FETCH completed.").await;
    client.send(format!("d APPEND Drafts {{{}+}}\r\n", message.len())).await;
    client.send(&message).await;
    client.talk("C: \nS: d OK [APPENDUID 17 1] APPEND completed.").await;
}

/// The greeting, a login, and what is said to it.
async fn login_under(world: &World, fault: ExchangeFault) -> (Client, String) {
    world.exchange.set_fault(Some(fault));
    let mut client = world.imap().await;
    client.line().await;
    client.send(format!("a AUTHENTICATE XOAUTH2 {}\r\n", world.sasl(ALICE))).await;
    let answer = client.line().await;
    (client, answer)
}

#[tokio::test]
async fn faults_of_the_greeting() {
    let world = World::new(FrontEnd::Classic).await;
    let normal = {
        let mut client = world.imap().await;
        client.line().await
    };
    world.exchange.set_fault(Some(ExchangeFault::ByeAtGreeting));
    world.imap().await.talk("S: * BYE Connection closed. 14\n=").await;
    world.exchange.set_fault(Some(ExchangeFault::GreetingPadding(3000)));
    assert_eq!(world.imap().await.line().await.len(), normal.len() + 3000);
    world.exchange.set_fault(Some(ExchangeFault::CloseAfterGreeting));
    world.imap().await.talk(&format!("S: {normal}\n=")).await;
    world.exchange.set_fault(Some(ExchangeFault::PreauthGreeting));
    assert!(world.imap().await.line().await.starts_with("* PREAUTH The Microsoft Exchange"));
    world.exchange.set_fault(Some(ExchangeFault::EarlyContinuation));
    world.imap().await.talk(&format!("S: {normal}\nS: + ")).await;
    world.exchange.set_fault(Some(ExchangeFault::EndlessGreeting));
    let mut client = world.imap().await;
    while client.unread().len() < 200_000 {
        client.fill().await.unwrap();
    }
    assert!(!client.unread().contains(&b'\n'));
}

#[tokio::test]
async fn a_silent_server_says_nothing() {
    let world = World::new(FrontEnd::Classic).await;
    world.exchange.set_fault(Some(ExchangeFault::SilentGreeting));
    let mut client = world.imap().await;
    let silence = tokio::time::timeout(Duration::from_millis(50), client.fill()).await;
    assert!(silence.is_err());
    world.exchange.set_fault(Some(ExchangeFault::SilentAuth));
    let mut client = world.imap().await;
    client.line().await;
    client.send(format!("a AUTHENTICATE XOAUTH2 {}\r\n", world.sasl(ALICE))).await;
    let silence = tokio::time::timeout(Duration::from_millis(50), client.fill()).await;
    assert!(silence.is_err());
}

#[tokio::test]
async fn faults_of_the_login() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let said = |fault| async { login_under(&world, fault).await.1 };
    assert_eq!(said(ExchangeFault::AuthFailed).await, "a NO AUTHENTICATE failed.");
    let verbose = said(ExchangeFault::AuthFailedVerbose).await;
    assert!(verbose.starts_with("a NO AUTHENTICATE failed. ") && verbose.contains("Error=\"AuthFailed:LogonDenied-"));
    assert_eq!(said(ExchangeFault::NotConnected).await, "a NO User is authenticated but not connected.");
    assert_eq!(said(ExchangeFault::ServerUnavailable).await, "a NO Server Unavailable. 15");
    let throttled = "a BAD Request is throttled. Suggested Backoff Time: 299961 milliseconds";
    let time = Duration::from_millis(299_961);
    assert_eq!(said(ExchangeFault::Throttled(time)).await, throttled);
    let (mut client, text) = login_under(&world, ExchangeFault::ThrottledThenBye(time)).await;
    assert_eq!(text, throttled);
    client.talk("S: * BYE Connection closed. 14\n=").await;
    assert_eq!(world.exchange.logins(), 0);
}

#[tokio::test]
async fn a_challenge_waits_for_its_answer() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let (mut client, challenge) = login_under(&world, ExchangeFault::ErrorChallenge).await;
    assert!(challenge.starts_with("+ eyJ"));
    let silence = tokio::time::timeout(Duration::from_millis(50), client.fill()).await;
    assert!(silence.is_err());
    client.talk("C: \nS: a NO AUTHENTICATE failed.\nC: b NOOP\nS: b OK NOOP completed.").await;
}

#[tokio::test]
async fn continuations_without_a_space() {
    let world = World::new(FrontEnd::TcpProxy).await;
    world.exchange.set_fault(Some(ExchangeFault::BarePlus));
    let mut client = world.imap().await;
    client.line().await;
    client.talk("C: a AUTHENTICATE XOAUTH2").await;
    assert_eq!(client.line().await, "+");
}

#[tokio::test]
async fn the_end_in_place_of_a_verdict() {
    let world = World::new(FrontEnd::TcpProxy).await;
    world.exchange.set_fault(Some(ExchangeFault::CloseDuringAuth));
    let mut client = world.imap().await;
    client.line().await;
    client.talk(&format!("C: a AUTHENTICATE XOAUTH2 {}\n=", world.sasl(ALICE))).await;
}

#[tokio::test]
async fn octets_behind_the_login_come_with_it() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let (client, answer) = login_under(&world, ExchangeFault::BehindLogin(b"* 7 EXISTS\r\n".to_vec())).await;
    assert_eq!(answer, "a OK AUTHENTICATE completed.");
    // Without a further read.
    assert_eq!(client.unread(), b"* 7 EXISTS\r\n");
}

#[tokio::test]
async fn a_refusal_comes_late_out_of_a_tarpit() {
    let world = World::new(FrontEnd::TcpProxy).await;
    world.exchange.refuse_next(1);
    let start = std::time::Instant::now();
    let (mut client, answer) = login_under(&world, ExchangeFault::Tarpit(Duration::from_millis(60))).await;
    assert_eq!(answer, "a NO AUTHENTICATE failed.");
    assert!(start.elapsed() >= Duration::from_millis(60));
    // Only so many were to be refused.
    let sasl = world.sasl(ALICE);
    client.talk(&format!("C: b AUTHENTICATE XOAUTH2 {sasl}\nS: b OK AUTHENTICATE completed.")).await;
}

#[tokio::test]
async fn silence_after_the_login_ends_it() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.imap_as(ALICE).await;
    world.exchange.set_fault(Some(ExchangeFault::IdleTimeout(Duration::from_millis(30))));
    client.talk("C: b NOOP\nS: b OK NOOP completed.\nS: * BYE Connection is closed. 13\n=").await;
}

#[tokio::test]
async fn a_clean_close_delivers_everything() {
    let world = World::new(FrontEnd::TcpProxy).await;
    world.exchange.add_mailbox(ALICE, vec![sample_message(3 << 20)]);
    let (mut client, _) = login_under(&world, ExchangeFault::CloseAfter(1_000_000)).await;
    client.send("b SELECT INBOX\r\nc FETCH 1 BODY[]\r\nd NOOP\r\n").await;
    assert_eq!(client.rest().await.unwrap().len(), 1_000_000);
}

#[tokio::test]
async fn a_reset_comes_after_so_many_octets() {
    let world = World::new(FrontEnd::TcpProxy).await;
    world.exchange.add_mailbox(ALICE, vec![sample_message(3 << 20)]);
    let (mut client, _) = login_under(&world, ExchangeFault::ResetAfter(1_000_000)).await;
    client.send("b SELECT INBOX\r\nc FETCH 1 BODY[]\r\n").await;
    let error = client.rest().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn starttls_opens_the_login() {
    let world = World::with(FrontEnd::TcpProxy, ServerTls::StartTls).await;
    let mut client = Client::plain(&world.exchange.imap_address()).await;
    client
        .talk(
            "S< * OK Microsoft Exchange IMAP4 service ready.
             C: a CAPABILITY
             S: * CAPABILITY IMAP4 IMAP4rev1 STARTTLS LOGINDISABLED ID LITERAL+
             S: a OK CAPABILITY completed.
             C: b AUTHENTICATE XOAUTH2 x
             S: b BAD Command received in Invalid state.
             C: c STARTTLS
             S: c OK Begin TLS negotiation now.",
        )
        .await;
    let mut client = client.start_tls(&world.ca).await;
    let sasl = world.sasl(ALICE);
    client.talk(&format!("C: d AUTHENTICATE XOAUTH2 {sasl}\nS: d OK AUTHENTICATE completed.")).await;
    let heard = String::from_utf8(world.exchange.heard()).unwrap();
    assert!(heard.starts_with("a CAPABILITY\r\nb AUTHENTICATE XOAUTH2 x\r\nc STARTTLS\r\nd AUTHENTICATE"));
}

#[tokio::test]
async fn a_man_in_the_middle_before_tls() {
    let world = World::with(FrontEnd::TcpProxy, ServerTls::StartTls).await;
    world.exchange.set_fault(Some(ExchangeFault::InjectBehindStartTls(b"* BYE injected\r\n".to_vec())));
    let mut client = Client::plain(&world.exchange.imap_address()).await;
    client.line().await;
    client.talk("C: a STARTTLS\nS: a OK Begin TLS negotiation now.").await;
    assert_eq!(client.unread(), b"* BYE injected\r\n");

    world.exchange.set_fault(Some(ExchangeFault::StripStartTls));
    let mut client = Client::plain(&world.exchange.imap_address()).await;
    client
        .talk(
            "S< * OK
             C: a CAPABILITY
             S< * CAPABILITY IMAP4 IMAP4rev1 AUTH=XOAUTH2
             S: a OK CAPABILITY completed.
             C: b STARTTLS
             S: b BAD Command Error. 12
             C: c AUTHENTICATE XOAUTH2
             S< +",
        )
        .await;

    world.exchange.set_fault(Some(ExchangeFault::RefuseStartTls));
    let mut client = Client::plain(&world.exchange.imap_address()).await;
    client.talk("S< * OK\nC: a STARTTLS\nS: a NO TLS is not available.").await;
}

#[tokio::test]
async fn connections_are_counted() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let (client, other) = (world.imap_as(ALICE).await, world.pop3().await);
    world.exchange.connections_reach(2).await;
    assert_eq!((world.exchange.connections(), world.exchange.open_connections()), (2, 2));
    drop(client);
    world.exchange.open_connections_fall_to(1).await;
    drop(other);
    world.exchange.open_connections_fall_to(0).await;
    assert_eq!((world.exchange.connections(), world.exchange.logins()), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_server_refuses_and_comes_back() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.imap_as(ALICE).await;
    world.exchange.set_reachable(false);
    let error = tokio::net::TcpStream::connect(world.exchange.imap_address()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    client.talk("C: b NOOP\nS: b OK NOOP completed.").await;
    world.exchange.set_reachable(true);
    world.imap_as(ALICE).await;
}

#[tokio::test]
async fn all_ends_with_the_value() {
    let World { ca, entra, exchange, .. } = World::new(FrontEnd::TcpProxy).await;
    let address = exchange.imap_address();
    let mut client = Client::plain(&address).await.start_tls(&ca).await;
    client.line().await;
    drop(exchange);
    assert!(client.rest().await.is_err() || client.unread().is_empty());
    drop(entra);
}
