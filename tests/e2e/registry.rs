//! `@npm`, a denial whose hint is true, and what a client reads of denials.

use std::fs;

use serde_json::{Value, json};

use super::mcp::Client;
use super::world::{Audit, world};

const SERVER: &str = "package-registry-mcp@2.1.0";

#[test]
fn the_registry_is_reached_by_its_rule_and_by_the_hint_of_its_denial() {
    let arguments = json!({"name": "left-pad"});
    let mut client = Client::start(world().npxc(&["--allow", "@npm", SERVER]));
    let text = client.text("get-npm-package-details", arguments.clone());
    assert!(text.contains("left-pad"), "{text}");
    let (status, _, _) = client.close();
    assert!(status.success());

    // Without the rule nothing is reached, and the log says what would have let it.
    let mut client = Client::start(world().npxc(&[SERVER]));
    let denied = client.call("get-npm-package-details", arguments.clone());
    assert!(!denied.to_string().contains("Steve Mao") || denied["isError"] == true, "{denied}");
    let (_, _, audit) = client.close();
    let opened = audit.events().iter().any(|event| event["event"] == "flow.open");
    assert!(!opened, "a flow was opened");
    let hints = audit.hints();
    assert!(!hints.is_empty(), "no denial: {:?}", audit.events());

    let mut options: Vec<&str> = hints.iter().flat_map(|hint| hint.split_whitespace()).collect();
    options.push(SERVER);
    let mut client = Client::start(world().npxc(&options));
    let text = client.text("get-npm-package-details", arguments);
    assert!(text.contains("left-pad"), "{options:?}: {text}");
    let (status, _, audit) = client.close();
    assert!(status.success());
    assert!(audit.hints().is_empty(), "{options:?} was not enough: {:?}", audit.hints());
}

const GITHUB: &str = "@modelcontextprotocol/server-github@2025.4.8";
const BRAVE: &str = "@modelcontextprotocol/server-brave-search@0.6.2";
const CONTEXT7: &str = "@upstash/context7-mcp@4.1.1";

/// What a client gets of one call, and what stands on stderr and in the log.
fn called(options: &[String], spec: &str, call: &Value) -> (Value, String, Audit) {
    let words: Vec<&str> = options.iter().map(String::as_str).chain([spec]).collect();
    let mut client = Client::start(world().npxc(&words));
    let id = client.begin("tools/call", call.clone());
    let answer = client.answer_to(id, "tools/call");
    let (status, stderr, audit) = client.close();
    assert!(status.success(), "{stderr}");
    (answer, stderr, audit)
}

/// Calls it without a rule, and then as each hint says, until nothing is denied. The name leads to this machine only, so that
/// nothing else is dialled and there are two hints to follow.
fn as_the_hints_say(
    spec: &str,
    host: &str,
    own: &[&str],
    call: &Value,
    hint: impl Fn(&Value, &str) -> String,
) {
    let mut options = vec!["--add-host".to_owned(), format!("{host}:127.0.0.1")];
    options.extend(own.iter().map(|&option| option.to_owned()));
    for (expected, reason) in [
        (format!("--allow {host}"), format!("no rule names {host}")),
        (format!("--allow-private {host}:443"), format!("{host} resolves to 127.0.0.1, a loopback address")),
    ] {
        let (answer, stderr, audit) = called(&options, spec, call);
        // The first one installs it; then there is nothing else to dial.
        let dialled = |event: &Value| event["event"] == "flow.open" && event["name"] == host;
        assert!(!audit.events().iter().any(dialled), "{spec}: {:?}", audit.events());
        let said = hint(&answer, &stderr);
        assert!(said.contains(&format!("the package was denied {host}")), "{said}");
        assert!(said.contains(&format!("({reason})")) && said.ends_with(&expected), "{said}");
        options.extend(expected.split(' ').map(str::to_owned));
    }
    let (answer, stderr, audit) = called(&options, spec, call);
    assert!(!answer.to_string().contains("npxc") && !stderr.contains("denied"), "{answer}{stderr}");
    let opened: Vec<_> = audit.events().into_iter().filter(|event| event["event"] == "flow.open").collect();
    assert!(!opened.is_empty(), "{spec}: {:?}", audit.events());
    for event in opened {
        assert_eq!((&event["name"], &event["dialled"]), (&json!(host), &json!("127.0.0.1:443")), "{event}");
    }
}

#[test]
fn a_call_that_failed_for_a_denial_says_how_it_is_dialled() {
    // A JSON-RPC error.
    let call = json!({"name": "search_repositories", "arguments": {"query": "npx"}});
    as_the_hints_say(GITHUB, "api.github.com", &[], &call, |answer, _| {
        answer["error"]["data"]["npxc"]["message"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    });
    // A result that is an error.
    let call = json!({"name": "brave_web_search", "arguments": {"query": "npx"}});
    as_the_hints_say(BRAVE, "api.search.brave.com", &["--env", "BRAVE_API_KEY=none"], &call, |answer, _| {
        let result = &answer["result"];
        assert_eq!(
            (&result["isError"], &result["content"][0]["text"]),
            (&json!(true), &json!("Error: fetch failed"))
        );
        result["content"][1]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    });
    // A failure that the server calls a success, which is left alone: stderr says it.
    let call = json!({"name": "resolve-library-id", "arguments": {"query": "npx", "libraryName": "npx"}});
    as_the_hints_say(CONTEXT7, "context7.com", &[], &call, |answer, stderr| {
        assert_eq!(answer["result"]["content"].as_array().map(Vec::len), Some(1), "{answer}");
        let (_, said) = stderr.split_once("npxc: warning: ").unwrap_or_else(|| panic!("{stderr}"));
        let (warning, said) = said.split_once("\nnpxc: hint: ").unwrap_or_else(|| panic!("{stderr}"));
        format!("{warning}: {}", said.lines().next().unwrap_or_default())
    });
}

#[test]
fn the_error_of_a_call_says_what_was_denied_while_it_ran() {
    let call = json!({"name": "search_repositories", "arguments": {"query": "npx"}});
    let mut client = Client::start(world().npxc(&[GITHUB]));
    let error = client.refused("tools/call", call.clone());
    let told = &error["data"]["npxc"];
    let denied = json!([{
        "destination": "api.github.com",
        "reason": told["denied"][0]["reason"],
        "hint": "--allow api.github.com",
    }]);
    assert_eq!(told["denied"], denied, "{error}");
    let message = told["message"].as_str().unwrap();
    assert!(message.ends_with("start npxc with --allow api.github.com"), "{error}");
    // The second call says it again, and stderr does not.
    assert_eq!(client.refused("tools/call", call.clone())["data"]["npxc"]["denied"], denied);
    let (_, stderr, _) = client.close();
    assert_eq!(stderr.matches("warning: the package was denied api.github.com (").count(), 1, "{stderr}");
    assert!(stderr.contains("npxc: hint: --allow api.github.com\n"), "{stderr}");

    // Nothing but the server's own, if that is wanted.
    let config = world().scratch("explain");
    fs::write(config.join("npxc.toml"), "[defaults.network]\nexplain = false\n").unwrap();
    let mut client = Client::start(world().npxc(&["--config", config.to_str().unwrap(), GITHUB]));
    assert_eq!(client.refused("tools/call", call)["data"], json!(null));
    client.close();
}
