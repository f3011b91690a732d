//! The values of options and keys that are more than a word ([`choices`](super::choices)), parsed once. Pure; every parser is shared by the command line and the files.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::error::{Fault, nearest};
use crate::audit::shelf::Keep;
use crate::policy::{HostName, HostPattern, Rule};

/// Least memory that node starts in, with room to do something.
pub const LEAST_MEMORY: u64 = 64 << 20;

/// Least number of processes and threads: node alone has some 11.
pub const LEAST_PIDS: u64 = 16;

/// Least size of a file of a log, so that a session's files can be counted.
pub const LEAST_LOG: u64 = 64 << 10;

/// How the names of npxc's own variables begin.
pub const OWN_VARIABLES: &str = "NPXC_";

/// The presets there are. What one stands for on this machine is known when it is used; that it exists is known now.
pub const PRESETS: [&str; 1] = ["npm"];

/// A container image's reference. Its grammar is the engine's; it must not be taken for an option.
pub fn image(text: &str) -> Result<String, Fault> {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if text.is_empty() || text.starts_with('-') || text.contains(odd) {
        return Err(Fault::new("this is no image")
            .hint("name one as podman and docker do, such as docker.io/library/node:22-slim"));
    }
    Ok(text.to_owned())
}

/// An engine's program: a name that `PATH` knows, or an absolute path. A relative path would be somebody else's file.
pub fn program(text: &str) -> Result<PathBuf, Fault> {
    let path = PathBuf::from(text);
    if text.is_empty() || text.contains('\0') || (text.contains('/') && !path.is_absolute()) {
        return Err(Fault::new("expected the name of a program, or an absolute path"));
    }
    Ok(path)
}

/// Rules, separated by commas, whose presets exist.
pub fn rules(text: &str) -> Result<Vec<Rule>, Fault> {
    let rules = Rule::parse_list(text)?;
    let mut start = 0;
    for (rule, item) in rules.iter().zip(text.split(',')) {
        if let HostPattern::Preset(name) = rule.host()
            && !PRESETS.contains(&name.as_str())
        {
            let at = start + item.chars().take_while(|c| *c != '@').count();
            let hint = match nearest(name, PRESETS) {
                Some(known) => format!("did you mean @{known}?"),
                None => format!("there is @{}", PRESETS.join(", @")),
            };
            return Err(Fault::new(format!("there is no preset @{name}")).at(at).hint(hint));
        }
        start += item.chars().count() + 1;
    }
    Ok(rules)
}

/// One rule whose preset exists.
pub fn rule(text: &str) -> Result<Rule, Fault> {
    let rule = text.parse()?;
    rules(text)?;
    Ok(rule)
}

/// A size in bytes: a number with K, M, G or T (powers of 1024; `KB` and `KiB` mean the same).
pub fn size(text: &str) -> Result<u64, Fault> {
    let wrong =
        || Fault::new("expected a size").hint("write a number with K, M or G, for example 512M or 2G");
    let digits = text.chars().take_while(|c| c.is_ascii_digit() || *c == '.').count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong().at(digits)),
    };
    #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss)]
    let bytes = (number * (1_u64 << shift) as f64) as u64;
    Ok(bytes)
}

/// An age: a number with h, d or w.
pub fn age(text: &str) -> Result<Duration, Fault> {
    let wrong =
        || Fault::new("expected an age").hint("write a number with h, d or w, for example 12h, 30d or 8w");
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let hours = match unit {
        "h" => 1,
        "d" => 24,
        "w" => 24 * 7,
        _ => return Err(wrong()),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(hours * 3600));
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

/// Which logs are kept: an age, or a number of sessions.
pub fn keep(text: &str) -> Result<Keep, Fault> {
    match text.parse() {
        Ok(0) => Err(Fault::new("at least one session's log is kept, the one that is being written")),
        Ok(sessions) => Ok(Keep::Newest(sessions)),
        Err(_) => age(text).map(Keep::For).map_err(|fault| {
            fault.hint(
                "write a number with h, d or w, for example 30d, or a number of sessions, for example 200",
            )
        }),
    }
}

/// The size of a file of a log.
pub fn log_size(text: &str) -> Result<u64, Fault> {
    match size(text)? {
        bytes if bytes < LEAST_LOG => {
            Err(Fault::new("less than 64K, which is a file for some hundred lines"))
        }
        bytes => Ok(bytes),
    }
}

/// A size that node can run in.
pub fn memory(text: &str) -> Result<u64, Fault> {
    match size(text)? {
        bytes if bytes < LEAST_MEMORY => Err(Fault::new("less than 64M, in which node does not start")),
        bytes if bytes > i64::MAX.cast_unsigned() => Err(Fault::new("more than any machine has")),
        bytes => Ok(bytes),
    }
}

/// Cores, for example 0.5 or 2.
pub fn cpus(text: &str) -> Result<f64, Fault> {
    let wrong = || Fault::new("expected a number of cores, 0.01 to 1024").hint("for example 0.5 or 2");
    text.parse().ok().filter(|cpus| (0.01..=1024.0).contains(cpus)).ok_or_else(wrong)
}

/// Processes and threads.
pub fn pids(text: &str) -> Result<u64, Fault> {
    let wrong =
        || Fault::new("expected a number of processes and threads, at least 16").hint("for example 512");
    text.parse().ok().filter(|pids| (LEAST_PIDS..=4_194_304).contains(pids)).ok_or_else(wrong)
}

/// A name a variable can have in every shell: letters, digits and `_`, no digit first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EnvName(String);

impl EnvName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a variable looks like on the command line and in a file.
const ENV_EXAMPLE: &str = "for example --env API_TOKEN (npxc's own value) or --env LANG=C; in a file API_TOKEN = \"...\" below [env]";

impl FromStr for EnvName {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(Fault::new("the name of the variable is missing").at(0).hint(ENV_EXAMPLE));
        }
        let bad = text
            .chars()
            .enumerate()
            .find(|(at, c)| !(c.is_ascii_alphanumeric() || *c == '_') || (*at == 0 && c.is_ascii_digit()));
        match bad {
            Some((at, _)) => {
                Err(Fault::new("a variable's name has letters, digits and `_` only, and no digit first")
                    .at(at)
                    .hint(ENV_EXAMPLE))
            }
            // They say what is granted; and npxc inside npxc would obey them.
            None if text.starts_with(OWN_VARIABLES) => Err(Fault::new(
                "variables whose names begin with NPXC_ are npxc's own; none reaches a package",
            )
            .hint("leave it out; what npxc grants stands in its options, as `npxc --help` shows them")),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for EnvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A variable's value, often a secret: never printed, not even by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct EnvValue(pub OsString);

impl fmt::Debug for EnvValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvValue(..)")
    }
}

/// A port of the host that is forwarded into the guest, `[IP:]PORT[:GUEST]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    /// Where npxc listens; 127.0.0.1 when no address is given.
    pub listen: SocketAddr,
    /// The port inside the guest.
    pub guest: u16,
}

impl FromStr for Publish {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let port = |text: &str| {
            text.parse::<u16>().ok().filter(|port| *port != 0 && text.bytes().all(|b| b.is_ascii_digit()))
        };
        let wrong = || {
            Fault::new("expected [IP:]PORT[:GUEST_PORT]")
                .hint("for example 8080, 8080:3000, 127.0.0.1:8080:3000 or [::1]:8080")
        };
        let (address, rest) = if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once("]:").ok_or_else(wrong)?;
            (Some(address), rest)
        } else {
            match text.split_once(':') {
                Some((address, rest)) if port(address).is_none() => (Some(address), rest),
                Some(_) | None => (None, text),
            }
        };
        let ip = match address {
            Some(address) => address.parse::<IpAddr>().map_err(|_| wrong())?,
            None => Ipv4Addr::LOCALHOST.into(),
        };
        let (host, guest) = rest.split_once(':').unwrap_or((rest, rest));
        let (host, guest) = port(host).zip(port(guest)).ok_or_else(wrong)?;
        Ok(Self { listen: SocketAddr::new(ip, host), guest })
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.listen, self.guest)
    }
}

/// What a name resolves to, instead of what DNS says: `NAME:IP`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddHost {
    /// The name.
    pub name: HostName,
    /// Its address.
    pub address: IpAddr,
}

impl FromStr for AddHost {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        let wrong = || Fault::new("expected NAME:IP").hint("for example db.example.com:192.0.2.7");
        let (name, address) = text.split_once(':').ok_or_else(wrong)?;
        let bare = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
        let at = name.chars().count() + 1;
        Ok(Self { name: name.parse::<HostName>()?, address: bare.parse().map_err(|_| wrong().at(at))? })
    }
}

impl fmt::Display for AddHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.address)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("512M"), Ok(512 << 20));
        assert_eq!(size("2G"), Ok(2 << 30));
        assert_eq!(size("1.5 GiB"), Ok(3 << 29));
        assert_eq!(size("65536"), Ok(65536));
        for bad in ["", "G", "-1", "1X", "1 2", "1e9", "∞"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert!(memory("1M").unwrap_err().what.contains("64M"));
        assert!(memory("99999999999T").is_err());
        assert!(cpus("0").is_err() && cpus("NaN").is_err() && cpus("inf").is_err() && cpus("0.5") == Ok(0.5));
        assert!(pids("1").is_err() && pids("128") == Ok(128));
    }

    #[test]
    fn a_preset_that_does_not_exist_is_pointed_at() {
        assert_eq!(rules("@npm, a.example.com").map(|rules| rules.len()), Ok(2));
        let fault = rules("é.example.com, udp://@nmp:443").unwrap_err();
        assert_eq!((fault.at, fault.what.as_str()), (Some(21), "there is no preset @nmp"));
        assert_eq!(fault.hint.as_deref(), Some("did you mean @npm?"));
        assert_eq!(rule("@internal").unwrap_err().hint.as_deref(), Some("there is @npm"));
        assert!(rule("@npm").is_ok() && rule("@npm,@npm").is_err());
    }

    #[test]
    fn published_ports() {
        let show = |text: &str| text.parse::<Publish>().map(|publish| publish.to_string());
        assert_eq!(show("8080").unwrap(), "127.0.0.1:8080:8080");
        assert_eq!(show("8080:3000").unwrap(), "127.0.0.1:8080:3000");
        assert_eq!(show("0.0.0.0:8080").unwrap(), "0.0.0.0:8080:8080");
        assert_eq!(show("127.0.0.2:8080:3000").unwrap(), "127.0.0.2:8080:3000");
        assert_eq!(show("[::1]:8080:3000").unwrap(), "[::1]:8080:3000");
        for bad in ["", "0", "65536", "a", "8080:", ":8080", "localhost:8080", "::1:8080", "+80", "1:2:3"] {
            assert!(show(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn host_entries() {
        let show = |text: &str| text.parse::<AddHost>().map(|entry| entry.to_string());
        assert_eq!(show("DB.example.com:192.0.2.7").unwrap(), "db.example.com:192.0.2.7");
        assert_eq!(show("db.example.com:2001:db8::1").unwrap(), "db.example.com:2001:db8::1");
        assert_eq!(show("db.example.com:[2001:db8::1]").unwrap(), "db.example.com:2001:db8::1");
        assert_eq!(show("db.example.com:nope").unwrap_err().at, Some(15));
        assert!(show("db.example.com").is_err());
    }

    #[test]
    fn variables() {
        assert!("GITHUB_TOKEN".parse::<EnvName>().is_ok() && "_x1".parse::<EnvName>().is_ok());
        assert_eq!("1A".parse::<EnvName>().unwrap_err().at, Some(0));
        assert_eq!("A-B".parse::<EnvName>().unwrap_err().at, Some(1));
        assert!("".parse::<EnvName>().is_err());
        assert!("NPXC_ALLOW".parse::<EnvName>().unwrap_err().what.contains("none reaches a package"));
        assert_eq!(format!("{:?}", EnvValue("secret".into())), "EnvValue(..)");
    }

    #[test]
    fn what_an_option_might_be_taken_for_is_refused() {
        assert!(image("docker.io/library/node:22-slim").is_ok() && image("node@sha256:00ff").is_ok());
        for text in ["", "-v", "a b", "a\nb"] {
            assert!(image(text).is_err(), "{text:?}");
        }
        assert!(program("podman").is_ok() && program("/opt/podman/bin/podman").is_ok());
        assert!(program("./podman").is_err() && program("").is_err());
    }
}
