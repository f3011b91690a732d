//! A small MCP client: newline-delimited JSON-RPC over the stdio of npxc, every step bounded in time.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::process::{Child, ChildStdin, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::world::{Audit, Npxc};

/// Installing and compiling included; only a hang takes longer.
const PATIENCE: Duration = Duration::from_mins(10);

/// A client and the npxc it talks to.
pub(super) struct Client {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    stderr: Option<JoinHandle<String>>,
    next: u64,
    /// What `roots/list` is answered with.
    pub(super) roots: Vec<Value>,
    /// What a model says, and what a form is filled in with, if the test has something to say.
    pub(super) replies: std::collections::HashMap<&'static str, Value>,
    /// What the server has asked, with its parameters.
    pub(super) asked: Vec<Value>,
    pub(super) audit: Audit,
}

impl Client {
    /// Starts npxc and initializes the session.
    pub(super) fn start(npxc: Npxc) -> Self {
        let mut client = Self::spawn(npxc);
        let result = client.request(
            "initialize",
            json!({
                "protocolVersion": "2025-06-18",
                "capabilities": {"roots": {"listChanged": true}, "sampling": {}, "elicitation": {}},
                "clientInfo": {"name": "npxc-tests", "version": "1"},
            }),
        );
        assert!(result["serverInfo"]["name"].is_string(), "{result}");
        client.notify("notifications/initialized");
        client
    }

    fn spawn(mut npxc: Npxc) -> Self {
        let mut child =
            npxc.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut errors = child.stderr.take().unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let stderr = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            errors.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        Self {
            child,
            stdin,
            lines,
            stderr: Some(stderr),
            next: 0,
            roots: Vec::new(),
            replies: std::collections::HashMap::new(),
            asked: Vec::new(),
            audit: Audit(npxc.audit),
        }
    }

    /// Calls a tool; returns its result, which may say `isError`.
    pub(super) fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// Calls a tool that must succeed; returns the text of its content.
    pub(super) fn text(&mut self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments);
        assert_ne!(result["isError"], true, "{tool}: {result}");
        text_of(&result)
    }

    /// Calls a tool that must fail; returns what it says.
    pub(super) fn error(&mut self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], true, "{tool}: {result}");
        text_of(&result)
    }

    /// The names of its tools.
    pub(super) fn tools(&mut self) -> Vec<String> {
        let result = self.request("tools/list", json!({}));
        let tools = result["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    /// Sends a request and waits for its result, answering what the server asks in between.
    pub(super) fn request(&mut self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params);
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// Sends a request that must be refused; returns the error.
    pub(super) fn refused(&mut self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params);
        assert!(answer["error"].is_object(), "{method}: {answer}");
        answer["error"].clone()
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        self.answer_to(id, method)
    }

    /// Sends a request; [`answer_to`](Self::answer_to) waits for its answer.
    pub(super) fn begin(&mut self, method: &str, params: Value) -> u64 {
        self.next += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params}));
        self.next
    }

    /// Waits for a notification of the server's.
    pub(super) fn notified(&mut self, method: &str) {
        while self.receive(method)["method"] != method {}
    }

    /// The whole answer to a request.
    pub(super) fn answer_to(&mut self, id: u64, method: &str) -> Value {
        loop {
            let message = self.receive(method);
            if message["method"].is_string() {
                self.answer(&message);
            } else if message["id"] == id {
                return message;
            }
        }
    }

    /// Sends a notification.
    pub(super) fn notify(&mut self, method: &str) {
        self.send(&json!({"jsonrpc": "2.0", "method": method}));
    }

    /// Closes stdin, as clients end a session; returns how npxc ended and what it wrote to stderr.
    pub(super) fn close(mut self) -> (ExitStatus, String, Audit) {
        drop(self.stdin.take());
        let status = self.child.wait().unwrap();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        (status, stderr, Audit(self.audit.0.clone()))
    }

    fn answer(&mut self, request: &Value) {
        if request["id"].is_null() {
            return;
        }
        self.asked.push(request["params"].clone());
        let result = match request["method"].as_str().unwrap() {
            method if self.replies.contains_key(method) => self.replies[method].clone(),
            "roots/list" => json!({"roots": self.roots}),
            "sampling/createMessage" => json!({
                "role": "assistant",
                "model": "tests",
                "content": {"type": "text", "text": "sampled by the tests"},
            }),
            "elicitation/create" => json!({"action": "decline"}),
            _ => json!({}),
        };
        self.send(&json!({"jsonrpc": "2.0", "id": request["id"], "result": result}));
    }

    fn send(&mut self, message: &Value) {
        let line = format!("{message}\n");
        let stdin = self.stdin.as_mut().unwrap();
        if stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).is_err() {
            self.gone("write");
        }
    }

    fn receive(&mut self, wait_for: &str) -> Value {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => serde_json::from_str(&line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}")),
            Err(_) => self.gone(wait_for),
        }
    }

    /// Ends the test with what npxc said.
    fn gone(&mut self, during: &str) -> ! {
        drop(self.stdin.take());
        // A hang ends here; npxc that has ended is not hurt.
        let _ = self.child.kill();
        let status = self.child.wait().unwrap();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        panic!("npxc is gone ({status}) during {during}:\n{stderr}");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.stdin.take());
        if std::thread::panicking() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// The text in a tool's result.
pub(super) fn text_of(result: &Value) -> String {
    let content = result["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    content.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n")
}
