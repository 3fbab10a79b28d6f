//! Sessions with routers, by async-snmp: the only place that knows it.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;

use async_snmp::transport::UdpTransport;
use async_snmp::{
    Auth, AuthProtocol, Client, Community, DesSaltState, Oid as WireOid, PersistedDesSaltState, PrivProtocol,
    Retry, UdpHandle, UsmConfig, Value as WireValue, VarBind,
};

use super::columns::{Answer, Oid, Value, Walk};
use super::{Authentication, Config, Credentials, Privacy, Target};

/// Values that a request asks for at one time, of all columns together: of their names, about a datagram.
const BULK_VALUES: usize = 48;

/// Why a router could not be asked.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Error(String);

impl Error {
    /// It answers, and not as an agent does.
    pub(super) fn no_uptime() -> Self {
        Self("its answer has no sysUpTime, which every agent has".to_owned())
    }

    /// It answers, and shows no interfaces.
    pub(super) fn no_interfaces() -> Self {
        Self("it shows no interfaces (ifTable, ifXTable): look at the view that it gives us".to_owned())
    }

    /// It has started anew while its interfaces were read.
    pub(super) fn started_meanwhile() -> Self {
        Self("it started anew while its interfaces were read".to_owned())
    }
}

impl From<Box<async_snmp::Error>> for Error {
    fn from(error: Box<async_snmp::Error>) -> Self {
        Self(error.to_string())
    }
}

/// The sockets that all sessions share.
pub(super) struct Sockets {
    v4: UdpTransport,
    /// Where the system has IPv6.
    v6: Option<UdpTransport>,
    /// Of all that is encrypted by DES, so that no two messages share one.
    salts: DesSaltState,
}

impl Sockets {
    pub(super) async fn open() -> Result<Self, Error> {
        let v4 = UdpTransport::bind("0.0.0.0:0").await?;
        Ok(Self { v4, v6: UdpTransport::bind("[::]:0").await.ok(), salts: salts()? })
    }

    fn of(&self, address: SocketAddr) -> Result<&UdpTransport, Error> {
        if address.is_ipv4() {
            return Ok(&self.v4);
        }
        self.v6.as_ref().ok_or_else(|| Error("this system has no IPv6".to_owned()))
    }
}

/// Salts are a number of this start, and a count (RFC 3414, 8.1.1.1). Nothing is kept of a poller, so the number is drawn
/// instead of counted up: one in 2^31 that two given starts have the same.
fn salts() -> Result<DesSaltState, Error> {
    let mut octets = [0; 4];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut octets))
        .map_err(|error| Error(format!("/dev/urandom: {error}")))?;
    let drawn = (u32::from_be_bytes(octets) >> 1).clamp(1, u32::MAX / 2 - 1);
    PersistedDesSaltState::new(drawn)
        .and_then(|drawn| DesSaltState::restart(drawn, |_| Ok::<(), io::Error>(())))
        .map_err(|error| Error(error.to_string()))
}

/// A session with one router.
pub(super) struct Session {
    client: Client<UdpHandle>,
    /// A GETBULK failed where a GETNEXT for the same was answered: walks go by GETNEXT.
    without_bulk: AtomicBool,
}

impl Session {
    pub(super) async fn open(sockets: &Sockets, target: &Target, config: &Config) -> Result<Self, Error> {
        let retry =
            Retry::fixed(config.retries, Duration::from_millis(100)).map_err(|e| Error(e.to_string()))?;
        let mut client = Client::builder(target.address, auth(&target.credentials)?);
        if matches!(&target.credentials, Credentials::User { privacy: Some((Privacy::Des, _)), .. }) {
            client = client.des_salt_state(sockets.salts.clone());
        }
        let client = client
            .request_timeout(config.timeout())
            .retry(retry)
            .max_oids_per_request(128)
            .strict_source(true)
            .build_with(sockets.of(target.address)?)
            .await?;
        Ok(Self { client, without_bulk: AtomicBool::new(false) })
    }

    /// The values of objects.
    pub(super) async fn get(&self, oids: &[Oid]) -> Result<Answer, Error> {
        let wire: Vec<WireOid> = oids.iter().map(|oid| WireOid::from_slice(oid)).collect();
        let answer = self.client.get_many(&wire).await?;
        Ok(answer.varbinds.iter().map(read).collect())
    }

    /// Walks over columns to their ends: by GETBULK, or by GETNEXT where an agent (or a path that loses long answers) does
    /// not answer that.
    pub(super) async fn walk(&self, columns: Vec<Oid>, rows_max: usize) -> Result<Walk, Error> {
        let mut walk = Walk::new(columns, rows_max);
        loop {
            let request = walk.request();
            if request.is_empty() {
                return Ok(walk);
            }
            let wire: Vec<WireOid> = request.iter().map(|oid| WireOid::from_slice(oid)).collect();
            let answer = self.next(&wire).await?;
            walk.take(answer.iter().map(read).collect());
        }
    }

    /// The next values of some columns: several of each, or one.
    async fn next(&self, wire: &[WireOid]) -> Result<Vec<VarBind>, Error> {
        if !self.without_bulk.load(Relaxed) {
            let rows = u32::try_from((BULK_VALUES / wire.len().max(1)).max(1)).unwrap_or(1);
            if let Ok(answer) = self.client.get_bulk(wire, 0, rows).await {
                return Ok(answer);
            }
        }
        let answer = self.client.get_next_many(wire).await?;
        self.without_bulk.store(true, Relaxed);
        Ok(answer.varbinds)
    }
}

fn read(bound: &VarBind) -> (Oid, Value) {
    let value = match &bound.value {
        WireValue::Counter32(n) => Value::Counter32(*n),
        WireValue::Counter64(n) => Value::Counter64(*n),
        WireValue::Gauge32(n) | WireValue::UInteger32(n) | WireValue::TimeTicks(n) => {
            Value::Number((*n).into())
        }
        WireValue::Integer(n) => Value::Number((*n).into()),
        WireValue::OctetString(octets) => Value::Text(octets.to_vec()),
        WireValue::NoSuchObject | WireValue::NoSuchInstance | WireValue::EndOfMibView => Value::Absent,
        _ => Value::Other,
    };
    (bound.oid.arcs().to_vec(), value)
}

fn auth(credentials: &Credentials) -> Result<Auth, Error> {
    let (name, authentication, privacy) = match credentials {
        Credentials::Community(community) => {
            return Ok(Auth::v2c(Community::from(community.reveal().to_vec())));
        }
        Credentials::User { name, auth, privacy } => (name, auth, privacy),
    };
    let user = UsmConfig::new(name.clone());
    let made = match (authentication, privacy) {
        (None, _) => Ok(user),
        (Some((auth, secret)), None) => user.auth(protocol(*auth), secret.reveal()),
        (Some((auth, secret)), Some((privacy, key))) => {
            user.auth_priv(protocol(*auth), secret.reveal(), cipher(*privacy), key.reveal())
        }
    };
    made.map(Auth::from).map_err(|error| Error(error.to_string()))
}

const fn protocol(auth: Authentication) -> AuthProtocol {
    match auth {
        Authentication::Md5 => AuthProtocol::Md5,
        Authentication::Sha1 => AuthProtocol::Sha1,
        Authentication::Sha224 => AuthProtocol::Sha224,
        Authentication::Sha256 => AuthProtocol::Sha256,
        Authentication::Sha384 => AuthProtocol::Sha384,
        Authentication::Sha512 => AuthProtocol::Sha512,
    }
}

const fn cipher(privacy: Privacy) -> PrivProtocol {
    match privacy {
        Privacy::Des => PrivProtocol::Des,
        Privacy::Aes128 => PrivProtocol::Aes128,
        Privacy::Aes192 => PrivProtocol::Aes192Blumenthal,
        Privacy::Aes256 => PrivProtocol::Aes256Blumenthal,
        Privacy::Aes192Cisco => PrivProtocol::Aes192Reeder,
        Privacy::Aes256Cisco => PrivProtocol::Aes256Reeder,
    }
}
