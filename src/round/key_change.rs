//! A key change, judged at its place: `scal3`'s rules, with the log's own key where no entry has named one yet.

use scal3::entry::{Entry, Kind};
use scal3::key_change::KeyChange;
use scal3::keys::KeyRefusal;
use tlog::tree::LeafIndex;

use super::{Draft, No, OrStop as _, Placed, PlanError};
use crate::ledger::Key;
use crate::submission::AppendError;

impl Draft<'_> {
    /// A key takes another one's place. The same change again is answered with the first: whoever rotates a key may
    /// have been interrupted before learning that it is done.
    pub(super) fn change_keys(&mut self, change: &KeyChange) -> Result<Placed, No> {
        let mut keys = self.standing.keys(self).or_stop()?;
        if let Some(at) = keys.brought(change.role, &change.new.key) {
            return Ok(self.existing(LeafIndex::new(at).map_err(|_| No::Stop(PlanError::TreeFull))?));
        }
        let index = self.next()?;
        let refused = |refusal: KeyRefusal| No::Refused(AppendError::KeyChange(refusal));
        keys.change(self.standing.origin(), change, index.get()).map_err(refused)?;
        let entry = Entry::public(Kind::Key, self.time_ms, change.to_bytes());
        let placed = self.push(&entry, None)?;
        self.set(Key::Keys, keys.to_bytes());
        self.frozen = keys.frozen();
        Ok(placed)
    }
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::signature::Signer as _;
    use p256::ecdsa::{Signature, SigningKey};
    use scal3::key_change::{Role, SignedKey, change_hash};
    use scal3::keys::Keys;

    use super::super::tests::{Known, draw, tip};
    use super::super::{Ask, Candidate, Round, plan};
    use super::*;
    use crate::ledger::{Lookup as _, Standing};

    const ORIGIN: &str = "log.example";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_slice(&[seed; 32]).unwrap()
    }

    fn public(key: &SigningKey) -> [u8; 33] {
        key.verifying_key().to_sec1_point(true).as_bytes().try_into().unwrap()
    }

    fn change(role: Role, old: u8, new: u8) -> KeyChange {
        let [old, new] = [old, new].map(key);
        let [old_key, new_key] = [&old, &new].map(|key| public(key).to_vec());
        let hash = change_hash(ORIGIN, role, Some(&old_key), &new_key);
        let sign = |key: &SigningKey| Signature::to_bytes(&key.sign(&hash.0)).to_vec();
        let old = Some(SignedKey { key: old_key, signature: sign(&old) });
        KeyChange { role, old, new: SignedKey { key: new_key, signature: sign(&new) } }
    }

    fn standing() -> Standing {
        let issuing_keys = vec![public(&key(1))];
        Standing::new(scal3::Genesis { origin: ORIGIN.into(), issuing_keys, policy: Vec::new() }).unwrap()
    }

    fn ask(change: KeyChange) -> Candidate {
        Candidate { ask: Ask::KeyChange(Box::new(change)), draw: draw(1) }
    }

    fn round(known: &Known, waiting: Vec<Candidate>) -> Round {
        plan(known, &standing(), &tip(), waiting, 1500).unwrap()
    }

    fn in_force(known: &Known) -> Keys {
        standing().keys(known).unwrap()
    }

    #[test]
    fn a_key_takes_another_ones_place_and_the_same_again_is_the_same() {
        let mut known = Known::default();
        assert_eq!(in_force(&known).issuing()[0].as_bytes(), &public(&key(1)));
        let change = change(Role::Issuing, 1, 2);
        let round = round(&known, vec![ask(change.clone()), ask(change.clone())]);
        assert_eq!(round.entries.len(), 1);
        let [Ok(first), Ok(again)] = &round.outcomes[..] else { panic!("{:?}", round.outcomes) };
        assert_eq!((first.index, first.existing, again.index, again.existing), (again.index, false, first.index, true));
        let entry = Entry::parse(&round.entries[0].bytes).unwrap();
        assert_eq!((entry.kind, entry.body), (Kind::Key, Some(change.to_bytes())));
        assert!(round.entries[0].opening.is_none());
        known.apply(&round);
        assert_eq!(in_force(&known).issuing()[0].as_bytes(), &public(&key(2)));
        assert_eq!(in_force(&known).brought(Role::Issuing, &public(&key(2))), Some(first.index.get()));
        assert!(known.get(&Key::Keys).unwrap().is_some());
    }

    #[test]
    fn nothing_comes_behind_the_entry_that_freezes_the_log() {
        let log = tlog::key::Signer::note(tlog::key::KeyName::new(ORIGIN).unwrap(), &[9; 32]);
        let old = log.vkey().public_key().to_vec();
        let signed = change_hash(ORIGIN, Role::Log, Some(&old), &[]);
        let old = Some(SignedKey { key: old, signature: log.sign_other(&signed.0).to_vec() });
        let nothing = SignedKey { key: Vec::new(), signature: Vec::new() };
        let freeze = KeyChange { role: Role::Log, old, new: nothing.clone() };
        let mut forged = freeze.clone();
        forged.old.as_mut().unwrap().signature[0] ^= 1;
        let mut half = freeze.clone();
        half.new.signature = vec![0; 64];

        let mut known = Known::default();
        let other = change(Role::Issuing, 1, 2);
        let waiting = [forged, half, freeze.clone(), freeze.clone(), other.clone()];
        let round = round(&known, waiting.map(ask).into());
        let [Err(forged), Err(half), Ok(frozen), Ok(again), Err(behind)] = &round.outcomes[..] else {
            panic!("{:?}", round.outcomes)
        };
        assert!(matches!(forged, AppendError::KeyChange(KeyRefusal::Signature)));
        assert!(matches!(half, AppendError::KeyChange(KeyRefusal::Encoding)));
        let at = frozen.index.get();
        assert!(again.existing && again.index == frozen.index);
        assert!(matches!(behind, AppendError::Frozen { at: last } if *last == at));
        assert_eq!(round.entries.len(), 1);
        known.apply(&round);
        assert_eq!(in_force(&known).frozen(), Some(at));
        let later = self::round(&known, vec![ask(other)]);
        assert!(matches!(later.outcomes[..], [Err(AppendError::Frozen { .. })]) && later.entries.is_empty());
    }

    #[test]
    fn what_breaks_the_rules_changes_nothing() {
        let known = Known::default();
        let mut forged = change(Role::Issuing, 1, 2);
        forged.new.signature = change(Role::Issuing, 1, 3).new.signature;
        let waiting = [forged, change(Role::Issuing, 5, 2), change(Role::Log, 1, 2), change(Role::Voucher, 1, 2)];
        let round = round(&known, waiting.map(ask).into());
        let refusals = round.outcomes.iter().map(|outcome| match outcome {
            Err(AppendError::KeyChange(refusal)) => *refusal,
            other => panic!("{other:?}"),
        });
        let expected = [KeyRefusal::Signature, KeyRefusal::NotInForce, KeyRefusal::Encoding, KeyRefusal::Role];
        assert_eq!(refusals.collect::<Vec<_>>(), expected);
        assert!(round.entries.is_empty() && round.changes.is_empty());
    }
}
