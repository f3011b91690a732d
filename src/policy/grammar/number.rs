//! The numbers in a rule: ports and prefix lengths, in decimal and in one way of writing each.

use crate::policy::fault::Fault;
use crate::policy::protocol::Ports;

/// Services whose names are written for their ports.
const SERVICES: [(&str, u16); 5] =
    [("http", 80), ("https", 443), ("ssh", 22), ("postgresql", 5432), ("mysql", 3306)];

/// `PORT` or `PORT-PORT`.
pub(super) fn ports(text: &str) -> Result<Ports, Fault> {
    if text.is_empty() {
        return Err(
            Fault::new(0, "the port is missing after the colon").hint("leave the colon out for any port")
        );
    }
    if text == "*" {
        return Err(Fault::new(0, "`*` is not a port").hint("leave the port out for any port"));
    }
    let Some((first, last)) = text.split_once('-') else {
        let port = port(text)?;
        return Ports::one(port).ok_or_else(zero);
    };
    let last_column = first.chars().count() + 1;
    let first = port(first)?;
    let last = port(last).map_err(|fault| fault.shifted(last_column))?;
    Ports::range(first, last)
        .ok_or_else(|| Fault::new(0, "the range of ports is reversed").hint(format!("write {last}-{first}")))
}

fn port(text: &str) -> Result<u16, Fault> {
    if let Some((at, character)) = text.chars().enumerate().find(|(_, character)| !character.is_ascii_digit())
    {
        return Err(match character {
            '/' | '?' | '#' => Fault::new(at, "a rule names a host and a port, and no path"),
            '@' => Fault::new(at, "a rule names no user"),
            ':' => Fault::new(at, "a second port; a range is written PORT-PORT")
                .hint("an IPv6 address stands in brackets"),
            other => {
                let fault = Fault::new(at, format!("`{}` cannot stand in a port", other.escape_debug()));
                match SERVICES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)) {
                    Some((_, number)) => fault.hint(format!("a port is a number: write :{number}")),
                    None => fault,
                }
            }
        });
    }
    if text.is_empty() {
        return Err(Fault::new(0, "a port is missing").hint("write PORT or PORT-PORT"));
    }
    if text.starts_with('0') {
        return Err(match text.trim_start_matches('0') {
            "" => zero(),
            rest => {
                Fault::new(0, "a port does not start with 0").hint(format!("leave the zeros out: {rest}"))
            }
        });
    }
    text.parse().map_err(|_| {
        Fault::new(0, "a port is a number from 1 to 65535").hint("for example api.example.com:443")
    })
}

fn zero() -> Fault {
    Fault::new(0, "port 0 cannot be reached").hint("leave the port out for any port")
}

/// A prefix length, where `column` is its first character.
pub(super) fn prefix_length(text: &str, longest: u8, column: usize) -> Result<u8, Fault> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u8>() {
        Ok(length) if plain && length <= longest && (text == "0" || !text.starts_with('0')) => Ok(length),
        _ => Err(Fault::new(column, format!("a prefix length is a number from 0 to {longest}"))
            .hint("for example 192.0.2.0/24 or [2001:db8::/32]")),
    }
}
