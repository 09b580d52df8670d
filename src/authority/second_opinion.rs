//! A second opinion: a service of the provider's that is asked about an instruction besides the logged policy. It can say no.
//!
//! ```text
//! POST url  {"class", "credential", "subject", "instruction_id", "fields": {name: value}}       what is shown of it, no more
//! 200       {"decision": "proceed"}                        anything else, or nothing in time: no challenge
//! ```
//! It is asked when the logged policy has said yes, and before there is a challenge. So it never lowers what that policy needs:
//! the log judges each record by the policy alone, and knows nothing of this service.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use scal3::Hash;
use scal3::instruction::{Presented, Value};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

/// The longest answer.
const ANSWER: usize = 4096;

/// The service.
#[derive(Debug, Clone)]
pub struct SecondOpinion {
    url: Url,
    http: Client,
}

/// Why there is nobody to ask.
#[derive(Debug, thiserror::Error)]
pub enum SecondOpinionError {
    /// Not the address of a service.
    #[error("not an http or https address")]
    Url,
    /// No client can be made on this machine.
    #[error("no HTTP client: {0}")]
    Client(#[from] reqwest::Error),
}

/// What it answers.
#[derive(Deserialize)]
struct Answer {
    decision: String,
}

impl SecondOpinion {
    /// The service at that address, which has so long for an answer.
    ///
    /// # Errors
    /// [`SecondOpinionError`].
    pub fn new(url: &str, timeout: Duration) -> Result<SecondOpinion, SecondOpinionError> {
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        // Another place has not been asked, so it has no say.
        let http = Client::builder().timeout(timeout).redirect(Policy::none()).build()?;
        Ok(SecondOpinion { url: url.ok_or(SecondOpinionError::Url)?, http })
    }

    /// Whether it lets the instruction proceed.
    pub async fn proceeds(
        &self,
        credential: &Hash,
        subject: &Hash,
        instruction_id: &Hash,
        presented: &Presented,
    ) -> bool {
        let fields = presented.shown.fields.iter().map(|field| (field.name.clone(), written(&field.value)));
        let question = json!({
            "class": presented.class,
            "credential": credential.to_hex(),
            "subject": subject.to_hex(),
            "instruction_id": instruction_id.to_hex(),
            "fields": fields.collect::<Map<String, Json>>(),
        });
        match self.ask(&question).await {
            Ok(answer) => answer.is_some_and(|answer| answer.decision == "proceed"),
            Err(error) => {
                // Without the address: it may have a secret in it.
                tracing::error!(error = %error.without_url(), "the second opinion can't be had, so it is no");
                false
            }
        }
    }

    async fn ask(&self, question: &Json) -> Result<Option<Answer>, reqwest::Error> {
        let mut response = self.http.post(self.url.clone()).json(question).send().await?.error_for_status()?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if bytes.len() + chunk.len() > ANSWER {
                return Ok(None);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(serde_json::from_slice(&bytes).ok())
    }
}

/// A value as JSON. Numbers below zero and bytes are texts, in decimal and hex.
fn written(value: &Value) -> Json {
    match value {
        Value::Text(text) => text.as_str().into(),
        Value::Uint(number) => (*number).into(),
        Value::Nint(number) => (-1 - i128::from(*number)).to_string().into(),
        Value::Bytes(bytes) => hex::encode(bytes).into(),
        Value::Bool(yes) => (*yes).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_of_a_service_is_one() {
        for wrong in ["", "policy.example", "file:///etc/passwd", "mailto:a@example.com"] {
            let refused = SecondOpinion::new(wrong, Duration::from_secs(1));
            assert!(matches!(refused, Err(SecondOpinionError::Url)), "{wrong}");
        }
        assert!(SecondOpinion::new("https://policy.example/ask", Duration::from_secs(1)).is_ok());
    }
}
