//! The command line of one container. Pure: what a run is granted, what the engine can do, and the session's own
//! files in; arguments out. Nothing secret stands in them: environment, command, keys and files go over the control
//! socket or by mount.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::{Path, PathBuf};

use npxc_guest::spec::HOME;

use super::manner::FEW;
use super::owner::Owner;
use super::{Facts, Kind, Manner};
use crate::runtime::Limits;

/// Name of the control socket in it.
pub(super) const CONTROL: &str = "control";
/// What npxc's own containers and networks start with.
pub(super) const PREFIX: &str = "npxc-";
/// The label with the session's id.
pub(super) const LABEL: &str = "npxc.session";
/// The label with the pid of the npxc that it belongs to.
pub(super) const LABEL_PID: &str = "npxc.pid";
/// The label with the time at which that process started, in clock ticks since boot: a pid alone may be another's.
pub(super) const LABEL_START: &str = "npxc.start";
/// The label with the user and the pid namespace of that process.
pub(super) const LABEL_REALM: &str = "npxc.realm";
/// Processes of npxc's own in a container, which a limit has to leave room for: the first one and the tunnel, with
/// its threads.
pub(super) const OWN_PROCESSES: u64 = 6;
/// What the first process needs to set the link up and to become the workload's user. It drops all of them.
const CAPABILITIES: [&str; 4] = ["NET_ADMIN", "SETUID", "SETGID", "SETPCAP"];
/// Descriptors that a workload may have where the host allows more: the usual number in containers.
const DESCRIPTORS: u64 = 1 << 20;

/// What is made visible from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) host: PathBuf,
    pub(super) guest: PathBuf,
    pub(super) writable: bool,
    /// Other file systems are mounted below: left out when read-only, because engines make only the top read-only.
    pub(super) nested: bool,
}

/// Everything about one container that is not a fact of the host.
#[derive(Debug, Clone)]
pub(super) struct Container<'a> {
    /// Session id: random, because nothing in an image may know it ([`own`]).
    pub(super) id: &'a str,
    /// Who it belongs to.
    pub(super) owner: Owner,
    /// The image, by id: exactly that one, nothing is pulled.
    pub(super) image: &'a str,
    /// The guest's program on the host.
    pub(super) program: &'a Path,
    /// The directory of the control socket on the host.
    pub(super) run: &'a Path,
    /// The network, for a link that needs one.
    pub(super) network: Option<&'a str>,
    /// The workload's user and group inside.
    pub(super) identity: (u32, u32),
    /// Mounts in order, and files after them.
    pub(super) bounds: &'a [Bound],
    pub(super) limits: &'a Limits,
    /// The user's own additions to `run`.
    pub(super) extra: &'a [OsString],
}

/// A path that no engine can be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Untold {
    pub(super) path: PathBuf,
    /// What is in it, in words.
    pub(super) character: &'static str,
}

/// The name of a session's container and network.
pub(super) fn name(id: &str) -> String {
    format!("{PREFIX}{id}")
}

/// The directory inside where what is npxc's own is mounted: the guest's program as `guest`, the directory of the
/// control socket as `run`.
///
/// Engines mount in the order of how deep the paths are as they are written, and follow links of the image's on the
/// way: a mount that was meant for elsewhere can come to lie over a shallower one. So this path has the session's id
/// in it, which is random: no image can name it.
pub(super) fn own(id: &str) -> PathBuf {
    Path::new("/").join(name(id))
}

/// The labels by which a leftover is recognized.
pub(super) fn labels(id: &str, owner: Owner) -> [String; 4] {
    [
        format!("{LABEL}={id}"),
        format!("{LABEL_PID}={}", owner.pid),
        format!("{LABEL_START}={}", owner.start),
        format!("{LABEL_REALM}={}", owner.realm),
    ]
}

/// The arguments after the program and its global ones.
///
/// # Errors
/// A path that no engine can be told, and the character in it.
pub(super) fn arguments(
    kind: Kind,
    facts: &Facts,
    manner: &Manner,
    container: &Container<'_>,
) -> Result<Vec<OsString>, Untold> {
    let mut line = Line(Vec::new());
    if kind == Kind::Podman
        && let Some(runtime) = &manner.runtime
    {
        line.option("--runtime", runtime);
    }
    line.word("run");
    if kind == Kind::Docker
        && let Some(runtime) = &manner.runtime
    {
        line.option("--runtime", runtime);
    }
    line.word("--rm").option("--name", name(container.id));
    for label in labels(container.id, container.owner) {
        line.option("--label", label);
    }
    // What was inspected is what runs. A health check would be a process of somebody else's beside the workload.
    line.option("--pull", "never").word("--no-healthcheck");
    line.option("--log-driver", "none").word("--sig-proxy=false").option("--stop-timeout", 0);
    // What the container itself writes to standard error is not mistaken for the engine's words.
    line.option("--attach", "stdout");
    line.option("--hostname", "npxc").option("--network", container.network.unwrap_or("none"));

    confinement(&mut line, kind, facts, container);
    limits(&mut line, kind, facts, manner, container.limits);

    line.word("--read-only");
    if kind == Kind::Podman {
        // Otherwise /run and /var/tmp become writable, without a size, and so do the image's volumes.
        line.word("--read-only-tmpfs=false").word("--image-volume=ignore");
    }
    // Sticky and open instead of owned: podman has no owner for them, and there is one user inside. runc gives them the
    // mode of the image's directory all the same; the guest's first process sees to that.
    let bare = if kind == Kind::Podman { ",notmpcopyup" } else { "" };
    for path in ["/tmp", HOME] {
        let size = container.limits.scratch;
        line.option("--tmpfs", format!("{path}:rw,exec,nosuid,nodev,size={size},mode=1777{bare}"));
    }
    let own = own(container.id);
    let (program, run) = (own.join("guest"), own.join("run"));
    line.mount(container.program, &program, false, None)?;
    line.mount(container.run, &run, false, None)?;
    for bound in container.bounds {
        let alone = (bound.nested && !bound.writable).then(|| nonrecursive(kind, facts));
        line.mount(&bound.host, &bound.guest, bound.writable, alone)?;
    }
    for word in container.extra {
        line.word(word);
    }
    line.word("--entrypoint").word(program).word(container.image);
    line.word("enter").word(run.join(CONTROL));
    Ok(line.0)
}

fn confinement(line: &mut Line, kind: Kind, facts: &Facts, container: &Container<'_>) {
    line.option("--user", "0:0").option("--cap-drop", "ALL");
    for capability in CAPABILITIES {
        line.option("--cap-add", capability);
    }
    if container.network.is_some() {
        // For the first process only, to move the link into a network namespace where it is alone.
        line.option("--cap-add", "SYS_ADMIN");
    }
    line.option("--security-opt", "no-new-privileges").option("--device", "/dev/net/tun");
    if facts.selinux {
        // Labels would have to be written to the user's own files for the container to read them.
        line.option("--security-opt", "label=disable");
    }
    // Without a word this user is container root.
    if kind == Kind::Podman && facts.rootless && container.identity != (0, 0) {
        // The user's files belong to the workload, and container root is somebody else.
        let (uid, gid) = container.identity;
        line.option(
            "--userns",
            if keeps_any_id(facts) { format!("keep-id:uid={uid},gid={gid}") } else { "keep-id".into() },
        );
    }
}

/// Whether rootless podman can map the user to any id inside; before 4.3 it is the same as outside.
pub(super) fn keeps_any_id(facts: &Facts) -> bool {
    facts.number() >= (4, 3)
}

fn limits(line: &mut Line, kind: Kind, facts: &Facts, manner: &Manner, limits: &Limits) {
    let can = manner.limits(facts);
    if can.memory {
        // The same for memory and swap together: without swap the limit is what it says.
        line.option("--memory", limits.memory).option("--memory-swap", limits.memory);
    }
    if can.pids {
        line.option("--pids-limit", limits.pids + OWN_PROCESSES);
    }
    if can.cpus
        && let Some(cpus) = limits.cpus
    {
        line.option("--cpus", cpus);
    }
    if manner.no_cgroups && kind == Kind::Podman {
        line.option("--cgroups", "disabled");
    }
    line.option("--ulimit", "core=0:0");
    let ulimit = |line: &mut Line, name: &str, most: u64| {
        line.option("--ulimit", format!("{name}={most}:{most}"));
    };
    if manner.few {
        ulimit(line, "nofile", facts.descriptors.map_or(FEW, |hard| hard.min(FEW)));
        ulimit(line, "nproc", facts.processes.map_or(FEW, |hard| hard.min(FEW)));
    } else if kind == Kind::Podman {
        // podman asks for more than an ordinary hard limit; docker's daemon has its own.
        if let Some(hard) = facts.descriptors {
            ulimit(line, "nofile", hard.min(DESCRIPTORS));
        }
        if let Some(hard) = facts.processes {
            ulimit(line, "nproc", hard);
        }
    }
}

/// The word for a bind mount without what is mounted below.
fn nonrecursive(kind: Kind, facts: &Facts) -> &'static str {
    if kind == Kind::Docker && facts.number() >= (25, 0) {
        "bind-recursive=disabled"
    } else {
        "bind-nonrecursive"
    }
}

/// A command line in the making.
struct Line(Vec<OsString>);

impl Line {
    fn word(&mut self, word: impl AsRef<OsStr>) -> &mut Self {
        self.0.push(word.as_ref().to_owned());
        self
    }

    fn option(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.word(name).word(value.to_string())
    }

    /// `--mount` rather than `-v`: docker makes a directory where a `-v` finds nothing.
    fn mount(&mut self, host: &Path, guest: &Path, writable: bool, more: Option<&str>) -> Result<(), Untold> {
        let mut words = OsString::from("type=bind");
        for (key, path) in [("source", host), ("target", guest)] {
            // Fields of a CSV record; podman and docker do not agree on how to quote one.
            let character = path.as_os_str().as_encoded_bytes().iter().find_map(|byte| match byte {
                b',' => Some("a comma"),
                b'"' => Some("a quote"),
                b'\n' => Some("a line's end"),
                b'\r' => Some("a carriage return"),
                _ => None,
            });
            if let Some(character) = character {
                return Err(Untold { path: path.to_owned(), character });
            }
            words.push(format!(",{key}="));
            words.push(path);
        }
        if !writable {
            words.push(",readonly");
        }
        if let Some(more) = more {
            words.push(",");
            words.push(more);
        }
        self.word("--mount").word(words);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
