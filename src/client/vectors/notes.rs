//! Signed notes, checkpoints, cosignatures, policies, proof files, and the witness's decision.

use super::{
    Case, Judged, Miss, Source,
    case::{accepted, same, unhex},
};
use std::collections::BTreeSet;
use tlog::{
    Hash, LeafHash, TreeHead,
    checkpoint::{Checkpoint, Origin},
    cosignature::{self, Cosigner, Seconds},
    key::{KeyName, Kind, Signer, Vkey},
    note::{Note, OpenError, SignatureLine},
    policy::Policy,
    proof_file::ProofFile,
    text::from_base64,
    witness::{AddCheckpoint, Known, Refusal, decide, parse_signatures, write_signatures},
};

pub(super) fn run(source: &Source<'_>, judge: &mut dyn FnMut(&str, Judged)) {
    match source.stem {
        "vkeys" => source.each(judge, vkey),
        "open" => source.each(judge, open),
        "sign" => source.each(judge, sign),
        "checkpoint_sigcount" => source.each(judge, sigcount),
        "body_parse" => source.each(judge, body),
        "origin_hash" => source.each(judge, origin_hash),
        "signed" => source.each(judge, signed),
        "cosignature" => source.each(judge, cosignature),
        "tlog_policy" => source.each(judge, policy),
        "tlog_proof" => source.each(judge, proof_file),
        "parse" => source.each(judge, witness_syntax),
        "add_checkpoint" => source.each(judge, add_checkpoint),
        _ => super::unknown(source, judge),
    }
}

fn wrong(what: &str) -> impl Fn() -> Miss {
    let what = what.to_owned();
    move || Miss::Wrong(format!("refused: {what}"))
}

fn keys(case: &Case<'_>) -> Result<Vec<Vkey>, Miss> {
    case.list("vkeys")?
        .iter()
        .map(|key| key.as_str().and_then(|key| Vkey::parse(key).ok()).ok_or_else(wrong("a vkey")))
        .collect()
}

/// ECDSA and RFC 6962 signatures are passed over, as the specification has it for unknown types.
/// That we pass over them is checked; whether they are good we cannot say.
fn foreign(case: &Case<'_>, note: &Note, keys: &[Vkey]) -> Result<(), Miss> {
    let name = match case.u64("keyType") {
        Ok(2) => "ECDSA note keys",
        Ok(5) => "RFC 6962 note keys",
        _ => return Ok(()),
    };
    same(note.open(keys).err(), Some(OpenError::NoKnownKey))?;
    if matches!(case.str("want")?, "unverified" | "unknown-key") {
        return Ok(());
    }
    Err(Miss::Unknown(name.into()))
}

fn vkey(case: &Case<'_>) -> Judged {
    let text = case.str("vkey")?;
    let ours = Vkey::parse(text);
    if case.str("want")? != "ok" {
        return accepted(ours, false);
    }
    let ours = ours.map_err(|e| Miss::Wrong(format!("refused: {e}")))?;
    same(ours.to_string(), text.into())?;
    same(ours.name().as_str(), case.str("name")?)?;
    same(ours.id().to_string(), case.str("keyId")?.into())?;
    same(u64::from(ours.kind().byte()), case.u64("type")?)?;
    if case.has("publicKeyHex") { same(ours.public_key().to_vec(), case.hex("publicKeyHex")?) } else { Ok(()) }
}

fn note_bytes(case: &Case<'_>) -> Result<Vec<u8>, Miss> {
    if case.has("noteHex") { case.hex("noteHex") } else { Ok(case.str("note")?.as_bytes().to_vec()) }
}

fn open(case: &Case<'_>) -> Judged {
    let bytes = note_bytes(case)?;
    let want = case.str("want")?;
    let Ok(note) = Note::parse(&bytes) else {
        return if want.contains("malformed") { Ok(()) } else { Err(Miss::Wrong("refused as malformed".into())) };
    };
    let keys = keys(case)?;
    if matches!(case.u64("keyType"), Ok(2 | 5)) {
        return foreign(case, &note, &keys);
    }
    match note.open(&keys) {
        Ok(opened) => {
            same("ok", want)?;
            same(note.to_bytes(), bytes)?;
            same(note.text(), case.str("text")?)?;
            let ours: Vec<_> = opened.keys().iter().map(|k| (k.name().to_string(), k.id().to_string())).collect();
            let mut listed = Vec::new();
            for key in case.list("verified")? {
                listed.push((key.str("name")?.to_owned(), key.str("keyId")?.to_owned()));
            }
            same(ours, listed)
        }
        Err(OpenError::NoKnownKey) if want == "unverified-or-malformed" => Ok(()),
        Err(OpenError::NoKnownKey) => same("unverified", want),
        Err(OpenError::InvalidSignature { .. }) => same("invalid-signature", want),
    }
}

fn sign(case: &Case<'_>) -> Judged {
    let signer = Signer::parse(case.str("skey")?).map_err(|e| Miss::Wrong(format!("the key: {e}")))?;
    let text = case.str("text")?;
    let note = if case.has("existing") {
        let line = case.str("existing")?;
        let line = SignatureLine::parse(line.strip_suffix('\n').unwrap_or(line))
            .map_err(|e| Miss::Wrong(format!("the line: {e}")))?;
        Note::new(text, vec![line]).and_then(|note| note.with_signature(signer.sign(text)))
    } else {
        Note::sign(text, &signer)
    };
    if case.has("note") {
        same(note.map(|n| n.to_text()).ok(), Some(case.str("note")?.into()))
    } else {
        accepted(note, false)
    }
}

fn sigcount(case: &Case<'_>) -> Judged {
    let log = Vkey::parse(case.str("logVkey")?).map_err(|e| Miss::Wrong(format!("the key: {e}")))?;
    let mut keys = vec![log.clone()];
    for key in case.list("otherVkeys")? {
        keys.push(key.as_str().and_then(|key| Vkey::parse(key).ok()).ok_or_else(wrong("a vkey"))?);
    }
    let note = Note::parse(&note_bytes(case)?).map_err(|e| Miss::Wrong(format!("refused: {e}")))?;
    let opened = note.open(&keys).map_err(|e| Miss::Wrong(format!("refused: {e}")))?;
    same(opened.keys().len() as u64, case.u64("wantVerifiedSigs")?)?;
    // The texts of these cases have roots of six bytes, so only the origin line is compared.
    let good = opened.is_by(&log) && note.text().lines().next() == Some(case.str("expectedOrigin")?);
    same(!good, case.bool("wantErr")?)
}

fn body(case: &Case<'_>) -> Judged {
    let text = if case.has("bodyHex") {
        match String::from_utf8(case.hex("bodyHex")?) {
            Ok(text) => text,
            // A note that is not UTF-8 never becomes a text.
            Err(_) => return same("reject", case.str("c2sp")?),
        }
    } else {
        case.str("body")?.to_owned()
    };
    let ours = Checkpoint::parse_text(&text);
    if case.str("c2sp")? != "accept" {
        // What the specification leaves open (origins above 255 bytes) we refuse.
        return accepted(ours, false);
    }
    let ours = ours.map_err(|e| Miss::Wrong(format!("refused: {e}")))?;
    same(ours.to_text(), text)?;
    if case.has("size") {
        same(ours.head.size.get(), case.u64("size")?)?;
    }
    if case.has("origin") { same(ours.origin.as_str(), case.str("origin")?) } else { Ok(()) }
}

fn origin_hash(case: &Case<'_>) -> Judged {
    let origin = match case.str("rule")? {
        "sha256(origin)" => case.str("origin")?.to_owned(),
        "sha256(\"o:\"||origin)" => format!("o:{}", case.str("origin")?),
        other => return Err(Miss::Unknown(format!("the rule {other}"))),
    };
    let origin = Origin::new(&origin).map_err(|e| Miss::Wrong(format!("refused: {e}")))?;
    same(origin.hash().to_hex(), case.str("sha256Hex")?.into())
}

fn signed(case: &Case<'_>) -> Judged {
    let want = case.str("want")?;
    let bytes = note_bytes(case)?;
    let note = Note::parse(&bytes).ok();
    let Some((note, checkpoint)) = note.and_then(|n| Checkpoint::parse_text(n.text()).ok().map(|c| (n, c))) else {
        return same("malformed", want);
    };
    if want == "malformed" {
        return Err(Miss::Wrong("accepted, must be refused".into()));
    }
    same(note.to_bytes(), bytes)?;
    same(checkpoint.to_text(), note.text().into())?;
    same(checkpoint.origin.as_str(), case.str("origin")?)?;
    same(checkpoint.head.size.get(), case.u64("size")?)?;
    same(Some(checkpoint.head.root), Hash::from_base64(case.str("rootBase64")?))?;
    let keys = keys(case)?;
    if matches!(case.u64("keyType"), Ok(2 | 5)) {
        return foreign(case, &note, &keys);
    }
    match note.open(&keys) {
        Ok(opened) => {
            same("ok", want)?;
            let mut listed = BTreeSet::new();
            for line in case.list("verifiedLines")? {
                listed.insert(line.value().as_u64().ok_or_else(|| Miss::Unknown("`verifiedLines`".into()))?);
            }
            same(opened.verified.iter().map(|v| v.place as u64).collect(), listed)?;
            if case.has("cosignatureTimestamp") {
                let time = Some(seconds(case, "cosignatureTimestamp")?);
                return same(opened.verified.iter().any(|v| v.time == time), true);
            }
            Ok(())
        }
        Err(OpenError::NoKnownKey) => same("unknown-key", want),
        Err(OpenError::InvalidSignature { .. }) => same("invalid-signature", want),
    }
}

fn seconds(case: &Case<'_>, member: &str) -> Result<Seconds, Miss> {
    Seconds::new(case.u64(member)?).map_err(|e| Miss::Wrong(format!("the time: {e}")))
}

fn line(case: &Case<'_>) -> Result<SignatureLine, Miss> {
    let text = case.str("line")?;
    let line = SignatureLine::parse(text.strip_suffix('\n').unwrap_or(text))
        .map_err(|e| Miss::Wrong(format!("the line: {e}")))?;
    same(format!("{line}\n"), format!("{}\n", text.strip_suffix('\n').unwrap_or(text)))?;
    Ok(line)
}

fn cosignature(case: &Case<'_>) -> Judged {
    match case.str("kind")? {
        "message" => same(
            cosignature::message(case.str("checkpointText")?, seconds(case, "timestamp")?),
            case.str("message")?.into(),
        ),
        "parse-line" => {
            let line = line(case)?;
            same(line.name().as_str(), case.str("name")?)?;
            same(line.key_id().to_string(), case.str("keyId")?.into())?;
            let (time, signature) = cosignature::split(line.signature()).ok_or_else(wrong("the signature"))?;
            same(time, seconds(case, "timestamp")?)?;
            same(signature.to_vec(), case.hex("signatureHex")?)
        }
        "timestamp" => {
            let blob = from_base64(case.str("signatureBase64")?);
            let time =
                blob.as_deref().and_then(|blob| blob.get(4..)).and_then(cosignature::split).map(|(time, _)| time);
            let want = if case.has("wantErr") { None } else { Some(seconds(case, "timestamp")?) };
            same(time, want)
        }
        "verify" => {
            let key = [Vkey::parse(case.str("vkey")?).map_err(|e| Miss::Wrong(format!("the key: {e}")))?];
            let note = Note::new(case.str("checkpointText")?, vec![line(case)?])
                .map_err(|e| Miss::Wrong(format!("refused: {e}")))?;
            let opened = note.open(&key);
            match (opened, case.str("want")?) {
                (Ok(opened), "ok") => {
                    // Zero is no moment: an ML-DSA-44 signature at zero makes no statement about time.
                    let time = seconds(case, "timestamp")?;
                    let says = (time.get() != 0 || key[0].kind() != Kind::MlDsa44).then_some(time);
                    same(opened.verified.first().and_then(|v| v.time), says)
                }
                (Err(OpenError::NoKnownKey), "unknown-key")
                | (Err(OpenError::InvalidSignature { .. }), "invalid-signature") => Ok(()),
                (ours, want) => Err(Miss::Wrong(format!("ours {ours:?}, expected {want}"))),
            }
        }
        "sign" => {
            let name = KeyName::new(case.str("name")?).map_err(|e| Miss::Wrong(format!("the name: {e}")))?;
            let cosigner = Cosigner::new(name, &case.array("seedHex")?);
            if case.has("vkey") {
                same(cosigner.vkey().to_string(), case.str("vkey")?.into())?;
            }
            same(cosigner.cosign(case.str("checkpointText")?, seconds(case, "timestamp")?), line(case)?)
        }
        other => Err(Miss::Unknown(format!("the kind {other}"))),
    }
}

fn policy(case: &Case<'_>) -> Judged {
    let mut text = case.str("policy")?.to_owned();
    if case.has("keyFormat") {
        text = from_sigsum(&text);
    }
    if case.str("src").is_ok_and(|src| src.starts_with("transparency-dev/formats")) {
        // That library writes keys of type 0x01 for its witnesses and uses them as type 0x04.
        text = with_cosignature_keys(&text);
    }
    let ours = Policy::parse(text.as_bytes());
    match case.str("want")? {
        "accept" => {}
        // `accept-upstream`: a library accepts it, the specification does not, and neither do we.
        _ => return accepted(ours, false),
    }
    let ours = ours.map_err(|e| Miss::Wrong(format!("refused: {e}")))?;
    if !case.has("quorum") {
        return Ok(());
    }
    for row in case.list("quorum")? {
        let names = row.list("cosigned")?;
        let cosigned: BTreeSet<&str> = names.iter().filter_map(Case::as_str).collect();
        same(ours.quorum_met(&|name| cosigned.contains(name)), row.bool("satisfied")?)?;
    }
    Ok(())
}

/// Sigsum's dialect has bare hex keys where tlog-policy has vkeys.
fn from_sigsum(policy: &str) -> String {
    words(policy, |keyword, word| {
        let key: [u8; 32] = unhex(word)?.try_into().ok()?;
        let name = KeyName::new(&format!("{keyword}.example/{}", word.get(..4)?)).ok()?;
        Some(if keyword == "log" { Vkey::ed25519(name, key) } else { Vkey::cosignature_v1(name, key) }.to_string())
    })
}

fn with_cosignature_keys(policy: &str) -> String {
    words(policy, |keyword, word| {
        let vkey = Vkey::parse(word).ok().filter(|v| keyword == "witness" && v.kind() == Kind::Ed25519)?;
        Some(Vkey::cosignature_v1(vkey.name().clone(), vkey.public_key().try_into().ok()?).to_string())
    })
}

/// Rewrites words of a policy, keeping all white space.
fn words(policy: &str, rewrite: impl Fn(&str, &str) -> Option<String>) -> String {
    let mut out = String::with_capacity(policy.len());
    for line in policy.split_inclusive('\n') {
        let keyword = line.split_whitespace().next().unwrap_or("");
        for word in line.split_inclusive(char::is_whitespace) {
            let bare = word.trim_end_matches(char::is_whitespace);
            match rewrite(keyword, bare) {
                Some(new) => {
                    out.push_str(&new);
                    out.push_str(&word[bare.len()..]);
                }
                None => out.push_str(word),
            }
        }
    }
    out
}

fn proof_file(case: &Case<'_>) -> Judged {
    let text = case.str("proof")?;
    let ours = ProofFile::parse(text.as_bytes());
    match case.str("kind")? {
        "syntax" => accepted(ours, case.str("c2sp")? == "accept"),
        "verify" => {
            let ours = ours.map_err(|e| Miss::Wrong(format!("refused: {e}")))?;
            same(ours.to_bytes(), text.as_bytes().to_vec())?;
            let policy =
                Policy::parse(case.str("policy")?.as_bytes()).map_err(|e| Miss::Wrong(format!("the policy: {e}")))?;
            let entry = from_base64(case.str("entryBase64")?).ok_or_else(|| Miss::Unknown("`entryBase64`".into()))?;
            accepted(ours.verify(LeafHash::of(&entry), &policy), case.str("want")? == "ok")
        }
        other => Err(Miss::Unknown(format!("the kind {other}"))),
    }
}

fn witness_syntax(case: &Case<'_>) -> Judged {
    let body = case.str("body")?;
    let accept = case.str("c2sp")? == "accept";
    if case.str("kind").is_ok_and(|kind| kind == "response") {
        let ours = parse_signatures(body.as_bytes());
        if let (Ok(lines), true) = (&ours, accept) {
            same(write_signatures(lines), body.into())?;
        }
        return accepted(ours, accept);
    }
    let ours = AddCheckpoint::parse(body.as_bytes());
    if let (Ok(request), true) = (&ours, accept) {
        same(request.to_bytes(), body.as_bytes().to_vec())?;
        if case.has("oldSize") {
            same(request.old_size.get(), case.u64("oldSize")?)?;
        }
    }
    accepted(ours, accept)
}

/// A witness without disk, clock or key: what it knows, and what it would answer.
struct Witness(Vec<Known>);

impl Witness {
    fn of(case: &Case<'_>) -> Result<Witness, Miss> {
        let mut logs = Vec::new();
        for log in case.list("logs")? {
            let origin = Origin::new(log.str("origin")?).map_err(|e| Miss::Wrong(format!("the origin: {e}")))?;
            let keys = keys(&log)?;
            if keys.iter().any(|key| matches!(key.kind(), Kind::Unknown(_))) {
                return Err(Miss::Unknown("a log key of another type".into()));
            }
            logs.push(Known { origin, keys, head: TreeHead::EMPTY });
        }
        Ok(Witness(logs))
    }

    fn answer(&mut self, body: &str) -> (u16, Option<String>) {
        let request = match AddCheckpoint::parse(body.as_bytes()) {
            Ok(request) => request,
            Err(e) => return (e.status(), None),
        };
        let known =
            request.claimed_origin().ok().and_then(|origin| self.0.iter_mut().find(|known| known.origin == origin));
        match decide(known.as_deref(), &request) {
            Ok(cosign) => {
                if let Some(known) = known {
                    known.head = cosign.head();
                }
                (200, None)
            }
            Err(Refusal::Conflict { known }) => (409, Some(format!("{known}\n"))),
            Err(refusal) => (refusal.status(), None),
        }
    }
}

fn add_checkpoint(case: &Case<'_>) -> Judged {
    let mut witness = Witness::of(case)?;
    if case.str("kind").is_ok_and(|kind| kind == "race") {
        // Whichever of the two comes first wins, and the other must lose.
        let both = case.list("concurrent")?;
        let [a, b] = both.as_slice() else {
            return Err(Miss::Unknown("a race of other than two".into()));
        };
        for (first, second) in [(a, b), (b, a)] {
            let mut witness = Witness::of(case)?;
            same(witness.answer(case.at("setup")?.str("body")?).0, 200)?;
            same(witness.answer(first.str("body")?).0, 200)?;
            same(witness.answer(second.str("body")?).0, 409)?;
        }
        return Ok(());
    }
    for step in case.list("steps")? {
        let (status, size) = witness.answer(step.str("body")?);
        match step.u64("status") {
            Ok(listed) => same(u64::from(status), listed)?,
            // "400 or 422"
            Err(_) => same(step.str("status")?.contains(&status.to_string()), true)?,
        }
        if step.has("responseBody") {
            same(size.as_deref(), Some(step.str("responseBody")?))?;
        }
    }
    Ok(())
}
