#![allow(clippy::unwrap_used)]
use serde_json::Value;

use super::*;
use crate::rpc::json::splice;

fn write(name: &str) -> Write {
    Write { place: 1, name: name.to_owned() }
}

fn unsaved(path: &str) -> Unsaved {
    let refusal = Refusal { code: "changed-meanwhile", reason: "\"changed\"".to_owned(), hint: None };
    Unsaved { path: path.to_owned(), refusal }
}

fn due(pending: &mut Pending, line: &[u8]) -> Vec<Due> {
    Messages::read(line, &[]).map(|messages| pending.due(line, &messages)).unwrap_or_default()
}

fn names(due: &[Due]) -> Vec<&str> {
    due.iter().flat_map(|due| due.writes.iter().map(|write| write.name.as_str())).collect()
}

#[test]
fn a_reply_is_known_by_its_id_and_due_once() {
    let mut pending = Pending::default();
    pending.expect(b"7", vec![write("a")]);
    pending.expect(br#""7""#, vec![write("b")]);
    pending.expect(br#""\u0078""#, vec![write("c")]);
    pending.expect(b"8", Vec::new());
    for other in [
        &br#"{"id":7,"method":"roots/list"}"#[..],
        br#"{"method":"notifications/progress","params":{"id":7}}"#,
        br#"{"id":8,"result":{}}"#,
        br#"{"result":{"id":7}}"#,
        br#"[{"a":{"id":7}}]"#,
        br#"{"id":7,"result":{}"#,
        br#"{"id":7,"result":{},"id":8}"#,
        b"7",
    ] {
        assert_eq!(due(&mut pending, other), [], "{}", String::from_utf8_lossy(other));
    }
    assert_eq!(names(&due(&mut pending, br#" {"result":{"id":9},"id":"7"}"#)), ["b"]);
    assert_eq!(names(&due(&mut pending, br#"{"id":8,"error":{},"id":7.0}"#)), ["a"]);
    assert_eq!(names(&due(&mut pending, br#"{"id":7,"error":{}}"#)), [""; 0]);
    assert_eq!(names(&due(&mut pending, br#"{"id":"x","result":1}"#)), ["c"]);
}

#[test]
fn an_error_takes_the_place_of_the_reply_alone() {
    let mut pending = Pending::default();
    pending.expect(br#""a""#, vec![write("a")]);
    pending.expect(b"2", vec![write("b")]);
    let line = b" [{\"id\":\"a\",\"result\":{\"n\":1.10}} , {\"id\":2,\"result\":[{}]},{\"id\":3}]\r\n";
    let replies = due(&mut pending, line);
    assert_eq!(names(&replies), ["a", "b"]);
    assert_eq!(replies[0].instead(line, &[]), None);
    let changed = splice(line, &[replies[1].instead(line, &[unsaved("/q\"")]).unwrap()]);
    let text = String::from_utf8(changed).unwrap();
    assert!(
        text.starts_with(" [{\"id\":\"a\",\"result\":{\"n\":1.10}} , {\"jsonrpc\"")
            && text.ends_with(",{\"id\":3}]\r\n")
    );
    let batch: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(batch[1]["id"], 2);
    assert_eq!(batch[1]["error"]["code"], -32603);
    assert_eq!(batch[1]["error"]["message"], "npxc: /q\" \"changed\"");
    assert_eq!(batch[1]["error"]["data"]["paths"][0], "/q\"");
    pending.expect(b"4", vec![write("c")]);
    let line = b"{\"id\":4,\"result\":{}}\n";
    let many: Vec<Unsaved> = (0..5).map(|n| unsaved(&format!("/{n}"))).collect();
    let line = splice(line, &[due(&mut pending, line)[0].instead(line, &many).unwrap()]);
    let reply: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!((&reply["id"], reply["error"]["data"]["paths"].as_array().unwrap().len()), (&4.into(), 5));
    assert!(reply["error"]["message"].as_str().unwrap().ends_with("; and 2 more"), "{reply}");
}

#[test]
fn a_cancelled_call_gives_its_room_to_another() {
    let mut pending = Pending::default();
    for id in 0..MOST_CALLS {
        pending.expect(id.to_string().as_bytes(), vec![write("old")]);
    }
    pending.expect(b"-1", vec![write("more")]);
    assert_eq!(due(&mut pending, br#"{"id":-1,"result":{}}"#), []);
    pending.forget(b"7");
    pending.expect(b"-1", vec![write("more")]);
    assert_eq!(names(&due(&mut pending, br#"{"id":-1,"result":{}}"#)), ["more"]);
    assert_eq!(due(&mut pending, br#"{"id":7,"result":{}}"#), []);
}

#[test]
fn one_id_used_again_and_again_has_only_so_many_writes() {
    let mut pending = Pending::default();
    for n in 0..=MOST_WRITES {
        pending.expect(b"1", vec![write("same"), write(&n.to_string())]);
    }
    let due = due(&mut pending, br#"{"id":1,"result":{}}"#);
    assert_eq!(names(&due).len(), MOST_WRITES);
    assert_eq!(names(&due)[..3], ["same", "0", "1"]);
}

#[test]
fn every_error_has_the_same_data() {
    let hint = Some("write \"it\"".to_owned());
    let refusal = Refusal { code: "x", reason: "is not".to_owned(), hint };
    let refused: Value = serde_json::from_slice(&refusal.message(b"1", "/a\"")).unwrap();
    let mut pending = Pending::default();
    pending.expect(b"1", vec![write("a")]);
    let line = br#"{"id":1,"result":{}}"#;
    let unsaved = Unsaved { path: "/a\"".to_owned(), refusal };
    let line = splice(line, &[due(&mut pending, line)[0].instead(line, &[unsaved]).unwrap()]);
    let unsaved: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(refused["error"]["data"], unsaved["error"]["data"]);
    assert_eq!(refused["error"]["message"], unsaved["error"]["message"]);
    assert_eq!(refused["error"]["data"]["hint"], "write \"it\"");
}
