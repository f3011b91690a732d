//! Path arguments of real servers: the client's paths go in, the client's paths come back, also in errors.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use serde_json::{Value, json};

use super::machine::have;
use super::mcp::{Client, text_of};
use super::processes::eventually;
use super::servers::{git, pdf};
use super::world::world;

const FILESYSTEM: &str = "@modelcontextprotocol/server-filesystem@2026.8.31";
const PDF_READER: &str = "@sylphx/pdf-reader-mcp@2.4.0";
/// Where the guest sees what is shared; nothing that comes back may say so.
const SHARED: &str = "/opt/npxc-shared";

pub(super) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A `file://` URI as clients write it.
fn uri(path: &Path) -> String {
    format!("file://{}", text(path).replace(' ', "%20"))
}

/// A result that is the client's own business: none of the guest's names is in it.
pub(super) fn clean(result: &Value) {
    assert!(!result.to_string().contains(SHARED), "{result}");
}

#[test]
fn filesystem_takes_the_clients_roots_for_its_arguments() {
    let (first, second) = (world().scratch("argument"), world().scratch("a root"));
    fs::write(first.join("one.txt"), "by argument").unwrap();
    fs::write(second.join("two.txt"), "by root").unwrap();
    let (argument, root) = (text(&first), text(&second));
    let mut client =
        Client::start(world().npxc(&["--mount", &argument, "--mount", &root, FILESYSTEM, &argument]));
    client.roots = vec![json!({"uri": uri(&second), "name": "a root"})];
    eventually("the roots replace the argument", || {
        let allowed = client.text("list_allowed_directories", json!({}));
        allowed.contains(&root) && !allowed.contains(&argument)
    });
    let two = text(&second.join("two.txt"));
    assert_eq!(client.text("read_text_file", json!({"path": two})), "by root");
    let outside = client.error("read_text_file", json!({"path": first.join("one.txt")}));
    assert!(outside.contains("outside allowed directories") && outside.contains(&argument), "{outside}");
    let refused = client.error("write_file", json!({"path": second.join("new.txt"), "content": "no"}));
    assert!(refused.contains("EROFS") && refused.contains(&root), "{refused}");
    let missing = client.error("read_text_file", json!({"path": second.join("none.txt")}));
    assert!(missing.contains("ENOENT") && missing.contains(&text(&second.join("none.txt"))), "{missing}");
    // The client's mind may change.
    client.roots = vec![json!({"uri": uri(&first), "name": "argument"})];
    client.notify("notifications/roots/list_changed");
    eventually("the roots are asked for again", || {
        client.text("list_allowed_directories", json!({})).contains(&argument)
    });
    assert_eq!(client.text("read_text_file", json!({"path": first.join("one.txt")})), "by argument");
    assert!(client.close().0.success());
}

#[test]
fn filesystem_reads_what_calls_name_one_by_one_and_in_lists() {
    let cwd = world().scratch("my documents");
    for name in ["a.txt", "b \"quoted\" & more.txt"] {
        fs::write(cwd.join(name), format!("this is {name}")).unwrap();
    }
    let (a, b) = (text(&cwd.join("a.txt")), text(&cwd.join("b \"quoted\" & more.txt")));
    // Nothing is mounted: all that it may read is what is shared.
    let mut client = Client::start(world().npxc(&["--cwd", &text(&cwd), FILESYSTEM, SHARED]));
    client.tools();
    let result = client.call("read_text_file", json!({"path": a}));
    assert_eq!(text_of(&result), "this is a.txt");
    let result = client.call("read_multiple_files", json!({"paths": [a, b]}));
    let both = text_of(&result);
    assert!(both.contains(&format!("{a}:\nthis is a.txt")), "{both}");
    assert!(both.contains(&format!("{b}:\nthis is b \"quoted\" & more.txt")), "{both}");
    clean(&result);
    let info = client.text("get_file_info", json!({"path": b}));
    assert!(info.contains(&format!("size: {}", fs::metadata(&b).unwrap().len())), "{info}");
    // What is shared is the guest's to read only, and the error is in the client's words.
    let result =
        client.call("edit_file", json!({"path": a, "edits": [{"oldText": "this", "newText": "that"}]}));
    assert_eq!(result["isError"], true, "{result}");
    clean(&result);
    let result = client.call("move_file", json!({"source": a, "destination": b}));
    assert_eq!(result["isError"], true, "{result}");
    clean(&result);
    assert_eq!(fs::read_to_string(&a).unwrap(), "this is a.txt");
    assert!(client.close().0.success());
}

#[test]
fn pdf_reader_says_the_clients_paths_in_errors_too() {
    let cwd = world().scratch("a paper");
    fs::write(cwd.join("good.pdf"), pdf("Readable since 2026")).unwrap();
    fs::write(cwd.join("bad.pdf"), "this is no PDF").unwrap();
    let path = |name: &str| text(&cwd.join(name));
    let mut client = Client::start(world().npxc(&["--cwd", &text(&cwd), PDF_READER]));
    client.tools();
    let read = |client: &mut Client, paths: &[&str]| {
        let sources: Vec<_> = paths.iter().map(|path| json!({"path": path})).collect();
        client.call("read_pdf", json!({"sources": sources, "include_full_text": true}))
    };
    // Both of them, and what is wrong with one.
    let (good, bad) = (path("good.pdf"), path("bad.pdf"));
    let result = read(&mut client, &[&good, &bad]);
    let said = text_of(&result);
    assert!(said.contains("Readable since 2026") && said.contains(&good) && said.contains(&bad), "{said}");
    clean(&result);
    // By its name alone.
    let result = read(&mut client, &["good.pdf"]);
    assert!(text_of(&result).contains("Readable since 2026"), "{result}");
    clean(&result);
    // npxc says it in the server's place.
    let missing = path("missing.pdf");
    let arguments = json!({"name": "read_pdf", "arguments": {"sources": [{"path": missing}]}});
    let error = client.refused("tools/call", arguments);
    assert_eq!(error["data"]["path"], missing, "{error}");
    assert!(error["message"].as_str().unwrap().contains(&missing), "{error}");
    // By a name that is nothing: the server's to say.
    let result = read(&mut client, &["missing.pdf"]);
    assert!(
        result.to_string().contains("missing.pdf") && !result.to_string().contains("/home/user"),
        "{result}"
    );
    clean(&result);
    // Nothing is read from there, or said in place of it.
    let result = client.call("read_pdf", json!({"sources": [{"url": format!("http://127.0.0.1:9{good}")}]}));
    assert!(result.to_string().contains("127.0.0.1:9"), "{result}");
    clean(&result);
    assert!(client.close().0.success());
}

#[test]
fn sqlite_keeps_a_database_at_the_clients_path() {
    if !["python3", "make", "g++"].into_iter().all(have) {
        return;
    }
    let directory = world().scratch("a database");
    let (option, database) = (format!("{}:rw", directory.display()), directory.join("crabs.db"));
    let package = "mcp-server-sqlite-npx@0.8.0";
    let mut client = Client::start(world().npxc(&["--mount", &option, package, &text(&database)]));
    client.text("create_table", json!({"query": "CREATE TABLE crabs (name TEXT, home TEXT)"}));
    // A path that is text in a statement.
    let query = format!("INSERT INTO crabs VALUES ('Ferris', '{}')", directory.display());
    client.text("write_query", json!({"query": query}));
    let home = client.text("read_query", json!({"query": "SELECT home FROM crabs"}));
    assert!(home.contains(&text(&directory)), "{home}");
    assert!(client.close().0.success());
    assert!(fs::read(&database).unwrap().starts_with(b"SQLite format 3\0"));
    // The next session finds it, and may read only.
    let mut client = Client::start(world().npxc(&["--mount", &text(&directory), package, &text(&database)]));
    assert!(client.text("read_query", json!({"query": "SELECT name FROM crabs"})).contains("Ferris"));
    let refused = client.call("write_query", json!({"query": "DELETE FROM crabs"}));
    assert!(refused.to_string().contains("readonly"), "{refused}");
    assert!(client.close().0.success());
}

#[test]
fn git_works_in_the_clients_repository() {
    if !have("git") {
        return;
    }
    let repository = world().scratch("a repository");
    git(&repository, &["init", "-q", "-b", "trunk"]);
    fs::create_dir(repository.join("src")).unwrap();
    fs::write(repository.join("src/kept.txt"), "kept\n").unwrap();
    git(&repository, &["add", "."]);
    git(&repository, &["commit", "-q", "-m", "Keep it"]);
    fs::write(repository.join("src/kept.txt"), "changed\n").unwrap();
    let (path, option) = (text(&repository), format!("{}:rw", repository.display()));
    let arguments = ["--cwd", &path, "--mount", &option, "@cyanheads/git-mcp-server@2.15.3"];
    let mut client = Client::start(world().npxc(&arguments));
    client.tools();
    let status = client.text("git_status", json!({"path": path}));
    assert!(status.contains("kept.txt"), "{status}");
    let set = client.text("git_set_working_dir", json!({"path": path}));
    assert!(set.contains(&path), "{set}");
    // Relative to the repository, whatever lies in the working directory.
    let diff = client.text("git_diff", json!({"path": path, "paths": ["src/kept.txt"]}));
    assert!(diff.contains("+changed"), "{diff}");
    client.text("git_add", json!({"path": path, "paths": ["src/kept.txt"]}));
    assert!(git(&repository, &["status", "--porcelain"]).starts_with("M  src/kept.txt"));
    let missing = client.call("git_status", json!({"path": repository.join("none")}));
    assert_eq!(missing["isError"], true, "{missing}");
    assert!(missing.to_string().contains(&format!("{path}/none")), "{missing}");
    assert!(client.close().0.success());
}

#[test]
fn playwright_takes_files_of_the_clients_and_leaves_files_for_it() {
    if !have("chromium") {
        return;
    }
    let port = page(
        "<!doctype html><title>Tide</title><h1>High water</h1>\
         <input type=file aria-label=Pick onchange=\"document.title = this.files[0].name + this.files[0].size\">",
    );
    // The directory that it starts in, and the one that it is told.
    let (cwd, output) = (world().scratch("browsing"), world().scratch("screenshots"));
    let options = [&cwd, &output].map(|directory| format!("{}:rw", directory.display()));
    let mut client = Client::start(world().npxc(&[
        "--cwd",
        &text(&cwd),
        "--mount",
        &options[0],
        "--allow",
        &format!("host.npxc.internal:{port}"),
        "--mount",
        "/etc/chromium.d",
        "--mount",
        &options[1],
        "@playwright/mcp@0.0.83",
        "--headless",
        "--isolated",
        "--no-sandbox",
        "--browser",
        "chromium",
        "--executable-path",
        "/usr/bin/chromium",
        "--output-dir",
        &text(&output),
    ]));
    client.tools();
    let result =
        client.call("browser_navigate", json!({"url": format!("http://host.npxc.internal:{port}/")}));
    assert_ne!(result["isError"], true, "{result}");
    let picture = |path: &Path| fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
    let said = client.text("browser_take_screenshot", json!({"filename": "tide.png"}));
    assert!(said.contains("tide.png") && picture(&cwd.join("tide.png")), "{said}");
    // By the path that the client is told.
    let said = client.text("browser_take_screenshot", json!({}));
    let name = said.split(['(', ')']).find(|part| part.contains(".png")).unwrap_or_else(|| panic!("{said}"));
    assert!(
        cwd.join(name)
            .canonicalize()
            .is_ok_and(|path| path.starts_with(output.canonicalize().unwrap()) && picture(&path)),
        "{said}"
    );
    // In the words of a call.
    let path = cwd.join("high water.png");
    let said = client.text("browser_take_screenshot", json!({"filename": text(&path)}));
    assert!(said.contains("high water.png") && picture(&path), "{said}");
    // A file of the client's for the page.
    fs::write(cwd.join("log book.txt"), "six metres").unwrap();
    let snapshot = client.text("browser_snapshot", json!({}));
    let (_, rest) = snapshot.split_once("\"Pick\"").unwrap_or_else(|| panic!("{snapshot}"));
    let (_, rest) = rest.split_once("[ref=").unwrap();
    let target = rest.split(']').next().unwrap();
    client.text("browser_click", json!({"element": "Pick", "ref": target, "target": target}));
    client.text("browser_file_upload", json!({"paths": [cwd.join("log book.txt")]}));
    let title = client.text("browser_evaluate", json!({"function": "() => document.title"}));
    assert!(title.contains("log book.txt10"), "{title}");
    client.call("browser_close", json!({}));
    assert!(client.close().0.success());
}

/// A web server of one page.
fn page(html: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close";
                let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{html}", html.len());
            });
        }
    });
    port
}
