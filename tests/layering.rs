//! Who may know whom? The arrows of docs/architecture.md, kept by reading the `use` lines: a module that learns of another
//! one has to be given leave here, where the whole picture is in view.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each module of `src/`, and the modules that it may name.
const ALLOWED: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("cli", &["app", "demo", "observe", "profiles", "secret"]),
    ("demo", &["app", "platform"]),
    ("app", &["config", "listener", "platform", "profiles", "session", "tls", "token"]),
    // Nobody but app (and the fuzz targets) knows the configuration as a whole: each part gets its own slice.
    ("fuzzing", &["config", "protocol", "secret"]),
    ("config", &["profiles", "protocol", "secret", "tls", "token", "transport"]),
    ("listener", &["session"]),
    ("session", &["printable", "profiles", "protocol", "relay", "remedy", "token", "transport"]),
    // Profiles decide on the credential that the dialogues' contract defines.
    ("profiles", &["protocol", "secret"]),
    // Free of sockets, clocks and logs.
    ("protocol", &["printable", "secret"]),
    ("token", &["printable", "secret"]),
    ("tls", &["platform"]),
    ("observe", &[]),
    ("platform", &[]),
    ("printable", &[]),
    ("relay", &[]),
    ("remedy", &["protocol"]),
    ("secret", &[]),
    ("transport", &["printable"]),
];

/// What the protocol layer may use beside the standard library.
const SANS_IO: &[&str] = &["base64", "bytes", "nom", "thiserror"];

#[test]
fn modules_know_only_whom_they_may_know() {
    let used = modules();
    let listed: BTreeSet<&str> = ALLOWED.iter().map(|(module, _)| *module).collect();
    let found: BTreeSet<&str> = used.keys().map(String::as_str).collect();
    assert_eq!(found, listed, "the modules of src/ are not those listed here");
    for (module, allowed) in ALLOWED {
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        let names: BTreeSet<&str> = used[*module].iter().map(String::as_str).collect();
        let surplus: Vec<_> = names.difference(&allowed).collect();
        assert!(surplus.is_empty(), "{module} must not know {surplus:?}");
        let unused: Vec<_> = allowed.difference(&names).collect();
        assert!(unused.is_empty(), "{module} does not know {unused:?} any more: take the leave back");
    }
}

#[test]
fn protocols_are_free_of_sockets_clocks_and_logs() {
    let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/protocol"));
    assert!(files.len() >= 5, "the protocol layer was not found");
    for file in files {
        let text = code(&file);
        for line in text.lines().map(str::trim).filter(|line| line.starts_with("use ")) {
            let root = line["use ".len()..].split([':', ';', ' ']).next().unwrap_or_default();
            let allowed = ["std", "super", "crate"].contains(&root) || SANS_IO.contains(&root);
            assert!(allowed, "{}: {line}", file.display());
        }
        for word in ["std::net", "std::io", "std::time", "std::thread", "std::fs", "tokio", "tracing"] {
            assert!(!text.contains(word), "{}: {word}", file.display());
        }
    }
}

/// The modules of `src/`, and whom each of them names by `crate::` or `xoauth2_proxy::`.
fn modules() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in sources(&root) {
        let relative = file.strip_prefix(&root).expect("below src");
        let first = relative.iter().next().expect("a file").to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        if module == "lib" {
            continue;
        }
        let text = code(&file);
        let named = modules.entry(module.clone()).or_default();
        for prefix in ["crate::", "xoauth2_proxy::"] {
            for (at, _) in text.match_indices(prefix) {
                let behind = &text[at + prefix.len()..];
                let name: String = behind.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                assert!(!name.is_empty(), "{}: name one module in each `use {prefix}`", file.display());
                named.insert(name);
            }
        }
        named.remove(&module);
    }
    modules
}

/// A file without its comments and tests: those may know more.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).expect("readable");
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// All Rust files below a folder, but for the tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
    files
}
