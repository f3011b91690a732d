//! Target of what a proxy answers, and of what says which proxy there is.

use npxc::net::proxy::handshake::MOST_REPLY;
use npxc::net::proxy::{Bypass, Handshake, Progress, Proxy};
use npxc::policy::{HostName, Mode, Policy, PolicySpec, Protocol, Request};

/// A first byte that says what the rest is: replies to CONNECT (0) and to SOCKS (1, 2), a proxy's URL (3), a `NO_PROXY` (4).
/// A reply means the same in pieces as at once, and is never longer than what there is; what is shown parses to the same.
pub(crate) fn proxy(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let text = || String::from_utf8_lossy(rest);
    match kind % 5 {
        0 => replies("http://user:password@proxy.example", rest),
        1 => replies("socks5h://proxy.example", rest),
        2 => replies("socks5h://user:password@proxy.example", rest),
        3 => {
            if let Ok(proxy) = text().parse::<Proxy>() {
                let again: Proxy = proxy.to_string().parse().expect("what is shown is a proxy");
                assert_eq!(again.to_string(), proxy.to_string());
                assert!(!again.has_credentials());
            }
        }
        _ => {
            let bypass = Bypass::parse(&text());
            assert_eq!(Bypass::parse(&bypass.to_string()), bypass, "{bypass}");
        }
    }
}

fn replies(url: &str, mut rest: &[u8]) {
    let mut handshake = ask(url);
    loop {
        let whole = handshake.clone().receive(rest);
        let pieces = (0..rest.len().min(MOST_REPLY)).map(|end| handshake.clone().receive(&rest[..end]));
        if let Some(early) = pieces.into_iter().find(|progress| *progress != Progress::NeedMore) {
            assert_eq!(early, whole);
        }
        match handshake.receive(rest) {
            Progress::Next(used, message) => {
                assert!(used > 0 && used <= rest.len() && !message.is_empty());
                rest = &rest[used..];
            }
            Progress::Ready(used) => return assert!(used <= rest.len().min(MOST_REPLY)),
            Progress::NeedMore | Progress::Failed(_) => return,
        }
    }
}

fn ask(url: &str) -> Handshake {
    let allow = vec!["example.com".parse().expect("a rule")];
    let spec = PolicySpec { mode: Mode::Allowlist, allow, ..PolicySpec::default() };
    let name: HostName = "example.com".parse().expect("a name");
    let verdict = Policy::new(spec).expect("a policy").decide(&Request::new(Protocol::Tcp, name, 443));
    let tunnel = verdict.permit().expect("a permit").by_name(&[]).expect("a tunnel");
    Handshake::new(&url.parse().expect("a proxy"), tunnel)
}
