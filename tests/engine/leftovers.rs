//! What a killed npxc leaves, the next one finds: that, and nothing else.

use npxc::runtime::engine::leftovers;

use super::world::{IMAGE, alone, sh, start, world};

#[test]
fn exactly_what_a_dead_npxc_left_is_removed() {
    let Some(world) = world() else { return };
    let _alone = alone();
    let engine = world.engine();
    // A container of a living npxc, whose labels a dead one's are made of.
    let running = start(&engine, &sh("sleep 600"));
    let living = world.known().trim().to_owned();
    let format = "{{index .Config.Labels \"npxc.realm\"}}";
    let realm = world.command(&["container", "inspect", "--format", format, &living]);
    let realm = format!("npxc.realm={}", String::from_utf8(realm.stdout).unwrap().trim());

    let dead =
        ["--label", "npxc.session=0", "--label", "npxc.pid=1", "--label", "npxc.start=1", "--label", &realm];
    let create = |name: &str, labels: &[&str]| {
        let words = [&["create", "--pull", "never", "--name", name], labels, &[IMAGE, "true"]].concat();
        let output = world.command(&words);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let words = [&["network", "create", "--internal"], labels, &[name]].concat();
        let output = world.command(&words);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    create("npxc-dead", &dead);
    create("npxc-bare", &[]);
    create("npxc-elsewhere", &[&dead[..6], &["--label", "npxc.realm=1.1"]].concat());

    let removed = leftovers::remove(&engine).unwrap();
    assert_eq!(removed.containers, ["npxc-dead"]);
    assert_eq!(removed.networks, ["npxc-dead"]);
    assert!(removed.failed.is_empty(), "{:?}", removed.failed);
    let known = world.known();
    for name in ["npxc-bare", "npxc-elsewhere", living.as_str()] {
        assert!(known.contains(name), "{name}: {known}");
    }
    for name in ["npxc-bare", "npxc-elsewhere"] {
        assert!(world.command(&["rm", name]).status.success());
        assert!(world.command(&["network", "rm", name]).status.success());
    }
    drop(running);
    assert_eq!(world.known(), "");
    assert!(leftovers::remove(&engine).unwrap().is_empty());
}
