//! Files that a client names: the server reads them, and neither of the two sees the other's paths.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::mcp::{Client, text_of};
use super::world::world;

/// The local package as a server with one tool, `read`, in a directory of the test's own.
fn start(cwd: &std::path::Path, options: &[&str]) -> Client {
    let (fixture, cwd) = (world().fixture().display().to_string(), cwd.display().to_string());
    let arguments = [options, &["--cwd", &cwd, &fixture, "reader"]].concat();
    Client::start(world().npxc(&arguments))
}

/// What the server says of a path: its content, as far as it has one, and the path itself.
fn read(client: &mut Client, path: &str) -> Value {
    let result = client.call("read", json!({"file": path}));
    let said: Value = serde_json::from_str(&text_of(&result)).unwrap();
    assert_eq!(result["structuredContent"], said, "both copies");
    said
}

#[test]
fn a_file_is_read_by_the_clients_path_and_named_by_it() {
    let cwd = world().scratch("paths");
    let file = cwd.join("a report.txt");
    fs::write(&file, "first").unwrap();
    let path = file.display().to_string();
    let mut client = start(&cwd, &[]);
    client.tools();
    assert_eq!(read(&mut client, &path), json!({"path": path, "text": "first"}));
    // By its name alone, since the schema says that it is a path; as it is now.
    fs::write(&file, "second").unwrap();
    assert_eq!(read(&mut client, "a report.txt"), json!({"path": path, "text": "second"}));
    let uri = format!("file://{}", path.replace(' ', "%20"));
    assert_eq!(read(&mut client, &uri), json!({"path": uri, "text": "second"}));
    // What is not there is the server's to say.
    assert_eq!(read(&mut client, "other.txt"), json!({"path": "other.txt", "error": "ENOENT"}));
    let (status, stderr, audit) = client.close();
    assert!(status.success(), "{status}: {stderr}");
    let shared: Vec<_> =
        audit.events().into_iter().filter(|event| event["event"] == "file.publish").collect();
    assert_eq!(shared.len(), 2, "{shared:?}");
    assert_eq!(shared[0]["path"], path);
}

#[test]
fn what_lies_outside_is_refused_in_words() {
    let cwd = world().scratch("paths");
    let secret = world().scratch("paths-outside").join("secret.txt");
    fs::write(&secret, "secret").unwrap();
    symlink(&secret, cwd.join("link.txt")).unwrap();
    let mut client = start(&cwd, &[]);
    client.tools();
    let link = cwd.join("link.txt").display().to_string();
    for path in [&secret.display().to_string(), &link] {
        let error = client.refused("tools/call", json!({"name": "read", "arguments": {"file": path}}));
        assert_eq!(error["data"]["code"], "outside-scope", "{error}");
        assert_eq!(error["data"]["path"], **path);
        assert!(error["message"].as_str().unwrap().contains("--mount"), "{error}");
    }
    assert!(client.close().0.success());
}

#[test]
fn a_mounted_file_needs_no_copy() {
    let cwd = world().scratch("paths");
    fs::write(cwd.join("note.txt"), "mounted").unwrap();
    let path = cwd.join("note.txt").display().to_string();
    let mut client = start(&cwd, &["--mount", &cwd.display().to_string()]);
    client.tools();
    assert_eq!(read(&mut client, &path), json!({"path": path, "text": "mounted"}));
    let (status, _, audit) = client.close();
    assert!(status.success());
    assert!(audit.events().iter().all(|event| event["event"] != "file.publish"));
}
