//! One-time passwords, for people whose device can do nothing else. <https://www.rfc-editor.org/rfc/rfc6238>
//!
//! ```text
//! blob     = [ 1, challenge: hash, step: uint, checked_ms: uint ]
//! password = the last digits of HMAC(secret, step as 8 bytes), cut as RFC 4226 says;  step = seconds / period
//! ```
//!
//! Who knows the secret can make every password, and the server knows it. So this shows nothing to anybody else: the server
//! vouches that it saw the right password, and a monitor sees that it said so for each step once. That is why it never
//! counts alone where much is at stake.

use alloc::vec;
use alloc::vec::Vec;

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use tlog::Hash;

use super::{Claims, Context, Reason, check_count, check_time};
use crate::authenticator::{Otp, OtpHash};
use crate::cbor::{self, Parts, ShapeError, Value};
use crate::tag::tagged;

/// The secret by which claims name it: `H("solelog/otp/v1", secret)`.
pub fn secret_id(secret: &[u8]) -> Hash {
    tagged("solelog/otp/v1", secret)
}

/// What the server says about a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    /// The challenge of the operation for which it was given.
    pub challenge: Hash,
    /// Which password it was.
    pub step: u64,
    /// When it was compared, milliseconds since 1970-01-01T00:00Z.
    pub checked_ms: u64,
}

impl Statement {
    /// Parses the blob of an item.
    ///
    /// # Errors
    /// [`Reason::Malformed`].
    pub fn parse(blob: &[u8]) -> Result<Statement, Reason> {
        let value = cbor::decode(blob, 64).map_err(|_| Reason::Malformed)?;
        let read = || -> Result<Statement, ShapeError> {
            let mut parts = Parts::new("otp", value)?;
            parts.constant("version", 1)?;
            let statement = Statement {
                challenge: parts.hash("challenge")?,
                step: parts.uint("step")?,
                checked_ms: parts.uint("checked_ms")?,
            };
            parts.end()?;
            Ok(statement)
        };
        read().map_err(|_| Reason::Malformed)
    }

    /// The one spelling of the blob.
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::encode(&Value::Array(vec![
            cbor::uint(1),
            cbor::bytes(&self.challenge.0),
            cbor::uint(self.step),
            cbor::uint(self.checked_ms),
        ]))
    }
}

impl Otp {
    /// The step at a time.
    pub fn step_at(&self, time_ms: u64) -> u64 {
        // The period is never zero: the parser saw to that, and a made-up one counts as a second.
        time_ms / 1000 / u64::from(self.period_s.max(1))
    }

    /// The password of a step, as a number of [`Otp::digits`] digits.
    pub fn password(&self, secret: &[u8], step: u64) -> u32 {
        let number = match self.hash {
            OtpHash::Sha1 => hotp::<Hmac<Sha1>>(secret, step),
            OtpHash::Sha256 => hotp::<Hmac<Sha256>>(secret, step),
        };
        number % 10_u32.pow(u32::from(self.digits.min(9)))
    }

    /// The step, of the one at this time and its neighbours, whose password was given. All three are compared, whichever
    /// is right.
    ///
    /// The caller has to see that each step is used once: [`verify`](super::verify) refuses a step that is not later than
    /// the last.
    pub fn find(&self, secret: &[u8], password: u32, time_ms: u64) -> Option<u64> {
        let now = self.step_at(time_ms);
        let (mut found, mut right) = (0, Choice::from(0));
        for step in [now.saturating_sub(1), now, now.saturating_add(1)] {
            let same = self.password(secret, step).to_be_bytes().ct_eq(&password.to_be_bytes());
            found = if bool::from(same) { step } else { found };
            right |= same;
        }
        bool::from(right).then_some(found)
    }
}

/// RFC 4226, section 5.3: four bytes from where the last nibble points, without the sign.
fn hotp<M: Mac + KeyInit>(secret: &[u8], step: u64) -> u32 {
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(secret) else {
        // HMAC takes keys of any length.
        return 0;
    };
    mac.update(&step.to_be_bytes());
    let output = mac.finalize().into_bytes();
    let offset = usize::from(output.last().map_or(0, |last| last & 0xf));
    let four = output.iter().skip(offset).take(4).fold(0, |number, byte| (number << 8) | u32::from(*byte));
    four & 0x7fff_ffff
}

pub(super) fn verify(
    context: &Context<'_>,
    generator: &Otp,
    challenge: &Hash,
    blob: &[u8],
    found: Claims,
) -> Result<Claims, Reason> {
    let statement = Statement::parse(blob)?;
    if statement.challenge != *challenge {
        return Err(Reason::Challenge);
    }
    check_time(statement.checked_ms, context.entry_ms)?;
    if generator.step_at(statement.checked_ms).abs_diff(statement.step) > 1 {
        return Err(Reason::Time);
    }
    // A password is good once.
    check_count(statement.step, context.last_count)?;
    Ok(Claims { made_ms: Some(statement.checked_ms), count: Some(statement.step), ..found })
}
