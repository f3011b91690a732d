//! Files that a server writes where a call names them: what reaches the host, and what does not.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::mcp::{Client, text_of};
use super::world::world;

/// The local package as a server that writes, in a directory of the test's own.
fn start(cwd: &Path, options: &[&str]) -> Client {
    let (fixture, cwd) = (world().fixture().display().to_string(), cwd.display().to_string());
    let arguments = [options, &["--cwd", &cwd, &fixture, "writer"]].concat();
    let mut client = Client::start(world().npxc(&arguments));
    client.tools();
    client
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The error in the answer to a call that waits until `meanwhile` has happened on the host.
fn while_it_runs(client: &mut Client, tool: &str, arguments: Value, meanwhile: impl FnOnce()) -> Value {
    let id = client.begin("tools/call", json!({"name": tool, "arguments": arguments}));
    client.notified("notifications/written");
    meanwhile();
    client.notify("notifications/continue");
    client.answer_to(id, tool)
}

#[test]
fn what_is_written_is_there_when_the_reply_is() {
    let cwd = world().scratch("writing");
    let file = cwd.join("a note.txt");
    fs::write(&file, "one").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(cwd.join("sub")).unwrap();
    let path = file.display().to_string();
    let mut client = start(&cwd, &["--write"]);
    assert_eq!(client.text("write", json!({"file": path, "text": "two"})), format!("done {path}"));
    assert_eq!(text(&file), "two");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o640);
    client.text("append", json!({"file": "a note.txt", "text": ", three"}));
    assert_eq!(text(&file), "two, three");
    client.text("save_by_rename", json!({"file": path, "text": "four"}));
    assert_eq!(text(&file), "four");
    // The user goes on with it.
    fs::write(&file, "five").unwrap();
    assert_eq!(client.text("read", json!({"file": path})), "five");
    // New ones, by their names and by their paths.
    let new = cwd.join("sub/new.txt");
    client.text("write", json!({"file": new.display().to_string(), "text": "new"}));
    client.text("save_by_rename", json!({"file": "sub/other.txt", "text": "other"}));
    assert_eq!((text(&new), text(&cwd.join("sub/other.txt"))), ("new".into(), "other".into()));
    assert_eq!(names(&cwd), ["a note.txt", "sub"]);
    assert_eq!(names(&cwd.join("sub")), ["new.txt", "other.txt"]);
    // A directory, with what the server puts into it.
    assert_eq!(client.text("list", json!({"directory": "sub"})), "new.txt other.txt");
    let (status, stderr, audit) = client.close();
    assert!(status.success(), "{status}: {stderr}");
    let collected: Vec<_> = audit
        .events()
        .into_iter()
        .filter(|event| event["event"] == "file.collect")
        .map(|event| (event["how"].as_str().unwrap().to_owned(), event["bytes"].as_u64().unwrap()))
        .collect();
    let expected = [("changed", 3), ("changed", 10), ("changed", 4), ("new", 3), ("new", 5)];
    assert_eq!(collected, expected.map(|(how, bytes)| (how.to_owned(), bytes)));
}

#[test]
fn nothing_is_written_unless_it_was_said() {
    let cwd = world().scratch("writing");
    let file = cwd.join("in.txt");
    fs::write(&file, "one").unwrap();
    let mut client = start(&cwd, &[]);
    let path = file.display().to_string();
    // The server's own, honest error.
    assert_eq!(client.error("write", json!({"file": path, "text": "two"})), "EROFS");
    let new = cwd.join("new.txt").display().to_string();
    let error =
        client.refused("tools/call", json!({"name": "write", "arguments": {"file": new, "text": ""}}));
    assert_eq!((&error["data"]["code"], &error["data"]["path"]), (&json!("missing"), &json!(new)));
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("--write") && message.contains(":rw"), "{message}");
    // A mount is another way.
    assert!(client.close().0.success());
    let mut client = start(&cwd, &["--mount", &format!("{}:rw", cwd.display())]);
    client.text("write", json!({"file": new, "text": "mounted"}));
    assert_eq!(text(&cwd.join("new.txt")), "mounted");
    assert!(client.close().0.success());
    assert_eq!(text(&file), "one");
}

#[test]
fn the_file_says_it_as_well() {
    let cwd = world().scratch("writing");
    let config = world().scratch("writing-config");
    fs::write(config.join("npxc.toml"), "[paths]\nmount_mode = \"rw\"\n").unwrap();
    let mut client = start(&cwd, &["--config", &config.display().to_string()]);
    client.text("write", json!({"file": "new.txt", "text": "new"}));
    assert_eq!(text(&cwd.join("new.txt")), "new");
    assert!(client.close().0.success());
}

#[test]
fn what_changes_meanwhile_is_kept() {
    let cwd = world().scratch("writing");
    let (file, new) = (cwd.join("in.txt"), cwd.join("new.txt"));
    fs::write(&file, "one").unwrap();
    let mut client = start(&cwd, &["--write"]);
    for path in [&file, &new] {
        let arguments = json!({"file": path.display().to_string(), "text": "package's", "wait": true});
        let answer = while_it_runs(&mut client, "write", arguments, || fs::write(path, "user's").unwrap());
        let kept = PathBuf::from(format!("{}.npxc-1", path.display()));
        let error = &answer["error"];
        assert_eq!(error["data"]["code"], "changed-meanwhile", "{answer}");
        assert_eq!(error["data"]["path"], path.display().to_string());
        assert!(error["message"].as_str().unwrap().contains(kept.to_str().unwrap()), "{answer}");
        assert_eq!((text(path), text(&kept)), ("user's".into(), "package's".into()));
    }
    // The next call sees what the user wrote, and may change that.
    assert_eq!(client.text("read", json!({"file": "in.txt"})), "user's");
    client.text("append", json!({"file": "in.txt", "text": " and more"}));
    assert_eq!(text(&file), "user's and more");
    assert!(client.close().0.success());
    assert_eq!(names(&cwd), ["in.txt", "in.txt.npxc-1", "new.txt", "new.txt.npxc-1"]);
}

#[test]
fn what_was_never_answered_is_collected_in_the_end() {
    let cwd = world().scratch("writing");
    let mut client = start(&cwd, &["--write"]);
    let arguments = json!({"file": "late.txt", "text": "late", "wait": true});
    client.begin("tools/call", json!({"name": "write", "arguments": arguments}));
    client.notified("notifications/written");
    let (_, stderr, audit) = client.close();
    assert_eq!(text(&cwd.join("late.txt")), "late", "{stderr}");
    assert!(audit.events().iter().any(|event| event["event"] == "file.collect"));
}

#[test]
fn row_41_what_the_guest_makes_of_its_copy_leads_nowhere() {
    let cwd = world().scratch("writing");
    let file = cwd.join("in.txt");
    fs::write(&file, "inside").unwrap();
    for what in ["link", "fifo", "hardlink", "directory", "huge", "parents"] {
        let mut client = start(&cwd, &["--write"]);
        let arguments = json!({"file": file.display().to_string(), "what": what});
        let id = client.begin("tools/call", json!({"name": "trick", "arguments": arguments}));
        let answer = client.answer_to(id, what);
        if what == "parents" {
            // The copy is where it was for npxc, which holds its directory open: it was taken away.
            assert!(answer["error"].is_null(), "{answer}");
            // And is put there again, not below the link.
            let again = client.call("read", json!({"file": "in.txt"}));
            assert!(!text_of(&again).contains("root"), "{again}");
        } else {
            assert_eq!(answer["error"]["data"]["code"], "not-saved", "{what}: {answer}");
        }
        let (status, stderr, _) = client.close();
        assert!(status.success(), "{what}: {status}: {stderr}");
        assert_eq!(text(&file), "inside", "{what}");
        assert_eq!(names(&cwd), ["in.txt"], "{what}");
    }
}

#[test]
fn without_write_nobody_is_told_that_a_file_was_made() {
    let cwd = world().scratch("writing");
    fs::write(cwd.join("there.txt"), "one").unwrap();
    let secret = world().scratch("writing-outside").join("secret.txt");
    fs::write(&secret, "secret").unwrap();
    let mut client = start(&cwd, &[]);
    let call = |name: &str, file: &str| json!({"name": name, "arguments": {"file": file, "text": "two"}});
    let error = client.refused("tools/call", call("write", "new.txt"));
    assert_eq!(error["data"]["code"], "missing", "{error}");
    assert!(error["message"].as_str().unwrap().contains("--write"), "{error}");
    client.refused("tools/call", call("read", secret.to_str().unwrap()));
    // One that only reads is told by the server.
    assert_eq!(client.error("read", json!({"file": "new.txt"})), "ENOENT");
    let denied = client.request("tools/call", call("tell", "there.txt"));
    let denied = text_of(&denied);
    assert!(denied.starts_with('E') && denied.contains(cwd.to_str().unwrap()), "{denied}");
    let (status, said, audit) = client.close();
    assert!(status.success(), "{said}");
    assert_eq!(names(&cwd), ["there.txt"]);
    assert_eq!(text(&cwd.join("there.txt")), "one");
    let hints =
        said.lines().filter(|line| line.contains("may read and not change") && line.contains("--write"));
    assert_eq!(hints.count(), 1, "{said}");
    // A reviewer reads what was named, shared and not shared.
    let log = audit.0.display().to_string();
    let shown = world().command(&["audit", "show", &log]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout);
    let (shared, refused) = shown.split_once("Named and not shared:").unwrap();
    assert!(shared.contains("copied for the package:") && shared.contains("there.txt"), "{shown}");
    assert!(refused.contains("new.txt is not there") && refused.contains("secret.txt is outside"), "{shown}");
}
