//! POP3 over real TLS: the texts of both generations, work in the maildrop, and the faults.

use std::time::Duration;

use crate::common::{Client, World, sasl};
use serde_json::json;
use simulator::{ExchangeFault, FrontEnd, ServerTls, sample_message, sample_messages};

const ALICE: &str = "alice@example.com";

const FAILED: &str = "-ERR Authentication failure: unknown user name or bad password.";

#[tokio::test]
async fn the_older_front_end_as_it_was() {
    let world = World::new(FrontEnd::Classic).await;
    let mut client = world.pop3().await;
    client
        .talk(&format!(
            "S< +OK The Microsoft Exchange POP3 service is ready. [
             C: CAPA
             S: +OK
             S: TOP
             S: UIDL
             S: SASL PLAIN XOAUTH2
             S: USER
             S: .
             C: STLS
             S: -ERR Command is not valid in this state.
             C: STAT
             S: -ERR Command is not valid in this state.
             C: user alice@example.com
             S: +OK
             C: PASS hunter2
             S: -ERR Logon failure: unknown user name or bad password.
             C: AUTH PLAIN
             S: + \n\
             C: AGEAYg==
             S: {FAILED}
             C: AUTH XOAUTH2
             S: + \n\
             C: {}
             S: +OK User successfully authenticated.
             C: QUIT
             S: +OK Microsoft Exchange Server POP3 server signing off.
             =",
            world.sasl(ALICE)
        ))
        .await;
}

#[tokio::test]
async fn the_newer_front_end_as_it_is() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.pop3().await;
    client
        .talk(&format!(
            "S< +OK Microsoft Exchange POP3 server ready (tcpproxy/15.20.9137.005). [
             C: CAPA
             S: +OK
             S: TOP
             S: UIDL
             S: SASL XOAUTH2
             S: USER
             S: .
             C: USER alice@example.com
             S: -ERR Basic authentication is disabled
             C: PASS hunter2
             S: -ERR Basic authentication is disabled
             C: auth xoauth2
             S: + \n\
             C: {}
             S: +OK User successfully authenticated.",
            world.sasl("ALICE@example.com")
        ))
        .await;
}

#[tokio::test]
async fn the_form_with_one_line_is_fatal() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.pop3().await;
    client.line().await;
    let sasl = world.sasl(ALICE);
    client.talk(&format!("C: AUTH XOAUTH2 {sasl}\nS: -ERR Protocol error. Connection is closed. 10\n=")).await;
}

#[tokio::test]
async fn every_refusal_is_the_same() {
    let world = World::new(FrontEnd::TcpProxy).await;
    world.exchange.revoke(&world.app.object_id, "bob@example.com");
    let mut claims = world.entra.claims(&world.app);
    claims["padding"] = json!("x".repeat(3000));
    let long = world.entra.mint(claims.clone());
    assert!(long.len() > 4096);
    claims["padding"] = json!("");
    claims["roles"] = json!(["IMAP.AccessAsApp"]);
    let refused = [
        sasl(ALICE, &world.entra.mint(claims)),
        sasl(ALICE, &long),
        world.sasl("bob@example.com"),
        world.sasl("nobody@example.com"),
        "*".to_owned(),
    ];
    let mut client = world.pop3().await;
    client.line().await;
    for response in refused {
        client.talk(&format!("C: AUTH XOAUTH2\nS: + \nC: {response}\nS: {FAILED}")).await;
    }
    assert_eq!(world.exchange.logins(), 0);
}

/// The lines behind +OK up to the dot, unstuffed.
async fn multi_line(client: &mut Client) -> Vec<u8> {
    assert_eq!(client.line().await, "+OK");
    let mut data = Vec::new();
    loop {
        let line = client.line().await;
        match line.strip_prefix('.') {
            Some("") => return data,
            Some(rest) => data.extend_from_slice(rest.as_bytes()),
            None => data.extend_from_slice(line.as_bytes()),
        }
        data.extend_from_slice(b"\r\n");
    }
}

#[tokio::test]
async fn messages_come_as_they_were_added() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.pop3_as(ALICE).await;
    for (number, message) in (1..).zip(sample_messages()) {
        client.talk(&format!("C: RETR {number}")).await;
        // The client reads lines as UTF-8 at heart.
        let shown = String::from_utf8_lossy(&message);
        assert_eq!(String::from_utf8_lossy(&multi_line(&mut client).await), shown);
    }
    let large = sample_message(30 << 20);
    world.exchange.add_mailbox(ALICE, vec![large.clone()]);
    let mut client = world.pop3_as(ALICE).await;
    client.talk("C: RETR 1").await;
    assert!(multi_line(&mut client).await == large);
}

#[tokio::test]
async fn work_in_the_maildrop() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let sizes: Vec<usize> = sample_messages().iter().map(Vec::len).collect();
    let total: usize = sizes.iter().sum();
    let mut client = world.pop3_as(ALICE).await;
    client
        .talk(&format!(
            "C: STAT
             S: +OK 5 {total}
             C: LIST 2
             S: +OK 2 {}
             C: UIDL 2
             S: +OK 2 14.2
             C: TOP 4 1
             S: +OK",
            sizes[1]
        ))
        .await;
    let top = client.until("..").await;
    assert_eq!(&top[top.len() - 2..], ["", ".."]);
    client.talk("S: .").await;
    client
        .talk(&format!(
            "C: DELE 1
             S: +OK
             C: DELE 1
             S< -ERR
             C: RETR 0
             S< -ERR
             C: NOOP
             S: +OK
             C: STAT
             S: +OK 4 {}
             C: RSET
             S: +OK
             C: DELE 5
             S: +OK
             C: LIST
             S: +OK 4 {}
             S: 1 {}
             S: 2 {}
             S: 3 {}
             S: 4 {}
             S: .
             C: QUIT
             S: +OK Microsoft Exchange Server POP3 server signing off.
             =",
            total - sizes[0],
            total - sizes[4],
            sizes[0],
            sizes[1],
            sizes[2],
            sizes[3],
        ))
        .await;
    let mut client = world.pop3_as(ALICE).await;
    client.talk("C: UIDL\nS: +OK\nS: 1 14.1\nS: 2 14.2\nS: 3 14.3\nS: 4 14.4\nS: .").await;
}

#[tokio::test]
async fn without_quit_nothing_is_deleted() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.pop3_as(ALICE).await;
    client.talk("C: DELE 1\nS: +OK").await;
    drop(client);
    world.exchange.open_connections_fall_to(0).await;
    let mut client = world.pop3_as(ALICE).await;
    client.talk("C: STAT\nS< +OK 5 ").await;
}

#[tokio::test]
async fn pipelined_commands_are_all_answered() {
    let world = World::new(FrontEnd::TcpProxy).await;
    let mut client = world.pop3().await;
    client.line().await;
    client.send(format!("AUTH XOAUTH2\r\n{}\r\nNOOP\r\nQUIT\r\n", world.sasl(ALICE))).await;
    client.talk("S: + \nS: +OK User successfully authenticated.\nS: +OK\nS< +OK Microsoft\n=").await;
}

#[tokio::test]
async fn stls_opens_the_login() {
    let world = World::with(FrontEnd::TcpProxy, ServerTls::StartTls).await;
    let mut client = Client::plain(&world.exchange.pop3_address()).await;
    client
        .talk(
            "S< +OK
             C: CAPA
             S: +OK
             S: TOP
             S: UIDL
             S: STLS
             S: .
             C: AUTH XOAUTH2
             S: -ERR Command is not valid in this state.
             C: STLS
             S: +OK Begin TLS negotiation.",
        )
        .await;
    let mut client = client.start_tls(&world.ca).await;
    let sasl = world.sasl(ALICE);
    client.talk(&format!("C: AUTH XOAUTH2\nS: + \nC: {sasl}\nS: +OK User successfully authenticated.")).await;
}

#[tokio::test]
async fn a_man_in_the_middle_before_tls() {
    let world = World::with(FrontEnd::TcpProxy, ServerTls::StartTls).await;
    world.exchange.set_fault(Some(ExchangeFault::InjectBehindStartTls(b"+OK injected\r\n".to_vec())));
    let mut client = Client::plain(&world.exchange.pop3_address()).await;
    client.talk("S< +OK\nC: STLS\nS: +OK Begin TLS negotiation.").await;
    assert_eq!(client.unread(), b"+OK injected\r\n");
    world.exchange.set_fault(Some(ExchangeFault::StripStartTls));
    let mut client = Client::plain(&world.exchange.pop3_address()).await;
    client.talk("S< +OK\nC: STLS\nS< -ERR\nC: AUTH XOAUTH2\nS: + ").await;
}

#[tokio::test]
async fn faults() {
    let world = World::new(FrontEnd::Classic).await;
    world.exchange.set_fault(Some(ExchangeFault::ByeAtGreeting));
    world.pop3().await.talk("S: -ERR Server Unavailable. 21\n=").await;
    let sasl = world.sasl(ALICE);
    for (fault, answer) in [
        (ExchangeFault::AuthFailed, FAILED),
        (ExchangeFault::NotConnected, "-ERR User is authenticated but not connected."),
        (ExchangeFault::ServerUnavailable, "-ERR Server Unavailable. 21"),
        (ExchangeFault::Throttled(Duration::from_secs(30)), "-ERR Server Unavailable. 21"),
    ] {
        world.exchange.set_fault(Some(fault));
        let mut client = world.pop3().await;
        client.line().await;
        client.talk(&format!("C: AUTH XOAUTH2\nS: + \nC: {sasl}\nS: {answer}\nC: NOOP\nS: +OK")).await;
    }
    world.exchange.set_fault(Some(ExchangeFault::ErrorChallenge));
    let mut client = world.pop3().await;
    client.line().await;
    client.talk(&format!("C: AUTH XOAUTH2\nS: + \nC: {sasl}\nS< + eyJ\nC: \nS: {FAILED}")).await;
    world.exchange.set_fault(Some(ExchangeFault::CloseAfter(0)));
    let mut client = world.pop3_as(ALICE).await;
    client.talk("=").await;
}

#[tokio::test]
async fn passwords_are_heard() {
    let world = World::new(FrontEnd::Classic).await;
    let mut client = world.pop3().await;
    client.talk("S< +OK\nC: USER a\nS: +OK\nC: PASS leaked\nS< -ERR").await;
    assert_eq!(world.exchange.heard(), b"USER a\r\nPASS leaked\r\n");
}
