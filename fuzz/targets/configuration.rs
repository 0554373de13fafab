//! Whatever is written in a configuration file: it is refused in words, or what is shown of it reads as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ppm_core::config::{Config, parse, render};

/// A name that no service is called by, so that files beside it are looked for from a folder.
const FILE: &str = "/etc/ppm.yml";

/// The words about a wrong file are for people: at most so many times its length, and this much besides.
const LONGEST: usize = 64 << 10;

fuzz_target!(|text: &str| {
    let config = match parse(text, FILE) {
        Ok(config) => config,
        Err(problems) => {
            let words = problems.to_string();
            assert!(!words.is_empty() && words.len() < LONGEST + 16 * text.len(), "{} bytes of words", words.len());
            return;
        }
    };
    let shown = shown(&config);
    let again = parse(&shown, FILE).unwrap_or_else(|problems| panic!("what is shown is refused:\n{shown}\n{problems}"));
    assert_eq!(shown, self::shown(&again), "what is shown is shown otherwise when it is read again");
    assert_eq!(anonymous(config), anonymous(again), "what is shown reads otherwise:\n{shown}");
});

fn shown(config: &Config) -> String {
    render(&config.settings, &config.services)
}

/// Without the lines that things stand in.
fn anonymous(mut config: Config) -> Config {
    config.remarks.clear();
    for service in &mut config.services {
        service.source.clear();
    }
    config
}
