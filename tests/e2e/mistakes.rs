//! What people do wrong, and what is wrong with their machines: the words that each of it gets, as a whole
//! (`tests/data/mistakes.txt`). After a change of words run this with `NPXC_TEST_WRITE=1`, and read what it wrote.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::world::world;

/// The command lines, as they are typed; `$W` is a directory with what is needed.
const TYPED: &[(&str, &str)] = &[
    (
        "Rules",
        r"--allow * server
--allow *.com server
--allow api.example.com:99999 server
--allow https://api.example.com/v1 server
--allow api.example.com: server
--allow api_example!.com server
--allow 0x7f.1 server
--allow 10.0.0.0/33 server
--allow [2001:db8::1 server
--allow @nmp server
--deny , server
--network opne server
--network none --allow example.com server
--add-host db.example.com server
--add-host db.example.com:192.0.2.300 server
--publish 99999 server
--publish localhost:80 server",
    ),
    (
        "Packages",
        r"
@scope
a@npm:./b
git+https://git.example.com/a.git
./missing
./words.txt
./empty
-p server
install
clean no-such-package
prob cowsay
version
--allow cowsay hi
-- ./broken",
    ),
    (
        "Options",
        r"--bogus server
--allwo example.com server
--allow
clean --al
inspect server --root .
uninstall cowsay
--runtime docekr server
--link wireguard server
--image node:22 server
--memory 1Q server
--cpus 0 server
--pids many server
--mount $W/missing server
--mount / server
--mount a:b:c:d server
--env A-B=1 server
--env NPXC_ALLOW=x server
--cwd $W/missing server
--proxy ftp://proxy.example server
--no-isolate --write ./empty
--audit-log $W/missing/log.jsonl ./package
--audit-log /proc/log.jsonl ./package",
    ),
    (
        "Configuration",
        r"--config $W/unknown-key.toml server
--config $W/wrong-type.toml server
--config $W/no-toml.toml server
--config $W/wrong-rule.toml server
--config $W/bridge.toml server
--config $W/missing.toml server
config check --config $W/unknown-key.toml server",
    ),
    (
        "Clients' files and logs",
        r"wrap $W/words.txt
wrap $W/missing.json
unwrap $W/package/package.json
audit verify $W/missing.jsonl
audit verify $W/changed.jsonl
audit show $W/words.txt
audit report --html cowsay@1.6.0",
    ),
];

const FILES: &[(&str, &str)] = &[
    ("words.txt", "words\n"),
    ("empty/README.md", "nothing\n"),
    ("package/package.json", r#"{"name": "package", "version": "1.0.0", "bin": "index.js"}"#),
    ("package/index.js", "#!/usr/bin/env node\n"),
    (
        "broken/package.json",
        r#"{"name": "broken", "version": "1.0.0", "dependencies": {"package": "file:../missing"}}"#,
    ),
    ("unknown-key.toml", "[network]\nalow = [\"example.com\"]\n"),
    ("wrong-type.toml", "[runtime]\nmemory = \"1G\"\ncpus = true\n"),
    ("no-toml.toml", "[network\nallow = []\n"),
    ("wrong-rule.toml", "[network]\nallow = [\"example.com\", \"*.co.uk\"]\n"),
    ("bridge.toml", "[network]\nmode = \"bridge\"\n"),
    ("changed.jsonl", "{\"event\": \"session.start\"}\n"),
];

/// What a machine can lack: the words for it, and how a shell makes it so for `"$@"`.
const MACHINES: &[(&str, &str, &str)] = &[
    ("no node", "PATH=/nowhere exec \"$@\"", "./package"),
    (
        "no user namespaces",
        "exec unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"' sh \"$@\"",
        "./package",
    ),
    (
        "no registry",
        "npm_config_registry=http://127.0.0.1:9/ npm_config_fetch_retries=0 exec \"$@\"",
        "no-such-package",
    ),
    (
        "a full disk",
        "exec unshare -Urm sh -c 'mkdir -p full && mount -t tmpfs -o size=8k tmpfs full && \
         XDG_DATA_HOME=$PWD/full exec \"$@\"' sh \"$@\"",
        "./package",
    ),
    ("a data directory that is a file", "XDG_DATA_HOME=$PWD/words.txt exec \"$@\"", "./package"),
    ("a mistyped variable", "NPXC_ALOW=example.com exec \"$@\"", "--dry-run ./package"),
];

#[test]
fn every_mistake_gets_its_words() {
    let work = world().scratch("mistakes");
    for (name, text) in FILES {
        fs::create_dir_all(work.join(name).parent().unwrap()).unwrap();
        fs::write(work.join(name), text).unwrap();
    }
    let mut said = String::from(
        "What npxc says to mistakes: exit status and stderr. Written by tests/e2e/mistakes.rs.\n",
    );
    let mut count = 0;
    for (room, lines) in TYPED {
        let _ = write!(said, "\n## {room}\n");
        for line in lines.lines() {
            count += 1;
            let _ = write!(said, "\n$ npxc {line}\n{}", answer(&work, "exec \"$@\"", line));
        }
    }
    let _ = write!(said, "\n## Machines\n");
    for (what, shell, line) in MACHINES {
        count += 1;
        let _ = write!(said, "\n$ npxc {line}    # {what}\n{}", answer(&work, shell, line));
    }
    assert!(count >= 40, "{count} mistakes");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mistakes.txt");
    if std::env::var_os("NPXC_TEST_WRITE").is_some() {
        fs::write(path, said).unwrap();
        return;
    }
    let expected = include_str!("../data/mistakes.txt");
    for (now, before) in said.lines().zip(expected.lines()) {
        assert_eq!(now, before, "the words have changed; all of them now:\n{said}");
    }
    assert_eq!(said.len(), expected.len());
    for answer in said.split("\n$ ").skip(1) {
        assert!(!answer.contains("panicked") && !answer.contains("defect in npxc"), "{answer}");
        assert!(answer.contains("\nnpxc: hint: "), "nothing says what to do instead: {answer}");
        let own = answer.lines().skip(1).all(|line| {
            line.is_empty()
                || line.starts_with("npxc: ")
                || line.starts_with("exit status ")
                || line.starts_with("## ")
        });
        assert!(own, "npxc's words begin with its name: {answer}");
    }
}

/// The exit status and what is said, without what differs between machines.
fn answer(work: &Path, shell: &str, line: &str) -> String {
    let place = work.to_str().unwrap();
    let words = line.split(' ').filter(|word| !word.is_empty()).map(|word| word.replace("$W", place));
    let npxc = world().command(&[]);
    let mut command = Command::new("sh");
    world().environment(&mut command);
    command.args(["-c", shell, "sh"]).arg(npxc.get_program()).args(words).current_dir(work);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let home = world().directory.join("home");
    let stderr =
        String::from_utf8_lossy(&output.stderr).replace(place, "$W").replace(home.to_str().unwrap(), "~");
    let mut said = String::new();
    // npm's own words are another version's on another machine; an entry's name is another with each node.
    for line in stderr.lines().filter(|line| !line.starts_with("npxc:     npm ")) {
        match line.split_once("/store/v1/").and_then(|(start, rest)| Some((start, rest.split_once(": ")?.1)))
        {
            Some((start, end)) => said.push_str(&format!("{start}/store/v1/...: {end}\n")),
            None => said.push_str(&format!("{line}\n")),
        }
    }
    let status = output.status.code().map_or_else(|| output.status.to_string(), |code| code.to_string());
    format!("exit status {status}\n{said}")
}
