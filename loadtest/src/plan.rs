//! What will be sent: subscribers with credentials in the log, and for each a chain of records.
//!
//! Records of one subscriber follow one another, so they stay in one lane; lanes are independent.

use crate::Error;
use base64ct::{Base64, Encoding as _};
use scal3::{Hash, instruction::Value};
use serde::Deserialize;
use solelog::cli::cast::{Provider, Subscriber, activation, document};
use std::time::{SystemTime, UNIX_EPOCH};
use threshold::Profile1;
use tlog::{TreeHead, TreeSize, key::Vkey};

/// What the log says about itself, as far as it matters here.
#[derive(Debug, Deserialize)]
pub struct Log {
    /// Its name.
    pub origin: String,
    /// Its key.
    pub vkey: String,
    /// The policy in force.
    pub policy: Policy,
    /// The newest signed head.
    pub integrated: Head,
}

/// The policy in force.
#[derive(Debug, Deserialize)]
pub struct Policy {
    /// The document, base64.
    pub document: String,
}

/// A signed head.
#[derive(Debug, Deserialize)]
pub struct Head {
    /// How many entries.
    pub size: u64,
    /// The root, base64.
    pub root: String,
    /// The signed note.
    pub checkpoint: String,
}

impl Head {
    /// The head as numbers and hashes. Not verified.
    pub fn tree_head(&self) -> Result<TreeHead, Error> {
        let size = TreeSize::new(self.size).map_err(|e| Error::Wrong(e.to_string()))?;
        let root = Hash::from_base64(&self.root).ok_or_else(|| Error::Wrong("a root that is no hash".into()))?;
        Ok(TreeHead { size, root })
    }
}

impl Log {
    /// Asks the log.
    pub async fn ask(http: &reqwest::Client, url: &str) -> Result<Log, Error> {
        let answer = http.get(format!("{url}/v1/log")).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// The key that signs its heads.
    pub fn key(&self) -> Result<Vkey, Error> {
        Vkey::parse(&self.vkey).map_err(|e| Error::Wrong(format!("the log's vkey: {e}")))
    }

    /// The policy document.
    pub fn policy(&self) -> Result<Vec<u8>, Error> {
        Base64::decode_vec(&self.policy.document).map_err(|e| Error::Wrong(format!("the policy: {e}")))
    }
}

/// The openings of one subscriber, in order.
pub struct Lane {
    /// What is sent, one after the other.
    pub openings: Vec<Vec<u8>>,
}

/// One subscriber whose credential is in the log and active.
pub struct Person(Subscriber<Profile1>);

impl Person {
    /// Enrols somebody, and puts credential and activation into the log.
    pub async fn enrol(provider: &Provider, send: &impl Post, log: &Log) -> Result<Person, Error> {
        let make = |e: Box<dyn std::error::Error + Send + Sync>| Error::Make(e.to_string());
        let mut person = provider.enrol::<Profile1>("2468", now_ms()).map_err(make)?;
        let head = send.credential(person.credential()).await?;
        let seen = head.unwrap_or(log.integrated.tree_head()?);
        let document = activation().map_err(make)?;
        let opening = person.authorise(person.metadata(&document.class, &seen, now_ms()), &document).map_err(make)?;
        send.record(&opening).await?;
        person.logged(&opening).map_err(make)?;
        Ok(Person(person))
    }

    /// Authorises a row of instructions, before any of them is sent.
    pub fn lane(&mut self, records: usize, seen: &TreeHead) -> Result<Lane, Error> {
        let make = |e: Box<dyn std::error::Error + Send + Sync>| Error::Make(e.to_string());
        let mut openings = Vec::with_capacity(records);
        for number in 0..records {
            let fields = [("text", Value::Text(format!("load, number {number}")))];
            let document = document("document.sign", &fields).map_err(make)?;
            let metadata = self.0.metadata(&document.class, seen, now_ms());
            let opening = self.0.authorise(metadata, &document).map_err(make)?;
            self.0.logged(&opening).map_err(make)?;
            openings.push(opening);
        }
        Ok(Lane { openings })
    }
}

/// What enrolling needs of a connection.
pub trait Post {
    /// Puts a credential into the log; gives the head that covers it.
    fn credential(&self, bytes: &[u8]) -> impl Future<Output = Result<Option<TreeHead>, Error>>;
    /// Puts a record into the log.
    fn record(&self, opening: &[u8]) -> impl Future<Output = Result<(), Error>>;
}

/// Milliseconds since 1970.
#[must_use]
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
