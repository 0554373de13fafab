//! `ppm export`: configurations and what is made of them, to the letter: `SNAPSHOTS=overwrite cargo test -p ppm` writes it anew.
//!
//! `tests/export` holds the configurations; beside each stands what it becomes in each format. `tests/documents/run` gives those to the
//! programs that know the formats.

use std::fs;
use std::path::{Path, PathBuf};

use snapbox::Data;

use crate::daemon::ppm;

const FORMATS: [(&str, &str); 3] = [("compose", "yaml"), ("kubernetes", "yaml"), ("systemd", "units")];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export")
}

/// Exit code, standard output and standard error.
fn export(words: &str, from: &Path) -> (Option<i32>, String, String) {
    let output = ppm("export").args(words.split(' ')).current_dir(from).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn every_configuration_becomes_what_was_looked_at() {
    for name in ["single", "group", "planned", "everything"] {
        for (format, extension) in FORMATS {
            let words = format!("--format {format} --image registry.example.com/shop:1.4.0 --uid www-data=33:33 {name}.yml");
            let (code, out, err) = export(&words, &folder());
            assert_eq!((code, err.as_str()), (Some(0), ""), "{words}");
            snapbox::assert_data_eq!(&out, Data::read_from(&folder().join(format!("{name}.{format}.{extension}")), None).raw());
            assert_eq!(export(&words, &folder()).1, out, "the same every time");
        }
    }
}

#[test]
fn objects_are_files_in_a_folder_if_that_is_asked_for() {
    let target = tempfile::tempdir().unwrap();
    let below = target.path().join("a/b");
    let (code, out, err) = export(&format!("--format systemd -d {} planned.yml", below.display()), &folder());
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", ""));
    let mut names: Vec<String> = fs::read_dir(&below).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names[..4], ["beat.service", "beat.timer", "cleanup.service", "cleanup.timer"]);
    let timer = fs::read_to_string(below.join("cleanup.timer")).unwrap();
    assert!(timer.starts_with("# Made of planned.yml") && timer.contains("OnCalendar=*-*-* *:0/15:00 Europe/Paris"), "{timer}");
}

#[test]
fn with_strict_nothing_is_printed_if_anything_does_not_map() {
    let (code, out, err) = export("--strict --format compose --image x group.yml", &folder());
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.starts_with("error: not everything maps: ") && err.contains("line 27: web.watch: "), "{err}");
    assert_eq!(export("--strict --format systemd single.yml", &folder()).0, Some(0));
}

#[test]
fn what_is_missing_or_wrong_is_told() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("wrong.yml"), "services:\n  - name: web\n    comand: x\n").unwrap();
    fs::write(place.path().join("twice.yml"), "services:\n  - {name: a.b, command: x}\n  - {name: A-b, command: x}\n").unwrap();
    fs::write(place.path().join("units.yml"), "services:\n  - {name: a@b, command: x}\n  - {name: a-b, command: x}\n").unwrap();
    let wrong = |words: &str| {
        let (code, out, err) = export(words, place.path());
        assert_eq!(out, "", "{words}");
        (code, err)
    };
    assert_eq!(
        wrong("--format compose twice.yml"),
        (
            Some(2),
            "error: --image is wanted: what the containers of twice.yml are made from\n  hint: ppm export --format compose --image \
             registry.example.com/shop:1.4.0\n"
                .to_owned()
        )
    );
    assert_eq!(
        wrong("--format kubernetes --image x twice.yml"),
        (
            Some(78),
            "error: `A-b` and `a.b` would have the same name in Kubernetes, `a-b`\n  hint: name it with small letters, digits and `-`\n"
                .to_owned()
        )
    );
    assert_eq!(
        wrong("--format systemd units.yml"),
        (Some(78), "error: two services would have the unit `a-b.service`\n  hint: rename one of them\n".to_owned())
    );
    assert_eq!(
        wrong("--format systemd --uid web twice.yml"),
        (Some(2), "error: --uid 'web' is not NAME=UID:GID\n  hint: --uid www-data=33:33\n".to_owned())
    );
    let (code, err) = wrong("--format systemd wrong.yml");
    assert_eq!(code, Some(78));
    assert!(err.contains("unknown key `comand`") && err.contains("wrong.yml:3:5"), "{err}");
    let (code, err) = wrong("--format systemd -d /proc/nowhere twice.yml");
    assert_eq!(code, Some(1));
    assert!(err.starts_with("error: cannot write /proc/nowhere: ") && err.contains("  hint: "), "{err}");
    assert_eq!(wrong("--format nomad twice.yml").0, Some(2));
}
