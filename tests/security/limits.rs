//! A package that fills the disk, the memory, the table of processes or stdout (row 43).

use npxc::audit::Event;
use serde_json::json;

use super::harness::{attack, everyone};

fn how(events: &[Event]) -> &str {
    match events.last() {
        Some(Event::SessionEnd { how, .. }) => how,
        other => panic!("{other:?}"),
    }
}

#[test]
fn row_43_a_full_disk_is_the_packages_own() {
    for who in everyone() {
        // Three file systems of 1 GiB each; memory is what they are made of, and one is enough to see the bound.
        let code = "const fs = require('node:fs');
            const file = fs.openSync(path, 'w');
            const block = Buffer.alloc(16 << 20, 7);
            let written = 0;
            try { for (;;) written += fs.writeSync(file, block); } catch (error) {
              fs.closeSync(file); fs.rmSync(path);
              return { error: error.code, written: written >> 20 };
            }";
        let many = "const fs = require('node:fs');
            let made = 0;
            try { for (; made < 400000; made++) fs.writeFileSync('/tmp/f' + made, ''); } catch (error) {
              return { error: error.code, made };
            }
            return { made };";
        let fill = |path: &str| json!({"do": "run", "code": format!("const path = '{path}'; {code}"), "patience": 60_000});
        let steps = json!([fill("/tmp/full"), fill("/home/user/full"), {"do": "run", "code": many, "patience": 60_000},
            {"do": "write", "path": "/dev/shm/x"}]);
        let seen = attack(who, &steps).run();
        for at in [0, 1] {
            assert_eq!(seen.error(at), "ENOSPC", "{seen:?}");
            assert!(seen.at(at)["written"].as_u64().unwrap() <= 1024);
        }
        assert_eq!(seen.error(2), "ENOSPC", "files are counted, too: {seen:?}");
        assert_eq!((seen.code, how(&seen.events)), (Some(0), "package exited"));
    }
}

#[test]
fn row_43_too_much_memory_ends_the_session_with_words() {
    for who in everyone() {
        let code = "const all = []; for (;;) { all.push(Buffer.alloc(4 << 20, 7)); await new Promise(setImmediate); }";
        let steps = json!([{"do": "run", "code": code, "patience": 60_000}]);
        let seen = attack(who, &steps).option("--memory", "256M").run();
        assert_eq!(seen.code, Some(4), "{seen:?}");
        assert!(seen.err.contains("npxc: error: the package hit its limit of 256 MiB of memory"), "{seen:?}");
        assert!(seen.err.contains("npxc: hint: ") && seen.err.contains("--memory"), "{seen:?}");
        assert_eq!(how(&seen.events), "limit: memory");
    }
}

#[test]
fn row_43_too_many_processes_end_or_fail_inside() {
    for who in everyone() {
        let bomb = "bomb() { bomb | bomb & }; bomb; sleep 1; echo survived";
        let steps = json!([{"do": "spawn", "argv": ["/bin/sh", "-c", bomb]}, {"do": "env"}]);
        let seen = attack(who, &steps).option("--pids", "64").run();
        // A cgroup lets no more be made; without one the session is ended when they are seen.
        match seen.code {
            Some(4) => assert!(
                seen.err.contains("the package hit its limit of 64 processes and threads"),
                "{seen:?}"
            ),
            code => assert_eq!(code, Some(0), "{seen:?}"),
        }
        assert!(matches!(how(&seen.events), "limit: pids" | "package exited"), "{seen:?}");
    }
}

#[test]
fn row_43_a_flood_of_words_arrives_whole_and_takes_no_memory() {
    for who in everyone() {
        const BLOCKS: usize = 600;
        let code = format!(
            "const block = Buffer.alloc(65536, 'y');
             for (let n = 0; n < {BLOCKS}; n++) {{
               if (!process.stdout.write(block)) await new Promise((done) => process.stdout.once('drain', done));
               if (!process.stderr.write(block)) await new Promise((done) => process.stderr.once('drain', done));
             }}
             process.stdout.write('\\n');"
        );
        let seen = attack(who, &json!([{"do": "run", "code": code, "patience": 60_000}])).run();
        assert_eq!(seen.code, Some(0), "{}", seen.err.len());
        let count = |text: &str| text.bytes().filter(|byte| *byte == b'y').count();
        assert!(count(&seen.out) == BLOCKS << 16 && count(&seen.err) >= BLOCKS << 16);
        assert!(seen.peak < 100, "{} MiB", seen.peak);
    }
}
