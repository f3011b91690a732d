#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn locked_nested_and_linked_things_go_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
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
    let mut at = rustix::fs::open(&root, OFlags::RDONLY | DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&at, "deep", Mode::RWXU).unwrap();
        at = openat(&at, "deep", OFlags::RDONLY | DIRECTORY, Mode::empty()).unwrap();
    }
    remove(&root, "lock").unwrap();
    assert!(!root.exists());
    assert!(outside.join("file").exists());
    assert_eq!(mode(&outside), 0o755);
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
    assert!(!lift(&top, c"swapped", &mut 0));
    assert_eq!(mode(&outside), 0o755);
    assert!(outside.join("file").exists());
}
