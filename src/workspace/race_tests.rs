//! Names that change while files are shared and collected: a hundred thousand tries, and none may lead out.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, CWD, RenameFlags, renameat_with, unlinkat};

use super::*;

/// Each is one publication and one collection.
const ROUNDS: usize = 50_000;
/// What must never be read or written.
const SECRET: &str = "outside";

/// Puts a link to the outside in the place of the directory, and of the file in it, and takes it away again.
fn swap(world: &World, sub: &OwnedFd, done: &AtomicBool) {
    let path = |name: &str| world.cwd.join(name);
    while !done.load(Ordering::Relaxed) {
        for _ in 0..2 {
            renameat_with(CWD, path("sub"), CWD, path("out"), RenameFlags::EXCHANGE).unwrap();
        }
        for _ in 0..2 {
            // In the real directory, whatever it is called now. npxc may have the file in its hands.
            let _ = renameat_with(sub, "race.txt", sub, "bait", RenameFlags::EXCHANGE);
        }
    }
}

#[test]
fn row_41_no_swapped_link_leads_out() {
    let world = World::new();
    let (sub, outside) = (world.cwd.join("sub"), world.home.join("outside"));
    fs::create_dir(&sub).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(sub.join("race.txt"), "inside").unwrap();
    fs::write(outside.join("race.txt"), SECRET).unwrap();
    symlink(&outside, world.cwd.join("out")).unwrap();
    symlink(outside.join("race.txt"), sub.join("bait")).unwrap();
    let real = beneath::directory(&sub).unwrap();
    let mut workspace = world.writable();
    let done = AtomicBool::new(false);
    let (mut shared, mut saved, mut refused) = (0, 0, 0);
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| swap(&world, &real, &done));
        for round in 0..ROUNDS {
            if round % 16 == 0 {
                let tree = share(&mut workspace, "sub");
                if let Answer::Shared { .. } = tree {
                    let copied = fs::read_to_string(copy(&workspace, &tree).join("race.txt"));
                    assert_ne!(copied.unwrap_or_default(), SECRET);
                }
                for number in 1..=16 {
                    let _ = unlinkat(&real, format!("race.txt.npxc-{number}"), AtFlags::empty());
                }
            }
            let answer = share(&mut workspace, "sub/race.txt");
            let Answer::Shared { place, name, .. } = &answer else {
                refused += 1;
                continue;
            };
            shared += 1;
            let copied = copy(&workspace, &answer);
            assert_ne!(fs::read_to_string(&copied).unwrap_or_default(), SECRET);
            fs::write(&copied, round.to_string()).unwrap();
            let unsaved = workspace.collect(&[Write { place: *place, name: name.clone() }]);
            saved += usize::from(unsaved.is_empty());
        }
        done.store(true, Ordering::Relaxed);
        swapper.join().unwrap();
    });
    assert!(shared > 0 && saved > 0 && saved < shared && refused > 0, "{shared} {saved} {refused}");
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["race.txt"]);
    assert_eq!(fs::read_to_string(outside.join("race.txt")).unwrap(), SECRET);
    assert_eq!(fs::read_to_string(world.home.join("out.txt")).unwrap(), SECRET);
}
