//! `solelog init`: a new log. It never touches one that is there.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use clap::Args;
use scal3::credential::IssuingKey;
use scal3::genesis::Genesis;
use serde_json::json;
use tlog::key::Signer;

use super::config::read_policy;
use super::{Exit, Failure, Output, keyfile, path_value, policy, system};
use crate::config::render;
use crate::engine::{self, Engine};
use crate::guard;
use crate::keys::{Unlock, folder};
use crate::recovery::CreateError;
use crate::tokens::write_private;

/// The trust file in the folder of a log.
pub const TRUST: &str = "trust-policy.txt";

/// A first policy that asks for nothing besides the two factors.
pub const POLICY: &[u8] = b"{\"version\":1,\"rules\":[]}";

/// Make a new log.
#[derive(Debug, Args)]
pub struct Init {
    /// The name of the log, on every checkpoint it will ever sign. It never changes: log.example/2026h2
    #[arg(long)]
    pub origin: String,
    /// The log's folder; made, and empty until now.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where to write the configuration; without it, log.toml in the folder.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The log's key, made before with `solelog keygen log`; without it, one is made.
    #[arg(long, value_name = "FILE")]
    pub log_key: Option<PathBuf>,
    /// The key of a provider that runs its part of SCAL3 elsewhere: 66 hex digits, a compressed P-256 point. Several may
    /// be given. Without it, the log's own provider gets a master secret and an issuing key.
    #[arg(long, value_name = "HEX33")]
    pub issuing_key: Vec<String>,
    /// Let people enrol and authorise here, with this name of the provider in their credentials.
    #[arg(long, value_name = "NAME", conflicts_with = "issuing_key")]
    pub issuer: Option<String>,
    /// The first policy for instructions, written into the log; without it, one that asks for the two factors alone.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The witnesses and their quorum: a c2sp.org/tlog-policy file.
    #[arg(long, value_name = "FILE", required_unless_present = "no_witnesses", conflicts_with = "no_witnesses")]
    pub witness_policy: Option<PathBuf>,
    /// Run without witnesses. Then only the high-water file notices that a backup was restored.
    #[arg(long, requires = "high_water")]
    pub no_witnesses: bool,
    /// A file outside the folder, and outside its backups, that remembers what was signed.
    #[arg(long, value_name = "PATH")]
    pub high_water: Option<PathBuf>,
    /// Where HTTP is served.
    #[arg(long)]
    pub listen: Option<SocketAddr>,
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// The log's vkey.
    pub vkey: String,
    /// The log's folder.
    pub data: PathBuf,
    /// The configuration.
    pub config: PathBuf,
    /// The trust file.
    pub trust: PathBuf,
    /// The keys in the genesis.
    pub issuing_keys: Vec<[u8; 33]>,
    /// The private half of the issuing key, where one was made, with a master secret beside it.
    pub issuing_key_file: Option<PathBuf>,
    /// How many witnesses there are, if the log has any.
    pub witnesses: Option<usize>,
    /// Whether a rule of its policy lets that policy be changed.
    pub policy_can_change: bool,
}

impl Init {
    /// Makes the log.
    pub fn make(&self) -> Result<Made, Failure> {
        let name = keyfile::name(&self.origin)?;
        let signer = match &self.log_key {
            Some(path) => keyfile::read_signer(path, &Unlock::new(None, None))?,
            None => Signer::note(name, &*keyfile::seed()?),
        };
        let witness_policy = self.witness_policy.as_deref().map(read_policy).transpose()?;
        let (first_policy, policy_can_change) = match &self.policy {
            Some(path) => policy::read(path).map(|(document, policy)| (document, policy::can_change(&policy)))?,
            None => (POLICY.to_vec(), false),
        };
        let mut issuing_keys = self.issuing_key.iter().map(|text| issuing_key(text)).collect::<Result<Vec<_>, _>>()?;
        let high_water = self.high_water.as_deref().map(absolute).transpose()?;
        if high_water.as_ref().is_some_and(|path| guard::lies_in(path, &self.data)) {
            return Err(Failure::new(
                Exit::Usage,
                "--high-water lies in the log's folder, so a restored backup would bring its own memory along",
            )
            .next("choose a path outside, on another disk if there is one"));
        }
        // Nothing was touched so far: whatever was wrong with the arguments can be corrected and tried again.
        let data = make_folder(&self.data)?;
        let config = self.config.clone().unwrap_or_else(|| data.join("log.toml"));
        if config.exists() {
            return Err(Failure::new(Exit::System, format!("{} is already there", config.display()))
                .next("a log is made once; run it with: solelog serve --config FILE"));
        }
        let keys = data.join("keys");
        fs::DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&keys)
            .map_err(system(format_args!("cannot make {}", keys.display())))?;
        let mut made = None;
        if issuing_keys.is_empty() {
            let (pem, public) = keyfile::new_ec()?;
            let path = keys.join(folder::ISSUING);
            keyfile::write_new(&path, &pem)?;
            keyfile::write_new(&keys.join(folder::master_name(0)), &keyfile::new_master(0)?)?;
            issuing_keys.push(public);
            made = Some(path);
        }
        let vkey = signer.vkey().to_string();
        keyfile::write_new(&keys.join(folder::LOG), &signer.to_secret_text())?;

        // One file for both: the log asks the witnesses in it, and everybody else trusts by it.
        let trust = data.join(TRUST);
        let policy = trust_policy(&vkey, witness_policy.as_ref().map(|(text, _)| text.as_str()));
        fs::write(&trust, &policy).map_err(system(format_args!("cannot write {}", trust.display())))?;

        let mut engine = engine::Config::new(data.join("log"), signer);
        engine.witnesses = witness_policy.as_ref().map(|_| read_policy(&trust)).transpose()?.map(|(_, policy)| policy);
        engine.high_water = high_water;
        let genesis = Genesis { origin: self.origin.clone(), issuing_keys: issuing_keys.clone(), policy: first_policy };
        Engine::create(&engine, &genesis)?;

        let mut set = vec![("origin", self.origin.clone()), ("data", data.display().to_string())];
        if witness_policy.is_some() {
            set.push(("witnesses.policy", trust.display().to_string()));
        }
        if let Some(path) = &engine.high_water {
            set.push(("witnesses.high_water", path.display().to_string()));
        }
        if let Some(issuer) = &self.issuer {
            set.push(("authority.enabled", "true".to_owned()));
            set.push(("authority.issuer", issuer.clone()));
        }
        if let Some(listen) = self.listen {
            set.push(("listen", listen.to_string()));
        }
        write_private(&config, render(&set).as_bytes(), false)
            .map_err(system(format_args!("cannot write {}", config.display())))?;
        Ok(Made {
            vkey,
            data,
            config,
            trust,
            issuing_keys,
            issuing_key_file: made,
            witnesses: witness_policy.map(|(_, p)| p.witnesses().len()),
            policy_can_change,
        })
    }

    /// Runs it.
    pub fn run(self, out: Output) -> Result<(), Failure> {
        let made = self.make()?;
        let file = made.config.display();
        let mut text = format!(
            "made {}\n  vkey       {}\n  trust      {}   for everybody who verifies\n  key        {}   back it up apart from the folder\n",
            made.data.display(),
            made.vkey,
            made.trust.display(),
            made.data.join("keys").join("log.key").display(),
        );
        if let Some(path) = &made.issuing_key_file {
            text.push_str(&format!("  issuing    {}   signs credentials\n", path.display()));
            text.push_str(&format!(
                "  master     {}   opens everybody's shares: back it up, nothing replaces it\n",
                made.data.join("keys").join(folder::master_name(0)).display()
            ));
        }
        if made.witnesses.is_none() {
            text.push_str(
                "  witnesses  none: receipts prove what this log says, not that it says the same to everybody\n",
            );
        }
        if !made.policy_can_change {
            text.push_str(&format!("  policy     {}\n", policy::FOR_EVER));
        }
        text.push_str(&format!("next\n  1  solelog config check --config {file}\n  2  solelog keys encrypt --config {file}\n  3  solelog token new --scope append --name backend-1 --config {file}\n  4  solelog serve --config {file}\n"));
        out.say(
            text,
            json!({
                "origin": self.origin, "vkey": made.vkey, "data": path_value(&made.data), "config": path_value(&made.config), "trust": path_value(&made.trust),
                "issuing_keys": made.issuing_keys.iter().map(hex::encode).collect::<Vec<_>>(),
                "issuing_key_file": made.issuing_key_file.as_deref().map(path_value), "witnesses": made.witnesses,
                "policy_can_change": made.policy_can_change,
            }),
        )
    }
}

/// What everybody who verifies needs: the log's key, the witnesses, the quorum.
fn trust_policy(vkey: &str, witnesses: Option<&str>) -> String {
    let witnesses = witnesses.unwrap_or("quorum none\n");
    let known = witnesses.lines().any(|line| line.split_whitespace().eq(["log", vkey]));
    let log = if known { String::new() } else { format!("log {vkey}\n") };
    format!("# Give this file to everybody who verifies: sole verify RECEIPT --policy FILE\n{log}{witnesses}")
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(system(format_args!("cannot resolve {}", path.display())))
}

fn make_folder(path: &Path) -> Result<PathBuf, Failure> {
    let path = absolute(path)?;
    fs::DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(&path)
        .map_err(system(format_args!("cannot make {}", path.display())))?;
    let mut there = fs::read_dir(&path).map_err(system(format_args!("cannot read {}", path.display())))?;
    if there.next().is_some() {
        return Err(Failure::new(Exit::System, format!("{} is not empty; a log is made once", path.display()))
            .next("choose another folder, or run the log that is there with: solelog serve --config FILE"));
    }
    // A folder that was there already may be open to others.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
        .map_err(system(format_args!("cannot close {} to others", path.display())))?;
    Ok(path)
}

fn issuing_key(text: &str) -> Result<[u8; 33], Failure> {
    let wrong = |fault: &dyn std::fmt::Display| {
        Failure::new(Exit::Usage, format!("--issuing-key {text}: {fault}"))
            .next("a compressed P-256 point in 66 hex digits; solelog keygen issuing makes one")
    };
    let bytes = hex::decode(text).map_err(|e| wrong(&e))?;
    IssuingKey::parse(&bytes).map(|key| *key.as_bytes()).map_err(|e| wrong(&e))
}

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Failure {
        let exit = match &error {
            CreateError::Origin(_)
            | CreateError::KeyName { .. }
            | CreateError::IssuingKey
            | CreateError::TooLong { .. } => Exit::Usage,
            CreateError::Exists(_) | CreateError::Folder(_) => Exit::System,
        };
        Failure::new(exit, error)
    }
}
