//! Tiles: the log's own server against nginx over the same folder.
//!
//! Both are asked over the same kind of connections by the same generator, in turn. On few cores the generator would hide
//! who is faster, so the ratio is of requests for each second of the *server's* CPU time; what the clock says is counted too.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tlog::TreeSize;
use tlog::tile::Tile;

use super::append::Stage;
use super::figures::{Figures, rounded};
use super::{Scale, median};
use crate::Error;
use crate::chance::chance;
use crate::local::Usage;
use crate::transport::{Connection, Place};

/// Connections that read.
const READING: usize = 32;

/// Compares them, if there is an nginx.
pub async fn compare(stage: &mut Stage, scale: &Scale, folder: &Path, figures: &mut Figures) -> Result<(), Error> {
    let size = stage.size().await?;
    let paths = paths(size)?;
    let served = stage.served()?;
    let (exported, url) = (folder.join("exported"), served.url.clone());
    let to = exported.to_string_lossy().into_owned();
    let program = &stage.log.program;
    tokio::task::block_in_place(|| program.run(&["--json", "export", "--url", &url, &to]))?;
    let nginx = match Nginx::start(folder, &exported).await {
        Ok(nginx) => nginx,
        Err(why) => {
            figures.missing("tile_vs_nginx", why);
            None
        }
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=scale.rounds {
        let read = reads(&stage.target.place, &paths, scale.reads, &|| Ok(served.usage()?.cpu_s)).await?;
        if round > 0 {
            ours.push(read);
        }
        if let Some(nginx) = &nginx {
            let read = reads(&nginx.place, &paths, scale.reads, &|| nginx.cpu_s()).await?;
            if round > 0 {
                theirs.push(read);
            }
        }
    }
    let of = |reads: &[Reads], what: fn(&Reads) -> f64| median(reads.iter().map(what).collect());
    figures.count("tile_paths", paths.len());
    figures.count("tile_gets_per_s", rounded(of(&ours, |r| r.per_s)));
    figures.count("tile_gets_per_server_cpu_s", rounded(of(&ours, |r| r.per_cpu_s)));
    if !theirs.is_empty() {
        figures.set("tile_vs_nginx", of(&ours, |r| r.per_cpu_s) / of(&theirs, |r| r.per_cpu_s));
        figures.count("nginx_gets_per_s", rounded(of(&theirs, |r| r.per_s)));
        figures.count("nginx_gets_per_server_cpu_s", rounded(of(&theirs, |r| r.per_cpu_s)));
        figures.count("tile_vs_nginx_by_the_clock", rounded(of(&ours, |r| r.per_s) / of(&theirs, |r| r.per_s)));
    }
    Ok(())
}

/// The full tiles of hashes, at most a thousand of them.
fn paths(size: u64) -> Result<Vec<String>, Error> {
    let full = u64::from(Tile::FULL);
    let size = TreeSize::new(size - size % full).map_err(|e| Error::System(e.to_string()))?;
    let tiles = (0..size.get() / full).take(1000).filter_map(|index| Tile::at(0, index, size));
    Ok(tiles.map(|tile| format!("/{}", tile.path())).collect())
}

/// What came of one run.
struct Reads {
    per_s: f64,
    per_cpu_s: f64,
}

async fn reads(
    place: &Place,
    paths: &[String],
    lasting: Duration,
    cpu_s: &dyn Fn() -> Result<f64, Error>,
) -> Result<Reads, Error> {
    let before = cpu_s()?;
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for lane in 0..READING as u64 {
        let (place, paths) = (place.clone(), paths.to_vec());
        tasks.spawn(async move {
            let mut connection = Connection::new(&place);
            let mut done = 0_u64;
            while began.elapsed() < lasting {
                let at = chance(lane << 40 | done) as usize % paths.len().max(1);
                let path = paths.get(at).ok_or_else(|| Error::System("the log has no full tile".to_owned()))?;
                if connection.get(path).await?.body()?.len() != Tile::FULL_BYTES {
                    return Err(Error::Wrong(format!("{path} is no full tile")));
                }
                done += 1;
            }
            Ok(done)
        });
    }
    let mut done = 0;
    while let Some(lane) = tasks.join_next().await {
        done += lane.map_err(|e| Error::System(e.to_string()))??;
    }
    let took = began.elapsed().as_secs_f64();
    Ok(Reads { per_s: done as f64 / took, per_cpu_s: done as f64 / (cpu_s()? - before) })
}

/// An nginx of our own. Dropping it stops it.
struct Nginx {
    master: Child,
    place: Place,
}

impl Nginx {
    /// Starts it over that folder; none, with the reason in the error, where there is no nginx.
    async fn start(folder: &Path, exported: &Path) -> Result<Option<Nginx>, String> {
        let address =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).map_err(|e| e.to_string())?;
        let own = folder.join("nginx");
        std::fs::create_dir_all(&own).map_err(|e| e.to_string())?;
        let (own_text, root) = (own.display(), exported.display());
        let config = format!(
            "daemon off;\nworker_processes auto;\npid {own_text}/pid;\nerror_log {own_text}/error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  tcp_nodelay on;\n\
             \x20 keepalive_requests 100000000;\n  open_file_cache max=10000;\n  default_type application/octet-stream;\n\
             \x20 client_body_temp_path {own_text}/body;\n  proxy_temp_path {own_text}/proxy;\n\
             \x20 fastcgi_temp_path {own_text}/fastcgi;\n  uwsgi_temp_path {own_text}/uwsgi;\n\
             \x20 scgi_temp_path {own_text}/scgi;\n\
             \x20 server {{ listen {address}; root {root}; add_header Cache-Control \"public, max-age=31536000, immutable\"; }}\n}}\n"
        );
        let file = own.join("nginx.conf");
        std::fs::write(&file, user().unwrap_or_default() + &config).map_err(|e| e.to_string())?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&own).arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let master = command
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("nginx can't be started ({e}); on Debian: apt-get install nginx-light"))?;
        let place = Place::parse(&format!("http://{address}")).map_err(|e| e.to_string())?;
        let mut nginx = Nginx { master, place };
        for _ in 0..100 {
            if Connection::new(&nginx.place).get("/checkpoint").await.is_ok_and(|answer| answer.status.is_success()) {
                return Ok(Some(nginx));
            }
            if nginx.master.try_wait().is_ok_and(|ended| ended.is_some()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let said = std::fs::read_to_string(own.join("error.log")).unwrap_or_default();
        Err(format!("nginx does not serve: {}", said.lines().last().unwrap_or("it says nothing")))
    }

    /// The CPU time of the master and its workers.
    fn cpu_s(&self) -> Result<f64, Error> {
        let master = self.master.id();
        let children = std::fs::read_to_string(format!("/proc/{master}/task/{master}/children")).unwrap_or_default();
        let workers = children.split_whitespace().filter_map(|id| id.parse().ok());
        workers.chain([master]).map(|process| Ok(Usage::of(process)?.cpu_s)).sum()
    }
}

/// As root its workers would be somebody who may not read our folder.
fn user() -> Option<String> {
    rustix::process::geteuid().is_root().then(|| "user root;\n".to_owned())
}

impl Drop for Nginx {
    fn drop(&mut self) {
        use rustix::process::{Pid, Signal, kill_process};
        // At SIGTERM the master stops its workers; killed, it would leave them.
        if let Some(pid) = i32::try_from(self.master.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.master.wait();
    }
}
