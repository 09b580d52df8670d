//! An Ed25519 key that stays in an ssh-agent. <https://www.rfc-editor.org/rfc/rfc4251>, draft-miller-ssh-agent
//!
//! ```text
//! u32 length || 11                                                 which keys have you?
//! u32 length || 12 || u32 n || n * (string key || string comment)
//! u32 length || 13 || string key || string message || u32 flags    sign this
//! u32 length || 14 || string ( string "ssh-ed25519" || string signature[64] )
//! ```
//!
//! The agent signs whatever it is given, with any key it has; which bytes it is given is decided
//! here. Its signatures are verified before they are used: an agent that signs something else, or
//! with another key, gives nothing away in our name.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use tlog::key::Vkey;

use crate::keys::Remote;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;

/// The longest answer we read.
const MAX_ANSWER: u32 = 1 << 18;
/// An agent that asks somebody to touch a token may take its time, but not for ever.
const TIMEOUT: Duration = Duration::from_secs(10);

const ED25519: &[u8] = b"ssh-ed25519";

/// An Ed25519 key that an agent has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The public key.
    pub key: [u8; 32],
    /// What whoever added it calls it.
    pub comment: String,
}

/// A key in an agent, under a name.
#[derive(Debug)]
pub struct AgentKey {
    socket: PathBuf,
    vkey: Vkey,
}

impl AgentKey {
    /// The key that `vkey` verifies, in the agent at `socket`. The agent is first asked when
    /// something is to be signed.
    #[must_use]
    pub fn new(socket: PathBuf, vkey: Vkey) -> AgentKey {
        AgentKey { socket, vkey }
    }
}

impl Remote for AgentKey {
    fn vkey(&self) -> &Vkey {
        &self.vkey
    }

    fn sign(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        let mut request = vec![SIGN_REQUEST];
        push(&mut request, &blob(self.vkey.public_key()));
        push(&mut request, message);
        request.extend_from_slice(&0u32.to_be_bytes());
        let answer = ask(&self.socket, &request, SIGN_RESPONSE)?;
        let signature = take(&mut &answer[..]).and_then(|mut signature| {
            let kind = take(&mut signature)?;
            let signature = take(&mut signature)?;
            (kind == ED25519).then(|| signature.to_vec())
        });
        signature.ok_or_else(|| garbled("its answer is no Ed25519 signature"))
    }
}

/// Where the agent of this process is, if it has one.
#[must_use]
pub fn socket() -> Option<PathBuf> {
    std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from)
}

/// The Ed25519 keys that the agent at `socket` has.
pub fn identities(socket: &std::path::Path) -> io::Result<Vec<Identity>> {
    let answer = ask(socket, &[REQUEST_IDENTITIES], IDENTITIES_ANSWER)?;
    let (count, mut rest) = answer.split_first_chunk::<4>().ok_or_else(|| garbled("no number of keys"))?;
    let mut identities = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        let (Some(mut blob), Some(comment)) = (take(&mut rest), take(&mut rest)) else {
            return Err(garbled("half a list of keys"));
        };
        if take(&mut blob) != Some(ED25519) {
            continue;
        }
        if let Some(key) = take(&mut blob).and_then(|key| key.try_into().ok()) {
            identities.push(Identity { key, comment: String::from_utf8_lossy(comment).into_owned() });
        }
    }
    Ok(identities)
}

fn ask(socket: &std::path::Path, request: &[u8], expected: u8) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut framed = Vec::with_capacity(4 + request.len());
    push(&mut framed, request);
    stream.write_all(&framed)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length == 0 || length > MAX_ANSWER {
        return Err(garbled("an answer of an odd length"));
    }
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer)?;
    match answer.split_first() {
        Some((kind, rest)) if *kind == expected => Ok(rest.to_vec()),
        _ => Err(garbled("it refuses; is the key still in it?")),
    }
}

fn garbled(what: &str) -> io::Error {
    io::Error::other(format!("ssh-agent: {what}"))
}

/// How an agent calls a public key.
fn blob(key: &[u8]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(51);
    push(&mut blob, ED25519);
    push(&mut blob, key);
    blob
}

/// Appends a string with its length.
fn push(bytes: &mut Vec<u8>, string: &[u8]) {
    // Nothing here is near 4 GiB.
    bytes.extend_from_slice(&u32::try_from(string.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(string);
}

/// Takes a string with its length off the front.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (string, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *bytes = rest;
    Some(string)
}
