//! How an engine has to be asked on this host, learnt from what it refused. Pure: a refusal in, another manner out.
//!
//! `info` does not say that crun refuses hybrid control groups, that a limit above the daemon's own is refused, or
//! that nobody delegated a control group. The engine's answer to `run` does.

use serde::{Deserialize, Serialize};

use super::{CanLimit, Facts};

/// Deviations from the plain way; each one was made necessary by a refusal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Manner {
    /// An OCI runtime by name, instead of the engine's own choice.
    pub runtime: Option<String>,
    /// No memory, process or CPU limits: npxc watches memory and processes itself.
    pub unlimited: bool,
    /// No control group at all (podman with crun).
    pub no_cgroups: bool,
    /// Descriptors and processes limited to [`FEW`].
    pub few: bool,
}

/// What may be asked for on any host: every Linux starts its services with at least this.
pub(super) const FEW: u64 = 1024;

/// The engine's answer when it lacks what it was asked for.
const RUNTIMES: [&str; 2] = ["crun", "runc"];

impl Manner {
    /// Limits that an engine holds when it is asked so.
    pub(super) fn limits(&self, facts: &Facts) -> CanLimit {
        if self.gives_limits_up() { CanLimit::default() } else { facts.limits }
    }

    /// Whether the engine is asked for no limits although it says that it has them.
    pub(super) fn gives_limits_up(&self) -> bool {
        self.unlimited || self.no_cgroups
    }

    /// Another way to ask after `said`, which has to be the engine's own words and nothing of a container's, if there is one left that could help. Every step changes something for good, so
    /// asking again and again ends.
    pub(super) fn after(&self, facts: &Facts, said: &str) -> Option<Self> {
        let said = said.to_lowercase();
        let mut next = self.clone();
        if said.contains("rlimit") {
            next.few = true;
        } else if said.contains("runtime") && said.contains("not found") && !said.contains("executable file")
        {
            // The other runtime is not installed: what is left is the first one without control groups.
            next.runtime = None;
            next.unlimited = true;
            next.no_cgroups = true;
        } else if said.contains("cgroup") || said.contains("oci runtime error") && said.contains("systemd") {
            let other = RUNTIMES.into_iter().find(|name| *name != facts.runtime).unwrap_or("runc");
            let swappable = RUNTIMES.contains(&facts.runtime.as_str());
            if swappable
                && self.runtime.is_none()
                && !self.no_cgroups
                && said.contains(facts.runtime.as_str())
            {
                next.runtime = Some(other.to_owned());
            } else if self.unlimited {
                next.no_cgroups = true;
                next.runtime = None;
            } else {
                next.unlimited = true;
            }
        }
        (next != *self).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn crun() -> Facts {
        Facts { runtime: "crun".into(), ..Facts::default() }
    }

    const HYBRID: &str = "Error: OCI runtime error: crun: cgroups in hybrid mode not supported, drop all controllers from cgroupv2";

    #[test]
    fn crun_on_hybrid_control_groups_makes_room_for_runc() {
        let manner = Manner::default().after(&crun(), HYBRID).unwrap();
        assert_eq!(manner, Manner { runtime: Some("runc".into()), ..Manner::default() });
        // Without runc there are no limits at all.
        let missing = r#"Error: default OCI runtime "runc" not found: invalid argument"#;
        let manner = manner.after(&crun(), missing).unwrap();
        assert_eq!(manner, Manner { unlimited: true, no_cgroups: true, ..Manner::default() });
        assert_eq!(manner.after(&crun(), HYBRID), None);
    }

    #[test]
    fn a_limit_above_the_hard_limit_is_lowered_once() {
        for said in [
            "Error: crun: setrlimit `RLIMIT_NOFILE`: Operation not permitted: OCI permission denied",
            "docker: Error response from daemon: failed to create shim task: OCI runtime create failed: runc create \
             failed: unable to start container process: error during container init: error setting rlimits for ready \
             process: error setting rlimit type 7: operation not permitted: unknown",
        ] {
            let manner = Manner::default().after(&crun(), said).unwrap();
            assert_eq!(manner, Manner { few: true, ..Manner::default() });
            assert_eq!(manner.after(&crun(), said), None);
        }
    }

    #[test]
    fn limits_that_nobody_delegated_are_given_up() {
        let facts = Facts { runtime: "runc".into(), ..Facts::default() };
        let said = "failed to write 1073741824: open /sys/fs/cgroup/user.slice/memory.max: permission denied: cgroup";
        let manner = Manner::default().after(&facts, said).unwrap();
        assert_eq!(manner, Manner { unlimited: true, ..Manner::default() });
    }

    #[test]
    fn what_has_nothing_to_do_with_it_changes_nothing() {
        for said in ["Error: nosuch:image: image not known", "", "executable file not found in $PATH"] {
            assert_eq!(Manner::default().after(&crun(), said), None);
        }
    }

    #[test]
    fn every_series_of_refusals_ends() {
        let words = [HYBRID, "RLIMIT_NOFILE", "cgroup", "OCI runtime \"runc\" not found", "runc: cgroup"];
        for start in 0..words.len() {
            for step in 1..words.len() {
                let mut manner = Manner::default();
                let mut count = 0;
                for turn in 0..50 {
                    let Some(next) = manner.after(&crun(), words[(start + turn * step) % words.len()]) else {
                        break;
                    };
                    manner = next;
                    count += 1;
                }
                assert!(count < 10, "{start} {step}");
            }
        }
    }
}
