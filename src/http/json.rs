//! JSON bodies, and the binary parts in them.
//!
//! A member that nobody reads is an error, as in queries: a misspelt one must not mean the default. Hashes are 64
//! lower-case hex digits, everything else that is binary is base64 with padding.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use base64ct::{Base64, Encoding as _};
use serde::de::DeserializeOwned;
use tlog::Hash;
use zeroize::Zeroizing;

use super::App;
use super::body::{self, media_type};
use super::problem::Error;
use crate::room::Held;

/// The longest body: an instruction in base64, and what stands around it.
const LONGEST: usize = 64 << 10;

/// Reads the body of a request as JSON, with its share of what may wait: it is held until the work is done, whoever waits
/// for it.
pub(super) async fn read<T: DeserializeOwned>(app: &App, headers: &HeaderMap, body: Body) -> Result<(T, Held), Error> {
    if media_type(headers) != "application/json" {
        return Err(Error::MediaType("application/json"));
    }
    let mut held = app.room().enter();
    let patience = Duration::from_millis(app.config().http.body_timeout_ms);
    // A body can hold secrets.
    let bytes = Zeroizing::new(body::read(body, headers, LONGEST, patience, &mut held).await?);
    let read = serde_json::from_slice(&bytes);
    let read = read.map_err(|error| Error::Parameter(format!("the body: {}", without_values(&error))))?;
    Ok((read, held))
}

/// What is wrong with a body, without what stands in it: a body can hold secrets, and errors are logged.
fn without_values(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => {
            "it is JSON, and not what this address takes: a member is missing, unknown, or of another type"
        }
        serde_json::error::Category::Syntax => "it is not JSON",
        serde_json::error::Category::Eof => "it ends early",
        serde_json::error::Category::Io => "it could not be read",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

/// A hash in a member or an address.
pub(super) fn hash(name: &str, text: &str) -> Result<Hash, Error> {
    Hash::from_hex(text).ok_or_else(|| Error::Parameter(format!("{name}: 64 lower-case hex digits are needed")))
}

/// Bytes in base64.
pub(super) fn bytes(name: &str, text: &str) -> Result<Vec<u8>, Error> {
    Base64::decode_vec(text).map_err(|_| Error::Parameter(format!("{name}: base64 with padding is needed")))
}

/// So many bytes in base64.
pub(super) fn fixed<const N: usize>(name: &str, text: &str) -> Result<[u8; N], Error> {
    let bytes = Zeroizing::new(bytes(name, text)?);
    bytes.as_slice().try_into().map_err(|_| Error::Parameter(format!("{name}: {N} bytes are needed")))
}
