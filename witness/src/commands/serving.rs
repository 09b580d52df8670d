//! Serving: from the folder to a witness that answers, until it is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tlog::key::Vkey;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use witness::bastion::Bastion;
use witness::{Additions, Reloaded, Witness, inbox, lists};

use super::{Cli, Failure, logs_json, note, outcome_text, print, runtime};

/// How often a witness that runs looks into its inbox.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) fn serve(cli: &Cli, listen: Option<SocketAddr>) -> Result<(), Failure> {
    let witness = Arc::new(Witness::open(&cli.dir)?);
    if let Some(healed) = witness.healed() {
        note(cli, "state", &healed.to_string());
    }
    let bastion = Bastion::load(&cli.dir, &witness.config())?;
    runtime()?.block_on(async {
        inbox::open_folder(&cli.dir)?;
        // From here on a signal is a wish, not the end in the middle of something.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let address = listen.unwrap_or(witness.listen());
        let listener = witness::serve::listen(address).map_err(|error| Failure::Listen { address, error })?;
        announce(cli, &witness, bastion.as_ref(), listener.local_addr()?);
        let asked = Notify::new();
        let told = async {
            loop {
                let reload = tokio::select! {
                    _ = hangup.recv() => true,
                    () = tokio::time::sleep(LOOK_EVERY) => false,
                };
                if take_up(cli, &witness, reload).await {
                    asked.notify_one();
                }
            }
        };
        let stop = async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        let followed = lists::follow(witness.clone(), &asked, |list, outcome| match outcome {
            Ok(outcome) if outcome.added.is_empty() && outcome.other_key.is_empty() && outcome.unusable.is_empty() => {}
            Ok(outcome) => note(cli, "list", &outcome_text(list, &outcome)),
            Err(error) => note(cli, "list", &error.to_string()),
        });
        let through = async {
            match bastion {
                Some(bastion) => {
                    bastion.follow(witness.clone(), |event| note(cli, "bastion", &event.to_string())).await
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = witness::serve(witness.clone(), listener, stop) => Ok(ended?),
            () = told => Ok(()),
            () = followed => Ok(()),
            () = through => Ok(()),
        }
    })
}

/// Takes up what waits in the inbox, and on SIGHUP the whole configuration. Says whether lists are
/// to be read now.
async fn take_up(cli: &Cli, witness: &Arc<Witness>, reload: bool) -> bool {
    let (theirs, dir) = (witness.clone(), cli.dir.clone());
    let done = tokio::task::spawn_blocking(move || {
        let reloaded = reload.then(|| theirs.reload());
        (inbox::take_up(&theirs, &dir), reloaded)
    });
    let Ok((taken, reloaded)) = done.await else { return false };
    let mut read_lists = reload;
    for taken in taken {
        match taken {
            Ok(Additions { logs, lists }) => {
                logs.iter().for_each(|log| note(cli, "log", &format!("{} is served", log.origin)));
                read_lists |= logs.is_empty() || !lists.is_empty();
            }
            Err(error) => note(cli, "inbox", &error.to_string()),
        }
    }
    match reloaded {
        None => {}
        Some(Ok(Reloaded { added, removed, needs_restart })) => {
            added.iter().for_each(|origin| note(cli, "log", &format!("{origin} is served")));
            removed.iter().for_each(|origin| note(cli, "log", &format!("{origin} is not served any more")));
            let rest = if needs_restart { "; what else has changed needs a restart" } else { "" };
            note(cli, "config", &format!("witness.toml was read again{rest}"));
        }
        Some(Err(error)) => note(cli, "config", &format!("all stays as it is: {error}")),
    }
    read_lists
}

/// Says where the witness is and what to give to the logs.
fn announce(cli: &Cli, witness: &Witness, bastion: Option<&Bastion>, address: SocketAddr) {
    let logs = witness.logs();
    let mut text = String::new();
    for vkey in witness.vkeys() {
        text += &format!("witness {vkey}\n");
    }
    text += &format!("serving http://{address}/ (submission and monitoring prefix, and about page)\n");
    if let Some(bastion) = bastion {
        text += &format!("bastion {}, which must know this key: {}\n", bastion.address(), bastion.id());
    }
    for (log, size, _) in logs.iter().take(20) {
        text += &format!("log     {} at size {size}\n", log.origin);
    }
    match logs.len() {
        0 => text += "no log yet: `solelog-witness log add VKEY`, or `solelog-witness list URL`\n",
        1..=20 => {}
        more => text += &format!("        and {} more logs\n", more - 20),
    }
    text += "policy line for the log's operator:\n";
    text += &format!("witness NAME {} http://{address}", witness.vkey());
    print(cli, &text, || {
        json!({
            "listening": address.to_string(),
            "prefix": format!("http://{address}"),
            "vkey": witness.vkey().to_string(),
            "vkeys": witness.vkeys().iter().map(Vkey::to_string).collect::<Vec<_>>(),
            "bastion": bastion.map(|bastion| json!({ "address": bastion.address(), "id": bastion.id() })),
            "logs": logs_json(witness),
        })
    });
}
