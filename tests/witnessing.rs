//! The log and its witnesses: real ones, over HTTP on this machine.

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use solelog::engine::{Config, Engine};
use solelog::guard::GuardError;
use solelog::progress::Fault;
use solelog::recovery::OpenError;
use solelog::submission::{Reached, Until};
use support::*;
use tlog::key::KeyName;
use tlog::note::Note;
use tlog::policy::Policy;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use witness::{TrustedLog, Witness};

/// One witness with its folder; it keeps its address when it is stopped and started.
struct Running {
    name: String,
    dir: PathBuf,
    address: std::net::SocketAddr,
    vkey: String,
    stop: Option<(oneshot::Sender<()>, tokio::task::JoinHandle<()>)>,
}

impl Running {
    async fn start(rig: &Rig, name: &str) -> Running {
        let dir = rig.beside(name);
        let log = TrustedLog::from_vkey(&rig.config().signers.vkey().to_string()).unwrap();
        let key = KeyName::new(&format!("{name}.example/witness")).unwrap();
        witness::set_up(&dir, Some(&key), None, &[log]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut running = Running { name: name.into(), dir, address, vkey: String::new(), stop: None };
        running.serve(listener);
        running
    }

    fn serve(&mut self, listener: TcpListener) {
        let witness = Arc::new(Witness::open(&self.dir).unwrap());
        self.vkey = witness.vkey().to_string();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let until = async {
                let _ = stopped.await;
            };
            witness::serve(witness, listener, until).await.unwrap();
        });
        self.stop = Some((stop, task));
    }

    async fn stop(&mut self) {
        let (stop, task) = self.stop.take().unwrap();
        let _ = stop.send(());
        task.await.unwrap();
    }

    async fn restart(&mut self) {
        self.serve(TcpListener::bind(self.address).await.unwrap());
    }
}

/// Two of three.
fn policy(rig: &Rig, witnesses: &[Running]) -> Policy {
    let mut text = format!("log {}\n", rig.config().signers.vkey());
    for w in witnesses {
        text += &format!("witness {} {} http://{}\n", w.name, w.vkey, w.address);
    }
    let names: Vec<&str> = witnesses.iter().map(|w| w.name.as_str()).collect();
    text += &format!("group quorum 2 {}\nquorum quorum\n", names.join(" "));
    Policy::parse(text).unwrap()
}

fn config(rig: &Rig, policy: &Policy) -> Config {
    let mut config = rig.config();
    config.witnesses = Some(policy.clone());
    config.pace.witness_timeout = Duration::from_secs(2);
    config.pace.guard_timeout = Duration::from_millis(300);
    config
}

async fn three(rig: &Rig) -> Vec<Running> {
    let mut witnesses = Vec::new();
    for name in ["one", "two", "three"] {
        witnesses.push(Running::start(rig, name).await);
    }
    witnesses
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_04_a_checkpoint_is_published_when_two_of_three_have_cosigned() {
    let rig = Rig::new();
    rig.create();
    let mut witnesses = three(&rig).await;
    let policy = policy(&rig, &witnesses);
    let engine = Engine::open(config(&rig, &policy)).await.unwrap();
    for i in 0..5 {
        let answer = engine.append(event(&format!("event {i}")), Until::Witnessed).await.unwrap();
        assert!(matches!(answer.reached, Reached::Witnessed(_)), "{:?}", answer.reached);
        let head = covered(&engine, &answer).head;
        let accepted = policy.verify(&Note::parse(&head.note).unwrap()).unwrap();
        assert!(accepted.witnesses.len() >= 2);
    }
    // One that is away costs nothing but its cosignature.
    witnesses[0].stop().await;
    let answer = engine.append(event("without one"), Until::Witnessed).await.unwrap();
    assert!(matches!(answer.reached, Reached::Witnessed(_)));
    let published = engine.heads().published.unwrap().head;
    engine.shutdown().await;
    drop(engine);

    let engine = Engine::open(config(&rig, &policy)).await.unwrap();
    assert_eq!(engine.heads().published.unwrap().head, published, "the published head is still there");
    engine.shutdown().await;
    drop(engine);
    let report = solelog::fsck::fsck(&config(&rig, &policy), &mut |_, _| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert!(report.witnesses.len() >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_published_and_the_log_goes_on() {
    let rig = Rig::new();
    rig.create();
    let mut witnesses = three(&rig).await;
    let policy = policy(&rig, &witnesses);
    let mut patient = config(&rig, &policy);
    patient.pace.patience = Duration::from_millis(500);
    let engine = Engine::open(patient).await.unwrap();
    let first = engine.append(event("first"), Until::Witnessed).await.unwrap();
    assert!(matches!(first.reached, Reached::Witnessed(_)), "{:?}", first.reached);
    witnesses[1].stop().await;
    witnesses[2].stop().await;
    let checkpoint = engine.checkpoint().unwrap();
    let answer = engine.append(event("second"), Until::Witnessed).await.unwrap();
    assert!(matches!(answer.reached, Reached::Integrated(_)), "{:?}", answer.reached);
    let published = Note::parse(&engine.checkpoint().unwrap()).unwrap();
    assert_eq!(published.text(), Note::parse(&checkpoint).unwrap().text(), "fail closed");

    witnesses[2].restart().await;
    let mut state = engine.subscribe();
    let back = state.wait_for(|s| s.heads.witnesses(answer.index).is_some());
    tokio::time::timeout(Duration::from_secs(60), back).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_is_noticed_by_the_witnesses() {
    let rig = Rig::new();
    rig.create();
    let mut witnesses = three(&rig).await;
    let policy = policy(&rig, &witnesses);
    let run = async |name: &str| {
        let engine = Engine::open(config(&rig, &policy)).await.unwrap();
        let answer = engine.append(event(name), Until::Witnessed).await.unwrap();
        assert!(matches!(answer.reached, Reached::Witnessed(_)));
        engine.shutdown().await;
    };
    run("before").await;
    let backup = rig.beside("backup");
    copy_tree(&rig.dir, &backup);
    run("after").await;
    let newest = rig.beside("newest");
    copy_tree(&rig.dir, &newest);
    std::fs::remove_dir_all(&rig.dir).unwrap();
    copy_tree(&backup, &rig.dir);
    let refused = Engine::open(config(&rig, &policy)).await.err().unwrap();
    assert!(matches!(&refused, OpenError::Guard(GuardError::RolledBack { .. })), "{refused}");

    // Also when it is the silent ones who would know: two must answer.
    std::fs::remove_dir_all(&rig.dir).unwrap();
    copy_tree(&newest, &rig.dir);
    witnesses[0].stop().await;
    run("with two of three").await;
    witnesses[1].stop().await;
    let refused = Engine::open(config(&rig, &policy)).await.err().unwrap();
    let OpenError::Guard(GuardError::TooFewAnswers { silent }) = &refused else { panic!("{refused}") };
    assert_eq!(silent.len(), 2, "{silent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_log_dies_at_its_first_head() {
    let rig = Rig::new();
    rig.create();
    let witnesses = three(&rig).await;
    let policy = policy(&rig, &witnesses);
    let engine = Engine::open(config(&rig, &policy)).await.unwrap();
    engine.append(event("common"), Until::Witnessed).await.unwrap();
    engine.shutdown().await;
    drop(engine);
    let copy = rig.beside("copy");
    copy_tree(&rig.dir, &copy);

    let engine = Engine::open(config(&rig, &policy)).await.unwrap();
    let mut other = config(&rig, &policy);
    other.dir = copy;
    let other = Engine::open(other).await.unwrap();
    let answer = engine.append(event("ours"), Until::Witnessed).await.unwrap();
    assert!(matches!(answer.reached, Reached::Witnessed(_)));
    // The copy makes another history. Whichever witness it asks has cosigned the first one.
    let answer = other.append(event("theirs"), Until::Witnessed).await;
    let fault = tokio::time::timeout(Duration::from_secs(60), other.dead()).await.unwrap();
    assert!(matches!(fault, Fault::Forked { .. }), "{fault}");
    assert!(!matches!(answer.map(|a| a.reached), Ok(Reached::Witnessed(_))));
    assert!(engine.subscribe().borrow().fault.is_none(), "the first one lives");
}
