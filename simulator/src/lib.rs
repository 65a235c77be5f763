//! Exchange Online (IMAP, POP3 and SMTP submission) and Microsoft Entra ID in memory, with their faults as switches.
//!
//! Both listen on real sockets with real TLS, speak with the texts of the real services, and live as long as the value
//! that was started. Nothing is persisted. Every answer that the real services are known to give is given as they give
//! it; where nothing is known, the answer is the plainest that the protocol's RFC allows, and its place says so.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use simulator::{Entra, Exchange, FrontEnd, Registration, ServerTls, TestCa, sample_messages};
//!
//! let ca = TestCa::new();
//! let entra = Entra::start(&ca).await?;
//! let app = Registration::example();
//! let exchange = Exchange::start(&ca, entra.verifier(), FrontEnd::TcpProxy, ServerTls::Implicit).await?;
//! exchange.add_mailbox("alice@example.com", sample_messages());
//! exchange.grant(&app.object_id, "alice@example.com");
//! entra.register(app);
//! # Ok(())
//! # }
//! ```

mod aadsts;
mod ca;
mod clock;
mod entra;
mod exchange;
mod imap;
mod mailbox;
mod mime;
mod pop3;
mod random;
mod samples;
mod smtp;
mod socket;
mod token;
mod wire;

pub use ca::{Issued, TestCa};
pub use entra::{Entra, EntraFault, Registration};
pub use exchange::{Exchange, ExchangeFault, FrontEnd, SentMessage, ServerTls};
pub use samples::{sample_message, sample_messages};
pub use token::{Protocol, TokenVerifier};
