//! kill -9 while people append: what was acknowledged is there afterwards, once, at the index that was answered.
//!
//! Real processes, real records. `SOLELOG_KILLS` says how often (10 by default).

mod process;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use process::{Served, json, solelog};
use reqwest::{Client, StatusCode};
use scal3::instruction::Value;
use scal3::{Entry, Hash, opening};
use serde_json::Value as Json;
use solelog::cli::cast::{Provider, Subscriber, activation, document};
use solelog::cli::init::POLICY;
use solelog::engine::wall_clock_ms;
use threshold::Profile1;
use tlog::{TreeHead, TreeSize};

const ORIGIN: &str = "kill.example/log";
const LANES: usize = 3;

/// One person, who appends one record after another, and remembers what was acknowledged.
struct Lane {
    person: Subscriber<Profile1>,
    /// Sent, and not known to have arrived.
    pending: Option<Vec<u8>>,
    acknowledged: BTreeMap<u64, Hash>,
}

impl Lane {
    /// Appends until the log is gone.
    async fn run(mut self, client: Client, url: String, token: String, seen: TreeHead) -> Lane {
        for number in 0.. {
            let opening = match self.pending.take() {
                Some(opening) => opening,
                None => {
                    let text = Value::Text(format!("number {number}"));
                    let document = document("document.sign", &[("text", text)]).expect("document");
                    let metadata = self.person.metadata(&document.class, &seen, wall_clock_ms());
                    self.person.authorise(metadata, &document).expect("authorised")
                }
            };
            self.pending = Some(opening.clone());
            let Some(index) = append(&client, &url, &token, "records", "application/cbor", &opening).await else {
                return self;
            };
            self.pending = None;
            self.person.logged(&opening).expect("logged");
            let before = self.acknowledged.insert(index, opening::commitment(&opening));
            assert_eq!(before, None, "the index {index} was given twice");
        }
        self
    }
}

/// The index; none when the log is gone before it answers.
async fn append(client: &Client, url: &str, token: &str, what: &str, kind: &str, body: &[u8]) -> Option<u64> {
    let request = client.post(format!("{url}/v1/{what}?until=sequenced")).bearer_auth(token);
    let answer = request.header("content-type", kind).body(body.to_vec()).send().await.ok()?;
    let status = answer.status();
    let text = answer.text().await.ok()?;
    assert!(matches!(status, StatusCode::OK | StatusCode::CREATED), "{status}: {text}");
    let answer: Json = serde_json::from_str(&text).expect("JSON");
    Some(answer["index"].as_u64().expect("index"))
}

async fn head(client: &Client, url: &str) -> TreeHead {
    let log: Json = client.get(format!("{url}/v1/log")).send().await.expect("log").json().await.expect("JSON");
    let root = log["integrated"]["root"].as_str().and_then(Hash::from_base64).expect("root");
    let size = TreeSize::new(log["integrated"]["size"].as_u64().expect("size")).expect("size");
    TreeHead { size, root }
}

/// Every acknowledged record is where it was said to be.
async fn check(client: &Client, url: &str, acknowledged: impl Iterator<Item = (&u64, &Hash)>) {
    for (index, commitment) in acknowledged {
        let answer = client.get(format!("{url}/v1/records/{index}")).send().await.expect("answer");
        assert_eq!(answer.status(), StatusCode::OK, "the acknowledged entry {index} is lost");
        let answer: Json = answer.json().await.expect("JSON");
        let entry = Base64::decode_vec(answer["entry"].as_str().expect("entry")).expect("base64");
        assert_eq!(Entry::parse(&entry).expect("entry").commitment, *commitment, "another entry at {index}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let kills: u32 = std::env::var("SOLELOG_KILLS").map_or(10, |n| n.parse().expect("SOLELOG_KILLS is a number"));
    let folder = tempfile::tempdir().expect("folder");
    let data = folder.path().join("data");
    let (data_text, high_water) = (data.to_str().expect("text"), folder.path().join("high-water"));
    let high_water = high_water.to_str().expect("text");
    solelog(&["init", "--origin", ORIGIN, "--data", data_text, "--no-witnesses", "--high-water", high_water]);
    let config = data.join("log.toml");
    let config_text = config.to_str().expect("text");
    let token =
        json(&solelog(&["--json", "token", "new", "--config", config_text, "--name", "t", "--scope", "append"]));
    let token = token["token"].as_str().expect("token").to_owned();
    let pem = std::fs::read_to_string(data.join("keys/issuing.key")).expect("issuing key");
    let provider = Provider::from_pem(&pem, ORIGIN, POLICY).expect("provider");

    let mut lanes = Vec::new();
    {
        let served = Served::start(&config, Stdio::null(), "off");
        let client = Client::new();
        for _ in 0..LANES {
            let mut person = provider.enrol::<Profile1>("1234", wall_clock_ms()).expect("enrolled");
            let (url, credential) = (&served.url, person.credential().to_vec());
            let issued =
                append(&client, url, &token, "credentials", "application/cose", &credential).await.expect("issued");
            let seen = loop {
                let head = head(&client, url).await;
                if head.size.get() > issued {
                    break head;
                }
            };
            let document = activation().expect("document");
            let opening =
                person.authorise(person.metadata(&document.class, &seen, wall_clock_ms()), &document).expect("made");
            append(&client, url, &token, "records", "application/cbor", &opening).await.expect("activated");
            person.logged(&opening).expect("logged");
            lanes.push(Lane { person, pending: None, acknowledged: BTreeMap::new() });
        }
    }

    for kill in 0..kills {
        let served = Served::start(&config, Stdio::null(), "off");
        let client = Client::new();
        for lane in &lanes {
            check(&client, &served.url, lane.acknowledged.iter().rev().take(20)).await;
        }
        let seen = head(&client, &served.url).await;
        let running: Vec<_> = lanes
            .drain(..)
            .map(|lane| tokio::spawn(lane.run(client.clone(), served.url.clone(), token.clone(), seen)))
            .collect();
        // Another moment each time, so that the kill meets other steps of a round.
        tokio::time::sleep(Duration::from_millis(60 + u64::from(kill) * 37 % 240)).await;
        drop(served);
        for lane in running {
            lanes.push(lane.await.expect("a lane"));
        }
    }

    let served = Served::start(&config, Stdio::null(), "off");
    let client = Client::new();
    let mut acknowledged = BTreeMap::new();
    for lane in &mut lanes {
        if let Some(opening) = lane.pending.take() {
            // It may have arrived before the kill, or not; either way it has one place now.
            let index = append(&client, &served.url, &token, "records", "application/cbor", &opening)
                .await
                .expect("sent again");
            let again =
                append(&client, &served.url, &token, "records", "application/cbor", &opening).await.expect("and again");
            assert_eq!(index, again);
            lane.acknowledged.insert(index, opening::commitment(&opening));
        }
        for (index, commitment) in &lane.acknowledged {
            assert_eq!(acknowledged.insert(*index, *commitment), None, "two records at {index}");
        }
    }
    assert!(acknowledged.len() >= kills as usize, "only {} records were acknowledged", acknowledged.len());
    let size = loop {
        let size = head(&client, &served.url).await.size.get();
        if size > *acknowledged.keys().next_back().expect("records") {
            break size;
        }
    };
    // Those that were sent again are shown when a head covers them, as everything is.
    check(&client, &served.url, acknowledged.iter()).await;
    // Genesis, and for each person: issued, the activation, activated. Nothing else, and nothing twice.
    assert_eq!(size, 1 + 3 * LANES as u64 + acknowledged.len() as u64);
    drop(served);
    solelog(&["fsck", "--config", config_text]);
    println!("{kills} kills, {} records acknowledged, none lost", acknowledged.len());
}
