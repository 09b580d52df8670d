//! What the tests play with: a log in memory, a witness over real HTTP, and a client.

#![allow(dead_code, reason = "each test file uses its own part of the stage")]

pub mod disk;
pub mod random;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tlog::checkpoint::{Checkpoint, Origin};
use tlog::key::{KeyName, Signer, Vkey};
use tlog::note::Note;
use tlog::proof::{ConsistencyProof, Nodes, root_at};
use tlog::tree::{TreeHead, TreeSize};
use tlog::witness::AddCheckpoint;
use tlog::{Hash, LeafHash};
use witness::serve::ServeError;
use witness::witness::Clock;
use witness::{TrustedLog, Witness, set_up};

pub const ORIGIN: &str = "example.com/log";

/// A log whose leaves are numbers.
pub struct Log {
    pub signer: Signer,
}

impl Nodes for Log {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        if level == 0 {
            return Ok(LeafHash::of(&index.to_be_bytes()).into());
        }
        let left = self.node(level - 1, index * 2)?;
        let right = self.node(level - 1, index * 2 + 1)?;
        Ok(Hash::node(&left, &right))
    }
}

pub fn size(size: u64) -> TreeSize {
    TreeSize::new(size).unwrap()
}

impl Log {
    pub fn new() -> Log {
        Log::signed_by(1)
    }

    pub fn signed_by(seed: u8) -> Log {
        let name = KeyName::new(ORIGIN).unwrap();
        Log { signer: Signer::note(name, &[seed; 32]) }
    }

    pub fn trusted(&self) -> TrustedLog {
        TrustedLog::from_vkey(&self.signer.vkey().to_string()).unwrap()
    }

    pub fn head(&self, n: u64) -> TreeHead {
        let Ok(root) = root_at(self, size(n));
        TreeHead { size: size(n), root }
    }

    pub fn checkpoint(&self, n: u64) -> Checkpoint {
        Checkpoint::new(Origin::new(ORIGIN).unwrap(), self.head(n))
    }

    pub fn proof(&self, old: u64, new: u64) -> ConsistencyProof {
        ConsistencyProof::make(self, size(old), size(new)).unwrap()
    }

    /// The request that takes a witness from `old` to `new` leaves.
    pub fn request(&self, old: u64, new: u64) -> AddCheckpoint {
        AddCheckpoint {
            old_size: size(old),
            proof: self.proof(old, new),
            note: Note::sign(&self.checkpoint(new).to_text(), &self.signer).unwrap(),
        }
    }
}

/// A clock that goes on by one second whenever it is looked at.
pub fn ticking(from: u64) -> Clock {
    let now = AtomicU64::new(from);
    Box::new(move || now.fetch_add(1, Ordering::SeqCst))
}

/// A witness that serves until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    pub vkey: Vkey,
    pub witness: Arc<Witness>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServeError>>>,
}

impl Server {
    /// Sets up a witness in `dir` for `logs`, and serves it.
    pub fn start(dir: &Path, logs: &[TrustedLog]) -> Server {
        let name = KeyName::new("witness.example/w1").unwrap();
        set_up(dir, Some(&name), None, logs).unwrap();
        Server::serve(Witness::open_with(dir, ticking(1_700_000_000)).unwrap())
    }

    pub fn serve(witness: Witness) -> Server {
        let witness = Arc::new(witness);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (bound, address) = std::sync::mpsc::channel();
        let serving = witness.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = witness::serve::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
                bound.send(listener.local_addr().unwrap()).unwrap();
                let stopped = async {
                    let _ = stopped.await;
                };
                witness::serve(serving, listener, stopped).await
            })
        });
        Server {
            address: address.recv().unwrap(),
            vkey: witness.vkey().clone(),
            witness,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    pub fn post(&self, body: &[u8]) -> Answer {
        post(self.address, body)
    }

    pub fn add(&self, request: &AddCheckpoint) -> Answer {
        self.post(&request.to_bytes())
    }

    pub fn get(&self, path: &str) -> Answer {
        send(self.address, "GET", path, b"")
    }

    /// What monitors see.
    pub fn monitored(&self) -> Answer {
        let hash = Origin::new(ORIGIN).unwrap().hash();
        self.get(&format!("/{hash}/checkpoint"))
    }

    /// Stops, and lets go of the folder.
    pub fn stop(mut self) {
        self.end().unwrap();
    }

    fn end(&mut self) -> Result<(), ServeError> {
        drop(self.stop.take());
        self.thread.take().map_or(Ok(()), |t| t.join().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

pub fn post(address: SocketAddr, body: &[u8]) -> Answer {
    send(address, "POST", "/add-checkpoint", body)
}

/// One request on a connection of its own.
pub fn send(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // A witness that has read enough may close before it took everything.
    let _ = stream.write_all(body);
    read_answer(&mut stream)
}

/// Reads one answer, and leaves the connection after it.
pub fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let headers: BTreeMap<String, String> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Answer { status: status.parse().unwrap(), headers, body: String::from_utf8(body).unwrap() }
}
