//! What is written before a call, behind its reply, or without one; and what is told of it later.

use std::os::unix::fs::FileExt;

use super::stamp::Seen;
use super::writing::{codes, collect, names};
use super::*;

#[test]
fn what_no_reply_spoke_of_is_collected_in_the_end() {
    let world = World::new();
    let mut workspace = world.writable();
    let (one, two) = (share(&mut workspace, "in.txt"), share(&mut workspace, "two.txt"));
    fs::write(copy(&workspace, &one), "late").unwrap();
    fs::write(copy(&workspace, &two), "late too").unwrap();
    fs::write(world.cwd.join("two.txt"), "the user's").unwrap();
    workspace.finish();
    assert_eq!(fs::read_to_string(world.cwd.join("in.txt")).unwrap(), "late");
    assert_eq!(names(&world.cwd), ["in.txt", "two.txt", "two.txt.npxc-1"]);
    let said = world.said.lock().unwrap();
    assert!(matches!(&said[..], [words] if words.contains("two.txt.npxc-1")), "{said:?}");
}

#[test]
fn what_is_written_after_the_reply_is_collected_with_the_next_one_or_in_the_end() {
    let world = World::new();
    let mut workspace = world.writable();
    let file = world.cwd.join("in.txt");
    fs::create_dir(world.cwd.join("sub")).unwrap();
    fs::write(world.cwd.join("sub/in.txt"), "inside").unwrap();
    let (answer, tree) = (share(&mut workspace, "in.txt"), share(&mut workspace, "sub"));
    let open = |path: &Path| fs::File::options().write(true).open(path).unwrap();
    let held = [open(&copy(&workspace, &answer)), open(&copy(&workspace, &tree).join("in.txt"))];
    // As a mapping's page leaves them that was written to before the last look.
    let times_tell_nothing = |workspace: &mut Workspace| {
        for copy in workspace.copies.values_mut() {
            let held = held.each_ref().map(|file| rustix::fs::fstat(file).unwrap());
            let own = held.iter().find(|stat| copy.guest.is_some_and(|seen| seen.is_of(stat)));
            copy.guest = own.map(Seen::long_ago);
        }
    };
    let write = |text: &str| held.each_ref().map(|held| held.write_all_at(text.as_bytes(), 0).unwrap());
    assert_eq!(collect(&mut workspace, &[&answer, &tree]), []);
    write("INSIDE");
    times_tell_nothing(&mut workspace);
    assert_eq!(collect(&mut workspace, &[&answer]), []);
    assert_eq!(fs::read_to_string(&file).unwrap(), "INSIDE");
    write("inSIDE");
    times_tell_nothing(&mut workspace);
    workspace.finish();
    assert_eq!(fs::read_to_string(&file).unwrap(), "inSIDE");
    assert_eq!(fs::read_to_string(world.cwd.join("sub/in.txt")).unwrap(), "inSIDE");
}

#[test]
fn what_the_guest_made_before_any_call_named_it_is_brought_back() {
    let world = World::new();
    let mut workspace = world.writable();
    let answer = share(&mut workspace, "in.txt");
    let copied = copy(&workspace, &answer);
    // It moves one, and makes another where the host has a file.
    fs::write(world.cwd.join("there.txt"), "the user's").unwrap();
    fs::rename(&copied, copied.with_file_name("moved.txt")).unwrap();
    fs::write(copied.with_file_name("there.txt"), "the package's").unwrap();
    let (moved, there) = (share(&mut workspace, "moved.txt"), share(&mut workspace, "there.txt"));
    assert_eq!(fs::read_to_string(copy(&workspace, &moved)).unwrap(), "inside");
    assert_eq!(fs::read_to_string(copy(&workspace, &there)).unwrap(), "the user's");
    assert_eq!(codes(&collect(&mut workspace, &[&moved, &there])), ["changed-meanwhile"]);
    assert_eq!(names(&world.cwd), ["in.txt", "moved.txt", "there.txt", "there.txt.npxc-1"]);
    assert_eq!(fs::read_to_string(world.cwd.join("moved.txt")).unwrap(), "inside");
    assert_eq!(fs::read_to_string(world.cwd.join("there.txt.npxc-1")).unwrap(), "the package's");
    assert_eq!(fs::read_to_string(world.cwd.join("there.txt")).unwrap(), "the user's");
}

#[test]
fn what_could_not_be_saved_is_told_by_the_next_reply() {
    let world = World::new();
    let mut workspace = world.writable();
    let file = world.cwd.join("in.txt");
    let answer = share(&mut workspace, "in.txt");
    fs::write(copy(&workspace, &answer), "the package's").unwrap();
    fs::write(&file, "USERS!").unwrap();
    // Another call names it before the first one's reply is there.
    assert_eq!(share(&mut workspace, "in.txt"), answer);
    let unsaved = collect(&mut workspace, &[&answer]);
    assert_eq!(codes(&unsaved), ["changed-meanwhile"]);
    assert_eq!(unsaved[0].path, file.display().to_string());
    assert_eq!(collect(&mut workspace, &[&answer]), [], "once");
}

#[test]
fn a_package_s_files_are_remembered_within_the_bound() {
    let world = World::new();
    let mut workspace = world.writable();
    fs::create_dir(world.cwd.join("docs")).unwrap();
    let answer = share(&mut workspace, "docs");
    for number in 1..publish::MOST_NAMES {
        let name = PathBuf::from(format!("absent/{number}"));
        workspace.copies.insert((1, name.clone()), Copy::of_nothing(world.cwd.join(&name), name));
    }
    for name in ["a", "b", "c"] {
        fs::write(copy(&workspace, &answer).join(name), name).unwrap();
    }
    let unsaved = collect(&mut workspace, &[&answer]);
    assert_eq!(codes(&unsaved), ["not-saved"]);
    let bound = publish::MOST_NAMES.to_string();
    assert!(unsaved[0].refusal.reason.contains(&bound), "{unsaved:?}");
    assert_eq!(names(&world.cwd.join("docs")).len(), 1);
    assert_eq!(workspace.copies.len(), publish::MOST_NAMES);
    // And a client's.
    let Answer::Refused(refusal) = share(&mut workspace, "in.txt") else { panic!() };
    assert!(refusal.code == "too-many" && refusal.reason.contains(&bound), "{refusal:?}");
}

#[test]
fn many_files_that_could_not_be_saved_are_said_in_few_lines() {
    let world = World::new();
    let mut workspace = world.writable();
    for number in 0..5 {
        let name = format!("{number}.txt");
        let answer = share(&mut workspace, &name);
        fs::write(copy(&workspace, &answer), "the package's").unwrap();
        fs::write(world.cwd.join(name), "the user's").unwrap();
    }
    workspace.finish();
    let said = world.said.lock().unwrap();
    assert_eq!(said.len(), 4, "{said:?}");
    assert!(said[3].starts_with("2 more"), "{said:?}");
}
