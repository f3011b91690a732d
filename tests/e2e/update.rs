//! `npxc update` beside a registry of the test's own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

use super::loopback::{Registry, said};
use super::machine::have_all;
use super::processes::{eventually, wait};
use super::world::world;

#[test]
fn one_package_that_cannot_be_updated_does_not_stop_the_others() {
    let registry = Registry::start();
    for name in ["npxc-a", "npxc-b", "npxc-c"] {
        registry.publish(name, "1.0.0");
    }
    let output = registry.npxc(&["install", "npxc-a", "npxc-b", "npxc-c"]);
    assert!(output.status.success(), "{}", said(&output));
    registry.publish("npxc-a", "1.1.0");
    registry.forget("npxc-b");
    registry.publish("npxc-c", "1.1.0");

    let output = registry.npxc(&["update", "--yes"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("npxc: error: download of npxc-b failed"), "{text}");
    for which in ["npxc-a (1 of 3)", "npxc-b (2 of 3)", "npxc-c (3 of 3)"] {
        assert!(text.contains(&format!("npxc: looking for a newer {which} ...\n")), "{text}");
    }
    assert!(text.contains("npxc: error: not updated, for the reasons above: npxc-b\n"), "{text}");
    for (name, version) in [("npxc-a", "1.1.0\n"), ("npxc-b", "1.0.0\n"), ("npxc-c", "1.1.0\n")] {
        let output = registry.npxc(&[name]);
        assert_eq!(String::from_utf8_lossy(&output.stdout), version, "{name}: {}", said(&output));
    }
}

#[test]
fn an_interrupt_at_the_question_ends_an_update() {
    if !have_all(&["script"]) {
        return;
    }
    let registry = Registry::start();
    for name in ["npxc-a", "npxc-b"] {
        registry.publish(name, "1.0.0");
    }
    assert!(registry.npxc(&["install", "npxc-a", "npxc-b"]).status.success());
    for name in ["npxc-a", "npxc-b"] {
        registry.publish(name, "1.1.0");
    }

    // script(1) makes the terminal, whose driver makes a signal of the character.
    let npxc = world().command(&[]);
    let mut command = Command::new("script");
    world().environment(&mut command);
    registry.use_with(&mut command);
    let line = format!("'{}' update", npxc.get_program().display());
    command.args(["-qfec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut shown = Vec::new();
    while !shown.ends_with(b"[y/N] ") {
        let mut byte = [0];
        assert_eq!(screen.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&shown));
        shown.push(byte[0]);
    }
    keys.write_all(b"\x03").unwrap();
    // No Enter.
    assert_eq!(wait(&mut child).code(), Some(130));
    let mut rest = String::new();
    screen.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("\nnpxc: error: interrupted; nothing was changed"), "{rest}");
    assert_eq!(rest.matches("[y/N]").count(), 0, "no other is asked about: {rest}");
    let staging = registry.data.join("npxc/store/staging");
    eventually("nothing half is left", || fs::read_dir(&staging).is_ok_and(|mut left| left.next().is_none()));
    for name in ["npxc-a", "npxc-b"] {
        assert_eq!(registry.npxc(&[name]).stdout, b"1.0.0\n");
    }
}
