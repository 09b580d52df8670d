//! One joint signature of provider (participant 1) and user (participant 2), computed once by each.
//!
//! ```text
//! B     = id1 || D1 || E1 || id2 || D2 || E2
//! rho_i = H1(PK || H4(M) || H5(B) || id_i)            R_i = D_i + rho_i E_i        R = R_1 + R_2
//! z_i   = d_i + rho_i e_i + lambda_i c s_i            lambda_1 = 2, lambda_2 = -1
//! ```
//! RFC 9591, section 5: <https://www.rfc-editor.org/rfc/rfc9591#section-5>. The lists, factors and
//! coefficients come from `frost-core`. The share itself is computed here, on secrets that are
//! wiped: the library's key package would keep the user's public share, which is a way to test PINs.

use alloc::collections::BTreeMap;

use frost_core::round1::{NonceCommitment, SigningCommitments};
use frost_core::{Ciphersuite, Identifier, SigningPackage, VerifyingKey};
use p256_frost::elliptic_curve::PrimeField;
use p256_frost::{ProjectivePoint, Scalar};
use zeroize::Zeroizing;

use crate::challenge::Commitment;
use crate::point;
use crate::profile::Profile;
use crate::secret::SecretScalar;
use crate::suite::reduce;

/// The commitments cancel each other out: no honest pair does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Degenerate;

/// Who computes a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Participant {
    Provider,
    User,
}

impl Participant {
    fn id<C: Ciphersuite>(self) -> Result<Identifier<C>, Degenerate> {
        Identifier::try_from(match self {
            Participant::Provider => 1,
            Participant::User => 2,
        })
        .map_err(|_| Degenerate)
    }
}

/// A pair of nonces. Used up by [`Joint::sign`].
pub(crate) struct Nonces {
    hiding: SecretScalar,
    binding: SecretScalar,
    commitment: Commitment,
}

impl Nonces {
    pub(crate) fn new(hiding: SecretScalar, binding: SecretScalar) -> Self {
        let commit = |nonce: &SecretScalar| match point::encode(&(ProjectivePoint::GENERATOR * nonce.expose())) {
            Some(commitment) => commitment,
            None => unreachable!("a hash is the zero scalar once in 2^256"),
        };
        let commitment = Commitment::of(&commit(&hiding), &commit(&binding));
        match commitment {
            Some(commitment) => Nonces { hiding, binding, commitment },
            None => unreachable!("what was encoded just now decodes"),
        }
    }

    pub(crate) const fn commitment(&self) -> &Commitment {
        &self.commitment
    }
}

/// What one participant adds.
struct Side {
    rho: Scalar,
    lambda: Scalar,
    r: ProjectivePoint,
}

/// The public side of one joint signature.
pub(crate) struct Joint {
    key: ProjectivePoint,
    r: ProjectivePoint,
    c: [u8; 32],
    challenge: Scalar,
    provider: Side,
    user: Side,
}

impl Joint {
    pub(crate) fn new<P: Profile>(
        key: &ProjectivePoint,
        provider: &Commitment,
        user: &Commitment,
        message: &[u8],
    ) -> Result<Self, Degenerate> {
        let ids = [Participant::Provider.id::<P::Suite>()?, Participant::User.id()?];
        let commitments: BTreeMap<_, _> = ids.into_iter().zip([provider, user].map(frost)).collect();
        let package = SigningPackage::<P::Suite>::new(commitments, message);
        let factors =
            frost_core::compute_binding_factor_list(&package, &VerifyingKey::new(*key), &[]).map_err(|_| Degenerate)?;

        let side = |id: &Identifier<P::Suite>, commitment: &Commitment| {
            let factor = factors.get(id).ok_or(Degenerate)?.serialize();
            let rho = <[u8; 32]>::try_from(factor).map_err(|_| Degenerate)?;
            let rho = Option::<Scalar>::from(Scalar::from_repr(rho.into())).ok_or(Degenerate)?;
            let lambda = frost_core::derive_interpolating_value(id, &package).map_err(|_| Degenerate)?;
            let r = *commitment.hiding() + *commitment.binding() * rho;
            Ok(Side { rho, lambda, r })
        };
        let [provider_id, user_id] = &ids;
        let provider = side(provider_id, provider)?;
        let user = side(user_id, user)?;
        let r = provider.r + user.r;
        let c = P::challenge(&r, key, message).map_err(|_| Degenerate)?;
        Ok(Joint { key: *key, r, challenge: reduce(&c), c, provider, user })
    }

    /// The challenge as the record carries it.
    pub(crate) const fn c(&self) -> &[u8; 32] {
        &self.c
    }

    const fn side(&self, who: Participant) -> &Side {
        match who {
            Participant::Provider => &self.provider,
            Participant::User => &self.user,
        }
    }

    /// A signature share. The nonces are gone afterwards.
    pub(crate) fn sign(&self, who: Participant, nonces: Nonces, share: &SecretScalar) -> SecretScalar {
        let side = self.side(who);
        let bound = Zeroizing::new(side.rho * nonces.binding.expose());
        let keyed = Zeroizing::new(side.lambda * self.challenge * share.expose());
        SecretScalar::new(*nonces.hiding.expose() + *bound + *keyed)
    }

    /// Whether `z` is the share of the one whose public share this is.
    pub(crate) fn verify_share(&self, who: Participant, z: &SecretScalar, public_share: &ProjectivePoint) -> bool {
        let side = self.side(who);
        // The same in points as the public share itself, c being public.
        let keyed = Zeroizing::new(*public_share * (side.lambda * self.challenge));
        let expected = Zeroizing::new(side.r + *keyed);
        let found = Zeroizing::new(ProjectivePoint::GENERATOR * z.expose());
        *found == *expected
    }

    /// The response of the joint signature, if it verifies.
    pub(crate) fn combine(&self, first: &SecretScalar, second: &SecretScalar) -> Option<[u8; 32]> {
        let z = *first.expose() + second.expose();
        let holds = ProjectivePoint::GENERATOR * z == self.r + self.key * self.challenge;
        holds.then(|| z.to_bytes().into())
    }
}

fn frost<C: Ciphersuite<Group = frost_p256::P256Group>>(commitment: &Commitment) -> SigningCommitments<C> {
    SigningCommitments::new(NonceCommitment::new(*commitment.hiding()), NonceCommitment::new(*commitment.binding()))
}
