//! Images that are made to do harm: what is in them, and what they are labelled with, decides nothing.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use npxc::runtime::engine::{Image, Kind, image};
use npxc::runtime::{Access, Launch, Mount};

use super::world::{World, exited, run, sh, try_start, wait, world};

/// An image with a shell and nothing else but what `fill` puts into its root; `more` are further lines of its
/// Dockerfile.
fn hostile(world: &World, name: &str, more: &str, fill: impl FnOnce(&Path)) -> Option<Image> {
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    let Some(busybox) = busybox else {
        eprintln!("left out: hostile images (busybox is missing)");
        return None;
    };
    let context = tempfile::tempdir_in(&world.directory).unwrap();
    let root = context.path().join("root");
    for directory in ["bin", "home/user", "proc", "sys", "dev", "etc"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    fs::set_permissions(root.join("bin/busybox"), fs::Permissions::from_mode(0o755)).unwrap();
    for word in ["sh", "cat", "touch", "mkdir", "id"] {
        symlink("busybox", root.join("bin").join(word)).unwrap();
    }
    fill(&root);
    if fs::symlink_metadata(root.join("tmp")).is_err() {
        fs::create_dir(root.join("tmp")).unwrap();
    }
    let text = format!("FROM scratch\nCOPY root/ /\nENV PATH=/bin\n{more}\n");
    fs::write(context.path().join("Dockerfile"), text).unwrap();
    let tag = format!("localhost/npxc-hostile-{name}:test");
    let output = world.command(&["build", "--tag", &tag, context.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(image::ensure(&world.engine(), &tag, &mut |_| {}).unwrap())
}

fn program(path: &Path, script: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn link(root: &Path, at: &str, to: &str) {
    let at = root.join(at);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    symlink(to, at).unwrap();
}

/// Fills an image's root.
type Fill = fn(&Path);

/// A host's directory for a mount, which everybody may write.
fn host(world: &World) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir_in(&world.directory).unwrap();
    let path = directory.path().join("data");
    fs::create_dir(&path).unwrap();
    (directory, path)
}

#[test]
fn a_mount_led_elsewhere_by_the_images_links_does_not_replace_the_guest() {
    let Some(world) = world() else { return };
    let image = hostile(world, "links", "", |root| {
        link(root, "npxc/guest", "/a/b/node_modules/name/guest");
        link(root, "npxc/run", "/a/b/node_modules/name/run");
        link(root, "opt/npxc/package", "/a/b");
        program(&root.join("a/b/node_modules/name/guest"), "echo the image is the guest >&2; exit 1");
        fs::create_dir(root.join("a/b/node_modules/name/run")).unwrap();
    });
    let Some(image) = image else { return };
    let (_held, package) = host(world);
    program(&package.join("node_modules/name/guest"), "echo the package is the guest >&2; exit 1");
    fs::create_dir(package.join("node_modules/name/run")).unwrap();
    let mounts = vec![Mount { host: package, guest: "/opt/npxc/package".into(), access: Access::ReadOnly }];
    let launch = Launch { mounts, ..sh("echo inside; id -u") };
    let engine = world.engine().image(image);
    let (ended, out, err) = run(&engine, &launch);
    let expected = format!("inside\n{}\n", engine.workload().unwrap().0);
    assert_eq!((ended, out), (exited(0), expected), "{err}");
}

#[test]
fn an_images_volume_is_no_room_to_write() {
    let Some(world) = world() else { return };
    let image = hostile(world, "volume", "VOLUME /data /x/y/z", |root| {
        fs::create_dir(root.join("data")).unwrap();
        fs::set_permissions(root.join("data"), fs::Permissions::from_mode(0o777)).unwrap();
        link(root, "x/y/z", "/a/b");
        program(&root.join("a/b/guest"), "exit 1");
    });
    let Some(image) = image else { return };
    let engine = world.engine().image(image);
    let launch = sh("touch /data/file 2>/dev/null || echo refused");
    match world.kind {
        Kind::Podman => assert_eq!(run(&engine, &launch).1, "refused\n"),
        Kind::Docker => {
            let error = try_start(&engine, &launch).unwrap_err();
            assert!(error.to_string().contains("a volume at /data") && error.hint().is_some(), "{error}");
        }
    }
    assert_eq!(world.command(&["volume", "ls", "--quiet"]).stdout, b"");
}

#[test]
fn what_a_container_says_is_not_taken_for_the_engines_refusal() {
    let Some(world) = world() else { return };
    let Some(image) = hostile(world, "words", "", |_| {}) else { return };
    let directory = tempfile::tempdir_in(&world.directory).unwrap();
    let (log, wrapper) = (directory.path().join("log"), directory.path().join("engine"));
    let script = format!("echo \"$@\" >> {}; exec {} \"$@\"", log.display(), world.kind.as_str());
    program(&wrapper, &script);
    let engine = || world.engine().program(wrapper.clone(), world.arguments.clone()).image(image.clone());
    // From here on it is known how the engine has to be asked.
    assert_eq!(run(&engine(), &sh("exit 3")).0, exited(3));
    for status in [1, 125] {
        fs::write(&log, "").unwrap();
        // As if the image had its own program in the guest's place.
        let guest = directory.path().join("guest");
        program(&guest, &format!("echo cgroup cannot be had, nor an rlimit >&2; exit {status}"));
        let error = try_start(&engine().guest(guest), &sh("true")).unwrap_err();
        assert!(!error.to_string().contains("cgroup"), "{error}");
        let asked = fs::read_to_string(&log).unwrap();
        assert_eq!(asked.matches(" run ").count(), 1, "{asked}");
    }
}

#[test]
fn a_hosts_directory_in_the_place_of_scratch_space_keeps_its_mode() {
    let Some(world) = world() else { return };
    // One link leads scratch space to the mount, the other the mount to scratch space.
    let fills: [(&str, Fill); 2] = [
        ("scratch", |root| {
            fs::create_dir_all(root.join("mnt/project")).unwrap();
            link(root, "tmp", "/mnt/project");
        }),
        ("project", |root| link(root, "mnt/project", "/tmp")),
    ];
    for (name, fill) in fills {
        let Some(image) = hostile(world, name, "", fill) else { return };
        // On a tmpfs, as scratch space is.
        let project = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::set_permissions(project.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mount =
            Mount { host: project.path().into(), guest: "/mnt/project".into(), access: Access::ReadWrite };
        // Whether it starts is the engine's affair.
        if let Ok(mut running) =
            try_start(&world.engine().image(image), &Launch { mounts: vec![mount], ..sh("true") })
        {
            running.guest.release().unwrap();
            let _ = wait(&mut running.guest);
        }
        let mode = fs::metadata(project.path()).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o755, "{name}: {mode:o}");
    }
}

#[test]
fn an_image_gives_no_orders_to_the_runtime() {
    let Some(world) = world() else { return };
    if world.kind != Kind::Podman {
        // docker knows no annotations of images.
        return;
    }
    let Some(base) = hostile(world, "base", "", |_| {}) else { return };
    let context = tempfile::tempdir_in(&world.directory).unwrap();
    fs::write(context.path().join("Dockerfile"), format!("FROM {}\n", base.reference)).unwrap();
    let tag = "localhost/npxc-hostile-orders:test";
    let order = ["build", "--annotation", "run.oci.handler=krun", "--tag", tag];
    let output = world.command(&[&order[..], &[context.path().to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let image = image::ensure(&world.engine(), tag, &mut |_| {}).unwrap();
    let error = try_start(&world.engine().image(image), &sh("true")).unwrap_err();
    assert!(error.to_string().contains("run.oci.handler") && error.hint().is_some(), "{error}");
}
