//! `ppm daemon -- CMD`: the daemon stands between whoever started it and one command.

use ppm_core::config::{Config, parse};
use ppm_core::event::{Action, Event, Stdin};
use ppm_core::spec::{MAIN, Reach};
use ppm_core::supervisor::Main;
use ppm_protocol::{ErrorCode, Request, Signal, Status};

use crate::ask::{reload, remove, start, stop};
use crate::story::{Span, Story, by, code, named, refused, story, story_of_main, svc};

fn alone() -> Story {
    story_of_main(Main::Alone, []).starts()
}

fn beside(name: &str) -> Story {
    story_of_main(Main::AmongOthers, [named(name)]).starts().on(name).starts().on("main")
}

fn gets(story: Story, signal: &str) -> Story {
    story.event(Event::Signalled(signal.parse().unwrap()))
}

#[test]
fn it_inherits_the_input_and_others_do_not() {
    let mut story = story_of_main(Main::AmongOthers, [named("side")]);
    for (name, stdin) in [("main", Stdin::Inherited), ("side", Stdin::Null)] {
        let is_its = |action: &Action| matches!(action, Action::Spawn { launch, .. } if launch.name == name && launch.stdin == stdin);
        story.take(name, is_its);
    }
}

#[test]
fn its_exit_code_is_the_daemons_r28() {
    alone().exits(code(3)).leaves(3);
    alone().exits(by(Signal::KILL)).leaves(137);
    beside("side").exits(code(0)).on("side").asks_to_stop(Signal::TERM).exits(code(1)).leaves(0);
}

#[test]
fn the_signal_that_ends_the_daemon_is_the_one_it_is_asked_with_and_its_code_is_passed_on_r28() {
    for signal in [Signal::TERM, Signal::INT] {
        alone().event(Event::Signalled(signal)).asks_to_stop(signal).exits(by(signal)).leaves(u8::try_from(128 + signal.number()).unwrap());
        beside("side")
            .event(Event::Signalled(signal))
            .asks_to_stop(signal)
            .on("side")
            .asks_to_stop(Signal::TERM)
            .exits(code(1))
            .on("main")
            .exits(code(9))
            .leaves(9);
    }
    alone().request(Request::Shutdown).replies(|reply| assert!(reply.is_ok())).asks_to_stop(Signal::TERM).exits(code(7)).leaves(7);
}

#[test]
fn it_has_as_long_to_end_as_the_whole_shutdown_r26() {
    alone()
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .after(8999.ms())
        .quiet()
        .after(1.ms())
        .sends(Signal::KILL)
        .reaps()
        .leaves(137);
}

#[test]
fn alone_it_hears_every_signal_of_which_the_daemon_does_not_die_r30() {
    let mut story = alone();
    for signal in ["HUP", "QUIT", "USR1", "USR2", "WINCH", "ALRM", "CONT", "RTMIN+3", "RTMAX"] {
        story = gets(story, signal).sends_to(signal.parse().unwrap(), Reach::Leader).quiet();
    }
    let asked = story.event(Event::Signalled(Signal::TERM)).asks_to_stop(Signal::TERM);
    let heard = gets(gets(asked, "HUP").sends_to(Signal::HUP, Reach::Leader), "TERM").quiet();
    gets(heard, "QUIT").sends(Signal::KILL).reaps().leaves(137);
}

#[test]
fn beside_others_the_daemon_keeps_its_own_signals_r30() {
    let mut story = gets(gets(beside("side"), "WINCH").sends_to("WINCH".parse().unwrap(), Reach::Leader), "USR1");
    story.take("log files to be opened again", |action| *action == Action::ReopenLogs);
    let story = gets(story, "HUP").reads(named("side")).quiet();
    gets(story, "QUIT").sends(Signal::KILL).reaps().on("side").sends(Signal::KILL).reaps().leaves(137);
}

#[test]
fn a_signal_for_a_command_that_does_not_run_is_lost() {
    let story = alone().request(stop("main")).asks_to_stop(Signal::TERM).exits(code(0)).replies(|reply| assert!(reply.is_ok()));
    gets(story, "WINCH").quiet().event(Event::Signalled(Signal::TERM)).leaves(0);
    let gone = beside("side").request(remove("main")).asks_to_stop(Signal::TERM).exits(code(5)).replies(|reply| assert!(reply.is_ok()));
    gets(gone, "WINCH").quiet().event(Event::Signalled(Signal::TERM)).on("side").asks_to_stop(Signal::TERM).exits(code(0)).leaves(0);
}

#[test]
fn it_may_be_stopped_and_started_by_hand() {
    let ok = |reply: &crate::story::Reply| assert!(reply.is_ok());
    let stopped = alone().request(stop("main")).asks_to_stop(Signal::TERM).exits(code(0)).replies(ok);
    let mut again = stopped.request(start("main"));
    again.take("a start that inherits", |action| matches!(action, Action::Spawn { launch, .. } if launch.stdin == Stdin::Inherited));
    again.comes_up().replies(ok).exits(code(4)).leaves(4);
}

#[test]
fn a_reload_does_not_touch_it_and_refuses_another_of_its_name() {
    beside("side")
        .request(reload())
        .reads(named("side"))
        .replies(|reply| assert!(reply.is_ok()))
        .is(Status::Running, "started with the daemon");
    let message = "`main` is the command of the daemon's command line; give the service in the file another name";
    beside("side").request(reload()).reads([named("side"), named("main")]).replies(refused(ErrorCode::Refused, message)).quiet();
}

#[test]
fn a_service_of_the_file_with_its_name_is_told() {
    let words = ["/bin/main".to_owned()];
    let mut config = parse("services: [{name: main, command: a}]", "/etc/ppm.yml").unwrap();
    let error = config.add_main(&words).unwrap_err();
    assert_eq!(error.message, "the command of the command line becomes the service `main`, and there is one in /etc/ppm.yml:1");
    assert_eq!(error.hint.unwrap(), "give that service another name, or leave out the command");
    let mut config = Config::default();
    assert_eq!(config.add_main(&[String::new()]).unwrap_err().message, "the program's name is empty");
    config.add_main(&words).unwrap();
    assert_eq!(config.services[0].name, MAIN);
}

#[test]
fn without_a_command_signals_that_mean_nothing_do_nothing_r30() {
    let mut story = story(svc()).starts();
    for signal in ["USR2", "WINCH", "ALRM", "CONT", "RTMIN+3", "RTMAX"] {
        story = gets(story, signal).quiet();
    }
}

#[test]
fn its_code_is_passed_on_whatever_it_leaves_behind_r28() {
    alone()
        .event(Event::Signalled(Signal::TERM))
        .asks_to_stop(Signal::TERM)
        .exits_leaving_others(code(6))
        .after(9.s())
        .sends(Signal::KILL)
        .after(500.ms())
        .leaves(6);
}

#[test]
fn when_it_is_killed_and_not_waited_for_that_is_its_code_r25() {
    alone().event(Event::Signalled(Signal::TERM)).asks_to_stop(Signal::TERM).after(9.s()).sends(Signal::KILL).after(500.ms()).leaves(137);
}
