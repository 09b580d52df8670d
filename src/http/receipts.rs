//! Receipts: what a user keeps, and what proves the whole story offline.
//!
//! ```text
//! entry + opening ──► commitment      credential ◄── issued (entry, opening, proof)
//!       │                                                 │
//!       └── inclusion ──► one checkpoint ◄── inclusion ───┘◄── inclusion ── genesis
//!                              ▲
//!                              └── consistency ── the head that the device had seen
//! ```
//!
//! Every proof ends in one checkpoint. Nothing here is to be believed: `sole verify` derives all of it. The server makes
//! the file and the crate `client` reads it, each with types of its own, so that a mistake in one is not a mistake in both.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use scal3::cose_receipt::Unsigned;
use scal3::credential::provider_id;
use scal3::entry::{Entry, Kind};
use scal3::key_change::{KeyChange, Role};
use scal3::verify::Submitted;
use serde::Serialize;
use tlog::note::Note;
use tlog::proof_file::ProofFile;
use tlog::{Hash, LeafIndex, TreeHead, TreeSize};
use utoipa::ToSchema;

use super::auth::Reading;
use super::problem::{Error, Problem};
use super::{App, REACHED, auth, base64, base64_all, reached, records};
use crate::engine::Engine;
use crate::openings::Shown;
use crate::progress::SignedHead;

/// The value of `version`.
const VERSION: &str = "solelog/receipt/v1";

/// A receipt. All binary parts are base64.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Receipt {
    /// Always `solelog/receipt/v1`.
    version: &'static str,
    /// The opening: the binding record. Left out where it is restricted or erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    opening: Option<String>,
    /// The credential (COSE_Sign1). Left out where the opening is.
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<String>,
    /// The entry: the bytes of the leaf.
    entry: String,
    /// `c2sp.org/tlog-proof@v1`: index, inclusion proof, checkpoint.
    proof: String,
    /// Entry 0: origin and issuing keys.
    genesis: Included,
    /// The entry that issued the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued: Option<Included>,
    /// The entries by which the key that signed the credential came, one after the other, from a key of the genesis. Left
    /// out where it is a key of the genesis. In the receipt of entry 0: all entries about issuing keys.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<Included>,
    /// Consistency proof from the head that the device had seen to the checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<Vec<String>>,
}

/// Another entry under the same checkpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Included {
    /// Its place in the log.
    index: u64,
    /// The entry.
    entry: String,
    /// What it commits to, where that is not in the entry itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    opening: Option<String>,
    /// Inclusion proof, the leaf's sibling first.
    hashes: Vec<String>,
}

/// The receipt of an entry.
///
/// `Accept: text/plain` gives the bare `.tlog-proof`, `application/cose` a COSE receipt (RFC 9942) signed by the log's key: the
/// log's own word, without cosignatures. The header `Solelog-Reached` says whether the checkpoint inside has
/// its quorum of cosignatures (`witnessed`) or not yet (`integrated`). The opening and what follows from it are inside
/// for tokens with the scope `read`, or for everybody where the log is configured so. A subscriber reads an own entry with
/// `Authorization: SolelogRead <64 hex digits>`, the token that derives from the secret of the own labels.
#[utoipa::path(
    get,
    path = "/v1/receipts/{at}",
    tag = "records",
    params(("at" = String, Path, description = "An index, or an index key of 64 hex digits", example = "1")),
    responses(
        (status = 200, headers(("Solelog-Reached" = String, description = "`integrated` or `witnessed`")), content(
            (Receipt = "application/json"),
            (String = "text/plain"),
            (Vec<u8> = "application/cose"),
        )),
        (status = 404, body = Problem, content_type = "application/problem+json", description = "No signed head covers such an entry"),
    ),
    security((), ("token" = []))
)]
pub(super) async fn show(
    State(app): State<App>,
    Path(at): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let reading = app.may_read(&headers)?;
    let index = records::find(&app, at).await?;
    let reading = match auth::read_token(&headers)? {
        Some(token) => app.may_read_own(index, &token).await?,
        None => reading,
    };
    let head = app.covering(index).ok_or_else(|| {
        Error::Read(crate::history::ReadError::NotYet { size: app.engine().heads().integrated.head.size })
    })?;
    let word = HeaderValue::from_static(reached(&head));
    let mut response = match Form::preferred(&headers) {
        Form::Json => Json(app.blocking(move |engine| receipt(engine, index, &head, &reading)).await?).into_response(),
        Form::Proof => {
            let proof = app.blocking(move |engine| proof_file(engine, index, &head)).await?;
            ([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))], proof).into_response()
        }
        Form::Cose => {
            let receipt = app.blocking(move |engine| cose_receipt(engine, index, &head)).await?;
            ([(header::CONTENT_TYPE, HeaderValue::from_static("application/cose"))], receipt).into_response()
        }
    };
    response.headers_mut().insert(REACHED, word);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept, Authorization"));
    Ok(response)
}

fn proof_file(engine: &Engine, index: LeafIndex, head: &SignedHead) -> Result<String, Error> {
    let checkpoint = Note::parse(&head.note).map_err(|e| Error::Internal(format!("our own checkpoint: {e}")))?;
    let proof = engine.inclusion(index, head.head.size)?;
    let file = ProofFile { extra: None, index, proof, checkpoint };
    String::from_utf8(file.to_bytes()).map_err(|e| Error::Internal(e.to_string()))
}

fn cose_receipt(engine: &Engine, index: LeafIndex, head: &SignedHead) -> Result<Vec<u8>, Error> {
    let TreeHead { size, root } = head.head;
    let signers = engine.signers();
    let receipt =
        Unsigned::new(signers.name().as_str(), &signers.vkey().id().0, size, index, &engine.inclusion(index, size)?);
    Ok(receipt.signed(&signers.sign_other(&receipt.to_be_signed(&root))))
}

fn receipt(engine: &Engine, index: LeafIndex, head: &SignedHead, reading: &Reading) -> Result<Receipt, Error> {
    let size = head.head.size;
    let bytes = engine.entry(index)?;
    let entry = Entry::parse(&bytes).map_err(|e| Error::Internal(format!("entry {}: {e}", index.get())))?;
    let genesis = LeafIndex::new(0).map_err(|e| Error::Internal(e.to_string()))?;
    let mut receipt = Receipt {
        version: VERSION,
        opening: None,
        credential: None,
        entry: base64(&bytes),
        proof: proof_file(engine, index, head)?,
        genesis: included(engine, genesis, size, false)?,
        issued: None,
        keys: Vec::new(),
        seen: None,
    };
    if index == genesis {
        let changes = engine.keys()?;
        let issuing =
            changes.changes().iter().filter(|change| change.role == Role::Issuing && change.index < size.get());
        for change in issuing {
            let index = LeafIndex::new(change.index).map_err(|e| Error::Internal(e.to_string()))?;
            receipt.keys.push(included(engine, index, size, false)?);
        }
    }
    if reading.openings()
        && let Shown::Open(opening) = engine.opening(index)?
    {
        if entry.kind == Kind::Instruction {
            behind(engine, &opening, size, &mut receipt)?;
        }
        receipt.opening = Some(base64(opening));
    }
    Ok(receipt)
}

/// What stands behind a record: its credential, the entry that issued it, and the head its device had seen.
fn behind(engine: &Engine, opening: &[u8], size: TreeSize, receipt: &mut Receipt) -> Result<(), Error> {
    let submitted =
        Submitted::parse(opening).map_err(|e| Error::Internal(format!("an opening in the log does not parse: {e}")))?;
    let state = engine
        .credential(&submitted.credential_id())?
        .ok_or_else(|| Error::Internal("a record in the log has no credential".to_owned()))?;
    let issued_at = LeafIndex::new(state.issued_at()).map_err(|e| Error::Internal(e.to_string()))?;
    receipt.credential = Some(base64(state.credential().as_bytes()));
    receipt.issued = Some(included(engine, issued_at, size, true)?);
    receipt.keys = key_entries(engine, &state.credential().claims().provider, size)?;
    receipt.seen = Some(base64_all(&engine.consistency(submitted.seen().size, size)?.hashes));
    Ok(())
}

/// The key entries that lead from a key of the genesis to that provider's, first things first.
fn key_entries(engine: &Engine, provider: &Hash, size: TreeSize) -> Result<Vec<Included>, Error> {
    let wrong = |what: &str| Error::Internal(format!("the key of a credential in the log: {what}"));
    let genesis = &engine.standing().genesis().issuing_keys;
    let keys = engine.keys()?;
    let named = keys.changes().iter().find(|c| c.role == Role::Issuing && provider_of(&c.key) == Some(*provider));
    let mut next = named.map(|change| change.index);
    let mut entries = Vec::new();
    while let Some(index) = next {
        let index = LeafIndex::new(index).map_err(|e| wrong(&e.to_string()))?;
        entries.push(included(engine, index, size, false)?);
        let entry = Entry::parse(&engine.entry(index)?).map_err(|e| wrong(&e.to_string()))?;
        let change = entry.body.and_then(|body| KeyChange::parse(&body).ok()).ok_or_else(|| wrong("no key entry"))?;
        let old = change.old.ok_or_else(|| wrong("it has no beginning"))?.key;
        next = match genesis.iter().any(|key| key[..] == old) {
            true => None,
            // Each change names a key that came before it: the way back ends.
            false => {
                Some(keys.brought(Role::Issuing, &old).filter(|at| *at < index.get()).ok_or_else(|| wrong("a gap"))?)
            }
        };
    }
    entries.reverse();
    Ok(entries)
}

fn provider_of(key: &[u8]) -> Option<Hash> {
    Some(provider_id(key.try_into().ok()?))
}

fn included(engine: &Engine, index: LeafIndex, size: TreeSize, with_opening: bool) -> Result<Included, Error> {
    let opening = if with_opening {
        match engine.opening(index)? {
            Shown::Open(bytes) => Some(base64(bytes)),
            Shown::Erased | Shown::Public => None,
        }
    } else {
        None
    };
    Ok(Included {
        index: index.get(),
        entry: base64(engine.entry(index)?),
        opening,
        hashes: base64_all(&engine.inclusion(index, size)?.hashes),
    })
}

/// The forms of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Proof,
    Cose,
}

impl Form {
    /// The one that the client would rather have. With nothing said, or between equals, it gets JSON.
    fn preferred(headers: &HeaderMap) -> Form {
        let accepted = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("*/*");
        let weight = |wanted: &[&str]| {
            let of = |item: &str| {
                let mut parts = item.split(';').map(str::trim);
                let range = parts.next()?;
                // The more exact range decides, wherever it stands.
                let exactness = wanted.iter().position(|w| *w == range)?;
                let weight =
                    parts.find_map(|p| p.strip_prefix("q=")).and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
                Some((exactness, weight))
            };
            accepted.split(',').filter_map(of).min_by_key(|(exactness, _)| *exactness).map_or(0.0, |(_, weight)| weight)
        };
        let mut best = (Form::Json, weight(&["application/json", "application/*", "*/*"]));
        for (form, wanted) in
            [(Form::Proof, ["text/plain", "text/*", "*/*"]), (Form::Cose, ["application/cose", "application/*", "*/*"])]
        {
            let weight = weight(&wanted);
            if weight > best.1 {
                best = (form, weight);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_header_decides_the_form() {
        let form = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, value.parse().expect("header"));
            Form::preferred(&headers)
        };
        assert_eq!(form("text/plain"), Form::Proof);
        assert_eq!(form("text/*"), Form::Proof);
        assert_eq!(form("application/json;q=0.5, text/plain"), Form::Proof);
        assert_eq!(form("text/plain, */*;q=0.1"), Form::Proof);
        assert_eq!(form("application/cose"), Form::Cose);
        assert_eq!(form("application/cose, application/json;q=0.9"), Form::Cose);
        assert_eq!(form("application/json"), Form::Json);
        assert_eq!(form("*/*"), Form::Json);
        assert_eq!(form("application/*"), Form::Json);
        assert_eq!(form("text/plain;q=0.5, application/json"), Form::Json);
        assert_eq!(form("text/plain;q=0, */*"), Form::Json);
        assert_eq!(Form::preferred(&HeaderMap::new()), Form::Json);
    }
}
