//! What is to run? From what was written, in `proxy.toml` and in the environment, to a [`Config`] that is complete and
//! checked: what can be built cannot be wrong any more.

mod reader;
mod tree;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;
use rustls::ClientConfig;

use crate::profiles::Profile;
use crate::protocol::Protocol;
use crate::tls::Certificate;
use crate::token::entra::Application;
use crate::transport::Upstream;

pub use tree::{Fault, PREFIX, Place, Sources, is_key};

use reader::Reader;
use tree::Tree;

/// Everything that runs, complete and checked. Only [`Config::load`] makes one.
#[derive(Debug)]
pub struct Config {
    /// The applications.
    pub apps: Vec<App>,
    /// Who may come in.
    pub profiles: Vec<Profile>,
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// The mail servers, one for each protocol.
    pub upstreams: BTreeMap<Protocol, MailServer>,
}

/// An application, and whom its requests trust.
#[derive(Debug)]
pub struct App {
    /// What a token is asked with.
    pub application: Application,
    /// Whom the token endpoint is trusted by.
    pub tls: Arc<ClientConfig>,
}

/// A listener.
#[derive(Debug)]
pub struct Listener {
    /// Its key in the configuration.
    pub name: String,
    /// What its clients speak.
    pub protocol: Protocol,
    /// What it binds.
    pub addresses: Vec<ListenAddress>,
    /// How its clients' connections are secured.
    pub tls: ListenerTls,
    /// Who is let in without a login.
    pub trusted: Vec<Trusted>,
}

/// A network whose clients are let in without a login, and the profile that they then are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// One address, or several.
    pub network: IpNet,
    /// By its key in the configuration. It has a mailbox of its own.
    pub profile: String,
}

/// An address to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// Address and port; port 0 is any.
    pub address: SocketAddr,
    /// Whether the proxy starts without it, if the machine does not have it: the default `::1`, where IPv6 is off.
    pub optional: bool,
}

/// How clients' connections are secured, and with which certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenerTls {
    /// Not at all.
    None,
    /// By STARTTLS or STLS, before login.
    StartTls(Certificate),
    /// From the first byte on.
    Implicit(Certificate),
}

/// A mail server, and what clients are told of it before login.
#[derive(Clone, Debug)]
pub struct MailServer {
    /// How it is reached.
    pub upstream: Upstream,
    /// Its capabilities after login.
    pub capabilities: Vec<String>,
}

impl Config {
    /// Reads, merges and checks. The same for `check` and `run`.
    ///
    /// # Errors
    /// Every fault there is, in the order of the file.
    pub fn load(sources: &Sources) -> Result<Self, Vec<Fault>> {
        let tree = Tree::read(sources)?;
        let config = Reader { tree: &tree, environment: &sources.environment }.config();
        let faults = tree.into_faults();
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            _ => Err(faults),
        }
    }
}

#[cfg(test)]
mod tests;
