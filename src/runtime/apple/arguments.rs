//! The command line of one container. Pure.
//!
//! Without `--read-only`: the first process puts files over those of the image, and makes the root read-only then.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use npxc_guest::spec::HOME;

use crate::runtime::{Access, Limits, Mount};

/// The directory of the guest's program inside; only directories can be mounted.
const DIRECTORY: &str = "/npxc/bin";
/// The relayed control socket inside.
const CONTROL: &str = "/npxc/control";
/// The relayed socket of the link inside.
pub(super) const LINK: &str = "/npxc/link";
/// What the first process needs: the link and its device (which the kernel has, but `/dev` has not), files over those
/// of the image, a network namespace of the link's own, and to become the workload's user. It drops all of them.
const CAPABILITIES: [&str; 6] = ["NET_ADMIN", "SETUID", "SETGID", "SETPCAP", "MKNOD", "SYS_ADMIN"];

/// Everything about one container.
#[derive(Debug, Clone)]
pub(super) struct Container<'a> {
    /// Its name, which is its id.
    pub(super) name: &'a str,
    /// The image.
    pub(super) image: &'a str,
    /// The directory on the host that holds the guest's program, called `guest`.
    pub(super) directory: &'a Path,
    /// The control socket on the host; listening before this is run.
    pub(super) control: &'a Path,
    /// The socket of the link on the host, for a link that is a stream; listening as well.
    pub(super) link: Option<&'a Path>,
    /// The network, for a link that needs one.
    pub(super) network: Option<&'a str>,
    /// Directories made visible.
    pub(super) mounts: &'a [Mount],
    /// Its limits: those of a virtual machine.
    pub(super) limits: &'a Limits,
    /// What the user adds.
    pub(super) extra: &'a [OsString],
}

/// The arguments after the program and its global ones.
///
/// # Errors
/// A path that it cannot be told: with a colon in it.
pub(super) fn arguments(container: &Container<'_>) -> Result<Vec<OsString>, PathBuf> {
    let mut line: Vec<OsString> = Vec::new();
    let mut words = |words: &[&str]| line.extend(words.iter().map(OsString::from));
    words(&["run", "-i", "--rm", "--name", container.name]);
    words(&["--network", container.network.unwrap_or("none"), "--no-dns"]);
    words(&["--tmpfs", "/tmp", "--tmpfs", HOME, "-u", "0:0", "--cap-drop", "ALL"]);
    for capability in CAPABILITIES {
        words(&["--cap-add", capability]);
    }
    words(&["-m", &format!("{}M", container.limits.memory.div_ceil(1 << 20))]);
    if let Some(cpus) = container.limits.cpus {
        // A virtual machine has whole ones.
        words(&["-c", &format!("{:.0}", cpus.ceil().max(1.0))]);
    }
    words(&["--ulimit", "core=0:0"]);
    line.extend_from_slice(container.extra);
    let mut volume = |host: &Path, guest: &Path, access: Access| {
        for path in [host, guest] {
            if path.as_os_str().as_encoded_bytes().contains(&b':') {
                return Err(path.to_owned());
            }
        }
        let mut volume = host.as_os_str().to_owned();
        volume.push(":");
        volume.push(guest);
        if access == Access::ReadOnly {
            volume.push(":ro");
        }
        line.extend([OsStr::new("-v").to_owned(), volume]);
        Ok(())
    };
    volume(container.directory, Path::new(DIRECTORY), Access::ReadOnly)?;
    volume(container.control, Path::new(CONTROL), Access::ReadWrite)?;
    if let Some(link) = container.link {
        volume(link, Path::new(LINK), Access::ReadWrite)?;
    }
    for mount in container.mounts {
        volume(&mount.host, &mount.guest, mount.access)?;
    }
    let program = format!("{DIRECTORY}/guest");
    line.extend(["--entrypoint", &program, container.image, "enter", CONTROL].map(OsString::from));
    Ok(line)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn line(container: &Container<'_>) -> Vec<String> {
        arguments(container).unwrap().into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    fn split(text: &str) -> Vec<String> {
        text.split_whitespace().map(Into::into).collect()
    }

    #[test]
    fn the_whole_line_without_and_with_a_network() {
        let limits = Limits { memory: (1 << 30) + 1, cpus: Some(1.5), ..Limits::default() };
        let mounts = [
            Mount { host: "/Users/me/work".into(), guest: "/work".into(), access: Access::ReadWrite },
            Mount { host: "/data".into(), guest: "/data".into(), access: Access::ReadOnly },
        ];
        let container = Container {
            name: "npxc-42",
            image: "node:22",
            directory: Path::new("/s/bin"),
            control: Path::new("/s/control"),
            link: Some(Path::new("/s/link")),
            network: None,
            mounts: &mounts,
            limits: &limits,
            extra: &[],
        };
        let expected = split(
            "run -i --rm --name npxc-42 --network none --no-dns --tmpfs /tmp --tmpfs /home/user -u 0:0
             --cap-drop ALL --cap-add NET_ADMIN --cap-add SETUID --cap-add SETGID --cap-add SETPCAP --cap-add MKNOD
             --cap-add SYS_ADMIN -m 1025M -c 2 --ulimit core=0:0 -v /s/bin:/npxc/bin:ro -v /s/control:/npxc/control -v /s/link:/npxc/link
             -v /Users/me/work:/work -v /data:/data:ro --entrypoint /npxc/bin/guest node:22 enter /npxc/control",
        );
        assert_eq!(line(&container), expected);
        let limits = Limits { memory: 1 << 30, ..Limits::default() };
        let container =
            Container { link: None, network: Some("npxc-42"), mounts: &[], limits: &limits, ..container };
        let expected = split(
            "run -i --rm --name npxc-42 --network npxc-42 --no-dns --tmpfs /tmp --tmpfs /home/user -u 0:0
             --cap-drop ALL --cap-add NET_ADMIN --cap-add SETUID --cap-add SETGID --cap-add SETPCAP --cap-add MKNOD
             --cap-add SYS_ADMIN -m 1024M --ulimit core=0:0 -v /s/bin:/npxc/bin:ro -v /s/control:/npxc/control
             --entrypoint /npxc/bin/guest node:22 enter /npxc/control",
        );
        assert_eq!(line(&container), expected);
        let odd = [Mount { host: "/a:b".into(), guest: "/x".into(), access: Access::ReadOnly }];
        assert_eq!(arguments(&Container { mounts: &odd, ..container }), Err(PathBuf::from("/a:b")));
    }
}
