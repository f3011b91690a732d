//! Attacks, each from inside a real sandbox by a hostile program (`tests/data/hostile`, or this program itself for
//! system calls), over IPv4 and IPv6, as root and as an ordinary user. Root's tests stand in a network of their own
//! in which every address is the test's: whatever npxc dials arrives there, and "nothing left" is a packet count.
//! Addresses that are denied are documentation addresses; the private ones are pins that npxc has to judge.
//!
//! What is about reach runs again from containers of podman, as root and as an ordinary user, over both links
//! (`again`): the same programs, the same expectations.
//!
//! | row | attack | tests |
//! |---|---|---|
//! | 1 | TLS with an allowed server name to another address | `reach::row_01_*` |
//! | 2 | HTTP with an allowed Host to another address | `reach::row_02_*` |
//! | 3 | an address that npxc never handed out | `reach::row_03_*` |
//! | 4 | an allowed name's address with another server name | `sniff::row_04_*` (virtual and real addresses) |
//! | 5 | another Host inside the encryption | out of reach without inspection, see above; the address stays the allowed name's |
//! | 6 | keep-alive, a second request with another Host | `sniff::row_06_*` |
//! | 7 | two Hosts, absolute form, folded headers, ambiguous bodies | `sniff::row_07_*` |
//! | 8 | an address as server name, no server name | `sniff::row_08_*` |
//! | 9 | ECH, HTTPS and SVCB records | `sniff::row_09_*`, `dns::row_09_*` |
//! | 10 | a ClientHello in pieces, oversized, dripped, unfinished | `sniff::row_10_*`; the time limit: `net::router::tests::guarded::a_request_dripped_forever_is_given_up` |
//! | 11 | protocols in which the server speaks first | `reach::row_11_*` |
//! | 12 | forms of one name | `names::row_12_*` |
//! | 13 | names that are none | `names::row_13_*` |
//! | 14 | names that look alike, rules that say everything | `names::row_14_*` |
//! | 15 | the right name at another port, ports in names | `names::row_15_*` |
//! | 16 | addresses in disguise | `names::row_16_*` |
//! | 17 | names that resolve to private addresses | `reach::row_17_*` |
//! | 18 | IPv4 inside IPv6 | `reach::row_17_and_18_*` |
//! | 19 | rebinding | `reach::row_19_*` (with a name server of the test's own) |
//! | 20 | aliases of internal names, mixed answers | `reach::row_20_*` (likewise) |
//! | 21 | questions of every type | `dns::row_21_*` |
//! | 22 | data in labels below a wildcard | `dns::row_22_*` |
//! | 23 | other resolvers, DNS over TLS and QUIC | `dns::row_23_*` |
//! | 24 | malformed DNS | `dns::row_24_*` |
//! | 25 | DNS over an allowed host | `reach::row_25_*` |
//! | 26 | QUIC and other UDP | `reach::row_26_*` |
//! | 27 | fragments, options, lies about lengths and checksums | `packets::row_27_*`; what cannot be sent without privilege: `net::router::tests::hostile::no_other_protocol_fragment_or_extension_header_reaches_anything` |
//! | 28 | ICMP, GRE, SCTP, extension headers | `packets::row_28_*`; likewise |
//! | 29 | all of it over IPv6 | in each of them: addresses of both families; the guest's packets: `sniff::*` |
//! | 30 | the interface, routes, raw sockets, what is on the link of another interface | `packets::row_28_and_30_*`, `packets::row_30_*`; from containers, as root inside as well: `contained::row_30_to_33_*` |
//! | 31 | the host's services on a gateway or on 0.0.0.0, the host's other addresses | `contained::row_30_to_33_*`, `reach::row_17_*` |
//! | 32 | the engine's own resolver on a gateway | `contained::row_30_to_33_*`; other resolvers: `dns::row_23_*` |
//! | 33 | forged sources, multicast, mDNS, another container | `packets::row_27_and_33_*`, `contained::row_30_to_33_*` |
//! | 34 | the tunnel's key, looked for and used from inside | `contained::row_34_*` |
//! | 35 | `exec` into the container, with `NET_ADMIN` and with every capability | `contained::row_35_*` |
//! | 36 | floods | `floods::row_36_*` |
//! | 37 | empty lists, bad rules, a warm store, a full disk, a datapath that fails | `closed::row_37_*` |
//! | 38 | redirects | `reach::row_38_*` |
//! | 39 | sockets, files, processes and kernel interfaces of the host | `sandbox::row_39_*`; as paths of a call: `paths::row_41_and_39_*` |
//! | 40 | words that reach the log or the terminal | `text::row_40_*`, `names::row_13_*`; as paths of a call: `paths::row_40_*` |
//! | 41 | paths that leave the scope, links swapped in while files are shared and written, what the guest makes of its copies | `paths::row_41_*` (2000 calls for each kind of swap, 100,000 with `NPXC_TEST_FULL=1`), `workspace::tests::*` (`race::row_41_*`: 100,000 tries), `e2e::writing::row_41_*`, `e2e::paths::*` |
//! | 42 | names, bins, tarball entries, install scripts | `store::row_42_*` |
//! | 43 | a full disk, memory, processes, stdout | `limits::row_43_*` |
//! | 44 | npxc killed at every step | `teardown::row_44_*`; while files are written, and with copies that resist: `paths::row_44_*`; with a container: `killed::row_44_*` |
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]
#![allow(clippy::items_after_statements, clippy::needless_range_loop, clippy::large_stack_arrays)]
#![allow(clippy::collapsible_str_replace, clippy::needless_for_each, clippy::semicolon_if_nothing_returned)]
#![allow(clippy::many_single_char_names, clippy::cast_sign_loss, clippy::needless_raw_string_hashes)]
#![allow(clippy::format_collect, clippy::duration_suboptimal_units)]
#![allow(clippy::print_stdout, reason = "the hostile half speaks that way")]

mod security {
    #[path = "../support/account.rs"]
    mod account;
    mod again;
    mod closed;
    mod contained;
    mod dns;
    mod floods;
    mod ground;
    mod harness;
    mod inside;
    mod killed;
    mod limits;
    #[path = "../support/machine.rs"]
    mod machine;
    mod names;
    mod packets;
    mod paths;
    mod proxied;
    mod reach;
    mod sandbox;
    mod sniff;
    mod store;
    mod stub;
    mod sys;
    mod teardown;
    mod text;
}
