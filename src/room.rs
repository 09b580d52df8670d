//! Room: how many bytes of requests may be in memory.
//!
//! ```text
//! body ── takes its bytes (64 MiB in all) ──► read ──► verified ──► sequenced ──► answered ── gives them back
//! ```
//!
//! A request takes its bytes before it reads them from the network, and gives them back when it is answered. When there
//! are none left it is told to come back later: memory stays bounded, whoever calls (I-9).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a caller is asked to wait when there is no room.
pub const RETRY_AFTER_S: u64 = 1;

/// The room there is.
#[derive(Clone, Debug)]
pub struct Room {
    bytes: Arc<Semaphore>,
    capacity: usize,
}

/// Bytes of the room, held by one request.
#[derive(Debug)]
pub struct Held {
    room: Room,
    permit: Option<OwnedSemaphorePermit>,
}

/// The room is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

impl Room {
    /// Room for so many bytes.
    pub fn new(bytes: usize) -> Room {
        Room { bytes: Arc::new(Semaphore::new(bytes)), capacity: bytes }
    }

    /// A place for one request; it holds no bytes yet.
    pub fn enter(&self) -> Held {
        Held { room: self.clone(), permit: None }
    }

    /// How many bytes are held, and how many could be.
    pub fn load(&self) -> (usize, usize) {
        (self.capacity - self.bytes.available_permits(), self.capacity)
    }
}

impl Held {
    /// Takes that many more bytes, or none.
    pub fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let bytes = u32::try_from(bytes).map_err(|_| NoRoom)?;
        let more = Arc::clone(&self.room.bytes).try_acquire_many_owned(bytes).map_err(|_| NoRoom)?;
        match &mut self.permit {
            Some(permit) => permit.merge(more),
            None => self.permit = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_bounded_and_come_back() {
        let room = Room::new(100);
        let mut one = room.enter();
        one.grow(60).expect("room");
        one.grow(30).expect("room");
        let mut two = room.enter();
        assert_eq!(two.grow(11), Err(NoRoom));
        assert_eq!(room.load(), (90, 100));
        drop(one);
        two.grow(100).expect("all came back");
    }
}
