//! Apple's `container`, as far as it can be had without a Mac: its stand-in (`tests/data/container`) checks what it is
//! given and has podman run it, with plain unix sockets for relayed ones. The guest and npxc's end are the real ones.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use npxc::audit::Event;
use npxc::net::dns;
use npxc::net::router::Journal;
use npxc::policy::{Mode, Policy, PolicySpec};
use npxc::runtime::apple::Apple;
use npxc::runtime::engine::Kind;
use npxc::runtime::{Access, Ended, Launch, Mount, Runtime, Stdio3};
use npxc::session::{Parts, Session};

use super::patience::{PATIENCE, Patient};
use super::world::{IMAGE, World, again, exited, launch, sh, world};

/// Bytes of a transfer, each way.
const SIZE: usize = 48 << 20;
/// Longest run, such a transfer with it.
const LONGEST: Duration = PATIENCE.saturating_mul(2);

struct Standin {
    apple: Apple,
    /// The stand-in's state, and the sessions.
    state: tempfile::TempDir,
}

/// Where podman runs as root; once.
fn standin() -> Option<Standin> {
    let world = world().filter(|world| world.kind == Kind::Podman && !again())?;
    Some(Standin::of(world))
}

impl Standin {
    fn of(world: &World) -> Self {
        let state = tempfile::Builder::new().prefix("npxc").tempdir_in("/tmp").unwrap();
        let words: Vec<_> = world.arguments.iter().map(|word| word.to_string_lossy()).collect();
        fs::write(state.path().join("engine"), format!("podman --runtime runc {}", words.join(" "))).unwrap();
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/container");
        let apple = Apple::new(state.path().join("s")).program(program, [state.path().into()]);
        let image = apple.find_image(IMAGE, &mut |_| {}).unwrap();
        let apple = apple.image(image);
        Self {
            apple: match super::world::guest() {
                Some(guest) => apple.guest(guest),
                None => apple,
            },
            state,
        }
    }

    /// Runs to the end: how it ended, stdout, stderr.
    fn run(&self, launch: Launch, stdin: &[u8], port: u16) -> (Ended, String, String) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (input, mut writer) = std::io::pipe().unwrap();
        let (stdout, output) = std::io::pipe().unwrap();
        let (stderr, errors) = std::io::pipe().unwrap();
        let stdio = Stdio3 { stdin: input.into(), stdout: output.into(), stderr: errors.into() };
        let spec = PolicySpec {
            mode: Mode::Allowlist,
            allow: vec![format!("host.npxc.internal:{port}").parse().unwrap()],
            allow_private: Vec::new(),
            deny: Vec::new(),
            presets: BTreeMap::new(),
        };
        let parts = Parts {
            launch,
            policy: Policy::new(spec).unwrap(),
            dns: dns::Options::default(),
            pinned: BTreeMap::new(),
            proxy: None,
            published: Vec::new(),
            journal: Box::new(Everything),
        };
        let _entered = runtime.enter();
        let mut session = Session::start(&self.apple, parts, stdio).unwrap_or_else(|error| panic!("{error}"));
        session.release().unwrap_or_else(|error| panic!("{error}"));
        writer.write_all(stdin).unwrap();
        drop(writer);
        let read = |pipe: std::io::PipeReader| {
            std::thread::spawn(move || std::io::read_to_string(Patient(pipe)).unwrap())
        };
        let (stdout, stderr) = (read(stdout), read(stderr));
        // Names are resolved on the runtime: it has to turn meanwhile.
        let ended = runtime.block_on(async { tokio::time::timeout(LONGEST, session.wait()).await });
        let ended = ended.expect("it does not end").unwrap();
        session.finish();
        assert_eq!(fs::read_dir(self.state.path().join("s")).unwrap().count(), 0);
        assert_eq!(self.apple.containers().unwrap(), Vec::<String>::new());
        (ended, stdout.join().unwrap(), stderr.join().unwrap())
    }
}

struct Everything;

impl Journal for Everything {
    fn record(&mut self, _: Event) -> bool {
        true
    }

    fn healthy(&self) -> bool {
        true
    }
}

#[test]
fn a_machine_has_its_own_stdio_its_files_and_nothing_else() {
    let Some(standin) = standin() else { return };
    let shared = tempfile::tempdir().unwrap();
    fs::write(shared.path().join("single"), "single").unwrap();
    fs::write(shared.path().join("covered"), "on the host").unwrap();
    let mount = |name: &str, guest: &str| Mount {
        host: shared.path().join(name),
        guest: guest.into(),
        access: Access::ReadOnly,
    };
    let script = "cat; echo complaint >&2; cat /etc/resolv.conf /shared/covered /opt/single /home/user/.own; id -u; \
                  grep Cap /proc/self/status; cut -d: -f1 /proc/net/dev; echo change > /etc/resolv.conf || echo kept; \
                  echo new > /new || echo sealed; touch /tmp/a /home/user/b && echo scratch; ls /proc/1/fd || echo hidden; \
                  exit 7";
    let launch = Launch {
        mounts: vec![
            mount("", "/shared"),
            mount("single", "/opt/single"),
            mount("single", "/shared/covered"),
        ],
        files: vec![("/home/user/.own".into(), b"own\n".to_vec())],
        ..sh(script)
    };
    let (ended, out, err) = standin.run(launch, b"over and back\n", 1);
    assert_eq!(ended, exited(7), "{out}\n{err}");
    assert!(out.starts_with("over and back\nnameserver 198.18.0.1\n"), "{out}");
    assert!(out.contains("singlesingleown\n1000\n"), "{out}");
    for set in ["Inh", "Prm", "Eff", "Bnd", "Amb"] {
        assert!(out.contains(&format!("Cap{set}:\t0000000000000000\n")), "{out}");
    }
    let interfaces: Vec<&str> =
        out.lines().map(str::trim).filter(|line| ["lo", "npxc0"].contains(line)).collect();
    assert_eq!(interfaces.len(), 2, "{out}");
    assert!(!out.contains("eth0"), "{out}");
    assert!(out.ends_with("kept\nsealed\nscratch\nhidden\n"), "{out}");
    assert!(err.starts_with("complaint\n"), "{err}");
}

#[test]
fn a_stream_carries_a_large_transfer_each_way_and_denies_the_rest() {
    let Some(standin) = standin() else { return };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let byte = |at: usize| (at.wrapping_mul(2_654_435_761) >> 11) as u8;
    let host = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let sent: Vec<u8> = (0..SIZE).map(byte).collect();
        stream.write_all(&sent).unwrap();
        let mut back = vec![0; SIZE];
        stream.read_exact(&mut back).unwrap();
        assert!(back == sent, "what came back is something else");
    });
    let script = format!(
        "const net = require('net'), all = []; let size = 0;
         const socket = net.connect({port}, 'host.npxc.internal', () => {{
           socket.on('data', (chunk) => {{
             all.push(chunk); size += chunk.length;
             if (size === {SIZE}) socket.end(Buffer.concat(all), () => console.log('sent'));
           }});
         }});
         net.connect({}, 'host.npxc.internal').on('error', (error) => console.log(error.code));",
        port ^ 1
    );
    let (ended, out, err) = standin.run(launch(&["node", "-e", &script]), b"", port);
    assert_eq!(ended, exited(0), "{out}\n{err}");
    assert_eq!(out, "ECONNREFUSED\nsent\n", "{err}");
    host.join().unwrap();
}

#[test]
fn what_cannot_be_started_says_so_in_the_programs_words() {
    let Some(standin) = standin() else { return };
    let stdio = || {
        let null = || fs::OpenOptions::new().read(true).write(true).open("/dev/null").unwrap().into();
        Stdio3 { stdin: null(), stdout: null(), stderr: null() }
    };
    let refused = |apple: &Apple, launch: &Launch| apple.launch(launch, stdio()).unwrap_err().to_string();
    let odd = standin.apple.clone().run_arguments(["--unheard-of".into()]);
    assert!(refused(&odd, &sh("true")).contains("Unknown option '--unheard-of'"));
    let mut guest = standin.apple.launch(&launch(&["/nonexistent"]), stdio()).unwrap();
    guest.release().unwrap();
    let error = super::world::wait(&mut guest).unwrap_err().to_string();
    assert!(error.contains("cannot start /nonexistent"), "{error}");
    drop(guest);
    fs::write(standin.state.path().join("stopped"), "").unwrap();
    assert!(refused(&odd, &sh("true")).contains("service of `container` is not running"));
}
