//! The machine, as far as it explains a figure.

use std::path::Path;

use serde_json::{Value as Json, json};

/// What it is, and how busy others kept it when the run began.
pub fn describe(folder: &Path) -> Json {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let flags = field("flags");
    let has = |flag: &str| flags.split_whitespace().any(|found| found == flag);
    json!({
        "cpu": field("model name"), "mhz": field("cpu MHz"),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "avx512_ifma": has("avx512ifma"), "sha_ni": has("sha_ni"),
        "memory_kib": read("/proc/meminfo").split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_before": read("/proc/loadavg").split_whitespace().next().and_then(|load| load.parse::<f64>().ok()),
        "folder": folder.display().to_string(), "file_system": file_system(folder),
        "profile": if cfg!(debug_assertions) { "dev" } else { "release" },
    })
}

/// The type of the file system that a folder is on.
fn file_system(folder: &Path) -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let folder = folder.canonicalize().ok()?;
    let of = |line: &str| {
        let mut words = line.split_whitespace();
        let (_, point, kind) = (words.next()?, words.next()?, words.next()?);
        folder.starts_with(point).then(|| (point.len(), kind.to_owned()))
    };
    mounts.lines().filter_map(of).max_by_key(|(length, _)| *length).map(|(_, kind)| kind)
}
