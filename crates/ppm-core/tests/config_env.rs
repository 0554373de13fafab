//! What a service sees in its environment, and where it runs: layers, references, files, and what goes wrong.

#![expect(clippy::unwrap_used, clippy::panic, reason = "clippy sees tests only in functions marked as such; here all is test")]

use std::cell::RefCell;
use std::fmt::Write;

use ppm_core::config;
use ppm_core::environment::{Help, Resolved, resolve};
use ppm_core::spec::ServiceSpec;

/// What there is outside of the configuration.
#[derive(Default)]
struct World {
    daemon: Vec<(&'static str, &'static [u8])>,
    files: Vec<(&'static str, Vec<u8>)>,
    read: RefCell<Vec<String>>,
}

impl World {
    fn daemon(mut self, name: &'static str, value: &'static str) -> World {
        self.daemon.push((name, value.as_bytes()));
        self
    }

    fn file(mut self, path: &'static str, content: impl AsRef<[u8]>) -> World {
        self.files.push((path, content.as_ref().to_vec()));
        self
    }

    fn resolve(&self, service: &ServiceSpec) -> Result<Resolved, String> {
        let help = Help {
            told: &[("PPM_SERVICE", service.name.as_str())],
            inherited: &|name| self.daemon.iter().find(|(own, _)| own.as_bytes() == name).map(|(_, value)| value.to_vec()),
            read: &|path| {
                let path = String::from_utf8_lossy(path);
                self.read.borrow_mut().push(path.clone().into_owned());
                let found = self.files.iter().find(|(own, _)| *own == path);
                found.map(|(_, content)| content.clone()).ok_or("no such file".to_owned())
            },
        };
        resolve(&service.command, None, help)
    }

    /// The variables of the first service of a configuration, but for what every service is told.
    fn env(&self, text: &str) -> Result<Vec<(String, String)>, String> {
        let text_of = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let resolved = self.resolve(&service(text))?;
        let all = resolved.variables.into_iter().map(|(name, value)| (text_of(name), text_of(value)));
        Ok(all.filter(|(name, _)| name != "PPM_SERVICE").collect())
    }

    fn value(&self, text: &str, name: &str) -> String {
        let env = self.env(text).unwrap();
        env.into_iter().find(|(own, _)| own == name).unwrap_or_else(|| panic!("no {name}")).1
    }

    fn error(&self, text: &str) -> String {
        self.env(text).unwrap_err()
    }
}

fn world() -> World {
    World::default()
}

fn service(text: &str) -> ServiceSpec {
    let mut config = config::parse(text, "/etc/ppm/ppm.yml").unwrap_or_else(|problems| panic!("{problems}"));
    config.services.remove(0)
}

/// A service `web` with these variables.
fn with_env(env: &str) -> String {
    format!("services: [{{name: web, command: a, env: {env}}}]")
}

/// Pairs of names and values.
fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Result<Vec<(String, String)>, String> {
    Ok(pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

#[test]
fn later_layers_hide_earlier_ones() {
    let world = world().file("/etc/ppm/one", "V=one\nX=one").file("/etc/ppm/two", "V=two\nY=two").file("/etc/ppm/three", "V=three");
    for (top, value) in [("", "two"), ("env: {V: top}\n", "top")] {
        let text = format!("{top}env_file: [one, two]\nservices: [{{name: a, command: a}}]");
        assert_eq!(world.env(&text), pairs([("V", value), ("X", "one"), ("Y", "two")]), "{text}");
    }
    for (own, value) in [("", "top"), (", env_file: three", "three"), (", env: {V: service}, env_file: three", "service")] {
        let text = format!("env: {{V: top}}\nservices: [{{name: a, command: a{own}}}]");
        assert_eq!(world.env(&text), pairs([("V", value)]), "{text}");
    }
    let text = "env: {V: top}\nservices: [{name: a, command: {path: a, env: {V: command, W: command}}, env: {V: service}}]";
    assert_eq!(world.env(text), pairs([("V", "service"), ("W", "command")]));
    assert_eq!(world.daemon("V", "daemon").env("services: [{name: a, command: a}]"), pairs([]));
}

#[test]
fn references_mean_the_services_own_variables_first_and_the_daemons_next() {
    let world = world().daemon("HOME", "/root").daemon("HOST", "daemon").daemon("EMPTY", "");
    for (value, meant) in [
        ("plain", "plain"),
        ("${HOME}", "/root"),
        ("a${HOME}b${HOME}", "a/rootb/root"),
        ("${HOST}", "service"),
        ("x${UNSET}y", "xy"),
        ("${UNSET:-d}", "d"),
        ("${EMPTY:-d}", "d"),
        ("${HOME:-d}", "/root"),
        ("${UNSET:-${EMPTY:-${HOST}}}", "service"),
        ("${UNSET:-}", ""),
        ("${HOME:?never}", "/root"),
        ("$HOME $$HOME $${HOME} $", "$HOME $HOME ${HOME} $"),
        ("${PPM_SERVICE}", "web"),
    ] {
        let text = with_env(&format!("{{V: \"{value}\", HOST: service}}"));
        assert_eq!(world.value(&text, "V"), meant, "{value}");
    }
}

#[test]
fn it_does_not_matter_in_which_order_variables_are_written() {
    let wanted = pairs([("A", "x/y/z"), ("B", "x/y"), ("C", "x")]);
    assert_eq!(world().env(&with_env("{A: '${B}/z', B: '${C}/y', C: x}")), wanted);
    assert_eq!(world().env(&with_env("{C: x, B: '${C}/y', A: '${B}/z'}")), wanted);
    let top = "env: {A: '${B}/z', B: '${C}/y'}\nservices: [{name: a, command: a, env: {C: x}}]";
    assert_eq!(world().env(top), wanted);
    let file = world().file("/etc/ppm/f", "A=${B}/z\nB=\"${C}/y\"\nC=w");
    assert_eq!(file.env("services: [{name: a, command: a, env_file: f, env: {C: x}}]"), wanted);
}

#[test]
fn what_refers_to_itself_means_what_is_beneath() {
    let world = world().daemon("PATH", "/bin").file("/etc/ppm/f", "PATH=/file:${PATH}\nPATH=/again:${PATH}\n");
    assert_eq!(world.value(&with_env("{PATH: '/opt/bin:${PATH}'}"), "PATH"), "/opt/bin:/bin");
    let all = "env: {PATH: '/top:${PATH}'}\nservices: [{name: a, command: a, env_file: f, env: {PATH: '/own:${PATH}'}}]";
    assert_eq!(world.value(all, "PATH"), "/own:/again:/file:/top:/bin");
    assert_eq!(world.value(&with_env("{NEW: 'x${NEW}', PATH: a}"), "NEW"), "x");
}

#[test]
fn circles_end_at_what_is_beneath_whichever_variable_is_asked_for() {
    let world = world().daemon("A", "a").daemon("B", "b");
    assert_eq!(world.env(&with_env("{A: '1${B}', B: '2${A}'}")), pairs([("A", "12a"), ("B", "21b")]));
    assert_eq!(world.env(&with_env("{X: '1${Y}', Y: '2${Z}', Z: '3${X}'}")), pairs([("X", "123"), ("Y", "231"), ("Z", "312")]));
    let two_layers = "env: {A: '3${B}'}\nservices: [{name: a, command: a, env: {A: '1${B}', B: '2${A}'}}]";
    // A: 1, then B: 2, then A beneath: 3, then B beneath, which is the daemon's.
    assert_eq!(world.env(two_layers), pairs([("A", "123b"), ("B", "21b")]));
}

#[test]
fn no_variables_expand_for_ever() {
    let mut chain = String::from("{V99: x");
    (0..99).for_each(|n| write!(chain, ", V{n:02}: '${{V{:02}}}'", n + 1).unwrap());
    assert_eq!(world().error(&with_env(&(chain + "}"))), "env: V32: more than 32 variables refer to one another");

    let mut doubling = String::from("{V30: ''");
    (0..30).for_each(|n| write!(doubling, ", V{n:02}: '${{V{0:02}}}${{V{0:02}}}'", n + 1).unwrap());
    let error = world().error(&with_env(&(doubling + "}")));
    assert!(error.ends_with("the environment is too large: more than 16 MiB are needed to make it"), "{error}");

    let big = "x".repeat(1 << 20);
    let many: String = (0..100).map(|n| format!("A{n}=${{BIG}}\n")).collect();
    let error =
        world().file("/big", big).file("/many", many).error("env_file: /many\nservices: [{name: a, command: a, env: {BIG: {file: /big}}}]");
    assert!(error.contains("the environment is too large"), "{error}");

    let files = format!("services: [{{name: a, command: a, env_file: [{}]}}]", "/big, ".repeat(20));
    let error = world().file("/big", format!("A={}", "x".repeat(1 << 20))).error(&files);
    assert_eq!(error, "env_file: the environment is too large: more than 16 MiB are needed to make it");
}

#[test]
fn a_required_variable_that_is_unset_or_empty_is_told_with_its_message() {
    let world = world().daemon("EMPTY", "").file("/etc/ppm/f", "\nURL=${DB:?name a database}\n");
    assert_eq!(world.error(&with_env("{URL: 'x${DB:?name a database}'}")), "env: URL: name a database");
    assert_eq!(world.error(&with_env("{URL: '${EMPTY:?}'}")), "env: URL: EMPTY is unset or empty");
    assert_eq!(world.error(&with_env("{URL: '${X:-${EMPTY:?  no ${EMPTY} }}'}")), "env: URL: no ${EMPTY}");
    assert_eq!(world.error(&with_env("{A: '${URL}', URL: '${DB:?name\\na database}'}")), "env: URL: name\\na database");
    assert_eq!(world.error("env_file: f\nservices: [{name: a, command: a}]"), "env_file: /etc/ppm/f:2: URL: name a database");
    assert_eq!(world.error("services: [{name: a, command: a, workdir: '/srv/${DB:?where}'}]"), "workdir: where");
    assert_eq!(world.error("env_file: '${DB:?where}'\nservices: [{name: a, command: a}]"), "env_file: where");
    let hidden = "env: {URL: '${DB:?name a database}'}\nservices: [{name: a, command: a, env: {URL: x}}]";
    assert_eq!(world.env(hidden), pairs([("URL", "x")]));
    let long = world.error(&with_env(&format!("{{A: '${{B:?{}}}'}}", "m".repeat(1000))));
    assert_eq!(long.len(), "env: A: ".len() + 200);
}

#[test]
fn a_value_from_a_file_loses_one_end_of_line_and_is_not_expanded() {
    for (content, value) in [
        ("secret", "secret"),
        ("secret\n", "secret"),
        ("secret\r\n", "secret"),
        ("secret\n\n", "secret\n"),
        ("two\nlines\n", "two\nlines"),
        ("", ""),
        ("\n", ""),
        ("${HOME} $$ 'x'", "${HOME} $$ 'x'"),
        ("cr\r", "cr\r"),
    ] {
        let world = world().file("/run/pw", content).daemon("HOME", "/root");
        assert_eq!(world.env(&with_env("{PW: {file: /run/pw}}")), pairs([("PW", value)]), "{content:?}");
        assert_eq!(world.value(&with_env("{PW: {file: /run/pw}, URL: 'x:${PW}@h'}"), "URL"), format!("x:{value}@h"));
    }
}

#[test]
fn files_are_read_only_where_they_are_needed_and_once() {
    let world = world().file("/run/pw", "s").file("/etc/ppm/rel", "r").file("/run/web", "w").daemon("RUN", "/run");
    let text = "env: {A: {file: /nowhere}}\nservices: [{name: web, command: a, env: {A: b, PW: {file: /run/pw}, B: '${PW}${PW}', C: {file: rel}}}]";
    assert_eq!(world.env(text), pairs([("A", "b"), ("B", "ss"), ("C", "r"), ("PW", "s")]));
    assert_eq!(*world.read.borrow(), ["/run/pw", "/etc/ppm/rel"]);
    assert_eq!(world.value(&with_env("{A: {file: '${RUN}/${PPM_SERVICE}'}}"), "A"), "w");
    assert_eq!(world.value(&with_env("{A: {file: '${DIR}/web'}, DIR: '${RUN}'}"), "A"), "w");
}

#[test]
fn paths_of_env_files_know_the_daemons_variables_and_the_services_name() {
    let world = world().daemon("CONF", "/conf").file("/conf/web.env", "A=1").file("/etc/ppm/web.env", "A=2").file("/etc/ppm/$x", "A=3");
    let text = |path: &str| format!("services: [{{name: web, command: a, env_file: '{path}', env: {{CONF: ignored}}}}]");
    for (path, value) in [("${CONF}/web.env", "1"), ("web.env", "2"), ("/etc/ppm/${PPM_SERVICE}.env", "2"), ("$$x", "3"), ("$x", "3")] {
        assert_eq!(world.value(&text(path), "A"), value, "{path}");
    }
    assert_eq!(world.error(&text("${PPM_SERVICE}.env")), "env_file: not an absolute path: ${PPM_SERVICE}.env");
}

#[test]
fn a_configuration_in_a_folder_with_a_dollar_finds_its_files() {
    let config = config::parse("env_file: [a.env, /b.env]\nservices: [{name: web, command: a}]", "/srv/$x/${y}/c.yml").unwrap();
    let world = world().file("/srv/$x/${y}/a.env", "A=1").file("/b.env", "B=2");
    assert_eq!(world.resolve(&config.services[0]).unwrap().variables.len(), 3);
    let yaml = config::render(&config.settings, &config.services);
    let again = config::parse(&yaml, "/elsewhere/c.yml").unwrap();
    assert_eq!((config::render(&again.settings, &again.services), &again.settings), (yaml, &config.settings));
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_place_and_without_its_content() {
    let world = world()
        .file("/etc/ppm/lines", "A=1\n\nhunter2\n")
        .file("/etc/ppm/quote", "A='hunter2")
        .file("/etc/ppm/name", "A=1\n${hunter2}=x")
        .file("/etc/ppm/open", "A=${hunter2")
        .file("/nul", "hunter2\0");
    let of_top = |path: &str| format!("env_file: {path}\nservices: [{{name: a, command: a}}]");
    for (path, error) in [
        ("lines", "env_file: /etc/ppm/lines:3: `=` is missing"),
        ("quote", "env_file: /etc/ppm/quote:1: the quote is not closed"),
        ("open", "env_file: /etc/ppm/open:1: a `${` is not closed"),
        ("missing", "env_file: no such file: /etc/ppm/missing"),
    ] {
        assert_eq!(world.error(&of_top(path)), error);
    }
    assert_eq!(world.error(&with_env("{PW: {file: /missing}}")), "env: PW: no such file: /missing");
    assert_eq!(world.error(&with_env("{PW: {file: /nul}}")), "env: PW: a NUL byte cannot be in a variable: /nul");
}

#[test]
fn a_working_folder_is_expanded_and_must_be_absolute_then() {
    let world = world().daemon("HOME", "/root").daemon("REL", "here").file("/pw", "hunter2");
    let folder = |workdir: &str| {
        let text =
            format!("services: [{{name: web, command: a, workdir: '{workdir}', env: {{D: data, PW: {{file: /pw}}, P: '/x${{PW}}'}}}}]");
        let resolved = world.resolve(&service(&text))?;
        let folder = resolved.workdir.unwrap();
        Ok((String::from_utf8(folder.path).unwrap(), folder.name))
    };
    let plain = |path: &str| Ok((path.to_owned(), path.to_owned()));
    assert_eq!(folder("/srv"), plain("/srv"));
    assert_eq!(folder("/srv/${PPM_SERVICE}/${D}"), plain("/srv/web/data"));
    assert_eq!(folder("${HOME}/x"), plain("/root/x"));
    assert_eq!(folder("${DIR:-/var}$$"), plain("/var$"));
    assert_eq!(folder("${REL}"), Err("workdir: not an absolute path: ${REL}".to_owned()));
    assert_eq!(folder("${UNSET}"), Err("workdir: not an absolute path: ${UNSET}".to_owned()));
    assert_eq!(folder("/srv/${PW}"), Ok(("/srv/hunter2".to_owned(), "/srv/${PW}".to_owned())));
    assert_eq!(folder("${P}"), Ok(("/xhunter2".to_owned(), "${P}".to_owned())));
}

#[test]
fn bytes_that_are_no_text_pass_through() {
    let world =
        World { daemon: vec![("RAW", b"\xff\xfe")], ..world().file("/etc/ppm/f", b"A=\xc3${RAW}\n\xe9='\x80'\n").file("/pw", b"\xf0\n") };
    let text = "services: [{name: a, command: a, env_file: f, env: {B: '<${A}>', PW: {file: /pw}}}]";
    let resolved = world.resolve(&service(text)).unwrap();
    let value = |name: &[u8]| resolved.variable(name).unwrap();
    assert_eq!((value(b"A"), value(b"B"), value(b"PW")), (b"\xc3\xff\xfe".as_slice(), b"<\xc3\xff\xfe>".as_slice(), b"\xf0".as_slice()));
    assert_eq!(value(b"\xe9"), b"\x80");
}

#[test]
fn what_is_inherited_is_said_by_name_or_is_all_but_the_daemons_own_business() {
    let passes = |inherit: &str, name: &str| {
        let text = format!("services: [{{name: a, command: a{inherit}}}]");
        service(&text).command.surroundings.inherit.passes(name.as_bytes())
    };
    for (inherit, wanted) in [
        ("", [true, true, false, false]),
        (", inherit_env: true", [true, true, false, false]),
        (", inherit_env: false", [false; 4]),
        (", inherit_env: []", [false; 4]),
        (", inherit_env: [HOME, PPM_SOCKET]", [true, false, true, false]),
    ] {
        assert_eq!(["HOME", "LANG", "PPM_SOCKET", "PPM_CONFIG"].map(|name| passes(inherit, name)), wanted, "{inherit}");
    }
    let text = "services: [{name: a, command: a, inherit_env: false, env: {A: '${HOME}', S: '${PPM_SOCKET}'}}]";
    assert_eq!(world().daemon("HOME", "/root").daemon("PPM_SOCKET", "/s").env(text), pairs([("A", "/root"), ("S", "/s")]));
}

#[test]
fn what_the_daemon_tells_wins_over_what_is_written() {
    let resolved = world().resolve(&service("services: [{name: web, command: a, env: {PPM_SERVICE: me, A: '${PPM_SERVICE}'}}]")).unwrap();
    assert_eq!(["PPM_SERVICE", "A", "B"].map(|name| resolved.variable(name.as_bytes())), [Some(b"web".as_slice()), Some(b"web"), None]);
}
