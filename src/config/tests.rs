//! What is a good configuration, and what is said of a bad one?

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::reader::Reader;
use super::tree::Tree;
use super::{Config, ListenAddress, ListenerTls, Sources};
use crate::profiles::{Password, UsernamePattern};
use crate::protocol::Protocol;
use crate::tls::Certificate;
use crate::token::entra::ClientSecret;

const MINIMAL: &str = r#"
[apps.contoso]
tenant_id = "11111111-2222-3333-4444-555555555555"
client_id = "66666666-7777-8888-9999-000000000000"
client_secret = "hunter2"

[profiles.scanner]
mailbox = "scanner@contoso.com"
password_hash = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IGhlcmU$4oLcQmoxVYn1oAUkJoMVR6qjVxbdvXqDvHcVZ0fQJ5o"
"#;

fn sources(text: &str, environment: &[(&str, &str)]) -> Sources {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Sources { file: Some((PathBuf::from("proxy.toml"), text.to_owned())), environment }
}

fn load(text: &str, environment: &[(&str, &str)]) -> Config {
    match Config::load(&sources(text, environment)) {
        Ok(config) => config,
        Err(faults) => panic!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

fn faults(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    match Config::load(&sources(text, environment)) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn ten_lines_are_enough() {
    let config = load(MINIMAL, &[]);
    let application = &config.apps[0].application;
    assert_eq!(
        application.token_endpoint,
        "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/oauth2/v2.0/token"
    );
    assert_eq!(application.scope, "https://outlook.office365.com/.default");
    let profile = &config.profiles[0];
    assert_eq!((profile.name.as_str(), profile.app.as_str()), ("scanner", "contoso"));
    assert!(
        matches!(&profile.usernames[..], [UsernamePattern::Exactly(name)] if name.as_str() == "scanner@contoso.com")
    );
    let listening: Vec<_> = config
        .listeners
        .iter()
        .flat_map(|listener| {
            assert_eq!(listener.tls, ListenerTls::None);
            listener.addresses.iter().map(|ListenAddress { address, optional }| (address.to_string(), *optional))
        })
        .collect();
    let expected = [
        ("127.0.0.1:1143", false),
        ("[::1]:1143", true),
        ("127.0.0.1:1110", false),
        ("[::1]:1110", true),
        ("127.0.0.1:1587", false),
        ("[::1]:1587", true),
    ];
    assert_eq!(listening, expected.map(|(address, optional)| (address.to_owned(), optional)));
    assert_eq!(config.upstreams[&Protocol::Imap].upstream.address, "outlook.office365.com:993");
    assert_eq!(config.upstreams[&Protocol::Pop3].upstream.address, "outlook.office365.com:995");
    assert_eq!(config.upstreams[&Protocol::Smtp].upstream.address, "smtp.office365.com:587");
    let implicit: Vec<_> = config.upstreams.values().map(|server| server.upstream.implicit_tls).collect();
    assert_eq!(implicit, [true, true, false], "submission begins with STARTTLS");
}

#[test]
fn the_environment_alone_is_enough_and_goes_before_the_file() {
    let environment = [
        ("XOAUTH2_PROXY_APPS__CONTOSO__TENANT_ID", "contoso.com"),
        ("XOAUTH2_PROXY_APPS__CONTOSO__CLIENT_ID", "0042"),
        ("XOAUTH2_PROXY_APPS__CONTOSO__CLIENT_SECRET", "007"),
        ("XOAUTH2_PROXY_PROFILES__SCANNER__MAILBOX", "scanner@contoso.com"),
        ("XOAUTH2_PROXY_PROFILES__SCANNER__USERNAME", "scanner *@contoso.com"),
        ("XOAUTH2_PROXY_PROFILES__SCANNER__PASSWORD_ENV", "SCANNER"),
        ("XOAUTH2_PROXY_LISTENERS__IMAP__ADDRESS", "127.0.0.1:143 [::1]:143"),
        ("XOAUTH2_PROXY_LISTENERS__POP3__ENABLED", "false"),
        ("XOAUTH2_PROXY_LISTENERS__SMTP__ENABLED", "false"),
        ("SCANNER", "1234"),
        // The command line's, and what Kubernetes sets for a service of our name.
        ("XOAUTH2_PROXY_CONFIG", "proxy.toml"),
        ("XOAUTH2_PROXY_SERVICE_HOST", "10.0.0.1"),
        ("XOAUTH2_PROXY_PORT_1143_TCP_ADDR", "10.0.0.1"),
        ("XOAUTH2_PROXY_IMAP_SERVICE_HOST", "10.0.0.1"),
        ("XOAUTH2_PROXY_IMAP_PORT", "tcp://10.0.0.1:143"),
    ];
    let map = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let config = Config::load(&Sources { file: None, environment: map }).expect("complete");
    assert_eq!(config.apps[0].application.client_id, "0042", "a text stays a text");
    let ClientSecret::Given(secret) = &config.apps[0].application.client_secret else { panic!("given") };
    assert_eq!(secret.expose(), "007");
    assert_eq!(config.profiles[0].usernames.len(), 2);
    assert!(matches!(&config.profiles[0].passwords[..], [Password::Plain(right)] if right.expose() == b"1234"));
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].addresses.len(), 2);

    let over_file = load(MINIMAL, &[("XOAUTH2_PROXY_PROFILES__SCANNER__MAILBOX", "other@contoso.com")]);
    assert_eq!(over_file.profiles[0].mailbox.as_ref().map(ToString::to_string).as_deref(), Some("other@contoso.com"));
}

#[test]
fn f47_every_fault_is_told_at_once_with_file_line_key_and_remedy() {
    let text = r#"stat_dir = "x"
[apps.contoso]
tenant_id = "common"
client_secret = "hunter2"
client_secret_file = "no/such/file"
authority = "http://login.example.org"
[profiles.scanner]
mailbox = "scanner"
app = "contso"
password_hash = "hunter2"
password = "hunter2"
[profiles.other]
username = "*@a*b"
password_file = "no/such/file"
password_env = ["NO_SUCH_VARIABLE"]
[listeners.imap]
address = ["0.0.0.0:1143", "localhost:1"]
tls = "ssl"
certificate_file = "cert.pem"
[listeners.extra]
enabled = "yes"
[upstreams.imap]
tls = "none"
adress = "mail.example.org:993"
capabilities = ["IMAP4rev1", "AUTH=PLAIN"]
[upstreams.imaps]
"#;
    let found = faults(text, &[("XOAUTH2_PROXY_LISTENERS__POP3__TSL", "none")]);
    let expected = [
        r#"proxy.toml:1: stat_dir: unknown key; did you mean "state_dir"?"#,
        "proxy.toml:2: apps.contoso: client_id is missing: the Application (client) ID of the app registration",
        "proxy.toml:3: apps.contoso.tenant_id: has to be the tenant's own id or domain: an application without a user belongs to one tenant",
        "proxy.toml:5: apps.contoso.client_secret_file: client_secret is set as well: an app has one client secret",
        "proxy.toml:6: apps.contoso.authority: has to begin with https://, because the client secret is sent there",
        r#"proxy.toml:8: profiles.scanner.mailbox: "scanner" is no mail address"#,
        r#"proxy.toml:9: profiles.scanner.app: no such app "contso"; did you mean "contoso"?"#,
        "proxy.toml:10: profiles.scanner.password_hash: not an Argon2 hash in PHC string format ($argon2id$v=19$...); make one with: xoauth2-proxy hash-password",
        "proxy.toml:11: profiles.scanner.password: unknown key; make a password_hash with: xoauth2-proxy hash-password",
        r#"proxy.toml:13: profiles.other.username: "*@a*b" is neither a user name nor a domain, as "*@contoso.com""#,
        "proxy.toml:14: profiles.other.password_file: the file cannot be read: No such file or directory (os error 2)",
        "proxy.toml:15: profiles.other.password_env: there is no environment variable of that name, or it is empty or no UTF-8",
        r#"proxy.toml:17: listeners.imap.address: "localhost:1" is no address and port, as 127.0.0.1:1143 or [::1]:1143"#,
        r#"proxy.toml:17: listeners.imap.address: 0.0.0.0:1143 is reached from the network, and passwords would travel in clear: set tls = "implicit" or "starttls", or write allow_plaintext_on_network = true"#,
        r#"proxy.toml:18: listeners.imap.tls: is none of "none", "starttls", "implicit""#,
        "proxy.toml:19: listeners.imap.certificate_file: private_key_file is missing beside it",
        r#"proxy.toml:20: listeners.extra: protocol is missing: "imap", "pop3" or "smtp""#,
        "proxy.toml:20: listeners.extra: address is missing: where to listen, as \"127.0.0.1:1143\"",
        "proxy.toml:21: listeners.extra.enabled: is a text; true or false is expected",
        r#"proxy.toml:23: upstreams.imap.tls: is none of "implicit", "starttls""#,
        r#"proxy.toml:24: upstreams.imap.adress: unknown key; did you mean "address"?"#,
        "proxy.toml:25: upstreams.imap.capabilities: AUTH=PLAIN is the proxy's to say, not the mail server's after login",
        r#"proxy.toml:26: upstreams.imaps: unknown key; did you mean "imap"?"#,
        r#"environment variable XOAUTH2_PROXY_LISTENERS__POP3__TSL: listeners.pop3.tsl: unknown key; did you mean "tls"?"#,
    ];
    for (index, line) in expected.iter().enumerate() {
        assert_eq!(found.get(index).map(String::as_str), Some(*line), "of {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    assert!(!found.iter().any(|fault| fault.contains("hunter2")), "a fault shows a secret");
}

#[test]
fn a_syntax_error_is_told_by_line_and_shows_no_secret() {
    let found = faults("[apps.contoso]\nclient_secret = \"hunter2\nclient_id = 1\n", &[]);
    assert!(found[0].starts_with("proxy.toml:2: "), "{found:?}");
    assert!(!found.iter().any(|fault| fault.contains("hunter2")), "{found:?}");
}

/// What would do something else than it says, or nothing.
#[test]
fn what_is_of_no_use_is_a_fault() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("file"), "no directory").expect("written");
    let file = directory.path().join("file").display().to_string();
    for (more, fault) in [
        (
            "[profiles.all]\nmailbox = \"a@b.example\"\nusername = \"*@b.example\"\npassword_env = \"PW\"\n",
            "all.mailbox: is of no use",
        ),
        ("[profiles.x]\nmailbox = \"a@b.example\\u200b\"\npassword_env = \"PW\"\n", "x.mailbox: "),
        ("[profiles.\"\"]\nmailbox = \"a@b.example\"\npassword_env = \"PW\"\n", "a name is made of"),
        (
            "[profiles.x]\nmailbox = \"a@b.example\"\npassword_env = \"hunter2\"\n",
            "x.password_env: there is no environment variable",
        ),
        ("[listeners.imap]\ncertificate_names = \"x.example\"\n", "imap.certificate_names: is of no use with tls"),
        (
            "[listeners.imap]\naddress = [\"127.0.0.1:143\", \"0.0.0.0:143\"]\nallow_plaintext_on_network = true\n",
            "in each other's way",
        ),
        (&format!("[listeners.imap]\ntls = \"implicit\"\n[upstreams.imap]\nca_file = {file:?}\n"), "imap.ca_file: "),
        (
            "[apps.b]\nclient_id = \"1\"\nclient_secret = \"2\"\ntoken_endpoint = \"https://u:hunter2@h.example/t\"\n",
            "b.token_endpoint: holds more than",
        ),
        (
            "[apps.b]\nclient_id = \"1\"\nclient_secret = \"2\"\ntenant_id = \"t\"\nauthority = \"https://h.example/?hunter2\"\n",
            "b.authority: holds more than",
        ),
        (
            "[apps.b]\nclient_id = \"1\"\nclient_secret = \"2\"\ntenant_id = \"t\"\ntoken_endpoint = \"https://h.example/t\"\n",
            "b.tenant_id: is of no use beside token_endpoint",
        ),
        (
            "[apps.b]\nclient_id = \"1\"\nclient_secret_file = \"hunter2\"\ntenant_id = \"t\"\n",
            "b.client_secret_file: the file cannot be read",
        ),
    ] {
        let found = faults(&(MINIMAL.to_owned() + more), &[("PW", "x"), ("XOAUTH2_PROXY_STATE_DIR", &file)]);
        assert!(found.iter().any(|found| found.contains(fault)), "{fault}: {found:#?}");
        assert!(!found.iter().any(|found| found.contains("hunter2")), "a fault shows a secret: {found:#?}");
    }
    let found =
        faults(&(MINIMAL.to_owned() + "[listeners.imap]\ntls = \"implicit\"\n"), &[("XOAUTH2_PROXY_STATE_DIR", &file)]);
    assert_eq!(found.len(), 1, "the state directory is a file: {found:#?}");
}

#[test]
fn who_is_let_in_without_a_login_is_checked() {
    let with = |trusted: &str| MINIMAL.to_owned() + "[listeners.smtp]\ntrusted = [" + trusted + "]\n";
    let config = load(
        &with(r#"{ address = "192.0.2.7", profile = "scanner" }, { address = "2001:db8::/64", profile = "scanner" }"#),
        &[],
    );
    let smtp = config.listeners.iter().find(|listener| listener.protocol == Protocol::Smtp).expect("it is there");
    let trusted: Vec<_> = smtp.trusted.iter().map(|trusted| trusted.network.to_string()).collect();
    assert_eq!(trusted, ["192.0.2.7/32", "2001:db8::/64"]);
    let from_environment =
        load(MINIMAL, &[("XOAUTH2_PROXY_LISTENERS__SMTP__TRUSTED", "192.0.2.7=scanner 192.0.2.8=scanner")]);
    assert_eq!(from_environment.listeners[2].trusted.len(), 2);
    let capabilities = load(MINIMAL, &[("XOAUTH2_PROXY_UPSTREAMS__SMTP__CAPABILITIES", "SIZE 1000, PIPELINING")]);
    assert_eq!(capabilities.upstreams[&Protocol::Smtp].capabilities, ["SIZE 1000", "PIPELINING"]);
    for (trusted, fault) in [
        (r#"{ address = "0.0.0.0/0", profile = "scanner" }"#, "0.0.0.0/0 would let far too many send without a login"),
        (
            r#"{ address = "128.0.0.0/1", profile = "scanner" }"#,
            "128.0.0.0/1 would let far too many send without a login",
        ),
        (
            r#"{ address = "192.168.7.20/24", profile = "scanner" }"#,
            "192.168.7.20/24 is an address within 192.168.7.0/24: write the one or the other",
        ),
        (r#"{ address = "::ffff:192.0.2.7", profile = "scanner" }"#, "::ffff:192.0.2.7 is the address of no client"),
        (
            r#"{ address = "192.0.2.7", profile = "scanner" }, { address = "192.0.2.7/32", profile = "scanner" }"#,
            "192.0.2.7/32 is written twice",
        ),
        (r#"{ address = "::/0", profile = "scanner" }"#, "::/0 would let far too many send without a login"),
        (
            r#"{ address = "printer", profile = "scanner" }"#,
            r#""printer" is neither an address nor a network, as 192.168.7.0/28"#,
        ),
        (r#"{ address = "192.0.2.7", profile = "scaner" }"#, r#"no such profile "scaner"; did you mean "scanner"?"#),
        (r#"{ address = "192.0.2.7" }"#, r#"is no list of { address = "...", profile = "..." }"#),
        (r#""192.0.2.7""#, r#"is no list of { address = "...", profile = "..." }"#),
    ] {
        assert_eq!(faults(&with(trusted), &[]), [format!("proxy.toml:11: listeners.smtp.trusted: {fault}")]);
    }
    let imap = with(r#"{ address = "192.0.2.7", profile = "scanner" }"#).replace("listeners.smtp", "listeners.imap");
    assert_eq!(
        faults(&imap, &[]),
        ["proxy.toml:11: listeners.imap.trusted: is for SMTP alone: mail is not read without a login"]
    );
    let domain = with(r#"{ address = "192.0.2.7", profile = "all" }"#)
        + "[profiles.all]\nusername = \"*@b.example\"\npassword_env = \"PW\"\n";
    assert_eq!(
        faults(&domain, &[("PW", "x")]),
        [r#"proxy.toml:11: listeners.smtp.trusted: profile "all" has no mailbox of its own"#]
    );
}

/// The config crate would take them for paths into the tree, or for a list of four thousand million entries.
#[test]
fn odd_names_at_the_top_are_unknown_keys() {
    for key in ["apps.contoso.scope", "foo[4000000000]", ""] {
        let found = faults(&format!("\"{key}\" = \"x\"\n{MINIMAL}"), &[]);
        assert_eq!(found, [format!("proxy.toml:1: {key}{}unknown key", if key.is_empty() { "" } else { ": " })]);
    }
    let found = faults(MINIMAL, &[("XOAUTH2_PROXY_PROFILES__SCANNER__USERNAME[4000000000]", "x")]);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn nothing_at_all_is_told_too() {
    let found = faults("", &[]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].contains("profiles: there is no profile") && found[1].contains("apps: there is no app"),
        "{found:?}"
    );
}

#[test]
fn two_profiles_for_one_name_and_one_of_several_apps() {
    let text = MINIMAL.replace("[profiles.scanner]", "[profiles.scanner]\napp = \"contoso\"")
        + "[apps.other]\nclient_id = \"1\"\nclient_secret = \"2\"\ntoken_endpoint = \"https://login.example.org/token\"\n"
        + "[profiles.twin]\nusername = \"Scanner@Contoso.com\"\npassword_env = \"PW\"\n";
    let found = faults(&text, &[("PW", "x")]);
    assert_eq!(found, ["proxy.toml:15: profiles.twin: app is missing, and there are several: contoso, other",]);
    let found = faults(&text.replace("password_env", "app = \"other\"\npassword_env"), &[("PW", "x")]);
    assert_eq!(
        found,
        ["proxy.toml:15: profiles.twin: the user name scanner@contoso.com is that of profile scanner already"]
    );
}

#[test]
fn f26_plaintext_on_the_network_needs_the_words_for_it() {
    let open = MINIMAL.to_owned() + "[listeners.imap]\naddress = \"192.0.2.1:143\"\n";
    assert_eq!(faults(&open, &[]).len(), 1);
    assert_eq!(load(&(open.clone() + "allow_plaintext_on_network = true\n"), &[]).listeners.len(), 3);
    let config = load(&(open + "tls = \"implicit\"\n"), &[("XOAUTH2_PROXY_STATE_DIR", "state")]);
    let ListenerTls::Implicit(Certificate::Own { directory, stem, names }) = &config.listeners[0].tls else {
        panic!("{:?}", config.listeners[0].tls);
    };
    assert_eq!((directory.as_path(), stem.as_str()), (Path::new("state"), "listener-imap"));
    assert_eq!(names, &["localhost", "127.0.0.1", "::1", "192.0.2.1"]);
}

#[test]
fn paths_are_relative_to_the_file_and_passwords_are_octets() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("pw"), b"p\xe4ss word \r\n").expect("written");
    let text = MINIMAL.to_owned() + "[profiles.b]\nmailbox = \"b@contoso.com\"\npassword_file = [\"pw\"]\n";
    let file = Some((directory.path().join("proxy.toml"), text));
    let config = Config::load(&Sources { file, environment: HashMap::new() }).expect("complete");
    let profile = config.profiles.iter().find(|profile| profile.name == "b").expect("read");
    assert!(matches!(&profile.passwords[..], [Password::Plain(right)] if right.expose() == b"p\xe4ss word "));
}

/// Every key of the example with the `#` before it taken away, so that all of them are read.
fn every_key_of_the_example() -> String {
    let text = include_str!("../../proxy.toml.example");
    let is_key = |line: &str| {
        let name = line.split(" = ").next().unwrap_or_default();
        line.contains(" = ") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    };
    text.lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(commented) if is_key(commented) => format!("{commented}\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

#[test]
fn the_example_has_every_key_and_loads() {
    // As it is, from the directory that its paths are relative to.
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("client_secret"), "secret\n").expect("written");
    let file = Some((directory.path().join("proxy.toml"), include_str!("../../proxy.toml.example").to_owned()));
    let config = Config::load(&Sources { file, environment: HashMap::new() });
    let minimal = load(MINIMAL, &[]);
    let config = config.unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert_eq!(format!("{:?}", config.listeners), format!("{:?}", minimal.listeners));

    // With every key: none is unknown, and none is missing from it.
    let sources = sources(&every_key_of_the_example(), &[]);
    let tree = Tree::read(&sources).expect("it is TOML");
    let _ = Reader { tree: &tree, environment: &sources.environment }.config();
    let known = tree.known_keys();
    assert!(known.len() > 25, "{known:?}");
    let faults: Vec<_> = tree.into_faults().iter().map(ToString::to_string).collect();
    assert!(!faults.iter().any(|fault| fault.contains("unknown key")), "{faults:#?}");
    let shown: BTreeSet<String> = keys_shown(&every_key_of_the_example());
    for key in known {
        assert!(shown.contains(&key), "{key} is not in proxy.toml.example");
    }
}

/// The keys that a text sets, with `*` for the names that a user gives.
fn keys_shown(text: &str) -> BTreeSet<String> {
    let mut table = String::new();
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let (kind, name) = header.split_once('.').expect("two parts");
            table = if kind == "upstreams" { format!("{kind}.{name}.") } else { format!("{kind}.*.") };
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with([' ', '#'])) {
            keys.insert(format!("{table}{key}"));
        }
    }
    keys
}
