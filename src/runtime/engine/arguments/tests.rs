#![allow(clippy::unwrap_used)]

use super::super::CanLimit;
use super::super::owner::Realm;
use super::*;

fn facts(version: &str) -> Facts {
    Facts {
        version: version.into(),
        cgroup_version: 2,
        limits: CanLimit { memory: true, pids: true, cpus: true },
        runtime: "crun".into(),
        descriptors: Some(20_000),
        processes: Some(9_000),
        ..Facts::default()
    }
}

fn limits() -> Limits {
    Limits { memory: 1 << 30, cpus: Some(1.5), pids: 100, scratch: 1 << 20, ..Limits::default() }
}

fn bounds() -> [Bound; 3] {
    let bound = |host: &str, guest: &str, writable, nested| Bound {
        host: host.into(),
        guest: guest.into(),
        writable,
        nested,
    };
    [
        bound("/home/me/project", "/work", true, true),
        bound("/data", "/data", false, true),
        bound("/s/etc/hosts", "/etc/hosts", false, false),
    ]
}

fn container<'a>(limits: &'a Limits, bounds: &'a [Bound], network: Option<&'a str>) -> Container<'a> {
    Container {
        id: "42",
        owner: Owner { pid: 7, start: 99, realm: Realm { uid: 1000, namespace: 5 } },
        image: "sha256:abc",
        program: Path::new("/s/guest"),
        run: Path::new("/s/run"),
        network,
        identity: (1000, 1000),
        bounds,
        limits,
        extra: &[],
    }
}

fn line(kind: Kind, facts: &Facts, manner: &Manner, container: &Container<'_>) -> Vec<String> {
    let words = arguments(kind, facts, manner, container).unwrap();
    words.into_iter().map(|word| word.into_string().unwrap()).collect()
}

fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(Into::into).collect()
}

#[test]
fn podman_as_root_without_a_network() {
    let (limits, bounds) = (limits(), bounds());
    let expected = split(
        "run --rm --name npxc-42 --label npxc.session=42 --label npxc.pid=7 --label npxc.start=99 --label npxc.realm=1000.5
         --pull never --no-healthcheck --log-driver none --sig-proxy=false --stop-timeout 0 --attach stdout
         --hostname npxc --network none
         --user 0:0 --cap-drop ALL --cap-add NET_ADMIN --cap-add SETUID --cap-add SETGID --cap-add SETPCAP
         --security-opt no-new-privileges --device /dev/net/tun
         --memory 1073741824 --memory-swap 1073741824 --pids-limit 106 --cpus 1.5
         --ulimit core=0:0 --ulimit nofile=20000:20000 --ulimit nproc=9000:9000
         --read-only --read-only-tmpfs=false --image-volume=ignore
         --tmpfs /tmp:rw,exec,nosuid,nodev,size=1048576,mode=1777,notmpcopyup
         --tmpfs /home/user:rw,exec,nosuid,nodev,size=1048576,mode=1777,notmpcopyup
         --mount type=bind,source=/s/guest,target=/npxc-42/guest,readonly
         --mount type=bind,source=/s/run,target=/npxc-42/run,readonly
         --mount type=bind,source=/home/me/project,target=/work
         --mount type=bind,source=/data,target=/data,readonly,bind-nonrecursive
         --mount type=bind,source=/s/etc/hosts,target=/etc/hosts,readonly
         --entrypoint /npxc-42/guest sha256:abc enter /npxc-42/run/control",
    );
    let found = line(Kind::Podman, &facts("4.3.1"), &Manner::default(), &container(&limits, &bounds, None));
    assert_eq!(found, expected);
}

#[test]
fn podman_as_a_user_with_a_network_after_refusals() {
    let limits = limits();
    let facts = Facts { rootless: true, limits: CanLimit::default(), selinux: true, ..facts("5.2.0") };
    let manner = Manner { runtime: Some("runc".into()), few: true, ..Manner::default() };
    let expected = split(
        "--runtime runc run --rm --name npxc-42 --label npxc.session=42 --label npxc.pid=7 --label npxc.start=99 --label npxc.realm=1000.5
         --pull never --no-healthcheck --log-driver none --sig-proxy=false --stop-timeout 0 --attach stdout
         --hostname npxc --network npxc-42
         --user 0:0 --cap-drop ALL --cap-add NET_ADMIN --cap-add SETUID --cap-add SETGID --cap-add SETPCAP
         --cap-add SYS_ADMIN --security-opt no-new-privileges --device /dev/net/tun --security-opt label=disable
         --userns keep-id:uid=1000,gid=1000
         --ulimit core=0:0 --ulimit nofile=1024:1024 --ulimit nproc=1024:1024
         --read-only --read-only-tmpfs=false --image-volume=ignore
         --tmpfs /tmp:rw,exec,nosuid,nodev,size=1048576,mode=1777,notmpcopyup
         --tmpfs /home/user:rw,exec,nosuid,nodev,size=1048576,mode=1777,notmpcopyup
         --mount type=bind,source=/s/guest,target=/npxc-42/guest,readonly
         --mount type=bind,source=/s/run,target=/npxc-42/run,readonly
         --entrypoint /npxc-42/guest sha256:abc enter /npxc-42/run/control",
    );
    let network = name("42");
    let found = line(Kind::Podman, &facts, &manner, &container(&limits, &[], Some(&network)));
    assert_eq!(found, expected);
}

#[test]
fn docker_with_additions_of_the_users_own() {
    let (limits, bounds) = (Limits { cpus: None, ..limits() }, bounds());
    let extra = ["--security-opt".into(), "apparmor=npxc".into()];
    let container = Container { extra: &extra, ..container(&limits, &bounds, None) };
    let manner = Manner { runtime: Some("runc".into()), ..Manner::default() };
    let expected = split(
        "run --runtime runc --rm --name npxc-42 --label npxc.session=42 --label npxc.pid=7 --label npxc.start=99 --label npxc.realm=1000.5
         --pull never --no-healthcheck --log-driver none --sig-proxy=false --stop-timeout 0 --attach stdout
         --hostname npxc --network none
         --user 0:0 --cap-drop ALL --cap-add NET_ADMIN --cap-add SETUID --cap-add SETGID --cap-add SETPCAP
         --security-opt no-new-privileges --device /dev/net/tun
         --memory 1073741824 --memory-swap 1073741824 --pids-limit 106
         --ulimit core=0:0
         --read-only
         --tmpfs /tmp:rw,exec,nosuid,nodev,size=1048576,mode=1777
         --tmpfs /home/user:rw,exec,nosuid,nodev,size=1048576,mode=1777
         --mount type=bind,source=/s/guest,target=/npxc-42/guest,readonly
         --mount type=bind,source=/s/run,target=/npxc-42/run,readonly
         --mount type=bind,source=/home/me/project,target=/work
         --mount type=bind,source=/data,target=/data,readonly,bind-recursive=disabled
         --mount type=bind,source=/s/etc/hosts,target=/etc/hosts,readonly
         --security-opt apparmor=npxc
         --entrypoint /npxc-42/guest sha256:abc enter /npxc-42/run/control",
    );
    assert_eq!(line(Kind::Docker, &facts("28.2.2"), &manner, &container), expected);
}

#[test]
fn limits_that_cannot_be_had_are_not_asked_for() {
    let limits = limits();
    let unlimited = Manner { unlimited: true, no_cgroups: true, ..Manner::default() };
    let found = line(Kind::Podman, &facts("4.9.0"), &unlimited, &container(&limits, &[], None)).join(" ");
    assert!(
        !found.contains("--memory") && !found.contains("--pids-limit") && !found.contains("--cpus"),
        "{found}"
    );
    assert!(found.contains("--cgroups disabled"), "{found}");
    // Unlimited descriptors: there is nothing to stay below.
    let facts = Facts { descriptors: None, processes: None, ..facts("4.9.0") };
    let found = line(Kind::Podman, &facts, &Manner::default(), &container(&limits, &[], None)).join(" ");
    assert!(!found.contains("nofile") && !found.contains("nproc"), "{found}");
}

#[test]
fn an_early_podman_maps_the_user_to_itself() {
    let limits = limits();
    let facts = Facts { rootless: true, ..facts("4.2.0") };
    let found = line(Kind::Podman, &facts, &Manner::default(), &container(&limits, &[], None));
    let at = found.iter().position(|word| word == "--userns").unwrap();
    assert_eq!(found[at + 1], "keep-id");
}

#[test]
fn a_path_that_cannot_be_written_is_refused() {
    let limits = limits();
    let odd = [
        ("/a,readonly=false", "a comma"),
        ("/a\"b", "a quote"),
        ("/a\nb", "a line's end"),
        ("/a\rb", "a carriage return"),
    ];
    for (odd, character) in odd {
        let bounds = [Bound { host: odd.into(), guest: "/x".into(), writable: false, nested: false }];
        let refused =
            arguments(Kind::Docker, &facts("28.0.0"), &Manner::default(), &container(&limits, &bounds, None));
        assert_eq!(refused, Err(Untold { path: odd.into(), character }));
    }
}

#[test]
fn a_rootless_containers_root_is_this_user_by_itself() {
    let limits = limits();
    let facts = Facts { rootless: true, ..facts("4.3.1") };
    let root = Container { identity: (0, 0), ..container(&limits, &[], None) };
    assert!(!line(Kind::Podman, &facts, &Manner::default(), &root).contains(&"--userns".into()));
}
