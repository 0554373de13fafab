//! What services see in their environment, with a real daemon, real files and real processes.

#![expect(clippy::unwrap_used, reason = "clippy sees tests only in functions marked as such; here all is test")]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a failure takes to be seen; nothing that works waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes the folder of a service into the file `NAME.pwd` and its environment into `NAME.seen`, whole or not at all.
const TELL: &str = "pwd > \"$ROOT/$PPM_SERVICE.pwd\"; \
    env -0 > \"$ROOT/$PPM_SERVICE.tmp\" && mv \"$ROOT/$PPM_SERVICE.tmp\" \"$ROOT/$PPM_SERVICE.seen\"";

struct Daemon {
    child: Child,
    folder: TempDir,
}

/// A folder that will be the daemon's.
fn folder() -> TempDir {
    tempfile::Builder::new().prefix("ppm-env-").tempdir().unwrap()
}

fn write(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) {
    fs::write(folder.path().join(name), content).unwrap();
}

/// A configuration of services that tell what they see, in which every service knows where to.
fn config(folder: &TempDir, top: &str, services: &[(&str, &str)]) -> String {
    let mut text = format!("{top}\nservices:\n");
    for (name, more) in services {
        let script = format!("ROOT={:?}; {TELL}", folder.path().display().to_string());
        text += &format!("  - {{name: {name}, command: [/bin/sh, -c, {}]{more}}}\n", json!(script));
    }
    text
}

impl Daemon {
    /// Starts in its folder, with this configuration, and with these variables beside PATH.
    fn start(folder: TempDir, config: &str, env: &[(&str, &OsStr)]) -> Daemon {
        write(&folder, "config.yml", config);
        let mut command = Command::new(env!("CARGO_BIN_EXE_ppm-daemon"));
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").envs(env.iter().copied()).current_dir(folder.path());
        // A relative name, as people type it: what it names is found beside it all the same.
        command.args(["--config", "config.yml", "--socket"]).arg(folder.path().join("ppm.sock"));
        let stderr = fs::File::create(folder.path().join("stderr")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        let daemon = Daemon { child, folder };
        until("the daemon answers", || UnixStream::connect(daemon.path("ppm.sock")).ok());
        daemon
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// As it is shown in messages.
    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn call(&self, method: &str, params: &Value) -> Value {
        let mut stream = BufReader::new(UnixStream::connect(self.path("ppm.sock")).unwrap());
        stream.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("{}\n", json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}));
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let mut reply: Value = serde_json::from_str(&line).unwrap();
        assert!(reply.get("error").is_none(), "{method}: {reply}");
        reply["result"].take()
    }

    fn row(&self, name: &str) -> Value {
        self.call("list", &json!({"services": [name]}))[0].clone()
    }

    /// Why a service could not be started, while it waits for its next attempt.
    fn why_not(&self, name: &str) -> String {
        let row = until(&format!("{name} could not be started"), || {
            let row = self.row(name);
            (row["status"] == "crashed").then_some(row)
        });
        assert_eq!(row["next_start"]["why"], "backoff", "{row}");
        row["reason"].as_str().unwrap().split(", retry").next().unwrap().to_owned()
    }

    /// What a service wrote.
    fn written(&self, name: &str) -> Vec<u8> {
        until(name, || fs::read(self.path(name)).ok().filter(|bytes| !bytes.is_empty()))
    }

    /// The variables that a service has seen, but for those of the shell.
    fn env(&self, name: &str) -> Vec<Vec<u8>> {
        let written = self.written(&format!("{name}.seen"));
        let of_shell = |line: &[u8]| [b"PWD=".as_slice(), b"SHLVL=", b"_=", b"OLDPWD="].iter().any(|own| line.starts_with(own));
        let lines = written.split(|byte| *byte == 0).filter(|line| !line.is_empty() && !of_shell(line));
        let mut lines: Vec<Vec<u8>> = lines.map(<[u8]>::to_vec).collect();
        lines.sort();
        lines
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn r8_services_see_the_layers_of_their_environment_byte_for_byte() {
    let folder = folder();
    write(&folder, "top.env", "A=file of the top\nB=file of the top\nRAW=${BYTES}\n");
    write(&folder, "web.env", b"C='file of web ${A}'\nD=\"${B}\"\nRAW=\x80${BYTES}\n");
    write(&folder, "pw", "secret\n");
    let top = "env_file: top.env\nenv: {B: top, HOME: '${HOME}/x'}";
    let own = ", env_file: [web.env], env: {E: '${PPM_SERVICE} ${PW}', PW: {file: pw}, PATH: '/opt/bin:${PATH}'}";
    let services = [("web", own), ("bare", ", inherit_env: false"), ("some", ", inherit_env: [LANG, PPM_CONFIG, NO]")];
    let bytes = OsStr::from_bytes(b"\xfe %s");
    let env = [("HOME", OsStr::new("/root")), ("LANG", OsStr::new("C")), ("BYTES", bytes), ("PPM_CONFIG", OsStr::new("/unused"))];
    let config = config(&folder, top, &services);
    let daemon = Daemon::start(folder, &config, &env);

    let common: [&[u8]; 3] = [b"A=file of the top", b"B=top", b"HOME=/root/x"];
    let seen = |name: &str, more: &[&[u8]]| {
        let told = format!("PPM_SERVICE={name}");
        let mut wanted: Vec<&[u8]> = [&common, more, &[told.as_bytes(), b"PPM_START_REASON=boot"]].concat();
        wanted.sort_unstable();
        let text = |lines: &[&[u8]]| lines.iter().map(|line| line.escape_ascii().to_string()).collect::<Vec<_>>();
        let found = daemon.env(name);
        let found: Vec<&[u8]> = found.iter().map(Vec::as_slice).collect();
        assert_eq!(text(&found), text(&wanted), "{name}");
    };
    let web: [&[u8]; 8] = [
        b"BYTES=\xfe %s",
        b"C=file of web ${A}",
        b"D=top",
        b"E=web secret",
        b"LANG=C",
        b"PATH=/opt/bin:/usr/local/bin:/usr/bin:/bin",
        b"PW=secret",
        b"RAW=\x80\xfe %s",
    ];
    seen("web", &web);
    seen("bare", &[b"RAW=\xfe %s"]);
    seen("some", &[b"LANG=C", b"PPM_CONFIG=/unused", b"RAW=\xfe %s"]);
}

#[test]
fn r3_what_cannot_be_read_is_told_exactly_and_tried_again() {
    let folder = folder();
    mkfifo(&folder.path().join("fifo"), Mode::S_IRWXU).unwrap();
    write(&folder, "wrong.env", "A=1\nhunter2\n");
    write(&folder, "large", vec![b'x'; (1 << 20) + 1]);
    let services = [
        ("missing", ", env_file: missing.env"),
        ("fifo", ", env: {A: {file: fifo}}"),
        ("wrong", ", env_file: wrong.env"),
        ("large", ", env_file: large"),
        ("needs", ", env: {URL: '${DB:?name a database}'}"),
        ("nowhere", ", workdir: '/nowhere/${PPM_SERVICE}'"),
        ("relative", ", workdir: '${LANG}'"),
    ];
    let config = config(&folder, "restart_interval: 1h", &services);
    let daemon = Daemon::start(folder, &config, &[("LANG", OsStr::new("C"))]);
    for (name, reason) in [
        ("missing", format!("env_file: no such file: {}", daemon.shown("missing.env"))),
        ("fifo", format!("env: A: not a regular file: {}", daemon.shown("fifo"))),
        ("wrong", format!("env_file: {}:2: `=` is missing", daemon.shown("wrong.env"))),
        ("large", format!("env_file: larger than 1 MiB: {}", daemon.shown("large"))),
        ("needs", "env: URL: name a database".to_owned()),
        ("nowhere", "workdir: no such folder: /nowhere/nowhere".to_owned()),
        ("relative", "workdir: not an absolute path: ${LANG}".to_owned()),
    ] {
        assert_eq!(daemon.why_not(name), reason);
    }
    assert!(!fs::read_to_string(daemon.path("stderr")).unwrap().contains("hunter2"));

    fs::write(daemon.path("missing.env"), "FOUND=now\n").unwrap();
    daemon.call("start", &json!({"services": ["missing"]}));
    assert!(daemon.env("missing").contains(&b"FOUND=now".to_vec()));
}

#[test]
fn secrets_are_read_at_each_start_and_shown_nowhere() {
    let folder = folder();
    write(&folder, "pw", "hunter2");
    let web = ", env: {PW: {file: pw}, URL: 'x://${PW}@h'}, restart: never";
    let gone = ", env: {PW: {file: pw}}, workdir: '/nowhere/${PW}'";
    let config = config(&folder, "", &[("web", web), ("gone", gone)]);
    let daemon = Daemon::start(folder, &config, &[]);
    assert!(daemon.env("web").contains(&b"URL=x://hunter2@h".to_vec()));
    assert_eq!(daemon.why_not("gone"), "workdir: no such folder: /nowhere/${PW}");
    let yaml = daemon.call("configuration", &json!({}))["yaml"].as_str().unwrap().to_owned();
    assert!(yaml.contains(&format!("PW: {{file: {}}}", daemon.shown("pw"))), "{yaml}");
    let said = [
        yaml,
        daemon.call("info", &json!({})).to_string(),
        daemon.call("list", &json!({})).to_string(),
        daemon.call("events", &json!({})).to_string(),
        fs::read_to_string(daemon.path("stderr")).unwrap(),
    ];
    assert!(!said.iter().any(|text| text.contains("hunter2")), "{said:?}");

    fs::write(daemon.path("pw"), "hunter3\n").unwrap();
    fs::remove_file(daemon.path("web.seen")).unwrap();
    daemon.call("restart", &json!({"services": ["web"]}));
    assert!(daemon.env("web").contains(&b"PW=hunter3".to_vec()));
}

#[test]
fn programs_are_found_in_the_path_and_run_in_the_folder_that_the_variables_say() {
    let folder = folder();
    fs::create_dir(folder.path().join("bin")).unwrap();
    std::os::unix::fs::symlink("/bin/sh", folder.path().join("bin/own-shell")).unwrap();
    let root = folder.path().canonicalize().unwrap();
    let config = "
env: {BIN: '${ROOT}/bin', PATH: '${BIN}:${PATH}'}
services:
  - {name: found, command: [own-shell, -c, 'pwd > found.pwd'], workdir: '${ROOT}'}
  - {name: bare, command: [own-shell, -c, 'echo $PATH > bare.path'], env: {PATH: '${BIN}'}, inherit_env: false, workdir: '${ROOT}'}
  - {name: lost, command: [own-shell], env: {PATH: /nowhere}}
  - {name: default, command: [sh, -c, 'echo > default.done'], inherit_env: false, env: {PATH: '${NONE:-/usr/bin:/bin}'}}
";
    let daemon = Daemon::start(folder, config, &[("ROOT", root.as_os_str())]);
    assert_eq!(daemon.written("found.pwd"), format!("{}\n", root.display()).as_bytes());
    assert_eq!(daemon.written("bare.path"), format!("{}/bin\n", root.display()).as_bytes());
    assert_eq!(daemon.why_not("lost"), "exec: no such file: own-shell");
    daemon.written("default.done");
}
