//! Watching: who is told, how often, and that nothing is accepted before they have heard.

mod stage;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use monitor::alert::{Channels, Secret};
use monitor::canary::Canary;
use monitor::watch::{Watch, Watching};
use monitor::{Class, Monitor, What};
use scal3::key_change::{KeyChange, Role, SignedKey, change_hash};
use scal3::{Entry, Hash, Kind};
use serde_json::Value;
use stage::{Answer, ORIGIN, Site, ann, grow, keeping, log, note, policy, policy_text, signer};
use tlog::key::Signer;
use tlog::policy::Policy;
use tlog::text;
use tlog::tree::TreeHead;
use tokio::io::{AsyncBufReadExt, BufReader};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Somebody with a webhook, who checks signatures as the standard says.
struct Ears {
    url: String,
    shared: Arc<Mutex<Heard>>,
}

struct Heard {
    answer: StatusCode,
    alerts: Vec<(String, Value)>,
}

impl Ears {
    async fn open() -> Ears {
        let shared = Arc::new(Mutex::new(Heard { answer: StatusCode::OK, alerts: Vec::new() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let app = axum::Router::new().route("/hook", axum::routing::post(hear)).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Ears { url, shared }
    }

    fn answer(&self, code: StatusCode) {
        self.shared.lock().unwrap().answer = code;
    }

    /// The codes of what was heard since the last call.
    fn heard(&self) -> Vec<String> {
        let alerts = std::mem::take(&mut self.shared.lock().unwrap().alerts);
        alerts.into_iter().map(|(_, body)| body["code"].as_str().unwrap().to_owned()).collect()
    }

    fn channels(&self) -> Channels {
        let webhook = Some((self.url.clone(), Secret::parse(SECRET).unwrap()));
        Channels { webhook, ..Channels::default() }
    }
}

async fn hear(State(shared): State<Arc<Mutex<Heard>>>, headers: HeaderMap, body: String) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
    let key = text::from_base64(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let mac = scal3::tag::hmac_sha256(&key, format!("{id}.{time}.{body}").as_bytes());
    let signature = format!("v1,{}", text::to_base64(&mac.0));
    assert_eq!(header("webhook-signature"), signature);
    let mut shared = shared.lock().unwrap();
    if shared.answer == StatusCode::OK {
        shared.alerts.push((id, serde_json::from_str(&body).unwrap()));
    }
    shared.answer
}

fn watch(site: &Site, dir: &Path, channels: Channels) -> Watch {
    let monitor = Monitor::new(policy(), &site.url, keeping(dir)).unwrap();
    Watch::new(monitor, Watching { channels, infrastructure_after: 3, ..Watching::default() })
}

fn fork(site: &Site, size: u64) {
    let head = TreeHead { root: Hash([7; 32]), ..log(size).fold.head() };
    site.show(&note(head));
}

fn script(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("script");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path
}

#[tokio::test]
async fn an_alarm_is_told_once_and_survives_everybody_who_does_not_hear() {
    let dir = tempfile::tempdir().unwrap();
    let (site, ears) = (Site::of(&log(300)).await, Ears::open().await);
    let mut watching = watch(&site, dir.path(), ears.channels());
    assert_eq!(watching.round().await.class(), Class::Ok);
    assert_eq!(ears.heard(), [""; 0]);

    fork(&site, 300);
    // While nobody is named who could be told, it is not taken for told.
    drop(watching);
    assert_eq!(watch(&site, dir.path(), Channels::default()).round().await.class(), Class::Tamper);
    let mut watching = watch(&site, dir.path(), ears.channels());
    ears.answer(StatusCode::SERVICE_UNAVAILABLE);
    for _ in 0..2 {
        let report = watching.round().await;
        assert!(report.of(Class::Infrastructure).any(|what| matches!(what, What::Alert(_))), "{report}");
        assert_eq!(watching.waiting(), 1, "the same alarm is one alarm");
    }
    // The process is gone, and the log pretends that nothing was.
    drop(watching);
    site.publish(&log(310));
    let mut watching = watch(&site, dir.path(), ears.channels());
    watching.round().await;
    assert_eq!(watching.monitor().accepted_size(), 300, "nothing is accepted before somebody has heard");
    drop(watching);

    ears.answer(StatusCode::OK);
    let mut watching = watch(&site, dir.path(), ears.channels());
    let report = watching.round().await;
    assert_eq!(ears.heard(), ["fork"]);
    assert_eq!((report.class(), watching.monitor().accepted_size()), (Class::Ok, 310), "{report}");
    for _ in 0..2 {
        watching.round().await;
    }
    assert_eq!((ears.heard(), watching.waiting()), (Vec::new(), 0));
}

#[tokio::test]
async fn an_alarm_has_all_that_its_reader_needs() {
    let dir = tempfile::tempdir().unwrap();
    let (site, ears) = (Site::of(&log(20)).await, Ears::open().await);
    let heard = dir.path().join("heard");
    let hook = script(dir.path(), &format!("cat > {0}; echo $SOLELOG_CLASS $SOLELOG_CODE >> {0}", heard.display()));
    let channels = Channels { hook: Some(hook), ..ears.channels() };
    let state = dir.path().join("state");
    let mut watching = watch(&site, &state, channels);
    watching.round().await;
    fork(&site, 20);
    watching.round().await;
    let (_, body) = ears.shared.lock().unwrap().alerts.pop().unwrap();
    assert_eq!((&body["class"], &body["code"], &body["size"]), (&"TAMPER".into(), &"fork".into(), &20.into()));
    let file = body["evidence"].as_str().unwrap();
    assert!(Path::new(file).starts_with(state.join("evidence")) && Path::new(file).exists(), "{file}");
    let heard = std::fs::read_to_string(heard).unwrap();
    assert!(heard.contains(file) && heard.ends_with("TAMPER fork\n"), "{heard}");
}

#[tokio::test]
async fn a_hook_that_fails_has_not_heard() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::of(&log(20)).await;
    let state = dir.path().join("state");
    for text in ["exit 3", "kill -9 $$"] {
        let channels = Channels { hook: Some(script(dir.path(), text)), ..Channels::default() };
        let mut watching = watch(&site, &state, channels);
        site.publish(&log(20));
        watching.round().await;
        fork(&site, 20);
        watching.round().await;
        assert_eq!(watching.waiting(), 1, "{text}");
    }
    let mut watching = watch(&site, &state, Channels { hook: Some(script(dir.path(), "true")), ..Channels::default() });
    watching.round().await;
    assert_eq!(watching.waiting(), 0);
}

#[tokio::test]
async fn trouble_is_told_when_it_lasts_and_again_when_it_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (site, ears) = (Site::of(&log(20)).await, Ears::open().await);
    let mut watching = watch(&site, dir.path(), ears.channels());
    assert_eq!(watching.round().await.class(), Class::Ok);
    for _ in 0..2 {
        site.put("checkpoint", [Answer::Status(500)]);
        for round in 0..5 {
            assert_eq!(watching.round().await.class(), Class::Infrastructure);
            assert_eq!(ears.heard(), if round == 2 { vec!["unreachable"] } else { vec![] });
        }
        site.publish(&log(20));
        assert_eq!(watching.round().await.class(), Class::Ok);
    }
    // Two bad rounds are nobody's business.
    site.put("checkpoint", [Answer::Status(404)]);
    watching.round().await;
    watching.round().await;
    assert_eq!(ears.heard(), [""; 0]);
}

#[tokio::test]
async fn a_canary_that_is_not_seen_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = log(20);
    let site = Site::of(&log).await;
    let command = script(dir.path(), r#"echo '{"index": 20}'"#);
    let canary = |within| Canary::new(command.clone(), Duration::from_secs(3600), Duration::from_millis(within));
    let watching = |canary| {
        let monitor = Monitor::new(policy(), &site.url, keeping(&dir.path().join("state"))).unwrap();
        Watch::new(monitor, Watching { canary: Some(canary), infrastructure_after: 3, ..Watching::default() })
    };
    let mut late = watching(canary(1000));
    assert_eq!(late.round().await.class(), Class::Ok);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let report = late.round().await;
    assert!(report.of(Class::Suspicious).any(|what| matches!(what, What::Canary { index: 20, .. })), "{report}");
    let draft = log.draft(&ann());
    log.append(&draft);
    site.publish(&log);
    assert_eq!(late.round().await.class(), Class::Ok);
    drop(late);

    grow(&mut log, 30);
    site.publish(&log);
    script(dir.path(), "echo no number");
    let report = watching(canary(600_000)).round().await;
    assert!(report.of(Class::Infrastructure).any(|what| matches!(what, What::NoCanary(_))), "{report}");
}

/// A daemon, and where its port is.
async fn daemon(policy: &Path, state: &Path, more: &[&str]) -> (tokio::process::Child, String) {
    let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_solelog-monitor"))
        .arg("--policy")
        .arg(policy)
        .args(["daemon", "--interval", "1", "--listen", "127.0.0.1:0", "--token", stage::TOKEN, "--state"])
        .arg(state)
        .args(more)
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("the address");
        if let Some(url) = line.strip_prefix("head and metrics at ") {
            return (child, url.to_owned());
        }
    }
}

async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it does not come");
}

async fn get(url: &str) -> Option<String> {
    let response = reqwest::get(url).await.ok()?;
    if response.status().is_success() { response.text().await.ok() } else { None }
}

#[tokio::test]
async fn a_daemon_shows_its_head_and_goes_on_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let (trust, state) = (dir.path().join("trust"), dir.path().join("state"));
    let site = Site::of(&log(300)).await;
    let ears = Ears::open().await;
    let vkey = format!("{}", stage::signer(1).vkey());
    std::fs::write(&trust, policy_text().replace(&vkey, &format!("{vkey} {}", site.url))).unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let channels = ["--webhook", &ears.url, "--webhook-secret-file", secret.to_str().unwrap()];

    let (mut child, url) = daemon(&trust, &state, &channels).await;
    assert_eq!(get(&format!("{url}/livez")).await.as_deref(), Some("ok\n"));
    let head = until(async || get(&format!("{url}/head")).await).await;
    assert_eq!(head, note(log(300).fold.head()).to_text());
    let metrics = get(&format!("{url}/metrics")).await.unwrap();
    for line in ["solelog_monitor_class 0", "solelog_monitor_accepted_size 300", "solelog_monitor_records_verified 3"] {
        assert!(metrics.lines().any(|there| there == line), "{line} in {metrics}");
    }
    assert!(metrics.contains("solelog_monitor_last_round_timestamp_seconds"), "{metrics}");
    child.start_kill().unwrap();
    child.wait().await.unwrap();

    // While nobody looks, the log forks. Who comes back knows what it has seen.
    fork(&site, 300);
    let (mut child, url) = daemon(&trust, &state, &channels).await;
    let heard = until(async || ears.heard().pop()).await;
    assert_eq!(heard, "fork");
    let class = async || get(&format!("{url}/metrics")).await.filter(|text| text.contains("solelog_monitor_class 3"));
    until(class).await;
    child.start_kill().unwrap();
    child.wait().await.unwrap();
}

#[tokio::test]
async fn a_test_alert_says_whether_it_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let trust = dir.path().join("trust");
    std::fs::write(&trust, policy_text()).unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let ears = Ears::open().await;
    let run = async |more: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_solelog-monitor"));
        command.arg("--policy").arg(&trust).args(["--url", "http://127.0.0.1:1", "--test-alert"]).args(more);
        let output = command.output().await.unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(),
        )
    };
    let channels = ["--webhook", &ears.url, "--webhook-secret-file", secret.to_str().unwrap()];
    assert_eq!(run(&channels).await, (0, "delivered to 1 of 1\n".to_owned()));
    assert_eq!(ears.heard(), ["test"]);
    ears.answer(StatusCode::FORBIDDEN);
    let (code, says) = run(&channels).await;
    assert!(code == 2 && says.contains("403"), "{says}");
    let (code, says) = run(&[]).await;
    assert!(code == 2 && says.contains("--webhook or --hook"), "{says}");
}

#[tokio::test]
async fn a_log_key_that_the_trust_file_lacks_is_told_until_it_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let (ears, mut log) = (Ears::open().await, log(20));
    let site = Site::of(&log).await;
    let mut watch = watch(&site, dir.path(), ears.channels());
    assert_eq!(watch.round().await.class(), Class::Ok);

    let (old, new) = (signer(1), signer(2));
    let hash = change_hash(ORIGIN, Role::Log, Some(old.vkey().public_key()), new.vkey().public_key());
    let side =
        |key: &Signer| SignedKey { key: key.vkey().public_key().to_vec(), signature: key.sign_other(&hash.0).to_vec() };
    let change = KeyChange { role: Role::Log, old: Some(side(&old)), new: side(&new) };
    let index = log.size();
    log.push(&Entry::public(Kind::Key, log.time_ms, change.to_bytes()), None);
    grow(&mut log, 30);
    site.publish(&log);
    let report = watch.round().await;
    let found: Vec<&What> = report.of(Class::Suspicious).collect();
    assert!(
        matches!(found[..], [What::NewLogKey { index: at, key }] if *at == index && *key == new.vkey().to_string()),
        "{report}"
    );
    watch.round().await;
    assert_eq!(ears.heard(), ["new-log-key"]);
    drop(watch);

    // The trust file with both keys, as it is while both sign.
    let both = format!("log {}\n{}", new.vkey(), policy_text());
    let monitor = Monitor::new(Policy::parse(both).unwrap(), &site.url, keeping(dir.path())).unwrap();
    let report = Watch::new(monitor, Watching::default()).round().await;
    assert_eq!(report.class(), Class::Ok, "{report}");
}
