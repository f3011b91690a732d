//! What nothing is written over, or through, or in vain.

use super::writing::{codes, collect, names};
use super::*;

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
    let hint = refusal.hint.unwrap();
    assert!(hint.find("--write").unwrap() < hint.find(":rw").unwrap(), "{hint}");
    let absolute = world.cwd.join("out.xlsx").display().to_string();
    assert_eq!(refused(&mut workspace, &absolute).hint, Some(hint));
    let refusal = refused(&mut workspace, "../out.xlsx");
    assert_eq!(refusal.code, "outside-scope");
    let hint = refusal.hint.unwrap();
    assert!(hint.contains("--mount DIR:rw"), "nobody is told to mount a home directory: {hint}");
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
