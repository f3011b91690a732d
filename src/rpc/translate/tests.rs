#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A workspace in which everything below a directory can be shared.
pub(super) struct Below(pub(super) &'static str);

impl Files for Below {
    fn share(&self, named: &Named) -> Answer {
        let path = &named.written.path;
        match path.strip_prefix(self.0).and_then(|rest| rest.strip_prefix('/')) {
            Some(name) => Answer::Shared {
                place: 1,
                directory: self.0.to_owned(),
                name: name.to_owned(),
                writable: false,
            },
            None if path.starts_with("/outside/") => Answer::Refused(Refusal {
                code: "outside-scope",
                reason: "is outside".to_owned(),
                hint: Some("--mount \"x\"".to_owned()),
            }),
            None => Answer::Leave,
        }
    }

    fn collect(&self, _: &[Write]) -> Vec<Unsaved> {
        Vec::new()
    }

    fn say(&self, _: &str) {}
}

pub(super) fn through(translator: &mut Translator, files: &dyn Files, line: &[u8]) -> Outcome {
    let Some(call) = translator.client(line) else { return Outcome::Forward };
    let answers = call.named().map(|named| files.share(named)).collect();
    translator.answered(line, &call, answers)
}

pub(super) fn changed(outcome: Outcome) -> String {
    match outcome {
        Outcome::Changed(line) => String::from_utf8(line).unwrap(),
        other => panic!("{other:?}"),
    }
}

/// Has seen a list with a tool whose argument `doc` is a path, and published one file.
fn versed(directory: &'static str) -> Translator {
    let mut translator = Translator::new(Configured::default());
    let call = json!({"id": 1, "method": "tools/call", "params":
        {"name": "t", "arguments": {"x": format!("{directory}/f.txt")}}});
    changed(through(&mut translator, &Below(directory), call.to_string().as_bytes()));
    translator
}

#[test]
fn only_the_path_changes() {
    let mut translator = Translator::default();
    let line = b" {\"n\":1.10,\"n\":1e400,\"id\":\"7\",\"method\":\"tools/call\",\"params\":{\"name\":\"t\",\
        \"arguments\":{\"x\":\"\\u00e9\",\"a\":[\"/home/me\\/a \\u00e9.txt\",\"file:///home/me/b%20c\"]}}}\r\n";
    let line = changed(through(&mut translator, &Below("/home/me"), line));
    assert_eq!(
        line,
        " {\"n\":1.10,\"n\":1e400,\"id\":\"7\",\"method\":\"tools/call\",\"params\":{\"name\":\"t\",\
         \"arguments\":{\"x\":\"\\u00e9\",\"a\":[\"/opt/npxc-shared/1/a \u{e9}.txt\",\
         \"file:///opt/npxc-shared/1/b%20c\"]}}}\r\n"
    );
}

#[test]
fn a_server_that_may_not_write_is_explained_once() {
    let mut translator = versed("/home/me");
    let says = |words: &str| {
        let path = "/opt/npxc-shared/1/f.txt";
        json!({"id": 1, "result": {"isError": true, "content": [{"type": "text", "text": format!("{words} '{path}'")}]}})
            .to_string()
    };
    translator.server(says("ENOENT: no such file or directory, open").as_bytes());
    assert_eq!(translator.hints(), [""; 0]);
    for _ in 0..2 {
        translator.server(says("EROFS: read-only file system, open").as_bytes());
    }
    let hints = translator.hints();
    assert!(hints.len() == 1 && hints[0].contains("--write"), "{hints:?}");
}

#[test]
fn schemas_are_learned_from_the_list_that_was_asked_for() {
    let mut translator = Translator::default();
    let call = br#"{"id":2,"method":"tools/call","params":{"name":"t","arguments":{"path":"f"}}}"#;
    let list = |id: &str| {
        format!(
            r#"{{"id":{id},"result":{{"tools":[{{"name":"t","inputSchema":{{"properties":{{"path":{{"type":"string"}}}}}}}}]}}}}"#
        )
    };
    translator.server(list("1").as_bytes());
    assert!(translator.client(call).is_none());
    assert!(!translator.watches_server());
    translator.client(br#"{"method":"tools/list","id":"1"}"#);
    assert!(translator.watches_server());
    translator.server(list("1").as_bytes());
    assert!(translator.client(call).is_none(), "1 is not \"1\"");
    translator.server(list("\"1\"").as_bytes());
    assert_eq!(translator.client(call).unwrap().named().count(), 1);
    assert!(!translator.watches_server());
}

#[test]
fn a_refusal_answers_the_caller() {
    let mut translator = Translator::default();
    let call =
        br#"{"id":"a","method":"tools/call","params":{"name":"t","arguments":{"p":"/outside/\"q\""}}}"#;
    let Outcome::Reply(line) = through(&mut translator, &Below("/home/me"), call) else { panic!() };
    assert_eq!(line.last(), Some(&b'\n'));
    let reply: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(reply["id"], "a");
    assert_eq!(reply["error"]["code"], -32602);
    assert_eq!(reply["error"]["message"], "npxc: /outside/\"q\" is outside (--mount \"x\")");
    assert_eq!(reply["error"]["data"]["path"], "/outside/\"q\"");
    let without_id = br#"{"method":"tools/call","params":{"name":"t","arguments":{"p":"/outside/q"}}}"#;
    assert_eq!(through(&mut translator, &Below("/home/me"), without_id), Outcome::Forward);
}

#[test]
fn the_client_sees_its_own_paths() {
    let mut translator = versed("/home/me/my docs");
    let back = |translator: &mut Translator, line: &str| {
        translator.server(line.as_bytes()).map(|line| String::from_utf8(line).unwrap())
    };
    let line = r#"{"a":"/opt/npxc-shared/1/f.txt, \ud800","u":"file:///opt/npxc-shared/1/f","t":"{\"p\":\"\/opt\/npxc-shared\/1\/f\"}"}"#;
    assert_eq!(
        back(&mut translator, line).unwrap(),
        r#"{"a":"/home/me/my docs/f.txt, \ud800","u":"file:///home/me/my%20docs/f","t":"{\"p\":\"/home/me/my docs\/f\"}"}"#
    );
    for same in [
        r#"{"a":"/opt/npxc-shared/2/f"}"#,
        r#"{"a":"/opt/npxc-shared/11"}"#,
        r#"{"a":"/opt/npxc-shared/1x"}"#,
        r#"{"a":"/opt/npxc-shared/01"}"#,
        r#"{"a":"npxc-shared/1/f"}"#,
        r#"{"result":{"requestState":"/opt/npxc-shared/1/f"}}"#,
        r#"{"a":"/opt/npxc-shared/1/f""#,
        "words /opt/npxc-shared/1/f",
    ] {
        assert_eq!(back(&mut translator, same), None, "{same}");
    }
}

#[test]
fn odd_directories_stay_json_at_every_level() {
    let mut translator = versed("/home/\"me\\");
    let inner = json!({"p": "/opt/npxc-shared/1/f"}).to_string();
    let line = json!({"text": inner, "plain": "see /opt/npxc-shared/1/f"}).to_string();
    let line: Value = serde_json::from_slice(&translator.server(line.as_bytes()).unwrap()).unwrap();
    assert_eq!(line["plain"], "see /home/\"me\\/f");
    let inner: Value = serde_json::from_str(line["text"].as_str().unwrap()).unwrap();
    assert_eq!(inner["p"], "/home/\"me\\/f");
}

#[test]
fn what_is_no_call_goes_on_as_it_is() {
    for line in [
        &br#"[[{"id":1,"method":"tools/call","params":{"name":"t","arguments":{"p":"/home/me/x"}}}]]"#[..],
        br#"{"id":1,"method":"tools/call","params":{"name":"t","arguments":{"p":"/home/me/x"}}"#,
        br#"{"id":1,"method":"tools/call","params":{"name":"t","arguments":{"p":"/home/me/\ud800"}}}"#,
        br#"{"id":1,"method":"other","params":{"name":"t","arguments":{"p":"/home/me/x"}}}"#,
        br#"{"id":1,"result":{"p":"/home/me/x"}}"#,
        br#"{"id":1,"method":"tools/call","params":{"name":"t","arguments":"/home/me/x"}}"#,
    ] {
        assert_eq!(through(&mut Translator::default(), &Below("/home/me"), line), Outcome::Forward);
    }
}

proptest! {
    #[test]
    fn there_and_back_is_the_same(name in "[a-zA-Z0-9 ._\u{e9}\"\\\\%#-]{1,20}", uri: bool) {
        let mut translator = Translator::default();
        let path = format!("/home/me/{name}");
        let value = if uri { format!("file://{}", shape::percent_encode(&path)) } else { path };
        let line = json!({"id": 1, "method": "tools/call", "params": {"name": "t", "arguments": {"x": value}}});
        let line = line.to_string();
        let there = changed(through(&mut translator, &Below("/home/me"), line.as_bytes()));
        prop_assert!(!there.contains("/home/me"));
        prop_assert_eq!(translator.server(there.as_bytes()).unwrap(), line.as_bytes());
    }

    #[test]
    fn bytes_without_a_path_stay(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut translator = versed("/home/me");
        prop_assert_eq!(through(&mut translator, &Below("/home/me"), &line), Outcome::Forward);
        prop_assert_eq!(translator.server(&line), None);
    }
}
