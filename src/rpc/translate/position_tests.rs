#![allow(clippy::unwrap_used)]
//! Every position of a path, in both directions.

use serde_json::{Value, json};

use super::tests::{Below, changed, through};
use super::*;

const HOME: &str = "/home/me";

/// What the guest gets of a message; `None` when it goes on as it is.
fn inward(translator: &mut Translator, message: &Value) -> Option<Value> {
    match through(translator, &Below(HOME), message.to_string().as_bytes()) {
        Outcome::Forward => None,
        other => Some(serde_json::from_str(&changed(other)).unwrap()),
    }
}

/// The same message with another value at this place.
fn with(message: &Value, pointer: &str, value: &str) -> Value {
    let mut message = message.clone();
    *message.pointer_mut(pointer).unwrap() = json!(value);
    message
}

#[test]
fn requests_carry_paths_where_they_may() {
    let (uri, shared) = ("file:///home/me/a%20b.txt", "file:///opt/npxc-shared/1/a%20b.txt");
    let (path, copy) = ("/home/me/a b.txt", "/opt/npxc-shared/1/a b.txt");
    let request =
        |method: &str, params: Value| json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    for (message, pointer, value) in [
        (request("resources/read", json!({"uri": uri})), "/params/uri", shared),
        (request("resources/subscribe", json!({"uri": uri})), "/params/uri", shared),
        (request("resources/unsubscribe", json!({"uri": uri})), "/params/uri", shared),
        (
            request(
                "subscriptions/listen",
                json!({"notifications": {"resourceSubscriptions": ["memo:a", uri]}}),
            ),
            "/params/notifications/resourceSubscriptions/1",
            shared,
        ),
        (
            request(
                "completion/complete",
                json!({"ref": {"type": "ref/resource", "uri": uri}, "argument": {}}),
            ),
            "/params/ref/uri",
            shared,
        ),
        (
            request("completion/complete", json!({"argument": {"name": "x", "value": path}})),
            "/params/argument/value",
            copy,
        ),
        (
            request("completion/complete", json!({"context": {"arguments": {"x": path}}})),
            "/params/context/arguments/x",
            copy,
        ),
        (request("prompts/get", json!({"name": "p", "arguments": {"x": path}})), "/params/arguments/x", copy),
        (
            request("tools/call", json!({"name": "t", "arguments": {"a": [{"b": {"c": path}}]}})),
            "/params/arguments/a/0/b/c",
            copy,
        ),
        (
            request("tools/call", json!({"name": "t", "inputResponses": {"r": {"roots": [{"uri": uri}]}}})),
            "/params/inputResponses/r/roots/0/uri",
            shared,
        ),
        (
            request(
                "resources/read",
                json!({"uri": "memo:a", "inputResponses": {"f": {"content": {"file": path}}}}),
            ),
            "/params/inputResponses/f/content/file",
            copy,
        ),
        (json!({"id": 3, "result": {"roots": [{"uri": uri}]}}), "/result/roots/0/uri", shared),
        (
            json!({"id": 3, "result": {"role": "assistant", "content": {"type": "tool_use", "input": {"x": path}}}}),
            "/result/content/input/x",
            copy,
        ),
        (json!({"id": 3, "result": {"action": "accept", "content": {"x": path}}}), "/result/content/x", copy),
    ] {
        let there = inward(&mut Translator::default(), &message);
        assert_eq!(there, Some(with(&message, pointer, value)), "{message}");
    }
}

#[test]
fn a_form_in_a_call_is_not_judged_as_the_tools_arguments_are() {
    let call = json!({"id": 1, "method": "tools/call", "params":
        {"name": "t", "arguments": {}, "inputResponses": {"f": {"content": {"x": "/outside/a"}}}}});
    assert_eq!(inward(&mut Translator::default(), &call), None, "nobody is refused for it");
    let mut translator = Translator::default();
    inward(&mut translator, &json!({"id": 9, "method": "tools/list"}));
    let schema = json!({"properties": {"path": {"type": "string"}}});
    translator.server(
        json!({"id": 9, "result": {"tools": [{"name": "t", "inputSchema": schema}]}}).to_string().as_bytes(),
    );
    let call = |params: Value| json!({"id": 1, "method": "tools/call", "params": params}).to_string();
    let mut names = |params: Value| translator.client(call(params).as_bytes()).is_some();
    assert!(names(json!({"name": "t", "arguments": {"path": "a.txt"}})));
    let form = json!({"f": {"content": {"path": "a.txt"}}});
    assert!(!names(json!({"name": "t", "arguments": {}, "inputResponses": form})), "it is no argument");
}

#[test]
fn many_schemas_cost_bounded_memory() {
    let mut learned = super::learned::Learned::default();
    let schema: serde_json::Map<_, _> =
        (0..60).map(|n| (format!("path{n}_file"), json!({"type": "string"}))).collect();
    for list in 0..20 {
        let tools: Vec<_> = (0..100)
            .map(|n| json!({"name": format!("t{list}_{n}"), "inputSchema": {"properties": schema}}))
            .collect();
        learned.read(super::List::Tools, json!({"result": {"tools": tools}}).to_string().as_bytes());
    }
    let known = (0..20).flat_map(|list| (0..100).map(move |n| format!("t{list}_{n}")));
    let signs: usize = known.filter_map(|name| Some(learned.tool(&name)?.signs().count())).sum();
    assert!((2000..=4096 + 64).contains(&signs), "{signs}");
}

#[test]
fn other_positions_are_left_alone() {
    let path = "/home/me/a.txt";
    for message in [
        json!({"method": "notifications/cancelled", "params": {"requestId": 1, "reason": path}}),
        json!({"id": 1, "method": "tools/call", "params": {"name": "t", "requestState": path, "arguments": {}}}),
        json!({"id": 1, "method": "tools/call", "params": {"name": "t", "arguments": {"requestState": path}}}),
        json!({"id": 1, "method": "tools/call", "params": {"name": path, "_meta": {"progressToken": path}}}),
        json!({"id": 1, "method": "completion/complete", "params": {"argument": {"name": path, "value": "x"}}}),
        json!({"id": 1, "method": "resources/read", "params": {"uri": path}}),
        json!({"id": 1, "method": "logging/setLevel", "params": {"level": path}}),
        json!({"id": path, "result": {}}),
        json!({"id": 1, "error": {"code": 1, "message": path}}),
        json!({"id": 1, "result": {"content": {"type": "image", "data": path}, "model": path}}),
    ] {
        assert_eq!(inward(&mut Translator::default(), &message), None, "{message}");
    }
}

#[test]
fn keys_and_json_in_strings_are_arguments() {
    let mut translator = Translator::default();
    let call = |arguments: &str| {
        format!(r#"{{"id":1,"method":"tools/call","params":{{"name":"t","arguments":{arguments}}}}}"#)
    };
    for (arguments, there) in [
        (
            r#"{"files":{"\/home/me\/a":1,"other":"x"}}"#,
            r#"{"files":{"/opt/npxc-shared/1/a":1,"other":"x"}}"#,
        ),
        (
            r#"{"edits":" [{\"p\\u0061th\":\"\\/home\/me/a \\\"b\\\"\",\"\u00e9\":1.10}]"}"#,
            r#"{"edits":" [{\"p\\u0061th\":\"/opt/npxc-shared/1/a \\\"b\\\"\",\"\u00e9\":1.10}]"}"#,
        ),
        (
            r#"{"command":"cat \"/home/me/a b\" \u003e /home/me/c"}"#,
            r#"{"command":"cat \"/opt/npxc-shared/1/a b\" \u003e /opt/npxc-shared/1/c"}"#,
        ),
        (
            r#"{"x":"{\"sql\":\"SELECT * FROM '/home/me/\\u0061'\\n\"}"}"#,
            r#"{"x":"{\"sql\":\"SELECT * FROM '/opt/npxc-shared/1/a'\\n\"}"}"#,
        ),
    ] {
        let line = call(arguments);
        assert_eq!(changed(through(&mut translator, &Below(HOME), line.as_bytes())), call(there));
    }
    for same in [
        r#"{"edits":"[{\"path\":\"/home/me/a\"}"}"#,
        r#"{"text":"see /home/me/a"}"#,
        r#"{"command":"ls /elsewhere/x; /outside/no"}"#,
    ] {
        let line = call(same);
        assert_eq!(through(&mut translator, &Below(HOME), line.as_bytes()), Outcome::Forward, "{same}");
    }
}

#[test]
fn what_a_model_says_gets_nothing_new_shared() {
    let mut translator = Translator::default();
    let said = json!({"id": 9, "result": {"role": "assistant", "content": [
        {"type": "text", "text": "Compare /home/me/a.txt with '/home/me/b.txt' and /home/me/notes/c."}]}});
    assert_eq!(inward(&mut translator, &said), None);
    let mut translator = translator.mounts(Mounts::new([("/home/me/notes", "/data")]));
    let call = json!({"id": 1, "method": "tools/call", "params": {"name": "t", "arguments": {"x": "/home/me/b.txt"}}});
    inward(&mut translator, &call).unwrap();
    let text = "Compare /home/me/a.txt with '/opt/npxc-shared/1/b.txt' and /data/c.";
    assert_eq!(inward(&mut translator, &said), Some(with(&said, "/result/content/0/text", text)));
}

#[test]
fn answers_belong_to_what_was_asked() {
    let mut translator = Translator::default();
    let form = json!({"id": "f", "method": "elicitation/create", "params": {"message": "?", "requestedSchema":
        {"type": "object", "properties": {"path": {"type": "string"}, "name": {"type": "string"}}}}});
    assert_eq!(translator.server(form.to_string().as_bytes()), None);
    assert_eq!(translator.server(br#"{"id":"p","method":"ping"}"#), None);
    // Out of order, and one of them is none of a form's.
    let other = json!({"id": "p", "result": {"content": {"path": "/home/me/x"}}});
    assert_eq!(translator.client(other.to_string().as_bytes()), None);
    let filled = json!({"id": "f", "result": {"action": "accept", "content": {"path": "x", "name": "y"}}});
    let call = translator.client(filled.to_string().as_bytes()).unwrap();
    let named: Vec<_> = call.named().map(|named| named.text.as_str()).collect();
    assert_eq!(named, ["x"]);
    // Nobody can be refused for an answer.
    let no = Answer::Refused(Refusal { code: "x", reason: "is not".to_owned(), hint: None });
    assert_eq!(translator.answered(filled.to_string().as_bytes(), &call, vec![no]), Outcome::Forward);
    assert_eq!(translator.hints(), [""; 0]);
    // Cancelled: the id may be used again.
    translator.server(br#"{"id":5,"method":"ping"}"#);
    translator.server(br#"{"method":"notifications/cancelled","params":{"requestId":5}}"#);
    let roots = json!({"id": 5, "result": {"roots": [{"uri": "file:///home/me/a"}]}});
    assert!(inward(&mut translator, &roots).is_some());
}

#[test]
fn a_cancelled_list_is_not_waited_for() {
    let mut translator = Translator::default();
    translator.client(br#"{"id":1,"method":"tools/list"}"#);
    assert!(translator.watches_server());
    translator.client(br#"{"method":"notifications/cancelled","params":{"requestId":1}}"#);
    assert!(!translator.watches_server());
}

#[test]
fn a_root_that_cannot_be_seen_is_hinted_at_once() {
    let mut translator = Translator::default();
    let roots =
        json!({"id": 1, "result": {"roots": [{"uri": "file:///outside/x"}, {"uri": "file:///outside/y"}]}});
    for _ in 0..2 {
        assert_eq!(inward(&mut translator, &roots), None);
    }
    assert_eq!(
        translator.hints(),
        ["x", "y"].map(|name| format!("the client's root file:///outside/{name} is outside; --mount \"x\"")),
        "in their order"
    );
    assert_eq!(translator.hints(), [""; 0]);
}

#[test]
fn prompts_are_learned_like_tools() {
    let mut translator = Translator::default();
    translator.client(br#"{"id":1,"method":"prompts/list"}"#);
    translator.server(
        br#"{"id":1,"result":{"prompts":[{"name":"p","arguments":[{"name":"file"},{"name":"tone"}]}]}}"#,
    );
    let get =
        br#"{"id":2,"method":"prompts/get","params":{"name":"p","arguments":{"file":"a.md","tone":"dry"}}}"#;
    let named: Vec<_> = translator.client(get).unwrap().named().map(|named| named.text.clone()).collect();
    assert_eq!(named, ["a.md"]);
}

#[test]
fn a_refused_request_leaves_its_batch() {
    let mut translator = Translator::default();
    let call = |id: u8, path: &str| {
        format!(r#"{{"id":{id},"method":"tools/call","params":{{"name":"t","arguments":{{"x":"{path}"}}}}}}"#)
    };
    let line = format!("[{},{},{}]\n", call(1, "/home/me/a"), call(2, "/outside/b"), call(3, "/home/me/c"));
    let Outcome::Both { line: there, reply } = through(&mut translator, &Below(HOME), line.as_bytes()) else {
        panic!()
    };
    let rest = format!("[{},{}]\n", call(1, "/opt/npxc-shared/1/a"), call(3, "/opt/npxc-shared/1/c"));
    assert_eq!(String::from_utf8(there).unwrap(), rest);
    let reply: Value = serde_json::from_slice(&reply).unwrap();
    assert_eq!((&reply["id"], &reply["error"]["data"]["path"]), (&json!(2), &json!("/outside/b")));
    let line = format!("[{},{}]\n", call(1, "/outside/a"), call(2, "/outside/b"));
    let Outcome::Reply(reply) = through(&mut translator, &Below(HOME), line.as_bytes()) else { panic!() };
    let reply: Value = serde_json::from_slice(&reply).unwrap();
    assert_eq!((&reply[0]["id"], &reply[1]["id"]), (&json!(1), &json!(2)));
    // The answers of a batch come back in one as well.
    let back = translator.server(br#"[{"id":3,"result":"/opt/npxc-shared/1/c"}]"#).unwrap();
    assert_eq!(back, br#"[{"id":3,"result":"/home/me/c"}]"#);
}

#[test]
fn mounts_have_the_clients_names_in_what_the_server_says() {
    let mut translator = Translator::default().mounts(Mounts::new([("/home/\"me\"", "/data")]));
    let said = json!({
        "result": {
            "content": [{"type": "text", "text": json!({"p": "/data/x"}).to_string()},
                {"type": "resource_link", "uri": "file:///data/x"},
                {"type": "text", "text": "ENOENT: no such file, open '/data/y' (/database)"}],
            "structuredContent": {"/data/k": "/data"},
            "requestState": "/data/s",
        },
    });
    let line = String::from_utf8(translator.server(said.to_string().as_bytes()).unwrap()).unwrap();
    let back: Value = serde_json::from_str(&line).unwrap();
    let content = &back["result"]["content"];
    let inner: Value = serde_json::from_str(content[0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(inner, json!({"p": "/home/\"me\"/x"}));
    assert_eq!(content[1]["uri"], "file:///home/%22me%22/x");
    assert_eq!(content[2]["text"], "ENOENT: no such file, open '/home/\"me\"/y' (/database)");
    assert_eq!(back["result"]["structuredContent"], json!({"/home/\"me\"/k": "/home/\"me\""}));
    assert_eq!(back["result"]["requestState"], "/data/s");
    assert_eq!(translator.server(br#"{"a":"https://example.com/data"}"#), None);
}

#[test]
fn templates_keep_their_braces_and_directories_their_end() {
    struct Mounted;
    impl Files for Mounted {
        fn share(&self, named: &Named) -> Answer {
            let path = named.written.path.trim_end_matches('/');
            path.strip_prefix(HOME).map_or(Answer::Leave, |rest| Answer::At(format!("/data{rest}")))
        }

        fn collect(&self, _: &[Write]) -> Vec<Unsaved> {
            Vec::new()
        }

        fn say(&self, _: &str) {}
    }
    let mut translator = Translator::default();
    for (before, after) in
        [("file:///home/me/{name}", "file:///data/{name}"), ("file:///home/me/d/", "file:///data/d/")]
    {
        let line = json!({"id": 1, "method": "completion/complete", "params": {"ref": {"uri": before}}});
        let there = changed(through(&mut translator, &Mounted, line.to_string().as_bytes()));
        assert_eq!(serde_json::from_str::<Value>(&there).unwrap(), with(&line, "/params/ref/uri", after));
    }
}

#[test]
fn completions_and_answers_are_looked_at_as_the_configuration_says() {
    use crate::rpc::identify::Strategies;
    let path = "/home/me/a";
    let complete = json!({"id": 1, "method": "completion/complete", "params": {
        "argument": {"value": path, "name": "x"}, "ref": {"type": "ref/prompt", "name": "p"}}});
    let context = json!({"id": 1, "method": "completion/complete", "params": {
        "ref": {"name": "p"}, "context": {"arguments": {"x": path}}, "argument": {"name": "y", "value": ""}}});
    let form = json!({"id": 3, "result": {"content": {"x": path}}});
    let key = json!({"id": 3, "result": {"content": {"x": {path: 1}}}});
    let all = [complete, context, form, key];
    let looks = Strategies { heuristic: false, ..Strategies::default() };
    let others = |tool: &str| [(tool.to_owned(), vec!["x".to_owned()])].into();
    let by_looks = Configured { strategies: looks, ..Configured::default() };
    for (configured, expected) in [
        (Configured::default(), [true; 4]),
        (by_looks, [false; 4]),
        (Configured { others: others("*"), ..Configured::default() }, [false; 4]),
        (Configured { others: others("p"), ..Configured::default() }, [false, false, true, true]),
        (Configured { others: others("q"), ..Configured::default() }, [true; 4]),
    ] {
        let changed =
            all.each_ref().map(|message| inward(&mut Translator::new(configured.clone()), message).is_some());
        assert_eq!(changed, expected, "{configured:?}");
    }
}
