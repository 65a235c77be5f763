//! Do the promises that are fuzzed hold for all that has been tried? The fuzz targets run here over their corpora, without
//! a fuzzer: what was once found stays found.
//!
//! Each transcript is a seed of its dialogue's target. `UPDATE_SEEDS=1 cargo test --test replay` writes them into
//! `fuzz/corpus/`, where the fuzzer begins.

#[path = "transcripts/read.rs"]
#[expect(dead_code, reason = "transcripts.rs uses the rest")]
mod read;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use xoauth2_proxy::fuzzing::{TARGETS, run};
use xoauth2_proxy::protocol::Protocol;

use read::{files, parts, unescape};

#[test]
fn the_corpora_hold() {
    for (target, body) in TARGETS {
        let folder = corpus(target);
        let mut count = 0;
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            body(&fs::read(entry.expect("a readable folder").path()).expect("a readable file"));
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }
}

/// Every chunking of every transcript, which the fuzzer would take long to come upon.
#[test]
fn transcripts_hold_in_every_chunking() {
    for (target, _, seed) in seeds() {
        for chunk in 1..=u8::MAX {
            let mut seed = seed.clone();
            seed[1] = chunk;
            run(target, &seed);
            if usize::from(chunk) >= seed.len() {
                break;
            }
        }
    }
}

#[test]
fn every_transcript_is_a_seed() {
    let update = std::env::var_os("UPDATE_SEEDS").is_some();
    for (target, name, seed) in seeds() {
        let path = corpus(target).join(&name);
        if update {
            fs::create_dir_all(corpus(target)).expect("a folder");
            fs::write(&path, &seed).expect("written");
        }
        assert_eq!(fs::read(&path).ok(), Some(seed), "{}: run UPDATE_SEEDS=1 cargo test --test replay", path.display());
    }
}

/// The corpus of a target, where cargo-fuzz looks for it.
fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// Target, file name and input for each transcript: its setting and how many logins are refused, the size of chunks, and all
/// that the peer sends.
fn seeds() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (protocol, path, text) in files() {
        let setting = text.lines().find(|line| line.starts_with("% ")).expect("a setting");
        let client = setting.starts_with("% client");
        let target = match (protocol, client) {
            (Protocol::Imap, true) => "imap_client",
            (Protocol::Imap, false) => "imap_upstream",
            (Protocol::Pop3, true) => "pop3_client",
            (Protocol::Pop3, false) => "pop3_upstream",
            (Protocol::Smtp, true) => "smtp_client",
            (Protocol::Smtp, false) => "smtp_upstream",
        };
        let refused = text.lines().filter(|line| client && line.starts_with("= refused")).count();
        let tls =
            BTreeMap::from([("absent", 0), ("required", 1), ("active", if client { 2 } else { 0 }), ("starttls", 1)]);
        let tls = tls.iter().find(|(word, _)| setting.contains(&format!("tls={word}"))).map_or(0, |(_, tls)| *tls);
        let mut seed = vec![u8::try_from(refused << 2).expect("few") | tls, 1];
        for line in text.lines() {
            if let ("C:" | "S:", _, _) = parts(line) {
                seed.extend(unescape(line.get(3..).unwrap_or_default(), "\r\n").expect("transcripts.rs reads it too"));
            }
        }
        let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
        seeds.push((target, name, seed));
    }
    seeds
}
