//! `solelog dev`: the stage of the demo, left running, with commands to try on it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use client::{Pin, Profile, Value, instruction};
use serde_json::json;

use super::cast::Error;
use super::stage::Stage;
use super::{Exit, Failure, Output, runtime};
use crate::tokens::write_private;

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

/// Anna enrols and pays, so that there is something to look at. Then everybody may.
async fn run(stage: &Stage, out: Output) -> Result<(), Error> {
    let mut anna = stage.person("anna", &stage.url)?;
    let pin = Pin::new("24680");
    anna.enrol(&stage.invite(None, false).await?, Profile::EcSdsa, &pin).await?;
    let fields = [("amount", Value::Uint(1250)), ("currency", Value::Text("EUR".into()))];
    let paid = anna.authorise(&instruction("payment", &fields)?, &pin).await?;
    let receipt = stage.folder.join("anna-payment.receipt.json");
    fs::write(&receipt, serde_json::to_vec_pretty(&paid.receipt)?)?;
    let credential = anna.credential().ok_or("no credential")?.to_hex();
    // Whoever tries the commands may want the device's files, and one process at a time has them.
    drop(anna);
    say(stage, &credential, paid.index, &receipt, out)?;
    std::future::pending().await
}

/// What to try: why, and the commands, as they can be pasted into a shell.
type Try = (&'static str, Vec<String>);

fn to_try(stage: &Stage, credential: &str, index: u64, receipt: &Path) -> Vec<Try> {
    let Stage { url, tokens, .. } = stage;
    let (receipt, trust) = (receipt.display(), stage.trust.display());
    let (invitation, home) = (stage.folder.join("invitation.json"), stage.folder.join("you"));
    let (invitation, home) = (invitation.display(), home.display());
    let curl = |path: &str, more: &str| format!("curl -fsS {url}{path}{more}");
    let bearer = |token: &str| format!(" -H 'Authorization: Bearer {token}'");
    let post = |path: &str, token: &str, body: &str| {
        curl(path, &format!("{} -H 'Content-Type: application/json' -d '{body}'", bearer(token)))
    };
    let read = bearer(&tokens.read);
    vec![
        ("Verify Anna's receipt, offline", vec![format!("sole verify {receipt} --policy {trust}")]),
        (
            "As the provider's backend, invite yourself; then enrol, choose a PIN, and authorise",
            vec![
                format!("{} -o {invitation}", post("/v1/enrolments", &tokens.enrol, "{}")),
                format!("sole enrol --url {url} --policy {trust} --invitation {invitation} --home {home}"),
                format!("sole authorise 'Lunch on Friday' --home {home}"),
                format!("sole receipts list --home {home}"),
                format!("sole watch --home {home}"),
            ],
        ),
        (
            "Look at Anna's entry, without and with the auditor's token, and at her credential",
            vec![
                curl(&format!("/v1/records/{index}"), ""),
                curl(&format!("/v1/records/{index}"), &read),
                curl(&format!("/v1/receipts/{index}"), &read),
                curl(&format!("/v1/credentials/{credential}"), &read),
            ],
        ),
        (
            "As the help desk, stop it, and let it act again",
            vec![
                post(&format!("/v1/credentials/{credential}/suspend"), &tokens.manage, r#"{"reason":"lost"}"#),
                post(&format!("/v1/credentials/{credential}/resume"), &tokens.manage, r#"{"reason":"found"}"#),
            ],
        ),
        (
            "The log as witnesses and monitors see it",
            vec![curl("/checkpoint", ""), format!("solelog-monitor --policy {trust} --url {url}")],
        ),
    ]
}

fn say(stage: &Stage, credential: &str, index: u64, receipt: &Path, out: Output) -> Result<(), Error> {
    let Stage { url, origin, vkey, tokens, .. } = stage;
    let list: BTreeMap<&str, &String> = BTreeMap::from([
        ("append", &tokens.append),
        ("read", &tokens.read),
        ("enrol", &tokens.enrol),
        ("authorise", &tokens.authorise),
        ("manage", &tokens.manage),
    ]);
    let kept = stage.folder.join("tokens.txt");
    let lines: String = list.iter().map(|(scope, token)| format!("{scope} {token}\n")).collect();
    write_private(&kept, lines.as_bytes(), true)?;
    let witnesses: Vec<&str> = stage.witnesses.iter().map(|(url, _)| url.as_str()).collect();
    let to_try = to_try(stage, credential, index, receipt);
    let mut text = format!(
        "solelog {}   for trying things out, not for production: everything in {} is thrown away when this runs again\n\
         \x20 log        {url}   origin {origin}\n  interface  {url}/docs\n  vkey       {vkey}\n  witnesses  {}\n  trust      {}\n\
         \x20 tokens     {}\n\nAnna has enrolled and paid: entry {index}.\n",
        env!("CARGO_PKG_VERSION"),
        stage.folder.display(),
        witnesses.join(" "),
        stage.trust.display(),
        kept.display(),
    );
    for (why, commands) in &to_try {
        text.push_str(&format!("{why}:\n"));
        commands.iter().for_each(|command| text.push_str(&format!("  {command}\n")));
    }
    text.push_str("\nCtrl-C ends it.");
    let value = json!({
        "url": url, "origin": origin, "vkey": vkey, "witnesses": stage.witnesses.iter().map(|(url, vkey)| json!({ "url": url, "vkey": vkey })).collect::<Vec<_>>(),
        "trust": stage.trust.display().to_string(), "config": stage.config.display().to_string(), "receipt": receipt.display().to_string(),
        "tokens": list, "credential": credential, "index": index,
        "try": to_try.iter().flat_map(|(_, commands)| commands).collect::<Vec<_>>(),
    });
    out.say(text, value).map_err(|failure| failure.error().to_owned())?;
    Ok(())
}
