//! What has been written where? File and environment merged into one tree, whose tables are read key by key: each fault
//! is noted with its place, and reading goes on, so that all of them are told at once.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use config::{Environment, File, FileFormat, Value, ValueKind};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Something that is wrong with the configuration: place, key, fault and remedy.
///
/// No fault holds the value of a secret: values are only quoted where their key holds names and addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it stands.
    pub place: Place,
    /// The key, with the tables around it; empty where it is about the whole.
    pub key: String,
    /// What is wrong, and what to do.
    pub text: String,
}

/// Where a key was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the file, at this line if there is one to name; counted from 1.
    File {
        /// As it was named on the command line.
        path: PathBuf,
        /// Counted from 1.
        line: Option<usize>,
    },
    /// In this environment variable.
    Variable(String),
    /// Nowhere: something is missing, and there is no file.
    Nowhere,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File { path, line: Some(line) } => write!(f, "{}:{line}: ", path.display())?,
            Place::File { path, line: None } => write!(f, "{}: ", path.display())?,
            Place::Variable(name) => write!(f, "environment variable {name}: ")?,
            Place::Nowhere => {}
        }
        if self.key.is_empty() { f.write_str(&self.text) } else { write!(f, "{}: {}", self.key, self.text) }
    }
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file's path and text, if there is a file.
    pub file: Option<(PathBuf, String)>,
    /// Environment variables; those that do not begin with [`PREFIX`] are passed over.
    pub environment: HashMap<String, String>,
}

/// What the name of an environment variable begins with; a double underscore parts tables and keys.
pub const PREFIX: &str = "XOAUTH2_PROXY_";

/// Variables with the prefix that are the command line's.
const OPTIONS: [&str; 3] = ["CONFIG", "LOG", "LOG_FORMAT"];

/// The merged tree, and the faults found in it so far.
pub(super) struct Tree {
    root: HashMap<String, Value>,
    places: Places,
    faults: RefCell<Vec<Fault>>,
    /// Every key that was asked for, with `*` for what the user names: what there is to configure.
    known: RefCell<BTreeSet<String>>,
}

struct Places {
    file: Option<PathBuf>,
    lines: HashMap<String, usize>,
    /// Keys as the environment names them, and the variables' real names.
    variables: BTreeMap<String, String>,
}

impl Tree {
    /// Reads and merges; the environment goes before the file.
    ///
    /// # Errors
    /// The file is no TOML: without a tree there is nothing more to find.
    pub(super) fn read(sources: &Sources) -> Result<Self, Vec<Fault>> {
        let mut lines = HashMap::new();
        let mut builder = config::Config::builder();
        if let Some((path, text)) = &sources.file {
            let (table, errors) = DeTable::parse_recoverable(text);
            if !errors.is_empty() {
                return Err(errors.iter().map(|error| syntax_fault(path, text, error)).collect());
            }
            find_lines(table.get_ref(), "", text, &mut lines);
            // The config crate takes these for paths into the tree, and `[4000000000]` for a list of that length.
            let odd: Vec<_> =
                table.get_ref().keys().map(|key| key.get_ref().as_ref()).filter(|key| !is_plain(key)).collect();
            if !odd.is_empty() {
                let fault = |key: &&str| Fault {
                    place: Place::File { path: path.clone(), line: lines.get(*key).copied() },
                    key: (*key).to_owned(),
                    text: String::from("unknown key"),
                };
                return Err(odd.iter().map(fault).collect());
            }
            builder = builder.add_source(File::from_str(text, FileFormat::Toml));
        }
        let environment: HashMap<_, _> =
            sources.environment.iter().filter(|(name, _)| is_key(name)).map(|(n, v)| (n.clone(), v.clone())).collect();
        let odd: Vec<_> = environment.keys().filter(|name| !is_plain(name)).collect();
        if !odd.is_empty() {
            let fault = |name: &&String| Fault {
                place: Place::Variable((*name).clone()),
                key: String::new(),
                text: String::from("a name is made of letters, digits, - and _"),
            };
            return Err(odd.iter().map(fault).collect());
        }
        let variables = environment
            .keys()
            .map(|name| (name[PREFIX.len()..].to_lowercase().replace("__", "."), name.clone()))
            .collect();
        let prefix = PREFIX.trim_end_matches('_');
        builder = builder.add_source(
            Environment::with_prefix(prefix).prefix_separator("_").separator("__").source(Some(environment)),
        );
        let places = Places { file: sources.file.as_ref().map(|(path, _)| path.clone()), lines, variables };
        let merged = builder.build().map(|config| config.cache.kind);
        let root = match merged {
            Ok(ValueKind::Table(root)) => root,
            Ok(_) => HashMap::new(),
            Err(error) => {
                return Err(vec![Fault { place: places.nowhere(), key: String::new(), text: error.to_string() }]);
            }
        };
        Ok(Self { root, places, faults: RefCell::default(), known: RefCell::default() })
    }

    /// The whole, as a table.
    pub(super) fn root(&self) -> Table<'_> {
        Table {
            tree: self,
            path: String::new(),
            pattern: String::new(),
            values: self.root.iter().collect(),
            asked: BTreeSet::new(),
        }
    }

    /// Notes a fault of a key, given with the tables around it.
    pub(super) fn fault(&self, key: &str, text: impl Into<String>) {
        let fault = Fault { place: self.places.of(key, false), key: key.to_owned(), text: text.into() };
        let mut faults = self.faults.borrow_mut();
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }

    /// All faults, in the order of the file.
    pub(super) fn into_faults(self) -> Vec<Fault> {
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|fault| match fault.place {
            Place::File { line: Some(line), .. } => line,
            _ => usize::MAX,
        });
        faults
    }

    /// Every key there is, with `*` for what the user names.
    #[cfg(test)]
    pub(super) fn known_keys(&self) -> BTreeSet<String> {
        self.known.borrow().clone()
    }
}

impl Places {
    /// The place of a key, or where it has none (it is missing), of the table around it.
    fn of(&self, key: &str, from_environment: bool) -> Place {
        if let Some(name) = self.variables.get(key) {
            return Place::Variable(name.clone());
        }
        if from_environment {
            return Place::Nowhere;
        }
        let mut path = key;
        loop {
            if let Some(&line) = self.lines.get(path) {
                return Place::File { path: self.file.clone().unwrap_or_default(), line: Some(line) };
            }
            match path.rsplit_once('.') {
                Some((table, _)) => path = table,
                None => return self.nowhere(),
            }
        }
    }

    fn nowhere(&self) -> Place {
        self.file.clone().map_or(Place::Nowhere, |path| Place::File { path, line: None })
    }
}

/// One table while it is being read. What nobody has asked for by [`Table::finish`] is an unknown key.
pub(super) struct Table<'t> {
    tree: &'t Tree,
    path: String,
    pattern: String,
    values: HashMap<&'t String, &'t Value>,
    asked: BTreeSet<&'static str>,
}

impl<'t> Table<'t> {
    /// A key of this table with the tables around it.
    pub(super) fn key(&self, key: &str) -> String {
        join(&self.path, key)
    }

    /// Notes a fault of a key of this table.
    pub(super) fn fault(&self, key: &str, text: impl Into<String>) {
        self.tree.fault(&self.key(key), text);
    }

    /// Notes a fault of the table itself.
    pub(super) fn table_fault(&self, text: impl Into<String>) {
        self.tree.fault(&self.path, text);
    }

    /// Whether something was wrong with a key of this table: then it is not missing as well.
    pub(super) fn has_fault(&self, key: &str) -> bool {
        let key = self.key(key);
        self.tree.faults.borrow().iter().any(|fault| fault.key == key)
    }

    fn ask(&mut self, key: &'static str) -> Option<&'t Value> {
        self.asked.insert(key);
        self.tree.known.borrow_mut().insert(join(&self.pattern, key));
        self.values.remove(&key.to_owned())
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.ask(key)?;
        match &value.kind {
            ValueKind::String(text) if text.is_empty() => {
                self.fault(key, "is empty");
                None
            }
            ValueKind::String(text) => Some(text.clone()),
            other => self.wrong_type(key, "a text in quotes", other),
        }
    }

    /// One of several words.
    pub(super) fn word<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
            self.fault(key, format!("is none of {}", all.join(", ")));
        }
        found
    }

    /// Yes or no; the environment writes it `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.ask(key)?;
        match &value.kind {
            ValueKind::Boolean(flag) => Some(*flag),
            ValueKind::String(text) if from_environment(value) && ["true", "false"].contains(&text.as_str()) => {
                Some(text == "true")
            }
            other => self.wrong_type(key, "true or false", other),
        }
    }

    /// A text or a list of texts; the environment parts them by spaces.
    pub(super) fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.texts_parted_by(key, char::is_whitespace)
    }

    /// As [`Table::texts`], of texts that may hold spaces; the environment parts them by commas.
    pub(super) fn lines(&mut self, key: &'static str) -> Option<Vec<String>> {
        self.texts_parted_by(key, |c| c == ',')
    }

    fn texts_parted_by(&mut self, key: &'static str, parts: fn(char) -> bool) -> Option<Vec<String>> {
        let value = self.ask(key)?;
        let texts = match &value.kind {
            ValueKind::String(text) if from_environment(value) => {
                text.split(parts).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
            }
            _ => self.list(key, value)?,
        };
        if texts.is_empty() || texts.iter().any(String::is_empty) {
            self.fault(key, "is empty");
            return None;
        }
        Some(texts)
    }

    /// A path. One from the file is relative to the file's directory, one from the environment to the working directory.
    pub(super) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        self.paths(key).and_then(|mut paths| {
            if paths.len() > 1 {
                self.fault(key, "is a list; one path is expected");
                return None;
            }
            paths.pop()
        })
    }

    /// A path or a list of paths, as [`Table::path`]; the environment can give one.
    pub(super) fn paths(&mut self, key: &'static str) -> Option<Vec<PathBuf>> {
        let value = self.ask(key)?;
        let texts = self.list(key, value)?;
        if texts.is_empty() || texts.iter().any(String::is_empty) {
            self.fault(key, "is empty");
            return None;
        }
        let directory = self.tree.places.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        let base = if from_environment(value) { Path::new("") } else { directory };
        Some(texts.iter().map(|text| base.join(text)).collect())
    }

    /// Socket addresses.
    pub(super) fn addresses(&mut self, key: &'static str) -> Option<Vec<SocketAddr>> {
        let mut addresses = Vec::new();
        for text in self.texts(key)? {
            match text.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => self.fault(key, format!("{text:?} is no address and port, as 127.0.0.1:1143 or [::1]:1143")),
            }
        }
        Some(addresses)
    }

    /// A list of tables of two texts each; the environment writes them `FIRST=SECOND`, parted by spaces.
    pub(super) fn pairs(&mut self, key: &'static str, [first, second]: [&str; 2]) -> Option<Vec<(String, String)>> {
        let value = self.ask(key)?;
        let pair = |value: &Value| match &value.kind {
            ValueKind::Table(table) if table.len() == 2 => match (&table.get(first)?.kind, &table.get(second)?.kind) {
                (ValueKind::String(one), ValueKind::String(other)) => Some((one.clone(), other.clone())),
                _ => None,
            },
            _ => None,
        };
        let split = |text: &str| text.split_once('=').map(|(one, other)| (one.to_owned(), other.to_owned()));
        let pairs = match &value.kind {
            ValueKind::String(text) if from_environment(value) => text.split_whitespace().map(split).collect(),
            ValueKind::Array(values) => values.iter().map(pair).collect(),
            _ => None,
        };
        if pairs.is_none() {
            self.fault(key, format!("is no list of {{ {first} = \"...\", {second} = \"...\" }}"));
        }
        pairs
    }

    fn list(&self, key: &'static str, value: &Value) -> Option<Vec<String>> {
        match &value.kind {
            ValueKind::String(text) => Some(vec![text.clone()]),
            ValueKind::Array(values) => {
                let texts = values.iter().map(|value| match &value.kind {
                    ValueKind::String(text) => Ok(text.clone()),
                    other => Err(other),
                });
                match texts.collect() {
                    Ok(texts) => Some(texts),
                    Err(other) => self.wrong_type(key, "a list of texts in quotes", other),
                }
            }
            other => self.wrong_type(key, "a text in quotes, or a list of them", other),
        }
    }

    /// A table of this table.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Table<'t>> {
        self.asked.insert(key);
        let (path, pattern) = (self.key(key), join(&self.pattern, key));
        let value = self.values.remove(&key.to_owned())?;
        self.open(value, path, pattern)
    }

    /// The tables in a table whose keys are names that the user gives.
    pub(super) fn named_tables(&mut self, key: &'static str) -> Vec<(String, Table<'t>)> {
        let Some(table) = self.table(key) else { return Vec::new() };
        let mut named: Vec<_> = table.values.iter().collect();
        named.sort_by_key(|(name, _)| *name);
        let pattern = join(&table.pattern, "*");
        let mut tables = Vec::new();
        for (name, value) in named.into_iter().map(|(name, value)| (*name, *value)) {
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
            if name.is_empty() || !name.chars().all(allowed) || name.contains("__") {
                table.fault(name, "a name is made of lower-case letters, digits, - and single _");
            }
            if let Some(opened) = self.open(value, table.key(name), pattern.clone()) {
                tables.push((name.clone(), opened));
            }
        }
        tables
    }

    fn open(&self, value: &'t Value, path: String, pattern: String) -> Option<Table<'t>> {
        match &value.kind {
            ValueKind::Table(values) => {
                Some(Table { tree: self.tree, path, pattern, values: values.iter().collect(), asked: BTreeSet::new() })
            }
            other => {
                self.tree.fault(&path, format!("is {}; a table is expected, as [{path}]", kind(other)));
                None
            }
        }
    }

    fn wrong_type<T>(&self, key: &str, expected: &str, found: &ValueKind) -> Option<T> {
        self.fault(key, format!("is {}; {expected} is expected", kind(found)));
        None
    }

    /// Notes what is left over as unknown, with the known key that is nearest.
    pub(super) fn finish(self) {
        for key in self.values.keys() {
            let advice = match key.as_str() {
                "password" => String::from("; make a password_hash with: xoauth2-proxy hash-password"),
                key => nearest(key, self.asked.iter().copied())
                    .map(|known| format!("; did you mean {known:?}?"))
                    .unwrap_or_default(),
            };
            self.fault(key, format!("unknown key{advice}"));
        }
    }
}

/// The candidate that `word` was probably meant to be: one slip away, or one in three letters.
pub(super) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters = word.chars().count();
    candidates
        .map(|candidate| (strsim::osa_distance(word, candidate), candidate))
        .filter(|(slips, _)| *slips <= (letters / 3).max(1) && *slips < letters)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

fn join(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}

/// Whether an environment variable means a key of the configuration. Those of the command line do not, nor those that
/// Kubernetes sets for services whose names begin like ours (`XOAUTH2_PROXY_IMAP_PORT_1143_TCP_ADDR`).
pub fn is_key(variable: &str) -> bool {
    let of_kubernetes = |name: &str| {
        let parts = format!("_{name}_");
        !name.contains("__") && ["_SERVICE_HOST_", "_SERVICE_PORT_", "_PORT_"].iter().any(|part| parts.contains(part))
    };
    variable.strip_prefix(PREFIX).is_some_and(|name| !OPTIONS.contains(&name) && !of_kubernetes(name))
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"_-".contains(&octet))
}

fn from_environment(value: &Value) -> bool {
    value.origin() == Some("the environment")
}

fn kind(value: &ValueKind) -> &'static str {
    match value {
        ValueKind::Nil => "nothing",
        ValueKind::Boolean(_) => "true or false",
        ValueKind::I64(_) | ValueKind::I128(_) | ValueKind::U64(_) | ValueKind::U128(_) => "a number",
        ValueKind::Float(_) => "a number with a point",
        ValueKind::String(_) => "a text",
        ValueKind::Table(_) => "a table",
        ValueKind::Array(_) => "a list",
    }
}

/// The parser's own display quotes the line, and the line may hold a secret: only its message is used.
fn syntax_fault(path: &Path, text: &str, error: &toml::de::Error) -> Fault {
    let line = error.span().map(|span| line_of(text, span.start));
    Fault { place: Place::File { path: path.to_owned(), line }, key: String::new(), text: error.message().to_owned() }
}

fn find_lines(table: &DeTable<'_>, path: &str, text: &str, lines: &mut HashMap<String, usize>) {
    for (key, value) in table.iter() {
        let path = join(path, key.get_ref());
        lines.insert(path.clone(), line_of(text, Spanned::span(key).start));
        if let DeValue::Table(table) = value.get_ref() {
            find_lines(table, &path, text, lines);
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&octet| octet == b'\n').count()
}
