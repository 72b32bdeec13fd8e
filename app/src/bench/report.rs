//! The report: lines on the terminal, a JSON file, and a page with a chart.

use super::load::Measured;
use super::usage;
use anyhow::Context;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use time::OffsetDateTime;

const PERCENTILES: [f64; 5] = [50.0, 90.0, 99.0, 99.9, 100.0];

/// One run of load.
#[derive(Serialize)]
struct Run {
    name: String,
    requests: u64,
    per_second: f64,
    /// In milliseconds
    latency: BTreeMap<String, f64>,
    statuses: BTreeMap<u16, u64>,
    /// Processor time per request in microseconds, by process
    cpu: BTreeMap<&'static str, f64>,
    /// The most memory of the service, in MiB
    memory: Option<f64>,
}

/// One number.
#[derive(Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
}

/// What a run used.
#[derive(Default)]
pub struct Used {
    /// Microseconds of processor time, by process
    pub cpu: BTreeMap<&'static str, f64>,
    /// The most memory of the service, in MiB
    pub memory: Option<f64>,
}

/// What was measured, and where.
#[derive(Serialize)]
pub struct Report {
    time: String,
    version: &'static str,
    optimised: bool,
    cores: usize,
    cpu: String,
    /// Over the minute before
    load_average: f64,
    runs: Vec<Run>,
    figures: Vec<Figure>,
}

impl Report {
    /// An empty report with the conditions.
    pub fn new() -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            time: OffsetDateTime::now_utc().to_string(),
            version: env!("CARGO_PKG_VERSION"),
            optimised: !cfg!(debug_assertions),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu: cpu.map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_owned()),
            load_average: usage::load_average(),
            runs: Vec::new(),
            figures: Vec::new(),
        }
    }

    /// Adds a run and shows it.
    pub fn run(&mut self, name: &str, measured: &Measured, used: Used) {
        let latency: BTreeMap<String, f64> = PERCENTILES
            .iter()
            .map(|p| (format!("p{p}"), measured.latency.value_at_percentile(*p) as f64 / 1000.0))
            .collect();
        let run = Run {
            name: name.to_owned(),
            requests: measured.latency.len(),
            per_second: measured.rate(),
            latency,
            statuses: measured.statuses.clone(),
            cpu: used.cpu.into_iter().map(|(name, time)| (name, time / measured.latency.len() as f64)).collect(),
            memory: used.memory,
        };
        let cpu: Vec<String> = run.cpu.iter().map(|(name, time)| format!("{name} {time:.0}")).collect();
        println!(
            "{:<48} {:>9.0}/s  p50 {:>8.2} ms  p99 {:>8.2} ms  {:?}  µs: {}  {:.0} MiB",
            run.name,
            run.per_second,
            run.latency["p50"],
            run.latency["p99"],
            run.statuses,
            cpu.join(", "),
            run.memory.unwrap_or(0.0)
        );
        self.runs.push(run);
    }

    /// Adds a number and shows it.
    pub fn figure(&mut self, name: &str, value: f64, unit: &'static str) {
        println!("{name:<48} {value:>9.1} {unit}");
        self.figures.push(Figure { name: name.to_owned(), value, unit });
    }

    fn rate_of(&self, name: &str) -> Option<f64> {
        let run = self.runs.iter().find(|run| run.name == name).map(|run| run.per_second);
        run.or_else(|| self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value))
    }

    /// Adds how ours compare with the limits.
    pub fn ratios(&mut self) {
        let pairs = [
            ("cached event read", "limit: empty axum handler"),
            ("hold and confirm a seat", "limit: bare single-row INSERT"),
            ("general-admission sale", "limit: bare single-row INSERT"),
        ];
        for (ours, limit) in pairs {
            if let (Some(rate), Some(most)) = (self.rate_of(ours), self.rate_of(limit)) {
                self.figure(&format!("{ours} / {}", limit.trim_start_matches("limit: ")), 100.0 * rate / most, "%");
            }
        }
    }

    /// Writes `report.json` and `report.html`.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        for (name, text) in [("report.json", serde_json::to_string_pretty(self)?), ("report.html", self.html()?)] {
            let path = directory.join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("{}", path.display());
        }
        Ok(())
    }

    fn html(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::from(
            "<!doctype html><meta charset=utf-8><title>ticketing bench</title><style>body{font:15px sans-serif;\
             max-width:60em;margin:2em auto}td,th{padding:.2em .8em;text-align:right}td:first-child{text-align:left}\
             </style><h1>ticketing bench</h1>",
        );
        let build = if self.optimised { "release" } else { "debug" };
        write!(
            page,
            "<p>{} · {} · {} × {} · {build} build · load average before: {:.1}</p>",
            self.time, self.version, self.cores, self.cpu, self.load_average
        )?;
        page.push_str(&self.chart()?);
        page.push_str(
            "<table><tr><th><th>per second<th>p50 ms<th>p99 ms<th>p99.9 ms<th>answers<th>µs of processor time<th>MiB</tr>",
        );
        for run in &self.runs {
            write!(
                page,
                "<tr><td>{}<td>{:.0}<td>{:.2}<td>{:.2}<td>{:.2}<td>{:?}<td>",
                run.name, run.per_second, run.latency["p50"], run.latency["p99"], run.latency["p99.9"], run.statuses
            )?;
            for (name, time) in &run.cpu {
                write!(page, "{name} {time:.0}<br>")?;
            }
            page.push_str("<td>");
            if let Some(memory) = run.memory {
                write!(page, "{memory:.0}")?;
            }
        }
        page.push_str("</table><table>");
        for figure in &self.figures {
            write!(page, "<tr><td>{}<td>{:.1}<td>{}</tr>", figure.name, figure.value, figure.unit)?;
        }
        page.push_str("</table>");
        Ok(page)
    }

    /// Latencies of all runs on a logarithmic scale from 0.1 ms to 10 s: a bar from p50 to p99, a tick at the maximum.
    fn chart(&self) -> Result<String, std::fmt::Error> {
        let place = |ms: f64| 320.0 + 110.0 * (ms.clamp(0.1, 10_000.0).log10() + 1.0);
        let height = 30 + 24 * self.runs.len();
        let mut svg = format!("<svg viewBox='0 0 900 {height}' font-size='12' role='img' aria-label='latencies'>");
        for (label, ms) in [("0.1 ms", 0.1), ("1 ms", 1.0), ("10 ms", 10.0), ("0.1 s", 100.0), ("1 s", 1000.0)] {
            let x = place(ms);
            write!(svg, "<path d='M{x} 20V{height}' stroke='#ddd'/><text x='{x}' y='14'>{label}</text>")?;
        }
        for (index, run) in self.runs.iter().enumerate() {
            let y = 30 + 24 * index;
            let (from, to, most) = (place(run.latency["p50"]), place(run.latency["p99"]), place(run.latency["p100"]));
            let (width, text) = ((to - from).max(2.0), y + 11);
            write!(
                svg,
                "<text x='0' y='{text}'>{}</text><rect x='{from}' y='{y}' width='{width}' height='14' fill='#287'/>\
                 <path d='M{most} {y}v14' stroke='#a33' stroke-width='2'/>",
                run.name
            )?;
        }
        svg.push_str("</svg>");
        Ok(svg)
    }
}
