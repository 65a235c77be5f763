//! Parses what was typed, calls it, and says what went wrong.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use xoauth2_proxy::cli::Cli;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked_for = !error.use_stderr();
            // Standard output may be closed: there is nobody left to tell.
            let _ = error.print();
            return if asked_for { ExitCode::SUCCESS } else { ExitCode::from(EX_USAGE) };
        }
    };
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in error.to_string().lines() {
                // Standard error may be closed as well.
                let _ = writeln!(std::io::stderr(), "xoauth2-proxy: {line}");
            }
            ExitCode::from(error.exit_status())
        }
    }
}

/// `sysexits.h`: the command was used incorrectly.
const EX_USAGE: u8 = 64;
