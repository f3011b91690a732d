//! Directories that come back, and the bounds of it.

use super::writing::{codes, collect, names};
use super::*;

/// The directory `docs`, with `a.txt` in it and `z.txt` deeper.
fn docs(world: &World) -> PathBuf {
    let docs = world.cwd.join("docs");
    fs::create_dir_all(docs.join("z")).unwrap();
    fs::write(docs.join("a.txt"), "a").unwrap();
    fs::write(docs.join("z/z.txt"), "z").unwrap();
    docs
}

#[test]
fn a_link_that_was_left_out_does_not_lead_what_the_guest_makes() {
    let world = World::new();
    let mut workspace = world.writable();
    let private = world.cwd.join("private");
    fs::create_dir(&private).unwrap();
    fs::write(private.join("known.py"), "known").unwrap();
    symlink("../private", docs(&world).join("secret")).unwrap();
    let answer = share(&mut workspace, "docs");
    let secret = copy(&workspace, &answer).join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("authorized_keys"), "a key").unwrap();
    fs::write(secret.join("known.py"), "known").unwrap();
    assert_eq!(codes(&collect(&mut workspace, &[&answer])), ["not-saved"; 2]);
    fs::write(secret.join("known.py"), "guest").unwrap();
    assert_eq!(codes(&collect(&mut workspace, &[&answer])), ["not-saved"]);
    workspace.finish();
    assert_eq!(names(&private), ["known.py"]);
    assert_eq!(fs::read_to_string(private.join("known.py")).unwrap(), "known");
    assert!(names(&world.cache.join("kept")).contains(&"authorized_keys.npxc-1".to_owned()));
}

#[test]
#[cfg(target_os = "linux")] // others follow no link
fn a_directory_that_was_named_by_a_link_comes_back_to_where_it_is() {
    let world = World::new();
    let mut workspace = world.writable();
    let docs = docs(&world);
    symlink("docs", world.cwd.join("link")).unwrap();
    let answer = share(&mut workspace, "link");
    fs::write(copy(&workspace, &answer).join("new.txt"), "new").unwrap();
    assert_eq!(collect(&mut workspace, &[&answer]), []);
    assert_eq!(names(&docs), ["a.txt", "new.txt", "z"]);
    assert!(world.cwd.join("link").is_symlink());
}

#[test]
fn who_guesses_a_content_may_not_change_it() {
    let world = World::new();
    let mut workspace = world.writable();
    let docs = docs(&world);
    let answer = share(&mut workspace, "docs");
    let copied = copy(&workspace, &answer);
    for (name, guess) in [("right.txt", "text"), ("wrong.txt", "TEXT")] {
        fs::write(docs.join(name), "text").unwrap();
        fs::write(copied.join(name), guess).unwrap();
    }
    assert_eq!(codes(&collect(&mut workspace, &[&answer])), ["changed-meanwhile"]);
    fs::write(copied.join("right.txt"), "changed").unwrap();
    assert_eq!(codes(&collect(&mut workspace, &[&answer])), ["changed-meanwhile"]);
    assert_eq!(fs::read_to_string(docs.join("right.txt")).unwrap(), "text");
    // Nor does it see whether it was right.
    fs::write(copied.join("right.txt"), "text").unwrap();
    assert_eq!(collect(&mut workspace, &[&answer]), []);
    for name in ["right.txt", "wrong.txt"] {
        fs::remove_file(docs.join(name)).unwrap();
    }
    assert_eq!(share(&mut workspace, "docs"), answer);
    let there = names(&copied);
    assert_eq!(there.contains(&"right.txt".to_owned()), there.contains(&"wrong.txt".to_owned()), "{there:?}");
}

#[test]
fn the_bounds_of_a_directory_hold_on_the_way_back() {
    let world = World::new();
    let mut workspace = world.writable();
    let docs = docs(&world);
    let answer = share(&mut workspace, "docs");
    let copied = copy(&workspace, &answer);
    let large = ["large-1", "large-2"].map(|name| copied.join(name));
    for file in &large {
        fs::File::create(file).unwrap().set_len(tree::MOST_BYTES / 2 + 1).unwrap();
    }
    fs::write(copied.join("z/z.txt"), "by size").unwrap();
    let unsaved = collect(&mut workspace, &[&answer]);
    assert_eq!(codes(&unsaved), ["not-saved"]);
    assert_eq!(unsaved[0].path, docs.display().to_string());
    for file in &large {
        fs::remove_file(file).unwrap();
    }
    assert_eq!(fs::read_to_string(docs.join("z/z.txt")).unwrap(), "by size");
    for number in 0..=tree::MOST_ENTRIES {
        fs::write(copied.join(number.to_string()), "").unwrap();
    }
    fs::write(copied.join("z/z.txt"), "by number").unwrap();
    assert_eq!(codes(&collect(&mut workspace, &[&answer])), ["not-saved"]);
    workspace.finish();
    assert_eq!(fs::read_to_string(docs.join("z/z.txt")).unwrap(), "by number");
    assert_eq!(names(&docs), ["a.txt", "z"]);
    assert!(!world.cache.join("kept").exists());
}

#[test]
fn a_session_s_files_grow_within_a_bound() {
    let world = World::new();
    let mut workspace = world.writable();
    let (new, old, met) =
        (share(&mut workspace, "new"), share(&mut workspace, "in.txt"), share(&mut workspace, "met"));
    workspace.growth.add(growth::MOST - 4);
    let write = |workspace: &mut Workspace, answer: &Answer, text: &str| {
        fs::write(copy(workspace, answer), text).unwrap();
        let unsaved = collect(workspace, &[answer]);
        codes(&unsaved).join(" ")
    };
    assert_eq!(write(&mut workspace, &new, "12345"), "not-saved");
    assert!(!world.cwd.join("new").exists());
    assert_eq!(write(&mut workspace, &new, "12"), "");
    assert_eq!(write(&mut workspace, &old, "inside, and more"), "not-saved");
    assert_eq!(write(&mut workspace, &old, "INSIDE12"), "");
    assert_eq!(write(&mut workspace, &old, "inside78"), "", "as large as before");
    // Nor is it kept beside.
    fs::write(world.cwd.join("met"), "the user's").unwrap();
    assert_eq!(write(&mut workspace, &met, "x"), "not-saved");
    assert_eq!(names(&world.cwd), ["in.txt", "met", "new"]);
    // Nor in npxc's own directory.
    let sub = world.cwd.join("sub");
    fs::create_dir(&sub).unwrap();
    let moved = share(&mut workspace, "sub/moved");
    fs::remove_dir(&sub).unwrap();
    symlink(&world.home, &sub).unwrap();
    assert_eq!(write(&mut workspace, &moved, "x"), "not-saved");
    assert!(!world.cache.join("kept").exists());
}

#[test]
fn who_is_told_to_end_brings_nothing_more_back_and_says_so() {
    let world = World::new();
    let mut workspace = world.writable();
    docs(&world);
    let (file, tree) = (share(&mut workspace, "in.txt"), share(&mut workspace, "docs"));
    fs::write(copy(&workspace, &file), "late").unwrap();
    fs::write(copy(&workspace, &tree).join("a.txt"), "late").unwrap();
    let handle = Handle::new(workspace);
    {
        let mut busy = handle.workspace();
        handle.stop();
        // A reply that is being made ready then.
        assert_eq!(codes(&collect(&mut busy, &[&tree])), ["not-saved"]);
    }
    handle.finish();
    assert_eq!(fs::read_to_string(world.cwd.join("in.txt")).unwrap(), "inside");
    assert_eq!(fs::read_to_string(world.cwd.join("docs/a.txt")).unwrap(), "a");
    let said = world.said.lock().unwrap();
    // The two, and the two files of the directory.
    assert!(matches!(&said[..], [words] if words.contains("of 4 files")), "{said:?}");
}

#[test]
fn what_is_not_taken_is_in_the_log() {
    let world = World::new();
    let mut workspace = world.writable();
    for number in 0..5 {
        let answer = share(&mut workspace, &format!("{number}.txt"));
        let copied = copy(&workspace, &answer);
        fs::write(&copied, "the package's").unwrap();
        fs::hard_link(&copied, copied.with_extension("other")).unwrap();
        assert_eq!(codes(&collect(&mut workspace, &[&answer])), ["not-saved"]);
    }
    workspace.finish();
    assert!(world.said.lock().unwrap()[3].contains("npxc audit show"));
    let log = world.log.path().to_owned();
    drop(world.log);
    let log = fs::read_to_string(log).unwrap();
    for number in 0..5 {
        let path = format!("{number}.txt");
        let refused = |line: &&str| line.contains("file.refuse") && line.contains(&path);
        assert_eq!(log.lines().filter(refused).count(), 1, "{log}");
    }
}
