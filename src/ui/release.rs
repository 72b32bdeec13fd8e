//! A release on one line.

use owo_colors::OwoColorize;

use crate::rollout::release::Release;

/// `* 5  2026-11-20 09:12:44  4f2a…  ami-…  t3.medium  arn:…  given up`.
pub fn line(release: &Release) -> String {
    let sign = if release.current { "*".green().to_string() } else { " ".into() };
    let made = release.made.map(|made| made.strftime("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default();
    let note = if release.rolled_back { "  given up".yellow().to_string() } else { String::new() };
    let by = release.by.rsplit(':').next().unwrap_or_default();
    format!(
        "{sign} {:>4}  {made}  {:12}  {}  {}  {by}{note}",
        release.number,
        program(&release.program),
        release.ami,
        release.instance_type
    )
}

/// What tells one program from another, short enough to read.
pub fn program(program: &str) -> &str {
    let hash = program.strip_prefix("sha256:").unwrap_or(program);
    match hash.get(..12) {
        Some(short) => short,
        None if hash.is_empty() => "(nothing)",
        None => hash,
    }
}
