//! Enrolments: the provider's backend begins one, the person's device finishes it.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use scal3::Profile;
use scal3::index_key::LabelSecret;
use serde::{Deserialize, Serialize};
use threshold::Shares;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::problem::{Error, Problem};
use super::records::AppendAnswer;
use super::{App, base64, json};
use crate::authority::enrolment::{Dealt, Enrolled};
use crate::tokens::Scope;

/// Whom to enrol.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Begin {
    /// The credential to succeed (hex), for a new PIN or a new device; none for a new person.
    #[serde(default)]
    predecessor: Option<String>,
    /// The predecessor can't authorise its successor: its device is lost, or its PIN forgotten. The successor may do nothing
    /// until `POST /v1/credentials/{id}/recover` says why.
    #[serde(default)]
    recovery: bool,
}

/// What the device needs. Not printable: the ticket enrols.
#[derive(Serialize, ToSchema)]
pub(super) struct Begun {
    /// The enrolment's id, hex.
    enrolment_id: String,
    /// The log that the records will go to.
    origin: String,
    /// The provider's name.
    issuer: String,
    /// The hash of the key that will sign the credential, hex.
    provider: String,
    /// The key to seal the provider's share to: a compressed point, base64.
    kem_key: String,
    /// What finishes the enrolment, base64. Whoever has it enrols.
    ticket: String,
    /// Until when the ticket is good, milliseconds since 1970.
    expires_ms: u64,
    /// Where this server takes passkeys: the options for `navigator.credentials.create()`, as
    /// `PublicKeyCredential.parseCreationOptionsFromJSON()` takes them under `publicKey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    registration: Option<serde_json::Value>,
}

/// Begin an enrolment.
///
/// The provider's backend knows the person, and hands the answer to the person's device. Needs a token with the scope `enrol`.
#[utoipa::path(
    post,
    path = "/v1/enrolments",
    tag = "authority",
    request_body = Begin,
    responses(
        (status = 201, body = Begun),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    ),
    security(("token" = []))
)]
pub(super) async fn begin(State(app): State<App>, headers: HeaderMap, body: Body) -> Result<Response, Error> {
    let _admitted = app.admit(&headers, Scope::Enrol)?;
    let authority = app.authority()?;
    let (Begin { predecessor, recovery }, _held) = json::read(&app, &headers, body).await?;
    let predecessor = predecessor.map(|text| json::hash("predecessor", &text)).transpose()?;
    let begun = app.step("enrolment", authority.begin(predecessor, recovery).await)?;
    let answer = Begun {
        enrolment_id: begun.enrolment_id.to_hex(),
        origin: app.engine().standing().origin().to_owned(),
        issuer: authority.issuer().to_owned(),
        provider: authority.keys().issuing_key().provider().to_hex(),
        kem_key: base64(begun.kem_key),
        ticket: base64(&begun.ticket),
        expires_ms: begun.expires_ms,
        registration: begun.registration,
    };
    Ok((StatusCode::CREATED, Json(answer)).into_response())
}

/// What the device brings. Binary parts are base64.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Complete {
    /// The ticket.
    ticket: String,
    /// 1: textbook EC-SDSA. 2: the transcript of the published implementation. 3: as 1, with a passkey as the device.
    profile: u64,
    /// The joint key that the device dealt, 33 bytes.
    joint_key: String,
    /// The device's blinded share, 32 bytes.
    blinded: String,
    /// The provider's sealed share: encapsulated key, ciphertext, tag; 185 bytes.
    sealed: String,
    /// The device's key.
    device: DeviceKey,
    /// The secret that the labels of the person's entries derive from; the device draws it. 32 bytes.
    label_secret: String,
}

/// The key of a device's secure hardware.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeviceKey {
    /// P-256, a compressed point, 33 bytes.
    key: String,
    /// Its signature over the enrolment: r and s, 64 bytes. In profile 3 a varsig whose challenge is the enrolment's hash.
    proof: String,
    /// In profile 3, and only there: what `navigator.credentials.create()` answered to the options that came with the ticket,
    /// as its `toJSON()` writes it.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    registration: Option<serde_json::Value>,
}

/// A credential that was made, or will be.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Made {
    /// The credential (COSE_Sign1), base64. None while its predecessor has not authorised it: nobody has signed it yet.
    credential: Option<String>,
    /// What it will say (its claims in deterministic CBOR), base64, while there is no credential.
    claims: Option<String>,
    /// Its id, hex. It is that of the claims, so the predecessor can name it.
    id: String,
    /// The entry that issued it. None while its predecessor has not authorised it.
    issued: Option<AppendAnswer>,
}

/// Finish an enrolment.
///
/// The ticket is all that is needed. The same request again gets the same credential. A successor (202) waits until its
/// predecessor has authorised `credential.add` with the field `credential`; then the same request issues it.
#[utoipa::path(
    post,
    path = "/v1/enrolments/{id}",
    tag = "authority",
    params(("id" = String, Path, description = "The enrolment's id, 64 hex digits")),
    request_body = Complete,
    responses(
        (status = 201, body = Made, description = "Issued"),
        (status = 200, body = Made, description = "It was issued before"),
        (status = 202, body = Made, description = "A successor that waits for its predecessor's `credential.add`"),
        (status = "4XX", body = Problem, content_type = "application/problem+json", description = "Nothing was issued"),
    )
)]
pub(super) async fn complete(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let id = json::hash("id", &id)?;
    let authority = app.authority()?.clone();
    let (request, held): (Complete, _) = json::read(&app, &headers, body).await?;
    let blinded: [u8; 32] = json::fixed("blinded", &request.blinded)?;
    let sealed: [u8; Shares::LEN - 32] = json::fixed("sealed", &request.sealed)?;
    let shares = Shares::parse(&[&blinded[..], &sealed].concat());
    let label_secret = Zeroizing::new(request.label_secret);
    let label_secret = Zeroizing::new(json::fixed::<32>("label_secret", &label_secret)?);
    let dealt = Dealt {
        ticket: json::bytes("ticket", &request.ticket)?,
        profile: u8::try_from(request.profile)
            .ok()
            .and_then(|number| Profile::new(number.into()))
            .ok_or_else(|| Error::Parameter("profile: 1, 2 or 3".to_owned()))?,
        joint_key: json::fixed("joint_key", &request.joint_key)?,
        shares: shares.ok_or_else(|| Error::Parameter("sealed: not a sealed share".to_owned()))?,
        device_key: json::fixed("device.key", &request.device.key)?,
        proof: json::bytes("device.proof", &request.device.proof)?,
        registration: request.device.registration,
        label_secret: LabelSecret::from_bytes(*label_secret),
    };
    // In a task of its own: once it has begun to issue, it ends, whoever waits for it.
    let enrolled = tokio::spawn(async move {
        let _held = held;
        authority.complete(id, dealt).await
    });
    let enrolled = enrolled.await.map_err(|error| Error::Internal(error.to_string()))?;
    let enrolled = app.step("credential", enrolled)?;
    let (status, made) = match enrolled {
        Enrolled::Waits { claims } => {
            let (id, claims) = (claims.id().to_hex(), Some(base64(claims.to_bytes())));
            (StatusCode::ACCEPTED, Made { credential: None, claims, id, issued: None })
        }
        Enrolled::Issued { credential, appended } => {
            let status = if appended.existing { StatusCode::OK } else { StatusCode::CREATED };
            let (id, bytes) = (credential.id().to_hex(), Some(base64(credential.as_bytes())));
            (status, Made { credential: bytes, claims: None, id, issued: Some(AppendAnswer::from(appended)) })
        }
    };
    Ok((status, Json(made)).into_response())
}
