//! Sending generated datagrams over UDP, each from its exporter's address, at a steady rate.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::HashMap;
use std::io;
use std::net::UdpSocket;
use std::time::Instant;

use super::Datagram;

/// Sockets by exporter, and the pace.
#[derive(Debug)]
pub struct Sender {
    target: SocketAddr,
    /// Records a second; 0: no limit.
    rate: u64,
    sockets: HashMap<IpAddr, UdpSocket>,
    began: Option<Instant>,
    records: u64,
}

impl Sender {
    /// Sends to `target` at `rate` flow records a second; 0 is as fast as it goes.
    #[must_use]
    pub fn new(target: SocketAddr, rate: u64) -> Self {
        Self { target, rate, sockets: HashMap::new(), began: None, records: 0 }
    }

    /// Sends a datagram, as soon as its turn has come.
    ///
    /// # Errors
    /// When the exporter's address is not one of this machine, or the datagram cannot be sent.
    pub fn send(&mut self, datagram: &Datagram<'_>) -> io::Result<()> {
        self.wait();
        self.records += u64::from(datagram.records);
        let address = datagram.source.ip();
        let socket = match self.sockets.entry(address) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let socket = UdpSocket::bind((address, 0)).map_err(|error| {
                    io::Error::new(
                        error.kind(),
                        format!("cannot send from the exporter's address {address}: {error}"),
                    )
                })?;
                entry.insert(socket)
            }
        };
        loop {
            match socket.send_to(datagram.payload, self.target) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nobody listens yet: an earlier datagram's ICMP answer. Real exporters do not mind, either.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until the records sent so far are due. Waits shorter than a millisecond are left to add up.
    fn wait(&mut self) {
        let began = *self.began.get_or_insert_with(Instant::now);
        if self.rate == 0 {
            return;
        }
        let nanos = u128::from(self.records) * 1_000_000_000 / u128::from(self.rate);
        let due = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let ahead = due.saturating_sub(began.elapsed());
        if ahead >= Duration::from_millis(1) {
            std::thread::sleep(ahead);
        }
    }
}
