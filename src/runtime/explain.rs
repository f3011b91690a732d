//! What a failed step means in words, and what to do about it.

use std::fs;

use npxc_guest::step::{Failure, Step};
use rustix::io::Errno;

use crate::paths::shell_word;

/// The failure as a sentence.
pub(in crate::runtime) fn sentence(failure: &Failure) -> String {
    let error = match failure.errno {
        0 => String::new(),
        errno => format!(": {}", std::io::Error::from_raw_os_error(errno)),
    };
    let detail = &failure.detail;
    match failure.step {
        Step::Namespaces => format!("cannot create the sandbox's namespaces{error}"),
        Step::IdentityMap => format!("cannot map user ids into the sandbox ({detail}){error}"),
        Step::TunOpen => format!("cannot open {detail}{error}"),
        Step::Proc => format!("cannot mount the sandbox's /proc{error}"),
        Step::Mounts => format!("cannot mount {detail}{error}"),
        Step::Exec => format!("cannot start {detail} in the sandbox{error}"),
        Step::WorkingDirectory => format!("the sandbox has no working directory {detail}{error}"),
        Step::Handshake => format!("no WireGuard handshake between the container and npxc ({detail})"),
        Step::Tunnel => format!("the container's link failed ({detail}){error}"),
        Step::Start
        | Step::Fork
        | Step::Root
        | Step::System
        | Step::Etc
        | Step::Dev
        | Step::Scratch
        | Step::Loopback
        | Step::TunCreate
        | Step::Addresses
        | Step::Ipv6
        | Step::Files
        | Step::Pivot
        | Step::Limits
        | Step::Capabilities
        | Step::Landlock
        | Step::Seccomp
        | Step::User
        | Step::HandOver => format!("cannot build the sandbox: {} ({detail}){error}", name(failure.step)),
    }
}

/// A step's name for people.
pub(super) fn name(step: Step) -> &'static str {
    match step {
        Step::Start => "start of the helper",
        Step::Namespaces => "namespaces",
        Step::IdentityMap => "user id map",
        Step::Fork => "first process",
        Step::Root => "root file system",
        Step::System => "system directories",
        Step::Etc => "/etc",
        Step::Proc => "/proc",
        Step::Dev => "/dev",
        Step::Scratch => "scratch space",
        Step::Loopback => "loopback interface",
        Step::TunOpen => "TUN device",
        Step::TunCreate => "TUN interface",
        Step::Addresses => "addresses and routes",
        Step::Ipv6 => "IPv6",
        Step::Mounts => "mounts",
        Step::Files => "files",
        Step::Pivot => "file system layout",
        Step::Limits => "resource limits",
        Step::Capabilities => "capabilities",
        Step::Landlock => "Landlock",
        Step::Seccomp => "seccomp",
        Step::User => "user",
        Step::Tunnel => "WireGuard",
        Step::Handshake => "WireGuard handshake",
        Step::HandOver => "link",
        Step::WorkingDirectory => "working directory",
        Step::Exec => "command",
    }
}

/// What to do about it, if something can be done.
pub(in crate::runtime) fn hint(failure: &Failure) -> Option<String> {
    hint_on(failure, &Host::read())
}

/// What a hint depends on.
#[derive(Debug, Clone, Default)]
struct Host {
    max_user_namespaces: Option<String>,
    unprivileged_userns: Option<String>,
    apparmor: Option<String>,
    program: String,
}

impl Host {
    fn read() -> Self {
        let setting = |path: &str| {
            fs::read_to_string(format!("/proc/sys/{path}")).ok().map(|value| value.trim().to_owned())
        };
        Self {
            max_user_namespaces: setting("user/max_user_namespaces"),
            unprivileged_userns: setting("kernel/unprivileged_userns_clone"),
            apparmor: setting("kernel/apparmor_restrict_unprivileged_userns"),
            program: std::env::current_exe()
                .map_or_else(|_| "npxc".into(), |path| path.display().to_string()),
        }
    }
}

fn hint_on(failure: &Failure, host: &Host) -> Option<String> {
    // Not every failure has a number, and only a real one is an `Errno`.
    let is = |errno: Errno| failure.errno == errno.raw_os_error();
    let refused = is(Errno::PERM) || is(Errno::ACCESS);
    let text = match failure.step {
        Step::Namespaces if host.max_user_namespaces.as_deref() == Some("0") || is(Errno::NOSPC) => {
            "user namespaces are switched off or used up; raise the number: \
             `sudo sysctl -w user.max_user_namespaces=15000`"
                .into()
        }
        Step::Namespaces if refused && host.unprivileged_userns.as_deref() == Some("0") => {
            "this kernel lets only root make user namespaces; `sudo sysctl -w kernel.unprivileged_userns_clone=1` \
             allows it"
                .into()
        }
        Step::Namespaces if is(Errno::INVAL) || is(Errno::NOSYS) => {
            "this kernel was built without some kind of namespaces; run npxc on one with user, pid, net, mount, ipc, uts \
             and cgroup namespaces"
                .into()
        }
        step if refused && host.apparmor.as_deref() == Some("1") && before_confinement(step) => {
            apparmor(&host.program)
        }
        Step::Namespaces if refused => "something forbids user namespaces: in a container, start it with \
             `--security-opt seccomp=unconfined` or use a container engine from outside; else ask who \
             administrates this machine"
            .into(),
        Step::TunOpen if [Errno::NOENT, Errno::NODEV, Errno::NXIO].into_iter().any(is) => {
            "load the module with `sudo modprobe tun`; in a container, start it with `--device /dev/net/tun`".into()
        }
        Step::TunOpen if refused => "the device is usually open to everyone: `sudo chmod 0666 /dev/net/tun`, until this \
             machine starts again, and for good a udev rule, KERNEL==\"tun\", MODE=\"0666\"; in a container, start it with \
             `--device /dev/net/tun`"
            .into(),
        Step::Proc if refused => "in a container whose /proc is masked the kernel refuses a new one; start it with \
             `--security-opt unmask=ALL` (podman) or `--security-opt systempaths=unconfined` (docker)"
            .into(),
        Step::Root | Step::System if is(Errno::NOSYS) => {
            "the native runtime needs Linux 5.12 or newer".into()
        }
        Step::Exec if is(Errno::NOENT) => {
            "programs are looked up inside the sandbox, which sees the host's /usr and what is mounted".into()
        }
        Step::Handshake => "a firewall on the host may drop UDP that comes from containers: allow it on the interface of \
             the container's network, or use `--link socket`"
            .into(),
        Step::User if is(Errno::INVAL) => "the container has no such user id: with a rootless engine, \
             give your user subordinate ids (`sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER`)"
            .into(),
        Step::Start | Step::Namespaces | Step::IdentityMap | Step::Fork | Step::Root | Step::System | Step::Etc | Step::Proc | Step::Dev | Step::Scratch | Step::Loopback | Step::TunOpen | Step::TunCreate | Step::Addresses | Step::Ipv6 | Step::Mounts | Step::Files | Step::Pivot | Step::Limits | Step::Capabilities | Step::Landlock | Step::Seccomp | Step::User | Step::Tunnel | Step::HandOver | Step::WorkingDirectory | Step::Exec => return None,
    };
    Some(text)
}

/// What to do about an engine's refusal, by its words.
pub(super) fn refusal(said: &str) -> &'static str {
    /// Their words, in lower case, and what helps.
    const KNOWN: [(&[&str], &str); 5] = [
        (
            &["additional uids", "additional gids", "/etc/subuid", "/etc/subgid", "newuidmap", "newgidmap"],
            "give your user subordinate ids: `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER`, \
             then `podman system migrate` (subuid(5))",
        ),
        (
            &["permission denied while trying to connect", "got permission denied", "dial unix"],
            "the engine's socket is not yours: join its group (`sudo usermod -aG docker $USER`, then log in anew; whoever \
             is in it is as good as root), or use `--runtime podman`, which needs none",
        ),
        (&["cannot connect to the docker daemon"], "start the daemon: `sudo systemctl start docker`"),
        (
            &["no space left on device"],
            "make room: `podman system prune` or `docker system prune` tell what they would remove",
        ),
        (
            &["no such image", "image not known", "unable to find image"],
            "pull or build the image first, or give another by `--image`",
        ),
    ];
    let said = said.to_lowercase();
    let known = KNOWN.iter().find(|(words, _)| words.iter().any(|word| said.contains(word)));
    known.map_or("`npxc doctor` tries what an engine has to be able to do", |(_, hint)| hint)
}

/// Steps that need the capabilities which `AppArmor` takes from an unprivileged user namespace.
fn before_confinement(step: Step) -> bool {
    !matches!(
        step,
        Step::Limits
            | Step::Landlock
            | Step::Seccomp
            | Step::User
            | Step::Tunnel
            | Step::Handshake
            | Step::HandOver
            | Step::WorkingDirectory
            | Step::Exec
    )
}

fn apparmor(program: &str) -> String {
    let profile: String =
        apparmor_profile(program).lines().fold(String::new(), |all, line| all + "    " + line + "\n");
    format!(
        "AppArmor restricts user namespaces on this machine (Ubuntu 23.10 and newer). Allow them to this program: write\n\
         \n{profile}\nto /etc/apparmor.d/npxc (`npxc doctor --apparmor | sudo tee /etc/apparmor.d/npxc`) and run \
         `sudo apparmor_parser -r /etc/apparmor.d/npxc`. Whatever may replace the program gets them, too: have it where only \
         root may write (`sudo install {} /usr/local/bin/npxc`), and run that one from the start",
        shell_word(program)
    )
}

/// The profile with which `program` may make user namespaces, and does what it did otherwise.
pub fn apparmor_profile(program: &str) -> String {
    format!(
        "abi <abi/4.0>,\ninclude <tunables/global>\nprofile npxc \"{program}\" flags=(unconfined) {{\n  userns,\n  \
         include if exists <local/npxc>\n}}\n"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn failure(step: Step, errno: i32) -> Failure {
        Failure { step, errno, detail: "/dev/net/tun".into() }
    }

    /// A guest that is killed while it starts has no number to give.
    #[test]
    fn a_failure_without_a_number_has_a_sentence_and_hints_like_any_other() {
        for errno in [0, -1, 5000, i32::MIN] {
            assert_eq!(hint_on(&failure(Step::Start, errno), &Host::default()), None);
            assert!(hint_on(&failure(Step::Handshake, errno), &Host::default()).is_some());
        }
        assert_eq!(sentence(&failure(Step::Namespaces, 0)), "cannot create the sandbox's namespaces");
    }

    #[test]
    fn an_engines_refusal_is_explained_by_its_words() {
        for (said, word) in [
            (
                "Error: keep-id requires additional UIDs or GIDs defined in /etc/subuid and /etc/subgid",
                "--add-subuids",
            ),
            ("cannot set up namespace using \"/usr/bin/newuidmap\": exit status 1", "--add-subuids"),
            ("Got permission denied while trying to connect to the Docker daemon socket", "group"),
            ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", "start"),
            ("write /var/tmp/x: no space left on device", "prune"),
            ("something else", "npxc doctor"),
        ] {
            assert!(refusal(said).contains(word), "{said}: {}", refusal(said));
        }
    }

    #[allow(clippy::unnecessary_wraps)] // the shape of the fields
    fn some(text: &str) -> Option<String> {
        Some(text.into())
    }

    #[test]
    fn apparmor_gets_a_profile_for_this_program_and_no_advice_to_switch_it_off() {
        let host = Host { apparmor: some("1"), program: "/opt/npxc/bin/npxc".into(), ..Host::default() };
        for step in [Step::IdentityMap, Step::Loopback, Step::TunCreate, Step::Root] {
            let hint = hint_on(&failure(step, libc::EPERM), &host).unwrap();
            assert!(hint.contains("profile npxc \"/opt/npxc/bin/npxc\" flags=(unconfined) {"), "{hint}");
            assert!(hint.contains("userns,"), "{hint}");
            assert!(!hint.contains("sysctl"), "{hint}");
            assert!(hint.contains("npxc doctor --apparmor | sudo tee"), "{hint}");
            assert!(hint.contains("Whatever may replace the program gets them, too"), "{hint}");
            assert!(hint.contains("sudo install /opt/npxc/bin/npxc /usr/local/bin/npxc"), "{hint}");
        }
    }

    #[test]
    fn each_way_to_forbid_namespaces_has_its_own_hint() {
        let none = Host { max_user_namespaces: some("0"), ..Host::default() };
        let hint = hint_on(&failure(Step::Namespaces, libc::ENOSPC), &none).unwrap();
        assert!(hint.contains("user.max_user_namespaces"), "{hint}");
        let debian = Host { unprivileged_userns: some("0"), ..Host::default() };
        let hint = hint_on(&failure(Step::Namespaces, libc::EPERM), &debian).unwrap();
        assert!(hint.contains("kernel.unprivileged_userns_clone=1"), "{hint}");
        let container = hint_on(&failure(Step::Namespaces, libc::EPERM), &Host::default()).unwrap();
        assert!(container.contains("in a container"), "{container}");
    }

    #[test]
    fn a_missing_device_and_a_masked_proc_are_named() {
        let host = Host::default();
        let missing = failure(Step::TunOpen, libc::ENOENT);
        assert_eq!(sentence(&missing), "cannot open /dev/net/tun: No such file or directory (os error 2)");
        assert!(hint_on(&missing, &host).unwrap().contains("modprobe tun"));
        assert!(hint_on(&failure(Step::TunOpen, libc::EACCES), &host).unwrap().contains("chmod 0666"));
        assert!(hint_on(&failure(Step::Proc, libc::EPERM), &host).unwrap().contains("unmask=ALL"));
    }
}
