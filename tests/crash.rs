//! A crash at every call that changes the disk: whatever was acknowledged is there afterwards, and no two heads that
//! were ever signed contradict each other.
//!
//! `SOLELOG_CRASH_STRIDE=1` tries every call; by default it is every third.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use solelog::engine::Engine;
use solelog::folder::ViewChoice;
use solelog::openings::Shown;
use solelog::recovery::{CreateError, OpenError};
use solelog::store::disk::{Cut, Fault, FaultDisk, MemoryDisk};
use solelog::submission::{AppendError, Appended, Reached, Submission, Until};
use support::people::Person;
use support::*;
use tlog::Hash;
use tlog::tree::TreeSize;

/// Everything that left the process.
#[derive(Default)]
struct Told {
    created: bool,
    entries: BTreeMap<u64, Vec<u8>>,
    heads: BTreeMap<u64, Hash>,
    /// A record that was acknowledged, and its index.
    record: Option<(Vec<u8>, u64)>,
    /// Openings that were to be erased.
    erasing: BTreeSet<u64>,
    /// Those whose erasure was acknowledged.
    erased: BTreeSet<u64>,
}

impl Told {
    fn answer(&mut self, engine: &Engine, answer: &Appended) {
        let had = self.entries.insert(answer.index.get(), answer.entry.clone());
        assert!(had.is_none_or(|had| had == answer.entry), "two entries at {}", answer.index);
        if !matches!(answer.reached, Reached::Sequenced) {
            covered(engine, answer);
        }
        self.heads(engine);
    }

    fn heads(&mut self, engine: &Engine) {
        let heads = engine.heads();
        for head in [Some(heads.integrated), heads.published].into_iter().flatten() {
            let head = checked(engine, &head);
            let had = self.heads.insert(head.size.get(), head.root);
            assert!(had.is_none_or(|had| had == head.root), "two roots at {}", head.size);
        }
    }
}

/// Lives a little, until the disk stops.
async fn live(rig: &Rig, told: &mut Told) -> Result<(), String> {
    if !told.created {
        match Engine::create(&rig.config(), &genesis()) {
            Ok(()) => told.created = true,
            // An earlier try has come far enough; nobody was told so.
            Err(CreateError::Exists(_)) => {}
            Err(e) => return Err(e.to_string()),
        }
    }
    let mut config = rig.config();
    config.pace.snapshot_every_bytes = 2000;
    let engine = Engine::open(config).await.map_err(|e| e.to_string())?;
    told.created = true;
    let lived = live_with(&engine, rig, told).await;
    engine.shutdown().await;
    let fault = engine.subscribe().borrow().fault.clone();
    lived.map_err(|e| e.to_string())?;
    fault.map_or(Ok(()), |fault| Err(fault.to_string()))
}

async fn live_with(engine: &Engine, rig: &Rig, told: &mut Told) -> Result<(), AppendError> {
    told.heads(engine);
    for name in ["one", "two"] {
        told.answer(engine, &engine.append(event(name), Until::Integrated).await?);
    }
    let person = Person::new("Ada", scal3::Profile::EcSdsa);
    told.answer(engine, &issue(engine, &person).await?);
    for _ in 0..2 {
        let opening = draft(engine, rig, &person).opening();
        let answer = send(engine, opening.clone()).await?;
        told.record = Some((opening, answer.index.get()));
        told.answer(engine, &answer);
    }
    let secret = engine.append(event("secret"), Until::Integrated).await?;
    told.answer(engine, &secret);
    let erasure = Submission::Erasure { index: secret.index, reason: "asked for".into() };
    told.erasing.insert(secret.index.get());
    let erasure = engine.append(erasure, Until::Integrated).await?;
    told.erased.insert(secret.index.get());
    told.answer(engine, &erasure);
    let batch = (0..260).map(|i| event(&format!("event {i}"))).collect();
    for answer in engine.append_batch(batch, Until::Sequenced).await {
        told.answer(engine, &answer?);
    }
    told.answer(engine, &engine.append(event("last"), Until::Integrated).await?);
    Ok(())
}

/// Looks at a log after a crash: is everything there that somebody was told of?
async fn judge(rig: &Rig, told: &mut Told, what: &str) {
    let engine = match Engine::open(rig.config()).await {
        Ok(engine) => engine,
        Err(OpenError::NoLog(_) | OpenError::Genesis) if !told.created => {
            // It was never made. Then it can be made now.
            Engine::create(&rig.config(), &genesis()).unwrap_or_else(|e| panic!("{what}: {e}"));
            Engine::open(rig.config()).await.unwrap()
        }
        Err(e) => panic!("{what}: {e}"),
    };
    let head = checked(&engine, &engine.heads().integrated);
    for (size, root) in &told.heads {
        assert!(*size <= head.size.get(), "{what}: a signed head of size {size} is lost");
        assert_eq!(engine.root_at(TreeSize::new(*size).unwrap()).unwrap(), *root, "{what}: another root at {size}");
    }
    for (index, entry) in &told.entries {
        let there = engine.entry(at(*index)).unwrap_or_else(|e| panic!("{what}: entry {index}: {e}"));
        assert_eq!(there, *entry, "{what}: another entry at {index}");
        let opening = engine.opening(at(*index)).unwrap_or_else(|e| panic!("{what}: opening {index}: {e}"));
        match opening {
            Shown::Open(_) => assert!(!told.erased.contains(index), "{what}: opening {index} is back"),
            Shown::Erased => assert!(told.erasing.contains(index), "{what}: opening {index} is lost"),
            Shown::Public => panic!("{what}: entry {index} is public"),
        }
    }
    if let Some((opening, index)) = &told.record {
        let again = send(&engine, opening.clone()).await.unwrap();
        assert_eq!((again.index.get(), again.existing), (*index, true), "{what}: the same authorisation again");
    }
    fold(&engine);
    let more = engine.append(event("after the crash"), Until::Integrated).await.unwrap();
    told.answer(&engine, &more);
    engine.shutdown().await;
    let fault = engine.subscribe().borrow().fault.clone();
    assert!(fault.is_none(), "{what}: {fault:?}");
    drop(engine);
    rig.fsck();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_call_loses_nothing_that_was_acknowledged() {
    let stride = std::env::var("SOLELOG_CRASH_STRIDE").ok().and_then(|s| s.parse().ok()).unwrap_or(3);
    let mut crashes = 0;
    for fault in [Fault::Crash, Fault::CrashAfter, Fault::Torn] {
        for call in (0..).step_by(stride) {
            let memory = MemoryDisk::new();
            let faulty = FaultDisk::new(memory.shared()).at(call, fault);
            let mut rig = Rig::on(Arc::new(faulty.clone()), ViewChoice::Memory);
            let mut told = Told::default();
            let lived = live(&rig, &mut told).await;
            if !faulty.crashed() {
                lived.unwrap();
                assert!(told.entries.len() > 260);
                break;
            }
            crashes += 1;
            let what = format!("{fault:?} at call {call} ({})", faulty.history().last().cloned().unwrap_or_default());
            let cut = |seed| if seed % 3 == 0 { Cut::Lost } else { Cut::Some(seed) };
            memory.cut_power(cut(call));

            // The start after it crashes as well.
            let second = FaultDisk::new(memory.shared()).at(call % 37, fault);
            rig.disk = Arc::new(second.clone());
            let _ = live(&rig, &mut told).await;
            let what = format!("{what}, then at call {} of the next start", call % 37);
            memory.cut_power(cut(call + 1));
            rig.disk = memory.shared();
            judge(&rig, &mut told, &what).await;
        }
    }
    println!("{crashes} crashes");
    assert!(crashes >= 300 / stride, "only {crashes} crashes: the workload no longer does what it did");
}
