//! kill -9 while people authorise, with right PINs and with wrong ones: no attempt is free, and no challenge is answered
//! twice, at whatever moment the process is gone.
//!
//! Real processes, and the subscriber's own library. `SOLELOG_KILLS` says how often (20 by default).

mod process;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use client::device::SoftDevice;
use client::provider::ProblemKind;
use client::watch::What;
use client::{Document, Error, Pin, Profile, Subscriber, Value, instruction};
use process::people::{Site, pin};
use process::{Served, solelog};

const ORIGIN: &str = "kill.example/authority";

fn payment(cents: u64) -> Document {
    let fields = [("amount", Value::Uint(cents)), ("currency", Value::Text("EUR".into()))];
    instruction("payment", &fields).expect("document")
}

/// What was said to a guesser, and must stay so.
#[derive(Default)]
struct Guesses {
    /// How many were answered with a count.
    told: u64,
    /// How many left the device.
    sent: u64,
    /// The last count: it never grows.
    left: Option<u64>,
    suspended: bool,
}

impl Guesses {
    /// Guesses until the log is gone, or the credential suspended.
    async fn run(mut self, mut thief: Subscriber<SoftDevice>) -> (Guesses, Subscriber<SoftDevice>) {
        while !self.suspended {
            match thief.authorise(&payment(self.sent), &Pin::new("00000")).await {
                Err(Error::WrongPin { attempts_left: Some(left) }) => {
                    (self.told, self.sent) = (self.told + 1, self.sent + 1);
                    assert!(self.left.is_none_or(|before| left < before), "{left} left, after {:?}", self.left);
                    self.left = Some(left);
                }
                // Suspended, by the fifth or by whoever came to count it after a kill.
                Err(Error::Refused(problem)) => match problem.kind {
                    ProblemKind::Blocked | ProblemKind::CredentialInactive => self.suspended = true,
                    other => panic!("{other:?}"),
                },
                Err(Error::Unsettled | Error::Provider(_)) => {
                    // It may have been counted, or not.
                    self.sent += 1;
                    return (self, thief);
                }
                other => panic!("{other:?}"),
            }
        }
        (self, thief)
    }
}

/// Authorises until the log is gone. What was acknowledged has a sequence of its own.
async fn pays(mut person: Subscriber<SoftDevice>, acknowledged: &mut Vec<u64>) -> Subscriber<SoftDevice> {
    loop {
        match person.authorise(&payment(1), &pin()).await {
            Ok(done) => {
                assert!(acknowledged.last().is_none_or(|last| done.sequence > *last), "number {} twice", done.sequence);
                acknowledged.push(done.sequence);
            }
            Err(Error::Unsettled | Error::Provider(_)) => return person,
            // The challenge was opened before the kill, or its answer was counted and went down with the process.
            Err(Error::PlaceTaken) => {}
            Err(Error::Refused(problem)) if problem.kind == ProblemKind::ChallengeSpent => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// How many attempts the log shows under the person's credential, each challenge once; and how many of them failed.
async fn attempts(person: &mut Subscriber<SoftDevice>) -> (Vec<Vec<u8>>, usize, usize) {
    let watch = person.watch().await.expect("watched");
    assert_eq!(watch.findings, [], "every entry is in order, and each attempt is this device's");
    let of = |wanted: &str| -> Vec<Vec<u8>> {
        let events = watch.entries.iter().filter_map(|own| match &own.what {
            What::Event { name, detail: scal3::event::Detail::Bytes(challenge), .. } if name == wanted => {
                Some(challenge.clone())
            }
            _ => None,
        });
        events.collect()
    };
    let records = watch.entries.iter().filter(|own| matches!(own.what, What::Record { .. })).count();
    let started = of("attempt.started");
    let mut distinct = started.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), started.len(), "a challenge lived twice");
    let failed = of("attempt.failed").len();
    (started, failed, records)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_attempt_is_free_and_no_challenge_lives_twice_when_the_process_is_killed() {
    let kills: u64 = std::env::var("SOLELOG_KILLS").map_or(20, |n| n.parse().expect("SOLELOG_KILLS is a number"));
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::init(folder.path(), ORIGIN);
    let config = Path::new(&site.config);
    let home = |name: &str| folder.path().join(name);
    let enrol = async |served: &Served, name: &str| {
        let mut person = site.device(served, &home(name));
        let invitation = site.invite(served, None).await;
        person.enrol(&invitation, Profile::EcSdsa, &pin()).await.expect("enrolled");
    };
    {
        let served = Served::start(config, Stdio::null(), "off");
        enrol(&served, "anna").await;
    }

    let (mut acknowledged, mut suspended, mut thieves) = (Vec::new(), 0, 0_u64);
    let mut guesses = Guesses { suspended: true, ..Guesses::default() };
    let began = Instant::now();
    for kill in 0..kills {
        let served = Served::start(config, Stdio::null(), "off");
        if guesses.suspended {
            // Five in a row: the next one is guessed at.
            thieves += 1;
            guesses = Guesses::default();
            enrol(&served, &format!("victim{thieves}")).await;
        }
        let thief = site.device(&served, &home(&format!("victim{thieves}")));
        let anna = site.device(&served, &home("anna"));
        // Another moment each time, so that the kill meets other steps of an authorisation.
        let moment = Duration::from_millis(40 + kill * 61 % 257);
        let killer = tokio::task::spawn_blocking(move || {
            std::thread::sleep(moment);
            drop(served);
        });
        let ((after, thief), anna) = tokio::join!(guesses.run(thief), pays(anna, &mut acknowledged));
        killer.await.expect("killed");
        // They hold their folders.
        drop((thief, anna));
        guesses = after;

        // What was told is in the log, after the restart as before it.
        let served = Served::start(config, Stdio::null(), "off");
        let mut victim = site.device(&served, &home(&format!("victim{thieves}")));
        let (started, failed, _) = attempts(&mut victim).await;
        // The first is the activation.
        let counted = started.len() as u64 - 1;
        assert!((guesses.told..=guesses.sent).contains(&counted), "{counted} of {} guesses", guesses.sent);
        assert!(failed as u64 >= guesses.told, "{failed} verdicts, and {} were told", guesses.told);
        assert!(counted <= 5, "{counted} guesses");
        if guesses.suspended {
            suspended += 1;
            assert_eq!(counted, 5, "five in a row suspend, not {counted}");
            let right = victim.authorise(&payment(1), &pin()).await;
            assert!(
                matches!(&right, Err(Error::Refused(problem)) if problem.kind == ProblemKind::Blocked),
                "{right:?}"
            );
        }
    }

    let served = Served::start(config, Stdio::null(), "off");
    let mut anna = site.device(&served, &home("anna"));
    anna.authorise(&payment(2), &pin()).await.expect("whatever was cut off, she goes on");
    let (started, failed, records) = attempts(&mut anna).await;
    assert_eq!(failed, 0, "she was never wrong");
    assert!(started.len() >= records, "each record was counted before it was made");
    assert!(records > acknowledged.len(), "{records} records, and {} were acknowledged", acknowledged.len());
    drop(served);
    solelog(&["fsck", "--config", &site.config]);
    println!(
        "{kills} kills in {:?}: {} instructions acknowledged, none lost; {thieves} guessed at, {suspended} suspended",
        began.elapsed(),
        acknowledged.len()
    );
    assert!(suspended > 0 || kills < 20, "nobody was guessed at five times");
}
