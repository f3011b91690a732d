//! Why a path is refused, in words, and what helps.

use std::io;
use std::path::Path;

use super::beneath::OpenError;
use super::publish::MOST_NAMES;
use super::shelf::{MOST_OF_ONE, ShelfError};
use super::tree;
use crate::paths::shell_word;
use crate::rpc::translate::Refusal;

fn refusal(code: &'static str, reason: impl Into<String>, hint: Option<String>) -> Refusal {
    Refusal { code, reason: reason.into(), hint }
}

fn mount(path: &Path) -> String {
    format!("start npxc with --mount {}", shell_word(&path.to_string_lossy()))
}

pub(super) fn not_text() -> Refusal {
    refusal("not-text", "is in a directory whose name is not UTF-8", None)
}

pub(super) fn own() -> Refusal {
    refusal("npxc", "is npxc's own, which is never shared", None)
}

pub(super) fn root(path: &Path) -> Refusal {
    refusal("root", "is seen by the package only as far as calls name its files", Some(mount(path)))
}

pub(super) fn unrecorded() -> Refusal {
    refusal("unrecorded", "cannot be shared: the audit log takes no more lines", None)
}

/// `writes` when the package may make files there.
pub(super) fn unopened(error: &OpenError, path: &Path, writes: bool) -> Refusal {
    match error {
        OpenError::Leaves => refusal(
            "outside-scope",
            "is or goes through a link that leads out of the working directory",
            Some(mount(path)),
        ),
        OpenError::Directory => refusal("directory", "is a directory where a file was", Some(mount(path))),
        OpenError::Special => refusal("special", "is not a regular file, and is not shared", None),
        OpenError::System(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if writes => {
                refusal("missing", "is not there, and nothing can be made there", None)
            }
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => refusal(
                "missing",
                "is not there, and the package cannot make it",
                path.parent()
                    .map(|parent| format!("{}:rw, or with --write, to let it write there", mount(parent))),
            ),
            io::ErrorKind::PermissionDenied => refusal("permission", "may not be read by you", None),
            _ => refusal("unreadable", format!("cannot be opened: {error}"), Some(mount(path))),
        },
    }
}

pub(super) fn unkept(error: &ShelfError) -> Refusal {
    match error {
        ShelfError::TooLarge => refusal(
            "too-large",
            error.to_string(),
            Some("start npxc with --mount and its directory".to_owned()),
        ),
        ShelfError::Full => refusal(
            "too-many",
            error.to_string(),
            Some("start npxc with --mount and their directory".to_owned()),
        ),
        ShelfError::Unrecorded(_) => unrecorded(),
        ShelfError::System(_) => {
            let hint = "start npxc with --mount and its directory, of which no copy is made";
            refusal("unreadable", error.to_string(), Some(hint.to_owned()))
        }
    }
}

/// One name more than are remembered.
pub(super) fn too_many_names() -> Refusal {
    refusal(
        "too-many",
        format!("is one name too many: a session remembers {MOST_NAMES} of shared files and directories"),
        Some("start npxc with --mount and their directory".to_owned()),
    )
}

/// The same, of what the package made.
pub(super) fn too_many_made() -> Refusal {
    let reason = format!(
        "was not written as a whole: a session remembers {MOST_NAMES} names of files and directories"
    );
    refusal(
        "not-saved",
        reason,
        Some("start npxc with --mount DIRECTORY:rw to have no such bound".to_owned()),
    )
}

/// Not in the scope; `open` when the working directory is one.
pub(super) fn outside(path: &Path, cwd: &Path, open: bool) -> Refusal {
    let cwd = cwd.display();
    let reason = if open {
        format!("is outside of what the package may see, which is what you name in {cwd}")
    } else {
        format!("is not shared: npxc was started in {cwd}, which is too wide to share files from")
    };
    let mut hint = mount(path);
    if !open {
        hint += ", or with --cwd and the directory you work in";
    }
    refusal("outside-scope", reason, Some(hint))
}

/// A file that a tool would make outside of the scope; `open` when the working directory is one.
pub(super) fn unmade(path: &Path, cwd: &Path, open: bool) -> Refusal {
    let cwd = cwd.display();
    let reason = if open {
        format!("is not there, and the package can make files only where it is let, at the most in {cwd}")
    } else {
        format!("is not there, and the package cannot make it: {cwd} is too wide to share files from")
    };
    let mount = path.parent().map(|parent| format!("{}:rw", mount(parent)));
    let hint = mount.map(|mount| format!("{mount}, or with --write and --cwd and the directory you work in"));
    refusal("outside-scope", reason, hint)
}

/// A directory that holds too much to be copied.
pub(super) fn too_wide(path: &Path) -> Refusal {
    let bounds = format!("{} files or {} MiB", tree::MOST_ENTRIES, tree::MOST_BYTES >> 20);
    refusal("too-wide", format!("holds more than {bounds}, too much to be copied"), Some(mount(path)))
}

/// Why a file of the package's was not taken.
pub(super) fn untaken(error: &OpenError) -> Refusal {
    let what = match error {
        OpenError::Leaves | OpenError::Special | OpenError::Directory => {
            "is no regular file any more where the package sees it".to_owned()
        }
        OpenError::System(error) => format!("cannot be read where the package sees it: {error}"),
    };
    refusal("not-saved", format!("was not written: it {what}"), None)
}

/// The package's copy has other names.
pub(super) fn linked() -> Refusal {
    let reason = "was not written: where the package sees it, it has another name as well (a hard link)";
    refusal("not-saved", reason, None)
}

/// The package's copy is too large.
pub(super) fn too_large() -> Refusal {
    let reason = format!("was not written: the package made it larger than {} MiB", MOST_OF_ONE >> 20);
    let hint = "start npxc with --mount DIRECTORY:rw to let it write files of any size";
    refusal("not-saved", reason, Some(hint.to_owned()))
}

/// The package put too much into a directory.
pub(super) fn too_much(path: &Path) -> Refusal {
    let bounds = format!("{} files or {} MiB", tree::MOST_ENTRIES, tree::MOST_BYTES >> 20);
    let reason = format!("was not written as a whole: the package put more than {bounds} into it");
    refusal("not-saved", reason, Some(mount(path) + ":rw"))
}

/// Why a file cannot be written.
pub(super) fn unwritten(error: &OpenError) -> Refusal {
    let why = match error {
        OpenError::Leaves => "a link is in the way to it now".to_owned(),
        OpenError::Directory | OpenError::Special => "something else is in its place now".to_owned(),
        OpenError::System(error) => match error.kind() {
            io::ErrorKind::PermissionDenied => "you may not change it".to_owned(),
            _ => error.to_string(),
        },
    };
    refusal("not-saved", format!("was not written: {why}"), None)
}

/// The log takes no more lines.
pub(super) fn unrecorded_write() -> Refusal {
    refusal("unrecorded", "was not written: the audit log takes no more lines", None)
}

/// The host's file is another one than what was shared.
pub(super) fn conflict(kept: &Path) -> Refusal {
    let reason = format!(
        "changed while the package worked on it, and was left as it is; the package's version is {}",
        kept.display()
    );
    refusal("changed-meanwhile", reason, Some("compare the two, and keep what is wanted".to_owned()))
}

/// The host's file has other names, which a rename would leave with the old content.
pub(super) fn shared_names(kept: &Path) -> Refusal {
    let reason = format!(
        "has other names (hard links), which would no longer be the same file, and was left as it is; the package's \
         version is {}",
        kept.display()
    );
    let hint = "copy it over the file to change all of them, or start npxc with --mount DIRECTORY:rw";
    refusal("not-saved", reason, Some(hint.to_owned()))
}

/// The package's version is elsewhere.
pub(super) fn kept(why: &Refusal, at: &Path) -> Refusal {
    let reason = format!("{}; the package's version is {}", why.reason, at.display());
    refusal("not-saved", reason, Some("move it to where it belongs".to_owned()))
}

/// Nor can it be kept elsewhere.
pub(super) fn nowhere(why: &Refusal) -> Refusal {
    refusal("not-saved", format!("{}, and it could be kept nowhere else", why.reason), None)
}
