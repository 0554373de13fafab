//! Time zones by their names, from the database that is built in: a name means the same in every image.
//!
//! Reads no file and no variable of the environment.

use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::names;
use crate::spec::{InvalidSpec, shown};

/// The zone of this name, as `Europe/Paris`; capitals do not matter.
///
/// # Errors
/// There is none; the hint names the nearest there is.
pub fn named(name: &str) -> Result<TimeZone, InvalidSpec> {
    find(name).ok_or_else(|| {
        let invalid = InvalidSpec::new(format!("`{}` is not a time zone", shown(name)));
        match nearest(name) {
            Some(near) => invalid.hint(format!("did you mean `{near}`?")),
            None => invalid.hint("write a name of the tz database, like `Europe/Paris`, `America/New_York` or `UTC`"),
        }
    })
}

/// The same for those who have nobody to tell: without looking for the nearest.
pub fn find(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

/// As [`named`] takes it; empty for a zone that has none.
pub fn name_of(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or_default()
}

/// All that [`named`] takes, in the order of the alphabet.
pub fn all() -> Vec<String> {
    let mut names: Vec<String> = TimeZoneDatabase::bundled().available().map(|zone| zone.as_str().to_owned()).collect();
    names.sort_unstable();
    names
}

/// Most leave out the continent, or misspell the city.
fn nearest(name: &str) -> Option<String> {
    let all = all();
    let wanted = name.trim().replace(' ', "_").to_ascii_lowercase();
    let city = |zone: &String| zone.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let cities: Vec<String> = all.iter().map(city).collect();
    let whole = || names::similar(name, all.iter().map(String::as_str)).map(str::to_owned);
    let near = names::similar(&wanted, cities.iter().map(String::as_str)).filter(|_| wanted.len() > 3 && !wanted.contains('/'));
    let found = near.and_then(|near| all.iter().find(|zone| city(zone) == near).cloned());
    found.or_else(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_by_name_in_any_case() {
        for (typed, name) in [("Europe/Paris", "Europe/Paris"), ("europe/paris", "Europe/Paris"), ("UTC", "UTC"), ("utc", "UTC")] {
            assert_eq!(name_of(&named(typed).unwrap()), name);
        }
    }

    #[test]
    fn the_nearest_zone_is_proposed() {
        let hint = |name| named(name).unwrap_err().hint.unwrap();
        assert_eq!(hint("Paris"), "did you mean `Europe/Paris`?");
        assert_eq!(hint("new york"), "did you mean `America/New_York`?");
        assert_eq!(hint("Pariz"), "did you mean `Europe/Paris`?");
        assert_eq!(hint("Europe/Pariz"), "did you mean `Europe/Paris`?");
        for nothing in ["UTC+2", "", "Middle/Earth and beyond", "../../etc/passwd"] {
            assert!(hint(nothing).starts_with("write a name of the tz database"), "{nothing}");
        }
    }
}
