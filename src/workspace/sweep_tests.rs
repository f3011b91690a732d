#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn locked_nested_and_linked_things_go_and_nothing_else() {
    // Some file systems take a disk's time for each.
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let directory = tempfile::tempdir_in(parent).unwrap();
    let (root, outside) = (directory.path().join("root"), directory.path().join("outside"));
    fs::create_dir_all(root.join("files/locked/inner")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "").unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(root.join("lock"), "").unwrap();
    symlink(&outside, root.join("files/locked/inner/link")).unwrap();
    for name in ["files/locked/inner", "files/locked"] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o0)).unwrap();
    }
    let mut at = rustix::fs::open(root.join("files"), OFlags::RDONLY | DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..15_000 {
        rustix::fs::mkdirat(&at, "deep", Mode::RWXU).unwrap();
        let inner = openat(&at, "deep", OFlags::RDONLY | DIRECTORY, Mode::empty()).unwrap();
        rustix::fs::fchmod(&at, Mode::empty()).unwrap();
        at = inner;
    }
    remove(&root, "lock").unwrap();
    assert!(!root.exists());
    assert!(outside.join("file").exists());
    assert_eq!(mode(&outside), 0o755);
}

#[test]
fn nothing_is_moved_out_of_what_a_guest_sees() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    fs::create_dir_all(root.join("files/1/sub/deep/er")).unwrap();
    fs::write(root.join("lock"), "").unwrap();
    let files = rustix::fs::open(root.join("files"), OFlags::RDONLY | DIRECTORY, Mode::empty()).unwrap();
    assert!(lift(&files, c"1", ".moved-", &mut 0));
    assert!(root.join("files/.moved-1/deep/er").is_dir());
    // What was left half way goes as well; what cannot go stays for the next try.
    fs::create_dir(root.join("last")).unwrap();
    remove(&root, "last").unwrap_err();
    assert!(!root.join("files").exists() && root.join("last").is_dir());
    fs::remove_dir(root.join("last")).unwrap();
    remove(&root, "lock").unwrap();
    assert!(!root.exists());
}

#[test]
fn a_directory_that_becomes_a_link_is_not_entered() {
    let directory = tempfile::tempdir().unwrap();
    let (root, outside) = (directory.path().join("root"), directory.path().join("outside"));
    for path in [&root, &outside] {
        fs::create_dir(path).unwrap();
    }
    fs::write(outside.join("file"), "").unwrap();
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o755)).unwrap();
    let top = rustix::fs::open(&root, OFlags::RDONLY | DIRECTORY, Mode::empty()).unwrap();
    // It was a directory when it was listed.
    symlink(&outside, root.join("swapped")).unwrap();
    assert!(!lift(&top, c"swapped", ".", &mut 0));
    assert_eq!(mode(&outside), 0o755);
    assert!(outside.join("file").exists());
}
