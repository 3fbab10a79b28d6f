//! Real sockets on loopback.
#![expect(clippy::cast_possible_truncation, reason = "small numbers")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::time::Instant;

use super::*;

/// Receives until `wanted` datagrams have come to any processor: (processor, source, payload).
fn collect(all: &mut [Sockets], wanted: usize) -> Vec<(usize, SocketAddr, Vec<u8>)> {
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut found = Vec::new();
    while found.len() < wanted && Instant::now() < deadline {
        for (processor, sockets) in all.iter_mut().enumerate() {
            let batch = sockets.receive(Duration::from_millis(1)).unwrap();
            found.extend(batch.iter().map(|it| (processor, it.source, it.payload.to_vec())));
        }
    }
    found
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn an_exporter_reaches_one_processor_from_any_port_at_any_address() {
    let mut all = bind(&addresses(&["127.0.0.1:0", "[::]:0", "127.0.0.2:0"]), 3, 1 << 20).unwrap();
    let listening = all[0].local_addresses();
    assert!(all.iter().all(|sockets| sockets.local_addresses() == listening), "ports are shared");
    assert!(listening.iter().all(|address| address.port() != 0));
    // The second one is dual-stack: IPv4 datagrams reach it too.
    let targets = [listening[0], SocketAddr::new([127, 0, 0, 1].into(), listening[1].port()), listening[2]];
    let mut sent = 0;
    for host in 1..=40 {
        for _port in 0..3 {
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 1, host), 0)).unwrap();
            for target in targets {
                socket.send_to(&[host], target).unwrap();
                sent += 1;
            }
        }
    }
    for _port in 0..3 {
        let socket = UdpSocket::bind("[::1]:0").unwrap();
        socket.send_to(&[0], SocketAddr::new(Ipv6Addr::LOCALHOST.into(), listening[1].port())).unwrap();
        sent += 1;
    }
    let found = collect(&mut all, sent);
    assert_eq!(found.len(), sent);
    let mut owners: BTreeMap<IpAddr, BTreeSet<usize>> = BTreeMap::new();
    for (processor, source, payload) in found {
        match source.ip() {
            IpAddr::V4(address) => assert_eq!(payload, [address.octets()[3]]),
            IpAddr::V6(address) => assert_eq!((address, payload), (Ipv6Addr::LOCALHOST, vec![0])),
        }
        owners.entry(source.ip()).or_default().insert(processor);
    }
    assert_eq!(owners.len(), 41);
    assert!(owners.values().all(|processors| processors.len() == 1), "{owners:?}");
    for (&address, processors) in &owners {
        assert!(processors.contains(&owner(address, 3)), "{address}: {processors:?}");
    }
    let used: BTreeSet<usize> = owners.values().flatten().copied().collect();
    assert_eq!(used, BTreeSet::from([0, 1, 2]), "every processor has exporters");
}

/// Sockets that share their port would let others of ours in, and each daemon would have a part of the datagrams.
#[test]
fn what_another_daemon_listens_on_is_refused() {
    let all = bind(&addresses(&["127.0.0.1:0"]), 2, 1 << 20).unwrap();
    let taken = all[0].local_addresses()[0];
    let refused = |result: Result<(), Error>| result.map_err(|error| error.source.kind()).unwrap_err();
    assert_eq!(refused(bind(&[taken], 2, 1 << 20).map(drop)), io::ErrorKind::AddrInUse);
    let all_of_port = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), taken.port());
    assert_eq!(refused(bind(&[all_of_port], 2, 1 << 20).map(drop)), io::ErrorKind::AddrInUse);
    drop(all);
    // Our own addresses of one port are no hindrance to one another.
    bind(&[all_of_port, taken], 2, 1 << 20).unwrap();

    let listeners = listen(&addresses(&["127.0.0.1:0"]), 2).unwrap();
    let taken = listeners[0][0].local_addr().unwrap();
    assert_eq!(refused(listen(&[taken], 2).map(drop)), io::ErrorKind::AddrInUse);
    drop(listeners);
    listen(&[taken], 2).unwrap();
}

#[test]
fn the_kernel_chooses_as_the_filter_is_meant() {
    // The hash by hand: one word times the constant, upper half, modulo.
    let mut all = bind(&addresses(&["127.0.0.1:0"]), 4, 1 << 20).unwrap();
    let target = all[0].local_addresses()[0];
    for host in 1..=16_u8 {
        let address = Ipv4Addr::new(127, 0, 2, host);
        UdpSocket::bind((address, 0)).unwrap().send_to(&[host], target).unwrap();
    }
    for (processor, source, _) in collect(&mut all, 16) {
        let IpAddr::V4(address) = source.ip() else { panic!("{source}") };
        let hash = u32::from(address).wrapping_mul(0x9e37_79b1) >> 16;
        assert_eq!(processor as u32, hash % 4, "{source}");
    }
}

#[test]
fn ipv4_keeps_its_own_socket_beside_a_wildcard_ipv6_one() {
    // A port that was free a moment ago may be taken now: then another one.
    let (port, mut all) = (0..100)
        .find_map(|_| {
            let port = UdpSocket::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
            let listen = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
            Some((port, bind(&listen.map(|ip: IpAddr| SocketAddr::new(ip, port)), 2, 1 << 16).ok()?))
        })
        .unwrap();
    for (from, to) in [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1")] {
        let socket = UdpSocket::bind(from).unwrap();
        socket.send_to(b"x", SocketAddr::new(to.parse().unwrap(), port)).unwrap();
    }
    let mut sources: Vec<IpAddr> = collect(&mut all, 2).iter().map(|(_, source, _)| source.ip()).collect();
    sources.sort();
    assert_eq!(sources, ["127.0.0.1".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
}

#[test]
fn the_longest_datagram_is_whole_and_an_empty_one_is_one() {
    let mut all = bind(&addresses(&["127.0.0.1:0"]), 1, 1 << 20).unwrap();
    let target = all[0].local_addresses()[0];
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let longest: Vec<u8> = (0..65_507_u32).map(|n| (n % 251) as u8).collect();
    socket.send_to(&longest, target).unwrap();
    socket.send_to(&[], target).unwrap();
    let found = collect(&mut all, 2);
    assert_eq!(found.len(), 2);
    assert_eq!((&found[0].2, &found[1].2), (&longest, &Vec::new()));
    assert_eq!(found[0].1, socket.local_addr().unwrap());
}

#[test]
fn many_datagrams_come_in_order_over_several_batches() {
    let mut all = bind(&addresses(&["127.0.0.1:0"]), 1, 1 << 22).unwrap();
    let target = all[0].local_addresses()[0];
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for n in 0..200_u32 {
        socket.send_to(&n.to_be_bytes(), target).unwrap();
    }
    let found = collect(&mut all, 200);
    let expected: Vec<Vec<u8>> = (0..200_u32).map(|n| n.to_be_bytes().to_vec()).collect();
    assert_eq!(found.into_iter().map(|it| it.2).collect::<Vec<_>>(), expected);
    assert_eq!(all[0].kernel_drops(), 0);
}

#[test]
fn what_the_kernel_drops_is_counted_to_the_last_one() {
    let mut all = bind(&addresses(&["127.0.0.1:0"]), 1, 8192).unwrap();
    let target = all[0].local_addresses()[0];
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..500 {
        socket.send_to(&[7; 1000], target).unwrap();
    }
    let dropped = all[0].kernel_drops();
    assert!(dropped > 0);
    let wanted = 500 - usize::try_from(dropped).unwrap();
    assert_eq!(collect(&mut all, wanted).len(), wanted);
    assert_eq!(all[0].kernel_drops(), dropped);
    assert!(all[0].receive(Duration::from_millis(1)).unwrap().is_empty());
}

#[test]
fn an_address_that_is_not_ours_is_an_error_that_names_it() {
    let error = bind(&addresses(&["198.51.100.1:2055"]), 1, 8192).unwrap_err();
    assert_eq!(error.to_string(), "cannot listen on UDP 198.51.100.1:2055");
}

#[test]
fn an_answer_leaves_from_where_it_was_asked_for() {
    for (wildcard, asked) in
        [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "127.0.0.3"), ("[::]:0", "::1"), ("127.0.0.1:0", "127.0.0.1")]
    {
        // Not every machine has IPv6.
        let Ok(own) = UdpSocket::bind(wildcard) else { continue };
        tell_destinations(&own).unwrap();
        let asked: IpAddr = asked.parse().unwrap();
        let Ok(manager) = UdpSocket::bind((if asked.is_ipv4() { "127.0.0.1" } else { "::1" }, 0)) else {
            continue;
        };
        manager.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        manager.connect((asked, own.local_addr().unwrap().port())).unwrap();
        manager.send(b"question").unwrap();
        let mut buffer = [0; 20];
        let (octets, source, destination) = receive_addressed(&own, &mut buffer).unwrap();
        assert_eq!(
            (&buffer[..octets], source.port()),
            (&b"question"[..], manager.local_addr().unwrap().port())
        );
        assert_eq!(destination.map(|to| (to.address.to_canonical(), to.interface)), Some((asked, 0)));
        send_from(&own, b"answer", source, destination).unwrap();
        let octets = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..octets], b"answer");
    }
    // Without the kernel's word it leaves from where the kernel likes.
    let own = UdpSocket::bind("127.0.0.1:0").unwrap();
    own.send_to(b"question", own.local_addr().unwrap()).unwrap();
    assert_eq!(receive_addressed(&own, &mut [0; 20]).unwrap().2, None);
}

#[test]
fn control_messages_are_read_to_their_end() {
    let link_local = Destination { address: "fe80::1".parse().unwrap(), interface: 3 };
    let global = Destination { address: "192.0.2.1".parse().unwrap(), interface: 0 };
    for one in [link_local, global] {
        let control = one.control();
        assert_eq!((destination(&control), control.len() % WORD), (Some(one), 0));
        // After another one; cut anywhere.
        let mut other = control.clone();
        other[WORD..WORD + 4].copy_from_slice(&99_i32.to_ne_bytes());
        assert_eq!(destination(&[other, control.clone()].concat()), Some(one));
        for end in 0..CONTROL_HEADER + 8 {
            assert_eq!(destination(&control[..end]), None);
        }
    }
    let group = Destination { address: "ff02::1".parse().unwrap(), interface: 3 };
    assert_eq!(destination(&group.control()), None);
    assert_eq!(destination(&[0; CONTROL_OCTETS]), None);
    // A length that leads nowhere.
    assert_eq!(destination(&[0xff; CONTROL_OCTETS]), None);
}
