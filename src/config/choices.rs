//! Values that are one of a few words. Pure.

use std::fmt;
use std::str::FromStr;

use super::error::{Fault, nearest};
use crate::policy::Mode;
use crate::runtime::Access;

/// A value that is one of a few words. What is taken, what a mistake is told and what the JSON Schema says come from here.
pub trait Choice: Copy + PartialEq + 'static {
    /// The words, with what they mean.
    const ALL: &'static [(&'static str, Self)];

    /// Parses one of them.
    fn from_word(text: &str) -> Result<Self, Fault> {
        if let Some((_, value)) = Self::ALL.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let words: Vec<&str> = Self::ALL.iter().map(|(word, _)| *word).collect();
        let fault = Fault::new(format!("expected one of {}", words.join(", ")));
        Err(match nearest(text, words) {
            Some(word) => fault.hint(format!("did you mean `{word}`?")),
            None => fault,
        })
    }

    /// Its word. Where two mean the same it is the one that says it by itself, which stands behind `auto`.
    fn word(self) -> &'static str {
        Self::ALL.iter().rfind(|(_, known)| *known == self).map_or("", |(word, _)| word)
    }
}

/// What the guest's resolver hands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addresses {
    /// An address of npxc's own for each name.
    #[default]
    Virtual,
    /// The addresses that the name really has.
    Real,
}

/// Which runtime to use. `auto` is [`RuntimeChoice::HERE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// The embedded sandbox.
    Native,
    /// Containers of podman.
    Podman,
    /// Containers of docker.
    Docker,
    /// Apple's `container`, on macOS.
    Apple,
}

impl RuntimeChoice {
    /// The one that is taken where nobody chose.
    pub const HERE: Self = if cfg!(target_os = "macos") { Self::Apple } else { Self::Native };

    /// Its own name, as on the command line.
    pub fn as_str(self) -> &'static str {
        self.word()
    }
}

impl Default for RuntimeChoice {
    fn default() -> Self {
        Self::HERE
    }
}

/// How the guest's packets come to npxc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LinkChoice {
    /// The runtime's own.
    #[default]
    Auto,
    /// A TUN device made inside the sandbox.
    Tun,
    /// A WireGuard tunnel over a container network without a way out.
    Wireguard,
    /// A container without a network, its TUN's descriptor handed out over a unix socket.
    Socket,
}

impl LinkChoice {
    /// Its name, as on the command line.
    pub fn as_str(self) -> &'static str {
        self.word()
    }

    /// Whether a runtime can have this link; what to say if not.
    pub(super) fn suits(self, runtime: RuntimeChoice) -> Result<(), Fault> {
        use RuntimeChoice::{Apple, Docker, Native, Podman};
        let fault = |why: &str, hint: &str| Err(Fault::new(why).hint(hint));
        match (runtime, self) {
            (_, Self::Auto)
            | (Native, Self::Tun)
            | (Podman | Docker | Apple, Self::Wireguard | Self::Socket) => Ok(()),
            (Native, Self::Wireguard | Self::Socket) => fault(
                "the native runtime has its TUN and needs no other link",
                "leave the link out, or choose a container engine with --runtime podman or --runtime docker",
            ),
            (Podman | Docker | Apple, Self::Tun) => fault(
                "a container engine has the links wireguard and socket",
                "leave the link out: npxc chooses what works",
            ),
        }
    }
}

/// One way to find paths in messages: the words of `[paths] strategies`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// By `[path_arguments]`.
    Config,
    /// By the tools' schemas.
    Schema,
    /// By what values look like.
    Heuristic,
}

impl Choice for Addresses {
    const ALL: &'static [(&'static str, Self)] = &[("virtual", Self::Virtual), ("real", Self::Real)];
}

impl Choice for RuntimeChoice {
    const ALL: &'static [(&'static str, Self)] = &[
        ("auto", Self::HERE),
        ("native", Self::Native),
        ("podman", Self::Podman),
        ("docker", Self::Docker),
        ("apple", Self::Apple),
    ];
}

impl Choice for LinkChoice {
    const ALL: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("tun", Self::Tun), ("wireguard", Self::Wireguard), ("socket", Self::Socket)];
}

impl Choice for Strategy {
    const ALL: &'static [(&'static str, Self)] =
        &[("config", Self::Config), ("schema", Self::Schema), ("heuristic", Self::Heuristic)];
}

impl Choice for Mode {
    const ALL: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("allowlist", Self::Allowlist),
        ("observe", Self::Observe),
        ("open", Self::Open),
    ];
}

impl Choice for Access {
    const ALL: &'static [(&'static str, Self)] = &[("ro", Self::ReadOnly), ("rw", Self::ReadWrite)];
}

macro_rules! in_words {
    ($($choice:ty),*) => { $(
        impl FromStr for $choice {
            type Err = Fault;

            fn from_str(text: &str) -> Result<Self, Fault> {
                Self::from_word(text)
            }
        }

        impl fmt::Display for $choice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    )* };
}

in_words!(Addresses, RuntimeChoice, LinkChoice, Strategy);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_link_suits_its_runtime() {
        use RuntimeChoice::{Apple, Docker, Native, Podman};
        for runtime in [Native, Podman, Docker, Apple] {
            assert!(LinkChoice::Auto.suits(runtime).is_ok());
        }
        assert!(LinkChoice::Socket.suits(Native).unwrap_err().hint.unwrap().contains("--runtime podman"));
        assert!(LinkChoice::Tun.suits(Docker).is_err() && LinkChoice::Wireguard.suits(Docker).is_ok());
    }

    #[test]
    fn choices_say_what_there_is() {
        let fault = "nativ".parse::<RuntimeChoice>().unwrap_err();
        assert_eq!(fault.what, "expected one of auto, native, podman, docker, apple");
        assert_eq!(fault.hint.as_deref(), Some("did you mean `native`?"));
        assert_eq!("podman".parse::<RuntimeChoice>().unwrap(), RuntimeChoice::Podman);
        assert!(Mode::from_word("allow-list").unwrap_err().hint.unwrap().contains("allowlist"));
        assert!(Mode::ALL.iter().all(|(word, mode)| mode.as_str() == *word));
    }

    #[test]
    fn a_word_is_taken_back_as_it_is_said() {
        fn each<T: Choice + fmt::Debug>() {
            for (word, value) in
                T::ALL.iter().filter(|(word, value)| *word != "auto" || value.word() == "auto")
            {
                assert_eq!((value.word(), T::from_word(value.word()).unwrap()), (*word, *value));
            }
        }
        each::<Addresses>();
        each::<RuntimeChoice>();
        each::<LinkChoice>();
        each::<Strategy>();
        each::<Mode>();
        each::<Access>();
        assert_ne!(RuntimeChoice::HERE.to_string(), "auto");
    }
}
