//! What the guest makes of its copies, and what of that reaches the host.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// What a call of these paths would have collected.
pub(super) fn collect(workspace: &mut Workspace, answers: &[&Answer]) -> Vec<Unsaved> {
    let writes: Vec<Write> = answers
        .iter()
        .map(|answer| match answer {
            Answer::Shared { place, name, writable: true, .. } => Write { place: *place, name: name.clone() },
            other => panic!("{other:?}"),
        })
        .collect();
    workspace.collect(&writes)
}

/// The codes of what was not saved.
pub(super) fn codes(unsaved: &[Unsaved]) -> Vec<&str> {
    unsaved.iter().map(|unsaved| unsaved.refusal.code).collect()
}

/// Names in a directory that are not npxc's own.
pub(super) fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".cache");
    names.sort();
    names
}

#[test]
fn what_the_guest_writes_reaches_the_host() {
    let world = World::new();
    let mut workspace = world.writable();
    let file = world.cwd.join("in.txt");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o4640)).unwrap();
    let answer = share(&mut workspace, "in.txt");
    let copied = copy(&workspace, &answer);
    assert_eq!(collect(&mut workspace, &[&answer]), []);
    let inode = |path: &Path| rustix::fs::stat(path).unwrap().st_ino;
    let before = inode(&file);
    // In place, of the same length.
    fs::write(&copied, "INSIDE").unwrap();
    assert_eq!(collect(&mut workspace, &[&answer]), []);
    assert_eq!(fs::read(&file).unwrap(), b"INSIDE");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o640);
    assert_ne!(inode(&file), before, "by a rename");
    // By a rename, with another file beside.
    fs::write(copied.with_file_name("journal"), "-").unwrap();
    fs::write(copied.with_file_name("temporary"), "renamed").unwrap();
    fs::rename(copied.with_file_name("temporary"), &copied).unwrap();
    assert_eq!(collect(&mut workspace, &[&answer]), []);
    assert_eq!(fs::read(&file).unwrap(), b"renamed");
    // Nothing happened since.
    let before = inode(&file);
    assert_eq!(collect(&mut workspace, &[&answer]), []);
    assert_eq!(inode(&file), before);
    assert_eq!(names(&world.cwd), ["in.txt"], "neither the journal nor anything of npxc's");
    // And it can still be changed on the host.
    fs::write(&file, "by the user").unwrap();
    assert_eq!(share(&mut workspace, "in.txt"), answer);
    assert_eq!(fs::read(&copied).unwrap(), b"by the user");
}

#[test]
fn a_new_file_is_made_where_it_was_named() {
    let world = World::new();
    let mut workspace = world.writable();
    fs::create_dir(world.cwd.join("sub")).unwrap();
    let absolute = world.cwd.join("sub/new.txt");
    let answers = [
        share(&mut workspace, "new.txt"),
        workspace.share(&named(absolute.to_str().unwrap(), Reason::Shape)),
        share(&mut workspace, "deep/er/new.txt"),
        share(&mut workspace, "made"),
    ];
    for (answer, text) in answers.iter().zip(["one", "two", "three"]) {
        let copied = copy(&workspace, answer);
        fs::create_dir_all(copied.parent().unwrap()).unwrap();
        fs::write(&copied, text).unwrap();
    }
    let made = copy(&workspace, &answers[3]);
    fs::create_dir_all(made.join("inner")).unwrap();
    fs::write(made.join("inner/a"), "four").unwrap();
    let all: Vec<&Answer> = answers.iter().collect();
    assert_eq!(collect(&mut workspace, &all), []);
    for (name, text) in
        [("new.txt", "one"), ("sub/new.txt", "two"), ("deep/er/new.txt", "three"), ("made/inner/a", "four")]
    {
        assert_eq!(fs::read_to_string(world.cwd.join(name)).unwrap(), text);
    }
    // What only looks like a path names a directory that is not there.
    let no = world.cwd.join("none/new.txt").display().to_string();
    assert_eq!(workspace.share(&named(&no, Reason::Shape)), Answer::Leave);
    // What the guest takes away stays.
    fs::remove_file(copy(&workspace, &answers[0])).unwrap();
    assert_eq!(collect(&mut workspace, &all), []);
    assert!(world.cwd.join("new.txt").exists());
    // And is there again for the next call.
    assert_eq!(share(&mut workspace, "new.txt"), answers[0]);
    assert_eq!(fs::read_to_string(copy(&workspace, &answers[0])).unwrap(), "one");
    // What the user takes away is gone for the guest, whoever made it.
    fs::remove_file(&absolute).unwrap();
    assert_eq!(workspace.share(&named(absolute.to_str().unwrap(), Reason::Shape)), answers[1]);
    assert!(!copy(&workspace, &answers[1]).exists());
}

#[test]
fn a_link_inside_the_scope_is_kept_and_its_file_written() {
    let world = World::new();
    let mut workspace = world.writable();
    symlink("in.txt", world.cwd.join("link")).unwrap();
    let answer = share(&mut workspace, "link");
    fs::write(copy(&workspace, &answer), "through").unwrap();
    assert_eq!(collect(&mut workspace, &[&answer]), []);
    assert!(world.cwd.join("link").is_symlink());
    assert_eq!(fs::read_to_string(world.cwd.join("in.txt")).unwrap(), "through");
}

#[test]
fn a_read_only_scope_stays_as_it_is() {
    let world = World::new();
    let mut workspace = world.here();
    let answer = share(&mut workspace, "in.txt");
    assert!(matches!(answer, Answer::Shared { writable: false, .. }));
    assert_eq!(share(&mut workspace, "none.txt"), Answer::Leave);
    assert_eq!(code(share(&mut workspace, world.cwd.join("none.txt").to_str().unwrap())), "missing");
    workspace.finish();
    assert_eq!(names(&world.cwd), ["in.txt"]);
}

#[test]
fn a_change_within_one_tick_of_the_clock_is_seen() {
    let world = World::new();
    for mut workspace in [world.here(), world.writable()] {
        let file = world.cwd.join("in.txt");
        fs::write(&file, "inside").unwrap();
        let answer = share(&mut workspace, "in.txt");
        fs::write(&file, "INSIDE").unwrap();
        // As if the file system's clock had stood still.
        let seen = stamp::Seen::of(&rustix::fs::stat(&file).unwrap());
        let copied = workspace.copies.values_mut().next().unwrap();
        copied.host = copied.host.map(|(_, digest)| (seen, digest));
        assert_eq!(share(&mut workspace, "in.txt"), answer);
        assert_eq!(fs::read_to_string(copy(&workspace, &answer)).unwrap(), "INSIDE");
    }
}
