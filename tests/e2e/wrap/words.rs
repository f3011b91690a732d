//! What is said of files: a mistake's place, where a link leads, what is refused.

use super::*;

#[test]
fn one_bad_file_is_said_with_its_place_and_keeps_no_other_from_being_wrapped() {
    let (home, package) = (Home::new(), server("good-server"));
    files(&home, &package);
    let bad = home.write(".gemini/settings.json", "{\n  \"mcpServers\": [1 2]\n}");
    let (status, _, said) = home.run(&["wrap", "--yes", "--no-install"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&format!("npxc: error: {}:2:20: expected `,` or `]`", bad.display())), "{said}");
    assert!(said.contains("npxc: hint: nothing was changed; correct the file"), "{said}");
    assert!(home.read(CURSOR).contains("--env=TOKEN") && home.read(CODEX).contains("npxc"));
    // Where nothing was wrapped there is nothing to know about it.
    let (status, _, said) = home.run(&["unwrap", "--yes", CURSOR]);
    assert_eq!(status, Some(0), "{said}");
    let mut nowhere = home.command(&["wrap", "--yes", "--no-install", CURSOR]);
    let output = nowhere.env("XDG_DATA_HOME", home.at(CURSOR)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("cannot be used, so nothing was changed"), "{said}");
    assert!(!said.contains("before the client starts") && !said.contains("reaches only"), "{said}");
    let (status, _, said) = home.run(&["wrap", "--client", "emacs"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("claude-desktop, claude-code, cursor, vscode"), "{said}");
    let (status, _, said) = home.run(&["wrap", "--dry-run", "--server", "wraped", CURSOR]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("no server is called `wraped`") && said.contains("hint: did you mean `wrapped`?"),
        "{said}"
    );
    let (status, _, said) = home.run(&["wrap", "--yes", "none.json"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("none.json: No such file"), "{said}");
}

#[test]
fn options_for_more_than_one_server_and_paths_of_nowhere_are_refused() {
    let (home, package) = (Home::new(), server("two-servers"));
    let files = files(&home, &package);
    for (arguments, expected) in [
        (&["wrap", "--yes", "--allow", "@npm"][..], "--allow=@npm would be granted to each of 2 servers"),
        (
            &["wrap", "--yes", "--server", "wrapped", "--mount", "notes"],
            "--mount=notes: a client starts servers in",
        ),
        (
            &["wrap", "--yes", "--server", "wrapped", "--proxy", "http://u:hunter2@proxy.example"],
            "--proxy: a user name or password would stand in the client's file",
        ),
        (
            &["wrap", "--yes", "--server", "wrapped", "--env", "TOKEN=hunter2"],
            "--env TOKEN: its value would stand in the client's file",
        ),
        (&["wrap", "--yes", "-p", "x"], "--package: the packages are those of the configuration"),
    ] {
        let (status, _, said) = home.run(arguments);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains(expected) && !said.contains("hunter2"), "{said}");
    }
    for (path, text) in &files {
        assert_eq!(home.read(path), *text);
    }
}

#[test]
fn a_heading_says_where_a_link_leads_and_a_projects_leads_nowhere_else() {
    use std::os::unix::fs::symlink;
    let (home, package) = (Home::new(), server("linked-server"));
    let text = files(&home, &package)[0].1.clone();
    let (real, outside) = (home.write("dotfiles/cursor.json", &text), home.write("outside.json", &text));
    fs::remove_file(home.at(CURSOR)).unwrap();
    symlink(&real, home.at(CURSOR)).unwrap();
    let (_, shown, said) = home.run(&["wrap", "--dry-run", CURSOR]);
    let heading = format!("Cursor: {} (leads to {})\n", home.at(CURSOR).display(), real.display());
    assert!(shown.starts_with(&heading), "{shown}{said}");
    home.write("project/x", "");
    let named = home.at("project/.mcp.json");
    symlink(&outside, &named).unwrap();
    for arguments in [&["wrap", "--yes", "--no-install"][..], &["wrap", "--yes", "--no-install", ".mcp.json"]]
    {
        let output = home.command(arguments).current_dir(home.at("project")).output().unwrap();
        let said = crate::e2e::loopback::said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let expected = format!("{} leads out of its project, to {}", named.display(), outside.display());
        assert!(said.contains(&expected), "{said}");
        assert!(said.contains(&format!("npxc: hint: name that file if it is meant: {}", outside.display())));
        assert_eq!(fs::read_to_string(&outside).unwrap(), text);
    }
    assert!(home.read(CURSOR).contains("npxc"), "the user's own are wrapped all the same");
}
