//! Tickets: what lets one device finish one enrolment, without the server remembering that it began.
//!
//! ```text
//! ticket = epoch u32 ‖ issued_ms u64 ‖ not_after_ms u64 ‖ subject[32] ‖ provider[32] ‖ predecessor[32] or zeros
//!          ‖ ordinal u64 ‖ recovers u8 ‖ issuer (text) ‖ mac[32]
//! mac    = HMAC-SHA-256(KeyStore::derive(epoch, "ticket", enrolment id), everything before it)
//! ```
//!
//! Whoever holds the ticket enrols, so the provider's backend hands it to the person whom it knows. It is good for
//! [`GOOD_FOR_MS`]. Everything in a credential follows from ticket and device, whatever the server's settings have become
//! since: the same two give the same claims, so a predecessor knows for what it speaks, and a lost answer is asked for
//! again.

use hmac::{Hmac, KeyInit as _, Mac as _};
use scal3::Hash;
use sha2::Sha256;

use crate::keys::{KeyError, KeyStore};

/// How long a ticket is good for. A successor's device authorises in between, and its person may have to find a phone.
pub const GOOD_FOR_MS: u64 = 3_600_000;

/// All but the issuer and the mac.
const FIXED: usize = 4 + 8 + 8 + 32 + 32 + 32 + 8 + 1;

/// A ticket, as the server made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The master secret whose key the share is sealed to.
    pub epoch: u32,
    /// When it was made, milliseconds since 1970.
    pub issued_ms: u64,
    /// Until when the credential will be valid.
    pub not_after_ms: u64,
    /// The pseudonym of the person.
    pub subject: Hash,
    /// The provider whose key will sign the credential.
    pub provider: Hash,
    /// The credential that the new one succeeds.
    pub predecessor: Option<Hash>,
    /// How many credentials the person had before.
    pub ordinal: u64,
    /// Whether the predecessor can't speak for it, so that the provider will, with a reason that is logged.
    pub recovers: bool,
    /// The provider's name in the credential.
    pub issuer: String,
}

/// Why a ticket is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Not one of ours, or for another enrolment.
    #[error("the ticket is not one of this provider for this enrolment")]
    NotOurs,
    /// Too old.
    #[error("the ticket has expired")]
    Expired,
    /// The credential would be another provider's than the ticket says.
    #[error("the provider signs with another key than when the ticket was made")]
    Rotated,
    /// A key did not answer.
    #[error(transparent)]
    Key(KeyError),
}

impl Ticket {
    /// When it expires.
    pub fn expires_ms(&self) -> u64 {
        self.issued_ms.saturating_add(GOOD_FOR_MS)
    }

    /// The ticket as it travels, for this enrolment.
    pub fn to_bytes(&self, keys: &dyn KeyStore, enrolment_id: &Hash) -> Result<Vec<u8>, KeyError> {
        let predecessor = self.predecessor.unwrap_or(Hash([0; 32]));
        let mut bytes = [
            &self.epoch.to_be_bytes()[..],
            &self.issued_ms.to_be_bytes(),
            &self.not_after_ms.to_be_bytes(),
            &self.subject.0,
            &self.provider.0,
            &predecessor.0,
            &self.ordinal.to_be_bytes(),
            &[u8::from(self.recovers)],
            self.issuer.as_bytes(),
        ]
        .concat();
        let mac = mac(keys, self.epoch, enrolment_id, &bytes)?.finalize().into_bytes();
        bytes.extend_from_slice(&mac);
        Ok(bytes)
    }

    /// Whether it is too old.
    pub fn is_expired(&self, now_ms: u64) -> bool {
        now_ms > self.expires_ms()
    }

    /// Reads a ticket that somebody presents for this enrolment. It may be too old: [`Ticket::is_expired`].
    pub fn open(bytes: &[u8], keys: &dyn KeyStore, enrolment_id: &Hash) -> Result<Ticket, TicketError> {
        let (body, presented) = bytes.split_last_chunk::<32>().ok_or(TicketError::NotOurs)?;
        if body.len() < FIXED {
            return Err(TicketError::NotOurs);
        }
        let epoch = u32::from_be_bytes(fixed(&body[..4])?);
        let mac = match mac(keys, epoch, enrolment_id, body) {
            Ok(mac) => mac,
            // A stranger may write any number there.
            Err(KeyError::Epoch(_)) => return Err(TicketError::NotOurs),
            Err(error) => return Err(TicketError::Key(error)),
        };
        // Compared in constant time.
        mac.verify_slice(presented).map_err(|_| TicketError::NotOurs)?;
        let predecessor = Hash(fixed(&body[84..116])?);
        Ok(Ticket {
            epoch,
            issued_ms: u64::from_be_bytes(fixed(&body[4..12])?),
            not_after_ms: u64::from_be_bytes(fixed(&body[12..20])?),
            subject: Hash(fixed(&body[20..52])?),
            provider: Hash(fixed(&body[52..84])?),
            predecessor: Some(predecessor).filter(|id| *id != Hash([0; 32])),
            ordinal: u64::from_be_bytes(fixed(&body[116..124])?),
            recovers: body[124] == 1,
            issuer: String::from_utf8(body[FIXED..].to_vec()).map_err(|_| TicketError::NotOurs)?,
        })
    }
}

fn mac(keys: &dyn KeyStore, epoch: u32, enrolment_id: &Hash, body: &[u8]) -> Result<Hmac<Sha256>, KeyError> {
    let key = keys.derive(epoch, "ticket", &enrolment_id.0)?;
    let mut block = zeroize::Zeroizing::new([0; 64]);
    block.iter_mut().zip(key.iter()).for_each(|(to, from)| *to = *from);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    mac.update(body);
    Ok(mac)
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], TicketError> {
    bytes.try_into().map_err(|_| TicketError::NotOurs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::SoftKeys;

    const ENROLMENT: Hash = Hash([1; 32]);

    fn ticket(predecessor: Option<Hash>) -> Ticket {
        Ticket {
            epoch: 0,
            issued_ms: 1000,
            not_after_ms: 2000,
            subject: Hash([3; 32]),
            provider: Hash([6; 32]),
            predecessor,
            ordinal: 4,
            recovers: predecessor.is_some(),
            issuer: "Example Wallet".into(),
        }
    }

    #[test]
    fn a_ticket_opens_for_its_enrolment_until_it_expires() {
        let keys = SoftKeys::generate().expect("randomness");
        for ticket in [ticket(None), ticket(Some(Hash([5; 32])))] {
            let bytes = ticket.to_bytes(&keys, &ENROLMENT).expect("a key");
            assert_eq!(Ticket::open(&bytes, &keys, &ENROLMENT).as_ref(), Ok(&ticket));
            assert!(!ticket.is_expired(1000 + GOOD_FOR_MS) && ticket.is_expired(1001 + GOOD_FOR_MS));
            assert_eq!(Ticket::open(&bytes, &keys, &Hash([2; 32])), Err(TicketError::NotOurs));
        }
    }

    #[test]
    fn no_altered_byte_and_no_strangers_ticket_opens() {
        let keys = SoftKeys::generate().expect("randomness");
        let bytes = ticket(None).to_bytes(&keys, &ENROLMENT).expect("a key");
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert_eq!(Ticket::open(&altered, &keys, &ENROLMENT), Err(TicketError::NotOurs), "byte {at}");
            assert_eq!(Ticket::open(&bytes[..at], &keys, &ENROLMENT), Err(TicketError::NotOurs));
        }
        let strangers = SoftKeys::generate().expect("randomness");
        assert_eq!(Ticket::open(&bytes, &strangers, &ENROLMENT), Err(TicketError::NotOurs));
    }
}
