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
        (status = 206, content_type = "application/octet-stream", body = Vec<u8>, description = "The one range of bytes that was asked for"),
        (status = 304, description = "Still the one in If-None-Match"),
        (status = 400, content_type = "text/plain", body = String, description = "Not the path of a tile"),
        (status = 404, content_type = "text/plain", body = String, description = "The log is not that large"),
        (status = 416, description = "No byte of it is in the range"),
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
    let part = match requested(request, &tag, bytes.len()) {
        _ if same => Part::Whole,
        part => part,
    };
    headers.insert(header::ETAG, tag);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if same {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    headers.insert(header::CONTENT_TYPE, kind);
    if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let range = |part: std::fmt::Arguments<'_>| HeaderValue::from_str(&format!("bytes {part}/{}", bytes.len())).ok();
    match part {
        Part::Whole => (StatusCode::OK, headers, bytes).into_response(),
        Part::From { first, last } => {
            headers.extend(range(format_args!("{first}-{last}")).map(|range| (header::CONTENT_RANGE, range)));
            (StatusCode::PARTIAL_CONTENT, headers, bytes.slice(first..=last)).into_response()
        }
        Part::Beyond => {
            headers.remove(header::CONTENT_TYPE);
            headers.remove(header::CONTENT_ENCODING);
            headers.extend(range(format_args!("*")).map(|range| (header::CONTENT_RANGE, range)));
            (StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response()
        }
    }
}

/// What part of an object somebody wants.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Whole,
    From { first: usize, last: usize },
    Beyond,
}

/// The one range that is asked for (RFC 9110, section 14). Several, or one that is not understood, are answered with all.
fn requested(request: &HeaderMap, tag: &HeaderValue, length: usize) -> Part {
    let text = |name| request.get(name).and_then(|value| value.to_str().ok());
    let Some(range) = text(header::RANGE).and_then(|value| value.strip_prefix("bytes=")) else { return Part::Whole };
    if request.get(header::IF_RANGE).is_some_and(|validator| validator != tag) {
        return Part::Whole;
    }
    let Some((first, last)) = range.trim().split_once('-') else { return Part::Whole };
    let number = |digits: &str| digits.parse::<usize>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    let end = length.saturating_sub(1);
    let (first, last) = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => (first, last.min(end)),
        (Some(first), None) if last.is_empty() => (first, end),
        (None, Some(suffix)) if first.is_empty() => (length.saturating_sub(suffix), end),
        _ => return Part::Whole,
    };
    if first < length { Part::From { first, last } } else { Part::Beyond }
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
    fn a_range_is_cut_as_it_was_asked_for() {
        let tag = HeaderValue::from_static("\"tag\"");
        let asked = |range: &str, condition: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, range.parse().expect("header"));
            headers.extend(condition.map(|tag| (header::IF_RANGE, HeaderValue::from_static(tag))));
            requested(&headers, &tag, 100)
        };
        let part = |first, last| Part::From { first, last };
        assert_eq!(requested(&HeaderMap::new(), &tag, 100), Part::Whole);
        assert_eq!(asked("bytes=0-0", None), part(0, 0));
        assert_eq!(asked("bytes=32-63", Some("\"tag\"")), part(32, 63));
        assert_eq!(asked("bytes=32-63", Some("\"other\"")), Part::Whole);
        assert_eq!(asked("bytes=90-", None), part(90, 99));
        assert_eq!(asked("bytes=90-500", None), part(90, 99));
        assert_eq!(asked("bytes=-10", None), part(90, 99));
        assert_eq!(asked("bytes=-500", None), part(0, 99));
        for beyond in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(asked(beyond, None), Part::Beyond, "{beyond}");
        }
        for other in ["bytes=9-1", "bytes=1-2,5-6", "bytes=-", "bytes=a-b", "bytes=+1-2", "items=0-1", "bytes="] {
            assert_eq!(asked(other, None), Part::Whole, "{other}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, HeaderValue::from_static("bytes=0-0"));
        assert_eq!(requested(&headers, &tag, 0), Part::Beyond);
    }

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
