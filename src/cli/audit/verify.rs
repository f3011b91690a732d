//! `npxc audit verify`, and the key that it knows.

use std::fmt::Write as _;
use std::path::Path;

use crate::audit::chain::Finding;
use crate::audit::escape::printable;
use crate::audit::signature::Key;
use crate::cli::say;
use crate::config::Directories;
use crate::exit::{ExitStatus, Failure};

/// Prints this machine's key; there is one after the first signed session.
pub(super) fn key() -> Result<ExitStatus, Failure> {
    let Some(key) = own()? else {
        return Err(Failure::new(ExitStatus::Config, "there is no key on this machine")
            .hint("write `sign = true` below [audit] in npxc.toml: the next session makes one"));
    };
    say::print(&format!("{key}\n"));
    Ok(ExitStatus::Success)
}

fn own() -> Result<Option<String>, Failure> {
    let path = Directories::new(|name| std::env::var_os(name))?.audit_key();
    Ok(Key::existing(&path).map(|key| key.public()))
}

pub(super) fn execute(path: &Path, wanted: Option<&str>, json: bool) -> Result<ExitStatus, Failure> {
    let mut verified = super::verify(path)?;
    if let Some(wanted) = wanted {
        for (number, signed) in (1_usize..).zip(&verified.signed) {
            if signed.as_deref() != Some(wanted) {
                let what = match signed {
                    Some(other) => {
                        format!("session {number} of the log is signed with another key, {other}")
                    }
                    None => format!("session {number} of the log is not signed"),
                };
                verified.findings.push(Finding { file: None, line: verified.lines, what });
            }
        }
        if verified.signed.is_empty() {
            let what = "no session of the log is signed".to_owned();
            verified.findings.push(Finding { file: None, line: verified.lines, what });
        }
    }
    let sound = verified.findings.is_empty();
    if json {
        let findings: Vec<_> = verified
            .findings
            .iter()
            .map(|finding| match &finding.file {
                Some(file) => serde_json::json!({ "file": file, "line": finding.line, "what": finding.what }),
                None => serde_json::json!({ "line": finding.line, "what": finding.what }),
            })
            .collect();
        let result = serde_json::json!({
            "sound": sound, "files": verified.files, "lines": verified.lines, "sessions": verified.sessions, "hash": verified.last,
            "signed": verified.signed, "findings": findings,
        });
        say::print(&super::to_json(&result)?);
    } else if sound {
        let (lines, sessions) = (verified.lines, verified.sessions);
        say::print(&format!(
            "{} is complete and unchanged: {}{lines} lines, {sessions} session{}, last hash {}, {}\n",
            printable(&path.to_string_lossy(), 1000),
            if verified.files == 1 { String::new() } else { format!("{} files, ", verified.files) },
            if sessions == 1 { "" } else { "s" },
            verified.last,
            signed(&verified.signed, own()?.as_deref()),
        ));
    }
    if sound {
        return Ok(ExitStatus::Success);
    }
    let mut message = format!("{} is not as npxc wrote it, or not complete", path.display());
    for finding in &verified.findings {
        let _ = write!(message, "\n{finding}");
    }
    Err(Failure::new(ExitStatus::Config, message).hint(
        "npxc audit show FILE shows what can be read, to be trusted as far as the file; a log that is still written has no \
         session.end yet",
    ))
}

/// By whom, in words: a key says something only to whoever knows it.
fn signed(keys: &[Option<String>], own: Option<&str>) -> String {
    let all = |wanted: &dyn Fn(&str) -> bool| keys.iter().all(|key| key.as_deref().is_some_and(wanted));
    if all(&|key| Some(key) == own) {
        return "signed with this machine's key".to_owned();
    }
    let known: std::collections::BTreeSet<&str> = keys.iter().flatten().map(String::as_str).collect();
    if known.is_empty() {
        return "not signed".to_owned();
    }
    let known: Vec<_> = known.into_iter().collect();
    let some = if keys.contains(&None) { "in part " } else { "" };
    format!(
        "{some}signed with {}, which is not this machine's (--key says whose it must be)",
        known.join(" and ")
    )
}
