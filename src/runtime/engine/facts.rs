//! What this host's engine is and can do, from its own `info`. Found out, not guessed; what `info` does not tell is
//! learnt from refusals (`manner`).

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::Kind;
use crate::runtime::RuntimeError;
use crate::runtime::command::Client;

/// `info` asks the daemon, or opens the store: some 100 ms, more on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// What an engine says about itself, and this process's own limits.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// Its version; for docker the daemon's.
    pub version: String,
    /// It runs as an ordinary user: container root is that user, or one of its subordinate ids.
    pub rootless: bool,
    /// It is not on this machine (a virtual machine, a context that points elsewhere): nothing can be shared.
    pub remote: bool,
    /// Version of the control groups, 1 or 2.
    pub cgroup_version: u8,
    /// Limits that it can set.
    pub limits: CanLimit,
    /// The OCI runtime that it uses unasked.
    pub runtime: String,
    /// `SELinux` labels what containers may touch.
    pub selinux: bool,
    /// Container root is another user than the engine's (docker's userns-remap).
    pub remapped: bool,
    /// The hard limit of descriptors of this process, and so the most that may be asked for.
    pub descriptors: Option<u64>,
    /// The hard limit of this user's processes.
    pub processes: Option<u64>,
}

/// Which limits an engine can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CanLimit {
    /// Memory of the container.
    pub memory: bool,
    /// Its processes and threads.
    pub pids: bool,
    /// CPU time per wall time.
    pub cpus: bool,
}

impl Facts {
    /// Asks the engine. Blocks for some 100 ms.
    pub(super) fn ask(kind: Kind, client: &Client) -> Result<Self, RuntimeError> {
        let arguments: &[&str] = match kind {
            Kind::Podman => &["info", "--format", "json"],
            Kind::Docker => &["info", "--format", "{{json .}}"],
        };
        let output = client.ask(arguments, PATIENCE)?;
        // docker prints the client's part with exit status 1 when there is no daemon.
        if !output.success {
            let said = crate::runtime::command::essence(&output.stderr);
            return Err(client.failed(arguments, docker_error(&output.stdout).unwrap_or(said)));
        }
        let mut facts = Self::parse(kind, &output.stdout)
            .map_err(|error| client.failed(arguments, format!("unexpected answer: {error}")))?;
        let hard = |resource| rustix::process::getrlimit(resource).maximum;
        facts.descriptors = hard(rustix::process::Resource::Nofile);
        facts.processes = hard(rustix::process::Resource::Nproc);
        Ok(facts)
    }

    /// Reads the answer to `info`; this process's limits stay unknown.
    pub(super) fn parse(kind: Kind, text: &str) -> Result<Self, serde_json::Error> {
        match kind {
            Kind::Podman => serde_json::from_str::<Podman>(text).map(Into::into),
            Kind::Docker => serde_json::from_str::<Docker>(text).map(Into::into),
        }
    }

    /// Major and minor version; zeros where it cannot be read.
    pub fn number(&self) -> (u32, u32) {
        let mut parts = self.version.split(['.', '-', '+']).map_while(|part| part.parse().ok());
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
}

fn docker_error(stdout: &str) -> Option<String> {
    let value: Value = serde_json::from_str(stdout).ok()?;
    let errors: Vec<&str> = value.get("ServerErrors")?.as_array()?.iter().filter_map(Value::as_str).collect();
    (!errors.is_empty()).then(|| errors.join("; "))
}

/// `podman info`, versions 3 to 5: the parts that are read.
#[derive(Deserialize)]
struct Podman {
    host: PodmanHost,
    version: PodmanVersion,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodmanHost {
    #[serde(default)]
    cgroup_version: String,
    /// Null where none may be used; missing before podman 3.2.
    cgroup_controllers: Option<Vec<String>>,
    #[serde(default)]
    service_is_remote: bool,
    #[serde(default)]
    oci_runtime: PodmanRuntime,
    #[serde(default)]
    security: PodmanSecurity,
}

#[derive(Deserialize, Default)]
struct PodmanRuntime {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct PodmanSecurity {
    #[serde(default)]
    rootless: bool,
    #[serde(default, rename = "selinuxEnabled")]
    selinux: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PodmanVersion {
    version: String,
}

impl From<Podman> for Facts {
    fn from(info: Podman) -> Self {
        let host = info.host;
        let cgroup_version = if host.cgroup_version == "v2" { 2 } else { 1 };
        // An ordinary user has no say in version 1, whatever is listed.
        let possible = cgroup_version == 2 || !host.security.rootless;
        let has = |name: &str| {
            possible && host.cgroup_controllers.as_ref().is_none_or(|all| all.iter().any(|one| one == name))
        };
        Self {
            version: info.version.version,
            rootless: host.security.rootless,
            remote: host.service_is_remote,
            cgroup_version,
            limits: CanLimit { memory: has("memory"), pids: has("pids"), cpus: has("cpu") },
            runtime: host.oci_runtime.name,
            selinux: host.security.selinux,
            ..Self::default()
        }
    }
}

/// `docker info`: the parts that are read.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Docker {
    #[serde(default)]
    server_version: String,
    #[serde(default)]
    cgroup_version: String,
    #[serde(default)]
    memory_limit: bool,
    #[serde(default)]
    pids_limit: bool,
    #[serde(default)]
    cpu_cfs_quota: bool,
    #[serde(default)]
    default_runtime: String,
    #[serde(default)]
    security_options: Option<Vec<String>>,
    #[serde(default)]
    operating_system: String,
}

impl From<Docker> for Facts {
    fn from(info: Docker) -> Self {
        let options = info.security_options.unwrap_or_default();
        let has = |name: &str| {
            let wanted = format!("name={name}");
            options.iter().any(|option| option.split(',').any(|part| part == wanted))
        };
        Self {
            version: info.server_version,
            rootless: has("rootless"),
            remote: info.operating_system.starts_with("Docker Desktop"),
            cgroup_version: if info.cgroup_version == "2" { 2 } else { 1 },
            limits: CanLimit { memory: info.memory_limit, pids: info.pids_limit, cpus: info.cpu_cfs_quota },
            runtime: info.default_runtime,
            selinux: has("selinux"),
            remapped: has("userns"),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const PODMAN: &str = r#"{"host": {"arch": "amd64", "cgroupManager": "cgroupfs", "cgroupVersion": "v1",
        "cgroupControllers": ["cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "pids"],
        "networkBackend": "netavark", "ociRuntime": {"name": "crun", "path": "/usr/bin/crun"},
        "serviceIsRemote": false, "security": {"apparmorEnabled": false, "rootless": false,
        "seccompEnabled": true, "selinuxEnabled": false}, "slirp4netns": {"executable": ""}},
        "store": {}, "registries": {}, "version": {"APIVersion": "4.3.1", "Version": "4.3.1", "Built": 0}}"#;

    #[test]
    fn podman_as_root_can_limit_everything() {
        let facts = Facts::parse(Kind::Podman, PODMAN).unwrap();
        assert_eq!(facts.number(), (4, 3));
        assert_eq!(facts.limits, CanLimit { memory: true, pids: true, cpus: true });
        assert_eq!(facts.runtime, "crun");
        assert!(!facts.rootless && !facts.remote && !facts.selinux);
    }

    #[test]
    fn podman_as_a_user_can_limit_what_is_delegated_to_it() {
        let user = PODMAN.replace("\"rootless\": false", "\"rootless\": true");
        assert_eq!(Facts::parse(Kind::Podman, &user).unwrap().limits, CanLimit::default());
        let delegated = user.replace("\"v1\"", "\"v2\"").replace(
            r#"["cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "pids"]"#,
            r#"["memory", "pids"]"#,
        );
        let limits = Facts::parse(Kind::Podman, &delegated).unwrap().limits;
        assert_eq!(limits, CanLimit { memory: true, pids: true, cpus: false });
    }

    #[test]
    fn an_early_podman_names_no_controllers() {
        let text = r#"{"host": {"cgroupVersion": "v2", "ociRuntime": {"name": "crun"},
            "security": {"rootless": true}}, "version": {"Version": "3.0.1"}}"#;
        let facts = Facts::parse(Kind::Podman, text).unwrap();
        assert_eq!(facts.number(), (3, 0));
        assert!(facts.limits.memory);
    }

    #[test]
    fn docker_says_it_in_security_options() {
        let text = r#"{"ServerVersion": "20.10.24+dfsg1", "CgroupVersion": "1", "MemoryLimit": true, "PidsLimit": true,
            "CpuCfsQuota": true, "DefaultRuntime": "runc", "Runtimes": {"io.containerd.runc.v2": {"path": "runc"},
            "runc": {"path": "runc"}}, "SecurityOptions": ["name=seccomp,profile=default"],
            "OperatingSystem": "Debian GNU/Linux 12 (bookworm)", "Swarm": {"NodeID": ""}}"#;
        let facts = Facts::parse(Kind::Docker, text).unwrap();
        assert_eq!(facts.number(), (20, 10));
        assert!(!facts.rootless && !facts.remapped && !facts.selinux && facts.limits.cpus);
        let other = text.replace(
            r#""name=seccomp,profile=default""#,
            r#""name=seccomp,profile=builtin", "name=rootless", "name=selinux", "name=userns", "name=cgroupns""#,
        );
        let facts = Facts::parse(Kind::Docker, &other).unwrap();
        assert!(facts.rootless && facts.remapped && facts.selinux);
    }

    #[test]
    fn an_answer_that_is_none_is_an_error() {
        assert!(Facts::parse(Kind::Podman, "{}").is_err());
        assert!(Facts::parse(Kind::Docker, "Cannot connect").is_err());
        assert_eq!(docker_error(r#"{"ServerErrors": ["no daemon"]}"#).as_deref(), Some("no daemon"));
    }
}
