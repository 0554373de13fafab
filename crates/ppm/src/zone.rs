//! The local time zone, found without looking through the whole database of zones.
//!
//! As the C library does it: `TZ` is the name of a file of the database, a path, or a rule (`CET-1CEST`); without
//! `TZ` it is `/etc/localtime`. A name that the system does not know is looked up among the zones that are built in: Debian 13 keeps
//! older names (`US/Eastern`) in a package of its own. What cannot be found is UTC (R74).

use std::path::Path;

use jiff::tz::TimeZone;
use ppm_core::zone;

/// Where the zones lie that `TZ` names.
const DATABASE: &str = "/usr/share/zoneinfo";

/// The zone that `TZ` names, else the system's, else UTC.
pub fn local(tz: Option<&str>) -> TimeZone {
    find(tz).unwrap_or(TimeZone::UTC)
}

/// The same, if there is one.
pub fn find(tz: Option<&str>) -> Option<TimeZone> {
    let Some(name) = tz.map(|name| name.strip_prefix(':').unwrap_or(name)) else {
        return file(Path::new("/etc/localtime"));
    };
    // Joining a path that begins at the root gives that path.
    file(&Path::new(DATABASE).join(name)).or_else(|| zone::find(name)).or_else(|| TimeZone::posix(name).ok())
}

fn file(path: &Path) -> Option<TimeZone> {
    TimeZone::tzif("local", &std::fs::read(path).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon(tz: &str) -> String {
        "2026-01-01T12:00:00Z".parse::<jiff::Timestamp>().unwrap().to_zoned(local(Some(tz))).strftime("%H:%M %Z").to_string()
    }

    #[test]
    fn a_zone_may_be_a_rule_a_name_or_a_file() {
        assert_eq!(noon("CET-1CEST,M3.5.0,M10.5.0/3"), "13:00 CET");
        assert_eq!(noon("UTC"), "12:00 UTC");

        // tzfile(5), version 1: a header, one type (7200 seconds east, no summer time, first name), its name.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("zone");
        let counts: [u32; 6] = [0, 0, 0, 0, 1, 4];
        let mut bytes = [b"TZif".as_slice(), &[0; 16]].concat();
        bytes.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
        bytes.extend(7200_i32.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(b"XYZ\0");
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(noon(path.to_str().unwrap()), "14:00 XYZ");
        assert_eq!(noon(&format!(":{}", path.display())), "14:00 XYZ");
    }

    #[test]
    fn what_is_no_zone_is_utc_r74() {
        for tz in ["", ":", "Nowhere/At_All", "/nowhere/at/all", "!"] {
            assert_eq!(noon(tz), "12:00 UTC", "{tz}");
        }
    }
}
