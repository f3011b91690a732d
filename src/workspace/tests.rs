#![allow(clippy::unwrap_used)]
#[path = "directory_tests.rs"]
mod directory;
#[path = "host_tests.rs"]
mod host;
#[path = "late_tests.rs"]
mod late;
#[cfg(target_os = "linux")] // others have no rename that exchanges everywhere
#[path = "race_tests.rs"]
mod race;
#[path = "spared_tests.rs"]
mod spared;
#[path = "whole_tests.rs"]
mod whole_directory;
#[path = "writing_tests.rs"]
mod writing;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;
use crate::audit::{Log, Target};
use crate::rpc::identify::{Sign, shape};
use crate::runtime::{Access, Mount};

struct World {
    _directory: tempfile::TempDir,
    cwd: PathBuf,
    home: PathBuf,
    cache: PathBuf,
    log: Log,
    recorder: Recorder,
    leases: std::cell::RefCell<Vec<shelf::Lease>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    fn within(parent: &Path) -> Self {
        let directory = tempfile::tempdir_in(parent).unwrap();
        // By its real name: the temporary directory may be behind a link.
        let base = directory.path().canonicalize().unwrap();
        let (home, cwd, cache) =
            (base.join("home"), base.join("home/project"), base.join("home/project/.cache"));
        fs::create_dir_all(&cache).unwrap();
        fs::write(cwd.join("in.txt"), "inside").unwrap();
        fs::write(home.join("out.txt"), "outside").unwrap();
        let (log, recorder) = Log::create(&Target::File(base.join("log")), uuid::Uuid::now_v7()).unwrap();
        Self {
            _directory: directory,
            cwd,
            home,
            cache,
            log,
            recorder,
            leases: std::cell::RefCell::default(),
            said: Arc::default(),
        }
    }

    fn workspace(&self, cwd: &Path, mounts: &[Mount]) -> Workspace {
        self.with(cwd, mounts, Access::ReadOnly)
    }

    fn with(&self, cwd: &Path, mounts: &[Mount], access: Access) -> Workspace {
        let ground = Ground { cwd: cwd.to_owned(), home: self.home.clone(), own: vec![self.cache.clone()] };
        let (lease, shelf) =
            Shelf::new(&self.cache.join("shared"), &uuid::Uuid::now_v7().to_string(), access, None).unwrap();
        self.leases.borrow_mut().push(lease);
        let (said, attic) = (self.said.clone(), self.cache.join("kept"));
        let voice = Box::new(move |words: &str| said.lock().unwrap().push(words.to_owned()));
        Workspace::new(Scope::new(ground, mounts, false), shelf, self.recorder.clone(), attic, voice)
    }

    /// One whose files may be written.
    fn writable(&self) -> Workspace {
        self.with(&self.cwd, &[], Access::ReadWrite)
    }

    fn here(&self) -> Workspace {
        self.workspace(&self.cwd, &[])
    }
}

fn named(text: &str, reason: Reason) -> Named {
    Named { text: text.to_owned(), written: shape::read(text).unwrap(), reason, makes: false }
}

fn share(workspace: &mut Workspace, text: &str) -> Answer {
    workspace.share(&named(text, Reason::Schema(Sign::Name)))
}

fn code(answer: Answer) -> &'static str {
    match answer {
        Answer::Refused(refusal) => refusal.code,
        other => panic!("{other:?}"),
    }
}

/// The copy that an answer speaks of.
fn copy(workspace: &Workspace, answer: &Answer) -> PathBuf {
    match answer {
        Answer::Shared { place, name, .. } => workspace.shelf.visible().join(place.to_string()).join(name),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_of_the_scope_is_copied_and_refreshed() {
    let world = World::new();
    let mut workspace = world.here();
    let file = world.cwd.join("in.txt");
    let answer = share(&mut workspace, file.to_str().unwrap());
    let copied = copy(&workspace, &answer);
    assert_eq!(fs::read(&copied).unwrap(), b"inside");
    let inode = |path: &Path| rustix::fs::stat(path).unwrap().st_ino;
    assert_ne!(inode(&copied), inode(&file));
    let first = inode(&copied);
    for same in ["in.txt", "./in.txt", "a/../in.txt"] {
        assert_eq!(share(&mut workspace, same), answer);
    }
    assert_eq!(share(&mut workspace, &format!("file://{}", file.display())), answer);
    assert_eq!(share(&mut workspace, "~/project/in.txt"), answer);
    assert_eq!(inode(&copied), first, "it had not changed");
    fs::write(&file, "changed").unwrap();
    assert_eq!(share(&mut workspace, "in.txt"), answer);
    assert_eq!(fs::read(&copied).unwrap(), b"changed");
    assert!(fs::metadata(&copied).unwrap().permissions().readonly());
    let shelf = workspace.shelf.visible();
    world.leases.borrow_mut().clear();
    assert!(!shelf.exists());
}

#[test]
fn a_root_that_cannot_be_seen_is_said_wherever_it_is() {
    // The guest has a directory of its own where these are.
    let world = World::within(Path::new("/tmp"));
    let mut workspace = world.here();
    let home = world.home.to_str().unwrap();
    assert_eq!(share(&mut workspace, home), Answer::Leave);
    assert_eq!(code(workspace.share(&named(&format!("file://{home}"), Reason::Root))), "outside-scope");
}

#[test]
fn what_leaves_the_scope_is_refused() {
    let world = World::new();
    let mut workspace = world.here();
    let at = |name: &str| world.cwd.join(name).display().to_string();
    symlink("../out.txt", at("up")).unwrap();
    symlink(world.home.join("out.txt"), at("absolute")).unwrap();
    symlink("/proc/self/root/etc/passwd", at("magic")).unwrap();
    symlink("..", at("updir")).unwrap();
    symlink("loop", at("loop")).unwrap();
    for name in ["up", "absolute", "magic", "updir/out.txt", "loop", "../out.txt", "a/../../out.txt"] {
        assert_eq!(code(share(&mut workspace, &at(name))), "outside-scope", "{name}");
    }
    assert_eq!(code(share(&mut workspace, "../out.txt")), "outside-scope");
    assert_eq!(code(share(&mut workspace, "~/out.txt")), "outside-scope");
    for name in ["self", "1", "self/task/1"] {
        let out = format!("/proc/{name}/root{}", world.home.join("out.txt").display());
        assert_eq!(code(share(&mut workspace, &out)), "outside-scope", "{out}");
    }
    assert_eq!(code(share(&mut workspace, "/proc/self/cwd/in.txt")), "outside-scope");
    assert_eq!(share(&mut workspace, "/proc/self/fd/0"), Answer::Leave, "the guest's own");
    // One that stays inside is followed.
    symlink("in.txt", at("link")).unwrap();
    let answer = share(&mut workspace, "link");
    assert_eq!(fs::read(copy(&workspace, &answer)).unwrap(), b"inside");
}

#[test]
fn what_is_no_file_is_refused_at_once() {
    let world = World::new();
    let mut workspace = world.here();
    let at = |name: &str| world.cwd.join(name);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    let large = fs::File::create(at("large")).unwrap();
    large.set_len((512 << 20) + 1).unwrap();
    for (name, expected) in [("fifo", "special"), ("socket", "special"), ("large", "too-large")] {
        assert_eq!(code(share(&mut workspace, name)), expected, "{name}");
    }
    fs::write(world.cache.join("secret"), "npxc's").unwrap();
    assert_eq!(code(share(&mut workspace, ".cache/secret")), "npxc");
    assert_eq!(code(share(&mut workspace, ".cache")), "npxc");
}

#[test]
fn a_path_that_is_not_there_is_refused_when_it_surely_is_one() {
    let world = World::new();
    let mut workspace = world.here();
    let missing = world.cwd.join("none.txt").display().to_string();
    assert_eq!(code(share(&mut workspace, &missing)), "missing");
    assert_eq!(workspace.share(&named(&missing, Reason::Shape)), Answer::Leave);
    for text in ["none.txt", "/api/users", "/tmp/made/by/the/package", "/usr/bin/env", "/etc/passwd"] {
        assert_eq!(share(&mut workspace, text), Answer::Leave, "{text}");
    }
}

#[test]
fn what_is_not_there_is_said_with_no_hint_but_one_that_helps() {
    let world = World::new();
    let refused = |workspace: &mut Workspace, text: &str, makes: bool| match workspace
        .share(&Named { makes, ..named(text, Reason::Schema(Sign::Name)) })
    {
        Answer::Refused(refusal) => (refusal.reason, refusal.hint),
        other => panic!("{other:?}"),
    };
    // By itself: in a temporary directory the guest may have something of its own.
    let absent = |workspace: &Workspace, text: &str, makes: bool| {
        let refusal = words::absent(&workspace.scope.absolute(text), &workspace.scope, makes);
        (refusal.reason, refusal.hint)
    };
    let elsewhere = world.home.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let (cwd, home) = (world.cwd.display(), world.home.display());
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let mut workspace = world.with(&world.cwd, &[], access);
        // Where it may write, the server says that its own copy is not there.
        if access == Access::ReadOnly {
            for typo in [format!("{cwd}/nots.txt"), "~/project/none/nots.txt".to_owned()] {
                assert_eq!(refused(&mut workspace, &typo, false), ("is not there".to_owned(), None));
            }
        }
        for makes in [false, true] {
            let below = refused(&mut workspace, "~/project/in.txt/x/y", makes);
            assert_eq!(below, (format!("is not there: {cwd}/in.txt is no directory"), None));
            let below = absent(&workspace, "~/out.txt/x", makes);
            assert_eq!(below, (format!("is not there: {home}/out.txt is no directory"), None));
        }
        let (reason, hint) = absent(&workspace, "~/nots.txt", false);
        assert!(reason.starts_with("is not there, and is outside") && hint.is_none(), "{reason} {hint:?}");
        let mount = format!("--mount {}", elsewhere.display());
        let (reason, hint) = absent(&workspace, "~/elsewhere/none/nots.txt", false);
        assert!(reason.starts_with("is not there"), "{reason}");
        assert_eq!(hint.unwrap(), format!("start npxc with {mount}"));
        let (_, hint) = refused(&mut workspace, "../elsewhere/none/nots.txt", true);
        assert!(hint.as_ref().unwrap().ends_with(&format!("or with {mount}:rw")), "{hint:?}");
        let (_, hint) = refused(&mut workspace, "~/out.txt", true);
        assert_eq!(hint.unwrap(), format!("start npxc with --mount {home}/out.txt:rw"));
    }
    let mut workspace = world.here();
    fs::File::create(world.cwd.join("large")).unwrap().set_len((512 << 20) + 1).unwrap();
    let (_, hint) = refused(&mut workspace, "large", false);
    assert_eq!(hint.unwrap(), format!("start npxc with --mount {cwd}, of which no copy is made"));
    symlink(world.home.join("none"), world.cwd.join("nowhere")).unwrap();
    let (reason, hint) = refused(&mut workspace, "nowhere", false);
    assert!(reason.contains("leads out") && hint.is_none(), "{reason} {hint:?}");
}

#[test]
fn home_and_what_holds_it_are_no_scope() {
    let world = World::new();
    let file = world.cwd.join("in.txt").display().to_string();
    for cwd in [Path::new("/"), &world.home, world.home.parent().unwrap()] {
        let mut workspace = world.workspace(cwd, &[]);
        let Answer::Refused(refusal) = share(&mut workspace, &file) else { panic!() };
        assert_eq!(refusal.code, "outside-scope");
        assert!(refusal.hint.unwrap().contains("--cwd"), "{}", refusal.reason);
    }
}

#[test]
fn what_is_mounted_is_not_copied() {
    let world = World::new();
    let mount = |guest: PathBuf| Mount { host: world.cwd.clone(), guest, access: Access::ReadOnly };
    let file = world.cwd.join("in.txt").display().to_string();
    let mut same = world.workspace(&world.home, &[mount(world.cwd.clone())]);
    assert_eq!(share(&mut same, &file), Answer::Leave);
    let mut other = world.workspace(&world.home, &[mount("/data".into())]);
    assert_eq!(share(&mut other, &file), Answer::At("/data/in.txt".to_owned()));
    assert_eq!(share(&mut other, "/data/new.txt"), Answer::Leave);
}

#[test]
fn a_shelf_that_was_left_is_removed() {
    let world = World::new();
    let parent = world.cache.join("shared");
    fs::create_dir_all(parent.join("dead/files/1")).unwrap();
    fs::write(parent.join("dead/lock"), "").unwrap();
    let shelf = |name| Shelf::new(&parent, name, Access::ReadOnly, None).unwrap();
    let (_lease, living) = shelf("living");
    let _other = shelf("other");
    assert!(!parent.join("dead").exists());
    assert!(living.visible().is_dir());
}

/// The same names with a link swapped in and out while they are opened.
#[cfg(target_os = "linux")]
#[test]
fn a_link_that_is_swapped_in_leads_nowhere() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let world = World::new();
    let (file, link, spare) = (world.cwd.join("race"), world.cwd.join("link"), world.cwd.join("spare"));
    fs::write(&file, "inside").unwrap();
    symlink(world.home.join("out.txt"), &link).unwrap();
    fs::write(&spare, "inside").unwrap();
    let root = beneath::directory(&world.cwd).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for other in [&link, &spare] {
                    let _ = rustix::fs::renameat_with(
                        rustix::fs::CWD,
                        other,
                        rustix::fs::CWD,
                        &file,
                        rustix::fs::RenameFlags::EXCHANGE,
                    );
                }
            }
        });
        for _ in 0..2000 {
            if let Ok(opened) = beneath::open_file(&root, Path::new("race"), beneath::Links::Inside) {
                let text = io::read_to_string(opened.file).unwrap();
                assert_eq!(text, "inside");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_link_that_leads_out_is_spoken_of_when_a_call_names_it() {
    let world = World::new();
    let mut workspace = world.here();
    symlink(world.home.join("out.txt"), world.cwd.join("out")).unwrap();
    let copied = share(&mut workspace, world.cwd.to_str().unwrap());
    assert!(copy(&workspace, &copied).join("in.txt").exists());
    assert_eq!(*world.said.lock().unwrap(), [""; 0]);
    assert_eq!(code(share(&mut workspace, "out")), "outside-scope");
}

#[test]
fn what_the_system_does_not_let_be_copied_has_its_reason_and_a_hint() {
    let error = io::Error::from(io::ErrorKind::IsADirectory);
    let refusal = words::unkept(&error.into());
    assert_eq!(refusal.reason, "cannot be copied: is a directory");
    assert!(refusal.hint.unwrap().contains("--mount"));
}

#[test]
fn a_dry_shelf_judges_as_any_other_and_copies_nothing() {
    let world = World::new();
    fs::File::create(world.cwd.join("large")).unwrap().set_len((512 << 20) + 1).unwrap();
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let (mut wet, mut dry) = (world.with(&world.cwd, &[], access), world.with(&world.cwd, &[], access));
        dry.shelf = dry.shelf.dry();
        dry.recorder = Recorder::none();
        for text in ["in.txt", "in.txt", "large", "none.txt", "../out.txt", ".", "."] {
            let named = named(text, Reason::Schema(Sign::Name));
            assert_eq!(dry.share(&named), wet.share(&named), "{text}");
            if text == "large" {
                fs::remove_file(world.cwd.join("large")).unwrap();
            }
        }
        fs::File::create(world.cwd.join("large")).unwrap().set_len((512 << 20) + 1).unwrap();
        let copied = dry.shelf.visible().join("1/in.txt");
        assert!(!copied.exists() && wet.shelf.visible().join("1/in.txt").exists());
    }
}
