//! What only a person can answer: a PIN, a passphrase, and whether to sign.
//!
//! Secrets are read without echo, and never from an argument. What is not there is not guessed: without a terminal, and
//! without a file or variable that has the answer, nothing is done.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use client::Pin;
use client::device::MIN_PASSPHRASE;
use zeroize::Zeroizing;

use super::failure::Failure;

/// The fewest characters of a PIN: with five attempts, fewer would be a lottery.
const MIN_PIN: usize = 4;

/// The longest file with a secret in it, in bytes.
const MAX_SECRET: u64 = 1024;

/// How a command that signs gets the person's consent.
#[derive(Args)]
pub struct Consent {
    /// Do not ask before signing: for scripts.
    #[arg(long)]
    yes: bool,
}

impl Consent {
    /// Whether there is anybody to ask, or nobody needs to be: before anything else is done.
    pub fn possible(&self) -> Result<(), Failure> {
        if self.yes || std::io::stdin().is_terminal() {
            return Ok(());
        }
        Err(Failure::usage("there is no terminal to ask on, so nothing is signed")
            .next("run it on a terminal, or give --yes where a script has been told what it signs"))
    }

    /// Asks. Whatever is not yes is no.
    pub fn ask(&self, question: &str) -> Result<(), Failure> {
        self.possible()?;
        if self.yes {
            return Ok(());
        }
        let mut err = std::io::stderr().lock();
        let mut answer = String::new();
        write!(err, "{question} [y/N] ")
            .and_then(|()| err.flush())
            .and_then(|()| std::io::stdin().lock().take(MAX_SECRET).read_line(&mut answer).map(drop))
            .map_err(|error| Failure::files(format!("cannot ask: {error}")))?;
        if matches!(answer.trim().to_lowercase().as_str(), "y" | "yes") { Ok(()) } else { Err(Failure::declined()) }
    }
}

/// Where the PIN comes from.
#[derive(Args)]
pub struct PinFrom {
    /// Read the PIN from a file instead of asking; or set SOLE_PIN. For scripts and tests.
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
}

impl PinFrom {
    /// The PIN in force.
    pub fn current(&self) -> Result<Pin, Failure> {
        match given(self.pin_file.as_deref(), "SOLE_PIN")? {
            Some(pin) => Ok(Pin::new(&pin)),
            None => Ok(Pin::new(&prompt("PIN: ", "the PIN", "--pin-file FILE or SOLE_PIN")?)),
        }
    }

    /// A PIN that is chosen now.
    pub fn chosen(&self) -> Result<Pin, Failure> {
        chosen(self.pin_file.as_deref(), "SOLE_PIN", "--pin-file FILE or SOLE_PIN")
    }
}

/// Chooses a PIN: asked twice, because nobody can look it up.
pub fn chosen(file: Option<&Path>, variable: &str, else_give: &str) -> Result<Pin, Failure> {
    let pin = match given(file, variable)? {
        Some(pin) => pin,
        None => {
            let pin = prompt("New PIN: ", "a new PIN", else_give)?;
            if *prompt("The same again: ", "a new PIN", else_give)? != *pin {
                return Err(Failure::usage("the two are not the same; nothing was done"));
            }
            pin
        }
    };
    if pin.chars().count() < MIN_PIN {
        return Err(Failure::usage(format!("a PIN has at least {MIN_PIN} characters")));
    }
    Ok(Pin::new(&pin))
}

/// Where the passphrase that seals the device's keys comes from.
#[derive(Args)]
pub struct PassphraseFrom {
    /// Read the passphrase that seals the device's keys from a file; or set SOLE_PASSPHRASE.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl PassphraseFrom {
    /// The passphrase of a device that has one.
    pub fn current(&self) -> Result<Zeroizing<String>, Failure> {
        match given(self.passphrase_file.as_deref(), "SOLE_PASSPHRASE")? {
            Some(phrase) => Ok(phrase),
            None => {
                prompt("Passphrase of this device: ", "the passphrase", "--passphrase-file FILE or SOLE_PASSPHRASE")
            }
        }
    }

    /// A passphrase for a new device, or none: then its keys are as safe as the folder.
    pub fn chosen(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        if let Some(phrase) = given(self.passphrase_file.as_deref(), "SOLE_PASSPHRASE")? {
            return Ok(Some(phrase));
        }
        if !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let wants = format!(
            "Passphrase to seal this device's keys with (at least {MIN_PASSPHRASE} characters; nothing: no passphrase): "
        );
        let phrase = prompt(&wants, "a passphrase", "--passphrase-file FILE")?;
        if phrase.is_empty() {
            return Ok(None);
        }
        if *prompt("The same again: ", "a passphrase", "--passphrase-file FILE")? != *phrase {
            return Err(Failure::usage("the two are not the same; nothing was done"));
        }
        Ok(Some(phrase))
    }
}

/// The secret in a file or in a variable, without the end of its line.
fn given(file: Option<&Path>, variable: &str) -> Result<Option<Zeroizing<String>>, Failure> {
    if let Some(path) = file {
        let fault = |error: &dyn std::fmt::Display| Failure::files(format!("cannot read {}: {error}", path.display()));
        // Taken at its full length from the start, so that no copy stays behind when it grows.
        let mut text = Zeroizing::new(String::with_capacity(MAX_SECRET as usize + 1));
        let file = std::fs::File::open(path).map_err(|error| fault(&error))?;
        file.take(MAX_SECRET).read_to_string(&mut text).map_err(|error| fault(&error))?;
        return Ok(Some(one_line(text)));
    }
    match std::env::var(variable) {
        Ok(text) => Ok(Some(one_line(Zeroizing::new(text)))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Failure::usage(format!("{variable} is not UTF-8"))),
    }
}

fn one_line(mut text: Zeroizing<String>) -> Zeroizing<String> {
    let length = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(length);
    text
}

/// Asks on the terminal, without echo.
fn prompt(question: &str, what: &str, else_give: &str) -> Result<Zeroizing<String>, Failure> {
    rpassword::prompt_password(question).map(Zeroizing::new).map_err(|error| {
        Failure::usage(format!("there is no terminal to ask for {what} on: {error}"))
            .next(format!("run it on a terminal; a script gives {else_give}"))
    })
}
