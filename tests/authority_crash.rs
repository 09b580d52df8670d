//! A crash at every call that changes the disk, while somebody enrols and authorises: no attempt is free, no challenge
//! lives twice, no record is half there.
//!
//! `SOLELOG_CRASH_STRIDE=1` tries every call; by default it is every fourth.

mod device;
mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use device::*;
use scal3::instruction::Value;
use scal3::state::Status;
use scal3::{Document, Hash};
use solelog::authority::Authority;
use solelog::authority::authorise::{Answer, AuthoriseError};
use solelog::authority::challenges::ChallengeError;
use solelog::engine::Engine;
use solelog::folder::ViewChoice;
use solelog::keys::SoftKeys;
use solelog::recovery::{CreateError, OpenError};
use solelog::store::disk::{Cut, Fault, FaultDisk, MemoryDisk};
use support::*;
use threshold::Profile1;

const PIN: &str = "12345";

/// Everything that left the process.
#[derive(Default)]
struct Told {
    created: bool,
    device: Option<Device<Profile1>>,
    /// Wrong PINs that the device was told of.
    wrong: u64,
    /// Records that it was told of.
    records: u64,
    /// Every answer that was ever sent, under its challenge.
    sent: Vec<(Hash, Answer)>,
}

fn payment() -> Document {
    document("note", "text", Value::Text("x".to_owned()))
}

/// One try, as far as it comes. What was told is noted as soon as it is.
async fn answer(
    authority: &Authority,
    house: &House,
    told: &mut Told,
    document: &Document,
    pin: &str,
) -> Result<(), String> {
    let device = told.device.as_mut().expect("enrolled");
    // A device that was cut off goes on where the log says.
    let state = authority.engine().credential(&device.id).map_err(|e| e.to_string())?.ok_or("not issued")?;
    (device.sequence, device.previous) = (state.next_sequence(), *state.previous());
    let intent = device.intent(authority, document).await.map_err(|e| e.to_string())?;
    let metadata = device.metadata(authority, &intent, house.rig.clock.load(Ordering::SeqCst));
    let answer = device.answer(&metadata, &intent, document, pin);
    told.sent.push((metadata.challenge, answer.clone()));
    match authority.authorise(metadata.challenge, answer).await {
        Ok(_) => told.records += 1,
        Err(AuthoriseError::SecondFactor { .. }) => told.wrong += 1,
        Err(other) => return Err(other.to_string()),
    }
    Ok(())
}

async fn live(house: &House, told: &mut Told) -> Result<(), String> {
    if !told.created {
        match house.create() {
            Ok(()) => told.created = true,
            // An earlier try has come far enough; nobody was told so.
            Err(CreateError::Exists(_)) => {}
            Err(e) => return Err(e.to_string()),
        }
    }
    let engine = Engine::open(house.rig.config()).await.map_err(|e| e.to_string())?;
    told.created = true;
    let authority = house.over(engine.clone());
    let lived = live_with(&authority, house, told).await;
    engine.shutdown().await;
    let fault = engine.subscribe().borrow().fault.clone();
    lived?;
    fault.map_or(Ok(()), |fault| Err(fault.to_string()))
}

async fn live_with(authority: &Authority, house: &House, told: &mut Told) -> Result<(), String> {
    if told.device.is_none() {
        told.device = Some(Device::deal(authority, PIN, None, false).await.map_err(|e| e.to_string())?.0);
    }
    let status = |told: &Told| {
        let id = told.device.as_ref().expect("enrolled").id;
        authority.engine().credential(&id).map_err(|e| e.to_string()).map(|state| state.map(|state| state.status()))
    };
    if status(told)? == Some(Status::Issued) {
        answer(authority, house, told, &activation(), PIN).await?;
    }
    answer(authority, house, told, &payment(), "54321").await?;
    answer(authority, house, told, &payment(), "54321").await?;
    answer(authority, house, told, &payment(), PIN).await
}

/// Looks at a log after a crash.
async fn judge(house: &House, told: &mut Told, what: &str) {
    let engine = match Engine::open(house.rig.config()).await {
        Ok(engine) => engine,
        Err(OpenError::NoLog(_) | OpenError::Genesis) if !told.created => {
            house.create().unwrap_or_else(|e| panic!("{what}: {e}"));
            Engine::open(house.rig.config()).await.unwrap()
        }
        Err(e) => panic!("{what}: {e}"),
    };
    let authority = house.over(engine.clone());
    let Some(device) = &told.device else {
        live_with(&authority, house, told).await.unwrap_or_else(|e| panic!("{what}: {e}"));
        return engine.shutdown().await;
    };
    let id = device.id;
    let state = engine.credential(&id).unwrap().unwrap_or_else(|| panic!("{what}: the credential is lost"));
    let attempts = *state.attempts();
    assert!(attempts.in_all >= told.wrong, "{what}: {} wrong ones are counted of {}", attempts.in_all, told.wrong);
    assert!(state.next_sequence() >= told.records, "{what}: a record is lost");
    let sent = told.sent.len() as u64;
    assert!(state.next_sequence() + attempts.in_all <= sent, "{what}: more is counted than was sent");
    let size = engine.heads().committed.size;
    for (challenge, answer) in &told.sent {
        let again = authority.authorise(*challenge, answer.clone()).await;
        assert!(
            matches!(again, Err(AuthoriseError::Challenge(ChallengeError::Unknown))),
            "{what}: a challenge lives twice: {again:?}"
        );
    }
    assert_eq!(engine.heads().committed.size, size, "{what}: an old answer has left something");
    let folded = fold(&engine);
    let known = folded.credential(&id).unwrap().certain();
    assert_eq!(known, Some(&state), "{what}: the log says something else than the view");
    // Life goes on.
    live_with(&authority, house, told).await.unwrap_or_else(|e| panic!("{what}: {e}"));
    let after = *engine.credential(&id).unwrap().unwrap().attempts();
    assert_eq!((after.in_a_row, after.open), (0, None), "{what}: the last PIN was right");
    engine.shutdown().await;
    drop((authority, engine));
    house.rig.fsck();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_call_of_an_authorisation_frees_no_attempt_and_no_challenge() {
    let stride = std::env::var("SOLELOG_CRASH_STRIDE").ok().and_then(|s| s.parse().ok()).unwrap_or(4);
    let keys = Arc::new(SoftKeys::generate().expect("randomness"));
    let mut crashes = 0;
    for fault in [Fault::Crash, Fault::CrashAfter, Fault::Torn] {
        for call in (0..).step_by(stride) {
            let memory = MemoryDisk::new();
            let faulty = FaultDisk::new(memory.shared()).at(call, fault);
            let rig = Rig::on(Arc::new(faulty.clone()), ViewChoice::Memory);
            let mut house = House { rig, keys: Arc::clone(&keys), settings: Default::default() };
            // Attempts that a crash cut off stay counted; here they must not suspend.
            house.settings.allowance.in_a_row = 50;
            let mut told = Told::default();
            let lived = live(&house, &mut told).await;
            if !faulty.crashed() {
                lived.unwrap();
                assert_eq!((told.wrong, told.records), (2, 2));
                break;
            }
            crashes += 1;
            let what = format!("{fault:?} at call {call} ({})", faulty.history().last().cloned().unwrap_or_default());
            memory.cut_power(if call % 3 == 0 { Cut::Lost } else { Cut::Some(call) });
            house.rig.disk = memory.shared();
            judge(&house, &mut told, &what).await;
        }
    }
    println!("{crashes} crashes");
    assert!(crashes >= 200 / stride, "only {crashes} crashes: the workload no longer does what it did");
}
