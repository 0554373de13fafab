//! What the documents show is true: configurations are read, and what is said about wrong ones is what is said.

use std::fs;
use std::path::PathBuf;

use ppm_core::config;
use ppm_core::environment::{Help, resolve};

use crate::agreement::json_of;
use crate::checker::errors;
use crate::schema::schema;
use crate::{compare, read, repository};

/// The name that wrong configurations of documents are shown with.
const SHOWN: &str = "/etc/ppm.yml";

/// A block of a document: what stands after the opening fence, and the lines up to the closing one.
struct Block {
    kind: String,
    text: String,
}

#[test]
fn every_configuration_in_the_documents_is_right_for_parser_and_schema() {
    let mut shown = 0;
    for path in documents() {
        for block in blocks(&fs::read_to_string(&path).unwrap()).into_iter().filter(|block| block.kind == "yaml") {
            check_right(&path.display().to_string(), &block.text);
            shown += 1;
        }
    }
    assert!(shown >= 6, "only {shown} configurations are shown");
    check_right("data/example.yml", &fs::read_to_string(repository("data/example.yml")).unwrap());
}

/// After a block `yaml wrong` comes a block `text` with what is said about it; `UPDATE=1` writes it.
#[test]
fn what_the_documents_say_about_wrong_configurations_is_what_is_said() {
    let mut shown = 0;
    for path in documents() {
        let mut text = fs::read_to_string(&path).unwrap();
        let blocks = blocks(&text);
        for (wrong, said) in blocks.iter().zip(blocks.iter().skip(1)).filter(|(wrong, _)| wrong.kind == "yaml wrong") {
            assert_eq!(said.kind, "text", "{}", path.display());
            let problems = config::parse(&wrong.text, SHOWN).unwrap_err().to_string();
            let pair = |said: &str| format!("{}```\n{}```text\n{said}```\n", wrong.text, between(&text, wrong));
            text = text.replace(&pair(&said.text), &pair(&format!("{problems}\n")));
            shown += 1;
        }
        compare(&path, &text);
    }
    assert!(shown >= 1);
}

#[test]
fn every_file_of_variables_in_the_documents_is_read() {
    let mut shown = 0;
    for path in documents() {
        for block in blocks(&fs::read_to_string(&path).unwrap()).into_iter().filter(|block| block.kind == "dotenv") {
            let config = read("services: [{name: web, command: a, env_file: /file}]");
            let help = Help { told: &[], inherited: &|_| None, read: &|_| Ok(block.text.clone().into_bytes()) };
            let resolved = resolve(&config.services[0].command, None, help).unwrap();
            let value = |name: &str| String::from_utf8_lossy(resolved.variable(name.as_bytes()).unwrap()).into_owned();
            assert_eq!((value("PORT"), value("GREETING")), ("8080".to_owned(), "hello\nexample.org".to_owned()));
            assert_eq!((value("PATTERN"), value("KEY").lines().count()), (r"^\d+ ${taken as it is}$".to_owned(), 3));
            shown += 1;
        }
    }
    assert_eq!(shown, 1);
}

fn check_right(name: &str, text: &str) {
    config::parse(text, name).unwrap_or_else(|problems| panic!("{problems}"));
    let refused = errors(&schema(), &json_of(text).unwrap());
    assert!(refused.is_empty(), "{name}: {refused:?}\n{text}");
}

fn documents() -> Vec<PathBuf> {
    let mut documents: Vec<PathBuf> = fs::read_dir(repository("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.push(repository("README.md"));
    documents.sort();
    documents
}

fn blocks(document: &str) -> Vec<Block> {
    let (mut blocks, mut open) = (Vec::new(), None);
    for line in document.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => open = Some(Block { kind: kind.trim().to_owned(), text: String::new() }),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    blocks
}

/// What stands between a block and the next.
fn between(document: &str, block: &Block) -> String {
    let (_, after) = document.split_once(&format!("{}```\n", block.text)).unwrap();
    after.split("```").next().unwrap().to_owned()
}
