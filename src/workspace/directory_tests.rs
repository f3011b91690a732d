//! Directories that calls name: what of them is shared, and what comes back.

use super::writing::{collect, names};
use super::*;

#[test]
fn a_directory_is_shared_and_collected_file_by_file() {
    let world = World::new();
    let mut workspace = world.writable();
    let docs = world.cwd.join("docs");
    fs::create_dir_all(docs.join("deep/empty")).unwrap();
    fs::write(docs.join("a.txt"), "a").unwrap();
    fs::write(docs.join("deep/b.txt"), "b").unwrap();
    symlink("../a.txt", docs.join("deep/inside")).unwrap();
    symlink("../in.txt", docs.join("outside")).unwrap();
    symlink("/etc/passwd", docs.join("absolute")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(docs.join("socket")).unwrap();
    let answer = share(&mut workspace, docs.to_str().unwrap());
    let copied = copy(&workspace, &answer);
    assert_eq!(names(&copied), ["a.txt", "deep"]);
    assert_eq!(names(&copied.join("deep")), ["b.txt", "empty", "inside"]);
    assert_eq!(fs::read_to_string(copied.join("deep/inside")).unwrap(), "a");
    assert_eq!(world.said.lock().unwrap().len(), 1, "{:?}", world.said);
    // A file of it has the same path as by itself.
    let alone = share(&mut workspace, "docs/a.txt");
    assert_eq!(copy(&workspace, &alone), copied.join("a.txt"));
    fs::write(copied.join("a.txt"), "A").unwrap();
    fs::create_dir(copied.join("new")).unwrap();
    fs::write(copied.join("new/c.txt"), "c").unwrap();
    symlink("/etc/passwd", copied.join("new/bait")).unwrap();
    fs::remove_file(copied.join("deep/b.txt")).unwrap();
    fs::write(docs.join("deep/d.txt"), "d").unwrap();
    assert_eq!(collect(&mut workspace, &[&answer]), []);
    assert_eq!(fs::read_to_string(docs.join("a.txt")).unwrap(), "A");
    assert_eq!(names(&docs.join("new")), ["c.txt"]);
    assert!(docs.join("deep/b.txt").exists());
    // As it is now.
    fs::remove_file(docs.join("a.txt")).unwrap();
    assert_eq!(share(&mut workspace, docs.to_str().unwrap()), answer);
    assert_eq!(names(&copied), ["deep", "new"]);
    assert_eq!(names(&copied.join("deep")), ["b.txt", "d.txt", "empty", "inside"]);
}

#[test]
fn a_directory_that_holds_too_much_is_refused() {
    let world = World::new();
    let mut workspace = world.here();
    let many = world.cwd.join("many");
    fs::create_dir(&many).unwrap();
    for number in 0..=tree::MOST_ENTRIES {
        fs::write(many.join(number.to_string()), "").unwrap();
    }
    let Answer::Refused(refusal) = share(&mut workspace, "many") else { panic!() };
    assert_eq!(refusal.code, "too-wide");
    assert!(refusal.hint.unwrap().contains("--mount"));
    fs::create_dir(world.cwd.join("large")).unwrap();
    let large = fs::File::create(world.cwd.join("large/file")).unwrap();
    large.set_len(tree::MOST_BYTES + 1).unwrap();
    assert_eq!(code(share(&mut workspace, "large")), "too-wide");
    // The working directory itself, without what is npxc's own in it.
    fs::remove_dir_all(many).unwrap();
    fs::remove_dir_all(world.cwd.join("large")).unwrap();
    let answer = share(&mut workspace, ".");
    assert_eq!(names(&copy(&workspace, &answer)), ["in.txt"]);
    assert!(!copy(&workspace, &answer).join(".cache").exists());
}

#[test]
fn a_directory_is_as_it_is_now_with_its_links_and_directories() {
    let world = World::new();
    let mut workspace = world.writable();
    let docs = world.cwd.join("docs");
    for name in ["gone/inner", "used", "file", "link-to-directory"] {
        fs::create_dir_all(docs.join(name)).unwrap();
    }
    fs::write(docs.join("a"), "a").unwrap();
    fs::write(docs.join("b"), "b").unwrap();
    fs::write(docs.join("file/inner"), "").unwrap();
    for name in ["moved", "dropped", "out", "directory"] {
        symlink("a", docs.join(name)).unwrap();
    }
    let answer = share(&mut workspace, "docs");
    let copied = copy(&workspace, &answer);
    fs::write(copied.join("used/own"), "the guest's").unwrap();
    symlink("a", copied.join("own")).unwrap();
    for name in ["gone", "used", "file", "link-to-directory"] {
        fs::remove_dir_all(docs.join(name)).unwrap();
    }
    for name in ["moved", "dropped", "out", "directory"] {
        fs::remove_file(docs.join(name)).unwrap();
    }
    fs::write(docs.join("file"), "a file").unwrap();
    fs::create_dir(docs.join("directory")).unwrap();
    for (name, target) in [("moved", "b"), ("out", "/etc/passwd"), ("link-to-directory", "directory")] {
        symlink(target, docs.join(name)).unwrap();
    }
    assert_eq!(share(&mut workspace, "docs"), answer);
    assert_eq!(names(&copied), ["a", "b", "directory", "file", "link-to-directory", "moved", "own", "used"]);
    assert_eq!(fs::read_link(copied.join("moved")).unwrap(), Path::new("b"));
    assert_eq!(fs::read_link(copied.join("link-to-directory")).unwrap(), Path::new("directory"));
    assert_eq!(fs::read_to_string(copied.join("file")).unwrap(), "a file");
    assert!(fs::symlink_metadata(copied.join("directory")).unwrap().is_dir());
    assert_eq!(names(&copied.join("used")), ["own"]);
}
