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
    ///
    /// A read that needs its token takes a place in the token's quota, as an append does. What everybody may read takes
    /// none: whoever would be refused could ask again without the token, and all reads share the same few threads anyway.
    pub(super) fn may_read(&self, headers: &HeaderMap) -> Result<Reading, Error> {
        if self.access() == Access::Public {
            return Ok(Reading::new(true, None));
        }
        if bearer(headers).is_none() {
            return Ok(Reading::new(false, None));
        }
        match self.admit(headers, Scope::Read) {
            Ok(admitted) => Ok(Reading::new(true, Some(admitted))),
            // An append token reads what everybody reads.
            Err(Error::Auth(AuthError::Scope { .. })) => Ok(Reading::new(false, None)),
            Err(error) => Err(error),
        }
    }
}

/// What a request may read, and its place in its token's quota, if it needs one. It goes along with the work: a client
/// that goes away must not free its place while the disk is still read for it.
#[must_use]
pub(super) struct Reading {
    openings: bool,
    _place: Option<Admitted>,
}

impl Reading {
    fn new(openings: bool, place: Option<Admitted>) -> Reading {
        Reading { openings, _place: place }
    }

    /// Whether openings may be seen.
    pub(super) fn openings(&self) -> bool {
        self.openings
    }
}

impl App {
    /// A subscriber may read an own entry with its read token. One that is shown and does not hold is an error.
    pub(super) async fn may_read_own(&self, index: LeafIndex, token: &[u8; 32]) -> Result<Reading, Error> {
        match self.authority()?.is_read_token(index, token).await? {
            true => Ok(Reading::new(true, None)),
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
    use axum::extract::{Path, State};
    use axum::http::{HeaderValue, StatusCode};
    use scal3::genesis::Genesis;
    use tlog::key::{KeyName, Signer};

    use super::*;
    use crate::cli::cast::Provider;
    use crate::config::{Config, Limits};
    use crate::engine::{self, Engine, wall_clock_ms};
    use crate::http::{READS, receipts};
    use crate::tokens;

    const ORIGIN: &str = "log.example/test";

    /// A log whose tokens may have one request open, and the header with a token for reading.
    async fn log(folder: &std::path::Path) -> (App, HeaderMap) {
        let limits = Limits { token_in_flight: 1, ..Limits::default() };
        let config = Config { origin: ORIGIN.to_owned(), data: folder.to_owned(), limits, ..Config::default() };
        let signer = Signer::note(KeyName::new(ORIGIN).expect("name"), &[7; 32]);
        let mut set = engine::Config::new(config.log_dir(), signer);
        set.high_water = Some(folder.join("high-water"));
        let policy = b"{\"version\":1,\"rules\":[]}";
        let issuing_keys = vec![Provider::new(ORIGIN, policy).expect("provider").issuing_key().expect("key")];
        let genesis = Genesis { origin: ORIGIN.into(), issuing_keys, policy: policy.to_vec() };
        Engine::create(&set, &genesis).expect("created");
        let (_, token) =
            tokens::create(&config.tokens(), "reader", &[Scope::Read], wall_clock_ms(), None).expect("token");
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&format!("Bearer {}", token.as_str())).expect("header");
        headers.insert(header::AUTHORIZATION, value);
        (App::new(Engine::open(set).await.expect("opened"), config, None), headers)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_read_that_needs_its_token_takes_a_place_in_its_quota() {
        let folder = tempfile::tempdir().expect("folder");
        let (app, headers) = log(folder.path()).await;
        let read = |headers: &HeaderMap| receipts::show(State(app.clone()), Path("0".to_owned()), headers.clone());
        // Nobody reads the disk now, so whoever asks waits.
        let others = std::sync::Arc::clone(&app.inner.reads).acquire_many_owned(READS as u32).await.expect("all");
        let mut first = std::pin::pin!(read(&headers));
        tokio::select! {
            biased;
            _ = &mut first => panic!("it waits for the disk"),
            () = std::future::ready(()) => {}
        }
        let refused = read(&headers).await;
        assert!(matches!(refused, Err(Error::Auth(AuthError::Quota { limit: 1 }))));

        // What everybody may read needs no place.
        drop(others);
        assert_eq!(read(&HeaderMap::new()).await.expect("an answer").status(), StatusCode::OK);
        assert_eq!(first.await.expect("an answer").status(), StatusCode::OK);
        assert_eq!(read(&headers).await.expect("the place is free again").status(), StatusCode::OK);
        app.engine().shutdown().await;
    }

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
