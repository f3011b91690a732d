//! Names that change while files are shared and collected: a hundred thousand tries, and none may lead out.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{AtFlags, CWD, RenameFlags, renameat_with, unlinkat};

use super::*;

/// Publications and collections.
const TRIES: usize = 100_000;
/// What must never be read or written.
const SECRET: &str = "outside";

/// Puts a link to the outside in the place of the directory, or of the file in it, and takes it away again; once in each
/// round, at another moment of it each time. Without pauses nobody else would get the kernel's lock of the directory.
fn swap(cwd: &Path, sub: &OwnedFd, rounds: &AtomicUsize) {
    let mut seen = 0;
    loop {
        let round = rounds.load(Ordering::Acquire);
        if round == usize::MAX {
            return;
        }
        if round == seen {
            std::thread::park();
            continue;
        }
        seen = round;
        for _ in 0..round.wrapping_mul(2_654_435_761) % 2000 {
            std::hint::spin_loop();
        }
        if round.is_multiple_of(3) {
            renameat_with(CWD, cwd.join("sub"), CWD, cwd.join("out"), RenameFlags::EXCHANGE).unwrap();
        } else {
            // In the real directory, whatever it is called now. npxc may have the file in its hands.
            let _ = renameat_with(sub, "race.txt", sub, "bait", RenameFlags::EXCHANGE);
        }
    }
}

/// Ends the swapping, also when an assertion fails.
struct End<'a>(&'a AtomicUsize, std::thread::Thread);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(usize::MAX, Ordering::Release);
        self.1.unpark();
    }
}

#[test]
fn row_41_no_swapped_link_leads_out() {
    // Where a rename costs no disk's time: a file system may write a file out before another one is renamed over it.
    let memory = Path::new("/dev/shm");
    let world = if memory.is_dir() { World::within(memory) } else { World::new() };
    let (sub, outside) = (world.cwd.join("sub"), world.home.join("outside"));
    fs::create_dir(&sub).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(sub.join("race.txt"), "inside").unwrap();
    fs::write(outside.join("race.txt"), SECRET).unwrap();
    symlink(&outside, world.cwd.join("out")).unwrap();
    symlink(outside.join("race.txt"), sub.join("bait")).unwrap();
    let real = beneath::directory(&sub).unwrap();
    let mut workspace = world.writable();
    let rounds = AtomicUsize::new(0);
    let cwd = world.cwd.as_path();
    let (mut shared, mut collected, mut saved, mut refused) = (0, 0, 0, 0);
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| swap(cwd, &real, &rounds));
        let end = End(&rounds, swapper.thread().clone());
        let mut round = 0;
        while shared + refused + collected < TRIES {
            round += 1;
            rounds.store(round, Ordering::Release);
            swapper.thread().unpark();
            if round.is_multiple_of(16) {
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
            collected += 1;
            saved += usize::from(unsaved.is_empty());
        }
        drop(end);
        swapper.join().unwrap();
    });
    // How often a swap came in between is the scheduler's to say; that some did is seen in what was refused.
    assert!(saved > 0 && refused > 0, "{shared} {collected} {saved} {refused}");
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["race.txt"]);
    assert_eq!(fs::read_to_string(outside.join("race.txt")).unwrap(), SECRET);
    assert_eq!(fs::read_to_string(world.home.join("out.txt")).unwrap(), SECRET);
}
