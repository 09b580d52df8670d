//! Strangers: callers whose signatures do not verify. They cost nobody an attempt, and they are slowed down.
//!
//! Each credential, and each address that asks, may fail so many times in a window of a minute. Whoever fails more often is
//! told to come back later, and no more. What verifies is never held up by what somebody else did under the same
//! credential, or behind the same proxy: signatures are looked at first, and only failures are counted and refused.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use scal3::Hash;

/// How long a window is, milliseconds.
const WINDOW_MS: u64 = 60_000;

/// How many names one window remembers. Beyond them all further ones share one count.
const NAMES: usize = 65_536;

/// Who failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Name {
    /// Somebody who named this credential.
    Credential(Hash),
    /// Somebody who called from there. Of IPv6 the network counts, since one caller has all of it.
    Source(IpAddr),
    /// A device whose answers arrive damaged.
    Damaged(Hash),
    /// A device that asks for what is blocked.
    Blocked(Hash),
    /// Everybody who no longer fits.
    Others,
}

impl Name {
    /// An address, or the network that it is in.
    pub fn source(address: IpAddr) -> Name {
        match address {
            IpAddr::V4(_) => Name::Source(address),
            IpAddr::V6(v6) => {
                let mut octets = v6.octets();
                octets[8..].fill(0);
                Name::Source(IpAddr::from(octets))
            }
        }
    }
}

/// Too many failures. Try again after that many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests that do not verify; try again in {retry_after_s} s")]
pub struct TooMany {
    /// For the `Retry-After` header.
    pub retry_after_s: u64,
}

/// The failures of this window.
pub struct Strangers {
    allowed: u32,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    began_ms: u64,
    failures: HashMap<Name, u32>,
}

impl Strangers {
    /// Nobody has failed. `allowed` failures in a window are answered as what they are.
    pub fn new(allowed: u32) -> Strangers {
        Strangers { allowed, window: Mutex::default() }
    }

    /// Whether somebody has failed less often than is allowed.
    pub fn check(&self, name: Name, now_ms: u64) -> Result<(), TooMany> {
        self.with(now_ms, |window| {
            let count =
                window.failures.get(&name).or_else(|| window.full().then(|| window.failures.get(&Name::Others))?);
            if count.copied().unwrap_or(0) < self.allowed {
                return Ok(());
            }
            let left_ms = (window.began_ms + WINDOW_MS).saturating_sub(now_ms);
            Err(TooMany { retry_after_s: left_ms.div_ceil(1000).max(1) })
        })
    }

    /// Somebody's request did not verify. Says how often that was in this window, with this time.
    pub fn failed(&self, name: Name, now_ms: u64) -> u32 {
        self.with(now_ms, |window| {
            let name = if window.failures.contains_key(&name) || !window.full() { name } else { Name::Others };
            let count = window.failures.entry(name).or_default();
            *count = count.saturating_add(1);
            *count
        })
    }

    /// Counts a failure under each of these names, and says whether it was one too many under any of them.
    pub fn refuse(&self, names: &[Name], now_ms: u64) -> Result<(), TooMany> {
        let checked = names.iter().map(|name| self.check(*name, now_ms)).fold(Ok(()), Result::and);
        for name in names {
            self.failed(*name, now_ms);
        }
        checked
    }

    fn with<R>(&self, now_ms: u64, act: impl FnOnce(&mut Window) -> R) -> R {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was put back begins a window too.
        if now_ms < window.began_ms || now_ms - window.began_ms >= WINDOW_MS {
            *window = Window { began_ms: now_ms, failures: HashMap::new() };
        }
        act(&mut window)
    }
}

impl Window {
    fn full(&self) -> bool {
        self.failures.len() >= NAMES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_too_often_waits_for_the_next_window_and_others_do_not() {
        let strangers = Strangers::new(3);
        let (one, other) = (Name::Credential(Hash([1; 32])), Name::Credential(Hash([2; 32])));
        for _ in 0..3 {
            assert_eq!(strangers.check(one, 1_000_000), Ok(()));
            strangers.failed(one, 1_000_000);
        }
        assert_eq!(strangers.check(one, 1_030_000), Err(TooMany { retry_after_s: 30 }));
        assert_eq!(strangers.check(other, 1_030_000), Ok(()));
        assert_eq!(strangers.check(one, 1_060_000), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        let of = |text: &str| Name::source(text.parse().expect("an address"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn names_are_bounded() {
        let strangers = Strangers::new(1);
        for n in 0..=NAMES as u32 {
            strangers.failed(Name::Source(IpAddr::from(n.to_be_bytes())), 1);
        }
        let window = strangers.window.lock().expect("no panic");
        assert_eq!(window.failures.len(), NAMES + 1);
        drop(window);
        let late = Name::Source(IpAddr::from([255; 4]));
        assert!(strangers.check(late, 1).is_err(), "all that no longer fit share one count");
    }
}
