//! The image that containers are made of: looked for first, pulled only when it is missing, and used by its id from
//! then on.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Instant;

use serde::Deserialize;

use super::{Engine, Kind, patience};
use crate::runtime::RuntimeError;
use crate::runtime::command::{Client, essence};

/// Longest line of an engine's progress, bytes; progress bars are cut.
const LONGEST_LINE: u64 = 4096;
/// Most lines that wait to be passed on; an engine that says more at once waits itself, so that nothing is lost.
const MOST_LINES: usize = 64;

/// What annotations start with that change how a container is made: crun's, runc's and crun's for systemd, WebAssembly's,
/// `CRIU`'s, podman's and its relatives' own.
const ORDERS: [&str; 6] = [
    "run.oci.",
    "org.systemd.property.",
    "module.wasm.image/",
    "org.criu.",
    "io.podman.annotations.",
    "io.kubernetes.cri-o.",
];

/// An image on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// What it was asked for by.
    pub reference: String,
    /// Its id: what exactly is run.
    pub id: String,
    /// The registry's digest of it, for people and logs; none for an image that was built or imported here.
    pub digest: Option<String>,
    /// The `PATH` that it wants.
    pub path: Option<String>,
    /// Paths inside that it wants kept on the host's disk, writable and without a size (`VOLUME`).
    pub volumes: Vec<String>,
    /// Its annotations that an engine or its OCI runtime takes for orders (podman passes an image's on).
    pub orders: Vec<String>,
}

impl Image {
    /// What stands for its content, whatever it is called.
    pub fn digest(&self) -> &str {
        self.digest.as_deref().unwrap_or(&self.id)
    }
}

/// Refuses an image that asks for more than a root and variables.
pub(super) fn check(kind: Kind, image: &Image) -> Result<(), RuntimeError> {
    spares_disk(kind, image)?;
    orders_nothing(image)
}

/// Refuses an image with volumes where the engine makes them whatever it is told: they are writable, have no size, and
/// outlive the container if npxc is killed. podman leaves them out.
fn spares_disk(kind: Kind, image: &Image) -> Result<(), RuntimeError> {
    let (Kind::Docker, [volume, ..]) = (kind, image.volumes.as_slice()) else { return Ok(()) };
    Err(RuntimeError::Unfit {
        what: format!(
            "the image {} wants a volume at {}, and docker gives it room on this machine's disk without a limit",
            image.reference,
            volume.escape_debug()
        ),
        hint: Some(
            "choose an image without `VOLUME`, such as the official node images, or podman, which leaves it out"
                .into(),
        ),
    })
}

/// Refuses an image with orders for the engine or its OCI runtime: nothing says that it may give them, and podman cannot be
/// told to leave them out.
fn orders_nothing(image: &Image) -> Result<(), RuntimeError> {
    let [order, ..] = image.orders.as_slice() else { return Ok(()) };
    Err(RuntimeError::Unfit {
        what: format!(
            "the image {} changes how its containers are made, by the annotation {}",
            image.reference,
            order.escape_debug()
        ),
        hint: Some("choose an image without it, such as the official node images".into()),
    })
}

/// Finds an image, and pulls it when it is missing; `words` hears what the engine says meanwhile. Blocks.
pub fn ensure(engine: &Engine, reference: &str, words: &mut dyn FnMut(&str)) -> Result<Image, RuntimeError> {
    if reference.starts_with('-') || reference.is_empty() {
        let what = format!("`{reference}` is no image's name");
        return Err(RuntimeError::Unfit { what, hint: None });
    }
    let client = engine.client();
    if let Some(image) = find(client, reference)? {
        return Ok(image);
    }
    pull(client, reference, words)?;
    find(client, reference)?
        .ok_or_else(|| client.failed(&["pull", reference], "the image is still missing".into()))
}

/// An image that is there.
fn find(client: &Client, reference: &str) -> Result<Option<Image>, RuntimeError> {
    let inspect = ["image", "inspect", reference];
    let output = client.ask(&inspect, patience::IMAGE)?;
    if output.success {
        return parse(reference, &output.stdout).map(Some).map_err(|why| client.failed(&inspect, why));
    }
    let said = output.stderr.to_lowercase();
    if said.contains("no such image") || said.contains("image not known") || said.contains("not found") {
        return Ok(None);
    }
    Err(client.failed(&inspect, essence(&output.stderr)))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
    #[serde(default)]
    config: Option<Config>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    volumes: Option<BTreeMap<String, serde_json::Value>>,
}

fn parse(reference: &str, text: &str) -> Result<Image, String> {
    let all: Vec<Inspected> =
        serde_json::from_str(text).map_err(|error| format!("unexpected answer: {error}"))?;
    let image = all.into_iter().next().ok_or("an empty answer")?;
    if image.id.is_empty() || image.id.starts_with('-') {
        return Err("it has no id".into());
    }
    // podman makes up a digest for what it never pulled, with the name `localhost`.
    let pulled = |name: &String| {
        (!name.starts_with("localhost/")).then(|| name.split_once('@').map(|(_, digest)| digest.to_owned()))
    };
    let digest = image.repo_digests.unwrap_or_default().iter().find_map(pulled).flatten();
    let (env, volumes) = image.config.map_or_else(Default::default, |config| (config.env, config.volumes));
    let env = env.unwrap_or_default();
    let volumes = volumes.unwrap_or_default().into_keys().collect();
    let path = env.iter().find_map(|variable| variable.strip_prefix("PATH=")).map(Into::into);
    let orders = image.annotations.unwrap_or_default().into_keys();
    let orders = orders.filter(|key| ORDERS.iter().any(|start| key.starts_with(start))).collect();
    Ok(Image { reference: reference.to_owned(), id: image.id, digest, path, volumes, orders })
}

/// Pulls, and passes on every line that the engine prints.
fn pull(client: &Client, reference: &str, words: &mut dyn FnMut(&str)) -> Result<(), RuntimeError> {
    let arguments = ["pull", reference];
    let mut command = client.command(arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|source| client.not_started(source))?;
    let (sender, lines) = mpsc::sync_channel(MOST_LINES);
    if let Some(stdout) = child.stdout.take() {
        forward(stdout, sender.clone());
    }
    if let Some(stderr) = child.stderr.take() {
        forward(stderr, sender);
    }
    let deadline = Instant::now() + patience::PULL;
    let mut last = String::new();
    loop {
        let quiet = patience::SILENCE.min(deadline.saturating_duration_since(Instant::now()));
        match lines.recv_timeout(quiet) {
            Ok(line) => {
                words(&line);
                last = line;
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(client.failed(&arguments, "it made no progress".into()));
            }
        }
    }
    let status = child.wait().map_err(RuntimeError::io("pulling the image"))?;
    if status.success() { Ok(()) } else { Err(client.failed(&arguments, essence(&last))) }
}

fn forward(stream: impl Read + Send + 'static, lines: mpsc::SyncSender<String>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            match reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let line = String::from_utf8_lossy(&bytes).trim().to_owned();
            if !line.is_empty() && lines.send(line).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn both_engines_answers_are_read() {
        let podman = r#"[{"Id": "2041d219", "Digest": "sha256:1e8f", "RepoTags": ["localhost/npxc-node:local"],
            "RepoDigests": ["localhost/npxc-node@sha256:1e8f"], "Config": {"User": "1000", "Env": ["PATH=/usr/bin:/bin"]},
            "Annotations": {"org.opencontainers.image.base.name": "a", "run.oci.handler": "krun"}}]"#;
        let image = parse("npxc-node", podman).unwrap();
        assert_eq!(
            (image.id.as_str(), image.digest(), image.path.as_deref()),
            ("2041d219", "2041d219", Some("/usr/bin:/bin"))
        );
        assert_eq!(image.orders, ["run.oci.handler"]);
        let docker = r#"[{"Id": "sha256:2041", "RepoTags": ["node:22"], "RepoDigests": ["node@sha256:77"],
            "Config": {"Env": ["A=b", "PATH=/usr/local/bin"], "Volumes": {"/data": {}, "/a": {}}}}]"#;
        let image = parse("node:22", docker).unwrap();
        assert_eq!((image.id.as_str(), image.digest()), ("sha256:2041", "sha256:77"));
        assert_eq!(image.volumes, ["/a", "/data"]);
        let bare = parse("x", r#"[{"Id": "1", "RepoDigests": null, "Config": {"Env": null}}]"#).unwrap();
        assert_eq!((bare.path, bare.volumes), (None, Vec::new()));
        assert!(parse("x", "[]").is_err() && parse("x", r#"[{"Id": "--privileged"}]"#).is_err());
    }

    fn script(text: &str) -> Client {
        Client { program: "/bin/sh".into(), arguments: vec!["-c".into(), text.into(), "sh".into()] }
    }

    #[test]
    fn an_image_is_pulled_only_when_it_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let mark = directory.path().join("pulled");
        let client = script(&format!(
            r#"mark={}; case "$1 $2" in
               "image inspect") [ -e "$mark" ] && echo '[{{"Id": "7"}}]' || {{ echo 'No such image: x' >&2; exit 1; }};;
               "pull x") echo Trying; echo Copying >&2; [ ! -e "$mark" ] && : > "$mark";;
            esac"#,
            mark.display()
        ));
        let engine = Engine::with_client(super::super::Kind::Docker, client, directory.path().to_owned());
        let mut heard = Vec::new();
        for _ in 0..2 {
            let image = ensure(&engine, "x", &mut |line| heard.push(line.to_owned())).unwrap();
            assert_eq!(image.id, "7");
        }
        heard.sort();
        assert_eq!(heard, ["Copying", "Trying"]);
    }

    #[test]
    fn a_failed_pull_says_why_and_an_option_is_no_image() {
        let directory = tempfile::tempdir().unwrap();
        let client =
            script(r#"[ "$1" = pull ] && echo 'Error: denied' >&2 || echo 'image not known' >&2; exit 125"#);
        let engine = Engine::with_client(super::super::Kind::Podman, client, directory.path().to_owned());
        let error = ensure(&engine, "x", &mut |_| {}).unwrap_err();
        assert!(error.to_string().ends_with("Error: denied"), "{error}");
        assert!(ensure(&engine, "--all", &mut |_| {}).is_err());
    }
}
