//! The key under which Secrets are hashed: without it nobody can try out what a Secret held.

use std::{fs, io, path::Path, sync::Arc};

use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretBox};
use sha2::Sha256;

use super::super::content::short;
use crate::record::atomic;

const LENGTH: usize = 32;
/// What is hashed to tell keys apart: no Secret's text, which is an object.
const WHICH_KEY: &str = "which key";
/// Hexadecimal digits by which keys are told apart: an installation has one, and rarely another one later.
const ID_DIGITS: usize = 8;

/// The key. Made once, and kept beside the store: what did not change is known as the same after a restart.
#[derive(Clone)]
pub(crate) struct Key(Arc<SecretBox<[u8; LENGTH]>>);

impl std::fmt::Debug for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Key")
    }
}

impl From<[u8; LENGTH]> for Key {
    fn from(bytes: [u8; LENGTH]) -> Self {
        Self(Arc::new(SecretBox::new(Box::new(bytes))))
    }
}

impl Key {
    /// The key that is at `path`; where there is none, a new one is made there. Blocks.
    pub(crate) fn load_or_make(path: &Path) -> io::Result<Self> {
        match fs::read(path) {
            Ok(bytes) => {
                let wrong = || {
                    let why = format!("it holds {} bytes, not {LENGTH}; remove it to have a new one", bytes.len());
                    io::Error::new(io::ErrorKind::InvalidData, why)
                };
                Ok(Self::from(<[u8; LENGTH]>::try_from(bytes.as_slice()).map_err(|_| wrong())?))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let made = Self::random()?;
                fs::create_dir_all(atomic::parent(path))?;
                atomic::replace(path, made.0.expose_secret())?;
                Ok(made)
            }
            Err(error) => Err(error),
        }
    }

    /// A new key, which nobody else has.
    pub(crate) fn random() -> io::Result<Self> {
        let mut bytes = [0; LENGTH];
        let random = rustls::crypto::ring::default_provider().secure_random;
        random.fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random numbers"))?;
        Ok(Self::from(bytes))
    }

    /// A text's hash under the key (HMAC-SHA-256, as short as the others).
    /// After a colon: before it is which key it is, so that hashes under two keys are not taken for different texts.
    pub(crate) fn seal(&self, text: &str) -> String {
        let id: String = self.hash(WHICH_KEY).chars().take(ID_DIGITS).collect();
        format!("{id}:{}", self.hash(text))
    }

    fn hash(&self, text: &str) -> String {
        let key = self.0.expose_secret();
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        short(&mac.finalize().into_bytes())
    }
}

/// Under which key a text was sealed; none where that was not written down.
pub(super) fn id(sealed: &str) -> Option<&str> {
    Some(sealed.split_once(':')?.0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_shown_to_nobody() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("store.db.configuration/.key");
        let made = Key::load_or_make(&path).expect("made");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        let read = Key::load_or_make(&path).expect("read");
        assert_eq!(made.seal("text"), read.seal("text"));
        assert_ne!(made.seal("text"), Key::from([0; LENGTH]).seal("text"));
        assert!(id(&made.seal("text")).is_some() && id(&made.seal("text")) == id(&read.seal("other")));
        assert_ne!(id(&made.seal("text")), id(&Key::from([0; LENGTH]).seal("text")));
        assert_eq!(id("0123"), None);
        assert_eq!(format!("{made:?}"), "Key");
        fs::write(&path, "short").expect("written");
        let said = Key::load_or_make(&path).expect_err("it is damaged").to_string();
        assert!(said.contains("5 bytes"), "{said}");
    }
}
