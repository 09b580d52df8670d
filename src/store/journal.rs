//! The journal: one record per round, and the only commit point of the log.
//!
//! ```text
//! journal/<first round, 20 digits>.seg      zero-filled, synced (file and folder) before its first record
//! header  = "solelog journal\n"[16] ‖ marker[16] ‖ epoch u64 ‖ first round u64 ‖ previous[32] ‖ SHA-256[32]
//! record  = marker[16] ‖ length u32 ‖ round u64 ‖ previous[32] ‖ payload ‖ SHA-256(length ‖ … ‖ payload)[32]
//! ```
//!
//! Numbers are big-endian; `previous` is the SHA-256 of the record before, in the header that of the last record of the
//! segment before. The marker is random, one for each segment: no payload can contain something that looks like a record.
//!
//! A round has happened when [`Journal::append`] has returned, and not before. When it fails the outcome is unknown, the
//! journal is poisoned, and the process must end: a failed sync is never tried again, because the kernel may have
//! dropped the very pages that a second try would call clean. For the same reason a restart trusts nothing that it can
//! merely read: the last segment is copied into a new file and synced before [`Scan::resume`] returns.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest as _, Sha256};

use super::disk::{Disk, DiskError, File, Op};
use super::{Guarded, StoreError};

const MAGIC: &[u8; 16] = b"solelog journal\n";
const HEADER: usize = 16 + 16 + 8 + 8 + 32 + 32;
/// What a record has around its payload.
pub const FRAME: usize = 16 + 4 + 8 + 32 + 32;
const NEXT: &str = "next.seg";

/// How large segments are.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The length of a segment. A record that is longer gets a segment of its own size.
    pub segment_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { segment_bytes: 64 << 20 }
    }
}

/// The end of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The round that comes next. The last one in the journal is the one before.
    pub next: u64,
    /// The SHA-256 of the last record; zeros before the first.
    pub hash: [u8; 32],
}

/// An incomplete record at the end of the journal: a round that was being written when the machine stopped.
///
/// Nobody was told about it, unless somebody was: the caller compares with the checkpoint, the watermarks and the
/// witnesses before it resumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The round it would have been.
    pub round: u64,
    /// The segment.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
}

/// What a journal holds. Reading changes nothing; [`Scan::resume`] opens it for writing.
pub struct Scan {
    /// The end of it.
    pub tip: Tip,
    /// What was being written when the machine stopped. It is dropped by [`Scan::resume`].
    pub torn: Option<Torn>,
    /// The epoch it was written in. Every start raises it.
    pub epoch: u64,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    older: Vec<u64>,
    last: Header,
    /// The records of the last segment, as they stand there.
    records: Vec<u8>,
}

/// The journal, open for writing by one process.
pub struct Journal {
    writer: Guarded<Writer>,
    spare: Guarded<Spare>,
    /// How many bytes are left in the segment in use.
    room: AtomicU64,
    epoch: u64,
    options: Options,
}

struct Writer {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// The first rounds of the segments before the one in use.
    older: Vec<u64>,
    segment: Segment,
    tip: Tip,
    buffer: Vec<u8>,
}

struct Segment {
    header: Header,
    path: PathBuf,
    file: Box<dyn File>,
    at: u64,
    length: u64,
}

/// The next segment, made early so that no round waits for it.
struct Spare {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    ready: Option<(Box<dyn File>, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    marker: [u8; 16],
    epoch: u64,
    first: u64,
    previous: [u8; 32],
}

impl Journal {
    /// Makes a journal in a folder without one. Its first record will be that round.
    pub fn create(disk: &Arc<dyn Disk>, dir: &Path, options: Options, first: u64) -> Result<Journal, StoreError> {
        disk.create_dir_all(dir)?;
        let names = segments(&**disk, dir)?;
        if let Some(name) = names.first() {
            return Err(StoreError::corrupt(&dir.join(segment_name(*name)), 0, "there is a journal already"));
        }
        let scan = Scan {
            tip: Tip { next: first, hash: [0; 32] },
            torn: None,
            epoch: 0,
            disk: Arc::clone(disk),
            dir: dir.to_owned(),
            older: Vec::new(),
            last: Header { marker: marker()?, epoch: 0, first, previous: [0; 32] },
            records: Vec::new(),
        };
        scan.resume(options)
    }

    /// Whether the folder has a journal.
    pub fn exists(disk: &dyn Disk, dir: &Path) -> Result<bool, StoreError> {
        Ok(!segments(disk, dir)?.is_empty())
    }

    /// Reads the journal and gives every record from that round on to `visit`, in order.
    ///
    /// The hash chain is checked. An incomplete record at the very end is reported in [`Scan::torn`]; anywhere else,
    /// and anything else, is [`StoreError::Corrupt`]. So is a journal that begins after that round, or ends before it.
    pub fn scan<E: From<StoreError>>(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        from: u64,
        mut visit: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<Scan, E> {
        let firsts = segments(&**disk, dir)?;
        let none = || StoreError::corrupt(dir, 0, "there is no journal");
        let start = match firsts.iter().rposition(|first| *first <= from) {
            Some(start) => start,
            None if firsts.is_empty() => return Err(none().into()),
            None => {
                let path = dir.join(segment_name(firsts[0]));
                return Err(StoreError::corrupt(&path, 0, "the rounds before this segment are needed and gone").into());
            }
        };
        let mut found: Option<(Header, Tip, Vec<u8>)> = None;
        let mut torn = None;
        for (i, first) in firsts.iter().enumerate().skip(start) {
            let path = dir.join(segment_name(*first));
            let bytes = disk.read(&path).map_err(StoreError::from)?.ok_or_else(none)?;
            let header = Header::parse(&bytes).ok_or_else(|| StoreError::corrupt(&path, 0, "no header"))?;
            if header.first != *first {
                return Err(StoreError::corrupt(&path, 0, "the header is that of another segment").into());
            }
            let mut tip = Tip { next: header.first, hash: header.previous };
            if let Some((before, end, _)) = &found {
                if *end != tip {
                    return Err(StoreError::corrupt(&path, 0, "the segment does not continue the one before").into());
                }
                if header.epoch < before.epoch {
                    return Err(StoreError::corrupt(&path, 0, "the epoch is smaller than in the segment before").into());
                }
            }
            let mut at = HEADER;
            while let Some(record) = Record::parse(&header.marker, &bytes[at..]) {
                if record.round != tip.next || record.previous != tip.hash {
                    return Err(
                        StoreError::corrupt(&path, at as u64, "the record does not continue the one before").into()
                    );
                }
                if record.round >= from {
                    visit(record.round, record.payload)?;
                }
                tip = Tip { next: tip.next + 1, hash: record.hash };
                at += record.payload.len() + FRAME;
            }
            if bytes[at..].iter().any(|b| *b != 0) {
                // A record is written only after the one before was synced, so only the last can be incomplete.
                let later = (at + 1..bytes.len()).any(|next| Record::parse(&header.marker, &bytes[next..]).is_some());
                if later || i + 1 < firsts.len() {
                    return Err(
                        StoreError::corrupt(&path, at as u64, "a record is damaged, and valid ones follow").into()
                    );
                }
                torn = Some(Torn { round: tip.next, path: path.clone(), offset: at as u64 });
            }
            let mut bytes = bytes;
            bytes.truncate(at);
            found = Some((header, tip, bytes.split_off(HEADER)));
        }
        let (last, tip, records) = found.ok_or_else(none)?;
        if tip.next < from {
            return Err(StoreError::corrupt(dir, 0, "the journal ends before the round that is needed").into());
        }
        Ok(Scan {
            tip,
            torn,
            epoch: last.epoch,
            disk: Arc::clone(disk),
            dir: dir.to_owned(),
            older: firsts[..firsts.len() - 1].to_vec(),
            last,
            records,
        })
    }

    /// Makes sure that a record with a payload of that length can be written. Ask before planning a round.
    ///
    /// [`StoreError::NoSpace`] changes nothing, and asking again later may succeed.
    pub fn reserve(&self, payload: usize) -> Result<(), StoreError> {
        let length = (payload + FRAME) as u64;
        if length <= self.room.load(Ordering::Acquire) {
            return self.writer.peek(|_| ()).ok_or(StoreError::Poisoned);
        }
        let wanted = self.options.segment_bytes.max(length + HEADER as u64);
        self.spare.with(|spare| spare.make(wanted))
    }

    /// Makes the next segment when the one in use is more than half full. Call it from a thread that may wait.
    ///
    /// Without it the segment is made when it is needed, and a round waits for its zeros.
    pub fn prepare(&self) -> Result<(), StoreError> {
        if self.room.load(Ordering::Acquire) > self.options.segment_bytes / 2 {
            return Ok(());
        }
        self.spare.with(|spare| spare.make(self.options.segment_bytes))
    }

    /// Writes a round and makes it durable. When this returns, the round has happened.
    ///
    /// The number must be the next one. [`StoreError::NoSpace`] can come only where [`Journal::reserve`] was not asked.
    /// Gives the hash of the record.
    pub fn append(&self, round: u64, payload: &[u8]) -> Result<[u8; 32], StoreError> {
        self.writer.with(|writer| {
            if round != writer.tip.next {
                return Err(StoreError::OutOfOrder { expected: writer.tip.next, found: round });
            }
            let length = (payload.len() + FRAME) as u64;
            if writer.segment.at + length > writer.segment.length {
                self.turn_over(writer, length)?;
            }
            let hash = writer.write(round, payload)?;
            self.room.store(writer.segment.length - writer.segment.at, Ordering::Release);
            Ok(hash)
        })
    }

    fn turn_over(&self, writer: &mut Writer, length: u64) -> Result<(), StoreError> {
        let wanted = self.options.segment_bytes.max(length + HEADER as u64);
        let header = Header { marker: marker()?, epoch: self.epoch, first: writer.tip.next, previous: writer.tip.hash };
        // The spare file is ours until it has its own name: whoever prepares the next one meanwhile would remove it.
        let segment = self.spare.with(|spare| {
            spare.make(wanted)?;
            let (file, length) = spare.ready.take().ok_or(StoreError::Poisoned)?;
            Segment::begin(&*writer.disk, &writer.dir, header, file, length, &[])
        })?;
        writer.older.push(writer.segment.header.first);
        writer.segment = segment;
        Ok(())
    }

    /// Removes whole segments of which every round is below that one. Says how many.
    pub fn drop_below(&self, round: u64) -> Result<usize, StoreError> {
        self.writer.with(|writer| {
            let starts = writer.older.iter().skip(1).chain(std::iter::once(&writer.segment.header.first));
            // As many as there are older ones: the segment in use stays, whatever is asked.
            let gone = starts.take(writer.older.len()).take_while(|next| **next <= round).count();
            if gone == 0 {
                return Ok(0);
            }
            // The oldest first: whatever a crash leaves is without gaps.
            for first in writer.older.drain(..gone) {
                writer.disk.remove(&writer.dir.join(segment_name(first)))?;
            }
            writer.disk.sync_dir(&writer.dir)?;
            Ok(gone)
        })
    }

    /// The end of the journal; `None` after a fatal error.
    pub fn tip(&self) -> Option<Tip> {
        self.writer.peek(|writer| writer.tip)
    }

    /// The epoch of this process: one more than that of the process before.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many bytes the segments take; `None` after a fatal error.
    pub fn segments(&self) -> Option<usize> {
        self.writer.peek(|writer| writer.older.len() + 1)
    }
}

impl Scan {
    /// Opens the journal for writing, in a new epoch.
    ///
    /// The last segment is copied into a new file, synced, and put in its place: what could be read may have been in
    /// the page cache only. An incomplete last record is dropped here.
    pub fn resume(self, options: Options) -> Result<Journal, StoreError> {
        let epoch = self.epoch + 1;
        let header = Header { epoch, ..self.last };
        let mut spare = Spare { disk: Arc::clone(&self.disk), path: self.dir.join(NEXT), ready: None };
        // What a crash has left of a spare segment may not be all zeros.
        self.disk.remove(&spare.path)?;
        spare.make(options.segment_bytes.max((HEADER + self.records.len()) as u64))?;
        let (file, length) = spare.ready.take().ok_or(StoreError::Poisoned)?;
        let segment = Segment::begin(&*self.disk, &self.dir, header, file, length, &self.records)?;
        let room = AtomicU64::new(segment.length - segment.at);
        let writer =
            Writer { disk: self.disk, dir: self.dir, older: self.older, segment, tip: self.tip, buffer: Vec::new() };
        Ok(Journal { writer: Guarded::new(writer), spare: Guarded::new(spare), room, epoch, options })
    }
}

impl Writer {
    fn write(&mut self, round: u64, payload: &[u8]) -> Result<[u8; 32], StoreError> {
        let length = u32::try_from(payload.len()).map_err(|_| {
            StoreError::NoSpace(DiskError::new(Op::Write, &self.segment.path, std::io::ErrorKind::FileTooLarge.into()))
        })?;
        self.buffer.clear();
        self.buffer.extend_from_slice(&self.segment.header.marker);
        self.buffer.extend_from_slice(&length.to_be_bytes());
        self.buffer.extend_from_slice(&round.to_be_bytes());
        self.buffer.extend_from_slice(&self.tip.hash);
        self.buffer.extend_from_slice(payload);
        let hash: [u8; 32] = Sha256::digest(&self.buffer[16..]).into();
        self.buffer.extend_from_slice(&hash);
        // From here on the outcome is unknown until the sync has returned, also when the disk says that it is full.
        let segment = &mut self.segment;
        segment.file.write_at(segment.at, &self.buffer).map_err(StoreError::Fatal)?;
        segment.file.sync_data().map_err(StoreError::Fatal)?;
        let theirs = segment.epoch_on_disk(&*self.disk).map_err(StoreError::Fatal)?;
        if theirs != segment.header.epoch {
            return Err(StoreError::Fenced { ours: segment.header.epoch, theirs });
        }
        segment.at += self.buffer.len() as u64;
        self.tip = Tip { next: round + 1, hash };
        Ok(hash)
    }
}

impl Segment {
    /// Gives a zero-filled, synced file its header and its name, durably.
    fn begin(
        disk: &dyn Disk,
        dir: &Path,
        header: Header,
        file: Box<dyn File>,
        length: u64,
        records: &[u8],
    ) -> Result<Segment, StoreError> {
        let path = dir.join(segment_name(header.first));
        let bytes = [&header.to_bytes()[..], records].concat();
        file.write_at(0, &bytes).map_err(StoreError::Fatal)?;
        file.sync_all()?;
        disk.rename(&dir.join(NEXT), &path).map_err(StoreError::Fatal)?;
        disk.sync_dir(dir)?;
        Ok(Segment { header, path, file, at: bytes.len() as u64, length })
    }

    /// The epoch in the file that has our name now. After a lost lock it may be somebody else's.
    fn epoch_on_disk(&self, disk: &dyn Disk) -> Result<u64, DiskError> {
        let mut bytes = [0; HEADER];
        let Some(file) = disk.open(&self.path)? else {
            return Ok(0);
        };
        file.read_at(0, &mut bytes)?;
        Ok(Header::parse(&bytes).map_or(0, |header| header.epoch))
    }
}

impl Spare {
    /// Makes sure that there is a zero-filled, synced file of at least that length.
    fn make(&mut self, length: u64) -> Result<(), StoreError> {
        if self.ready.as_ref().is_some_and(|(_, has)| *has >= length) {
            return Ok(());
        }
        self.ready = None;
        self.disk.remove(&self.path)?;
        match self.fill(length) {
            Ok(file) => {
                self.ready = Some((file, length));
                Ok(())
            }
            Err(e) if e.is_no_space() => {
                // Give back what was taken: readers and erasures need room as well.
                self.disk.remove(&self.path)?;
                Err(StoreError::NoSpace(e))
            }
            Err(e) => Err(StoreError::Fatal(e)),
        }
    }

    fn fill(&self, length: u64) -> Result<Box<dyn File>, DiskError> {
        let file = self.disk.create(&self.path)?;
        file.preallocate(length)?;
        file.sync_all()?;
        Ok(file)
    }
}

/// A record, as it stands at the beginning of some bytes.
struct Record<'a> {
    round: u64,
    previous: [u8; 32],
    payload: &'a [u8],
    hash: [u8; 32],
}

impl<'a> Record<'a> {
    fn parse(marker: &[u8; 16], bytes: &'a [u8]) -> Option<Record<'a>> {
        let framed = bytes.strip_prefix(marker)?;
        let (length, rest) = framed.split_first_chunk::<4>()?;
        let (round, rest) = rest.split_first_chunk::<8>()?;
        let (previous, rest) = rest.split_first_chunk::<32>()?;
        let (payload, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        let hash = *rest.first_chunk::<32>()?;
        let hashed = framed.get(..4 + 8 + 32 + payload.len())?;
        if <[u8; 32]>::from(Sha256::digest(hashed)) != hash {
            return None;
        }
        Some(Record { round: u64::from_be_bytes(*round), previous: *previous, payload, hash })
    }
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..16].copy_from_slice(MAGIC);
        bytes[16..32].copy_from_slice(&self.marker);
        bytes[32..40].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[40..48].copy_from_slice(&self.first.to_be_bytes());
        bytes[48..80].copy_from_slice(&self.previous);
        let hash: [u8; 32] = Sha256::digest(&bytes[..80]).into();
        bytes[80..].copy_from_slice(&hash);
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Header> {
        let (hashed, rest) = bytes.split_first_chunk::<80>()?;
        if <[u8; 32]>::from(Sha256::digest(hashed)) != *rest.first_chunk::<32>()? {
            return None;
        }
        let (marker, rest) = hashed.strip_prefix(MAGIC)?.split_first_chunk::<16>()?;
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (first, previous) = rest.split_first_chunk::<8>()?;
        Some(Header {
            marker: *marker,
            epoch: u64::from_be_bytes(*epoch),
            first: u64::from_be_bytes(*first),
            previous: previous.try_into().ok()?,
        })
    }
}

fn segment_name(first: u64) -> String {
    format!("{first:020}.seg")
}

/// The first rounds of the segments in a folder, in order. Other names are nobody's.
fn segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, StoreError> {
    let names = disk.list(dir)?;
    let firsts = names.iter().filter_map(|name| {
        let digits = name.strip_suffix(".seg").filter(|d| d.len() == 20 && d.bytes().all(|b| b.is_ascii_digit()))?;
        digits.parse().ok()
    });
    Ok(firsts.collect())
}

fn marker() -> Result<[u8; 16], StoreError> {
    let mut marker = [0; 16];
    getrandom::fill(&mut marker).map_err(|e| {
        let source = std::io::Error::other(e.to_string());
        StoreError::Fatal(DiskError::new(Op::Read, Path::new("/dev/urandom"), source))
    })?;
    Ok(marker)
}

#[cfg(test)]
mod tests;
