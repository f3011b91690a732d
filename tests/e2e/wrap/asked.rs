//! Questions on a terminal, and what ends them.

use super::*;

#[test]
fn on_a_terminal_it_asks_and_takes_only_yes_for_yes() {
    let (home, package) = (Home::new(), server("asked-server"));
    let files = files(&home, &package);
    for (answer, changes) in [("", false), ("n", false), ("yes", true)] {
        let (_, said) = home.typed(&["wrap", "--no-install", CURSOR], &home.0, &format!("{answer}\n"));
        assert!(said.contains("npxc: wrap these servers? [y/N]"), "{said}");
        assert_eq!(said.contains("nothing was changed"), !changes, "{said}");
        assert_eq!(home.read(CURSOR) != files[0].1, changes, "{answer}: {said}");
    }
}

/// Two servers of a registry's, and a home directory with them in a client's file.
fn of_a_registry() -> (Home, Registry, String) {
    let (home, registry) = (Home::new(), Registry::start());
    let text = r#"{"mcpServers": {"a": {"command": "npx", "args": ["npxc-a"]}, "b": {"command": "npx", "args": ["npxc-b"]}}}"#;
    home.write(CURSOR, text);
    (home, registry, text.to_owned())
}

#[test]
fn an_interrupt_ends_the_installation_and_changes_no_file() {
    let (home, registry, text) = of_a_registry();
    registry.publish("npxc-b", "1.0.0");
    let asked = registry.never_answers("npxc-a");
    let mut command = home.command(&["wrap", "--yes", CURSOR]);
    registry.use_with(&mut command);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    asked.recv().unwrap();
    signal(child.id(), rustix::process::Signal::INT);
    assert_eq!(wait(&mut child).code(), Some(130));
    let output = child.wait_with_output().unwrap();
    let said = said(&output);
    assert!(said.contains("npxc: error: interrupted; nothing was installed"), "{said}");
    assert!(!said.contains("npxc-b") && !said.contains("wrapped"), "{said}");
    assert_eq!(home.read(CURSOR), text);
}

#[test]
fn an_interrupt_at_a_question_ends_wrap() {
    let (home, package) = (Home::new(), server("left-server"));
    let files = files(&home, &package);
    // The first is asked before anything is started, the second when npxc has taken the signals over.
    for (lines, asked) in [("\x03", 1), ("y\n\x03", 2)] {
        let (status, shown) = home.typed(&["wrap", "--probe", "--client", "cursor"], &home.0, lines);
        assert_eq!(status, Some(130), "{shown}");
        assert_eq!(shown.matches("[y/N]").count(), asked, "{shown}");
        assert!(shown.contains("\nnpxc: error: interrupted; nothing was changed"), "{shown}");
        assert_eq!(home.read(CURSOR), files[0].1);
    }
}
