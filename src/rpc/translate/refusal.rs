//! Why a path cannot be had, and the JSON-RPC error that says so.

use crate::rpc::json::text::encode;

/// JSON-RPC 2.0, section 5.1: invalid params.
const INVALID_PARAMS: i32 = -32602;

/// Why a path cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Stable identifier, for programs.
    pub code: &'static str,
    /// The reason, behind the path: "is outside ...".
    pub reason: String,
    /// What allows it.
    pub hint: Option<String>,
}

impl Refusal {
    /// For the user; `path` as the client wrote it.
    pub(super) fn hint_about(&self, path: &str) -> String {
        let hint = self.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
        format!("the client's root {path} {}{hint}", self.reason)
    }

    /// The answer to the request with this id (as it was written); `path` as the client wrote it.
    pub(super) fn message(&self, id: &[u8], path: &str) -> Vec<u8> {
        let hint = self.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
        let message = encode(&format!("npxc: {path} {}{hint}", self.reason));
        let data = match &self.hint {
            Some(hint) => {
                format!(r#"{{"path":"{}","code":"{}","hint":"{}"}}"#, encode(path), self.code, encode(hint))
            }
            None => format!(r#"{{"path":"{}","code":"{}"}}"#, encode(path), self.code),
        };
        let mut out = br#"{"jsonrpc":"2.0","id":"#.to_vec();
        out.extend_from_slice(id);
        out.extend_from_slice(
            format!(",\"error\":{{\"code\":{INVALID_PARAMS},\"message\":\"{message}\",\"data\":{data}}}}}\n")
                .as_bytes(),
        );
        out
    }
}
