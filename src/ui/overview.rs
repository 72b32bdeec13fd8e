//! A stack in one screen.

use jiff::Timestamp;
use owo_colors::{OwoColorize, Style};
use std::fmt::Write;

use super::release::program;
use crate::rollout::{
    fleet::State,
    overview::{Node, Overview, ServiceState},
};

/// The screen, as text with colours. `now` is what ages are counted from.
pub fn text(overview: &Overview, now: Timestamp) -> String {
    let mut text = String::new();
    let address = overview.address.as_deref().map(|address| format!("  {address}")).unwrap_or_default();
    let _ = writeln!(text, "{}{address}", overview.stack.bold());
    for service in &overview.services {
        text.push_str(&self::service(service, now));
    }
    if let Some(database) = &overview.database {
        let _ = writeln!(
            text,
            "\n{}  {}  {}",
            "database".bold(),
            database.cluster,
            judged(&database.status, &["available"])
        );
        text.push_str(&nodes(&database.members));
    }
    if let Some(cache) = &overview.cache {
        let _ = writeln!(text, "\n{}  {}  {}", "cache".bold(), cache.group, judged(&cache.status, &["available"]));
        text.push_str(&nodes(&cache.members));
    }
    text.push_str(&alarms(overview, now));
    text
}

fn service(service: &ServiceState, now: Timestamp) -> String {
    let fleet = &service.fleet;
    let mut text = String::new();
    let state = match (service.paused, service.rolling) {
        (true, _) => format!("  {}", "paused".yellow()),
        (_, true) => format!("  {}", "rollout under way".cyan()),
        _ => String::new(),
    };
    let healthy = fleet.count(State::Healthy);
    let counts = format!("{healthy} healthy of {} (min {}, max {})", fleet.desired, fleet.min, fleet.max);
    let enough = i32::try_from(healthy).is_ok_and(|healthy| healthy >= fleet.desired);
    let style = if enough { Style::new().green() } else { Style::new().red() };
    let _ = writeln!(text, "\n{}  {}{state}", format!("service {}", service.name).bold(), counts.style(style));
    for (role, release) in [("release", &service.current), ("before", &service.previous)] {
        if let Some(release) = release {
            let made = release.made.map(|made| format!(", {} ago", age(now, made))).unwrap_or_default();
            let _ = writeln!(text, "  {role:8} {} ({}{made})", release.number, program(&release.program));
        }
    }
    for member in &fleet.members {
        let style = match member.state {
            State::Healthy => Style::new().green(),
            State::Unhealthy => Style::new().red(),
            State::Starting | State::Leaving => Style::new().yellow(),
        };
        let state = format!("{:?}", member.state).to_lowercase();
        let reason = member.reason.as_deref().map(|reason| format!("  {reason}")).unwrap_or_default();
        let _ = writeln!(
            text,
            "  {:19}  {:15}  release {:<4}  {}{}",
            member.id,
            member.zone,
            member.release,
            state.style(style),
            reason.dimmed()
        );
    }
    for boot in &service.failed_boots {
        let _ = writeln!(text, "  {} {}: {}", "boot".red(), boot.instance, boot.outcome);
    }
    text
}

fn nodes(nodes: &[Node]) -> String {
    let width = nodes.iter().map(|node| node.id.len()).max().unwrap_or_default();
    let line = |node: &Node| {
        format!("  {:width$}  {:8}  {:15}  {}\n", node.id, node.role, node.zone, judged(&node.status, &["available"]))
    };
    nodes.iter().map(line).collect()
}

/// Those that go off, and how many others there are.
fn alarms(overview: &Overview, now: Timestamp) -> String {
    let going_off: Vec<_> = overview.alarms.iter().filter(|alarm| alarm.state == "ALARM").collect();
    let mut text = String::new();
    let quiet = overview.alarms.len() - going_off.len();
    if overview.alarms.is_empty() {
        return text;
    }
    let summary = format!("{} going off, {quiet} quiet", going_off.len());
    let style = if going_off.is_empty() { Style::new().green() } else { Style::new().red() };
    let _ = writeln!(text, "\n{}  {}", "alarms".bold(), summary.style(style));
    for alarm in going_off {
        let since = alarm.since.map(|since| format!(" for {}", age(now, since))).unwrap_or_default();
        let _ = writeln!(text, "  {}{since}: {}", alarm.name.red(), alarm.reason);
    }
    text
}

fn judged(state: &str, good: &[&str]) -> String {
    if good.contains(&state) { state.green().to_string() } else { state.yellow().to_string() }
}

/// A length of time in its largest unit.
fn age(now: Timestamp, then: Timestamp) -> String {
    match now.duration_since(then).as_secs().max(0) {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds @ 7200..172_800 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::{
        fleet::{Fleet, Member},
        overview::{AlarmState, Boot, Database},
        release::Release,
    };

    fn release(number: u64) -> Release {
        Release {
            number,
            program: format!("{number}f").repeat(32),
            ami: "ami-1".into(),
            instance_type: "t3.medium".into(),
            made: "2026-11-20T08:00:00Z".parse().ok(),
            by: "arn:aws:iam::123456789012:user/ann".into(),
            previous: number.checked_sub(1).filter(|previous| *previous > 0),
            current: number == 5,
            rolled_back: false,
        }
    }

    #[test]
    fn one_screen_says_what_is_wrong() {
        let member = |id: &str, release, state, reason: Option<&str>| Member {
            id: id.into(),
            zone: "ap-northeast-2a".into(),
            release,
            state,
            reason: reason.map(str::to_owned),
        };
        let members = vec![
            member("i-00000000000000001", 4, State::Healthy, None),
            member("i-00000000000000002", 5, State::Unhealthy, Some("Health checks failed with these codes: [502]")),
        ];
        let fleet = Fleet { min: 2, max: 20, desired: 3, release: 5, members, ..Fleet::default() };
        let outcome = "failed: attempt 8 of 8 failed: fetch".to_owned();
        let overview = Overview {
            stack: "ticketing-dev".into(),
            address: Some("http://ticketing-dev-alb.example.com".into()),
            services: vec![ServiceState {
                name: "web".into(),
                fleet,
                rolling: true,
                paused: false,
                current: Some(release(5)),
                previous: Some(release(4)),
                failed_boots: vec![Boot { instance: "i-00000000000000002".into(), outcome }],
            }],
            database: Some(Database {
                cluster: "ticketing-dev-aurora-cluster".into(),
                status: "available".into(),
                members: ["writer", "reader"]
                    .map(|role| Node {
                        id: format!("db-{role}"),
                        role: role.into(),
                        zone: "ap-northeast-2c".into(),
                        status: "available".into(),
                    })
                    .into(),
            }),
            cache: None,
            alarms: ["OK", "ALARM"]
                .map(|state| AlarmState {
                    name: format!("alarm-web-{}", state.to_lowercase()),
                    state: state.into(),
                    since: "2026-11-20T08:20:00Z".parse().ok(),
                    reason: "12 > 10".into(),
                })
                .into(),
        };
        let now = "2026-11-20T08:30:00Z".parse().expect("a time");
        let plain = anstream::adapter::strip_str(&text(&overview, now)).to_string();
        insta::assert_snapshot!(plain, @r"
        ticketing-dev  http://ticketing-dev-alb.example.com

        service web  1 healthy of 3 (min 2, max 20)  rollout under way
          release  5 (5f5f5f5f5f5f, 30 min ago)
          before   4 (4f4f4f4f4f4f, 30 min ago)
          i-00000000000000001  ap-northeast-2a  release 4     healthy
          i-00000000000000002  ap-northeast-2a  release 5     unhealthy  Health checks failed with these codes: [502]
          boot i-00000000000000002: failed: attempt 8 of 8 failed: fetch

        database  ticketing-dev-aurora-cluster  available
          db-writer  writer    ap-northeast-2c  available
          db-reader  reader    ap-northeast-2c  available

        alarms  1 going off, 1 quiet
          alarm-web-alarm for 10 min: 12 > 10
        ");
    }
}
