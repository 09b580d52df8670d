//! The log as C2SP reads it: checkpoint, tiles and entry bundles. <https://c2sp.org/tlog-tiles>
//!
//! Errors are plain text, as for static files: any web server could stand here. A tile never changes once it is there,
//! so caches may keep it for ever; a checkpoint changes all the time, so they must ask.

use std::io::Write as _;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use tlog::tile;

use super::App;
use super::problem::Error;
use crate::history::ReadError;

const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_FIRST: HeaderValue = HeaderValue::from_static("no-cache");

/// The newest signed head that meets the log's policy.
#[utoipa::path(
    get,
    path = "/checkpoint",
    tag = "log",
    responses(
        (status = 200, content_type = "text/plain", body = String, description = "A signed note: c2sp.org/tlog-checkpoint"),
        (status = 304, description = "Still the one in If-None-Match"),
        (status = 404, content_type = "text/plain", body = String, description = "Nothing is published yet"),
    )
)]
pub(super) async fn checkpoint(State(app): State<App>, headers: HeaderMap) -> Response {
    let Some(note) = app.engine().checkpoint() else {
        return plain(StatusCode::NOT_FOUND, "no checkpoint is published yet");
    };
    match represent(note.to_vec(), false) {
        Ok(form) => answer(&headers, form, HeaderValue::from_static("text/plain; charset=utf-8"), ASK_FIRST, false),
        Err(error) => error.into_response(),
    }
}

/// A tile of hashes, or a bundle of entries.
#[utoipa::path(
    get,
    path = "/tile/{path}",
    tag = "log",
    params(("path" = String, Path, description = "`<L>/<N>[.p/<W>]` for hashes, `entries/<N>[.p/<W>]` for entries: c2sp.org/tlog-tiles", example = "0/000.p/1")),
    responses(
        (status = 200, content_type = "application/octet-stream", body = Vec<u8>, description = "The tile; gzip for bundles when accepted"),
        (status = 304, description = "Still the one in If-None-Match"),
        (status = 400, content_type = "text/plain", body = String, description = "Not the path of a tile"),
        (status = 404, content_type = "text/plain", body = String, description = "The log is not that large"),
    )
)]
pub(super) async fn tile(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Response {
    let Ok(path) = tile::Path::parse(uri.path().trim_start_matches('/')) else {
        return plain(
            StatusCode::BAD_REQUEST,
            "not the path of a tile or an entry bundle; see https://c2sp.org/tlog-tiles",
        );
    };
    let entries = matches!(path, tile::Path::Entries(_));
    let gzip = entries && accepts_gzip(&headers);
    let form = match app.hot().get(&(path, gzip)) {
        Some(form) => Ok(form),
        None => {
            let made = app.blocking(move |engine| represent(engine.object(&path)?, gzip)).await;
            if let Ok(form) = &made {
                app.hot().add((path, gzip), form.clone(), form.bytes.len());
            }
            made
        }
    };
    match form {
        Ok(form) => answer(&headers, form, HeaderValue::from_static("application/octet-stream"), FOR_EVER, entries),
        Err(Error::Read(error @ ReadError::NotYet { .. })) => plain(StatusCode::NOT_FOUND, &error.to_string()),
        Err(error) => {
            let problem = error.problem();
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            plain(status, &format!("{}; error id {}", problem.title, problem.error_id.unwrap_or_default()))
        }
    }
}

/// One line of plain text.
pub(super) fn plain(status: StatusCode, text: &str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CACHE_CONTROL, ASK_FIRST),
    ];
    (status, headers, format!("{text}\n")).into_response()
}

/// An object as it is sent. Neither its validator nor its compressed form ever changes, so what many ask for is kept.
#[derive(Debug, Clone)]
pub(super) struct Form {
    bytes: Bytes,
    tag: HeaderValue,
    gzip: bool,
}

/// Bytes as they are sent, with their validator.
fn represent(bytes: Vec<u8>, gzip: bool) -> Result<Form, Error> {
    let digest = hex::encode(&Sha256::digest(&bytes)[..16]);
    // Two representations of one resource need two validators.
    let tag = if gzip { format!("\"{digest}-gzip\"") } else { format!("\"{digest}\"") };
    let tag = HeaderValue::from_str(&tag).map_err(|error| Error::Internal(error.to_string()))?;
    let bytes = if gzip { compress(&bytes).map_err(|error| Error::Internal(error.to_string()))? } else { bytes };
    Ok(Form { bytes: bytes.into(), tag, gzip })
}

fn answer(request: &HeaderMap, form: Form, kind: HeaderValue, cache: HeaderValue, may_gzip: bool) -> Response {
    let Form { bytes, tag, gzip } = form;
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, cache);
    if may_gzip {
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    let same = request
        .get(header::IF_NONE_MATCH)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.split(',').any(|t| t.trim().as_bytes() == tag.as_bytes() || t.trim() == "*"));
    headers.insert(header::ETAG, tag);
    if same {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    headers.insert(header::CONTENT_TYPE, kind);
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    (StatusCode::OK, headers, bytes).into_response()
}

fn compress(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len()), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// Whether `gzip` is accepted, by name or by `*`, and not with a weight of zero.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or("");
    accepted.split(',').any(|item| {
        let (coding, weight) = item.split_once(';').unwrap_or((item, ""));
        let refused = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0);
        matches!(coding.trim(), "gzip" | "*") && !refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_used_only_when_accepted() {
        let accepts = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, value.parse().expect("header"));
            accepts_gzip(&headers)
        };
        assert!(accepts("gzip"));
        assert!(accepts("br;q=1.0, gzip;q=0.8, *;q=0.1"));
        assert!(!accepts("gzip;q=0, br"));
        assert!(!accepts("identity"));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
