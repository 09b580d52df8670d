//! A disk that fails when it is told to: at the n-th call that changes something.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Disk, DiskError, File, Op};

/// What happens at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full. Nothing happens.
    NoSpace,
    /// An input/output error. Nothing happens; of a sync, that the bytes may be gone.
    Failed,
    /// An input/output error, although it happened.
    FailedButHappened,
    /// The machine stops before the call, and every later call fails.
    Crash,
    /// The machine stops after the call, and every later call fails.
    CrashAfter,
    /// Half of a write lands, then the machine stops. Any other call is [`Fault::Crash`].
    Torn,
}

/// A disk that does what the one below it does, until its script says otherwise.
///
/// Calls that only read are not counted, and fail only after a crash.
#[derive(Clone)]
pub struct FaultDisk {
    below: Arc<dyn Disk>,
    script: Arc<Mutex<Script>>,
}

#[derive(Default)]
struct Script {
    calls: u64,
    crashed: bool,
    at: BTreeMap<u64, Fault>,
    names: Vec<String>,
}

impl FaultDisk {
    /// A disk with an empty script.
    pub fn new(below: Arc<dyn Disk>) -> FaultDisk {
        FaultDisk { below, script: Arc::default() }
    }

    /// At the call of that number (the first is 0) that happens. Several faults may be planned.
    pub fn at(self, call: u64, fault: Fault) -> FaultDisk {
        self.plan(call, fault);
        self
    }

    /// Plans a fault while the disk is in use.
    pub fn plan(&self, call: u64, fault: Fault) {
        self.lock().at.insert(call, fault);
    }

    /// Plans a fault for the next call.
    pub fn plan_next(&self, fault: Fault) {
        let mut script = self.lock();
        let next = script.calls;
        script.at.insert(next, fault);
    }

    /// How many calls there have been that change something.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Those calls, in words, for a test that must say what it broke.
    pub fn history(&self) -> Vec<String> {
        self.lock().names.clone()
    }

    /// Whether the machine has stopped.
    pub fn crashed(&self) -> bool {
        self.lock().crashed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads go through until the machine has stopped.
    fn alive(&self, op: Op, path: &Path) -> Result<(), DiskError> {
        if self.crashed() { Err(stopped(op, path)) } else { Ok(()) }
    }

    /// Counts a call, and does it as far as the script lets it.
    fn call<T>(
        &self,
        (what, op): (&str, Op),
        path: &Path,
        act: impl FnOnce() -> Result<T, DiskError>,
        torn: impl FnOnce() -> Result<(), DiskError>,
    ) -> Result<T, DiskError> {
        let fault = {
            let mut script = self.lock();
            if script.crashed {
                return Err(stopped(op, path));
            }
            let call = script.calls;
            script.calls += 1;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            script.names.push(format!("{what} {name}"));
            let fault = script.at.get(&call).copied();
            script.crashed = matches!(fault, Some(Fault::Crash | Fault::CrashAfter | Fault::Torn));
            fault
        };
        match fault {
            None => act(),
            Some(Fault::NoSpace) => Err(DiskError::new(op, path, io::ErrorKind::StorageFull.into())),
            Some(Fault::Failed) => Err(DiskError::new(op, path, io::Error::other("a scripted fault"))),
            Some(Fault::FailedButHappened) => {
                act()?;
                Err(DiskError::new(op, path, io::Error::other("a scripted fault, after the fact")))
            }
            Some(Fault::Crash) => Err(stopped(op, path)),
            Some(Fault::CrashAfter) => {
                act()?;
                Err(stopped(op, path))
            }
            Some(Fault::Torn) => {
                torn()?;
                Err(stopped(op, path))
            }
        }
    }
}

fn stopped(op: Op, path: &Path) -> DiskError {
    DiskError::new(op, path, io::Error::other("the machine has stopped"))
}

fn nothing() -> Result<(), DiskError> {
    Ok(())
}

impl Disk for FaultDisk {
    fn create(&self, path: &Path) -> Result<Box<dyn File>, DiskError> {
        let file = self.call(("create", Op::Create), path, || self.below.create(path), nothing)?;
        Ok(Box::new(FaultFile { file, disk: self.clone(), path: path.to_owned() }))
    }

    fn open(&self, path: &Path) -> Result<Option<Box<dyn File>>, DiskError> {
        self.alive(Op::Open, path)?;
        let file = self.below.open(path)?;
        Ok(file.map(|file| Box::new(FaultFile { file, disk: self.clone(), path: path.to_owned() }) as Box<dyn File>))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        self.call(("rename", Op::Rename), to, || self.below.rename(from, to), nothing)
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        self.call(("remove", Op::Remove), path, || self.below.remove(path), nothing)
    }

    fn remove_dir(&self, path: &Path) -> Result<(), DiskError> {
        self.call(("remove_dir", Op::Remove), path, || self.below.remove_dir(path), nothing)
    }

    fn create_dir(&self, path: &Path) -> Result<bool, DiskError> {
        self.call(("create_dir", Op::Create), path, || self.below.create_dir(path), nothing)
    }

    fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        self.call(("sync_dir", Op::Sync), path, || self.below.sync_dir(path), nothing)
    }

    fn list(&self, path: &Path) -> Result<Vec<String>, DiskError> {
        self.alive(Op::Read, path)?;
        self.below.list(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, DiskError> {
        self.alive(Op::Read, path)?;
        self.below.exists(path)
    }

    fn free(&self, path: &Path) -> Result<u64, DiskError> {
        self.alive(Op::Read, path)?;
        self.below.free(path)
    }
}

struct FaultFile {
    file: Box<dyn File>,
    disk: FaultDisk,
    path: std::path::PathBuf,
}

impl File for FaultFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        self.disk.alive(Op::Read, &self.path)?;
        self.file.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let half = || self.file.write_at(offset, &bytes[..bytes.len() / 2]);
        self.disk.call(("write", Op::Write), &self.path, || self.file.write_at(offset, bytes), half)
    }

    fn sync_data(&self) -> Result<(), DiskError> {
        self.disk.call(("sync_data", Op::Sync), &self.path, || self.file.sync_data(), nothing)
    }

    fn sync_all(&self) -> Result<(), DiskError> {
        self.disk.call(("sync_all", Op::Sync), &self.path, || self.file.sync_all(), nothing)
    }

    fn len(&self) -> Result<u64, DiskError> {
        self.disk.alive(Op::Read, &self.path)?;
        self.file.len()
    }

    fn truncate(&self, length: u64) -> Result<(), DiskError> {
        self.disk.call(("truncate", Op::Write), &self.path, || self.file.truncate(length), nothing)
    }
}
