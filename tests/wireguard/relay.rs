//! A bad network: loses and exchanges datagrams, the same ones in every run.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

/// Of a hundred.
const LOST: u64 = 5;
const SWAPPED: u64 = 5;
/// How long a datagram that is to be overtaken waits for the one that does.
const HELD: Duration = Duration::from_millis(5);

/// What happened to datagrams.
#[derive(Default)]
pub(super) struct Damage {
    pub(super) passed: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) swapped: AtomicU64,
}

/// Stands between whoever sends to `at` and `host`, in the calling thread's namespace, until the process ends.
pub(super) fn start(at: UdpSocket, host: SocketAddr) -> Arc<Damage> {
    let damage = Arc::new(Damage::default());
    let towards_host = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    towards_host.connect(host).unwrap();
    // The guest's address: learned from its first datagram, which begins the handshake.
    let mut first = [0; 2048];
    let (there, back) = (Arc::clone(&damage), Arc::clone(&damage));
    thread::spawn(move || {
        let (length, guest) = at.recv_from(&mut first).unwrap();
        at.connect(guest).unwrap();
        towards_host.send(&first[..length]).unwrap();
        let (from, to) = (towards_host.try_clone().unwrap(), at.try_clone().unwrap());
        thread::spawn(move || pass(&from, &to, Rng::with_seed(7), &back));
        pass(&at, &towards_host, Rng::with_seed(11), &there);
    });
    damage
}

fn pass(from: &UdpSocket, to: &UdpSocket, mut dice: Rng, damage: &Damage) {
    // What the relay itself drops should be what it means to drop.
    let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(from, 8 << 20);
    let (mut buffer, mut held) = (vec![0; 65_536], None::<Vec<u8>>);
    loop {
        from.set_read_timeout(held.is_some().then_some(HELD)).unwrap();
        // An error is a timeout, or nobody listening at the end of the test.
        let Ok(length) = from.recv(&mut buffer) else {
            if let Some(late) = held.take() {
                let _ = to.send(&late);
            }
            continue;
        };
        let what = dice.u64(..100);
        if what < LOST {
            damage.lost.fetch_add(1, Ordering::Relaxed);
        } else if what < LOST + SWAPPED && held.is_none() {
            damage.swapped.fetch_add(1, Ordering::Relaxed);
            held = Some(buffer[..length].to_vec());
        } else {
            damage.passed.fetch_add(1, Ordering::Relaxed);
            let _ = to.send(&buffer[..length]);
            if let Some(late) = held.take() {
                let _ = to.send(&late);
            }
        }
    }
}
