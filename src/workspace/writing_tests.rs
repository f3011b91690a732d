//! What the guest makes of its copies, and what of that reaches the host.

use std::os::unix::fs::{FileExt, PermissionsExt};

use super::stamp::Seen;
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
fn nothing_is_written_over_what_changed_meanwhile() {
    let world = World::new();
    let mut workspace = world.writable();
    let file = world.cwd.join("in.txt");
    let changed = share(&mut workspace, "in.txt");
    let made = share(&mut workspace, "new.txt");
    for answer in [&changed, &made] {
        fs::write(copy(&workspace, answer), "the package's").unwrap();
    }
    fs::write(&file, "USERS!").unwrap();
    fs::write(world.cwd.join("new.txt"), "the user's").unwrap();
    let unsaved = collect(&mut workspace, &[&changed, &made]);
    assert_eq!(codes(&unsaved), ["changed-meanwhile"; 2]);
    assert_eq!(unsaved[0].path, file.display().to_string());
    let kept = world.cwd.join("in.txt.npxc-1");
    assert!(unsaved[0].refusal.reason.contains(kept.to_str().unwrap()), "{:?}", unsaved[0]);
    assert_eq!(fs::read_to_string(&kept).unwrap(), "the package's");
    assert_eq!(fs::read_to_string(&file).unwrap(), "USERS!");
    assert_eq!(fs::read_to_string(world.cwd.join("new.txt")).unwrap(), "the user's");
    assert_eq!(names(&world.cwd), ["in.txt", "in.txt.npxc-1", "new.txt", "new.txt.npxc-1"]);
    // Not again, until the package changes it again.
    assert_eq!(collect(&mut workspace, &[&changed, &made]), []);
    // A touch is no change.
    let touched = share(&mut workspace, "in.txt");
    fs::write(copy(&workspace, &touched), "again").unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(collect(&mut workspace, &[&touched]), []);
    assert_eq!(fs::read_to_string(&file).unwrap(), "again");
}

/// What a guest does with the place of its copy.
type Trick<'a> = (&'a str, &'a dyn Fn(&Path));

#[test]
fn only_regular_files_are_taken() {
    let world = World::new();
    let mut workspace = world.writable();
    let file = world.cwd.join("in.txt");
    let secret = world.home.join("out.txt");
    let tricks: [Trick<'_>; 6] = [
        ("link", &|copied| symlink(&secret, copied).unwrap()),
        ("link to nothing", &|copied| symlink("nothing", copied).unwrap()),
        ("FIFO", &|copied| {
            rustix::fs::mknodat(
                rustix::fs::CWD,
                copied,
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::from_raw_mode(0o666),
                0,
            )
            .unwrap();
        }),
        ("directory", &|copied| fs::create_dir(copied).unwrap()),
        ("hard link", &|copied| fs::hard_link(&secret, copied).unwrap()),
        ("huge", &|copied| fs::File::create(copied).unwrap().set_len(600 << 20).unwrap()),
    ];
    for (what, trick) in tricks {
        let answer = share(&mut workspace, "in.txt");
        let copied = copy(&workspace, &answer);
        fs::remove_file(&copied).unwrap();
        trick(&copied);
        assert_eq!(codes(&collect(&mut workspace, &[&answer])), ["not-saved"], "{what}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "inside", "{what}");
        assert_eq!(names(&world.cwd), ["in.txt"], "{what}");
        if copied.is_dir() {
            fs::remove_dir(&copied).unwrap();
        }
    }
}

#[test]
fn what_leads_out_of_the_scope_is_not_written() {
    let world = World::new();
    let mut workspace = world.writable();
    let (sub, outside) = (world.cwd.join("sub"), world.home.join("outside"));
    fs::create_dir(&sub).unwrap();
    fs::create_dir(&outside).unwrap();
    let new = share(&mut workspace, "sub/new.txt");
    let own = share(&mut workspace, "sub/own.txt");
    for answer in [&new, &own] {
        fs::write(copy(&workspace, answer), "text").unwrap();
    }
    // Its directory becomes a link to elsewhere, then one to npxc's own.
    fs::remove_dir(&sub).unwrap();
    symlink(&outside, &sub).unwrap();
    let unsaved = collect(&mut workspace, &[&new]);
    assert_eq!(codes(&unsaved), ["not-saved"]);
    assert_eq!(names(&outside), [""; 0]);
    let kept = world.cache.join("kept/new.txt.npxc-1");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "text");
    assert!(unsaved[0].refusal.reason.contains(kept.to_str().unwrap()), "{unsaved:?}");
    fs::remove_file(&sub).unwrap();
    fs::rename(&world.cache, &sub).unwrap();
    workspace.scope = Scope::new(
        Ground { cwd: world.cwd.clone(), home: world.home.clone(), own: vec![sub.clone()] },
        &[],
        false,
    );
    fs::rename(&sub, &world.cache).unwrap();
    assert_eq!(share(&mut workspace, "sub"), share(&mut workspace, "sub"));
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
fn what_a_tool_would_make_in_vain_is_refused() {
    let world = World::new();
    let made = |text: &str| Named { makes: true, ..named(text, Reason::Schema(Sign::Name)) };
    let refused = |workspace: &mut Workspace, text: &str| match workspace.share(&made(text)) {
        Answer::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    };
    let mut workspace = world.here();
    let refusal = refused(&mut workspace, "out.xlsx");
    assert_eq!(refusal.code, "missing");
    assert!(refusal.hint.unwrap().contains("--write"));
    assert_eq!(refused(&mut workspace, "../out.xlsx").code, "outside-scope");
    // What merely looks like a path may be anything.
    let shaped = Named { makes: true, ..named("./out.xlsx", Reason::Shape) };
    assert_eq!(workspace.share(&shaped), Answer::Leave);
    // From a directory that is too wide nothing comes back.
    let mut wide = world.workspace(&world.home, &[]);
    let refusal = refused(&mut wide, "out.xlsx");
    assert!(refusal.reason.contains("too wide") && refusal.hint.unwrap().contains("--cwd"));
    let mut workspace = world.writable();
    assert!(matches!(workspace.share(&made("out.xlsx")), Answer::Shared { writable: true, .. }));
}

#[test]
fn a_read_only_scope_stays_as_it_is() {
    let world = World::new();
    let mut workspace = world.here();
    let answer = share(&mut workspace, "in.txt");
    assert!(matches!(answer, Answer::Shared { writable: false, .. }));
    assert_eq!(share(&mut workspace, "none.txt"), Answer::Leave);
    let Answer::Refused(refusal) = share(&mut workspace, world.cwd.join("none.txt").to_str().unwrap()) else {
        panic!()
    };
    let hint = refusal.hint.unwrap();
    assert!(hint.contains("--write") && hint.contains(":rw"), "{hint}");
    workspace.finish();
    assert_eq!(names(&world.cwd), ["in.txt"]);
}

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

#[test]
fn a_refusal_does_not_advise_what_is_on() {
    let world = World::new();
    let mut workspace = world.writable();
    let below = world.cwd.join("in.txt/new");
    let Answer::Refused(refusal) = share(&mut workspace, below.to_str().unwrap()) else { panic!() };
    assert_eq!(refusal.code, "missing");
    assert!(!format!("{refusal:?}").contains("--write"), "{refusal:?}");
    let refusal = words::too_wide(Path::new("/home/me/~a b"));
    assert!(refusal.hint.unwrap().ends_with("--mount '/home/me/~a b'"));
    assert!(words::too_wide(Path::new("/home/é~")).hint.unwrap().ends_with("'/home/é~'"));
}
