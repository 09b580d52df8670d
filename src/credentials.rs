//! Credentials that were read lately.
//!
//! To read one takes two square roots, longer than to verify a signature in a batch, and each record needs its credential
//! twice. What is kept here depends on the bytes alone, so nothing ever has to be thrown out because it has changed.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use scal3::credential::{Credential, CredentialError};

/// How many one generation has. There are two: a credential that nobody asks for is gone after two more have filled up.
const GENERATION: usize = 8192;

/// The credentials.
#[derive(Debug, Default)]
pub struct Credentials {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashSet<ByBytes>,
    old: HashSet<ByBytes>,
}

/// A credential that is found by its bytes.
#[derive(Debug)]
struct ByBytes(Arc<Credential>);

impl Borrow<[u8]> for ByBytes {
    fn borrow(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Hash for ByBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_bytes().hash(state);
    }
}

impl PartialEq for ByBytes {
    fn eq(&self, other: &ByBytes) -> bool {
        self.0.as_bytes() == other.0.as_bytes()
    }
}

impl Eq for ByBytes {}

impl Credentials {
    /// The credential with these bytes, which come from a store of our own.
    pub fn read(&self, bytes: &[u8]) -> Result<Arc<Credential>, CredentialError> {
        if let Some(known) = self.with(|generations| generations.find(bytes)) {
            return Ok(known);
        }
        // Not under the lock: two that ask at once read it twice.
        let credential = Arc::new(Credential::from_own_store(bytes)?);
        self.with(|generations| generations.add(Arc::clone(&credential)));
        Ok(credential)
    }

    fn with<R>(&self, act: impl FnOnce(&mut Generations) -> R) -> R {
        act(&mut self.generations.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Generations {
    fn find(&mut self, bytes: &[u8]) -> Option<Arc<Credential>> {
        if let Some(ByBytes(known)) = self.young.get(bytes) {
            return Some(Arc::clone(known));
        }
        let ByBytes(known) = self.old.take(bytes)?;
        self.add(Arc::clone(&known));
        Some(known)
    }

    fn add(&mut self, credential: Arc<Credential>) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(ByBytes(credential));
    }
}
