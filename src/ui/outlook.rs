//! What a plan leads to, as text.

use owo_colors::OwoColorize;
use std::fmt::Write;

use crate::preflight::{Finding, Outlook};

/// The last lines of a plan.
pub fn text(outlook: &Outlook) -> String {
    let mut out = String::new();
    for finding in &outlook.preflight {
        let _ = writeln!(out, "{}", self::finding(finding));
    }
    let mut takes = format!("Forecast: about {}", duration(outlook.forecast.seconds));
    if let Some(seconds) = outlook.last_time {
        let _ = write!(takes, " ({} the last time)", duration(seconds));
    }
    let interruptions = &outlook.forecast.interruptions;
    let _ = writeln!(
        out,
        "{takes}{}",
        if interruptions.is_empty() { "; nothing is interrupted." } else { ". Interrupted:" }
    );
    for interruption in interruptions {
        let (id, why) = (&interruption.id, &interruption.why);
        let _ = writeln!(out, "  {id} for about {}: {why}", duration(interruption.seconds));
    }
    if let Some(month) = &outlook.month {
        let difference = month.then - month.now;
        let sign = if difference < 0.0 { "-" } else { "+" };
        let _ = writeln!(
            out,
            "Cost: about ${:.2} per month ({sign}${:.2}), without traffic; `ticketctl cost` tells more.",
            month.then,
            difference.abs()
        );
        if !month.unpriced.is_empty() {
            let _ = writeln!(out, "  no price is known for {}", month.unpriced.join(", "));
        }
    }
    out
}

/// One line about something that was found out beforehand.
pub fn finding(finding: &Finding) -> String {
    match finding {
        Finding::Problem(text) => format!("{} {text}", "✗".red()),
        Finding::Warning(text) => format!("{} {text}", "!".yellow()),
        Finding::Unasked(text) => format!("{} {text}", "?".yellow()),
    }
}

/// Seconds as people say them.
fn duration(seconds: u64) -> String {
    match seconds {
        0..=1 => "a second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", (seconds + 30) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{Forecast, Interruption},
        preflight::Month,
    };

    #[test]
    fn an_outlook_tells_time_money_and_trouble() {
        let interruption = Interruption { id: "cache".into(), why: "class can't change".into(), seconds: 600 };
        let outlook = Outlook {
            preflight: vec![Finding::Problem("no address is left".into())],
            forecast: Forecast { seconds: 840, interruptions: vec![interruption] },
            last_time: Some(62),
            month: Some(Month { now: 400.0, then: 365.5, unpriced: Vec::new() }),
        };
        let text = anstream::adapter::strip_str(&text(&outlook)).to_string();
        assert_eq!(
            text,
            "✗ no address is left\n\
             Forecast: about 14 minutes (62 seconds the last time). Interrupted:\n  \
             cache for about 10 minutes: class can't change\n\
             Cost: about $365.50 per month (-$34.50), without traffic; `ticketctl cost` tells more.\n"
        );
    }
}
