#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;

use super::super::beneath;
use super::*;

/// A directory with the user's file `in.txt`.
fn ground() -> (tempfile::TempDir, OwnedFd) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("in.txt"), "the user's").unwrap();
    let parent = beneath::directory(directory.path()).unwrap();
    (directory, parent)
}

/// No journal is kept.
fn site(parent: &OwnedFd) -> Site<'_> {
    static JOURNAL: std::sync::LazyLock<Journal> = std::sync::LazyLock::new(|| Journal::new(Path::new("/")));
    Site { parent, path: None, journal: &JOURNAL }
}

fn source() -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"the package's").unwrap();
    io::Seek::rewind(&mut file).unwrap();
    file
}

/// What the files of a directory hold.
fn contents(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut texts: Vec<String> =
        entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    texts.sort();
    texts
}

const NAME: &str = "in.txt";

#[test]
#[cfg(target_os = "linux")] // others have no rename that exchanges everywhere
fn what_was_exchanged_and_cannot_be_looked_at_is_not_removed() {
    let (directory, parent) = ground();
    let name = OsStr::new(NAME);
    let Standing::File(there, of) = standing(&parent, name).unwrap() else { panic!() };
    let mut fresh = Fresh::write(site(&parent), &mut source(), 100, Some((&there, &of))).unwrap();
    fresh.exchange(name).unwrap();
    fresh.recognise(name, &of, |_, _| Err(Errno::IO)).unwrap_err();
    drop(fresh);
    assert_eq!(fs::read_to_string(directory.path().join(NAME)).unwrap(), "the user's");
    // And an exchange that ends before it is looked at.
    let Standing::File(there, of) = standing(&parent, name).unwrap() else { panic!() };
    let mut fresh = Fresh::write(site(&parent), &mut source(), 100, Some((&there, &of))).unwrap();
    fresh.exchange(name).unwrap();
    drop(fresh);
    assert!(contents(directory.path()).contains(&"the user's".to_owned()));
}

#[test]
fn another_file_in_its_place_is_not_replaced() {
    for exchanges in [true, false] {
        let place_over = |fresh: &mut Fresh<'_>, name: &OsStr, of: &Stat| {
            if exchanges { fresh.place_over(name, of) } else { fresh.rename_over(name, of) }
        };
        let (directory, parent) = ground();
        let name = OsStr::new(NAME);
        let Standing::File(there, of) = standing(&parent, name).unwrap() else { panic!() };
        // Kept, so that its inode is not given to the next one.
        fs::rename(directory.path().join(NAME), directory.path().join("old")).unwrap();
        fs::write(directory.path().join(NAME), "another").unwrap();
        let mut fresh = Fresh::write(site(&parent), &mut source(), 100, Some((&there, &of))).unwrap();
        assert!(!place_over(&mut fresh, name, &of).unwrap());
        drop(fresh);
        assert_eq!(contents(directory.path()), ["another", "the user's"]);
        // Nor is it made again where it is gone.
        fs::remove_file(directory.path().join(NAME)).unwrap();
        let mut fresh = Fresh::write(site(&parent), &mut source(), 100, Some((&there, &of))).unwrap();
        assert!(!place_over(&mut fresh, name, &of).unwrap());
        drop(fresh);
        assert_eq!(contents(directory.path()), ["the user's"]);
        // The one that was meant is.
        fs::rename(directory.path().join("old"), directory.path().join(NAME)).unwrap();
        let mut fresh = Fresh::write(site(&parent), &mut source(), 100, Some((&there, &of))).unwrap();
        assert!(place_over(&mut fresh, name, &of).unwrap());
        drop(fresh);
        assert_eq!(contents(directory.path()), ["the package's"]);
    }
}
