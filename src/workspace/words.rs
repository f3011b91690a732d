//! Why a path is refused, in words, and what helps.

use std::io;
use std::path::Path;

use super::beneath::OpenError;
use super::shelf::ShelfError;
use crate::rpc::translate::Refusal;

pub(super) const MISSING: &str = "missing";
pub(super) const DIRECTORY: &str = "directory";

fn refusal(code: &'static str, reason: impl Into<String>, hint: Option<String>) -> Refusal {
    Refusal { code, reason: reason.into(), hint }
}

fn mount(path: &Path) -> String {
    let path = path.display().to_string();
    // As a shell takes it.
    let plain = path.chars().all(|c| c.is_alphanumeric() || "/._-+@~".contains(c));
    let word = if plain { path } else { format!("'{}'", path.replace('\'', "'\\''")) };
    format!("start npxc with --mount {word}")
}

pub(super) fn not_text() -> Refusal {
    refusal("not-text", "is in a directory whose name is not UTF-8", None)
}

pub(super) fn own() -> Refusal {
    refusal("npxc", "is npxc's own, which is never shared", None)
}

pub(super) fn unrecorded() -> Refusal {
    refusal("unrecorded", "cannot be shared: the audit log takes no more lines", None)
}

pub(super) fn unopened(error: &OpenError, path: &Path) -> Refusal {
    match error {
        OpenError::Leaves => refusal(
            "outside-scope",
            "is or goes through a link that leads out of the working directory",
            Some(mount(path)),
        ),
        OpenError::Directory => {
            refusal(DIRECTORY, "is a directory, and only files are shared by their names", Some(mount(path)))
        }
        OpenError::Special => refusal("special", "is not a regular file, and is not shared", None),
        OpenError::System(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => refusal(
                MISSING,
                "is not there, and the package cannot make it",
                path.parent().map(|parent| mount(parent) + ":rw to let it write there"),
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
        ShelfError::System(_) => refusal("unreadable", error.to_string(), None),
    }
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
