//! Daily and weekly windows in UTC: `03:00-04:00`, `mon:04:00-mon:05:00`.

use super::Checker;

const DAY: u32 = 24 * 60;
const WEEK: u32 = 7 * DAY;

/// A stretch of minutes that may run over the end of its cycle.
#[derive(Clone, Copy)]
struct Window {
    start: u32,
    length: u32,
}

fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    Some(hours.parse::<u32>().ok()? * 60 + minutes.parse::<u32>().ok()?)
}

fn daily(text: &str) -> Option<Window> {
    let (start, end) = text.split_once('-')?;
    between(minutes(start)?, minutes(end)?, DAY)
}

fn weekly(text: &str) -> Option<Window> {
    let moment = |text: &str| {
        let (day, time) = text.split_once(':')?;
        let days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let day = days.iter().position(|known| *known == day)?;
        Some(u32::try_from(day).ok()? * DAY + minutes(time)?)
    };
    let (start, end) = text.split_once('-')?;
    between(moment(start)?, moment(end)?, WEEK)
}

fn between(start: u32, end: u32, cycle: u32) -> Option<Window> {
    (start < cycle && end < cycle).then(|| Window { start, length: (end + cycle - start) % cycle })
}

/// True when a daily and a weekly window share a minute.
fn collide(daily: Window, weekly: Window) -> bool {
    let offset = |from: u32, to: u32| (to + DAY - from % DAY) % DAY;
    offset(weekly.start, daily.start) < weekly.length || offset(daily.start, weekly.start) < daily.length
}

/// True when a daily and a weekly window are ones and share a minute.
pub fn overlap(day: &str, week: &str) -> bool {
    matches!((daily(day), weekly(week)), (Some(day), Some(week)) if collide(day, week))
}

/// Checks the windows of one resource, the daily one if it has it: each at least `least` minutes and at most a day, and apart.
pub(super) fn check(c: &mut Checker<'_>, day: Option<(&str, &str)>, week: (&str, &str), least: u32) {
    let daily = day.and_then(|(path, text)| Some((path, daily(text)?)));
    let weekly = weekly(week.1).map(|window| (week.0, window));
    // What has another form was refused by the schema already.
    for (path, window) in daily.iter().chain(&weekly) {
        if window.length < least {
            c.error("window", format!("`{path}` must be at least {least} minutes long"))
                .at(path, format!("{} minutes", window.length))
                .report();
        } else if window.length > DAY {
            c.error("window", format!("`{path}` must be at most 24 hours long"))
                .at(path, format!("{} hours", window.length / 60))
                .report();
        }
    }
    if let (Some((day, daily)), Some((week, weekly))) = (daily, weekly)
        && weekly.length <= DAY
        && collide(daily, weekly)
    {
        c.error("window", format!("`{day}` and `{week}` overlap"))
            .at(day, "every day")
            .at(week, "")
            .help("times are in UTC")
            .report();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collisions_are_found_over_midnight_and_the_end_of_the_week() {
        for (day, week, expected) in [
            ("03:00-04:00", "mon:04:00-mon:05:00", false),
            ("03:00-04:01", "mon:04:00-mon:05:00", true),
            ("23:30-00:30", "sun:23:45-mon:00:15", true),
            ("23:30-00:30", "mon:00:15-mon:00:45", true),
            ("12:00-13:00", "mon:22:00-tue:23:00", true),
            ("02:00-02:30", "sun:23:00-mon:01:00", false),
        ] {
            let (daily, weekly) = (daily(day).expect(day), weekly(week).expect(week));
            assert_eq!(collide(daily, weekly), expected, "{day} {week}");
        }
    }
}
