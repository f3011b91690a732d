//! Requests that pass, requests that are refused, and streams that try to look like one request and be two.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bodies;
mod heads;
mod protocols;
mod upgrades;

use super::super::Expected;
use super::super::testing::{Ended, Router, expect, name, run, run_in};
use super::MAX_HEAD;

fn at_80(stream: &[u8]) -> Ended {
    run(&expect("example.com"), 80, stream)
}

fn passes(stream: &[u8]) {
    let ended = at_80(stream);
    assert_eq!(ended.denied, None, "{}", stream.escape_ascii());
    assert_eq!((ended.sent.as_slice(), ended.detected), (stream, "http"), "{}", stream.escape_ascii());
}

fn refused(stream: &[u8]) -> Ended {
    let ended = at_80(stream);
    assert!(ended.denied.is_some(), "{}", stream.escape_ascii());
    assert_eq!(ended.detected, "http", "{}", stream.escape_ascii());
    ended
}

fn refused_with(code: &str, stream: &[u8]) {
    assert_eq!(refused(stream).code(), Some(code), "{}", stream.escape_ascii());
}

/// A request with these header lines and this body.
fn request(fields: &str, body: &str) -> Vec<u8> {
    format!("POST /p HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n{body}").into_bytes()
}

const EVIL: &[u8] = b"GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n";
const GOOD: &[u8] = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";
