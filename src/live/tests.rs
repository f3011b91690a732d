#![allow(clippy::unwrap_used)]

use std::os::unix::net::UnixListener;

use super::*;

#[test]
fn nobody_else_enters_the_directory() {
    let base = tempfile::tempdir().unwrap();
    let directory = base.path().join("state/control");
    prepare(&directory).unwrap();
    std::fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
    prepare(&directory).unwrap();
    assert_eq!(directory.metadata().unwrap().mode() & 0o777, 0o700);
    let elsewhere = base.path().join("link");
    std::os::unix::fs::symlink(&directory, &elsewhere).unwrap();
    assert!(prepare(&elsewhere).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn a_long_path_has_a_short_name() {
    let base = tempfile::tempdir().unwrap();
    let directory = base.path().join("d".repeat(120));
    prepare(&directory).unwrap();
    let path = socket(&directory, Uuid::now_v7());
    assert!(UnixListener::bind(&path).is_err(), "it fits");
    let (address, open) = short(&path).unwrap();
    UnixListener::bind(address).unwrap();
    drop(open);
    assert!(path.exists());
}

#[test]
fn what_does_not_answer_is_no_session() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(client::sessions(&directory.path().join("none")).unwrap(), client::Running::default());
    std::fs::write(directory.path().join("notes.txt"), "").unwrap();
    // One that was killed, and one that answers with something else.
    let [gone, other] = [(); 2].map(|()| socket(directory.path(), Uuid::now_v7()));
    drop(UnixListener::bind(&gone).unwrap());
    let listener = UnixListener::bind(&other).unwrap();
    let answering = std::thread::spawn(move || {
        use std::io::{BufRead as _, Write as _};
        let (stream, _) = listener.accept().unwrap();
        std::io::BufReader::new(&stream).read_line(&mut String::new()).unwrap();
        (&stream).write_all(b"{\"what\":1}\n").unwrap();
    });
    let unready = other.with_extension(UNREADY);
    std::fs::write(&unready, "").unwrap();
    let found = client::sessions(directory.path()).unwrap();
    assert_eq!((found.sessions.len(), found.silent.len()), (0, 1));
    assert!(unready.exists(), "it may still get its name");
    answering.join().unwrap();
    assert!(!gone.exists() && other.exists() && directory.path().join("notes.txt").exists());
}
