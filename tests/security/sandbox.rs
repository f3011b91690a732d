//! The sandbox itself: system calls, processes, terminals, sockets and files of the host (rows 30, 39).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};

use npxc::audit::Event;
use serde_json::json;

use super::harness::{attack, directory, everyone, give, place, root, sealed};
use super::inside;

#[test]
fn row_39_kernel_interfaces_with_a_history_are_out_of_reach() {
    for who in everyone() {
        let seen = inside::run(who, &["kernel", "processes", "terminal", "namespaces"]).run();
        let [kernel, processes, terminal, namespaces] = [0, 1, 2, 3].map(|at| inside::results(seen.at(at)));
        for (what, result) in &kernel {
            assert!(
                ["EPERM", "EACCES", "ENOSYS"].contains(&result.as_str()) || what.starts_with("set "),
                "{what}: {result}"
            );
            assert_ne!(result, "done", "{what}");
        }
        for (what, result) in &processes {
            assert!(["EPERM", "PermissionDenied"].contains(&result.as_str()), "{what}: {result}");
        }
        for (what, result) in &terminal {
            assert!(result == "EPERM" || what == "/dev/tty", "{what}: {result}");
            assert_ne!(result, "done", "{what}");
        }
        for (what, result) in &namespaces {
            match what.as_str() {
                "CapInh" | "CapPrm" | "CapEff" | "CapBnd" | "CapAmb" => {
                    assert_eq!(result, "0000000000000000", "{what}")
                }
                "NoNewPrivs" => assert_eq!(result, "1"),
                "Seccomp" => assert_eq!(result, "2"),
                "clone3" => assert_eq!(result, "ENOSYS"),
                _ => assert!(result != "done", "{what}: {result}"),
            }
        }
        assert_eq!(seen.code, Some(0), "killing pid 1 from inside is nothing: {seen:?}");
    }
}

#[test]
fn row_39_descriptors_that_npxc_was_started_with_stay_outside() {
    for who in everyone() {
        let (client, kept) = UnixStream::pair().unwrap();
        let inode = rustix::fs::fstat(&client).unwrap().st_ino;
        let secret = place().base.join(format!("descriptor-{who:?}"));
        fs::write(&secret, "secret").unwrap();
        let steps = json!([
            {"do": "tcp", "to": "192.0.2.7", "port": 1},
            {"do": "told"},
            {"do": "run", "code": "
                const fs = require('fs');
                const seen = {};
                for (const pid of fs.readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name))) {
                    try {
                        for (const fd of fs.readdirSync(`/proc/${pid}/fd`)) {
                            try { seen[`${pid}/${fd}`] = fs.readlinkSync(`/proc/${pid}/fd/${fd}`); }
                            catch (error) { seen[`${pid}/${fd}`] = error.code; }
                        }
                    } catch (error) { seen[pid] = error.code; }
                }
                return seen;"},
            // What node opens for itself is closed when it starts another program.
            {"do": "spawn", "argv": ["/bin/ls", "/proc/self/fd"]},
        ]);
        let mut run =
            attack(who, &steps).inherits(client).inherits(fs::File::open(&secret).unwrap()).open().start();
        run.logs(|event| matches!(event, Event::FlowDeny { .. }));
        if root() {
            let holders = holders(run.child.id(), &format!("socket:[{inode}]"));
            assert!(holders.iter().all(|pid| *pid == run.child.id()), "{holders:?}");
            assert_eq!(holders.len(), 1, "npxc itself has it, or nothing was tested");
        }
        run.tell("now");
        let seen = run.finish();
        drop(kept);
        let open: BTreeMap<String, String> = serde_json::from_value(seen.at(2).clone()).unwrap();
        let first: Vec<&String> = open
            .iter()
            .filter(|(at, _)| at.split('/').next() == Some("1"))
            .map(|(_, target)| target)
            .collect();
        assert!(
            !first.is_empty() && first.iter().all(|target| *target == "EACCES"),
            "of process 1: {open:?}"
        );
        assert!(open.len() > 4, "{open:?}");
        for target in open.values() {
            assert!(!target.contains(&inode.to_string()) && !target.contains("descriptor-"), "{open:?}");
        }
        assert_eq!(seen.at(3)["out"], json!("0\n1\n2\n3\n"), "the last is the directory: {seen:?}");
    }
}

/// The processes below `ancestor`, and itself, that have this open.
fn holders(ancestor: u32, target: &str) -> Vec<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
    };
    let below = |pid: &u32| std::iter::successors(Some(*pid), |pid| parent(*pid)).any(|pid| pid == ancestor);
    let has = |pid: &u32| {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        entries.flat_map(|entry| fs::read_link(entry.path())).any(|link| link.to_str() == Some(target))
    };
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(below).filter(has).collect()
}

/// Who may write into a mount must not leave others a program there that runs with the user's rights.
#[test]
fn row_39_nothing_in_a_mount_becomes_setuid() {
    for who in everyone() {
        let shared = directory(who, "setuid");
        let steps = json!([{"do": "run", "code": "
            const fs = require('fs');
            const seen = {};
            const note = (what, act) => { try { act(); seen[what] = 'done'; } catch (error) { seen[what] = error.code; } };
            for (const bits of [0o4000, 0o2000, 0o6000]) {
                const mode = bits | 0o755, name = bits.toString(8), path = `${GIVEN}/${name}`;
                fs.writeFileSync(path, '#!/bin/sh\\n', { mode: 0o644 });
                note(`chmod ${name}`, () => fs.chmodSync(path, mode));
                note(`fchmod ${name}`, () => fs.fchmodSync(fs.openSync(path), mode));
                note(`open ${name}`, () => fs.openSync(`${path}-new`, 'w', mode));
                note(`mkdir ${name}`, () => fs.mkdirSync(`${path}-directory`, { mode }));
            }
            note('plain', () => { fs.chmodSync(`${GIVEN}/4000`, 0o1755); fs.openSync(`${GIVEN}/new`, 'w', 0o755); });
            // Whatever stands in the place of a mode that does not count.
            note('reading', () => fs.openSync(`${GIVEN}/new`, 'r', 0o4755));
            return seen;".replace("${GIVEN}", &shared.display().to_string())}]);
        let mount = format!("{}:rw", shared.display());
        let seen = attack(who, &steps).option("--mount", mount).run();
        let results: BTreeMap<String, String> = serde_json::from_value(seen.at(0).clone()).unwrap();
        assert_eq!(results.len(), 14, "{seen:?}");
        for (what, result) in &results {
            let harmless = ["mkdir", "plain", "reading"].iter().any(|word| what.starts_with(word));
            assert_eq!(result, if harmless { "done" } else { "EPERM" }, "{what}");
        }
        let made = fs::read_dir(&shared).unwrap().map(|entry| entry.unwrap().path());
        let modes: Vec<_> =
            made.map(|path| (rustix::fs::stat(&path).unwrap().st_mode & 0o6000, path)).collect();
        assert!(modes.len() > 3 && modes.iter().all(|(bits, _)| *bits == 0), "{modes:?}");
    }
}

#[test]
fn row_39_unix_sockets_in_mounts_are_refused() {
    for who in everyone() {
        let shared = directory(who, "mount");
        std::fs::create_dir_all(shared.join("deep/er")).unwrap();
        give(who, &shared.join("deep"));
        let socket = shared.join("deep/er/agent.sock");
        let _listener = UnixListener::bind(&socket).unwrap();
        for (mount, what) in [(&shared, "unix socket"), (&socket, "socket")] {
            let seen = attack(who, &json!([])).option("--mount", mount.as_os_str()).run();
            assert!(seen.code != Some(0) && seen.out.is_empty(), "{seen:?}");
            assert!(seen.err.contains(what) && seen.err.contains("npxc: hint: "), "{seen:?}");
        }
        for machine in ["/proc", "/sys", "/dev", "/dev/shm", "/"] {
            let seen = attack(who, &json!([])).option("--mount", format!("{machine}:/mnt/x")).run();
            assert!(seen.code != Some(0) && seen.out.is_empty(), "{machine}: {seen:?}");
        }
        let home = directory(who, "fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            home.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let seen = attack(who, &json!([])).option("--mount", home.as_os_str()).run();
        assert!(seen.code != Some(0) && seen.err.contains("FIFO"), "{seen:?}");
    }
}

#[test]
fn row_39_sockets_of_the_host_cannot_be_reached() {
    use std::os::linux::net::SocketAddrExt;
    for who in everyone() {
        sealed();
        // An abstract socket belongs to a network, a path to whoever sees it.
        let name = format!("npxc-security-{}-{who:?}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let _abstract = UnixListener::bind_addr(&address).unwrap();
        let path = place().base.join(format!("open-{who:?}.sock"));
        let _path = UnixListener::bind(&path).unwrap();
        let steps = json!([
            {"do": "unix", "path": format!("\0{name}")},
            {"do": "unix", "path": path},
            {"do": "unix", "path": "/run/docker.sock"},
            {"do": "unix", "path": "/run/systemd/private"},
            {"do": "unix", "path": "/run/dbus/system_bus_socket"},
            {"do": "unix", "path": "\0/tmp/.X11-unix/X0"},
            {"do": "unix", "path": "/dev/log"},
            {"do": "list", "path": "/run"},
        ]);
        let seen = attack(who, &steps).run();
        for at in 0..7 {
            assert!(["ENOENT", "ECONNREFUSED", "EPERM"].contains(&seen.error(at)), "{at}: {seen:?}");
        }
        assert_eq!(seen.at(7)["names"], json!([]));
    }
}

#[test]
fn row_39_the_file_system_holds_nothing_of_the_hosts_but_its_programs() {
    for who in everyone() {
        let mine = place().base.join(format!("secret-{who:?}"));
        std::fs::write(&mine, "secret").unwrap();
        let reads = [
            "/etc/shadow",
            "/etc/ssh/ssh_host_ed25519_key",
            "/etc/sudoers",
            "/root/.npmrc",
            "/proc/kcore",
            "/proc/kallsyms",
            "/proc/keys",
            "/proc/1/environ",
            "/proc/sys/kernel/core_pattern",
            "/proc/cmdline",
            "/sys/kernel/security",
            "/dev/mem",
            "/dev/kmsg",
            "/dev/sda",
            "/dev/vda",
            "/proc/1/root/etc/shadow",
            "/proc/self/root/../../etc/shadow",
            "/var/lib",
            "/boot",
            "/var/log",
        ];
        let writes = [
            "/usr/bin/npxc-was-here",
            "/etc/passwd",
            "/etc/resolv.conf",
            "/opt/npxc/package/x",
            "/x",
            "/dev/x",
            "/proc/sysrq-trigger",
            "/proc/sys/kernel/core_pattern",
            "/proc/sys/vm/drop_caches",
            "/proc/self/oom_score_adj_x",
            "/var/x",
            "/run/x",
            "/lib/x",
            "/proc/self/uid_map",
        ];
        let mut steps: Vec<_> = reads.iter().map(|path| json!({"do": "read", "path": path})).collect();
        steps.push(json!({"do": "read", "path": mine}));
        steps.extend(writes.iter().map(|path| json!({"do": "write", "path": path})));
        let fixed = steps.len();
        steps.push(json!({"do": "list", "path": "/home"}));
        steps.push(json!({"do": "list", "path": "/"}));
        steps.push(json!({"do": "list", "path": "/proc"}));
        steps.push(json!({"do": "env"}));
        // Set-user-id programs are there, and are ordinary ones.
        steps.push(json!({"do": "spawn", "argv": ["/bin/sh", "-c",
            "find / -xdev -perm -4000 -exec sh -c 'mount | grep nosuid >/dev/null && echo nosuid' \\; 2>/dev/null | sort -u; \
             cp /usr/bin/env /tmp/env && chmod 6755 /tmp/env && /tmp/env id -u; id -u; su -c id root </dev/null"]}));
        let seen = attack(who, &json!(steps))
            .env("NPM_TOKEN", "very-secret")
            .env("AWS_SECRET_ACCESS_KEY", "x")
            .run();
        for at in 0..=reads.len() {
            let path = reads.get(at).unwrap_or(&"the test's own file");
            let empty = seen.at(at)["data"] == json!("");
            let harmless = ["/proc/sys/kernel/core_pattern"].contains(path);
            assert!(
                empty || harmless || seen.at(at)["error"].is_string(),
                "{path}: {} {seen:?}",
                seen.at(at)
            );
        }
        for at in reads.len() + 1..fixed {
            let path = writes[at - reads.len() - 1];
            assert!(seen.at(at)["error"].is_string(), "{path} was written: {seen:?}");
        }
        assert_eq!(seen.at(fixed)["names"], json!(["user"]));
        let processes = seen.at(fixed + 2)["names"].as_array().unwrap();
        let pids = processes.iter().filter(|name| name.as_str().unwrap().bytes().all(|b| b.is_ascii_digit()));
        assert!(pids.count() <= 4, "processes of the sandbox only: {seen:?}");
        let env = &seen.at(fixed + 3)["env"];
        assert!(!env.to_string().contains("secret") && env["AWS_SECRET_ACCESS_KEY"].is_null(), "{env}");
        assert_eq!(seen.at(fixed + 3)["uid"], json!(1000));
        let out = seen.at(fixed + 4)["out"].as_str().unwrap();
        assert!(out.lines().all(|line| line == "1000" || line == "nosuid"), "{out}");
    }
}

#[test]
fn row_39_what_is_mounted_read_only_stays_as_it_is() {
    for who in everyone() {
        let shared = directory(who, "shared");
        std::fs::write(shared.join("file"), "as it was").unwrap();
        std::os::unix::fs::symlink("/etc/shadow", shared.join("link")).unwrap();
        give(who, &shared.join("file"));
        let inside = shared.to_str().unwrap();
        let steps = json!([
            {"do": "read", "path": format!("{inside}/file")},
            {"do": "write", "path": format!("{inside}/file")},
            {"do": "write", "path": format!("{inside}/new")},
            {"do": "read", "path": format!("{inside}/link")},
            {"do": "list", "path": format!("{inside}/..")},
            {"do": "spawn", "argv": ["/bin/sh", "-c", format!("chmod 777 {inside}/file; touch {inside}/file; rm -f {inside}/file; mv {inside}/file {inside}/g; ln {inside}/file {inside}/h")]},
        ]);
        let seen = attack(who, &steps).option("--mount", inside).run();
        assert_eq!(seen.at(0)["data"], json!("as it was"));
        assert_eq!((seen.error(1), seen.error(2)), ("EROFS", "EROFS"));
        assert!(["ENOENT", "EACCES"].contains(&seen.error(3)), "{seen:?}");
        let name = shared.file_name().unwrap().to_str().unwrap();
        assert_eq!(seen.at(4)["names"], json!([name]), "its neighbours are not there");
        assert_eq!(std::fs::read_to_string(shared.join("file")).unwrap(), "as it was");
        assert_eq!(std::fs::read_dir(&shared).unwrap().count(), 2);
    }
}
