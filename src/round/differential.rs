//! What a round takes, the fold takes, and the other way round: both are driven with the same operations, drawn at random.
//!
//! Of each operation the entry that it would get is made by hand. Where the round takes it, it is that entry, and in order to
//! the fold; where the round refuses it, the fold calls it wrong. In logs of which openings are erased, the fold may be in
//! doubt about what the round knows, and never says wrong of what it took.

use std::collections::{BTreeMap, BTreeSet};

use scal3::authenticator::{self, Purpose};
use scal3::credential::Credential;
use scal3::entry::{Entry, Kind};
use scal3::fold::{Fold, Step};
use scal3::genesis::{Genesis, policy_hash};
use scal3::instruction::{CLASS_ADD, CLASS_ADD_AUTHENTICATOR, CLASS_POLICY, CLASS_REVOKE_AUTHENTICATOR, Value};
use scal3::metadata::operation_hash;
use scal3::opening::{self, commitment};
use scal3::seen::SeenOnHistory;
use scal3::status::{Change as StatusDetail, StatusChange};
use scal3::verify::Submitted;
use scal3::{Document, Field, Profile, policies, tagged};
use testkit::{Bound, Card, Passkey, Secret};
use tlog::frontier::Frontier;
use tlog::tree::LeafIndex;
use tlog::{Hash, LeafHash};

use super::tests::{Known, draw};
use super::{Ask, Candidate, Draw, Target, Tip, plan};
use crate::ledger::{Lookup as _, Standing};
use crate::submission::Verified;

#[path = "../scal3/tests/log/mod.rs"]
#[allow(unreachable_pub, reason = "other tests use it from outside")]
mod log;

use log::{Draft, ORIGIN, Person, START_MS};

/// Numbers that look random (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }

    fn once_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Somebody's authenticators, in software.
#[derive(Clone)]
enum Thing {
    Passkey(Passkey),
    Card(Card),
    Otp(authenticator::Claims),
}

impl Thing {
    fn claims(&self) -> &authenticator::Claims {
        match self {
            Thing::Passkey(passkey) => &passkey.claims,
            Thing::Card(card) => &card.claims,
            Thing::Otp(claims) => claims,
        }
    }

    fn evidence(&self, bound: &Bound, count: u32) -> (&'static str, Vec<u8>) {
        match self {
            Thing::Passkey(passkey) => ("webauthn", Passkey { count, ..passkey.clone() }.webauthn(bound)),
            Thing::Card(card) => ("nfc", card.nfc(bound)),
            Thing::Otp(claims) => ("otp", testkit::vouch(claims, bound)),
        }
    }
}

/// A submission, and the entry that it would get.
struct Try {
    name: &'static str,
    /// Whose credential it is about.
    about: Option<Hash>,
    ask: Ask,
    draw: Draw,
    entry: Entry,
    opening: Option<Vec<u8>>,
}

/// A log, planned in rounds, and the fold of it.
struct Twin {
    dice: Dice,
    known: Known,
    standing: Standing,
    tip: Tip,
    fold: Fold,
    time_ms: u64,
    entries: Vec<Vec<u8>>,
    openings: Vec<Option<Vec<u8>>>,
    people: Vec<Person>,
    things: Vec<Thing>,
    documents: Vec<Vec<u8>>,
    challenges: u64,
    erased: bool,
    /// Of each kind of operation, how many were taken and refused.
    seen: BTreeMap<&'static str, (usize, usize)>,
    refusals: BTreeSet<String>,
}

fn people() -> Vec<Person> {
    let mut people: Vec<Person> = ["anna", "bram", "cleo"].map(|name| Person::new(name, Profile::EcSdsa)).into();
    for (name, before) in [("anna's next", 0), ("anna's third", 3), ("bram's next", 1)] {
        let mut next = Person::new(name, Profile::EcSdsa);
        let predecessor: &Person = &people[before];
        next.claims.subject = predecessor.claims.subject;
        next.claims.predecessor = Some(predecessor.id());
        next.claims.ordinal = predecessor.claims.ordinal + 1;
        people.push(next);
    }
    // A phone whose key is that of Bram's passkey.
    let mut dora = Person::new("dora", Profile::EcSdsa);
    let Secret::P256(key) = Secret::p256("1 one") else { unreachable!("P-256") };
    dora.device = *key.as_nonzero_scalar().as_ref();
    dora.claims.device_key = log::public(&dora.device);
    people.push(dora);
    people
}

fn things(people: &[Person]) -> Vec<Thing> {
    let mut things = Vec::new();
    for (number, person) in people.iter().enumerate().take(3) {
        let subject = person.claims.subject;
        let of = |secret| Passkey::new(subject, secret);
        things.push(Thing::Passkey(of(Secret::p256(&format!("{number} one")))));
        things.push(Thing::Passkey(of(Secret::ed25519(&format!("{number} two")))));
        things.push(Thing::Card(Card::new(subject, &format!("{number} card"))));
        // Everybody's passwords have one secret, so only one of them can have it.
        things.push(Thing::Otp(testkit::otp(subject)));
        // The key of the next one, and this person's own phone.
        let next = (number + 1) % 3;
        things.push(Thing::Passkey(of(Secret::p256(&format!("{next} one")))));
        things.push(Thing::Passkey(of(Secret::of_scalar(&person.device))));
        let mut login = of(Secret::p256(&format!("{number} one")));
        login.claims.purpose = Purpose::Login;
        things.push(Thing::Passkey(login));
    }
    things
}

/// Policies that let themselves be changed, and one that nobody can read.
fn documents(people: &[Person]) -> Vec<Vec<u8>> {
    let anna = hex::encode(people[0].claims.subject.0);
    let anybody = r#"{"when":{"class":"policy.change"}}"#;
    [
        format!(
            r#"{{"version":1,"rules":[{{"when":{{"class":"payment"}},"need":{{"kind":"webauthn","uv":true}},"observe":["nfc","otp"]}},
            {{"when":{{"class":"policy.change","subject":"{anna}"}}}},{{"when":{{"class":"policy.change"}},"deny":"no"}}]}}"#
        ),
        format!(
            r#"{{"version":1,"rules":[{{"when":{{"class":"payment"}},"need":{{"any":[{{"kind":"nfc"}},{{"kind":"webauthn"}}]}},"observe":["otp"]}},{anybody}]}}"#
        ),
        format!(r#"{{"version":1,"rules":[{anybody}]}}"#),
        format!(
            r#"{{"version":1,"rules":[{{"when":{{"class":"payment"}},"need":{{"all":[{{"kind":"nfc"}},{{"kind":"otp"}}]}},"high":true}},{anybody}]}}"#
        ),
        r#"{"version":1,"rules":[{"when":{},"need":{"kind":"retina"}}]}"#.to_owned(),
    ]
    .map(String::into_bytes)
    .into()
}

impl Twin {
    fn new(seed: u64) -> Twin {
        let people = people();
        let (things, documents) = (things(&people), documents(&people));
        let genesis = Genesis { policy: documents[0].clone(), ..log::genesis() };
        let entry = Entry::public(Kind::Genesis, START_MS, genesis.to_bytes()).to_bytes();
        let mut frontier = Frontier::new();
        frontier.push(LeafHash::of(&entry)).unwrap();
        Twin {
            dice: Dice(seed),
            known: Known::default(),
            standing: Standing::new(genesis).unwrap(),
            tip: Tip { next: 1, frontier, time_ms: START_MS },
            fold: Fold::start(&entry).unwrap(),
            time_ms: START_MS + 1000,
            entries: vec![entry],
            openings: vec![None],
            people,
            things,
            documents,
            challenges: 0,
            erased: false,
            seen: BTreeMap::new(),
            refusals: BTreeSet::new(),
        }
    }

    fn draw(&mut self) -> Draw {
        let mut drawn = draw(0);
        for part in [&mut drawn.seal, &mut drawn.salt, &mut drawn.status_seal, &mut drawn.status_salt] {
            *part = tagged("test/draw", &(self.dice.below(usize::MAX) as u64).to_be_bytes()).0;
        }
        drawn
    }

    // ---- what may be tried -----------------------------------------------------------------------------------------

    fn attempt(&mut self) -> Option<Try> {
        let who = self.dice.below(self.people.len());
        let person = self.people[who].clone();
        let state = self.known.credential(&person.id()).unwrap();
        let Some(state) = state else { return Some(self.issue(&person)) };
        if state.first_record().is_none() {
            return Some(if self.dice.once_in(4) { self.status(&person) } else { self.record(&person, "activation") });
        }
        match self.dice.below(16) {
            0..=3 => Some(self.record(&person, "payment")),
            4..=6 => Some(self.record(&person, CLASS_ADD_AUTHENTICATOR)),
            7 => Some(self.record(&person, CLASS_REVOKE_AUTHENTICATOR)),
            8 => Some(self.record(&person, CLASS_POLICY)),
            9 => Some(self.record(&person, CLASS_ADD)),
            10 | 11 => Some(self.policy()),
            12 if self.erased => self.erasure(),
            12 if self.dice.once_in(3) => Some(self.issue(&person)),
            _ => Some(self.status(&person)),
        }
    }

    fn record(&mut self, person: &Person, what: &'static str) -> Try {
        let state = self.known.credential(&person.id()).unwrap().unwrap();
        let policies = self.standing.policies(&self.known).unwrap();
        let mut draft = person.next(&state, &self.tip.frontier.head(), *policies.in_force().hash(), self.time_ms);
        self.challenges += 1;
        draft.metadata.challenge = tagged("test/challenge", &self.challenges.to_be_bytes());
        let named = match what {
            CLASS_ADD_AUTHENTICATOR | CLASS_REVOKE_AUTHENTICATOR => {
                Some(("authenticator", self.thing_of(person).claims().id()))
            }
            CLASS_POLICY => Some(("policy", policy_hash(self.dice.pick(&self.documents[..]).as_slice()))),
            CLASS_ADD => Some(("credential", self.dice.pick(&self.people).id())),
            _ => None,
        };
        if let Some((field, id)) = named {
            let field = Field { salt: [9; 16], name: field.into(), value: Value::Bytes(id.0.to_vec()) };
            draft.document = Document { class: what.into(), fields: vec![field] };
            draft.metadata.class = what.into();
        }
        if self.dice.once_in(20) {
            draft.metadata.policy = policy_hash(self.dice.pick(&self.documents[..]).as_slice());
        }
        self.add_evidence(&mut draft, person);
        let opening = draft.opening();
        let (head, root) = (self.fold.head(), draft.metadata.seen_root);
        assert_eq!(head.root, root);
        let signed = Submitted::parse(&opening).unwrap().check(&person.credential(), ORIGIN).unwrap();
        let entry =
            Entry::committed(Kind::Instruction, self.time_ms, *signed.commitment(), Some(draft.metadata.index_key));
        let seen = SeenOnHistory::by_root(signed.seen(), &root).ok();
        let record = Box::new(Verified::of(signed, opening.clone()));
        let draw = self.draw();
        Try {
            name: what,
            about: Some(person.id()),
            ask: Ask::Record { record, seen },
            draw,
            entry,
            opening: Some(opening),
        }
    }

    /// Mostly the person's own.
    fn thing_of(&mut self, person: &Person) -> Thing {
        let own: Vec<Thing> =
            self.things.iter().filter(|thing| thing.claims().participant == person.claims.subject).cloned().collect();
        if own.is_empty() || self.dice.once_in(8) {
            return self.dice.pick(&self.things).clone();
        }
        self.dice.pick(&own).clone()
    }

    fn add_evidence(&mut self, draft: &mut Draft, person: &Person) {
        let payment = draft.metadata.class == "payment";
        let count = if payment { self.dice.below(4) } else { self.dice.below(30) / 29 };
        for _ in 0..count {
            let thing = self.thing_of(person);
            let bound = Bound {
                origin: ORIGIN,
                operation_hash: operation_hash(&draft.metadata.to_bytes(), &draft.document.id()),
                instruction_id: draft.document.id(),
                session: draft.metadata.challenge,
                participant: thing.claims().participant,
                now_ms: self.time_ms,
            };
            // A counter that goes back now and then.
            let counter = self.challenges as u32 + 10 - self.dice.below(3) as u32 * 5;
            let (kind, blob) = thing.evidence(&bound, counter);
            let item = opening::Evidence {
                kind: kind.into(),
                participant: thing.claims().participant,
                authenticator: thing.claims().id(),
                blob,
            };
            draft.evidence.push(item);
        }
    }

    fn issue(&mut self, person: &Person) -> Try {
        let credential: Credential = person.credential();
        let issued = StatusDetail::Issued(credential.as_bytes().to_vec());
        let draw = self.draw();
        let (entry, opening) = self.status_entry(person, &issued, &draw, 0);
        let ask = Ask::Credential { credential: Box::new(credential), kept: None, unvouched: true };
        Try { name: "issued", about: Some(person.id()), ask, draw, entry, opening: Some(opening) }
    }

    fn status_entry(&self, person: &Person, change: &StatusDetail, draw: &Draw, counter: u64) -> (Entry, Vec<u8>) {
        let opening = StatusChange { credential: person.id(), change: change.clone() }.opening(draw.salt).to_bytes();
        let key = scal3::index_key::status_index_key(&person.id(), counter);
        (Entry::committed(Kind::Status, self.time_ms, commitment(&opening), Some(key)), opening)
    }

    fn status(&mut self, person: &Person) -> Try {
        let state = self.known.credential(&person.id()).unwrap().unwrap();
        let thing = self.thing_of(person);
        let (name, change) = match self.dice.below(20) {
            0 => ("suspended", StatusDetail::Suspended("x".into())),
            1 | 2 => ("resumed", StatusDetail::Resumed("x".into())),
            3 if self.dice.once_in(3) => ("revoked", StatusDetail::Revoked("x".into())),
            4 => ("recovered", StatusDetail::Recovered("x".into())),
            5 => ("authenticator added", StatusDetail::AuthenticatorAdded(vec![1])),
            6 | 7 => ("authenticator revoked", StatusDetail::AuthenticatorRevoked(thing.claims().id(), "x".into())),
            _ => ("authenticator added", StatusDetail::AuthenticatorAdded(thing.claims().to_bytes())),
        };
        let draw = self.draw();
        let (entry, opening) = self.status_entry(person, &change, &draw, state.status_counter());
        Try {
            name,
            about: Some(person.id()),
            ask: Ask::Status { credential: person.id(), change },
            draw,
            entry,
            opening: Some(opening),
        }
    }

    fn policy(&mut self) -> Try {
        let document = self.dice.pick(&self.documents).clone();
        let entry = policies::entry(self.time_ms, &document);
        Try { name: "policy", about: None, ask: Ask::Policy(document), draw: self.draw(), entry, opening: None }
    }

    /// An opening that is still there, if it may go.
    fn erasure(&mut self) -> Option<Try> {
        let index = self.dice.below(self.entries.len());
        let kind = Entry::parse(&self.entries[index]).unwrap().kind;
        let target = Target::of(kind, Some(self.openings[index].as_ref()?));
        let draw = self.draw();
        let index = LeafIndex::new(index as u64).unwrap();
        let opening = scal3::erasure::Erasure { index: index.get(), reason: "x".into() }.opening(draw.salt).to_bytes();
        let entry = Entry::committed(Kind::Erasure, self.time_ms, commitment(&opening), None);
        let ask = Ask::Erasure { index, reason: "x".into(), target };
        Some(Try { name: "erasure", about: None, ask, draw, entry, opening: Some(opening) })
    }

    // ---- and what becomes of it ------------------------------------------------------------------------------------

    /// One to three in one round.
    fn turn(&mut self) {
        self.time_ms += match self.dice.below(40) {
            0 => 86_400_001,
            1..=4 => 3_600_000,
            _ => 1000,
        };
        let mut tries: Vec<Try> = (0..1 + self.dice.below(3)).filter_map(|_| self.attempt()).collect();
        // The second of one credential would have another entry than the one that was made by hand before.
        let mut about = BTreeSet::new();
        tries.retain(|tried| tried.about.is_none_or(|id| about.insert(id)));
        let (waiting, tried): (Vec<Candidate>, Vec<_>) = tries
            .into_iter()
            .map(|Try { name, ask, draw, entry, opening, .. }| (Candidate { ask, draw }, (name, entry, opening)))
            .unzip();
        let round = plan(&self.known, &self.standing, &self.tip, waiting, self.time_ms).unwrap();
        let mut planned = round.entries.iter().peekable();
        for ((name, entry, opening), outcome) in tried.into_iter().zip(&round.outcomes) {
            let count = self.seen.entry(name).or_default();
            match outcome {
                Ok(placed) if !placed.existing => {
                    count.0 += 1;
                    let first = planned.next().expect("an entry for it");
                    assert_eq!(first.bytes, entry.to_bytes(), "{name}");
                    self.append(name, first);
                    // A first record has its activation behind it.
                    let activation = |next: &&&super::Planned| {
                        name == "activation" && Entry::parse(&next.bytes).unwrap().kind == Kind::Status
                    };
                    if planned.peek().filter(activation).is_some() {
                        self.append("activated", planned.next().expect("looked at"));
                    }
                }
                refused => {
                    count.1 += 1;
                    if let Err(refusal) = refused {
                        self.refusals.insert(refusal.to_string());
                    }
                    if !self.erased {
                        let step = self.fold.clone().apply(&entry.to_bytes(), opening.as_deref()).unwrap();
                        assert!(matches!(step, Step::Wrong(_)), "{name}: {refused:?}, and the fold takes it: {step:?}");
                    }
                }
            }
        }
        assert!(planned.next().is_none());
        self.known.apply(&round);
        for index in &round.erased {
            self.openings[usize::try_from(index.get()).unwrap()] = None;
        }
        self.tip = Tip { next: round.number + 1, frontier: round.frontier, time_ms: round.time_ms };
        assert_eq!(self.tip.frontier.head(), self.fold.head());
    }

    fn append(&mut self, name: &str, planned: &super::Planned) {
        let opening = planned.opening.as_ref().map(|(opening, _)| opening.clone());
        let step = self.fold.apply(&planned.bytes, opening.as_deref()).unwrap();
        let in_order = matches!(step, Step::Instruction(_) | Step::Status(_) | Step::Policy(_) | Step::Other(_));
        assert!(in_order, "{name} at {}: {step:?}", self.entries.len());
        self.entries.push(planned.bytes.clone());
        self.openings.push(opening);
    }

    /// Both have come to the same.
    fn agree(&self) {
        assert_eq!(*self.standing.policies(&self.known).unwrap().as_ref(), *self.fold.policies());
        for own in self.fold.all_authenticators() {
            assert_eq!(self.known.authenticators(own.participant()).unwrap().as_ref(), Some(own));
        }
        for (id, state) in self.fold.credentials() {
            assert_eq!(self.known.credential(id).unwrap().as_ref(), Some(state));
        }
    }

    /// Whoever reads the log when openings are gone calls nothing in it wrong.
    fn read_again(&self) {
        let mut fold = Fold::start(&self.entries[0]).unwrap();
        for (at, (entry, opening)) in self.entries.iter().zip(&self.openings).enumerate().skip(1) {
            let step = fold.apply(entry, opening.as_deref()).unwrap();
            assert!(!matches!(step, Step::Wrong(_)), "entry {at}: {step:?}");
        }
        assert_eq!(fold.policy(), self.fold.policy());
        // What is certain to it is so.
        for own in fold.all_authenticators() {
            let known = self.known.authenticators(own.participant()).unwrap();
            assert!(known.is_some(), "authenticators of nobody");
        }
    }
}

/// Drives a log, and gives how often each operation was taken and refused.
fn drive(seed: u64, turns: usize, erased: bool) -> (BTreeMap<&'static str, (usize, usize)>, BTreeSet<String>) {
    let mut twin = Twin::new(seed);
    twin.erased = erased;
    for _ in 0..turns {
        twin.turn();
    }
    twin.agree();
    if erased {
        twin.read_again();
    }
    (twin.seen, twin.refusals)
}

#[test]
fn r0_07_what_a_round_takes_the_fold_takes_and_the_other_way_round() {
    let mut seen: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut refusals = BTreeSet::new();
    for seed in 0..6 {
        let (counts, refused) = drive(seed, 250, false);
        for (name, (taken, not)) in counts {
            let all = seen.entry(name).or_default();
            *all = (all.0 + taken, all.1 + not);
        }
        refusals.extend(refused);
    }
    // Nothing of this may pass because nothing of it happened.
    for (name, (taken, refused)) in &seen {
        assert!(*taken > 0 && *refused > 0, "{name}: {taken} taken, {refused} refused");
    }
    let names: Vec<&str> = seen.keys().copied().collect();
    for name in
        ["payment", CLASS_ADD_AUTHENTICATOR, CLASS_POLICY, "policy", "authenticator added", "authenticator revoked"]
    {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let told = |words: &str| refusals.iter().any(|refusal| refusal.contains(words));
    for words in ["key is known", "no record speaks", "another participant", "no instruction speaks", "can't be read"] {
        assert!(told(words), "{words}: {refusals:#?}");
    }
}

#[test]
fn what_a_round_takes_nobody_calls_wrong_when_openings_are_gone() {
    for seed in 100..106 {
        let (seen, _) = drive(seed, 250, true);
        assert!(seen.get("erasure").is_some_and(|(erased, _)| *erased > 0), "{seen:?}");
    }
}
