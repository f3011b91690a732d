//! Why a path cannot be had, and the JSON-RPC error that says so.

use crate::rpc::json::text::encode;

/// JSON-RPC 2.0, section 5.1: invalid params. The request cannot be done as it is.
const INVALID_PARAMS: i32 = -32602;
/// JSON-RPC 2.0, section 5.1: internal error. The request was right.
pub(super) const INTERNAL_ERROR: i32 = -32603;

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
        let mut line = self.error(INVALID_PARAMS, id, &format!("{path} {}", self.reason), &[path]);
        line.push(b'\n');
        line
    }

    /// An error for the request with this id (as it was written), for these words about these paths (as the client wrote
    /// them), of which this is the first one's refusal.
    pub(super) fn error(&self, code: i32, id: &[u8], words: &str, paths: &[&str]) -> Vec<u8> {
        let said = self.hint.as_ref().map_or_else(String::new, |hint| format!(" ({hint})"));
        let message = encode(&format!("npxc: {words}{said}"));
        let hint =
            self.hint.as_ref().map_or_else(String::new, |hint| format!(r#","hint":"{}""#, encode(hint)));
        let paths: Vec<String> = paths.iter().map(|path| format!("\"{}\"", encode(path))).collect();
        let first = paths.first().map_or("null", String::as_str);
        let data =
            format!(r#"{{"path":{first},"code":"{}"{hint},"paths":[{}]}}"#, self.code, paths.join(","));
        let error = format!(r#","error":{{"code":{code},"message":"{message}","data":{data}}}}}"#);
        [br#"{"jsonrpc":"2.0","id":"#, id, error.as_bytes()].concat()
    }
}
