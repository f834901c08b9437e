//! Changing one value of the file and leaving every other byte of it alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::print::toml_value;
use super::{Config, ConfigError, read};

/// What a new file begins with.
const NEW_FILE: &str = "# Settings of this node. `p2pnode config` prints every value with its default and comment.\n";

/// Writes the addresses to listen on into the configuration file, whose comments and other values stay as they are. A
/// missing file is made. The file is replaced in one step: a crash leaves the old one or the new one.
pub fn set_listen(path: &Path, listen: &[String]) -> Result<(), ConfigError> {
    let old = read(path)?;
    let text = old.as_deref().unwrap_or(NEW_FILE);
    let mut wanted = Config::parse(path, text)?;
    if old.is_some() && wanted.transport.listen == listen {
        return Ok(());
    }
    wanted.transport.listen = listen.to_vec();
    let value = toml_value(&listen);
    let new = candidates(text, &value)
        .into_iter()
        .find(|new| Config::parse(path, new).is_ok_and(|config| config == wanted))
        .ok_or_else(|| ConfigError::Edit { path: path.to_owned(), listen: value.replace('\n', " ") })?;
    replace(path, &new).map_err(|source| ConfigError::Write { path: path.to_owned(), source })
}

/// Texts that may be the file with the new value. TOML has several ways to write one thing, so the caller takes the first
/// that reads back as what was wanted.
fn candidates(text: &str, value: &str) -> Vec<String> {
    let places = Places::find(text);
    if let Some(listen) = places.listen {
        return vec![spliced(text, listen, value)];
    }
    let mut found = Vec::new();
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        end += line.len();
        if line.split('#').next().is_some_and(|code| code.trim() == "[transport]") {
            let gap = if line.ends_with('\n') { "" } else { "\n" };
            found.push(spliced(text, end..end, &format!("{gap}listen = {value}\n")));
        }
    }
    if let Some(braces) = places.braces {
        let begin = braces.start..braces.start + 1;
        found.push(spliced(text, begin.clone(), &format!("{{ listen = {value}")));
        found.push(spliced(text, begin, &format!("{{ listen = {value},")));
    }
    if let Some(key) = places.key {
        let line = text.get(..key.start).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
        // In a header it would be another part's: `[transport.limits]`.
        if !text.get(line..).is_some_and(|line| line.trim_start().starts_with('[')) {
            found.push(spliced(text, line..line, &format!("transport.listen = {value}\n")));
        }
    }
    let gap = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    found.push(format!("{text}{gap}\n[transport]\nlisten = {value}\n"));
    found
}

/// Where things stand in the text, in bytes.
#[derive(Default)]
struct Places {
    /// The value of `transport.listen`.
    listen: Option<Range<usize>>,
    /// The value of `transport`, if it is an inline table.
    braces: Option<Range<usize>>,
    /// Where `transport` is first named.
    key: Option<Range<usize>>,
}

impl Places {
    fn find(text: &str) -> Self {
        let Ok(root) = DeTable::parse(text) else { return Self::default() };
        let transport = root.get_ref().iter().find(|(key, _)| key.get_ref().as_ref() == "transport");
        let Some((key, value)) = transport else { return Self::default() };
        let DeValue::Table(table) = value.get_ref() else { return Self::default() };
        let listen = table.iter().find(|(key, _)| key.get_ref().as_ref() == "listen");
        let span = value.span();
        Self {
            listen: listen.map(|(_, value)| value.span()),
            braces: text.get(span.clone()).is_some_and(|text| text.starts_with('{')).then_some(span),
            key: Some(key.span()),
        }
    }
}

fn spliced(text: &str, range: Range<usize>, with: &str) -> String {
    let before = text.get(..range.start).unwrap_or_default();
    let after = text.get(range.end..).unwrap_or_default();
    format!("{before}{with}{after}")
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    // A link to the file stays a link.
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let folder = match real.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let name = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let next = folder.join(format!(".{name}.{}.tmp", std::process::id()));
    let written = write_new(&next, &real, text).and_then(|()| fs::rename(&next, &real));
    if written.is_err() {
        // The error is already known; a leftover is only untidy.
        let _ = fs::remove_file(&next);
    }
    written?;
    File::open(folder)?.sync_all()
}

fn write_new(next: &Path, old: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(next)?;
    if let Ok(metadata) = fs::metadata(old) {
        file.set_permissions(metadata.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
