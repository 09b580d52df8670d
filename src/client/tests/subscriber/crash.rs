//! The power fails at every write of the device, before it and after it. The person does the same again, and in the end
//! everything was done once.

use client::{Document, Error, Memory, Pin, Profile, Subscriber};
use scal3::instruction::CLASS_ACTIVATE;

use super::provider::Site;
use super::{Failing, open, payment, pin};

/// All that a person does. What was done is found to be done.
async fn all<M: Memory>(
    anna: &mut Subscriber<client::device::SoftDevice, M>,
    invitations: &[client::wire::Invitation; 2],
    payments: &[Document; 3],
) -> Result<(), Error> {
    let new = Pin::new("99999");
    if anna.sequence().is_none_or(|sequence| sequence == 0) {
        anna.enrol(&invitations[0], Profile::EcSdsa, &pin()).await?;
    }
    // The person knows which of the payments they have seen a receipt of.
    for document in &payments[..2] {
        if !has_receipt(anna, document) {
            anna.authorise(document, &pin()).await?;
        }
    }
    anna.change_pin(&invitations[1], &pin(), &new).await?;
    if !has_receipt(anna, &payments[2]) {
        anna.authorise(&payments[2], &new).await?;
    }
    Ok(())
}

fn has_receipt<M: Memory>(anna: &Subscriber<client::device::SoftDevice, M>, document: &Document) -> bool {
    let bytes = document.to_bytes();
    anna.receipts().unwrap().iter().any(|kept| kept.receipt.document.as_ref().is_some_and(|kept| kept.0 == bytes))
}

#[tokio::test]
async fn a_power_cut_at_any_write_loses_nothing_and_does_nothing_twice() {
    let mut cuts = 0;
    'writes: for at in 0.. {
        for after in [false, true] {
            let (site, temp) = (Site::open().await, tempfile::tempdir().unwrap());
            let payments = [payment(1), payment(2), payment(3)];
            let first = site.invite(None).await;
            let mut anna = open(&site, temp.path(), Failing::new(temp.path(), at, after));
            // The second invitation names a credential that is there only after the first.
            let enrolled = anna.enrol(&first, Profile::EcSdsa, &pin()).await;
            drop(anna);
            let mut anna = open(&site, temp.path(), Failing::new(temp.path(), usize::MAX - 1, false));
            if enrolled.is_err() && anna.sequence().is_none_or(|sequence| sequence == 0) {
                anna.enrol(&first, Profile::EcSdsa, &pin()).await.unwrap();
            }
            let second = site.invite(anna.credential()).await;
            drop(anna);
            let invitations = [first, second];
            // Again from the start, with what is left of the power.
            let mut anna = open(&site, temp.path(), Failing::new(temp.path(), at, after));
            let cut = all(&mut anna, &invitations, &payments).await;
            drop(anna);
            match cut {
                Ok(()) => {
                    assert!(enrolled.is_ok(), "there are more writes after enrolling");
                    break 'writes;
                }
                Err(Error::Memory(_)) => cuts += 1,
                Err(error) => panic!("write {at}, after: {after}: {error}"),
            }
            let mut anna = open(&site, temp.path(), Failing::new(temp.path(), usize::MAX - 1, false));
            all(&mut anna, &invitations, &payments)
                .await
                .unwrap_or_else(|error| panic!("write {at}, after: {after}: {error}"));

            let watch = anna.watch().await.unwrap();
            assert_eq!(watch.findings, [], "write {at}, after: {after}");
            // One instruction of each in the log, and nothing that is not one of them.
            let records = watch.entries.iter().filter_map(|own| match &own.what {
                client::watch::What::Record { class, document, .. } => Some((class.clone(), document.clone())),
                _ => None,
            });
            let mut records: Vec<_> = records.collect();
            for document in &payments {
                let same = |(_, other): &(String, Option<Document>)| {
                    other.as_ref().is_some_and(|other| other.to_bytes() == document.to_bytes())
                };
                assert_eq!(records.iter().filter(|record| same(record)).count(), 1, "write {at}, after: {after}");
                records.retain(|record| !same(record));
            }
            let count = |class: &str| records.iter().filter(|(of, _)| of == class).count();
            assert_eq!((count(CLASS_ACTIVATE), count("credential.add"), records.len()), (2, 1, 3));
            assert!(!anna.is_changing_pin() && !anna.is_unsettled());
        }
    }
    assert!(cuts >= 30, "only {cuts} cuts");
}
