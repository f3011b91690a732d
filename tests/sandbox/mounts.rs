//! What of the host is made visible, and what is refused.

use crate::*;

#[test]
fn a_read_only_mount_is_read_only_and_a_writable_one_is_writable() {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("in"), "from the host\n").unwrap();
    let mut launch = sh("cat work/in; echo from the guest > work/out");
    launch.mounts = vec![mount(host.path(), Access::ReadOnly)];
    let (ended, out, err) = run(&launch);
    assert_ne!(ended, exited(0));
    assert_eq!(out, "from the host\n");
    assert!(err.contains("Read-only file system"), "{err}");

    launch.mounts = vec![mount(host.path(), Access::ReadWrite)];
    assert_eq!(run(&launch).0, exited(0));
    assert_eq!(fs::read_to_string(host.path().join("out")).unwrap(), "from the guest\n");
}

#[test]
fn a_single_file_can_be_mounted() {
    let host = tempfile::tempdir().unwrap();
    let file = host.path().join("file");
    fs::write(&file, "old").unwrap();
    let mut launch = sh("cat /opt/some/where; echo new > /opt/some/where");
    launch.mounts =
        vec![Mount { host: file.clone(), guest: "/opt/some/where".into(), access: Access::ReadWrite }];
    let (ended, out, err) = run(&launch);
    assert_eq!(ended, exited(0), "{err}");
    assert_eq!(out, "old");
    assert_eq!(fs::read_to_string(&file).unwrap(), "new\n");
}

#[test]
fn a_mount_point_is_never_made_on_the_host() {
    let host = tempfile::tempdir().unwrap();
    let mut launch = sh("true");
    launch.mounts = vec![
        mount(host.path(), Access::ReadWrite),
        Mount { host: host.path().into(), guest: "/home/user/work/deeper".into(), access: Access::ReadOnly },
    ];
    let error = try_start(&launch).err().unwrap();
    assert!(error.to_string().contains("would have to be created in a directory of the host"), "{error}");
    assert_eq!(fs::read_dir(host.path()).unwrap().count(), 0);
}

#[test]
fn a_symbolic_link_in_a_mount_leads_nowhere_else() {
    let host = tempfile::tempdir().unwrap();
    let target = tempfile::tempdir().unwrap();
    fs::create_dir(host.path().join("real")).unwrap();
    std::os::unix::fs::symlink(target.path(), host.path().join("link")).unwrap();
    let mut launch = sh("true");
    launch.mounts = vec![
        mount(host.path(), Access::ReadWrite),
        Mount { host: "/usr/share".into(), guest: "/home/user/work/link/x".into(), access: Access::ReadOnly },
    ];
    // Resolved inside, the link's target does not exist; it is made on the sandbox's own /tmp or not at all.
    let _ = try_start(&launch).map(drop);
    assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
}

#[test]
fn sockets_fifos_and_the_machine_are_not_mounted() {
    let host = tempfile::tempdir().unwrap();
    let deep = host.path().join("a/b");
    fs::create_dir_all(&deep).unwrap();
    let socket = deep.join("agent.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let mut launch = sh("true");
    for (path, why) in [
        (host.path(), "agent.sock is a unix socket"),
        (&socket, "it is a unix socket"),
        (Path::new("/"), "the whole file system"),
        (Path::new("/proc"), "kernel interfaces"),
        (Path::new("/dev/null"), "kernel interfaces"),
        (Path::new("/no/such/path"), "No such file"),
    ] {
        launch.mounts = vec![mount(path, Access::ReadOnly)];
        let error = try_start(&launch).err().unwrap();
        assert!(error.to_string().contains(why), "{error}");
    }
    for guest in ["/", "/proc", "/proc/sys", "/dev/shm", "/etc", "/usr"] {
        let mut mount = mount(Path::new("/usr/share"), Access::ReadOnly);
        mount.guest = guest.into();
        launch.mounts = vec![mount];
        let error = try_start(&launch).err().unwrap();
        assert!(error.to_string().contains("is the sandbox's own"), "{error}");
    }
    let protected =
        native().directories(KnownDirectories { protected: vec![deep.clone()], ..Default::default() });
    launch.mounts = vec![mount(&host.path().join("a"), Access::ReadOnly)];
    let null = || fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap().into();
    let stdio = || Stdio3 { stdin: null(), stdout: null(), stderr: null() };
    let error = protected.launch(&launch, stdio()).err().unwrap();
    assert!(error.to_string().contains("npxc's own files"), "{error}");
    // Whoever reaches a socket in there may change what sessions may, read-only or not.
    let sockets = host.path().join("a");
    let sealed = native().directories(KnownDirectories { sockets: vec![sockets], ..Default::default() });
    for shown in [host.path().join("a"), deep.clone()] {
        launch.mounts = vec![mount(&shown, Access::ReadOnly)];
        let error = sealed.launch(&launch, stdio()).err().unwrap();
        assert!(error.to_string().contains("npxc's sockets"), "{error}");
    }
}

#[test]
fn files_handed_in_are_there() {
    let mut launch = sh("cat /home/user/.npmrc /etc/npxc.conf; stat -c %a /home/user/.npmrc");
    launch.files =
        vec![("/home/user/.npmrc".into(), b"a=b\n".to_vec()), ("/etc/npxc.conf".into(), b"c\n".to_vec())];
    assert_eq!(run(&launch).1, "a=b\nc\n600\n");
}
