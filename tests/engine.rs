//! The engine, with real files and real threads: what it promises, tried.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use scal3::cbor;
use scal3::index_key::status_index_key;
use scal3::state::Status;
use scal3::verify::Refusal;
use solelog::engine::Engine;
use solelog::folder::{FolderError, ViewChoice};
use solelog::guard::GuardError;
use solelog::history::ReadError;
use solelog::openings::Shown;
use solelog::progress;
use solelog::recovery::{self, CreateError, OpenError};
use solelog::store::disk::{self, Disk, DiskError, Fault, FaultDisk, File, MemoryDisk};
use solelog::store::lock::LockError;
use solelog::submission::{
    AppendError, BodyRefusal, Collision, CredentialRefusal, ErasureRefusal, Reached, Submission, Until,
};
use support::people::{Person, flip_s};
use support::*;
use tlog::LeafHash;
use tlog::tree::TreeSize;

const P1: scal3::Profile = scal3::Profile::EcSdsa;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_is_proven_and_still_there_after_a_restart() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let submissions = (0..600).map(|i| event(&format!("event {i}"))).collect();
    let mut answers = Vec::new();
    for answer in engine.append_batch(submissions, Until::Integrated).await {
        let answer = answer.unwrap();
        covered(&engine, &answer);
        answers.push(answer);
    }
    for (answer, index) in answers.iter().zip(1..) {
        assert_eq!(answer.index, at(index), "in the order in which they came, behind the genesis");
    }
    // Publishing comes right behind the answer.
    let mut state = engine.subscribe();
    let published = |s: &progress::State| s.heads.published.as_ref().is_some_and(|p| p.head == s.heads.committed);
    tokio::time::timeout(Duration::from_secs(60), state.wait_for(published)).await.expect("in time").unwrap();
    let before = engine.heads();
    assert_eq!(before.committed, before.integrated.head);
    assert_eq!(before.published.as_ref().unwrap().head, before.integrated.head, "no quorum is asked for");
    engine.shutdown().await;
    assert!(matches!(engine.append(event("late"), Until::Sequenced).await, Err(AppendError::ShuttingDown)));
    drop(engine);

    let engine = rig.open().await;
    assert_eq!(engine.heads().integrated.head, before.integrated.head);
    for answer in &answers {
        assert_eq!(engine.entry(answer.index).unwrap(), answer.entry);
        assert!(matches!(engine.opening(answer.index).unwrap(), Shown::Open(_)));
    }
    let more = engine.append(event("more"), Until::Integrated).await.unwrap();
    let after = covered(&engine, &more).head.head;
    let proof = engine.consistency(before.integrated.head.size, after.size).unwrap();
    proof.verify(&before.integrated.head, &after).unwrap();
    fold(&engine);
    engine.shutdown().await;
    drop(engine);
    let report = rig.fsck();
    assert_eq!((report.entries, report.openings, report.erased), (602, 601, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_dropped_without_a_shutdown_goes_on() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let first = engine.append(event("first"), Until::Sequenced).await.unwrap();
    engine.append(event("second"), Until::Integrated).await.unwrap();
    drop(engine);
    let engine = loop {
        // The threads let go of the folder when they notice that the last handle is gone.
        match Engine::open(rig.config()).await {
            Err(OpenError::Folder(FolderError::Lock(LockError::Locked { .. }))) => tokio::task::yield_now().await,
            opened => break opened.unwrap(),
        }
    };
    assert_eq!(engine.entry(first.index).unwrap(), first.entry);
}

#[tokio::test(flavor = "multi_thread")]
async fn proofs_verify_for_every_index_and_size() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let submissions = (0..299).map(|i| event(&format!("event {i}"))).collect();
    engine.append_batch(submissions, Until::Integrated).await;
    let head = |size| {
        let size = TreeSize::new(size).unwrap();
        tlog::tree::TreeHead { size, root: engine.root_at(size).unwrap() }
    };
    let newest = head(300);
    assert_eq!(newest, engine.heads().integrated.head);
    for size in (1..=300).step_by(7) {
        let old = head(size);
        engine.consistency(old.size, newest.size).unwrap().verify(&old, &newest).unwrap();
        for index in (0..size).step_by(11) {
            let leaf = LeafHash::of(&engine.entry(at(index)).unwrap());
            engine.inclusion(at(index), old.size).unwrap().verify(leaf, at(index), &old).unwrap();
        }
    }
    assert!(matches!(engine.entry(at(300)), Err(ReadError::NotYet { size }) if size.get() == 300));
    assert!(engine.inclusion(at(5), TreeSize::new(301).unwrap()).is_err());
    assert!(engine.inclusion(at(5), TreeSize::new(5).unwrap()).is_err());
    assert!(engine.consistency(newest.size, TreeSize::new(1).unwrap()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_of_a_credential() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let person = Person::new("Ada", P1);
    let issued = issue(&engine, &person).await.unwrap();
    covered(&engine, &issued);
    assert_eq!(engine.credential(&person.id()).unwrap().unwrap().status(), Status::Issued);

    let first = draft(&engine, &rig, &person);
    let answer = send(&engine, first.opening()).await.unwrap();
    covered(&engine, &answer);
    // The log says in the same round that the credential is active.
    assert_eq!(engine.heads().integrated.head.size.get(), answer.index.get() + 2);
    let state = engine.credential(&person.id()).unwrap().unwrap();
    assert_eq!((state.status(), state.next_sequence(), state.status_counter()), (Status::Active, 1, 2));

    for sequence in 1..4 {
        rig.tick(1000);
        let next = draft(&engine, &rig, &person);
        assert_eq!(next.metadata.sequence, sequence);
        let answer = send(&engine, next.opening()).await.unwrap();
        assert_eq!(engine.lookup(&next.metadata.index_key).unwrap(), Some(answer.index));
        assert_eq!(engine.opening(answer.index).unwrap(), Shown::Open(next.opening()));
    }
    let fold = fold(&engine);
    let certain = fold.credential(&person.id()).unwrap().certain();
    assert_eq!(certain, engine.credential(&person.id()).unwrap().as_ref());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_authorisation_is_one_entry_in_whatever_form_it_comes() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let person = active(&engine, &rig, "Ada").await;
    let mut once = draft(&engine, &rig, &person);
    let answer = send(&engine, once.opening()).await.unwrap();
    let size = engine.heads().integrated.head.size;

    let again = send(&engine, once.opening()).await.unwrap();
    assert_eq!((again.index, again.existing, again.entry.clone()), (answer.index, true, answer.entry.clone()));
    covered(&engine, &again);
    // The last signature has a second form that verifies: other bytes, the same authorisation.
    once.spoil = |record| {
        let length = record.len();
        flip_s(&mut record[length - 64..]);
    };
    let twin = send(&engine, once.opening()).await.unwrap();
    assert_eq!((twin.index, twin.existing, twin.entry), (answer.index, true, answer.entry.clone()));
    // Also much later, when it could not be appended any more.
    rig.tick(3_600_000);
    engine.append(event("time passes"), Until::Integrated).await.unwrap();
    assert_eq!(send(&engine, once.opening()).await.unwrap().index, answer.index);
    assert_eq!(engine.heads().integrated.head.size.get(), size.get() + 1, "only the event was added");

    engine.shutdown().await;
    drop(engine);
    let engine = rig.open().await;
    assert_eq!(send(&engine, once.opening()).await.unwrap().index, answer.index);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_index_key_or_sequence_is_a_conflict() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let person = active(&engine, &rig, "Ada").await;
    let once = draft(&engine, &rig, &person);
    let mut other = once.clone();
    other.metadata.challenge = index_key("another challenge");
    let answer = send(&engine, once.opening()).await.unwrap();
    let size = engine.heads().integrated.head.size;

    let refused = send(&engine, other.opening()).await.unwrap_err();
    assert!(
        matches!(refused, AppendError::Conflict(Collision::IndexKey { index }) if index == answer.index),
        "{refused}"
    );
    other.metadata.index_key = index_key("another place");
    let refused = send(&engine, other.opening()).await.unwrap_err();
    assert!(matches!(refused, AppendError::Conflict(Collision::Sequence { next: 2 })), "{refused}");

    let named = |name: &str| {
        let body = cbor::encode(
            &scal3::event::Event { name: name.into(), stream: None, detail: scal3::event::Detail::Nothing }.to_body(),
        );
        Submission::Event { body, index_key: Some(index_key("event")) }
    };
    let event = engine.append(named("one"), Until::Integrated).await.unwrap();
    let refused = engine.append(named("two"), Until::Integrated).await.unwrap_err();
    assert!(
        matches!(refused, AppendError::Conflict(Collision::IndexKey { index }) if index == event.index),
        "{refused}"
    );
    assert_eq!(engine.heads().committed.size.get(), size.get() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_belong_is_refused_by_name_and_nothing_grows() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let person = active(&engine, &rig, "Ada").await;
    let size = engine.heads().committed.size;
    let base = draft(&engine, &rig, &person);
    let refused = async |change: fn(&mut support::people::Draft)| {
        let mut draft = base.clone();
        change(&mut draft);
        match send(&engine, draft.opening()).await.unwrap_err() {
            AppendError::Refused(refusal) => (refusal.check(), refusal.code()),
            other => panic!("{other}"),
        }
    };
    assert_eq!(refused(|d| d.metadata.sequence += 1).await, ("metadata", "sequence"));
    assert_eq!(refused(|d| d.metadata.previous = index_key("x")).await, ("metadata", "previous"));
    assert_eq!(refused(|d| d.metadata.policy = index_key("x")).await, ("metadata", "policy"));
    assert_eq!(refused(|d| d.metadata.seen_root = index_key("x")).await, ("metadata", "seen-not-on-history"));
    assert_eq!(refused(|d| d.metadata.seen_size += 100).await, ("metadata", "seen-ahead"));
    assert_eq!(refused(|d| d.metadata.expires_ms = d.metadata.time_ms - 1).await, ("metadata", "expired"));
    assert_eq!(refused(|d| d.metadata.time_ms -= 300_001).await, ("metadata", "time"));
    assert_eq!(refused(|d| d.metadata.origin = "log.example/two".into()).await, ("credential", "origin"));
    assert_eq!(refused(|d| d.spoil = |r| *r.last_mut().unwrap() ^= 1).await, ("binding", "signature"));
    let stranger = Person::new("nobody", P1);
    let mut draft = base.clone();
    draft.metadata.credential = stranger.id();
    let refused = send(&engine, draft.opening()).await.unwrap_err();
    assert!(matches!(refused, AppendError::UnknownCredential(id) if id == stranger.id()));
    let refused = engine.verify(b"no opening".to_vec()).await.unwrap_err();
    assert!(matches!(refused, AppendError::Refused(Refusal::Parse(_))));
    let body = Submission::Event { body: vec![0x18, 0x01], index_key: None };
    assert!(matches!(engine.append(body, Until::Sequenced).await, Err(AppendError::Body(_))));
    // Nobody takes the index key of a status, or the status could never be logged.
    let body = cbor::encode(&cbor::Value::Null);
    let body = Submission::Event { body, index_key: Some(status_index_key(&person.id(), 1)) };
    let refused = engine.append(body, Until::Sequenced).await.unwrap_err();
    assert!(matches!(refused, AppendError::Body(BodyRefusal::IndexKeySpace)), "{refused}");
    assert_eq!(engine.heads().committed.size, size);
    // And what does belong is still welcome.
    send(&engine, base.opening()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_issued_once_and_only_by_this_logs_provider() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let person = Person::new("Ada", P1);
    let issued = issue(&engine, &person).await.unwrap();
    let again = issue(&engine, &person).await.unwrap();
    assert_eq!((again.index, again.existing), (issued.index, true));

    let mut bytes = person.credential_bytes();
    let length = bytes.len();
    flip_s(&mut bytes[length - 64..]);
    let twin = engine.read_credential(&bytes).unwrap();
    let refused = engine.append(Submission::Credential(Box::new(twin)), Until::Sequenced).await.unwrap_err();
    assert!(matches!(refused, AppendError::AlreadyIssued(index) if index == issued.index), "{refused}");

    let mut elsewhere = Person::new("Eve", P1);
    elsewhere.claims.origin = "log.example/two".into();
    let refused = engine.read_credential(&elsewhere.credential_bytes()).unwrap_err();
    assert!(matches!(refused, AppendError::Credential(CredentialRefusal::Origin { .. })), "{refused}");
    let mut other = Person::new("Eve", P1);
    other.claims.provider = index_key("another provider");
    let refused = engine.read_credential(&other.credential_bytes()).unwrap_err();
    assert!(matches!(refused, AppendError::Credential(CredentialRefusal::Provider { .. })), "{refused}");
    bytes[length - 1] ^= 1;
    assert!(matches!(engine.read_credential(&bytes), Err(AppendError::Credential(CredentialRefusal::Invalid(_)))));
    let mut late = Person::new("Late", P1);
    late.claims.not_after_ms = late.claims.not_before_ms;
    let refused = issue(&engine, &late).await.unwrap_err();
    assert!(matches!(refused, AppendError::Credential(CredentialRefusal::Expired { .. })), "{refused}");
    assert_eq!(engine.heads().committed.size.get(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn duplicates_that_race_become_one_entry() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let person = active(&engine, &rig, "Ada").await;
    for round in 0..8 {
        let size = engine.heads().committed.size.get();
        let once = draft(&engine, &rig, &person);
        let mut rival = once.clone();
        rival.metadata.challenge = index_key(&format!("rival {round}"));
        let (once, rival) = (once.opening(), rival.opening());
        let mut tasks = tokio::task::JoinSet::new();
        for i in 0..24 {
            let (engine, opening) = (engine.clone(), if i % 4 == 3 { rival.clone() } else { once.clone() });
            tasks.spawn(async move { (i % 4 == 3, send(&engine, opening).await) });
        }
        let mut placed = std::collections::BTreeSet::new();
        let (mut made, mut winners) = (0, std::collections::BTreeSet::new());
        while let Some(done) = tasks.join_next().await {
            match done.unwrap() {
                (rival, Ok(answer)) => {
                    placed.insert(answer.index);
                    winners.insert(rival);
                    made += usize::from(!answer.existing);
                }
                (_, Err(AppendError::Conflict(_))) => {}
                (_, Err(other)) => panic!("{other}"),
            }
        }
        assert_eq!((placed.len(), made, winners.len()), (1, 1, 1), "one wins, and all of its copies hear the same");
        assert_eq!(engine.heads().committed.size.get(), size + 1);
    }
    fold(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_view_is_made_again() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let person = active(&engine, &rig, "Ada").await;
    let once = draft(&engine, &rig, &person);
    let answer = send(&engine, once.opening()).await.unwrap();
    engine.append_batch((0..300).map(|i| event(&format!("event {i}"))).collect(), Until::Integrated).await;
    let state = engine.credential(&person.id()).unwrap();
    engine.shutdown().await;
    drop(engine);

    std::fs::remove_dir_all(rig.dir.join("view")).unwrap();
    let engine = rig.open().await;
    assert_eq!(engine.credential(&person.id()).unwrap(), state);
    assert_eq!(engine.lookup(&once.metadata.index_key).unwrap(), Some(answer.index));
    assert_eq!(send(&engine, once.opening()).await.unwrap().index, answer.index);
    send(&engine, draft(&engine, &rig, &person).opening()).await.unwrap();
    engine.shutdown().await;
    drop(engine);

    let mut steps = Vec::new();
    let head = recovery::rebuild(&rig.config(), &mut |done, all| steps.push((done, all))).unwrap();
    assert_eq!(steps.last(), Some(&(head.size.get(), head.size.get())));
    let engine = rig.open().await;
    assert_eq!(send(&engine, once.opening()).await.unwrap().index, answer.index);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_an_earlier_version_left_is_made_again() {
    use redb::{ReadableTable as _, TableDefinition};
    const VIEW: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("view");
    const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
    let rig = Rig::new();
    let engine = rig.start().await;
    let person = active(&engine, &rig, "Ada").await;
    let state = engine.credential(&person.id()).unwrap();
    engine.shutdown().await;
    drop(engine);

    // All values in another form, and the last round where the version before kept it.
    let db = redb::Database::open(rig.dir.join("view/view.redb")).unwrap();
    let write = db.begin_write().unwrap();
    {
        let mut view = write.open_table(VIEW).unwrap();
        let keys: Vec<Vec<u8>> = view.iter().unwrap().map(|pair| pair.unwrap().0.value().to_vec()).collect();
        assert!(keys.len() > 3, "{keys:?}");
        for key in keys {
            view.insert(key.as_slice(), b"another form".as_slice()).unwrap();
        }
        let mut meta = write.open_table(META).unwrap();
        let round = meta.remove("round/2").unwrap().expect("the last round").value();
        meta.insert("round", round).unwrap();
    }
    write.commit().unwrap();
    drop(db);

    let engine = rig.open().await;
    assert_eq!(engine.credential(&person.id()).unwrap(), state);
    send(&engine, draft(&engine, &rig, &person).opening()).await.unwrap();
    fold(&engine);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_refused_and_a_log_is_made_once() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let refused = Engine::open(rig.config()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Folder(FolderError::Lock(LockError::Locked { .. }))), "{refused}");
    assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
    engine.shutdown().await;
    drop(engine);
    assert!(matches!(Engine::create(&rig.config(), &genesis()), Err(CreateError::Exists(_))));
    let empty = Rig::new();
    assert!(matches!(Engine::open(empty.config()).await.err(), Some(OpenError::NoLog(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_opening_is_gone_and_its_proofs_stay() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let person = active(&engine, &rig, "Ada").await;
    let record = draft(&engine, &rig, &person);
    let record = send(&engine, record.opening()).await.unwrap();
    let event = engine.append(event("secret"), Until::Integrated).await.unwrap();
    let erase = |index| Submission::Erasure { index, reason: "asked for".into() };
    let refused = |answer: Result<_, AppendError>| match answer.map(|_: solelog::submission::Appended| ()) {
        Err(AppendError::Erasure(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    let status = refused(engine.append(erase(at(1)), Until::Sequenced).await);
    assert_eq!(status, ErasureRefusal::CredentialCanAct);
    assert_eq!(refused(engine.append(erase(at(0)), Until::Sequenced).await), ErasureRefusal::Public);
    assert_eq!(refused(engine.append(erase(at(99)), Until::Sequenced).await), ErasureRefusal::NoSuchEntry);

    for target in [&record, &event] {
        let erasure = engine.append(erase(target.index), Until::Integrated).await.unwrap();
        assert_eq!(engine.opening(target.index).unwrap(), Shown::Erased);
        assert_eq!(engine.entry(target.index).unwrap(), target.entry);
        assert!(erasure.entry.len() < 100 && !contains(&erasure.entry, &target.index.get().to_be_bytes()));
        let by = refused(engine.append(erase(target.index), Until::Sequenced).await);
        assert_eq!(by, ErasureRefusal::AlreadyErased { by: erasure.index });
        assert_eq!(refused(engine.append(erase(erasure.index), Until::Sequenced).await), ErasureRefusal::Erasure);
    }
    let state = engine.credential(&person.id()).unwrap();
    engine.shutdown().await;
    drop(engine);
    assert_eq!(rig.fsck().erased, 2);

    // A rebuilt view can't read the erased record, and knows nevertheless where the credential stands.
    std::fs::remove_dir_all(rig.dir.join("view")).unwrap();
    let engine = rig.open().await;
    assert_eq!(engine.credential(&person.id()).unwrap(), state);
    send(&engine, draft(&engine, &rig, &person).opening()).await.unwrap();
    engine.shutdown().await;
    drop(engine);

    // A key that a restored backup brought back is erased again before anyone can ask.
    let keys = rig.dir.join("openings.keys");
    let mut bytes = std::fs::read(&keys).unwrap();
    bytes[event.index.get() as usize * 32..][..32].fill(9);
    std::fs::write(&keys, bytes).unwrap();
    let engine = rig.open().await;
    assert_eq!(engine.opening(event.index).unwrap(), Shown::Erased);
    assert!(std::fs::read(&keys).unwrap()[event.index.get() as usize * 32..][..32].iter().all(|b| *b == 0));
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|w| w == what)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_goes_back_stops_appends_until_it_is_right_again() {
    let rig = Rig::new();
    let engine = rig.start().await;
    rig.tick(60_000);
    let last = engine.append(event("now"), Until::Integrated).await.unwrap();
    rig.clock.fetch_sub(9_000, Ordering::SeqCst);
    let little = engine.append(event("a little back"), Until::Integrated).await.unwrap();
    assert_eq!(little.time_ms, last.time_ms, "the log's time never goes back");
    rig.clock.fetch_sub(2_000, Ordering::SeqCst);
    let refused = engine.append(event("far back"), Until::Integrated).await.unwrap_err();
    assert!(matches!(refused, AppendError::ClockBehind { behind_ms: 11_000 }), "{refused}");
    rig.tick(11_001);
    assert!(engine.append(event("right again"), Until::Integrated).await.unwrap().time_ms > last.time_ms);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_budget_is_said_at_once_and_passes() {
    let rig = Rig::new();
    rig.create();
    let mut config = rig.config();
    config.limits.in_flight_bytes = 20_000;
    let engine = Engine::open(config).await.unwrap();
    let answers = engine.append_batch((0..400).map(|i| event(&format!("{i}"))).collect(), Until::Sequenced).await;
    let full = answers.iter().filter(|a| matches!(a, Err(AppendError::Full { .. }))).count();
    let done = answers.iter().filter(|a| a.is_ok()).count();
    assert!(full > 0 && done > 0 && full + done == 400, "{full} full, {done} done");
    // The budget comes back when what was taken is readable.
    let mut answer = engine.append(event("again"), Until::Integrated).await;
    while let Err(AppendError::Full { .. }) = answer {
        tokio::task::yield_now().await;
        answer = engine.append(event("again"), Until::Integrated).await;
    }
    answer.unwrap();
    assert_eq!(engine.heads().committed.size.get(), done as u64 + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_forgets_what_a_snapshot_knows() {
    let rig = Rig::new();
    rig.create();
    let mut config = rig.config();
    config.pace.snapshot_every_bytes = 64 << 10;
    let engine = Engine::open(config).await.unwrap();
    for i in 0..40 {
        let batch = (0..100).map(|j| event(&format!("event {i} {j}"))).collect();
        for answer in engine.append_batch(batch, Until::Integrated).await {
            answer.unwrap();
        }
    }
    let head = engine.heads().integrated.head;
    engine.shutdown().await;
    drop(engine);
    let names: Vec<_> = std::fs::read_dir(rig.dir.join("journal")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|n| n.to_string_lossy().starts_with("00000000000000000000")), "{names:?}");
    assert_eq!(rig.fsck().committed, Some(head));
    let engine = rig.open().await;
    assert_eq!(engine.heads().integrated.head, head);
    assert_eq!(engine.entry(at(0)).unwrap(), scal3_genesis(&engine));
}

fn scal3_genesis(engine: &Engine) -> Vec<u8> {
    let entry = scal3::Entry::parse(&engine.entry(at(0)).unwrap()).unwrap();
    scal3::Entry::public(scal3::Kind::Genesis, entry.time_ms, genesis().to_bytes()).to_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_noticed_by_the_high_water_file() {
    let rig = Rig::new();
    rig.create();
    let config = || {
        let mut config = rig.config();
        config.high_water = Some(rig.beside("high-water"));
        config
    };
    let engine = Engine::open(config()).await.unwrap();
    engine.append(event("before"), Until::Integrated).await.unwrap();
    engine.shutdown().await;
    drop(engine);
    let backup = rig.beside("backup");
    copy_tree(&rig.dir, &backup);
    let engine = Engine::open(config()).await.unwrap();
    engine.append(event("after"), Until::Integrated).await.unwrap();
    engine.shutdown().await;
    drop(engine);
    std::fs::remove_dir_all(&rig.dir).unwrap();
    copy_tree(&backup, &rig.dir);
    let refused = Engine::open(config()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Guard(GuardError::RolledBack { .. })), "{refused}");
    assert!(refused.to_string().contains("backup"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn partial_tiles_that_a_power_cut_took_are_no_damage() {
    let rig = Rig::new();
    rig.start().await.shutdown().await;
    // Behind the snapshot, which has just been taken, partial tiles are not synced.
    let engine = rig.open().await;
    for name in ["one", "two", "three"] {
        engine.append(event(name), Until::Integrated).await.unwrap();
    }
    let (head, cut) = (engine.heads().committed, rig.beside("cut"));
    copy_tree(&rig.dir, &cut);
    engine.shutdown().await;
    drop(engine);
    std::fs::remove_dir_all(&rig.dir).unwrap();
    std::fs::remove_dir_all(cut.join("view")).unwrap();
    copy_tree(&cut, &rig.dir);

    let widest = |folder: &str| {
        let folder = rig.dir.join(folder);
        let names = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
        let widths: Vec<u64> = names.map(|name| name.parse().unwrap()).collect();
        assert_eq!((widths.len(), widths.iter().max()), (2, Some(&head.size.get())), "the settled one, and the loose");
        folder.join(head.size.get().to_string())
    };
    std::fs::remove_file(widest("tile/entries/000.p")).unwrap();
    std::fs::write(widest("tile/0/000.p"), [0; 40]).unwrap();
    assert_eq!(rig.fsck().committed, Some(head));
    let engine = rig.open().await;
    assert_eq!(engine.heads().committed, head);
    fold(&engine);
    engine.shutdown().await;
    drop(engine);
    rig.fsck();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_appends_and_passes() {
    let memory = MemoryDisk::new();
    let rig = Rig::on(memory.shared(), ViewChoice::Memory);
    let engine = rig.start().await;
    let before = engine.append(event("before"), Until::Integrated).await.unwrap();
    memory.set_capacity(Some(0));
    let refused = engine.append(event("full"), Until::Integrated).await.unwrap_err();
    assert!(matches!(refused, AppendError::NoSpace), "{refused}");
    assert_eq!(engine.entry(before.index).unwrap(), before.entry, "reads go on");
    memory.set_capacity(None);
    // It resumes by itself, a moment after there is room.
    let after = loop {
        match engine.append(event("after"), Until::Integrated).await {
            Err(AppendError::NoSpace) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            done => break done.unwrap(),
        }
    };
    assert_eq!(after.index.get(), before.index.get() + 1);
    engine.shutdown().await;
    drop(engine);
    rig.fsck();
}

/// A disk on which some folder is a file system of its own, that can be full.
struct Volumes {
    below: Arc<dyn Disk>,
    /// The end of that folder's path; empty: none is full.
    full: std::sync::Mutex<String>,
}

impl Volumes {
    fn fill(&self, name: &str) {
        *self.full.lock().unwrap() = name.to_owned();
    }
}

impl Disk for Volumes {
    fn create(&self, path: &Path) -> Result<Box<dyn File>, DiskError> {
        self.below.create(path)
    }
    fn open(&self, path: &Path) -> Result<Option<Box<dyn File>>, DiskError> {
        self.below.open(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.below.rename(from, to)
    }
    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        self.below.remove(path)
    }
    fn remove_dir(&self, path: &Path) -> Result<(), DiskError> {
        self.below.remove_dir(path)
    }
    fn create_dir(&self, path: &Path) -> Result<bool, DiskError> {
        self.below.create_dir(path)
    }
    fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        self.below.sync_dir(path)
    }
    fn list(&self, path: &Path) -> Result<Vec<String>, DiskError> {
        self.below.list(path)
    }
    fn exists(&self, path: &Path) -> Result<bool, DiskError> {
        self.below.exists(path)
    }
    fn free(&self, path: &Path) -> Result<u64, DiskError> {
        let full = self.full.lock().unwrap();
        if !full.is_empty() && path.ends_with(full.as_str()) { Ok(0) } else { self.below.free(path) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_the_view_or_the_high_water_file_pauses_the_log() {
    for view in [ViewChoice::default(), ViewChoice::Sled(Default::default())] {
        let disk = Arc::new(Volumes { below: disk::real(), full: Default::default() });
        let rig = Rig::on(Arc::clone(&disk) as Arc<dyn Disk>, view);
        rig.create();
        let config = || {
            std::fs::create_dir_all(rig.beside("elsewhere")).unwrap();
            let mut config = rig.config();
            config.high_water = Some(rig.beside("elsewhere/high-water"));
            config
        };
        let engine = Engine::open(config()).await.unwrap();
        let before = engine.append(event("before"), Until::Integrated).await.unwrap();

        disk.fill("elsewhere");
        let refused = engine.append(event("no memory of it"), Until::Integrated).await.unwrap_err();
        assert!(matches!(refused, AppendError::NoSpace), "{refused}");
        disk.fill("view");
        // The folder has room, so some are still committed; then the view can't take them, and no more are.
        let mut committed = Vec::new();
        let refused = loop {
            let answer = engine.append(event("more"), Until::Sequenced);
            match tokio::time::timeout(Duration::from_secs(30), answer).await.expect("nobody is kept waiting") {
                Ok(answer) => committed.push(answer),
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, AppendError::NoSpace), "{refused}");
        assert!(!committed.is_empty());
        assert_eq!(engine.entry(before.index).unwrap(), before.entry, "reads go on");
        assert_eq!(engine.lookup(&index_key("nobody")).unwrap(), None, "also in the view");

        disk.fill("");
        let after = loop {
            match engine.append(event("after"), Until::Integrated).await {
                Err(AppendError::NoSpace) => tokio::time::sleep(Duration::from_millis(10)).await,
                answer => break answer.unwrap(),
            }
        };
        covered(&engine, &after);
        assert_eq!(after.index.get(), before.index.get() + committed.len() as u64 + 1);
        for answer in committed {
            assert_eq!(engine.entry(answer.index).unwrap(), answer.entry);
        }
        // A log may be stopped while its disk is full.
        engine.append(event("last"), Until::Integrated).await.unwrap();
        disk.fill("view");
        engine.shutdown().await;
        assert!(engine.subscribe().borrow().fault.is_none());
        drop(engine);
        disk.fill("");
        let engine = Engine::open(config()).await.unwrap();
        assert_eq!(engine.heads().integrated.head.size.get(), after.index.get() + 2);
        engine.shutdown().await;
        drop(engine);
        rig.fsck();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_ends_the_log_and_nothing_more_is_answered() {
    let memory = MemoryDisk::new();
    let fault = FaultDisk::new(memory.shared());
    let mut rig = Rig::on(Arc::new(fault.clone()), ViewChoice::Memory);
    let engine = rig.start().await;
    let before = engine.append(event("before"), Until::Integrated).await.unwrap();
    // The next round: its keys are written and synced, then its journal record.
    let calls = fault.calls();
    for call in calls..calls + 4 {
        fault.plan(call, Fault::Failed);
    }
    let answer = engine.append(event("lost"), Until::Sequenced).await;
    assert!(matches!(answer, Err(AppendError::Dead)), "{answer:?}");
    let reason = tokio::time::timeout(Duration::from_secs(30), engine.dead()).await.unwrap();
    assert!(reason.to_string().contains("unknown"), "{reason}");
    assert!(matches!(engine.append(event("later"), Until::Sequenced).await, Err(AppendError::Dead)));
    engine.shutdown().await;
    drop(engine);
    rig.disk = memory.shared();
    let engine = rig.open().await;
    assert_eq!(engine.entry(before.index).unwrap(), before.entry);
    engine.append(event("after"), Until::Integrated).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn sequenced_is_answered_without_a_head() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let answer = engine.append(event("quick"), Until::Sequenced).await.unwrap();
    assert!(matches!(answer.reached, Reached::Sequenced));
    // A log without a quorum never says witnessed.
    let answer = engine.append(event("asked for more"), Until::Witnessed).await.unwrap();
    assert!(matches!(answer.reached, Reached::Integrated(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn fsck_finds_what_was_changed() {
    let rig = Rig::new();
    let engine = rig.start().await;
    engine.append_batch((0..300).map(|i| event(&format!("event {i}"))).collect(), Until::Integrated).await;
    engine.shutdown().await;
    drop(engine);
    rig.fsck();
    let wrong = |name: &str, offset: usize, expected: &str| {
        let path = rig.dir.join(name);
        let bytes = std::fs::read(&path).unwrap();
        let mut flipped = bytes.clone();
        flipped[offset] ^= 1;
        std::fs::write(&path, flipped).unwrap();
        let report = solelog::fsck::fsck(&rig.config(), &mut |_, _| {}).unwrap();
        std::fs::write(&path, bytes).unwrap();
        assert!(
            report.findings.iter().any(|f| f.place.starts_with(expected)),
            "{name} at {offset}: {:?}",
            report.findings
        );
    };
    wrong("tile/entries/000", 3000, "opening ");
    wrong("tile/entries/000", 3000, "tile/0/000");
    wrong("tile/entries/000", 3000, "the tree of size 301");
    wrong("tile/entries/001.p/45", 200, "tile/0/001.p/45");
    wrong("tile/0/000", 77, "tile/0/000");
    wrong("tile/0/001.p/45", 5, "tile/0/001.p/45");
    wrong("tile/1/000.p/1", 5, "tile/1/000.p/1");
    wrong("evidence/000", 500, "opening ");
    wrong("openings.keys", 32 * 70, "opening 70");
    wrong("checkpoint", 40, "checkpoint");
    std::fs::write(rig.dir.join("openings.keys"), vec![0; 301 * 32]).unwrap();
    let report = solelog::fsck::fsck(&rig.config(), &mut |_, _| {}).unwrap();
    assert_eq!(report.wrong, 300, "every key is missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_high_water_file_is_no_empty_one() {
    let rig = Rig::new();
    rig.create();
    let path = rig.beside("high-water");
    let config = || {
        let mut config = rig.config();
        config.high_water = Some(path.clone());
        config
    };
    let engine = Engine::open(config()).await.unwrap();
    engine.append(event("before"), Until::Integrated).await.unwrap();
    engine.shutdown().await;
    drop(engine);
    std::fs::remove_file(&path).unwrap();
    let refused = Engine::open(config()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Guard(GuardError::HighWater { .. })), "{refused}");
    assert!(refused.to_string().contains("empty file"), "{refused}");
    // What it tells the operator to do does it.
    std::fs::write(&path, b"").unwrap();
    let engine = Engine::open(config()).await.unwrap();
    assert!(!std::fs::read(&path).unwrap().is_empty());
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_after_the_snapshot_does_not_roll_a_credential_back() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let person = active(&engine, &rig, "Ada").await;
    let record = send(&engine, draft(&engine, &rig, &person).opening()).await.unwrap();
    engine.shutdown().await;
    drop(engine);
    let engine = rig.open().await;
    let erasure = Submission::Erasure { index: record.index, reason: "asked for".into() };
    engine.append(erasure, Until::Integrated).await.unwrap();
    let state = engine.credential(&person.id()).unwrap();
    // What a kill and a lost view leave: the snapshot does not know of the erasure, and the opening is gone.
    let image = rig.beside("image");
    copy_tree(&rig.dir, &image);
    engine.shutdown().await;
    drop(engine);
    std::fs::remove_dir_all(image.join("view")).unwrap();
    std::fs::remove_dir_all(&rig.dir).unwrap();
    copy_tree(&image, &rig.dir);
    let engine = rig.open().await;
    assert_eq!(engine.credential(&person.id()).unwrap(), state);
    send(&engine, draft(&engine, &rig, &person).opening()).await.unwrap();
    engine.shutdown().await;
}

/// Spoils the last record of a journal of one segment, as a torn write would look.
fn tear_the_last_record(rig: &Rig) {
    let dir = rig.dir.join("journal");
    let mut names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|e| e == "seg") && !path.ends_with("next.seg"));
    let [path] = names.as_slice() else { panic!("{names:?}") };
    let mut bytes = std::fs::read(path).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap();
    bytes[end] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_round_that_the_tiles_know_of_stops_the_start() {
    for events in [1, 300] {
        let rig = Rig::new();
        let engine = rig.start().await;
        engine.append(event("before"), Until::Integrated).await.unwrap();
        engine.shutdown().await;
        drop(engine);
        let image = rig.beside("image");
        let engine = rig.open().await;
        // With a quorum that is not met the newest head is not published, and the tiles alone know of it.
        let checkpoint = std::fs::read(rig.dir.join("checkpoint")).unwrap();
        for answer in
            engine.append_batch((0..events).map(|i| event(&format!("event {i}"))).collect(), Until::Integrated).await
        {
            answer.unwrap();
        }
        // Without a shutdown, as a kill leaves it: no snapshot of the last round, and a view that may be lost.
        copy_tree(&rig.dir, &image);
        engine.shutdown().await;
        drop(engine);
        std::fs::remove_dir_all(&rig.dir).unwrap();
        copy_tree(&image, &rig.dir);
        std::fs::remove_dir_all(rig.dir.join("view")).unwrap();
        std::fs::write(rig.dir.join("checkpoint"), checkpoint).unwrap();
        tear_the_last_record(&rig);

        let before = std::fs::read_dir(rig.dir.join("journal")).unwrap().count();
        let refused = Engine::open(rig.config()).await.err().unwrap();
        // The batch may have become more than one round; the last one is torn.
        let OpenError::Beyond { committed, .. } = &refused else { panic!("{refused}") };
        assert!((2..2 + events).contains(&committed.get()), "{refused}");
        assert!(refused.to_string().contains("newest copy"), "{refused}");
        // Looking at it does not make it startable.
        let report = solelog::fsck::fsck(&rig.config(), &mut |_, _| {}).unwrap();
        assert!(
            report.findings.iter().any(|f| f.what.contains(&format!("beyond {committed}"))),
            "{:?}",
            report.findings
        );
        assert!(matches!(Engine::open(rig.config()).await.err(), Some(OpenError::Beyond { .. })));
        assert!(matches!(recovery::rebuild(&rig.config(), &mut |_, _| {}), Err(OpenError::Beyond { .. })));
        assert_eq!(std::fs::read_dir(rig.dir.join("journal")).unwrap().count(), before);
    }
}

/// Somebody's next credential, and the record by which the one before speaks for it.
fn successor(engine: &Engine, rig: &Rig, person: &Person, name: &str) -> (Person, support::people::Draft) {
    let mut next = Person::new(name, P1);
    next.claims.subject = person.claims.subject;
    next.claims.predecessor = Some(person.id());
    next.claims.ordinal = person.claims.ordinal + 1;
    let mut add = draft(engine, rig, person);
    add.document.class = scal3::instruction::CLASS_ADD.into();
    add.document.fields.truncate(1);
    add.document.fields[0].name = "credential".into();
    add.document.fields[0].value = scal3::instruction::Value::Bytes(next.id().0.to_vec());
    add.metadata.class = add.document.class.clone();
    (next, add)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuilt_view_has_the_successors_whose_record_was_erased() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let person = active(&engine, &rig, "Ada").await;
    let erase = async |engine: &Engine, index| {
        let erasure = Submission::Erasure { index, reason: "asked for".into() };
        engine.append(erasure, Until::Integrated).await.unwrap();
    };
    // Erased after the successor was issued, and before.
    let (second, add) = successor(&engine, &rig, &person, "second phone");
    let spoken = send(&engine, add.opening()).await.unwrap();
    issue(&engine, &second).await.unwrap();
    send(&engine, draft(&engine, &rig, &second).opening()).await.unwrap();
    // A snapshot that does not know of the erasures.
    engine.shutdown().await;
    drop(engine);
    let engine = rig.open().await;
    erase(&engine, spoken.index).await;
    send(&engine, draft(&engine, &rig, &second).opening()).await.unwrap();
    let (third, add) = successor(&engine, &rig, &second, "third phone");
    let spoken = send(&engine, add.opening()).await.unwrap();
    erase(&engine, spoken.index).await;
    issue(&engine, &third).await.unwrap();
    send(&engine, draft(&engine, &rig, &third).opening()).await.unwrap();
    // Nobody speaks for this one. That another's record is erased does not change it.
    let other = active(&engine, &rig, "Ben").await;
    let record = send(&engine, draft(&engine, &rig, &other).opening()).await.unwrap();
    erase(&engine, record.index).await;
    let (alone, _) = successor(&engine, &rig, &other, "Ben's new phone");
    issue(&engine, &alone).await.unwrap();
    let people = [&person, &second, &third, &other, &alone];
    let states = people.map(|person| engine.credential(&person.id()).unwrap().unwrap());
    // What a kill leaves, with a lost view: the residue is in the journal's tail only.
    let image = rig.beside("image");
    copy_tree(&rig.dir, &image);
    engine.shutdown().await;
    drop(engine);
    std::fs::remove_dir_all(rig.dir.join("view")).unwrap();
    for killed in [false, true] {
        if killed {
            std::fs::remove_dir_all(image.join("view")).unwrap();
            std::fs::remove_dir_all(&rig.dir).unwrap();
            copy_tree(&image, &rig.dir);
        }
        let engine = rig.open().await;
        for (person, state) in people.iter().zip(&states) {
            assert_eq!(engine.credential(&person.id()).unwrap().as_ref(), Some(state), "killed: {killed}");
        }
        send(&engine, draft(&engine, &rig, &third).opening()).await.unwrap();
        engine.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_key_is_no_erasure_to_a_rebuild() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let erased = engine.append(event("erased"), Until::Integrated).await.unwrap();
    engine.append_batch((0..300).map(|i| event(&format!("event {i}"))).collect(), Until::Integrated).await;
    let erasure = Submission::Erasure { index: erased.index, reason: "asked for".into() };
    engine.append(erasure, Until::Integrated).await.unwrap();
    engine.shutdown().await;
    drop(engine);
    recovery::rebuild(&rig.config(), &mut |_, _| {}).unwrap();

    let keys = rig.dir.join("openings.keys");
    let whole = std::fs::read(&keys).unwrap();
    let mut bytes = whole.clone();
    bytes[32 * 7..32 * 9].fill(0);
    std::fs::write(&keys, bytes).unwrap();
    let lost = |refused: OpenError| {
        let key_lost =
            matches!(refused, OpenError::Rebuild(solelog::rebuild::RebuildError::KeyLost { index: 7, count: 2 }));
        assert!(key_lost, "{refused}");
    };
    lost(recovery::rebuild(&rig.config(), &mut |_, _| {}).unwrap_err());
    // The view was begun and not finished, so a start does not take it for one.
    lost(Engine::open(rig.config()).await.err().unwrap());
    std::fs::write(&keys, whole).unwrap();
    let engine = rig.open().await;
    assert_eq!(engine.opening(erased.index).unwrap(), Shown::Erased);
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_verifies_every_record_in_portions() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let person = active(&engine, &rig, "Ada").await;
    for portion in 0..5 {
        send(&engine, draft(&engine, &rig, &person).opening()).await.unwrap();
        let batch = (0..1000).map(|i| event(&format!("event {portion} {i}"))).collect();
        for answer in engine.append_batch(batch, Until::Sequenced).await {
            answer.unwrap();
        }
    }
    let last = draft(&engine, &rig, &person);
    let answer = send(&engine, last.opening()).await.unwrap();
    let state = engine.credential(&person.id()).unwrap();
    engine.shutdown().await;
    drop(engine);
    recovery::rebuild(&rig.config(), &mut |_, _| {}).unwrap();
    let engine = rig.open().await;
    assert_eq!(engine.credential(&person.id()).unwrap(), state);
    assert_eq!(engine.lookup(&last.metadata.index_key).unwrap(), Some(answer.index));
    assert_eq!(send(&engine, last.opening()).await.unwrap().index, answer.index);
    send(&engine, draft(&engine, &rig, &person).opening()).await.unwrap();
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_are_verified_together_each_has_its_own_verdict() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let person = active(&engine, &rig, "Ada").await;
    let good = draft(&engine, &rig, &person).opening();
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let stranger = Person::new("nobody", P1);
    let unknown = {
        let mut record = draft(&engine, &rig, &person);
        record.metadata.credential = stranger.id();
        record.opening()
    };
    let long = vec![0; rig.config().limits.opening_bytes + 1];
    let mut openings = Vec::new();
    for _ in 0..60 {
        openings.extend([good.clone(), forged.clone(), unknown.clone(), b"no opening".to_vec(), long.clone()]);
    }
    for (place, verdict) in engine.verify_all(openings).await.into_iter().enumerate() {
        match (place % 5, verdict) {
            (0, Ok(verified)) => assert_eq!(verified.opening(), good),
            (1, Err(AppendError::Refused(_)))
            | (2, Err(AppendError::UnknownCredential(_)))
            | (3, Err(AppendError::Refused(Refusal::Parse(_))))
            | (4, Err(AppendError::Body(_))) => {}
            (_, other) => panic!("at {place}: {other:?}"),
        }
    }
    engine.shutdown().await;
    let late = engine.verify(good).await.unwrap_err();
    assert!(matches!(late, AppendError::ShuttingDown), "{late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_could_read_again_is_not_appended() {
    let rig = Rig::new();
    let engine = rig.start().await;
    let record = engine.append(event("something"), Until::Integrated).await.unwrap();
    // Within the depth by itself, and beyond it inside an opening.
    let deep = [vec![0x81; 8], vec![0xf6]].concat();
    assert!(cbor::decode(&deep, 100).is_ok());
    let refused = engine.append(Submission::Event { body: deep, index_key: None }, Until::Sequenced).await;
    assert!(matches!(refused, Err(AppendError::Body(_))), "{refused:?}");
    let endless = Submission::Erasure { index: record.index, reason: "x".repeat(300 << 10) };
    let refused = engine.append(endless, Until::Sequenced).await;
    assert!(matches!(refused, Err(AppendError::Body(_))), "{refused:?}");
    assert_eq!(engine.heads().committed.size.get(), 2);
    engine.shutdown().await;
}
