//! Which proxy a run's connections go through: `--proxy`, `[network] proxy`, or what the environment says. Pure; a mistake
//! never shows the text, which may hold a password.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::error::{ConfigError, Fault, Place};
use super::layer::Layer;
use crate::net::proxy::{Bypass, Proxy, ProxyError, Proxying};
use crate::package::HostEnv;
use crate::policy::HostName;

/// What was chosen in place of the environment's proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyChoice {
    /// None: npxc dials itself.
    None,
    /// This one.
    Url(Proxy),
}

impl FromStr for ProxyChoice {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        if text == "none" {
            return Ok(Self::None);
        }
        text.parse().map(Self::Url).map_err(|error: ProxyError| fault(error))
    }
}

/// What to say about a text that is no proxy.
pub fn fault(error: ProxyError) -> Fault {
    Fault::new(error.to_string()).hint(error.hint())
}

/// What was chosen, and by whom: a file's path, an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// To go through no proxy.
    None(String),
    /// This one.
    Proxy(Proxying),
}

/// What `layers`, highest first, chose.
pub(super) fn chosen(layers: &[Layer], host: &HostEnv, given: BTreeSet<HostName>) -> Option<Chosen> {
    let (choice, place) = layers.iter().find_map(|layer| layer.proxy.as_ref())?;
    let origin = match place {
        Place::Option(option) => option.clone(),
        Place::File { path, .. } => path.display().to_string(),
        Place::Surroundings => "the environment".to_owned(),
    };
    Some(match choice {
        ProxyChoice::None => Chosen::None(origin),
        ProxyChoice::Url(proxy) => {
            let bypass = Bypass::of_environment(|name| host.text(name));
            Chosen::Proxy(Proxying { proxy: proxy.clone(), bypass, origin, given })
        }
    })
}

/// The proxy by `layers`, highest first, and whether it was chosen there.
pub(super) fn of(
    layers: &[Layer],
    host: &HostEnv,
    given: BTreeSet<HostName>,
) -> Result<(Option<Proxying>, bool), ConfigError> {
    match chosen(layers, host, given.clone()) {
        Some(Chosen::None(_)) => return Ok((None, true)),
        Some(Chosen::Proxy(proxying)) => return Ok((Some(proxying), true)),
        None => {}
    }
    let found = Proxying::of_environment(|name| host.text(name)).map_err(|(name, error)| {
        let fault = Fault { what: format!("{name} cannot be used: {error}"), ..fault(error) };
        ConfigError::at(&Place::Surroundings, fault)
    })?;
    Ok((found.map(|proxying| Proxying { given, ..proxying }), false))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn host(vars: &[(&str, &str)]) -> HostEnv {
        let vars = vars.iter().map(|(name, value)| (name.into(), value.into())).collect();
        HostEnv { vars, ..HostEnv::default() }
    }

    fn layer(text: &str) -> Layer {
        let choice = text.parse::<ProxyChoice>().unwrap();
        Layer { proxy: Some((choice, Place::Option("--proxy".to_owned()))), ..Layer::default() }
    }

    #[test]
    fn what_was_chosen_stands_over_the_environment() {
        let host = host(&[("HTTPS_PROXY", "http://u:secret@one.example:3128"), ("NO_PROXY", "corp.example")]);
        let shown = |layers: &[Layer]| {
            let (proxying, chosen) = of(layers, &host, BTreeSet::new()).unwrap();
            (proxying.map(|proxying| format!("{proxying} {}", proxying.bypass)), chosen)
        };
        assert_eq!(
            shown(&[]),
            (Some("http://one.example:3128 (HTTPS_PROXY) corp.example".to_owned()), false)
        );
        let two = layer("socks5h://two.example");
        let expected = Some("socks5h://two.example:1080 (--proxy) corp.example".to_owned());
        assert_eq!(shown(&[Layer::default(), two.clone()]), (expected.clone(), true));
        assert_eq!(shown(&[two.clone(), layer("none")]), (expected, true));
        assert_eq!(shown(&[layer("none"), two]), (None, true));
    }

    #[test]
    fn an_environment_that_cannot_be_used_is_refused_without_its_value() {
        for text in
            ["https://u:secret@p.example:1", "ftp://u:secret@p.example", "http://u:secret@p.example:x"]
        {
            let error = of(&[], &host(&[("ALL_PROXY", text)]), BTreeSet::new()).unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains("ALL_PROXY") && !shown.contains("secret"), "{shown}");
            assert!(error.hint.is_some());
            assert!(of(&[layer("none")], &host(&[("ALL_PROXY", text)]), BTreeSet::new()).is_ok());
        }
    }
}
