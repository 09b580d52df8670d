//! The command as cron runs it: what it prints, and how it ends.

mod stage;

use std::path::Path;
use std::process::Command;

use scal3::Hash;
use stage::{Site, TOKEN, log, note, policy_text};
use tlog::tree::TreeHead;

/// Runs it; gives exit code, standard output, standard error.
async fn run(policy: &Path, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_solelog-monitor"));
    command
        .arg("--policy")
        .arg(policy)
        .args(args)
        .env_remove("SOLELOG_MONITOR_TOKEN")
        .env_remove("SOLELOG_MONITOR_STATE");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_run_ends_in_the_code_of_its_worst_finding() {
    let dir = tempfile::tempdir().unwrap();
    let site = Site::of(&log(20)).await;
    let policy = dir.path().join("trust");
    let vkey = format!("{}", stage::signer(1).vkey());
    std::fs::write(&policy, policy_text().replace(&vkey, &format!("{vkey} {}", site.url))).unwrap();
    let state = dir.path().join("state");
    let state = state.to_str().unwrap();

    // The policy says where the log is.
    let (code, out, err) = run(&policy, &["--state", state, "--token", TOKEN]).await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let last = "OK: log.example/one at 20 entries; 20 read now, 3 records verified, 0 unverifiable";
    assert_eq!(out.lines().last(), Some(last), "{out}");

    let (code, out, err) = run(&policy, &[]).await;
    assert!(code == 0 && err.starts_with("note: nothing was kept"), "{out}{err}");
    assert!(out.contains("UNVERIFIABLE    19 entries"), "{out}");

    let (code, out, err) = run(&policy, &["--json"]).await;
    assert_eq!(err, "");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &report["class"], &report["unverifiable"]), (0, &"OK".into(), &19.into()));
    assert_eq!(report["findings"][0]["code"], "signed");

    let head = TreeHead { root: Hash([7; 32]), ..log(20).fold.head() };
    site.show(&note(head));
    let (code, out, _) = run(&policy, &["--state", state]).await;
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("TAMPER          the log signed two roots for one size"), "{out}");
    assert!(out.contains("state/evidence/fork-"), "{out}");

    site.close().await;
    let (code, out, _) = run(&policy, &["--state", state]).await;
    assert_eq!(code, 2, "{out}");
    assert!(out.starts_with("INFRASTRUCTURE  checkpoint: "), "{out}");
}

#[tokio::test]
async fn wrong_usage_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let policy = dir.path().join("trust");
    std::fs::write(&policy, policy_text()).unwrap();
    let missing = dir.path().join("missing");
    let rows: [(&Path, &[&str], &str); 5] = [
        (&policy, &[], "Give --url"),
        (&policy, &["--url", "log.example"], "not an http, https or file URL"),
        (&missing, &["--url", "http://127.0.0.1:1"], "missing: No such file"),
        (&policy, &["--token", ""], "one line of visible ASCII"),
        (&policy, &["--max-age", "soon"], "invalid value"),
    ];
    for (policy, args, says) in rows {
        let (code, out, err) = run(policy, args).await;
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}");
        assert!(err.contains(says), "{args:?}: {err}");
    }
    std::fs::write(&policy, "quorum nobody\n").unwrap();
    let (code, _, err) = run(&policy, &["--json"]).await;
    let error: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert_eq!((code, &error["exit"]), (2, &2.into()));
    assert!(error["error"].as_str().unwrap().contains("line 1"), "{error}");
}
