//! Intents: an instruction in, a challenge out; a pass in, a record out.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use scal3::evidence::Kind;
use scal3::limits::EVIDENCE_ITEMS_MAX;
use serde::{Deserialize, Serialize};
use tlog::TreeSize;
use utoipa::ToSchema;

use super::execution::OutcomeAnswer;
use super::listen::Peer;
use super::problem::{Error, Problem};
use super::records::{AppendAnswer, AppendQuery, Head};
use super::{App, Params, base64, json};
use crate::authority::authorise::{Answer, Given};
use crate::authority::intent::{Asked, Intent, Who};
use crate::tokens::Scope;

/// What somebody wants to authorise. Not printable (I-8).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Ask {
    /// The credential, hex.
    credential: String,
    /// The instruction, as far as it is shown: `presented` of schemas/, base64.
    instruction: String,
    /// The device that asks. Without it, a token with the scope `authorise` is needed.
    #[serde(default)]
    device: Option<BySignature>,
}

/// A request that a device signs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BySignature {
    /// The device's clock, milliseconds since 1970.
    pub time_ms: u64,
    /// Its signature, base64: r and s. A passkey's is a varsig whose challenge is the hash to sign.
    pub signature: String,
}

/// An intent that is open.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Opened {
    /// Its id, which is the challenge, hex.
    id: String,
    /// The instruction's id, hex.
    instruction_id: String,
    /// What the challenge is made of.
    challenge: Challenge,
    /// What the record's metadata must say.
    metadata: Said,
    /// The evidence that the policy needs besides the two factors: nothing, or one rule of it. A device that can't give any
    /// goes on where nothing is needed, also where a rule would look at what there is.
    needs: Vec<NeedAnswer>,
    /// The newest head, for the device to verify.
    head: Head,
    /// The server's clock, milliseconds since 1970.
    time_ms: u64,
}

/// What a rule needs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NeedAnswer {
    /// The rule, by its place in the document.
    rule: usize,
    /// What it needs: `need` of schemas/policy.schema.json.
    #[schema(value_type = Object)]
    need: serde_json::Value,
    /// The kinds of evidence that are taken: what is needed, and what is only observed. Any other is refused.
    kinds: Vec<&'static str>,
    /// The person's authenticators that make evidence of those kinds.
    authenticators: Vec<AskedAuthenticator>,
}

/// An authenticator that makes evidence of a kind that is asked for.
///
/// What it signs for a piece of evidence is `H("solelog/evidence/v1", [kind, operation_hash, participant, authenticator])` in
/// deterministic CBOR, and `operation_hash` is that of the metadata that the device writes, with the instruction's id. So the
/// device computes it, and knows what it is for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AskedAuthenticator {
    /// Its id, hex: `authenticator` of the challenge.
    id: String,
    /// Whose it is, hex: `participant` of the challenge.
    participant: String,
    /// The kinds of evidence that it makes, of those that are asked for.
    kinds: Vec<&'static str>,
    /// Its claims, base64: schemas/authenticator.cddl.
    claims: String,
}

impl NeedAnswer {
    fn of(Asked { need, kinds, authenticators }: Asked) -> Vec<NeedAnswer> {
        let names = |kinds: &mut dyn Iterator<Item = &Kind>| kinds.map(|kind| kind.name()).collect();
        let answer = |(rule, need)| NeedAnswer {
            rule,
            need,
            kinds: names(&mut kinds.iter()),
            authenticators: authenticators
                .iter()
                .map(|(id, claims)| AskedAuthenticator {
                    id: id.to_hex(),
                    participant: claims.participant.to_hex(),
                    kinds: names(&mut kinds.iter().filter(|kind| claims.about.makes(**kind))),
                    claims: base64(claims.to_bytes()),
                })
                .collect(),
        };
        need.into_iter().map(answer).collect()
    }
}

/// The parts of a challenge. Base64.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Challenge {
    /// 32 random bytes.
    random: String,
    /// D and E, two compressed points.
    commitment: String,
    /// When it expires, milliseconds since 1970.
    expires_ms: u64,
}

/// The parts of the metadata that the device does not choose.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Said {
    /// The log.
    origin: String,
    /// The provider, hex.
    provider: String,
    /// The credential, hex.
    credential: String,
    /// How many records came before.
    sequence: u64,
    /// What the record before is named by, hex.
    previous: String,
    /// The policy in force, hex.
    policy: String,
    /// The instruction's class.
    class: String,
}

/// Open an intent.
///
/// The answer's challenge is good for one answer. The same question again, while it is open, gets the same challenge.
#[utoipa::path(
    post,
    path = "/v1/intents",
    tag = "authority",
    request_body = Ask,
    responses(
        (status = 201, body = Opened),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "Blocked, or not the device"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ),
    security((), ("token" = []))
)]
pub(super) async fn open(
    State(app): State<App>,
    Extension(Peer(source)): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let authority = app.authority()?.clone();
    let (Ask { credential, instruction, device }, held) = json::read(&app, &headers, body).await?;
    let (who, admitted) = match device {
        Some(BySignature { time_ms, signature }) => {
            (Who::Device { time_ms, signature: json::bytes("device.signature", &signature)?, source }, None)
        }
        None => (Who::Provider, Some(app.admit(&headers, Scope::Authorise)?)),
    };
    let credential = json::hash("credential", &credential)?;
    let instruction = json::bytes("instruction", &instruction)?;
    // In a task of its own: what it may have to log it logs, whoever waits for it.
    let intent = tokio::spawn(async move {
        let _held = (held, admitted);
        authority.intent(credential, instruction, who).await
    });
    let intent = intent.await.map_err(|error| Error::Internal(error.to_string()))?;
    let intent = app.step("intent", intent)?;
    Ok((StatusCode::CREATED, Json(opened(&app, intent))).into_response())
}

fn opened(app: &App, intent: Intent) -> Opened {
    let Intent { opened, sequence, previous, policy, asked, provider, head, time_ms } = intent;
    Opened {
        id: opened.session.challenge().to_hex(),
        instruction_id: opened.instruction_id.to_hex(),
        challenge: Challenge {
            random: base64(opened.random),
            commitment: base64(opened.session.commitment().as_bytes()),
            expires_ms: opened.expires_ms,
        },
        metadata: Said {
            origin: app.engine().standing().origin().to_owned(),
            provider: provider.to_hex(),
            credential: opened.credential.to_hex(),
            sequence,
            previous: previous.to_hex(),
            policy: policy.to_hex(),
            class: opened.presented.class.clone(),
        },
        needs: NeedAnswer::of(asked),
        head: Head {
            size: TreeSize::get(head.head.size),
            root: head.head.root.to_base64(),
            checkpoint: String::from_utf8_lossy(&head.note).into_owned(),
        },
        time_ms,
    }
}

/// The answer to a challenge. Base64.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Authorise {
    /// The metadata, as it was signed: deterministic CBOR.
    metadata: String,
    /// The pass: 340 bytes in profile 1, 308 in profile 2, 276 and a varsig in profile 3.
    pass: String,
    /// Evidence besides the two factors, of the kinds that the intent's answer names; at most 16 items.
    #[serde(default)]
    evidence: Vec<EvidenceItem>,
}

/// A piece of evidence.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EvidenceItem {
    /// Its kind.
    #[schema(example = "webauthn")]
    kind: String,
    /// The authenticator that made it, hex.
    authenticator: String,
    /// What it gave, base64.
    blob: String,
}

impl EvidenceItem {
    fn read(self) -> Result<Given, Error> {
        let EvidenceItem { kind, authenticator, blob } = self;
        let (authenticator, blob) = (json::hash("authenticator", &authenticator)?, json::bytes("blob", &blob)?);
        Ok(Given { kind, authenticator, blob })
    }
}

/// What was authorised.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Authorised {
    /// The record.
    record: AppendAnswer,
    /// What became of it: null where nobody here executes its class, or where it was not published in time. Then
    /// `POST /v1/records/{index}/execute` asks again.
    outcome: Option<OutcomeAnswer>,
}

/// Answer a challenge.
///
/// No token is needed: the pass is the device's. What fails a public check costs nothing. After that the challenge is
/// spent and the attempt counted, before the second factor is looked at.
///
/// Where this server executes instructions of this class, the record is waited for until the checkpoint that covers it
/// is published, as far as the log's patience goes, and then executed; with `until=sequenced` it is not.
#[utoipa::path(
    post,
    path = "/v1/intents/{id}/authorise",
    tag = "authority",
    params(("id" = String, Path, description = "The intent's id, 64 hex digits"), AppendQuery),
    request_body = Authorise,
    responses(
        (status = 201, body = Authorised),
        (status = 403, body = Problem, content_type = "application/problem+json", description = "The second factor was wrong, or the credential may not act"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "The challenge was answered before"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn authorise(
    State(app): State<App>,
    Path(id): Path<String>,
    Extension(Peer(source)): Extension<Peer>,
    headers: HeaderMap,
    query: Result<Params<AppendQuery>, Error>,
    body: Body,
) -> Result<Response, Error> {
    let authority = app.authority()?.clone();
    let challenge = json::hash("id", &id)?;
    let until = query?.0.until();
    let (Authorise { metadata, pass, evidence }, held) = json::read(&app, &headers, body).await?;
    if evidence.len() > EVIDENCE_ITEMS_MAX {
        return Err(Error::Parameter(format!("evidence: at most {EVIDENCE_ITEMS_MAX} items")));
    }
    let evidence = evidence.into_iter().map(EvidenceItem::read).collect::<Result<_, _>>()?;
    let (metadata, pass) = (json::bytes("metadata", &metadata)?, json::bytes("pass", &pass)?);
    // In a task of its own: from its middle on it is counted, and must come to its verdict, whoever waits for it.
    let answer = Answer { metadata, pass, evidence, until, source };
    let work = tokio::spawn(async move {
        let _held = held;
        authority.authorise_and_execute(challenge, answer).await
    });
    let done = work.await.map_err(|error| Error::Internal(error.to_string()))?;
    let (appended, settled) = app.step("authorisation", done)?;
    let answer = Authorised { record: AppendAnswer::from(appended), outcome: settled.map(OutcomeAnswer::from) };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}
