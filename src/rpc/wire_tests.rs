#![allow(clippy::unwrap_used)]
use std::io::Read;

use serde_json::json;

use super::super::denials::{Denial, Denials};
use super::super::identify::{Configured, Named};
use super::super::translate::{Refusal, Unsaved, Write};
use super::*;

/// Shares what is below `/scope`, refuses what is below `/no`; keeps what is said.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Vec<String>>>);

impl Files for Fake {
    fn share(&self, named: &Named) -> Answer {
        let path = &named.written.path;
        match path.strip_prefix("/scope/").or(Some(path.as_str()).filter(|path| *path == "f.txt")) {
            Some(name) => Answer::Shared {
                place: 1,
                directory: "/scope".to_owned(),
                name: name.to_owned(),
                writable: name.starts_with("rw/"),
            },
            None if named.written.path.starts_with("/no/") => {
                Answer::Refused(Refusal { code: "no", reason: "is not to be had".to_owned(), hint: None })
            }
            None => Answer::Leave,
        }
    }

    fn say(&self, words: &str) {
        self.0.lock().unwrap().push(words.to_owned());
    }

    /// Loses what is called so.
    fn collect(&self, written: &[Write]) -> Vec<Unsaved> {
        let lost = written.iter().filter(|write| write.name.ends_with("lost"));
        lost.map(|write| Unsaved {
            path: format!("/scope/{}", write.name),
            refusal: Refusal { code: "not-saved", reason: "was not written".to_owned(), hint: None },
        })
        .collect()
    }
}

/// Both directions over pipes.
struct Ends {
    inward: Inward,
    outward: Outward,
    guest: File,
    client: File,
    said: Arc<Mutex<Vec<String>>>,
}

impl Ends {
    fn new() -> Self {
        Self::with(Translator::new(Configured::default()))
    }

    fn with(translator: Translator) -> Self {
        let (guest, to_guest) = std::io::pipe().unwrap();
        let (client, to_client) = std::io::pipe().unwrap();
        let fake = Fake::default();
        let said = Arc::clone(&fake.0);
        let to_client = File::from(std::os::fd::OwnedFd::from(to_client));
        let wire = Wire::new(translator, Box::new(fake), to_client);
        let to_guest = File::from(std::os::fd::OwnedFd::from(to_guest));
        let file = |end: std::io::PipeReader| File::from(std::os::fd::OwnedFd::from(end));
        Self {
            inward: Inward::new(&wire, to_guest),
            outward: Outward::new(&wire),
            guest: file(guest),
            client: file(client),
            said,
        }
    }

    /// What reached the guest and the client.
    fn close(self) -> (String, String) {
        let Self { mut inward, mut outward, mut guest, mut client, said: _ } = self;
        inward.end().unwrap();
        outward.end().unwrap();
        drop((inward, outward));
        let (mut inside, mut outside) = (String::new(), String::new());
        guest.read_to_string(&mut inside).unwrap();
        client.read_to_string(&mut outside).unwrap();
        (inside, outside)
    }
}

fn call(path: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"t\",\"arguments\":{{\"a\":\"{path}\"}}}}}}\n"
    )
}

#[test]
fn a_call_goes_in_with_the_guests_path_and_comes_back_with_the_clients() {
    let mut ends = Ends::new();
    // In the smallest pieces.
    for byte in call("/scope/f.txt").as_bytes() {
        ends.inward.push(&[*byte]).unwrap();
    }
    for byte in b"words /opt/npxc-shared/1/f.txt\n{\"r\":\"/opt/npxc-shared/1/f.txt\"}\r\n" {
        ends.outward.push(&[*byte]).unwrap();
    }
    let (inside, outside) = ends.close();
    assert_eq!(inside, call("/opt/npxc-shared/1/f.txt"));
    assert_eq!(outside, "words /opt/npxc-shared/1/f.txt\n{\"r\":\"/scope/f.txt\"}\r\n");
}

#[test]
fn a_reply_whose_writes_are_lost_is_an_error() {
    let reply = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"n\":1.10}}\n";
    for (name, is_lost) in [("rw/kept", false), ("rw/lost", true), ("ro/lost", false)] {
        let mut ends = Ends::new();
        ends.inward.push(call(&format!("/scope/{name}")).as_bytes()).unwrap();
        ends.outward.push(reply.as_bytes()).unwrap();
        // Once: the second is nobody's answer.
        ends.outward.push(reply.as_bytes()).unwrap();
        let (inside, outside) = ends.close();
        assert_eq!(inside, call(&format!("/opt/npxc-shared/1/{name}")));
        let first = outside.strip_suffix(reply).unwrap();
        if is_lost {
            let error =
                "\"id\":1,\"error\":{\"code\":-32603,\"message\":\"npxc: /scope/rw/lost was not written\"";
            assert!(first.contains(error) && first.ends_with("}\n"), "{outside}");
        } else {
            assert_eq!(first, reply);
        }
    }
}

#[test]
fn a_call_that_was_answered_by_a_long_line_holds_no_other() {
    let denials = Denials::default();
    let deny = |destination: &str| {
        let (destination, reason) = (destination.to_owned(), "no".to_owned());
        denials.add(Denial { destination, reason, hint: None });
    };
    let mut ends = Ends::with(Translator::default().explaining(denials.clone()));
    let mut client = std::mem::replace(&mut ends.client, File::open("/dev/null").unwrap());
    let read = std::thread::spawn(move || std::io::read_to_string(&mut client).unwrap());
    let start = format!("{{\"id\":1,\"result\":{{\"text\":\"{}", "x".repeat(MOST_ASKED));
    let end = "\"}}\n";
    ends.inward.push(call("x").as_bytes()).unwrap();
    // The answer, and then something that nobody waits for.
    for denied in ["before", "after"] {
        ends.outward.push(start.as_bytes()).unwrap();
        assert!(ends.outward.splitter.held().is_empty(), "{denied}");
        ends.outward.push(end.as_bytes()).unwrap();
        deny(denied);
    }
    ends.inward.push(call("x").as_bytes()).unwrap();
    deny("meanwhile");
    ends.outward.push(start.as_bytes()).unwrap();
    assert!(!ends.outward.splitter.held().is_empty(), "a call that runs has something to be told");
    ends.outward.push(end.as_bytes()).unwrap();
    ends.close();
    assert_eq!(read.join().unwrap(), format!("{start}{end}").repeat(3));
}

#[test]
fn a_refusal_waits_for_the_end_of_the_servers_line() {
    let mut ends = Ends::new();
    ends.outward.push(b"half a line").unwrap();
    ends.inward.push(call("/no/f").as_bytes()).unwrap();
    ends.outward.push(b", the other half\nmore\n").unwrap();
    let (inside, outside) = ends.close();
    assert_eq!(inside, "");
    let lines: Vec<_> = outside.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[2]), (3, "half a line, the other half", "more"));
    assert!(
        lines[1].contains("\"id\":1,\"error\"") && lines[1].contains("/no/f is not to be had"),
        "{outside}"
    );
}

#[test]
fn only_json_rpc_makes_a_client() {
    assert!(speaks_json_rpc(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\"}\n"));
    assert!(speaks_json_rpc(b"\r\n [{\"jsonrpc\": \"2.0\"}]"));
    for other in [&b""[..], b"hello\n", b"{\"name\":\"x\"}\n", b"\"jsonrpc\""] {
        assert!(!speaks_json_rpc(other));
    }
}

#[test]
fn a_first_message_may_say_at_its_end_what_it_is() {
    let mut ends = Ends::new();
    let padding = "x".repeat(2 * FIRST_LINE);
    let message = |path: &str| {
        format!(
            "{{\"method\":\"tools/call\",\"params\":{{\"name\":\"t\",\"arguments\":{{\"p\":\"{padding}\",\"a\":\"{path}\"}}}},\
             \"jsonrpc\":\"2.0\",\"id\":1}}\n"
        )
    };
    for piece in message("/scope/f.txt").as_bytes().chunks(FIRST_LINE + 1) {
        ends.inward.push(piece).unwrap();
    }
    assert!(ends.inward.is_spoken());
    assert_eq!(ends.close().0, message("/opt/npxc-shared/1/f.txt"));
}

#[test]
fn what_the_server_asks_is_heard_however_its_line_is_cut() {
    let form = json!({"type": "object", "properties": {"file": {"type": "string"}}});
    let question = |id: u32| {
        let text = "?".repeat(MOST_ASKED / 2);
        let params = json!({"message": text, "requestedSchema": form});
        format!("{}\n", json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params}))
    };
    // A bare name is a path only where the form says so.
    let answer = |id: u32, name: &str| {
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"action\":\"accept\",\"content\":{{\"file\":\"{name}\"}}}}}}\n"
        )
    };
    for pieces in [1, 2, 7] {
        let mut ends = Ends::new();
        ends.inward.push(b"{\"jsonrpc\":\"2.0\",\"method\":\"x\"}\n").unwrap();
        let question = question(1);
        let reader = std::thread::spawn({
            let mut client = ends.client.try_clone().unwrap();
            let mut seen = vec![0; question.len()];
            move || client.read_exact(&mut seen).map(|()| seen).unwrap()
        });
        for piece in question.as_bytes().chunks(question.len().div_ceil(pieces)) {
            ends.outward.push(piece).unwrap();
        }
        assert_eq!(reader.join().unwrap(), question.as_bytes());
        ends.inward.push(answer(1, "f.txt").as_bytes()).unwrap();
        let inside = ends.close().0;
        assert!(inside.ends_with(&answer(1, "/opt/npxc-shared/1/f.txt")), "{pieces}: {inside}");
    }
}

#[test]
fn what_is_no_json_rpc_is_not_held() {
    let mut ends = Ends::new();
    let mut block = vec![b'{'];
    block.extend(std::iter::repeat_n(b'x', FIRST_LINE));
    ends.inward.push(&block).unwrap();
    let mut seen = vec![0; block.len()];
    ends.guest.read_exact(&mut seen).unwrap();
    ends.outward.push(b"{\"a\":").unwrap();
    let mut seen = [0; 5];
    ends.client.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"{\"a\":");
}

#[test]
fn a_refusal_is_not_lost_with_a_line_that_has_no_end() {
    let mut ends = Ends::new();
    ends.outward.push(b"words without an end").unwrap();
    ends.inward.push(call("/no/f").as_bytes()).unwrap();
    ends.outward.end().unwrap();
    // The guest has gone: what comes now does not wait for it.
    ends.inward.push(call("/no/g").as_bytes()).unwrap();
    let (_, outside) = ends.close();
    let lines: Vec<_> = outside.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "words without an end"), "{outside}");
    assert!(lines[1].contains("/no/f is not to be had") && lines[2].contains("/no/g is not"), "{outside}");

    let mut ends = Ends::new();
    ends.inward.push(call("/f").as_bytes()).unwrap();
    ends.outward.push(b"words without an end").unwrap();
    assert_eq!(ends.close().1, "words without an end");
}

#[test]
fn refusals_wait_for_an_end_of_line_only_so_long() {
    let mut ends = Ends::new();
    ends.outward.push(b"? ").unwrap();
    let Ends { mut inward, outward, guest, mut client, said: _ } = ends;
    let reader = std::thread::spawn(move || {
        let mut out = String::new();
        client.read_to_string(&mut out).unwrap();
        out
    });
    let call = call("/no/f");
    let mut calls = 0;
    while !inward.wire.client().at_line_start {
        inward.push(call.as_bytes()).unwrap();
        calls += 1;
        assert!(inward.wire.client().waiting.len() <= MOST_WAITING);
        assert!(calls <= MOST_WAITING, "nothing is that short");
    }
    assert!(calls > 1000, "{calls}");
    drop((inward, outward, guest));
    let out = reader.join().unwrap();
    assert_eq!(out.lines().next(), Some("? "));
    assert_eq!(out.lines().skip(1).filter(|line| line.contains("/no/f is not to be had")).count(), calls);
}

#[test]
fn hints_are_the_sessions_to_say_in_their_order() {
    let mut ends = Ends::new();
    let roots = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"roots\":[{\"uri\":\"file:///no/a\"},{\"uri\":\"file:///no/b\"}]}}\n";
    ends.inward.push(roots.as_bytes()).unwrap();
    let said = ends.said.lock().unwrap().clone();
    assert_eq!(said, ["a", "b"].map(|name| format!("the client's root file:///no/{name} is not to be had")));
    assert_eq!(ends.close().0, roots);
}

#[test]
fn a_cancelled_call_is_waited_for_no_more() {
    let mut ends = Ends::new();
    ends.inward.push(call("/scope/rw/lost").as_bytes()).unwrap();
    let cancel =
        "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":1}}\n";
    ends.inward.push(cancel.as_bytes()).unwrap();
    let late = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n";
    ends.outward.push(late.as_bytes()).unwrap();
    assert_eq!(ends.close().1, late);
}
