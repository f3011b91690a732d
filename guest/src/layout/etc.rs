//! The private `/etc`: what says who and where the sandbox is, is written here; what programs of the host need
//! is bound read-only, item by item, because `/etc` also holds keys and secrets.

use std::fs;
use std::path::{Path, PathBuf};

use super::Piece;
use super::tree::{self, Root};
use crate::spec::{GATEWAY_V4, GATEWAY_V6, HOME, INNER_ID};
use crate::step::{At, Failure, Step};

/// Taken from the host if it is there. Nothing that may hold a secret: of `ssl` and `pki` the certificates
/// only, because the guest of a root user could read the private keys beside them. (`static` is what `NixOS`
/// links to.)
const HOST: &[&str] = &[
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "crypto-policies",
    "debian_version",
    "fonts",
    "gai.conf",
    "inputrc",
    "java",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "lsb-release",
    "magic",
    "magic.mime",
    "mime.types",
    "os-release",
    "perl",
    "pki/ca-trust/extracted",
    "pki/java",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "profile",
    "protocols",
    "redhat-release",
    "rpc",
    "services",
    "ssl/ca-bundle.pem",
    "ssl/cert.pem",
    "ssl/certs",
    "ssl/openssl.cnf",
    "static",
    "terminfo",
    "timezone",
];
/// The same for names with a version in them.
const HOST_PREFIXES: [&str; 3] = ["java-", "ld-musl-", "python3"];

/// Takes the host's part.
pub(super) fn collect() -> Result<Vec<(PathBuf, Piece)>, Failure> {
    let versioned = fs::read_dir("/etc").into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        HOST_PREFIXES.iter().any(|prefix| name.starts_with(prefix)).then_some(name)
    });
    let mut pieces = Vec::new();
    for name in HOST.iter().map(|name| (*name).to_owned()).chain(versioned) {
        let path = Path::new("/etc").join(&name);
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        // A link into /usr means the same inside.
        if metadata.is_symlink()
            && let Ok(target) = fs::read_link(&path)
            && (target.starts_with("/usr") || target.starts_with("../usr"))
        {
            pieces.push((path, Piece::Link(target)));
            continue;
        }
        // Gone meanwhile, a dangling link, or not for this user: programs do without, as on such a host.
        let Ok(copied) = tree::copy(&path, tree::READ_ONLY) else { continue };
        let kind = tree::kind(&copied).at(Step::Etc, name)?;
        pieces.push((path, Piece::Tree(copied, kind)));
    }
    Ok(pieces)
}

/// Writes the sandbox's own part.
pub(super) fn write(root: &Root, ipv6: bool) -> Result<(), Failure> {
    let resolv = if ipv6 {
        format!("nameserver {GATEWAY_V4}\nnameserver {GATEWAY_V6}\n")
    } else {
        format!("nameserver {GATEWAY_V4}\n")
    };
    let passwd = format!(
        "root:x:0:0:root:/root:/usr/sbin/nologin\nuser:x:{INNER_ID}:{INNER_ID}:user:{HOME}:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    let group = format!("root:x:0:\ntty:x:5:\nuser:x:{INNER_ID}:\nnogroup:x:65534:\n");
    let files: [(&str, &str); 8] = [
        ("passwd", &passwd),
        ("group", &group),
        ("hostname", "npxc\n"),
        ("hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 npxc\n"),
        ("resolv.conf", &resolv),
        ("host.conf", "multi on\n"),
        ("shells", "/bin/sh\n/bin/bash\n"),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nservices: files\n\
             protocols: files\nrpc: files\n",
        ),
    ];
    for (name, content) in files {
        root.write(&Path::new("/etc").join(name), content.as_bytes(), 0o644).at(Step::Etc, name)?;
    }
    root.symlink(Path::new("/etc/mtab"), Path::new("/proc/self/mounts")).at(Step::Etc, "mtab")
}
