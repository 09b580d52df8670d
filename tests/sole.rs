//! The subscriber's command against a real server, each a process of its own: what a person types, and what comes back.

mod process;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use client::wire::Invitation;
use process::{Served, json, solelog};
use serde_json::{Value as Json, json};

const ORIGIN: &str = "sole.example/log";
const PIN: &str = "31415926";
const NEW_PIN: &str = "27182818";
const WRONG_PIN: &str = "16180339";
const PASSPHRASE: &str = "nine lives of one cat";

/// The program `sole`. It belongs to another package, so Cargo does not build it for this test by itself; asked like this,
/// it builds no more than it needs.
fn sole() -> &'static Path {
    static SOLE: OnceLock<PathBuf> = OnceLock::new();
    SOLE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_solelog")).parent().expect("a folder");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["test", "--no-run", "--quiet", "--offline", "--locked", "-p", "solelog", "-p", "solelog-client"]);
        cargo.args(["--test", "vectors", "--target-dir"]).arg(folder.parent().expect("a target folder"));
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        let built =
            cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).status().expect("cargo runs");
        assert!(built.success(), "sole is not built");
        folder.join("sole")
    })
}

/// A provider with its server, and the folders of those who enrol.
struct Site {
    folder: tempfile::TempDir,
    served: Served,
    token: String,
    /// All that was ever said, by both.
    transcript: String,
}

impl Site {
    fn open() -> Site {
        let folder = tempfile::tempdir().expect("folder");
        let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
        let (data, high_water) = (path("data"), path("high-water"));
        solelog(&["init", "--origin", ORIGIN, "--data", &data, "--no-witnesses", "--high-water", &high_water]);
        let config = path("data/log.toml");
        let text = std::fs::read_to_string(&config).expect("config");
        let enabled = text.replace("# enabled = true", "enabled = true");
        assert_ne!(text, enabled);
        std::fs::write(&config, enabled).expect("config");
        let token = json(&solelog(&[
            "--json",
            "token",
            "new",
            "--config",
            &config,
            "--name",
            "backend",
            "--scope",
            "enrol,manage",
        ]));
        let lines = std::fs::File::create(path("lines")).expect("file");
        let served = Served::start(Path::new(&config), Stdio::from(lines), "trace");
        for (name, text) in [("pin", PIN), ("new-pin", NEW_PIN), ("wrong-pin", WRONG_PIN), ("phrase", PASSPHRASE)] {
            std::fs::write(path(name), format!("{text}\n")).expect("file");
        }
        let token = token["token"].as_str().expect("token").to_owned();
        Site { folder, served, token, transcript: String::new() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("text").to_owned()
    }

    /// Runs a line as somebody types it, in their own folder. Words in braces are files of this site. It must end with that
    /// code. Gives both streams.
    fn types(&mut self, code: i32, who: &str, line: &str) -> String {
        self.runs(code, who, &line.split(' ').collect::<Vec<_>>())
    }

    fn runs(&mut self, code: i32, who: &str, words: &[&str]) -> String {
        let words: Vec<String> = words
            .iter()
            .map(|word| match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
                Some("url") => self.served.url.clone(),
                Some(name) => self.path(name),
                None => (*word).to_owned(),
            })
            .collect();
        let output = Command::new(sole())
            .args(&words)
            .env("SOLE_HOME", self.path(who))
            .env_remove("SOLE_PIN")
            .env_remove("SOLE_NEW_PIN")
            .env_remove("SOLE_PASSPHRASE")
            .stdin(Stdio::null())
            .current_dir(self.folder.path())
            .output()
            .expect("sole runs");
        let (out, err) =
            (String::from_utf8(output.stdout).expect("text"), String::from_utf8(output.stderr).expect("text"));
        let said = format!("$ sole {}\n{out}{err}[{:?}]\n", words.join(" "), output.status.code());
        self.transcript.push_str(&said);
        assert_eq!(output.status.code(), Some(code), "{}", self.transcript);
        if words.iter().any(|word| word == "--json") { out } else { format!("{out}{err}") }
    }

    /// The same with `--json`.
    fn json(&mut self, code: i32, who: &str, line: &str) -> Json {
        let said = self.types(code, who, &format!("{line} --json"));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// What the provider's backend asks of its server.
    async fn post(&self, path: &str, body: &Json) -> Json {
        let request = reqwest::Client::new().post(format!("{}{path}", self.served.url)).bearer_auth(&self.token);
        let answer = request.json(body).send().await.expect("answer");
        assert!(answer.status().is_success(), "{path}: {}", answer.text().await.expect("text"));
        answer.json().await.expect("JSON")
    }

    /// An invitation, in a file of that name.
    async fn invite(&self, name: &str, body: Json) {
        let invitation = self.post("/v1/enrolments", &body).await;
        serde_json::from_value::<Invitation>(invitation.clone()).expect("an invitation");
        std::fs::write(self.path(name), invitation.to_string()).expect("file");
    }

    fn credential(&mut self, who: &str) -> String {
        self.json(0, who, "status --offline")["credential"].as_str().expect("credential").to_owned()
    }
}

/// Every file under a folder, with its bytes.
fn files(folder: &Path, into: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).expect("folder").map(|entry| entry.expect("entry").path()) {
        if entry.is_dir() {
            files(&entry, into);
        } else {
            let bytes = std::fs::read(&entry).expect("file");
            into.push((entry, bytes));
        }
    }
}

const ENROL: &str = "enrol --url {url} --policy {data/trust-policy.txt} --pin-file {pin} --yes --invitation";

/// Looks until it is enough, or for half a minute: what is durable is told at once, and a head that covers it comes a little
/// later.
fn eventually<T>(mut look: impl FnMut() -> T, enough: impl Fn(&T) -> bool) -> T {
    let began = std::time::Instant::now();
    loop {
        let seen = look();
        if enough(&seen) || began.elapsed().as_secs() > 30 {
            return seen;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_02_a_person_enrols_authorises_watches_and_stops() {
    let mut site = Site::open();
    site.types(2, "anna", "authorise hello --yes --pin-file {pin}");
    site.types(2, "anna", "watch");
    assert!(!Path::new(&site.path("anna")).exists(), "looking makes no folder");
    site.invite("invitation", json!({})).await;

    // Nobody there to ask: nothing is done.
    let asked = site.types(2, "anna", &format!("{} {{invitation}}", ENROL.replace(" --yes", "")));
    assert!(asked.contains("no terminal") && asked.contains("--yes"), "{asked}");
    let enrolled = site.types(0, "anna", &format!("{ENROL} {{invitation}}"));
    assert!(enrolled.contains("Enrolling with") && enrolled.contains(ORIGIN), "{enrolled}");
    assert_eq!(site.json(1, "anna", &format!("{ENROL} {{invitation}}"))["code"], "enrolled");
    let credential = site.credential("anna");

    // What is signed is shown, all of it, and nothing in it is hidden.
    let text = "Sell the house \u{202e}mlE\u{1b}[2K";
    let refused = site.runs(2, "anna", &["authorise", text, "--pin-file", "{pin}"]);
    assert!(refused.contains("nothing is signed"), "{refused}");
    let done = site.runs(0, "anna", &["authorise", text, "--pin-file", "{pin}", "--yes"]);
    let shown = "text  \"Sell the house \\u{202e}mlE\\u{1b}[2K\"";
    assert!(done.contains("AUTHORISED") && done.contains(shown), "{done}");
    let payment = json!({"class": "payment", "fields": [
        {"name": "amount", "value": 1250}, {"name": "currency", "value": "EUR"}, {"name": "to", "value": "Bram"},
        {"name": "reference", "value": {"hex": "00ff"}}, {"name": "urgent", "value": false}]});
    std::fs::write(site.path("payment.json"), payment.to_string()).expect("file");
    let done = site.json(0, "anna", "authorise --file {payment.json} --hide to --yes --pin-file {pin}");
    assert_eq!((&done["sequence"], &done["instruction"]), (&json!(2), &payment));
    site.types(2, "anna", "authorise --file {payment.json} --hide iban --yes --pin-file {pin}");

    let listed = site.json(0, "anna", "receipts list");
    assert_eq!(listed.as_array().map(Vec::len), Some(3));
    assert_eq!(listed[2]["index"], done["index"]);
    let shown = site.types(0, "anna", &format!("receipts show {}", done["index"]));
    assert!(shown.contains("to         \"Bram\"") && shown.contains("AUTHORISED with two factors"), "{shown}");
    site.types(2, "anna", "receipts show 999");
    site.types(0, "anna", &format!("receipts export {} --out exported.json", done["index"]));
    site.types(2, "anna", &format!("receipts export {} --out exported.json", done["index"]));
    let verified = site.types(0, "bram", "verify {exported.json} --policy {data/trust-policy.txt}");
    assert!(verified.contains("the text of this payment is what was authorised"), "{verified}");
    site.types(0, "anna", "verify {exported.json}");
    let receipt = std::fs::read_to_string(site.path("exported.json")).expect("receipt");
    let at = format!("index {}", done["index"]);
    std::fs::write(site.path("forged.json"), receipt.replace(&at, "index 3")).expect("file");
    assert!(site.types(1, "anna", "verify {forged.json}").contains("FAILED"));

    // A wrong PIN is counted and told, and seen afterwards.
    let wrong = site.json(4, "anna", "authorise again --yes --pin-file {wrong-pin}");
    assert_eq!((&wrong["code"], &wrong["attempts_left"]), (&json!("wrong-pin"), &json!(4)));
    assert!(site.types(4, "anna", "authorise again --yes --pin-file {wrong-pin}").contains("3 attempts left"));
    let told = |watched: &String| watched.matches("THE PIN WAS WRONG").count();
    let watched = eventually(|| site.types(0, "anna", "watch"), |watched| told(watched) == 2);
    assert_eq!(told(&watched), 2, "{watched}");
    assert!(watched.contains("Everything fits") && watched.contains("\"Bram\""), "{watched}");

    site.invite("successor", json!({ "predecessor": credential })).await;
    let change = "pin change --invitation {successor} --pin-file {pin} --new-pin-file {new-pin} --yes";
    assert_eq!(site.json(0, "anna", change)["revoked"], json!(credential));
    assert_eq!(site.json(4, "anna", "authorise again --yes --pin-file {pin}")["attempts_left"], 4);
    assert_eq!(site.json(0, "anna", "authorise again --yes --pin-file {new-pin}")["sequence"], 1);
    // A successor's receipt can't show alone that its predecessor spoke for it; the device has the one that does.
    let successor = site.credential("anna");
    let name = format!("{}-0000000001.receipt.json", &successor[..16]);
    assert!(site.types(0, "anna", &format!("receipts show {name}")).contains("its predecessor spoke for it"));
    site.types(0, "anna", &format!("receipts export {name} --out {{after.json}}"));
    site.types(3, "anna", "verify {after.json}");
    let kept: Vec<Json> = serde_json::from_str(&site.types(0, "anna", "receipts list --json")).expect("a list");
    let add = kept.iter().find(|kept| kept["instruction"]["class"] == "credential.add").expect("the old one spoke");
    let add = add["name"].as_str().expect("a name").to_owned();
    site.types(0, "anna", &format!("receipts export {add} --out {{add.json}}"));
    site.types(0, "anna", "verify {after.json} --with {add.json} --policy {data/trust-policy.txt}");

    assert_eq!(site.json(0, "anna", "status")["standing"], "active");
    site.types(2, "anna", "revoke");
    site.types(0, "anna", "suspend --yes --reason lost?");
    assert_eq!(site.json(0, "anna", "status")["standing"], "suspended");
    // What is blocked is logged, but not for a revoked credential: whose hands its device is in nobody knows.
    let late = "authorise late --yes --pin-file {new-pin}";
    assert_eq!(site.json(1, "anna", late)["code"], "blocked");
    site.types(0, "anna", "revoke --yes --reason lost");
    assert_eq!(site.json(1, "anna", late)["code"], "blocked");
    let names = |watched: &Json| -> Vec<Json> {
        let entries = watched["entries"].as_array().into_iter().flatten();
        entries.map(|entry| entry["what"]["name"].as_str().or(entry["what"]["change"].as_str()).into()).collect()
    };
    let ended = |watched: &Json| names(watched).ends_with(&[json!("blocked"), json!("revoked  \"lost\"")]);
    let watched = eventually(|| site.json(0, "anna", "watch"), ended);
    assert!(ended(&watched) && watched["findings"] == json!([]), "{watched}");

    nothing_secret(&site, "anna");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_followed_by_another_and_lost_ones_are_recovered() {
    let mut site = Site::open();
    site.invite("first", json!({})).await;
    // A passphrase seals the keys, and nothing but it opens them.
    site.types(0, "bram", &format!("{ENROL} {{first}} --passphrase-file {{phrase}}"));
    assert!(!Path::new(&site.path("bram/device.key")).exists());
    assert_eq!(site.json(2, "bram", "status --passphrase-file {wrong-pin}")["code"], "device-keys");
    let first =
        site.json(0, "bram", "status --passphrase-file {phrase}")["credential"].as_str().expect("id").to_owned();

    site.invite("second", json!({ "predecessor": first })).await;
    let enrol = format!("{ENROL} {{second}} --predecessor {first}");
    let waits = site.json(1, "bram2", &enrol);
    assert_eq!(waits["code"], "awaits-predecessor");
    let next = waits["next"].as_str().expect("next");
    let second = next.split("sole vouch ").nth(1).and_then(|rest| rest.get(..64)).expect("a credential").to_owned();
    let vouched =
        site.types(0, "bram", &format!("vouch {second} --yes --pin-file {{pin}} --passphrase-file {{phrase}}"));
    assert!(vouched.contains("can then act in your name"), "{vouched}");
    site.types(0, "bram2", &enrol);
    assert_eq!(site.credential("bram2"), second);

    // Both are lost. The provider, who must know that it is he, lets a third one act.
    site.invite("third", json!({ "predecessor": second, "recovery": true })).await;
    let enrol = format!("{ENROL} {{third}} --predecessor {second}");
    assert!(site.types(1, "bram3", &enrol).contains("the provider recovers it"));
    let third = site.credential("bram3");
    site.post(&format!("/v1/credentials/{third}/recover"), &json!({ "reason": "the phone was lost" })).await;
    site.types(0, "bram3", &enrol);
    site.types(0, "bram3", "authorise hello --yes --pin-file {pin}");
    assert!(site.types(0, "bram3", "watch").contains("recovered by the provider  \"the phone was lost\""));

    // One folder is one device of one provider.
    let made =
        json(&solelog(&["--json", "keygen", "log", "--name", "other.example/log", "--out", &site.path("other.key")]));
    let trust = format!("log {}\nquorum none\n", made["vkey"].as_str().expect("vkey"));
    std::fs::write(site.path("other-trust"), trust).expect("file");
    let refused = site.json(2, "carla", &format!("{ENROL} {{first}}").replace("data/trust-policy.txt", "other-trust"));
    assert!(refused["error"].as_str().expect("error").contains("which the trust file does not name"), "{refused}");
    site.types(2, "carla", &format!("{ENROL} {{first}} --provider {third}"));

    nothing_secret(&site, "bram");
}

#[tokio::test(flavor = "multi_thread")]
async fn r0_21_a_person_and_an_auditor_take_away_what_the_log_has() {
    let mut site = Site::open();
    site.invite("invitation", json!({})).await;
    site.types(0, "anna", &format!("{ENROL} {{invitation}}"));
    let payment = json!({"class": "payment", "fields": [
        {"name": "amount", "value": 73_219}, {"name": "currency", "value": "EUR"},
        {"name": "to", "value": "Bram the baker"}]});
    std::fs::write(site.path("payment.json"), payment.to_string()).expect("file");
    let paid = site.json(0, "anna", "authorise --file {payment.json} --yes --pin-file {pin}")["index"].clone();
    site.types(4, "anna", "authorise again --yes --pin-file {wrong-pin}");
    let failed = |watched: &Json| watched["entries"].to_string().contains("attempt.failed");
    eventually(|| site.json(0, "anna", "watch"), failed);

    let read = |path: String| -> Json { serde_json::from_slice(&std::fs::read(path).expect("file")).expect("JSON") };
    let of = |trail: &Json, index: &Json| -> Json {
        let mut entries = trail["transactionLog"].as_array().expect("a list").iter();
        entries.find(|entry| entry["index"] == *index).expect("the entry").clone()
    };
    let own = site.json(0, "anna", "audit export --out {own}");
    site.types(2, "anna", "audit export --out {own}");
    let trail = read(site.path("own/trail.json"));
    assert_eq!(own["entries"].as_u64(), trail["transactionLog"].as_array().map(|list| list.len() as u64));
    assert_eq!((&trail["by"], &trail["origin"]), (&json!("subscriber"), &json!(ORIGIN)));
    let mine = of(&trail, &paid);
    assert_eq!((&mine["class"], &mine["transactionResult"]), (&json!("payment"), &json!("Completed")));
    assert!(!trail.to_string().contains("73219") && !trail.to_string().contains("baker"), "{trail}");
    let receipt =
        format!("verify {{own/{}}} --policy {{data/trust-policy.txt}}", mine["receipt"].as_str().expect("name"));
    let verified = site.types(0, "bram", &receipt);
    assert!(verified.contains("AUTHORISED") && !verified.contains("baker"), "{verified}");
    site.types(0, "anna", "audit export --with-text --out {text}");
    assert!(read(site.path("text/trail.json")).to_string().contains("Bram the baker"));

    // An auditor has a token and a trust file, and nobody's device.
    let token = |name: &str, scope: &str| {
        let config = site.path("data/log.toml");
        let made = json(&solelog(&["--json", "token", "new", "--config", &config, "--name", name, "--scope", scope]));
        std::fs::write(site.path(name), format!("{}\n", made["token"].as_str().expect("token"))).expect("file");
    };
    token("auditor", "read");
    token("appender", "append");
    let audit = "audit export --url {url} --trust {data/trust-policy.txt} --token-file";
    let all = site.json(0, "carla", &format!("{audit} {{auditor}} --out {{all}}"));
    let trail = read(site.path("all/trail.json"));
    assert_eq!((&trail["head"]["size"], &trail["findings"]), (&all["entries"], &json!([])));
    let theirs = of(&trail, &paid);
    for member in ["transactionIdentifier", "time", "class", "credential", "number", "challenge", "result"] {
        assert_eq!(theirs[member], mine[member], "{member}");
    }
    let some = site.json(0, "carla", &format!("{audit} {{auditor}} --from 2 --to 5 --out {{some}}"));
    assert_eq!(some["entries"], 3);
    let refused = site.types(2, "carla", &format!("{audit} {{appender}} --out {{none}}"));
    assert!(refused.contains("scope `read`"), "{refused}");
    site.types(2, "carla", &format!("{audit} {{auditor}} --from 2 --to 5000 --out {{beyond}}"));
    site.types(2, "carla", "audit export --url {url} --out {without}");
    assert!(!Path::new(&site.path("carla")).exists(), "an auditor has no device");
    assert!(!Path::new(&site.path("beyond.part")).exists());
    nothing_secret(&site, "anna");
}

/// No PIN and no passphrase stands anywhere but in the files that the test gave; the label secret, in the device's state alone.
fn nothing_secret(site: &Site, who: &str) {
    let state: Json =
        serde_json::from_slice(&std::fs::read(site.path(&format!("{who}/state.json"))).expect("state")).expect("JSON");
    let label = state["held"]["dealt"]["label_secret"].as_str().expect("label secret").to_owned();
    let mut all = vec![(PathBuf::from("the transcript"), site.transcript.clone().into_bytes())];
    files(site.folder.path(), &mut all);
    let contains = |bytes: &[u8], what: &str| bytes.windows(what.len()).any(|window| window == what.as_bytes());
    let given = ["pin", "new-pin", "wrong-pin", "phrase"].map(|name| PathBuf::from(site.path(name)));
    for (path, bytes) in all.iter().filter(|(path, _)| !given.contains(path)) {
        for secret in [PIN, NEW_PIN, WRONG_PIN, PASSPHRASE] {
            assert!(!contains(bytes, secret), "{} has {secret}", path.display());
        }
        let own = path.ends_with(format!("{who}/state.json"));
        assert_eq!(contains(bytes, &label), own, "{} has the label secret", path.display());
    }
    assert!(all.len() > 10, "only {} files", all.len());
}
