//! Services that are asked for while the daemon runs pass the checks of the configuration file.

use std::time::Duration;

use ppm_core::config;
use ppm_core::spec::{RestartWhen, ServiceSpec, Settings, assign_ids};
use ppm_protocol::message::AddService;

fn request(name: &str, command: &[&str]) -> AddService {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    AddService { name: name.into(), command, start: true, wait: true, ..AddService::default() }
}

#[test]
fn a_request_becomes_the_service_that_a_file_would_give() {
    let settings = Settings { restart_interval: Duration::from_secs(7), ..Settings::default() };
    let mut add = request("web", &["sh", "-c", "echo ${X} $$"]);
    add.workdir = Some("/srv/${X}".into());
    add.env.insert("A".into(), "${B:-b} $$".into());
    add.user = Some("app:1000".into());
    add.restart = Some("always".into());
    add.schedule = Some("*/30 * * * * *".into());
    let spec = ServiceSpec::from_request(&add, &settings).unwrap();
    assert_eq!(
        (spec.source.as_str(), spec.restart.when, spec.restart.interval),
        ("ppm add", RestartWhen::Always, settings.restart_interval)
    );

    let text = "restart_interval: 7s\nservices:\n  - name: web\n    command: [sh, -c, \"echo ${X} $$\"]\n    workdir: /srv/${X}\n    user: app:1000\n    env: {A: \"${B:-b} $$\"}\n    restart: always\n    schedule: \"*/30 * * * * *\"\n";
    let mut config = config::parse(text, "f").unwrap();
    config.services[0].source = "ppm add".into();
    assert_eq!(spec, config.services.remove(0));
}

#[test]
fn what_a_file_may_not_say_a_request_may_not_either() {
    type Change = fn(&mut AddService);
    let changes: [(Change, &str); 13] = [
        (|add| add.name = "a b".into(), "name: a b"),
        (|add| add.name = "all".into(), "name: all"),
        (|add| add.command = vec![], "command: []"),
        (|add| add.command = vec![String::new()], "command: [\"\"]"),
        (|add| add.command = vec!["a".into(), "b\0".into()], "command: [a, \"b\\0\"]"),
        (|add| add.workdir = Some("here".into()), "workdir: here"),
        (|add| add.workdir = Some("/${X".into()), "workdir: /${X"),
        (|add| drop(add.env.insert("A=B".into(), "c".into())), "env: {\"A=B\": c}"),
        (|add| drop(add.env.insert("A".into(), "${B C}".into())), "env: {A: \"${B C}\"}"),
        (|add| drop(add.env.insert("A".into(), "\0".into())), "env: {A: \"\\0\"}"),
        (|add| add.user = Some("a b".into()), "user: a b"),
        (|add| add.restart = Some("no".into()), "restart: no"),
        (|add| add.schedule = Some("61 * * * *".into()), "schedule: \"61 * * * *\""),
    ];
    for (change, line) in changes {
        let mut add = request("web", &["a"]);
        change(&mut add);
        let error = ServiceSpec::from_request(&add, &Settings::default()).unwrap_err();
        let others = ["name: web", "command: a"].into_iter().filter(|other| other.split(':').next() != line.split(':').next());
        let text: String = others.chain([line]).map(|line| format!("    {line}\n")).collect();
        let problems = config::parse(&format!("services:\n  -\n{text}"), "f").unwrap_err();
        assert_eq!(problems.list.len(), 1, "{problems}");
        assert_eq!((&error.message, &error.hint), (&problems.list[0].message, &problems.list[0].hint), "{line}");
    }
}

#[test]
fn free_numbers_are_given_in_order_and_written_ones_kept() {
    let ids = |asked: &[Option<u32>]| {
        let make = |(number, id): (usize, &Option<u32>)| {
            let mut spec = ServiceSpec::from_request(&request(&format!("s{number}"), &["a"]), &Settings::default()).unwrap();
            spec.id = *id;
            spec
        };
        let mut specs: Vec<ServiceSpec> = asked.iter().enumerate().map(make).collect();
        assign_ids(&mut specs);
        specs.iter().map(|spec| spec.id.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&[None, None, None]), [1, 2, 3]);
    assert_eq!(ids(&[None, Some(1), None, Some(3), None]), [2, 1, 4, 3, 5]);
    assert_eq!(ids(&[Some(u32::MAX), None]), [u32::MAX, 1]);
    assert_eq!(ids(&[]), Vec::<u32>::new());
}
