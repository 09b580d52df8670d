//! Sealing to the provider: HPKE in base mode, P-256 / HKDF-SHA256 / AES-128-GCM, one message each.
//!
//! ```text
//! E[33] || ciphertext[N] || tag[16]        RFC 9180; E travels compressed and is hashed uncompressed
//! ```
//! RFC 9180: <https://www.rfc-editor.org/rfc/rfc9180#section-5.1>.
//!
//! Sealing is the library's. Opening starts from a raw ECDH result, because that is all a hardware
//! module gives, and the library has no door there: the key schedule below is checked against it.

use core::fmt;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Nonce};
use hkdf::{Hkdf, HkdfExtract};
use hpke::aead::AesGcm128;
use hpke::kdf::HkdfSha256;
use hpke::kem::DhP256HkdfSha256;
use hpke::{Deserializable, Kem, OpModeS, Serializable};
use rand_core::CryptoRng;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::kem_key::{Agreed, KemPublicKey};
use crate::point::Encoded;

const KEM_SUITE: &[u8] = b"KEM\x00\x10";
const HPKE_SUITE: &[u8] = b"HPKE\x00\x10\x00\x01\x00\x01";

/// A sealed message of N bytes. It is not printed: a copy that lies about is readable to whoever gets
/// the KEM key later.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed<const N: usize> {
    /// The sender's one-time public key.
    pub encapsulated: [u8; 33],
    /// The ciphertext.
    pub ciphertext: [u8; N],
    /// The AES-GCM tag.
    pub tag: [u8; 16],
}

impl<const N: usize> fmt::Debug for Sealed<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(confidential)")
    }
}

/// The message could not be sealed: the library refused a key it had accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message could not be sealed")]
pub struct SealError;

/// The message does not open: sealed to another key, under other additional data, or altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed message does not open")]
pub struct Unopened;

/// Seals a message. Draws 32 bytes.
pub(crate) fn seal<const N: usize>(
    recipient: &KemPublicKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8; N],
    rng: &mut impl CryptoRng,
) -> Result<Sealed<N>, SealError> {
    let recipient =
        <DhP256HkdfSha256 as Kem>::PublicKey::from_bytes(&recipient.uncompressed()).map_err(|_| SealError)?;
    let mut ciphertext = *plaintext;
    let (encapsulated, tag) =
        hpke::single_shot_seal_inout_detached_with_rng::<AesGcm128, HkdfSha256, DhP256HkdfSha256>(
            &OpModeS::Base,
            &recipient,
            info,
            ciphertext.as_mut_slice().into(),
            aad,
            rng,
        )
        .map_err(|_| SealError)?;
    let encapsulated = KemPublicKey::from_uncompressed(&encapsulated.to_bytes()).map_err(|_| SealError)?;
    Ok(Sealed { encapsulated: *encapsulated.as_bytes(), ciphertext, tag: tag.to_bytes().into() })
}

/// Opens a message with what key agreement between `recipient` and the encapsulated key gave.
pub(crate) fn open<const N: usize>(
    recipient: &KemPublicKey,
    agreed: &Agreed,
    info: &[u8],
    aad: &[u8],
    sealed: &Sealed<N>,
) -> Result<Zeroizing<[u8; N]>, Unopened> {
    let sender = KemPublicKey::parse(&sealed.encapsulated).map_err(|_| Unopened)?;

    let dh = extract(KEM_SUITE, &[], b"eae_prk", agreed.expose());
    let mut shared = Zeroizing::new([0; 32]);
    let context = [sender.uncompressed(), recipient.uncompressed()];
    expand(KEM_SUITE, &dh.1, b"shared_secret", &[context.as_flattened()], &mut *shared)?;

    // Base mode: mode 0, no pre-shared key.
    let psk_id = extract(HPKE_SUITE, &[], b"psk_id_hash", b"").0;
    let info = extract(HPKE_SUITE, &[], b"info_hash", info).0;
    let context: [&[u8]; 3] = [&[0], &*psk_id, &*info];
    let schedule = extract(HPKE_SUITE, &*shared, b"secret", b"").1;
    let mut key = Zeroizing::new([0; 16]);
    expand(HPKE_SUITE, &schedule, b"key", &context, &mut *key)?;
    let mut nonce = [0; 12];
    expand(HPKE_SUITE, &schedule, b"base_nonce", &context, &mut nonce)?;

    let mut message = Zeroizing::new(sealed.ciphertext);
    Aes128Gcm::new((&*key).into())
        .decrypt_inout_detached(&Nonce::from(nonce), aad, message.as_mut_slice().into(), &sealed.tag.into())
        .map_err(|_| Unopened)?;
    Ok(message)
}

/// `LabeledExtract`, as the key itself and ready to be expanded.
fn extract(suite: &[u8], salt: &[u8], label: &[u8], ikm: &[u8]) -> (Zeroizing<[u8; 32]>, Hkdf<Sha256>) {
    let mut extract = HkdfExtract::<Sha256>::new(Some(salt));
    for part in [b"HPKE-v1", suite, label, ikm] {
        extract.input_ikm(part);
    }
    let (key, expander) = extract.finalize();
    (Zeroizing::new(key.into()), expander)
}

/// `LabeledExpand`.
fn expand(suite: &[u8], key: &Hkdf<Sha256>, label: &[u8], info: &[&[u8]], out: &mut [u8]) -> Result<(), Unopened> {
    let len = u16::try_from(out.len()).map_err(|_| Unopened)?.to_be_bytes();
    let mut parts: alloc::vec::Vec<&[u8]> = alloc::vec![&len, b"HPKE-v1", suite, label];
    parts.extend_from_slice(info);
    key.expand_multi_info(&parts, out).map_err(|_| Unopened)
}

/// Splits sealed bytes: `E || ciphertext || tag`.
pub(crate) fn parse<const N: usize>(bytes: &[u8]) -> Option<Sealed<N>> {
    let (encapsulated, rest): (&Encoded, _) = bytes.split_first_chunk()?;
    let (ciphertext, rest) = rest.split_first_chunk()?;
    let tag = rest.try_into().ok()?;
    Some(Sealed { encapsulated: *encapsulated, ciphertext: *ciphertext, tag })
}

#[cfg(test)]
mod tests {
    use hpke::OpModeR;
    use scal3::Hash;

    use super::*;
    use crate::kem_key::MasterSecret;

    /// Counts up: enough to seal with in a test, and the same each time.
    struct Counter(u8);

    impl rand_core::TryRng for Counter {
        type Error = core::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(0)
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(0)
        }

        fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
            for byte in out {
                self.0 = self.0.wrapping_add(1);
                *byte = self.0;
            }
            Ok(())
        }
    }

    impl rand_core::TryCryptoRng for Counter {}

    fn refuses(to: &KemPublicKey, with: &Agreed, info: &[u8], aad: &[u8], sealed: &Sealed<41>) {
        assert_eq!(open(to, with, info, aad, sealed).unwrap_err(), Unopened);
    }

    #[test]
    fn what_the_library_opens_from_a_key_we_open_from_an_agreement() {
        let mut rng = Counter(0);
        for round in 0..32u8 {
            let key = MasterSecret::from_bytes([round; 32]).kem_key(&Hash([round; 32]));
            let recipient = key.public_key();
            let (info, aad) = (&[round; 20][..usize::from(round % 20)], &[1, round]);
            let plaintext = [round; 41];
            let sealed = seal(&recipient, info, aad, &plaintext, &mut rng).unwrap();
            assert_ne!(sealed.ciphertext, plaintext);

            let agreed = key.agree(&sealed.encapsulated).unwrap();
            assert_eq!(*open(&recipient, &agreed, info, aad, &sealed).unwrap(), plaintext);

            let secret = key.secret_for_test();
            let secret = <DhP256HkdfSha256 as Kem>::PrivateKey::from_bytes(secret.as_slice()).unwrap();
            let sender = KemPublicKey::parse(&sealed.encapsulated).unwrap().uncompressed();
            let sender = <DhP256HkdfSha256 as Kem>::EncappedKey::from_bytes(&sender).unwrap();
            let theirs = hpke::single_shot_open::<AesGcm128, HkdfSha256, DhP256HkdfSha256>(
                &OpModeR::Base,
                &secret,
                &sender,
                info,
                &[&sealed.ciphertext[..], &sealed.tag].concat(),
                aad,
            );
            assert_eq!(theirs.unwrap(), plaintext);

            let other = MasterSecret::from_bytes([round; 32]).kem_key(&Hash([0xee; 32])).public_key();
            refuses(&other, &agreed, info, aad, &sealed);
            refuses(&recipient, &Agreed::from_bytes([round; 32]), info, aad, &sealed);
            refuses(&recipient, &agreed, b"another purpose entirely", aad, &sealed);
            refuses(&recipient, &agreed, info, &[2, round], &sealed);
            let mut altered = sealed.clone();
            altered.tag[15] ^= 1;
            refuses(&recipient, &agreed, info, aad, &altered);
            let mut altered = sealed.clone();
            altered.encapsulated[0] ^= 1;
            refuses(&recipient, &agreed, info, aad, &altered);
            altered.encapsulated[0] = 5;
            refuses(&recipient, &agreed, info, aad, &altered);
        }
    }
}
