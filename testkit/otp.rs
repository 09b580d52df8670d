//! One-time passwords, and what a server says that saw one.

use scal3::Hash;
use scal3::authenticator::{About, Claims, Otp, OtpHash, Purpose};
use scal3::evidence::otp::{Statement, secret_id};
use scal3::evidence::{Kind, challenge};

use crate::Bound;

/// The secret of one-time passwords, which the server has too.
pub const OTP_SECRET: &[u8] = b"12345678901234567890123456789012";

/// A generator of one-time passwords.
pub fn otp(participant: Hash) -> Claims {
    let otp = Otp { secret: secret_id(OTP_SECRET), hash: OtpHash::Sha256, digits: 6, period_s: 30 };
    Claims { participant, purpose: Purpose::Sign, attestation: "none".into(), about: About::Otp(otp) }
}

/// What a server says that saw the right password.
pub fn vouch(claims: &Claims, bound: &Bound) -> Vec<u8> {
    let challenge = challenge(Kind::Otp, &bound.operation_hash, &bound.participant, &claims.id());
    Statement { challenge, step: bound.now_ms / 30_000, checked_ms: bound.now_ms }.to_bytes()
}
