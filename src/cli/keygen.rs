//! `solelog keygen`: keys for those who take part.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;
use tlog::cosignature::Cosigner;
use tlog::key::Signer;

use super::{Failure, Output, keyfile, path_value};

/// Make a key.
#[derive(Debug, Args)]
pub struct Keygen {
    /// Whose key.
    #[command(subcommand)]
    pub whose: Whose,
}

/// Whose key.
#[derive(Debug, Subcommand)]
pub enum Whose {
    /// A log's: signs checkpoints (Ed25519).
    Log {
        /// The one that signs beside it with ML-DSA-44, which no quantum computer forges: `log.ml-dsa.key` beside `log.key`.
        #[arg(long)]
        ml_dsa_44: bool,
        /// The log's origin.
        #[arg(long)]
        name: String,
        /// Where to write it, with mode 0600.
        #[arg(long)]
        out: PathBuf,
    },
    /// A witness's: cosigns checkpoints (Ed25519, cosignature/v1).
    Witness {
        /// The witness's name.
        #[arg(long)]
        name: String,
        /// Where to write it, with mode 0600.
        #[arg(long)]
        out: PathBuf,
    },
    /// A provider's: signs credentials (P-256, PKCS#8 in PEM).
    Issuing {
        /// Where to write it, with mode 0600.
        #[arg(long)]
        out: PathBuf,
    },
    /// A provider's master secret: every user's share is sealed under a key from it. Nothing replaces a lost one.
    Master {
        /// Its number; 0 is the first.
        #[arg(long, default_value_t = 0)]
        epoch: u32,
        /// Where to write it, with mode 0600.
        #[arg(long)]
        out: PathBuf,
    },
    /// A provider's: signs documents for instructions of class document.sign (P-256, PKCS#8 in PEM).
    Document {
        /// Where to write it, with mode 0600.
        #[arg(long)]
        out: PathBuf,
    },
}

impl Keygen {
    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        match self.whose {
            Whose::Log { ml_dsa_44: true, name, out: path } => {
                let cosigner = Cosigner::ml_dsa_44(keyfile::name(&name)?, &*keyfile::seed()?);
                keyfile::write_new(&path, &cosigner.to_secret_text())?;
                say(out, "vkey", &cosigner.vkey().to_string(), &path)
            }
            Whose::Log { ml_dsa_44: false, name, out: path } => {
                let signer = Signer::note(keyfile::name(&name)?, &*keyfile::seed()?);
                keyfile::write_new(&path, &signer.to_secret_text())?;
                say(out, "vkey", &signer.vkey().to_string(), &path)
            }
            Whose::Witness { name, out: path } => {
                let cosigner = Signer::cosigner(keyfile::name(&name)?, &*keyfile::seed()?);
                keyfile::write_new(&path, &cosigner.to_secret_text())?;
                say(out, "vkey", &cosigner.vkey().to_string(), &path)
            }
            Whose::Issuing { out: path } => {
                let (pem, public) = keyfile::new_ec()?;
                keyfile::write_new(&path, &pem)?;
                say(out, "issuing_key", &hex::encode(public), &path)
            }
            Whose::Document { out: path } => {
                let (pem, public) = keyfile::new_ec()?;
                keyfile::write_new(&path, &pem)?;
                say(out, "document_key", &hex::encode(public), &path)
            }
            Whose::Master { epoch, out: path } => {
                keyfile::write_new(&path, &keyfile::new_master(epoch)?)?;
                out.say(
                    format!(
                        "the master secret of epoch {epoch} is in {}\n  back it up: nothing replaces it",
                        path.display()
                    ),
                    json!({ "epoch": epoch, "file": path_value(&path) }),
                )
            }
        }
    }
}

fn say(out: Output, what: &str, public: &str, path: &std::path::Path) -> Result<(), Failure> {
    out.say(
        format!("{public}\n  the private half is in {}", path.display()),
        json!({ what: public, "file": path_value(path) }),
    )
}
