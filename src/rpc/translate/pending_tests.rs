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
        b"7",
    ] {
        assert_eq!(pending.due(other), [], "{}", String::from_utf8_lossy(other));
    }
    assert_eq!(names(&pending.due(br#" {"result":{"id":9},"id":"7"}"#)), ["b"]);
    assert_eq!(names(&pending.due(br#"{"id":7,"error":{}}"#)), ["a"]);
    assert_eq!(names(&pending.due(br#"{"id":7,"error":{}}"#)), [""; 0]);
    assert_eq!(names(&pending.due(br#"{"id":"x","result":1}"#)), ["c"]);
}

#[test]
fn an_error_takes_the_place_of_the_reply_alone() {
    let mut pending = Pending::default();
    pending.expect(br#""a""#, vec![write("a")]);
    pending.expect(b"2", vec![write("b")]);
    let line = b" [{\"id\":\"a\",\"result\":{\"n\":1.10}} , {\"id\":2,\"result\":[{}]},{\"id\":3}]\r\n";
    let due = pending.due(line);
    assert_eq!(names(&due), ["a", "b"]);
    assert_eq!(due[0].instead(line, &[]), None);
    let changed = splice(line, &[due[1].instead(line, &[unsaved("/q\"")]).unwrap()]);
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
    let line = splice(line, &[pending.due(line)[0].instead(line, &many).unwrap()]);
    let reply: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!((&reply["id"], reply["error"]["data"]["paths"].as_array().unwrap().len()), (&4.into(), 5));
    assert!(reply["error"]["message"].as_str().unwrap().ends_with("; and 2 more"), "{reply}");
}
