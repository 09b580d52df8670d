//! The commands, as an operator types them: the program itself, in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use age::secrecy::ExposeSecret as _;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use solelog::cli::cast::Provider;
use solelog::engine::wall_clock_ms;
use threshold::Profile1;

const ORIGIN: &str = "log.example/cli";

fn solelog(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_solelog"));
    command.args(arguments);
    // What the environment of a developer says must not decide a test.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SOLELOG_")) {
        command.env_remove(name);
    }
    command
}

fn run(arguments: &[&str]) -> Output {
    solelog(arguments).output().expect("the program starts")
}

/// Runs a command that must end with that exit code; gives what it said, in JSON if it was asked for that.
fn ends(code: i32, arguments: &[&str]) -> Value {
    let output = run(arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{out}\n{err}");
    let said = if code == 0 { &out } else { &err };
    serde_json::from_str(said.lines().last().unwrap_or("")).unwrap_or_else(|_| Value::String(said.to_string()))
}

struct Place {
    _folder: tempfile::TempDir,
    root: PathBuf,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path().to_owned();
        Place { _folder: folder, root }
    }

    fn path(&self, name: &str) -> String {
        self.root.join(name).to_str().expect("a path").to_owned()
    }

    /// A log without witnesses, whose credentials that provider signs.
    fn log(&self, provider: &Provider) -> String {
        let key = hex::encode(provider.issuing_key().expect("key"));
        let (data, high_water) = (self.path("data"), self.path("high-water"));
        let made = ends(
            0,
            &[
                "--json",
                "init",
                "--origin",
                ORIGIN,
                "--data",
                &data,
                "--issuing-key",
                &key,
                "--no-witnesses",
                "--high-water",
                &high_water,
                "--listen",
                "127.0.0.1:0",
            ],
        );
        assert_eq!(made["origin"], ORIGIN);
        assert!(made["vkey"].as_str().expect("vkey").starts_with("log.example/cli+"));
        made["config"].as_str().expect("config").to_owned()
    }
}

/// A running server; killed when the test ends early.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(config: &str) -> Server {
        let mut command = solelog(&["--json", "serve", "--config", config]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        Server { child, url: said["url"].as_str().expect("url").to_owned() }
    }

    /// Asks it to end, and gives its exit code.
    fn stop(mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("sent");
        self.child.wait().expect("ended").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_made_run_stopped_and_checked() {
    let place = Place::new();
    let provider = Provider::new(ORIGIN, solelog::cli::init::POLICY).expect("provider");
    let config = place.log(&provider);
    let config = config.as_str();
    assert_eq!(ends(0, &["--json", "config", "check", "--config", config])["ok"], true);
    let token = ends(
        0,
        &[
            "--json",
            "token",
            "new",
            "--scope",
            "append,read",
            "--name",
            "backend",
            "--expires",
            "1d",
            "--config",
            config,
        ],
    );
    let list = ends(0, &["--json", "token", "list", "--config", config]);
    assert_eq!(
        (list.as_array().map(Vec::len), &list[0]["name"], list[0].get("token")),
        (Some(1), &Value::from("backend"), None)
    );

    let server = Server::start(config);
    // The folder has one process, and the second is told who it is.
    let second = ends(4, &["--json", "serve", "--config", config]);
    assert!(second["error"].as_str().expect("error").contains(&format!("process {}", server.child.id())), "{second}");
    for command in ["fsck", "rebuild"] {
        ends(4, &["--json", command, "--config", config]);
    }
    assert!(
        ends(4, &["--json", "export", "--config", config, &place.path("no")])["next"]
            .as_str()
            .expect("next")
            .contains("--url")
    );

    let person = provider.enrol::<Profile1>("1234", wall_clock_ms()).expect("enrolled");
    let client = reqwest::Client::new();
    let answer = client
        .post(format!("{}/v1/credentials?until=witnessed", server.url))
        .header(AUTHORIZATION, format!("Bearer {}", token["token"].as_str().expect("token")))
        .header(CONTENT_TYPE, "application/cose")
        .body(person.credential().to_vec())
        .send()
        .await
        .expect("answer");
    assert_eq!(answer.status(), 201, "{}", answer.text().await.expect("text"));
    // A running log is exported over HTTP, if what it has published by now is right.
    let live = place.path("live");
    ends(0, &["--json", "export", "--url", &server.url, &live]);
    ends(0, &["--json", "doctor", "--config", config]);
    assert_eq!(server.stop(), Some(0));

    let report = ends(0, &["--json", "fsck", "--config", config]);
    assert_eq!((&report["ok"], &report["entries"]), (&Value::Bool(true), &Value::from(2)));
    assert_eq!(ends(0, &["--json", "rebuild", "--config", config])["size"], 2);
    let exported = place.path("exported");
    let first = ends(0, &["--json", "export", "--config", config, &exported]);
    assert_eq!((&first["size"], &first["new_files"]), (&Value::from(2), &Value::from(3)));
    assert_eq!(
        ends(0, &["--json", "export", "--config", config, &exported])["new_files"],
        1,
        "only the checkpoint is written again"
    );
    // What is there with other bytes is left as it is, whatever its length, and so is the checkpoint.
    let served = std::fs::read(Path::new(&exported).join("checkpoint")).expect("checkpoint");
    for name in ["tile/entries/000.p/2", "tile/0/000.p/2"] {
        let file = Path::new(&exported).join(name);
        let right = std::fs::read(&file).expect(name);
        let flipped: Vec<u8> = right.iter().map(|byte| byte ^ 1).collect();
        for other in [flipped, [&right[..], &[0]].concat(), right[1..].to_vec(), Vec::new()] {
            std::fs::write(&file, &other).expect("written");
            std::fs::write(Path::new(&exported).join("checkpoint"), b"as it was").expect("written");
            let refused = ends(1, &["--json", "export", "--config", config, &exported]);
            let error = refused["error"].as_str().expect("error");
            assert!(error.contains(name) && error.contains("is there with other bytes"), "{error}");
            assert_eq!(std::fs::read(&file).expect(name), other);
            assert_eq!(std::fs::read(Path::new(&exported).join("checkpoint")).expect("checkpoint"), b"as it was");
        }
        std::fs::write(&file, right).expect("written");
        let folder = std::fs::read_dir(file.parent().expect("a folder")).expect("a folder");
        assert_eq!(folder.count(), 1, "nothing but the object is left in its folder");
    }
    std::fs::write(Path::new(&exported).join("checkpoint"), served).expect("written");
    for name in ["tile/entries/000.p/2", "tile/0/000.p/2"] {
        let (ours, theirs) = (Path::new(&exported).join(name), place.root.join("data/log").join(name));
        assert_eq!(std::fs::read(ours).expect(name), std::fs::read(theirs).expect(name));
    }

    // It starts where it ended.
    let server = Server::start(config);
    let log: Value =
        client.get(format!("{}/v1/log", server.url)).send().await.expect("answer").json().await.expect("JSON");
    assert_eq!(log["published"]["size"], 2);
    assert_eq!(server.stop(), Some(0));

    // A flipped bit is found.
    let bundle = place.root.join("data/log/tile/entries/000.p/2");
    let mut bytes = std::fs::read(&bundle).expect("bundle");
    let last = bytes.len() - 10;
    bytes[last] ^= 1;
    std::fs::write(&bundle, bytes).expect("written");
    let output = run(&["--json", "fsck", "--config", config]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    ends(1, &["--json", "export", "--config", config, &place.path("never")]);
    assert!(!Path::new(&place.path("never")).join("checkpoint").exists(), "a wrong export has no checkpoint");
}

/// A server that answers each request with that head and then says `x` for ever, or nothing at all.
fn wrong_server(head: &'static str, talks: bool) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("a connection");
        let mut asked = [0; 1024];
        let _ = peer.read(&mut asked).and_then(|_| peer.write_all(head.as_bytes()));
        while talks && peer.write_all(&[b'x'; 4096]).is_ok() {}
        // Silent, until the other side hangs up.
        let _ = peer.read(&mut asked);
    });
    url
}

#[test]
fn an_export_from_a_server_has_limits_in_bytes_and_in_time() {
    let place = Place::new();
    let into = place.path("export");
    let of = |url: &str| ends(7, &["--json", "export", "--timeout", "1", "--url", url, &into]);
    let endless = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    let said = of(&wrong_server(endless, true));
    assert_eq!(said["error"], "checkpoint: the answer is longer than 131072 bytes, the most it can be");
    for head in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nlog.example"] {
        let said = of(&wrong_server(head, false));
        assert_eq!(said["error"], "checkpoint: no answer in time", "{head:?}");
        assert!(said["next"].as_str().expect("next").contains("--timeout"), "{said}");
    }
    assert!(!Path::new(&into).exists(), "nothing was written");
}

#[test]
fn what_was_set_up_wrong_is_refused_with_what_to_do() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let data = place.path("data");
    // Without witnesses somebody has to say so, and something has to remember.
    ends(2, &["init", "--origin", ORIGIN, "--data", &data]);
    ends(2, &["init", "--origin", ORIGIN, "--data", &data, "--no-witnesses"]);
    let inside = format!("{data}/high-water");
    ends(2, &["--json", "init", "--origin", ORIGIN, "--data", &data, "--no-witnesses", "--high-water", &inside]);
    ends(
        2,
        &[
            "--json",
            "init",
            "--origin",
            "two words",
            "--data",
            &data,
            "--no-witnesses",
            "--high-water",
            &place.path("hw"),
        ],
    );
    assert!(!Path::new(&data).exists(), "a wrong argument leaves nothing behind");

    let provider = Provider::new(ORIGIN, b"").expect("provider");
    let config = place.log(&provider);
    let config = config.as_str();
    let again = ends(
        7,
        &["--json", "init", "--origin", ORIGIN, "--data", &data, "--no-witnesses", "--high-water", &place.path("hw")],
    );
    assert!(again["error"].as_str().expect("error").contains("not empty"));

    let key = place.root.join("data/keys/log.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).expect("chmod");
    for command in [&["--json", "serve", "--config", config][..], &["--json", "config", "check", "--config", config]] {
        let refused = ends(3, command);
        assert!(
            refused["error"].as_str().expect("error").contains("mode 0640")
                && refused["next"].as_str().expect("next").contains("chmod 0600"),
            "{refused}"
        );
    }
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("chmod");

    ends(3, &["--json", "serve", "--config", &place.path("nothing.toml")]);
    ends(3, &["--json", "config", "check", "--config", config, "--set", "limits.batch_records=0"]);
    ends(3, &["--json", "config", "check", "--config", config, "--set", "origin=log.example/other"]);
    let text = std::fs::read_to_string(config).expect("config");
    std::fs::write(config, format!("orgin = \"x\"\n{text}")).expect("written");
    assert!(
        ends(3, &["--json", "config", "check", "--config", config])["error"].as_str().expect("error").contains("orgin")
    );
    std::fs::write(config, text).expect("written");
    ends(0, &["--json", "config", "check", "--config", config]);
    assert_eq!(ends(1, &["--json", "token", "revoke", "nobody", "--config", config])["exit"], 1);
    ends(2, &["no-such-command"]);
}

#[test]
fn a_witness_policy_that_protects_nobody_is_refused() {
    let place = Place::new();
    let vkey = |name: &str| {
        let file = place.path(&format!("{name}.key"));
        ends(0, &["--json", "keygen", "witness", "--name", name, "--out", &file])["vkey"]
            .as_str()
            .expect("vkey")
            .to_owned()
    };
    let (w1, w2) = (vkey("w1.example"), vkey("w2.example"));
    let both = format!("witness w1 {w1} http://127.0.0.1:1\nwitness w2 {w2} http://127.0.0.1:2\n");
    let policy = place.path("policy.txt");
    let init = |text: &str| {
        std::fs::write(&policy, text).expect("written");
        let data = place.path("data");
        run(&["--json", "init", "--origin", ORIGIN, "--data", &data, "--witness-policy", &policy])
    };
    for (what, text, says) in [
        ("no quorum", format!("{both}quorum none\n"), "quorum is `none`"),
        ("quorums that miss each other", format!("{both}group any 1 w1 w2\nquorum any\n"), "two quorums"),
        ("a witness without a URL", format!("witness w1 {w1}\nquorum w1\n"), "no URL"),
        ("no policy", "hello\n".to_owned(), "line 1"),
    ] {
        let output = init(&text);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{what}: {said}");
        assert!(said.contains(says), "{what}: {said}");
    }
    assert_eq!(init(&format!("{both}group all all w1 w2\nquorum all\n")).status.code(), Some(0));
    // A key is never written over.
    ends(7, &["--json", "keygen", "witness", "--name", "w1.example", "--out", &place.path("w1.example.key")]);
}

#[test]
fn a_made_issuing_key_is_one_that_other_programs_read() {
    let place = Place::new();
    let file = place.path("issuing.pem");
    let made = ends(0, &["--json", "keygen", "issuing", "--out", &file]);
    let pem = std::fs::read_to_string(&file).expect("file");
    let key: p256::SecretKey = p256::pkcs8::DecodePrivateKey::from_pkcs8_pem(&pem).expect("PKCS#8");
    assert_eq!(
        made["issuing_key"],
        hex::encode(p256::elliptic_curve::sec1::ToSec1Point::to_sec1_point(&key.public_key(), true).as_bytes())
    );
}

#[test]
fn keys_are_made_listed_encrypted_and_opened() {
    let place = Place::new();
    let (data, high_water) = (place.path("data"), place.path("high-water"));
    let without = ["--no-witnesses", "--high-water", &high_water];
    let made = ends(0, &[&["--json", "init", "--origin", ORIGIN, "--data", &data][..], &without].concat());
    let config = made["config"].as_str().expect("config").to_owned();
    let keys = place.root.join("data/keys");
    let out = keys.join("document.key");
    ends(0, &["--json", "keygen", "document", "--out", out.to_str().expect("a path")]);
    ends(
        0,
        &["--json", "keygen", "master", "--epoch", "1", "--out", keys.join("master.1.key").to_str().expect("a path")],
    );

    let list = |arguments: &[&str]| ends(0, &[&["--json", "keys", "list", "--config", &config], arguments].concat());
    let column = |list: &Value, name: &str| -> Vec<Value> {
        list.as_array().expect("a list").iter().map(|key| key[name].clone()).collect()
    };
    let plain = list(&[]);
    assert_eq!(column(&plain, "key"), ["log", "issuing", "document", "master 0", "master 1"]);
    assert_eq!(column(&plain, "at_rest"), ["plain"; 5]);
    let check = |arguments: &[&str], code| {
        ends(code, &[&["--json", "config", "check", "--config", &config], arguments].concat())
    };
    assert_eq!((&check(&[], 0)["epoch"], &check(&[], 0)["issuing_key"]), (&Value::from(1), &made["issuing_keys"][0]));

    // Without a passphrase nothing is touched. To an identity, everything is encrypted, and opens with it alone.
    ends(2, &["--json", "keys", "encrypt", "--config", &config]);
    let identity = age::x25519::Identity::generate();
    let (recipient, identity) = (identity.to_public().to_string(), identity.to_string());
    std::fs::write(place.root.join("identity"), identity.expose_secret()).expect("written");
    let set = format!("keys.age_identity_file={}", place.path("identity"));
    let encrypt = ["--json", "keys", "encrypt", "--config", &config, "--set", &set, "--age-recipient", &recipient];
    let refused = ends(3, &encrypt);
    assert!(refused["error"].as_str().expect("error").contains("others can read"), "{refused}");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(place.root.join("identity"), mode).expect("mode");
    let done = ends(0, &encrypt);
    assert_eq!(done["encrypted"].as_array().map(Vec::len), Some(5));
    let sealed = list(&["--set", &set]);
    assert_eq!(column(&sealed, "at_rest"), ["encrypted"; 5]);
    assert_eq!(column(&sealed, "public"), column(&plain, "public"));
    assert!(check(&[], 3)["error"].as_str().expect("error").contains("is encrypted"));
    assert_eq!(check(&["--set", &set], 0)["ok"], true);

    // Half a provider does not start.
    std::fs::remove_file(keys.join("issuing.key")).expect("removed");
    assert!(check(&["--set", &set], 3)["error"].as_str().expect("error").contains("no issuing.key"));
}

#[test]
fn a_provider_elsewhere_gets_no_keys_here() {
    let place = Place::new();
    let provider = Provider::new(ORIGIN, solelog::cli::init::POLICY).expect("provider");
    let config = place.log(&provider);
    let list = ends(0, &["--json", "keys", "list", "--config", &config]);
    assert_eq!((list.as_array().map(Vec::len), &list[0]["key"]), (Some(1), &Value::from("log")));
    assert_eq!(ends(0, &["--json", "config", "check", "--config", &config])["epoch"], Value::Null);
}

#[test]
fn the_demo_holds() {
    let place = Place::new();
    let told = ends(0, &["--json", "demo", "--dir", &place.path("demo")]);
    assert_eq!(told["ok"], true);
    let steps: Vec<(&str, &str)> = told["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .filter_map(|step| Some((step["step"].as_str()?, step["detail"].as_str()?)))
        .collect();
    let refused = |what: &str, why: &str| {
        let found = |(step, detail): &(&str, &str)| *step == "refused" && detail.contains(what) && detail.contains(why);
        assert!(steps.iter().any(found), "{what}: {why}: {steps:?}");
    };
    refused("the old PIN", "4 attempts left");
    refused("the receipt with one bit flipped", "not what the entry commits to");
    refused("Anna's phone and a wrong PIN", "4 attempts left");
    refused("Anna's PIN and another phone", "no challenge");
    refused("with a challenge from the help desk", "signature does not verify");
    refused("sent again", "answered before");
    refused("held back", "expired");
    refused("five PINs", "4, 3, 2, 1, 0 attempts left: suspended");
    refused("now the right PIN", "suspended; entry");
    refused("for which nobody spoke", "nobody has spoken");
    refused("while suspended", "suspended; entry");
    refused("a record with one bit flipped", "binding");
    refused("a record made for another log", "another log");
    refused("a used sequence number", "already used");
    assert_eq!(steps.iter().filter(|(step, _)| *step == "refused").count(), 14, "{steps:?}");
    for step in ["no attempt", "recovered", "resumed", "same again", "not grown", "Anna", "monitor", "same root"] {
        assert!(steps.iter().any(|(told, _)| *told == step), "{step}: {steps:?}");
    }
    // What is left behind can be checked, and run again, as it lies there.
    let config = place.path("demo/log/log.toml");
    assert_eq!(ends(0, &["--json", "fsck", "--config", &config])["ok"], true);
    assert_eq!(ends(0, &["--json", "config", "check", "--config", &config])["ok"], true);
    // It runs again in its own folder, and never empties another.
    ends(0, &["--json", "demo", "--dir", &place.path("demo")]);
    std::fs::create_dir(place.path("mine")).expect("folder");
    std::fs::write(place.root.join("mine/thesis.txt"), "years of work").expect("written");
    ends(1, &["--json", "demo", "--dir", &place.path("mine")]);
    assert!(place.root.join("mine/thesis.txt").exists());
}

#[test]
fn dev_says_what_to_try_and_ends_on_ctrl_c() {
    let place = Place::new();
    let mut command = solelog(&["--json", "dev", "--dir", &place.path("dev"), "--listen", "127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let said: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
    assert_eq!(said["witnesses"].as_array().map(Vec::len), Some(2));
    assert!(Path::new(said["receipt"].as_str().expect("receipt")).exists());
    // What it says to try works as it stands there, in that order.
    let commands: Vec<&str> = said["try"].as_array().expect("commands").iter().filter_map(Value::as_str).collect();
    let with_curl = commands.iter().filter(|command| command.starts_with("curl "));
    for command in with_curl.clone() {
        let done = Command::new("sh").arg("-c").arg(command).output().expect("a shell");
        assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    }
    assert_eq!(with_curl.count(), 8);
    let invitation = std::fs::read(place.path("dev/invitation.json")).expect("an invitation");
    serde_json::from_slice::<client::wire::Invitation>(&invitation).expect("one that the SDK reads");
    kill_process(Pid::from_child(&child), Signal::INT).expect("sent");
    assert_eq!(child.wait().expect("ended").code(), Some(0));
}
