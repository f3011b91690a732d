//! A cgroup per sandbox, where npxc may make one: version 2 below a delegated parent, or the version 1
//! hierarchies as root. Named `npxc-<pid of npxc>-<number>`, so that what a killed npxc left can be recognized.
//! And a look at the cgroup that an engine has made for a container.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{LimitHit, Limits};

/// Number of sandboxes started by this process so far.
static STARTED: AtomicU32 = AtomicU32::new(0);
/// The scheduler's period for CPU limits, microseconds: the kernel's default.
const PERIOD: u64 = 100_000;
const PREFIX: &str = "npxc-";
/// Processes of the embedded sandbox itself that a pid limit has to leave room for: the helper and init.
pub(super) const OWN_PROCESSES: u64 = 2;

/// Which limits a cgroup holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) memory: bool,
    pub(super) pids: bool,
    pub(super) cpu: bool,
}

/// The cgroup directories of one sandbox; none if npxc may not make any.
#[derive(Debug, Default)]
pub(super) struct Cgroup {
    groups: Vec<PathBuf>,
    held: Held,
}

impl Cgroup {
    /// Makes what can be made. Failing is no error: then the sandbox watches over itself.
    ///
    /// `first` is moved in; a group that it cannot be moved into is no use and is not kept.
    pub(super) fn create(limits: &Limits, first: Option<u32>) -> Self {
        let (Ok(own), Ok(mounts)) =
            (fs::read_to_string("/proc/self/cgroup"), fs::read_to_string("/proc/self/mountinfo"))
        else {
            return Self::default();
        };
        let name = format!("{PREFIX}{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let mut cgroup = Self::default();
        for hierarchy in hierarchies(&own, &mounts) {
            cgroup.create_in(&hierarchy, &name, limits, first);
        }
        cgroup
    }

    fn create_in(&mut self, hierarchy: &Hierarchy, name: &str, limits: &Limits, first: Option<u32>) {
        let parents = match hierarchy.controllers {
            // Version 2: beside the own group first, since a group with processes cannot have limited children.
            None if hierarchy.own != hierarchy.point => vec![hierarchy.own.parent(), Some(&hierarchy.own)],
            None | Some(_) => vec![Some(hierarchy.own.as_path())],
        };
        for parent in parents.into_iter().flatten() {
            remove_stale(parent);
            let group = parent.join(name);
            if fs::create_dir(&group).is_err() {
                continue;
            }
            let held = match &hierarchy.controllers {
                None => limit_v2(&group, limits),
                Some(controllers) => limit_v1(&group, controllers, limits),
            };
            let useful = held != Held::default() && first.is_none_or(|pid| join(&group, pid).is_ok());
            if !useful {
                let _ = fs::remove_dir(&group);
                continue;
            }
            self.held.memory |= held.memory;
            self.held.pids |= held.pids;
            self.held.cpu |= held.cpu;
            self.groups.push(group);
            return;
        }
    }

    pub(super) fn held(&self) -> Held {
        self.held
    }

    /// Moves a process in.
    pub(super) fn add(&mut self, pid: u32) -> io::Result<()> {
        for group in &self.groups {
            join(group, pid)?;
        }
        Ok(())
    }

    /// The limit that was hit so far, if one was.
    pub(super) fn limit_hit(&self) -> Option<LimitHit> {
        limit_hit(&self.groups)
    }

    /// Removes the directories; everything inside has ended.
    pub(super) fn remove(&mut self) {
        for group in self.groups.drain(..) {
            let _ = fs::remove_dir(group);
        }
    }
}

/// The control groups that somebody else put a process into: only looked at.
#[derive(Debug, Default)]
pub(super) struct Watch {
    groups: Vec<PathBuf>,
}

impl Watch {
    /// Those of process `pid`, where they are visible from here.
    pub(super) fn of(pid: u32) -> Self {
        let (Ok(theirs), Ok(own), Ok(mounts)) = (
            fs::read_to_string(format!("/proc/{pid}/cgroup")),
            fs::read_to_string("/proc/self/cgroup"),
            fs::read_to_string("/proc/self/mountinfo"),
        ) else {
            return Self::default();
        };
        // A group that npxc is in counts npxc as well.
        let shared: Vec<PathBuf> =
            hierarchies(&own, &mounts).into_iter().map(|hierarchy| hierarchy.own).collect();
        let groups = hierarchies(&theirs, &mounts).into_iter().map(|hierarchy| hierarchy.own);
        Self { groups: groups.filter(|group| !shared.contains(group)).collect() }
    }

    /// The limit that was hit so far, if one was.
    pub(super) fn limit_hit(&self) -> Option<LimitHit> {
        limit_hit(&self.groups)
    }
}

fn limit_hit(groups: &[PathBuf]) -> Option<LimitHit> {
    let counter = |file: &str, key: &str| {
        groups.iter().any(|group| {
            fs::read_to_string(group.join(file)).is_ok_and(|content| {
                content.lines().any(|line| {
                    line.strip_prefix(key)
                        .is_some_and(|rest| rest.trim().parse::<u64>().is_ok_and(|count| count > 0))
                })
            })
        })
    };
    if counter("memory.events", "oom_kill ") || counter("memory.oom_control", "oom_kill ") {
        Some(LimitHit::Memory)
    } else if counter("pids.events", "max ") {
        Some(LimitHit::Pids)
    } else {
        None
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Never creates a file: where the kernel made none there is no such setting.
fn write(path: PathBuf, value: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

fn join(group: &Path, pid: u32) -> io::Result<()> {
    write(group.join("cgroup.procs"), &pid.to_string())
}

fn set(group: &Path, file: &str, value: &str) -> bool {
    write(group.join(file), value).is_ok()
}

fn quota(cpus: f64) -> u64 {
    // The kernel refuses less than a millisecond.
    #[allow(clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let quota = (cpus.max(0.0) * PERIOD as f64) as u64;
    quota.max(1000)
}

fn limit_v2(group: &Path, limits: &Limits) -> Held {
    let memory = set(group, "memory.max", &limits.memory.to_string());
    if memory {
        // Without swap the limit is what it says; killing all at once leaves no half-dead package.
        let _ = set(group, "memory.swap.max", "0");
        let _ = set(group, "memory.oom.group", "1");
    }
    let pids = set(group, "pids.max", &(limits.pids + OWN_PROCESSES).to_string());
    let cpu = limits.cpus.is_some_and(|cpus| set(group, "cpu.max", &format!("{} {PERIOD}", quota(cpus))));
    Held { memory, pids, cpu }
}

fn limit_v1(group: &Path, controllers: &[String], limits: &Limits) -> Held {
    let has = |name: &str| controllers.iter().any(|controller| controller == name);
    let mut held = Held::default();
    if has("memory") {
        held.memory = set(group, "memory.limit_in_bytes", &limits.memory.to_string());
        let _ = set(group, "memory.memsw.limit_in_bytes", &limits.memory.to_string());
    }
    if has("pids") {
        held.pids = set(group, "pids.max", &(limits.pids + OWN_PROCESSES).to_string());
    }
    if has("cpu")
        && let Some(cpus) = limits.cpus
    {
        held.cpu = set(group, "cpu.cfs_quota_us", &quota(cpus).to_string());
    }
    held
}

/// Removes groups of npxc processes that are gone. A group with processes in it cannot be removed.
fn remove_stale(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
        if let Some(owner) = owner
            && owner.parse::<u32>().is_ok()
            && !Path::new("/proc").join(owner).exists()
        {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// One hierarchy that this process is in.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    /// Where it is mounted: nothing above is a cgroup.
    point: PathBuf,
    /// The directory of the own group, at or below that.
    own: PathBuf,
    /// Version 1: what it controls. Version 2: `None`.
    controllers: Option<Vec<String>>,
}

/// The hierarchies of interest, from `/proc/self/cgroup` and `/proc/self/mountinfo` (cgroups(7), proc(5)).
fn hierarchies(own: &str, mounts: &str) -> Vec<Hierarchy> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let controllers: Vec<String> =
            controllers.split(',').filter(|name| !name.is_empty()).map(Into::into).collect();
        let wanted = |name: &String| matches!(name.as_str(), "memory" | "pids" | "cpu");
        if !controllers.is_empty() && !controllers.iter().any(wanted) {
            continue;
        }
        let version_2 = controllers.is_empty();
        let mounted = mounts.lines().find_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut after = after.split(' ');
            let (kind, _, options) = (after.next()?, after.next()?, after.next()?);
            let matches = if version_2 {
                kind == "cgroup2"
            } else {
                kind == "cgroup"
                    && options.split(',').any(|option| controllers.iter().any(|name| name == option))
            };
            let mut before = before.split(' ').skip(3);
            let (root, point) = (before.next()?, before.next()?);
            let inside = Path::new(path).strip_prefix(root).ok()?;
            matches.then(|| (PathBuf::from(point), Path::new(point).join(inside)))
        });
        if let Some((point, own)) = mounted {
            found.push(Hierarchy { point, own, controllers: (!version_2).then_some(controllers) });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_is_found_below_its_mount() {
        let own = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope\n";
        let mounts = "25 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
                      30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = hierarchies(own, mounts);
        let own = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope";
        assert_eq!(found, [Hierarchy { point: "/sys/fs/cgroup".into(), own: own.into(), controllers: None }]);
    }

    #[test]
    fn version_1_hierarchies_without_limits_are_left_alone() {
        let own = "8:pids:/\n4:memory:/a/b\n3:cpuset:/\n1:cpu,cpuacct:/\n2:name=systemd:/\n";
        let mounts = "1 0 0:1 / /c/pids rw - cgroup cgroup rw,pids\n\
                      2 0 0:2 /a /c/memory rw - cgroup cgroup rw,memory\n\
                      3 0 0:3 / /c/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n";
        let found: Vec<PathBuf> =
            hierarchies(own, mounts).into_iter().map(|hierarchy| hierarchy.own).collect();
        // The memory hierarchy is mounted from /a on, as in a container.
        assert_eq!(found, [Path::new("/c/pids/"), Path::new("/c/memory/b"), Path::new("/c/cpu,cpuacct/")]);
    }

    #[test]
    fn a_group_is_recognized_as_stale_by_its_dead_owner() {
        let parent = tempfile::tempdir().unwrap_or_else(|error| panic!("{error}"));
        let dead = parent.path().join("npxc-4294967295-0");
        let alive = parent.path().join(format!("npxc-{}-0", std::process::id()));
        let foreign = parent.path().join("npxc-other");
        for directory in [&dead, &alive, &foreign] {
            fs::create_dir(directory).unwrap_or_else(|error| panic!("{error}"));
        }
        remove_stale(parent.path());
        assert_eq!([dead.exists(), alive.exists(), foreign.exists()], [false, true, true]);
    }
}
