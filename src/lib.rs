//! `xoauth2-proxy` lets programs that only know user names and passwords read and send mail with Microsoft 365. They connect here
//! and log in as ever; the proxy checks that password itself, fetches an app-only OAuth 2.0 token, opens the mailbox with
//! SASL XOAUTH2, and carries every other byte unchanged.
//!
//! ```text
//!  legacy client          listener        accepts
//!       | bytes               |
//!       v                     v
//!  client dialogue        protocol        pure: lines in, replies out, until a Credential is shown
//!       | Credential          |
//!       v                     v
//!  profiles               who may come in: Credential -> mailbox and app, or no entry
//!       |
//!       +----------> token        one access token per app, kept, single flight, renewed ahead
//!       +----------> transport    dials the upstream, TLS                   (both at once)
//!       v                     v
//!  upstream dialogue      protocol        pure: greeting, XOAUTH2, verdict
//!       | Accepted            |
//!       v                     v
//!  relay                  residual bytes first, then both ways unseen, until both are closed
//! ```
//!
//! [`session`] drives one connection down this way. [`app`] puts the program together from a [`config`]; [`cli`] is what a
//! person types. `docs/architecture.md` says why it is so.

pub mod app;
pub mod cli;
pub mod config;
#[cfg(feature = "demo")]
mod demo;
#[doc(hidden)]
pub mod fuzzing;
pub mod listener;
pub mod observe;
mod platform;
mod printable;
pub mod profiles;
pub mod protocol;
pub mod relay;
mod remedy;
pub mod secret;
pub mod session;
pub mod tls;
pub mod token;
pub mod transport;
