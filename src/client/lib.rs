//! The subscriber's library: enrol a device, authorise with it, keep what proves it, and see what was done in one's name.
//!
//! ```no_run
//! use client::device::{Seal, SoftDevice};
//! use client::{Folder, Patience, Pin, Profile, Provider, Subscriber, Trust, Value, instruction};
//!
//! # async fn example(trust: Trust, invitation: client::wire::Invitation) -> Result<(), Box<dyn std::error::Error>> {
//! let folder = Folder::open("/home/anna/.solelog")?;
//! let device = SoftDevice::create(folder.path(), Seal::Passphrase("nine lives of one cat"))?;
//! let provider = Provider::new("https://log.example", Patience::default())?;
//! let mut anna = Subscriber::open(device, folder, provider, trust)?;
//! let pin = Pin::new("12345");
//! anna.enrol(&invitation, Profile::EcSdsa, &pin).await?;
//!
//! let payment = instruction("payment", &[("amount", Value::Uint(1250)), ("currency", Value::Text("EUR".into()))])?;
//! let done = anna.authorise(&payment, &pin).await?;
//! println!("entry {}, with a receipt that holds", done.index);
//!
//! let watch = anna.watch().await?;
//! println!("{} entries about me, {} that do not fit", watch.entries.len(), watch.findings.len());
//! # Ok(())
//! # }
//! ```
//!
//! The device checks everything that the server says (I-11), and never has to be told twice: after a crash, or an answer
//! that got lost, the same call finds out from the log what became of it.
//!
//! | file | its one job |
//! |---|---|
//! | `subscriber.rs` | device, memory, trust and provider together; every error |
//! | `enrol.rs`, `authorise.rs`, `change_pin.rs`, `stop.rs`, `watch.rs`, `receipts.rs`, `head.rs` | what a subscriber does |
//! | `device.rs` | the device's two keys, and a device made of files |
//! | `folder.rs`, `state.rs` | where a device keeps what it must not forget, and what that is |
//! | `provider.rs`, `wire.rs` | the provider's server, typed |
//! | `receipt.rs` | what a user keeps: the file format |
//! | `verify.rs` | whether a receipt holds: offline, from a trust file alone |
//! | `succession.rs` | whether a credential that follows another may act, by receipts beside the one that is verified |
//! | `trail.rs`, `export.rs`, `audit.rs` | a list of what the log has, with what proves it, in a folder: of one person, or for an auditor |
//! | `moment.rs` | moments in UTC |
//! | `vectors/` | every public test vector, through our code |
//! | `base64.rs` | byte strings in JSON |
//! | `main.rs`, `cli/` | the command `sole` |

pub mod audit;
pub mod authorise;
pub mod base64;
mod change_pin;
pub mod device;
mod enrol;
pub mod export;
pub mod folder;
pub mod head;
pub mod moment;
pub mod provider;
pub mod receipt;
pub mod receipts;
mod state;
pub mod stop;
pub mod subscriber;
mod succession;
pub mod trail;
pub mod vectors;
pub mod verify;
pub mod watch;
pub mod wire;

pub use authorise::Authorised;
pub use folder::{Folder, Memory};
pub use provider::{Patience, Provider};
pub use scal3::instruction::Value;
pub use scal3::{Document, Profile};
pub use subscriber::{Error, Lie, Subscriber, Trust, instruction};
pub use threshold::Pin;
