//! The pure core does no I/O and reads no clock: a scan of its source for the paths that would.
//!
//! A scan cannot see through an alias or a macro; it is there for the honest mistake. Comments and test modules are
//! left out: a `*tests.rs` or `properties.rs`, a `tests` folder, and what follows the line `mod tests {`.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders and files of the pure core, and those elsewhere that call themselves pure.
const PURE: &[&str] = &[
    "src/policy",
    "src/net",
    "src/audit/chain.rs",
    "src/audit/diff.rs",
    "src/audit/escape.rs",
    "src/audit/event.rs",
    "src/audit/page/mod.rs",
    "src/audit/suggest.rs",
    "src/cli/slips.rs",
    "src/clients/change.rs",
    "src/clients/diff.rs",
    "src/clients/json.rs",
    "src/clients/npx.rs",
    "src/clients/places.rs",
    "src/clients/servers.rs",
    "src/clients/toml.rs",
    "src/clients/value.rs",
    "src/clients/variables.rs",
    "src/config/choices.rs",
    "src/config/directories.rs",
    "src/config/layer.rs",
    "src/config/masked.rs",
    "src/config/options.rs",
    "src/config/proxy.rs",
    "src/config/resolve.rs",
    "src/config/values.rs",
    "src/package/ini.rs",
    "src/package/install/changes.rs",
    "src/package/name.rs",
    "src/package/range.rs",
    "src/package/spec.rs",
    "src/paths.rs",
    "src/rpc/frame.rs",
    "src/rpc/identify",
    "src/rpc/json",
    "src/rpc/translate",
    "src/runtime/apple/answers.rs",
    "src/runtime/apple/arguments.rs",
    "src/runtime/engine/arguments.rs",
    "src/runtime/engine/manner.rs",
    "src/runtime/engine/network/inspect.rs",
    "src/runtime/etc.rs",
    "guest/src/netlink/mod.rs",
    "link/src/coalesce.rs",
    "link/src/frame.rs",
    "link/src/segment.rs",
    "link/src/virtio.rs",
    "link/src/wg.rs",
];

/// What may not be mentioned, with spaces taken out of the source first.
const FORBIDDEN: &[&str] = &[
    "tokio",
    "mio::",
    "socket2",
    "rustix",
    "libc::",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::io::std",
    "std::os",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "lookup_host",
    "SystemTime",
    "Instant::now",
    ".elapsed()",
    "jiff",
    "println!",
    "eprintln!",
    "unsafe{",
];

#[test]
fn the_pure_core_does_no_io_and_reads_no_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let moved: Vec<_> = PURE.iter().filter(|path| !root.join(path).exists()).collect();
    assert!(moved.is_empty(), "PURE names what is not there, and has to follow where it went: {moved:?}");
    let mut files = Vec::new();
    for path in PURE {
        collect(&root.join(path), &mut files);
    }
    let mut found = Vec::new();
    for file in &files {
        for (line, what) in impurities(&fs::read_to_string(file).unwrap()) {
            found.push(format!("{}:{line}: {what}", file.strip_prefix(root).unwrap().display()));
        }
    }
    assert!(found.is_empty(), "the pure core reaches outside:\n{}", found.join("\n"));
}

#[test]
fn whoever_says_to_be_pure_is_on_the_list() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "guest/src", "link/src"] {
        collect(&root.join(folder), &mut files);
    }
    let mut unlisted = Vec::new();
    for file in &files {
        let path = file.strip_prefix(root).unwrap();
        if says_pure(&fs::read_to_string(file).unwrap()) && !PURE.iter().any(|pure| path.starts_with(pure)) {
            unlisted.push(path.to_owned());
        }
    }
    assert!(unlisted.is_empty(), "these say that they are pure, and PURE does not name them: {unlisted:?}");
}

#[test]
fn the_scan_knows_who_says_to_be_pure() {
    assert!(says_pure("//! Answers. Pure.\n\nuse a;") && says_pure("//! A\n//! **Pure**: no clock."));
    assert!(says_pure("//! Pure; nothing is changed.\n") && says_pure("//! Pure, bounded.\n"));
    assert!(!says_pure("//! Pure but for a look at the disk.\n") && !says_pure("//! [`a`] is pure.\n"));
    assert!(!says_pure("//! Joins.\n\n/// Pure.\nfn f() {}"), "a function is not its module");
}

#[test]
fn the_scan_sees_what_it_is_for() {
    let seen = |source: &str| impurities(source).into_iter().map(|(_, what)| what).collect::<Vec<_>>();
    assert_eq!(seen("use std::fs::File;"), ["std::fs"]);
    assert_eq!(seen("use std::{fmt, fs};"), ["std::fs"]);
    assert_eq!(seen("use std::{\n    fmt,\n    process::Command,\n};"), ["std::process"]);
    assert_eq!(seen("let now = Instant :: now();"), ["Instant::now"]);
    assert_eq!(seen("use std::time::{Duration, SystemTime};"), ["SystemTime"]);
    assert_eq!(seen("use std::net::{IpAddr, UdpSocket};"), ["UdpSocket"]);
    assert!(seen("use std::time::Instant; // not Instant::now()\n/// tokio").is_empty());
    assert_eq!(seen("#[cfg(test)]\nmod tests;\nuse std::fs;"), ["std::fs"], "what follows is production");
    assert!(seen("fn f() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests { use std::fs; }").is_empty());
}

/// Whether a module's own words call the whole of it pure: `Pure`, and nothing that takes some of it back.
fn says_pure(source: &str) -> bool {
    let words = source.lines().filter_map(|line| line.strip_prefix("//!")).flat_map(str::split_whitespace);
    words
        .map(|word| word.trim_start_matches('*'))
        .filter_map(|word| word.strip_prefix("Pure"))
        .any(|end| end.trim_start_matches('*').starts_with(['.', ':', ';', ',']))
}

/// The files under a path, tests left out.
fn collect(path: &Path, out: &mut Vec<PathBuf>) {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for entry in entries {
            collect(&entry, out);
        }
    } else if path.is_file()
        && path.extension().is_some_and(|extension| extension == "rs")
        && path
            .file_name()
            .is_some_and(|name| name != "properties.rs" && !name.to_string_lossy().ends_with("tests.rs"))
        && !path.parent().is_some_and(|parent| parent.ends_with("tests"))
    {
        out.push(path.to_owned());
    }
}

/// Forbidden mentions with their lines. Whitespace does not hide one, nor does a group (`use std::{fmt, fs}`).
fn impurities(source: &str) -> Vec<(usize, &'static str)> {
    let production = source.split("\nmod tests {").next().unwrap_or(source);
    let mut found = Vec::new();
    let mut group = false;
    for (index, line) in production.lines().enumerate() {
        let code: String = line.split("//").next().unwrap_or("").split_whitespace().collect();
        group |= code.starts_with("usestd::{") || code.starts_with("pubusestd::{");
        for what in FORBIDDEN {
            let in_group = what.strip_prefix("std::").is_some_and(|module| {
                group && code.split(['{', ',', ':', ';', '}']).any(|part| part == module)
            });
            if code.contains(what) || in_group {
                found.push((index + 1, *what));
            }
        }
        group &= !code.contains(';');
    }
    found
}
