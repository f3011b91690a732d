#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::policy::{Mode, Policy, PolicySpec, Protocol, Request, Rule, Tunnel};

fn destination(text: &str) -> Destination {
    text.parse::<IpAddr>().map_or_else(|_| Destination::Name(text.parse().unwrap()), Destination::Address)
}

/// A tunnel, as only a policy makes one.
fn tunnel(host: &str, port: u16) -> Tunnel {
    let rule: Rule = format!("{}:{port}", destination(host)).parse().unwrap();
    let spec = PolicySpec { mode: Mode::Allowlist, allow: vec![rule], ..PolicySpec::default() };
    let request = Request::new(Protocol::Tcp, destination(host), port);
    Policy::new(spec).unwrap().decide(&request).permit().unwrap().by_name(&[]).unwrap()
}

fn shake(proxy: &str, host: &str) -> Handshake {
    Handshake::new(&proxy.parse().unwrap(), tunnel(host, 443))
}

#[test]
fn urls_of_proxies() {
    let shown = |text: &str| text.parse::<Proxy>().map(|proxy| proxy.to_string());
    for (text, expected) in [
        ("http://proxy.example:3128", "http://proxy.example:3128"),
        ("proxy.example:3128", "http://proxy.example:3128"),
        ("HTTP://Proxy.Example/", "http://proxy.example:80"),
        ("proxy", "http://proxy:80"),
        ("socks5://10.0.0.1", "socks5://10.0.0.1:1080"),
        ("socks5h://[2001:db8::1]:9050", "socks5h://[2001:db8::1]:9050"),
        ("http://u:p@proxy.example:3128/", "http://proxy.example:3128"),
        ("http://u:p%40:/s@proxy.example:3128", "http://proxy.example:3128"),
        (" http://localhost:3128 ", "http://localhost:3128"),
    ] {
        assert_eq!(shown(text), Ok(expected.to_owned()), "{text}");
    }
    for (text, error) in [
        ("https://proxy.example", ProxyError::Tls),
        ("ftp://proxy.example", ProxyError::Scheme),
        ("socks4://proxy.example", ProxyError::Scheme),
        ("", ProxyError::Host),
        ("http://", ProxyError::Host),
        ("http://a b", ProxyError::Host),
        ("http://2001:db8::1", ProxyError::Port),
        ("http://[2001:db8::1", ProxyError::Port),
        ("http://[proxy.example]:1", ProxyError::Host),
        ("http://host.npxc.internal:1", ProxyError::Host),
        ("http://proxy.example:0", ProxyError::Port),
        ("http://proxy.example:65536", ProxyError::Port),
        ("http://proxy.example:+1", ProxyError::Port),
        ("http://[2001:db8::1]x", ProxyError::Port),
        ("http://:secret@proxy.example", ProxyError::Credentials),
    ] {
        assert_eq!(shown(text), Err(error), "{text}");
    }
    let long = format!("http://u:{}@proxy.example", "x".repeat(256));
    assert_eq!(shown(&long), Err(ProxyError::Credentials));
}

#[test]
fn credentials_are_decoded_sent_and_never_shown() {
    let proxy: Proxy = "http://us%65r:s%40cret%zz@proxy.example".parse().unwrap();
    let handshake = Handshake::new(&proxy, tunnel("api.example.com", 443));
    let request = String::from_utf8(handshake.start()).unwrap();
    // `user:s@cret%zz`.
    assert!(request.contains("\r\nProxy-Authorization: Basic dXNlcjpzQGNyZXQleno=\r\n"), "{request}");
    let shown = format!("{proxy} {proxy:?} {handshake:?}");
    assert!(!shown.contains("user") && !shown.contains("cret"), "{shown}");
}

#[test]
fn the_first_variable_that_names_one_counts() {
    let of = |vars: &[(&str, &'static str)]| {
        let vars: std::collections::BTreeMap<&str, &'static str> = vars.iter().copied().collect();
        Proxying::of_environment(|name| vars.get(name).copied())
    };
    let shown = |vars: &[(&str, &'static str)]| of(vars).unwrap().map(|proxying| proxying.to_string());
    assert_eq!(shown(&[]), None);
    assert_eq!(shown(&[("HTTP_PROXY", "a.example")]), None, "it is for http:// only");
    assert_eq!(
        shown(&[("HTTPS_PROXY", ""), ("ALL_PROXY", "b.example")]).unwrap(),
        "http://b.example:80 (ALL_PROXY)"
    );
    let all = [("ALL_PROXY", "b.example"), ("HTTPS_PROXY", "a.example"), ("https_proxy", "c.example")];
    assert_eq!(shown(&all).unwrap(), "http://c.example:80 (https_proxy)");
    assert_eq!(of(&[("all_proxy", "https://a.example")]).unwrap_err(), ("all_proxy", ProxyError::Tls));
}

#[test]
fn what_goes_past_the_proxy() {
    let covers = |list: &str, host: &str, port| Bypass::parse(list).covers(&destination(host), port);
    for (list, host, port, expected) in [
        ("", "example.com", 443, false),
        ("*", "example.com", 443, true),
        ("*", "192.0.2.1", 443, true),
        ("example.com", "example.com", 443, true),
        ("example.com", "a.b.example.com", 443, true),
        ("example.com", "notexample.com", 443, false),
        ("EXAMPLE.com.", "www.example.com", 443, true),
        (".example.com", "www.example.com", 443, true),
        (".example.com", "example.com", 443, true),
        ("*.example.com", "www.example.com", 443, true),
        ("*.example.com", "example.com", 443, false),
        ("a.example, example.com other.example", "example.com", 1, true),
        ("example.com:8443", "example.com", 8443, true),
        ("example.com:8443", "example.com", 443, false),
        ("192.0.2.1", "192.0.2.1", 443, true),
        ("192.0.2.1", "192.0.2.10", 443, false),
        ("192.0.2.1:80", "192.0.2.1", 443, false),
        ("10.0.0.0/8", "10.200.3.4", 443, true),
        ("10.1.2.3/8", "10.200.3.4", 443, true),
        ("10.0.0.0/8", "11.0.0.1", 443, false),
        ("10.0.0.0/8", "::ffff:10.0.0.1", 443, true),
        ("10.0.0.0/8", "ten.example", 443, false),
        ("2001:db8::/32", "2001:db8::7", 443, true),
        ("2001:db8::7", "2001:db8::7", 443, true),
        ("[2001:db8::7]:80", "2001:db8::7", 80, true),
        ("[2001:db8::7]:80", "2001:db8::7", 81, false),
        ("10.0.0.0/33, exa mple.com:, :, ,,", "example.com", 443, false),
        ("example.com:0", "example.com", 443, false),
        ("example.com:x", "example.com", 443, false),
        // This machine, whatever the list says.
        ("", "127.0.0.9", 443, true),
        ("", "::1", 443, true),
        ("", "localhost", 443, true),
        ("", "a.localhost", 443, true),
        ("", "host.npxc.internal", 443, true),
    ] {
        assert_eq!(covers(list, host, port), expected, "{list:?} and {host}:{port}");
    }
    let shown = Bypass::parse("*.a.example,.b.example:81,10.1.1.1/8,[::2]:3,*").to_string();
    assert_eq!(shown, "*.a.example, b.example:81, 10.0.0.0/8, [::2/128]:3, *");
    assert_eq!(Bypass::parse(&shown).to_string(), shown);
    assert!(Bypass::parse(&"a.example,".repeat(5000)).to_string().len() < 12 * 1024, "bounded");
}

#[test]
fn a_name_goes_to_a_proxy_that_resolves_and_an_address_to_one_that_does_not() {
    let route = |proxy: &str, given: &[&str], host: &str| {
        let given = given.iter().map(|name| name.parse().unwrap()).collect();
        let bypass = Bypass::parse("direct.example");
        let proxying = Proxying { proxy: proxy.parse().unwrap(), bypass, origin: String::new(), given };
        proxying.route(&destination(host), 443)
    };
    assert_eq!(route("http://p", &[], "a.example"), Route::ByName);
    assert_eq!(route("socks5h://p", &[], "a.example"), Route::ByName);
    assert_eq!(route("socks5://p", &[], "a.example"), Route::ByAddress);
    assert_eq!(route("http://p", &["a.example"], "a.example"), Route::ByAddress);
    assert_eq!(route("http://p", &[], "192.0.2.1"), Route::ByAddress);
    assert_eq!(route("http://p", &[], "direct.example"), Route::Direct);
}

#[test]
fn connect_asks_for_names_and_addresses() {
    let first = |host: &str| String::from_utf8(shake("http://p", host).start()).unwrap();
    assert_eq!(
        first("api.example.com"),
        "CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n"
    );
    assert!(first("2001:db8::1").starts_with("CONNECT [2001:db8::1]:443 HTTP/1.1\r\n"));
}

#[test]
fn replies_to_connect() {
    let got = |bytes: &[u8]| shake("http://p", "a.example").receive(bytes);
    let ready = |head: &str| {
        assert_eq!(got(format!("{head}SSH-2.0-x").as_bytes()), Progress::Ready(head.len()), "{head}");
    };
    ready("HTTP/1.1 200 Connection established\r\n\r\n");
    ready("HTTP/1.0 200 OK\r\nProxy-agent: x\r\n\r\n");
    ready("HTTP/1.1 299 \r\n\r\n");
    // A successful answer to CONNECT has no body, whatever it says (RFC 9110, section 9.3.6).
    ready("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n");
    ready("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n");
    for (head, fault) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\n\r\n",
            Fault::Credentials,
        ),
        ("HTTP/1.1 401 Unauthorized\r\n\r\n", Fault::Credentials),
        ("HTTP/1.1 403 Forbidden\r\n\r\n<html>", Fault::Status(403)),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", Fault::Status(502)),
        ("HTTP/1.1 302 Found\r\nLocation: http://login.example/\r\n\r\n", Fault::Status(302)),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Fault::NotAProxy),
        ("SSH-2.0-OpenSSH_9.2\r\n", Fault::NotAProxy),
        ("\x15\x03\x01\x00\x02\x02\x16", Fault::NotAProxy),
        ("HTTP/1.1 abc\r\n\r\n", Fault::NotAProxy),
    ] {
        assert_eq!(got(head.as_bytes()), Progress::Failed(fault), "{head:?}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(handshake::MOST_REPLY));
    assert_eq!(got(endless.as_bytes()), Progress::Failed(Fault::NotAProxy));
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000);
    assert_eq!(got(interim.as_bytes()), Progress::Failed(Fault::NotAProxy));
    let fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(200));
    assert_eq!(got(fields.as_bytes()), Progress::Failed(Fault::NotAProxy));
}

/// What a proxy says, step by step, and what it is answered; the last step is the end.
fn talk(proxy: &str, host: &str, script: &[&[u8]]) -> (Vec<Vec<u8>>, Progress) {
    let mut handshake = shake(proxy, host);
    let mut sent = vec![handshake.start()];
    let mut last = Progress::NeedMore;
    for said in script {
        // Every beginning of it needs more.
        for length in 0..said.len() {
            let mut again = handshake.clone();
            let early = again.receive(&said[..length]);
            assert!(
                matches!(early, Progress::NeedMore | Progress::Failed(_)),
                "{:?} {early:?}",
                &said[..length]
            );
        }
        last = handshake.receive(said);
        match &last {
            Progress::Next(used, message) => {
                assert_eq!(*used, said.len());
                sent.push(message.clone());
            }
            Progress::NeedMore | Progress::Ready(_) | Progress::Failed(_) => break,
        }
    }
    (sent, last)
}

#[test]
fn socks_by_name_without_credentials() {
    let answer = [5, 0, 0, 1, 1, 2, 3, 4, 0, 80];
    let (sent, last) = talk("socks5h://p", "a.example", &[&[5, 0], &answer]);
    assert_eq!(sent[0], [5, 1, 0]);
    assert_eq!(sent[1], [&[5, 1, 0, 3, 9][..], b"a.example", &[1, 187]].concat());
    assert_eq!(last, Progress::Ready(10));
    let longer = [&answer[..], b"220 ready"].concat();
    assert_eq!(talk("socks5h://p", "a.example", &[&[5, 0], &answer]).1, Progress::Ready(10));
    let mut handshake = shake("socks5h://p", "a.example");
    assert!(matches!(handshake.receive(&[5, 0]), Progress::Next(2, _)));
    assert_eq!(handshake.receive(&longer), Progress::Ready(10), "what follows is the flow's");
}

#[test]
fn socks_by_address_with_credentials() {
    let reply = [&[5, 0, 0, 4][..], &[0; 16], &[0, 80]].concat();
    let (sent, last) = talk("socks5://us:pass@p", "2001:db8::1", &[&[5, 2], &[1, 0], &reply]);
    assert_eq!(sent[0], [5, 2, 0, 2]);
    assert_eq!(sent[1], [&[1, 2][..], b"us", &[4], b"pass"].concat());
    assert_eq!(sent[2][..6], [5, 1, 0, 4, 0x20, 0x01]);
    assert_eq!(last, Progress::Ready(22));
    let by_name = [&[5, 0, 0, 3, 2][..], b"ab", &[0, 80]].concat();
    assert_eq!(talk("socks5://us:pass@p", "192.0.2.1", &[&[5, 0], &by_name]).1, Progress::Ready(9));
}

#[test]
fn socks_refusals_and_garbage() {
    let fault = |proxy: &str, script: &[&[u8]]| match talk(proxy, "a.example", script).1 {
        Progress::Failed(fault) => fault,
        other => panic!("{other:?}"),
    };
    assert_eq!(fault("socks5h://p", &[&[5, 0xff]]), Fault::Credentials);
    assert_eq!(fault("socks5h://p", &[&[5, 2]]), Fault::NotAProxy, "nothing of the kind was offered");
    assert_eq!(fault("socks5h://u:p@p", &[&[5, 2], &[1, 1]]), Fault::Credentials);
    assert_eq!(fault("socks5h://u:p@p", &[&[5, 2], &[5, 0]]), Fault::NotAProxy);
    assert_eq!(fault("socks5h://p", &[&[4, 0]]), Fault::NotAProxy);
    assert_eq!(fault("socks5h://p", &[b"HTTP/1.1 400 Bad Request\r\n"]), Fault::NotAProxy);
    assert_eq!(fault("socks5h://p", &[&[5, 0], &[5, 5, 0, 1]]), Fault::Reply(5));
    assert_eq!(fault("socks5h://p", &[&[5, 0], &[5, 0, 0, 9, 1]]), Fault::NotAProxy);
    assert_eq!(fault("socks5h://p", &[&[5, 0], b"HT"]), Fault::NotAProxy);
}

#[test]
fn every_fault_has_a_sentence_and_a_hint() {
    let all = [
        Fault::Unresolved,
        Fault::Unreachable,
        Fault::Credentials,
        Fault::NotAProxy,
        Fault::Closed,
        Fault::Silent,
    ];
    let faults = all.into_iter().chain((0..=9).map(Fault::Reply)).chain((100..=599).map(Fault::Status));
    for fault in faults {
        let (words, hint) = (fault.to_string(), fault.hint());
        assert!(words.starts_with("refused by the proxy: ") || words.starts_with("not made: "), "{words}");
        assert!(!hint.is_empty() && !words.ends_with(' '), "{words}");
    }
    assert_eq!(Fault::Status(403).to_string(), "refused by the proxy: 403 Forbidden");
}

proptest! {
    #[test]
    fn no_reply_is_taken_for_more_than_it_is(bytes in prop::collection::vec(any::<u8>(), 0..64), socks in any::<bool>()) {
        let mut handshake = shake(if socks { "socks5h://u:p@p" } else { "http://u:p@p" }, "a.example");
        let mut rest = &bytes[..];
        while let Progress::Next(used, message) = handshake.receive(rest) {
            prop_assert!(used > 0 && used <= rest.len() && !message.is_empty());
            rest = &rest[used..];
        }
        if let Progress::Ready(used) = handshake.receive(rest) {
            prop_assert!(used <= rest.len());
        }
    }

    #[test]
    fn pieces_do_not_change_what_a_head_means(cut in 0_usize..60) {
        let head = b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 Connection established\r\nA: b\r\n\r\n";
        prop_assert_eq!(shake("http://p", "a.example").receive(&head[..cut]), Progress::NeedMore);
    }
}
