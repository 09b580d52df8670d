//! A real browser: Chromium registers a passkey, authorises with it against a running server, and the receipt holds offline.
//!
//! ```text
//! this test ── WebDriver ──► chromedriver ──► Chromium, with a virtual authenticator ──► the provider's page
//!     └── the subscriber's library ── HTTP ──► solelog serve
//! ```
//! It needs the commands `chromedriver` and `chromium` (Debian's `chromium-driver`). Without them it is skipped, unless
//! `SOLELOG_REQUIRE_BROWSER=1`.

mod process;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use client::device::{DeviceError, DeviceKey, PinPrf};
use client::{Document, Error, Folder, Pin, Profile, Subscriber, Value, instruction, verify};
use process::Served;
use process::people::{Site, pin};
use scal3::Credential;
use scal3::evidence::varsig::{Algorithm, Varsig};
use scal3::point::Point;
use serde_json::{Value as Json, json};
use threshold::{DeviceSecret, Mask};
use tokio::runtime::Handle;

/// Makes a passkey from the options of an invitation.
const CREATE: &str = "
    const [options, done] = arguments;
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options.publicKey);
    navigator.credentials.create({publicKey}).then(made => done(made.toJSON()), error => done({error: String(error)}));
";

/// Asks the passkey one challenge.
const GET: &str = "
    const [options, done] = arguments;
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
    navigator.credentials.get({publicKey}).then(made => done(made.toJSON()), error => done({error: String(error)}));
";

/// Chromium, driven.
struct Browser {
    driver: Child,
    session: String,
    http: reqwest::Client,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// Starts one, with an authenticator in it that verifies its user. `None` where there is no browser and need not be one.
    async fn start() -> Option<Browser> {
        let mut command = Command::new("chromedriver");
        // A group of its own, so that nothing of it is left when this test ends, however it ends.
        let driver = command.arg("--port=0").process_group(0).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut driver = match driver {
            Ok(driver) => driver,
            Err(error) => {
                let required = std::env::var_os("SOLELOG_REQUIRE_BROWSER").is_some_and(|value| value == "1");
                assert!(!required, "chromedriver: {error}");
                println!("skipped: no browser");
                return None;
            }
        };
        let port = BufReader::new(driver.stdout.take().expect("stdout")).lines().find_map(|line| {
            let line = line.expect("a line");
            Some(line.strip_suffix('.')?.rsplit_once(" on port ")?.1.parse::<u16>().expect("a port"))
        });
        let profile = tempfile::tempdir().expect("folder");
        let arguments = [
            "--headless=new".to_owned(),
            // In a container there is no user namespace to put the sandbox in. The only page is this test's.
            "--no-sandbox".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        let mut browser = Browser {
            driver,
            session: format!("http://127.0.0.1:{}/session", port.expect("a driver that listens")),
            http: reqwest::Client::new(),
            _profile: profile,
        };
        let options = json!({ "goog:chromeOptions": { "args": arguments }, "timeouts": { "script": 60_000 } });
        let session = browser.post("", json!({ "capabilities": { "alwaysMatch": options } })).await;
        browser.session = format!("{}/{}", browser.session, session["sessionId"].as_str().expect("a session"));
        let authenticator = json!({
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": true,
            "hasUserVerification": true,
            "isUserConsenting": true,
            "isUserVerified": true,
        });
        browser.post("/webauthn/authenticator", authenticator).await;
        Some(browser)
    }

    /// A command of WebDriver. <https://www.w3.org/TR/webdriver2/>
    async fn post(&self, command: &str, body: Json) -> Json {
        let answer = self.http.post(format!("{}{command}", self.session)).json(&body).send().await.expect("an answer");
        let mut said: Json = answer.json().await.expect("JSON");
        assert!(said["value"].get("error").is_none(), "{command}: {said}");
        said["value"].take()
    }

    async fn run(&self, script: &str, argument: &Json) -> Result<Json, DeviceError> {
        let made = self.post("/execute/async", json!({ "script": script, "args": [argument] })).await;
        match made.get("error") {
            None => Ok(made),
            Some(error) => Err(DeviceError::Unavailable(error.to_string())),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = i32::try_from(self.driver.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).expect("killed");
        self.driver.wait().expect("gone");
    }
}

/// Serves one empty page, the provider's, for as long as the test runs. Gives its origin.
fn page() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 4096]);
            let text = "<!doctype html><title>Wallet</title>";
            let length = text.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
            );
            let _ = stream.write_all(format!("{head}{text}").as_bytes());
        }
    });
    format!("http://localhost:{port}")
}

/// A device whose key is in the browser.
struct Device<'a> {
    browser: &'a Browser,
    registration: Json,
    public: [u8; 33],
    prf: DeviceSecret,
}

impl<'a> Device<'a> {
    /// A passkey made for these options.
    async fn register(browser: &'a Browser, options: &Json) -> Device<'a> {
        let registration = browser.run(CREATE, options).await.expect("a passkey");
        let spki = registration["response"]["publicKey"].as_str().expect("a key");
        let spki = Base64UrlUnpadded::decode_vec(spki).expect("base64");
        // What a SubjectPublicKeyInfo of P-256 ends with is the point.
        let point = Point::from_sec1_any(&spki[spki.len() - 65..]).expect("a point");
        Device { browser, registration, public: *point.as_bytes(), prf: DeviceSecret::from_bytes([9; 32]) }
    }
}

impl DeviceKey for Device<'_> {
    fn public(&self) -> [u8; 33] {
        self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, DeviceError> {
        let id = &self.registration["id"];
        let options = json!({
            "challenge": Base64UrlUnpadded::encode_string(message),
            "allowCredentials": [{ "type": "public-key", "id": id }],
            "userVerification": "required",
        });
        let answer = tokio::task::block_in_place(|| Handle::current().block_on(self.browser.run(GET, &options)))?;
        let part = |name: &str| {
            let text = answer["response"][name].as_str().unwrap_or_default();
            Base64UrlUnpadded::decode_vec(text).map_err(|error| DeviceError::Unavailable(error.to_string()))
        };
        let (data, client_data) = (part("authenticatorData")?, part("clientDataJSON")?);
        let varsig = Varsig::made(Algorithm::Es256, &data, &client_data, &part("signature")?);
        varsig.map(|varsig| varsig.to_bytes()).map_err(|reason| DeviceError::Unavailable(reason.to_string()))
    }

    fn registration(&self) -> Option<Json> {
        Some(self.registration.clone())
    }
}

impl PinPrf for Device<'_> {
    fn mask(&self, pin: &Pin) -> Result<Mask, DeviceError> {
        Ok(self.prf.mask(pin))
    }
}

fn payment() -> Document {
    let fields = [("amount", Value::Uint(1250)), ("currency", Value::Text("EUR".into()))];
    instruction("payment", &fields).expect("document")
}

#[tokio::test(flavor = "multi_thread")]
async fn r0_06_a_real_browser_enrols_and_authorises() {
    let Some(browser) = Browser::start().await else { return };
    let origin = page();
    let folder = tempfile::tempdir().expect("folder");
    let site = Site::init(folder.path(), "wallet.example/log");
    takes_passkeys(Path::new(&site.config), &origin);
    let served = Served::start(Path::new(&site.config), Stdio::null(), "error");

    browser.post("/url", json!({ "url": origin })).await;
    let invitation = site.invite(&served, None).await;
    let device = Device::register(&browser, invitation.registration.as_ref().expect("options")).await;
    let memory = Folder::open(folder.path().join("anna")).expect("folder");
    let mut anna = Subscriber::open(device, memory, site.provider(&served), site.trust.clone()).expect("opened");
    assert_eq!(anna.enrol(&invitation, Profile::Passkey, &pin()).await.expect("enrolled").sequence, 0);
    let done = anna.authorise(&payment(), &pin()).await.expect("authorised");
    let wrong = anna.authorise(&payment(), &Pin::new("54321")).await;
    assert!(matches!(wrong, Err(Error::WrongPin { .. })), "{wrong:?}");

    // What is left needs neither browser nor server.
    drop(anna);
    drop(served);
    drop(browser);
    let report = verify::verify(&done.receipt, &site.trust.policy);
    assert_eq!(report.verdict, verify::Verdict::Authorised, "{report:?}");
    let credential = done.receipt.credential.as_ref().expect("a credential");
    let credential = Credential::from_own_store(credential.as_ref()).expect("a credential");
    let passkey = credential.claims().passkey.clone().expect("a passkey");
    assert_eq!((passkey.rp_id.as_str(), passkey.origins), ("localhost", vec![origin]));
}

/// Turns passkeys on in a configuration, by the lines that are there for it.
fn takes_passkeys(config: &Path, origin: &str) {
    let text = std::fs::read_to_string(config).expect("config");
    let on = text.replace("# rp_id = \"wallet.example\"", "rp_id = \"localhost\"").replace(
        "# origins = \"https://wallet.example https://app.wallet.example\"",
        &format!("origins = \"{origin}\""),
    );
    assert!(on.contains("\nrp_id = ") && on.contains("\norigins = "), "{on}");
    std::fs::write(config, on).expect("config");
}
