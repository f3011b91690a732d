//! Target of what finds paths: in values, in schemas, in every position of a message.

use npxc::rpc::identify::word::{variable, word};
use npxc::rpc::identify::{Configured, ToolSchema, embedded, identify};
use npxc::rpc::translate::{Answer, Mounts, Outcome, Translator};

/// Two names of one directory.
const HOST: &str = "/home/me";
const GUEST: &str = "/work/space";

/// Nothing panics; the same bytes are judged the same; what nobody translates stays; what goes in by a mount's other name
/// comes back as it was, as far as the message had no such name before.
pub(crate) fn positions(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        values(text);
    }
    let schema = || serde_json::from_slice(data).map(|schema| ToolSchema::read(&schema)).ok();
    assert_eq!(schema(), schema());
    untouched(data);
    there_and_back(data);
}

fn values(text: &str) {
    let judge = || identify(&Configured::default(), None, "t", &["a"], text);
    assert_eq!(judge(), judge());
    assert_eq!(word(text), word(text));
    if let Some((before, named)) = word(text) {
        assert_eq!(format!("{before}{}", named.text), text);
    }
    assert_eq!(variable(text), variable(text));
    let mut from = 0;
    for span in embedded::paths(text) {
        assert!(from <= span.start && span.start < span.end, "in order, and none is empty");
        from = span.end;
        assert!(text.get(span).is_some(), "whole characters");
    }
}

/// A line of which every path is left as it is.
fn untouched(data: &[u8]) {
    let mut translator = Translator::default();
    let Some(call) = translator.client(data) else { return };
    let answers = call.named().map(|_| Answer::Leave).collect();
    assert_eq!(translator.answered(data, &call, answers), Outcome::Forward);
}

fn there_and_back(data: &[u8]) {
    let names = |line: &[u8]| {
        ["space", "me"].iter().any(|name| line.windows(name.len()).any(|at| at == name.as_bytes()))
    };
    let mut translator = Translator::default().mounts(Mounts::new([(HOST, GUEST)]));
    let said = translator.server(data);
    assert_eq!(translator.server(data), said, "the same again");
    assert!(said.is_none() || names(data), "nothing is replaced that is not there");
    let Some(call) = translator.client(data) else { return };
    let paths = |call: &npxc::rpc::translate::Call| -> Vec<String> {
        call.named().map(|named| named.written.path.clone()).collect()
    };
    let answers = call.named().map(|named| match named.written.path.strip_prefix(HOST) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => Answer::At(format!("{GUEST}{rest}")),
        _ => Answer::Leave,
    });
    let answers = answers.collect();
    let Outcome::Changed(there) = translator.answered(data, &call, answers) else { return };
    let guests = b"space";
    if data.windows(guests.len()).any(|at| at == guests) {
        return;
    }
    let back = translator.server(&there).unwrap_or(there);
    let again = Translator::default().client(&back);
    assert_eq!(again.as_ref().map(paths).unwrap_or_default(), paths(&call), "the same paths");
}
