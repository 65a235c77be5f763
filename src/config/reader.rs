//! How does what was written become what runs? Table by table: defaults filled in, every key checked, and every fault
//! noted with the remedy.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcetera::BaseStrategy as _;
use ipnet::IpNet;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::profiles::{HashedPassword, Password, Profile, UsernamePattern};
use crate::protocol::{Mailbox, Protocol, Username};
use crate::secret::Secret;
use crate::tls::{self, Certificate};
use crate::token::TokenError;
use crate::token::entra::{Application, ClientSecret};
use crate::transport::Upstream;

use super::tree::{Table, Tree, nearest};
use super::{App, Config, ListenAddress, Listener, ListenerTls, MailServer, Trusted};

/// Reads a tree.
pub(super) struct Reader<'a> {
    pub(super) tree: &'a Tree,
    /// For `client_secret_env` and `password_env`.
    pub(super) environment: &'a HashMap<String, String>,
}

#[derive(Clone, Copy)]
enum TlsMode {
    None,
    StartTls,
    Implicit,
}

impl Reader<'_> {
    /// The whole; `None` where so much is wrong that there is none. Where a fault was noted it is of no use either.
    pub(super) fn config(&self) -> Option<Config> {
        let mut root = self.tree.root();
        let state_dir = root.path("state_dir");
        // Every part is read to its end, whatever was wrong with the one before.
        let app_tables = root.named_tables("apps");
        let app_names: Vec<String> = app_tables.iter().map(|(name, _)| name.clone()).collect();
        let apps: Vec<_> = app_tables.into_iter().filter_map(|(name, table)| self.app(name, table)).collect();
        let profile_tables = root.named_tables("profiles");
        if profile_tables.is_empty() {
            self.tree.fault(
                "profiles",
                "there is no profile, so nobody could log in: write [profiles.NAME] with mailbox and password_hash",
            );
        }
        let profile_names: Vec<String> = profile_tables.iter().map(|(name, _)| name.clone()).collect();
        let profiles: Vec<_> =
            profile_tables.into_iter().filter_map(|(name, table)| self.profile(name, table, &app_names)).collect();
        if app_names.is_empty() {
            self.tree.fault("apps", "there is no app, so no token could be had: write [apps.NAME] with tenant_id, client_id and client_secret_file");
        }
        self.check_usernames(&profiles);
        let listeners = self.listeners(&mut root, state_dir.as_deref(), &profiles, &profile_names);
        let upstreams = self.upstreams(&mut root);
        root.finish();
        Some(Config { apps, profiles, listeners, upstreams: upstreams? })
    }

    fn app(&self, name: String, mut table: Table<'_>) -> Option<App> {
        let tenant_id = table.text("tenant_id");
        let client_id = table.text("client_id");
        let client_secret = self.client_secret(&mut table);
        let authority = self.url(&mut table, "authority");
        let token_endpoint = self.url(&mut table, "token_endpoint");
        let scope = table.text("scope").unwrap_or_else(|| EXCHANGE_SCOPE.to_owned());
        let tls = self.trust(&mut table);
        if client_id.is_none() && !table.has_fault("client_id") {
            table.table_fault("client_id is missing: the Application (client) ID of the app registration");
        }
        if token_endpoint.is_some() {
            for (key, set) in [("tenant_id", tenant_id.is_some()), ("authority", authority.is_some())] {
                if set {
                    table.fault(key, "is of no use beside token_endpoint");
                }
            }
        }
        let token_endpoint = match (token_endpoint, &tenant_id) {
            (Some(endpoint), _) => Some(endpoint),
            (None, Some(tenant)) if ["common", "organizations", "consumers"].contains(&tenant.as_str()) => {
                table.fault(
                    "tenant_id",
                    "has to be the tenant's own id or domain: an application without a user belongs to one tenant",
                );
                None
            }
            (None, Some(tenant)) if !tenant.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)) => {
                table.fault(
                    "tenant_id",
                    "is neither a GUID nor a domain: the Directory (tenant) ID of the app registration",
                );
                None
            }
            (None, Some(tenant)) => {
                let authority = authority.as_deref().unwrap_or(ENTRA_AUTHORITY).trim_end_matches('/');
                Some(format!("{authority}/{tenant}/oauth2/v2.0/token"))
            }
            (None, None) => {
                if !table.has_fault("tenant_id") {
                    table.table_fault("tenant_id is missing: the Directory (tenant) ID of the app registration");
                }
                None
            }
        };
        table.finish();
        let application = Application {
            name,
            token_endpoint: token_endpoint?,
            client_id: client_id?,
            client_secret: client_secret?,
            scope,
        };
        Some(App { application, tls: tls? })
    }

    fn client_secret(&self, table: &mut Table<'_>) -> Option<ClientSecret> {
        let given =
            table.text("client_secret").map(|secret| ("client_secret", ClientSecret::Given(Secret::new(secret))));
        let file = table.path("client_secret_file").map(|path| ("client_secret_file", ClientSecret::File(path)));
        let variable = table.text("client_secret_env").and_then(|name| {
            let secret = self.variable(table, "client_secret_env", &name)?;
            Some(("client_secret_env", ClientSecret::Given(secret)))
        });
        let mut found = [given, file, variable].into_iter().flatten();
        let Some((key, secret)) = found.next() else {
            if !["client_secret", "client_secret_file", "client_secret_env"].iter().any(|key| table.has_fault(key)) {
                table.table_fault("client_secret_file is missing (or client_secret_env, client_secret)");
            }
            return None;
        };
        for (other, _) in found {
            table.fault(other, format!("{key} is set as well: an app has one client secret"));
        }
        if let Err(TokenError::Credential { reason, .. }) = secret.read() {
            table.fault(key, format!("the file cannot be read: {reason}"));
        }
        Some(secret)
    }

    fn variable(&self, table: &Table<'_>, key: &str, name: &str) -> Option<Secret<String>> {
        let value = self.environment.get(name).filter(|value| !value.is_empty());
        if value.is_none() {
            // The name is not quoted: it may be the secret itself, written under the wrong key.
            table.fault(key, "there is no environment variable of that name, or it is empty or no UTF-8");
        }
        value.cloned().map(Secret::new)
    }

    /// An address that secrets are sent to: in clear it may only be this machine's.
    fn url(&self, table: &mut Table<'_>, key: &'static str) -> Option<String> {
        let text = table.text(key)?;
        let Ok(url) = reqwest::Url::parse(&text) else {
            table.fault(key, "is no URL, as https://login.microsoftonline.com");
            return None;
        };
        let loopback = match url.host_str() {
            Some("localhost" | "127.0.0.1" | "[::1]") => true,
            Some(_) => false,
            None => {
                table.fault(key, "names no host");
                return None;
            }
        };
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            table.fault(key, "holds more than host and path: it is logged, and must not hold a secret");
            return None;
        }
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            table.fault(key, "has to begin with https://, because the client secret is sent there");
            return None;
        }
        Some(text)
    }

    fn trust(&self, table: &mut Table<'_>) -> Option<Arc<ClientConfig>> {
        let ca_file = table.path("ca_file");
        if ca_file.is_none() && table.has_fault("ca_file") {
            return None;
        }
        match tls::client_config(ca_file.as_deref()) {
            Ok(config) => Some(config),
            Err(error) => {
                table.fault("ca_file", error.to_string());
                None
            }
        }
    }

    fn profile(&self, name: String, mut table: Table<'_>, apps: &[String]) -> Option<Profile> {
        let mailbox = table.text("mailbox").and_then(|text| {
            let mailbox = Mailbox::parse(&text).ok();
            if mailbox.is_none() {
                table.fault("mailbox", format!("{text:?} is no mail address"));
            }
            mailbox
        });
        let typed = table.texts("username");
        let app = self.app_of(&mut table, apps);
        let passwords = self.passwords(&mut table);
        let usernames = match (typed, &mailbox) {
            (Some(typed), _) => typed.iter().filter_map(|text| username_pattern(&table, text)).collect(),
            (None, Some(mailbox)) => {
                Username::parse(mailbox.as_str()).map(UsernamePattern::Exactly).into_iter().collect()
            }
            (None, None) => Vec::new(),
        };
        let all_domains =
            !usernames.is_empty() && usernames.iter().all(|name| matches!(name, UsernamePattern::Domain(_)));
        if mailbox.is_some() && all_domains {
            table.fault(
                "mailbox",
                "is of no use beside a username that covers a domain: each of its user names opens the mailbox of that name",
            );
        }
        let names_itself = |pattern: &UsernamePattern| match pattern {
            UsernamePattern::Exactly(name) => name.domain().is_some(),
            UsernamePattern::Domain(_) => true,
        };
        if mailbox.is_none() && !table.has_fault("mailbox") && !table.has_fault("username") {
            if usernames.is_empty() {
                table.table_fault("mailbox is missing: the address of the mailbox that is to be opened");
            } else if !usernames.iter().all(names_itself) {
                table.table_fault("mailbox is missing, and a user name here is no mail address");
            }
        }
        table.finish();
        Some(Profile { name, usernames, mailbox, app: app?, passwords })
    }

    fn app_of(&self, table: &mut Table<'_>, apps: &[String]) -> Option<String> {
        match (table.text("app"), apps) {
            (Some(app), _) if apps.contains(&app) => Some(app),
            (Some(app), _) => {
                let advice = nearest(&app, apps.iter().map(String::as_str))
                    .map(|known| format!("; did you mean {known:?}?"))
                    .unwrap_or_default();
                table.fault("app", format!("no such app {app:?}{advice}"));
                None
            }
            (None, [only]) => Some(only.clone()),
            (None, []) => None,
            (None, _) => {
                table.table_fault(format!("app is missing, and there are several: {}", apps.join(", ")));
                None
            }
        }
    }

    fn passwords(&self, table: &mut Table<'_>) -> Vec<Password> {
        let mut passwords = Vec::new();
        for hash in table.texts("password_hash").unwrap_or_default() {
            match HashedPassword::parse(&hash) {
                Ok(hash) => passwords.push(Password::Hash(hash)),
                Err(error) => {
                    table.fault("password_hash", format!("{error}; make one with: xoauth2-proxy hash-password"));
                }
            }
        }
        for path in table.paths("password_file").unwrap_or_default() {
            match read_password(&path) {
                Ok(password) => passwords.push(Password::Plain(password)),
                // Nor is the path.
                Err(reason) => table.fault("password_file", format!("the file cannot be read: {reason}")),
            }
        }
        for name in table.texts("password_env").unwrap_or_default() {
            if let Some(password) = self.variable(table, "password_env", &name) {
                passwords.push(Password::Plain(Secret::new(password.expose().clone().into_bytes())));
            }
        }
        if passwords.is_empty()
            && !["password_hash", "password_file", "password_env"].iter().any(|key| table.has_fault(key))
        {
            table.table_fault(
                "password_hash is missing (or password_file, password_env); make one with: xoauth2-proxy hash-password",
            );
        }
        passwords
    }

    fn check_usernames(&self, profiles: &[Profile]) {
        let mut owners = HashMap::new();
        for profile in profiles {
            for username in &profile.usernames {
                let owner = *owners.entry(username).or_insert(&profile.name);
                if *owner != profile.name {
                    let shown = match username {
                        UsernamePattern::Exactly(name) => name.to_string(),
                        UsernamePattern::Domain(domain) => format!("*@{domain}"),
                    };
                    let key = format!("profiles.{}", profile.name);
                    self.tree.fault(&key, format!("the user name {shown} is that of profile {owner} already"));
                }
            }
        }
    }

    /// The default listeners are there whether they are written or not.
    fn listeners(
        &self,
        root: &mut Table<'_>,
        state_dir: Option<&Path>,
        profiles: &[Profile],
        profile_names: &[String],
    ) -> Vec<Listener> {
        let mut tables: BTreeMap<String, Option<Table<'_>>> =
            Protocol::ALL.iter().map(|protocol| (protocol.name().to_owned(), None)).collect();
        for (name, table) in root.named_tables("listeners") {
            tables.insert(name, Some(table));
        }
        let listeners: Vec<_> = tables
            .into_iter()
            .filter_map(|(name, table)| {
                let trusting = |table: &mut Table<'_>, protocol| trusted(table, protocol, profiles, profile_names);
                self.listener(name, table, state_dir, trusting)
            })
            .collect();
        if listeners.is_empty() {
            self.tree.fault("listeners", "no listener is enabled, so nobody could connect");
        }
        let mut bound = HashSet::new();
        for listener in &listeners {
            for ListenAddress { address, .. } in &listener.addresses {
                let key = format!("listeners.{}.address", listener.name);
                if address.port() != 0 && !bound.insert(*address) {
                    self.tree.fault(&key, format!("{address} is written twice"));
                }
                // One address of a family covers all of them.
                let covers = |other: &&SocketAddr| {
                    let all = other.ip().is_unspecified() != address.ip().is_unspecified();
                    all && other.port() == address.port() && other.is_ipv4() == address.is_ipv4() && address.port() != 0
                };
                if let Some(other) = bound.iter().find(covers) {
                    self.tree.fault(&key, format!("{address} and {other} are in each other's way"));
                }
            }
        }
        listeners
    }

    fn listener(
        &self,
        name: String,
        table: Option<Table<'_>>,
        state_dir: Option<&Path>,
        trusting: impl Fn(&mut Table<'_>, Option<Protocol>) -> Vec<Trusted>,
    ) -> Option<Listener> {
        let default_protocol = Protocol::ALL.into_iter().find(|protocol| protocol.name() == name);
        let Some(mut table) = table else {
            let protocol = default_protocol?;
            let addresses = default_addresses(protocol);
            return Some(Listener { name, protocol, addresses, tls: ListenerTls::None, trusted: Vec::new() });
        };
        let enabled = table.flag("enabled").unwrap_or(true);
        let words = Protocol::ALL.map(|protocol| (protocol.name(), protocol));
        let protocol = table.word("protocol", &words).or(default_protocol);
        let addresses = table.addresses("address");
        let modes = [("none", TlsMode::None), ("starttls", TlsMode::StartTls), ("implicit", TlsMode::Implicit)];
        let mode = table.word("tls", &modes).unwrap_or(TlsMode::None);
        let plaintext_allowed = table.flag("allow_plaintext_on_network").unwrap_or(false);
        let trusted = trusting(&mut table, protocol);
        let certificate = self.certificate(&mut table, &name, mode, addresses.as_deref(), state_dir);
        if protocol.is_none() && !table.has_fault("protocol") {
            table.table_fault("protocol is missing: \"imap\", \"pop3\" or \"smtp\"");
        }
        if addresses.is_none() && default_protocol.is_none() && !table.has_fault("address") {
            table.table_fault("address is missing: where to listen, as \"127.0.0.1:1143\"");
        }
        if matches!(mode, TlsMode::None) && !plaintext_allowed {
            for address in addresses.iter().flatten().filter(|address| !address.ip().is_loopback()) {
                table.fault("address", format!(
                    "{address} is reached from the network, and passwords would travel in clear: set tls = \"implicit\" or \"starttls\", or write allow_plaintext_on_network = true"
                ));
            }
        }
        table.finish();
        if !enabled {
            return None;
        }
        let protocol = protocol?;
        let addresses = match addresses {
            Some(addresses) => {
                addresses.into_iter().map(|address| ListenAddress { address, optional: false }).collect()
            }
            None => default_addresses(protocol),
        };
        let tls = match mode {
            TlsMode::None => ListenerTls::None,
            TlsMode::StartTls => ListenerTls::StartTls(certificate?),
            TlsMode::Implicit => ListenerTls::Implicit(certificate?),
        };
        Some(Listener { name, protocol, addresses, tls, trusted })
    }

    fn certificate(
        &self,
        table: &mut Table<'_>,
        listener: &str,
        mode: TlsMode,
        addresses: Option<&[SocketAddr]>,
        state_dir: Option<&Path>,
    ) -> Option<Certificate> {
        let files = (table.path("certificate_file"), table.path("private_key_file"));
        let names = table.texts("certificate_names");
        match files {
            (Some(certificate), Some(private_key)) => {
                let key_path = private_key.display().to_string();
                let files = Certificate::Files { certificate, private_key };
                if let Err(error) = tls::inspect(&files) {
                    let key = if error.path() == Some(&key_path) { "private_key_file" } else { "certificate_file" };
                    table.fault(key, error.to_string());
                }
                if matches!(mode, TlsMode::None) {
                    table.fault(
                        "certificate_file",
                        "is of no use with tls = \"none\": set tls = \"implicit\" or \"starttls\"",
                    );
                }
                if names.is_some() {
                    table.fault(
                        "certificate_names",
                        "is of no use beside certificate_file: it is for the certificate that the proxy makes",
                    );
                }
                return Some(files);
            }
            (Some(_), None) => table.fault("certificate_file", "private_key_file is missing beside it"),
            (None, Some(_)) => table.fault("private_key_file", "certificate_file is missing beside it"),
            (None, None) => {}
        }
        if matches!(mode, TlsMode::None) {
            if names.is_some() {
                table.fault(
                    "certificate_names",
                    "is of no use with tls = \"none\": set tls = \"implicit\" or \"starttls\"",
                );
            }
            return None;
        }
        let names = names.unwrap_or_else(|| {
            let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
            let own = addresses.unwrap_or_default().iter().map(SocketAddr::ip);
            names.extend(own.filter(|ip| !ip.is_loopback() && !ip.is_unspecified()).map(|ip| ip.to_string()));
            names
        });
        // `localhost.` is `localhost` written out, and a certificate has it without the dot.
        let names: Vec<String> = names.iter().map(|name| name.strip_suffix('.').unwrap_or(name).to_owned()).collect();
        for name in &names {
            if ServerName::try_from(name.as_str()).is_err() {
                table.fault("certificate_names", format!("{name:?} is neither a DNS name nor an address"));
            }
        }
        let Some(directory) = state_dir.map(Path::to_owned).or_else(default_state_dir) else {
            table.table_fault("state_dir is missing: where the certificate that the proxy makes is kept");
            return None;
        };
        let own = Certificate::Own { directory, stem: format!("listener-{listener}"), names };
        if let Err(error) = tls::inspect(&own) {
            table.table_fault(error.to_string());
        }
        Some(own)
    }

    fn upstreams(&self, root: &mut Table<'_>) -> Option<BTreeMap<Protocol, MailServer>> {
        let mut table = root.table("upstreams");
        let servers: Vec<_> = Protocol::ALL
            .into_iter()
            .map(|protocol| {
                let table = table.as_mut().and_then(|table| table.table(protocol.name()));
                Some((protocol, self.upstream(protocol, table)?))
            })
            .collect();
        if let Some(table) = table {
            table.finish();
        }
        servers.into_iter().collect()
    }

    fn upstream(&self, protocol: Protocol, table: Option<Table<'_>>) -> Option<MailServer> {
        let default_address = default_upstream(protocol);
        let Some(mut table) = table else {
            let tls = tls::client_config(None);
            let tls = tls.map_err(|error| self.tree.fault("upstreams", error.to_string())).ok()?;
            let server_name = server_name(default_address)?;
            let upstream = Upstream {
                address: default_address.to_owned(),
                server_name,
                tls,
                implicit_tls: default_implicit_tls(protocol),
            };
            return Some(MailServer { upstream, capabilities: default_capabilities(protocol) });
        };
        let address = table.text("address").unwrap_or_else(|| default_address.to_owned());
        let server_name = server_name(&address);
        if server_name.is_none() {
            table.fault("address", format!("{address:?} is no host and port, as {default_address}"));
        }
        let modes = [("implicit", true), ("starttls", false)];
        let implicit_tls = table.word("tls", &modes).unwrap_or(default_implicit_tls(protocol));
        let tls = self.trust(&mut table);
        let capabilities = table.lines("capabilities");
        for capability in capabilities.iter().flatten() {
            let allowed = |c: char| c.is_ascii_graphic() || (c == ' ' && protocol != Protocol::Imap);
            if !capability.chars().all(allowed) {
                table.fault("capabilities", format!("{capability:?} is no capability"));
            } else if is_before_login(protocol, capability) {
                table.fault(
                    "capabilities",
                    format!("{capability} is the proxy's to say, not the mail server's after login"),
                );
            }
        }
        table.finish();
        let capabilities = capabilities.unwrap_or_else(|| default_capabilities(protocol));
        Some(MailServer {
            upstream: Upstream { address, server_name: server_name?, tls: tls?, implicit_tls },
            capabilities,
        })
    }
}

/// Listeners for IPv6 take no IPv4.
fn is_nobody(address: IpAddr) -> bool {
    address.is_unspecified() || matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

/// Who is let in without a login: devices that send mail and cannot.
fn trusted(
    table: &mut Table<'_>,
    protocol: Option<Protocol>,
    profiles: &[Profile],
    profile_names: &[String],
) -> Vec<Trusted> {
    let mut found = Vec::new();
    let pairs = table.pairs("trusted", ["address", "profile"]).unwrap_or_default();
    if !pairs.is_empty() && protocol.is_some_and(|protocol| protocol != Protocol::Smtp) {
        table.fault("trusted", "is for SMTP alone: mail is not read without a login");
    }
    for (address, profile) in pairs {
        let network = address.parse::<IpNet>().ok().or_else(|| Some(IpNet::from(address.parse::<IpAddr>().ok()?)));
        match network {
            None => {
                table.fault("trusted", format!("{address:?} is neither an address nor a network, as 192.168.7.0/28"));
            }
            Some(network) if network.trunc() != network => {
                let whole = network.trunc();
                table.fault("trusted", format!("{address} is an address within {whole}: write the one or the other"));
            }
            Some(network) if network.prefix_len() < if network.addr().is_ipv4() { 16 } else { 48 } => {
                table.fault("trusted", format!("{address} would let far too many send without a login"));
            }
            Some(network) if is_nobody(network.addr()) => {
                table.fault("trusted", format!("{address} is the address of no client"));
            }
            Some(network) if found.iter().any(|trusted: &Trusted| trusted.network == network) => {
                table.fault("trusted", format!("{address} is written twice"));
            }
            Some(network) => match profiles.iter().find(|known| known.name == profile) {
                Some(known) if known.mailbox.is_some() => found.push(Trusted { network, profile }),
                Some(_) => table.fault("trusted", format!("profile {profile:?} has no mailbox of its own")),
                // What is wrong with it is told at its place.
                None if profile_names.contains(&profile) => {}
                None => {
                    let advice = nearest(&profile, profile_names.iter().map(String::as_str))
                        .map(|known| format!("; did you mean {known:?}?"))
                        .unwrap_or_default();
                    table.fault("trusted", format!("no such profile {profile:?}{advice}"));
                }
            },
        }
    }
    found
}

fn username_pattern(table: &Table<'_>, text: &str) -> Option<UsernamePattern> {
    let pattern = match text.strip_prefix("*@") {
        Some(domain) if domain.contains('*') || domain.is_empty() => None,
        Some(domain) => Username::parse(domain).ok().map(|domain| UsernamePattern::Domain(domain.as_str().to_owned())),
        None if text.contains('*') => None,
        None => Username::parse(text).ok().map(UsernamePattern::Exactly),
    };
    if pattern.is_none() {
        table.fault("username", format!("{text:?} is neither a user name nor a domain, as \"*@contoso.com\""));
    }
    pattern
}

/// The whole file, without the line end that editors put behind it.
fn read_password(path: &Path) -> Result<Secret<Vec<u8>>, String> {
    let content = std::fs::read(path).map(Secret::new).map_err(|error| error.to_string())?;
    // Windows editors put a byte order mark in front.
    let password = content.expose().strip_prefix(b"\xef\xbb\xbf").unwrap_or(content.expose());
    let password = password.strip_suffix(b"\n").unwrap_or(password);
    let password = password.strip_suffix(b"\r").unwrap_or(password);
    if password.is_empty() {
        return Err(String::from("it is empty"));
    }
    Ok(Secret::new(password.to_vec()))
}

fn server_name(address: &str) -> Option<ServerName<'static>> {
    let (host, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok().filter(|&port| port != 0)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(host.to_owned()).ok()
}

/// What the proxy itself says before login, as far as the upstream could not mean it after login.
fn is_before_login(protocol: Protocol, capability: &str) -> bool {
    let upper = capability.to_ascii_uppercase();
    match protocol {
        Protocol::Imap => {
            upper.starts_with("AUTH=") || ["STARTTLS", "LOGINDISABLED", "SASL-IR"].contains(&upper.as_str())
        }
        Protocol::Pop3 => {
            let word = upper.split(' ').next().unwrap_or_default();
            ["SASL", "USER", "STLS", "RESP-CODES", "AUTH-RESP-CODE"].contains(&word)
        }
        Protocol::Smtp => ["AUTH", "STARTTLS"].contains(&upper.split(' ').next().unwrap_or_default()),
    }
}

fn default_capabilities(protocol: Protocol) -> Vec<String> {
    protocol.exchange_capabilities().iter().map(|&name| name.to_owned()).collect()
}

fn default_upstream(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Imap => "outlook.office365.com:993",
        Protocol::Pop3 => "outlook.office365.com:995",
        Protocol::Smtp => "smtp.office365.com:587",
    }
}

/// Submission at Exchange Online is port 587, where TLS begins with STARTTLS.
fn default_implicit_tls(protocol: Protocol) -> bool {
    protocol != Protocol::Smtp
}

fn default_addresses(protocol: Protocol) -> Vec<ListenAddress> {
    let port = match protocol {
        Protocol::Imap => 1143,
        Protocol::Pop3 => 1110,
        Protocol::Smtp => 1587,
    };
    let at = |ip: IpAddr, optional| ListenAddress { address: SocketAddr::new(ip, port), optional };
    vec![at(Ipv4Addr::LOCALHOST.into(), false), at(Ipv6Addr::LOCALHOST.into(), true)]
}

/// systemd's `StateDirectory=` if there is one, else where this platform keeps a program's state.
fn default_state_dir() -> Option<PathBuf> {
    // systemd joins several with a colon.
    let systemd = std::env::var("STATE_DIRECTORY").ok();
    let systemd = systemd.and_then(|all| all.split(':').next().filter(|first| !first.is_empty()).map(PathBuf::from));
    systemd.or_else(|| {
        let places = etcetera::choose_base_strategy().ok()?;
        Some(places.state_dir().unwrap_or_else(|| places.data_dir()).join("xoauth2-proxy"))
    })
}

/// The global cloud, which is GCC's too.
const ENTRA_AUTHORITY: &str = "https://login.microsoftonline.com";

/// For IMAP and POP3, and whatever permissions the application was given.
const EXCHANGE_SCOPE: &str = "https://outlook.office365.com/.default";
