//! Files that nobody has written yet: nothing changes in them but the spans that are wrapped.

use proptest::prelude::*;

use super::*;

fn blank() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(String::new()),
        4 => Just(" ".to_owned()),
        2 => "\r?\n[ \t]{0,4}",
        1 => "/\\*[a-z\" {}]{0,6}\\*/",
        1 => "//[a-z\" {}]{0,6}\n",
    ]
}

/// Something that is no server, printed by somebody else.
fn other() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("1e9".to_owned()),
        Just(r#"{"command": "npx", "args": ["decoy"]}"#.to_owned()),
        Just(r#"["npx", {"a": "\ud83d"}, ]"#.to_owned()),
        "[a-zé\"\\\\/{}]{0,8}".prop_map(|text| serde_json::Value::String(text).to_string()),
    ]
}

/// A server's entry in odd formatting, and whether it is npx's.
fn entry() -> impl Strategy<Value = (String, bool)> {
    let args = proptest::collection::vec(("[a-z0-9/.=-]{1,8}", blank()), 0..3);
    let parts = (any::<bool>(), any::<bool>(), any::<bool>(), args, other());
    (parts, proptest::collection::vec(blank(), 6)).prop_map(|((npx, yes, first, args, other), b)| {
        let command = if npx { "npx" } else { "uvx" };
        let yes = if yes { format!("\"-y\"{},{}", b[0], b[1]) } else { String::new() };
        let rest: String = args.iter().map(|(arg, blank)| format!(",{blank}\"{arg}\"")).collect();
        let args = format!("\"args\"{}:[{}{yes}\"@a/b@1\"{rest}{}]", b[2], b[3], b[4]);
        let command = format!("\"command\":{}\"{command}\"", b[5]);
        let (one, two) = if first { (command, args) } else { (args, command) };
        (format!("{{{one},\"x\":{other},{two},\"env\":{{\"KEY\":\"hunter2\"}}{}}}", b[0]), npx)
    })
}

proptest! {
    #[test]
    fn an_edit_changes_the_spans_of_wrapped_servers_alone(
        entries in proptest::collection::vec((entry(), blank()), 1..5),
        others in proptest::collection::vec((other(), blank()), 5),
        bom in any::<bool>(),
    ) {
        let place = place("/home/me/.cursor/mcp.json");
        let (mut text, mut pieces, mut npx) = (String::from(if bom { "\u{feff}" } else { "" }), Vec::new(), 0);
        text += &format!("{{\"first\":{}{},\"mcpServers\":{{", others[0].0, others[0].1);
        for (index, ((entry, is_npx), blank)) in entries.iter().enumerate() {
            text += &format!("{blank}\"s{index}\":");
            // Up to here nothing may change but in the entries.
            pieces.push((std::mem::take(&mut text), entry.clone(), *is_npx));
            text += ",";
            npx += usize::from(*is_npx);
        }
        text += &format!("}}{},\"last\":{}}}", others[1].1, others[1].0);
        let tail = text;
        let whole: String =
            pieces.iter().flat_map(|(before, entry, _)| [before.as_str(), entry]).chain([tail.as_str()]).collect();
        let (new, kept) = wrapped(&place, &whole, &[]);
        prop_assert_eq!(kept.len(), npx);
        let mut rest = new.as_str();
        for (before, entry, is_npx) in &pieces {
            rest = rest.strip_prefix(before.as_str()).unwrap();
            if *is_npx {
                // Within an entry: the command, and one option in front of the package.
                let end = rest.find(&entry[entry.rfind(",\"env\"").unwrap()..]).unwrap();
                let (changed, behind) = rest.split_at(end);
                let plain = changed.replacen("\"npxc\"", "\"npx\"", 1);
                let at = plain.find("\"--env=KEY\",").unwrap();
                let package = at + plain[at..].find("\"@a/b@1\"").unwrap();
                prop_assert_eq!(format!("{}{}", &plain[..at], &plain[package..]), &entry[..entry.rfind(",\"env\"").unwrap()]);
                rest = &behind[entry.len() - entry.rfind(",\"env\"").unwrap()..];
            } else {
                rest = rest.strip_prefix(entry.as_str()).unwrap();
            }
        }
        prop_assert_eq!(rest, tail);
        prop_assert_eq!(back(&place, &new, &kept).0, whole);
    }
}
