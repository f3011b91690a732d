//! What a container is like from inside.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use npxc::runtime::{Access, Launch, LimitHit, Limits, Mount, Status};

use super::world::{exited, output, run, sh, start, try_start, wait, world};

#[test]
fn a_command_runs_with_its_own_stdio_and_its_exit_status() {
    let Some(world) = world() else { return };
    let mut running = start(&world.engine(), &sh("read line; echo out $line; echo err >&2; exit 7"));
    running.stdin.take().unwrap().write_all(b"word\n").unwrap();
    assert_eq!(wait(&mut running.guest).unwrap(), exited(7));
    // The same again, as often as it is asked.
    assert_eq!(wait(&mut running.guest).unwrap(), exited(7));
    assert_eq!(std::io::read_to_string(&mut running.stdout).unwrap(), "out word\n");
    assert_eq!(std::io::read_to_string(&mut running.stderr).unwrap(), "err\n");
}

#[test]
fn node_runs_by_name_and_a_missing_program_is_named() {
    let Some(world) = world() else { return };
    let launch = super::world::launch(&["node", "-e", "console.log(require('os').userInfo().homedir)"]);
    let (ended, out, err) = run(&world.engine(), &launch);
    assert_eq!((ended, out.as_str()), (exited(0), "/home/user\n"), "{err}");
    let mut running = start(&world.engine(), &super::world::launch(&["no-such-program"]));
    let error = wait(&mut running.guest).unwrap_err();
    assert!(error.to_string().contains("no-such-program"), "{error}");
}

#[test]
fn nothing_is_left_to_be_used() {
    let Some(world) = world() else { return };
    let engine = world.engine();
    let status = output(&engine, "cat /proc/self/status; id -u");
    for field in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert!(status.contains(&format!("{field}:\t0000000000000000")), "{status}");
    }
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
    assert!(status.ends_with(&format!("{}\n", engine.workload().unwrap().0)), "{status}");
    // The control socket is gone, and its directory is not for the workload.
    assert_eq!(
        output(
            &engine,
            "cat /npxc-*/run/control 2>&1; echo x > $(echo /npxc-*/run)/y 2>/dev/null || echo no"
        )
        .lines()
        .last(),
        Some("no")
    );
    assert_eq!(output(&engine, "echo x > /usr/bin/x 2>/dev/null || echo no"), "no\n");
    // Nothing of it stands where a process could read it.
    let engine_words = output(&engine, "tr '\\0' ' ' < /proc/1/cmdline");
    let own = engine_words.split_once("/guest").unwrap().0;
    assert_eq!(engine_words.trim(), format!("{own}/guest enter {own}/run/control"));
    // Nobody can know it beforehand: 122 random bits.
    let id = own.strip_prefix("/npxc-").unwrap().parse::<uuid::Uuid>().unwrap();
    assert_eq!(id.get_version_num(), 4);
}

#[test]
fn there_is_one_interface_and_one_resolver() {
    let Some(world) = world() else { return };
    let text =
        output(&world.engine(), "ls /sys/class/net; cat /etc/resolv.conf /etc/hosts; cat /proc/net/route");
    let interfaces: Vec<&str> = text.lines().take_while(|line| !line.starts_with("nameserver")).collect();
    assert_eq!(interfaces.len(), 2, "{text}");
    assert!(
        text.contains("nameserver 198.18.0.1") && text.contains("nameserver fd6e:7078:6300::1"),
        "{text}"
    );
    assert!(text.contains("localhost"), "{text}");
}

#[test]
fn mounts_and_files_are_where_they_shall_be_and_no_more_writable() {
    let Some(world) = world() else { return };
    let engine = world.engine();
    let (user, _) = engine.workload().unwrap();
    let directory = tempfile::tempdir_in(&world.directory).unwrap();
    // What a rootless engine's user owns is the workload's inside.
    let own = std::env::var_os(super::world::KIND).is_some_and(|kind| kind == "podman");
    let make = |name: &str| {
        let path = directory.path().join(name);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), "host\n").unwrap();
        if !own {
            std::os::unix::fs::chown(&path, Some(user), Some(user)).unwrap();
        }
        path
    };
    let mount = |host: PathBuf, guest: &str, access| Mount { host, guest: guest.into(), access };
    let writable = make("writable");
    let launch = Launch {
        mounts: vec![
            mount(make("read"), "/opt/read", Access::ReadOnly),
            mount(writable.clone(), "/home/user/work", Access::ReadWrite),
        ],
        files: vec![
            (PathBuf::from("/home/user/.npmrc"), b"secret=1\n".to_vec()),
            (PathBuf::from("/etc/npxc/extra.pem"), b"pem\n".to_vec()),
        ],
        ..sh(
            "cat /opt/read/file /home/user/work/file ~/.npmrc /etc/npxc/extra.pem; echo new > ~/work/new; echo ok > ~/own; \
              cat ~/own; echo x > /tmp/x && rm /tmp/x; echo x > /opt/read/new || echo refused; echo x >> ~/.npmrc || echo refused",
        )
    };
    let (ended, out, err) = run(&engine, &launch);
    assert_eq!(ended, exited(0), "{out}\n{err}");
    assert_eq!(out, "host\nhost\nsecret=1\npem\nok\nrefused\nrefused\n", "{err}");
    assert_eq!(fs::read_to_string(writable.join("new")).unwrap(), "new\n");
    assert_eq!(
        fs::metadata(writable.join("new")).unwrap().uid(),
        if own { rustix::process::getuid().as_raw() } else { user }
    );
}

/// Whoever may rename a directory on the way can do it between npxc's look and the engine's.
#[test]
fn a_mount_that_was_replaced_meanwhile_is_refused() {
    let Some(world) = world() else { return };
    let directory = tempfile::tempdir_in(&world.directory).unwrap();
    let at = |name: &str| directory.path().join(name);
    for name in ["shared", "other"] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("file"), name).unwrap();
    }
    let engine = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|path| path.join(world.kind.as_str()))
        .find(|path| path.is_file());
    let script = format!(
        "#!/bin/sh\ncase \" $* \" in *' run '*) cd '{}' && [ -e gone ] || {{ mv shared gone && mv other shared; }} ;; esac\nexec '{}' \"$@\"\n",
        directory.path().display(),
        engine.unwrap().display()
    );
    fs::write(at("engine"), script).unwrap();
    fs::set_permissions(at("engine"), fs::Permissions::from_mode(0o755)).unwrap();
    let engine = world.engine().program(at("engine"), world.arguments.clone());
    let mounts = vec![Mount { host: at("shared"), guest: "/data".into(), access: Access::ReadOnly }];
    let Err(error) = try_start(&engine, &Launch { mounts, ..sh("cat /data/file") }) else {
        panic!("{} was mounted", fs::read_to_string(at("shared/file")).unwrap());
    };
    assert!(error.to_string().contains("was replaced"), "{error}");
    assert_eq!(fs::read_to_string(at("shared/file")).unwrap(), "other", "nothing was replaced");
}

#[test]
fn private_directories_above_a_mount_do_not_matter() {
    let Some(world) = world() else { return };
    let directory = tempfile::tempdir_in(&world.directory).unwrap();
    let shared = directory.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("file"), "seen\n").unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let mounts = vec![Mount { host: shared, guest: "/data".into(), access: Access::ReadOnly }];
    let (_, out, err) = run(&world.engine(), &Launch { mounts, ..sh("cat /data/file") });
    assert_eq!(out, "seen\n", "{err}");
}

#[test]
fn a_socket_and_npxcs_own_places_are_not_mounted() {
    let Some(world) = world() else { return };
    let directory = tempfile::tempdir_in(&world.directory).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(directory.path().join("agent")).unwrap();
    let refuse = |host: PathBuf, guest: &str| {
        let mounts = vec![Mount { host, guest: guest.into(), access: Access::ReadOnly }];
        let error = super::world::try_start(&world.engine(), &Launch { mounts, ..sh("true") }).err().unwrap();
        error.to_string()
    };
    assert!(refuse(directory.path().into(), "/data").contains("unix socket"));
    let empty = tempfile::tempdir_in(&world.directory).unwrap();
    for own in ["/npxc", "/npxc/run", "/npxc-0", "/npxc-0/guest"] {
        assert!(refuse(empty.path().into(), own).contains("the sandbox's own"), "{own}");
    }
}

#[test]
fn scratch_space_has_its_size() {
    let Some(world) = world() else { return };
    let limits = Limits { scratch: 1 << 20, ..sh("").limits };
    for path in ["/tmp", "/home/user"] {
        let script = format!(
            "head -c 4000000 /dev/zero > {path}/large; stat -c %s {path}/large 2>/dev/null || wc -c < {path}/large"
        );
        let (_, out, _) = run(&world.engine(), &Launch { limits: limits.clone(), ..sh(&script) });
        let size: u64 = out.trim().parse().unwrap();
        assert!(size <= 1 << 20, "{path}: {size}");
    }
}

#[test]
fn more_memory_than_allowed_is_the_reason_given() {
    let Some(world) = world() else { return };
    let limits = Limits { memory: 128 << 20, ..sh("").limits };
    let script = "const a = []; for (;;) { a.push(Buffer.alloc(8 << 20, 1)); }";
    let launch = Launch { limits, ..super::world::launch(&["node", "-e", script]) };
    let (ended, out, err) = run(&world.engine(), &launch);
    assert_eq!(ended.limit, Some(LimitHit::Memory), "{ended:?}\n{out}\n{err}");
    assert_ne!(ended.status, Status::Exited(0));
    assert!(!std::path::Path::new("oom").exists(), "podman's monitor writes where it was started");
}

#[test]
fn limits_are_required_or_their_absence_is_said() {
    let Some(world) = world() else { return };
    let engine = world.engine();
    let holds = engine.facts().unwrap().limits.memory;
    let limits = Limits { chosen: true, ..sh("").limits };
    let running = start(&engine, &Launch { limits, ..sh("true") });
    let said = running.guest.warnings().iter().any(|warning| warning.contains("cannot limit"));
    assert_eq!(said, !holds, "{:?}", running.guest.warnings());
    drop(running);
    let strict = super::world::try_start(&world.engine().require_limits(true), &sh("true"));
    match strict {
        Ok(_) => assert!(holds),
        Err(error) => assert!(!holds && error.to_string().contains("require_limits"), "{error}"),
    }
}
