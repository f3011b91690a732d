//! What a name or a description says about an argument.

/// Where a schema says that an argument is a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// `format`.
    Format,
    /// The argument's name.
    Name,
    /// `description`.
    Description,
}

/// Formats of strings that are paths; the first two are pydantic's.
const FORMATS: [&str; 5] = ["file-path", "directory-path", "path", "file", "directory"];

/// Last words of names of paths.
const WORDS: [&str; 17] = [
    "path",
    "paths",
    "file",
    "files",
    "filename",
    "filenames",
    "filepath",
    "filepaths",
    "dir",
    "dirs",
    "directory",
    "directories",
    "dirname",
    "folder",
    "folders",
    "cwd",
    "dirpath",
];

/// Phrases of descriptions of paths.
const PHRASES: [&str; 7] = [
    "absolute path",
    "file path",
    "path to the",
    "path to a",
    "path of the file",
    "directory path",
    "local path",
];

/// Phrases of descriptions of what is called a path and is none of this machine's.
const OTHER_PHRASES: [&str; 10] = [
    "url path",
    "api path",
    "json path",
    "jsonpath",
    "xpath",
    "glob",
    "regular expression",
    "regex",
    "endpoint",
    "route",
];

/// Names beside an argument that make its tool one that works on another machine's files.
const REMOTE: [&str; 24] = [
    "owner",
    "bucket",
    "project_id",
    "projectid",
    "repo_id",
    "repository_id",
    "host",
    "hostname",
    "ssh_host",
    "namespace",
    "pod",
    "container",
    "container_id",
    "containerid",
    "base_url",
    "baseurl",
    "headers",
    "drive_id",
    "driveid",
    "site_id",
    "siteid",
    "file_key",
    "filekey",
    "instance_id",
];

/// Last words of names of what is stored, sent or looked for as it is: what looks like a path in it is somebody's text.
const CONTENT: [&str; 29] = [
    "content",
    "contents",
    "text",
    "body",
    "message",
    "description",
    "title",
    "summary",
    "comment",
    "note",
    "notes",
    "observation",
    "observations",
    "thought",
    "prompt",
    "snippet",
    "values",
    "row",
    "rows",
    "cell",
    "cells",
    "query",
    "queries",
    "search",
    "pattern",
    "term",
    "keyword",
    "keywords",
    "q",
];

/// Words of names of tools that give files other names.
const MOVING: [&str; 4] = ["move", "rename", "copy", "link"];

/// What such a tool says it does that with: others move mails and cards.
const MOVED: [&str; 4] = ["file", "files", "directory", "path"];

/// Names of its arguments.
const ENDS: [&str; 8] = ["source", "src", "from", "destination", "dest", "dst", "to", "target"];

/// Words of names of tools that make the files which they are given the names of.
const MAKING: [&str; 7] = ["write", "save", "create", "export", "append", "generate", "download"];

/// Words of names of arguments whose files are made.
const MADE: [&str; 5] = ["output", "out", "destination", "dest", "save"];

/// Whether a file of this name is one that the tool makes, as far as names say.
pub(super) fn makes(tool: &str, argument: &str) -> bool {
    let has = |name: &str, known: &[&str]| words(name).iter().any(|word| known.contains(&word.as_str()));
    has(tool, &MAKING) || has(argument, &MADE)
}

/// Whether the argument of a tool is one of a file's two names, as `move_file` has them.
pub(super) fn is_end(tool: &str, argument: &str) -> bool {
    let words = words(tool);
    let has = |known: &[&str]| words.iter().any(|word| known.contains(&word.as_str()));
    has(&MOVING) && has(&MOVED) && ENDS.contains(&argument.to_ascii_lowercase().as_str())
}

/// `writeFile`, `write_file`, `write-file`: `write` and `file`.
fn words(name: &str) -> Vec<String> {
    let (mut words, mut after_lower) = (vec![String::new()], false);
    for c in name.chars() {
        if !c.is_alphanumeric() || (after_lower && c.is_uppercase()) {
            words.push(String::new());
        }
        after_lower = c.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
    }
    words
}

/// Whether an argument of this name is content.
pub(super) fn is_content(name: &str) -> bool {
    CONTENT.contains(&last_word(name).as_str())
}

/// Whether a tool with this argument works on another machine's files.
pub(super) fn is_remote(name: &str) -> bool {
    REMOTE.contains(&name.to_ascii_lowercase().as_str())
}

/// What a schema's words say of a string.
pub(super) fn of(name: &str, format: Option<&str>, description: &str) -> Option<Sign> {
    if format.is_some_and(|format| FORMATS.contains(&format)) {
        return Some(Sign::Format);
    }
    // Another format: a date, a host name, an URI; what is written as file:// shows by its shape.
    if format.is_some() {
        return None;
    }
    let description = description.to_lowercase();
    if OTHER_PHRASES.iter().any(|phrase| description.contains(phrase)) {
        return None;
    }
    if WORDS.contains(&last_word(name).as_str()) {
        return Some(Sign::Name);
    }
    PHRASES.iter().any(|phrase| description.contains(phrase)).then_some(Sign::Description)
}

/// `outputPath`, `output_path`, `output-path`: `path`.
pub(super) fn last_word(name: &str) -> String {
    let end = name.rsplit(['_', '-', '.', ' ']).next().unwrap_or(name);
    let camel = end.char_indices().rev().find(|(at, c)| {
        c.is_ascii_uppercase() && end[..*at].chars().next_back().is_some_and(|c| c.is_ascii_lowercase())
    });
    camel.map_or(end, |(at, _)| &end[at..]).to_ascii_lowercase()
}
