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
    for name in ["single", "group", "planned", "everything", "hints"] {
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
fn in_one_pod_what_others_need_comes_first_and_runs_on() {
    for name in ["single", "group", "everything", "hints"] {
        let words = format!("--format kubernetes --layout pod --kube-version 1.33 --image registry.example.com/shop:1.4.0 {name}.yml");
        let (code, out, err) = export(&words, &folder());
        assert_eq!((code, err.as_str()), (Some(0), ""), "{words}");
        snapbox::assert_data_eq!(&out, Data::read_from(&folder().join(format!("{name}.pod.yaml")), None).raw());
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
    fs::write(place.path().join("once.yml"), "services:\n  - {name: a, command: x, restart: never}\n").unwrap();
    assert_eq!(
        wrong("--format kubernetes --layout pod --kube-version v1.28 --image x once.yml"),
        (
            Some(2),
            "error: Kubernetes 1.28 has no containers that run on and that others wait for\n  hint: --kube-version 1.29 or later, or \
             --layout split\n"
                .to_owned()
        )
    );
    let (code, err) = wrong("--format kubernetes --kube-version 2 --image x once.yml");
    assert_eq!(code, Some(2));
    assert!(err.contains("a version of Kubernetes is wanted, such as 1.33"), "{err}");
    assert_eq!(
        wrong("--format kubernetes --layout pod --image x once.yml"),
        (
            Some(78),
            "error: nothing of it runs on, so there is no pod to be kept\n  hint: leave --layout out: what runs once becomes a Job, what \
             is planned a CronJob\n"
                .to_owned()
        )
    );
}

#[test]
fn what_only_platforms_want_to_know_stands_below_x_export() {
    let place = tempfile::tempdir().unwrap();
    let make = |hints: &str, format: &str| {
        let config = format!(
            "services:\n  - name: a\n    command: x\n    x-export:{hints}\n  - {{name: b, command: x, x-export: {{image: b:1, ports: 80}}}}\n"
        );
        fs::write(place.path().join("a.yml"), config).unwrap();
        export(&format!("--format {format} a.yml"), place.path())
    };
    // Where each says its image, nothing else is wanted; where one does not, --image is.
    let (code, out, err) = make(" {image: a:1, replicas: 0}", "compose");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("image: a:1") && out.contains("image: b:1") && out.contains("replicas: 0"), "{out}");
    let (code, _, err) = make(" {replicas: 2}", "compose");
    assert!(code == Some(2) && err.starts_with("error: --image is wanted"), "{err}");
    // What is wrong is left out, and told with its line.
    let rows = [
        (" a:1", "a.yml:4  a.x-export: a map is wanted, a text was left out"),
        ("\n      image: [a]", "a.yml:5  a.x-export.image: a text is wanted, a list was left out"),
        ("\n      replicas: many", "a.yml:5  a.x-export.replicas: \"many\" is not a number; it was left out"),
        (
            "\n      ports: [80, 80:0]",
            "a.yml:5  a.x-export.ports: \"80:0\" is not a port from 1 to 65535, or two as 80:8080; it was left out",
        ),
        ("\n      expose: 80:8080", "a.yml:5  a.x-export.expose: \"80:8080\" is not a port from 1 to 65535; it was left out"),
        ("\n      replicas: 2147483648", "a.yml:5  a.x-export.replicas: there are at most 2147483647; it was left out"),
        ("\n      image: ''", "a.yml:5  a.x-export.image: \"\" is not the name of an image; it was left out"),
        ("\n      image: 'a b'", "a.yml:5  a.x-export.image: \"a b\" is not the name of an image; it was left out"),
        ("\n      image: 'a:${TAG}'", "a.yml:5  a.x-export.image: Kubernetes knows no variables there: write what it comes to"),
        ("\n      volumes: [data]", "a.yml:5  a.x-export.volumes: \"data\" is not a volume such as data:/var/lib/data; it was left out"),
        ("\n      volumes: ['data:']", "a.yml:5  a.x-export.volumes: \"data:\" is not a volume"),
        ("\n      volumes: [':/x']", "a.yml:5  a.x-export.volumes: \":/x\" is not a volume"),
        ("\n      expose: 65536", "a.yml:5  a.x-export.expose: \"65536\" is not a port from 1 to 65535"),
        ("\n      port: 80", "a.yml:5  a.x-export.port: there is no such key: image, replicas, ports, expose, volumes"),
    ];
    for (hints, told) in rows {
        let (code, out, err) = make(hints, "kubernetes --image x");
        assert_eq!((code, err.as_str()), (Some(0), ""), "{hints}");
        assert!(out.contains(told), "{hints}: {out}");
    }
    // What is wrong in a list takes nothing else with it, and nothing takes back what was merged.
    let (_, out, _) = make("\n      ports: [81, 8080/tcp, 82, x]", "kubernetes --image x");
    assert!(out.contains("{name: port-81, port: 81, targetPort: 81}") && out.contains("{name: port-82, "), "{out}");
    assert!(out.contains("\"8080/tcp\" is not") && out.contains("\"x\" is not"), "{out}");
    let (_, out, _) = make("\n      <<: {ports: 81}\n      ports:\n      image: null", "kubernetes --image x");
    assert!(!out.contains("81") && !out.contains("Not mapped"), "{out}");
    // Which service has no image is said, and why.
    let (code, _, err) = make(" {image: [a]}", "compose");
    assert!(code == Some(2) && err.contains("; a has no image below x-export: a text is wanted, a list was left out\n"), "{err}");
    // Compose has unique items, and two ports of the machine cannot be the same.
    let (_, out, _) = make("\n      ports: [81, 81, '80:82']\n      expose: [9, 9]\n      volumes: [/d, /d]", "compose --image x");
    let once = ["ports: [{target: 81, published: \"81\"}, {target: 82, published: \"80\"}]", "expose: [\"9\"]", "volumes: [/d]"];
    assert!(once.iter().all(|text| out.contains(text)), "{out}");
    assert!(out.contains("b.x-export.ports: 80 is that of a already: only one of them can have it at a time"), "{out}");
    // An image's variables are Compose's.
    let (_, out, _) = make(" {image: 'a:${TAG}'}", "compose");
    assert!(out.contains("image: \"a:${TAG}\"") || out.contains("image: a:${TAG}"), "{out}");
    // Volumes are in the words of Compose, and those that have a name are declared.
    let (code, out, _) = make("\n      volumes: [\"${DATA}:/a\", named:/b, ./c:/c, /d]", "compose --image x");
    assert_eq!(code, Some(0));
    assert!(out.contains("volumes: [\"${DATA}:/a\", named:/b, \"./c:/c\", /d]") && out.ends_with("\nvolumes: {named: {}}\n"), "{out}");
    assert!(!make("", "compose --image x").1.contains("x-export"), "nothing is said");
    // What is said twice is there once.
    let (_, out, _) = make("\n      ports: 80\n      expose: 80", "kubernetes --image x");
    assert!(out.contains("{app.kubernetes.io/name: a}, ports: [{port: 80, targetPort: 80}]}") && !out.contains("Not mapped"), "{out}");
    let (_, out, _) = make("\n      volumes: [_a:/a, '${V:-v}:/v']", "compose --image x");
    assert!(out.ends_with("\nvolumes: {_a: {}}\n") && out.contains("if ${V:-v} comes to a name, declare it"), "{out}");
    // In one pod two have one address.
    let (_, out, _) = make("\n      ports: [80:8080]", "kubernetes --layout pod --image x");
    assert!(out.contains("b.x-export.ports: 80 is that of a already; it was left out"), "{out}");
}

/// As it is not to be lost in silence.
#[test]
fn what_runs_once_has_no_ports_and_none_of_it_does_not_run() {
    let place = tempfile::tempdir().unwrap();
    let make = |services: &str, words: &str| {
        fs::write(place.path().join("a.yml"), format!("services:\n{services}")).unwrap();
        let (code, out, err) = export(&format!("--image x {words} a.yml"), place.path());
        assert_eq!((code, err.as_str()), (Some(0), ""));
        out
    };
    let once = "  - {name: t, command: x, restart: never, x-export: {ports: 80, expose: 81, replicas: 0}}
  - {name: c, command: x, schedule: '0 3 * * *', x-export: {ports: 82, replicas: 0}}
";
    let out = make(once, "--format kubernetes");
    for told in ["t.x-export.ports", "t.x-export.expose", "c.x-export.ports"] {
        assert!(out.contains(&format!("{told}: nobody finds what runs once by a port there")), "{out}");
    }
    assert_eq!(out.matches("suspend: true").count(), 2, "{out}");
    assert!(make(once, "--format compose").contains("c.x-export.ports: `docker compose run` publishes them with --service-ports"));
    let waited =
        "  - {name: t, command: x, restart: never, x-export: {replicas: 3}}\n  - {name: u, command: x, depends_on: {t: finished}}\n";
    assert!(make(waited, "--format kubernetes").contains("t.x-export.replicas: it runs once before each that waits for it"));
    // Ports of one pod have names of their own, and it is said which key has one too many.
    let names = "  - {name: a, command: x, x-export: {ports: [80, 81]}}\n  - {name: a-80, command: x, x-export: {ports: 90}}\n";
    let out = make(names, "--format kubernetes --layout pod");
    assert!(out.contains("{name: a-80, port: 80,") && out.contains("{name: port-90-0, port: 90,"), "{out}");
    let asked = "  - {name: a, command: x, ready: {tcp: 80}}\n  - {name: b, command: x, ready: {tcp: 80}, x-export: {replicas: 0}}\n";
    let out = make(asked, "--format kubernetes --layout pod");
    assert!(out.contains("b.ready: 80 is that of a already") && out.contains("b.x-export.replicas: there is one of it in a pod"), "{out}");
}

/// What is needed only by one that runs once has nobody beside whom it could be the main container.
#[test]
fn a_pod_has_a_main_container_and_everything_in_its_order() {
    let place = tempfile::tempdir().unwrap();
    let config = "services:
  - {name: migrate, command: x, restart: never, depends_on: {db: ready}}
  - {name: db, command: x, ready: {tcp: 5432}, depends_on: [disk]}
  - {name: disk, command: x, autostart: false}
  - {name: never, command: x, autostart: false, depends_on: [migrate]}
  - {name: nightly, command: x, schedule: '0 3 * * *', depends_on: [db]}
";
    let containers = |file: &str, config: &str| {
        fs::write(place.path().join(file), config).unwrap();
        let (code, out, err) = export(&format!("--format kubernetes --layout pod --image x {file}"), place.path());
        assert_eq!((code, err.as_str()), (Some(0), ""));
        let (first, then) = out.split_once("\n      containers:").unwrap();
        let names = |text: &str| -> Vec<String> {
            let containers = text.split("\n---").next().unwrap().split("name: ").skip(1);
            containers.map(|rest| rest.split(|letter: char| !letter.is_alphanumeric()).next().unwrap().to_owned()).collect()
        };
        (names(first.split_once("initContainers:").map_or("", |(_, after)| after)), names(then), out)
    };
    let (first, then, out) = containers("few.yml", config);
    assert_eq!((first, then), (vec!["disk".to_owned(), "migrate".to_owned()], vec!["db".to_owned()]));
    assert!(out.contains("few.yml:3  db: starts last, as a pod must have a container"), "{out}");
    assert!(out.contains("few.yml:5  never.autostart: was left out"), "{out}");
    assert!(out.contains("\nkind: CronJob\n"), "{out}");
    let (first, then, out) = containers("more.yml", &format!("{config}  - {{name: web, command: x}}\n"));
    assert_eq!((first, then), (vec!["disk".to_owned(), "db".to_owned(), "migrate".to_owned()], vec!["web".to_owned()]));
    // Whoever waits for a port as long as it takes is killed after a day here.
    assert!(out.contains("\n            failureThreshold: 86400\n"), "{out}");
    assert!(out.contains("migrate.restart: what runs on begins when this has ended well"), "{out}");
}
