//! npxc's own words on stderr: said when they help, and no more of them than were asked for.

use super::world::world;

fn stderr(arguments: &[&str]) -> String {
    let fixture = world().fixture().display().to_string();
    let words: Vec<&str> =
        arguments.iter().map(|word| if *word == "FIXTURE" { fixture.as_str() } else { word }).collect();
    let (output, _) = world().npxc(&words).output();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    stderr
}

#[test]
fn warnings_are_said_unless_the_log_level_is_above_them() {
    let said = stderr(&["--cwd", "/", "FIXTURE", "exit", "0"]);
    assert!(said.contains("npxc: warning: the package cannot see /"), "{said}");
    for level in ["error", "off"] {
        let said = stderr(&["--log-level", level, "--memory", "1G", "--cwd", "/", "FIXTURE", "exit", "0"]);
        assert_eq!(said, "", "{level}");
    }
}

#[test]
fn a_start_without_chosen_limits_says_nothing() {
    stderr(&["install", "FIXTURE"]);
    assert_eq!(stderr(&["FIXTURE", "exit", "0"]), "");
}

#[test]
fn an_option_behind_the_package_is_passed_on_with_a_warning() {
    let said = stderr(&["FIXTURE", "exit", "0", "--allow", "api.example.com"]);
    let mut lines = said.lines().filter(|line| !line.contains("install"));
    assert!(
        lines.next().unwrap().starts_with("npxc: warning: --allow stands behind the package's name"),
        "{said}"
    );
    assert!(lines.next().unwrap().starts_with("npxc: hint: npxc --allow ... PACKAGE"), "{said}");
    for meant in
        [&["FIXTURE", "exit", "0", "--", "--allow", "x"][..], &["--", "FIXTURE", "exit", "0", "--allow", "x"]]
    {
        let said = stderr(meant);
        assert!(!said.contains("warning"), "{meant:?}: {said}");
    }
}

#[test]
fn an_option_of_probe_behind_the_package_is_said_with_the_right_order() {
    let fixture = world().fixture().display().to_string();
    let probe = |words: &[&str]| {
        let output = world().command(&[&["probe"], words].concat()).output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = probe(&[&fixture, "exit", "0", "--call", "echo", "--json"]);
    let hint = format!("npxc: hint: npxc probe --call echo --json {fixture} exit 0; ");
    assert!(
        said.contains("--call and --json stand behind the package's name") && said.contains(&hint),
        "{said}"
    );
    let said = probe(&["--timeout", "60", "--", &fixture, "exit", "0", "--json"]);
    assert!(!said.contains("behind the package's name"), "{said}");
}

#[test]
fn a_path_that_the_package_cannot_see_is_pointed_out() {
    let place = world().scratch("notes").display().to_string();
    let said = stderr(&["FIXTURE", "exit", "0", &place]);
    assert!(
        said.contains(&format!("npxc: hint: the package cannot see {place}; npxc --mount {place} ")),
        "{said}"
    );
    for meant in
        [&["--mount", &place, "FIXTURE", "exit", "0", &place][..], &["--", "FIXTURE", "exit", "0", &place]]
    {
        assert!(!stderr(meant).contains("cannot see"), "{meant:?}");
    }
    // Where no shell has expanded it: in a client's file.
    let home = world().directory.join("home/unexpanded");
    std::fs::create_dir_all(&home).unwrap();
    let said = stderr(&["FIXTURE", "exit", "0", "~/unexpanded"]);
    assert!(said.contains(&format!("the package cannot see {}; npxc --mount ", home.display())), "{said}");
}

#[test]
fn what_a_deny_rule_refuses_is_counted_as_it_is() {
    let said = stderr(&[
        "--network",
        "open",
        "--deny",
        "x.example.com",
        "FIXTURE",
        "download",
        "http://x.example.com/",
    ]);
    let line = said.lines().find(|line| line.starts_with("npxc: the package was denied ")).unwrap();
    assert!(line.ends_with(" times") || line.ends_with(" once"), "{said}");
}

#[test]
fn a_mistyped_command_is_stopped_where_a_single_letter_is_wrong_and_pointed_out_otherwise() {
    let (output, audit) = world().npxc(&["porbe", "server"]).output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.starts_with("npxc: error: npxc has no command `porbe`\nnpxc: hint: npxc "), "{stderr}");
    assert!(stderr.contains(" probe server\n") && stderr.contains(": npxc -- porbe, or npxc porbe@latest\n"));
    assert_eq!(audit.sessions("fetch"), 0);

    let mut npxc = world().npxc(&["isntal", "server"]);
    npxc.command.env("npm_config_registry", "http://127.0.0.1:9/").env("npm_config_fetch_retries", "0");
    let (output, audit) = npxc.output();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert_eq!(stderr.lines().next(), Some("npxc: hint: did you mean `npxc install`?"));
    assert_eq!(audit.sessions("fetch"), 1);
}

#[test]
fn the_newest_log_needs_no_name() {
    let state = world().scratch("state");
    let run = |arguments: &[&str]| {
        // What it installs again nobody else starts meanwhile.
        let mut command = world().command(arguments);
        command.env("XDG_STATE_HOME", &state).env("XDG_DATA_HOME", state.join("data"));
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (status, _, said) = run(&["audit", "show"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("there is no log in "), "{said}");
    run(&[&world().fixture().display().to_string(), "exit", "0"]);
    for action in ["show", "verify"] {
        let (status, shown, said) = run(&["audit", action]);
        assert_eq!(status, Some(0), "{said}");
        assert!(said.starts_with("npxc: the newest log is ") && said.contains("-fixture-"), "{said}");
        assert!(!shown.is_empty());
    }
    let (_, run_log, _) = run(&["audit", "list", "--json"]);
    // One of an installation is newer, and nobody's wish.
    let (status, _, said) = run(&["rebuild", &world().fixture().display().to_string()]);
    assert_eq!(status, Some(0), "{said}");
    let logs: serde_json::Value =
        serde_json::from_str(&run(&["audit", "list", "--json", "fixture"]).1).unwrap();
    assert_eq!(logs[0]["purpose"], "fetch", "{logs}");
    let before: serde_json::Value = serde_json::from_str(&run_log).unwrap();
    let of_run = before[0]["log"].as_str().unwrap();
    assert_eq!(before[0]["purpose"], "run", "{before}");
    for arguments in [&["audit", "show"][..], &["audit", "report", "--markdown"], &["audit", "suggest"]] {
        let said = run(arguments).2;
        assert!(said.contains(&format!("npxc: the newest log is {of_run}\n")), "{arguments:?}: {said}");
    }

    // What a reviewer types.
    run(&[&world().fixture().display().to_string(), "exit", "0"]);
    let (status, _, said) = run(&["audit", "diff", "fixture"]);
    assert_eq!(status, Some(0), "{said}");
    let short = &of_run[of_run.len() - "12345678.jsonl".len()..of_run.len() - ".jsonl".len()];
    assert!(said.contains(&format!("npxc: before: session {short}: npxc-fixture@1.0.0, 20")), "{said}");
    assert!(said.contains("npxc: after:  session "), "{said}");
    let page = state.join("page.md");
    let (status, shown, said) = run(&["audit", "report", "--markdown", page.to_str().unwrap(), "fixture"]);
    assert_eq!((status, shown.as_str()), (Some(0), ""), "{said}");
    assert!(std::fs::read_to_string(page).unwrap().contains("npxc-fixture"));
    assert!(run(&["audit", "list", "nobody"]).2.contains("there are no such sessions"));
    assert!(run(&["audit", "list", "./nowhere"]).2.contains("./nowhere is no directory"));
    for (arguments, status) in [
        (&["audit", "suggest", "--package", "fixture", "--since", "1h"][..], Some(0)),
        (&["audit", "suggest", "--since", "1h"], Some(0)),
        (&["audit", "suggest", "--package", "nobody"], Some(1)),
        (&["audit", "suggest", "--since", "soon"], Some(1)),
    ] {
        let (found, _, said) = run(arguments);
        assert_eq!(found, status, "{arguments:?}: {said}");
    }
}

#[test]
fn a_probe_says_what_is_wrong_with_its_surroundings_and_its_server() {
    let fixture = world().fixture().display().to_string();
    let probe = |state: &str, timeout: &str, mode: &[&str]| {
        let mut words = vec!["probe", "--timeout", timeout, fixture.as_str()];
        words.extend(mode);
        let output = world().command(&words).env("XDG_STATE_HOME", state).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, said) = probe("/dev/null/place", "60", &["exit", "0"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("the directory for audit logs, /dev/null/place/"), "{said}");
    assert!(said.contains("npxc: hint: "), "{said}");
    let state = world().scratch("state").display().to_string();
    // One that ends, and one that never says anything.
    for (mode, timeout, problem) in [
        (&["exit", "0"][..], "60", "the server did not initialize: "),
        (&["listen", "8080"], "1", "the server did not answer `initialize` within 1 s"),
    ] {
        let (status, said) = probe(&state, timeout, mode);
        assert_eq!(status, Some(4), "{said}");
        assert!(said.contains(problem) && said.contains("npxc: hint: if it is a slow MCP server"), "{said}");
    }
}

#[test]
fn a_probe_leaves_a_log_that_can_be_shown() {
    let state = world().scratch("state");
    let fixture = world().fixture().display().to_string();
    let run = |arguments: &[&str]| {
        let output = world().command(arguments).env("XDG_STATE_HOME", &state).output().unwrap();
        (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let logs = || std::fs::read_dir(state.join("npxc/audit")).unwrap().count();
    run(&[&fixture, "exit", "0"]);
    let before = logs();
    run(&["probe", "--allow", "probed.example.com", &fixture, "exit", "0"]);
    assert_eq!(logs(), before + 1);
    let (shown, said) = run(&["audit", "show"]);
    assert!(shown.contains(" run: ") && shown.contains("network allowlist"), "{shown}{said}");
    // Named, it is that file or that directory.
    let (file, directory) = (state.join("one.jsonl"), world().scratch("audit"));
    for place in [&file, &directory] {
        run(&["probe", "--audit-log", &place.display().to_string(), &fixture, "exit", "0"]);
        let (shown, said) = run(&["audit", "show", &place.display().to_string()]);
        assert!(shown.contains(" run: "), "{place:?}: {shown}{said}");
    }
}

#[test]
fn without_node_there_is_no_sandbox_even_for_what_is_installed() {
    stderr(&["install", "FIXTURE"]);
    let fixture = world().fixture().display().to_string();
    let (output, _) = {
        let mut npxc = world().npxc(&[&fixture, "exit", "0"]);
        npxc.command.env("PATH", "/nonexistent");
        npxc.output()
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("node was not found in PATH"), "{said}");
}

#[test]
fn an_installation_is_told_once_and_listed_by_name() {
    let data = world().scratch("data");
    let fixture = world().fixture().display().to_string();
    let run = |arguments: &[&str]| {
        let output = world().command(arguments).env("XDG_DATA_HOME", &data).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (_, _, said) = run(&["install", &fixture]);
    assert_eq!(said.matches("installed").count(), 1, "{said}");
    let (_, _, said) = run(&["install", &fixture]);
    assert!(said.ends_with(" is installed already\n") && said.lines().count() == 1, "{said}");
    let (_, listed, _) = run(&["list"]);
    assert_eq!(listed.lines().count(), 2, "{listed}");
    assert!(listed.contains("asked for") && listed.contains(&fixture), "{listed}");
    let (_, shown, _) = run(&["--dry-run", "--allow", "@npm", &fixture]);
    assert!(shown.contains("allow          @npm -> ") && !shown.contains("not yet"), "{shown}");
    let (status, _, said) = run(&["clean"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("--all"), "{said}");
    let (status, _, said) = run(&["-p", &fixture, "nosuchbin"]);
    assert_eq!(status, Some(1));
    assert!(said.contains("npxc: hint: its programs are "), "{said}");
}

#[test]
fn a_probe_of_what_is_no_server_ends_before_its_time() {
    let fixture = world().fixture().display().to_string();
    let probe = |mode: &[&str]| {
        let words = [&["probe", "--timeout", "600", &fixture][..], mode].concat();
        let output = world().command(&words).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (mode, why, words) in [
        (&["say", "moo"][..], "it ended", "moo"),
        (&["listen", "8080"], "it wrote something else", "listening"),
    ] {
        let (status, said) = probe(mode);
        assert_eq!(status, Some(4), "{said}");
        assert!(said.contains(&format!("the server did not initialize: {why}")), "{said}");
        assert!(said.contains(&format!("its stdout is no MCP: {words}")), "{said}");
    }
}

#[test]
fn what_a_removed_package_has_kept_is_said() {
    let data = world().scratch("data");
    let fixture = world().fixture().display().to_string();
    let run = |arguments: &[&str]| {
        let output = world().command(arguments).env("XDG_DATA_HOME", &data).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    run(&[&fixture, "exit", "0"]);
    assert_eq!(run(&["clean", &fixture]), "");
    run(&["--persist", &fixture, "exit", "0"]);
    let said = run(&["clean", &fixture]);
    let place = said.lines().next().unwrap().rsplit(' ').next().unwrap();
    assert!(std::path::Path::new(place).join("data").is_dir(), "{said}");
    assert!(said.contains(&format!("npxc: hint: if nobody wants it any more: rm -r {place}")), "{said}");
}
