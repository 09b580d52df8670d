//! A provider in memory that speaks the contract over real HTTP: both halves of the cryptography, a log that the fold of
//! `scal3` judges entry by entry, and a hook through which every answer can be made a lie.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes as Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use client::base64::Bytes;
use client::provider::{Patience, Provider};
use client::subscriber::Trust;
use client::wire::{
    AuthoriseRequest, EnrolRequest, Exactly, Hex, IntentRequest, Invitation, InviteRequest, StopRequest,
};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use scal3::event::{Detail, Event, StreamPlace};
use scal3::fold::{Fold, Step};
use scal3::index_key::{LabelSecret, Stream, status_index_key};
use scal3::instruction::{CLASS_ACTIVATE, CLASS_ADD, Presented, Value as FieldValue};
use scal3::point::Point;
use scal3::request::{self, Enrolling as Enrolment, Stop, intent_hash, stop_hash};
use scal3::verify::Submitted;
use scal3::{
    Change, Claims, Credential, Entry, Genesis, Hash, Kind, Metadata, Opening, OtherOpening, Profile, StatusChange,
};
use serde_json::{Value, json};
use threshold::provider::Fault;
use threshold::{
    Enrolling, Keys, MasterSecret, NonceSeed, Operation, Pass, Profile as Form, Profile1, Profile2, ProviderShare,
    Session, Shares,
};
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::key::{KeyName, Signer};
use tlog::note::Note;
use tlog::policy::Policy;
use tlog::proof_file::ProofFile;
use tlog::{ConsistencyProof, InclusionProof, LeafHash, LeafIndex, Nodes, TreeHead, TreeSize};

pub const ORIGIN: &str = "log.example/people";
pub const TOKEN: &str = "slt_backend";
pub const START_MS: u64 = 1_770_000_000_000;
const POLICY: &[u8] = scal3::policy::TWO_FACTORS;

/// What an answer is turned into: the log after it was made, the route, and the answer.
pub type Hook = Box<dyn FnMut(&mut Log, &str, &mut Value) + Send>;

/// What claims are turned into before they are signed.
pub type ClaimsHook = Box<dyn Fn(&mut Claims) + Send>;

/// What becomes of a pass.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Fate {
    /// It is answered.
    #[default]
    Answered,
    /// The log takes it, and the answer gets lost.
    AnswerLost,
    /// It is put aside, and the device hears nothing.
    PutAside,
    /// It is put aside, and the device hears that its PIN is wrong.
    Refused,
}

#[derive(Default)]
pub struct Spoilt {
    /// Changes answers.
    pub hook: Option<Hook>,
    /// Changes claims before they are signed.
    pub claims: Option<ClaimsHook>,
    /// Issues credentials without logging them.
    pub unlogged: bool,
    /// Signs credentials with another key.
    pub stranger: bool,
    /// What becomes of passes.
    pub fate: Fate,
}

/// The provider's server.
pub struct Site {
    pub url: String,
    pub log: Arc<Mutex<Log>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Site {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Site {
    pub async fn open() -> Site {
        let log = Arc::new(Mutex::new(Log::new()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().fallback(serve).with_state(Arc::clone(&log));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Site { url, log, task }
    }

    pub fn provider(&self) -> Provider {
        let patience = Patience {
            wait: Duration::from_millis(2),
            publish: Duration::from_millis(100),
            tries: 2,
            ..Patience::default()
        };
        Provider::new(&self.url, patience).unwrap()
    }

    pub fn trust(&self) -> Trust {
        let log = self.log.lock().unwrap();
        let policy = Policy::parse(format!("log {}\nquorum none\n", log.signer.vkey())).unwrap();
        Trust { origin: ORIGIN.to_owned(), provider: log.provider(), policy }
    }

    pub async fn invite(&self, predecessor: Option<Hash>) -> Invitation {
        let token = client::provider::Token::bearer(TOKEN).unwrap();
        self.provider().invite(&token, predecessor.as_ref()).await.unwrap()
    }

    pub fn spoil(&self, change: impl FnOnce(&mut Spoilt)) {
        change(&mut self.log.lock().unwrap().spoilt);
    }

    /// Every answer on this route is changed so.
    pub fn lie(&self, route: &'static str, mut change: impl FnMut(&mut Value) + Send + 'static) {
        self.when(route, move |_, answer| change(answer));
    }

    /// This happens with every answer on this route, after it was made and before it is sent.
    pub fn when(&self, route: &'static str, mut change: impl FnMut(&mut Log, &mut Value) + Send + 'static) {
        let hook: Hook = Box::new(move |log, at, answer| {
            if at == route {
                change(log, answer);
            }
        });
        self.spoil(|spoilt| spoilt.hook = Some(hook));
    }

    pub fn honest(&self) {
        self.spoil(|spoilt| *spoilt = Spoilt::default());
    }
}

/// A person, as the provider knows them.
pub struct Account {
    pub claims: Claims,
    credential: Vec<u8>,
    shares: Shares,
    label_secret: LabelSecret,
    pub sequence: u64,
    previous: Hash,
    statuses: u64,
    pub events: u64,
    pub last_event: Hash,
    vouched: Vec<Hash>,
    failures: u64,
}

struct Ticket {
    predecessor: Option<Hash>,
    credential: Option<(Hash, Vec<u8>)>,
}

struct Challenge {
    credential: Hash,
    seed: NonceSeed,
    random: [u8; 32],
    presented: Presented,
}

pub struct Log {
    pub signer: Signer,
    issuing: SigningKey,
    stranger: SigningKey,
    master: MasterSecret,
    pub entries: Vec<Vec<u8>>,
    openings: Vec<Option<Vec<u8>>>,
    index: BTreeMap<Hash, u64>,
    tokens: BTreeMap<Hash, [u8; 32]>,
    pub fold: Fold,
    /// Whether it appends what should not be in a log: the fold counts that as a leaf and no more.
    pub lies: bool,
    pub accounts: BTreeMap<Hash, Account>,
    tickets: BTreeMap<Hash, Ticket>,
    challenges: BTreeMap<Hash, Challenge>,
    put_aside: Vec<(Hash, Vec<u8>)>,
    pub now_ms: u64,
    pub spoilt: Spoilt,
    /// Every request: its route.
    pub asked: Vec<String>,
}

pub type Refusal = (u16, &'static str);
type Answer = Result<Value, Refusal>;

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

fn sign(key: &SigningKey, message: &[u8]) -> [u8; 64] {
    let signature: Signature = key.sign(message);
    signature.to_bytes().into()
}

fn public(key: &SigningKey) -> [u8; 33] {
    key.verifying_key().to_sec1_point(true).as_bytes().try_into().unwrap()
}

fn b64(bytes: impl AsRef<[u8]>) -> Value {
    serde_json::to_value(Bytes(bytes.as_ref().to_vec())).unwrap()
}

/// The leaves of a log, and every node over them, worked out anew each time.
struct Leaves<'a>(&'a [Vec<u8>]);

impl Nodes for Leaves<'_> {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        match level {
            0 => Ok(Hash(LeafHash::of(&self.0[index as usize]).0)),
            _ => Ok(Hash::node(&self.node(level - 1, 2 * index)?, &self.node(level - 1, 2 * index + 1)?)),
        }
    }
}

impl Log {
    fn new() -> Log {
        let issuing = SigningKey::from_slice(&[7; 32]).unwrap();
        let genesis = Genesis { origin: ORIGIN.into(), issuing_keys: vec![public(&issuing)], policy: POLICY.to_vec() };
        let entry = Entry::public(Kind::Genesis, START_MS, genesis.to_bytes()).to_bytes();
        Log {
            signer: Signer::note(KeyName::new(ORIGIN).unwrap(), &[9; 32]),
            issuing,
            stranger: SigningKey::from_slice(&[8; 32]).unwrap(),
            master: MasterSecret::from_bytes([6; 32]),
            fold: Fold::start(&entry).unwrap(),
            lies: false,
            entries: vec![entry],
            openings: vec![None],
            index: BTreeMap::new(),
            tokens: BTreeMap::new(),
            accounts: BTreeMap::new(),
            tickets: BTreeMap::new(),
            challenges: BTreeMap::new(),
            put_aside: Vec::new(),
            now_ms: START_MS,
            spoilt: Spoilt::default(),
            asked: Vec::new(),
        }
    }

    pub fn provider(&self) -> Hash {
        scal3::credential::provider_id(&public(&self.issuing))
    }

    fn head(&self, size: usize) -> TreeHead {
        let size = TreeSize::new(size as u64).unwrap();
        TreeHead { size, root: tlog::root_at(&Leaves(&self.entries), size).unwrap() }
    }

    pub fn checkpoint(&self, head: TreeHead) -> Note {
        Note::sign(&Checkpoint::new(Origin::new(ORIGIN).unwrap(), head).to_text(), &self.signer).unwrap()
    }

    pub fn newest(&self) -> Note {
        self.checkpoint(self.head(self.entries.len()))
    }

    pub fn checkpoint_at(&self, size: usize) -> Note {
        self.checkpoint(self.head(size))
    }

    /// Appends an entry that the fold takes for good.
    fn append(&mut self, kind: Kind, opening: Vec<u8>, index_key: Hash, token: [u8; 32]) -> Result<u64, Refusal> {
        let commitment = scal3::opening::commitment(&opening);
        let entry = Entry::committed(kind, self.now_ms, commitment, Some(index_key)).to_bytes();
        let mut after = self.fold.clone();
        match after.apply(&entry, Some(&opening)).unwrap() {
            Step::Wrong(wrong) if !self.lies => {
                eprintln!("not appended: {wrong}");
                return Err((409, "conflict"));
            }
            step => assert!(!matches!(step, Step::Unopened(_) | Step::InDoubt(_) | Step::Bridged { .. })),
        }
        self.fold = after;
        let index = self.entries.len() as u64;
        self.entries.push(entry);
        self.openings.push(Some(opening));
        self.index.insert(index_key, index);
        self.tokens.insert(index_key, token);
        Ok(index)
    }

    fn status(&mut self, id: &Hash, change: Change) -> Result<u64, Refusal> {
        let account = self.accounts.get_mut(id).ok_or((404, "no-such-credential"))?;
        let index_key = status_index_key(id, account.statuses);
        let token = *account.label_secret.read_token(&index_key).expose();
        let opening = StatusChange { credential: *id, change }.opening(random()).to_bytes();
        let index = self.append(Kind::Status, opening, index_key, token)?;
        self.accounts.get_mut(id).unwrap().statuses += 1;
        Ok(index)
    }

    /// Writes an entry into stream 1.
    pub fn event(&mut self, id: &Hash, kind: Kind, name: &str, detail: Detail) {
        let account = self.accounts.get_mut(id).unwrap();
        let index_key =
            account.label_secret.stream_key(&account.claims.enrolment_id, Stream::Provider).index_key(account.events);
        let token = *account.label_secret.read_token(&index_key).expose();
        let place = StreamPlace { credential: *id, counter: account.events, previous: account.last_event };
        let body = Event { name: name.into(), stream: Some(place), detail }.to_body();
        let opening = OtherOpening { kind, salt: random(), body }.to_bytes();
        account.events += 1;
        account.last_event = scal3::opening::commitment(&opening);
        self.append(kind, opening, index_key, token).unwrap();
    }

    /// Does as if an entry of stream 1 were not there.
    pub fn hide_event(&mut self, id: &Hash, counter: u64) -> (Hash, u64) {
        let account = &self.accounts[id];
        let stream = account.label_secret.stream_key(&account.claims.enrolment_id, Stream::Provider);
        self.index.remove_entry(&stream.index_key(counter)).unwrap()
    }

    pub fn unhide(&mut self, (index_key, index): (Hash, u64)) {
        self.index.insert(index_key, index);
    }

    fn appended(&self, index: u64, existing: bool) -> Value {
        let entry = &self.entries[index as usize];
        json!({
            "index": index, "existing": existing, "reached": "integrated", "time_ms": self.now_ms,
            "entry": b64(entry), "leaf_hash": b64(LeafHash::of(entry).0), "receipt": format!("/v1/receipts/{index}"),
        })
    }

    fn invite(&mut self, body: &InviteRequest) -> Answer {
        let id = Hash(random());
        self.tickets.insert(id, Ticket { predecessor: body.predecessor.map(|id| id.0), credential: None });
        let invitation = Invitation {
            enrolment_id: Hex(id),
            origin: ORIGIN.to_owned(),
            issuer: "Example".to_owned(),
            provider: Hex(self.provider()),
            kem_key: Exactly(*self.master.kem_key(&id).public_key().as_bytes()),
            ticket: Bytes(id.0.to_vec()),
            expires_ms: self.now_ms + 600_000,
            registration: None,
        };
        Ok(serde_json::to_value(invitation).unwrap())
    }

    fn enrol(&mut self, id: Hash, body: &EnrolRequest) -> Answer {
        let ticket = self.tickets.get(&id).filter(|_| body.ticket.0 == id.0).ok_or((403, "ticket-refused"))?;
        let predecessor = ticket.predecessor;
        let (credential, bytes) = match &ticket.credential {
            Some(made) => made.clone(),
            None => self.make_credential(id, predecessor, body)?,
        };
        self.tickets.get_mut(&id).unwrap().credential = Some((credential, bytes.clone()));
        let answer = |issued: Value| json!({"credential": b64(&bytes), "claims": null, "id": credential.to_hex(), "issued": issued});
        if let Some(issued) = self.index.get(&status_index_key(&credential, 0)) {
            return Ok(answer(self.appended(*issued, true)));
        }
        if self.spoilt.unlogged {
            return Ok(answer(self.appended(0, false)));
        }
        if predecessor.is_some_and(|before| !self.accounts[&before].vouched.contains(&credential)) {
            let credential = Credential::from_own_store(&bytes).unwrap();
            let claims = b64(credential.claims().to_bytes());
            let (credential, id) = (Value::Null, credential.id().to_hex());
            return Ok(json!({"credential": credential, "claims": claims, "id": id, "issued": null}));
        }
        let index = self.status(&credential, Change::Issued(bytes.clone()))?;
        self.event(&credential, Kind::Event, "enrolment.kept", Detail::Bytes(vec![1; 64]));
        Ok(answer(self.appended(index, false)))
    }

    fn make_credential(
        &mut self,
        id: Hash,
        predecessor: Option<Hash>,
        body: &EnrolRequest,
    ) -> Result<(Hash, Vec<u8>), Refusal> {
        let refused = |_| (422, "enrolment-refused");
        let shares =
            Shares::parse(&[&body.blinded.0[..], &body.sealed.0].concat()).ok_or((422, "enrolment-refused"))?;
        let label_secret = LabelSecret::from_bytes(body.label_secret.0);
        let labels = [Stream::Own, Stream::Provider].map(|stream| label_secret.stream_key(&id, stream).label());
        let profile = Profile::new(body.profile).ok_or((422, "enrolment-refused"))?;
        let proven = Enrolment {
            origin: ORIGIN,
            enrolment_id: &id,
            profile,
            joint_key: &body.joint_key.0,
            shares: &shares.hash(),
            device_key: &body.device.key.0,
            labels: &labels,
        };
        let device = Point::parse(&body.device.key.0).map_err(|_| (422, "enrolment-refused"))?;
        request::verify(&proven.hash(), &device, None, &body.device.proof.0).map_err(|_| (422, "enrolment-refused"))?;
        let context = Enrolling { origin: ORIGIN, enrolment_id: &id, device_key: &body.device.key.0 };
        match profile {
            Profile::EcSdsa | Profile::Passkey => {
                self.share::<Profile1>(&context, &body.joint_key.0, &shares).map(|_| ())
            }
            Profile::Transcript => self.share::<Profile2>(&context, &body.joint_key.0, &shares).map(|_| ()),
        }
        .map_err(refused)?;
        let before = predecessor.map(|id| self.accounts[&id].claims.clone());
        let mut claims = Claims {
            origin: ORIGIN.into(),
            provider: self.provider(),
            issuer: "Example".into(),
            enrolment_id: id,
            subject: before.as_ref().map_or_else(|| Hash(random()), |before| before.subject),
            profile,
            joint_key: body.joint_key.0,
            device_key: body.device.key.0,
            shares: shares.hash(),
            passkey: None,
            kem_key_id: self.master.kem_key(&id).public_key().id(),
            labels,
            attestation: "software".into(),
            not_before_ms: START_MS - 60_000,
            not_after_ms: START_MS + 365 * 86_400_000,
            predecessor,
            ordinal: before.map_or(0, |before| before.ordinal + 1),
        };
        if let Some(change) = &self.spoilt.claims {
            change(&mut claims);
        }
        let key = if self.spoilt.stranger { &self.stranger } else { &self.issuing };
        let bytes = claims.with_signature(&sign(key, &claims.to_be_signed()));
        let credential = claims.id();
        let account = Account {
            claims,
            credential: bytes.clone(),
            shares,
            label_secret,
            sequence: 0,
            previous: credential,
            statuses: 0,
            events: 0,
            last_event: credential,
            vouched: Vec::new(),
            failures: 0,
        };
        self.accounts.insert(credential, account);
        Ok((credential, bytes))
    }

    fn share<P: Form>(
        &self,
        context: &Enrolling<'_>,
        joint_key: &[u8; 33],
        shares: &Shares,
    ) -> Result<ProviderShare<P>, threshold::OpenError> {
        let kem = self.master.kem_key(context.enrolment_id);
        let enrolment = threshold::Enrolment::<P>::from_parts(*joint_key, shares.clone(), kem.public_key().id());
        let agreed = kem.agree(shares.encapsulated()).unwrap();
        ProviderShare::open(context, &enrolment, &kem.public_key(), &agreed)
    }

    fn intent(&mut self, body: &IntentRequest) -> Answer {
        let account = self.accounts.get(&body.credential.0).ok_or((404, "no-such-credential"))?;
        let presented = Presented::parse(&body.instruction.0).map_err(|_| (422, "pass-refused"))?;
        let instruction_id = presented.id().map_err(|_| (422, "pass-refused"))?;
        let device = Point::parse(&account.claims.device_key).unwrap();
        let by = body.device.as_ref().ok_or((401, "token-missing"))?;
        let hash = intent_hash(ORIGIN, &body.credential.0, &instruction_id, by.time_ms);
        request::verify(&hash, &device, None, &by.signature.0).map_err(|_| (403, "token-refused"))?;
        if (account.sequence == 0) != (presented.class == CLASS_ACTIVATE) {
            return Err((403, "credential-inactive"));
        }
        let (seed, random) = (NonceSeed::from_bytes(random()), random());
        let commitment = match account.claims.profile {
            Profile::EcSdsa | Profile::Passkey => seed.commitment::<Profile1>(),
            Profile::Transcript => seed.commitment::<Profile2>(),
        };
        let id = *Session::new(&body.credential.0, &random, &commitment).challenge();
        let note = self.newest();
        let head = self.head(self.entries.len());
        let answer = json!({
            "id": id.to_hex(), "instruction_id": instruction_id.to_hex(),
            "challenge": {"random": b64(random), "commitment": b64(commitment.as_bytes()), "expires_ms": self.now_ms + 120_000},
            "metadata": {"origin": ORIGIN, "provider": self.provider().to_hex(), "credential": body.credential.0.to_hex(),
                "sequence": account.sequence, "previous": account.previous.to_hex(),
                "policy": scal3::genesis::policy_hash(POLICY).to_hex(), "class": presented.class},
            "needs": [],
            "head": {"size": head.size.get(), "root": b64(head.root.0), "checkpoint": note.to_text()},
            "time_ms": self.now_ms,
        });
        self.challenges.insert(id, Challenge { credential: body.credential.0, seed, random, presented });
        Ok(answer)
    }

    fn authorise(&mut self, id: Hash, body: &AuthoriseRequest) -> Answer {
        let challenge = self.challenges.remove(&id).ok_or((404, "challenge-unknown"))?;
        let credential = challenge.credential;
        let account = &self.accounts[&credential];
        let (profile, presented) = (account.claims.profile, challenge.presented.clone());
        let detail = || Detail::Bytes(id.0.to_vec());
        self.event(&credential, Kind::Event, "attempt.started", detail());
        let outcome = match profile {
            Profile::EcSdsa | Profile::Passkey => self.complete::<Profile1>(challenge, body),
            Profile::Transcript => self.complete::<Profile2>(challenge, body),
        };
        let record = match outcome {
            Ok(record) => record,
            Err(Fault::WrongPin) => {
                let account = self.accounts.get_mut(&credential).unwrap();
                account.failures += 1;
                self.event(&credential, Kind::Event, "attempt.failed", detail());
                return Err((403, "second-factor"));
            }
            Err(_) => {
                self.event(&credential, Kind::Event, "attempt.refunded", detail());
                return Err((422, "pass-damaged"));
            }
        };
        let opening = Opening { profile, record, evidence: Vec::new(), shown: presented.shown }.to_bytes();
        if self.spoilt.fate == Fate::PutAside {
            self.put_aside.push((credential, opening));
            return Err((504, "slow"));
        }
        if self.spoilt.fate == Fate::Refused {
            self.put_aside.push((credential, opening));
            return Err((403, "second-factor"));
        }
        let index = self.take(&credential, opening)?;
        Ok(json!({"record": self.appended(index, false), "outcome": null}))
    }

    fn complete<P: Form>(&self, challenge: Challenge, body: &AuthoriseRequest) -> Result<Vec<u8>, Fault> {
        let account = &self.accounts[&challenge.credential];
        let session = Session::new(&challenge.credential, &challenge.random, &challenge.seed.commitment::<P>());
        let operation =
            Operation::<P>::new(&body.metadata.0, &challenge.presented.id().unwrap()).map_err(|_| Fault::Transport)?;
        let keys = Keys { joint: account.claims.joint_key, device: account.claims.device_key, passkey: None };
        let pass = Pass::<P>::parse(&body.pass.0).map_err(|_| Fault::Transport)?;
        let checked = pass.check(&keys, &session, &operation).map_err(|_| Fault::Transport)?;
        let kem = self.master.kem_key(&account.claims.enrolment_id);
        let context = Enrolling {
            origin: ORIGIN,
            enrolment_id: &account.claims.enrolment_id,
            device_key: &account.claims.device_key,
        };
        let share = self.share::<P>(&context, &account.claims.joint_key, &account.shares).unwrap();
        let agreed = kem.agree(checked.encapsulated()).unwrap();
        let record = checked.complete(challenge.seed.take(), &share, &agreed).map_err(|error| error.fault())?;
        Ok(record.into_bytes())
    }

    /// Takes a record into the log.
    fn take(&mut self, id: &Hash, opening: Vec<u8>) -> Result<u64, Refusal> {
        let submitted = Submitted::parse(&opening).unwrap();
        let metadata: Metadata = submitted.metadata().clone();
        let token = *self.accounts[id].label_secret.read_token(&metadata.index_key).expose();
        let shown = Opening::parse(&opening).unwrap().shown;
        let index = self.append(Kind::Instruction, opening, metadata.index_key, token)?;
        let account = self.accounts.get_mut(id).unwrap();
        account.sequence += 1;
        account.previous = scal3::metadata::previous(id, metadata.sequence, submitted.record().c());
        if let (CLASS_ADD, Some(FieldValue::Bytes(successor))) = (metadata.class.as_str(), shown.field("credential")) {
            account.vouched.push(Hash(successor[..].try_into().unwrap()));
        }
        if metadata.class == CLASS_ACTIVATE {
            self.status(id, Change::Activated(index))?;
        }
        Ok(index)
    }

    /// Takes what was put aside into the log, as far as the log takes it.
    pub fn release(&mut self) -> Vec<Result<u64, Refusal>> {
        let aside = std::mem::take(&mut self.put_aside);
        aside.into_iter().map(|(id, opening)| self.take(&id, opening)).collect()
    }

    fn stop(&mut self, id: Hash, what: Stop, body: &StopRequest) -> Answer {
        let account = self.accounts.get(&id).ok_or((404, "no-such-credential"))?;
        let by = body.device.as_ref().ok_or((401, "token-missing"))?;
        let device = Point::parse(&account.claims.device_key).unwrap();
        request::verify(&stop_hash(ORIGIN, &id, what, by.time_ms), &device, None, &by.signature.0)
            .map_err(|_| (403, "token-refused"))?;
        let change = match what {
            Stop::Suspend => Change::Suspended(body.reason.clone()),
            Stop::Revoke => Change::Revoked(body.reason.clone()),
        };
        let index = self.status(&id, change)?;
        Ok(self.appended(index, false))
    }

    fn receipt(&self, at: &str, read: Option<&str>) -> Answer {
        let index = match Hash::from_hex(at) {
            None => at.parse().map_err(|_| (400, "parameter"))?,
            Some(key) => {
                let index = *self.index.get(&key).ok_or((404, "no-such-entry"))?;
                let token = format!("SolelogRead {}", hex::encode(self.tokens[&key]));
                if read != Some(token.as_str()) {
                    return Err((403, "read-refused"));
                }
                index
            }
        };
        let size = TreeSize::new(self.entries.len() as u64).unwrap();
        let included = |index: u64| {
            let at = LeafIndex::new(index).unwrap();
            let proof = InclusionProof::make(&Leaves(&self.entries), at, size).unwrap();
            let hashes: Vec<Value> = proof.hashes.iter().map(|hash| b64(hash.0)).collect();
            (proof, hashes)
        };
        let (proof, _) = included(index);
        let file = ProofFile { extra: None, index: LeafIndex::new(index).unwrap(), proof, checkpoint: self.newest() };
        let entry = Entry::parse(&self.entries[index as usize]).unwrap();
        let mut receipt = json!({
            "version": "solelog/receipt/v1",
            "entry": b64(&self.entries[index as usize]),
            "proof": String::from_utf8(file.to_bytes()).unwrap(),
            "genesis": {"index": 0, "entry": b64(&self.entries[0]), "hashes": included(0).1},
        });
        let Some(opening) = &self.openings[index as usize] else { return Ok(receipt) };
        receipt["opening"] = b64(opening);
        if entry.kind == Kind::Instruction {
            let submitted = Submitted::parse(opening).unwrap();
            let account = &self.accounts[&submitted.credential_id()];
            let issued = self.index[&status_index_key(&submitted.credential_id(), 0)];
            let old = submitted.seen().size;
            let seen = ConsistencyProof::make(&Leaves(&self.entries), old, size).unwrap();
            receipt["credential"] = b64(&account.credential);
            receipt["issued"] = json!({"index": issued, "entry": b64(&self.entries[issued as usize]),
                "opening": b64(self.openings[issued as usize].as_ref().unwrap()), "hashes": included(issued).1});
            receipt["seen"] = seen.hashes.iter().map(|hash| b64(hash.0)).collect();
        }
        Ok(receipt)
    }

    fn consistency(&self, query: &str) -> Answer {
        let of = |name: &str| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap();
            TreeSize::new(value.parse().unwrap()).unwrap()
        };
        let (old, new) = (of("old="), of("new="));
        if new.get() > self.entries.len() as u64 {
            return Err((404, "beyond-the-tree"));
        }
        let proof = ConsistencyProof::make(&Leaves(&self.entries), old, new).unwrap();
        let hashes: Vec<Value> = proof.hashes.iter().map(|hash| b64(hash.0)).collect();
        Ok(json!({"old": old.get(), "old_root": b64(self.head(old.get() as usize).root.0),
            "new": new.get(), "new_root": b64(self.head(new.get() as usize).root.0), "hashes": hashes}))
    }
}

async fn serve(
    State(log): State<Arc<Mutex<Log>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut log = log.lock().unwrap();
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let hash = |text: &str| Hash::from_hex(text).unwrap();
    let (route, answer) = match (method.as_str(), path.as_slice()) {
        ("GET", ["checkpoint"]) => ("checkpoint", Ok(Value::String(log.newest().to_text()))),
        ("GET", ["v1", "receipts", at]) => ("receipt", log.receipt(at, authorization)),
        ("GET", ["v1", "records", _]) => ("record", Ok(json!({"opening": {"state": "restricted", "bytes": null}}))),
        ("GET", ["v1", "proofs", "consistency"]) => ("consistency", log.consistency(uri.query().unwrap())),
        ("POST", ["v1", "enrolments"]) => {
            assert_eq!(authorization, Some("Bearer slt_backend"));
            ("invite", log.invite(&serde_json::from_slice(&body).unwrap()))
        }
        ("POST", ["v1", "enrolments", id]) => ("enrol", log.enrol(hash(id), &serde_json::from_slice(&body).unwrap())),
        ("POST", ["v1", "intents"]) => ("intent", log.intent(&serde_json::from_slice(&body).unwrap())),
        ("POST", ["v1", "intents", id, "authorise"]) => {
            ("authorise", log.authorise(hash(id), &serde_json::from_slice(&body).unwrap()))
        }
        ("POST", ["v1", "credentials", id, "suspend"]) => {
            ("stop", log.stop(hash(id), Stop::Suspend, &serde_json::from_slice(&body).unwrap()))
        }
        ("POST", ["v1", "credentials", id, "revoke"]) => {
            ("stop", log.stop(hash(id), Stop::Revoke, &serde_json::from_slice(&body).unwrap()))
        }
        other => panic!("the contract has no {other:?}"),
    };
    log.asked.push(route.to_owned());
    // An answer that gets lost is one that was made.
    let answer = match answer {
        Ok(_) if route == "authorise" && log.spoilt.fate == Fate::AnswerLost => Err((502, "lost")),
        other => other,
    };
    match answer {
        Ok(mut answer) => {
            // The hook may want to reach into the log.
            if let Some(mut hook) = log.spoilt.hook.take() {
                hook(&mut log, route, &mut answer);
                log.spoilt.hook.get_or_insert(hook);
            }
            match answer {
                Value::String(text) => text.into_response(),
                answer => axum::Json(answer).into_response(),
            }
        }
        Err((status, slug)) => {
            let problem =
                json!({"type": format!("/problems/{slug}"), "title": slug, "status": status, "attempts_left": 4});
            (StatusCode::from_u16(status).unwrap(), axum::Json(problem)).into_response()
        }
    }
}
