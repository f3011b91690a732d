//! The node of a container image. Its paths are the image's; it is asked inside, in a container without a network, and
//! the answer is kept per image: a digest's content does not change.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Home, Node, Npm, keep};
use crate::package::error::PackageError;
use crate::package::request::hex;

/// Longest answer that is taken, in bytes.
const MAX_ANSWER: usize = 64 << 10;
/// Hexadecimal digits that stand for a digest: no other image can be made to have the same 64 bits in any time that
/// matters, and a path stays short.
const DIGITS: usize = 16;

/// What node says about itself and its npm. `roots` as in [`super::super::certificates`]; the version of glibc counts,
/// because what is built against a newer one does not load.
const QUESTION: &str = r"
const fs = require('fs'), path = require('path'), run = require('child_process').execFileSync;
process.report.excludeNetwork = true;
const report = process.report.getReport().header;
const hash = (text) => require('crypto').createHash('sha256').update(text).digest('hex').slice(0, 32);
const prefix = path.resolve(process.execPath, '../..');
const places = (process.env.PATH || '').split(':').map((directory) => path.join(directory, 'npm'));
const cli = 'node_modules/npm/bin/npm-cli.js';
const npm = [path.join(prefix, 'bin/npm'), path.join(prefix, 'lib', cli), ...places, path.join('/usr/local/lib', cli),
  path.join('/usr/lib', cli), '/usr/share/nodejs/npm/bin/npm-cli.js']
  .map((file) => { try { return fs.realpathSync(file); } catch { return ''; } })
  .find((file) => path.basename(file) === 'npm-cli.js') || '';
const quiet = { PATH: process.env.PATH, HOME: '/tmp', npm_config_cache: '/tmp/none', npm_config_logs_max: '0',
  npm_config_update_notifier: 'false' };
let headers = '';
try { headers = fs.readFileSync(path.join(prefix, 'include/node/node_version.h'), 'utf8'); } catch {}
const number = (name) => (headers.match(new RegExp('#define NODE_' + name + '_VERSION (\\d+)')) || [])[1];
console.log(JSON.stringify({
  exec: process.execPath, version: process.versions.node, modules: process.versions.modules,
  platform: process.platform, arch: process.arch,
  libc: report.glibcVersionRuntime ? 'glibc' + report.glibcVersionRuntime : 'musl',
  roots: require('tls').rootCertificates.map((c) => hash(c.replace(/-----[^-]*-----|\s/g, ''))),
  npm_cli: npm,
  npm_version: npm ? JSON.parse(fs.readFileSync(path.join(npm, '../../package.json'))).version : '',
  registry: npm ? run(process.execPath, [npm, 'config', 'get', 'registry', '--userconfig=/dev/null/user',
    '--globalconfig=/dev/null/global'], { encoding: 'utf8', env: quiet }).trim() : '',
  headers: ['MAJOR', 'MINOR', 'PATCH'].map(number).join('.') === process.versions.node.split('-')[0],
}));";

#[derive(Deserialize)]
struct Answer {
    #[serde(flatten)]
    node: super::Answer,
    #[serde(flatten)]
    npm: Npm,
    headers: bool,
}

impl Node {
    /// The command whose output, from inside the image, [`Node::of_image`] understands.
    pub fn question() -> Vec<OsString> {
        vec!["node".into(), "-e".into(), QUESTION.into()]
    }

    /// The node of `image` with that digest, from what [`Node::question`] printed inside it.
    pub fn of_image(image: &str, digest: &str, output: &str) -> Result<Self, PackageError> {
        let unusable = |problem: &str| PackageError::NodeUnusable {
            path: image.into(),
            problem: problem.to_owned(),
            hint: Some(
                "choose an image with node and npm, such as the official node images, with --image"
                    .to_owned(),
            ),
        };
        let line = output.lines().rfind(|line| line.starts_with('{')).filter(|line| line.len() <= MAX_ANSWER);
        let answer = line
            .and_then(|line| serde_json::from_str(line).ok())
            .filter(|answer: &Answer| answer.node.roots.is_some())
            .ok_or_else(|| unusable("its node does not answer as node does"))?;
        let Answer { node, npm, headers } = answer;
        if npm.cli.as_os_str().is_empty() {
            return Err(unusable("it has no npm beside its node"));
        }
        if !(node.exec.is_absolute() && npm.cli.is_absolute()) {
            return Err(unusable("its node does not answer as node does"));
        }
        let node = node.with(npm, Home::Image { headers });
        Self { image: Some(print(digest)), ..node }.new_enough()
    }

    /// What was learnt of an image before, by its digest.
    pub fn remembered(cache: &Path, digest: &str) -> Option<Self> {
        let node: Self = serde_json::from_slice(&fs::read(cached(cache, digest)).ok()?).ok()?;
        let image = Some(print(digest));
        matches!(node.home, Home::Image { .. }).then_some(Self { image, ..node })
    }

    /// Keeps what was learnt. Without it the next start asks again, nothing else.
    pub fn remember(&self, cache: &Path, digest: &str) {
        let _ = keep(&cached(cache, digest), self);
    }
}

/// What stands for a digest in the store's paths.
fn print(digest: &str) -> String {
    hex(&Sha256::digest(digest.as_bytes())).chars().take(DIGITS).collect()
}

fn cached(cache: &Path, digest: &str) -> PathBuf {
    cache.join("images").join(format!("{}.json", hex(&Sha256::digest(digest.as_bytes()))))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::process::Command;

    use super::*;

    const ANSWER: &str = r#"{"exec":"/usr/local/bin/node","version":"22.1.0","modules":"127","platform":"linux",
        "arch":"arm64","libc":"glibc2.36","roots":["00"],"npm_cli":"/usr/local/lib/node_modules/npm/bin/npm-cli.js",
        "npm_version":"10.7.0","registry":"https://registry.example.com/","headers":true}"#;

    fn answer() -> String {
        ANSWER.replace('\n', " ")
    }

    #[test]
    fn an_images_node_stands_where_the_image_has_it() {
        let node =
            Node::of_image("example", "sha256:aa", &format!("a warning of node's\n{}\n", answer())).unwrap();
        assert_eq!(node.guest_exec(), Path::new("/usr/local/bin/node"));
        assert_eq!(node.guest_npm_cli(), node.npm_cli);
        assert_eq!(node.guest_headers(), Some("/usr/local".into()));
        assert_eq!(node.headers(), None);
        assert!(node.mounts.is_empty());
        let key = node.platform_key();
        let image = key.strip_prefix("linux-arm64-glibc2_36-node127-image").unwrap();
        assert!(image.len() == 16 && image.bytes().all(|digit| digit.is_ascii_hexdigit()), "{key}");
        // What one image has installed is not what another runs.
        let other = Node::of_image("example", "sha256:bb", &answer()).unwrap();
        assert_ne!(other.platform_key(), key);
    }

    #[test]
    fn an_image_without_node_or_npm_says_so() {
        let hint = |output: &str| {
            let error = Node::of_image("example.com/image", "sha256:aa", output).unwrap_err();
            assert!(error.to_string().contains("example.com/image"), "{error}");
            error.hints().join(" ")
        };
        let without = answer().replace("/usr/local/lib/node_modules/npm/bin/npm-cli.js", "");
        for output in
            ["", "sh: node: not found", "{}", &without, &answer().replace("/usr/local/bin/node", "node")]
        {
            assert!(hint(output).contains("--image"), "{output}");
        }
        assert!(Node::of_image("old", "sha256:aa", &answer().replace("22.1.0", "16.0.0")).is_err());
    }

    #[test]
    fn an_answer_is_remembered_by_its_images_digest() {
        let cache = tempfile::tempdir().unwrap();
        let node = Node::of_image("example", "sha256:aa", &answer()).unwrap();
        node.remember(cache.path(), "sha256:aa");
        assert_eq!(Node::remembered(cache.path(), "sha256:aa"), Some(node));
        assert_eq!(Node::remembered(cache.path(), "sha256:../bb"), None);
    }

    #[test]
    fn a_real_node_answers() {
        let question = Node::question();
        let output = Command::new(&question[0]).args(&question[1..]).output().unwrap();
        let node =
            Node::of_image("this machine", "sha256:aa", &String::from_utf8(output.stdout).unwrap()).unwrap();
        assert!(node.npm_cli.is_file() && node.exec.is_file() && node.roots.len() > 50, "{node:?}");
        assert!(node.default_registry.starts_with("https://"));
    }
}
