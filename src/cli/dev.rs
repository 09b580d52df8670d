//! `solelog dev`: the stage of the demo, left running, with something to try.
//!
//! A record of Anna's lies ready in a file, to be sent with curl. When it was sent, or before it expires, a new one takes
//! its place.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use scal3::instruction::Value as Field;
use serde_json::{Value, json};
use threshold::Profile1;

use super::cast::{Error, Subscriber, activation, document};
use super::stage::{Stage, expect};
use super::{Exit, Failure, Output, runtime};
use crate::engine::wall_clock_ms;
use crate::tokens::write_private;

/// How often the record that lies ready is looked after.
const LOOK: Duration = Duration::from_secs(2);

/// How old a record may get before it is replaced; it expires at 120 s.
const FRESH: Duration = Duration::from_secs(60);

/// Run a log with two witnesses and a subscriber.
#[derive(Debug, Args)]
pub struct Dev {
    /// Where everything is kept; emptied when `dev` runs again.
    #[arg(long, default_value = "dev-data")]
    dir: PathBuf,
    /// Where the log listens.
    #[arg(long, default_value = "127.0.0.1:7380")]
    listen: SocketAddr,
}

impl Dev {
    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        runtime()?.block_on(async {
            let failed = |error: Error| Failure::new(Exit::System, error);
            let stage = Stage::up(&self.dir, "localhost/dev", self.listen).await.map_err(failed)?;
            let ended = tokio::select! {
                ended = run(&stage, out) => ended.map_err(failed),
                fault = stage.dead() => Err(Failure::new(Exit::Fault, format!("the log stopped: {fault}"))),
                asked = tokio::signal::ctrl_c() => asked.map_err(super::system("cannot wait for Ctrl-C")),
            };
            stage.down().await;
            ended
        })
    }
}

async fn run(stage: &Stage, out: Output) -> Result<(), Error> {
    let (mut anna, _) = stage.enrol::<Profile1>("24680").await?;
    let opening = anna
        .authorise(anna.metadata("credential.activate", &stage.published().await?, wall_clock_ms()), &activation()?)?;
    expect(stage.append(&opening).await?, 201).await?;
    anna.logged(&opening)?;
    let file = stage.folder.join("anna-next.cbor");
    let mut ready = prepare(stage, &anna, &file).await?;
    let mut made = tokio::time::Instant::now();
    say(stage, &anna, &file, out)?;
    loop {
        tokio::time::sleep(LOOK).await;
        let state: Value = stage.get(&format!("/v1/credentials/{}", anna.id().to_hex())).await?.json().await?;
        let sent = state["next_sequence"].as_u64().is_some_and(|next| next > anna.sequence());
        if sent {
            anna.logged(&ready)?;
        }
        if sent || made.elapsed() > FRESH {
            ready = prepare(stage, &anna, &file).await?;
            made = tokio::time::Instant::now();
        }
    }
}

/// Authorises a small payment of Anna's and puts it into the file.
async fn prepare(stage: &Stage, anna: &Subscriber<Profile1>, file: &std::path::Path) -> Result<Vec<u8>, Error> {
    let payment = document(
        "payment",
        &[("amount", Field::Uint(100 + anna.sequence())), ("currency", Field::Text("EUR".into()))],
    )?;
    let opening =
        anna.authorise(anna.metadata(&payment.class, &stage.published().await?, wall_clock_ms()), &payment)?;
    write_private(file, &opening, true)?;
    Ok(opening)
}

fn say(stage: &Stage, anna: &Subscriber<Profile1>, file: &std::path::Path, out: Output) -> Result<(), Error> {
    let Stage { url, append_token, read_token, .. } = stage;
    let (record, trust) = (file.display(), stage.trust.display());
    let keep = stage.folder.join("mine.receipt.json");
    fs::write(stage.folder.join("tokens.txt"), format!("append {append_token}\nread {read_token}\n"))?;
    let witnesses: Vec<&str> = stage.witnesses.iter().map(|(url, _)| url.as_str()).collect();
    let text = format!(
        "solelog {}   for trying things out, not for production: everything in {} is thrown away when this runs again\n\
         \x20 log        {url}   origin {}\n  interface  {url}/docs\n  vkey       {}\n  witnesses  {}\n  trust      {trust}\n\n\
         A record of Anna's lies ready; a new one follows a moment after it was sent:\n\
         \x20 curl -sS '{url}/v1/records?until=witnessed' -H 'Authorization: Bearer {append_token}' -H 'Content-Type: application/cbor' --data-binary @{record}\n\
         Send the same bytes again at once: the same index, and the log does not grow.\n\
         Look at it, with and without the auditor's token:\n\
         \x20 curl -sS {url}/v1/records/2\n  curl -sS {url}/v1/records/2 -H 'Authorization: Bearer {read_token}'\n\
         Keep its receipt, stop this, and verify it offline:\n\
         \x20 curl -sS {url}/v1/receipts/2 -H 'Authorization: Bearer {read_token}' -o {keep}\n  cargo run --release --bin sole -- verify {keep} --policy {trust}\n\
         The log as witnesses and monitors see it:\n  curl -sS {url}/checkpoint\n\nCtrl-C ends it.",
        env!("CARGO_PKG_VERSION"),
        stage.folder.display(),
        stage.origin,
        stage.vkey,
        witnesses.join(" "),
        keep = keep.display(),
    );
    let value = json!({
        "url": url, "origin": stage.origin, "vkey": stage.vkey, "witnesses": stage.witnesses.iter().map(|(url, vkey)| json!({ "url": url, "vkey": vkey })).collect::<Vec<_>>(),
        "trust": stage.trust.display().to_string(), "config": stage.config.display().to_string(), "record": file.display().to_string(),
        "append_token": append_token, "read_token": read_token, "credential": anna.id().to_hex(),
    });
    out.say(text, value).map_err(|failure| failure.error().to_owned())?;
    Ok(())
}
