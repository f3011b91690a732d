//! What a file of the host's keeps when it is written, and what npxc leaves beside it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;

use super::super::replace::{Fresh, Site, Standing, standing};
use super::writing::{codes, collect, names};
use super::*;

/// Changes the package's copy of a file, and has it collected.
fn rewrite(workspace: &mut Workspace, name: &str, text: &str) -> Vec<Unsaved> {
    let answer = share(workspace, name);
    fs::write(copy(workspace, &answer), text).unwrap();
    collect(workspace, &[&answer])
}

#[cfg(target_os = "linux")]
mod attributes {
    use rustix::fs::{XattrFlags, getxattr, removexattr, setxattr};
    use rustix::io::Errno;

    use super::*;

    const ACL: &str = "system.posix_acl_access";
    const CAPABILITY: &str = "security.capability";
    const INHERITED: &str = "system.posix_acl_default";

    /// `user::rw-, user:1234:PERMISSIONS, group::r--, mask::rw-, other::---` as the kernel keeps it (acl(5)).
    fn list(permissions: u16) -> Vec<u8> {
        const NOBODY: u32 = u32::MAX;
        let entries =
            [(1, 6, NOBODY), (2, permissions, 1234), (4, 4, NOBODY), (16, 6, NOBODY), (32, 0, NOBODY)];
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, allowed, id) in entries {
            bytes.extend(u16::to_le_bytes(tag));
            bytes.extend(u16::to_le_bytes(allowed));
            bytes.extend(u32::to_le_bytes(id));
        }
        bytes
    }

    fn value(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
        let mut bytes = vec![0; 1024];
        let length = getxattr(path, name, &mut bytes[..])?;
        bytes.truncate(length);
        Ok(bytes)
    }

    #[test]
    fn a_file_that_is_written_keeps_its_list_and_its_attributes() {
        let world = World::new();
        let mut workspace = world.writable();
        let file = world.cwd.join("in.txt");
        setxattr(&file, "user.note", b"mine", XattrFlags::empty()).unwrap();
        setxattr(&file, ACL, &list(6), XattrFlags::empty()).unwrap();
        if rustix::process::geteuid().is_root() {
            // CAP_CHOWN, permitted and effective: version 2 of `struct vfs_cap_data`.
            let capability: Vec<u8> = [0x0200_0001_u32, 1, 0, 0, 0].map(u32::to_le_bytes).concat();
            setxattr(&file, CAPABILITY, &capability, XattrFlags::empty()).unwrap();
        }
        assert_eq!(rewrite(&mut workspace, "in.txt", "written"), []);
        assert_eq!(fs::read(&file).unwrap(), b"written");
        assert_eq!(value(&file, "user.note").unwrap(), b"mine");
        assert_eq!(value(&file, ACL).unwrap(), list(6));
        assert_eq!(value(&file, CAPABILITY), Err(Errno::NODATA), "another program is not to have it");
        // One that its directory gives to new files is not this one's.
        removexattr(&file, ACL).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o660)).unwrap();
        setxattr(&world.cwd, INHERITED, &list(6), XattrFlags::empty()).unwrap();
        assert_eq!(rewrite(&mut workspace, "in.txt", "again"), []);
        assert_eq!(fs::read(&file).unwrap(), b"again");
        assert_eq!(value(&file, ACL), Err(Errno::NODATA), "nobody has more than before");
        assert_eq!(value(&file, "user.note").unwrap(), b"mine");
    }
}

#[test]
fn a_file_with_other_names_is_left_as_it_is() {
    let world = World::new();
    let mut workspace = world.writable();
    let (file, other) = (world.cwd.join("in.txt"), world.home.join("other name"));
    fs::hard_link(&file, &other).unwrap();
    let unsaved = rewrite(&mut workspace, "in.txt", "the package's");
    assert_eq!(codes(&unsaved), ["not-saved"]);
    let kept = world.cwd.join("in.txt.npxc-1");
    let reason = &unsaved[0].refusal.reason;
    assert!(reason.contains("hard link") && reason.contains(kept.to_str().unwrap()), "{reason}");
    assert_eq!(fs::read(&kept).unwrap(), b"the package's");
    let inode = |path: &Path| rustix::fs::stat(path).unwrap().st_ino;
    assert_eq!((fs::read(&file).unwrap(), inode(&file)), (b"inside".to_vec(), inode(&other)));
}

/// How far it had come.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Written,
    /// The user's old file is beside.
    Exchanged,
    /// And it had changed in between.
    ExchangedWithAnother,
}

#[test]
fn what_a_killed_npxc_left_beside_a_file_is_taken_away_by_the_next_one() {
    let world = World::new();
    let parent = beneath::directory(&world.cwd).unwrap();
    let name = OsStr::new("in.txt");
    let left = || -> Vec<String> {
        names(&world.cwd).into_iter().filter(|name| name.starts_with(".npxc-")).collect()
    };
    for at in [At::Written, At::Exchanged, At::ExchangedWithAnother] {
        fs::write(world.cwd.join(name), "old").unwrap();
        let workspace = world.writable();
        let site = Site { parent: &parent, path: Some(&world.cwd), journal: &workspace.shelf.journal };
        let Standing::File(there, stat) = standing(&parent, name).unwrap() else { panic!() };
        let mut source = tempfile::tempfile().unwrap();
        let mut fresh = Fresh::write(site, &mut source, 100, Some((&there, &stat))).unwrap();
        if at == At::ExchangedWithAnother {
            fs::write(world.cwd.join(name), "the user's newer one").unwrap();
        }
        if at != At::Written {
            fresh.begin_over(name, &stat).unwrap();
        }
        assert_eq!(left().len(), 1, "{at:?}");
        // It is killed: nothing is dropped but its lock.
        std::mem::forget(fresh);
        for lease in world.leases.borrow_mut().drain(..) {
            lease.abandon();
        }
        drop(workspace);
        drop(world.here());
        if at == At::ExchangedWithAnother {
            assert_eq!(fs::read(world.cwd.join(&left()[0])).unwrap(), b"the user's newer one");
        } else {
            assert_eq!(left(), [""; 0], "{at:?}");
        }
        assert_eq!(
            fs::read(world.cwd.join(name)).unwrap(),
            if at == At::Written { b"old" } else { b"".as_slice() }
        );
    }
}

#[test]
fn what_has_such_a_name_elsewhere_stays() {
    let world = World::new();
    let session = world.cache.join("shared/dead");
    fs::create_dir_all(&session).unwrap();
    fs::create_dir(world.home.join("elsewhere")).unwrap();
    symlink(world.home.join("elsewhere"), world.cwd.join("swapped")).unwrap();
    for (path, kept) in [
        (world.cwd.join("swapped/.npxc-1"), world.home.join("elsewhere/.npxc-1")),
        (world.cwd.join("in.txt"), world.cwd.join("in.txt")),
    ] {
        fs::write(&kept, "somebody's").unwrap();
        fs::write(session.join("lock"), "").unwrap();
        fs::create_dir_all(session.join("files")).unwrap();
        super::super::journal::Journal::new(&session).note(&path, &[]);
        drop(world.here());
        assert!(!session.exists(), "it was swept");
        assert!(kept.exists(), "{kept:?}");
        fs::create_dir_all(&session).unwrap();
    }
}

#[test]
fn a_directory_is_recorded_before_it_is_made() {
    let world = World::new();
    let mut workspace = world.writable();
    let answers = [share(&mut workspace, "one/two/new.txt"), share(&mut workspace, "empty")];
    let write = |answer: &Answer| {
        let copied = copy(&workspace, answer);
        fs::create_dir_all(copied.parent().unwrap()).unwrap();
        fs::write(copied, "new").unwrap();
    };
    write(&answers[0]);
    fs::create_dir(copy(&workspace, &answers[1])).unwrap();
    // What is recorded is made.
    assert_eq!(collect(&mut workspace, &[&answers[0]]), []);
    assert!(world.cwd.join("one/two/new.txt").exists());
    // No record, no directory.
    let later = share(&mut workspace, "three/new.txt");
    let copied = copy(&workspace, &later);
    fs::create_dir_all(copied.parent().unwrap()).unwrap();
    fs::write(copied, "new").unwrap();
    let log = world.log.path().to_owned();
    drop(world.log);
    assert_eq!(codes(&collect(&mut workspace, &[&later, &answers[1]])), ["unrecorded"; 2]);
    assert_eq!(names(&world.cwd), ["in.txt", "one"]);
    let log = fs::read_to_string(log).unwrap();
    let at = |name: &str| {
        let path = format!("\"path\":\"{}\"", world.cwd.join(name).display());
        log.find(&path).unwrap_or_else(|| panic!("{path} in {log}"))
    };
    assert!(at("one/") < at("one/two/") && at("one/two/") < at("one/two/new.txt"), "{log}");
}

#[test]
fn two_names_never_read_alike_in_the_log() {
    let world = World::new();
    let mut workspace = world.here();
    let tree = world.cwd.join("tree");
    fs::create_dir(&tree).unwrap();
    let raw: [&[u8]; 5] = [b"a\xff", b"a\xfe", "a\u{fffd}".as_bytes(), b"a\\xff", b"a\\\\xff"];
    for name in raw {
        fs::write(tree.join(OsStr::from_bytes(name)), "").unwrap();
    }
    let answer = share(&mut workspace, "tree");
    assert_eq!(fs::read_dir(copy(&workspace, &answer)).unwrap().count(), raw.len());
    let log = world.log.path().to_owned();
    drop(world.log);
    let log = fs::read_to_string(log).unwrap();
    let events: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for field in ["path", "guest"] {
        let said: HashSet<&str> = events.iter().filter_map(|event| event[field].as_str()).collect();
        let mut names: Vec<&str> =
            said.iter().filter_map(|path| path.split_once("/tree/")).map(|(_, name)| name).collect();
        names.sort_unstable();
        assert_eq!(names, ["a\\\\\\\\xff", "a\\\\xff", "a\\xfe", "a\\xff", "a\u{fffd}"], "{log}");
    }
}
