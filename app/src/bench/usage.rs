//! What the processes of a run use: processor time and memory, as the kernel counts them.

use anyhow::Context;
use std::collections::BTreeMap;

/// Processor time of a process is told in hundredths of a second (`USER_HZ`, which is 100 on every Linux of today).
const TICK_MICROSECONDS: f64 = 10_000.0;

/// The processes that share the machine in a run.
pub struct Processes(pub Vec<(&'static str, u32)>);

impl Processes {
    /// Microseconds of processor time so far, by process.
    pub fn cpu(&self) -> anyhow::Result<BTreeMap<&'static str, f64>> {
        self.0.iter().map(|(name, id)| Ok((*name, cpu(*id)?))).collect()
    }
}

fn cpu(id: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).context("a process has ended")?;
    // The name is in parentheses and may hold anything; `utime` and `stime` are fields 14 and 15.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|ticks| ticks.parse::<f64>().ok());
    let (user, system) = ticks(14).zip(ticks(15)).context("no processor time")?;
    Ok((user + system) * TICK_MICROSECONDS)
}

/// Memory in use, and the most since [`forget_most`], in MiB.
pub fn memory(id: u32) -> anyhow::Result<(f64, f64)> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("the service has ended")?;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kib| kib / 1024.0)
    };
    field("VmRSS:").zip(field("VmHWM:")).context("no memory figures")
}

/// Begins to count the most memory anew.
pub fn forget_most(id: u32) -> anyhow::Result<()> {
    std::fs::write(format!("/proc/{id}/clear_refs"), "5").context("the most memory cannot be counted anew")
}

/// Processes that wanted to run, over the last minute.
pub fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}
