//! `@npm`, a denial whose hint is true, and what a client reads of denials.

use std::fs;

use serde_json::json;

use super::mcp::Client;
use super::world::world;

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

#[test]
fn the_error_of_a_call_says_what_was_denied_while_it_ran() {
    const GITHUB: &str = "@modelcontextprotocol/server-github@2025.4.8";
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

    // As the hint says; the name leads to this machine, which is another reason.
    let here = ["--allow", "api.github.com", "--add-host", "api.github.com:127.0.0.1", GITHUB];
    let mut client = Client::start(world().npxc(&here));
    let error = client.refused("tools/call", call.clone());
    let hint = error["data"]["npxc"]["denied"][0]["hint"].as_str().unwrap_or_else(|| panic!("{error}"));
    assert!(hint.starts_with("--allow-private api.github.com"), "{error}");
    client.close();

    // Nothing but the server's own, if that is wanted.
    let config = world().scratch("explain");
    fs::write(config.join("npxc.toml"), "[defaults.network]\nexplain = false\n").unwrap();
    let mut client = Client::start(world().npxc(&["--config", config.to_str().unwrap(), GITHUB]));
    assert_eq!(client.refused("tools/call", call)["data"], json!(null));
    client.close();
}
