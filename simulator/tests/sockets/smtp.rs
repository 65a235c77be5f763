//! SMTP submission over real sockets: the texts, messages by DATA and BDAT, who may send as whom, and the faults.

use std::time::{Duration, Instant};

use crate::common::{Client, World, sasl};
use serde_json::json;
use simulator::{ExchangeFault, FrontEnd, SentMessage, ServerTls, sample_message};

const ALICE: &str = "alice@example.com";

const BOB: &str = "bob@example.com";

const FAILED: &str = "535 5.7.3 Authentication unsuccessful [PN4P287CA0064.INDP287.PROD.OUTLOOK.COM 20";

const DISABLED: &str = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the";

/// MAIL and RCPT, which everybody takes.
const ENVELOPE: &str = "C: MAIL FROM:<alice@example.com>
                        S: 250 2.1.0 Sender OK
                        C: RCPT TO:<carol@example.net>
                        S: 250 2.1.5 Recipient OK";

const START: &str = "354 Start mail input; end with <CRLF>.<CRLF>";

const OK: &str = "250 2.0.0 OK <";

async fn world() -> World {
    World::new(FrontEnd::TcpProxy).await
}

/// Greeted and introduced.
async fn introduced(world: &World) -> Client {
    let mut client = world.smtp().await;
    client.talk("S< 220 \nC: EHLO client.example.com").await;
    client.until("250 ").await;
    client
}

#[tokio::test]
async fn from_the_greeting_to_the_end() {
    let world = World::with(FrontEnd::TcpProxy, ServerTls::StartTls).await;
    let mut client = Client::plain(&world.exchange.smtp_address()).await;
    client
        .talk(
            "S< 220 PN4P287CA0064.outlook.office365.com Microsoft ESMTP MAIL Service ready at
             C: HELO printer
             S: 250 PN4P287CA0064.outlook.office365.com Hello [127.0.0.1]
             C: AUTH XOAUTH2
             S< 504 5.7.4 Unrecognized authentication type [
             C: EHLO my_printer
             S: 501 5.5.4 Invalid domain name
             C: ehlo printer.example.com
             S: 250-PN4P287CA0064.outlook.office365.com Hello [127.0.0.1]
             S: 250-SIZE 157286400
             S: 250-PIPELINING
             S: 250-DSN
             S: 250-ENHANCEDSTATUSCODES
             S: 250-STARTTLS
             S: 250-8BITMIME
             S: 250-BINARYMIME
             S: 250-CHUNKING
             S: 250 SMTPUTF8
             C: AUTH XOAUTH2
             S< 504 5.7.4 Unrecognized authentication type [
             C: MAIL FROM:<alice@example.com>
             S< 451 5.7.3 STARTTLS is required to send mail [
             C: STARTTLS
             S: 220 2.0.0 SMTP server ready",
        )
        .await;
    let mut client = client.start_tls(&world.ca).await;
    client
        .talk(&format!(
            "C: AUTH XOAUTH2
             S: 503 5.5.2 Send hello first
             C: EHLO printer.example.com
             S: 250-PN4P287CA0064.outlook.office365.com Hello [127.0.0.1]
             S: 250-SIZE 157286400
             S: 250-PIPELINING
             S: 250-DSN
             S: 250-ENHANCEDSTATUSCODES
             S: 250-AUTH LOGIN XOAUTH2
             S: 250-8BITMIME
             S: 250-BINARYMIME
             S: 250-CHUNKING
             S: 250 SMTPUTF8
             C: MAIL FROM:<alice@example.com>
             S< 530 5.7.57 Client not authenticated to send mail. [PN4P287CA0064.INDP287.PROD.OUTLOOK.COM 20
             C: auth xoauth2
             S: 334 \n\
             C: {}
             S: 235 2.7.0 Authentication successful
             {ENVELOPE}
             C: DATA
             S: {START}
             C: Subject: hello
             C: \n\
             C: ..
             C: .
             S< {OK}
             C: QUIT
             S: 221 2.0.0 Service closing transmission channel
             =",
            world.sasl("ALICE@example.com")
        ))
        .await;
    let expected = SentMessage {
        authenticated_as: ALICE.to_owned(),
        from: ALICE.to_owned(),
        to: vec!["carol@example.net".to_owned()],
        octets: b"Subject: hello\r\n\r\n.\r\n".to_vec(),
    };
    assert_eq!(world.exchange.sent(), [expected]);
    assert_eq!(world.exchange.logins(), 1);
}

#[tokio::test]
async fn other_commands() {
    let world = world().await;
    let mut client = world.smtp().await;
    client
        .talk(
            "S< 220 \n\
             C: MAIL FROM:<alice@example.com>
             S: 503 5.5.2 Send hello first
             C: EHLO
             S: 501 5.5.4 Invalid domain name
             C: NOOP anything
             S: 250 2.0.0 OK
             C: RSET
             S: 250 2.0.0 Resetting
             C: VRFY alice
             S: 252 2.1.5 Cannot VRFY user
             C: EXPN staff
             S: 502 5.3.3 Command not implemented
             C: HELP
             S: 214-This server supports the following commands:
             S: 214 HELO EHLO STARTTLS RCPT DATA RSET MAIL QUIT HELP AUTH BDAT
             C: TURN
             S: 500 5.3.3 Unrecognized command
             C: STARTTLS
             S: 503 5.5.1 Bad sequence of commands",
        )
        .await;
    client.send("NOOP\nNOOP\r\n").await;
    client.talk("S: 500 5.5.2 Syntax error\nS: 250 2.0.0 OK").await;
    client.send(format!("NOOP {}\r\n", "x".repeat(2048))).await;
    client.talk("S: 500 5.5.2 Line too long\nC: NOOP\nS: 250 2.0.0 OK").await;
}

#[tokio::test]
async fn every_login_that_is_refused() {
    let world = world().await;
    let mut claims = world.entra.claims(&world.app);
    claims["roles"] = json!(["IMAP.AccessAsApp", "POP.AccessAsApp"]);
    let refused =
        [sasl(ALICE, &world.entra.mint(claims)), world.sasl("nobody@example.com"), "bm8=".to_owned(), "?".to_owned()];
    let mut client = introduced(&world).await;
    for response in refused {
        client.talk(&format!("C: AUTH XOAUTH2\nS: 334 \nC: {response}\nS< {FAILED}")).await;
    }
    assert_eq!(world.exchange.refused_logins(), 4);
    client
        .talk(&format!(
            "C: AUTH XOAUTH2
             S: 334 \n\
             C: *
             S: 501 5.7.0 Authentication cancelled
             C: AUTH PLAIN AGEAYg==
             S< 504 5.7.4 Unrecognized authentication type [
             C: AUTH LOGIN
             S: 334 VXNlcm5hbWU6
             C: YQ==
             S: 334 UGFzc3dvcmQ6
             C: Yg==
             S< {FAILED}
             C: AUTH LOGIN YQ==
             S: 334 UGFzc3dvcmQ6
             C: Yg==
             S< {FAILED}
             C: AUTH XOAUTH2
             S: 334 \n\
             C: {}
             S: 235 2.7.0 Authentication successful
             C: AUTH XOAUTH2
             S: 503 5.5.1 Bad sequence of commands",
            world.sasl(ALICE)
        ))
        .await;
    assert_eq!((world.exchange.logins(), world.exchange.refused_logins()), (1, 4));
}

#[tokio::test]
async fn an_initial_response_has_to_be_short() {
    let world = world().await;
    let mut client = introduced(&world).await;
    let mut claims = world.entra.claims(&world.app);
    claims["padding"] = json!("x".repeat(2000));
    let long = sasl(ALICE, &world.entra.mint(claims.clone()));
    assert!(long.len() > 2048);
    client.talk(&format!("C: AUTH XOAUTH2 {long}\nS: 500 5.5.6 Authentication Exchange line is too long")).await;
    client.talk(&format!("C: AUTH XOAUTH2\nS: 334 \nC: {long}\nS: 235 2.7.0 Authentication successful")).await;

    let short =
        json!({ "aud": claims["aud"], "exp": claims["exp"], "oid": claims["oid"], "roles": ["SMTP.SendAsApp"] });
    let short = sasl(ALICE, &world.entra.mint(short));
    let mut client = introduced(&world).await;
    client.talk(&format!("C: AUTH XOAUTH2 {short}\nS: 235 2.7.0 Authentication successful")).await;
}

#[tokio::test]
async fn envelopes() {
    let world = world().await;
    let mut client = world.smtp_as(ALICE).await;
    client
        .talk(&format!(
            "C: DATA
             S: 503 5.5.2 Need mail command
             C: RCPT TO:<bob@example.com>
             S: 503 5.5.2 Need mail command
             C: MAIL FROM:<alice>
             S: 501 5.1.7 Invalid address
             C: MAIL FROM:<alice@example.com> SIZE=157286401
             S: 552 5.3.4 Message size exceeds fixed maximum message size
             C: MAIL FROM:<alice@example.com> BODY=9BIT
             S: 501 5.5.4 Invalid arguments
             C: MAIL FROM:<alice@example.com> XYZ=1
             S: 555 5.5.4 Unrecognized parameter
             C: mail from:<Alice@Example.com> SIZE=157286400 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ AUTH=<>
             S: 250 2.1.0 Sender OK
             C: MAIL FROM:<alice@example.com>
             S: 503 5.5.2 Sender already specified
             C: DATA
             S: 503 5.5.2 Need rcpt command
             C: RCPT TO:<>
             S: 501 5.1.3 Invalid address
             C: RCPT TO:<bob@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;bob@example.com
             S: 250 2.1.5 Recipient OK
             C: RCPT TO:<jürgen@example.net>
             S: 250 2.1.5 Recipient OK
             C: DATA
             S: {START}
             C: .
             S< {OK}
             C: DATA
             S: 503 5.5.2 Need mail command
             {ENVELOPE}
             C: RSET
             S: 250 2.0.0 Resetting
             C: RCPT TO:<bob@example.com>
             S: 503 5.5.2 Need mail command"
        ))
        .await;
    let sent = world.exchange.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].from, "Alice@Example.com");
    assert_eq!(sent[0].to, ["bob@example.com", "jürgen@example.net"]);
    assert_eq!(sent[0].octets, b"");
}

#[tokio::test]
async fn messages_arrive_octet_by_octet() {
    let world = world().await;
    let mut client = world.smtp_as(ALICE).await;
    client.talk(&format!("{ENVELOPE}\nC: DATA\nS: {START}")).await;
    client.send(b"..a\r\n\x00\xff\n.\n.\r\nb\r..\r\n...\r\n.\r\n").await;
    client.talk(&format!("S< {OK}")).await;
    client.talk("C: MAIL FROM:<alice@example.com> BODY=BINARYMIME\nS< 250\nC: RCPT TO:<bob@example.com>\nS< 250").await;
    client.talk("C: DATA\nS: 503 5.5.1 Bad sequence of commands").await;
    client.send(b"BDAT 5\r\n.\r\n\0\nBDAT 3\r\n.\r\nBDAT 0 LAST\r\nNOOP\r\n").await;
    client.talk("S: 250 2.6.0 CHUNK received OK, 5 octets\nS: 250 2.6.0 CHUNK received OK, 3 octets").await;
    client.talk(&format!("S< {OK}\nS: 250 2.0.0 OK")).await;
    let sent = world.exchange.sent();
    assert_eq!(sent[0].octets, b".a\r\n\x00\xff\n.\n.\r\nb\r..\r\n..\r\n");
    assert_eq!(sent[1].octets, b".\r\n\0\n.\r\n");
}

#[tokio::test]
async fn a_chunk_is_read_even_if_it_is_refused() {
    let world = world().await;
    let mut client = world.smtp_as(ALICE).await;
    client.send("BDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<alice@example.com>\r\nBDAT 6\r\nQUIT\r\nNOOP\r\n").await;
    client
        .talk(
            "S: 503 5.5.2 Need mail command
             S: 250 2.1.0 Sender OK
             S: 503 5.5.2 Need rcpt command
             S: 250 2.0.0 OK
             C: BDAT x
             S: 501 5.5.4 Invalid arguments
             =",
        )
        .await;
}

#[tokio::test]
async fn everything_in_one_write() {
    let world = world().await;
    let mut client = world.smtp().await;
    let sasl = world.sasl(ALICE);
    let message = "MAIL FROM:<alice@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nhello\r\n.\r\n";
    client.send(format!("EHLO client\r\nAUTH XOAUTH2\r\n{sasl}\r\n{message}{message}QUIT\r\n")).await;
    client.until("250 ").await;
    let answers = format!("S: 250 2.1.0 Sender OK\nS: 250 2.1.5 Recipient OK\nS: {START}\nS< {OK}");
    client.talk(&format!("S: 334 \nS< 235 2.7.0\n{answers}\n{answers}\nS< 221\n=")).await;
    world.exchange.sent_reach(2).await;
}

/// As large as clients send, and with lines of all kinds.
#[tokio::test]
async fn large_messages() {
    let world = world().await;
    let large = sample_message(40 << 20);
    let mut stuffed = Vec::with_capacity(large.len());
    for line in large.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    let mut client = world.smtp_as(ALICE).await;
    client.talk(&format!("{ENVELOPE}\nC: DATA\nS: {START}")).await;
    client.send(&stuffed).await;
    client.talk(&format!("C: .\nS< {OK}\n{ENVELOPE}")).await;
    let (first, second) = large.split_at(large.len() / 3);
    client.send(format!("BDAT {}\r\n", first.len())).await;
    client.send(first).await;
    client.send(format!("BDAT {} LAST\r\n", second.len())).await;
    client.send(second).await;
    client.talk(&format!("S< 250 2.6.0\nS< {OK}")).await;
    let sent = world.exchange.sent();
    assert!(sent.iter().all(|message| message.octets == large) && sent.len() == 2);
}

#[tokio::test]
async fn a_message_beyond_size_is_refused_at_its_end() {
    let world = world().await;
    let mut client = world.smtp_as(ALICE).await;
    let mut line = vec![b'x'; 1 << 20];
    line.extend_from_slice(b"\r\n");
    client.talk(&format!("{ENVELOPE}\nC: DATA\nS: {START}")).await;
    for _ in 0..150 {
        client.send(&line).await;
    }
    client.talk("C: .\nS: 552 5.3.4 Message size exceeds fixed maximum message size\nC: NOOP\nS< 250").await;
    assert_eq!(world.exchange.sent(), []);
}

#[tokio::test]
async fn who_may_send_as_whom() {
    let world = world().await;
    let message = |from: &str, answer: &str| {
        format!(
            "C: MAIL FROM:<{from}>\nS: 250 2.1.0 Sender OK\nC: RCPT TO:<carol@example.net>\nS: 250 2.1.5 Recipient OK\n\
             C: DATA\nS: {START}\nC: .\nS< {answer}"
        )
    };
    let denied = "550 5.7.60 SMTP; Client does not have permissions to send as this sender [";
    let logon_failure = "430 4.2.0 STOREDRV; mailbox logon failure; ";
    let mut client = world.smtp_as(ALICE).await;
    client.talk(&message(BOB, denied)).await;
    client.talk(&message("", denied)).await;
    client.talk(&message("stranger@example.net", denied)).await;
    world.exchange.grant_send_as(&world.app.object_id, "BOB@example.com");
    client.talk(&message("Bob@example.com", OK)).await;
    world.exchange.revoke(&world.app.object_id, ALICE);
    client.talk(&message(ALICE, logon_failure)).await;
    // The login is as good as ever.
    let mut client = world.smtp_as(ALICE).await;
    client.talk(&message(ALICE, logon_failure)).await;
    world.exchange.grant_send_as(&world.app.object_id, ALICE);
    client.talk(&message(ALICE, OK)).await;
    let sent = world.exchange.sent();
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0].authenticated_as.as_str(), sent[0].from.as_str()), (ALICE, "Bob@example.com"));
}

#[tokio::test]
async fn a_principal_that_exchange_does_not_know() {
    let world = world().await;
    world.exchange.add_mailbox("carol@example.com", Vec::new());
    let mut claims = world.entra.claims(&world.app);
    claims["oid"] = json!("00000000-0000-0000-0000-000000000000");
    let mut client = introduced(&world).await;
    let sasl = sasl("carol@example.com", &world.entra.mint(claims));
    client.talk(&format!("C: AUTH XOAUTH2\nS: 334 \nC: {sasl}\nS< {FAILED}")).await;
}

#[tokio::test]
async fn a_man_in_the_middle_before_tls() {
    let world = World::with(FrontEnd::TcpProxy, ServerTls::StartTls).await;
    let greeted = async |fault: ExchangeFault| {
        world.exchange.set_fault(Some(fault));
        let mut client = Client::plain(&world.exchange.smtp_address()).await;
        client.talk("S< 220 \nC: EHLO client").await;
        let list = client.until("250 ").await;
        (client, list)
    };
    let (mut client, _) = greeted(ExchangeFault::InjectBehindStartTls(b"250 injected\r\n".to_vec())).await;
    client.talk("C: STARTTLS\nS: 220 2.0.0 SMTP server ready").await;
    assert_eq!(client.unread(), b"250 injected\r\n");

    let (mut client, list) = greeted(ExchangeFault::StripStartTls).await;
    assert!(list.contains(&"250-AUTH LOGIN XOAUTH2".to_owned()) && !list.contains(&"250-STARTTLS".to_owned()));
    client.talk("C: STARTTLS\nS: 500 5.3.3 Unrecognized command\nC: AUTH XOAUTH2\nS: 334 ").await;

    let (mut client, list) = greeted(ExchangeFault::RefuseStartTls).await;
    assert!(list.contains(&"250-STARTTLS".to_owned()));
    client.talk("C: STARTTLS\nS: 454 4.7.0 TLS not available due to temporary reason\nC: NOOP\nS< 250").await;

    world.exchange.set_fault(Some(ExchangeFault::EarlyContinuation));
    let mut client = Client::plain(&world.exchange.smtp_address()).await;
    client.talk("S< 220 \nS: 334 ").await;
}

#[tokio::test]
async fn faults_of_the_greeting() {
    let world = world().await;
    let greeted = async |fault: ExchangeFault| {
        world.exchange.set_fault(Some(fault));
        world.smtp().await
    };
    greeted(ExchangeFault::ByeAtGreeting).await.talk("S: 421 4.3.2 Service not available\n=").await;
    greeted(ExchangeFault::CloseAfterGreeting).await.talk("S< 220 \n=").await;
    let padded = greeted(ExchangeFault::GreetingPadding(5000)).await.line().await;
    assert!(padded.starts_with("220 ") && padded.len() > 5000);
    greeted(ExchangeFault::MultiLineGreeting).await.talk("S< 220-PN4P\nS: 220-\nS: 220 ESMTP\nC: NOOP\nS< 250").await;
    let mut silent = greeted(ExchangeFault::SilentGreeting).await;
    let nothing = tokio::time::timeout(Duration::from_millis(50), silent.fill()).await;
    assert!(nothing.is_err());
}

#[tokio::test]
async fn faults_of_the_login() {
    let world = world().await;
    let sasl = world.sasl(ALICE);
    for (fault, answer) in [
        (ExchangeFault::AuthFailed, FAILED.to_owned()),
        (ExchangeFault::AuthFailedVerbose, "535 5.7.139 Authentication unsuccessful, the request did not".to_owned()),
        (ExchangeFault::ServerUnavailable, "454 4.7.0 Temporary authentication failure [".to_owned()),
        (
            ExchangeFault::Throttled(Duration::from_secs(30)),
            "451 4.7.0 Temporary server error. Please try again later. PRX4 [".to_owned(),
        ),
        (ExchangeFault::SmtpAuthDisabledForTenant, format!("{DISABLED} Tenant. Visit https://aka.ms/")),
        (ExchangeFault::SmtpAuthDisabledForMailbox, format!("{DISABLED} Mailbox. Visit https://aka.ms/")),
    ] {
        world.exchange.set_fault(Some(fault));
        let mut client = introduced(&world).await;
        client.talk(&format!("C: AUTH XOAUTH2\nS: 334 \nC: {sasl}\nS< {answer}\nC: NOOP\nS< 250")).await;
    }
    world.exchange.set_fault(Some(ExchangeFault::ThrottledThenBye(Duration::from_secs(30))));
    introduced(&world).await.talk(&format!("C: AUTH XOAUTH2\nS: 334 \nC: {sasl}\nS< 451 4.7.0\n=")).await;
    world.exchange.set_fault(Some(ExchangeFault::CloseDuringAuth));
    introduced(&world).await.talk(&format!("C: AUTH XOAUTH2\nS: 334 \nC: {sasl}\n=")).await;
    world.exchange.set_fault(Some(ExchangeFault::ErrorChallenge));
    let mut client = introduced(&world).await;
    client.talk(&format!("C: AUTH XOAUTH2\nS: 334 \nC: {sasl}\nS< 334 eyJ\nC: \nS< {FAILED}")).await;
    world.exchange.set_fault(Some(ExchangeFault::SilentAuth));
    let mut client = introduced(&world).await;
    client.talk(&format!("C: AUTH XOAUTH2\nS: 334 \nC: {sasl}")).await;
    assert!(tokio::time::timeout(Duration::from_millis(50), client.fill()).await.is_err());

    world.exchange.set_fault(Some(ExchangeFault::SmtpBasicRetired));
    introduced(&world)
        .await
        .talk(&format!(
            "C: AUTH LOGIN YQ==
             S: 334 UGFzc3dvcmQ6
             C: Yg==
             S< 550 5.7.30 Basic authentication is not supported for Client Submission. [
             C: AUTH XOAUTH2
             S: 334 \n\
             C: {sasl}
             S: 235 2.7.0 Authentication successful"
        ))
        .await;
    world.exchange.set_fault(None);
    world.exchange.refuse_next(1);
    let mut client = introduced(&world).await;
    client.talk(&format!("C: AUTH XOAUTH2\nS: 334 \nC: {sasl}\nS< {FAILED}")).await;
    client.talk(&format!("C: AUTH XOAUTH2\nS: 334 \nC: {sasl}\nS< 235 ")).await;
}

#[tokio::test]
async fn refusals_may_take_their_time() {
    let world = world().await;
    let pause = Duration::from_millis(100);
    world.exchange.set_fault(Some(ExchangeFault::Tarpit(pause)));
    let mut client = introduced(&world).await;
    for transcript in [
        "C: AUTH PLAIN\nS< 504 ",
        "C: MAIL FROM:<alice@example.com>\nS< 530 ",
        "C: AUTH XOAUTH2\nS: 334 \nC: bm8=\nS< 535 ",
        "C: AUTH LOGIN YQ==\nS< 334 \nC: Yg==\nS< 535 ",
    ] {
        let start = Instant::now();
        client.talk(transcript).await;
        assert!(start.elapsed() >= pause, "{transcript}");
    }
}

#[tokio::test]
async fn faults_behind_the_login() {
    let world = world().await;
    for (fault, answer) in [
        (ExchangeFault::SmtpConcurrencyLimit, "432 4.3.2 Concurrent connections limit exceeded. "),
        (ExchangeFault::SendAsDenied, "554 5.2.252 SendAsDenied; alice@example.com not allowed to send as alice@"),
        (ExchangeFault::StoreDriver, "430 4.2.0 STOREDRV; mailbox logon failure; "),
        (ExchangeFault::NotConnected, "430 4.2.0 STOREDRV; mailbox logon failure; "),
    ] {
        world.exchange.set_fault(Some(fault));
        let mut client = world.smtp_as(ALICE).await;
        client.talk(&format!("{ENVELOPE}\nC: DATA\nS: {START}\nC: .\nS< {answer}")).await;
        client.talk(&format!("{ENVELOPE}\nC: BDAT 0 LAST\nS< {answer}\nC: NOOP\nS< 250")).await;
    }
    assert_eq!(world.exchange.sent(), []);
    world.exchange.set_fault(Some(ExchangeFault::BehindLogin(b"250 early\r\n".to_vec())));
    let client = world.smtp_as(ALICE).await;
    assert_eq!(client.unread(), b"250 early\r\n");
    world.exchange.set_fault(Some(ExchangeFault::IdleTimeout(Duration::from_millis(20))));
    world.smtp_as(ALICE).await.talk("S: 421 4.4.1 Connection timed out\n=").await;
    world.exchange.set_fault(Some(ExchangeFault::CloseAfter(0)));
    world.smtp_as(ALICE).await.talk("=").await;
    world.exchange.set_fault(Some(ExchangeFault::ResetAfter(10)));
    assert!(world.smtp().await.rest().await.is_err());
}

#[tokio::test]
async fn the_port_can_be_closed() {
    let world = world().await;
    world.exchange.set_reachable(false);
    assert!(tokio::net::TcpStream::connect(world.exchange.smtp_address()).await.is_err());
    world.exchange.set_reachable(true);
    world.smtp_as(ALICE).await;
}
