//! Where in a client's messages paths of its machine can stand, by method. Nothing else is looked at.
//!
//! What an argument is called decides in calls of tools and prompts; everywhere else only what is a path or a `file://` URI
//! by itself counts. Cursors, tokens, names, `_meta`, `requestState` and the reasons of notifications are left alone.

use crate::rpc::json::Kind;

/// What a string in such a position is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// An argument of a tool or prompt, below `arguments`.
    Argument,
    /// A resource: a URI that the server knows as well, perhaps better.
    Resource,
    /// A root: a directory that the client offers.
    Root,
    /// Part of what is still being typed.
    Unfinished,
    /// A value that somebody at the client's end filled in.
    Value,
    /// Words that somebody at the client's end said; what a call has named before may be named in them.
    Words,
}

/// A message of the client's, as far as positions go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageKind {
    /// A call of a tool.
    Tool,
    /// A prompt that is asked for.
    Prompt,
    /// A resource that is read, or watched.
    Resource,
    /// What it wants to hear of.
    Listen,
    /// A completion.
    Completion,
    /// An answer to the server.
    Answer,
}

impl MessageKind {
    /// For a request.
    pub(super) fn of(method: &str) -> Option<Self> {
        Some(match method {
            "tools/call" => Self::Tool,
            "prompts/get" => Self::Prompt,
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Self::Resource,
            "subscriptions/listen" => Self::Listen,
            "completion/complete" => Self::Completion,
            _ => return None,
        })
    }

    /// What the string below `keys` of the message's `params`, or of its `result`, is.
    pub(super) fn role(self, keys: &[&str], kind: Kind) -> Option<Role> {
        if keys.contains(&super::OPAQUE) {
            return None;
        }
        // Of requests that the server answered with questions of its own (2026-07-28).
        if let (false, ["inputResponses", _, rest @ ..]) = (self == Self::Answer, keys) {
            return answer(rest, kind);
        }
        match (self, keys) {
            (Self::Tool | Self::Prompt, ["arguments", _, ..]) => Some(Role::Argument),
            (Self::Resource, ["uri"])
            | (Self::Listen, ["notifications", "resourceSubscriptions"])
            | (Self::Completion, ["ref", "uri"]) => (kind == Kind::String).then_some(Role::Resource),
            (Self::Completion, ["argument", "value"] | ["context", "arguments", _]) => {
                (kind == Kind::String).then_some(Role::Unfinished)
            }
            (Self::Answer, rest) => answer(rest, kind),
            _ => None,
        }
    }
}

/// In the answer to `roots/list`, `sampling/createMessage` or `elicitation/create`: they cannot be taken for each other.
fn answer(keys: &[&str], kind: Kind) -> Option<Role> {
    match keys {
        ["roots", "uri"] if kind == Kind::String => Some(Role::Root),
        // Of a model's words, and of a tool's result among them.
        ["content", .., "text"] if kind == Kind::String => Some(Role::Words),
        ["content", .., "type" | "data" | "blob" | "mimeType" | "signature" | "id" | "toolUseId"] => None,
        ["content", _, ..] => Some(Role::Value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_has_its_role() {
        let tool =
            |dotted: &str| MessageKind::Tool.role(&dotted.split('.').collect::<Vec<_>>(), Kind::String);
        assert_eq!(tool("arguments.a.b"), Some(Role::Argument));
        assert_eq!(tool("inputResponses.q.roots.uri"), Some(Role::Root));
        assert_eq!(tool("inputResponses.q.content.file"), Some(Role::Value));
        for other in [
            "name",
            "arguments",
            "requestState",
            "arguments.requestState",
            "_meta.path",
            "inputResponses.q.action",
        ] {
            assert_eq!(tool(other), None, "{other}");
        }
        let completion = |keys: &[&str]| MessageKind::Completion.role(keys, Kind::String);
        assert_eq!(completion(&["ref", "uri"]), Some(Role::Resource));
        assert_eq!(completion(&["argument", "value"]), Some(Role::Unfinished));
        assert_eq!(completion(&["context", "arguments", "x"]), Some(Role::Unfinished));
        assert_eq!(completion(&["argument", "name"]), None);
        let said = |keys: &[&str]| MessageKind::Answer.role(keys, Kind::String);
        assert_eq!(said(&["content", "text"]), Some(Role::Words));
        assert_eq!(said(&["content", "input", "path"]), Some(Role::Value));
        assert_eq!(said(&["content", "data"]), None);
        assert_eq!(said(&["model"]), None);
        assert_eq!(MessageKind::of("notifications/cancelled"), None);
        assert_eq!(MessageKind::of("logging/setLevel"), None);
    }
}
