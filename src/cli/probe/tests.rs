#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::*;

/// A server in a few lines: two pages of tools, one prompt, no resources; `fail` ends before it initializes.
const SERVER: &str = r"
const lines = require('readline').createInterface({ input: process.stdin });
process.stderr.write(process.env.NPXC_VOICE + ' npxc: installing something\nnpxc: hint: allow it all\nserver: starting\n');
if (process.argv.includes('fail')) { process.stderr.write('Error: \u001b[31mno token\n'); process.exit(3); }
const send = (id, result) => process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result }) + '\n');
lines.on('line', (line) => {
  const { id, method, params } = JSON.parse(line);
  if (method === 'initialize') send(id, {
    protocolVersion: '2025-06-18', capabilities: { tools: {}, prompts: {} },
    serverInfo: { name: 'tiny', version: '1.0.0' } });
  const page = String(Number(params?.cursor ?? 0) + 1);
  const many = (count, nextCursor = page) => send(id, { nextCursor,
    tools: Array.from({ length: count }, (_, n) => ({ name: 't' + n, inputSchema: { type: 'object' } })) });
  if (method === 'tools/list' && process.argv.includes('endless')) return many(4000);
  if (method === 'tools/list' && process.argv.includes('empty')) return many(0);
  if (method === 'tools/list' && process.argv.includes('round')) return many(1, '1');
  if (method === 'tools/list') send(id, params && params.cursor
    ? { tools: [{ name: 'second', inputSchema: { type: 'object' } }] }
    : { tools: [{ name: 'first\u001b[2J', description: '\n Says\u202e something.\nMore.', inputSchema: { type: 'object' } }],
        nextCursor: 'x' });
  if (method === 'prompts/list') send(id, { prompts: [{ name: 'ask' }] });
  if (method === 'tools/call' && params.name === 'frist') return process.stdout.write(
    JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32602, message: 'no such tool' } }) + '\n');
  if (method === 'tools/call' && params.name === 'thrid') return send(id, { isError: true, content: [] });
  if (method === 'tools/call') send(id, { content: [{ type: 'text', text: params.name + ' ' + params.arguments.a }] });
});
lines.on('close', () => process.exit(0));
";

fn plan(args: &[&str]) -> Plan {
    let mut words: Vec<OsString> = vec!["-e".into(), SERVER.into(), "--".into()];
    words.extend(args.iter().map(OsString::from));
    Plan {
        program: "node".into(),
        args: words,
        env: Vec::new(),
        call: None,
        timeout: Duration::from_mins(1),
        wait: Duration::ZERO,
        voice: Stderr::default(),
    }
}

#[test]
fn a_server_is_asked_everything_it_offers() {
    let mut plan = plan(&[]);
    let arguments = server::arguments("--args", "{\"a\": \"b\"}", "").unwrap();
    plan.call = Some(("first".to_owned(), arguments));
    let outcome = client::run(&plan).unwrap();
    assert_eq!(outcome.failure, None);
    let text = show::text("tiny@latest", &outcome, &Report::default());
    let expected = "\
tiny@latest
tiny 1.0.0, MCP 2025-06-18
Tools (2):
  first\\u{1b}[2J  Says\\u{202e} something.
  second
Prompts (1):
  ask
Answer:
  first b
Reached: nothing
Denied: nothing
";
    assert_eq!(text, expected);
    let json: serde_json::Value =
        serde_json::from_str(&show::json("tiny@latest", &outcome, &Report::default()).unwrap()).unwrap();
    assert_eq!(json["tools"][1]["name"], "second");
    assert_eq!(json["server"]["name"], "tiny");
    assert_eq!(json["protocolVersion"], "2025-06-18");
    assert_eq!(json["answer"]["content"][0]["text"], "first b");
    assert_eq!(json["network"]["reached"], serde_json::json!([]));
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let outcome = client::run(&plan(&["fail"])).unwrap();
    let failure = outcome.failure.unwrap();
    assert_eq!(failure.status, ExitStatus::Install, "npxc's own status is handed on");
    assert!(failure.message.starts_with("the server did not initialize: "), "{}", failure.message);
    assert!(failure.message.contains("npxc ended with exit status: 3"), "{}", failure.message);
    let said =
        "the last it said:\n  npxc: hint: allow it all\n  server: starting\n  Error: \u{1b}[31mno token";
    assert!(
        failure.message.ends_with(said),
        "a package that speaks like npxc is not npxc: {}",
        failure.message
    );
    assert!(!failure.message.contains("installing"), "what was shown is not said again");
}

#[test]
fn a_tool_that_was_not_listed_is_a_mistake_of_the_caller() {
    let mut plan = plan(&[]);
    // One server answers with an error, another with a result that is one.
    for name in ["frist", "thrid"] {
        plan.call = Some((name.to_owned(), serde_json::Map::new()));
        let outcome = client::run(&plan).unwrap();
        let failure = outcome.failure.unwrap();
        assert_eq!(failure.status, ExitStatus::Config);
        assert_eq!(failure.message, format!("--call: the server has no tool `{name}`"));
        assert_eq!(failure.hints, ["its tools are first\u{1b}[2J, second"]);
        assert_eq!(outcome.tools.len(), 2);
    }
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let mut plan = plan(&[]);
    plan.args = vec!["-e".into(), "process.stdin.resume()".into()];
    plan.timeout = Duration::from_millis(200);
    let failure = client::run(&plan).unwrap().failure.unwrap();
    assert_eq!(failure.status, ExitStatus::GuestDied);
    assert!(failure.message.contains("did not answer `initialize` within"), "{}", failure.message);
    assert!(failure.hints[0].contains("--timeout"), "{:?}", failure.hints);
}

#[test]
fn a_list_without_an_end_has_one() {
    let longer = "it is longer than 10000 items, 1000 pages or 64 MiB";
    let back = "its pages lead back to one that was there already";
    for (kind, why) in [("endless", longer), ("empty", longer), ("round", back)] {
        let outcome = client::run(&plan(&[kind])).unwrap();
        let failure = outcome.failure.unwrap();
        assert!(failure.message.contains(&format!("tools/list failed: {why}")), "{kind}: {failure:?}");
        assert!(outcome.tools.is_empty());
    }
}

#[tokio::test]
async fn a_line_that_a_package_left_unfinished_hides_none_of_npxcs() {
    let (word, mark) = crate::voice::word();
    let stderr = format!("unfinished{}npxc: warning: denied\nmore", crate::voice::said(&word).unwrap());
    let tail = Arc::default();
    client::listen(stderr.as_bytes(), mark, Arc::clone(&tail)).await;
    assert_eq!(*tail.lock().unwrap(), ["unfinished", "more"], "the other one is shown");
}

#[test]
fn an_interrupt_is_no_finding() {
    let mut plan = plan(&[]);
    plan.args = vec!["-e".into(), "process.stdin.resume()".into()];
    let failure = client::until(&plan, || Ok(std::future::ready(()))).unwrap().failure.unwrap();
    assert_eq!((failure.status, failure.message.as_str()), (ExitStatus::Interrupted, "interrupted"));
}

#[test]
fn what_cannot_be_started_is_an_error() {
    let plan = Plan { program: "/no/such/npxc".into(), ..plan(&[]) };
    assert_eq!(client::run(&plan).unwrap_err().status, ExitStatus::Runtime);
    assert!(server::arguments("--args", "[1]", "{}").unwrap_err().hints[0] == "for example --args '{}'");
}

#[test]
fn a_log_is_read_from_where_the_probe_began() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    assert_eq!(read(&path, 0).unwrap(), Report::default());
    std::fs::write(&path, "before\nafter\n").unwrap();
    assert_eq!(read(&path, 7).unwrap().unreadable, 1);
}
