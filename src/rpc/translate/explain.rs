//! What would be done with the arguments of a call, and why: the same decisions as those of a call, for `npxc inspect`.

use crate::rpc::identify::{Named, Other, ToolSchema, explain};
use crate::rpc::json::{Kind, Scanner, text};

use super::Translator;
use super::envelope::keys;
use super::inward::Message;
use super::positions::MessageKind;

/// A string of a call's arguments, or a path in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The keys that lead to it, with dots between.
    pub argument: String,
    /// The string.
    pub value: String,
    /// The path it is, or that is in it; or why there is none.
    pub path: Result<Named, Other>,
    /// Whether the call is refused if the path is.
    pub decides: bool,
}

impl Translator {
    /// Reads an entry of a `tools/list`, as if it had been in the answer to one.
    pub fn learn_tool(&mut self, name: &str, schema: &serde_json::Value) {
        self.learned.tool_is(name, ToolSchema::of_tool(name, schema));
    }

    /// What the schema says of a tool.
    pub fn schema(&self, tool: &str) -> Option<&ToolSchema> {
        self.learned.tool(tool)
    }

    /// Every string of `arguments` (a JSON object), in order, with what is taken for a path in it.
    pub fn explain(&self, tool: &str, arguments: &serde_json::Value) -> Vec<Explained> {
        let line = serde_json::json!({ "arguments": arguments }).to_string().into_bytes();
        let schema = self.learned.tool(tool);
        let message = Message {
            kind: MessageKind::Tool,
            configured: &self.configured,
            schema,
            tool,
            id: None,
            index: 0,
            long: &[],
        };
        let mut found = Vec::new();
        message.paths(&line, 0..line.len(), &mut found);
        let mut out = Vec::new();
        let mut scanner = Scanner::new(&line);
        while let Ok(Some(token)) = scanner.next() {
            let raw = line.get(token.span.clone()).filter(|_| matches!(token.kind, Kind::Key | Kind::String));
            let (Some(value), Some(position)) = (raw.and_then(text::decode), scanner.position(&token)) else {
                continue;
            };
            let keys = keys(&line, position);
            let keys: Vec<&str> = keys.iter().skip(1).map(String::as_str).collect();
            let inside: Vec<_> = found
                .iter()
                .filter(|found| token.span.start <= found.span.start && found.span.end <= token.span.end)
                .collect();
            let explained = |path, decides| Explained {
                argument: keys.join("."),
                value: value.clone().into_owned(),
                path,
                decides,
            };
            match (inside.is_empty(), token.kind) {
                (false, _) => {
                    let paths = inside.into_iter();
                    out.extend(paths.map(|found| explained(Ok(found.named.clone()), found.decides)));
                }
                (true, Kind::String) => {
                    let why = explain(&self.configured, schema, tool, &keys, &value);
                    out.push(explained(why, false));
                }
                (true, _) => {}
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rpc::identify::{NoPath, Reason, Sign};

    #[test]
    fn every_string_has_its_reason() {
        let mut translator = Translator::default();
        translator.learn_tool("t", &json!({"properties": {"path": {"type": "string"}}}));
        let arguments = json!({
            "path": "a.txt", "url": "https://example.com/a/b", "text": "hello", "count": 3,
            "list": ["/home/me/x"], "command": "cat /home/me/y", "json": "[\"/home/me/z\"]",
            "files": {"/home/me/k": ""},
        });
        let explained = translator.explain("t", &arguments);
        let of = |argument: &str| -> Vec<_> {
            let rows = explained.iter().filter(|row| row.argument == argument);
            rows.map(|row| {
                row.path.as_ref().map(|named| (named.text.as_str(), named.reason)).map_err(|why| *why)
            })
            .collect()
        };
        assert_eq!(of("path"), [Ok(("a.txt", Reason::Schema(Sign::Name)))]);
        assert_eq!(of("url"), [Err(Other::Value(NoPath::Url))]);
        assert_eq!(of("text"), [Err(Other::Content)]);
        assert_eq!(of("list"), [Ok(("/home/me/x", Reason::Shape))]);
        assert_eq!(of("command"), [Ok(("/home/me/y", Reason::Text))]);
        assert_eq!(of("json"), [Ok(("/home/me/z", Reason::Shape))]);
        assert_eq!(
            of("files./home/me/k"),
            [Ok(("/home/me/k", Reason::Shape)), Err(Other::Value(NoPath::Empty))]
        );
        assert_eq!(of("count"), []);
    }
}
