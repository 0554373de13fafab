//! Whatever is written as a command: it is refused, or its words read the same when they are written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ppm_core::config::{parse, render};

fuzz_target!(|line: &str| {
    // As the letters that they are: others would be folded at ends of lines.
    let quoted: String = line.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect();
    let Ok(config) = parse(&format!("services: [{{name: a, command: \"{quoted}\"}}]"), "/etc/ppm.yml") else { return };
    let Some(command) = config.services.first().map(|service| &service.command) else { return };
    let words: Vec<String> = std::iter::once(&command.path).chain(&command.args).cloned().collect();
    assert_eq!(shell_words::split(line).ok().as_ref(), Some(&words), "a command is split like a shell does");
    assert_eq!(shell_words::split(&shell_words::join(&words)).ok(), Some(words));
    let again = parse(&render(&config.settings, &config.services), "/etc/ppm.yml");
    assert_eq!(again.ok().map(|again| again.services[0].command.clone()).as_ref(), Some(command));
});
