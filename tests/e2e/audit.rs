//! What a reviewer does with the logs of real packages.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::mcp::Client;
use super::world::{Audit, world};

const SERVER: &str = "package-registry-mcp@2.1.0";

/// stdout of `npxc audit ...`, and whether it says that all is well.
fn audit(arguments: &[&str]) -> (bool, String, String) {
    let output = world().command(&[&["audit"], arguments].concat()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// A session in which the package was asked for something, with these options.
fn session(options: &[&str]) -> Audit {
    let mut client = Client::start(world().npxc(&[options, &[SERVER]].concat()));
    let text = client.text("get-npm-package-details", json!({"name": "left-pad"}));
    assert!(text.contains("left-pad"), "{options:?}: {text}");
    let (status, _, audit) = client.close();
    assert!(status.success());
    audit
}

#[test]
fn what_was_observed_is_suggested_and_suffices() {
    let observed = session(&["--network", "observe"]);
    let (done, json, said) = audit(&["suggest", "--json", observed.0.to_str().unwrap()]);
    assert!(done, "{said}");
    let suggested: Value = serde_json::from_str(&json).unwrap();
    let rules: Vec<_> = suggested["rules"].as_array().unwrap().iter().collect();
    assert!(!rules.is_empty() && rules.iter().all(|rule| rule["standing"] == false), "{json}");
    assert!(rules.iter().all(|rule| rule["flows"].as_u64() > Some(0)), "{json}");

    let options: Vec<&str> = rules
        .iter()
        .flat_map(|rule| [rule["option"].as_str().unwrap(), rule["rule"].as_str().unwrap()])
        .collect();
    let allowed = session(&options);
    assert!(allowed.hints().is_empty(), "{options:?} do not suffice: {:?}", allowed.hints());
    // It was the call that asked for it, and it can be looked for by that.
    for (filter, is_there) in [
        (&["--tool", "get-npm-package-details"][..], true),
        (&["--destination", ":443"], true),
        (&["--tool", "another"], false),
        (&["--destination", "nowhere"], false),
        (&["--denied"], false),
    ] {
        let (done, json, said) = audit(&[&["show", "--json", text(&allowed.0)], filter].concat());
        assert!(done, "{said}");
        let report: Value = serde_json::from_str(&json).unwrap();
        let reached = report["reached"].as_array().unwrap();
        assert_eq!(!reached.is_empty(), is_there, "{filter:?}: {json}");
        assert!(reached.iter().all(|row| row["calls"] == json!(["get-npm-package-details"])), "{json}");
    }
    // The same rules as a file, which its parser takes.
    let (done, toml, said) = audit(&["suggest", "--toml", observed.0.to_str().unwrap()]);
    assert!(done, "{said}");
    let directory = world().scratch("suggested");
    fs::write(directory.join("server.toml"), &toml).unwrap();
    session(&["--config", directory.join("server.toml").to_str().unwrap()]);
    // Under its rules nothing new is asked for.
    let (_, json, _) = audit(&["suggest", "--json", allowed.0.to_str().unwrap()]);
    let again: Value = serde_json::from_str(&json).unwrap();
    let standing = again["rules"].as_array().unwrap().iter().all(|rule| rule["standing"] == true);
    assert!(standing && again["left"] == json!([]), "{json}");

    let (_, list, _) = audit(&["list", observed.0.to_str().unwrap(), "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let run = list.as_array().unwrap().iter().find(|row| row["purpose"] == "run").unwrap();
    assert_eq!(
        (&run["state"], &run["package"], &run["denied"]),
        (&json!("ended"), &json!(SERVER), &json!(0))
    );
    assert!(run["hosts"].as_array().unwrap().len() == 1 && run["duration"].as_u64() > Some(0), "{run}");
}

#[test]
fn a_session_is_a_page_and_what_is_new_in_it_is_told() {
    let before = session(&["--allow", "@npm", "--env", "GREETING=none"]);
    let mut client = Client::start(world().npxc(&["--env", "GREETING=<b>", SERVER]));
    client.call("get-npm-package-details", json!({"name": "left-pad"}));
    let (_, _, after) = client.close();
    let [before, after] = [&before, &after].map(|audit| text(&audit.0));

    let page = world().scratch("page").join("page.html");
    let (done, markdown, said) =
        audit(&["report", after, "--html", text(&page), "--markdown", "--since", before]);
    assert!(done && said.contains("npxc: the page is "), "{said}");
    // It says what a package was given, so that it is nobody else's, whatever was there before.
    let mode = || fs::metadata(&page).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(), 0o600);
    fs::set_permissions(&page, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(audit(&["report", after, "--html", text(&page)]).0);
    assert_eq!(mode(), 0o600);
    let (done, _, said) = audit(&["report", after, "--html", text(&page), "--since", before]);
    assert!(done, "{said}");
    let page = fs::read_to_string(&page).unwrap();
    for document in [&page, &markdown] {
        assert!(document.contains("denied") && document.contains(SERVER), "{document}");
        assert!(document.contains("complete and unchanged") && document.contains("--allow"), "{document}");
    }
    assert!(page.contains("<svg") && !page.contains("<script") && !page.contains("http-equiv=\"refresh\""));
    // Everything is in the file.
    assert!(!page.contains("src=") && !page.contains("href=") && !page.contains("url("), "{page}");

    let (same, said, _) = audit(&["diff", before, after]);
    assert!(!same && said.contains("new: was denied ") && said.contains("gone: reached "), "{said}");
    let (_, sarif, _) = audit(&["diff", before, after, "--format", "sarif"]);
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    assert!(
        sarif["version"] == "2.1.0" && results.iter().all(|result| result["message"]["text"].is_string())
    );
    assert!(results.iter().any(|result| result["ruleId"] == "new-denial"), "{sarif}");
    let (same, said, _) = audit(&["diff", before, before]);
    assert!(same && said.is_empty(), "{said}");
}

#[test]
fn a_signed_log_is_trusted_by_whoever_knows_the_key() {
    let config = world().scratch("signing");
    fs::create_dir_all(config.join("config/npxc")).unwrap();
    fs::write(config.join("config/npxc/npxc.toml"), "[audit]\nsign = true\nkeep = \"1w\"\n").unwrap();
    let own = |arguments: &[&str]| {
        let mut command = world().command(arguments);
        command.env("XDG_CONFIG_HOME", config.join("config")).env("XDG_DATA_HOME", config.join("data"));
        command.output().unwrap()
    };
    let log = config.join("log.jsonl");
    let fixture = world().fixture();
    let done = own(&["--audit-log", text(&log), text(&fixture), "exit", "0"]);
    assert!(log.exists(), "{done:?}");
    let key = String::from_utf8(own(&["audit", "key"]).stdout).unwrap();
    let key = key.trim_end();
    assert!(key.starts_with("ed25519:"), "{key}");
    let said = own(&["audit", "verify", text(&log)]);
    assert!(String::from_utf8_lossy(&said.stdout).contains("signed with this machine's key"), "{said:?}");
    // Elsewhere, by the key alone.
    let (sound, said, error) = audit(&["verify", text(&log), "--key", key]);
    assert!(sound && said.contains(key), "{said}{error}");
    let (sound, _, said) = audit(&["verify", text(&log), "--key", "ed25519:AAAA"]);
    assert!(!sound && said.contains("is signed with another key"), "{said}");
    let unsigned = session(&["--allow", "@npm"]);
    let (sound, _, said) = audit(&["verify", text(&unsigned.0), "--key", key]);
    assert!(!sound && said.contains("is not signed"), "{said}");
    assert!(!own(&["audit", "key", "surplus"]).status.success());
}

#[test]
fn an_observed_run_ends_with_what_to_type() {
    let state = world().scratch("state");
    let fixture = world().fixture();
    // Where there is no network, so that nothing is sent to anybody.
    let own = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        world().environment(&mut command);
        command.args(["-Urn", "--"]).arg(world().command(&[]).get_program()).args(arguments);
        let output = command.env("XDG_STATE_HOME", &state).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let installed = world().command(&["install", text(&fixture)]).output().unwrap();
    assert!(installed.status.success(), "{installed:?}");
    let silent = own(&["--network", "observe", text(&fixture), "exit", "0"]).1;
    assert!(silent.ends_with("npxc: nothing was let through that would have been denied\n"), "{silent}");
    assert!(!own(&[text(&fixture), "exit", "0"]).1.contains("let through"));

    // Two destinations, one of them twice.
    let urls = ["http://192.0.2.1:81/", "http://192.0.2.1:82/", "http://192.0.2.1:81/?again"];
    let (_, said) = own(&[&["--network", "observe", text(&fixture), "knock"], &urls[..]].concat());
    let (counted, hint) =
        said.split_once("would have been denied\nnpxc: hint: ").unwrap_or_else(|| panic!("{said}"));
    assert!(counted.ends_with("npxc: the package was let through to 2 destinations that "), "{said}");
    let typed = hint.trim_end();
    let id = typed.strip_prefix("npxc audit suggest ").unwrap_or_else(|| panic!("{said}"));
    assert_eq!(id.len(), 8, "{said}");
    // As it stands there.
    let words: Vec<&str> = typed.split(' ').skip(1).collect();
    let suggested = world().command(&words).env("XDG_STATE_HOME", &state).output().unwrap();
    let suggested = String::from_utf8(suggested.stdout).unwrap();
    assert!(suggested.contains("--allow 192.0.2.1:81 --allow 192.0.2.1:82 PACKAGE"), "{suggested}");

    // Elsewhere a session's id would name nothing.
    let directory = world().scratch("logs of mine");
    let said = own(&["--audit-log", text(&directory), text(&fixture), "knock", urls[0]]).1;
    let typed = said.trim_end().rsplit_once("npxc: hint: npxc audit show ").unwrap().1;
    assert!(typed.starts_with(&format!("'{}/", directory.display())) && typed.ends_with(".jsonl'"), "{said}");
}

#[test]
fn a_long_session_is_several_files_and_one_log() {
    let place = world().scratch("rotating");
    fs::create_dir_all(place.join("config/npxc")).unwrap();
    fs::write(place.join("config/npxc/npxc.toml"), "[audit]\nmax_size = \"64K\"\nkeep = 2\n").unwrap();
    let own = |arguments: &[&str]| {
        let mut command = world().command(arguments);
        command.env("XDG_CONFIG_HOME", place.join("config")).env("XDG_STATE_HOME", place.join("state"));
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let files = || {
        let all = fs::read_dir(place.join("state/npxc/audit")).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = all.collect();
        all.sort();
        all
    };
    let fixture = world().fixture();
    let installed = world().command(&["install", text(&fixture)]).output().unwrap();
    assert!(installed.status.success(), "{installed:?}");
    let urls: Vec<String> = (1001..=1300).map(|port| format!("http://192.0.2.1:{port}/")).collect();
    let knocking: Vec<&str> =
        [text(&fixture), "knock"].into_iter().chain(urls.iter().map(String::as_str)).collect();
    assert_eq!(own(&knocking).0, Some(0));
    let written = files();
    assert!(written.len() >= 3 && text(&written[0]).ends_with(".2.jsonl"), "{written:?}");
    assert!(written.iter().all(|file| fs::metadata(file).unwrap().len() <= 64 << 10));

    let (status, said, error) = own(&["audit", "verify"]);
    assert!(status == Some(0) && said.contains(&format!(": {} files, ", written.len())), "{said}{error}");
    let (_, list, _) = own(&["audit", "list", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!((list.as_array().unwrap().len(), &list[0]["denied"]), (1, &json!(300)), "{list}");
    assert_eq!(list[0]["state"], "ended");
    let session = list[0]["session"].as_str().unwrap();
    let (_, same, _) = own(&["audit", "list", "--json", &session[24..]]);
    assert_eq!(serde_json::from_str::<Value>(&same).unwrap(), list, "by a part of its id");
    let (_, suggested, _) = own(&["audit", "suggest", "--json", session]);
    let suggested: Value = serde_json::from_str(&suggested).unwrap();
    assert_eq!(suggested["rules"].as_array().unwrap().len(), 300);

    // Without one of them, the others are shown, and it is said which.
    let kept = fs::read(&written[0]).unwrap();
    fs::remove_file(&written[0]).unwrap();
    let name = written[0].file_name().unwrap().to_str().unwrap();
    let (status, _, error) = own(&["audit", "verify"]);
    assert!(
        status == Some(1) && error.contains(&format!("the log goes on in {name}, which is missing")),
        "{error}"
    );
    let (status, shown, error) = own(&["audit", "show", "--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert!(status == Some(0) && error.contains(name), "{error}");
    assert!(shown["denied"].as_array().unwrap().len() < 300 && !shown["runs"][0]["ended"].is_null());
    fs::write(&written[0], kept).unwrap();

    // Of two sessions that are kept one is the third.
    for _ in 0..2 {
        assert!(written.iter().all(|file| file.exists()));
        assert_eq!(own(&[text(&fixture), "exit", "0"]).0, Some(0));
    }
    assert!(written.iter().all(|file| !file.exists()) && files().len() == 2, "{:?}", files());
}

fn log_of(audit: &Audit) -> Vec<u8> {
    let files = fs::read_dir(&audit.0).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files.max_by_key(Vec::len).unwrap()
}

fn is_sound(log: &[u8]) -> bool {
    npxc::audit::chain::verify(log).unwrap().findings.is_empty()
}

#[test]
fn whatever_is_done_to_a_log_is_found() {
    let [log, other] =
        [["--network", "observe"], ["--allow", "@npm"]].map(|options| log_of(&session(&options)));
    assert!(is_sound(&log) && is_sound(&other));
    let lines: Vec<&[u8]> = log.split_inclusive(|byte| *byte == b'\n').collect();
    let foreign: Vec<&[u8]> = other.split_inclusive(|byte| *byte == b'\n').collect();
    assert!(lines.len() > 5, "{}", String::from_utf8_lossy(&log));
    // The same in every run.
    let mut numbers = fastrand::Rng::with_seed(0x4e58_2026);
    for turn in 0..1000 {
        let (at, line) = (numbers.usize(..log.len()), numbers.usize(..lines.len()));
        let changed = match turn % 4 {
            0 => {
                let mut log = log.clone();
                log[at] ^= numbers.u8(1..);
                log
            }
            1 => log[..at].to_vec(),
            2 => {
                let mut lines = lines.clone();
                let with = (line + 1 + numbers.usize(..lines.len() - 1)) % lines.len();
                lines.swap(line, with);
                lines.concat()
            }
            _ => {
                // Lines of the other log, in the place of some of this one or between them.
                let from = numbers.usize(..foreign.len());
                let to = from + 1 + numbers.usize(..foreign.len() - from);
                let end = line + numbers.usize(..=lines.len() - line);
                [&lines[..line], &foreign[from..to], &lines[end..]].concat().concat()
            }
        };
        if changed == other {
            continue;
        }
        assert!(!is_sound(&changed), "turn {turn} was not found:\n{}", String::from_utf8_lossy(&changed));
    }
    // The command says where.
    let path = world().scratch("changed").join("log.jsonl");
    let (first, rest) = (lines[0], lines[2..].concat());
    fs::write(&path, [first, &rest].concat()).unwrap();
    let (sound, _, said) = audit(&["verify", text(&path)]);
    assert!(!sound && said.contains("line 2: `prev` is not the hash of the line before"), "{said}");
    fs::write(&path, &log).unwrap();
    let (sound, said, _) = audit(&["verify", text(&path)]);
    assert!(sound && said.contains("is complete and unchanged"), "{said}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
