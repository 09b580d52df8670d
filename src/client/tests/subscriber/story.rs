//! What an honest provider and a device do together.

use client::stop::Status;
use client::watch::What;
use client::{Document, Error, Pin, Profile, Subscriber, verify};
use scal3::Change;

use super::provider::{Fate, Site};
use super::{anna, payment, pin};

/// Futures that a caller can spawn.
fn is_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test]
async fn a_device_enrols_authorises_and_sees_all_of_it() {
    for profile in [Profile::EcSdsa, Profile::Transcript] {
        let (site, temp) = (Site::open().await, tempfile::tempdir().unwrap());
        let mut anna = anna(&site, temp.path());
        assert!(matches!(anna.authorise(&payment(1), &pin()).await, Err(Error::NotEnrolled)));
        let invitation = site.invite(None).await;
        let activated = is_send(anna.enrol(&invitation, profile, &pin())).await.unwrap();
        assert_eq!(activated.sequence, 0);
        assert!(matches!(anna.enrol(&invitation, profile, &pin()).await, Err(Error::Enrolled)));

        let document = payment(1250);
        let done = is_send(anna.authorise(&document, &pin())).await.unwrap();
        assert_eq!(done.sequence, 1);
        let report = verify::verify(&done.receipt, &site.trust().policy);
        assert_eq!(report.verdict, verify::Verdict::Authorised, "{report:?}");
        assert_eq!(report.outcome("text"), Some(verify::Outcome::Ok));
        let hidden = anna.authorise_showing(&payment(5), &pin(), |name| name == "currency").await.unwrap();
        assert_eq!(hidden.sequence, 2);
        assert_eq!(anna.receipts().unwrap().len(), 3);
        assert!(!anna.is_unsettled());

        let watch = is_send(anna.watch()).await.unwrap();
        assert_eq!(watch.findings, []);
        let records: Vec<_> = watch
            .entries
            .iter()
            .filter_map(|own| match &own.what {
                What::Record { sequence, class, document, .. } => Some((*sequence, class.as_str(), document.clone())),
                _ => None,
            })
            .collect();
        assert_eq!(records.len(), 3);
        assert_eq!((records[1].0, records[1].1), (1, "payment"));
        assert_eq!(records[1].2.as_ref().map(Document::to_bytes), Some(document.to_bytes()));
        let named = |name: &str| {
            watch.entries.iter().filter(|own| matches!(&own.what, What::Event { name: n, .. } if n == name)).count()
        };
        assert_eq!((named("enrolment.kept"), named("attempt.started")), (1, 3));
        let statuses = watch.entries.iter().filter(|own| matches!(own.what, What::Status { .. })).count();
        assert_eq!(statuses, 2);
    }
}

#[tokio::test]
async fn a_wrong_pin_is_told_and_costs_no_place() {
    let (site, temp) = (Site::open().await, tempfile::tempdir().unwrap());
    let mut anna = anna(&site, temp.path());
    anna.enrol(&site.invite(None).await, Profile::EcSdsa, &pin()).await.unwrap();
    let wrong = anna.authorise(&payment(1), &Pin::new("54321")).await;
    assert!(matches!(wrong, Err(Error::WrongPin { attempts_left: Some(4) })), "{wrong:?}");
    assert!(!anna.is_unsettled(), "what the provider refused is settled");
    assert!(anna.unsettled().unwrap().is_empty());
    assert_eq!(anna.authorise(&payment(1), &pin()).await.unwrap().sequence, 1);
    let watch = anna.watch().await.unwrap();
    assert_eq!(watch.findings, []);
    let failed = |own: &client::watch::Own| matches!(&own.what, What::Event { name, .. } if name == "attempt.failed");
    assert_eq!(watch.entries.iter().filter(|own| failed(own)).count(), 1);
}

#[tokio::test]
async fn however_often_a_pin_is_wrong_the_device_does_not_run_out_of_room() {
    let (site, temp) = (Site::open().await, tempfile::tempdir().unwrap());
    let mut anna = anna(&site, temp.path());
    anna.enrol(&site.invite(None).await, Profile::EcSdsa, &pin()).await.unwrap();
    for _ in 0..36 {
        let wrong = anna.authorise(&payment(1), &Pin::new("54321")).await;
        assert!(matches!(wrong, Err(Error::WrongPin { .. })), "{wrong:?}");
    }
    assert_eq!(anna.authorise(&payment(1), &pin()).await.unwrap().sequence, 1);
    assert_eq!(anna.watch().await.unwrap().findings, [], "all of them are this device's own");
}

/// A provider that says that a PIN was wrong, and logs the record later, is not taken for somebody else.
#[tokio::test]
async fn what_was_refused_and_logged_all_the_same_is_known_as_ones_own() {
    let (site, temp) = (Site::open().await, tempfile::tempdir().unwrap());
    let mut anna = anna(&site, temp.path());
    anna.enrol(&site.invite(None).await, Profile::EcSdsa, &pin()).await.unwrap();
    site.spoil(|spoilt| spoilt.fate = Fate::Refused);
    let document = payment(1);
    let wrong = anna.authorise(&document, &pin()).await;
    assert!(matches!(wrong, Err(Error::WrongPin { .. })), "{wrong:?}");
    site.honest();
    assert!(site.log.lock().unwrap().release()[0].is_ok());
    let done = anna.reconcile().await.unwrap().expect("it is in the log");
    assert_eq!((done.sequence, done.receipt.document.unwrap().0), (1, document.to_bytes()));
    assert_eq!(anna.watch().await.unwrap().findings, []);
}

#[tokio::test]
async fn an_attempt_that_the_device_did_not_make_is_found() {
    let (site, one, two) = (Site::open().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut anna = anna(&site, one.path());
    anna.enrol(&site.invite(None).await, Profile::EcSdsa, &pin()).await.unwrap();
    // A copy of the device's folder, in a thief's hands.
    for part in ["keys", "state"] {
        std::fs::create_dir_all(two.path().join(part)).unwrap();
        for file in std::fs::read_dir(one.path().join(part)).unwrap().map(Result::unwrap) {
            std::fs::copy(file.path(), two.path().join(part).join(file.file_name())).unwrap();
        }
    }
    let mut thief = super::anna(&site, two.path());
    assert!(matches!(thief.authorise(&payment(1), &Pin::new("00000")).await, Err(Error::WrongPin { .. })));
    let found = anna.watch().await.unwrap().findings;
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!((finding.list, &finding.fault), (client::watch::List::Events, &client::watch::Fault::NotOurAttempt));
    assert_eq!(thief.watch().await.unwrap().findings, []);
}

#[tokio::test]
async fn an_answer_that_got_lost_is_found_in_the_log_and_not_done_twice() {
    let (site, temp) = (Site::open().await, tempfile::tempdir().unwrap());
    let mut anna = anna(&site, temp.path());
    anna.enrol(&site.invite(None).await, Profile::EcSdsa, &pin()).await.unwrap();
    site.spoil(|spoilt| spoilt.fate = Fate::AnswerLost);
    let document = payment(1);
    // The device looks for itself.
    assert_eq!(anna.authorise(&document, &pin()).await.unwrap().sequence, 1);

    site.spoil(|spoilt| spoilt.fate = Fate::PutAside);
    let document = payment(2);
    assert!(matches!(anna.authorise(&document, &pin()).await, Err(Error::Unsettled)));
    assert!(anna.is_unsettled());
    assert!(anna.reconcile().await.unwrap().is_none());
    site.honest();
    site.log.lock().unwrap().release();
    let again = anna.authorise(&document, &pin()).await.unwrap();
    assert_eq!((again.sequence, anna.sequence()), (2, Some(3)));
    assert_eq!(site.log.lock().unwrap().accounts.values().next().unwrap().sequence, 3);
}

#[tokio::test]
async fn a_late_answer_and_the_next_one_are_for_one_place() {
    let (site, temp) = (Site::open().await, tempfile::tempdir().unwrap());
    let mut anna = anna(&site, temp.path());
    anna.enrol(&site.invite(None).await, Profile::EcSdsa, &pin()).await.unwrap();
    site.spoil(|spoilt| spoilt.fate = Fate::PutAside);
    assert!(matches!(anna.authorise(&payment(1), &pin()).await, Err(Error::Unsettled)));
    site.honest();
    // The second takes the place. The first can't come in any more.
    assert_eq!(anna.authorise(&payment(2), &pin()).await.unwrap().sequence, 1);
    assert!(site.log.lock().unwrap().release()[0].is_err());

    site.spoil(|spoilt| spoilt.fate = Fate::PutAside);
    assert!(matches!(anna.authorise(&payment(3), &pin()).await, Err(Error::Unsettled)));
    site.honest();
    // The first comes in after the device has looked for it.
    site.when("checkpoint", |log, _| assert!(log.release().iter().all(Result::is_ok)));
    assert_eq!(anna.authorise(&payment(4), &pin()).await.unwrap().sequence, 3);

    site.spoil(|spoilt| spoilt.fate = Fate::PutAside);
    assert!(matches!(anna.authorise(&payment(5), &pin()).await, Err(Error::Unsettled)));
    site.honest();
    // And after the challenge for the same place was given: one of the two is too late, and the device knows which.
    site.when("intent", |log, _| assert!(log.release().iter().all(Result::is_ok)));
    assert!(matches!(anna.authorise(&payment(6), &pin()).await, Err(Error::PlaceTaken)));
    assert_eq!((anna.sequence(), anna.is_unsettled()), (Some(5), false));
    assert_eq!(anna.authorise(&payment(6), &pin()).await.unwrap().sequence, 5);
    assert_eq!(anna.watch().await.unwrap().findings, []);
}

async fn changed(site: &Site, anna: &mut Subscriber<client::device::SoftDevice>) {
    let old = anna.credential().unwrap();
    let invitation = site.invite(Some(old)).await;
    let new = Pin::new("99999");
    anna.change_pin(&invitation, &pin(), &new).await.unwrap();
    assert!(!anna.is_changing_pin());
    assert_ne!(anna.credential(), Some(old));
    // Once more is once.
    anna.change_pin(&invitation, &pin(), &new).await.unwrap();
    assert!(matches!(anna.authorise(&payment(1), &pin()).await, Err(Error::WrongPin { .. })));
    assert_eq!(anna.authorise(&payment(1), &new).await.unwrap().sequence, 1);
}

#[tokio::test]
async fn a_pin_is_changed_by_a_successor_and_the_old_one_is_revoked() {
    for profile in [Profile::EcSdsa, Profile::Transcript] {
        let (site, temp) = (Site::open().await, tempfile::tempdir().unwrap());
        let mut anna = anna(&site, temp.path());
        anna.enrol(&site.invite(None).await, profile, &pin()).await.unwrap();
        anna.authorise(&payment(1), &pin()).await.unwrap();
        let old = anna.credential().unwrap();
        changed(&site, &mut anna).await;
        let watch = anna.watch().await.unwrap();
        assert_eq!(watch.findings, []);
        let revoked = |own: &&client::watch::Own| matches!(&own.what, What::Status { change: Change::Revoked(_), .. });
        let revoked: Vec<_> = watch.entries.iter().filter(revoked).map(|own| own.credential).collect();
        assert_eq!(revoked, [old]);
    }
}

#[tokio::test]
async fn a_second_device_waits_for_the_first_to_speak_for_it() {
    let (site, one, two) = (Site::open().await, tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut first = anna(&site, one.path());
    first.enrol(&site.invite(None).await, Profile::EcSdsa, &pin()).await.unwrap();
    let before = first.credential();
    let mut second = anna(&site, two.path());
    let invitation = site.invite(before).await;
    let waits = second.enrol_after(before, &invitation, Profile::EcSdsa, &pin()).await;
    let Err(Error::AwaitsPredecessor { credential }) = waits else { panic!("{waits:?}") };
    first.vouch(&credential, &pin()).await.unwrap();
    second.enrol_after(before, &invitation, Profile::EcSdsa, &pin()).await.unwrap();
    assert_eq!(second.credential(), Some(credential));
    assert_eq!(second.authorise(&payment(1), &pin()).await.unwrap().sequence, 1);
}

#[tokio::test]
async fn a_device_stops_its_credential_alone() {
    let (site, temp) = (Site::open().await, tempfile::tempdir().unwrap());
    let mut anna = anna(&site, temp.path());
    anna.enrol(&site.invite(None).await, Profile::EcSdsa, &pin()).await.unwrap();
    let Status { counter, change, .. } = anna.suspend("lost my phone").await.unwrap();
    assert_eq!((counter, change.change), (2, Change::Suspended("lost my phone".into())));
    let status = anna.revoke("it is gone").await.unwrap();
    assert_eq!(status.change.change, Change::Revoked("it is gone".into()));
    assert_eq!(anna.watch().await.unwrap().findings, []);
}
