#![allow(clippy::unwrap_used)]

use super::*;

/// An npm cache with this content under the digest of another, and the integrity that names it.
fn cached(cache: &Path, content: &[u8], under: &[u8]) -> String {
    let digest = Sha512::digest(under);
    let at = cache.join(CONTENT).join(place(&HEXLOWER.encode(&digest)).unwrap());
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::write(at, content).unwrap();
    format!("sha1-xyz= sha512-{}?some", BASE64.encode(&digest))
}

fn names(directory: &Path) -> Vec<String> {
    let mut all: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    all.sort();
    all
}

#[test]
fn only_what_has_the_digest_and_was_asked_for_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (shared, cache) = (Tarballs::at(dir.path().join("store/tarballs")), dir.path().join("cache"));
    fs::create_dir(&cache).unwrap();
    shared.lend(&cache).unwrap();
    let good = cached(&cache, b"good", b"good");
    let forged = cached(&cache, b"forged", b"wanted");
    cached(&cache, b"other", b"other");
    // A link to what the guest could not read itself, a directory, and a pipe that would be waited for.
    let secret = dir.path().join("secret");
    fs::write(&secret, b"secret").unwrap();
    let odd = |content: &[u8], make: &dyn Fn(&Path)| {
        let integrity = cached(&cache, b"", content);
        let at = cache.join(CONTENT).join(place(&digest(&integrity).unwrap()).unwrap());
        fs::remove_file(&at).unwrap();
        make(&at);
        integrity
    };
    let link = odd(b"secret", &|at| std::os::unix::fs::symlink(&secret, at).unwrap());
    // And one on the way there.
    let elsewhere = dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let away = cached(&elsewhere, b"away", b"away");
    let first = |cache: &Path| cache.join(CONTENT).join(&digest(&away).unwrap()[..2]);
    std::os::unix::fs::symlink(first(&elsewhere), first(&cache)).unwrap();
    let directory = odd(b"a", &|at| fs::create_dir(at).unwrap());
    let pipe = odd(b"", &|at| {
        rustix::fs::mknodat(rustix::fs::CWD, at, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
    });
    // Nothing but holes, and longer than any package.
    let sparse = odd(b"b", &|at| File::create(at).unwrap().set_len(1 << 40).unwrap());
    let none = format!("sha512-{}", BASE64.encode(&[0; 64]));
    let nonsense = ["sha512-", "sha512-../../x", "sha1-AA==", ""];
    let all = [&good, &forged, &link, &directory, &pipe, &sparse, &away, &none].map(String::as_str);
    shared.keep(&cache, all.into_iter().chain(nonsense)).unwrap();
    assert_eq!(names(&shared.directory), [digest(&good).unwrap()]);
    assert_eq!(fs::read(shared.directory.join(digest(&good).unwrap())).unwrap(), b"good");
    let mode = fs::metadata(shared.directory.join(digest(&good).unwrap())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o444);

    // The next cache has a link to it, which leads there inside the guest.
    let next = dir.path().join("next");
    fs::create_dir(&next).unwrap();
    let mount = shared.lend(&next).unwrap();
    assert_eq!((mount.host.as_path(), mount.access), (shared.directory.as_path(), Access::ReadOnly));
    let link = fs::read_link(next.join(CONTENT).join(place(&digest(&good).unwrap()).unwrap())).unwrap();
    assert_eq!(link, mount.guest.join(digest(&good).unwrap()));
    // What was damaged here is replaced by what npm has downloaded again.
    let own = shared.directory.join(digest(&good).unwrap());
    fs::set_permissions(&own, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&own, b"bad").unwrap();
    shared.keep(&cache, std::iter::once(good.as_str())).unwrap();
    assert_eq!(fs::read(&own).unwrap(), b"good");
    shared.clear().unwrap();
    assert!(!shared.directory.exists());
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let (shared, cache) = (Tarballs::at(dir.path().join("tarballs")), dir.path().join("cache"));
    fs::create_dir(&cache).unwrap();
    shared.lend(&cache).unwrap();
    let integrities: Vec<_> = [b"a", b"b", b"c"].map(|content| cached(&cache, content, content)).into();
    shared.keep(&cache, integrities.iter().map(String::as_str)).unwrap();
    let file = |number: usize| shared.directory.join(digest(&integrities[number]).unwrap());
    for number in 0..3_u32 {
        let then = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000 + u64::from(number));
        let times = FileTimes::new().set_modified(then);
        File::open(file(number as usize)).unwrap().set_times(times).unwrap();
    }
    // Sparse: longer than all that is kept. And half a file of an npxc that was killed.
    let large = shared.directory.join("f".repeat(128));
    File::create(&large).unwrap().set_len(MOST_BYTES - 1).unwrap();
    for (name, age) in [("1", 2 * PART_LASTS), ("2", PART_LASTS / 2)] {
        let part = File::create(shared.directory.join(format!("{PART}-{name}"))).unwrap();
        part.set_times(FileTimes::new().set_modified(SystemTime::now() - age)).unwrap();
    }
    shared.keep(&cache, std::iter::once(integrities[0].as_str())).unwrap();
    let left = [0, 1, 2].map(|number| file(number).exists());
    assert_eq!((left, large.exists()), ([true, false, false], true));
    assert_eq!(names(&shared.directory).len(), 3, "one of the parts may still be written");
}

#[test]
fn a_file_that_cannot_be_kept_does_not_keep_the_others_or_the_bound_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let (shared, cache) = (Tarballs::at(dir.path().join("tarballs")), dir.path().join("cache"));
    fs::create_dir(&cache).unwrap();
    shared.lend(&cache).unwrap();
    let [bad, good] = [b"bad", b"new"].map(|content| cached(&cache, content, content));
    let place = |integrity: &str| shared.directory.join(digest(integrity).unwrap());
    // Nothing can be renamed to where a directory with something in it is.
    fs::create_dir_all(place(&bad).join("x")).unwrap();
    let too_much = shared.directory.join("f".repeat(128));
    let file = File::create(&too_much).unwrap();
    file.set_len(MOST_BYTES).unwrap();
    file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH)).unwrap();
    assert!(shared.keep(&cache, [&bad, &good].map(String::as_str).into_iter()).is_err());
    assert!(place(&good).is_file() && !too_much.exists());
}
