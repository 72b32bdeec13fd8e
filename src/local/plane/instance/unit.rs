//! systemd's unit files: what a boot script writes, read as far as the stand-in carries it out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::words;

/// When a service is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    #[default]
    No,
    OnFailure,
    Always,
}

/// Where what a service writes goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Null,
    /// To the instance's journal, as nothing else is said.
    Journal,
    Append(PathBuf),
    Truncate(PathBuf),
}

/// A service as its unit file and the drop-ins describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// With `.service`.
    pub name: String,
    pub description: String,
    /// The command line, variables not replaced yet.
    pub command: String,
    /// Files may be missing when their name begins with `-`.
    pub environment_files: Vec<String>,
    /// Assignments, already unquoted.
    pub environment: Vec<String>,
    pub directory: Option<PathBuf>,
    pub restart: Restart,
    pub restart_pause: Duration,
    /// How long it may take to stop before it is killed.
    pub stop_patience: Duration,
    pub output: Output,
    pub errors: Output,
    pub wanted_by: BTreeSet<String>,
}

/// What would change what a service does, and what only guards it more closely: the sandbox is guarded already.
const NOT_CARRIED_OUT: [&str; 6] =
    ["ExecStartPre", "ExecStartPost", "ExecStop", "ExecStopPost", "ExecReload", "ExecCondition"];

/// Services that run once and end, or tell when they are ready, aren't known here.
const TYPES: [&str; 3] = ["simple", "exec", ""];

type Sections = BTreeMap<(String, String), Vec<String>>;

impl Unit {
    /// Reads a unit below `/etc/systemd/system`, with the drop-ins for it and for all services.
    ///
    /// # Errors
    /// When there is no such unit, or it wants what isn't known here.
    pub fn read(directory: &Path, name: &str) -> Result<Self, String> {
        let file = directory.join(name);
        let text = std::fs::read_to_string(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => format!("Unit {name} could not be found."),
            _ => format!("{}: {error}", file.display()),
        })?;
        let mut sections = Sections::new();
        parse(&text, &mut sections).map_err(|reason| format!("{}: {reason}", file.display()))?;
        for drop_in in drop_ins(directory, name) {
            let text = std::fs::read_to_string(&drop_in).map_err(|error| format!("{}: {error}", drop_in.display()))?;
            parse(&text, &mut sections).map_err(|reason| format!("{}: {reason}", drop_in.display()))?;
        }
        Self::of(name, &sections).map_err(|reason| format!("{name}: {reason}"))
    }

    fn of(name: &str, sections: &Sections) -> Result<Self, String> {
        let all = |section: &str, key: &str| {
            sections.get(&(section.to_owned(), key.to_owned())).map(Vec::as_slice).unwrap_or_default()
        };
        let last = |key: &str| all("Service", key).last().map(String::as_str).unwrap_or_default();
        if let Some(key) = NOT_CARRIED_OUT.iter().find(|key| !last(key).is_empty()) {
            return Err(format!("{key}= is not carried out in the local cloud"));
        }
        if !TYPES.contains(&last("Type")) {
            return Err(format!("Type={} is not known in the local cloud", last("Type")));
        }
        let command = match all("Service", "ExecStart") {
            [command] => command.trim_start_matches(['-', '@', ':', '+', '!']).to_owned(),
            [] => return Err("Service has no ExecStart= setting. Refusing.".to_owned()),
            _ => return Err("Service has more than one ExecStart= setting. Refusing.".to_owned()),
        };
        let mut environment = Vec::new();
        for line in all("Service", "Environment") {
            environment.extend(words::split(line)?);
        }
        let time = |key: &str, default: Duration| match last(key) {
            "" => Ok(default),
            text => span(text).ok_or_else(|| format!("{key}={text} is no time span")),
        };
        let output = output(last("StandardOutput"), &Output::Journal)?;
        let errors = self::output(last("StandardError"), &output)?;
        let directory = Some(last("WorkingDirectory")).filter(|path| !path.is_empty()).map(PathBuf::from);
        Ok(Self {
            name: name.to_owned(),
            description: all("Unit", "Description").last().cloned().unwrap_or_default(),
            command,
            environment_files: all("Service", "EnvironmentFile").to_vec(),
            environment,
            directory,
            restart: match last("Restart") {
                "" | "no" => Restart::No,
                "always" => Restart::Always,
                "on-failure" => Restart::OnFailure,
                other => return Err(format!("Restart={other} is not known in the local cloud")),
            },
            restart_pause: time("RestartSec", Duration::from_millis(100))?,
            stop_patience: time("TimeoutStopSec", Duration::from_secs(90))?,
            output,
            errors,
            wanted_by: all("Install", "WantedBy")
                .iter()
                .flat_map(|names| names.split_whitespace())
                .map(str::to_owned)
                .collect(),
        })
    }
}

/// Drop-ins in the order in which they count.
fn drop_ins(directory: &Path, name: &str) -> Vec<PathBuf> {
    let list = |folder: String| {
        let entries = std::fs::read_dir(directory.join(folder)).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "conf"));
        files.sort();
        files
    };
    [list("service.d".to_owned()), list(format!("{name}.d"))].concat()
}

/// Adds a file's settings; an empty one takes back what came before.
fn parse(text: &str, sections: &mut Sections) -> Result<(), String> {
    let mut section = String::new();
    let mut continued = String::new();
    for line in text.lines() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(begun) = line.strip_suffix('\\') {
            continued.push_str(begun);
            continued.push(' ');
            continue;
        }
        let line = std::mem::take(&mut continued) + line;
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| format!("`{line}` is no setting"))?;
        let values = sections.entry((section.clone(), key.trim().to_owned())).or_default();
        match value.trim() {
            "" => values.clear(),
            value => values.push(value.to_owned()),
        }
    }
    Ok(())
}

fn output(text: &str, inherited: &Output) -> Result<Output, String> {
    match text.split_once(':') {
        None if ["", "inherit"].contains(&text) => Ok(inherited.clone()),
        None if text == "null" => Ok(Output::Null),
        None if ["journal", "journal+console", "syslog", "kmsg"].contains(&text) => Ok(Output::Journal),
        Some(("append", path)) => Ok(Output::Append(path.into())),
        Some(("file" | "truncate", path)) => Ok(Output::Truncate(path.into())),
        _ => Err(format!("StandardOutput={text} is not known in the local cloud")),
    }
}

/// A time span such as `2`, `1min 30s` or `500ms`.
/// Source: <https://www.freedesktop.org/software/systemd/man/latest/systemd.time.html#Parsing%20Time%20Spans>
fn span(text: &str) -> Option<Duration> {
    if text == "infinity" {
        return Some(Duration::MAX);
    }
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|next: char| !next.is_ascii_digit() && next != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let letters = after.find(|next: char| !next.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let seconds = match unit {
            "" | "s" | "sec" | "second" | "seconds" => 1.0,
            "ms" | "msec" => 0.001,
            "us" | "usec" => 0.000_001,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hour" | "hours" => 3600.0,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        rest = after.trim_start();
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Result<Unit, String> {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let file = directory.path().join(name);
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
            std::fs::write(file, text).expect("a file");
        }
        Unit::read(directory.path(), "web.service")
    }

    const WEB: &str = "[Unit]\nDescription=web of shop\nAfter=network-online.target\n\n[Service]\n# comment\n\
        ExecStart=/opt/web \"serve\" \\\n  --fast\nEnvironmentFile=/etc/web.env\nRestart=always\nRestartSec=2\n\
        TimeoutStopSec=1min 30s\nStandardOutput=append:/var/log/web.log\nStandardError=inherit\nDynamicUser=yes\n\
        [Install]\nWantedBy=multi-user.target\n";

    #[test]
    fn a_unit_is_what_its_file_and_the_drop_ins_say() {
        let unit = read(&[
            ("web.service", WEB),
            ("service.d/10-local.conf", "[Service]\nEnvironmentFile=/run/local.env\n"),
            ("web.service.d/20-own.conf", "[Service]\nRestartSec=500ms\nEnvironment=A=1 \"B=2 3\"\n"),
        ])
        .expect("a unit");
        assert_eq!(unit.command, "/opt/web \"serve\"  --fast");
        assert_eq!(unit.environment_files, ["/etc/web.env", "/run/local.env"]);
        assert_eq!(unit.environment, ["A=1", "B=2 3"]);
        assert_eq!((unit.restart, unit.restart_pause), (Restart::Always, Duration::from_millis(500)));
        assert_eq!(unit.stop_patience, Duration::from_secs(90));
        assert_eq!((&unit.output, &unit.errors), (&Output::Append("/var/log/web.log".into()), &unit.output));
        assert_eq!(unit.wanted_by, BTreeSet::from(["multi-user.target".to_owned()]));
    }

    #[test]
    fn what_is_not_known_is_refused_with_its_name() {
        assert_eq!(read(&[]).expect_err("no unit"), "Unit web.service could not be found.");
        let with = |line: &str| read(&[("web.service", &WEB.replace("# comment", line))]).expect_err(line);
        assert!(with("ExecStop=/bin/true").contains("ExecStop="));
        assert!(with("Type=notify").contains("Type=notify"));
        assert!(with("ExecStart=/bin/false").contains("more than one"));
        assert!(read(&[("web.service", "[Service]\nRestart=always")]).expect_err("none").contains("no ExecStart="));
    }

    #[test]
    fn a_drop_in_may_take_back_what_a_unit_says() {
        let unit =
            read(&[("web.service", WEB), ("web.service.d/a.conf", "[Service]\nExecStart=\nExecStart=/opt/other\n")]);
        assert_eq!(unit.expect("a unit").command, "/opt/other");
    }
}
