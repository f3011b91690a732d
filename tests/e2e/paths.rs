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

#[test]
fn resources_and_answers_to_the_server_name_files_as_well() {
    let cwd = world().scratch("paths");
    fs::write(cwd.join("a b.txt"), "shared").unwrap();
    let outside = world().scratch("paths-outside").display().to_string();
    let (fixture, directory) = (world().fixture().display().to_string(), cwd.display().to_string());
    let (path, uri) = (format!("{directory}/a b.txt"), format!("file://{directory}/a%20b.txt"));
    let mut client = Client::start(world().npxc(&["--cwd", &directory, &fixture, "asker"]));
    let result = client.request("resources/read", json!({"uri": uri}));
    assert_eq!(result["contents"], json!([{"uri": uri, "text": "shared"}]));

    let ask = |client: &mut Client, method: &str, params: Value| -> Value {
        let text = client.text("ask", json!({"method": method, "params": params}));
        serde_json::from_str(&text).unwrap()
    };
    // A root that cannot be seen stays as it is, and a directory is not copied because the server asks for it.
    client.roots = [format!("file://{directory}"), format!("file://{outside}"), uri.clone()]
        .map(|uri| json!({"uri": uri}))
        .to_vec();
    for _ in 0..2 {
        let answer = ask(&mut client, "roots/list", json!({}));
        assert_eq!(answer, json!({"said": {"roots": client.roots}, "there": [uri]}));
    }
    // A model reads the client's name, and its answer leads the server to the copy.
    let input = json!({"role": "assistant", "model": "tests", "content":
        [{"type": "tool_use", "id": "/not/this", "name": "read", "input": {"file": path}}]});
    client.replies.insert("sampling/createMessage", input.clone());
    let answer = ask(&mut client, "sampling/createMessage", json!({"messages": [], "files": [path]}));
    assert_eq!(answer, json!({"said": input, "there": [path]}));
    assert_eq!(client.asked.last().unwrap()["files"], json!([path]));
    // By its name alone, since the form says that it is a path.
    let filled = json!({"action": "accept", "content": {"file": "a b.txt", "name": "a b.txt"}});
    client.replies.insert("elicitation/create", filled);
    let form =
        json!({"type": "object", "properties": {"file": {"type": "string"}, "name": {"type": "string"}}});
    let answer = ask(&mut client, "elicitation/create", json!({"message": "?", "requestedSchema": form}));
    assert_eq!(answer["said"]["content"], json!({"file": path, "name": "a b.txt"}));
    assert_eq!(answer["there"], json!([path]));

    let (status, stderr, _) = client.close();
    assert!(status.success(), "{status}: {stderr}");
    let hints: Vec<_> = stderr.lines().filter(|line| line.contains("the client's root")).collect();
    assert_eq!(hints.len(), 2, "{stderr}");
    for (hint, root) in hints.iter().zip([&directory, &outside]) {
        assert!(hint.contains(root.as_str()) && hint.contains("--mount"), "{stderr}");
    }
}

#[test]
fn a_mount_under_another_name_has_the_clients_in_its_answers() {
    let place = world().scratch("paths");
    fs::write(place.join("note.txt"), "mounted").unwrap();
    let path = place.join("note.txt").display().to_string();
    let mount = format!("{}:/data", place.display());
    let mut client = start(&world().scratch("paths"), &["--mount", &mount]);
    client.tools();
    assert_eq!(read(&mut client, &path), json!({"path": path, "text": "mounted"}));
    let missing = place.join("none.txt").display().to_string();
    assert_eq!(read(&mut client, &missing), json!({"path": missing, "error": "ENOENT"}));
    assert!(client.close().0.success());
}

#[test]
fn where_a_package_keeps_its_data_has_no_other_name() {
    let cwd = world().scratch("paths");
    let path = cwd.join("note.txt").display().to_string();
    fs::write(&path, "/data/x is kept in /data").unwrap();
    let mut client = start(&cwd, &["--persist"]);
    client.tools();
    assert_eq!(read(&mut client, &path), json!({"path": path, "text": "/data/x is kept in /data"}));
    assert!(client.close().0.success());
}

#[test]
fn arguments_and_variables_that_are_paths_are_the_guests() {
    let (cwd, place) = (world().scratch("paths"), world().scratch("paths"));
    fs::write(cwd.join("a.txt"), "shared").unwrap();
    let (fixture, cwd) = (world().fixture().display().to_string(), cwd.display().to_string());
    let mount = format!("{}:/data", place.display());
    let inside = format!("--root={}/x", place.display());
    let options = ["--cwd", &cwd, "--mount", &mount];
    let words =
        ["say", &format!("{cwd}/a.txt"), "./a.txt", "--in=a.txt", &inside, "say", "none.txt", "/usr/bin"];
    let arguments = [&options[..], &[&fixture], &words].concat();
    let (output, audit) = world().npxc(&arguments).output();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "/opt/npxc-shared/1/a.txt /opt/npxc-shared/1/a.txt --in=/opt/npxc-shared/1/a.txt --root=/data/x say none.txt /usr/bin\n"
    );
    let events: Vec<_> = audit.events().into_iter().map(|event| event["event"].clone()).collect();
    let run = events.iter().rposition(|event| event == "session.start").unwrap();
    assert_eq!(events[run + 1], "file.publish", "after the session's begin");
    let dry = [&["--dry-run"], &arguments[..]].concat();
    let (output, _) = world().npxc(&dry).output();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("{cwd}/a.txt -> a copy below /opt/npxc-shared")), "{text}");
}

#[test]
fn inspect_says_what_would_become_of_a_call() {
    let cwd = world().scratch("paths");
    fs::write(cwd.join("a.txt"), "x").unwrap();
    // A file: of directories the sandbox may have one of that name itself, as /tmp.
    let outside = world().scratch("paths-outside").join("secret.txt");
    fs::write(&outside, "secret").unwrap();
    let outside = outside.display().to_string();
    let (fixture, cwd) = (world().fixture().display().to_string(), cwd.display().to_string());
    let inspect = |options: &[&str]| {
        let words = [&["inspect", "--cwd", &cwd][..], options, &[&fixture, "reader"]].concat();
        let (output, _) = world().npxc(&words).output();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let tools: Value = serde_json::from_str(&inspect(&["--json"])).unwrap();
    assert_eq!(tools["tools"], json!(["read"]));
    assert_eq!(tools["paths"][0]["argument"], "file");
    let granted =
        |value: &Value| value["grants"].as_array().unwrap().iter().any(|row| row["what"] == "package");
    assert!(granted(&tools), "{tools}");
    let only: Value = serde_json::from_str(&inspect(&["--json", "--no-start"])).unwrap();
    assert!(granted(&only) && only["tools"].is_null(), "{only}");
    assert!(inspect(&["--no-start", "--write"]).contains("brings back what is written  [--write]"));
    assert!(inspect(&[]).contains("its name in the tool's schema is that of a path"));
    let range = json!({"file": "a.txt", "range": "A1:B1", "url": "https://example.com"}).to_string();
    let of_range = ["--tool", "read", "--arguments", &range];
    let shown = inspect(&of_range);
    assert!(shown.contains("shared as a read-only copy") && shown.contains(" not a path"), "{shown}");
    assert_eq!(shown.matches("it is a URL").count(), 1, "{shown}");
    let shown = inspect(&[&of_range[..], &["--write"]].concat());
    assert!(shown.contains("shared as a copy, and brought back"), "{shown}");
    let arguments = json!({"file": "a.txt", "other": [outside, "https://example.com/a/b", "none/at/all"]});
    let call = ["--tool", "read", "--arguments", &arguments.to_string()];
    let said: Value = serde_json::from_str(&inspect(&[&call[..], &["--json"]].concat())).unwrap();
    let rows: Vec<_> =
        said["strings"].as_array().unwrap().iter().map(|row| [&row["value"], &row["place"]]).collect();
    let expected = json!([
        ["a.txt", "copy"],
        [outside, "refused"],
        ["https://example.com/a/b", null],
        ["none/at/all", null],
    ]);
    assert_eq!(json!(rows), expected);
    assert!(said["strings"][1]["hint"].as_str().unwrap().contains("--mount"), "{said}");
    let text = inspect(&call);
    assert!(text.contains("shared as a read-only copy") && text.contains("it is a URL"), "{text}");
}

#[test]
fn inspect_says_what_a_call_comes_to() {
    let cwd = world().scratch("paths");
    let outside = world().scratch("paths-outside").join("secret.txt");
    fs::write(&outside, "secret").unwrap();
    fs::write(cwd.join("a.txt"), "x").unwrap();
    fs::create_dir(cwd.join("wide")).unwrap();
    for number in 0..2100 {
        fs::write(cwd.join("wide").join(number.to_string()), "").unwrap();
    }
    fs::File::create(cwd.join("large.bin")).unwrap().set_len(600 << 20).unwrap();
    symlink(&outside, cwd.join("link.txt")).unwrap();
    let (fixture, directory) = (world().fixture().display().to_string(), cwd.display().to_string());
    let absolute = format!("{directory}/new.txt");
    let values = [
        "a.txt",
        "wide",
        "wide/7",
        "large.bin",
        "link.txt",
        "new.txt",
        &absolute,
        "none/new.txt",
        outside.to_str().unwrap(),
        "/etc/passwd",
        "https://example.com/a",
    ];
    for options in [&[][..], &["--write"]] {
        // The package's name first, as the README has it.
        let arguments = json!({"file": values}).to_string();
        let own = ["--tool", "read", "--json", "--arguments", &arguments, "--cwd", &directory];
        let words = [&["inspect", &fixture, "reader"][..], options, &own].concat();
        let output = world().command(&words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut client = start(&cwd, options);
        client.tools();
        for (row, value) in said["strings"].as_array().unwrap().iter().zip(values) {
            let id = client.begin("tools/call", json!({"name": "read", "arguments": {"file": value}}));
            let answer = client.answer_to(id, "tools/call");
            let error = &answer["error"]["message"];
            let path = &answer["result"]["structuredContent"]["path"];
            let shared = format!("{directory}/{}", value.trim_start_matches(&format!("{directory}/")));
            match row["place"].as_str() {
                Some("refused") => {
                    let message = error.as_str().unwrap();
                    assert!(message.contains(row["detail"].as_str().unwrap()), "{row} {message}");
                }
                Some("copy" | "new") => assert_eq!(*path, shared, "{row} {answer}"),
                Some("left") | None => assert_eq!(*path, value, "{row} {answer}"),
                other => panic!("{other:?} {row}"),
            }
        }
        assert!(client.close().0.success());
    }
}

#[test]
fn inspect_knows_the_servers_tools_and_takes_its_options_behind_the_package() {
    let fixture = world().fixture().display().to_string();
    let inspect = |words: &[&str]| {
        let output = world().command(&[&["inspect", &fixture, "reader"], words].concat()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, said) = inspect(&["--tool", "raed", "--arguments", "{}"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("no tool `raed`") && said.contains("`read`?"), "{said}");
    let (status, said) = inspect(&["--stdio"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("npxc inspect PACKAGE -- --stdio"), "{said}");
    let (status, said) = inspect(&["--", "--stdio"]);
    assert_eq!(status, Some(0), "{said}");
}

#[test]
fn an_argument_that_cannot_be_shared_is_warned_of() {
    let cwd = world().scratch("paths");
    fs::File::create(cwd.join("large.bin")).unwrap().set_len(600 << 20).unwrap();
    let (fixture, directory) = (world().fixture().display().to_string(), cwd.display().to_string());
    let words = ["--cwd", &directory, &fixture, "say", "./large.bin"];
    let (output, _) = world().npxc(&words).output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.stdout, b"./large.bin\n");
    assert!(
        said.contains("npxc: warning: the package is started with ./large.bin, which is larger"),
        "{said}"
    );
    assert!(said.contains("npxc: hint: start npxc with --mount"), "{said}");
    let (output, _) = world().npxc(&[&["--dry-run"], &words[..]].concat()).output();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("./large.bin -> stays as it is: it is larger than 512 MiB"), "{text}");
}

#[test]
fn what_stays_as_it_is_and_may_be_meant_otherwise_is_said() {
    let (cwd, outside) = (world().scratch("paths"), world().scratch("paths-outside").join("out.txt"));
    fs::create_dir(cwd.join("sub")).unwrap();
    fs::write(cwd.join("plain"), "").unwrap();
    fs::write(cwd.join("in.txt"), "").unwrap();
    fs::write(&outside, "").unwrap();
    fs::File::create(cwd.join("large.bin")).unwrap().set_len(600 << 20).unwrap();
    let (fixture, directory) = (world().fixture().display().to_string(), cwd.display().to_string());
    let variables = [
        format!("SHARED={directory}/in.txt"),
        format!("LARGE={directory}/large.bin"),
        format!("OUTSIDE={}", outside.display()),
        "KEPT=/data/kept.json".to_owned(),
        "SYSTEM=/usr/bin".to_owned(),
    ];
    let variables: Vec<&str> = variables.iter().flat_map(|one| ["--env", one.as_str()]).collect();
    let run = |options: &[&str]| {
        let own = ["--cwd", &directory, &fixture, "say", "sub", "plain", "none", "sub", "/data/x"];
        let (output, _) = world().npxc(&[options, &variables, &own].concat()).output();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    };
    let (printed, said) = run(&[]);
    assert_eq!(printed, "sub plain none sub /data/x\n");
    let of = |variable: &str| {
        format!("npxc: warning: the package is started with a path in variable {variable}, which ")
    };
    for warning in [
        "npxc: warning: `sub` is passed as it is; write ./sub if the directory is meant\n",
        "npxc: warning: `plain` is passed as it is; write ./plain if the file is meant\n",
        "npxc: warning: the package is started with /data/x, but `/data` is there only with --persist\n",
        "npxc: warning: the package is started with variable KEPT, but `/data` is there only with --persist\n",
        &(of("LARGE") + "is larger than 512 MiB"),
        &(of("OUTSIDE") + "is outside of what the package may see"),
    ] {
        assert_eq!(said.matches(warning).count(), 1, "{warning}in {said}");
    }
    assert!(!said.contains("none") && !said.contains("SYSTEM") && !said.contains("SHARED"), "{said}");
    let (shown, _) = run(&["--dry-run"]);
    for line in [
        " sub -> passed as it is; write ./sub if the directory is meant\n",
        " /data/x -> stays as it is: `/data` is there only with --persist\n",
        " variable KEPT -> stays as it is: `/data` is there only with --persist\n",
        " variable SHARED -> a copy below /opt/npxc-shared\n",
        " variable LARGE -> stays as it is: it is larger",
        " variable OUTSIDE -> stays as it is: it is outside",
        " variable SYSTEM -> stays as it is: the sandbox has its own there",
    ] {
        assert!(shown.contains(line), "{line}in {shown}");
    }
    // The package starts where the word means the directory, and `/data` is there.
    for options in [&["--no-isolate", "--persist"][..], &["--no-isolate", "--persist", "--dry-run"]] {
        let (shown, said) = run(options);
        let all = shown + &said;
        assert!(!all.contains("passed as it is") && !all.contains("only with --persist"), "{all}");
    }
}
