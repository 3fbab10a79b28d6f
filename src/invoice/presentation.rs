//! How an invoice looks: its language, and the files of the operator that it is set with. The document names them by
//! their hashes, so that it gives the same pages years later; the ledger keeps the files.

use std::collections::BTreeMap;

use super::language::Language;
use crate::ledger::records::Asset;

/// How an invoice looks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Presentation {
    /// The language.
    pub language: Language,
    /// SHA-256 of the logo, in hex.
    pub logo: Option<String>,
    /// SHA-256 of the template of the HTML page, in hex; `None`: the one that is built in.
    pub template: Option<String>,
}

/// A file that a document names is not there.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the ledger does not have the {what} with SHA-256 {sha256} that the document names")]
pub struct Missing {
    /// `logo` or `template`.
    pub what: &'static str,
    /// Its hash.
    pub sha256: String,
}

/// The files, by hash.
#[derive(Clone, Debug, Default)]
pub struct Assets(BTreeMap<String, Asset>);

impl Assets {
    /// These files.
    #[must_use]
    pub fn of(assets: Vec<Asset>) -> Self {
        Self(assets.into_iter().map(|asset| (asset.sha256.clone(), asset)).collect())
    }

    /// The file that a document names, if it names one.
    ///
    /// # Errors
    /// [`Missing`].
    pub fn get(&self, what: &'static str, sha256: Option<&String>) -> Result<Option<&Asset>, Missing> {
        let Some(sha256) = sha256 else { return Ok(None) };
        let found = self.0.get(sha256).ok_or_else(|| Missing { what, sha256: sha256.clone() })?;
        Ok(Some(found))
    }
}

/// A file as a `data:` URI (RFC 2397), for pages that load nothing from elsewhere.
#[must_use]
pub fn data_uri(asset: &Asset) -> String {
    format!("data:{};base64,{}", asset.media, base64(&asset.content))
}

/// Base 64 (RFC 4648, 4).
fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for chunk in octets.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, octet| (bits << 8) | u32::from(*octet))
            << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            if digit <= chunk.len() {
                text.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of RFC 4648, section 10.
    #[test]
    fn base64_of_the_standard_s_vectors() {
        for (octets, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(octets.as_bytes()), text);
        }
        let asset = Asset::new("image/png", vec![0xff, 0xef]);
        assert_eq!(data_uri(&asset), "data:image/png;base64,/+8=");
        // The empty SHA-256 of FIPS 180-4.
        let empty = Asset::new("text/html", vec![]);
        assert_eq!(empty.sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let assets = Assets::of(vec![empty.clone()]);
        assert_eq!(assets.get("logo", Some(&empty.sha256)), Ok(Some(&empty)));
        assert!(assets.get("logo", Some(&asset.sha256)).is_err());
        assert_eq!(assets.get("logo", None), Ok(None));
    }
}
