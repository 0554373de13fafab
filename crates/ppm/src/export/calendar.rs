//! Schedules in the words of others: the five fields of crontab(5), and calendar events of systemd.time(7).
//!
//! By their text, since that is what is to be translated. What has no translation is told and never guessed.

use std::fmt::Write;

/// What became of an expression.
#[derive(Debug, PartialEq, Eq)]
pub enum Planned {
    As(String),
    /// This, but for what is said.
    Nearly(String, String),
    /// There is no way to say it.
    Not(String),
}

/// Names that mean the same to crontab(5), to Kubernetes and to systemd, with their fields.
const NICKNAMES: [(&str, &str, &str); 8] = [
    ("@yearly", "0 0 1 1 *", "yearly"),
    ("@annually", "0 0 1 1 *", "yearly"),
    ("@monthly", "0 0 1 * *", "monthly"),
    ("@weekly", "0 0 * * 0", "Sun *-*-* 00:00:00"),
    ("@daily", "0 0 * * *", "daily"),
    ("@midnight", "0 0 * * *", "daily"),
    ("@hourly", "0 * * * *", "hourly"),
    ("@minutely", "* * * * *", "minutely"),
];

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/// An expression without the zone in front of it, and that zone.
pub fn without_zone(expression: &str) -> (&str, Option<&str>) {
    let zoned = ["CRON_TZ=", "TZ="].into_iter().find_map(|prefix| expression.trim_start().strip_prefix(prefix));
    match zoned.and_then(|rest| rest.split_once(char::is_whitespace)) {
        Some((zone, rest)) => (rest.trim_start(), Some(zone)),
        None => (expression, None),
    }
}

/// As Kubernetes reads it.
pub fn five_fields(expression: &str) -> Planned {
    if let Some((_, fields, _)) = nickname(expression) {
        return Planned::As((*fields).to_owned());
    }
    let fields: Vec<&str> = expression.split_whitespace().collect();
    match fields.as_slice() {
        [begin, ..] if begin.starts_with('@') => Planned::Not("there are no such periods".to_owned()),
        fields if fields.iter().any(|field| is_special(field)) => Planned::Not("`L`, `W`, `#` and `?` are not known".to_owned()),
        [_, _, _, _, _] => Planned::As(fields.join(" ")),
        ["0", rest @ ..] if rest.len() == 5 => Planned::As(rest.join(" ")),
        [_, rest @ ..] if rest.len() == 5 => Planned::Nearly(rest.join(" "), "there are no seconds: it runs at the full minute".to_owned()),
        _ => Planned::Not("there are no years".to_owned()),
    }
}

/// When a timer is due: lines of its section.
pub fn calendar(expression: &str, zone: Option<&str>) -> Result<Vec<String>, String> {
    let zone = zone.map_or(String::new(), |zone| format!(" {zone}"));
    if let Some((_, _, event)) = nickname(expression) {
        return Ok(vec![format!("OnCalendar={event}{zone}")]);
    }
    if let Some(period) = expression.strip_prefix("@every ") {
        return Ok(vec![format!("OnActiveSec={}", period.trim()), format!("OnUnitActiveSec={}", period.trim())]);
    }
    if expression == "@reboot" {
        return Ok(vec!["OnBootSec=1s".to_owned()]);
    }
    let mut fields: Vec<&str> = expression.split_whitespace().collect();
    if let Some(field) = fields.iter().find(|field| is_special(field)) {
        return Err(format!("`{field}` has no translation"));
    }
    if fields.len() == 5 {
        fields.insert(0, "0");
    }
    let year = if fields.len() == 7 { fields.pop() } else { None };
    let [second, minute, hour, day, month, weekday] = fields.as_slice() else {
        return Err("it is not read as fields".to_owned());
    };
    let number = |field: &str, first: u32, width: usize| translated(field, first, |text| plain(text, width));
    let month = translated(month, 1, |text| {
        let named = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(text));
        named.map_or_else(|| plain(text, 2), |at| Ok(format!("{:02}", at + 1)))
    })?;
    let time = format!("{}:{}:{}", number(hour, 0, 2)?, number(minute, 0, 2)?, number(second, 0, 2)?);
    let year = year.map_or(Ok("*".to_owned()), |year| number(year, 1970, 4))?;
    let event = |weekday: &str, day: &str| format!("OnCalendar={weekday}{year}-{month}-{day} {time}{zone}");
    // Where both are said, either day counts for cron, and both must agree for systemd.
    let mut lines = Vec::new();
    if !weekday.starts_with('*') {
        lines.push(event(&format!("{} ", weekdays(weekday)?), "*"));
    }
    if !day.starts_with('*') || lines.is_empty() {
        lines.push(event("", &number(day, 1, 2)?));
    }
    Ok(lines)
}

fn nickname(expression: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    NICKNAMES.iter().find(|(name, ..)| name.eq_ignore_ascii_case(expression))
}

fn is_special(field: &str) -> bool {
    let is_name = |word: &str| word.len() == 3 && word.chars().all(|letter| letter.is_ascii_alphabetic());
    field.contains(['#', '?']) || field.split([',', '-', '/']).any(|word| !is_name(word) && word.contains(['L', 'l', 'W', 'w']))
}

fn plain(text: &str, width: usize) -> Result<String, String> {
    text.parse::<u32>().map(|number| format!("{number:0width$}")).map_err(|_| format!("`{text}` has no translation"))
}

/// `*`, `1-5`, `*/5`, `1-9/2` and lists of them.
fn translated(field: &str, first: u32, value: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let mut out = String::new();
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let begin = match (range, range.split_once('-')) {
            ("*", _) if step.is_none() => "*".to_owned(),
            ("*", _) => first.to_string(),
            (_, Some((from, to))) => format!("{}..{}", value(from)?, value(to)?),
            (one, None) => value(one)?,
        };
        if !out.is_empty() {
            out.push(',');
        }
        // Writing to a String cannot fail.
        let _ = match step {
            None => write!(out, "{begin}"),
            Some(step) => write!(out, "{begin}/{step}"),
        };
    }
    Ok(out)
}

/// Each day by its name: a range across Sunday is none for systemd.
fn weekdays(field: &str) -> Result<String, String> {
    let number = |text: &str| {
        let named = DAYS.iter().position(|name| name.eq_ignore_ascii_case(text));
        named.or_else(|| text.parse().ok().filter(|number| *number <= 7)).ok_or_else(|| format!("`{text}` has no translation"))
    };
    let mut days = [false; 7];
    for part in field.split(',') {
        let (range, step) = part.split_once('/').map_or((part, 1), |(range, step)| (range, step.parse().unwrap_or(1)));
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => (number(from)?, number(to)?),
            None => (number(range)?, number(range)?),
        };
        let to = if to < from { to + 7 } else { to };
        for day in (from..=to).step_by(step) {
            if let Some(is_due) = days.get_mut(day % 7) {
                *is_due = true;
            }
        }
    }
    let due: Vec<&str> = DAYS.iter().zip(days).filter(|(_, is_due)| *is_due).map(|(name, _)| *name).collect();
    Ok(due.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_told_as_kubernetes_reads_them() {
        let as_is = |text: &str| Planned::As(text.to_owned());
        assert_eq!(five_fields("*/5 * * * *"), as_is("*/5 * * * *"));
        assert_eq!(five_fields("0 30 2 * * MON-FRI"), as_is("30 2 * * MON-FRI"));
        assert_eq!(five_fields("@daily"), as_is("0 0 * * *"));
        assert!(matches!(five_fields("*/10 * * * * *"), Planned::Nearly(fields, _) if fields == "* * * * *"));
        for wrong in ["@every 90s", "@reboot", "0 0 L * *", "0 0 * * 5L", "0 0 15W * *", "0 0 * * MON#1", "0 0 0 1 1 * 2030"] {
            assert!(matches!(five_fields(wrong), Planned::Not(_)), "{wrong}");
        }
    }

    #[test]
    fn expressions_become_calendar_events() {
        let events = [
            ("0 3 * * *", vec!["*-*-* 03:00:00"]),
            ("*/15 * * * *", vec!["*-*-* *:0/15:00"]),
            ("30 0 9-17 * * MON-FRI", vec!["Mon,Tue,Wed,Thu,Fri *-*-* 09..17:00:30"]),
            ("0 0 1,15 JAN-MAR/2 *", vec!["*-01..03/2-01,15 00:00:00"]),
            ("0 0 13 * 5", vec!["Fri *-*-* 00:00:00", "*-*-13 00:00:00"]),
            ("0 0 * * 5-1", vec!["Sun,Mon,Fri,Sat *-*-* 00:00:00"]),
            ("0 0 * * 7", vec!["Sun *-*-* 00:00:00"]),
            ("0 0 0 1 1 * 2030", vec!["2030-01-01 00:00:00"]),
            ("0 0 */2 * *", vec!["*-*-1/2 00:00:00"]),
            ("@weekly", vec!["Sun *-*-* 00:00:00"]),
        ];
        for (expression, wanted) in events {
            let wanted: Vec<String> = wanted.into_iter().map(|event| format!("OnCalendar={event}")).collect();
            assert_eq!(calendar(expression, None), Ok(wanted), "{expression}");
        }
        assert_eq!(calendar("0 3 * * *", Some("Europe/Paris")), Ok(vec!["OnCalendar=*-*-* 03:00:00 Europe/Paris".to_owned()]));
        assert_eq!(calendar("@every 90s", None), Ok(vec!["OnActiveSec=90s".to_owned(), "OnUnitActiveSec=90s".to_owned()]));
        assert_eq!(without_zone("CRON_TZ=Asia/Tokyo 0 3 * * *"), ("0 3 * * *", Some("Asia/Tokyo")));
        assert_eq!(without_zone("@daily"), ("@daily", None));
        assert!(calendar("0 0 L * *", None).is_err() && calendar("0 0 * * MON#2", None).is_err());
    }
}
