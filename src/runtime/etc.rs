//! What every container finds in `/etc` and in its environment, whatever its image has. Pure.

use std::ffi::OsString;
use std::path::PathBuf;

use npxc_guest::spec::{GATEWAY_V4, GATEWAY_V6, HOME};

/// Names in `/etc`, and content.
fn files((user, group): (u32, u32)) -> [(&'static str, String); 5] {
    [
        ("resolv.conf", format!("nameserver {GATEWAY_V4}\nnameserver {GATEWAY_V6}\n")),
        ("hosts", "127.0.0.1 localhost npxc\n::1 localhost ip6-localhost ip6-loopback\n".to_owned()),
        ("hostname", "npxc\n".to_owned()),
        ("passwd", passwd(user, group)),
        ("group", format!("root:x:0:\ntty:x:5:\nuser:x:{group}:\nnogroup:x:65534:\n")),
    ]
}

/// [`files`] in `/etc`, without those that are `given`, and these after them.
pub(super) fn complete(identity: (u32, u32), given: &[(PathBuf, Vec<u8>)]) -> Vec<(PathBuf, Vec<u8>)> {
    let own = files(identity).into_iter();
    own.map(|(name, content)| (PathBuf::from("/etc").join(name), content.into_bytes()))
        .filter(|(path, _)| !given.iter().any(|(other, _)| other == path))
        .chain(given.iter().cloned())
        .collect()
}

fn passwd(user: u32, group: u32) -> String {
    let root = if user == 0 { String::new() } else { "root:x:0:0:root:/root:/sbin/nologin\n".to_owned() };
    format!(
        "{root}user:x:{user}:{group}:user:{HOME}:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n"
    )
}

/// The command's environment, with the few variables that belong to the container where they are missing.
pub(super) fn environment(given: &[(OsString, OsString)], path: Option<&str>) -> Vec<(OsString, OsString)> {
    let path = path.unwrap_or("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut all = given.to_vec();
    for (name, value) in [("HOME", HOME), ("USER", "user"), ("PATH", path)] {
        if !given.iter().any(|(present, _)| present == name) {
            all.push((name.into(), value.into()));
        }
    }
    all
}
