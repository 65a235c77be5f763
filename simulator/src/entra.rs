//! Microsoft Entra ID's token endpoint: client credentials in, signed access tokens out, over real HTTPS.
//!
//! RFC 6749 4.4, as Microsoft's v2.0 endpoint speaks it; the documents of OpenID Connect Discovery and the key set
//! (RFC 7517) because real validators fetch them.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::aadsts::Refusal;
use crate::ca::TestCa;
use crate::socket::{Listener, Reset, Socket};
use crate::token::{AUDIENCES, SigningKey, TokenVerifier};
use crate::{clock, random};

/// Microsoft Entra ID, listening until the value is dropped.
#[derive(Debug)]
pub struct Entra {
    directory: Arc<Directory>,
    port: u16,
    server: AbortHandle,
}

/// An App registration together with its Enterprise application, as an administrator has made them.
#[derive(Clone, PartialEq, Eq)]
pub struct Registration {
    /// The directory: a GUID, or any name that the token URL is to hold.
    pub tenant_id: String,
    /// The Application (client) ID.
    pub client_id: String,
    /// The Object ID of the ENTERPRISE application: the token's `oid`, and what `New-ServicePrincipal` wants.
    pub object_id: String,
    /// The values of the client secrets, each of which opens the door.
    pub secrets: Vec<String>,
    /// The application roles with admin consent, such as `IMAP.AccessAsApp`.
    pub roles: Vec<String>,
}

/// What goes wrong at the token endpoint. It concerns every token request from when it is set until it is taken away.
#[derive(Clone, Debug, PartialEq)]
pub enum EntraFault {
    /// The error of this number, in Entra's form and with its HTTP status.
    Aadsts(u32),
    /// A bare HTTP status with an empty body.
    Status {
        /// 100 to 999.
        status: u16,
        /// The `Retry-After` header, verbatim.
        retry_after: Option<String>,
    },
    /// 200 with a web page: a captive portal, or a proxy's own opinion.
    Html,
    /// 200, said to be JSON, without a body.
    Empty,
    /// 200, and the connection ends in the middle of the JSON that `Content-Length` promised.
    Truncated,
    /// A good token that is called `text/plain`.
    WrongContentType,
    /// 200 with JSON that does not end before 64 MiB.
    Oversized,
    /// 307 to this URL: the status that asks a client to send its secret there again.
    Redirect(String),
    /// A good token, and this for `expires_in`.
    ExpiresIn(Value),
    /// The request is read and never answered.
    Hang,
    /// The answer that is due, but this much later.
    Delay(Duration),
    /// The request is read, then the connection is reset.
    Reset,
}

impl Entra {
    /// Listens on a free port of 127.0.0.1, with a certificate for `localhost` and `127.0.0.1`.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start(ca: &TestCa) -> io::Result<Self> {
        Self::bind(ca, (Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// As [`start`](Self::start), on an address of one's own.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(ca: &TestCa, address: SocketAddr) -> io::Result<Self> {
        let listener = Listener::bind(address)?;
        let port = listener.port();
        // Some 100 ms of arithmetic, which would hold up everybody else on this thread.
        let key = tokio::task::spawn_blocking(SigningKey::generate).await.map_err(io::Error::other)?;
        let directory = Arc::new(Directory {
            key,
            state: Mutex::new(State { lifetime: DEFAULT_LIFETIME, ..State::default() }),
            requests: watch::Sender::new(0),
            authority: format!("https://localhost:{port}"),
        });
        let acceptor = TlsAcceptor::from(ca.server_config(&[b"http/1.1"]));
        let server = tokio::spawn(serve(listener, acceptor, directory.clone())).abort_handle();
        Ok(Self { directory, port, server })
    }

    /// `https://localhost:PORT`: what stands where `https://login.microsoftonline.com` would.
    pub fn authority(&self) -> String {
        self.directory.authority.clone()
    }

    /// The port, for whoever goes by `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Adds an application, or replaces the one of the same tenant and client.
    pub fn register(&self, registration: Registration) {
        let mut state = self.directory.lock();
        state.registrations.retain(|known| !known.is(&registration.tenant_id, &registration.client_id));
        state.registrations.push(registration);
    }

    /// The public half of the signing key, SPKI as PEM (`BEGIN PUBLIC KEY`).
    pub fn public_key_pem(&self) -> String {
        self.directory.key.public_pem.clone()
    }

    /// The `kid` of every token's header.
    pub fn key_id(&self) -> String {
        self.directory.key.id.clone()
    }

    /// What a mail server needs to trust these tokens.
    pub fn verifier(&self) -> TokenVerifier {
        self.directory.key.verifier()
    }

    /// Token requests received so far, whatever became of them. One counts when it has been read whole.
    pub fn requests(&self) -> u64 {
        *self.directory.requests.borrow()
    }

    /// Waits until so many token requests have been received.
    pub async fn requests_reach(&self, count: u64) {
        let mut requests = self.directory.requests.subscribe();
        requests.wait_for(|received| *received >= count).await.expect("the sender is ours");
    }

    /// Sets or takes away what goes wrong.
    pub fn set_fault(&self, fault: Option<EntraFault>) {
        self.directory.lock().fault = fault;
    }

    /// How long tokens live that are issued from now on. 3,599 seconds unless told.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.directory.lock().lifetime = lifetime;
    }

    /// The decoded form of the last token request.
    pub fn last_request(&self) -> Option<HashMap<String, String>> {
        self.directory.lock().last_request.clone()
    }

    /// Signs any claims: expired ones, another audience, nobody's object.
    pub fn mint(&self, claims: Value) -> String {
        self.directory.key.sign(&claims)
    }

    /// The claims that an application's next token for Exchange would carry: to be bent, then [`mint`](Self::mint)ed.
    pub fn claims(&self, registration: &Registration) -> Value {
        let lifetime = self.directory.lock().lifetime;
        claims(registration, AUDIENCES[0], lifetime)
    }
}

impl Drop for Entra {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Registration {
    /// One application with one secret and the roles for IMAP, POP3 and SMTP.
    pub fn example() -> Self {
        Self {
            tenant_id: "9f0c3a1e-5b7d-4c28-8e46-1d2a7b90c5f3".to_owned(),
            client_id: "4b1d6f70-92c8-4e35-a7d4-c86e05b3f219".to_owned(),
            object_id: "d27e58c4-0a91-4f6b-b3e8-75c41f9a6d02".to_owned(),
            secrets: vec!["simulated-client-secret-value".to_owned()],
            roles: ["IMAP.AccessAsApp", "POP.AccessAsApp", "SMTP.SendAsApp"].map(str::to_owned).into(),
        }
    }

    fn is(&self, tenant_id: &str, client_id: &str) -> bool {
        self.tenant_id.eq_ignore_ascii_case(tenant_id) && self.client_id.eq_ignore_ascii_case(client_id)
    }
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration")
            .field("tenant_id", &self.tenant_id)
            .field("client_id", &self.client_id)
            .field("object_id", &self.object_id)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

struct Directory {
    key: SigningKey,
    state: Mutex<State>,
    requests: watch::Sender<u64>,
    authority: String,
}

#[derive(Default)]
struct State {
    registrations: Vec<Registration>,
    fault: Option<EntraFault>,
    lifetime: Duration,
    last_request: Option<HashMap<String, String>>,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Directory {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides as Entra does, without regard to faults.
    fn grant(&self, tenant: &str, form: &HashMap<String, String>) -> Result<Grant, Refusal> {
        let state = self.lock();
        let field = |name: &str| {
            let value = form.get(name).map(String::as_str).filter(|value| !value.is_empty());
            value.ok_or_else(|| Refusal::new(900_144, name))
        };
        if ["common", "organizations", "consumers"].contains(&tenant) {
            return Err(Refusal::new(9_001_023, tenant));
        }
        if !state.registrations.iter().any(|known| known.tenant_id.eq_ignore_ascii_case(tenant)) {
            let code = if is_guid(tenant) || tenant.contains('.') { 90_002 } else { 900_023 };
            return Err(Refusal::new(code, tenant));
        }
        let grant_type = field("grant_type")?;
        if grant_type != "client_credentials" {
            return Err(Refusal::new(70_003, grant_type));
        }
        let client_id = field("client_id")?;
        let scope = field("scope")?;
        let Some(registration) = state.registrations.iter().find(|known| known.is(tenant, client_id)) else {
            return Err(Refusal::new(700_016, client_id));
        };
        if form.contains_key("client_assertion") {
            // No certificate is ever uploaded here.
            return Err(Refusal::new(700_027, client_id));
        }
        let secret = field("client_secret").map_err(|_| Refusal::new(7_000_216, client_id))?;
        if !registration.secrets.iter().any(|known| known == secret) {
            return Err(Refusal::new(7_000_215, client_id));
        }
        let audience = audience(scope)?;
        Ok(Grant { claims: claims(registration, audience, state.lifetime), lifetime: state.lifetime })
    }
}

struct Grant {
    claims: Value,
    lifetime: Duration,
}

/// `https://outlook.office365.com/.default` to `https://outlook.office365.com`.
fn audience(scope: &str) -> Result<&str, Refusal> {
    if scope.contains(' ') {
        return Err(Refusal::new(70_011, scope));
    }
    let resource = scope.strip_suffix("/.default").ok_or_else(|| Refusal::new(1_002_012, scope))?;
    // `https://resource//.default` is the documented form for a resource whose name ends in a slash.
    let resource = resource.strip_suffix('/').unwrap_or(resource);
    if AUDIENCES.contains(&resource) || resource == GRAPH {
        return Ok(resource);
    }
    Err(Refusal::new(500_011, resource))
}

/// The claims of an app-only token, as many and as long as in real ones.
fn claims(registration: &Registration, audience: &str, lifetime: Duration) -> Value {
    let now = clock::now();
    let Registration { tenant_id, client_id, object_id, roles, .. } = registration;
    let mut claims = json!({
        "aud": audience,
        "iss": format!("https://sts.windows.net/{tenant_id}/"),
        // Five minutes back, against clocks that are slow.
        "iat": now - 300,
        "nbf": now - 300,
        "exp": now + lifetime.as_secs(),
        "aio": random::base64url::<45>(),
        "app_displayname": "xoauth2-proxy",
        "appid": client_id,
        "appidacr": "1",
        "azp": client_id,
        "azpacr": "1",
        "idp": format!("https://sts.windows.net/{tenant_id}/"),
        "idtyp": "app",
        "oid": object_id,
        "rh": format!("1.{}.", random::base64url::<34>()),
        "sid": random::guid(),
        "sub": object_id,
        "tid": tenant_id,
        "uti": random::base64url::<16>(),
        "ver": "1.0",
        "wids": ["0997a1d0-0d1d-4acb-b408-d5ca73121e90"],
        "xms_ftd": random::base64url::<48>(),
        "xms_idrel": "7 16",
        "xms_rd": random::base64url::<48>(),
        "xms_sub_fct": "3 9",
    });
    // Absent rather than empty when the application holds none. Graph's roles are none of ours.
    if audience != GRAPH && !roles.is_empty() {
        claims["roles"] = json!(roles);
    }
    claims
}

async fn serve(listener: Listener, acceptor: TlsAcceptor, directory: Arc<Directory>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(stream) => drop(connections.spawn(connection(stream, acceptor.clone(), directory.clone()))),
                // Out of descriptors: some will be closed.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: tokio::net::TcpStream, acceptor: TlsAcceptor, directory: Arc<Directory>) {
    let (socket, reset) = Socket::new(stream);
    let Ok(stream) = acceptor.accept(socket).await else { return };
    let service = hyper::service::service_fn(move |request| answer(request, directory.clone(), reset.clone()));
    // An error here is a client that went away, or a fault that was asked for.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(request: Request<Incoming>, directory: Arc<Directory>, reset: Reset) -> io::Result<Response<Reply>> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (request.method(), segments.as_slice()) {
        (&Method::POST, [tenant, "oauth2", "v2.0", "token"]) => token(tenant, request, &directory, &reset).await,
        (method, [_, "oauth2", "v2.0", "token"]) => Ok(refuse(&Refusal::new(900_561, method.as_str()))),
        (&Method::GET, [tenant, "v2.0", ".well-known", "openid-configuration"]) => {
            Ok(reply(200, &configuration(&directory.authority, tenant)))
        }
        (&Method::GET, [tenant, "discovery", "v2.0", "keys"]) => {
            let issuer = format!("https://sts.windows.net/{tenant}/");
            Ok(reply(200, &json!({ "keys": [directory.key.jwk(&issuer)] })))
        }
        _ => Ok(raw(404, "text/html", Reply::default())),
    }
}

async fn token(
    tenant: &str,
    request: Request<Incoming>,
    directory: &Directory,
    reset: &Reset,
) -> io::Result<Response<Reply>> {
    let is_form = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded"));
    let body = Limited::new(request.into_body(), LONGEST_REQUEST).collect().await.map_err(io::Error::other)?.to_bytes();
    let form = if is_form { decode_form(&body) } else { HashMap::new() };
    let fault = {
        let mut state = directory.lock();
        state.last_request = Some(form.clone());
        state.fault.clone()
    };
    directory.requests.send_modify(|count| *count += 1);
    match fault {
        None => Ok(issue(directory, tenant, &form)),
        Some(fault) => faulty(fault, directory, tenant, &form, reset).await,
    }
}

async fn faulty(
    fault: EntraFault,
    directory: &Directory,
    tenant: &str,
    form: &HashMap<String, String>,
    reset: &Reset,
) -> io::Result<Response<Reply>> {
    Ok(match fault {
        EntraFault::Aadsts(code) => {
            let client_id = form.get("client_id").map_or("", String::as_str);
            refuse(&Refusal::new(code, if matches!(code, 90_002 | 900_023) { tenant } else { client_id }))
        }
        EntraFault::Status { status, retry_after } => {
            let mut response = raw(status, "text/html", Reply::default());
            if let Some(value) = retry_after.and_then(|value| HeaderValue::try_from(value).ok()) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
            response
        }
        EntraFault::Html => raw(200, "text/html; charset=utf-8", Reply::whole(PAGE)),
        EntraFault::Empty => raw(200, JSON, Reply::default()),
        EntraFault::Truncated => truncated(issue(directory, tenant, form)),
        EntraFault::WrongContentType => {
            let mut response = issue(directory, tenant, form);
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
            response
        }
        EntraFault::Oversized => raw(200, JSON, Reply::oversized()),
        EntraFault::Redirect(target) => {
            let mut response = raw(307, "text/html", Reply::default());
            if let Ok(value) = HeaderValue::try_from(target) {
                response.headers_mut().insert(header::LOCATION, value);
            }
            response
        }
        EntraFault::ExpiresIn(value) => match directory.grant(tenant, form) {
            Ok(grant) => granted(directory, &grant, &value),
            Err(refusal) => refuse(&refusal),
        },
        EntraFault::Hang => std::future::pending().await,
        EntraFault::Delay(time) => {
            tokio::time::sleep(time).await;
            issue(directory, tenant, form)
        }
        EntraFault::Reset => {
            reset.arm();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    })
}

fn issue(directory: &Directory, tenant: &str, form: &HashMap<String, String>) -> Response<Reply> {
    match directory.grant(tenant, form) {
        Ok(grant) => granted(directory, &grant, &json!(grant.lifetime.as_secs())),
        Err(refusal) => refuse(&refusal),
    }
}

fn granted(directory: &Directory, grant: &Grant, expires_in: &Value) -> Response<Reply> {
    let body = json!({
        "token_type": "Bearer",
        "expires_in": expires_in,
        "ext_expires_in": expires_in,
        "access_token": directory.key.sign(&grant.claims),
    });
    reply(200, &body)
}

fn refuse(refusal: &Refusal) -> Response<Reply> {
    reply(refusal.status(), &refusal.body(&random::guid()))
}

fn reply(status: u16, body: &Value) -> Response<Reply> {
    raw(status, JSON, Reply::whole(body.to_string()))
}

/// Every answer bears the headers of Entra's front end; hyper adds `Date`.
fn raw(status: u16, kind: &'static str, body: Reply) -> Response<Reply> {
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-cache"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::EXPIRES, HeaderValue::from_static("-1"));
    headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000; includeSubDomains"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::try_from(random::guid()) {
        headers.insert("x-ms-request-id", id);
    }
    response
}

/// The same headers, half of the body.
fn truncated(whole: Response<Reply>) -> Response<Reply> {
    let (mut parts, body) = whole.into_parts();
    let text = body.chunk;
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    let half = Reply { chunk: text.slice(..text.len() / 2), times: 1, ending: Ending::FlushAndAbort };
    Response::from_parts(parts, half)
}

/// OpenID Connect Discovery 1.0, what of it concerns the client credentials.
fn configuration(authority: &str, tenant: &str) -> Value {
    json!({
        "token_endpoint": format!("{authority}/{tenant}/oauth2/v2.0/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "jwks_uri": format!("{authority}/{tenant}/discovery/v2.0/keys"),
        "issuer": format!("https://sts.windows.net/{tenant}/"),
        "authorization_endpoint": format!("{authority}/{tenant}/oauth2/v2.0/authorize"),
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
    })
}

/// A response's body: one chunk, perhaps repeated, that ends well or not.
#[derive(Default)]
struct Reply {
    chunk: Bytes,
    times: usize,
    ending: Ending,
}

#[derive(Default, PartialEq, Eq)]
enum Ending {
    #[default]
    Whole,
    FlushAndAbort,
    Abort,
}

impl Reply {
    fn whole(text: impl Into<Bytes>) -> Self {
        Self { chunk: text.into(), times: 1, ending: Ending::Whole }
    }

    fn oversized() -> Self {
        let mut chunk = br#"{"token_type":"Bearer","expires_in":3599,"access_token":""#.to_vec();
        chunk.resize(64 << 10, b'A');
        Self { chunk: chunk.into(), times: 1024, ending: Ending::Whole }
    }
}

impl hyper::body::Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.times > 0 {
            self.times -= 1;
            return Poll::Ready(Some(Ok(Frame::data(self.chunk.clone()))));
        }
        match self.ending {
            Ending::Whole => Poll::Ready(None),
            // hyper writes what it has while it waits for more.
            Ending::FlushAndAbort => {
                self.ending = Ending::Abort;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Ending::Abort => Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.times == 0 && self.ending == Ending::Whole
    }

    fn size_hint(&self) -> SizeHint {
        match self.ending {
            Ending::Whole => SizeHint::with_exact((self.chunk.len() * self.times) as u64),
            Ending::FlushAndAbort | Ending::Abort => SizeHint::default(),
        }
    }
}

/// WHATWG URL, `application/x-www-form-urlencoded` parsing. Of a repeated name, the last value counts.
fn decode_form(body: &[u8]) -> HashMap<String, String> {
    let pairs = body.split(|octet| *octet == b'&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let end = pair.iter().position(|octet| *octet == b'=').unwrap_or(pair.len());
            (decode_component(&pair[..end]), decode_component(pair.get(end + 1..).unwrap_or_default()))
        })
        .collect()
}

fn decode_component(text: &[u8]) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        octets.push(match first {
            b'+' => b' ',
            b'%' => match tail.get(..2).and_then(hex_octet) {
                Some(octet) => {
                    rest = &tail[2..];
                    octet
                }
                None => b'%',
            },
            other => *other,
        });
    }
    String::from_utf8_lossy(&octets).into_owned()
}

fn hex_octet(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?;
    u8::from_str_radix(text, 16).ok()
}

fn is_guid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, octet)| match at {
            8 | 13 | 18 | 23 => octet == b'-',
            _ => octet.is_ascii_hexdigit(),
        })
}

const DEFAULT_LIFETIME: Duration = Duration::from_secs(3599);

/// A request holds at most an assertion of a few KB.
const LONGEST_REQUEST: usize = 256 << 10;

const GRAPH: &str = "https://graph.microsoft.com";

const JSON: &str = "application/json; charset=utf-8";

const PAGE: &str = "<!DOCTYPE html><html><head><title>Sign in to the network</title></head><body><form action=\"/login\">\
                    <p>Please accept the terms of use.</p></form></body></html>\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_decoded() {
        let form = decode_form(b"scope=https%3A%2F%2Foutlook.office365.com%2F.default&client_secret=a+b%2Bc%zz&x&=y");
        assert_eq!(form["scope"], "https://outlook.office365.com/.default");
        assert_eq!(form["client_secret"], "a b+c%zz");
        assert_eq!(form["x"], "");
    }

    #[test]
    fn scopes_are_told_apart() {
        let code = |scope| audience(scope).map_err(|refusal| refusal.code);
        assert_eq!(code("https://outlook.office365.com/.default"), Ok("https://outlook.office365.com"));
        assert_eq!(code("https://graph.microsoft.com/.default"), Ok(GRAPH));
        assert_eq!(code("https://outlook.office365.com/IMAP.AccessAsApp"), Err(1_002_012));
        assert_eq!(code("https://outlook.offce365.com/.default"), Err(500_011));
        assert_eq!(code("https://outlook.office365.com/.default offline_access"), Err(70_011));
    }

    #[test]
    fn a_secret_is_not_formatted() {
        let registration = Registration::example();
        assert!(!format!("{registration:?}").contains(&registration.secrets[0]));
    }
}
