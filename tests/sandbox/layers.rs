//! A private layer over a read-only mount: what the guest writes is its own, and the host's directory stays as it is.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use npxc::runtime::Layer;
use npxc::storage::Written;

use crate::machine::{have, leave_out};
use crate::*;

/// An installed package as the store has it, its directories again, and where a layer can be kept.
struct Folder {
    directory: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for path in ["entry/dist/deep", "folders/dist/deep", "kept/upper", "kept/work"] {
            fs::create_dir_all(directory.path().join(path)).unwrap();
        }
        let folder = Self { directory };
        for (path, text) in [("entry/dist/index.js", "shipped\n"), ("entry/dist/deep/data", "data\n")] {
            fs::write(folder.at(path), text).unwrap();
            fs::set_permissions(folder.at(path), fs::Permissions::from_mode(0o444)).unwrap();
        }
        for path in ["entry/dist/deep", "entry/dist", "entry"] {
            fs::set_permissions(folder.at(path), fs::Permissions::from_mode(0o555)).unwrap();
        }
        folder
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn launch(&self, script: &str, keep: bool) -> Launch {
        let guest = PathBuf::from("/opt/npxc/package");
        Launch {
            mounts: vec![Mount { host: self.at("entry"), guest: guest.clone(), access: Access::ReadOnly }],
            layer: Some(Layer {
                guest,
                directories: self.at("folders"),
                kept: keep.then(|| self.at("kept")),
            }),
            cwd: "/opt/npxc/package/dist".into(),
            ..sh(script)
        }
    }

    /// Everything about the entry: contents, modes, owners, times.
    fn state(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut pending = vec![self.at("entry")];
        while let Some(path) = pending.pop() {
            let stat = path.symlink_metadata().unwrap();
            let content = if stat.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
            all.push(format!(
                "{} {:o} {} {} {} {}.{} {}.{} {content}",
                path.display(),
                stat.mode(),
                stat.uid(),
                stat.ino(),
                stat.nlink(),
                stat.mtime(),
                stat.mtime_nsec(),
                stat.ctime(),
                stat.ctime_nsec(),
            ));
            if stat.is_dir() {
                pending.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        all.sort();
        all
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let script = "chmod -R u+rwx \"$1\"";
        let _ = Command::new("sh").args(["-c", script, "sh"]).arg(self.directory.path()).status();
    }
}

/// Runs to the end; what was written and the descriptor of what was left.
fn end(launch: &Launch) -> (Ended, String, String, Option<OwnedFd>) {
    let mut running = start(launch);
    assert_eq!(running.guest.warnings(), [""; 0], "no layer here");
    let written = running.guest.take_written();
    drop(running.stdin.take());
    let (mut out, mut err) = (String::new(), String::new());
    running.stdout.read_to_string(&mut out).unwrap();
    running.stderr.read_to_string(&mut err).unwrap();
    (wait(&mut running.guest).unwrap(), out, err, written)
}

const EVERYTHING: &str = "set -e
    echo mine > new.json
    cat index.js new.json
    mkdir sub; echo below > sub/file; mv sub moved
    chmod u+w index.js; echo changed > index.js; cat index.js
    rm deep/data; ! test -e deep/data; echo again > deep/data
    ln new.json hard; ln -s /etc/passwd soft
    rm -r deep; mkdir deep; ls -A deep
    chmod 0777 ..; touch -d 2001-01-01 index.js .";

#[test]
fn a_guest_writes_where_it_is_and_the_host_keeps_what_it_had() {
    let folder = Folder::new();
    let before = folder.state();
    let (ended, out, err, written) = end(&folder.launch(EVERYTHING, false));
    assert_eq!(ended, exited(0), "{err}");
    assert_eq!(out, "shipped\nmine\nchanged\n");
    assert_eq!(folder.state(), before);
    assert_eq!(fs::read_dir(folder.at("folders/dist")).unwrap().count(), 1);
    // What is left of it, for npxc to tell.
    let written = Written::of(written.unwrap()).unwrap();
    let mut names = written.names.clone();
    names.sort();
    assert_eq!(written.files, 4, "{written:?}");
    assert!(
        names.iter().all(|name| ["new.json", "file", "index.js", "hard"].contains(&&**name)),
        "{names:?}"
    );
    // The next one sees nothing of it.
    let (ended, out, err, _) = end(&folder.launch("ls -A; cat index.js", false));
    assert_eq!((ended, out.as_str()), (exited(0), "deep\nindex.js\nshipped\n"), "{err}");
}

#[test]
fn what_is_kept_is_there_again() {
    let folder = Folder::new();
    let before = folder.state();
    let (ended, _, err, written) = end(&folder.launch(EVERYTHING, true));
    assert_eq!(ended, exited(0), "{err}");
    assert!(written.is_none());
    let (ended, out, err, _) = end(&folder.launch("cat index.js new.json moved/file; ls -A deep", true));
    assert_eq!((ended, out.as_str()), (exited(0), "changed\nmine\nbelow\n"), "{err}");
    assert_eq!(folder.state(), before);
    assert_eq!(fs::read_to_string(folder.at("kept/upper/dist/new.json")).unwrap(), "mine\n");
}

#[test]
fn a_layer_is_as_small_as_the_other_scratch_space() {
    let folder = Folder::new();
    let mut launch = folder.launch("head -c 9000000 /dev/zero > large", false);
    launch.limits.scratch = 8 << 20;
    let (ended, _, err, _) = end(&launch);
    assert_ne!(ended, exited(0));
    assert!(err.contains("No space left on device"), "{err}");
}

#[test]
fn a_layer_tells_nothing_of_the_host_and_has_no_devices() {
    let folder = Folder::new();
    for keep in [false, true] {
        let (_, out, err, _) = end(&folder.launch("grep -w overlay /proc/self/mountinfo", keep));
        let lines: Vec<&str> = out.lines().filter(|line| line.contains("/opt/npxc/package")).collect();
        let [line] = lines[..] else { panic!("{out}{err}") };
        assert!(line.contains("nosuid") && line.contains("nodev"), "{line}");
        assert!(!out.contains(folder.directory.path().to_str().unwrap()), "{out}");
    }
}

/// What could lead out of a layer, or through it to the host's directory.
const HOSTILE: &str = r#"
import ctypes, errno, os
base = "/opt/npxc/package"
libc = ctypes.CDLL(None, use_errno=True)

def refused(what, call, *kinds):
    try:
        call()
    except OSError as error:
        if error.errno not in kinds:
            print(what, "is refused with", error)
        return
    print(what, "is not refused")

# The kernel's own notes on a layer: whiteouts, redirects, opaque directories.
device = os.makedev(0, 0)
refused("a whiteout", lambda: os.mknod(base + "/white", 0o20000, device), errno.EPERM, errno.EACCES)
for name in ["trusted.overlay.redirect", "trusted.overlay.opaque", "security.capability"]:
    refused(name, lambda: os.setxattr(base + "/dist", name, b"/etc"), errno.EPERM, errno.EOPNOTSUPP, errno.EINVAL)
for name in ["user.overlay.redirect", "user.overlay.opaque", "user.overlay.metacopy", "user.overlay.origin"]:
    try:
        # Newer kernels keep it as the guest's own, under another name.
        os.setxattr(base + "/dist", name, b"/../../../etc")
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP):
            print(name, error)
if sorted(os.listdir(base + "/dist")) != ["deep", "index.js"]:
    print("a note was obeyed", os.listdir(base + "/dist"))

# Other mounts: again, over it, another layer, none.
def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
MS_REMOUNT, MS_BIND = 32, 4096
text = lambda word: word.encode()
refused("remount", lambda: call("mount", None, text(base), None, MS_REMOUNT, None), errno.EPERM)
refused("bind", lambda: call("mount", text("/tmp"), text(base), None, MS_BIND, None), errno.EPERM)
refused("umount", lambda: call("umount2", text(base), 2), errno.EPERM)
options = text("lowerdir=/,upperdir=/tmp,workdir=/tmp")
refused("overlay", lambda: call("mount", text("x"), text("/tmp"), text("overlay"), 0, options), errno.EPERM)

# Links: those out of the layer lead to the sandbox's own files, and inodes of elsewhere cannot be linked in.
os.symlink("/../../../../../../etc", base + "/up")
if open(base + "/up/passwd").read() != open("/etc/passwd").read():
    print("a link leads elsewhere")
refused("a hard link from outside", lambda: os.link("/etc/passwd", base + "/hard"), errno.EXDEV, errno.EACCES, errno.EPERM)
refused("a hard link to outside", lambda: os.link(base + "/dist/index.js", "/tmp/hard"), errno.EXDEV, errno.EACCES, errno.EPERM)
refused("renaming the layer", lambda: os.rename(base, "/tmp/moved"), errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EROFS)
refused("a device", lambda: os.mknod(base + "/null", 0o20666, os.makedev(1, 3)), errno.EPERM, errno.EACCES)

# Set-user-ID is refused here as anywhere; the sticky bit is a mode like any other.
refused("set-user-ID", lambda: os.chmod(base + "/dist", 0o7755), errno.EPERM)
os.chmod(base + "/dist", 0o1755)
# What cannot be entered or removed is not in anybody's way afterwards.
os.makedirs(base + "/shut/in"); os.chmod(base + "/shut", 0)
print("done")
"#;

#[test]
fn nothing_leads_out_of_a_layer() {
    if !have("python3") {
        return;
    }
    if !Path::new("/usr/bin/python3").exists() {
        leave_out("what leads out of a layer (python3 is not in /usr/bin)");
        return;
    }
    for keep in [false, true] {
        let folder = Folder::new();
        let before = folder.state();
        let command = launch(&["/usr/bin/python3", "-c", HOSTILE]).command;
        let (ended, out, err, written) = end(&Launch { command, ..folder.launch("", keep) });
        assert_eq!((ended, out.as_str()), (exited(0), "done\n"), "{err}");
        assert_eq!(folder.state(), before);
        if let Some(written) = written {
            let written = Written::of(written).unwrap();
            assert_eq!((written.files, written.words("it")), (0, None), "{written:?}");
        }
    }
}

/// What a package's install script can leave in its files: notes of the kernel's, where it reads them below.
#[test]
fn notes_in_an_installed_package_lead_nowhere() {
    let folder = Folder::new();
    let (dist, deep) = (folder.at("entry/dist"), folder.at("entry/dist/deep"));
    for path in [&dist, &deep] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::create_dir(folder.at("secret")).unwrap();
    fs::write(folder.at("secret/key"), "the user's").unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    for (name, value) in [
        ("user.overlay.redirect", &b"/../secret"[..]),
        ("user.overlay.metacopy", b""),
        ("user.overlay.opaque", b"y"),
        ("user.overlay.origin", b"0"),
    ] {
        rustix::fs::setxattr(&deep, name, value, flags).unwrap();
    }
    let (_, out, _, _) = end(&folder.launch("cat deep/key ../secret/key ../../secret/key", false));
    assert_eq!(out, "");
}

#[test]
fn what_cannot_be_kept_is_written_all_the_same_and_that_is_said() {
    let folder = Folder::new();
    fs::remove_dir(folder.at("kept/work")).unwrap();
    let mut running = start(&folder.launch("echo mine > new.json && cat new.json", true));
    let [warning] = running.guest.warnings() else { panic!("{:?}", running.guest.warnings()) };
    assert!(warning.contains("is not kept"), "{warning}");
    let mut out = String::new();
    running.stdout.read_to_string(&mut out).unwrap();
    assert_eq!(out, "mine\n");
    assert_eq!(wait(&mut running.guest).unwrap(), exited(0));
    assert_eq!(Written::of(running.guest.take_written().unwrap()).unwrap().names, ["new.json"]);
    assert_eq!(fs::read_dir(folder.at("kept/upper")).unwrap().count(), 0);
}

#[test]
fn without_a_layer_the_folder_is_read_only_and_that_is_said() {
    let folder = Folder::new();
    let mut launch = folder.launch("true", false);
    launch.layer.as_mut().unwrap().directories = folder.at("none");
    // Nothing to lay over it: read-only, as ever, and that is said.
    let running = try_start(&launch).unwrap();
    let [warning] = running.guest.warnings() else { panic!("{:?}", running.guest.warnings()) };
    assert!(warning.contains("cannot write into its own folder"), "{warning}");
    drop(running);
    launch.command = sh("echo x > new").command;
    let (ended, _, err) = run(&launch);
    assert_ne!(ended, exited(0));
    assert!(err.contains("Read-only file system"), "{err}");
}
