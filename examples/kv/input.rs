//! The input of an import: the lines of text files.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::Outcome;
use crate::record::{Action, Map};

/// During an import this key names the current file. No file's path ends like it.
const IMPORTING: &str = "importing/";

/// Directories that have no text of the user's own.
const SKIPPED: [&str; 3] = ["target", ".git", ".kv"];

/// Returns the files of this repository; if the program was moved away from it, the files around the
/// program.
pub(crate) fn default_path() -> PathBuf {
    let repository = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    if repository.is_dir() { repository } else { PathBuf::from(".") }
}

/// Reads a text file, or all text files in a folder: their lines, under the file's name or its path in
/// the folder. Skips files without a line, and, in a folder, files that are not UTF-8 text.
pub(crate) fn read(path: &Path) -> Outcome<Map> {
    let mut files = Map::new();
    let metadata = fs::metadata(path).map_err(|e| named(path, e))?;
    if metadata.is_dir() {
        read_folder(path, "", &mut files)?;
    } else {
        let text = read_text(path)?.ok_or_else(|| format!("'{}' is not UTF-8 text", path.display()))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        files.insert(name.into_owned(), lines(&text));
    }
    files.retain(|_, lines| !lines.is_empty());
    if files.is_empty() {
        return Err(format!("'{}' holds no line of text to import", path.display()).into());
    }
    Ok(files)
}

/// Returns the actions that set each file's lines under its key, whatever was there before.
pub(crate) fn actions(files: &Map) -> Vec<Action> {
    let mut actions = Vec::new();
    for (name, lines) in files {
        actions.push(Action::set(IMPORTING, name));
        actions.push(Action::delete(name));
        actions.extend(lines.iter().map(|line| Action::append(name, line)));
    }
    actions.push(Action::delete(IMPORTING));
    actions
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Map) -> Outcome<()> {
    for entry in fs::read_dir(folder).map_err(|e| named(folder, e))? {
        let entry = entry.map_err(|e| named(folder, e))?;
        // A name that is not UTF-8 can't be a key.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = entry.file_type().map_err(|e| named(&entry.path(), e))?;
        let key = format!("{prefix}{name}");
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            read_folder(&entry.path(), &format!("{key}/"), files)?;
        } else if kind.is_file()
            && let Some(text) = read_text(&entry.path())?
        {
            files.insert(key, lines(&text));
        }
    }
    Ok(())
}

/// Reads a file's text; `None` if it is not text, or was removed since its folder was read.
fn read_text(path: &Path) -> Outcome<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(named(path, e).into()),
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_string).collect()
}

fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("'{}': {error}", path.display()))
}
