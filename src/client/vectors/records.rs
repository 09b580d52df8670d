//! SCAL3: transcripts of the published implementation, and records in the textbook form.

use super::{
    Case, Judged, Miss, Source,
    case::{accepted, same},
};
use scal3::transcript::{self, Transcript};

pub(super) fn run(source: &Source<'_>, judge: &mut dyn FnMut(&str, Judged)) {
    match source.stem {
        "transcripts" => {
            for case in source.cases("valid") {
                judge(&case.name(), verdict(&case).and_then(|ours| same(ours, "verified".into())));
            }
            for case in source.cases("altered") {
                judge(&case.name(), verdict(&case).and_then(|ours| same(ours, case.str("strict")?.into())));
            }
        }
        "ecsdsa-records" => {
            for (number, case) in source.cases("samples").enumerate() {
                judge(&format!("sample {number}"), textbook(&case));
            }
        }
        _ => super::unknown(source, judge),
    }
}

/// Our verdict, in the words of the file's `strict` column.
fn verdict(case: &Case<'_>) -> Result<String, Miss> {
    let [verifier, device, digest, authenticator, proof, client] = [
        case.hex("verifier")?,
        case.hex("device")?,
        case.hex("hash")?,
        case.hex("authenticator")?,
        case.hex("proof")?,
        case.hex("client")?,
    ];
    let ours = transcript::verify(&Transcript {
        verifier: &verifier,
        device: &device,
        digest: &digest,
        authenticator: &authenticator,
        proof: &proof,
        client: &client,
    });
    Ok(ours.map_or_else(|failed| format!("rejected: {failed}"), |()| "verified".into()))
}

fn textbook(case: &Case<'_>) -> Judged {
    accepted(transcript::verify_textbook(&case.hex("joint_vk")?, &case.hex("device_vk")?, &case.hex("record")?), true)
}
