//! The subscriber against a provider over HTTP: honest, forgetful, lying; and with a memory that fails at any write.

mod audit;
mod crash;
mod lies;
mod provider;
mod story;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use client::device::{Seal, SoftDevice};
use client::folder::{Memory, MemoryError};
use client::{Document, Folder, Pin, Subscriber, Value, instruction};
use provider::Site;
use std::sync::Arc;

/// The device in this folder, made where there is none.
fn device(folder: &Path) -> SoftDevice {
    std::fs::create_dir_all(folder).unwrap();
    match SoftDevice::exists(folder) {
        true => SoftDevice::open(folder, Seal::KeyFile).unwrap(),
        false => SoftDevice::create(folder, Seal::KeyFile).unwrap(),
    }
}

fn open<M: Memory>(site: &Site, path: &Path, memory: M) -> Subscriber<SoftDevice, M> {
    let device = device(&path.join("keys"));
    let clock = Arc::clone(&site.log);
    Subscriber::open(device, memory, site.provider(), site.trust())
        .unwrap()
        .with_clock(Arc::new(move || clock.lock().unwrap().now_ms))
}

fn anna(site: &Site, path: &Path) -> Subscriber<SoftDevice> {
    open(site, path, Folder::open(path.join("state")).unwrap())
}

fn pin() -> Pin {
    Pin::new("12345")
}

fn payment(cents: u64) -> Document {
    let fields = [("amount", Value::Uint(cents)), ("currency", Value::Text("EUR".into()))];
    instruction("payment", &fields).unwrap()
}

/// A folder whose n-th save fails: before anything is written, or after everything is.
struct Failing {
    folder: Folder,
    left: AtomicUsize,
    after: bool,
}

impl Failing {
    fn new(path: &Path, at: usize, after: bool) -> Failing {
        Failing { folder: Folder::open(path.join("state")).unwrap(), left: AtomicUsize::new(at), after }
    }
}

impl Memory for Failing {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, MemoryError> {
        self.folder.load(name)
    }

    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), MemoryError> {
        let left = self.left.load(Ordering::SeqCst);
        if left == usize::MAX {
            return Err(power_cut());
        }
        if left == 0 {
            self.left.store(usize::MAX, Ordering::SeqCst);
            if self.after {
                self.folder.save(name, bytes)?;
            }
            return Err(power_cut());
        }
        self.left.store(left - 1, Ordering::SeqCst);
        self.folder.save(name, bytes)
    }

    fn names(&self) -> Result<Vec<String>, MemoryError> {
        self.folder.names()
    }
}

fn power_cut() -> MemoryError {
    MemoryError::File { path: "state.json".into(), error: std::io::Error::other("power cut") }
}
