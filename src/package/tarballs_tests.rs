#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;

use super::*;

/// Shared tarballs, and an npm cache to which they are lent.
struct World {
    dir: tempfile::TempDir,
    shared: Tarballs,
    cache: PathBuf,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let shared = Tarballs::at(dir.path().join("store/tarballs"), "a1".to_owned());
        let cache = dir.path().join("cache");
        fs::create_dir(&cache).unwrap();
        shared.lend(&cache).unwrap();
        Self { dir, shared, cache }
    }

    /// A cache of its own with what these share.
    fn lent(&self, shared: &Tarballs, name: &str) -> (PathBuf, Mount) {
        let cache = self.dir.path().join(name);
        fs::create_dir(&cache).unwrap();
        let mount = shared.lend(&cache).unwrap();
        (cache, mount)
    }

    fn keep(&self, integrities: &[&String]) -> io::Result<()> {
        self.shared.keep(&self.cache, integrities.iter().map(|one| one.as_str()))
    }

    /// Where it is kept.
    fn own(&self, integrity: &str) -> PathBuf {
        self.shared.own(&digest(integrity).unwrap())
    }
}

/// An npm cache with this content under the digest of another, and the integrity that names it.
fn cached(cache: &Path, content: &[u8], under: &[u8]) -> String {
    let digest = Sha512::digest(under);
    let at = cache.join(CONTENT).join(place(&HEXLOWER.encode(&digest)).unwrap());
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::write(at, content).unwrap();
    format!("sha1-xyz= sha512-{}?some", BASE64.encode(&digest))
}

/// Where a cache has it.
fn content(cache: &Path, integrity: &str) -> PathBuf {
    cache.join(CONTENT).join(place(&digest(integrity).unwrap()).unwrap())
}

fn names(directory: &Path) -> Vec<String> {
    let all = fs::read_dir(directory).unwrap();
    let mut all: Vec<_> = all.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

/// A file of nothing but holes that was changed then.
fn sparse(path: &Path, length: u64, changed: SystemTime) {
    let file = File::create(path).unwrap();
    file.set_len(length).unwrap();
    file.set_times(FileTimes::new().set_modified(changed)).unwrap();
}

#[test]
fn only_what_has_the_digest_and_was_asked_for_is_kept() {
    let world = World::new();
    let cache = &world.cache;
    let good = cached(cache, b"good", b"good");
    let forged = cached(cache, b"forged", b"wanted");
    cached(cache, b"other", b"other");
    // A link to what the guest could not read itself, a directory, and a pipe that would be waited for.
    let secret = world.dir.path().join("secret");
    fs::write(&secret, b"secret").unwrap();
    let odd = |under: &[u8], make: &dyn Fn(&Path)| {
        let integrity = cached(cache, b"", under);
        let at = content(cache, &integrity);
        fs::remove_file(&at).unwrap();
        make(&at);
        integrity
    };
    let link = odd(b"secret", &|at| symlink(&secret, at).unwrap());
    // And one on the way there.
    let elsewhere = world.dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let away = cached(&elsewhere, b"away", b"away");
    let first = |cache: &Path| cache.join(CONTENT).join(&digest(&away).unwrap()[..2]);
    symlink(first(&elsewhere), first(cache)).unwrap();
    let directory = odd(b"a", &|at| fs::create_dir(at).unwrap());
    let pipe = odd(b"", &|at| {
        rustix::fs::mknodat(rustix::fs::CWD, at, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    });
    // Nothing but holes, and longer than any package.
    let holes = odd(b"b", &|at| sparse(at, 1 << 40, SystemTime::now()));
    let none = format!("sha512-{}", BASE64.encode(&[0; 64]));
    let nonsense = ["sha512-", "sha512-../../x", "sha1-AA==", ""].map(str::to_owned);
    let all = [&good, &forged, &link, &directory, &pipe, &holes, &away, &none];
    world.keep(&all.into_iter().chain(&nonsense).collect::<Vec<_>>()).unwrap();
    let own = world.own(&good);
    assert_eq!(names(&world.shared.directory), [own.file_name().unwrap().to_str().unwrap()]);
    assert_eq!(fs::read(&own).unwrap(), b"good");
    assert_eq!(fs::metadata(&own).unwrap().permissions().mode() & 0o777, 0o444);

    // The next cache has a link to it, which leads there inside the guest.
    let (next, mount) = world.lent(&world.shared, "next");
    assert_eq!((mount.host.as_path(), mount.access), (world.shared.directory.as_path(), Access::ReadOnly));
    let link = fs::read_link(content(&next, &good)).unwrap();
    assert_eq!(link, mount.guest.join(own.file_name().unwrap()));
    // What was damaged here is replaced by what npm has downloaded again.
    fs::set_permissions(&own, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&own, b"bad").unwrap();
    world.keep(&[&good]).unwrap();
    assert_eq!(fs::read(&own).unwrap(), b"good");
}

/// Whoever knows the digest of a private package's tarball has not its token.
#[test]
fn what_another_realm_downloaded_is_not_lent() {
    let world = World::new();
    let private = cached(&world.cache, b"private", b"private");
    world.keep(&[&private]).unwrap();
    for (realm, is_lent) in [("a1", true), ("b2", false), ("a", false)] {
        let other = Tarballs { realm: realm.to_owned(), ..world.shared.clone() };
        let (cache, _) = world.lent(&other, &format!("cache of {realm}"));
        assert_eq!(content(&cache, &private).is_symlink(), is_lent, "{realm}");
    }
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let world = World::new();
    let integrities: Vec<_> = [b"a", b"b", b"c"].map(|text| cached(&world.cache, text, text)).into();
    world.keep(&integrities.iter().collect::<Vec<_>>()).unwrap();
    for (integrity, seconds) in integrities.iter().zip(1000..) {
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::open(world.own(integrity)).unwrap().set_times(FileTimes::new().set_modified(then)).unwrap();
    }
    // Longer than all that is kept, and another realm's. And half a file of an npxc that was killed.
    let directory = &world.shared.directory;
    let large = directory.join(format!("b2-{}", "f".repeat(128)));
    sparse(&large, MOST_BYTES - 1, SystemTime::now());
    for (name, age) in [("1", 2 * PART_LASTS), ("2", PART_LASTS / 2)] {
        sparse(&directory.join(format!("{PART}-{name}")), 0, SystemTime::now() - age);
    }
    world.keep(&[&integrities[0]]).unwrap();
    let left: Vec<_> = integrities.iter().map(|one| world.own(one).exists()).collect();
    assert_eq!((&left[..], large.exists()), (&[true, false, false][..], true));
    assert_eq!(names(directory).len(), 3, "one of the parts may still be written");
}

#[test]
fn a_file_that_cannot_be_kept_does_not_keep_the_others_or_the_bound_from_it() {
    let world = World::new();
    let [bad, good] = [b"bad", b"new"].map(|text| cached(&world.cache, text, text));
    // Nothing can be renamed to where a directory with something in it is.
    fs::create_dir_all(world.own(&bad).join("x")).unwrap();
    let too_much = world.shared.directory.join("f".repeat(128));
    sparse(&too_much, MOST_BYTES, SystemTime::UNIX_EPOCH);
    assert!(world.keep(&[&bad, &good]).is_err());
    assert!(world.own(&good).is_file() && !too_much.exists());
}
