//! What a file cannot have shown or granted: a project's, and any.

use super::*;

#[test]
fn a_projects_file_shows_nothing_outside_of_the_project() {
    let words = |arg: &str, options: &[&str]| {
        let text = format!(r#"{{"mcpServers": {{"a": {{"command": "npx", "args": ["a", "{arg}"]}}}}}}"#);
        match verdicts(&place("/srv/project/.mcp.json"), &text, options).remove(0).1 {
            Verdict::Wrap(change) => (change.words.join(" "), change.notes.join("\n")),
            other => panic!("{other:?}"),
        }
    };
    for arg in ["${HOME}/.ssh", "/home/me/.ssh", "/srv/project/../../home/me/x", "--root=/home/other"] {
        let (line, notes) = words(arg, &[]);
        assert!(!line.contains("--mount"), "{line}");
        let path = arg.trim_start_matches("--root=");
        assert_eq!(
            notes,
            format!("{path} is outside of the project and is not shown to it: --mount {path} shows it")
        );
    }
    assert!(words("/srv/project/docs", &[]).0.starts_with("--mount=/srv/project/docs "));
    assert!(words("/home/me/x", &["--mount=/home/me/x"]).0.starts_with("--mount=/home/me/x a"));
}

#[test]
fn a_projects_file_grants_itself_nothing_by_its_variables() {
    let judged = |path: &str, entry: &str| {
        let text = format!(r#"{{"mcpServers": {{"a": {{"command": "npx", "args": ["a"], {entry}}}}}}}"#);
        let mut verdicts = verdicts(&place(path), &text, &[]);
        assert_eq!(verdicts.len(), 1);
        verdicts.remove(0).1
    };
    for (name, npxcs) in [
        ("NPXC_ALLOW", true),
        ("NPXC_NETWORK", true),
        ("NPXC_CONFIG", true),
        ("XDG_CONFIG_HOME", true),
        ("npm_config_registry", true),
        ("NPM_CONFIG_REGISTRY", true),
        ("PATH", true),
        ("HOME", true),
        ("LD_PRELOAD", false),
        ("NODE_OPTIONS", false),
        ("OPENSSL_CONF", false),
        ("https_proxy", false),
        ("DOCKER_HOST", false),
        ("BASH_ENV", false),
        ("VOLTA_HOME", false),
    ] {
        let entry = format!(r#""env": {{"TOKEN": "x", "{name}": "y"}}"#);
        let who =
            if npxcs { "npxc itself obeys" } else { "programs that npxc starts outside the sandbox obey" };
        match judged("/srv/project/.mcp.json", &entry) {
            Verdict::Leave(why) => {
                assert!(why.starts_with(&format!("its env sets {name}, which {who}")), "{why}");
            }
            other => panic!("{name}: {other:?}"),
        }
        // What is the user's own is obeyed as the user wishes, and said.
        let Verdict::Wrap(change) = judged("/home/me/.cursor/mcp.json", &entry) else { panic!("{name}") };
        assert_eq!(change.notes.len(), 1, "{:?}", change.notes);
        assert!(change.notes[0].starts_with(&format!("{name} is obeyed by ")), "{:?}", change.notes);
        assert_eq!(change.words.contains(&format!("--env={name}")), !npxcs, "{:?}", change.words);
    }
    for entry in
        [r#""env": {"NODE_ENV": "x", "NPM_TOKEN": "y", "RUST_LOG": "z"}"#, r#""env": {"PATH": null}"#]
    {
        assert!(matches!(judged("/srv/project/.mcp.json", entry), Verdict::Wrap(_)), "{entry}");
    }
}

#[test]
fn a_directory_with_everything_in_it_is_not_shown() {
    let place = place("/home/me/.cursor/mcp.json");
    for path in ["/home/me", "/home/me/", "/home/me/notes/..", "/home/me/link", "/home/me/a:b"] {
        let text = format!(r#"{{"mcpServers": {{"a": {{"command": "npx", "args": ["a", "{path}"]}}}}}}"#);
        let (new, _) = wrapped(&place, &text, &[]);
        assert_eq!(new, text.replace("npx", "npxc"));
    }
}
