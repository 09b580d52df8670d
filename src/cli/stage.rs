//! The stage of `solelog demo` and `solelog dev`: a log and two witnesses, each a server of its own on loopback, made and
//! run by the code that makes and runs them in production.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, Response};
use serde_json::Value;
use threshold::Profile;
use tlog::TreeHead;
use tlog::checkpoint::Checkpoint;
use tlog::key::KeyName;
use tlog::note::Note;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use witness::{TrustedLog, Witness, set_up};

use super::cast::{Error, Provider, Subscriber};
use super::init::{Init, POLICY};
use super::serve::open;
use crate::config::Config;
use crate::engine::{Engine, wall_clock_ms};
use crate::tokens::{self, Scope};

/// How many witnesses there are; the quorum is all of them.
const WITNESSES: usize = 2;

/// In a folder that may be thrown away.
const MARK: &str = ".solelog-stage";

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
    /// A token for appending.
    pub append_token: String,
    /// A token for reading openings.
    pub read_token: String,
    /// The provider's backend.
    pub provider: Provider,
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

        let provider = Provider::new(origin, POLICY)?;
        let init = Init {
            origin: origin.to_owned(),
            data: folder.join("log"),
            config: None,
            log_key: None,
            issuing_key: vec![hex::encode(provider.issuing_key()?)],
            policy: None,
            witness_policy: Some(policy_file),
            no_witnesses: false,
            high_water: None,
            listen: Some(listen),
        };
        let made = init.make().map_err(|failure| failure.error().to_owned())?;

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
        let (append_token, read_token) = (token("backend", Scope::Append)?, token("auditor", Scope::Read)?);
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
            append_token,
            read_token,
            provider,
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

    /// Sends an opening.
    pub async fn append(&self, opening: &[u8]) -> Result<Response, Error> {
        self.post("/v1/records?until=witnessed", "application/cbor", opening.to_vec()).await
    }

    /// Sends a body with the token for appending.
    pub async fn post(&self, path: &str, kind: &str, body: Vec<u8>) -> Result<Response, Error> {
        let request = self
            .client
            .post(format!("{}{path}", self.url))
            .header(AUTHORIZATION, format!("Bearer {}", self.append_token));
        Ok(request.header(CONTENT_TYPE, kind).body(body).send().await?)
    }

    /// Reads with the token for reading.
    pub async fn get(&self, path: &str) -> Result<Response, Error> {
        let request =
            self.client.get(format!("{}{path}", self.url)).header(AUTHORIZATION, format!("Bearer {}", self.read_token));
        Ok(request.send().await?.error_for_status()?)
    }

    /// What the log publishes now: what everybody sees.
    pub async fn published(&self) -> Result<TreeHead, Error> {
        let note = Note::parse(&self.get("/checkpoint").await?.bytes().await?)?;
        Ok(Checkpoint::parse_text(note.text())?.head)
    }

    /// Enrols a person and has the log issue the credential.
    pub async fn enrol<P: Profile>(&self, pin: &str) -> Result<(Subscriber<P>, Value), Error> {
        let person = self.provider.enrol::<P>(pin, wall_clock_ms())?;
        let answer =
            self.post("/v1/credentials?until=witnessed", "application/cose", person.credential().to_vec()).await?;
        Ok((person, expect(answer, 201).await?))
    }
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
