//! `@npm`, and a denial whose hint is true.

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
