//! The cryptography of the User-based Security Model: HMAC over a message, AES or DES over a scoped PDU, keys out of
//! passphrases (RFC 3414, 7860, 3826).
//!
//! HMAC-MD5, HMAC-SHA-1 and DES, whose keys can be found by trying all, are for managers and devices that know nothing
//! else; the configuration has to allow them.
//!
//! Keys are wiped from memory when they are dropped, and never printed.

use core::fmt;

use aes::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use hmac::{EagerHash, Hmac, KeyInit as _, Mac as _};
use sha2::Digest;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// The authentication protocols.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Authentication {
    /// usmHMACMD5AuthProtocol (RFC 3414, 6).
    Md5,
    /// usmHMACSHAAuthProtocol (RFC 3414, 7).
    Sha1,
    /// usmHMAC128SHA224AuthProtocol (RFC 7860).
    Sha224,
    /// usmHMAC192SHA256AuthProtocol (RFC 7860).
    Sha256,
    /// usmHMAC256SHA384AuthProtocol (RFC 7860).
    Sha384,
    /// usmHMAC384SHA512AuthProtocol (RFC 7860).
    Sha512,
}

/// Runs an expression with the hash behind a protocol named `$hash`.
macro_rules! with_hash {
    ($protocol:expr, $hash:ident => $run:expr) => {
        match $protocol {
            Authentication::Md5 => {
                type $hash = md5::Md5;
                $run
            }
            Authentication::Sha1 => {
                type $hash = sha1::Sha1;
                $run
            }
            Authentication::Sha224 => {
                type $hash = sha2::Sha224;
                $run
            }
            Authentication::Sha256 => {
                type $hash = sha2::Sha256;
                $run
            }
            Authentication::Sha384 => {
                type $hash = sha2::Sha384;
                $run
            }
            Authentication::Sha512 => {
                type $hash = sha2::Sha512;
                $run
            }
        }
    };
}

impl Authentication {
    /// All, with the names that net-snmp uses.
    pub const ALL: [(&'static str, Self); 6] = [
        ("MD5", Self::Md5),
        ("SHA", Self::Sha1),
        ("SHA-224", Self::Sha224),
        ("SHA-256", Self::Sha256),
        ("SHA-384", Self::Sha384),
        ("SHA-512", Self::Sha512),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        name(&Self::ALL, self)
    }

    /// The protocol of that name.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        named(&Self::ALL, if text.eq_ignore_ascii_case("SHA-1") { "SHA" } else { text })
    }

    /// True for protocols that are only used where they must be.
    #[must_use]
    pub fn is_legacy(self) -> bool {
        matches!(self, Self::Md5 | Self::Sha1)
    }

    /// Octets of msgAuthenticationParameters: exactly so many, or the message is not authentic.
    pub(super) fn tag_octets(self) -> usize {
        match self {
            Self::Md5 | Self::Sha1 => 12,
            Self::Sha224 => 16,
            Self::Sha256 => 24,
            Self::Sha384 => 32,
            Self::Sha512 => 48,
        }
    }

    /// Octets of a key.
    pub(super) fn key_octets(self) -> usize {
        with_hash!(self, H => <H as Digest>::output_size())
    }
}

/// The privacy protocols.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Privacy {
    /// usmDESPrivProtocol (RFC 3414, 8): CBC-DES.
    Des,
    /// usmAesCfb128Protocol (RFC 3826).
    Aes128,
    /// AES with keys of 256 bits; keys that are too short are extended as draft-blumenthal-aes-usm-04 says.
    Aes256,
    /// The same, with keys extended as draft-reeder-snmpv3-usm-3desede-00 says: what Cisco devices do. From SHA-256 on
    /// there is no difference.
    Aes256Cisco,
}

impl Privacy {
    /// All, with the names that net-snmp uses.
    pub const ALL: [(&'static str, Self); 4] = [
        ("DES", Self::Des),
        ("AES-128", Self::Aes128),
        ("AES-256", Self::Aes256),
        ("AES-256-C", Self::Aes256Cisco),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        name(&Self::ALL, self)
    }

    /// The protocol of that name.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        named(&Self::ALL, if text.eq_ignore_ascii_case("AES") { "AES-128" } else { text })
    }

    /// True for the protocol that is only used where it must be.
    #[must_use]
    pub fn is_legacy(self) -> bool {
        self == Self::Des
    }

    /// Octets of a key. That of DES has eight more than the cipher wants: the pre-IV (RFC 3414, 8.1.1.1).
    pub(super) fn key_octets(self) -> usize {
        match self {
            Self::Des | Self::Aes128 => 16,
            Self::Aes256 | Self::Aes256Cisco => 32,
        }
    }

    /// Octets that so many are when they are encrypted.
    pub(super) fn encrypted_octets(self, plain: usize) -> usize {
        match self {
            Self::Des => plain.next_multiple_of(DES_BLOCK_OCTETS),
            Self::Aes128 | Self::Aes256 | Self::Aes256Cisco => plain,
        }
    }
}

fn name<T: Copy + Eq>(all: &[(&'static str, T)], protocol: T) -> &'static str {
    all.iter().find(|(_, known)| *known == protocol).map_or("", |(name, _)| name)
}

fn named<T: Copy>(all: &[(&'static str, T)], text: &str) -> Option<T> {
    all.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|&(_, known)| known)
}

/// A localised key.
#[derive(Clone)]
pub(super) struct Key(Zeroizing<Vec<u8>>);

impl Key {
    pub(super) fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// A passphrase to the key of one engine (RFC 3414, A.2).
pub(super) fn authentication_key(protocol: Authentication, passphrase: &[u8], engine: &[u8]) -> Key {
    with_hash!(protocol, H => Key::new(localised::<H>(passphrase, engine).to_vec()))
}

/// The same for privacy: the key of the authentication protocol's hash, cut, or extended where it is too short.
pub(super) fn privacy_key(
    authentication: Authentication,
    protocol: Privacy,
    passphrase: &[u8],
    engine: &[u8],
) -> Key {
    with_hash!(authentication, H => {
        let mut key = localised::<H>(passphrase, engine);
        while key.len() < protocol.key_octets() {
            let more = match protocol {
                // Blumenthal: the hash of all that is there.
                Privacy::Des | Privacy::Aes128 | Privacy::Aes256 => Zeroizing::new(H::digest(&*key).to_vec()),
                // Reeder: what is there is the passphrase of what follows.
                Privacy::Aes256Cisco => localised::<H>(&key, engine),
            };
            key.extend_from_slice(&more);
        }
        Key::new(key[..protocol.key_octets()].to_vec())
    })
}

/// RFC 3414, 2.6: the digest of a megabyte of passphrase, then bound to the engine.
fn localised<H: Digest>(passphrase: &[u8], engine: &[u8]) -> Zeroizing<Vec<u8>> {
    const EXPANDED_OCTETS: usize = 1 << 20;
    let mut hash = H::new();
    if !passphrase.is_empty() {
        let block: Zeroizing<Vec<u8>> =
            Zeroizing::new(passphrase.iter().copied().cycle().take(passphrase.len() * 64).collect());
        let mut left = EXPANDED_OCTETS;
        while left > 0 {
            let part = left.min(block.len());
            hash.update(&block[..part]);
            left -= part;
        }
    }
    let key = Zeroizing::new(hash.finalize().to_vec());
    let mut hash = H::new();
    hash.update(&*key);
    hash.update(engine);
    hash.update(&*key);
    Zeroizing::new(hash.finalize().to_vec())
}

/// The tag of a message given in parts; in place of the tag itself stand zeros (RFC 3414, 6.3.1).
pub(super) fn tag(protocol: Authentication, key: &Key, parts: [&[u8]; 3]) -> Vec<u8> {
    fn whole<H: EagerHash>(key: &[u8], parts: [&[u8]; 3]) -> Vec<u8> {
        let mut mac = Hmac::<H>::new_from_slice(key).expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().to_vec()
    }
    let mut tag = with_hash!(protocol, H => whole::<H>(key.octets(), parts));
    tag.truncate(protocol.tag_octets());
    tag
}

/// Whether the tag of `message`, at `place`, is right: of the right length, and equal, compared in constant time.
pub(super) fn is_authentic(
    protocol: Authentication,
    key: &Key,
    message: &[u8],
    place: core::ops::Range<usize>,
) -> bool {
    const ZEROS: [u8; 48] = [0; 48];
    let received = &message[place.clone()];
    if received.len() != protocol.tag_octets() {
        return false;
    }
    let expected =
        tag(protocol, key, [&message[..place.start], &ZEROS[..received.len()], &message[place.end..]]);
    expected.ct_eq(received).into()
}

const DES_BLOCK_OCTETS: usize = 8;

/// What the initialization vector is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vector {
    pub(super) boots: u32,
    pub(super) time: u32,
    pub(super) salt: [u8; 8],
}

impl Vector {
    /// RFC 3826, 3.1.2.1.
    fn of_aes(self) -> [u8; 16] {
        let mut octets = [0; 16];
        octets[..4].copy_from_slice(&self.boots.to_be_bytes());
        octets[4..8].copy_from_slice(&self.time.to_be_bytes());
        octets[8..].copy_from_slice(&self.salt);
        octets
    }

    /// RFC 3414, 8.1.1.1: the salt, and the part of the key that no other has.
    fn of_des(self, pre_iv: &[u8]) -> [u8; DES_BLOCK_OCTETS] {
        let mut octets = self.salt;
        octets.iter_mut().zip(pre_iv).for_each(|(octet, pre)| *octet ^= pre);
        octets
    }
}

const LENGTHS_FIT: &str = "key and vector have the lengths of the protocol";

/// Encrypts in place; what is encrypted in blocks is filled up to whole ones (RFC 3414, 8.1.1.2).
pub(super) fn encrypt(protocol: Privacy, key: &Key, vector: Vector, octets: &mut Vec<u8>) {
    use cfb_mode::Encryptor;
    let key = key.octets();
    match protocol {
        Privacy::Des => {
            let (key, pre_iv) = key.split_at(DES_BLOCK_OCTETS);
            octets.resize(protocol.encrypted_octets(octets.len()), 0);
            let mut mode =
                cbc::Encryptor::<des::Des>::new_from_slices(key, &vector.of_des(pre_iv)).expect(LENGTHS_FIT);
            for block in octets.chunks_exact_mut(DES_BLOCK_OCTETS) {
                mode.encrypt_block(block.try_into().expect("a whole block"));
            }
        }
        Privacy::Aes128 => Encryptor::<aes::Aes128>::new_from_slices(key, &vector.of_aes())
            .expect(LENGTHS_FIT)
            .encrypt(octets),
        Privacy::Aes256 | Privacy::Aes256Cisco => {
            Encryptor::<aes::Aes256>::new_from_slices(key, &vector.of_aes())
                .expect(LENGTHS_FIT)
                .encrypt(octets);
        }
    }
}

/// Decrypts in place. False where the octets are no whole blocks of a protocol that has blocks (RFC 3414, 8.1.1.3);
/// what they were filled up with is still at their end.
#[must_use]
pub(super) fn decrypt(protocol: Privacy, key: &Key, vector: Vector, octets: &mut [u8]) -> bool {
    use cfb_mode::Decryptor;
    let key = key.octets();
    match protocol {
        Privacy::Des => {
            if !octets.len().is_multiple_of(DES_BLOCK_OCTETS) {
                return false;
            }
            let (key, pre_iv) = key.split_at(DES_BLOCK_OCTETS);
            let mut mode =
                cbc::Decryptor::<des::Des>::new_from_slices(key, &vector.of_des(pre_iv)).expect(LENGTHS_FIT);
            for block in octets.chunks_exact_mut(DES_BLOCK_OCTETS) {
                mode.decrypt_block(block.try_into().expect("a whole block"));
            }
        }
        Privacy::Aes128 => Decryptor::<aes::Aes128>::new_from_slices(key, &vector.of_aes())
            .expect(LENGTHS_FIT)
            .decrypt(octets),
        Privacy::Aes256 | Privacy::Aes256Cisco => {
            Decryptor::<aes::Aes256>::new_from_slices(key, &vector.of_aes())
                .expect(LENGTHS_FIT)
                .decrypt(octets);
        }
    }
    true
}

#[cfg(test)]
mod tests;
