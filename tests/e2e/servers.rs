//! Real MCP servers, each started and asked for real work.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::machine::have;
use super::mcp::{Client, text_of};
use super::world::world;

fn mount(directory: &Path, guest: &str) -> String {
    format!("{}:{guest}", directory.display())
}

#[test]
fn everything_calls_back_into_its_client() {
    let mut client = Client::start(world().npxc(&["@modelcontextprotocol/server-everything@2026.8.31"]));
    assert!(client.text("echo", json!({"message": "grüß \u{1f980}"})).contains("grüß \u{1f980}"));
    assert!(client.text("get-sum", json!({"a": 17, "b": 25})).contains("42"));
    let image = client.call("get-tiny-image", json!({}));
    let parts = image["content"].as_array().unwrap();
    assert!(parts.iter().any(|part| part["type"] == "image" && part["mimeType"] == "image/png"), "{image}");
    // The guest's environment is its own.
    let environment = client.text("get-env", json!({}));
    let host = std::env::var("PWD").unwrap_or_else(|_| "/no/such/variable".to_owned());
    assert!(environment.contains("/home/user") && !environment.contains(&host), "{environment}");
    // Requests in the other direction; these tools appear once the server knows what its client can do.
    let tools = client.tools();
    if tools.iter().any(|name| name == "trigger-sampling-request") {
        let sampled = client.text("trigger-sampling-request", json!({"prompt": "say it", "maxTokens": 10}));
        assert!(sampled.contains("sampled by the tests"), "{sampled}");
    }
    if tools.iter().any(|name| name == "get-roots-list") {
        client.roots = vec![json!({"uri": "file:///home/user/project", "name": "project"})];
        client.notify("notifications/roots/list_changed");
        // Its answer may come from before or after it asked again.
        client.text("get-roots-list", json!({}));
    }
    let (status, stderr, _) = client.close();
    assert!(status.success(), "{status}: {stderr}");
}

#[test]
fn filesystem_reads_and_writes_what_a_mount_says() {
    let files = world().scratch("files");
    fs::write(files.join("letter.txt"), "dear reader").unwrap();
    let package = "@modelcontextprotocol/server-filesystem@2026.8.31";

    let mut client = Client::start(world().npxc(&["--mount", &mount(&files, "/data"), package, "/data"]));
    assert_eq!(client.text("read_text_file", json!({"path": "/data/letter.txt"})), "dear reader");
    let refused = client.error("write_file", json!({"path": "/data/new.txt", "content": "no"}));
    assert!(refused.contains("EROFS") || refused.contains("read-only"), "{refused}");
    assert!(!files.join("new.txt").exists());
    let outside = client.error("read_text_file", json!({"path": "/etc/passwd"}));
    assert!(outside.contains("outside allowed directories"), "{outside}");
    assert!(client.close().0.success());

    // Writable, and at the host's own path.
    let option = format!("{}:rw", files.display());
    let at = |name: &str| files.join(name).display().to_string();
    let mut client =
        Client::start(world().npxc(&["--mount", &option, package, &files.display().to_string()]));
    client.text("write_file", json!({"path": at("new.txt"), "content": "yes"}));
    client.text("move_file", json!({"source": at("letter.txt"), "destination": at("moved.txt")}));
    assert_eq!(fs::read_to_string(files.join("new.txt")).unwrap(), "yes");
    assert_eq!(fs::read_to_string(files.join("moved.txt")).unwrap(), "dear reader");
    assert!(client.close().0.success());
}

#[test]
fn memory_keeps_its_graph_in_a_mount() {
    let directory = world().scratch("memory");
    let option = mount(&directory, "/memory") + ":rw";
    let start = || {
        Client::start(world().npxc(&[
            "--mount",
            &option,
            "--env",
            "MEMORY_FILE_PATH=/memory/graph.jsonl",
            "@modelcontextprotocol/server-memory@2026.8.31",
        ]))
    };
    let mut client = start();
    let entity = json!({"name": "Ferris", "entityType": "crab", "observations": ["lives in a sandbox"]});
    client.text("create_entities", json!({"entities": [entity]}));
    assert!(client.close().0.success());
    assert!(fs::read_to_string(directory.join("graph.jsonl")).unwrap().contains("Ferris"));
    let mut client = start();
    assert!(client.text("read_graph", json!({})).contains("lives in a sandbox"));
    assert!(client.close().0.success());
}

#[test]
fn sequential_thinking_thinks_and_draws_on_stderr() {
    let mut client =
        Client::start(world().npxc(&["@modelcontextprotocol/server-sequential-thinking@2026.8.31"]));
    let thought = json!({
        "thought": "a packet has nowhere to go",
        "thoughtNumber": 1,
        "totalThoughts": 1,
        "nextThoughtNeeded": false,
    });
    let answer = client.text("sequentialthinking", thought);
    assert!(answer.contains("\"thoughtNumber\": 1"), "{answer}");
    let (status, stderr, _) = client.close();
    assert!(status.success());
    assert!(stderr.contains("a packet has nowhere to go"), "{stderr}");
}

#[test]
fn pdf_reader_reads_with_its_native_module() {
    let directory = world().scratch("pdf");
    fs::write(directory.join("note.pdf"), pdf("Contained since 2026")).unwrap();
    let mut client = Client::start(world().npxc(&[
        "--mount",
        &mount(&directory, "/papers"),
        "--cwd",
        &directory.display().to_string(),
        "@sylphx/pdf-reader-mcp@2.4.0",
    ]));
    let arguments = json!({"sources": [{"path": "/papers/note.pdf"}], "include_full_text": true});
    let text = client.text("read_pdf", arguments);
    assert!(text.contains("Contained since 2026"), "{text}");
    assert!(client.close().0.success());
}

#[test]
fn pdf_reader_reads_what_a_call_names() {
    let directory = world().scratch("pdf");
    fs::write(directory.join("note.pdf"), pdf("Shared since 2026")).unwrap();
    let cwd = directory.display().to_string();
    let mut client = Client::start(world().npxc(&["--cwd", &cwd, "@sylphx/pdf-reader-mcp@2.4.0"]));
    client.tools();
    let path = directory.join("note.pdf").display().to_string();
    // Nested, and echoed as JSON inside text.
    let text = client.text("read_pdf", json!({"sources": [{"path": path}], "include_full_text": true}));
    assert!(text.contains("Shared since 2026") && text.contains(&path), "{text}");
    assert!(!text.contains("npxc-shared"), "{text}");
    assert!(client.close().0.success());
}

#[test]
fn sqlite_builds_its_native_module_and_keeps_a_database() {
    if !["python3", "make", "g++"].into_iter().all(have) {
        return;
    }
    let directory = world().scratch("sqlite");
    let option = mount(&directory, "/db") + ":rw";
    let mut client =
        Client::start(world().npxc(&["--mount", &option, "mcp-server-sqlite-npx@0.8.0", "/db/crabs.db"]));
    client.text("create_table", json!({"query": "CREATE TABLE crabs (name TEXT, legs INTEGER)"}));
    client.text("write_query", json!({"query": "INSERT INTO crabs VALUES ('Ferris', 10), ('Hermit', 10)"}));
    let sum = client.text("read_query", json!({"query": "SELECT SUM(legs) AS legs FROM crabs"}));
    assert!(sum.contains("20"), "{sum}");
    assert!(client.close().0.success());
    assert!(fs::read(directory.join("crabs.db")).unwrap().starts_with(b"SQLite format 3\0"));
}

#[test]
fn git_reports_the_status_of_a_real_repository() {
    if !have("git") {
        return;
    }
    let repository = world().scratch("repository");
    git(&repository, &["init", "-q", "-b", "trunk"]);
    fs::write(repository.join("kept.txt"), "kept").unwrap();
    git(&repository, &["add", "kept.txt"]);
    git(&repository, &["commit", "-q", "-m", "Keep it"]);
    fs::write(repository.join("fresh.txt"), "fresh").unwrap();

    let option = mount(&repository, "/repository") + ":rw";
    let mut client = Client::start(world().npxc(&["--mount", &option, "@cyanheads/git-mcp-server@2.15.3"]));
    let path = json!({"path": "/repository"});
    let status = client.text("git_status", path.clone());
    assert!(status.contains("trunk") && status.contains("fresh.txt"), "{status}");
    let log = client.text("git_log", path);
    assert!(log.contains("Keep it"), "{log}");
    client.text("git_add", json!({"path": "/repository", "paths": ["fresh.txt"]}));
    assert!(client.close().0.success());
    assert!(git(&repository, &["status", "--porcelain"]).contains("A  fresh.txt"));
}

#[test]
fn playwright_shows_a_page_that_a_rule_allows() {
    if !have("chromium") {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let page = "<!doctype html><title>Tide</title><h1>High water</h1><a href='/next'>Next</a>";
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
                    page.len()
                );
            });
        }
    });
    let mut client = Client::start(world().npxc(&[
        "--allow",
        &format!("host.npxc.internal:{port}"),
        // Debian's chromium is a script that reads this directory; the guest's /etc is its own.
        "--mount",
        "/etc/chromium.d",
        "@playwright/mcp@0.0.83",
        "--headless",
        "--isolated",
        "--no-sandbox",
        "--browser",
        "chromium",
        "--executable-path",
        "/usr/bin/chromium",
    ]));
    let url = format!("http://host.npxc.internal:{port}/");
    let result = client.call("browser_navigate", json!({"url": url}));
    assert_ne!(result["isError"], true, "{result}");
    let snapshot = client.text("browser_snapshot", json!({}));
    assert!(snapshot.contains("High water"), "{result}\n{snapshot}");
    let evaluated = client.text("browser_evaluate", json!({"function": "() => document.title + 40 + 2"}));
    assert!(evaluated.contains("Tide402"), "{evaluated}");
    let denied = text_of(&client.call("browser_navigate", json!({"url": "http://example.com/"})));
    assert!(denied.contains("ERR_NAME_NOT_RESOLVED"), "{denied}");
    client.call("browser_close", json!({}));
    let (status, stderr, audit) = client.close();
    assert!(status.success(), "{status}: {stderr}");
    assert!(audit.hints().iter().any(|hint| hint.contains("example.com")), "{:?}", audit.hints());
}

pub(super) fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Tests", "-c", "user.email=tests@example.com"])
        .args(arguments)
        .current_dir(directory)
        .env("HOME", directory)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A PDF of one page with one line of text.
pub(super) fn pdf(line: &str) -> Vec<u8> {
    let content = format!("BT /F1 24 Tf 72 720 Td ({line}) Tj ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R \
         /Resources << /Font << /F1 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    let mut file = "%PDF-1.4\n".to_owned();
    let mut table = "0000000000 65535 f \n".to_owned();
    for (number, object) in objects.iter().enumerate() {
        table += &format!("{:010} 00000 n \n", file.len());
        file += &format!("{} 0 obj\n{object}\nendobj\n", number + 1);
    }
    let start = file.len();
    let size = objects.len() + 1;
    file += &format!(
        "xref\n0 {size}\n{table}trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n"
    );
    file.into_bytes()
}
