//! What does the administrator get to read? One subscriber for the whole process, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people, and for journald.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error. `filter` is a level (`info`, `debug`, ...) or a list of directives as in `RUST_LOG`
/// (`xoauth2_proxy::session=debug`).
///
/// # Errors
/// The filter cannot be read.
pub fn start_logging(format: LogFormat, filter: &str) -> Result<(), ParseError> {
    // An empty variable is as good as none.
    let filter = EnvFilter::builder().parse(if filter.is_empty() { "info" } else { filter })?;
    // Standard error may be closed, or its disk full: that must not be the end of the proxy, and there is nobody to tell.
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    // What was set first stays: tests start several in one process.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
