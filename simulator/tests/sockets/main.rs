//! Both servers as their clients see them: real sockets, real TLS, nothing but what is on the wire.

#![expect(clippy::unwrap_used, reason = "the helpers of tests may panic as tests may")]

mod common;
mod entra;
mod imap;
mod pop3;
mod smtp;
