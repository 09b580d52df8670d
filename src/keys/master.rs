//! A master secret as a line of text.
//!
//! ```text
//! SOLELOG+MASTER+<epoch>+<id, 8 hex digits>+<base64 of 32 bytes>
//! ```
//! It is the one key that cannot be made again: with it go the shares of everybody who enrolled under it. The line
//! carries its epoch and an id that is derived from the secret, so that a damaged or renamed file is noticed before
//! anybody is enrolled under it.

use base64ct::{Base64, Encoding as _};
use threshold::MasterSecret;
use zeroize::Zeroizing;

const MARK: &str = "SOLELOG+MASTER";

/// Makes the master secret of an epoch.
pub fn new_master(epoch: u32) -> Result<Zeroizing<String>, getrandom::Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice())?;
    Ok(to_text(epoch, &bytes))
}

/// How a master secret is spoken of, without saying anything about it.
pub fn master_id(master: &MasterSecret, epoch: u32) -> String {
    hex::encode(&master.derive("solelog/master-id/v1", &epoch.to_be_bytes())[..4])
}

/// Reads the line. What is wrong with it is said without quoting it.
pub fn parse(text: &str, epoch: u32) -> Result<MasterSecret, &'static str> {
    let parts = text.trim_end_matches('\n').strip_prefix(MARK).and_then(|rest| rest.strip_prefix('+'));
    // The base64 may have plus signs of its own: it is the rest.
    let mut parts = parts.ok_or("it does not begin with SOLELOG+MASTER+")?.splitn(3, '+');
    let (Some(number), Some(id), Some(secret)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("it has too few parts");
    };
    if number != epoch.to_string() {
        return Err("it is of another epoch than its name says");
    }
    let mut bytes = Zeroizing::new([0; 32]);
    match Base64::decode(secret, bytes.as_mut_slice()) {
        Ok(decoded) if decoded.len() == 32 => {}
        _ => return Err("its secret is not 32 bytes in base64"),
    }
    let master = MasterSecret::from_bytes(*bytes);
    if id != master_id(&master, epoch) {
        return Err("it is damaged: the secret does not give its id");
    }
    Ok(master)
}

fn to_text(epoch: u32, bytes: &[u8; 32]) -> Zeroizing<String> {
    let id = master_id(&MasterSecret::from_bytes(*bytes), epoch);
    let secret = Zeroizing::new(Base64::encode_string(bytes));
    Zeroizing::new(format!("{MARK}+{epoch}+{id}+{}", *secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_or_renamed_master_secret_is_refused() {
        let text = to_text(0, &[7; 32]);
        assert!(parse(&text, 0).is_ok());
        assert!(parse(&format!("{}\n", *text), 0).is_ok());
        for (text, epoch, expected) in [
            (text.to_string(), 1, "another epoch"),
            (text.replace("MASTER+0", "MASTER+00"), 0, "another epoch"),
            (text.replacen("+Bwc", "+Cwc", 1), 0, "damaged"),
            (text.replace("=", ""), 0, "not 32 bytes"),
            (format!("{}AAAA", *text), 0, "not 32 bytes"),
            ("SOLELOG+MASTER+0+".to_owned(), 0, "too few parts"),
            ("PRIVATE+KEY+x".to_owned(), 0, "does not begin"),
            (String::new(), 0, "does not begin"),
        ] {
            let fault = parse(&text, epoch).err().unwrap_or("taken");
            assert!(fault.contains(expected), "{text}: {fault}");
        }
    }
}
