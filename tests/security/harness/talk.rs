//! An MCP client of the hostile server (`serve` in `tests/data/hostile`), with npxc in between.

use serde_json::{Value, json};

use super::{Attack, Running, Seen, Who, attack};

/// A client, and the npxc that it talks to.
pub(crate) struct Client {
    run: Running,
    next: u64,
}

impl Client {
    /// Starts npxc with `options` and initializes the session; the server's tools are known then.
    pub(crate) fn start(who: Who, options: impl FnOnce(Attack) -> Attack) -> Self {
        let steps = json!([{"do": "serve", "patience": 600_000}]);
        let mut client = Self { run: options(attack(who, &steps)).open().start(), next: 0 };
        let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {},
            "clientInfo": {"name": "tests", "version": "1"}});
        let answer = client.request("initialize", &hello);
        assert!(answer["result"]["serverInfo"].is_object(), "{answer}");
        client.run.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string());
        let answer = client.request("tools/list", &json!({}));
        assert!(answer["result"]["tools"].is_array(), "{answer}");
        client
    }

    /// Calls a tool; the whole answer. None is a hang, and the end of the test.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        self.request("tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    /// The same, without waiting for an answer.
    pub(crate) fn begin(&mut self, tool: &str, arguments: &Value) {
        self.send("tools/call", &json!({"name": tool, "arguments": arguments}));
    }

    fn send(&mut self, method: &str, params: &Value) -> Value {
        self.next += 1;
        let request = json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params});
        self.run.send(&request.to_string());
        request
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        let request = self.send(method, params);
        let line = self.run.hear().unwrap_or_else(|| {
            let words = self.run.said.0.lock().unwrap();
            panic!("no answer to {request:.2000}: {}", String::from_utf8_lossy(&words))
        });
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:.2000}"));
        assert_eq!(answer["id"], self.next, "{answer}");
        answer
    }

    /// npxc is killed; what it is good for was said before.
    pub(crate) fn kill(mut self) -> Seen {
        self.run.kill();
        self.run.finish()
    }

    /// The client leaves.
    pub(crate) fn end(mut self) -> Seen {
        self.run.tell("");
        self.run.finish()
    }
}

/// What the server said: its text, or the code of its error. `None` when npxc refused the call.
pub(crate) fn said(answer: &Value) -> Option<&str> {
    answer["result"]["content"][0]["text"].as_str()
}
