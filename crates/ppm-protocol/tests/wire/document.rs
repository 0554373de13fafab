//! docs/protocol.md shows what is really said.

use std::path::Path;

use ppm_protocol::Method;
use ppm_protocol::line::MAX_LINE;
use ppm_protocol::message::MAX_DEPTH;

use crate::values::files;

#[test]
fn every_line_in_the_document_is_a_golden_line() {
    let files = files();
    for line in shown() {
        let known = files.values().any(|file| file.strip_suffix(b"\n") == Some(line.as_bytes()));
        assert!(known, "no golden file has this line: {line}");
    }
}

#[test]
fn the_document_shows_a_call_and_a_reply_of_every_method_and_every_error() {
    let (document, shown) = (document(), shown());
    for (name, _) in Method::ALL {
        assert!(document.contains(&format!("\n### `{name}`\n")), "no section on {name}");
    }
    let methods = Method::ALL.iter().flat_map(|(name, _)| [format!("request-{name}"), format!("reply-{name}")]);
    let files = files();
    let errors = files.keys().filter(|name| name.starts_with("error-") && *name != "error-other").cloned();
    for name in methods.chain(errors) {
        let line = String::from_utf8(files[&name].clone()).unwrap();
        assert!(shown.iter().any(|shown| *shown == line.trim_end()), "{name}.json is not shown");
    }
}

#[test]
fn the_document_tells_the_limits_there_are() {
    let document = document();
    assert_eq!(MAX_LINE, 1024 * 1024);
    for limit in ["| a line from a client | 1 MiB |".to_owned(), format!("| arrays and objects in each other | {MAX_DEPTH} levels |")] {
        assert!(document.contains(&limit), "{limit}");
    }
}

fn document() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/protocol.md")).unwrap()
}

/// What stands in the document's blocks of JSON.
fn shown() -> Vec<String> {
    let document = document();
    let blocks = document.split("\n```json\n").skip(1);
    blocks.map(|block| block.split_once("\n```\n").unwrap().0.to_owned()).collect()
}
