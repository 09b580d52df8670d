//! Turns: one attempt of a credential at a time.
//!
//! Attempts are counted one after the other, each with its verdict before the next begins: a hundred guesses at once get
//! no further than a hundred in a row. Records of one credential follow each other anyway, each naming the one before.

use scal3::Hash;
use tokio::sync::{Mutex, MutexGuard};

/// How many credentials can have a turn at once, at most. Two that share a place wait for each other, and nothing else.
const PLACES: usize = 1024;

/// All turns.
pub struct Turns {
    places: Vec<Mutex<()>>,
}

impl Default for Turns {
    /// It is nobody's turn.
    fn default() -> Turns {
        Turns { places: (0..PLACES).map(|_| Mutex::default()).collect() }
    }
}

impl Turns {
    /// Waits for the turn of a credential (or of whatever else has this name), in the order of arrival, and holds it.
    pub async fn of(&self, credential: &Hash) -> MutexGuard<'_, ()> {
        let Hash([.., high, low]) = credential;
        let place = usize::from(u16::from_be_bytes([*high, *low])) % PLACES;
        self.places[place].lock().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_credential_waits_for_itself_and_not_for_others() {
        let turns = Turns::default();
        let (one, other) = (Hash([1; 32]), Hash([2; 32]));
        let held = turns.of(&one).await;
        let soon = Duration::from_secs(1);
        assert!(tokio::time::timeout(soon, turns.of(&one)).await.is_err());
        assert!(tokio::time::timeout(soon, turns.of(&other)).await.is_ok());
        drop(held);
        assert!(tokio::time::timeout(soon, turns.of(&one)).await.is_ok());
    }
}
