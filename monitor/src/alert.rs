//! Alerts: what somebody is woken for, and whether they have heard.
//!
//! ```text
//! finding ── new? ──▶ outbox (kept on disk) ── webhook and hook both took it ──▶ gone from the outbox
//!                                           ── one did not ──▶ stays, and the cursor does not move
//! ```
//! A webhook is a POST as <https://www.standardwebhooks.com> says, signed with a shared secret: whoever gets it can tell
//! that it is ours and when it was sent, and drop what comes twice by its id. A hook is a program that gets the same JSON
//! on its standard input; exit code 0 says that it was heard.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tlog::text::{from_base64, to_base64};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::report::{Class, Report, What};

/// The most alerts that wait for delivery. Beyond that the newest ones are not put in: the oldest tell how it began.
const MOST_WAITING: usize = 1000;

/// What a secret of a webhook begins with.
const SECRET_PREFIX: &str = "whsec_";

/// Something to be told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Alert {
    /// Its name; the same alert sent again has the same.
    pub id: String,
    /// When it was found, in seconds since 1970.
    pub time: u64,
    /// What is told.
    pub body: Value,
}

/// Why an alert was not delivered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AlertError {
    /// The webhook did not take it.
    #[error("the webhook did not take an alert: {0}")]
    Webhook(String),
    /// The hook did not take it.
    #[error("the hook {} did not take an alert: {why}", path.display())]
    Hook {
        /// The program.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// The secret of a webhook. Not printed by `Debug`.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

/// Not a secret of a webhook.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a webhook's secret is `whsec_` and 24 to 64 bytes in base64")]
pub struct SecretError;

impl Secret {
    /// Reads `whsec_…`.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn parse(text: &str) -> Result<Secret, SecretError> {
        let bytes = text.trim().strip_prefix(SECRET_PREFIX).and_then(from_base64).ok_or(SecretError)?;
        if (24..=64).contains(&bytes.len()) { Ok(Secret(bytes)) } else { Err(SecretError) }
    }

    /// The value of `webhook-signature` for a message.
    fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        let mac = scal3::tag::hmac_sha256(&self.0, format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", to_base64(&mac.0))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Who is told.
#[derive(Clone, Debug, Default)]
pub struct Channels {
    /// A webhook, and the secret that signs what is sent to it.
    pub webhook: Option<(String, Secret)>,
    /// A program.
    pub hook: Option<PathBuf>,
    /// How long each of them may take.
    pub patience: Option<Duration>,
}

impl Channels {
    /// Whether nobody is told.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.webhook.is_none() && self.hook.is_none()
    }

    /// How many are told.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.webhook.is_some()) + usize::from(self.hook.is_some())
    }

    /// Tells all of them. One that fails is tried again with the next alert; who has heard hears it twice then.
    ///
    /// # Errors
    /// [`AlertError`] of the first that failed.
    pub async fn deliver(&self, alert: &Alert) -> Result<(), AlertError> {
        let webhook = match &self.webhook {
            Some((url, secret)) => self.post(url, secret, alert).await,
            None => Ok(()),
        };
        let hook = match &self.hook {
            Some(path) => self.run(path, alert).await,
            None => Ok(()),
        };
        webhook.and(hook)
    }

    fn patience(&self) -> Duration {
        self.patience.unwrap_or(Duration::from_secs(30))
    }

    async fn post(&self, url: &str, secret: &Secret, alert: &Alert) -> Result<(), AlertError> {
        let failed = |why: String| AlertError::Webhook(why);
        // Where an alert goes is for the one who configured it to say, and not for a server.
        let client = Client::builder().timeout(self.patience()).redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|error| failed(error.to_string()))?;
        let body = alert.body.to_string();
        let timestamp = now();
        let request = client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &alert.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", secret.sign(&alert.id, timestamp, &body))
            .body(body);
        // Without the URL: it may have a token in it.
        let response = request.send().await.map_err(|error| failed(error.without_url().to_string()))?;
        if response.status().is_success() { Ok(()) } else { Err(failed(format!("it answers {}", response.status()))) }
    }

    async fn run(&self, path: &PathBuf, alert: &Alert) -> Result<(), AlertError> {
        let failed = |why: String| AlertError::Hook { path: path.clone(), why };
        let text = |key: &str| alert.body[key].as_str().unwrap_or_default().to_owned();
        let mut child = Command::new(path)
            .env("SOLELOG_ALERT_ID", &alert.id)
            .env("SOLELOG_CLASS", text("class"))
            .env("SOLELOG_CODE", text("code"))
            .env("SOLELOG_ORIGIN", text("origin"))
            .env("SOLELOG_SAYS", text("says"))
            .env("SOLELOG_EVIDENCE", text("evidence"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A hook that reads nothing has heard all the same: its exit code says so.
            let _ = stdin.write_all(alert.body.to_string().as_bytes()).await;
        }
        match tokio::time::timeout(self.patience(), child.wait()).await {
            Err(_) => Err(failed("it takes too long".to_owned())),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(failed(status.to_string())),
        }
    }
}

/// A finding by what it is about, so that it is told once while it lasts.
#[must_use]
pub fn key(what: &What) -> String {
    let about = match what.two_heads() {
        Some(heads) => format!("{}{}", heads.kept.text(), heads.offered.text()),
        None => what.index().map(|index| index.to_string()).unwrap_or_default(),
    };
    let digest = scal3::tagged("solelog/monitor-alert/v1", format!("{}\n{about}", what.code()).as_bytes());
    format!("{}-{}", what.code(), &digest.to_hex()[..16])
}

/// The alert about one finding.
#[must_use]
pub fn about(report: &Report, what: &What, class: Class) -> Alert {
    let mut body = json!({
        "type": "solelog.monitor.finding",
        "class": class.to_string(),
        "code": what.code(),
        "says": what.to_string(),
        "origin": report.origin,
        "size": report.size(),
        "time": now(),
        "evidence": report.evidence_of(what),
    });
    if let Some(index) = what.index() {
        body["index"] = index.into();
    }
    Alert { id: format!("{}-{}", key(what), now()), time: now(), body }
}

/// An alert that says nothing but that it arrives.
#[must_use]
pub fn test(origin: Option<&str>) -> Alert {
    let body = json!({
        "type": "solelog.monitor.test",
        "class": "TEST",
        "code": "test",
        "says": "this monitor can reach you",
        "origin": origin,
        "time": now(),
    });
    Alert { id: format!("test-{}", now()), time: now(), body }
}

/// Puts an alert in, if there is room.
pub(crate) fn put(outbox: &mut Vec<Alert>, alert: Alert) {
    if outbox.len() < MOST_WAITING {
        outbox.push(alert);
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_signed_as_the_standard_says() {
        // The example of the specification (standard-webhooks, "Signature scheme"; also Svix's).
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        for bad in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_%%%"] {
            assert_eq!(Secret::parse(bad).unwrap_err(), SecretError, "{bad}");
        }
        assert_eq!(format!("{secret:?}"), "Secret");
    }
}
