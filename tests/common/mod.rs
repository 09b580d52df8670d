//! A real log on loopback, with real keys, for tests from outside.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::path::PathBuf;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use scal3::genesis::Genesis;
use scal3::{Document, Metadata};
use serde_json::Value;
use solelog::cli::cast::{Provider, Subscriber, activation};
use solelog::config::Config;
use solelog::engine::{self, Engine, wall_clock_ms};
use solelog::http::App;
use solelog::tokens::{self, Scope};
use threshold::{Profile, Profile1};
use tlog::TreeHead;
use tlog::checkpoint::Checkpoint;
use tlog::key::{KeyName, Signer};
use tlog::note::Note;
use tlog::policy::Policy;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub const ORIGIN: &str = "log.example/test";
pub const POLICY: &[u8] = b"{\"version\":1,\"rules\":[]}";

pub struct Log {
    pub url: String,
    pub client: Client,
    pub provider: Provider,
    pub append_token: String,
    pub read_token: String,
    pub config: Config,
    engine: Engine,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    folder: tempfile::TempDir,
}

impl Log {
    pub async fn start() -> Log {
        Log::start_with(|_| {}).await
    }

    /// A log whose configuration was changed before it started.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Log {
        let folder = tempfile::tempdir().expect("folder");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("data");
        let mut config = Config { origin: ORIGIN.to_owned(), data, ..Config::default() };
        change(&mut config);
        let provider = Provider::new(ORIGIN, POLICY).expect("provider");
        let signer = Signer::note(KeyName::new(ORIGIN).expect("name"), &[7; 32]);
        let mut engine = engine::Config::new(config.log_dir(), signer);
        engine.limits = config.engine_limits();
        engine.pace = config.engine_pace();
        engine.high_water = Some(folder.path().join("high-water"));
        let issuing_keys = vec![provider.issuing_key().expect("key")];
        Engine::create(&engine, &Genesis { origin: ORIGIN.into(), issuing_keys, policy: POLICY.to_vec() })
            .expect("created");
        let engine = Engine::open(engine).await.expect("opened");
        let token = |name, scope| {
            let (_, text) = tokens::create(&config.tokens(), name, &[scope], wall_clock_ms(), None).expect("token");
            text.to_string()
        };
        let (append_token, read_token) = (token("writer", Scope::Append), token("reader", Scope::Read));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let app = App::new(engine.clone(), config.clone(), None);
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(async move {
            app.serve(listener, async {
                let _ = stopped.await;
            })
            .await;
        });
        Log { url, client: Client::new(), provider, append_token, read_token, config, engine, stop, serving, folder }
    }

    /// Asks the server to stop, and waits until it has.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.serving.await.expect("the server ends");
        self.engine.shutdown().await;
    }

    /// Asks the server to stop, and gives what resolves when it has.
    pub fn stopping(self) -> (JoinHandle<()>, tempfile::TempDir) {
        let _ = self.stop.send(());
        (self.serving, self.folder)
    }

    /// How many entries are durable.
    pub fn size(&self) -> u64 {
        self.engine.heads().committed.size.get()
    }

    pub fn tokens(&self) -> PathBuf {
        self.config.tokens()
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url))
    }

    pub fn post(&self, path: &str, kind: &str, body: Vec<u8>) -> RequestBuilder {
        self.client
            .post(format!("{}{path}", self.url))
            .header(AUTHORIZATION, format!("Bearer {}", self.append_token))
            .header(CONTENT_TYPE, kind)
            .body(body)
    }

    pub fn get_as_reader(&self, path: &str) -> RequestBuilder {
        self.get(path).header(AUTHORIZATION, format!("Bearer {}", self.read_token))
    }

    pub async fn json(&self, path: &str) -> Value {
        let answer = self.get(path).send().await.expect("answer");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer.json().await.expect("JSON")
    }

    /// The newest signed head, as a device that was just answered knows it.
    pub async fn head(&self) -> TreeHead {
        let log = self.json("/v1/log").await;
        read_head(log["integrated"]["checkpoint"].as_str().expect("a checkpoint").as_bytes())
    }

    /// Waits until everything that is durable is published, and reads `/checkpoint`.
    pub async fn published(&self) -> TreeHead {
        let mut state = self.engine.subscribe();
        let all = |s: &solelog::progress::State| {
            s.heads.published.as_ref().is_some_and(|p| p.head.size == s.heads.committed.size)
        };
        state.wait_for(all).await.expect("the log lives");
        read_head(&self.get("/checkpoint").send().await.expect("answer").bytes().await.expect("bytes"))
    }

    /// The trust file of this log.
    pub async fn trust(&self) -> Policy {
        let log = self.json("/v1/log").await;
        let vkey = log["vkey"].as_str().expect("vkey");
        Policy::parse(format!("log {vkey}\nquorum none\n")).expect("policy")
    }

    /// A person whose credential is issued, and who has made no record yet.
    pub async fn issued(&self) -> Subscriber<Profile1> {
        let person = self.provider.enrol("1234", wall_clock_ms()).expect("enrolled");
        self.issue(&person).await;
        person
    }

    pub async fn issue<P: Profile>(&self, person: &Subscriber<P>) -> u64 {
        let answer = self
            .post("/v1/credentials", "application/cose", person.credential().to_vec())
            .send()
            .await
            .expect("answer");
        created(answer).await["index"].as_u64().expect("index")
    }

    /// A person whose credential is active.
    pub async fn active(&self) -> Subscriber<Profile1> {
        let mut person = self.issued().await;
        self.append(&mut person, &activation().expect("document")).await;
        person
    }

    /// Authorises an instruction and appends it. Gives the opening and the answer.
    pub async fn append<P: Profile>(&self, person: &mut Subscriber<P>, document: &Document) -> (Vec<u8>, Value) {
        let opening = self.authorise(person, document, |_| {}).await;
        let answer = self.post("/v1/records", "application/cbor", opening.clone()).send().await.expect("answer");
        let answer = created(answer).await;
        person.logged(&opening).expect("logged");
        (opening, answer)
    }

    /// Authorises an instruction under metadata that was changed before anybody signed.
    pub async fn authorise<P: Profile>(
        &self,
        person: &Subscriber<P>,
        document: &Document,
        change: impl FnOnce(&mut Metadata),
    ) -> Vec<u8> {
        let mut metadata = person.metadata(&document.class, &self.head().await, wall_clock_ms());
        change(&mut metadata);
        person.authorise(metadata, document).expect("authorised")
    }
}

fn read_head(note: &[u8]) -> TreeHead {
    let note = Note::parse(note).expect("note");
    Checkpoint::parse_text(note.text()).expect("checkpoint").head
}

async fn created(answer: Response) -> Value {
    let status = answer.status();
    let text = answer.text().await.expect("body");
    assert_eq!(status, StatusCode::CREATED, "{text}");
    serde_json::from_str(&text).expect("JSON")
}
