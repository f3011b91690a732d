//! What a server is started with from now on, and what is said of it.

use super::*;

#[test]
fn options_of_npxc_go_in_front_of_the_package() {
    let place = place("/home/me/.cursor/mcp.json");
    let text = r#"{"mcpServers": {"a": {"command": "npx", "args": ["-y", "a", "/home/me/notes/x"], "env": {"A": "1", "B": "2"}}}}"#;
    let (new, _) =
        wrapped(&place, text, &["--allow=api.example.com:443", "--env=A=3", "--mount=/home/me/notes:rw"]);
    assert!(
        new.contains(r#"["-y", "--allow=api.example.com:443", "--env=A=3", "--mount=/home/me/notes:rw", "--env=B", "a", "/home/me/notes/x"]"#),
        "{new}"
    );
}

#[test]
fn a_server_that_is_npxc_already_gets_more_options_and_comes_back_as_it_was() {
    let ground = Ground::new(TWO);
    write(&ground.wrapping("a"), &ground.directories, silent()).unwrap();
    let (was, record) = (ground.text(), ground.record().1);
    let again = |options: &[&str]| {
        let mut work = work(unknown(ground.file()), &ground.file(), &[]);
        work.verdicts = judged(&work.read.place, &work.read.original.text, options, true);
        work.verdicts.retain(|(server, _)| server.name() == "a");
        work
    };
    let more = again(&["--allow=a.example.com", "--mount=/home/me/x:rw"]);
    assert!(shown(&more).contains("a  is npxc already, and gets options\n"), "{}", shown(&more));
    write(&more, &ground.directories, silent()).unwrap();
    let options = r#"["--allow=a.example.com", "--mount=/home/me/x:rw", "a"]"#;
    assert_eq!(ground.text(), was.replace(r#"["a"]"#, options));
    assert_eq!(ground.record().1.servers, record.servers, "what stood there first is remembered");
    // What it has is not new.
    assert!(matches!(
        again(&["--allow=a.example.com"]).verdicts.as_slice(),
        [(_, Verdict::Already(options))] if options == "--allow=a.example.com --mount=/home/me/x:rw"
    ));
    unwrap::write(&ground.unwrapping("a"), &ground.directories, silent()).unwrap();
    assert_eq!(ground.text(), TWO);

    // One that npxc wrap did not write becomes again what it was.
    let text = r#"{"mcpServers": {"a": {"command": "npxc", "args": ["-y", "--", "list", "x"]}}}"#;
    let place = place("/home/me/.cursor/mcp.json");
    let options = ["--allow=a.example.com"];
    assert_eq!(wrapped(&place, text, &options), (text.to_owned(), Vec::new()), "it was not named");
    let (new, kept) = changed(text, &judged(&place, text, &options, true));
    assert_eq!(new, text.replace(r#""--","#, r#""--allow=a.example.com", "--","#));
    assert_eq!(back(&place, &new, &kept), (text.to_owned(), vec![Restored::Back]));
}

#[test]
fn what_npxc_would_not_take_is_left_alone_and_said() {
    let place = place("/home/me/.cursor/mcp.json");
    for (entry, why) in [
        (r#"{"command": "npx", "args": ["-c", "server"]}"#, "npxc has no `-c` as npx has it"),
        (r#"{"command": "npx", "args": ["-y"]}"#, "it names no package"),
        (r#"{"command": "npx", "args": ["-p", "a"]}"#, "it names no package"),
        (r#"{"command": "npx", "args": ["-y", "git+ssh://x/y"]}"#, "package spec: "),
        (r#"{"command": "npx", "args": ["-y", 1]}"#, "an argument of it is not text"),
        (r#"{"command": "npx", "args": "-y a"}"#, "its args are not a list"),
        (r#"{"command": 1}"#, "its command is not text"),
        (r#"{"url": "https://example.com"}"#, "it is remote"),
        (r#""npx""#, "its entry is no object"),
        (r#"{"command": "cmd", "args": ["/c", /* mine */ "npx", "a"]}"#, "a comment stands between"),
        (r#"{"command": "/home/me/my npx", "args": ["a"]}"#, "my npx is not npx"),
        (r#"{"command": "npm", "args": ["exec", "a"]}"#, "npm is not npx"),
        (r#"{"command": "env", "args": ["A=b", "npx", "a"]}"#, "npx is started through env"),
    ] {
        let text = format!(r#"{{"mcpServers": {{"a": {entry}}}}}"#);
        match verdicts(&place, &text, &[]).as_slice() {
            [(_, Verdict::Leave(found))] => assert!(found.starts_with(why), "{entry}: {found}"),
            other => panic!("{entry}: {other:?}"),
        }
    }
    let text = r#"{"mcpServers": {"a": {"command": "/usr/local/bin/npxc", "args": ["a"]}}}"#;
    assert!(matches!(verdicts(&place, text, &[]).as_slice(), [(_, Verdict::Already(_))]));
}

#[test]
fn what_is_not_there_yet_comes_with_what_lets_it_be_made() {
    let notes = |entry: &str, options: &[&str]| {
        let text = format!(r#"{{"mcpServers": {{"a": {{"command": "npx", {entry}}}}}}}"#);
        match verdicts(&place("/home/me/.cursor/mcp.json"), &text, options).remove(0).1 {
            Verdict::Wrap(change) => (change.words.join(" "), change.notes.join("\n")),
            other => panic!("{other:?}"),
        }
    };
    let named = |value: &str| format!(r#""args": ["a"], "env": {{"MEMORY": "{value}"}}"#);
    for (value, expected) in [
        (
            "/home/me/notes/gone",
            "MEMORY names /home/me/notes/gone, which is not there, and it cannot make it: --mount /home/me/notes:rw lets it",
        ),
        (
            "~/notes/gone",
            "MEMORY names /home/me/notes/gone, which is not there, and it cannot make it: --mount /home/me/notes:rw lets it",
        ),
        (
            "/srv/project/gone/gone",
            "MEMORY names /srv/project/gone/gone, which is not there, and it cannot make it: \
             make /srv/project/gone first, and --mount /srv/project/gone:rw lets it write there",
        ),
        (
            "/tmp/work/gone",
            "MEMORY names /tmp/work/gone, which is not there, and it cannot make it: --mount /tmp/work:rw lets it",
        ),
        (
            "/home/me/gone",
            "MEMORY names /home/me/gone, which is not there, and it cannot make it: \
             make it first, and --mount /home/me/gone:rw lets it write there",
        ),
        (
            "/home/me/notes",
            "MEMORY names /home/me/notes, which it cannot see: --mount /home/me/notes shows it, \
             and /home/me/notes:rw lets it write there",
        ),
        ("/api/v1/gone", ""),
        ("/home/user/gone", ""),
        ("/tmp/gone", ""),
        ("https://example.com/a/b", ""),
    ] {
        let (line, said) = notes(&named(value), &[]);
        assert_eq!((line.as_str(), said.as_str()), ("--env=MEMORY a", expected), "{value}");
    }
    for mount in ["--mount=/home/me/notes:rw", "--mount=~/notes:rw"] {
        assert_eq!(notes(&named("/home/me/notes/gone"), &[mount]).1, "", "it is granted");
    }
    // A shell would have expanded it; a client does not.
    let (line, said) = notes(r#""args": ["a", "~/notes", "--to=~/notes/x", "~/docs/gone", "~/", "~"]"#, &[]);
    assert_eq!(line, "--mount=~/notes a ~/notes --to=~/notes/x ~/docs/gone ~/ ~");
    assert_eq!(
        said,
        "it can read ~/notes, and not write there: --mount ~/notes:rw lets it\n\
         ~/docs/gone is not there, and it cannot make it: --mount /home/me/docs:rw lets it\n\
         ~/ holds all of your files and is not shown to it; --mount shows it what it needs"
    );
}
