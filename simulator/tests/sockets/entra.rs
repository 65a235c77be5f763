//! The token endpoint over real HTTPS: tokens, refusals, faults.

use std::time::Duration;

use crate::common::{Reply, World, http};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use simulator::{EntraFault, FrontEnd, Protocol, Registration};

const FORM: &str = "application/x-www-form-urlencoded";

const SCOPE: &str = "scope=https%3A%2F%2Foutlook.office365.com%2F.default";

async fn world() -> World {
    World::new(FrontEnd::TcpProxy).await
}

/// A good request's form.
fn form(app: &Registration) -> String {
    let (client, secret) = (&app.client_id, &app.secrets[0]);
    format!("client_id={client}&{SCOPE}&client_secret={secret}&grant_type=client_credentials")
}

async fn post(world: &World, tenant: &str, form: &str) -> std::io::Result<Reply> {
    http(world, "POST", &format!("/{tenant}/oauth2/v2.0/token"), FORM, form).await
}

/// A good request.
async fn ask(world: &World) -> std::io::Result<Reply> {
    post(world, &world.app.tenant_id, &form(&world.app)).await
}

fn part(token: &str, number: usize) -> Value {
    let part = token.split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

#[tokio::test]
async fn a_token_says_what_exchange_wants_to_know() {
    let world = world().await;
    let reply = ask(&world).await.unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("Content-Type"), Some("application/json; charset=utf-8"));
    assert_eq!(reply.header("Cache-Control"), Some("no-store, no-cache"));
    assert!(reply.header("Date").is_some() && reply.header("x-ms-request-id").is_some());
    let body = reply.json();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(3599)));
    let token = body["access_token"].as_str().unwrap();
    assert!((1_300..2_100).contains(&token.len()), "{}", token.len());
    let header = part(token, 0);
    assert_eq!((&header["typ"], &header["alg"]), (&json!("JWT"), &json!("RS256")));
    assert_eq!((&header["kid"], &header["x5t"]), (&json!(world.entra.key_id()), &json!(world.entra.key_id())));
    let claims = part(token, 1);
    let app = &world.app;
    for (name, value) in [
        ("aud", "https://outlook.office365.com"),
        ("tid", &app.tenant_id),
        ("appid", &app.client_id),
        ("azp", &app.client_id),
        ("oid", &app.object_id),
        ("sub", &app.object_id),
        ("idtyp", "app"),
        ("appidacr", "1"),
    ] {
        assert_eq!(claims[name], value, "{name}");
    }
    assert_eq!(claims["roles"], json!(["IMAP.AccessAsApp", "POP.AccessAsApp", "SMTP.SendAsApp"]));
    assert!(claims.get("scp").is_none());
    let object = world.entra.verifier().object_id(token, Protocol::Pop3);
    assert_eq!(object.as_deref(), Some(app.object_id.as_str()));
    assert!(world.entra.public_key_pem().starts_with("-----BEGIN PUBLIC KEY-----"));
}

#[tokio::test]
async fn roles_are_absent_without_consent() {
    let world = world().await;
    world.entra.register(Registration { roles: vec![], ..world.app.clone() });
    let body = ask(&world).await.unwrap().json();
    let claims = part(body["access_token"].as_str().unwrap(), 1);
    assert!(claims.get("roles").is_none());
}

#[tokio::test]
async fn the_lifetime_is_a_switch() {
    let world = world().await;
    world.entra.set_lifetime(Duration::from_secs(90));
    let body = ask(&world).await.unwrap().json();
    assert_eq!(body["expires_in"], 90);
    let claims = part(body["access_token"].as_str().unwrap(), 1);
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 390);
}

#[tokio::test]
async fn refusals_bear_the_code_of_entra() {
    let world = world().await;
    let app = &world.app;
    let (tenant, good) = (app.tenant_id.as_str(), form(app));
    let other = "11111111-2222-4333-8444-555555555555";
    let cases = [
        (other, good.clone(), 400, "invalid_request", 90_002),
        ("nowhere.example", good.clone(), 400, "invalid_request", 90_002),
        ("nonsense", good.clone(), 400, "invalid_request", 900_023),
        ("common", good.clone(), 400, "invalid_request", 9_001_023),
        (tenant, good.replace(&app.client_id, other), 400, "unauthorized_client", 700_016),
        (tenant, good.replace(&app.secrets[0], "wrong"), 401, "invalid_client", 7_000_215),
        (tenant, good.replace("client_secret", "secret"), 401, "invalid_client", 7_000_216),
        (tenant, format!("{good}&client_assertion=x"), 401, "invalid_client", 700_027),
        (tenant, good.replace("client_credentials", "password"), 400, "unsupported_grant_type", 70_003),
        (tenant, good.replace("&grant_type", "&g"), 400, "invalid_request", 900_144),
        (tenant, good.replace(".default", "IMAP.AccessAsApp"), 400, "invalid_scope", 1_002_012),
        (tenant, good.replace(".default", ".default+openid"), 400, "invalid_scope", 70_011),
        (tenant, good.replace("office365", "office366"), 400, "invalid_resource", 500_011),
    ];
    for (tenant, form, status, error, code) in cases {
        let reply = post(&world, tenant, &form).await.unwrap();
        let body = reply.json();
        assert_eq!((reply.status, &body["error"], &body["error_codes"]), (status, &json!(error), &json!([code])));
        assert!(body["error_description"].as_str().unwrap().starts_with(&format!("AADSTS{code}: ")));
        for name in ["timestamp", "trace_id", "correlation_id", "error_uri"] {
            assert!(body[name].is_string(), "{name}");
        }
    }
    assert_eq!(world.entra.requests(), 13);
}

#[tokio::test]
async fn what_is_no_form_is_no_request() {
    let world = world().await;
    let path = format!("/{}/oauth2/v2.0/token", world.app.tenant_id);
    let reply = http(&world, "POST", &path, "application/json", "{}").await.unwrap();
    assert_eq!((reply.status, &reply.json()["error_codes"]), (400, &json!([900_144])));
    let reply = http(&world, "GET", &path, FORM, "").await.unwrap();
    assert_eq!((reply.status, &reply.json()["error_codes"]), (400, &json!([900_561])));
    assert_eq!(http(&world, "GET", "/", FORM, "").await.unwrap().status, 404);
}

#[tokio::test]
async fn a_graph_token_is_issued_and_worthless() {
    let world = world().await;
    let form = form(&world.app).replace("outlook.office365.com", "graph.microsoft.com");
    let body = post(&world, &world.app.tenant_id, &form).await.unwrap().json();
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(part(token, 1)["aud"], "https://graph.microsoft.com");
    assert_eq!(world.entra.verifier().object_id(token, Protocol::Imap), None);
}

#[tokio::test]
async fn validators_find_the_key() {
    let world = world().await;
    let path = format!("/{}/v2.0/.well-known/openid-configuration", world.app.tenant_id);
    let configuration = http(&world, "GET", &path, FORM, "").await.unwrap().json();
    let uri = configuration["jwks_uri"].as_str().unwrap();
    let path = uri.strip_prefix(&world.entra.authority()).unwrap();
    let keys = http(&world, "GET", path, FORM, "").await.unwrap().json();
    assert_eq!(keys["keys"][0]["kid"], world.entra.key_id());
}

#[tokio::test]
async fn requests_are_counted_and_kept() {
    let world = world().await;
    assert_eq!((world.entra.requests(), world.entra.last_request()), (0, None));
    let (reply, ()) = tokio::join!(ask(&world), world.entra.requests_reach(1));
    assert_eq!(reply.unwrap().status, 200);
    let last = world.entra.last_request().unwrap();
    assert_eq!(last["client_secret"], world.app.secrets[0]);
    assert_eq!(last["scope"], "https://outlook.office365.com/.default");
}

#[tokio::test]
async fn every_secret_opens_the_door() {
    let world = world().await;
    let secrets = vec!["old".to_owned(), "new".to_owned()];
    world.entra.register(Registration { secrets: secrets.clone(), ..world.app.clone() });
    for secret in secrets {
        let form = form(&world.app).replace(&world.app.secrets[0], &secret);
        assert_eq!(post(&world, &world.app.tenant_id, &form).await.unwrap().status, 200);
    }
    assert_eq!(ask(&world).await.unwrap().status, 401);
}

#[tokio::test]
async fn faults_with_an_answer() {
    let world = world().await;
    let set = |fault| world.entra.set_fault(Some(fault));

    set(EntraFault::Aadsts(7_000_222));
    let reply = ask(&world).await.unwrap();
    assert_eq!((reply.status, &reply.json()["error_codes"]), (401, &json!([7_000_222])));

    set(EntraFault::Aadsts(90_055));
    assert_eq!(ask(&world).await.unwrap().status, 429);

    set(EntraFault::Status { status: 429, retry_after: Some("17".to_owned()) });
    let reply = ask(&world).await.unwrap();
    assert_eq!((reply.status, reply.header("Retry-After"), reply.body.len()), (429, Some("17"), 0));

    set(EntraFault::Html);
    let reply = ask(&world).await.unwrap();
    assert!(reply.status == 200 && reply.body.starts_with(b"<!DOCTYPE html>"));

    set(EntraFault::Empty);
    let reply = ask(&world).await.unwrap();
    assert_eq!((reply.status, reply.body.len(), reply.whole), (200, 0, true));

    set(EntraFault::WrongContentType);
    let reply = ask(&world).await.unwrap();
    assert_eq!(reply.header("Content-Type"), Some("text/plain"));
    assert!(reply.json()["access_token"].is_string());

    set(EntraFault::Redirect("https://elsewhere.example/".to_owned()));
    let reply = ask(&world).await.unwrap();
    assert_eq!((reply.status, reply.header("Location")), (307, Some("https://elsewhere.example/")));

    set(EntraFault::ExpiresIn(json!("soon")));
    let body = ask(&world).await.unwrap().json();
    assert!(body["expires_in"] == "soon" && body["access_token"].is_string());

    set(EntraFault::Delay(Duration::from_millis(30)));
    let start = std::time::Instant::now();
    assert_eq!(ask(&world).await.unwrap().status, 200);
    assert!(start.elapsed() >= Duration::from_millis(30));

    world.entra.set_fault(None);
    assert_eq!(ask(&world).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_truncated_answer_ends_in_the_middle() {
    let world = world().await;
    world.entra.set_fault(Some(EntraFault::Truncated));
    let reply = ask(&world).await.unwrap();
    assert_eq!((reply.status, reply.whole), (200, false));
    assert!(reply.body.len() > 500 && serde_json::from_slice::<Value>(&reply.body).is_err());
}

#[tokio::test]
async fn an_oversized_answer_goes_on_and_on() {
    let world = world().await;
    world.entra.set_fault(Some(EntraFault::Oversized));
    let reply = ask(&world).await.unwrap();
    assert_eq!(reply.body.len(), 64 << 20);
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    let world = world().await;
    world.entra.set_fault(Some(EntraFault::Reset));
    let error = ask(&world).await.err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(world.entra.requests(), 1);
}

#[tokio::test]
async fn a_hanging_request_holds_up_nobody_else() {
    let world = world().await;
    world.entra.set_fault(Some(EntraFault::Hang));
    let request = ask(&world);
    tokio::pin!(request);
    tokio::select! {
        _ = &mut request => panic!("it was answered"),
        () = world.entra.requests_reach(1) => {}
    }
    world.entra.set_fault(None);
    assert_eq!(ask(&world).await.unwrap().status, 200);
}
