//! File monitoring: what is a change and what is not, whatever is done to files, folders and the way to them.
//!
//! What must not restart a service is followed by what must, and the reason of that restart names all that was found.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, other_user, shell, until};

/// A service that watches, in the folder of its daemon.
struct Watching {
    daemon: Daemon,
    restarts: u64,
}

/// Says why it was started, each time.
const SERVICE: &str = "echo \"$PPM_START_REASON $PPM_WATCH_CHANGED\" >> starts; exec sleep 1000";

impl Watching {
    /// With these files below its folder, each with its own name as content.
    fn start(files: &[&str], watch: &Value) -> Watching {
        let setup = Setup::new();
        for file in files {
            write(&setup.path(file), file);
        }
        Watching::start_with(setup, watch)
    }

    fn start_with(setup: Setup, watch: &Value) -> Watching {
        let folder = setup.folder.path().to_owned();
        let service = shell("svc", SERVICE, &json!({"workdir": folder, "watch": watch}));
        let watching = Watching::start_config(setup, &json!({"watch_restart_interval": 0, "services": [service]}));
        watching.daemon.wait("svc", "running");
        watching
    }

    fn start_config(setup: Setup, config: &Value) -> Watching {
        let watching = Watching { daemon: setup.env("PPM_LOG", "debug").config(config).start(), restarts: 0 };
        watching.has_looked("svc", 1);
        watching
    }

    fn path(&self, name: &str) -> PathBuf {
        self.daemon.path(name)
    }

    fn write(&self, name: &str, content: &str) {
        write(&self.path(name), content);
    }

    /// Waits until the daemon has said this so often.
    fn says(&self, what: &str, times: usize) {
        until(&format!("{what} {times} times"), || (self.daemon.stderr().matches(what).count() >= times).then_some(()));
    }

    /// Waits until the daemon has looked at all that this service watches so often; before that it may have said other things of it.
    fn has_looked(&self, service: &str, times: usize) {
        let begin = format!("{service}: watch: ");
        let is_end = |line: &&str| line.split_once(&begin).is_some_and(|(_, rest)| rest.contains(" folders with "));
        until(&format!("{times} looks for {service}"), || (self.daemon.stderr().lines().filter(is_end).count() >= times).then_some(()));
    }

    /// Waits for exactly one restart more, for this reason.
    fn restarts_for(&mut self, reason: &str) {
        self.restarts += 1;
        let row = until(&format!("restart {}: {reason}", self.restarts), || {
            Some(self.daemon.row("svc")).filter(|row| row["restarts"].as_u64() >= Some(self.restarts) && row["status"] == "running")
        });
        assert_eq!(row["reason"], format!("started for changed files: {reason}"), "{}", self.daemon.stderr());
        assert_eq!(row["restarts"], self.restarts);
    }
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

#[test]
fn what_is_watched_can_be_asked_for_with_what_changed_last() {
    let setup = Setup::new();
    for file in ["v1/f", "v1/sub/g", "conf"] {
        write(&setup.path(file), file);
    }
    symlink("v1", setup.path("current")).unwrap();
    let mut svc = Watching::start_with(setup, &json!({"paths": ["conf", "current", "later"], "poll": "1h"}));
    let ask = |svc: &Watching, services: Value| svc.daemon.call("watched", &json!({"services": services}));
    let told = ask(&svc, json!([]));
    let (row, limits) = (&told["services"][0], &told["inotify"]);
    let [conf, current, later] = [0, 1, 2].map(|number| row["paths"][number].clone());
    assert_eq!((&row["name"], &row["watching"], &row["action"]), (&json!("svc"), &json!(true), &json!("restart")));
    assert_eq!((&row["last_change"], &row["changes"], &row["acted"]), (&Value::Null, &json!(0), &json!(0)));
    assert_eq!((&conf["path"], &conf["what"], &conf["files"]), (&json!(svc.path("conf")), &json!("file"), &json!(1)));
    assert_eq!((&conf["inotify"], &conf["leads_to"], &conf["poll_ms"]), (&json!(true), &Value::Null, &json!(3_600_000)));
    assert_eq!((&current["leads_to"], &current["folders"], &current["files"]), (&json!(svc.path("v1")), &json!(2), &json!(2)));
    assert_eq!((&later["what"], &later["leads_to"]), (&json!("missing"), &Value::Null));
    assert_eq!(row["watches"], limits["watches"], "nobody else watches");
    assert_eq!((limits["watches"].as_u64(), &limits["instances"]), (u64::try_from(watches(&svc.daemon)).ok(), &json!(1)));
    svc.write("conf", "conf");
    svc.says("nothing has changed", 1);
    svc.write("current/f", "other");
    svc.restarts_for("modified current/f");
    let told = ask(&svc, json!(["svc"]));
    let row = &told["services"][0];
    assert_eq!((&row["last_change"]["what"], &row["changes"], &row["acted"]), (&json!("modified current/f"), &json!(1), &json!(1)));
    assert_eq!(row["unchanged"], 1);
    svc.daemon.tell("svc", "stop");
    let told = ask(&svc, json!(["svc"]));
    assert_eq!((&told["services"][0]["watching"], &told["services"][0]["paths"][0]["what"]), (&json!(false), &Value::Null));
    svc.daemon.add("other", "exec sleep 1000");
    assert_eq!(ask(&svc, json!([]))["services"].as_array().map(Vec::len), Some(1), "those that watch");
    assert_eq!(ask(&svc, json!(["other"]))["services"][0]["paths"], json!([]));
}

/// The watches of the kernel: one line for each.
fn watches(daemon: &Daemon) -> usize {
    let infos = fs::read_dir(format!("/proc/{}/fdinfo", daemon.pid)).unwrap();
    let text: String = infos.filter_map(|info| fs::read_to_string(info.unwrap().path()).ok()).collect();
    text.lines().filter(|line| line.starts_with("inotify ")).count()
}

/// How often the threads that watch have woken up.
fn wake_ups(daemon: &Daemon) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid)).unwrap();
    // One that ends meanwhile is none of them.
    let status = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("status")).ok());
    let of_watching = status.filter(|status| status.starts_with("Name:\twatcher") || status.starts_with("Name:\tnotify"));
    of_watching
        .map(|status| status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:\t")).unwrap().parse::<u64>().unwrap())
        .sum()
}

#[test]
fn r38_an_edit_of_one_file_restarts_once_and_says_which() {
    let mut svc = Watching::start(&["w/f"], &json!("w"));
    let before = svc.daemon.row("svc")["pid"].clone();
    svc.write("w/f", "other");
    svc.restarts_for("modified w/f");
    assert_ne!(svc.daemon.row("svc")["pid"], before);
    let file = svc.path("w/f").display().to_string();
    until("the second start", || (svc.daemon.lines_in("starts").len() == 2).then_some(()));
    assert_eq!(svc.daemon.lines_in("starts"), ["boot ".to_owned(), format!("watch {file}")]);
    svc.write("w/f", "another");
    svc.restarts_for("modified w/f");
}

#[test]
fn a_file_that_goes_or_is_emptied_or_comes_is_a_change() {
    let mut svc = Watching::start(&["w/f", "w/g"], &json!("w"));
    fs::remove_file(svc.path("w/f")).unwrap();
    svc.restarts_for("removed w/f");
    svc.write("w/g", "");
    svc.restarts_for("modified w/g");
    svc.write("w/new", "");
    svc.restarts_for("created w/new");
}

#[test]
fn reading_wakes_nobody() {
    let mut svc = Watching::start(&["w/f", "w/sub/g"], &json!("w"));
    svc.write("w/f", "x");
    svc.restarts_for("modified w/f");
    // What is left to do about the edit may still be done meanwhile, but not for ever.
    until("a thousand reads without a wake-up", || {
        let before = wake_ups(&svc.daemon);
        for _ in 0..1000 {
            fs::read(svc.path("w/f")).unwrap();
            assert_eq!(fs::read_dir(svc.path("w/sub")).unwrap().count(), 1);
        }
        (wake_ups(&svc.daemon) == before).then_some(())
    });
}

#[test]
fn whatever_happens_in_a_folder_that_is_left_out_wakes_nobody() {
    let mut svc = Watching::start(&["w/f", "w/gen/g"], &json!({"paths": "w", "exclude": ["gen/**"]}));
    svc.write("w/f", "x");
    svc.restarts_for("modified w/f");
    let mut round = 0;
    until("hundreds of files without a wake-up", || {
        round += 1;
        let before = wake_ups(&svc.daemon);
        for number in 0..500 {
            svc.write(&format!("w/gen/{round}/{number}"), "x");
        }
        (wake_ups(&svc.daemon) == before).then_some(())
    });
    svc.write("w/f", "y");
    svc.restarts_for("modified w/f");
}

#[test]
fn the_same_content_again_is_no_change_unless_the_time_counts() {
    let mut svc = Watching::start(&["w/f", "w/g"], &json!("w"));
    svc.write("w/f", "w/f");
    svc.says("nothing has changed", 1);
    svc.write("w/g", "x");
    svc.restarts_for("modified w/g");
    let mut svc = Watching::start(&["w/f"], &json!({"paths": "w", "compare": "mtime"}));
    svc.write("w/f", "w/f");
    svc.restarts_for("modified w/f");
}

#[test]
fn a_save_of_vim_is_one_change_of_one_file() {
    let mut svc = Watching::start(&["w/f"], &json!({"paths": "w", "settle": "1s"}));
    svc.write("w/4913", "");
    fs::remove_file(svc.path("w/4913")).unwrap();
    fs::rename(svc.path("w/f"), svc.path("w/f~")).unwrap();
    svc.write("w/f", "x");
    fs::remove_file(svc.path("w/f~")).unwrap();
    svc.restarts_for("modified w/f");
}

#[test]
fn a_checkout_of_many_files_is_one_change() {
    let names: Vec<String> = (100..500).map(|number| format!("w/f{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut svc = Watching::start(&names, &json!({"paths": "w", "settle": "2s"}));
    names.iter().for_each(|name| svc.write(name, "x"));
    svc.restarts_for("400 files: w/f100, w/f101, w/f102, ...");
}

#[test]
fn a_folder_that_is_moved_in_is_watched_with_all_that_lies_in_it() {
    let mut svc = Watching::start(&["w/f", "prepared/a/b/c"], &json!("w"));
    fs::rename(svc.path("prepared"), svc.path("w/sub")).unwrap();
    svc.restarts_for("created w/sub/a/b/c");
    svc.write("w/sub/a/b/c", "x");
    svc.restarts_for("modified w/sub/a/b/c");
}

#[test]
fn folders_made_in_one_another_are_seen_with_the_first_file_in_them() {
    let mut svc = Watching::start(&["w/f"], &json!("w"));
    for round in 0..5 {
        svc.write(&format!("w/{round}/a/b/c/d/e"), "x");
        svc.restarts_for(&format!("created w/{round}/a/b/c/d/e"));
    }
}

#[test]
fn a_folder_that_is_removed_and_made_again_is_watched_again() {
    let mut svc = Watching::start(&["w/f", "w/sub/deep/f"], &json!({"paths": "w", "settle": "1s"}));
    fs::remove_dir_all(svc.path("w/sub")).unwrap();
    svc.write("w/sub/deep/f", "x");
    svc.restarts_for("modified w/sub/deep/f");
    svc.write("w/sub/deep/f", "y");
    svc.restarts_for("modified w/sub/deep/f");
}

#[test]
fn a_root_that_is_replaced_is_compared_and_the_old_one_let_go() {
    let mut svc = Watching::start(&["w/f", "w/same", "w.new/f", "w.new/same"], &json!({"paths": "w", "settle": "1s"}));
    svc.write("w.new/f", "other");
    svc.write("w.new/same", "w/same");
    fs::rename(svc.path("w"), svc.path("w.old")).unwrap();
    fs::rename(svc.path("w.new"), svc.path("w")).unwrap();
    svc.restarts_for("modified w/f");
    svc.write("w.old/f", "nobody watches this");
    svc.write("w/same", "x");
    svc.restarts_for("modified w/same");
}

#[test]
fn a_path_that_is_not_there_is_waited_for_also_its_folders() {
    let mut svc = Watching::start(&[], &json!(["missing/deep/conf.yml", "w"]));
    svc.says("missing/deep/conf.yml does not exist yet; waiting for it", 1);
    svc.write("missing/deep/conf.yml", "x");
    svc.restarts_for("created missing/deep/conf.yml");
    svc.write("w/f", "x");
    svc.restarts_for("created w/f");
    fs::remove_dir_all(svc.path("missing")).unwrap();
    svc.restarts_for("removed missing/deep/conf.yml");
    svc.write("missing/deep/conf.yml", "x");
    svc.restarts_for("created missing/deep/conf.yml");
    svc.write("missing/deep/conf.yml", "y");
    svc.restarts_for("modified missing/deep/conf.yml");
}

#[test]
fn a_file_is_watched_through_every_way_of_saving_it() {
    let mut svc = Watching::start(&["w/conf", "w/other"], &json!("w/conf"));
    for round in 0..3 {
        svc.write("w/other", &format!("{round}"));
        svc.write("w/conf.new", &format!("{round}"));
        fs::rename(svc.path("w/conf.new"), svc.path("w/conf")).unwrap();
        svc.restarts_for("modified w/conf");
        svc.write("w/conf", "in place");
        svc.restarts_for("modified w/conf");
    }
}

#[test]
fn a_config_map_that_is_swapped_is_a_change_where_the_content_is_another() {
    for watch in ["cm/conf", "cm"] {
        let setup = Setup::new();
        write(&setup.path("cm/..1/conf"), "one");
        symlink("..1", setup.path("cm/..data")).unwrap();
        symlink("..data/conf", setup.path("cm/conf")).unwrap();
        let mut svc = Watching::start_with(setup, &json!(watch));
        let swap = |svc: &Watching, version: &str, content: &str| {
            svc.write(&format!("cm/..{version}/conf"), content);
            symlink(format!("..{version}"), svc.path("cm/..tmp")).unwrap();
            fs::rename(svc.path("cm/..tmp"), svc.path("cm/..data")).unwrap();
        };
        swap(&svc, "2", "two");
        svc.restarts_for("modified cm/conf");
        swap(&svc, "3", "two");
        svc.says("nothing has changed", 1);
        fs::remove_dir_all(svc.path("cm/..1")).unwrap();
        swap(&svc, "4", "four");
        svc.restarts_for("modified cm/conf");
    }
}

#[test]
fn a_link_that_is_switched_to_another_release_is_followed() {
    let setup = Setup::new();
    write(&setup.path("s/v1/f"), "one");
    write(&setup.path("s/v2/f"), "two");
    symlink("v1", setup.path("s/current")).unwrap();
    let mut svc = Watching::start_with(setup, &json!("s/current"));
    symlink("v2", svc.path("s/next")).unwrap();
    fs::rename(svc.path("s/next"), svc.path("s/current")).unwrap();
    svc.restarts_for("modified s/current/f");
    svc.write("s/v1/f", "nobody watches this");
    svc.write("s/v2/f", "three");
    svc.restarts_for("modified s/current/f");
}

#[test]
fn links_below_a_root_are_not_followed_into_folders_so_that_a_loop_ends() {
    let setup = Setup::new();
    write(&setup.path("w/sub/f"), "x");
    write(&setup.path("elsewhere/g"), "x");
    symlink("..", setup.path("w/sub/self")).unwrap();
    symlink("../elsewhere", setup.path("w/link")).unwrap();
    symlink("loop", setup.path("w/loop")).unwrap();
    let mut svc = Watching::start_with(setup, &json!(["w", "w/loop"]));
    svc.write("elsewhere/g", "y");
    svc.write("w/sub/f", "y");
    svc.restarts_for("modified w/sub/f");
}

#[test]
fn no_folder_is_too_deep_but_for_who_says_so() {
    let mut svc = Watching::start(&["w/a/f", "w/a/b/f"], &json!({"paths": "w", "max_depth": 2}));
    svc.says("w/a/b and what is as deep is not watched: max_depth is 2", 1);
    svc.write("w/a/b/f", "x");
    svc.write("w/a/f", "x");
    svc.restarts_for("modified w/a/f");
    let deep = format!("w/{}f", "d/".repeat(60));
    let mut svc = Watching::start(&[&deep], &json!("w"));
    svc.write(&deep, "x");
    svc.restarts_for(&format!("modified {deep}"));
}

#[test]
fn patterns_say_what_counts() {
    let files =
        ["w/src/builder.rs", "w/src/targets.json", "w/pkg/in/foo_test.go", "w/gen/x/y", "w/other/gen/z", "w/a.log", "w/node_modules/m"];
    let watch = json!({"paths": "w", "exclude": ["*_test.go", "gen/**"], "settle": "1s"});
    let mut svc = Watching::start(&files, &watch);
    for file in ["w/pkg/in/foo_test.go", "w/gen/x/y", "w/a.log", "w/node_modules/m"] {
        svc.write(file, "x");
    }
    svc.write("w/other/gen/z", "x");
    svc.restarts_for("modified w/other/gen/z");
    svc.write("w/src/builder.rs", "x");
    svc.write("w/src/targets.json", "x");
    svc.restarts_for("2 files: w/src/builder.rs, w/src/targets.json");
}

#[test]
fn what_git_ignores_does_not_count_if_that_is_asked_for() {
    let setup = Setup::new();
    for file in ["repo/.git/HEAD", "repo/app/src/a", "repo/app/out/b", "repo/app/src/gen/c", "repo/app/x.tmp2", "repo/app/own"] {
        write(&setup.path(file), file);
    }
    write(&setup.path("repo/.git/info/exclude"), "own\n");
    write(&setup.path("repo/.gitignore"), "/app/out\n*.tmp2\n");
    write(&setup.path("repo/app/src/.gitignore"), "gen/\n");
    let mut svc = Watching::start_with(setup, &json!({"paths": "repo/app", "gitignore": true, "settle": "1s"}));
    for file in ["repo/app/out/b", "repo/app/x.tmp2", "repo/app/src/gen/c", "repo/app/own", "repo/app/src/a"] {
        svc.write(file, "x");
    }
    svc.restarts_for("modified repo/app/src/a");
    // Other files count by now, of which none has changed.
    svc.write("repo/app/src/.gitignore", "a\n");
    svc.says("nothing has changed", 1);
    svc.write("repo/app/src/a", "y");
    svc.write("repo/app/src/gen/c", "y");
    svc.restarts_for("modified repo/app/src/gen/c");
    fs::remove_file(svc.path("repo/app/src/.gitignore")).unwrap();
    svc.says("nothing has changed", 2);
    svc.write("repo/app/src/a", "z");
    svc.restarts_for("modified repo/app/src/a");
}

#[test]
fn what_cannot_be_read_is_told_once_and_the_rest_is_watched() {
    let setup = Setup::new();
    for file in ["w/secret/f", "w/ok/f"] {
        write(&setup.path(file), "x");
    }
    fs::set_permissions(setup.path("w/secret"), fs::Permissions::from_mode(0o700)).unwrap();
    let Some(uid) = other_user() else { return };
    let mut svc = Watching::start_with(setup.run_by(uid), &json!("w"));
    write(&svc.path("w/ok/f"), "y");
    svc.restarts_for("modified w/ok/f");
    write(&svc.path("w/ok/f"), "z");
    svc.restarts_for("modified w/ok/f");
    assert_eq!(svc.daemon.stderr().matches("w/secret: permission denied, not watched").count(), 1);
    fs::set_permissions(svc.path("w/secret"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_file_that_is_written_for_long_is_waited_for() {
    let mut svc = Watching::start(&["w/f"], &json!("w"));
    let mut file = fs::File::create(svc.path("w/f")).unwrap();
    for _ in 0..20 {
        file.write_all(&[b'x'; 1000]).unwrap();
        std::thread::yield_now();
    }
    drop(file);
    svc.restarts_for("modified w/f");
}

#[test]
fn an_action_may_be_a_signal() {
    let setup = Setup::new();
    write(&setup.path("w/f"), "x");
    let folder = setup.folder.path().to_owned();
    let script = "trap 'echo hup >> heard' HUP; echo > ready; while :; do sleep 0.02; done";
    let watch = json!({"paths": "w", "action": {"signal": "HUP"}});
    let service = shell("svc", script, &json!({"workdir": folder, "watch": watch}));
    let svc = Watching::start_config(setup, &json!({"services": [service]}));
    until("it is ready", || svc.path("ready").exists().then_some(()));
    let before = svc.daemon.wait("svc", "running")["pid"].clone();
    svc.write("w/f", "y");
    assert_eq!(svc.daemon.lines_in("heard"), ["hup"]);
    assert_eq!(svc.daemon.row("svc")["pid"], before);
    svc.says("svc: modified w/f: SIGHUP", 1);
}

#[test]
fn an_action_may_be_a_program_that_is_told_what_has_changed() {
    let setup = Setup::new();
    write(&setup.path("w/f"), "x");
    let folder = setup.folder.path().to_owned();
    let script = "echo \"$PPM_HOOK $PPM_START_REASON $PPM_SERVICE $PPM_PID $PPM_WATCH_CHANGED\" >> ran; [ ! -e w/bad ] || exit 3";
    let watch = json!({"paths": "w", "action": {"exec": ["sh", "-c", script]}});
    let service = shell("svc", "exec sleep 1000", &json!({"workdir": folder, "watch": watch}));
    let svc = Watching::start_config(setup, &json!({"watch_restart_interval": 0, "services": [service]}));
    let pid = svc.daemon.wait("svc", "running")["pid"].clone();
    svc.write("w/f", "y");
    let ran = |count: usize| until("it has run", || Some(svc.daemon.lines_in("ran")).filter(|lines| lines.len() == count));
    assert_eq!(ran(1), [format!("watch watch svc {pid} {}", svc.path("w/f").display())]);
    svc.says("svc: modified w/f: exec sh -c", 1);
    svc.write("w/bad", "z");
    assert_eq!(ran(2)[1], format!("watch watch svc {pid} {}", svc.path("w/bad").display()));
    svc.says("svc: hook failed: watch: exit code 3", 1);
    assert_eq!(svc.daemon.row("svc")["pid"], pid, "the service goes on");
}

#[test]
fn a_program_for_changes_may_restart_its_service() {
    let setup = Setup::new();
    write(&setup.path("w/f"), "x");
    let folder = setup.folder.path().to_owned();
    // As `ppm restart svc` does, which lies in another crate: it waits for the answer.
    let script = "kill -TERM $PPM_PID; while kill -0 $PPM_PID; do :; done; echo went on >> ran";
    let watch = json!({"paths": "w", "action": {"exec": ["sh", "-c", script]}});
    let service =
        shell("svc", "exec sleep 1000", &json!({"workdir": folder, "watch": watch, "restart": {"policy": "always", "interval": 0}}));
    let svc = Watching::start_config(setup, &json!({"watch_restart_interval": 0, "services": [service]}));
    svc.write("w/f", "y");
    until("it has run to its end", || (svc.daemon.lines_in("ran") == ["went on"]).then_some(()));
    until("it runs again", || (svc.daemon.row("svc")["restarts"] == 1).then_some(()));
}

#[test]
fn r38_128_services_that_watch_share_one_instance_of_inotify() {
    let setup = Setup::new();
    let names: Vec<String> = (0..128).map(|number| format!("s{number}")).collect();
    let service = |name: &String| {
        write(&setup.path(&format!("{name}/f")), "x");
        shell(name, "exec sleep 1000", &json!({"workdir": setup.folder.path(), "watch": name}))
    };
    let services: Vec<Value> = names.iter().map(service).collect();
    let config = json!({"watch_restart_interval": 0, "services": services});
    let daemon = setup.env("PPM_LOG", "debug").config(&config).start();
    until("all are watched", || (daemon.stderr().matches(": watch: 1 folders").count() == names.len()).then_some(()));
    daemon.call("wait", &json!({"services": names, "for": "running"}));
    assert_eq!(daemon.open_files().iter().filter(|file| file.to_string_lossy().contains("inotify")).count(), 1);
    write(&daemon.path("s77/f"), "other");
    until("the one concerned is started again", || (daemon.row("s77")["restarts"] == 1).then_some(()));
    let rows = daemon.call("list", &json!({}));
    assert_eq!(rows.as_array().unwrap().iter().filter(|row| row["restarts"] != 0).count(), 1, "{rows}");
}

#[test]
fn two_services_share_their_watches_and_let_them_go() {
    let setup = Setup::new();
    write(&setup.path("w/a/b/f"), "x");
    let more = json!({"workdir": setup.folder.path(), "watch": "w"});
    let services = ["svc", "two"].map(|name| shell(name, "exec sleep 1000", &more));
    let mut svc = Watching::start_config(setup, &json!({"watch_restart_interval": 0, "services": services}));
    svc.has_looked("two", 1);
    let depth = svc.path("w").components().count() - 1;
    assert_eq!(watches(&svc.daemon), depth + 3, "the folders on the way to it, and those below it, once");
    svc.write("w/a/b/f", "y");
    svc.restarts_for("modified w/a/b/f");
    until("the other restarts too", || (svc.daemon.row("two")["restarts"] == 1).then_some(()));
    svc.daemon.tell("svc", "stop");
    svc.daemon.call("remove", &json!({"services": ["two"]}));
    until("no watch is left", || (watches(&svc.daemon) == 0).then_some(()));
    until("nor a thread", || (wake_ups(&svc.daemon) == 0).then_some(()));
}

#[test]
fn a_large_tree_is_let_go_at_once_and_what_others_watch_is_watched_on() {
    let setup = Setup::new();
    (0..2000).for_each(|number| write(&setup.path(&format!("large/{number}/f")), "x"));
    write(&setup.path("small/f"), "x");
    let service = |name: &str, watch: &str| shell(name, "exec sleep 1000", &json!({"workdir": setup.folder.path(), "watch": watch}));
    let services = [service("svc", "small"), service("large", "large")];
    let mut svc = Watching::start_config(setup, &json!({"watch_restart_interval": 0, "services": services}));
    svc.says("large: watch: 2001 folders", 1);
    let depth = svc.path("small").components().count() - 1;
    svc.daemon.tell("large", "stop");
    until("only the small one is watched", || (watches(&svc.daemon) == depth + 1).then_some(()));
    svc.write("small/f", "y");
    svc.restarts_for("modified small/f");
    svc.daemon.tell("large", "start");
    svc.says("large: watch: 2001 folders", 2);
    svc.write("large/1999/f", "y");
    until("it restarts too", || (svc.daemon.row("large")["reason"] == "started for changed files: modified large/1999/f").then_some(()));
    svc.write("small/f", "z");
    svc.restarts_for("modified small/f");
}

#[test]
fn what_is_stopped_stays_so_and_is_watched_again_when_it_starts() {
    let mut svc = Watching::start(&["w/f"], &json!("w"));
    svc.daemon.tell("svc", "stop");
    svc.write("w/f", "x");
    svc.daemon.tell("svc", "start");
    svc.restarts = 1;
    svc.says("svc: watch: 1 folders", 2);
    assert_eq!(svc.daemon.row("svc")["reason"], "started by request");
    svc.write("w/f", "y");
    svc.restarts_for("modified w/f");
}

#[test]
fn a_service_that_crashed_is_started_at_once_when_it_is_mended() {
    let setup = Setup::new();
    write(&setup.path("w/f"), "exit 1");
    let restart = json!({"interval": "1h"});
    let more = json!({"workdir": setup.folder.path(), "watch": "w/f", "restart": restart});
    let service = shell("svc", ". w/f", &more);
    let mut svc = Watching::start_config(setup, &json!({"services": [service]}));
    until("it has crashed", || (svc.daemon.row("svc")["crashes"] == 1).then_some(()));
    svc.write("w/f", "exec sleep 1000");
    svc.restarts_for("modified w/f");
    assert_eq!(svc.daemon.row("svc")["crashes"], 0);
}

#[test]
fn names_that_are_not_text_are_watched() {
    use std::os::unix::ffi::OsStrExt;
    let mut svc = Watching::start(&["w/f"], &json!("w"));
    let name = std::ffi::OsStr::from_bytes(b"a\xff\nb");
    write(&svc.path("w").join(name), "x");
    svc.restarts_for("created w/a\u{fffd}\\nb");
}

#[test]
fn what_the_configuration_watches_may_change() {
    let setup = Setup::new();
    for file in ["v/f", "w/f"] {
        write(&setup.path(file), "x");
    }
    let folder = setup.folder.path().to_owned();
    let config = |watch: &str| {
        let service = shell("svc", SERVICE, &json!({"workdir": folder, "watch": watch}));
        json!({"watch_restart_interval": 0, "services": [service]})
    };
    let mut svc = Watching::start_config(setup, &config("v"));
    svc.daemon.reload(&config("w"));
    svc.has_looked("svc", 2);
    svc.write("v/f", "y");
    svc.write("w/f", "y");
    svc.restarts_for("modified w/f");
}

/// With these limits in a user namespace of its own; None, and a word about it, where that is not permitted.
fn with_limits(script: &str, files: &[&str], watch: &Value) -> Option<Watching> {
    let setup = Setup::through_namespace(&["-Ur"], script)?;
    files.iter().for_each(|file| write(&setup.path(file), file));
    Some(Watching::start_with(setup, watch))
}

#[test]
fn r38_where_watches_run_out_the_rest_is_polled_and_it_is_told_once_how_to_raise_the_limit() {
    let files: Vec<String> = (10..90).map(|number| format!("w/{number}/f")).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let limit = "echo 50 > /proc/sys/user/max_inotify_watches";
    let Some(mut svc) = with_limits(limit, &files, &json!("w")) else { return };
    svc.write("w/89/f", "x");
    svc.restarts_for("modified w/89/f");
    svc.write("w/10/f", "x");
    svc.restarts_for("modified w/10/f");
    svc.write("w/89/new/f", "x");
    svc.restarts_for("created w/89/new/f");
    let said = svc.daemon.stderr();
    let begin = "svc: watch: inotify limit reached after ";
    let told: Vec<&str> = said.split(begin).skip(1).collect();
    assert_eq!(told.len(), 1, "{said}");
    let watched: u32 = told[0].split(' ').next().unwrap().parse().unwrap();
    let polled = 81 - watched;
    let why = format!(
        "svc: watch: inotify limit reached after {watched} of 81 folders (user.max_inotify_watches = 50). The other {polled} are polled \
         every 2s. Raise it on the host: sysctl fs.inotify.max_user_watches=524288"
    );
    assert!(said.contains(&why), "{said}");
}

#[test]
fn where_the_file_system_does_not_tell_of_others_it_is_polled() {
    let can =
        std::process::Command::new("bindfs").arg("--version").output().is_ok() && fs::File::options().write(true).open("/dev/fuse").is_ok();
    let through_fuse = "mkdir seen; bindfs -f host seen & until mountpoint -q seen; do sleep 0.01; done";
    let Some(setup) = can.then(|| Setup::with_mounts(through_fuse)).flatten() else {
        eprintln!("skipped: FUSE (Debian package bindfs) and namespaces are wanted");
        return;
    };
    for file in ["host/a/f", "host/b/f"] {
        write(&setup.path(file), file);
    }
    let mut svc = Watching::start_with(setup, &json!("seen"));
    svc.write("host/a/f", "x");
    svc.restarts_for("modified seen/a/f");
    svc.write("host/b/new", "x");
    svc.restarts_for("created seen/b/new");
    let words = "seen is on fuse, which does not report changes by others; polled every 2s";
    assert_eq!(svc.daemon.stderr().matches(words).count(), 1, "{}", svc.daemon.stderr());
}

#[test]
fn r38_without_any_instance_of_inotify_everything_is_polled() {
    let Some(mut svc) = with_limits("echo 0 > /proc/sys/user/max_inotify_instances", &["w/a/f"], &json!("w")) else { return };
    svc.write("w/a/f", "x");
    svc.restarts_for("modified w/a/f");
    let words = "svc: watch: no inotify instance left (user.max_inotify_instances = 0 for this user); polled every 2s";
    assert_eq!(svc.daemon.stderr().matches(words).count(), 1);
    let limit = "echo 0 > /proc/sys/user/max_inotify_instances";
    let Some(mut svc) = with_limits(limit, &["w/f"], &json!({"paths": ["w/f", "missing"], "poll": "20ms"})) else { return };
    svc.write("missing", "x");
    svc.restarts_for("created missing");
    svc.write("w/f", "x");
    svc.restarts_for("modified w/f");
}

#[test]
fn r38_who_does_not_want_polling_is_told_what_is_not_watched() {
    let limit = "echo 0 > /proc/sys/user/max_inotify_instances";
    let Some(svc) = with_limits(limit, &["w/f"], &json!({"paths": "w", "poll": "never"})) else { return };
    svc.says("for this user); not watched, since `poll` is `never`", 1);
}

#[test]
fn r38_after_an_overflow_of_the_queue_everything_is_looked_at_once() {
    let mut svc = Watching::start(&["w/f", "w/keep"], &json!({"paths": "w", "settle": "1s"}));
    svc.daemon.signal(nix::sys::signal::Signal::SIGSTOP);
    for round in 0..20_000 {
        svc.write(&format!("w/{round}.tmp"), ""); // three events each
    }
    svc.write("w/keep", "x");
    svc.daemon.signal(nix::sys::signal::Signal::SIGCONT);
    svc.restarts_for("modified w/keep");
    svc.says("watch: overflow: full rescan", 1);
    svc.write("w/f", "x");
    svc.restarts_for("modified w/f");
}

#[test]
fn what_is_mounted_over_a_path_is_seen_and_so_is_its_end() {
    let Some(setup) = Setup::with_mounts("true") else { return };
    for file in ["w/f", "other/f"] {
        write(&setup.path(file), file);
    }
    let mut svc = Watching::start_with(setup, &json!("w"));
    let pid = svc.daemon.pid.to_string();
    let inside = |args: &[&str]| {
        let nsenter = std::process::Command::new("nsenter").args(["-m", "-t", &pid]).args(args).output().unwrap();
        assert!(nsenter.status.success(), "{nsenter:?}");
    };
    let (other, own) = (svc.path("other").display().to_string(), svc.path("w").display().to_string());
    inside(&["mount", "--bind", &other, &own]);
    svc.restarts_for("modified w/f");
    inside(&["umount", &own]);
    svc.restarts_for("modified w/f");
}

#[test]
fn a_file_that_is_replaced_beneath_its_mount_is_told_of() {
    let Some(setup) = Setup::with_mounts("touch w-conf; mount --bind host/conf w-conf") else { return };
    write(&setup.path("host/conf"), "one");
    let mut svc = Watching::start_with(setup, &json!("w-conf"));
    svc.write("host/conf", "two");
    svc.restarts_for("modified w-conf");
    svc.write("host/new", "three");
    fs::rename(svc.path("host/new"), svc.path("host/conf")).unwrap();
    svc.says("was replaced on the host, but the container still has the old file; mount its folder instead", 1);
    assert_eq!(svc.daemon.row("svc")["restarts"], 1);
}
