//! Records wait in the hands of one processor, and are metered by another: each of them is accounted for all the same.

use std::cell::Cell;

use diesel::Connection as _;
use diesel::connection::SimpleConnection as _;

use super::checkpoints::{EXPORT, UPTIME, WAY, be, set, template, way};
use super::*;
use crate::books::{audited, figure};

const EXPORTERS: u8 = 6;

/// So many exporters, `127.0.25.1` and on, that the sockets share out among the processors, and the daemon's site.
struct Owners {
    site: Site,
    port: u16,
    network: String,
    sockets: Vec<UdpSocket>,
    /// Datagrams sent by each.
    sent: Cell<u32>,
}

impl Owners {
    fn on(dialect: Dialect) -> Self {
        let exporter = |n: u8| {
            format!(
                "[[exporter]]\nname = \"e{n}\"\naddress = \"127.0.25.{n}\"\n[[link]]\nname = \"up{n}\"\n\
                 interfaces = [ {{ exporter = \"e{n}\", ifindex = 12 }} ]\n"
            )
        };
        let network = (1..=EXPORTERS).map(exporter).collect::<String>() + CUSTOMERS;
        let sockets = (1..=EXPORTERS).map(|n| UdpSocket::bind(format!("127.0.25.{n}:0")).unwrap()).collect();
        Self { site: Site::on(dialect, &network), port: free_port(), network, sockets, sent: Cell::new(0) }
    }

    fn start(&self, processors: usize) -> Daemon<'_> {
        self.site.configure(&format!("{}{}", settings(self.port, processors, "1h"), self.network));
        Daemon::start(&self.site)
    }

    /// Each exporter sends these sets in a NetFlow v9 datagram; back when all are in journals.
    fn send(&self, sets: &[Vec<u8>]) {
        let header = [(9, 2), (sets.len() as u64, 2), (UPTIME.into(), 4), (EXPORT.into(), 4)];
        let header = [&header[..], &[(self.sent.get().into(), 4), (7, 4)]].concat();
        let datagram = [be(&header), sets.concat()].concat();
        for socket in &self.sockets {
            socket.send_to(&datagram, ("127.0.0.1", self.port)).unwrap();
        }
        self.sent.set(self.sent.get() + 1);
        let all = self.sent.get() as usize * self.sockets.len();
        until("the journals to have it all", || {
            let mut frames = 0;
            for_each_frame(&self.site, |_, _, _| frames += 1);
            (frames == all).then_some(())
        });
    }

    /// A template, and a record of 1000 octets and 10 packets of sampler 5.
    fn send_records(&self) {
        let fields = [&WAY[..], &[(1, 4), (2, 4), (22, 4), (21, 4), (48, 1)]].concat();
        let times = [(u64::from(UPTIME) - 2000, 4), (u64::from(UPTIME) - 1000, 4), (5, 1)];
        let record = [way(1), be(&[(1000, 4), (10, 4)]), be(&times)].concat();
        self.send(&[set(0, &template(256, &fields)), set(256, &record)]);
    }

    /// Sampler 5 takes one packet of 100.
    fn send_sampler(&self) {
        let options =
            [(300, 2), (4, 2), (12, 2), (1, 2), (4, 2), (48, 2), (1, 2), (49, 2), (1, 2), (50, 2), (4, 2)];
        self.send(&[set(1, &be(&options)), set(300, &be(&[(0, 4), (5, 1), (2, 1), (100, 4)]))]);
    }

    /// So many records are in the ledger, so many wait, so many were forgotten; by usage and by the audit.
    fn expect(&self, metered: i128, held: i128, forgotten: i128) {
        let usage = self.site.usage("customer");
        let row = format!("one,{metered},{},{}", metered * 1000, metered * 100_000);
        let found: Vec<String> = rows(&usage).iter().map(|row| row[..4].join(",")).collect();
        assert_eq!(found, if metered == 0 { vec![] } else { vec![row] });
        let audit = audited(&self.site);
        let figures = ["decoded", "held", "forgotten"].map(|name| figure(&audit, "records", name));
        assert_eq!(figures, [metered + held + forgotten, held, forgotten]);
    }
}

/// Both processors have exporters.
fn are_shared_out(daemon: &Daemon<'_>) -> bool {
    let status = daemon.status();
    status["processors"].as_array().unwrap().iter().all(|own| own["datagrams"].as_u64().unwrap() > 0)
}

/// A crash before anything is flushed: who catches up decodes the records of all journals in the account of one, and
/// their owners meter them in their own.
#[test]
fn records_that_waited_through_a_crash_are_accounted_for() {
    for dialect in crate::support::dialects() {
        let owners = Owners::on(dialect);
        let daemon = owners.start(2);
        owners.send_records();
        until("both processors to have exporters", || are_shared_out(&daemon).then_some(()));
        daemon.kill();
        let daemon = owners.start(2);
        owners.expect(0, 6, 0);
        owners.send_sampler();
        daemon.flush();
        owners.expect(6, 0, 0);
        daemon.stop();
        owners.expect(6, 0, 0);
    }
}

/// Nobody crashes, but the exporters change hands.
#[test]
fn records_that_waited_for_another_processor_are_accounted_for() {
    for dialect in crate::support::dialects() {
        let owners = Owners::on(dialect);
        let daemon = owners.start(2);
        owners.send_records();
        daemon.stop();
        owners.expect(0, 6, 0);
        let daemon = owners.start(3);
        owners.send_records();
        daemon.flush();
        owners.expect(0, 12, 0);
        daemon.stop();
        let daemon = owners.start(1);
        owners.send_sampler();
        daemon.stop();
        owners.expect(12, 0, 0);
    }
}

/// What docs/OPERATION.md says of checkpoints that cannot be read: what waited is gone, and the audit says so, without
/// taking it for something that is wrong with the ledger. What comes from then on is held to account as before.
#[test]
fn what_an_operator_lets_go_is_told_as_forgotten() {
    let owners = Owners::on(Dialect::Sqlite);
    let daemon = owners.start(2);
    owners.send_records();
    daemon.stop();
    let ledger = owners.site.state().join("ledger.sqlite");
    let mut connection = diesel::SqliteConnection::establish(ledger.to_str().unwrap()).unwrap();
    connection
        .batch_execute("DELETE FROM hold_chunk WHERE scope = 0; DELETE FROM checkpoint WHERE scope = 0;")
        .unwrap();
    drop(connection);
    owners.expect(0, 0, 6);
    let daemon = owners.start(2);
    owners.send_records();
    daemon.flush();
    owners.expect(0, 6, 6);
    owners.send_sampler();
    daemon.stop();
    owners.expect(6, 0, 6);
}
