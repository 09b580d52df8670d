//! What a witness says about itself: the about page, the mail to a network of witnesses, and the
//! unit that runs it.

use std::path::Path;

use tlog::key::Kind;

use crate::config::Config;
use crate::lists::EVERY_HOURS;
use crate::witness::Witness;

/// Where requests to take part in witness-network.org go.
const NETWORK: &str = "participate@lists.witness-network.org";

/// How many logs the about page shows.
const MOST_LOGS: usize = 1_000;

/// The submission prefix as the world sees it, without a slash at the end.
fn prefix(config: &Config) -> String {
    match &config.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("http://{}", config.listen),
    }
}

/// The about page, in plain text: what a log's operator needs to know.
#[must_use]
pub fn page(witness: &Witness) -> String {
    let config = witness.config();
    let prefix = prefix(&config);
    let mut text =
        format!("{}\n\nA transparency-log witness (https://c2sp.org/tlog-witness).\n\n", witness.vkey().name());
    for vkey in witness.vkeys() {
        text += &format!("vkey {vkey}\n");
    }
    text += &format!("\nPOST {prefix}/add-checkpoint\n");
    if witness.signs_subtrees() {
        text += &format!("POST {prefix}/sign-subtree\n");
    }
    text += &format!("GET  {prefix}/<hex sha256 of origin>/checkpoint\n");
    for (what, said) in [("operator", &config.operator), ("contact", &config.contact)] {
        if let Some(said) = said {
            text += &format!("\n{what} {said}\n");
        }
    }
    for list in &config.lists {
        text +=
            &format!("\nlist {list}\nread every {EVERY_HOURS} hours; new logs are added, known ones never changed\n");
    }
    let logs = witness.logs();
    if logs.len() > MOST_LOGS {
        text += &format!("\n{} logs, of which these are the first {MOST_LOGS}\n", logs.len());
    }
    for (log, size, time) in logs.into_iter().take(MOST_LOGS) {
        let hash = log.origin.hash();
        text += &format!("\nlog  {}\nsize {size}\nat   /{hash}/checkpoint\n", log.origin);
        if let Some(time) = time {
            text += &format!("time {time}\n");
        }
        if let Some(qpd) = log.qpd {
            text += &format!("qpd  {qpd}\n");
        }
        for key in &log.keys {
            text += &format!("vkey {key}\n");
        }
    }
    text
}

/// The mail by which an operator asks a network of witnesses to be listed.
#[must_use]
pub fn mail(witness: &Witness) -> String {
    let config = witness.config();
    let unsaid = |what: &str| format!("(please fill in, or set {what} in witness.toml)");
    let operator = config.operator.clone().unwrap_or_else(|| unsaid("operator"));
    let contact = config.contact.clone().unwrap_or_else(|| unsaid("contact"));
    let url = config.url.as_ref().map_or_else(|| unsaid("url"), |_| prefix(&config));
    let lists = if config.lists.is_empty() { unsaid("lists") } else { config.lists.join("\n                ") };
    let mut text = format!("To: {NETWORK}\nSubject: witness {}\n\n", witness.vkey().name());
    text += "Please list this witness.\n\n";
    text += &format!("Operator:       {operator}\nContact:        {contact}\nAbout page:     {url}/\n");
    text += &format!("add-checkpoint: {url}/add-checkpoint\n");
    for vkey in witness.vkeys() {
        let kind = if vkey.kind() == Kind::MlDsa44 { "0x06" } else { "0x04" };
        text += &format!("vkey ({kind}):    {vkey}\n");
    }
    text += &format!(
        "Log lists:      {lists}\nReconfigured:   every {EVERY_HOURS} hours; new logs are added, known ones never changed\n"
    );
    text
}

/// A hardened systemd unit that runs the witness in `dir` with `program`.
#[must_use]
pub fn unit(program: &Path, dir: &Path) -> String {
    let (program, dir) = (program.display(), dir.display());
    UNIT.replace("{program}", &program.to_string()).replace("{dir}", &dir.to_string())
}

const UNIT: &str = "\
# A witness. To /etc/systemd/system/solelog-witness.service, then: systemctl enable --now solelog-witness
[Unit]
Description=solelog-witness, cosigns transparency-log heads it has checked
After=network-online.target
Wants=network-online.target
# A witness that cannot trust its own state refuses to run. One restart may heal a full disk; a
# witness that keeps failing must stay down until somebody has looked.
StartLimitIntervalSec=300
StartLimitBurst=3

[Service]
Type=exec
ExecStart={program} serve --dir {dir}
ExecReload=/bin/kill -HUP $MAINPID
# The key as a credential, instead of the file in the folder:
#LoadCredentialEncrypted=witness.key
DynamicUser=no
User=solelog-witness
ReadWritePaths={dir}
UMask=0077
Restart=on-failure
RestartSec=5s
TimeoutStopSec=60s
LimitNOFILE=65536
LimitCORE=0
CapabilityBoundingSet=
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources

[Install]
WantedBy=multi-user.target
";
