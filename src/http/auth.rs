//! Authorisation: from the header of a request to a token that allows it.

use axum::http::{HeaderMap, header};
use tlog::LeafIndex;

use super::App;
use super::problem::Error;
use crate::config::Access;
use crate::tokens::{Admitted, AuthError, Scope};

impl App {
    /// Admits a request whose token has the scope. What is returned holds its place in the token's quota.
    pub(super) fn admit(&self, headers: &HeaderMap, needs: Scope) -> Result<Admitted, Error> {
        Ok(self.tokens().admit(bearer(headers), needs, crate::engine::wall_clock_ms())?)
    }

    /// Whether this request may see openings: because everybody may, or because its token says so.
    ///
    /// A token that is shown and does not hold is an error even where none was needed: better to say so now than to let
    /// its owner wonder later why something is missing.
    pub(super) fn may_read(&self, headers: &HeaderMap) -> Result<bool, Error> {
        if self.access() == Access::Public {
            return Ok(true);
        }
        if bearer(headers).is_none() {
            return Ok(false);
        }
        match self.admit(headers, Scope::Read) {
            Ok(_) => Ok(true),
            // An append token reads what everybody reads.
            Err(Error::Auth(AuthError::Scope { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl App {
    /// Whether this is the token with which its subscriber reads that entry. A token that does not hold is an error.
    pub(super) async fn is_read_token(&self, index: LeafIndex, token: &[u8; 32]) -> Result<bool, Error> {
        match self.authority()?.is_read_token(index, token).await? {
            true => Ok(true),
            false => Err(Error::ReadToken),
        }
    }
}

/// The token in `Authorization: SolelogRead …`, if that is what is shown.
pub(super) fn read_token(headers: &HeaderMap) -> Result<Option<[u8; 32]>, Error> {
    let Some(token) = credentials(headers, "solelogread") else { return Ok(None) };
    let mut bytes = [0; 32];
    hex::decode_to_slice(token, &mut bytes).map_err(|_| Error::ReadToken)?;
    Ok(Some(bytes))
}

/// The token in `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    credentials(headers, "bearer")
}

fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (found, token) = value.split_once(' ')?;
    found.eq_ignore_ascii_case(scheme).then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_found_and_nothing_else() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("header"));
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer abc"), Some("abc".into()));
        assert_eq!(of("bearer  abc "), Some("abc".into()));
        assert_eq!(of("Basic abc"), None);
        assert_eq!(of("abc"), None);
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
