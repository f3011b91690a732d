//! The answer to an HTTP request that is refused: a complete response that a person can read.

use std::fmt::Write as _;

use crate::policy::DenyReason;

/// A 403 that says what happened and what would help, and closes the connection.
pub(in crate::net::sniff) fn forbidden(reason: &DenyReason) -> Vec<u8> {
    let mut text = format!("npxc denied this request: {reason}.\n");
    if let DenyReason::HostMismatch { expected, .. } = reason {
        let _ =
            writeln!(text, "The connection goes to {expected}; a request on it has to name it as its host.");
    }
    if let Some(hint) = reason.hint() {
        let _ = writeln!(text, "hint: {hint}");
    }
    let length = text.len();
    format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n{text}"
    )
    .into_bytes()
}
