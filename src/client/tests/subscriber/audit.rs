//! An auditor's trail of a whole log: what is in it, what a lie does to it, and what an interruption costs.

use std::path::{Path, PathBuf};

use client::audit::{AuditError, Wanted, export};
use client::export::{ExportError, Written};
use client::provider::Token;
use client::receipt::Receipt;
use client::verify::{self, Verdict};
use client::{Pin, Profile};
use serde_json::{Value, json};

use super::provider::{Site, Spoilt, TOKEN};
use super::{anna, payment, pin};

const ALL: Wanted = Wanted { from: None, to: None, with_text: false };

async fn exported(site: &Site, wanted: &Wanted, to: &Path) -> Result<Written, AuditError> {
    let token = Token::bearer(TOKEN).unwrap();
    export(&site.provider(), &token, &site.trust().policy, wanted, to).await
}

/// A log with a person who pays once, and once gets the PIN wrong.
async fn used(temp: &tempfile::TempDir) -> Site {
    let site = Site::open().await;
    let mut anna = anna(&site, temp.path());
    anna.enrol(&site.invite(None).await, Profile::EcSdsa, &pin()).await.unwrap();
    anna.authorise(&payment(73_219), &pin()).await.unwrap();
    anna.authorise(&payment(2), &Pin::new("54321")).await.unwrap_err();
    site
}

fn trail(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("trail.json")).unwrap()).unwrap()
}

fn receipt(folder: &Path, entry: &Value) -> Receipt {
    let name = entry["receipt"].as_str().unwrap();
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

fn entries(trail: &Value) -> &[Value] {
    trail["transactionLog"].as_array().unwrap()
}

fn part(folder: &Path) -> PathBuf {
    folder.with_file_name("trail.part")
}

#[tokio::test]
async fn r0_21_an_auditors_trail_has_every_entry_with_what_proves_it() {
    let temp = tempfile::tempdir().unwrap();
    let site = used(&temp).await;
    let to = temp.path().join("trail");
    let size = site.log.lock().unwrap().entries.len();
    let written = exported(&site, &ALL, &to).await.unwrap();
    assert_eq!((written.entries, written.findings), (size as u64, 0));
    let trail = trail(&to);
    assert_eq!((trail["by"].as_str(), trail["head"]["size"].as_u64()), (Some("auditor"), Some(size as u64)));
    let policy = site.trust().policy;
    let mut authorised = 0;
    for (index, entry) in entries(&trail).iter().enumerate() {
        assert_eq!(entry["index"], index);
        assert_eq!(entry["transactionIdentifier"], format!("log.example/people#{index}"));
        assert_eq!(entry["transactionType"], "OtherTransaction");
        assert!(entry["description"][0].is_string());
        let report = verify::verify(&receipt(&to, entry), &policy);
        let instruction = entry["kind"] == "instruction";
        assert_eq!(report.verdict, if instruction { Verdict::Authorised } else { Verdict::Included }, "{entry}");
        authorised += u64::from(instruction);
    }
    assert_eq!(authorised, 2);
    let of = |class: &str| entries(&trail).iter().find(|entry| entry["class"] == class).unwrap();
    let (failed, payment) = (of("attempt.failed"), of("payment"));
    assert_eq!((&failed["result"], &failed["transactionResult"]), (&json!("failed"), &json!("NotCompleted")));
    assert_eq!(failed["reasonOfNoncompletion"], "the second factor was wrong");
    assert_eq!((&payment["result"], &payment["transactionResult"]), (&json!("completed"), &json!("Completed")));
    assert_eq!((&payment["credential"], &payment["number"]), (&failed["credential"], &json!(1)));
    // The attempt is found by its challenge, whatever came of it.
    let begun: Vec<_> = entries(&trail).iter().filter(|entry| entry["challenge"] == failed["challenge"]).collect();
    assert_eq!(begun.len(), 2);
    assert_eq!(begun[0]["result"], "begun");
    assert!(!part(&to).exists());
}

#[tokio::test]
async fn no_value_is_in_a_trail_unless_it_is_asked_for() {
    let temp = tempfile::tempdir().unwrap();
    let site = used(&temp).await;
    let (without, with) = (temp.path().join("without"), temp.path().join("with"));
    exported(&site, &ALL, &without).await.unwrap();
    exported(&site, &Wanted { with_text: true, ..ALL }, &with).await.unwrap();
    let text = |folder: &Path| std::fs::read_to_string(folder.join("trail.json")).unwrap();
    assert!(!text(&without).contains("73219") && !text(&without).contains("EUR"));
    let payment = entries(&trail(&with)).iter().find(|entry| entry["class"] == "payment").unwrap()["text"].clone();
    assert_eq!(payment["fields"][0], json!({"name": "amount", "value": 73_219}));
}

#[cfg(unix)]
#[tokio::test]
async fn a_trail_is_its_owners_alone_and_goes_into_a_new_folder() {
    use std::os::unix::fs::PermissionsExt as _;
    let temp = tempfile::tempdir().unwrap();
    let site = used(&temp).await;
    let to = temp.path().join("trail");
    std::fs::create_dir(&to).unwrap();
    std::fs::write(to.join("mine"), b"mine").unwrap();
    let refused = exported(&site, &ALL, &to).await.unwrap_err();
    assert!(matches!(refused, AuditError::Export(ExportError::NotEmpty(_))), "{refused}");
    assert!(!part(&to).exists());
    std::fs::remove_file(to.join("mine")).unwrap();
    exported(&site, &ALL, &to).await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&to), mode(&to.join("receipts"))), (0o700, 0o700));
    assert_eq!((mode(&to.join("trail.json")), mode(&to.join("receipts/0.receipt.json"))), (0o600, 0o600));
    let names: Vec<_> = std::fs::read_dir(&to).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test]
async fn an_export_goes_on_where_it_was_cut_off() {
    let temp = tempfile::tempdir().unwrap();
    let site = used(&temp).await;
    let to = temp.path().join("trail");
    let size = site.log.lock().unwrap().entries.len() as u64;
    site.lie("receipt", |answer| {
        if answer["proof"].as_str().unwrap().contains("\nindex 5\n") {
            *answer = json!({});
        }
    });
    let cut = exported(&site, &ALL, &to).await.unwrap_err();
    assert!(matches!(cut, AuditError::Provider(_)), "{cut}");
    assert!(!to.exists(), "it is there whole or not at all");
    // Another command does not go on with it.
    let other = exported(&site, &Wanted { from: Some(1), ..ALL }, &to).await.unwrap_err();
    assert!(matches!(other, AuditError::Export(ExportError::Another(_))), "{other}");
    // A line that a power cut tore is as if it had not been.
    let lines = part(&to).join("lines");
    let mut torn = std::fs::read(&lines).unwrap();
    assert_eq!(torn.iter().filter(|byte| **byte == b'\n').count(), 5);
    torn.truncate(torn.len() - 9);
    std::fs::write(&lines, torn).unwrap();
    site.honest();
    site.log.lock().unwrap().asked.clear();
    // The log has grown meanwhile; the export ends where it was to end.
    let mut anna = anna(&site, temp.path());
    anna.authorise(&payment(3), &pin()).await.unwrap();
    site.log.lock().unwrap().asked.clear();
    let written = exported(&site, &ALL, &to).await.unwrap();
    assert_eq!((written.entries, written.findings), (size, 0));
    let asked = site.log.lock().unwrap().asked.iter().filter(|asked| *asked == "receipt").count() as u64;
    assert_eq!(asked, size - 4, "what was written is not asked for again");
    let trail = trail(&to);
    let indexes: Vec<u64> = entries(&trail).iter().map(|entry| entry["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..size).collect::<Vec<_>>());
    assert!(trail["head"]["size"].as_u64().unwrap() > size);
}

#[tokio::test]
async fn what_does_not_fit_is_a_finding_and_the_rest_is_exported_all_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let site = used(&temp).await;
    let size = site.log.lock().unwrap().entries.len() as u64;
    let at = |answer: &Value, index: u64| answer["proof"].as_str().unwrap().contains(&format!("\nindex {index}\n"));
    type Lie = Box<dyn FnMut(&mut Value) + Send>;
    let mut kept = None;
    let lies: [(&str, Lie); 3] = [
        (
            "its receipt does not hold: opening",
            Box::new(move |answer| {
                if at(answer, 3) {
                    answer["opening"] = json!("AA==");
                }
            }),
        ),
        (
            "the log shows the receipt of another entry in its place",
            Box::new(move |answer| {
                if at(answer, 2) {
                    kept = Some(answer.clone());
                } else if at(answer, 3) {
                    *answer = kept.clone().unwrap();
                }
            }),
        ),
        (
            "its receipt does not hold: included, opening",
            Box::new(move |answer| {
                if at(answer, 3) {
                    answer["entry"] = answer["genesis"]["entry"].clone();
                }
            }),
        ),
    ];
    for (n, (says, lie)) in lies.into_iter().enumerate() {
        let to = temp.path().join(format!("trail{n}"));
        site.lie("receipt", lie);
        let written = exported(&site, &ALL, &to).await.unwrap();
        site.honest();
        assert_eq!((written.entries, written.findings), (size - 1, 1), "{says}");
        let trail = trail(&to);
        assert_eq!(trail["findings"], json!([{"index": 3, "credential": null, "fault": says}]));
        assert!(entries(&trail).iter().all(|entry| entry["index"] != 3));
        assert!(to.join("receipts/3.receipt.json").exists(), "what was shown is kept");
    }
}

/// Each receipt may hold by itself. Under one log they hold together.
#[tokio::test]
async fn a_receipt_on_another_history_is_found() {
    let (temp, site) = (tempfile::tempdir().unwrap(), Site::open().await);
    let mut anna = anna(&site, temp.path());
    anna.enrol(&site.invite(None).await, Profile::EcSdsa, &pin()).await.unwrap();
    let to = temp.path().join("trail");
    site.when("checkpoint", |log, answer| {
        // The head that the auditor sees is of the same size, and of another tree.
        let size = tlog::TreeSize::new(log.entries.len() as u64).unwrap();
        let head = tlog::TreeHead { size, root: scal3::Hash([7; 32]) };
        let origin = tlog::checkpoint::Origin::new(super::provider::ORIGIN).unwrap();
        let text = tlog::checkpoint::Checkpoint::new(origin, head).to_text();
        *answer = Value::from(tlog::note::Note::sign(&text, &log.signer).unwrap().to_text());
    });
    let written = exported(&site, &ALL, &to).await.unwrap();
    assert_eq!(written.entries, 0);
    let finding = trail(&to)["findings"][0].clone();
    assert_eq!(finding["fault"], "the log has shown two histories");
    for note in ["seen", "shown"] {
        let note = tlog::note::Note::parse(finding[note].as_str().unwrap().as_bytes()).unwrap();
        site.trust().policy.verify(&note).unwrap();
    }
}

#[tokio::test]
async fn a_token_that_opens_nothing_is_told_so() {
    let temp = tempfile::tempdir().unwrap();
    let site = used(&temp).await;
    let state = |state: &'static str| {
        move |spoilt: &mut Spoilt| {
            spoilt.hook = Some(Box::new(move |_, route, answer| match route {
                "receipt" => {
                    for part in ["opening", "credential", "issued", "seen"] {
                        answer.as_object_mut().unwrap().remove(part);
                    }
                }
                "record" => answer["opening"]["state"] = json!(state),
                _ => {}
            }));
        }
    };
    site.spoil(state("restricted"));
    let refused = exported(&site, &ALL, &temp.path().join("trail")).await.unwrap_err();
    assert!(matches!(refused, AuditError::Restricted(1)), "{refused}");
    // What is erased stays in the list, without a word of what it was.
    site.spoil(state("erased"));
    let (to, wanted) = (temp.path().join("other"), Wanted { from: Some(1), to: Some(3), with_text: false });
    assert_eq!(exported(&site, &wanted, &to).await.unwrap(), Written { entries: 2, findings: 0 });
    let first = entries(&trail(&to))[0].clone();
    assert_eq!(
        (&first["result"], &first["class"], &first["transactionResult"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(first["reason"], "its opening was erased");
}

/// A person's trail, by the command: what does not fit decides the exit code, and stops nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_persons_trail_is_written_also_when_something_does_not_fit() {
    let temp = tempfile::tempdir().unwrap();
    let site = Site::open().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    site.log.lock().unwrap().now_ms = now.as_millis() as u64;
    let path = |name: &str| temp.path().join(name).to_str().unwrap().to_owned();
    let vkey = site.log.lock().unwrap().signer.vkey().to_string();
    std::fs::write(path("trust"), format!("log {vkey}\nquorum none\n")).unwrap();
    std::fs::write(path("invitation"), serde_json::to_vec(&site.invite(None).await).unwrap()).unwrap();
    std::fs::write(path("pin"), "12345\n").unwrap();
    let sole = async |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_sole"));
        command.args(arguments).args(["--json", "--home", &path("anna")]);
        let run = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said: Value = serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
        (run.status.code(), said)
    };
    let (trust, invitation, pin) = (path("trust"), path("invitation"), path("pin"));
    let enrol =
        ["enrol", "--url", &site.url, "--policy", &trust, "--invitation", &invitation, "--pin-file", &pin, "--yes"];
    assert_eq!(sole(&enrol).await.0, Some(0));
    assert_eq!(sole(&["authorise", "a note of mine", "--pin-file", &pin, "--yes"]).await.0, Some(0));

    let (good, bad) = (path("good"), path("bad"));
    let (code, said) = sole(&["audit", "export", "--out", &good]).await;
    assert_eq!((code, &said["findings"]), (Some(0), &json!(0)));
    let honest = trail(Path::new(&good));
    assert!(!honest.to_string().contains("a note of mine"));
    let issued = entries(&honest).iter().find(|entry| entry["class"] == "issued").unwrap()["index"].clone();

    site.lie("receipt", move |answer| {
        if answer["proof"].as_str().unwrap().contains(&format!("\nindex {issued}\n")) {
            answer["opening"] = json!("AA==");
        }
    });
    let (code, said) = sole(&["audit", "export", "--out", &bad]).await;
    assert_eq!((code, &said["findings"]), (Some(1), &json!(1)));
    let lied = trail(Path::new(&bad));
    assert_eq!(lied["findings"][0]["fault"], "has a receipt that does not hold: opening");
    assert_eq!(entries(&lied).len() + 1, entries(&honest).len());
    let kept = entries(&lied).iter().find(|entry| entry["class"] == "note").unwrap();
    assert_eq!(verify::verify(&receipt(Path::new(&bad), kept), &site.trust().policy).verdict, Verdict::Authorised);
}
