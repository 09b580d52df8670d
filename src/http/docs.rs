//! The page about the interface. It loads nothing from anywhere else, and its policy forbids it to.

use std::sync::Arc;

use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};

/// What a page of ours may do: load from here, and nothing else.
pub(super) const POLICY: &str =
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'";

pub(super) async fn page() -> Html<&'static str> {
    Html(include_str!("docs.html"))
}

pub(super) async fn script() -> Response {
    of("text/javascript; charset=utf-8", include_str!("docs.js"))
}

pub(super) async fn style() -> Response {
    of("text/css; charset=utf-8", include_str!("docs.css"))
}

pub(super) async fn openapi(text: Arc<str>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text.to_string()).into_response()
}

fn of(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}
