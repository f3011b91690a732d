//! The two ends of a tunnel, and the wire that is under it: a pair of virtual Ethernet interfaces between the host's
//! namespace and the guest's.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use npxc_link::wg::{self, Keys};

use super::{LARGE_MTU, MTU};
use crate::common::gates::BORINGTUN;
use crate::common::process::{Process, Talker};
use crate::datapath::topology::{command, ip};

const HOST: &str = "192.0.2.1";
const GUEST: &str = "192.0.2.2";
const PATIENCE: Duration = Duration::from_secs(10);
/// What the host's end of the wire is called, here and in the other namespace.
const WIRE: (&str, &str) = ("wire0", "wire1");

/// What ends with the tunnel.
pub struct Ends {
    _host: Option<Talker>,
    _pair: Vec<Stock>,
    _wire: Wire,
}

impl Ends {
    /// npxc at one end, its guest's program at the other.
    pub fn of_npxc(guest: &mut Talker, mtu: u16) -> Result<Self> {
        let wire = Wire::lay(guest, if mtu == LARGE_MTU { 65_535 } else { 1500 })?;
        let (ours, guests) = wg::key_pairs()?;
        let mut host = Talker::start(Command::new(std::env::current_exe()?).arg("tunnel"))?;
        host.say(&format!("{} {HOST} {mtu}", words(&ours)))?;
        let port = host.hear(PATIENCE)?;
        guest.say(&format!("tunnel {} {HOST}:{port} {mtu}", words(&guests)))?;
        let answer = guest.hear(PATIENCE)?;
        ensure!(answer.starts_with("ok"), "the guest's end: {answer}");
        Ok(Self { _host: Some(host), _pair: Vec::new(), _wire: wire })
    }

    /// The same program at both.
    pub fn of_peers(guest: &mut Talker, program: &str) -> Result<Self> {
        let wire = Wire::lay(guest, 1500)?;
        let (ours, guests) = wg::key_pairs()?;
        let id = guest.id().to_string();
        let inside = ["nsenter", "--net", "--target", id.as_str()];
        let host = Stock::start(program, &format!("wgh{id}"), &[])?;
        host.configure(&ours, "listen_port=51820\n", "198.18.0.2/32")?;
        let other = Stock::start(program, &format!("wgg{id}"), &inside)?;
        other.configure(&guests, "", &format!("0.0.0.0/0\nendpoint={HOST}:51820"))?;
        for (stock, prefix, address) in
            [(&host, &[][..], "198.18.0.1/30"), (&other, &inside[..], "198.18.0.2/30")]
        {
            let mtu = MTU.to_string();
            let ip = |words: &[&str]| command(&[prefix, &["ip"], words].concat());
            ip(&["address", "add", address, "dev", &stock.name])?;
            ip(&["link", "set", &stock.name, "mtu", &mtu, "up"])?;
        }
        command(&[&inside[..], &["ip", "route", "add", "default", "via", "198.18.0.1"]].concat())?;
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("forwarding")?;
        Ok(Self { _host: None, _pair: vec![host, other], _wire: wire })
    }
}

/// Taken away with one of its ends.
struct Wire;

impl Wire {
    fn lay(guest: &mut Talker, mtu: u32) -> Result<Self> {
        // An answer, whichever, says that it is in its namespace.
        guest.say("hello")?;
        guest.hear(PATIENCE)?;
        let (id, mtu) = (guest.id().to_string(), mtu.to_string());
        let inside = ["nsenter", "--net", "--target", id.as_str()];
        ip(&[
            "link", "add", WIRE.0, "mtu", &mtu, "type", "veth", "peer", "name", WIRE.1, "mtu", &mtu, "netns",
            &id,
        ])?;
        let wire = Self;
        for (prefix, address, name) in [(&[][..], HOST, WIRE.0), (&inside[..], GUEST, WIRE.1)] {
            let address = format!("{address}/24");
            command(&[prefix, &["ip", "address", "add", &address, "dev", name]].concat())?;
            command(&[prefix, &["ip", "link", "set", name, "up"]].concat())?;
        }
        Ok(wire)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let _ = ip(&["link", "delete", WIRE.0]);
    }
}

/// A program that is configured over a socket (<https://www.wireguard.com/xplatform/#configuration-protocol>).
struct Stock {
    name: String,
    control: PathBuf,
    _process: Process,
}

impl Stock {
    fn start(program: &str, name: &str, prefix: &[&str]) -> Result<Self> {
        let words = [prefix, &[program, "--foreground"]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        if program == BORINGTUN {
            command.arg("--disable-drop-privileges");
        }
        let process = command
            .arg(name)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let control = PathBuf::from(format!("/var/run/wireguard/{name}.sock"));
        Ok(Self { name: name.to_owned(), control, _process: Process(process) })
    }

    fn configure(&self, keys: &Keys, own: &str, allowed: &str) -> Result<()> {
        let [private, public, preshared] =
            [&keys.private, &keys.peer_public, &keys.preshared].map(hexadecimal);
        let until = Instant::now() + PATIENCE;
        let mut socket = loop {
            match UnixStream::connect(&self.control) {
                Ok(socket) => break socket,
                Err(error) if Instant::now() > until => bail!("{}: {error}", self.control.display()),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let lines = format!(
            "set=1\nprivate_key={private}\n{own}public_key={public}\npreshared_key={preshared}\nallowed_ip={allowed}\n\n"
        );
        socket.write_all(lines.as_bytes())?;
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer)?;
        ensure!(answer.trim() == "errno=0", "{}: {answer}", self.name);
        Ok(())
    }
}

impl Drop for Stock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.control);
    }
}

fn words(keys: &Keys) -> String {
    [&keys.private, &keys.peer_public, &keys.preshared].map(hexadecimal).join(" ")
}

fn hexadecimal(key: &[u8; 32]) -> String {
    key.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
