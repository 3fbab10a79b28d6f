//! Keys by the RFC's own examples, algorithms by published test vectors.

use super::super::engine::from_hex;
use super::*;

fn hex(text: &str) -> Vec<u8> {
    from_hex(&text.replace(' ', "")).expect("hexadecimal digits")
}

/// RFC 3414, A.3.1 and A.3.2; RFC 7860 has none, so those of the others come from net-snmp's own key command (see the
/// integration tests).
#[test]
fn passphrases_become_the_keys_of_rfc_3414() {
    let engine = hex("00 00 00 00 00 00 00 00 00 00 00 02");
    let key = |protocol| authentication_key(protocol, b"maplesyrup", &engine).octets().to_vec();
    assert_eq!(key(Authentication::Md5), hex("52 6f 5e ed 9f cc e2 6f 89 64 c2 93 07 87 d8 2b"));
    assert_eq!(key(Authentication::Sha1), hex("66 95 fe bc 92 88 e3 62 82 23 5f c7 15 1f 12 84 97 b3 8f 3f"));
}

/// draft-reeder-snmpv3-usm-3desede-00, B.2 has this very example for SHA-1: 40 octets, of which we use 32.
#[test]
fn short_keys_are_extended_both_ways() {
    let engine = hex("00 00 00 00 00 00 00 00 00 00 00 02");
    let reeder = privacy_key(Authentication::Sha1, Privacy::Aes256Cisco, b"maplesyrup", &engine);
    let expected = "66 95 fe bc 92 88 e3 62 82 23 5f c7 15 1f 12 84 97 b3 8f 3f \
                    9b 8b 6d 78 93 6b a6 e7 d1 9d fd 9c";
    assert_eq!(reeder.octets(), hex(expected));
    let blumenthal = privacy_key(Authentication::Sha1, Privacy::Aes256, b"maplesyrup", &engine);
    // Kul, then the beginning of SHA-1(Kul).
    let kul = hex("66 95 fe bc 92 88 e3 62 82 23 5f c7 15 1f 12 84 97 b3 8f 3f");
    assert_eq!(blumenthal.octets(), [&kul[..], &sha1::Sha1::digest(&kul)[..12]].concat());
    // Long keys need none, so both are one.
    let [one, other] = [Privacy::Aes256, Privacy::Aes256Cisco]
        .map(|protocol| privacy_key(Authentication::Sha256, protocol, b"maplesyrup", &engine));
    assert_eq!(one.octets(), other.octets());
    let short = privacy_key(Authentication::Sha512, Privacy::Aes128, b"maplesyrup", &engine);
    assert_eq!(
        short.octets(),
        &authentication_key(Authentication::Sha512, b"maplesyrup", &engine).octets()[..16]
    );
    // That of DES, with its pre-IV, is the beginning of the same (RFC 3414, A.3.1 and A.3.2; 8.1.1.1).
    for (authentication, expected) in [
        (Authentication::Md5, "52 6f 5e ed 9f cc e2 6f 89 64 c2 93 07 87 d8 2b"),
        (Authentication::Sha1, "66 95 fe bc 92 88 e3 62 82 23 5f c7 15 1f 12 84"),
    ] {
        let key = privacy_key(authentication, Privacy::Des, b"maplesyrup", &engine);
        assert_eq!(key.octets(), hex(expected));
    }
}

/// RFC 4231, test case 2 (key "Jefe"), cut to the lengths of RFC 7860; RFC 2202 for MD5 and SHA-1.
#[test]
fn tags_are_those_of_the_hmac_test_cases() {
    let key = Key::new(b"Jefe".to_vec());
    for (protocol, expected) in [
        (Authentication::Md5, "750c783e6ab0b503eaa86e31"),
        (Authentication::Sha1, "effcdf6ae5eb2fa2d27416d5"),
        (Authentication::Sha224, "a30e01098bc6dbbf45690f3a7e9e6d0f"),
        (Authentication::Sha256, "5bdcc146bf60754e6a042426089575c75a003f089d273983"),
        (Authentication::Sha384, "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"),
        (
            Authentication::Sha512,
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd",
        ),
    ] {
        let tag = tag(protocol, &key, [b"what do ya want ", b"for ", b"nothing?"]);
        assert_eq!(tag, hex(expected), "{protocol:?}");
        assert_eq!(tag.len(), protocol.tag_octets());
    }
}

#[test]
fn a_tag_has_exactly_its_length() {
    for (_, protocol) in Authentication::ALL {
        let key = Key::new(vec![7; protocol.key_octets()]);
        let length = protocol.tag_octets();
        let message = |octets: usize| {
            let mut message = vec![1, 2, 3];
            message.resize(3 + octets, 0);
            message.extend([9, 9]);
            let tag = tag(protocol, &key, [&message[..3], &vec![0; octets], &message[3 + octets..]]);
            let common = octets.min(tag.len());
            message[3..3 + common].copy_from_slice(&tag[..common]);
            message
        };
        assert!(is_authentic(protocol, &key, &message(length), 3..3 + length));
        for other in (0..=64).filter(|&octets| octets != length) {
            assert!(!is_authentic(protocol, &key, &message(other), 3..3 + other), "{protocol:?} {other}");
        }
        for bit in 0..length * 8 {
            let mut changed = message(length);
            changed[3 + bit / 8] ^= 1 << (bit % 8);
            assert!(!is_authentic(protocol, &key, &changed, 3..3 + length));
        }
    }
}

/// NIST SP 800-38A, F.3.13 and F.3.17: CFB128 with AES-128 and AES-256, first two blocks, and a part of one.
#[test]
fn aes_is_that_of_nist() {
    let vector = Vector {
        boots: 0x0001_0203,
        time: 0x0405_0607,
        salt: [0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f],
    };
    let plain = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51");
    for (protocol, key, cipher) in [
        (
            Privacy::Aes128,
            "2b7e151628aed2a6abf7158809cf4f3c",
            "3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b",
        ),
        (
            Privacy::Aes256,
            "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
            "dc7e84bfda79164b7ecd8486985d386039ffed143b28b1c832113c6331e5407b",
        ),
    ] {
        let key = Key::new(hex(key));
        for length in [32, 20] {
            let mut octets = plain[..length].to_vec();
            encrypt(protocol, &key, vector, &mut octets);
            assert_eq!(octets, hex(cipher)[..length]);
            assert!(decrypt(protocol, &key, vector, &mut octets));
            assert_eq!(octets, plain[..length]);
        }
    }
}

/// FIPS 81, table C1, for whole blocks; the third with five letters and three zeros by OpenSSL. The vector 1234567890abcdef
/// is salt and pre-IV; boots and time have no part in it.
#[test]
fn des_is_that_of_fips_81() {
    let key = Key::new(hex("0123456789abcdef ffff0000aaaa5555"));
    let salt = hex("edcb56783a0198ba").try_into().unwrap();
    for (boots, time) in [(0, 0), (7, 9)] {
        let vector = Vector { boots, time, salt };
        for (plain, cipher) in [
            (&b"Now is the time for all "[..], "e5c7cdde872bf27c 43e934008c389c0f 683788499a7c05f6"),
            (b"Now is the time for a", "e5c7cdde872bf27c 43e934008c389c0f 476a304ef3fc4230"),
            (b"", ""),
        ] {
            let mut octets = plain.to_vec();
            encrypt(Privacy::Des, &key, vector, &mut octets);
            assert_eq!(octets, hex(cipher));
            assert_eq!(octets.len(), Privacy::Des.encrypted_octets(plain.len()));
            assert!(decrypt(Privacy::Des, &key, vector, &mut octets));
            let (text, filling) = octets.split_at(plain.len());
            assert!(text == plain && filling.len() < 8 && filling.iter().all(|&octet| octet == 0));
        }
    }
    let vector = Vector { boots: 0, time: 0, salt };
    for length in 0..=64 {
        assert_eq!(decrypt(Privacy::Des, &key, vector, &mut vec![1; length]), length % 8 == 0, "{length}");
    }
    // An octet of the salt, of the pre-IV or of the key's first half changes the first block.
    let plain = b"Now is t".to_vec();
    let encrypted = |key: &Key, vector| {
        let mut octets = plain.clone();
        encrypt(Privacy::Des, key, vector, &mut octets);
        octets
    };
    let right = encrypted(&key, vector);
    for at in 0..16 {
        let mut other = key.octets().to_vec();
        other[at] ^= 2;
        assert_ne!(encrypted(&Key::new(other), vector), right, "{at}");
        let mut other = vector;
        other.salt[at % 8] ^= 2;
        assert_ne!(encrypted(&key, other), right, "{at}");
    }
}

#[test]
fn names_are_those_of_net_snmp_and_keys_are_not_shown() {
    for (name, protocol) in Authentication::ALL {
        assert_eq!((Authentication::named(name), protocol.name()), (Some(protocol), name));
    }
    for (name, protocol) in Privacy::ALL {
        assert_eq!((Privacy::named(&name.to_lowercase()), protocol.name()), (Some(protocol), name));
    }
    assert_eq!(
        (Authentication::named("sha-1"), Privacy::named("AES")),
        (Some(Authentication::Sha1), Some(Privacy::Aes128))
    );
    assert_eq!((Authentication::named("SHA-3"), Privacy::named("3DES")), (None, None));
    assert_eq!(format!("{:?}", Key::new(b"secret".to_vec())), "Key(..)");
}
