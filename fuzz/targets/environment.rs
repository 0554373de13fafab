//! Whatever stands in a file for variables, in the daemon's environment and in references: it is refused without a word of
//! any value, or nothing is left to be expanded that a service could trip over.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ppm_core::config::parse;
use ppm_core::environment::{Help, resolve};

/// What the process may cost to start.
const LONGEST: usize = 64 << 20;

/// Stands in the daemon's environment, and must not be in what is said.
const SECRET: &str = "hunter2-of-the-daemon";

fuzz_target!(|input: (&str, &str, &[u8])| {
    let (value, folder, file) = input;
    let letters = |text: &str| text.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect::<String>();
    let quoted = |text: &str| format!("\"{}\"", letters(text));
    let text = format!(
        "services: [{{name: a, command: a, env_file: f, env: {{A: {}, B: '${{A}}${{C:-${{F}}}}', P: {{file: p}}}}, workdir: {}}}]",
        quoted(value),
        quoted(folder)
    );
    let Ok(config) = parse(&text, "/etc/ppm.yml") else { return };
    let Some(service) = config.services.first() else { return };
    let inherited = |name: &[u8]| match name {
        b"S" => Some(SECRET.into()),
        b"F" => Some(file.to_vec()),
        _ => None,
    };
    let help = Help { told: &[("PPM_SERVICE", "a")], inherited: &inherited, read: &|_| Ok(file.to_vec()) };
    match resolve(&service.command, Some(folder), help) {
        Ok(resolved) => {
            let size: usize = resolved.variables.iter().map(|(name, value)| name.len() + value.len()).sum();
            assert!(size <= LONGEST, "{size} bytes of variables");
            for (name, value) in &resolved.variables {
                assert!(!name.is_empty() && !name.contains(&b'=') && !name.contains(&0) && !value.contains(&0), "no variable");
            }
            assert!(resolved.variables.is_sorted_by(|(a, _), (b, _)| a < b), "each once, in order");
        }
        Err(why) => assert!(!why.contains(SECRET) && !why.is_empty(), "{why}"),
    }
});
