//! The guest's only network interface.

use crate::patience::readable;
use crate::*;

#[test]
fn the_link_carries_packets_both_ways() {
    let mut running = start(&sh("exec node -e \"
        const s = require('dgram').createSocket('udp4');
        s.on('message', (m) => { console.log(String(m)); s.close(); });
        s.bind(5000, () => s.send('ping', 9, '198.18.1.7'));
    \""));
    let Some(Link::Tun(link)) = running.guest.take_link() else { panic!("not a TUN") };
    assert!(running.guest.take_link().is_none());
    assert_eq!(link.mtu, 1500);
    let header = if link.vnet_hdr { 10 } else { 0 };
    let mut buffer = vec![0; 70_000];
    // Whatever else a new interface says goes by.
    let packet = loop {
        readable(&link.fd).unwrap();
        let length = rustix::io::read(&link.fd, &mut buffer).unwrap();
        let packet = buffer[header..length].to_vec();
        if packet[0] >> 4 == 4 && packet[9] == 17 {
            break packet;
        }
    };
    assert_eq!(packet[12..20], [198, 18, 0, 2, 198, 18, 1, 7]);
    assert_eq!(&packet[28..], b"ping");

    // The answer: addresses and ports swapped (no change to the checksum of the header), no UDP checksum.
    let mut answer = vec![0; header];
    answer.extend_from_slice(&packet);
    let ip = &mut answer[header..];
    ip[12..16].copy_from_slice(&packet[16..20]);
    ip[16..20].copy_from_slice(&packet[12..16]);
    ip[20..22].copy_from_slice(&packet[22..24]);
    ip[22..24].copy_from_slice(&packet[20..22]);
    ip[26..28].fill(0);
    ip[28..].copy_from_slice(b"pong");
    rustix::io::write(&link.fd, &answer).unwrap();
    let mut out = String::new();
    running.stdout.read_to_string(&mut out).unwrap();
    assert_eq!(out, "pong\n");
}

#[test]
fn both_families_have_an_address_a_route_and_a_resolver() {
    let out = output(
        "cat /etc/resolv.conf; node -p \"
        const i = require('os').networkInterfaces();
        [...i.npxc0, ...i.lo].map((a) => a.cidr).join()\"",
    );
    assert_eq!(
        out,
        "nameserver 198.18.0.1\nnameserver fd6e:7078:6300::1\n\
         198.18.0.2/30,fd6e:7078:6300::2/64,127.0.0.1/8,::1/128\n"
    );
}
