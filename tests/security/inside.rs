//! The hostile half that JavaScript cannot write: system calls. This test program mounts itself into the sandbox
//! and runs there, as [`inside`], whatever the variable `HOSTILE` names; each answers with the error it got.
#![allow(unsafe_code)]

mod kernel;
mod network;
mod packets;
mod reach;
mod secrets;

use std::collections::BTreeMap;
use std::ffi::c_long;

use serde_json::{Value, json};

use self::kernel::{kernel, namespaces, processes, terminal};
use self::network::{network, take_down};
use self::packets::{datagrams, sockets};
pub(super) use self::reach::Target;
use self::reach::reach;
use self::secrets::secrets;
pub(super) use self::secrets::writable;
use super::harness::{Attack, Who, attack, place, publish};

/// Where this program is inside.
pub(super) const PROGRAM: &str = "/mnt/hostile/security";

/// A directory with this program in it, for everybody to mount or start.
pub(super) fn directory() -> std::path::PathBuf {
    static MADE: std::sync::OnceLock<std::path::PathBuf> = std::sync::OnceLock::new();
    let make = || {
        let directory = place().base.join("inside");
        std::fs::create_dir(&directory).unwrap();
        publish(&std::env::current_exe().unwrap(), &directory.join("security"));
        directory
    };
    MADE.get_or_init(make).clone()
}

/// Runs parts of this module inside a sandbox.
pub(super) fn run(who: Who, parts: &[&str]) -> Attack {
    let directory = directory();
    let steps: Vec<Value> = parts
        .iter()
        .map(|part| {
            json!({"do": "spawn", "env": {"HOSTILE": part, "RUST_BACKTRACE": "0"},
                "argv": [PROGRAM, "--exact", "security::inside::inside", "--ignored", "--nocapture"]})
        })
        .collect();
    attack(who, &json!(steps)).option("--mount", format!("{}:/mnt/hostile", directory.display()))
}

/// What a part saw, by the attempt.
pub(super) fn results(answer: &Value) -> BTreeMap<String, String> {
    let out = answer["out"].as_str().unwrap_or_default();
    let line = out.lines().find_map(|line| line.split_once("%%")).map(|(_, line)| line);
    line.map_or_else(
        || panic!("the program inside failed: {answer}"),
        |line| serde_json::from_str(line).unwrap(),
    )
}

#[test]
#[ignore = "runs inside the sandbox: `packets::row_*`, `sandbox::row_*` and `contained::row_*` start it"]
fn inside() {
    let Ok(part) = std::env::var("HOSTILE") else { return };
    assert_eq!(std::fs::read_to_string("/etc/hostname").unwrap(), "npxc\n", "never on the host");
    let mut seen = Attempts::default();
    match part.as_str() {
        "sockets" => sockets(&mut seen),
        "datagrams" => datagrams(&mut seen),
        "network" => network(&mut seen),
        "kernel" => kernel(&mut seen),
        "processes" => processes(&mut seen),
        "terminal" => terminal(&mut seen),
        "namespaces" => namespaces(&mut seen),
        "reach" => reach(&mut seen),
        "take down" => take_down(&mut seen),
        "secrets" => secrets(&mut seen),
        other => panic!("{other}?"),
    }
    println!("%%{}", serde_json::to_string(&seen.0).unwrap());
}

#[derive(Default)]
struct Attempts(BTreeMap<String, String>);

impl Attempts {
    /// Notes the outcome of a system call.
    fn note(&mut self, what: &str, result: c_long) -> c_long {
        let seen = if result < 0 { error() } else { "done".to_owned() };
        self.0.insert(what.to_owned(), seen);
        result
    }
}

fn error() -> String {
    let error = std::io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EPERM) => "EPERM".to_owned(),
        Some(libc::EACCES) => "EACCES".to_owned(),
        Some(libc::EAFNOSUPPORT) => "EAFNOSUPPORT".to_owned(),
        Some(libc::ENOSYS) => "ENOSYS".to_owned(),
        Some(libc::ENOENT) => "ENOENT".to_owned(),
        Some(libc::EROFS) => "EROFS".to_owned(),
        Some(_) | None => error.to_string(),
    }
}

/// A system call with up to six arguments.
fn call(number: c_long, arguments: &[usize]) -> c_long {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let [a, b, c, d, e, f] = all;
    // SAFETY: the callers pass numbers, null pointers and pointers to live values only.
    unsafe { libc::syscall(number, a, b, c, d, e, f) }
}

fn number(value: i32) -> usize {
    value.unsigned_abs() as usize
}
