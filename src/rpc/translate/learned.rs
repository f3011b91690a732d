//! What the server says of its tools and prompts, and what it asks of the client. It is untrusted: it can make npxc look for
//! paths that the client named; it names none itself.

use std::collections::HashMap;

use serde_json::Value;

use crate::rpc::identify::ToolSchema;

/// Tools and prompts whose arguments are known; real servers have at most some hundred.
const MOST_TOOLS: usize = 4096;
/// Path arguments of all of them together: some ten for each of some hundred tools, and bounded memory for a server that
/// sends lists made for the purpose.
const MOST_SIGNS: usize = 4096;
/// Longest list that is read, in bytes: it is parsed into a tree. 120 KB is the largest that is known.
pub(super) const MOST_LIST: usize = 4 << 20;
/// Longest line of the server's that is always looked at, for what it asks the client, in bytes: for the same reason. Longer
/// ones are, if something in them is expected.
pub const MOST_ASKED: usize = 64 << 10;

/// What a client has asked for and npxc reads as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
}

/// The arguments of tools and prompts.
#[derive(Debug, Default)]
pub(super) struct Learned {
    tools: HashMap<String, ToolSchema>,
    prompts: HashMap<String, ToolSchema>,
    /// Path arguments of both.
    signs: usize,
}

impl Learned {
    pub(super) fn tool(&self, name: &str) -> Option<&ToolSchema> {
        self.tools.get(name)
    }

    pub(super) fn tool_is(&mut self, name: &str, schema: ToolSchema) {
        self.tools.insert(name.to_owned(), schema);
    }

    pub(super) fn prompt(&self, name: &str) -> Option<&ToolSchema> {
        self.prompts.get(name)
    }

    /// Reads the answer to such a request.
    pub(super) fn read(&mut self, list: List, message: &[u8]) {
        let Ok(message) = serde_json::from_slice::<Value>(message) else { return };
        let (key, table) = match list {
            List::Tools => ("tools", &mut self.tools),
            List::Prompts => ("prompts", &mut self.prompts),
        };
        for one in message["result"][key].as_array().into_iter().flatten() {
            let Some(name) = one["name"].as_str() else { continue };
            if (table.len() < MOST_TOOLS && self.signs < MOST_SIGNS) || table.contains_key(name) {
                let schema = match list {
                    List::Tools => ToolSchema::read(&one["inputSchema"]),
                    List::Prompts => ToolSchema::of_prompt(&one["arguments"]),
                };
                self.signs += schema.signs().count();
                let before = table.insert(name.to_owned(), schema);
                self.signs -= before.map_or(0, |schema| schema.signs().count());
            }
        }
    }
}

/// What the server has asked the client for.
#[derive(Debug)]
pub(super) enum Asked {
    /// Roots, or a model's answer.
    Paths,
    /// A form, whose fields are known.
    Form(ToolSchema),
    /// Something without paths.
    Else,
}

impl Asked {
    /// For a request.
    pub(super) fn of(method: &str, message: &[u8]) -> Self {
        match method {
            "roots/list" | "sampling/createMessage" => Self::Paths,
            "elicitation/create" => {
                let form = Some(message).filter(|message| message.len() <= MOST_ASKED);
                let form = form.and_then(|message| serde_json::from_slice::<Value>(message).ok());
                form.map_or(Self::Paths, |form| {
                    Self::Form(ToolSchema::read(&form["params"]["requestedSchema"]))
                })
            }
            _ => Self::Else,
        }
    }
}
