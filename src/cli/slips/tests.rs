#![allow(clippy::unwrap_used)]

use clap::CommandFactory as _;

use super::*;

#[test]
fn what_npm_calls_it_is_said_in_npxcs_words() {
    let instead = |line: &str| {
        instead(&["--allow=@npm".into()], &line.split(' ').map(OsString::from).collect::<Vec<_>>())
    };
    for (line, expected) in [
        ("uninstall cowsay", "npxc clean cowsay"),
        ("remove cowsay@1 x", "npxc clean cowsay@1 x"),
        ("rm", "npxc clean PACKAGE"),
        ("ls", "npxc list"),
        ("ls -g cowsay", "npxc list"),
        ("upgrade cowsay", "npxc update cowsay"),
        ("upgrade", "npxc update PACKAGE"),
        ("run cowsay a;b", "npxc --allow=@npm cowsay 'a;b'"),
        ("exec -- cowsay", "npxc --allow=@npm cowsay"),
        ("x cowsay", "npxc --allow=@npm cowsay"),
        ("run", "npxc --allow=@npm PACKAGE"),
    ] {
        assert_eq!(instead(line).as_deref(), Some(expected), "{line}");
    }
    for line in ["x", "cowsay run", "run@latest cowsay", "list", "update cowsay", "./run", ""] {
        assert_eq!(instead(line), None, "{line}");
    }
}

#[test]
fn a_mistyped_command_is_put_right_and_keeps_the_rest() {
    let instead = |line: &str| {
        instead(&["--allow=@npm".into()], &line.split(' ').map(OsString::from).collect::<Vec<_>>())
    };
    for (line, expected) in [
        ("prob cowsay --call x", "npxc --allow=@npm probe cowsay --call x"),
        ("porbe", "npxc --allow=@npm probe"),
        ("lst", "npxc --allow=@npm list"),
        ("instal a b", "npxc --allow=@npm install a b"),
        ("version", "npxc --version"),
        ("outdated", "npxc update --dry-run"),
        ("i cowsay", "npxc install cowsay"),
        ("logs", "npxc audit list"),
    ] {
        assert_eq!(instead(line).as_deref(), Some(expected), "{line}");
    }
    for line in ["i", "map", "mann", "prob@1", "./prob", "@a/prob", "Prob", "cowsay", "probe-x", "isntal"] {
        assert_eq!(instead(line), None, "{line}");
    }
}

#[test]
fn options_of_probe_behind_the_package_are_put_before_it() {
    let said = |line: &str| probe_behind_spec(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
    assert_eq!(
        said("server --root x --call echo --args={\"a\":1} --json"),
        Some((
            "--call and --args and --json stand behind the package's name, so they were passed to the package and mean \
             nothing to npxc"
                .to_owned(),
            "npxc probe --call echo '--args={\"a\":1}' --json server --root x; npxc probe -- PACKAGE --call ... passes \
             on without this warning"
                .to_owned()
        ))
    );
    assert!(said("server --call").unwrap().1.starts_with("npxc probe --call server;"));
    for line in ["server", "server --root --jsonl x", "server -- --call echo", "--call echo", ""] {
        assert_eq!(said(line), None, "{line}");
    }
    let command = super::super::probe::Args::command();
    for (option, has_value) in PROBES {
        let is = |arg: &&clap::Arg| {
            let name = option.trim_start_matches('-');
            let aliases = arg.get_visible_aliases().unwrap_or_default();
            arg.get_long() == Some(name) || aliases.contains(&name)
        };
        let arg = command.get_arguments().find(is).unwrap();
        assert_eq!(arg.get_action().takes_values(), has_value, "{option}");
    }
}

#[test]
fn a_package_in_a_rules_place_is_seen() {
    let taken = |line: &str| taken_for_rule(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
    assert_eq!(taken("--allow cowsay"), Some(("--allow", "cowsay".to_owned())));
    assert_eq!(taken("-y --allow-install cow-say --json").unwrap().1, "cow-say");
    for line in [
        "--allow=cowsay",
        "--allow cowsay:443",
        "--allow tcp://cowsay",
        "--allow cowsay,db",
        "--allow example.com",
        "--allow @npm",
        "--allow *",
        "--allow 10.0.0.1",
        "--allow [2001:db8::1]",
        "--allow localhost",
        "--allow-private nas",
        "--deny nas",
        "--allow",
        "-- --allow cowsay",
    ] {
        assert_eq!(taken(line), None, "{line}");
    }
}

fn found(line: &str) -> Option<&'static str> {
    behind_spec(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
}

#[test]
fn only_granting_options_before_a_double_dash_count() {
    assert_eq!(found("server --port 1 --allow example.com"), Some("--allow"));
    assert_eq!(found("server --env=A=b"), Some("--env"));
    assert_eq!(found("server -- --allow example.com"), None);
    assert_eq!(found("server allow --allowed --allow-all --config x --cwd y -e"), None);
    assert_eq!(found("--allow"), None, "the first word is the spec");
    assert_eq!(found(""), None);
}

#[test]
fn a_path_that_no_mount_shows_is_found() {
    let mount = |host: &str, guest: &str| Mount {
        host: host.into(),
        guest: guest.into(),
        access: crate::runtime::Access::ReadOnly,
    };
    let mounts = [mount("/home/me/shown", "/home/me/shown"), mount("/home/me/moved", "/data/moved")];
    let unseen = |line: &str| {
        let words: Vec<_> = line.split(' ').map(OsString::from).collect();
        let home = Path::new("/home/me");
        unseen(&words, &mounts, home, |path| !path.ends_with("none")).map(|path| path.display().to_string())
    };
    for (line, found) in [
        ("server /home/me/notes /home/me/other", "/home/me/notes"),
        ("server /home/me/shown/a /home/me/other", "/home/me/other"),
        ("server --root=/home/me/notes", "/home/me/notes"),
        ("server -- /tmp/x", "/tmp/x"),
        ("server /home/me/moved", "/home/me/moved"),
        ("server ~/shown --root=~/notes", "/home/me/notes"),
    ] {
        assert_eq!(unseen(line).as_deref(), Some(found), "{line}");
    }
    for line in [
        "/home/me/package.tgz",
        "server /home/me/shown /data/moved/x",
        "server / /tmp /home /usr/share/x /etc/x/y /dev/shm/x /nothing",
        "server /home/me/none notes ./notes http://example.com/a/b a=/home/me/notes ~ ~you/x a~/b",
    ] {
        assert_eq!(unseen(line), None, "{line}");
    }
    assert_eq!(
        about_path(Path::new("/home/me/a b")),
        "the package cannot see /home/me/a b; npxc --mount '/home/me/a b' ... PACKAGE shows it, to be read"
    );
}

#[test]
fn a_mistyped_command_is_recognized() {
    for (word, meant) in [("lst", "list"), ("porbe", "probe"), ("instal", "install"), ("docter", "doctor")] {
        assert_eq!(command(word), Some(meant));
    }
    for word in ["list", "list@1", "@a/lst", "./lst", "cowsay", "typescript", "x"] {
        assert_eq!(command(word), None, "{word}");
    }
}

#[test]
fn every_option_of_the_list_is_one() {
    let command = super::super::Args::command();
    let known: Vec<_> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
    assert!(GRANTS.iter().all(|option| known.contains(&option.trim_start_matches('-'))));
}
