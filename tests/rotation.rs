//! Rotation from outside: keys change in the folder and in the log, and everybody who reads the log agrees on it.

mod process;

use std::path::Path;
use std::process::{Command, Stdio};

use client::receipt::Receipt;
use client::verify::{Outcome, Verdict, verify};
use client::{Error, Pin, Profile, Value, instruction};
use process::people::{Site, pin};
use process::{Served, json, solelog};
use reqwest::{Client, StatusCode};
use serde_json::Value as Json;
use solelog::cli::cast::{Provider, activation};
use solelog::cli::init::POLICY;
use solelog::engine::wall_clock_ms;
use threshold::Profile1;
use tlog::key::Vkey;
use tlog::note::{Note, SignatureLine};
use tlog::policy::Policy;
use tlog::{Hash, TreeHead, TreeSize};

const ORIGIN: &str = "rotation.example/log";

fn issuer(data: &Path) -> (String, Provider) {
    let pem = std::fs::read_to_string(data.join("keys/issuing.key")).expect("issuing key");
    let provider = Provider::from_pem(&pem, ORIGIN, POLICY).expect("provider");
    (pem, provider)
}

fn head(log: &Json) -> TreeHead {
    TreeHead {
        size: TreeSize::new(log["integrated"]["size"].as_u64().expect("size")).expect("size"),
        root: log["integrated"]["root"].as_str().and_then(Hash::from_base64).expect("root"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_keys_are_in_force_from_their_entry_on_for_everybody() {
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let high_water = folder.path().join("high-water");
    let (data_text, high_water) = (data.to_str().expect("text"), high_water.to_str().expect("text"));
    solelog(&["init", "--origin", ORIGIN, "--data", data_text, "--no-witnesses", "--high-water", high_water]);
    let file = data.join("log.toml");
    let config = file.to_str().expect("text");
    let said = |arguments: &[&str]| json(&solelog(&[arguments, &["--json", "--config", config]].concat()));
    let token = said(&["token", "new", "--name", "t", "--scope", "append,read"])["token"].clone();
    let token = token.as_str().expect("token");

    // Two issuing keys and two master secrets on: each change is an entry.
    let (_, first) = issuer(&data);
    for index in [1, 2] {
        let rotated = said(&["rotate", "issuing"]);
        assert_eq!((&rotated["index"], &rotated["existing"]), (&Json::from(index), &Json::from(false)));
    }
    assert_eq!(said(&["rotate", "master"])["index"], 3);
    assert_eq!(said(&["rotate", "master"])["index"], 4);
    let checked = said(&["config", "check"]);
    let (second_pem, second) = issuer(&data);
    assert_eq!(checked["issuing_key"], hex::encode(second.issuing_key().expect("key")));
    assert_eq!(checked["epoch"], 2);
    assert_ne!(first.issuing_key().expect("key"), second.issuing_key().expect("key"));

    let client = Client::new();
    let post = async |url: &str, kind: &str, body: Vec<u8>| {
        let request = client.post(url).bearer_auth(token).header("content-type", kind).body(body);
        request.send().await.expect("answer").status()
    };
    let get = async |url: String| -> Json {
        let request = client.get(url).bearer_auth(token).header("accept", "application/json");
        request.send().await.expect("answer").json().await.expect("JSON")
    };
    let late = first.enrol::<Profile1>("1234", wall_clock_ms()).expect("enrolled");
    let person = second.enrol::<Profile1>("1234", wall_clock_ms()).expect("enrolled");
    let trust = std::fs::read_to_string(data.join("trust-policy.txt")).expect("trust file");
    let trust = Policy::parse(&trust).expect("policy");
    {
        let served = Served::start(&file, Stdio::null(), "info");
        let credentials = format!("{}/v1/credentials", served.url);
        let refused = post(&credentials, "application/cose", late.credential().to_vec()).await;
        assert_eq!(refused, StatusCode::UNPROCESSABLE_ENTITY, "the first key is not in force any more");
        let issued = post(&credentials, "application/cose", person.credential().to_vec()).await;
        assert_eq!(issued, StatusCode::CREATED);
        let log = get(format!("{}/v1/log", served.url)).await;
        assert_eq!(log["issuing_keys"][0]["key"], checked["issuing_key"]);
        let metadata = person.metadata("credential.activate", &head(&log), wall_clock_ms());
        let opening = person.authorise(metadata, &activation().expect("document")).expect("authorised");
        let logged = post(&format!("{}/v1/records", served.url), "application/cbor", opening).await;
        assert_eq!(logged, StatusCode::CREATED);

        // The receipt shows how the key came: without that, nobody could say who signed the credential.
        let receipt = get(format!("{}/v1/receipts/6", served.url)).await;
        let receipt: Receipt = serde_json::from_value(receipt).expect("a receipt");
        assert_eq!(receipt.keys.iter().map(|key| key.index).collect::<Vec<_>>(), [1, 2]);
        let report = verify(&receipt, &trust);
        assert_eq!(report.verdict, Verdict::Authorised, "{report:#?}");
        let spoilt = |change: &dyn Fn(&mut Receipt)| {
            let mut spoilt = receipt.clone();
            change(&mut spoilt);
            verify(&spoilt, &trust).outcome("credential")
        };
        assert_eq!(spoilt(&|r| r.keys.clear()), Some(Outcome::NotShown));
        assert_eq!(spoilt(&|r| drop(r.keys.pop())), Some(Outcome::NotShown));
        for change in [
            &(|r: &mut Receipt| drop(r.keys.remove(0))) as &dyn Fn(&mut Receipt),
            &|r| r.keys.swap(0, 1),
            &|r| r.keys[1].index = 3,
            &|r| r.keys[1] = r.genesis.clone().expect("genesis"),
            &|r| *r.keys[0].entry.0.last_mut().expect("bytes") ^= 1,
        ] {
            assert_eq!(spoilt(change), Some(Outcome::Failed));
        }
    }

    // Killed, rotated once more, read again by everybody, and made again from the entries alone.
    assert_eq!(said(&["rotate", "issuing"])["index"], 8);
    assert_eq!(said(&["fsck"])["ok"], true);
    said(&["rebuild"]);
    {
        let served = Served::start(&file, Stdio::null(), "info");
        let credentials = format!("{}/v1/credentials", served.url);
        let again = post(&credentials, "application/cose", person.credential().to_vec()).await;
        assert_eq!(again, StatusCode::OK, "what was issued stays issued");
        let other = second.enrol::<Profile1>("1234", wall_clock_ms()).expect("enrolled");
        let refused = post(&credentials, "application/cose", other.credential().to_vec()).await;
        assert_eq!(refused, StatusCode::UNPROCESSABLE_ENTITY);
        let receipt = get(format!("{}/v1/receipts/6", served.url)).await;
        let receipt: Receipt = serde_json::from_value(receipt).expect("a receipt");
        assert_eq!(verify(&receipt, &trust).verdict, Verdict::Authorised);
    }

    // A key that is not in force does not serve; and a rotation that was cut off before the file was in place goes on.
    let key = data.join("keys/issuing.key");
    let newest = std::fs::read(&key).expect("key");
    std::fs::write(&key, &second_pem).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_solelog")).args(["serve", "--config", config]).output();
    let output = output.expect("it runs");
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not in force"));
    std::fs::write(data.join("keys/issuing.next.key"), &newest).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(data.join("keys/issuing.next.key"), mode).expect("mode");
    let rotated = said(&["rotate", "issuing"]);
    assert_eq!((&rotated["index"], &rotated["existing"]), (&Json::from(8), &Json::from(true)));
    assert_eq!(std::fs::read(&key).expect("key"), newest);
}

/// A device believes the issuing key that it was built with, and those that came from it by entries of the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_goes_by_the_issuing_keys_that_the_log_shows() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::init(folder.path(), ORIGIN);
    let payment =
        |cents| instruction("payment", &[("amount", Value::Uint(cents)), ("currency", Value::Text("EUR".into()))]);
    let rotate = || json(&solelog(&["rotate", "issuing", "--json", "--config", &site.config]))["index"].clone();
    let config = Path::new(&site.config);
    let (old, waiting) = {
        let served = Served::start(config, Stdio::null(), "off");
        let mut anna = site.device(&served, &folder.path().join("anna"));
        anna.enrol(&site.invite(&served, None).await, Profile::EcSdsa, &pin()).await.expect("enrolled");
        (anna.credential(), site.invite(&served, anna.credential().as_ref()).await)
    };
    rotate();
    rotate();

    let served = Served::start(config, Stdio::null(), "off");
    let mut anna = site.device(&served, &folder.path().join("anna"));
    anna.authorise(&payment(1).expect("document"), &pin()).await.expect("what the first key signed stays good");
    let new = Pin::new("99999");
    // The first key does not sign any more, and the ticket promised a credential of it.
    let refused = anna.change_pin(&waiting, &pin(), &new).await;
    assert!(matches!(&refused, Err(Error::Refused(problem)) if problem.kind.slug() == "ticket-refused"), "{refused:?}");
    let invitation = site.invite(&served, old.as_ref()).await;
    assert_ne!(invitation.provider.0, site.trust.provider);
    anna.change_pin(&invitation, &pin(), &new).await.expect("under the key that came by two entries");
    assert_ne!(anna.credential(), old);
    let done = anna.authorise(&payment(2).expect("document"), &new).await.expect("authorised");
    assert_eq!(done.receipt.keys.len(), 2);
    assert_eq!(anna.watch().await.expect("watched").findings, []);
    drop(anna);
    let mut bram = site.device(&served, &folder.path().join("bram"));
    bram.enrol(&site.invite(&served, None).await, Profile::EcSdsa, &pin()).await.expect("enrolled");
    drop(bram);

    // Whoever trusts another key than those of this line does not enrol: by the log's word, nobody comes to it.
    let mut carla = site.device(&served, &folder.path().join("carla"));
    let mut forged = site.invite(&served, None).await;
    forged.provider = client::wire::Hex(Hash([7; 32]));
    let refused = carla.enrol(&forged, Profile::EcSdsa, &pin()).await;
    assert!(matches!(refused, Err(Error::OtherInvitation)), "{refused:?}");
    let mut strange = site;
    strange.trust.provider = Hash([8; 32]);
    let mut dora = strange.device(&served, &folder.path().join("dora"));
    let refused = dora.enrol(&strange.invite(&served, None).await, Profile::EcSdsa, &pin()).await;
    assert!(matches!(refused, Err(Error::OtherInvitation)), "{refused:?}");
}

/// Whoever pins either key of a log goes on while its rotation lasts; after it, the new one alone is the log's.
#[tokio::test(flavor = "multi_thread")]
async fn both_keys_of_a_log_sign_until_its_rotation_is_finished() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::init(folder.path(), ORIGIN);
    let (config, keys) = (Path::new(&site.config), folder.path().join("data/keys"));
    let said = |arguments: &[&str]| json(&solelog(&[arguments, &["--json", "--config", &site.config]].concat()));
    let refused = |arguments: &[&str]| {
        let run = Command::new(env!("CARGO_BIN_EXE_solelog")).args(arguments).args(["--config", &site.config]).output();
        let run = run.expect("it runs");
        assert!(!run.status.success());
        String::from_utf8(run.stderr).expect("text")
    };
    let vkey = || Vkey::parse(said(&["config", "check"])["vkey"].as_str().expect("text")).expect("vkey");
    let signed_by = async |served: &Served| {
        let note =
            reqwest::get(format!("{}/checkpoint", served.url)).await.expect("answer").bytes().await.expect("bytes");
        Note::parse(&note).expect("a note").signatures().iter().map(SignatureLine::key_id).collect::<Vec<_>>()
    };
    let trust = || std::fs::read_to_string(folder.path().join("data/trust-policy.txt")).expect("trust file");

    let old = vkey();
    let old_key = std::fs::read(keys.join("log.key")).expect("key");
    assert!(refused(&["rotate", "log", "--finish"]).contains("no rotation"));
    // It signs with ML-DSA-44 as well; that key takes no part in the rotation.
    let ml_dsa = keys.join("log.ml-dsa.key");
    let ml_dsa = ["keygen", "log", "--ml-dsa-44", "--json", "--name", ORIGIN, "--out", ml_dsa.to_str().expect("text")];
    let ml_dsa = json(&solelog(&ml_dsa))["vkey"].as_str().and_then(|vkey| Vkey::parse(vkey).ok()).expect("vkey");
    let rotated = said(&["rotate", "log"]);
    let new = vkey();
    assert_eq!((&rotated["index"], rotated["public"].as_str()), (&Json::from(1), Some(new.to_string().as_str())));
    assert_ne!(new, old);
    assert_eq!(trust().matches("\nlog ").count(), 2);
    assert!(refused(&["rotate", "log"]).contains("under way"));
    {
        let served = Served::start(config, Stdio::null(), "off");
        assert_eq!(signed_by(&served).await, [new.id(), old.id(), ml_dsa.id()]);
        let log: Json =
            reqwest::get(format!("{}/v1/log", served.url)).await.expect("answer").json().await.expect("JSON");
        assert_eq!(log["ml_dsa_vkey"].as_str(), Some(&*ml_dsa.to_string()));
        assert_eq!(
            (log["vkey"].as_str(), log["outgoing_vkey"].as_str()),
            (Some(&*new.to_string()), Some(&*old.to_string()))
        );
        // A device that has never heard of the new key, and one that trusts nothing else.
        let mut anna = site.device(&served, &folder.path().join("anna"));
        anna.enrol(&site.invite(&served, None).await, Profile::EcSdsa, &pin()).await.expect("enrolled");
        let mut modern = site.clone();
        modern.trust.policy = Policy::parse(format!("log {new}\nquorum none\n")).expect("policy");
        let mut bram = modern.device(&served, &folder.path().join("bram"));
        bram.enrol(&modern.invite(&served, None).await, Profile::EcSdsa, &pin()).await.expect("enrolled");
    }

    // As if cut off when the entry was in the log and the files were not in place.
    let new_key = std::fs::read(keys.join("log.key")).expect("key");
    std::fs::rename(keys.join("log.key"), keys.join("log.next.key")).expect("renamed");
    std::fs::rename(keys.join("log.old.key"), keys.join("log.key")).expect("renamed");
    assert!(refused(&["serve"]).contains("another key in this one's place"));
    assert!(refused(&["rotate", "log", "--finish"]).contains("not in the log yet"));
    let again = said(&["rotate", "log"]);
    assert_eq!((&again["index"], &again["existing"]), (&Json::from(1), &Json::from(true)));
    assert_eq!(std::fs::read(keys.join("log.key")).expect("key"), new_key);

    said(&["rotate", "log", "--finish"]);
    assert!(!keys.join("log.old.key").exists() && trust().matches("\nlog ").count() == 1);
    {
        let served = Served::start(config, Stdio::null(), "off");
        assert_eq!(signed_by(&served).await, [new.id(), ml_dsa.id()]);
    }
    assert_eq!(said(&["fsck"])["ok"], true);
    said(&["rebuild"]);
    // Once more; and the first key never comes back.
    said(&["rotate", "log"]);
    assert_ne!(vkey(), new);
    std::fs::write(keys.join("log.key"), &old_key).expect("written");
    std::fs::remove_file(keys.join("log.old.key")).expect("removed");
    assert!(refused(&["serve"]).contains("checkpoint"), "what it published is not signed by that key");
}

/// The last entry of a log says that it is the last; what is there is served and proven as before.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_log_takes_nothing_and_answers_for_what_it_has() {
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::init(folder.path(), ORIGIN);
    let config = Path::new(&site.config);
    let freeze = |origin: &str| {
        let arguments = ["freeze", "--json", "--config", &site.config, "--confirm", origin];
        Command::new(env!("CARGO_BIN_EXE_solelog")).args(arguments).output().expect("it runs")
    };
    let payment = || {
        let fields = [("amount", Value::Uint(1)), ("currency", Value::Text("EUR".into()))];
        instruction("payment", &fields).expect("document")
    };
    let (invitation, done) = {
        let served = Served::start(config, Stdio::null(), "off");
        let mut anna = site.device(&served, &folder.path().join("anna"));
        anna.enrol(&site.invite(&served, None).await, Profile::EcSdsa, &pin()).await.expect("enrolled");
        (site.invite(&served, None).await, anna.authorise(&payment(), &pin()).await.expect("authorised"))
    };
    assert_eq!(freeze("another.example").status.code(), Some(2), "nobody freezes a log by mistake");
    let frozen = json(&freeze(ORIGIN));
    let again = json(&freeze(ORIGIN));
    let last = frozen["index"].as_u64().expect("index");
    assert_eq!((&again["index"], &again["existing"]), (&frozen["index"], &Json::from(true)));

    let served = Served::start(config, Stdio::null(), "off");
    let log: Json = reqwest::get(format!("{}/v1/log", served.url)).await.expect("answer").json().await.expect("JSON");
    assert_eq!((&log["frozen"], &log["published"]["size"]), (&Json::from(last), &Json::from(last + 1)));
    assert_eq!(log["published"]["checkpoint"], frozen["checkpoint"]);
    let mut anna = site.device(&served, &folder.path().join("anna"));
    let refused = anna.authorise(&payment(), &pin()).await.map(drop);
    assert!(matches!(&refused, Err(Error::Refused(problem)) if problem.kind.slug() == "frozen"), "{refused:?}");
    let mut bram = site.device(&served, &folder.path().join("bram"));
    let refused = bram.enrol(&invitation, Profile::EcSdsa, &pin()).await.map(drop);
    assert!(matches!(&refused, Err(Error::Refused(problem)) if problem.kind.slug() == "frozen"), "{refused:?}");
    assert_eq!(verify(&done.receipt, &site.trust.policy).verdict, Verdict::Authorised);
    assert_eq!(anna.watch().await.expect("watched").findings, []);
    drop(served);
    let fsck = json(&solelog(&["fsck", "--json", "--config", &site.config]));
    assert_eq!((&fsck["ok"], &fsck["entries"]), (&Json::from(true), &Json::from(last + 1)));
}
