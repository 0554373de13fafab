//! What is told about command lines that are wrong, to the letter: `SNAPSHOTS=overwrite cargo test -p ppm` writes it anew.
//!
//! `tests/wrong_lines.txt` holds the lines, each after `$ `; what follows is what stderr gets, and the exit code.

use std::fs;
use std::path::Path;

use snapbox::Data;

use crate::daemon::ppm;

#[test]
fn every_wrong_line_is_told_what_where_and_what_next() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wrong_lines.txt");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("$ ppm ")).collect();
    assert!(lines.len() >= 40, "{} lines", lines.len());
    let told: Vec<String> = lines.iter().map(|line| told(line)).collect();
    snapbox::assert_data_eq!(told.join("\n"), Data::read_from(&path, None).raw());
}

/// What the line gets, beside a folder where nothing is.
fn told(line: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = ppm(line).env("PPM_SOCKET", "none.sock").current_dir(folder.path()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let code = output.status.code().unwrap();
    assert_eq!(output.stdout, b"", "{line}");
    assert!(stderr.starts_with("error: ") && code != 0, "{line}: {stderr}");
    assert!(stderr.contains("\n  hint: "), "{line}: there is always something to do next: {stderr}");
    // Daemons of others that happen to be there are told of too.
    let stderr: String = stderr.split_inclusive('\n').filter(|line| !line.starts_with("  hint: there is a daemon of uid")).collect();
    format!("$ ppm {line}\n{stderr}exit code {code}\n")
}
