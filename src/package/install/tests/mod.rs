//! Installs from a registry on loopback. npm runs without a sandbox here: what the sandbox prevents is tested with the
//! sandbox.

mod fixture;
mod hostile;

use std::fs;

use fixture::{World, file, tarball};
use serde_json::json;

use super::*;
use crate::package::step::Purpose;

#[tokio::test]
async fn a_private_package_with_a_dependency() {
    let world = World::new();
    world.registry.require_token("s3cret");
    world.registry.publish(
        &json!({"name": "dep", "version": "1.0.0", "bin": "cli.js"}),
        vec![file("package/cli.js", "#!/usr/bin/env node\n")],
    );
    world.registry.publish(
        &json!({"name": "@private/server", "version": "1.0.0", "bin": {"server": "bin/x.js"}, "dependencies": {"dep": "^1"},
            "devDependencies": {"absent": "1"}}),
        vec![file("package/bin/x.js", "#!/usr/bin/env -S node --no-warnings\nconsole.log('started')\n")],
    );
    world.write_npmrc("@private:registry=http://127.0.0.1:PORT/\n//127.0.0.1:PORT/:_authToken=s3cret\n");
    let entry = world.install(&["@private/server"]).await.unwrap();
    let manifest = &entry.manifest;
    assert_eq!(manifest.title(), "@private/server@1.0.0");
    assert!(manifest.roots[0].integrity.as_ref().unwrap().starts_with("sha512-"));
    assert_eq!(
        manifest.packages.keys().collect::<Vec<_>>(),
        ["node_modules/@private/server", "node_modules/dep"]
    );
    assert!(manifest.bins.contains_key("dep") && manifest.npm_rules[0].starts_with("host.npxc.internal:"));

    let request = world.resolve(&["@private/server"]).request;
    let command = entry.command(&request, &["--x".into()], &world.node).unwrap();
    let words: Vec<_> = command[1..].iter().map(|word| word.to_str().unwrap()).collect();
    assert_eq!(words, ["--no-warnings", "/opt/npxc/package/node_modules/@private/server/bin/x.js", "--x"]);

    // The token was in the fetch step's home and is nowhere in the entry.
    let fetch = &world.steps(Purpose::Fetch)[0];
    assert!(fetch.files.iter().any(|(_, content)| String::from_utf8_lossy(content).contains("s3cret")));
    assert!(!fetch.env.iter().any(|(_, value)| value.to_string_lossy().contains("s3cret")));
    let grep = std::process::Command::new("grep").args(["-rq", "s3cret"]).arg(&entry.dir).status().unwrap();
    assert_eq!(grep.code(), Some(1));
    assert!(world.steps(Purpose::Build).is_empty());

    // The second time nothing is asked of anybody.
    let requests = world.registry.requests();
    world.install(&["@private/server"]).await.unwrap();
    assert_eq!((world.registry.requests(), world.runner.steps.lock().unwrap().len()), (requests, 1));
    let said = world.said.lines();
    assert!(
        said[0].starts_with("installing @private/server") && said.last().unwrap().starts_with("installed"),
        "{said:?}"
    );
    world.assert_clean();
}

#[tokio::test]
async fn what_one_package_downloaded_another_need_not() {
    let world = World::new();
    world.registry.publish(&json!({"name": "dep", "version": "1.0.0"}), vec![file("package/index.js", "1")]);
    for name in ["one", "two"] {
        let manifest =
            json!({"name": name, "version": "1.0.0", "bin": "x.js", "dependencies": {"dep": "^1"}});
        world.registry.publish(&manifest, vec![file("package/x.js", "#!/usr/bin/env node\n")]);
    }
    world.install(&["one"]).await.unwrap();
    let entry = world.install(&["two"]).await.unwrap();
    assert_eq!(fs::read_to_string(entry.dir.join("node_modules/dep/index.js")).unwrap(), "1");
    drop(entry);
    assert_eq!(
        ["one", "two", "dep"].map(|name| world.registry.downloads(&format!("/tarball/{name}.tgz"))),
        [1; 3]
    );

    // One that was changed on the disk is not taken: npm looks at what it reads.
    let shared = world.dir.path().join("data/store/tarballs");
    for file in fs::read_dir(shared).unwrap() {
        let path = file.unwrap().path();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "changed").unwrap();
    }
    world.install_with(&["two"], &InstallOptions { force: true, ..InstallOptions::default() }).await.unwrap();
    assert_eq!(world.registry.downloads("/tarball/dep.tgz"), 2);
    world.assert_clean();
}

#[tokio::test]
async fn without_the_token_the_error_says_so() {
    let world = World::new();
    world.registry.require_token("s3cret");
    world.registry.publish(&json!({"name": "@private/server", "version": "1.0.0"}), vec![]);
    let error = world.install(&["@private/server"]).await.unwrap_err();
    assert!(error.hints()[0].contains("credentials"), "{error} {:?}", error.hints());
    let error = world.install(&["absent"]).await.unwrap_err();
    assert!(error.hints()[0].contains("check the name"), "{error}");
    world.assert_clean();
}

#[tokio::test]
async fn scripts_run_in_a_step_of_their_own() {
    let world = World::new();
    world.write_npmrc("//127.0.0.1:PORT/:_authToken=s3cret\n");
    let script = "node -e \"require('fs').writeFileSync('built', JSON.stringify(process.env))\"";
    world.registry.publish(
        &json!({"name": "scripted", "version": "1.0.0", "bin": "x.js", "scripts": {"postinstall": script}}),
        vec![file("package/x.js", "")],
    );
    let options = InstallOptions { ignore_scripts: true, ..InstallOptions::default() };
    let entry = world.install_with(&["scripted"], &options).await.unwrap();
    assert!(!entry.manifest.scripts_run && !entry.dir.join("node_modules/scripted/built").exists());
    drop(entry);
    assert!(world.steps(Purpose::Build).is_empty());

    // Without the option that entry will not do.
    let options =
        InstallOptions { allow_install: vec!["a.example:443".parse().unwrap()], ..InstallOptions::default() };
    let entry = world.install_with(&["scripted"], &options).await.unwrap();
    assert!(entry.manifest.scripts_run);
    assert_eq!(entry.manifest.install_scripts, ["node_modules/scripted"]);
    let env = fs::read_to_string(entry.dir.join("node_modules/scripted/built")).unwrap();
    assert!(!env.contains("s3cret") && !env.contains("from-the-host"), "{env}");
    let build = &world.steps(Purpose::Build)[0];
    assert_eq!(build.allow, Rule::parse_list("a.example:443").unwrap());
    assert!(build.allow_private.is_empty());
    assert!(build.files.iter().all(|(path, _)| !path.ends_with(".npmrc")));
    assert!(
        world.install_with(&["scripted"], &InstallOptions { ignore_scripts: true, ..options }).await.is_ok()
    );
    world.assert_clean();
}

#[tokio::test]
async fn a_failing_script_is_named() {
    let mut world = World::new();
    world.runner.denials = vec![crate::audit::Event::Dns {
        name: "a.example".into(),
        kind: "A".into(),
        answer: "nxdomain".into(),
        addresses: vec![],
        reason: Some("no rule allows it".into()),
        hint: Some("--allow a.example".into()),
        calls: Vec::new(),
    }];
    world.registry.publish(
        &json!({"name": "dep", "version": "1.0.0", "scripts": {"install": "echo no luck >&2; exit 3"}}),
        vec![],
    );
    world.registry.publish(&json!({"name": "top", "version": "1.0.0", "dependencies": {"dep": "1"}}), vec![]);
    let error = world.install(&["top"]).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("install script \"echo no luck >&2; exit 3\" of dep failed"), "{text}");
    assert!(text.contains("no luck"), "{text}");
    assert!(error.hints()[0].ends_with("--allow-install a.example"), "{:?}", error.hints());
    assert!(world.store.list().unwrap().is_empty());
    world.assert_clean();
}

#[tokio::test]
async fn local_directories_and_tarballs_are_copied() {
    let world = World::new();
    world.registry.publish(&json!({"name": "dep", "version": "1.0.0"}), vec![]);
    let package =
        json!({"name": "@me/local", "version": "0.1.0", "bin": "x.js", "dependencies": {"dep": "1"}});
    let dir = world.host.cwd.join("p");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("package.json"), package.to_string()).unwrap();
    fs::write(dir.join("x.js"), "1").unwrap();
    let entry = world.install(&["./p"]).await.unwrap();
    assert_eq!(entry.manifest.title(), "@me/local@0.1.0");
    assert!(entry.dir.join("node_modules/dep/package.json").exists());
    let copied = entry.dir.join("node_modules/@me/local");
    assert!(fs::symlink_metadata(&copied).unwrap().is_dir());
    assert_eq!(fs::read_to_string(copied.join("x.js")).unwrap(), "1");
    // Changed, it is installed again.
    fs::write(dir.join("x.js"), "two").unwrap();
    let changed = world.install(&["./p"]).await.unwrap();
    assert_eq!(fs::read_to_string(changed.dir.join("node_modules/@me/local/x.js")).unwrap(), "two");

    let tar = tarball(&[file("package/package.json", package.to_string()), file("package/x.js", "tar")]);
    fs::write(world.host.cwd.join("p.tgz"), tar).unwrap();
    let entry = world.install(&["./p.tgz"]).await.unwrap();
    assert_eq!(fs::read_to_string(entry.dir.join("node_modules/@me/local/x.js")).unwrap(), "tar");
    world.assert_clean();
}

#[tokio::test]
async fn aliases_and_several_packages() {
    let world = World::new();
    for name in ["a", "b"] {
        world.registry.publish(
            &json!({"name": name, "version": "1.0.0", "bin": "x.js"}),
            vec![file("package/x.js", name)],
        );
    }
    let entry = world.install(&["x@npm:a", "b@^1.0.0"]).await.unwrap();
    let roots: Vec<_> =
        entry.manifest.roots.iter().map(|root| (root.name.as_str(), root.package.as_str())).collect();
    assert_eq!(roots, [("x", "a"), ("b", "b")]);
    let mut request = world.resolve(&["x@npm:a", "b@^1.0.0"]).request;
    let path =
        |request| entry.command(&request, &[], &world.node).unwrap().pop().unwrap().into_string().unwrap();
    assert!(path(request.clone()).ends_with("node_modules/x/x.js"));
    request.bin = Some("b".into());
    assert!(path(request).ends_with("node_modules/b/x.js"));
}

#[tokio::test]
async fn two_at_once_install_once() {
    let world = World::new();
    world
        .registry
        .publish(&json!({"name": "p", "version": "1.0.0", "bin": "x.js"}), vec![file("package/x.js", "")]);
    let (a, b) = tokio::join!(world.install(&["p"]), world.install(&["p"]));
    assert_eq!(a.unwrap().dir, b.unwrap().dir);
    assert_eq!(world.steps(Purpose::Fetch).len(), 1);
    assert!(world.said.lines().iter().any(|line| line.starts_with("waiting for another npxc")));
}

#[tokio::test]
async fn an_interrupted_install_leaves_nothing_half() {
    let mut world = World::new();
    world.registry.publish(
        &json!({"name": "p", "version": "1.0.0", "scripts": {"install": "true"}}),
        vec![file("package/x.js", "")],
    );
    world.runner.hang = Some(Purpose::Build);
    {
        let mut install = std::pin::pin!(world.install(&["p"]));
        // Polled until the build step hangs, then dropped.
        while world.steps(Purpose::Build).is_empty() {
            tokio::select! {
                _ = &mut install => panic!("it ended"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    world.assert_clean();
    assert!(world.store.lookup(&world.resolve(&["p"]), &world.node).unwrap().is_none());
    world.runner.hang = None;
    assert!(world.install(&["p"]).await.is_ok());
}

#[tokio::test]
async fn an_update_shows_what_changes_before_anything_of_it_runs() {
    let world = World::new();
    let publish = |package: serde_json::Value, text: &'static str| {
        world.registry.publish(&package, vec![file("package/x.js", text)]);
    };
    publish(json!({"name": "gone", "version": "0.9.0"}), "");
    publish(json!({"name": "kept", "version": "1.0.0"}), "");
    publish(json!({"name": "odd", "version": "1.0.0"}), "first");
    publish(
        json!({"name": "p", "version": "1.0.0", "dependencies": {"gone": "*", "kept": "*", "odd": "*"}}),
        "",
    );
    assert!(matches!(world.update("p", &|_| true).await.unwrap(), Updated::Missing));
    let first = world.install(&["p"]).await.unwrap();
    let same = world.update("p", &|_| panic!("there is nothing to ask")).await.unwrap();
    assert!(matches!(same, Updated::Same(title) if title == "p@1.0.0"));

    publish(json!({"name": "odd", "version": "1.0.0"}), "second");
    publish(json!({"name": "new", "version": "2.0.0", "scripts": {"install": "touch ran"}}), "");
    publish(
        json!({"name": "p", "version": "1.1.0", "dependencies": {"new": "*", "kept": "*", "odd": "*"}}),
        "",
    );
    let seen = std::cell::RefCell::new(Changes::default());
    let decide = |answer: bool| {
        let seen = &seen;
        move |changes: &Changes| {
            seen.replace(changes.clone());
            answer
        }
    };
    assert!(matches!(world.update("p", &decide(false)).await.unwrap(), Updated::Declined));
    let lines: Vec<String> = seen.borrow().packages.iter().map(ToString::to_string).collect();
    let expected = [
        "  p 1.0.0 -> 1.1.0",
        "- gone 0.9.0",
        "+ new 2.0.0",
        "! odd 1.0.0: the same version, and not what was installed",
    ];
    assert_eq!(lines, expected);
    assert_eq!(seen.borrow().scripts, ["new"]);
    assert!(world.steps(Purpose::Build).is_empty(), "no script has run");
    world.assert_clean();
    let still = world.install(&["p"]).await.unwrap();
    assert_eq!((still.manifest.title(), still.manifest.time), ("p@1.0.0".to_owned(), first.manifest.time));
    drop((first, still));

    let Updated::Done(entry) = world.update("p", &decide(true)).await.unwrap() else {
        panic!("it was wanted")
    };
    assert_eq!(entry.manifest.title(), "p@1.1.0");
    assert_eq!(world.steps(Purpose::Build).len(), 1);
    assert!(matches!(world.update("p", &decide(true)).await.unwrap(), Updated::Same(_)));
}
