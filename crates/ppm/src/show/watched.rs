//! Which files are watched for services, how, and what changed last: `show-watch`.

use ppm_protocol::types::PathKind;
use ppm_protocol::{Inotify, Watched, WatchedPath, WatchedRow};

use super::table::{Column, Row, render};
use super::text::clean;
use super::{FAIR, Look, PLAIN, units};

const COLUMNS: [Column; 4] =
    [Column::text("PATH").shrinks(), Column::text("HOW"), Column::number("FOLDERS").goes(1), Column::number("FILES").goes(2)];

/// A line of figures and a table for each service, and how much of the limits of inotify is used.
pub fn tables(watched: &Watched, look: &Look) -> String {
    if watched.services.is_empty() {
        return "no service has files watched\n".to_owned();
    }
    let tables: Vec<String> = watched.services.iter().map(|service| table(service, look)).collect();
    let is_used = watched.services.iter().any(|service| service.watching);
    tables.join("\n") + &if is_used { format!("\n{}\n", limits(&watched.inotify)) } else { String::new() }
}

fn table(service: &WatchedRow, look: &Look) -> String {
    let name = clean(&service.name);
    let Some(action) = service.action.as_deref().filter(|_| !service.paths.is_empty()) else {
        return format!("{name}: has no files watched\n");
    };
    let title = format!("{name}: {}{}\n", clean(action), figures(service));
    let last = service.last_change.as_ref().map_or(String::new(), |last| {
        let acted = service.acted_at.map_or(String::new(), |at| format!("; acted upon {}", units::since(at, *look.now)));
        format!("last change {}: {}{acted}\n", units::since(last.at, *look.now), clean(&last.what))
    });
    title + &render(&COLUMNS, service.paths.iter().map(|path| row(path, service.watching)).collect(), look) + &last
}

/// `, 4 changes, acted upon 3 times, 5 times nothing had changed`; what has not happened is not told.
fn figures(service: &WatchedRow) -> String {
    let is_still = (!service.watching).then(|| "not watched while it is stopped".to_owned());
    let changes = match service.changes {
        0 => None,
        1 => Some("1 change".to_owned()),
        several => Some(format!("{several} changes")),
    };
    let acted = (service.changes > 0).then(|| format!("acted upon {}", times(service.acted)));
    let unchanged = (service.unchanged > 0).then(|| format!("{} written without a change", times(service.unchanged)));
    [is_still, changes, acted, unchanged].into_iter().flatten().map(|part| format!(", {part}")).collect()
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        other => format!("{other} times"),
    }
}

fn row(path: &WatchedPath, is_watched: bool) -> Row<'_> {
    let name = path.leads_to.as_ref().map_or_else(|| path.path.clone(), |real| format!("{} -> {real}", path.path));
    let how = if is_watched { how(path) } else { String::new() };
    let is_odd = is_watched && (!path.inotify || path.unwatched > 0 || path.what == Some(PathKind::Missing));
    let has = |count: u64, kinds: &[PathKind]| {
        if path.what.is_some_and(|what| kinds.contains(&what)) { count.to_string() } else { String::new() }
    };
    Row::default()
        .cell(name)
        .styled(how, if is_odd { FAIR } else { PLAIN })
        .cell(has(path.folders, &[PathKind::Folder]))
        .cell(has(path.files, &[PathKind::Folder, PathKind::File]))
}

/// `inotify`, `inotify, poll 2s (fuse)`, `inotify, poll 2s (80 folders)`, `poll 2s`; `waits for it` where nothing is there yet.
fn how(path: &WatchedPath) -> String {
    let what = match (path.what, &path.file_system, path.unwatched) {
        (Some(PathKind::Missing), _, _) => return "waits for it".to_owned(),
        (None, _, _) => return "not looked at yet".to_owned(),
        (Some(_), Some(name), _) => format!(" ({name})"),
        (Some(_), None, 1..) if path.inotify => format!(" ({} folders)", path.unwatched),
        (Some(_), None, _) => String::new(),
    };
    match (path.inotify, path.poll_ms) {
        (true, Some(ms)) => format!("inotify, poll {}{what}", units::duration(ms)),
        (true, None) if what.is_empty() => "inotify".to_owned(),
        (true, None) => format!("inotify, not all{what}"),
        (false, Some(ms)) => format!("poll {}", units::duration(ms)),
        (false, None) => "nothing: no inotify, and `poll: never`".to_owned(),
    }
}

fn limits(inotify: &Inotify) -> String {
    let of = |used: u64, most: Option<u64>| most.map_or_else(|| used.to_string(), |most| format!("{used} of {most}"));
    format!("inotify: {} watches, {} instances", of(inotify.watches, inotify.max_watches), of(inotify.instances, inotify.max_instances))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{piped, terminal};
    use super::*;
    use ppm_protocol::{FoundChange, Timestamp};

    fn path(path: &str, what: PathKind, folders: u64, files: u64) -> WatchedPath {
        WatchedPath { path: path.to_owned(), what: Some(what), inotify: true, folders, files, ..WatchedPath::default() }
    }

    fn web() -> WatchedRow {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let linked = WatchedPath { leads_to: Some("/app/v2".to_owned()), ..path("/app/current", PathKind::Folder, 1, 3) };
        let host =
            WatchedPath { poll_ms: Some(2000), file_system: Some("fuse".to_owned()), ..path("/app/src", PathKind::Folder, 412, 1830) };
        let part = WatchedPath { poll_ms: Some(2000), unwatched: 80, ..path("/app/lib", PathKind::Folder, 100, 7) };
        let none = WatchedPath { inotify: false, poll_ms: Some(500), ..path("/app/x", PathKind::File, 0, 1) };
        WatchedRow {
            id: 1,
            name: "web".to_owned(),
            watching: true,
            paths: vec![path("/app/config.yml", PathKind::File, 0, 1), linked, host, part, none, path("/etc/x", PathKind::Missing, 0, 0)],
            action: Some("restart".to_owned()),
            watches: 420,
            last_change: Some(FoundChange { at: at("2026-11-23T11:58:00Z"), what: "modified src/\u{1b}a.js".to_owned() }),
            changes: 4,
            acted_at: Some(at("2026-11-23T11:57:00Z")),
            acted: 3,
            unchanged: 1,
        }
    }

    fn all(services: Vec<WatchedRow>) -> Watched {
        let inotify = Inotify { instances: 1, max_instances: Some(128), watches: 425, max_watches: Some(65536) };
        Watched { services, inotify }
    }

    #[test]
    fn each_path_tells_how_it_is_watched_and_each_service_what_changed() {
        let expected = "
web: restart, 4 changes, acted upon 3 times, once written without a change
PATH                     HOW                            FOLDERS  FILES
/app/config.yml          inotify                              -      1
/app/current -> /app/v2  inotify                              1      3
/app/src                 inotify, poll 2s (fuse)            412   1830
/app/lib                 inotify, poll 2s (80 folders)      100      7
/app/x                   poll 500ms                           -      1
/etc/x                   waits for it                         -      -
last change 2m ago: modified src/\\u{1b}a.js; acted upon 3m ago

inotify: 425 of 65536 watches, 1 of 128 instances
";
        assert_eq!(format!("\n{}", tables(&all(vec![web()]), &piped())), expected);
        assert_eq!(format!("\n{}", tables(&all(vec![web()]), &terminal(80))), expected);
        assert!(
            tables(&all(vec![web()]), &terminal(40)).lines().filter(|line| line.contains("inotify, poll")).all(|line| line.len() <= 48)
        );
    }

    #[test]
    fn who_is_stopped_or_has_nothing_watched_says_so() {
        let quiet = WatchedRow { last_change: None, acted_at: None, changes: 0, acted: 0, unchanged: 0, ..web() };
        let unseen = WatchedPath { path: "src".to_owned(), ..WatchedPath::default() };
        let stopped = WatchedRow { watching: false, paths: vec![unseen], ..quiet.clone() };
        let expected = "web: restart, not watched while it is stopped\nPATH  HOW  FOLDERS  FILES\nsrc   -          -      -\n";
        assert_eq!(tables(&all(vec![stopped]), &piped()), expected);
        let nothing = WatchedRow { watching: false, paths: Vec::new(), action: None, ..quiet };
        assert_eq!(tables(&all(vec![nothing]), &piped()), "web: has no files watched\n");
        assert_eq!(tables(&all(Vec::new()), &piped()), "no service has files watched\n");
    }

    #[test]
    fn limits_that_are_not_known_are_left_out() {
        let inotify = Inotify { max_instances: None, max_watches: None, ..all(Vec::new()).inotify };
        assert_eq!(limits(&inotify), "inotify: 425 watches, 1 instances");
    }
}
