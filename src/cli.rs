//! What can be typed? The commands, their options, and what each of them answers to the person at the terminal.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::app::{self, PREFIX, StartError};
use crate::observe::{LogFormat, start_logging};
use crate::profiles::HashedPassword;
use crate::secret::Secret;

/// Lets programs that only know passwords read and send mail with Microsoft 365: they log in here with a local password,
/// and the mailbox is opened with an app-only OAuth 2.0 token.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve clients until told to stop
    Run {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        log: Log,
    },
    /// Load the configuration as `run` does, and tell every fault in it
    Check {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Make a password_hash from a password, typed at a prompt or read from standard input
    HashPassword,
    /// Show the proxy at work, in front of a simulated Microsoft 365: nothing is configured, nothing leaves this machine
    #[cfg(feature = "demo")]
    Demo {
        /// End after the self-check, with its result as exit status
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        log: Log,
    },
}

#[derive(Args, Debug)]
struct ConfigFile {
    /// Configuration file [default: proxy.toml here, else /etc/xoauth2-proxy/proxy.toml, else the environment alone]
    #[arg(short, long, value_name = "FILE", env = "XOAUTH2_PROXY_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct Log {
    /// How log lines look
    #[arg(long, value_enum, default_value_t, env = "XOAUTH2_PROXY_LOG_FORMAT")]
    log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or directives as in RUST_LOG
    #[arg(long, value_name = "FILTER", env = "XOAUTH2_PROXY_LOG", default_value = "info")]
    log: String,
}

/// Why a command failed, with the exit status of `sysexits.h`.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// EX_CONFIG: the configuration is at fault. Its faults are told line by line.
    #[error("{0}")]
    Configuration(StartError),
    /// EX_CONFIG: there is nothing to load.
    #[error(
        "there is no configuration: no --config, no proxy.toml here or in /etc/xoauth2-proxy, and no {PREFIX}* in the environment"
    )]
    NoConfiguration,
    /// EX_USAGE: an option's value cannot be read.
    #[error("--log: {0}")]
    Filter(tracing_subscriber::filter::ParseError),
    /// EX_DATAERR: no password was given.
    #[error("{0}")]
    Password(&'static str),
    /// EX_UNAVAILABLE: an address or a file is not to be had.
    #[error("{0}")]
    Unavailable(StartError),
    /// EX_IOERR: standard input or output failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// EX_SOFTWARE: the demonstration did not do what it demonstrates.
    #[cfg(feature = "demo")]
    #[error("the self-check failed: {0}")]
    Demo(String),
}

impl CliError {
    /// The exit status.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Filter(_) => 64,
            Self::Password(_) => 65,
            Self::Unavailable(_) => 69,
            #[cfg(feature = "demo")]
            Self::Demo(_) => 70,
            Self::Io(_) => 74,
            Self::Configuration(_) | Self::NoConfiguration => 78,
        }
    }
}

impl From<StartError> for CliError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::File { .. } | StartError::Configuration(_) => Self::Configuration(error),
            StartError::Tls { .. } | StartError::Http { .. } | StartError::Signals(_) | StartError::Bind { .. } => {
                Self::Unavailable(error)
            }
        }
    }
}

impl Cli {
    /// Does what was typed.
    ///
    /// # Errors
    /// [`CliError`], whose text is for the person at the terminal.
    pub fn run(self) -> Result<(), CliError> {
        match self.command {
            Command::Run { config, log } => {
                log.start()?;
                let config = app::load(config.find()?.as_deref())?;
                Ok(block_on(app::run(config))??)
            }
            Command::Check { config } => check(config.find()?.as_deref()),
            Command::HashPassword => hash_password(),
            #[cfg(feature = "demo")]
            Command::Demo { once, log } => {
                log.start()?;
                block_on(crate::demo::demo(once))?.map_err(|error| CliError::Demo(error.to_string()))
            }
        }
    }
}

impl ConfigFile {
    fn find(self) -> Result<Option<PathBuf>, CliError> {
        if self.config.is_some() {
            return Ok(self.config);
        }
        let usual = [Path::new("proxy.toml"), Path::new("/etc/xoauth2-proxy/proxy.toml")];
        // A link that leads nowhere is told, not passed over.
        if let Some(path) = usual.into_iter().find(|path| path.symlink_metadata().is_ok()) {
            return Ok(Some(path.to_owned()));
        }
        let in_environment = std::env::vars_os().any(|(name, _)| app::is_key(&name.to_string_lossy()));
        if in_environment { Ok(None) } else { Err(CliError::NoConfiguration) }
    }
}

impl Log {
    fn start(&self) -> Result<(), CliError> {
        start_logging(self.log_format, &self.log).map_err(CliError::Filter)
    }
}

/// Runs to the end, and does not wait for what nobody awaits any more: a look-up or a hash on a thread of its own may take
/// longer than an administrator has patience.
fn block_on<T>(program: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(program);
    runtime.shutdown_background();
    Ok(outcome)
}

fn check(file: Option<&Path>) -> Result<(), CliError> {
    let config = app::load(file)?;
    let place = file.map_or("the environment".into(), |path| path.display().to_string());
    writeln!(
        io::stdout(),
        "{place}: no fault found: {} app(s), {} profile(s), {} listener(s)",
        config.apps.len(),
        config.profiles.len(),
        config.listeners.len()
    )?;
    Ok(())
}

/// From a terminal without echo and twice; from a pipe as it comes, less one line end.
fn hash_password() -> Result<(), CliError> {
    let password = if io::stdin().is_terminal() {
        let first = Secret::new(rpassword::prompt_password("Password: ")?);
        let second = Secret::new(rpassword::prompt_password("Again: ")?);
        if first != second {
            return Err(CliError::Password("the two passwords differ"));
        }
        Secret::new(first.expose().clone().into_bytes())
    } else {
        let mut input = zeroize::Zeroizing::new(Vec::new());
        io::stdin().read_to_end(&mut input)?;
        let line = input.strip_suffix(b"\n").unwrap_or(&input);
        Secret::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
    };
    if password.expose().is_empty() {
        return Err(CliError::Password("an empty password lets nobody in"));
    }
    let hash = HashedPassword::of(password.expose())?;
    writeln!(io::stdout(), "{hash}")?;
    Ok(())
}
