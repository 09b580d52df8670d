//! Authorisation: from the header of a request to a token that allows it.

use axum::http::{HeaderMap, header};

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

/// The token in `Authorization: Bearer …`.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
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
