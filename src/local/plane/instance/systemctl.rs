//! `systemctl` as boot scripts use it.

use std::path::Path;

use super::init::{Reply, Request, ask};
use super::services::Services;
use super::state::{Active, RUN, SOCKET};

/// What was ordered, and which services must come to rest before it is done.
#[derive(Debug)]
pub struct Order {
    reply: Reply,
    stopping: Vec<String>,
}

impl Order {
    /// The answer, once it can be given.
    pub fn outcome(&self, services: &Services) -> Option<Reply> {
        let rests = |name: &String| services.active(name) != Some(Active::Deactivating);
        self.stopping.iter().all(rests).then(|| self.reply.clone())
    }
}

/// A refusal, in the way that systemctl words it.
pub fn failed(reason: impl std::fmt::Display) -> Reply {
    Reply { code: 1, output: String::new(), errors: format!("{reason}\n") }
}

/// Does what the arguments say.
///
/// # Errors
/// What is to be answered at once: a refusal.
pub fn carry_out(services: &mut Services, arguments: &[String]) -> Result<Order, Reply> {
    let is_option = |argument: &&String| argument.starts_with('-');
    let options: Vec<&str> = arguments.iter().filter(is_option).map(String::as_str).collect();
    let mut words = arguments.iter().filter(|argument| !is_option(argument)).map(String::as_str);
    let verb = words.next().unwrap_or_default();
    let units: Vec<String> = words.map(full_name).collect();
    const OPTIONS: [&str; 5] = ["--now", "--quiet", "-q", "--no-block", "--system"];
    if let Some(unknown) = options.iter().find(|option| !OPTIONS.contains(option)) {
        return Err(failed(format!("systemctl: {unknown} is not known in the local cloud")));
    }
    let has = |option: &str| options.contains(&option);
    let quiet = has("--quiet") || has("-q");
    let now = has("--now");
    let refuse = |error: String| failed(explained(&error));
    let each = |services: &mut Services, act: fn(&mut Services, &str) -> Result<(), String>| {
        units.iter().try_for_each(|unit| act(services, unit)).map_err(refuse)
    };
    let mut order = Order { reply: Reply::default(), stopping: Vec::new() };
    match verb {
        "daemon-reload" => services.reload().map_err(refuse)?,
        "enable" => {
            each(services, |services, unit| services.enable(unit, true))?;
            if now {
                each(services, Services::start)?;
            }
        }
        "disable" => {
            each(services, |services, unit| services.enable(unit, false))?;
            if now {
                each(services, Services::stop)?;
                order.stopping = units;
            }
        }
        "start" => each(services, Services::start)?,
        "stop" => {
            each(services, Services::stop)?;
            order.stopping = units;
        }
        "restart" => {
            each(services, Services::restart)?;
            order.stopping = units;
        }
        "is-active" => {
            order.reply = told(&units, quiet, 3, |unit| {
                let active = services.active(unit).unwrap_or(Active::Inactive);
                (active.word(), active == Active::Active)
            })
        }
        "is-enabled" => {
            order.reply = told(&units, quiet, 1, |unit| {
                let enabled = services.is_enabled(unit) == Some(true);
                (if enabled { "enabled" } else { "disabled" }, enabled)
            })
        }
        other => return Err(failed(format!("systemctl: {other} is not known in the local cloud"))),
    }
    if has("--no-block") {
        order.stopping.clear();
    }
    Ok(order)
}

/// One word for each unit; the code says whether one of them is as asked.
fn told(units: &[String], quiet: bool, code: u8, tell: impl Fn(&str) -> (&'static str, bool)) -> Reply {
    let told: Vec<(&str, bool)> = units.iter().map(|unit| tell(unit)).collect();
    let code = if told.iter().any(|(_, yes)| *yes) { 0 } else { code };
    let lines = told.iter().map(|(word, _)| format!("{word}\n"));
    Reply { code, output: if quiet { String::new() } else { lines.collect() }, errors: String::new() }
}

fn full_name(name: &str) -> String {
    if name.contains('.') { name.to_owned() } else { format!("{name}.service") }
}

fn explained(error: &str) -> String {
    if error.contains("docker.service") {
        return format!("{error} Container images don't run in the local cloud: give the service an artifact.");
    }
    error.to_owned()
}

/// Asks the instance's init, prints what it says and gives back the exit code.
///
/// # Errors
/// When the init isn't there.
pub fn run(arguments: Vec<String>) -> std::io::Result<u8> {
    let reply = ask(&Path::new(RUN).join(SOCKET), &Request::Systemctl(arguments))?;
    print!("{}", reply.output);
    eprint!("{}", reply.errors);
    Ok(reply.code)
}
