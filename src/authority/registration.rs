//! Registration: an authenticator that a browser reaches becomes one that this provider knows.
//! <https://www.w3.org/TR/webauthn-3/#sctn-registering-a-new-credential>
//!
//! ```text
//! browser ◄── options: challenge, user, algorithms, what must be shown of the device
//!    └── navigator.credentials.create() ──► answer ──► webauthn-rs ──► rules of the provider ──► Registered
//! ```
//! The ceremony is judged by webauthn-rs, which knows every form of attestation. Nothing is remembered between its two
//! halves: the challenge is a hash of what the device has to show again (its ticket), so it is made anew for the second.
//! Assertions are not judged here but in `scal3`, because there the challenge must be the operation.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use scal3::authenticator::{Attachment, WebAuthn};
use scal3::cose::Key;
use scal3::point::Point;
use scal3::{Hash, cbor, tagged};
use serde_json::Value;
use uuid::Uuid;
use webauthn_attestation_ca::{AttestationCaList, AttestationCaListBuilder};
use webauthn_rs_core::WebauthnCore;
use webauthn_rs_core::error::WebauthnError;
use webauthn_rs_core::proto::{
    AttestationConveyancePreference, AttestationFormat, AttestationMetadata, COSEAlgorithm, COSEKeyType, Credential,
    ECDSACurve, ParsedAttestationData, RegisterPublicKeyCredential, RegistrationState, UserVerificationPolicy,
};

/// How long a browser waits for its user.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What an authenticator is asked when it is registered for an enrolment: `H("solelog/registration/v1", [origin,
/// enrolment_id, ticket])`. Only the holder of the ticket can know it, and it is the same whenever it is computed.
pub fn challenge(origin: &str, enrolment_id: &Hash, ticket: &[u8]) -> Hash {
    let parts = vec![cbor::text(origin), cbor::bytes(&enrolment_id.0), cbor::bytes(ticket)];
    tagged("solelog/registration/v1", &cbor::encode(&cbor::Value::Array(parts)))
}

/// What is asked of an authenticator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The relying party: a domain, the one of every origin.
    pub rp_id: String,
    /// Its name, as browsers show it.
    pub rp_name: String,
    /// The origins that may ask, at most 8.
    pub origins: Vec<String>,
    /// Whether the authenticator must have verified its user.
    pub user_verification: bool,
    /// Whether a key may be one that is synced between devices. Such a key is no possession of one device.
    pub synced: bool,
    /// The folder with the models that are trusted; without it, nothing need be shown.
    pub models: Option<PathBuf>,
}

/// A relying party that registers authenticators by its rules.
pub struct RelyingParty {
    core: WebauthnCore,
    rules: Rules,
    models: Option<AttestationCaList>,
}

/// An authenticator that was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// By which browsers find it again.
    pub credential_id: Vec<u8>,
    /// What it is, as entries and credentials say it.
    pub about: WebAuthn,
    /// What was shown of its origin: `none`, or format, model and the root that vouches for it.
    pub attestation: String,
}

/// Why no relying party can be made of the rules.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// There is none, or more than claims can hold.
    #[error("1 to 8 origins are needed")]
    Origins,
    /// An origin.
    #[error("{0:?} is no origin of {1}: https, and that domain or one below it")]
    Origin(String, String),
    /// A file or the folder of models can't be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file is not called by a model.
    #[error("{}: its name does not begin with an AAGUID", .0.display())]
    Name(PathBuf),
    /// A file is no certificate.
    #[error("{}: not a certificate in PEM", .0.display())]
    Certificate(PathBuf),
    /// The folder is empty: nothing would ever be trusted.
    #[error("{}: there is no model in it", .0.display())]
    NoModel(PathBuf),
}

/// Why an authenticator is not registered.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// The answer is not what a browser gives.
    #[error("not the answer of navigator.credentials.create(): {0}")]
    Form(serde_json::Error),
    /// The ceremony did not go as it must.
    #[error("the registration does not hold: {0:?}")]
    Ceremony(WebauthnError),
    /// The device shows nothing that a trusted model would.
    #[error("the authenticator's model is not one of those that are trusted here")]
    Untrusted,
    /// Its key is one that may be copied to other devices.
    #[error("the key may be synced to other devices, and only keys that stay in one are taken here")]
    Synced,
    /// Its user was not verified.
    #[error("the authenticator did not verify its user")]
    NotVerified,
    /// Its key is not ES256.
    #[error("the key is of an algorithm that is not taken here")]
    Algorithm,
    /// The library and this version of it don't fit together.
    #[error("the state of a registration has another form than expected")]
    Internal,
}

impl RelyingParty {
    /// By these rules. Reads the folder of models: one file for each, called by its AAGUID, with the certificate in PEM
    /// of the root that vouches for it (`08987058-cadc-4b81-b6e1-30de50dcbe96-windows-hello.pem`).
    ///
    /// # Errors
    /// [`RulesError`].
    pub fn new(rules: Rules) -> Result<RelyingParty, RulesError> {
        if rules.origins.is_empty() || rules.origins.len() > scal3::limits::ORIGINS_MAX {
            return Err(RulesError::Origins);
        }
        let origins =
            rules.origins.iter().map(|origin| parse_origin(origin, &rules.rp_id)).collect::<Result<_, _>>()?;
        let models = rules.models.as_deref().map(read_models).transpose()?;
        let core = WebauthnCore::new_unsafe_experts_only(
            &rules.rp_name,
            &rules.rp_id,
            origins,
            TIMEOUT,
            Some(false),
            Some(false),
        );
        Ok(RelyingParty { core, rules, models })
    }

    /// What it asks.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The options for `navigator.credentials.create()`, as JSON: `{"publicKey": …}`.
    ///
    /// # Errors
    /// [`RegistrationError::Internal`].
    pub fn options(&self, challenge: &Hash, user: &Hash) -> Result<Value, RegistrationError> {
        Ok(self.ceremony(challenge, user)?.0)
    }

    /// What the browser answered to the options with the same challenge and user.
    ///
    /// # Errors
    /// [`RegistrationError`].
    pub fn register(&self, challenge: &Hash, user: &Hash, answer: &Value) -> Result<Registered, RegistrationError> {
        let (_, state) = self.ceremony(challenge, user)?;
        // The browser's own word, as everything is that the authenticator does not sign.
        let attachment = match answer["authenticatorAttachment"].as_str() {
            Some("platform") => Attachment::Platform,
            Some("cross-platform") => Attachment::CrossPlatform,
            _ => Attachment::Unknown,
        };
        let answer: RegisterPublicKeyCredential =
            serde_json::from_value(answer.clone()).map_err(RegistrationError::Form)?;
        let credential = self.core.register_credential(&answer, &state, self.models.as_ref())?;
        Ok(Registered {
            about: WebAuthn {
                key: Key::Es256(es256(&credential)?),
                rp_id: self.rules.rp_id.clone(),
                origins: self.rules.origins.clone(),
                backup_eligible: credential.backup_eligible,
                attachment,
            },
            attestation: summary(&credential),
            credential_id: credential.cred_id.to_vec(),
        })
    }

    /// Both halves of the ceremony with that challenge.
    fn ceremony(&self, challenge: &Hash, user: &Hash) -> Result<(Value, RegistrationState), RegistrationError> {
        let verification = match self.rules.user_verification {
            true => UserVerificationPolicy::Required,
            false => UserVerificationPolicy::Preferred,
        };
        let attestation = match self.models {
            Some(_) => AttestationConveyancePreference::Direct,
            None => AttestationConveyancePreference::None,
        };
        let name = &self.rules.rp_name;
        let builder = self
            .core
            .new_challenge_register_builder(&user.0, name, name)?
            .credential_algorithms(vec![COSEAlgorithm::ES256])
            .attestation(attestation)
            .user_verification_policy(verification)
            .reject_synchronised_authenticators(!self.rules.synced);
        let (options, state) = self.core.generate_challenge_register(builder)?;
        // The library draws a challenge of its own, and remembers it for the second half. Ours needs no memory.
        let (mut options, mut state) = (json(&options)?, json(&state)?);
        let challenge = Value::from(base64url(&challenge.0));
        *options.pointer_mut("/publicKey/challenge").ok_or(RegistrationError::Internal)? = challenge.clone();
        *state.pointer_mut("/challenge").ok_or(RegistrationError::Internal)? = challenge;
        Ok((options, serde_json::from_value(state).map_err(|_| RegistrationError::Internal)?))
    }
}

impl From<WebauthnError> for RegistrationError {
    fn from(error: WebauthnError) -> RegistrationError {
        match error {
            WebauthnError::AttestationNotVerifiable
            | WebauthnError::AttestationChainNotTrusted(_)
            | WebauthnError::AttestationUntrustedAaguid
            | WebauthnError::AttestationFormatMissingAaguid
            | WebauthnError::AttestationNotSupported => RegistrationError::Untrusted,
            WebauthnError::CredentialMayNotBeHardwareBound => RegistrationError::Synced,
            WebauthnError::UserNotVerified => RegistrationError::NotVerified,
            WebauthnError::CredentialAlteredAlgFromRequest => RegistrationError::Algorithm,
            other => RegistrationError::Ceremony(other),
        }
    }
}

fn json(value: &impl serde::Serialize) -> Result<Value, RegistrationError> {
    serde_json::to_value(value).map_err(|_| RegistrationError::Internal)
}

fn base64url(bytes: &[u8]) -> String {
    use base64ct::{Base64UrlUnpadded, Encoding as _};
    Base64UrlUnpadded::encode_string(bytes)
}

fn es256(credential: &Credential) -> Result<Point, RegistrationError> {
    let COSEKeyType::EC_EC2(key) = &credential.cred.key else { return Err(RegistrationError::Algorithm) };
    if key.curve != ECDSACurve::SECP256R1 {
        return Err(RegistrationError::Algorithm);
    }
    let sec1 = [&[4], key.x.as_slice(), key.y.as_slice()].concat();
    Point::from_sec1_any(&sec1).map_err(|_| RegistrationError::Algorithm)
}

/// What is known of where it comes from, in words that go into claims. Nothing in them is of one device alone.
fn summary(credential: &Credential) -> String {
    let format = match credential.attestation_format {
        AttestationFormat::Packed => "packed",
        AttestationFormat::Tpm => "tpm",
        AttestationFormat::AndroidKey => "android-key",
        AttestationFormat::AndroidSafetyNet => "android-safetynet",
        AttestationFormat::FIDOU2F => "fido-u2f",
        AttestationFormat::AppleAnonymous => "apple",
        AttestationFormat::None => return "none".to_owned(),
    };
    let certified = match credential.attestation.data {
        ParsedAttestationData::Basic(_) | ParsedAttestationData::AttCa(_) | ParsedAttestationData::AnonCa(_) => "",
        _ => " self",
    };
    match &credential.attestation.metadata {
        AttestationMetadata::Packed { aaguid } | AttestationMetadata::Tpm { aaguid, .. } => {
            format!("{format}{certified} {aaguid}")
        }
        _ => format!("{format}{certified}"),
    }
}

fn parse_origin(origin: &str, rp_id: &str) -> Result<Url, RulesError> {
    let wrong = || RulesError::Origin(origin.to_owned(), rp_id.to_owned());
    let url = Url::parse(origin).map_err(|_| wrong())?;
    let domain = url.domain().ok_or_else(wrong)?;
    let below = domain == rp_id || domain.strip_suffix(rp_id).is_some_and(|rest| rest.ends_with('.'));
    // A browser takes http from its own machine for as good as https, and so do tests.
    let secure = url.scheme() == "https" || (url.scheme() == "http" && domain == "localhost");
    if below && secure && url.origin().ascii_serialization() == origin { Ok(url) } else { Err(wrong()) }
}

fn read_models(folder: &Path) -> Result<AttestationCaList, RulesError> {
    let cannot = |path: &Path| {
        let path = path.to_owned();
        move |error| RulesError::Read { path, error }
    };
    let mut models = AttestationCaListBuilder::new();
    for file in fs::read_dir(folder).map_err(cannot(folder))? {
        let path = file.map_err(cannot(folder))?.path();
        if path.extension().is_none_or(|extension| extension != "pem") {
            continue;
        }
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let (aaguid, name) = stem.split_at_checked(36).ok_or_else(|| RulesError::Name(path.clone()))?;
        let aaguid = Uuid::parse_str(aaguid).map_err(|_| RulesError::Name(path.clone()))?;
        let pem = fs::read(&path).map_err(cannot(&path))?;
        let name = name.trim_start_matches('-').to_owned();
        models
            .insert_device_pem(&pem, aaguid, name, Default::default())
            .map_err(|_| RulesError::Certificate(path.clone()))?;
    }
    let models = models.build();
    if models.is_empty() { Err(RulesError::NoModel(folder.to_owned())) } else { Ok(models) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vectors() -> Option<Value> {
        let folder =
            std::env::var_os("SOLELOG_VECTORS").map_or_else(|| PathBuf::from("../shared/vectors"), PathBuf::from);
        match fs::read_to_string(folder.join("webauthn/w3c_l3_section16.json")) {
            Ok(text) => Some(serde_json::from_str(&text).unwrap()),
            Err(error) => {
                assert!(std::env::var_os("SOLELOG_REQUIRE_VECTORS").is_none_or(|v| v != "1"), "{error}");
                println!("skipped: no vectors");
                None
            }
        }
    }

    fn rules() -> Rules {
        Rules {
            rp_id: "example.org".to_owned(),
            rp_name: "Example".to_owned(),
            origins: vec!["https://example.org".to_owned()],
            user_verification: false,
            synced: true,
            models: None,
        }
    }

    fn bytes(value: &Value) -> Vec<u8> {
        hex::decode(value.as_str().unwrap()).unwrap()
    }

    /// The registration of a published vector, as a browser would send it.
    fn answer(case: &Value) -> (Hash, Value) {
        let registration = &case["registration"];
        let text = |name: &str| base64url(&bytes(&registration[name]));
        let id = text("credential_id");
        let response =
            json!({ "clientDataJSON": text("clientDataJSON"), "attestationObject": text("attestationObject") });
        let answer =
            json!({ "id": id, "rawId": id, "type": "public-key", "response": response, "clientExtensionResults": {} });
        (Hash(bytes(&registration["challenge"]).try_into().unwrap()), answer)
    }

    fn case<'a>(file: &'a Value, id: &str) -> &'a Value {
        file["cases"].as_array().unwrap().iter().find(|case| case["id"] == id).unwrap()
    }

    /// A folder of models with that root under that AAGUID.
    fn models(file: &Value, aaguid: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let der = bytes(&file["attestationCa"]["attestation_ca_cert"]);
        let pem = base64ct::Base64::encode_string(&der);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", wrapped(&pem));
        let aaguid = Uuid::parse_str(aaguid).unwrap();
        fs::write(folder.path().join(format!("{aaguid}-test-key.pem")), pem).unwrap();
        folder
    }

    fn wrapped(text: &str) -> String {
        let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        lines.join("\n")
    }

    use base64ct::Encoding as _;
    const USER: Hash = Hash([7; 32]);

    #[test]
    fn published_registrations_give_their_keys() {
        let Some(file) = vectors() else { return };
        let party = RelyingParty::new(rules()).unwrap();
        for id in ["none-es256", "packed-self-es256", "packed-es256"] {
            let case = case(&file, id);
            let (challenge, answer) = answer(case);
            let registered = party.register(&challenge, &USER, &answer).unwrap();
            assert_eq!(Ok(registered.about.key), Key::from_cose(&bytes(&case["credentialPublicKeyCoseHex"])));
            assert_eq!(registered.credential_id, bytes(&case["registration"]["credential_id"]));
            assert_eq!(registered.about.rp_id, "example.org");
            let format = case["attestationFormat"].as_str().unwrap();
            assert!(registered.attestation.starts_with(format), "{}", registered.attestation);
            // Another ceremony's challenge, and another party's origin.
            assert!(matches!(
                party.register(&Hash([1; 32]), &USER, &answer),
                Err(RegistrationError::Ceremony(WebauthnError::MismatchedChallenge))
            ));
            let other = Rules { origins: vec!["https://sub.example.org".to_owned()], ..rules() };
            let other = RelyingParty::new(other).unwrap();
            assert!(matches!(
                other.register(&challenge, &USER, &answer),
                Err(RegistrationError::Ceremony(WebauthnError::InvalidRPOrigin))
            ));
        }
        let (challenge, answer) = answer(case(&file, "packed-ed448"));
        assert!(party.register(&challenge, &USER, &answer).is_err(), "another algorithm");
    }

    #[test]
    fn only_models_that_are_trusted_are_taken_where_there_are_any() {
        let Some(file) = vectors() else { return };
        let attested = case(&file, "packed-es256");
        let (challenge, shown) = answer(attested);
        let aaguid = attested["registration"]["aaguid"].as_str().unwrap();
        let party = |folder: &tempfile::TempDir| {
            RelyingParty::new(Rules { models: Some(folder.path().to_owned()), ..rules() }).unwrap()
        };
        let known = models(&file, aaguid);
        let registered = party(&known).register(&challenge, &USER, &shown).unwrap();
        assert_eq!(registered.attestation, format!("packed {}", Uuid::parse_str(aaguid).unwrap()));
        let other_model = models(&file, "00000000000000000000000000000001");
        let refused = party(&other_model).register(&challenge, &USER, &shown);
        assert!(matches!(refused, Err(RegistrationError::Untrusted)), "{refused:?}");
        for id in ["none-es256", "packed-self-es256"] {
            let (challenge, shown) = answer(case(&file, id));
            let refused = party(&known).register(&challenge, &USER, &shown);
            assert!(matches!(refused, Err(RegistrationError::Untrusted)), "{id}: {refused:?}");
        }
    }

    #[test]
    fn a_key_that_may_be_elsewhere_and_a_user_that_was_not_verified_are_told() {
        let Some(file) = vectors() else { return };
        let flags = |case: &Value| {
            let object = bytes(&case["registration"]["attestationObject"]);
            let rp_id_hash = bytes(&case["authentication"]["authenticatorData"])[..32].to_vec();
            let at = object.windows(32).position(|window| window == rp_id_hash).unwrap();
            object[at + 32]
        };
        let strict = RelyingParty::new(Rules { user_verification: true, synced: false, ..rules() }).unwrap();
        let mut seen = [0; 3];
        for id in ["none-es256", "packed-self-es256", "packed-es256", "fido-u2f-es256"] {
            let case = case(&file, id);
            let (challenge, answer) = answer(case);
            let (verified, eligible) = (flags(case) & 4 != 0, flags(case) & 8 != 0);
            match strict.register(&challenge, &USER, &answer) {
                Ok(registered) => {
                    assert!(verified && !registered.about.backup_eligible);
                    seen[0] += 1;
                }
                Err(RegistrationError::NotVerified) => {
                    assert!(!verified);
                    seen[1] += 1;
                }
                Err(RegistrationError::Synced) => {
                    assert!(eligible);
                    seen[2] += 1;
                }
                Err(other) => panic!("{id}: {other}"),
            }
        }
        assert!(seen[1] > 0 && seen[2] > 0, "{seen:?}");
    }

    #[test]
    fn options_are_those_of_the_rules_and_rules_that_fit_nothing_are_refused() {
        let party = RelyingParty::new(Rules { user_verification: true, ..rules() }).unwrap();
        let options = party.options(&Hash([3; 32]), &USER).unwrap();
        assert_eq!(options["publicKey"]["challenge"], base64url(&[3; 32]));
        assert_eq!(options["publicKey"]["rp"]["id"], "example.org");
        assert_eq!(options["publicKey"]["user"]["id"], base64url(&USER.0));
        assert_eq!(options["publicKey"]["authenticatorSelection"]["userVerification"], "required");
        assert_eq!(options["publicKey"]["pubKeyCredParams"], json!([{ "type": "public-key", "alg": -7 }]));
        assert_eq!(options["publicKey"]["attestation"], "none");
        for origin in
            ["http://example.org", "https://example.com", "https://badexample.org", "https://example.org/a", "x"]
        {
            let wrong = Rules { origins: vec![origin.to_owned()], ..rules() };
            assert!(matches!(RelyingParty::new(wrong), Err(RulesError::Origin(..))), "{origin}");
        }
        assert!(matches!(RelyingParty::new(Rules { origins: Vec::new(), ..rules() }), Err(RulesError::Origins)));
        let empty = tempfile::tempdir().unwrap();
        let wrong = Rules { models: Some(empty.path().to_owned()), ..rules() };
        assert!(matches!(RelyingParty::new(wrong.clone()), Err(RulesError::NoModel(_))));
        fs::write(empty.path().join("yubikey.pem"), "").unwrap();
        assert!(matches!(RelyingParty::new(wrong.clone()), Err(RulesError::Name(_))));
        fs::rename(empty.path().join("yubikey.pem"), empty.path().join(format!("{}.pem", Uuid::nil()))).unwrap();
        assert!(matches!(RelyingParty::new(wrong), Err(RulesError::Certificate(_))));
    }
}
