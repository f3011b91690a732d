//! Packages that try to write or to point outside their entry (attack 42).

use serde_json::{Value, json};

use super::fixture::{Member, file, tarball};
use super::*;

fn link(path: &'static str, target: &'static str, kind: u8) -> Member {
    Member { path, kind, link: target, mode: 0o777, content: String::new() }
}

fn package() -> Value {
    json!({"name": "evil", "version": "1.0.0", "bin": "x.js"})
}

#[tokio::test]
async fn tarball_entries_stay_inside() {
    let world = World::new();
    let members = vec![
        file("package/x.js", ""),
        file("package/../../../../evil", "1"),
        file("package/../../../../../evil", "1"),
        file("../../../evil", "1"),
        file("/npxc-evil", "1"),
        link("package/out", "/etc/passwd", b'2'),
        link("package/up", "../../../..", b'2'),
        file("package/up/evil", "1"),
        link("package/hard", "/etc/passwd", b'1'),
        Member { path: "package/fifo", kind: b'6', link: "", mode: 0o644, content: String::new() },
        Member { path: "package/device", kind: b'3', link: "", mode: 0o644, content: String::new() },
    ];
    world.registry.publish(&package(), members);
    // npm leaves such entries out; whatever it would leave in, the check refuses.
    let entry = world.install(&["evil"]).await.unwrap();
    assert!(tree::check(&entry.dir).unwrap().is_ok());
    let inside = entry.dir.join("node_modules/evil");
    assert!(inside.join("x.js").exists());
    for name in ["out", "hard", "fifo", "device"] {
        assert!(fs::symlink_metadata(inside.join(name)).is_err(), "{name}");
    }
    world.assert_clean();
}

#[tokio::test]
async fn setuid_programs_are_refused() {
    let world = World::new();
    for mode in [0o4755, 0o2755] {
        let setuid = Member { path: "package/su", kind: b'0', link: "", mode, content: "1".into() };
        world.registry.publish(&package(), vec![file("package/x.js", ""), setuid]);
        // npm keeps these bits as root, and drops them as an ordinary user.
        match world.install(&["evil"]).await {
            Ok(entry) => assert!(tree::check(&entry.dir).unwrap().is_ok()),
            Err(error) => assert!(error.to_string().contains("setuid"), "{error}"),
        }
        world.assert_clean();
    }
}

#[tokio::test]
async fn programs_outside_the_package_are_refused() {
    let world = World::new();
    for bin in [
        json!({"x": "../../../../../etc/passwd"}),
        json!({"x": "/bin/sh"}),
        json!({"../../../evil": "x.js"}),
        json!({"a\u{7}b": "x.js"}),
    ] {
        let manifest = json!({"name": "evil", "version": "1.0.0", "bin": bin});
        world.registry.publish(&manifest, vec![file("package/x.js", "")]);
        let error = world.install(&["evil"]).await.unwrap_err();
        assert!(matches!(error, PackageError::Refused { .. }), "{bin}: {error}");
        assert!(!error.to_string().contains('\u{7}'));
        world.assert_clean();
    }
}

#[tokio::test]
async fn a_package_that_is_another_one_is_refused() {
    let world = World::new();
    for name in ["../../evil", "other", "/etc"] {
        let inside = json!({"name": name, "version": "1.0.0", "bin": "x.js"});
        let tar = tarball(&[file("package/package.json", inside.to_string()), file("package/x.js", "")]);
        world.registry.publish_raw("evil", &package(), &tar);
        assert!(world.install(&["evil"]).await.is_err(), "{name}");
        world.assert_clean();
    }
}

/// npm takes them from a directory, and they would stand in titles, logs and hints.
#[tokio::test]
async fn a_local_package_whose_version_is_none_is_refused() {
    let world = World::new();
    let directory = world.host.cwd.join("local");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("x.js"), "").unwrap();
    for version in ["hello world", "1.0", "../../x", "1.0.0'; id; '", "1.0.0\u{1b}[2J\u{202e}"] {
        let json = json!({"name": "local", "version": version, "bin": "x.js"});
        fs::write(directory.join("package.json"), json.to_string()).unwrap();
        let error = world.install(&["./local"]).await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains(&format!("{version:?} is no version")), "{said}");
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said}");
    }
    for (version, title) in [(json!("1.0.0-rc.1+b"), "local@1.0.0-rc.1+b"), (json!(null), "local@")] {
        let json = json!({"name": "local", "version": version, "bin": "x.js"});
        fs::write(directory.join("package.json"), json.to_string()).unwrap();
        assert_eq!(world.install(&["./local"]).await.unwrap().manifest.title(), title);
    }
}

#[tokio::test]
async fn dependencies_with_names_that_are_paths_are_refused() {
    let world = World::new();
    let manifest =
        json!({"name": "evil", "version": "1.0.0", "dependencies": {"../../../../evil": "file:x"}});
    world.registry.publish(&manifest, vec![]);
    assert!(world.install(&["evil"]).await.is_err());
    world.assert_clean();
}

#[tokio::test]
async fn what_scripts_leave_is_looked_at() {
    let world = World::new();
    for (script, problem) in [
        ("mkfifo ../fifo", "FIFO"),
        ("ln -s /etc/passwd link", "link out"),
        ("ln -s ../../../../.. ../../link", "link out"),
        ("rm -r ../.bin && ln -s /etc ../.bin", "link out"),
        ("cp x.js s && chmod 4755 s", "setuid"),
        ("rm x.js && ln -s ../../../etc/passwd x.js", "link out"),
    ] {
        let mut manifest = package();
        manifest["scripts"] = json!({"install": script});
        world.registry.publish(&manifest, vec![file("package/x.js", "")]);
        let error = world.install(&["evil"]).await.unwrap_err();
        assert!(matches!(error, PackageError::Refused { .. }), "{script}: {error}");
        assert!(error.to_string().contains(problem), "{script}: {error}");
        world.assert_clean();
    }
}

#[tokio::test]
async fn a_script_cannot_write_the_manifest() {
    let world = World::new();
    let mut manifest = package();
    let script =
        "cd ../.. && echo mine > kept && ln -s kept npxc-entry.json && echo '{}' > package-lock.json";
    manifest["scripts"] = json!({"install": script});
    world.registry.publish(&manifest, vec![file("package/x.js", "")]);
    let entry = world.install(&["evil"]).await.unwrap();
    assert_eq!(fs::read_to_string(entry.dir.join("kept")).unwrap(), "mine\n");
    assert_eq!(entry.manifest.title(), "evil@1.0.0");
    assert!(entry.manifest.roots[0].integrity.is_some());
}
