//! A log in a temporary folder, and what tests ask of it.

#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use scal3::Hash;
use scal3::cbor;
use scal3::event::{Detail, Event};
use scal3::fold::{Fold, Step};
use scal3::index_key::Space;
use scal3::tagged;
use solelog::engine::{Config, Engine};
use solelog::folder::ViewChoice;
use solelog::fsck;
use solelog::openings::Shown;
use solelog::progress::SignedHead;
use solelog::store::disk::{self, Disk};
use solelog::store::journal;
use solelog::submission::{AppendError, Appended, Covered, Reached, Submission, Until};
use tlog::checkpoint::Checkpoint;
use tlog::key::{KeyName, Signer};
use tlog::note::Note;
use tlog::tree::{LeafIndex, TreeHead};

#[path = "../../src/scal3/tests/log/mod.rs"]
pub mod people;

pub use people::genesis;
use people::{Draft, ORIGIN, Person, START_MS};

/// A folder for a log, the disk it is on, and the clock it goes by.
pub struct Rig {
    /// The folder.
    pub dir: PathBuf,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The clock.
    pub clock: Arc<AtomicU64>,
    /// Its view.
    pub view: ViewChoice,
    _temp: tempfile::TempDir,
}

impl Rig {
    /// A log on the real disk.
    pub fn new() -> Rig {
        Rig::on(disk::real(), ViewChoice::default())
    }

    /// A log on that disk. The lock is real in any case.
    pub fn on(disk: Arc<dyn Disk>, view: ViewChoice) -> Rig {
        let temp = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicU64::new(START_MS + 1000));
        Rig { dir: temp.path().join("log"), disk, clock, view, _temp: temp }
    }

    /// Beside the folder.
    pub fn beside(&self, name: &str) -> PathBuf {
        self._temp.path().join(name)
    }

    /// The config of this log.
    pub fn config(&self) -> Config {
        let mut config = Config::new(&self.dir, Signer::note(KeyName::new(ORIGIN).unwrap(), &[7; 32]));
        let clock = Arc::clone(&self.clock);
        config.clock = Arc::new(move || clock.load(Ordering::SeqCst));
        config.disk = Arc::clone(&self.disk);
        config.view = self.view.clone();
        config.journal = journal::Options { segment_bytes: 256 << 10 };
        config.limits.spare_bytes = 64 << 10;
        config.pace.patience = Duration::from_secs(30);
        config
    }

    /// Makes the log.
    pub fn create(&self) {
        Engine::create(&self.config(), &genesis()).unwrap();
    }

    /// Makes the log and opens it.
    pub async fn start(&self) -> Engine {
        self.create();
        self.open().await
    }

    /// Opens the log.
    pub async fn open(&self) -> Engine {
        Engine::open(self.config()).await.unwrap()
    }

    /// Lets time pass.
    pub fn tick(&self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    /// Checks the folder; nothing may be wrong.
    pub fn fsck(&self) -> fsck::Report {
        let report = fsck::fsck(&self.config(), &mut |_, _| {}).unwrap();
        assert!(report.is_clean(), "{:#?}", report.findings);
        report
    }
}

/// An event that says that.
pub fn event(name: &str) -> Submission {
    let body = Event { name: name.into(), stream: None, detail: Detail::Nothing }.to_body();
    Submission::Event { body: cbor::encode(&body), index_key: None }
}

/// An index.
pub fn at(index: u64) -> LeafIndex {
    LeafIndex::new(index).unwrap()
}

/// What a person would sign next, seeing the log as it is.
pub fn draft(engine: &Engine, rig: &Rig, person: &Person) -> Draft {
    let state = engine.credential(&person.id()).unwrap().expect("the credential is issued");
    let (head, now) = (engine.heads().integrated.head, rig.clock.load(Ordering::SeqCst));
    person.next(&state, &head, *engine.policies().unwrap().in_force().hash(), now)
}

/// Verifies and appends an opening.
pub async fn send(engine: &Engine, opening: Vec<u8>) -> Result<Appended, AppendError> {
    let verified = engine.verify(opening).await?;
    engine.append(Submission::Record(Box::new(verified)), Until::Integrated).await
}

/// Issues a person's credential.
pub async fn issue(engine: &Engine, person: &Person) -> Result<Appended, AppendError> {
    let credential = engine.read_credential(&person.credential_bytes())?;
    engine.append(Submission::Credential(Box::new(credential)), Until::Integrated).await
}

/// A person who is enrolled and active.
pub async fn active(engine: &Engine, rig: &Rig, name: &str) -> Person {
    let person = Person::new(name, scal3::Profile::EcSdsa);
    issue(engine, &person).await.unwrap();
    send(engine, draft(engine, rig, &person).opening()).await.unwrap();
    person
}

/// The head and proof in an answer; checks them as a stranger would.
pub fn covered(engine: &Engine, answer: &Appended) -> Covered {
    let (Reached::Integrated(covered) | Reached::Witnessed(covered)) = answer.reached.clone() else {
        panic!("only sequenced: {answer:?}")
    };
    checked(engine, &covered.head);
    covered.proof.verify(answer.leaf_hash, answer.index, &covered.head.head).unwrap();
    covered
}

/// A signed head, its signature checked.
pub fn checked(engine: &Engine, head: &SignedHead) -> TreeHead {
    let note = Note::parse(&head.note).unwrap();
    note.open(std::slice::from_ref(engine.vkey())).unwrap();
    let checkpoint = Checkpoint::parse_text(note.text()).unwrap();
    assert_eq!((checkpoint.origin.as_str(), checkpoint.head), (ORIGIN, head.head));
    checkpoint.head
}

/// Folds the whole log as a monitor would. Nothing in it may be wrong.
pub fn fold(engine: &Engine) -> Fold {
    let head = engine.heads().integrated.head;
    let mut fold = Fold::start(&engine.entry(at(0)).unwrap()).unwrap();
    for index in 1..head.size.get() {
        let opening = match engine.opening(at(index)).unwrap() {
            Shown::Open(opening) => Some(opening),
            Shown::Erased | Shown::Public => None,
        };
        let step = fold.apply(&engine.entry(at(index)).unwrap(), opening.as_deref()).unwrap();
        assert!(!matches!(step, Step::Wrong(_)), "entry {index}: {step:?}");
    }
    assert_eq!(fold.head(), head);
    fold
}

/// Copies a folder of files.
pub fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// An index key that nobody else uses.
pub fn index_key(name: &str) -> Hash {
    Space::Stream.place(tagged("test/index-key", name.as_bytes()))
}
