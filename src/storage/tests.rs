#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::package::{HostEnv, Request};

struct World {
    _directory: tempfile::TempDir,
    base: PathBuf,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let base = directory.path().canonicalize().unwrap();
        for path in ["entry/node_modules/p/dist", "entry/node_modules/q"] {
            fs::create_dir_all(base.join(path)).unwrap();
        }
        fs::write(base.join("entry/node_modules/p/dist/index.js"), "1").unwrap();
        symlink("p", base.join("entry/node_modules/link")).unwrap();
        Self { _directory: directory, base }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.base.join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn storage(&self, name: &str, persist: bool) -> Storage {
        let (data, cache, folder) = (self.at("data"), self.at("cache"), self.at("entry"));
        let folder = Some(folder.as_path());
        Storage::of(&Wanted { data: &data, cache: &cache, name, folder, persist, owner: None }).unwrap()
    }
}

const INSIDE: &str = "/opt/npxc/package/node_modules/p";
const UPPER: &str = "data/packages/p/folder/upper/node_modules/p";

fn named(spec: &str, cwd: &Path) -> String {
    let host = HostEnv { vars: [].into(), cwd: cwd.to_owned(), home: cwd.to_owned() };
    let request = Request::of(spec.parse().unwrap()).resolve(&host).unwrap();
    name(request.request.packages.iter().zip(&request.packages))
}

/// Of packages that are installed together.
fn together(specs: &[&str], cwd: &Path) -> String {
    let host = HostEnv { vars: [].into(), cwd: cwd.to_owned(), home: cwd.to_owned() };
    let resolve = |spec: &&str| Request::of(spec.parse().unwrap()).resolve(&host).unwrap();
    let all: Vec<_> = specs.iter().map(resolve).collect();
    name(all.iter().map(|one| (&one.request.packages[0], &one.packages[0])))
}

#[test]
fn no_two_packages_have_the_same_place() {
    let world = World::new();
    for path in ["one", "two"] {
        // Whatever it calls itself.
        world.write(&format!("{path}/package.json"), r#"{"name":"a-b"}"#);
    }
    world.write("one.tgz", "");
    let specs =
        ["@a/b", "a-b", "a_b", "A-b", "x@npm:a-b", "y@npm:a-b", "x@npm:@a/b", "./one", "./two", "./one.tgz"];
    let mut names: BTreeSet<String> = specs.iter().map(|spec| named(spec, &world.base)).collect();
    let several = [&["a-b", "x"][..], &["x", "a-b"], &["a-b", "./one"], &["a-b", "x", "./one"]];
    names.extend(several.map(|specs| together(specs, &world.base)));
    assert_eq!(names.len(), specs.len() + several.len(), "{names:?}");
    assert!(names.iter().all(|name| !name.contains('/') && !name.starts_with('.')), "{names:?}");
    // All versions of one do, and a local one however its path is written.
    assert_eq!(named("a-b@1.2.3", &world.base), named("a-b@next", &world.base));
    assert_eq!(named("./one", &world.base), named("./two/../one", &world.base));
}

#[test]
fn what_is_kept_is_private_and_ones_own() {
    let world = World::new();
    let storage = world.storage("p", true);
    let (layer, data) = (storage.layer(Path::new(INSIDE)).unwrap(), storage.data().unwrap());
    assert_eq!((data.guest.as_path(), data.access), (Path::new("/data"), Access::ReadWrite));
    assert_eq!(layer.guest, Path::new(INSIDE));
    let kept = layer.kept.unwrap();
    for path in [&data.host, &kept, &kept.join("upper"), &kept.join("work"), &world.at("data/packages")] {
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o700, "{}", path.display());
    }
    let other = world.storage("q", true);
    assert_ne!(other.data().unwrap().host, data.host);
    assert_ne!(other.layer(Path::new(INSIDE)).unwrap().kept.unwrap(), kept);
    assert!(storage.warnings().is_empty() && other.warnings().is_empty());
    let none = world.storage("p", false);
    assert_eq!((none.data(), none.layer(Path::new(INSIDE)).unwrap().kept), (None, None));
}

#[test]
fn one_session_at_a_time_has_the_lasting_folder() {
    let world = World::new();
    let first = world.storage("p", true);
    let second = world.storage("p", true);
    assert_eq!(first.data(), second.data());
    assert!(first.layer(Path::new(INSIDE)).unwrap().kept.is_some());
    assert_eq!(second.layer(Path::new(INSIDE)).unwrap().kept, None);
    assert!(second.warnings()[0].contains("another session"), "{:?}", second.warnings());
    drop((first, second));
    assert!(world.storage("p", true).layer(Path::new(INSIDE)).unwrap().kept.is_some());
}

#[test]
fn without_layers_data_lasts_and_that_is_said() {
    let world = World::new();
    let (data, cache) = (world.at("data"), world.at("cache"));
    let wanted = Wanted { data: &data, cache: &cache, name: "p", folder: None, persist: true, owner: None };
    let storage = Storage::of(&wanted).unwrap();
    assert!(storage.layer(Path::new(INSIDE)).is_none() && storage.data().is_some());
    assert!(storage.warnings()[0].contains("only /data lasts"));
    let silent = Storage::of(&Wanted { persist: false, ..wanted }).unwrap();
    assert!(
        silent.layer(Path::new(INSIDE)).is_none() && silent.data().is_none() && silent.warnings().is_empty()
    );
}

#[test]
fn directories_are_repeated_writable_and_without_files() {
    let world = World::new();
    for path in ["entry/node_modules/p/dist", "entry/node_modules/p", "entry/node_modules", "entry"] {
        fs::set_permissions(world.at(path), fs::Permissions::from_mode(0o555)).unwrap();
    }
    let storage = world.storage("p", false);
    let tree = storage.layer(Path::new(INSIDE)).unwrap().directories;
    assert_eq!(tree.join("node_modules/p/dist").metadata().unwrap().mode() & 0o700, 0o700);
    assert_eq!(fs::read_dir(tree.join("node_modules/p/dist")).unwrap().count(), 0);
    assert!(!tree.join("node_modules/link").is_symlink() && !tree.join("node_modules/link").exists());
    assert_eq!(world.at("entry").metadata().unwrap().mode() & 0o777, 0o555);
    let inode = tree.metadata().unwrap().ino();
    let again = world.storage("p", false).layer(Path::new(INSIDE)).unwrap().directories;
    assert_eq!((again.metadata().unwrap().ino(), &again), (inode, &tree), "it was there");
}

#[test]
fn small_data_files_that_a_package_came_with_can_be_written() {
    let world = World::new();
    let large = "x".repeat(1 << 20) + "x";
    for (path, text) in [
        ("settings.json", "{}"),
        ("large.json", &large),
        ("package.json", "{}"),
        ("lib/list.TXT", "a"),
        ("node_modules/q/settings.json", "{}"),
    ] {
        world.write(&format!("entry/{path}"), text);
        fs::set_permissions(world.at(&format!("entry/{path}")), fs::Permissions::from_mode(0o444)).unwrap();
    }
    symlink("settings.json", world.at("entry/link.json")).unwrap();
    let tree = world.storage("p", false).layer(Path::new(INSIDE)).unwrap().directories;
    for (path, copied) in [
        ("settings.json", true),
        ("lib/list.TXT", true),
        ("large.json", false),
        ("package.json", false),
        ("link.json", false),
        ("node_modules/q/settings.json", false),
    ] {
        assert_eq!(tree.join(path).symlink_metadata().is_ok(), copied, "{path}");
    }
    assert_eq!(tree.join("settings.json").metadata().unwrap().mode() & 0o777, 0o644);
    assert_eq!(world.at("entry/settings.json").metadata().unwrap().mode() & 0o777, 0o444);
}

/// Puts another entry in the place of the one that is there.
fn replace(world: &World) {
    fs::rename(world.at("entry"), world.at("old")).unwrap();
    for path in ["entry/node_modules/p/dist", "entry/node_modules/p/new"] {
        fs::create_dir_all(world.at(path)).unwrap();
    }
    world.write("entry/node_modules/p/dist/index.js", "2");
    world.write("entry/node_modules/p/dist/more.js", "2");
    world.write("entry/node_modules/p/turned", "2");
}

#[test]
fn directories_of_entries_that_have_gone_are_removed_when_nobody_has_them() {
    let world = World::new();
    let first = world.storage("p", false);
    let tree = first.layer(Path::new(INSIDE)).unwrap().directories;
    replace(&world);
    let second = world.storage("p", false);
    assert_ne!(second.layer(Path::new(INSIDE)).unwrap().directories, tree);
    assert!(tree.exists(), "a session has it");
    drop(first);
    fs::rename(world.at("old"), world.at("entry2")).unwrap();
    replace_again(&world);
    let third = world.storage("p", false);
    assert!(!tree.exists());
    assert!(third.layer(Path::new(INSIDE)).unwrap().directories.join("node_modules").is_dir());
}

fn replace_again(world: &World) {
    fs::rename(world.at("entry"), world.at("old")).unwrap();
    fs::create_dir_all(world.at("entry/node_modules")).unwrap();
}

#[test]
fn a_new_version_wins_over_what_the_package_changed_of_the_old_one() {
    let world = World::new();
    drop(world.storage("p", true));
    world.write("outside", "the user's");
    world.write(&format!("{UPPER}/dist/memory.jsonl"), "remembered");
    world.write(&format!("{UPPER}/dist/index.js"), "patched");
    world.write(&format!("{UPPER}/dist/own/deep.json"), "own");
    world.write(&format!("{UPPER}/turned/in"), "a directory where the new version has a file");
    symlink(world.at("outside"), world.at(&format!("{UPPER}/dist/more.js"))).unwrap();
    symlink(world.base.as_path(), world.at(&format!("{UPPER}/new"))).unwrap();
    replace(&world);

    let storage = world.storage("p", true);
    let left = |path: &str| world.at(&format!("{UPPER}/{path}")).symlink_metadata().is_ok();
    assert!(left("dist/memory.jsonl") && left("dist/own/deep.json"));
    for gone in ["dist/index.js", "dist/more.js", "turned", "new"] {
        assert!(!left(gone), "{gone}");
    }
    let [warning] = storage.warnings() else { panic!("{:?}", storage.warnings()) };
    assert!(warning.contains("4 files") && warning.contains("replaced"), "{warning}");
    assert_eq!(fs::read_to_string(world.at("outside")).unwrap(), "the user's");
    let aside = world.at("data/packages/p/replaced").join(stamp(&world.at("entry")).unwrap());
    assert_eq!(fs::read_to_string(aside.join("index.js")).unwrap(), "patched");
    drop(storage);
    assert!(world.storage("p", true).warnings().is_empty(), "once");
}

#[cfg(target_os = "linux")]
#[test]
fn what_the_old_version_removed_is_there_again() {
    // The kernel's note on a removed file; anybody may make one, and any file system of a test's has them.
    let world = World::new();
    drop(world.storage("p", true));
    let note = world.at(&format!("{UPPER}/dist/index.js"));
    fs::create_dir_all(note.parent().unwrap()).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &note, rustix::fs::FileType::CharacterDevice, mode, 0).unwrap();
    replace(&world);
    assert!(world.storage("p", true).warnings().is_empty());
    assert!(!note.exists());
}

#[test]
fn a_place_that_is_a_link_is_not_followed() {
    let world = World::new();
    drop(world.storage("p", true));
    fs::create_dir(world.at("elsewhere")).unwrap();
    let data = world.at("data/packages/p/data");
    fs::remove_dir(&data).unwrap();
    symlink(world.at("elsewhere"), &data).unwrap();
    let (home, cache) = (world.at("data"), world.at("cache"));
    let wanted = Wanted { data: &home, cache: &cache, name: "p", folder: None, persist: true, owner: None };
    assert!(Storage::of(&wanted).is_err());
}

fn written(world: &World) -> Written {
    Written::of(open_directory(&world.at("upper")).unwrap().into()).unwrap()
}

#[test]
fn what_is_lost_is_said_in_one_line() {
    let world = World::new();
    world.write("upper/node_modules/p/dist/memory.jsonl", &"x".repeat(71));
    let words = written(&world).words("p@1").unwrap();
    assert_eq!(words, "what p@1 wrote into its own folder is lost: memory.jsonl, 71 bytes");
    for number in 0..9 {
        world.write(&format!("upper/node_modules/p/{number}"), &"x".repeat(2000));
    }
    let words = written(&world).words("p@1").unwrap();
    assert!(words.contains(" and 7 more, 17 KiB"), "{words}");
    for number in 0..100 {
        world.write(&format!("upper/many/{number}/file"), "x");
    }
    assert!(written(&world).words("p@1").unwrap().contains(", at least 17 KiB"));
}

#[test]
fn what_nobody_misses_is_not_said() {
    let world = World::new();
    for path in ["node_modules/.cache/x/y", "dist/__pycache__/a.pyc", "node-compile-cache/v22/a", "p/Cache/b"]
    {
        world.write(&format!("upper/{path}"), "made again");
    }
    world.write("upper/lock", "");
    fs::create_dir(world.at("upper/empty")).unwrap();
    symlink("/etc/passwd", world.at("upper/passwd")).unwrap();
    // Not what a link leads to, either.
    world.write("outside/secret", "the user's");
    symlink(world.at("outside"), world.at("upper/outside")).unwrap();
    assert_eq!(written(&world), Written::default());
    assert_eq!(written(&world).words("p@1"), None);
}
