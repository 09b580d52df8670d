//! The stage of `solelog demo` and `solelog dev`: a provider's log and two witnesses, each a server of its own on loopback,
//! made and run by the code that makes and runs them in production; the provider's backend, which speaks JSON to the log
//! with tokens; and people with devices, which are the SDK's.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use client::device::{Seal, SoftDevice};
use client::wire::Invitation;
use client::{Folder, Patience, Trust};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Response};
use scal3::Hash;
use scal3::credential::provider_id;
use serde_json::{Value, json};
use tlog::TreeHead;
use tlog::checkpoint::Checkpoint;
use tlog::key::KeyName;
use tlog::note::Note;
use tlog::policy::Policy;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use witness::{TrustedLog, Witness, set_up};

use super::cast::Error;
use super::init::Init;
use super::serve::{open, open_keys};
use crate::authority::Authority;
use crate::config::Config;
use crate::engine::{Engine, wall_clock_ms};
use crate::http::App;
use crate::tokens::{self, Scope};

/// How many witnesses there are; the quorum is all of them.
const WITNESSES: usize = 2;

/// In a folder that may be thrown away.
const MARK: &str = ".solelog-stage";

/// The provider, as its credentials say it.
const ISSUER: &str = "Example Wallet";

/// A person's device: the SDK, with keys and memory in a folder.
pub type Person = client::Subscriber<SoftDevice>;

/// The tokens of the provider's backend, one for each thing that it does. In production the programs that do these things
/// are not one program either.
pub struct Tokens {
    /// Append records and credentials that were made elsewhere.
    pub append: String,
    /// Read openings.
    pub read: String,
    /// Begin enrolments.
    pub enrol: String,
    /// Open intents.
    pub authorise: String,
    /// Resume, recover and revoke credentials.
    pub manage: String,
}

/// A log with its witnesses, up and running.
pub struct Stage {
    /// Where everything is.
    pub folder: PathBuf,
    /// The log's origin.
    pub origin: String,
    /// The log's vkey.
    pub vkey: String,
    /// Where the log is.
    pub url: String,
    /// Where the witnesses are, each with its vkey.
    pub witnesses: Vec<(String, String)>,
    /// The trust file.
    pub trust: PathBuf,
    /// The configuration of the log.
    pub config: PathBuf,
    /// The tokens of the provider's backend.
    pub tokens: Tokens,
    /// The file with the provider's issuing key.
    pub issuing_key: PathBuf,
    provider: Hash,
    settings: Config,
    client: Client,
    engine: Engine,
    stop: watch::Sender<bool>,
    servers: Vec<JoinHandle<()>>,
}

/// A folder of ours from an earlier time is emptied; anybody else's is left alone.
fn fresh(folder: &Path) -> Result<PathBuf, Error> {
    let folder = std::path::absolute(folder)?;
    if folder.join(MARK).exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    if fs::read_dir(&folder)?.next().is_some() {
        return Err(format!("{} is not empty; choose another folder with --dir", folder.display()).into());
    }
    fs::write(
        folder.join(MARK),
        "This folder was made by `solelog demo` or `solelog dev`, which empty it when they run again.\n",
    )?;
    Ok(folder)
}

impl Stage {
    /// Sets everything up in that folder and starts it.
    pub async fn up(folder: &Path, origin: &str, listen: SocketAddr) -> Result<Stage, Error> {
        let folder = fresh(folder)?;
        // The witnesses come first: the log's policy names their keys.
        let mut policy = String::new();
        let mut listeners = Vec::new();
        let mut witnesses = Vec::new();
        for number in 1..=WITNESSES {
            let dir = folder.join(format!("witness-{number}"));
            set_up(&dir, Some(&KeyName::new(&format!("witness-{number}.example"))?), None, &[])?;
            let vkey = Witness::open(&dir)?.vkey().to_string();
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let url = format!("http://{}", listener.local_addr()?);
            policy.push_str(&format!("witness w{number} {vkey} {url}\n"));
            witnesses.push((url, vkey));
            listeners.push((dir, listener));
        }
        let names: Vec<String> = (1..=WITNESSES).map(|number| format!("w{number}")).collect();
        policy.push_str(&format!("group both all {}\nquorum both\n", names.join(" ")));
        let policy_file = folder.join("witnesses.txt");
        fs::write(&policy_file, &policy)?;

        let init = Init {
            origin: origin.to_owned(),
            data: folder.join("log"),
            config: None,
            log_key: None,
            issuing_key: Vec::new(),
            issuer: Some(ISSUER.to_owned()),
            policy: None,
            witness_policy: Some(policy_file),
            no_witnesses: false,
            high_water: None,
            listen: Some(listen),
        };
        let made = init.make().map_err(|failure| failure.error().to_owned())?;
        let provider = provider_id(made.issuing_keys.first().ok_or("no issuing key")?);
        let issuing_key = made.issuing_key_file.ok_or("no issuing key was made")?;

        let (stop, receiver) = watch::channel(false);
        let stopped = |mut stopped: watch::Receiver<bool>| async move {
            // The sender gone means the same.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let mut servers = Vec::new();
        for (dir, listener) in listeners {
            set_up(&dir, None, None, &[TrustedLog::from_vkey(&made.vkey)?])?;
            let witness = Arc::new(Witness::open(&dir)?);
            let stopped = stopped(receiver.clone());
            servers.push(tokio::spawn(async move {
                if let Err(error) = witness::serve(witness, listener, stopped).await {
                    tracing::error!(%error, "a witness stopped");
                }
            }));
        }

        let config = Config::load(&made.config, std::iter::empty(), &[])?.config;
        let token = |name, scope| {
            tokens::create(&config.tokens(), name, &[scope], wall_clock_ms(), None).map(|(_, text)| text.to_string())
        };
        let tokens = Tokens {
            append: token("records", Scope::Append)?,
            read: token("auditor", Scope::Read)?,
            enrol: token("enrolment", Scope::Enrol)?,
            authorise: token("backend", Scope::Authorise)?,
            manage: token("helpdesk", Scope::Manage)?,
        };
        let settings = config.clone();
        let app = open(config).await.map_err(|failure| failure.error().to_owned())?;
        let engine = app.engine().clone();
        let listener = TcpListener::bind(listen).await.map_err(|e| format!("cannot listen on {listen}: {e}"))?;
        let url = format!("http://{}", listener.local_addr()?);
        let stopped = stopped(receiver);
        servers.push(tokio::spawn(async move { app.serve(listener, stopped).await }));
        Ok(Stage {
            folder,
            origin: origin.to_owned(),
            vkey: made.vkey,
            url,
            witnesses,
            trust: made.trust,
            config: made.config,
            tokens,
            issuing_key,
            provider,
            settings,
            client: Client::builder().timeout(Duration::from_secs(30)).build()?,
            engine,
            stop,
            servers,
        })
    }

    /// Stops everything, in order.
    pub async fn down(self) {
        let _ = self.stop.send(true);
        for server in self.servers {
            let _ = server.await;
        }
        self.engine.shutdown().await;
    }

    /// Resolves when the log has stopped on a fault.
    pub async fn dead(&self) -> crate::progress::Fault {
        self.engine.dead().await
    }

    /// A second door to the same log and provider, behind which a challenge is open for that long.
    pub async fn hurried(&mut self, challenge_ms: u64) -> Result<String, Error> {
        let mut config = self.settings.clone();
        config.authority.challenge_ms = challenge_ms;
        let keys = open_keys(&config).map_err(|failure| failure.error().to_owned())?;
        let authority =
            Authority::new(self.engine.clone(), Arc::new(keys), config.authority.settings(), Arc::new(wall_clock_ms));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let mut stopped = self.stop.subscribe();
        let app = App::with_authority(authority, config, None);
        self.servers.push(tokio::spawn(async move {
            app.serve(listener, async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            })
            .await;
        }));
        Ok(url)
    }

    /// Where a person's device keeps its files.
    pub fn home(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A person's device, made where there is none, that talks to the provider at that address.
    pub fn person(&self, name: &str, url: &str) -> Result<Person, Error> {
        let folder = Folder::open(self.home(name))?;
        let device = match SoftDevice::exists(folder.path()) {
            true => SoftDevice::open(folder.path(), Seal::KeyFile)?,
            false => SoftDevice::create(folder.path(), Seal::KeyFile)?,
        };
        Ok(client::Subscriber::open(device, folder, provider_at(url)?, self.trust()?)?)
    }

    /// What a person's device believes before it has asked anybody.
    pub fn trust(&self) -> Result<Trust, Error> {
        let policy = Policy::parse(fs::read(&self.trust)?)?;
        Ok(Trust { origin: self.origin.clone(), provider: self.provider, policy })
    }

    /// The backend begins an enrolment: what it gets it hands to the person's device.
    pub async fn invite(&self, predecessor: Option<Hash>, recovery: bool) -> Result<Invitation, Error> {
        let body = json!({ "predecessor": predecessor.map(|id| id.to_hex()), "recovery": recovery });
        let answer = self.post("/v1/enrolments", &self.tokens.enrol, "application/json", body.to_string()).await?;
        Ok(serde_json::from_value(expect(answer, 201).await?)?)
    }

    /// The help desk resumes, recovers or revokes a credential. Gives the entry that says so.
    pub async fn manage(&self, credential: &Hash, what: &str, reason: &str) -> Result<Value, Error> {
        let path = format!("/v1/credentials/{}/{what}", credential.to_hex());
        let body = json!({ "reason": reason }).to_string();
        let answer = self.post(&path, &self.tokens.manage, "application/json", body).await?;
        Ok(expect(answer, 200).await?["index"].clone())
    }

    /// How often the second factor of a credential was wrong since it was last right.
    pub async fn failed_attempts(&self, credential: &Hash) -> Result<u64, Error> {
        let state: Value = self.get(&format!("/v1/credentials/{}", credential.to_hex())).await?.json().await?;
        Ok(state["failed_attempts"].as_u64().ok_or("no count of attempts")?)
    }

    /// Sends an opening that was made elsewhere.
    pub async fn append(&self, opening: &[u8]) -> Result<Response, Error> {
        self.post("/v1/records?until=witnessed", &self.tokens.append, "application/cbor", opening.to_vec()).await
    }

    /// Sends a body with a token.
    pub async fn post(
        &self,
        path: &str,
        token: &str,
        kind: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<Response, Error> {
        let request = self.client.post(format!("{}{path}", self.url)).header(AUTHORIZATION, format!("Bearer {token}"));
        Ok(request.header(CONTENT_TYPE, kind).body(body).send().await?)
    }

    /// Reads with the token for reading.
    pub async fn get(&self, path: &str) -> Result<Response, Error> {
        let request = self.client.get(format!("{}{path}", self.url));
        let request = request.header(AUTHORIZATION, format!("Bearer {}", self.tokens.read));
        Ok(request.send().await?.error_for_status()?)
    }

    /// What the log publishes now: what everybody sees.
    pub async fn published(&self) -> Result<TreeHead, Error> {
        let note = Note::parse(&self.get("/checkpoint").await?.bytes().await?)?;
        Ok(Checkpoint::parse_text(note.text())?.head)
    }
}

/// The provider at an address, asked often: everything is on this machine.
pub fn provider_at(url: &str) -> Result<client::Provider, Error> {
    let patience =
        Patience { wait: Duration::from_millis(10), publish: Duration::from_secs(20), ..Patience::default() };
    Ok(client::Provider::new(url, patience)?)
}

/// The JSON of an answer, if it has that status.
pub async fn expect(answer: Response, status: u16) -> Result<Value, Error> {
    let found = answer.status().as_u16();
    let text = answer.text().await?;
    if found != status {
        return Err(format!("the log answered {found} where {status} was expected: {text}").into());
    }
    Ok(serde_json::from_str(&text)?)
}
