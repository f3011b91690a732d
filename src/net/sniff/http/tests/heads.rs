//! Requests are let through for the one host, and refused where a head could be read in two ways.

use super::*;

#[test]
fn requests_to_their_own_name_pass() {
    for stream in [
        "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET / HTTP/1.1\r\nhost:EXAMPLE.com.\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: example.com:80\r\nAccept: */*\r\n\r\n",
        "GET http://example.com/p?q#f HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET HTTP://example.com:80 HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: example.com\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "PROPFIND /p%20q/\u{e4} HTTP/1.1\r\nHost: example.com\r\n\r\n",
        "get //evil.test/ HTTP/1.1\r\nHost: example.com\r\nX: a b\tc\r\nEmpty:\r\n\r\n",
    ] {
        passes(stream.as_bytes());
    }
}

#[test]
fn another_host_is_refused_with_words() {
    let ended = refused(EVIL);
    assert_eq!((ended.code(), ended.sent.len()), (Some("host-mismatch"), 0));
    assert_eq!(ended.sniffed.as_deref(), Some("evil.test"));
    let reply = ended.reply.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"));
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
    assert!(head.contains("\r\nConnection: close\r\n") && head.contains("text/plain"));
    assert!(body.contains("evil.test") && body.contains("example.com"), "{body}");
}

#[test]
fn hosts_that_are_not_the_name_are_refused() {
    for host in [
        "evil.test",
        "example.com.evil.test",
        "evilexample.com",
        "example.com:81",
        "example.com:080",
        "example.com:",
        "example.com:80:80",
        "example.com:+80",
        "192.0.2.1",
        "[::1]",
        "[::1]:80",
        "127.1",
        "198.18.1.1",
        "",
        "example.com, evil.test",
        "example.com evil.test",
        "example.com/evil",
        "ex\u{e4}mple.com",
        "example%2ecom",
        "example.com\\evil.test",
        "example.com#",
        "example.com?",
    ] {
        refused_with("host-mismatch", format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    }
    refused_with("malformed-http", b"GET / HTTP/1.1\r\nHost: a@example.com\r\n\r\n");
    refused_with("malformed-http", b"GET / HTTP/1.1\r\nHost: example.com@evil.test\r\n\r\n");
}

#[test]
fn a_host_may_name_the_port_of_the_flow_and_no_other() {
    let stream = b"GET / HTTP/1.1\r\nHost: example.com:8080\r\n\r\n";
    assert_eq!(run(&expect("example.com"), 8080, stream).denied, None);
    assert_eq!(run(&expect("example.com"), 80, stream).code(), Some("host-mismatch"));
    assert_eq!(run(&expect("example.com"), 8080, GOOD).denied, None);
    // In a URL, no port is the scheme's.
    let absolute = b"GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n";
    assert_eq!(run(&expect("example.com"), 8080, absolute).code(), Some("host-mismatch"));
}

#[test]
fn a_target_that_says_something_else_is_refused() {
    for target in [
        "http://evil.test/",
        "http://evil.test",
        "https://example.com/",
        "http://example.com.evil.test/",
        "http://example.com:81/",
        "http://example.com:/",
        "http:///",
        "http://",
        "HTTP://evil.test?example.com",
        "http://evil.test\\example.com",
        "http://evil.test#example.com/",
    ] {
        refused_with(
            "host-mismatch",
            format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n").as_bytes(),
        );
    }
    for target in [
        "ftp://example.com/",
        "evil.test/",
        "evil.test:80",
        "*",
        "?q",
        "http:/evil.test/",
        "http:\\\\evil.test",
        "http://a@example.com/",
        "http://a:b@example.com/",
        "http://example.com@evil.test/",
        "\\",
        "%2f",
    ] {
        refused_with(
            "malformed-http",
            format!("GET {target} HTTP/1.1\r\nHost: example.com\r\n\r\n").as_bytes(),
        );
    }
}

#[test]
fn connect_is_refused_in_any_case() {
    for method in ["CONNECT", "connect"] {
        let ended =
            refused(format!("{method} example.com:80 HTTP/1.1\r\nHost: example.com\r\n\r\n").as_bytes());
        assert_eq!((ended.code(), ended.sent.len()), (Some("malformed-http"), 0));
        assert!(ended.reply.unwrap().contains("CONNECT"));
    }
}

#[test]
fn heads_that_two_servers_could_read_in_two_ways_are_refused() {
    let host = "Host: example.com\r\n";
    for head in [
        format!("GET / HTTP/1.1\r\n{host}{host}\r\n"),
        format!("GET / HTTP/1.1\r\n{host}HOST: evil.test\r\n\r\n"),
        "GET / HTTP/1.1\r\nHost: example.com\r\n evil.test\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nX: a\r\n\tHost: evil.test\r\nHost: example.com\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost : example.com\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n Host: example.com\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\nHost: example.com\n\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: example.com\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nX: a\nHost: evil.test\r\nHost: example.com\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nX: a\rHost: evil.test\r\nHost: example.com\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nX: a\0b\r\n{host}\r\n"),
        format!("GET / HTTP/1.1\r\nX\0: a\r\n{host}\r\n"),
        format!("GET / HTTP/1.1\r\nX: \x0b\r\n{host}\r\n"),
        format!("GET / HTTP/1.1\r\nno colon\r\n{host}\r\n"),
        format!("GET / HTTP/1.1\r\n: empty\r\n{host}\r\n"),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        format!("GET  / HTTP/1.1\r\n{host}\r\n"),
        format!("GET\t/ HTTP/1.1\r\n{host}\r\n"),
        format!("GET / HTTP/1.1 \r\n{host}\r\n"),
        format!("GET / x HTTP/1.1\r\n{host}\r\n"),
        format!("GET / HTTP/1.1 HTTP/1.1\r\n{host}\r\n"),
        format!("GET /\x01 HTTP/1.1\r\n{host}\r\n"),
        format!("GET /\x0b HTTP/1.1\r\n{host}\r\n"),
        format!(" GET / HTTP/1.1\r\n{host}\r\n"),
        format!("\tGET / HTTP/1.1\r\n{host}\r\n"),
        format!("GET / http/1.1\r\n{host}\r\n"),
        format!("GET / HTTP/1.2\r\n{host}\r\n"),
        format!("GET / HTTP/1.10\r\n{host}\r\n"),
        format!("GET / HTTP/2.0\r\n{host}\r\n"),
        format!("GET / HTTP/01.1\r\n{host}\r\n"),
        format!("GET / HTTP/\r\n{host}\r\n"),
        format!("PRI * HTTP/2.0\n{host}\r\n"),
        format!("GET /\rHTTP/1.1\r\n{host}\r\n"),
        "GET http://evil.test/\r\n\r\n".to_owned(),
        "GET HTTPS://example.com/\n\r\n".to_owned(),
    ] {
        refused_with("malformed-http", head.as_bytes());
    }
}

#[test]
fn heads_are_bounded() {
    let long = format!("GET / HTTP/1.1\r\nHost: example.com\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
    assert_eq!(run_in(&expect("example.com"), 80, long.as_bytes(), 1400).code(), Some("sniff-too-large"));
    let many = format!("GET / HTTP/1.1\r\nHost: example.com\r\n{}\r\n", "X: x\r\n".repeat(300));
    refused_with("malformed-http", many.as_bytes());
    let target = format!("GET /{} HTTP/1.1\r\n", "x".repeat(MAX_HEAD));
    assert!(run_in(&expect("example.com"), 80, target.as_bytes(), 1400).denied.is_some());
    let fits = format!("GET / HTTP/1.1\r\nHost: example.com\r\nX: {}\r\n\r\n", "x".repeat(60_000));
    for piece in [1, 1400, 100_000] {
        assert_eq!(run_in(&expect("example.com"), 80, fits.as_bytes(), piece).denied, None);
    }
}

#[test]
fn a_flow_without_a_name_logs_hosts_and_still_refuses_the_ambiguous() {
    let ended = run(&Expected::Unnamed, 80, EVIL);
    assert_eq!((ended.denied, ended.sniffed.as_deref()), (None, Some("evil.test")));
    let two = b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n";
    assert_eq!(run(&Expected::Unnamed, 80, two).code(), Some("malformed-http"));
}

#[test]
fn one_of_several_names_is_kept_for_the_whole_connection() {
    let any = Expected::AnyOf(vec![name("example.com"), name("b.example")]);
    let mut router = Router::new(any, 80);
    router.guest(GOOD);
    assert_eq!(router.guard.settled(), Some(&name("example.com")));
    router.guest(b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
    assert_eq!(router.end().code(), Some("host-mismatch"));
}
