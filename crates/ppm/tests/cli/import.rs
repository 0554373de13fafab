//! `ppm import`: files of others and what is made of them, to the letter: `SNAPSHOTS=overwrite cargo test -p ppm` writes it anew.
//!
//! `tests/import/DIALECT` holds the files; beside each stands what it becomes, with `.ppm.yml` behind its name.

use std::fs;
use std::path::{Path, PathBuf};

use snapbox::Data;
use tempfile::TempDir;

use crate::daemon::ppm;

const DIALECTS: [&str; 5] = ["supervisord", "pm2", "procfile", "crontab", "process-compose"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import")
}

/// The files of a dialect that are there to be read.
fn files(dialect: &str) -> Vec<PathBuf> {
    let names = fs::read_dir(folder().join(dialect)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = names.filter(|path| path.is_file() && !path.to_str().unwrap().ends_with(".ppm.yml")).collect();
    files.sort();
    assert!(!files.is_empty(), "there is no file for {dialect}");
    files
}

/// A copy of a folder, below a temporary one, with a path as long as any other: how long lines are depends on it.
fn of_known_length(folder: &Path) -> (TempDir, PathBuf) {
    const LENGTH: usize = 100;
    let temporary = tempfile::tempdir().unwrap();
    let missing = LENGTH - 1 - temporary.path().as_os_str().len();
    let copy = temporary.path().join("x".repeat(missing));
    let mut waiting = vec![(folder.to_owned(), copy.clone())];
    while let Some((from, to)) = waiting.pop() {
        fs::create_dir(&to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
            let target = to.join(entry.file_name().unwrap());
            if entry.is_dir() {
                waiting.push((entry, target));
            } else {
                fs::copy(entry, target).unwrap();
            }
        }
    }
    (temporary, copy)
}

#[test]
fn every_file_becomes_a_configuration_that_loads() {
    for dialect in DIALECTS {
        for file in files(dialect) {
            let (folder, name) = (file.parent().unwrap(), file.file_name().unwrap().to_str().unwrap());
            let (_kept, place) = of_known_length(folder);
            let output = ppm("import --from").arg(dialect).arg(name).current_dir(&place).output().unwrap();
            assert_eq!((String::from_utf8_lossy(&output.stderr).as_ref(), output.status.code()), ("", Some(0)), "{}", file.display());
            // Where the repository lies is not what is tested.
            let text = String::from_utf8(output.stdout).unwrap().replace(place.to_str().unwrap(), "/srv/app");
            ppm_core::config::parse(&text, name).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
            snapbox::assert_data_eq!(&text, Data::read_from(&folder.join(format!("{name}.ppm.yml")), None).raw());
        }
    }
}

/// A file that is wrong, or none, and how it is imported.
struct Case {
    args: &'static str,
    name: &'static str,
    text: &'static [u8],
}

const fn case(args: &'static str, name: &'static str, text: &'static str) -> Case {
    Case { args, name, text: text.as_bytes() }
}

const WRONG: &[Case] = &[
    case("--from supervisord", "x.conf", "command=web\n"),
    case("--from supervisord", "x.conf", "[program:web]\ncommand=web\nautostart true\n"),
    case("--from supervisord", "x.conf", "[program:web]\n  =web\n"),
    case("--from supervisord", "x.conf", "; nothing\n[supervisord]\nnodaemon=true\n"),
    case("--from supervisord", "x.conf", "[program:web]\ncommand=web 'open\n"),
    case("--from supervisord", "x.conf", "[program:web]\ncommand=web\n[include]\nfiles = y.conf *.conf\n"),
    case("", "supervisord.conf", "[program:web]\ncommand=web\nuser=a:b:c\n"),
    case("--from pm2", "x.json", "{\n  \"apps\": [\n    {\"script\": \"a.js\"},\n  ]\n}\n"),
    case("--from pm2", "x.json", "{\n  // the web\n  \"apps\": []\n}\n"),
    case("", "ecosystem.config.js", "// the web\nmodule.exports = {\n  apps: [{ script: 'a.js' }]\n}\n"),
    case("--from pm2", "x.yml", "apps:\n  - script: a.js\n    name: a: b\n"),
    case("--from pm2", "x.yml", "apps: []\n"),
    case("--from pm2", "x.yml", "apps: !ruby/object\n  - script: a.js\n"),
    case("--from pm2", "x.yml", "apps:\n  - script: a.js\n    cron_restart: often\n"),
    case("", "Procfile", "web: ./web\n  worker ./worker\n"),
    case("", "Procfile", "# nothing\n"),
    case("", "crontab", "MAILTO=x\n0 3 * * /app/backup\n"),
    case("", "crontab", "0 3 * * *\n"),
    case("", "crontab", "5 0\t*/40 * * /app/backup\n"),
    case("", "crontab", "CRON_TZ=Pariz\n0 3 * * * /app/backup\n"),
    case("", "crontab", "0 3 * * * root /app/backup\n0 4 * * * /app/backup\n"),
    case(
        "",
        "process-compose.yaml",
        "processes:\n  a: {command: a, depends_on: {b: {condition: process_started}}}\n  b: {command: b, depends_on: {a: {condition: process_started}}}\n",
    ),
    case("", "process-compose.yaml", "processes: [a]\n"),
    case("", "process-compose.yaml", "processes:\n\tweb: x\n"),
    case("", "compose.yml", "services:\n  web: {image: nginx}\n"),
    case("", "none.conf", ""),
    case("--from pm2", ".", ""),
    case("--from docker", "x.conf", "x"),
    Case { args: "--from procfile", name: "x", text: b"web: ./web\nb\xc3\xa9: \xff\n" },
];

#[test]
fn every_wrong_file_is_told_what_where_and_what_next() {
    let path = folder().join("wrong.txt");
    let told: Vec<String> = WRONG.iter().map(told).collect();
    snapbox::assert_data_eq!(told.join("\n"), Data::read_from(&path, None).raw());
}

/// What is said of it, where there is nothing else but a file that includes the one that is read.
fn told(Case { args, name, text }: &Case) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("y.conf"), "[program:y]\ncommand=y\n[include]\nfiles=x.conf\n").unwrap();
    if !text.is_empty() {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let output = ppm(&format!("import {args} {name}")).current_dir(folder.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap().replace(folder.path().to_str().unwrap(), "/F");
    assert_eq!(output.stdout, b"", "{name}: nothing is printed by halves");
    assert!(stderr.contains("hint: "), "{name}: there is always something to do next: {stderr}");
    let shown = String::from_utf8_lossy(text);
    let shown: String = shown.lines().map(|line| format!("  {}\n", line.replace('\t', "\\t"))).collect();
    format!(
        "$ ppm import {args}{}{name}\n{shown}{stderr}exit code {}\n",
        if args.is_empty() { "" } else { " " },
        output.status.code().unwrap()
    )
}

#[test]
fn a_file_that_is_too_large_is_refused_and_one_that_is_not_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let most = 5 << 20;
    let line = "web: ./web\n";
    let comment = |length: usize| format!("{line}#{}\n", "x".repeat(length - line.len() - 2));
    fs::write(folder.path().join("Procfile"), comment(most)).unwrap();
    ppm("import Procfile").current_dir(folder.path()).assert().code(0).stderr_eq("");
    fs::write(folder.path().join("Procfile"), comment(most + 1)).unwrap();
    ppm("import Procfile").current_dir(folder.path()).assert().code(78).stdout_eq("").stderr_eq(snapbox::str![[r#"
error: cannot import Procfile: it is larger than 5 MiB
  hint: import it in parts, or look whether it is the file that is meant

"#]]);
}

#[test]
fn files_that_include_others_are_followed_so_deep_and_no_deeper() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..12 {
        let text = format!("[program:p{number}]\ncommand=p{number}\n[include]\nfiles=x{}.conf\n", number + 1);
        fs::write(folder.path().join(format!("x{number}.conf")), text).unwrap();
    }
    let import = |name: &str| ppm(&format!("import --from supervisord {name}")).current_dir(folder.path());
    ppm_core::config::parse(&String::from_utf8(import("x3.conf").output().unwrap().stdout).unwrap(), "x").unwrap();
    import("x0.conf").assert().code(78).stdout_eq("").stderr_eq(snapbox::str![[r#"
error: files include others more than 10 deep
 --> x9.conf:4:1
  |
4 | files=x10.conf
  | ^^^^^
  |
  = hint: name all files in one `[include]`

error: 1 problem in x9.conf

"#]]);
}

#[test]
fn stdin_is_read_and_json_has_the_same_with_the_remarks() {
    ppm("import --from procfile -")
        .stdin("web: ./web\n")
        .assert()
        .code(0)
        .stderr_eq("")
        .stdout_eq("...\n  - name: web\n    command: ./web\n");
    ppm("import -").stdin("[program:web]\ncommand=web\nx=1\n").assert().code(0).stdout_eq("...\n  # <stdin>:3: x: no equivalent\n...\n");
    let output = ppm("import --json -").stdin("[program:web]\ncommand=web\nx=1\n").output().unwrap();
    let value = String::from_utf8(output.stdout).unwrap();
    assert!(value.contains("{\"file\":\"<stdin>\",\"line\":3,\"message\":\"x: no equivalent\"}"), "{value}");
    assert!(value.starts_with("{\"configuration\":\"# ppm configuration, from <stdin> (supervisord)\\n"), "{value}");
    ppm("import -").stdin("web: ./web\n").assert().code(2).stdout_eq("").stderr_eq(snapbox::str![[r#"
error: it is not certain what <stdin> is for
  hint: say it: --from supervisord, pm2, procfile, crontab or process-compose

"#]]);
}

#[test]
fn variables_that_stand_beside_a_procfile_are_read_too() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Procfile"), "web: ./web\n").unwrap();
    fs::write(folder.path().join(".env"), "A=1\n").unwrap();
    ppm("import Procfile").current_dir(folder.path()).assert().code(0).stdout_eq("...\nenv_file: \".env\"\n...\n");
}

#[test]
fn the_page_for_those_who_come_shows_what_is_printed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/migrating.md");
    let page = fs::read_to_string(&path).unwrap();
    let mut written = page.split("<!-- import: ").next().unwrap().to_owned();
    let parts: Vec<&str> = page.split("<!-- import: ").skip(1).collect();
    assert_eq!(parts.len(), DIALECTS.len(), "there is one file of each");
    for part in parts {
        let (name, rest) = part.split_once(" -->\n```").unwrap();
        let (input, _) = rest.split_once('\n').unwrap().1.split_once("```\n").unwrap();
        let (before, rest) = part.split_once("```yaml\n").unwrap();
        let (_, after) = rest.split_once("```\n").unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(name), input).unwrap();
        let output = ppm(&format!("import {name}")).current_dir(folder.path()).output().unwrap();
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{name}");
        written.push_str(&format!("<!-- import: {before}```yaml\n{}```\n{after}", String::from_utf8(output.stdout).unwrap()));
    }
    snapbox::assert_data_eq!(written, Data::read_from(&path, None).raw());
}
