//! The OpenAPI 3.1 description, made from the handlers' own types.

use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Content, RefOr};
use utoipa::{Modify, OpenApi};

/// What is not said at any single handler.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "solelog",
        description = "A transparency log for sole control: every entry commits to an instruction that its subscriber authorised with two factors.\n\nBinary values are base64 (RFC 4648 section 4, padded). Names that also stand in addresses (index keys, credential ids, commitments) are hex. Errors of /v1 are problems (RFC 9457) whose `type` leads to a page that says what to do.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    paths(super::read::tile),
    tags(
        (name = "records", description = "Append records; read entries and receipts"),
        (name = "credentials", description = "Who may act"),
        (name = "proofs", description = "For those who don't read tiles"),
        (name = "log", description = "The log as C2SP reads it, and what it says about itself"),
        (name = "operations", description = "For whoever runs it"),
    ),
    modifiers(&Token)
)]
struct Base;

struct Token;

impl Modify for Token {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("Made with `solelog token new --scope append,read`"))
            .build();
        api.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The description without the routes.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// As text.
pub(super) fn to_json(api: &utoipa::openapi::OpenApi) -> String {
    let mut api = api.clone();
    for item in api.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.post, &mut item.put, &mut item.delete].into_iter().flatten() {
            if let Some(RefOr::T(body)) = &mut operation.request_body {
                body.content.iter_mut().for_each(|(kind, content)| bytes_have_no_schema(kind, content));
            }
            for answer in operation.responses.responses.values_mut() {
                if let RefOr::T(answer) = answer {
                    answer.content.iter_mut().for_each(|(kind, content)| bytes_have_no_schema(kind, content));
                }
            }
        }
    }
    api.to_pretty_json().unwrap_or_else(|error| {
        tracing::error!(%error, "the OpenAPI description can't be written");
        "{}".to_owned()
    })
}

/// OpenAPI 3.1 describes bytes by their media type alone. What is made from `Vec<u8>` would ask for an array of numbers.
fn bytes_have_no_schema(kind: &str, content: &mut RefOr<Content>) {
    let typed = kind.ends_with("json") || kind.starts_with("text/");
    if let (false, RefOr::T(content)) = (typed, content) {
        content.schema = None;
    }
}
