//! The generator's records are records: the judge of all engines says so, and so does a log that serves as a real process.

use std::collections::BTreeSet;
use std::path::PathBuf;

use loadtest::answers::Level;
use loadtest::crowd::Crowd;
use loadtest::local::{Log, Program};
use loadtest::maker::{Person, Provider, now_ms};
use loadtest::pairs::{Pair, Pairs};
use loadtest::transport::Connection;
use p256::ecdsa::SigningKey;
use scal3::batch::{Plain, VerifyBatch as _};
use scal3::credential::IssuingKey;
use scal3::verify::Submitted;
use scal3::{Credential, Hash, metadata};
use tlog::TreeHead;

fn program() -> Program {
    Program::loadtest(PathBuf::from(env!("CARGO_BIN_EXE_solelog-loadtest")))
}

#[test]
fn records_verify_and_follow_one_another() {
    let issuing: Pair = Pairs::from_seed(&[1; 32]).take();
    let key = IssuingKey::parse(&issuing.public()).expect("a key");
    let issuing = SigningKey::from_slice(&issuing.secret.to_bytes()).expect("a key");
    let provider = Provider::new(issuing, "load.example/log", b"{}");
    let (mut person, credential) = Person::new(&provider, now_ms()).expect("a person");
    let credential = Credential::open(&credential, &key).expect("signed by the provider");
    let mut pairs = Pairs::from_seed(&[2; 32]);
    let mut previous = credential.id();
    let mut index_keys = BTreeSet::new();
    for sequence in 0..70 {
        let made = person.next(&mut pairs, &TreeHead::EMPTY, now_ms()).expect("a record");
        let submitted = Submitted::parse(&made.opening).expect("well-formed");
        assert_eq!(*submitted.commitment(), made.commitment);
        let metadata = submitted.metadata().clone();
        assert_eq!((metadata.sequence, metadata.previous), (sequence, previous));
        assert_eq!(metadata.class == "credential.activate", sequence == 0);
        assert!(index_keys.insert(metadata.index_key), "an index key came twice");
        previous = metadata::previous(&credential.id(), sequence, submitted.record().c());
        let bound = submitted.bind(&credential, "load.example/log").expect("bound");
        let mut spoilt = bound.job().clone();
        spoilt.message[40] ^= 1;
        let verdicts = Plain.verify_batch(&[bound.job().clone(), spoilt]);
        assert!(verdicts[0].is_ok() && verdicts[1].is_err(), "{verdicts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_takes_what_a_crowd_sends() {
    let folder = tempfile::tempdir().expect("folder");
    let log = Log::make(&program(), folder.path(), 1).await.expect("a log");
    let served = log.serve().expect("served");
    let (target, about) = served.target(&log).await.expect("a target");
    let provider = log.provider(&about).expect("a provider");
    let mut crowd = Crowd::enrol(&target, &provider, 5, 2).await.expect("enrolled");
    let mut places = BTreeSet::new();
    for level in [Level::Sequenced, Level::Integrated, Level::Witnessed] {
        for lane in crowd.make(7).expect("made") {
            let mut connection = Connection::new(&target.place);
            let indices = target.batch(&mut connection, &lane, level).await.expect("appended, and the answer holds");
            indices.into_iter().for_each(|index| assert!(places.insert(index), "a place given twice"));
        }
    }
    assert_eq!(places.len(), 3 * 14);
    // Genesis; for each person issued, the activation, activated; and the records.
    let (_, about) = served.target(&log).await.expect("a target");
    assert_eq!(about.integrated.size, 1 + 15 + 42);
    let usage = served.usage().expect("it runs");
    assert!(usage.cpu_s > 0.0 && usage.rss > 1 << 20 && usage.rss_peak >= usage.rss);
    served.stop().expect("stopped in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_hold_is_seen() {
    let folder = tempfile::tempdir().expect("folder");
    let log = Log::make(&program(), folder.path(), 0).await.expect("a log");
    let served = log.serve().expect("served");
    let (target, about) = served.target(&log).await.expect("a target");
    let mut crowd = Crowd::enrol(&target, &log.provider(&about).expect("a provider"), 2, 1).await.expect("enrolled");
    let mut connection = Connection::new(&target.place);
    let mut made = crowd.make(2).expect("made").remove(0);
    made[1].commitment = Hash([7; 32]);
    let refused = target.batch(&mut connection, &made, Level::Integrated).await.expect_err("another commitment");
    assert!(matches!(refused, loadtest::Error::Wrong(_)), "{refused}");
    // They are in the log now, and are said to be: that is no new record.
    let refused = target.batch(&mut connection, &made, Level::Integrated).await.expect_err("sent again");
    assert!(matches!(refused, loadtest::Error::Wrong(_)), "{refused}");
}
