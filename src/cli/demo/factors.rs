//! One factor without the other, answers of yesterday, a stolen phone, a stopped credential: refused, each for its reason.

use std::fs;
use std::time::Duration;

use client::device::{DeviceError, DeviceKey, PinPrf, Seal, SoftDevice};
use client::provider::{Problem, ProblemKind};
use client::{Authorised, Folder, Pin, Profile, Subscriber};
use threshold::Mask;

use super::eve::{Eve, Mischief};
use super::people::{ANNAS_PIN, BRAMS_PIN, payment};
use super::{Error, Stage, Told};
use crate::cli::stage::{Person, expect, provider_at};

/// How long a challenge is open behind the hurried door, and how long Eve holds its answer back.
const HURRIED_MS: u64 = 1_500;
const HELD: Duration = Duration::from_millis(HURRIED_MS + 100);

/// The server's refusal, which must be of that kind.
fn refusal(done: Result<Authorised, client::Error>, kind: &ProblemKind) -> Result<Problem, Error> {
    match done {
        Err(client::Error::Refused(problem)) if problem.kind == *kind => Ok(*problem),
        Err(other) => Err(format!("refused for another reason than {}: {other}", kind.slug()).into()),
        Ok(done) => Err(format!("not refused: entry {}", done.index).into()),
    }
}

/// How many attempts a wrong PIN left.
fn left(done: Result<Authorised, client::Error>) -> Result<u64, Error> {
    match done {
        Err(client::Error::WrongPin { attempts_left: Some(left) }) => Ok(left),
        Err(other) => Err(format!("refused for another reason than the PIN: {other}").into()),
        Ok(done) => Err(format!("a wrong PIN authorised entry {}", done.index).into()),
    }
}

fn blocked(done: Result<Authorised, client::Error>) -> Result<String, Error> {
    let problem = refusal(done, &ProblemKind::Blocked)?;
    let index = problem.index.ok_or("no entry says that it was blocked")?;
    Ok(format!("{}; entry {index} says so", problem.detail.unwrap_or(problem.title)))
}

/// Somebody who says to be a device and has not got its key.
struct Impostor {
    says: [u8; 33],
    is: SoftDevice,
}

impl DeviceKey for Impostor {
    fn public(&self) -> [u8; 33] {
        self.says
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, DeviceError> {
        self.is.sign(message)
    }
}

impl PinPrf for Impostor {
    fn mask(&self, pin: &Pin) -> Result<Mask, DeviceError> {
        self.is.mask(pin)
    }
}

/// Copies all that Anna's phone remembers, but not its keys, and talks to the provider at that address.
fn impostor(stage: &Stage, anna: &Person, url: &str) -> Result<Subscriber<Impostor>, Error> {
    let folder = Folder::open(stage.home("impostor"))?;
    for file in fs::read_dir(stage.home("anna"))? {
        let file = file?.path();
        if let (Some(name), Some("json")) = (file.file_name(), file.extension().and_then(|e| e.to_str())) {
            fs::copy(&file, folder.path().join(name))?;
        }
    }
    let is = match SoftDevice::exists(folder.path()) {
        true => SoftDevice::open(folder.path(), Seal::KeyFile)?,
        false => SoftDevice::create(folder.path(), Seal::KeyFile)?,
    };
    let device = Impostor { says: anna.device().public(), is };
    Ok(Subscriber::open(device, folder, provider_at(url)?, stage.trust()?)?)
}

pub async fn one_without_the_other(stage: &Stage, mut anna: Person, told: &mut Told) -> Result<Person, Error> {
    told.chapter("Now the cheating. One factor without the other");
    let (id, pin) = (anna.credential().ok_or("no credential")?, Pin::new(ANNAS_PIN));
    let attempts = left(anna.authorise(&payment(3)?, &Pin::new("00000")).await)?;
    told.refused("Anna's phone and a wrong PIN", format_args!("wrong, {attempts} attempts left; counted in the log"));
    anna.authorise(&payment(3)?, &pin).await?;

    let size = stage.published().await?.size;
    let other = ProblemKind::NotTheDevice;
    let problem = refusal(impostor(stage, &anna, &stage.url)?.authorise(&payment(4)?, &pin).await, &other)?;
    told.refused("Anna's PIN and another phone", format_args!("no challenge: {}", problem.title));
    let helpdesk = Some(stage.tokens.authorise.clone());
    let eve = Eve::before(&stage.url, Mischief { helpdesk, ..Mischief::default() }).await?;
    let done = impostor(stage, &anna, &eve.url)?.authorise(&payment(4)?, &pin).await;
    let problem = refusal(done, &ProblemKind::PassRefused)?;
    told.refused("the same, with a challenge from the help desk", problem.detail.unwrap_or(problem.title));
    let (failed, now) = (stage.failed_attempts(&id).await?, stage.published().await?.size);
    if failed != 0 || now != size {
        return Err(format!("a stranger cost Anna {failed} attempts, and the log {size} to {now} entries").into());
    }
    told.step("no attempt", "was counted, and nothing logged: a stranger can't lock Anna out");
    Ok(anna)
}

pub async fn old_answers(stage: &mut Stage, anna: Person, told: &mut Told) -> Result<Person, Error> {
    told.chapter("An answer of yesterday. Eve is on the wire, and keeps what passes");
    let pin = Pin::new(ANNAS_PIN);
    // One process at a time has a device's files.
    drop(anna);
    let eve = Eve::before(&stage.url, Mischief::default()).await?;
    let mut anna = stage.person("anna", &eve.url)?;
    let done = anna.authorise(&payment(5)?, &pin).await?;
    let problem = expect(eve.replay().await?, 409).await?;
    if !problem["type"].as_str().is_some_and(|kind| kind.ends_with("challenge-spent")) {
        return Err(format!("a replay was refused for another reason: {problem}").into());
    }
    let title = problem["title"].as_str().unwrap_or("");
    told.refused(&format!("Anna's answer for entry {}, sent again", done.index), title);
    drop(anna);

    let hurried = stage.hurried(HURRIED_MS).await?;
    let eve = Eve::before(&hurried, Mischief { hold: HELD, ..Mischief::default() }).await?;
    let mut anna = stage.person("anna", &eve.url)?;
    let problem = refusal(anna.authorise(&payment(6)?, &pin).await, &ProblemKind::ChallengeExpired)?;
    told.refused(&format!("an answer held back for {} ms", HELD.as_millis()), problem.title);
    drop(anna);

    let mut anna = stage.person("anna", &stage.url)?;
    let done = anna.authorise(&payment(6)?, &pin).await?;
    told.step("authorised", format_args!("entry {}: Anna asks again, and answers in time", done.index));
    Ok(anna)
}

pub async fn stolen(stage: &Stage, mut phone: Person, told: &mut Told) -> Result<(), Error> {
    told.chapter("Bram's phone is stolen. The thief has the device, and guesses");
    let id = phone.credential().ok_or("no credential")?;
    let mut counts = Vec::new();
    for guess in ["00000", "11111", "12345", "54321", "99999"] {
        counts.push(left(phone.authorise(&payment(90_000)?, &Pin::new(guess)).await)?.to_string());
    }
    told.refused("five PINs", format_args!("{} attempts left: suspended", counts.join(", ")));
    let why = blocked(phone.authorise(&payment(90_000)?, &Pin::new(BRAMS_PIN)).await)?;
    told.refused("now the right PIN", why);

    let mut bram = stage.person("bram-new-phone", &stage.url)?;
    let invitation = stage.invite(Some(id), true).await?;
    let pin = Pin::new("86420");
    let early = bram.enrol_after(Some(id), &invitation, Profile::Transcript, &pin).await;
    told.refused("Bram's new phone, for which nobody spoke", blocked(early)?);
    let new = bram.credential().ok_or("no credential")?;
    let spoke = stage.manage(&new, "recover", "came to the desk with a passport").await?;
    let revoked = stage.manage(&id, "revoke", "the phone was stolen").await?;
    let activated = bram.enrol_after(Some(id), &invitation, Profile::Transcript, &pin).await?;
    told.step(
        "recovered",
        format_args!(
            "entry {spoke}: the provider spoke for it, with a reason; {revoked}: the old one is revoked; {}: active",
            activated.index
        ),
    );
    Ok(())
}

pub async fn stopped(stage: &Stage, mut anna: Person, told: &mut Told) -> Result<Person, Error> {
    told.chapter("Anna fears for her phone, and stops her credential. That needs no PIN");
    let (id, pin) = (anna.credential().ok_or("no credential")?, Pin::new(ANNAS_PIN));
    let stopped = anna.suspend("did I leave it on the train?").await?;
    told.step("suspended", format_args!("entry {}, by Anna's phone", stopped.index));
    told.refused("phone and PIN, while suspended", blocked(anna.authorise(&payment(7)?, &pin).await)?);
    let resumed = stage.manage(&id, "resume", "found, says Anna at the desk").await?;
    let done = anna.authorise(&payment(7)?, &pin).await?;
    told.step(
        "resumed",
        format_args!("entry {resumed}, by the provider, with a reason; entry {}: Anna acts again", done.index),
    );
    Ok(anna)
}
