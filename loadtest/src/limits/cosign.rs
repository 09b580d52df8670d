//! A witness: how many heads it cosigns in a second, over HTTP, each on stable storage before its signature, against how
//! many signatures its key could make if it did nothing else.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Bytes;
use tlog::checkpoint::{Checkpoint, Origin};
use tlog::key::{KeyName, Signer};
use tlog::note::Note;
use tlog::proof::Nodes;
use tlog::witness::{AddCheckpoint, Answer};
use tlog::{ConsistencyProof, Hash, LeafHash, TreeHead, TreeSize, root_at};
use tokio::net::TcpListener;
use witness::{TrustedLog, Witness, set_up};

use super::figures::{Figures, rounded};
use super::{Scale, median};
use crate::Error;
use crate::transport::{Body, Connection, Place};

/// A tree whose leaves are numbers.
struct Numbers;

impl Nodes for Numbers {
    type Error = std::convert::Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error> {
        match level.checked_sub(1) {
            None => Ok(Hash(LeafHash::of(&index.to_be_bytes()).0)),
            Some(below) => Ok(Hash::node(&self.node(below, 2 * index)?, &self.node(below, 2 * index + 1)?)),
        }
    }
}

fn failed(e: impl std::fmt::Display) -> Error {
    Error::System(format!("the witness: {e}"))
}

/// Measures it.
pub async fn measure(dir: &Path, scale: &Scale, figures: &mut Figures) -> Result<(), Error> {
    let [logs, heads] = scale.cosigned;
    let signers: Vec<Signer> = (0..logs).map(signer).collect::<Result<_, _>>()?;
    let name = KeyName::new("witness.limits.example").map_err(failed)?;
    let trusted: Vec<TrustedLog> = signers
        .iter()
        .map(|s| TrustedLog::from_vkey(&s.vkey().to_string()).map_err(failed))
        .collect::<Result<_, _>>()?;
    set_up(dir, Some(&name), None, &trusted).map_err(failed)?;
    let witness = Arc::new(Witness::open(dir).map_err(failed)?);
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let place = Place::parse(&format!("http://{}", listener.local_addr().map_err(failed)?))?;
    let serving = tokio::spawn(witness::serve(Arc::clone(&witness), listener, std::future::pending()));

    let (mut ours, mut bare, mut size) = (Vec::new(), Vec::new(), 0);
    for _ in 0..scale.rounds {
        let requests: Vec<Vec<Bytes>> =
            signers.iter().map(|signer| requests(signer, size, heads)).collect::<Result<_, _>>()?;
        size += heads as u64;
        let began = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for requests in requests {
            tasks.spawn(ask(place.clone(), requests));
        }
        while let Some(done) = tasks.join_next().await {
            done.map_err(failed)??;
        }
        ours.push((logs * heads) as f64 / began.elapsed().as_secs_f64());
        bare.push(tokio::task::block_in_place(|| signatures(&signers, scale)));
    }
    serving.abort();
    let (ours, bare) = (median(ours), median(bare));
    figures.set("cosign_vs_sign", ours / bare);
    figures.count("cosignatures_per_s", rounded(ours));
    figures.count("signatures_per_s", rounded(bare));
    figures.count("cosign_logs", logs);
    Ok(())
}

fn signer(number: usize) -> Result<Signer, Error> {
    let mut seed = [9; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    Ok(Signer::note(KeyName::new(&format!("limits.example/{number}")).map_err(failed)?, &seed))
}

/// The bodies that lead from one size to a larger one, a leaf at a time.
fn requests(signer: &Signer, from: u64, count: usize) -> Result<Vec<Bytes>, Error> {
    let origin = Origin::new(signer.vkey().name().as_str()).map_err(failed)?;
    (from..from + count as u64)
        .map(|old| {
            let (old, new) = (TreeSize::new(old).map_err(failed)?, TreeSize::new(old + 1).map_err(failed)?);
            let Ok(root) = root_at(&Numbers, new);
            let text = Checkpoint::new(origin.clone(), TreeHead { size: new, root }).to_text();
            let proof = match old == TreeSize::ZERO {
                true => ConsistencyProof::default(),
                false => ConsistencyProof::make(&Numbers, old, new).map_err(|_| failed("no proof"))?,
            };
            let note = Note::sign(&text, signer).map_err(failed)?;
            Ok(AddCheckpoint { old_size: old, proof, note }.to_bytes().into())
        })
        .collect()
}

/// Sends heads of one log, one after another.
async fn ask(place: Place, requests: Vec<Bytes>) -> Result<(), Error> {
    let mut connection = Connection::new(&place);
    for bytes in requests {
        let body = Body { token: "", kind: "text/plain", bytes };
        let answer = connection.post("/add-checkpoint", body).await?;
        match Answer::parse(answer.status.as_u16(), &answer.body).map_err(failed)? {
            Answer::Cosigned(_) => {}
            other => return Err(Error::Wrong(format!("the witness did not cosign: {other:?}"))),
        }
    }
    Ok(())
}

/// Signatures over texts of a checkpoint's length in a second, by one thread.
fn signatures(signers: &[Signer], scale: &Scale) -> f64 {
    let text = "limits.example/0\n12345\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
    let (began, mut done) = (Instant::now(), 0);
    loop {
        for signer in signers {
            std::hint::black_box(signer.sign(text));
        }
        done += signers.len();
        let took = began.elapsed();
        if took >= scale.engine {
            return done as f64 / took.as_secs_f64();
        }
    }
}
