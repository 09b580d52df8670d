//! `solelog token`: who may append, and who may read openings.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Exit, Failure, Output, Which};
use crate::engine::wall_clock_ms;
use crate::tokens::{self, Scope, TokenFileError};

/// Tokens.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token. It is shown once; the log keeps its hash only. A running log takes it at once.
    New(New),
    /// List the tokens that are valid.
    List {
        /// Which log.
        #[command(flatten)]
        which: Which,
    },
    /// Revoke tokens, by id or by name. A running log refuses them at once.
    Revoke {
        /// Which log.
        #[command(flatten)]
        which: Which,
        /// The id or the name.
        token: String,
    },
}

/// Make a token.
#[derive(Debug, Args)]
pub struct New {
    /// Which log.
    #[command(flatten)]
    which: Which,
    /// What it allows.
    #[arg(long, value_delimiter = ',', required = true)]
    scope: Vec<Scope>,
    /// Whose it is.
    #[arg(long)]
    name: String,
    /// When it ends: so many days (90d), hours (12h) or minutes (30m) from now. Without it: never.
    #[arg(long, value_parser = duration_ms)]
    expires: Option<u64>,
}

fn duration_ms(text: &str) -> Result<u64, String> {
    let at = text.char_indices().next_back().map_or(0, |(at, _)| at);
    let (number, unit) = text.split_at(at);
    let unit_ms = match unit {
        "d" => 86_400_000,
        "h" => 3_600_000,
        "m" => 60_000,
        _ => return Err("write it as 90d, 12h or 30m".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write it as 90d, 12h or 30m".to_owned())?;
    number.checked_mul(unit_ms).filter(|ms| *ms > 0).ok_or_else(|| "out of range".to_owned())
}

impl From<TokenFileError> for Failure {
    fn from(error: TokenFileError) -> Failure {
        Failure::new(Exit::Config, error)
    }
}

impl Token {
    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        match self {
            Token::New(new) => {
                let path = new.which.load()?.config.tokens();
                let now = wall_clock_ms();
                let expires = new.expires.map(|ms| now.saturating_add(ms));
                let (token, text) = tokens::create(&path, &new.name, &new.scope, now, expires)?;
                out.say(
                    format!("{}\n  id {}, for {}, {}. It is shown this once; the log keeps its hash only.", text.as_str(), token.id, token.name, scopes(&token.scopes)),
                    json!({ "token": text.as_str(), "id": token.id, "name": token.name, "scopes": token.scopes, "expires_ms": token.expires_ms }),
                )
            }
            Token::List { which } => {
                let tokens = tokens::read(&which.load()?.config.tokens())?;
                let now = wall_clock_ms();
                let mut text = String::new();
                for token in &tokens {
                    let end = match token.expires_ms {
                        None => "no end".to_owned(),
                        Some(end) if end <= now => "expired".to_owned(),
                        Some(end) => format!("{} h left", (end - now) / 3_600_000),
                    };
                    let _ = writeln!(text, "{}  {:24} {:12} {end}", token.id, token.name, scopes(&token.scopes));
                }
                if tokens.is_empty() {
                    text.push_str("no tokens; make one: solelog token new --scope append --name NAME --config FILE");
                }
                let list: Vec<_> = tokens
                    .iter()
                    .map(|t| json!({ "id": t.id, "name": t.name, "scopes": t.scopes, "created_ms": t.created_ms, "expires_ms": t.expires_ms }))
                    .collect();
                out.say(text, list)
            }
            Token::Revoke { which, token } => {
                let gone = tokens::revoke(&which.load()?.config.tokens(), &token)?;
                if gone.is_empty() {
                    return Err(Failure::new(Exit::Failed, format!("there is no token with the id or name {token}"))
                        .next("solelog token list"));
                }
                let ids: Vec<&str> = gone.iter().map(|t| t.id.as_str()).collect();
                out.say(format!("revoked: {}", ids.join(", ")), json!({ "revoked": ids }))
            }
        }
    }
}

fn scopes(scopes: &[Scope]) -> String {
    scopes.iter().map(|s| s.name()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration_ms("90d"), Ok(90 * 86_400_000));
        assert_eq!(duration_ms("30m"), Ok(1_800_000));
        for wrong in ["", "d", "0d", "5", "5s", "-1d", "99999999999999999999d", "1.5h", "90д"] {
            assert!(duration_ms(wrong).is_err(), "{wrong}");
        }
    }
}
