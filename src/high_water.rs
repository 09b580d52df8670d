//! The high-water file: the newest head that was signed, remembered outside the folder, where no witness does.

use std::path::PathBuf;
use std::sync::Arc;

use tlog::checkpoint::Checkpoint;
use tlog::note::Note;
use tlog::tree::TreeHead;

use crate::cosign::Last;
use crate::guard::GuardError;
use crate::history::History;
use crate::publisher::contradiction;
use crate::signers::Signers;
use crate::store::disk::{Disk, DiskError};

/// The file that remembers, outside the folder, the newest head that was signed.
pub struct HighWater {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    signers: Arc<Signers>,
}

impl HighWater {
    /// A high-water file at that path.
    pub fn new(disk: Arc<dyn Disk>, path: PathBuf, signers: Arc<Signers>) -> HighWater {
        HighWater { disk, path, signers }
    }

    /// Compares the disk with what the file remembers.
    ///
    /// A file that is not there yet is started by the first head. Where the log has published before, it must be there:
    /// a disk that is not mounted, or a machine that was made anew, looks the same as none. An operator who knows that
    /// this folder is the newest makes an empty file.
    pub fn check(&self, history: &History, published: bool) -> Result<(), GuardError> {
        let Some(head) = self.read(published)? else { return Ok(()) };
        match contradiction(&Last::Head(head), history) {
            None => Ok(()),
            Some(what) => {
                Err(GuardError::RolledBack { holder: format!("the high-water file {}", self.path.display()), what })
            }
        }
    }

    /// Remembers a signed head. It must be on stable storage before the signature leaves the process.
    pub fn raise(&self, note: &[u8]) -> Result<(), DiskError> {
        self.disk.replace(&self.path, note)
    }

    fn read(&self, published: bool) -> Result<Option<TreeHead>, GuardError> {
        let wrong = |what: String| GuardError::HighWater { path: self.path.clone(), what };
        let bytes = match self.disk.read(&self.path).map_err(|e| wrong(e.to_string()))? {
            Some(bytes) if bytes.is_empty() => return Ok(None),
            Some(bytes) => bytes,
            None if published => {
                let what = "it is missing, and this log has published before: bring it back, or, if this folder is certainly the newest, make an empty file there";
                return Err(wrong(what.to_owned()));
            }
            None => return Ok(None),
        };
        let note = Note::parse(&bytes).map_err(|e| wrong(e.to_string()))?;
        note.open(self.signers.vkeys()).map_err(|e| wrong(format!("not signed by this log: {e}")))?;
        let checkpoint = Checkpoint::parse_text(note.text()).map_err(|e| wrong(e.to_string()))?;
        Ok(Some(checkpoint.head))
    }
}
