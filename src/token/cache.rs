//! When is the identity provider asked? Once for all who wait, ahead of the token's end, and not again right after it
//! has refused.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tracing::{Instrument as _, debug, info, warn};

use super::{AccessToken, TokenError};

/// Fetches one token.
pub(super) trait Fetch: Send + Sync {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<AccessToken, TokenError>> + Send + '_>>;
}

/// The tokens of one application: one at a time, shared by all its mailboxes.
pub struct TokenSource {
    shared: Arc<Shared>,
}

struct Shared {
    app: String,
    fetch: Box<dyn Fetch>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<Arc<AccessToken>>,
    /// The request under way; its result goes to all who wait.
    flight: Option<watch::Receiver<Option<Outcome>>>,
    /// The last permanent refusal, and when it came.
    refused: Option<(Instant, TokenError)>,
    /// When a token was last dropped because the mail server refused it.
    dropped: Option<Instant>,
}

type Outcome = Result<Arc<AccessToken>, TokenError>;

/// A token, and whether it was there before it was asked for.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The token.
    pub token: Arc<AccessToken>,
    /// From the cache: if the mail server refuses it, a new one may be better.
    pub cached: bool,
}

impl TokenSource {
    pub(super) fn new(app: String, fetch: Box<dyn Fetch>) -> Self {
        Self { shared: Arc::new(Shared { app, fetch, state: Mutex::default() }) }
    }

    /// A valid token: the kept one, or if there is none, the one that a request under way brings. A token that nears its
    /// end is renewed in the background and handed out as long as it holds. Who stops waiting stops nothing.
    ///
    /// # Errors
    /// What the identity provider said; its permanent refusals are remembered for [`REFUSAL_HOLDS`].
    pub async fn token(&self) -> Result<Taken, TokenError> {
        let mut flight = {
            let mut state = self.shared.lock();
            let remaining = state.token.as_ref().map_or(Duration::ZERO, |token| token.remaining(SystemTime::now()));
            let refused =
                state.refused.as_ref().filter(|(at, _)| at.elapsed() < REFUSAL_HOLDS).map(|(_, why)| why.clone());
            if let Some(token) = state.token.clone().filter(|_| remaining > UNUSABLE_BELOW) {
                if remaining < RENEW_BELOW && refused.is_none() {
                    self.shared.flight(&mut state);
                }
                return Ok(Taken { token, cached: true });
            }
            if let Some(why) = refused {
                return Err(why);
            }
            self.shared.flight(&mut state)
        };
        let outcome = flight.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        // The request's task can only end without an outcome when the runtime is being shut down.
        let gone = || Err(TokenError::Unavailable { reason: "the request was abandoned".into() });
        outcome.unwrap_or_else(gone).map(|token| Taken { token, cached: false })
    }

    /// The mail server refused this token. Answers whether another one may be had: it is dropped, unless a newer one is
    /// there already, or one was dropped less than [`DROP_INTERVAL`] ago: a mailbox that is never granted must not make
    /// every login of every mailbox a request to the identity provider.
    pub fn refused_by_mail_server(&self, token: &Arc<AccessToken>) -> bool {
        let mut state = self.shared.lock();
        match &state.token {
            Some(kept) if Arc::ptr_eq(kept, token) => {
                if state.dropped.is_some_and(|at| at.elapsed() < DROP_INTERVAL) {
                    return false;
                }
                debug!(app = self.shared.app, "the mail server refused the cached token: dropping it");
                state.token = None;
                state.dropped = Some(Instant::now());
                true
            }
            _ => true,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the request under way, or begins one in a task of its own.
    fn flight(self: &Arc<Self>, state: &mut State) -> watch::Receiver<Option<Outcome>> {
        if let Some(flight) = &state.flight {
            return flight.clone();
        }
        let (landing, flight) = watch::channel(None);
        state.flight = Some(flight.clone());
        let shared = Arc::clone(self);
        let request = async move {
            let outcome = shared.fetch.fetch().await.map(Arc::new);
            let still_holds = {
                let mut state = shared.lock();
                let remaining = state.token.as_ref().map(|token| token.remaining(SystemTime::now()));
                state.flight = None;
                match &outcome {
                    Ok(token) => {
                        state.token = Some(Arc::clone(token));
                        state.refused = None;
                    }
                    Err(why) if !why.is_temporary() => state.refused = Some((Instant::now(), why.clone())),
                    Err(_) => {}
                }
                remaining.unwrap_or_default()
            };
            match &outcome {
                Ok(token) => {
                    info!(app = shared.app, seconds = token.remaining(SystemTime::now()).as_secs(), "token fetched");
                }
                // No login has failed yet, so no other line says it.
                Err(why) if still_holds > UNUSABLE_BELOW => {
                    warn!(app = shared.app, seconds = still_holds.as_secs(), error = %why, "token not renewed");
                }
                Err(why) => debug!(app = shared.app, error = %why, "no token"),
            }
            landing.send_replace(Some(outcome));
        };
        // Whoever asked first is not the only one it is for: its session's span is left behind.
        tokio::spawn(request.instrument(tracing::Span::none()));
        flight
    }
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenSource").field("app", &self.shared.app).finish_non_exhaustive()
    }
}

/// A token with less than this left is renewed: some of Microsoft's servers refuse tokens near their end.
pub const RENEW_BELOW: Duration = Duration::from_secs(10 * 60);

/// A token with less than this left may expire before the mail server reads it.
const UNUSABLE_BELOW: Duration = Duration::from_secs(10);

/// A permanent refusal is repeated to all who ask for this long: clients poll, and Entra answers loops with AADSTS50196.
pub const REFUSAL_HOLDS: Duration = Duration::from_secs(60);

/// Tokens are not dropped more often than this because a mail server refused one.
pub const DROP_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::{Duration, SystemTime};

    use tokio::sync::Semaphore;

    use super::{AccessToken, Fetch, TokenError, TokenSource};

    /// Lets one request through for each permit; answers them from the list, then with tokens of an hour.
    struct Script {
        requests: Arc<AtomicUsize>,
        gate: Arc<Semaphore>,
        answers: Mutex<Vec<Result<u64, TokenError>>>,
    }

    impl Fetch for Script {
        fn fetch(&self) -> std::pin::Pin<Box<dyn Future<Output = Result<AccessToken, TokenError>> + Send + '_>> {
            Box::pin(async {
                let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
                self.gate.acquire().await.expect("never closed").forget();
                let lifetime = self.answers.lock().expect("no panic").pop().unwrap_or(Ok(3600))?;
                let expires = SystemTime::now() + Duration::from_secs(lifetime);
                Ok(AccessToken::new(format!("token-{number}"), expires).expect("well-formed"))
            })
        }
    }

    fn source(answers: Vec<Result<u64, TokenError>>) -> (Arc<TokenSource>, Arc<AtomicUsize>, Arc<Semaphore>) {
        let (requests, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let script = Script { requests: Arc::clone(&requests), gate: Arc::clone(&gate), answers: Mutex::new(answers) };
        (Arc::new(TokenSource::new("contoso".into(), Box::new(script))), requests, gate)
    }

    async fn value(source: &TokenSource) -> (String, bool) {
        let taken = source.token().await.expect("a token");
        (taken.token.value().expose().clone(), taken.cached)
    }

    #[tokio::test]
    async fn f33_twenty_at_once_make_one_request_and_who_leaves_stops_nothing() {
        let (source, requests, gate) = source(vec![]);
        let mut waiters = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let source = Arc::clone(&source);
            waiters.spawn(async move { value(&source).await });
        }
        let impatient = tokio::spawn({
            let source = Arc::clone(&source);
            async move { value(&source).await }
        });
        tokio::task::yield_now().await;
        impatient.abort();
        gate.add_permits(1);
        while let Some(outcome) = waiters.join_next().await {
            assert_eq!(outcome.expect("no panic"), ("token-1".to_owned(), false));
        }
        assert_eq!(value(&source).await, ("token-1".to_owned(), true));
        assert_eq!(requests.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn renewed_ahead_of_its_end_while_the_old_one_serves() {
        let (source, requests, gate) = source(vec![Ok(300)]);
        gate.add_permits(1);
        assert_eq!(value(&source).await.0, "token-1");
        assert_eq!(value(&source).await, ("token-1".to_owned(), true), "it holds for five more minutes");
        let mut flight = source.shared.lock().flight.clone().expect("a renewal is under way");
        gate.add_permits(1);
        flight.wait_for(Option::is_some).await.expect("it lands");
        assert_eq!(value(&source).await, ("token-2".to_owned(), true));
        assert_eq!(requests.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_permanent_refusal_is_remembered_and_a_passing_one_is_not() {
        let rejected =
            TokenError::Rejected { description: "AADSTS7000215".into(), correlation_id: "c".into(), remedy: None };
        let unavailable = TokenError::Unavailable { reason: "503".into() };
        let (source, requests, gate) = source(vec![Err(rejected.clone()), Err(unavailable.clone())]);
        gate.add_permits(9);
        assert_eq!(source.token().await.expect_err("down"), unavailable);
        assert_eq!(source.token().await.expect_err("refused"), rejected);
        assert_eq!(source.token().await.expect_err("still refused"), rejected);
        assert_eq!(requests.load(Ordering::SeqCst), 2, "the refusal was not asked for again");
    }

    #[tokio::test]
    async fn a_token_that_the_mail_server_refused_is_dropped_once_a_while() {
        let (source, requests, gate) = source(vec![]);
        gate.add_permits(9);
        let first = source.token().await.expect("a token").token;
        assert!(source.refused_by_mail_server(&first));
        assert!(source.refused_by_mail_server(&first), "another login had the same one: a newer one is to be had");
        let second = source.token().await.expect("a token").token;
        assert_eq!(second.value().expose(), "token-2");
        assert!(!source.refused_by_mail_server(&second), "not twice in a minute");
        assert_eq!(value(&source).await, ("token-2".to_owned(), true));
        assert_eq!(requests.load(Ordering::SeqCst), 2);
    }
}
