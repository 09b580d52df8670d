//! Authenticators of a person: enrolled on the person's own instruction, listed, revoked.

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use scal3::authenticator::{Bio, Nfc, Purpose};
use scal3::cose::Key;
use scal3::point::Point;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lifecycle::{Because, because, changed};
use super::listen::Peer;
use super::problem::{Error, Problem};
use super::records::AppendAnswer;
use super::{App, base64, json};
use crate::authority::authenticators::Offer;
use crate::tokens::Scope;

/// What a person brings: one of the three.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Brought {
    /// What it is for: `sign`, which is what is meant where nothing is said, or `login`.
    #[serde(default)]
    #[schema(example = "sign")]
    purpose: Option<String>,
    /// A passkey: what `navigator.credentials.create()` answered to the options of this address, as `toJSON()` gives it.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    webauthn: Option<serde_json::Value>,
    /// A card.
    #[serde(default)]
    nfc: Option<Card>,
    /// A device that matches people.
    #[serde(default)]
    bio: Option<Device>,
}

/// A P-256 card. It signs `H("solelog/authenticator-proof/v1", [origin, authenticator])`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Card {
    /// Its key, a compressed point, base64.
    key: String,
    /// Its UID, 16 hex digits; one of 7 bytes has a zero in front.
    card_uid: String,
    /// Its signature, r and s, base64.
    proof: String,
}

/// A device that matches people. It signs as a card does.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Device {
    /// `es256` or `eddsa`.
    alg: String,
    /// Its key, base64.
    key: String,
    /// 32 random bytes that name the enrolled template, base64.
    template: String,
    /// 17 random bytes that name the device in this enrolment, base64.
    ueid: String,
    /// Its signature, base64.
    proof: String,
}

/// An authenticator that was brought.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Taken {
    /// Its id, hex: what the instruction `authenticator.add` names.
    id: String,
    /// Its claims, base64: schemas/authenticator.cddl.
    claims: String,
    /// The status that added it; null while no record of its person has asked for it.
    status: Option<AppendAnswer>,
}

/// An authenticator of a person.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuthenticatorAnswer {
    /// Its id, hex.
    id: String,
    /// `webauthn`, `bio`, `nfc` or `otp`.
    #[serde(rename = "type")]
    #[schema(example = "webauthn")]
    kind: &'static str,
    /// `sign` or `login`.
    #[schema(example = "sign")]
    purpose: &'static str,
    /// What is known of where it comes from.
    attestation: String,
    /// The entry that added it.
    added_at: u64,
    /// The entry that revoked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<u64>,
    /// By which browsers find a passkey again: `id` in `allowCredentials`, base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_id: Option<String>,
    /// Its claims, base64.
    claims: String,
}

/// All authenticators of a person.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Authenticators {
    /// By their ids.
    authenticators: Vec<AuthenticatorAnswer>,
}

/// The options for `navigator.credentials.create()` with which this person registers another passkey.
#[utoipa::path(
    get,
    path = "/v1/credentials/{id}/authenticators/options",
    tag = "authority",
    params(("id" = String, Path, description = "64 hex digits")),
    responses((status = 200, body = Object), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
pub(super) async fn options(State(app): State<App>, Path(id): Path<String>) -> Result<Json<serde_json::Value>, Error> {
    let (authority, id) = (app.authority()?.clone(), json::hash("id", &id)?);
    let options = app.blocking(move |_| Ok(authority.registration_options(&id)?)).await?;
    Ok(Json(options))
}

/// Bring an authenticator.
///
/// It is added where a record of this person has asked for it, by an instruction `authenticator.add` that names its id, not more
/// than a day ago (`201`). Where none has, the answer has the id to name (`202`): authorise that, then send the same again. No
/// token is needed: the person's record is what counts.
#[utoipa::path(
    post,
    path = "/v1/credentials/{id}/authenticators",
    tag = "authority",
    params(("id" = String, Path, description = "64 hex digits")),
    request_body = Brought,
    responses(
        (status = 201, body = Taken, description = "Added"),
        (status = 202, body = Taken, description = "It waits for its person's instruction"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn add(
    State(app): State<App>,
    Path(id): Path<String>,
    Extension(Peer(source)): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let (authority, id) = (app.authority()?.clone(), json::hash("id", &id)?);
    let (brought, held): (Brought, _) = json::read(&app, &headers, body).await?;
    let (offer, purpose) = brought.read()?;
    // In a task of its own: what is added is written down whole, whoever waits for it.
    let work = tokio::spawn(async move {
        let _held = held;
        authority.offer(id, offer, purpose, source).await
    });
    let offered = work.await.map_err(|error| Error::Internal(error.to_string()))?;
    let offered = app.step("authenticator", offered)?;
    let status = if offered.added.is_some() { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    let taken = Taken {
        id: offered.claims.id().to_hex(),
        claims: base64(offered.claims.to_bytes()),
        status: offered.added.map(AppendAnswer::from),
    };
    Ok((status, Json(taken)).into_response())
}

impl Brought {
    fn read(self) -> Result<(Offer, Purpose), Error> {
        let purpose = match self.purpose.as_deref() {
            None | Some("sign") => Purpose::Sign,
            Some("login") => Purpose::Login,
            Some(_) => return Err(Error::Parameter("purpose: `sign` or `login`".to_owned())),
        };
        let offer = match (self.webauthn, self.nfc, self.bio) {
            (Some(answer), None, None) => Offer::WebAuthn(answer),
            (None, Some(card), None) => card.read()?,
            (None, None, Some(device)) => device.read()?,
            _ => return Err(Error::Parameter("one of `webauthn`, `nfc` and `bio` is needed".to_owned())),
        };
        Ok((offer, purpose))
    }
}

impl Card {
    fn read(self) -> Result<Offer, Error> {
        let key = Point::from_bytes(&json::fixed("nfc.key", &self.key)?);
        let key = key.map_err(|_| Error::Parameter("nfc.key: a compressed point of P-256 is needed".to_owned()))?;
        let mut card_uid = [0; 8];
        hex::decode_to_slice(&self.card_uid, &mut card_uid)
            .map_err(|_| Error::Parameter("nfc.card_uid: 16 hex digits are needed".to_owned()))?;
        Ok(Offer::Nfc(Nfc { key, card_uid }, json::bytes("nfc.proof", &self.proof)?))
    }
}

impl Device {
    fn read(self) -> Result<Offer, Error> {
        let key = Key::named(&self.alg, &json::bytes("bio.key", &self.key)?)
            .map_err(|error| Error::Parameter(format!("bio.key: {error}")))?;
        let (template, ueid) = (json::fixed("bio.template", &self.template)?, json::fixed("bio.ueid", &self.ueid)?);
        Ok(Offer::Bio(Bio { key, template, ueid }, json::bytes("bio.proof", &self.proof)?))
    }
}

/// The authenticators of a person, revoked ones too.
///
/// Needs a token with the scope `read`: they are the person's business.
#[utoipa::path(
    get,
    path = "/v1/credentials/{id}/authenticators",
    tag = "authority",
    params(("id" = String, Path, description = "64 hex digits")),
    responses((status = 200, body = Authenticators), (status = "4XX", body = Problem, content_type = "application/problem+json")),
    security(("token" = []))
)]
pub(super) async fn list(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Authenticators>, Error> {
    let _admitted = app.admit(&headers, Scope::Read)?;
    let (authority, id) = (app.authority()?.clone(), json::hash("id", &id)?);
    let authenticators = app
        .blocking(move |engine| {
            let own = authority.authenticators_of(&id)?;
            let answer = |(id, held): (&scal3::Hash, &scal3::authenticators::Held)| {
                let claims = held.claims();
                Ok(AuthenticatorAnswer {
                    id: id.to_hex(),
                    kind: claims.about.name(),
                    purpose: claims.purpose.name(),
                    attestation: claims.attestation.clone(),
                    added_at: held.added_at(),
                    revoked_at: held.revoked_at(),
                    credential_id: engine.registered(id)?.map(base64),
                    claims: base64(claims.to_bytes()),
                })
            };
            own.all().map(answer).collect::<Result<Vec<_>, Error>>()
        })
        .await?;
    Ok(Json(Authenticators { authenticators }))
}

/// Revoke an authenticator: it shows nothing any more, from the entry on.
///
/// The provider's word. A person revokes one with an instruction `authenticator.revoke`.
#[utoipa::path(
    post,
    path = "/v1/credentials/{id}/authenticators/{authenticator}/revoke",
    tag = "authority",
    params(
        ("id" = String, Path, description = "64 hex digits"),
        ("authenticator" = String, Path, description = "64 hex digits"),
    ),
    request_body = Because,
    responses((status = 200, body = AppendAnswer), (status = "4XX", body = Problem, content_type = "application/problem+json")),
    security(("token" = []))
)]
pub(super) async fn revoke(
    State(app): State<App>,
    Path((id, authenticator)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let (authority, _admitted) = (app.authority()?.clone(), app.admit(&headers, Scope::Manage)?);
    let (id, authenticator) = (json::hash("id", &id)?, json::hash("authenticator", &authenticator)?);
    let reason = because(&app, &headers, body).await?;
    Ok(changed(authority.revoke_authenticator(id, authenticator, reason).await?))
}
