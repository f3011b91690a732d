//! Which npxc a file names.

use super::*;

#[test]
fn only_this_npxc_is_npxc_already_and_its_options_are_shown() {
    let found = |path: &str, command: &str, args: &str, env: &str| {
        let text = format!(
            r#"{{"mcpServers": {{"a": {{"command": "{command}", "args": [{args}], "env": {{"A": "hunter2"{env}}}}}}}}}"#
        );
        match verdicts(&place(path), &text, &[]).remove(0).1 {
            Verdict::Already(options) => options,
            Verdict::Leave(why) => format!("left alone: {why}"),
            Verdict::Wrap(change) => panic!("{change:?}"),
        }
    };
    for path in ["/srv/project/.mcp.json", "/home/me/.cursor/mcp.json"] {
        for (command, args, expected) in [
            ("npxc", r#""-y", "a", "--network", "open""#, ""),
            (
                "npxc",
                r#""--network", "open", "--mount", "/home/me", "--", "x""#,
                "--network open --mount /home/me",
            ),
            (
                "npxc",
                r#""--env=A=hunter2", "--env", "B=hunter2", "--env=C", "--proxy=http://u:hunter2@p.example", "x""#,
                "--env=A=… --env B=… --env=C --proxy=…@p.example",
            ),
            ("./tools/npxc", r#""x""#, "left alone: ./tools/npxc is another npxc than this one"),
            ("/srv/project/npxc", r#""x""#, "left alone: /srv/project/npxc is another npxc than this one"),
        ] {
            assert_eq!(found(path, command, args, ""), expected);
        }
        let open = r#", "NPXC_NETWORK": "open""#;
        assert_eq!(found(path, "npxc", r#""--persist", "x""#, open), "--persist NPXC_NETWORK=…");
    }
}

#[test]
fn npxc_is_called_by_its_name_only_where_that_leads_to_this_one() {
    let directory = tempfile::tempdir().unwrap();
    let [own, other, link] = ["own", "other", "link"].map(|name| directory.path().join(name));
    for directory in [&own, &other, &link] {
        fs::create_dir(directory).unwrap();
    }
    fs::write(own.join("npxc"), "").unwrap();
    fs::write(other.join("npxc"), "").unwrap();
    std::os::unix::fs::symlink(own.join("npxc"), link.join("npxc")).unwrap();
    let (program, empty) = (own.join("npxc"), directory.path().to_owned());
    let called = |search: &[&PathBuf], desktop| {
        let search: Vec<PathBuf> = search.iter().map(|&directory| directory.clone()).collect();
        command(&program, &search, desktop)
    };
    let (name, linked) = (PathBuf::from("npxc"), link.join("npxc"));
    for (search, desktop, expected) in [
        (&[&empty, &own][..], false, &name),
        (&[&link, &other], false, &name),
        (&[&other, &own], false, &program),
        (&[&empty], false, &program),
        (&[&own], true, &program),
        (&[&link, &own], true, &linked),
    ] {
        assert_eq!(called(search, desktop).as_ref(), Some(expected), "{search:?}, {desktop}");
    }
    for (command, search, is) in [
        ("npxc", [&empty, &own], true),
        ("npxc", [&link, &other], true),
        ("npxc", [&other, &own], false),
        ("npxc", [&empty, &empty], false),
        (program.to_str().unwrap(), [&other, &other], true),
        (linked.to_str().unwrap(), [&other, &other], true),
        (other.join("npxc").to_str().unwrap(), [&own, &own], false),
        ("./npxc", [&own, &own], false),
    ] {
        assert_eq!(is_own(command, &program, &search.map(Clone::clone)), is, "{command}, {search:?}");
    }
    // What is called otherwise is known by a link of that name, or not at all.
    let renamed = own.join("npxc-0.4");
    fs::rename(&program, &renamed).unwrap();
    assert_eq!(command(&renamed, std::slice::from_ref(&other), false), None);
    fs::remove_file(&linked).unwrap();
    std::os::unix::fs::symlink(&renamed, &linked).unwrap();
    assert_eq!(command(&renamed, std::slice::from_ref(&link), true), Some(linked));
}
