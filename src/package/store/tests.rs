use super::*;
use crate::package::entry::tests::manifest;
use crate::package::host::HostEnv;
use crate::package::request::Request;

fn resolved(spec: &str) -> Resolved {
    Request::of(spec.parse().unwrap()).resolve(&HostEnv::default()).unwrap()
}

fn fill(staging: &Staging, marker: &str) {
    fs::create_dir(staging.path().join("node_modules")).unwrap();
    fs::write(staging.path().join("marker"), marker).unwrap();
    let text = serde_json::to_vec(&manifest("p", &[("p", "node_modules/p/cli.js")])).unwrap();
    fs::write(staging.path().join(MANIFEST), text).unwrap();
}

#[test]
fn an_entry_appears_when_it_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let (store, node, request) = (Store::at(dir.path()), Node::for_tests(), resolved("p"));
    assert!(store.lookup(&request, &node).unwrap().is_none());
    let staging = store.stage().unwrap();
    fill(&staging, "1");
    assert!(store.lookup(&request, &node).unwrap().is_none());
    let entry = store.publish(staging, &request, &node).unwrap();
    let found = store.lookup(&request, &node).unwrap().unwrap();
    assert_eq!(found.manifest, entry.manifest);
    assert!(store.lookup(&resolved("p@1.0.0"), &node).unwrap().is_none());
    assert_eq!(fs::metadata(&found.dir).unwrap().mode() & 0o222, 0);
    let command = found.command(&request.request, &["x".into()], &node).unwrap();
    assert_eq!(command[1], "/opt/npxc/package/node_modules/p/cli.js");
    assert_eq!(command[2], "x");
}

#[test]
fn an_interrupted_install_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(dir.path());
    let staging = store.stage().unwrap();
    fill(&staging, "1");
    let path = staging.path().to_owned();
    drop(staging);
    assert!(!path.exists());
    // A killed process runs no destructor: what it leaves is unlocked.
    let left = dir.path().join("store/staging/left");
    fs::create_dir_all(left.join("x")).unwrap();
    let live = store.stage().unwrap();
    assert_eq!(sweep(&store), 1);
    assert!(!left.exists() && live.path().exists());
}

#[test]
fn only_one_installs() {
    let dir = tempfile::tempdir().unwrap();
    let (store, node, request) = (Store::at(dir.path()), Node::for_tests(), resolved("p"));
    let lock = store.try_lock(&request, &node).unwrap();
    assert!(lock.is_some());
    assert!(store.try_lock(&request, &node).unwrap().is_none());
    assert!(store.try_lock(&resolved("q"), &node).unwrap().is_some());
    drop(lock);
    assert!(store.try_lock(&request, &node).unwrap().is_some());
}

/// Sweeps until something goes: a process that another test is about to start has the lock as well until it is executed.
fn sweep(store: &Store) -> usize {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let gone = store.sweep();
        if gone > 0 || std::time::Instant::now() > until {
            return gone;
        }
        std::thread::yield_now();
    }
}

#[test]
fn replacing_and_removing_spares_who_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, node, request) = (Store::at(dir.path()), Node::for_tests(), resolved("p"));
    let staging = store.stage().unwrap();
    fill(&staging, "old");
    let old = store.publish(staging, &request, &node).unwrap();
    let staging = store.stage().unwrap();
    fill(&staging, "new");
    let new = store.publish(staging, &request, &node).unwrap();
    assert_eq!(fs::read_to_string(new.dir.join("marker")).unwrap(), "new");
    assert_eq!(store.sweep(), 0, "the old one is in use");
    let inside = rustix::fs::openat(&old.held, "marker", OFlags::RDONLY, rustix::fs::Mode::empty());
    assert!(inside.is_ok());
    drop(old);
    assert_eq!(sweep(&store), 1);

    let listed = store.list().unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(store.remove(&listed[0]).unwrap(), Removed::Later);
    assert!(store.lookup(&request, &node).unwrap().is_none());
    drop(new);
    assert_eq!(sweep(&store), 1);
    assert!(subdirectories(&dir.path().join("store/staging")).unwrap().is_empty());
}

#[test]
fn a_damaged_entry_counts_as_none() {
    let dir = tempfile::tempdir().unwrap();
    let (store, node, request) = (Store::at(dir.path()), Node::for_tests(), resolved("p"));
    let path = store.path(&request, &node);
    fs::create_dir_all(&path).unwrap();
    assert!(store.lookup(&request, &node).unwrap().is_none());
    fs::write(path.join(MANIFEST), "{\"schema\": 99}").unwrap();
    assert!(store.lookup(&request, &node).unwrap().is_none());
    assert_eq!(store.remove(&store.list().unwrap()[0]).unwrap(), Removed::Gone);
    let outside =
        Listed { dir: dir.path().join("elsewhere"), platform: String::new(), manifest: None, used: None };
    assert!(store.remove(&outside).is_err());
}

#[test]
fn the_last_start_is_known_and_use_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (store, node, request) = (Store::at(dir.path()), Node::for_tests(), resolved("p"));
    let staging = store.stage().unwrap();
    fill(&staging, "x");
    let entry = store.publish(staging, &request, &node).unwrap();
    let listed = || store.list().unwrap().remove(0);
    assert_eq!(listed().used, None);
    assert_eq!(listed().last_use(), Some(UNIX_EPOCH), "when it was installed");
    drop(store.try_lock(&request, &node).unwrap());
    let lock = store.lock_of(Some(node.platform_key().as_ref()), Some(request.key().as_ref()));
    let old = UNIX_EPOCH + Duration::from_hours(24);
    OpenOptions::new().write(true).open(&lock).unwrap().set_modified(old).unwrap();
    assert_eq!(listed().last_use(), Some(old));
    drop(store.try_lock(&request, &node).unwrap());
    assert_eq!(listed().last_use(), Some(old), "an install is no start");
    store.note_use(&entry);
    assert!(listed().last_use().unwrap() > old);
    assert!(store.is_in_use(&listed()));
    drop(entry);
    assert!(!store.is_in_use(&listed()));
}

#[test]
fn shared_tarballs_go_whatever_realm_they_are_of() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::at(dir.path());
    store.clear_tarballs().unwrap();
    for realm in ["a1", "b2"] {
        let cache = dir.path().join(realm);
        fs::create_dir(&cache).unwrap();
        let shared = store.tarballs(realm.to_owned()).lend(&cache).unwrap();
        fs::write(shared.host.join(format!("{realm}-x")), "x").unwrap();
    }
    store.clear_tarballs().unwrap();
    assert!(!store.root.join(TARBALLS).exists());
}
